"""A bear that nobody sees has not left: ends that wait for the camera, and what is told when it fails."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.alert.events import EventPublisher
from edge.decide.alarms import MAX_HELD_S, SURE_S, Decision, EndHold
from edge.detect.camera_check import CameraCheck
from edge.schema import CameraFault, Event, EventType, Frame
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.helpers.meadow import WALL
from tests.helpers.tiny import BEAR_COLOUR

PICTURE = np.zeros((8, 8, 3), np.uint8)


def verdict(type_: EventType, incident: int = 1, escalated: str | None = None) -> Decision:
    return Decision(type_, incident, incident, "brown_bear", 0.9, 0.9, (0.1, 0.1, 0.2, 0.2), escalated=escalated)


class Play:
    """The types that are told, second by second."""

    def __init__(self) -> None:
        self.unseen = EndHold()

    def __call__(self, at: float, *types: Any, seeing: bool = True, frozen_s: float = 0.0) -> list[str]:
        frame = Frame(PICTURE, at, WALL, "yard", 0, frozen_s=frozen_s)
        return [told.type for told in self.unseen([verdict(type_) for type_ in types], frame, seeing=seeing)]


def test_of_a_camera_that_sees_everything_is_told_at_once():
    play = Play()
    assert [play(at, type_) for at, type_ in ((10.0, "new"), (11.0, "update"), (12.0, "end"), (13.0, "update"))] == [
        ["new"], ["update"], ["end"], ["update"],
    ]  # fmt: skip


def test_an_end_waits_until_the_camera_has_seen_for_a_while_and_is_dropped_when_the_bear_is_found_again():
    play = Play()
    play(10.0, "new")
    assert play(20.0, "end", seeing=False) == []
    assert play(20.0 + SURE_S - 0.1) == []
    assert play(20.0 + SURE_S) == ["end"]
    play(40.0, "update")
    assert play(50.0, "end", seeing=False) == []
    assert play(52.0, "update") == ["update"]
    assert play(70.0) == []


def test_an_end_does_not_wait_for_ever():
    play = Play()
    play(10.0, "new")
    told = [
        (at, *told) for at in range(20, 80) if (told := play(float(at), *(["end"] if at == 20 else []), frozen_s=at))
    ]
    assert told == [(20 + MAX_HELD_S, "end")]


def test_a_bear_in_a_frozen_picture_is_told_again_only_where_the_picture_lives_and_it_is_still_there():
    for leaves in (False, True):
        play = Play()
        play(10.0, "new")
        assert [told.type for told in play.unseen.shut()] == ["end"]
        assert play(30.0, "update", frozen_s=9.0) == []
        assert play(31.0) == []
        assert play(33.0, *(["end"] if leaves else [])) == []
        assert play(30.0 + SURE_S) == ([] if leaves else ["update"])
        assert play(60.0, "end") == ([] if leaves else ["end"])


def test_what_alarms_is_never_held_back():
    play = Play()
    assert play(10.0, "new", seeing=False, frozen_s=50.0) == ["new"]
    play.unseen.shut()
    frame = Frame(PICTURE, 11.0, WALL, "yard", 0, frozen_s=51.0)
    assert play.unseen([verdict("update", escalated="zone hives")], frame, seeing=False) != []


def test_what_the_decision_has_closed_does_not_come_back_by_itself():
    play = Play()
    play(10.0, "new")
    assert [told.type for told in play.unseen.shut([verdict("end")])] == ["end"]
    assert play(100.0) == play(200.0) == []
    assert play.unseen.shut() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["new", "update", "end", "shut", "gone", ""]), st.integers(1, 3), st.booleans(),
            st.floats(0.1, 20.0),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_whatever_happens_no_end_is_told_twice(steps):
    unseen, at = EndHold(), 10.0
    told: list[Decision] = []
    for what, incident, seeing, wait_s in steps:
        at += wait_s
        if what in {"shut", "gone"}:
            told += unseen.shut([verdict("end", each) for each in (1, 2, 3)] if what == "gone" else ())
            continue
        found = [verdict(what, incident)] if what else []
        told += unseen(found, Frame(PICTURE, at, WALL, "yard", 0), seeing=seeing)
    told += unseen.shut()
    for incident in (1, 2, 3):
        types = [each.type for each in told if each.incident == incident]
        assert all((before, after) != ("end", "end") for before, after in itertools.pairwise(types))
        assert not types or (types[0] != "end" and types[-1] == "end")


class Blackout(CameraCheck):
    """A lens check that finds the picture black after so many looks."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def __call__(self, *_: object) -> tuple[CameraFault, ...]:
        self.left -= 1
        return (CameraFault("black", "yard: a black picture; is the lens covered?"),) if self.left < 0 else ()


def test_a_bear_before_a_picture_that_turns_black_did_not_leave():
    told: list[Event] = []
    watcher = Watcher(Colours(), RULE, EventPublisher([told.append]), camera_check=Blackout(6))
    watcher(walk(30, (2.0, 5.0, BEAR_COLOUR, 100, 60)))
    assert [f"{event.kind} {event.type}" for event in told] == ["bear new", "camera new", "bear end", "camera end"]
    assert told[2].detail == "the camera gives a black picture, so nothing is known of the bear"
