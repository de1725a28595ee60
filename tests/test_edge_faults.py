"""A camera with a life of faults through the whole alarm: what is told of it, when, and that it sees again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge.camera.kept import KeptSource
from edge.schema import Event
from edge.telling import Teller
from edge.watch import Watcher
from tests.kept_world import Camera, Connection, World
from tests.test_edge_watch import RULE, Colours

NOTICED_S, RECOVERED_S = 10.0, 15.0
FAILS_S, RETURNS_S, LASTS_S = 20.0, 60.0, 100.0


class Diary:
    """The events of a life, each with the second in which it was told; and how many crops each frame was given."""

    def __init__(self, *life: tuple[float, str], seconds: float = LASTS_S) -> None:
        world = World()
        camera = Camera(world, *life)
        began = world.now
        self.told: list[tuple[float, Event]] = []
        self.scorer = Colours()
        kept = KeptSource(
            Connection(camera), camera.open, name="yard", clock=world.clock, sleep=world.sleep, chance=lambda: 0.0
        )
        teller = Teller([lambda event: self.told.append((world.now - began, event))])
        watcher = Watcher(self.scorer, RULE, teller)  # plain pictures are none for the lens check
        kept.report = lambda trouble, at: watcher.report(trouble, at, "yard")
        self.looks: list[tuple[float, bool, int]] = []  # second, first after a gap, crops

        def frames() -> Any:
            for frame in kept:
                before = sum(self.scorer.calls)
                yield frame
                self.looks.append((world.now - began, frame.again, sum(self.scorer.calls) - before))
                if world.now - began >= seconds:
                    kept.close()

        watcher(frames())

    def of(self, kind: str) -> list[tuple[float, str]]:
        """(second, type) of the events of a kind."""
        return [(at, event.type) for at, event in self.told if event.kind == kind]


@pytest.mark.parametrize("fault", ["silent", "broken", "away", "garbage", "deaf", "stuck", "frozen"])
def test_a_fault_is_noticed_and_its_end_too_and_no_bear_is_told(fault):
    diary = Diary((FAILS_S, fault), (RETURNS_S, "live"))
    (noticed_s, new), (over_s, end) = diary.of("camera")
    assert (new, end) == ("new", "end")
    assert FAILS_S < noticed_s <= FAILS_S + NOTICED_S
    assert RETURNS_S < over_s <= RETURNS_S + RECOVERED_S
    assert diary.of("bear") == []
    assert {event.label for _, event in diary.told} == {"frozen" if fault == "frozen" else "gone"}
    assert all(event.detail and event.camera == "yard" for _, event in diary.told)


@pytest.mark.parametrize("fault", ["silent", "away", "deaf"])
def test_the_first_picture_after_a_gap_is_looked_at_whole(fault):
    diary = Diary((FAILS_S, fault), (RETURNS_S, "live"), seconds=RETURNS_S + 20.0)
    (crops,) = [crops for at, again, crops in diary.looks if again and at >= RETURNS_S]
    assert crops >= 2  # the whole and its tiles, of a picture of 48 x 32


def test_a_camera_that_is_well_tells_nothing():
    diary = Diary()
    assert diary.told == []
    assert np.median([crops for _, _, crops in diary.looks]) <= 2


def test_a_bear_that_nobody_sees_any_more_is_over_when_the_camera_is_gone():
    diary = Diary((10.0, "bear"), (FAILS_S, "away"), (RETURNS_S, "live"))
    assert [event.type for _, event in diary.told if event.kind == "bear"] == ["new", "end"]
    gone = next(at for at, event in diary.told if (event.kind, event.type) == ("camera", "new"))
    assert diary.of("bear")[-1][0] == pytest.approx(gone, abs=0.1)
