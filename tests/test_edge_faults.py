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


def bears_and_troubles(diary: Diary) -> list[str]:
    return [f"{event.kind} {event.type}" for _, event in diary.told]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("away", "gives no picture any more"), ("frozen", "the same picture"), ("stare", "the same picture")],
)
def test_a_camera_that_fails_is_told_before_the_bear_it_loses_and_the_bear_did_not_leave(fault, reason):
    diary = Diary((10.0, "bear"), (FAILS_S, fault), (RETURNS_S, "live"))
    assert bears_and_troubles(diary) == ["bear new", "camera new", "bear end", "camera end"]
    (gone_s, _), (end_s, end) = diary.told[1:3]
    assert end_s == pytest.approx(gone_s, abs=0.1)
    assert end.detail
    assert reason in end.detail
    assert end.detail.endswith("so nothing is known of the bear")
    assert "new" not in [event.type for at, event in diary.told if event.kind == "bear" and at > FAILS_S]


@pytest.mark.parametrize("fault", ["away", "frozen", "stare"])
def test_a_bear_that_is_still_there_when_the_camera_is_back_is_no_second_alarm(fault):
    diary = Diary((10.0, "bear"), (FAILS_S, fault), (35.0, "bear"), seconds=60.0)
    told = bears_and_troubles(diary)
    assert told[:3] == ["bear new", "camera new", "bear end"]
    assert sorted(told[3:]) == ["bear end", "bear update", "camera end"]  # and over with the watch
    assert diary.told[-1][1].detail == "watching ended, so nothing more is known of the bear"


def test_a_bear_is_not_said_to_have_left_in_a_short_gap():
    diary = Diary((10.0, "bear"), (20.0, "deaf"), (25.5, "bear"), (40.0, "live"), seconds=60.0)
    assert bears_and_troubles(diary) == ["bear new", "bear update", "bear end"]
    left_s, end = diary.told[-1]
    assert 44.0 <= left_s <= 50.0
    assert end.detail is None


def test_a_camera_that_comes_and_goes_is_told_within_minutes_and_once():
    life = [(11.0 * i + late, state) for i in range(120) for late, state in ((6.0, "deaf"), (10.9, "live"))]
    diary = Diary(*life, seconds=1200.0)
    assert [(event.type, event.label) for _, event in diary.told] == [("new", "unsteady"), ("end", "unsteady")]
    assert 60.0 <= diary.told[0][0] <= 150.0
    assert "the picture comes and goes" in (diary.told[0][1].detail or "")
    assert diary.told[1][0] >= 1199.0  # with the watch


def test_a_short_drop_now_and_then_is_not_told():
    life = [(60.0 * i + late, state) for i in range(1, 10) for late, state in ((0.0, "deaf"), (4.5, "live"))]
    assert Diary(*life, seconds=620.0).told == []
