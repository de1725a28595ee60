"""A bear that nobody sees has not left: ends that wait for the camera, and what is published when it fails."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alert.events import EventPublisher
from edge.decide import alarms
from edge.decide.alarms import CLEAR_AFTER_S, MAX_HELD_S, Decider, Decision
from edge.decide.evidence import Rule
from edge.detect.camera_check import CameraCheck
from edge.detect.tracker import Track
from edge.detect.zones import Zone
from edge.schema import CameraFault, Event, Region, Score
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.helpers.tiny import BEAR_COLOUR

YARD = Zone("yard", ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (0.0, 0.3)))
HIVES = Zone("hives", ((0.0, 0.3), (1.0, 0.3), (1.0, 0.6), (0.0, 0.6)))


@contextlib.contextmanager
def updates_with_every_frame():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alarms, "UPDATE_S", 0.0)
        patch.setattr(alarms, "REMIND_S", 0.0)
        yield


class Play:
    """The types that are published, second by second, of bears that are there or not.

    One picture raises an alarm, and every further one an update.
    """

    def __init__(self, zones: tuple[Zone, ...] = ()) -> None:
        rule = Rule(threshold=0.4, still_threshold=0.6, one_picture=True)
        self.decider = Decider(rule, zones=zones, again_s=1000.0)
        self.bears = [Track(number, (0.3 * number, 0.1, 0.1, 0.1), 0.0, 0.0) for number in (0, 1, 2)]
        self.there: set[int] = set()

    def __call__(self, at: float, what: str = "", number: int = 1, *, seeing: bool = True) -> list[str]:
        with updates_with_every_frame():
            return [decision.type for decision in self.decisions(at, what, number, seeing=seeing)]

    def decisions(self, at: float, what: str, number: int, *, seeing: bool) -> list[Decision]:
        """Play a frame: a bear is seen (new, update), is lost (end), or nothing changes."""
        if what == "end":
            self.there.discard(number)
        for bear in self.bears:
            bear.now = None
        if what in {"new", "update"}:
            self.there.add(number)
            bear = self.bears[number]
            bear.now = Score(Region(bear.box_xywh, "motion"), (0.9, 0.1), 0.9, "brown_bear", 0.0)
            bear.last_hit = at
        return self.decider([bear for bear in self.bears if bear.number in self.there], at, seeing=seeing)

    def fail(self) -> list[str]:
        """The camera fails, and still gives frames."""
        return [decision.type for decision in self.decider.interrupt()]


def test_of_a_camera_that_sees_everything_is_reported_at_once():
    play = Play()
    assert [play(at, type_) for at, type_ in ((10.0, "new"), (11.0, "update"), (12.0, "end"), (13.0, "update"))] == [
        ["new"], ["update"], ["end"], ["update"],
    ]  # fmt: skip


def test_an_end_waits_until_the_camera_has_seen_for_a_while_and_is_dropped_when_the_bear_is_found_again():
    play = Play()
    play(10.0, "new")
    assert play(20.0, "end", seeing=False) == []
    assert play(20.0 + CLEAR_AFTER_S - 0.1) == []
    assert play(20.0 + CLEAR_AFTER_S) == ["end"]
    play(40.0, "update")
    assert play(50.0, "end", seeing=False) == []
    assert play(52.0, "update") == ["update"]
    assert play(70.0) == []


def test_an_end_does_not_wait_for_ever():
    play = Play()
    play(10.0, "new")
    told = [(at, *told) for at in range(20, 80) if (told := play(float(at), "end" if at == 20 else "", seeing=False))]
    assert told == [(20 + MAX_HELD_S, "end")]


def test_a_bear_in_a_frozen_picture_is_reported_again_only_where_the_picture_lives_and_it_is_still_there():
    for leaves in (False, True):
        play = Play()
        play(10.0, "new")
        assert play.fail() == ["end"]
        assert play(30.0, "update", seeing=False) == []
        assert play(31.0) == []
        assert play(33.0, "end" if leaves else "") == []
        assert play(30.0 + CLEAR_AFTER_S) == ([] if leaves else ["update"])
        assert play(60.0, "end") == ([] if leaves else ["end"])


def test_what_alarms_is_never_held_back():
    play = Play(zones=(YARD, HIVES))
    assert play(10.0, "new", seeing=False) == ["new"]
    play.fail()
    play.bears[1].box_xywh = (0.3, 0.4, 0.1, 0.1)
    (again,) = play.decisions(11.0, "update", 1, seeing=False)
    assert again.escalated == "zone hives"


def test_what_the_decision_has_closed_does_not_come_back_by_itself():
    play = Play()
    play(10.0, "new")
    assert [decision.type for decision in play.decider.close()] == ["end"]
    assert play(100.0) == play(200.0) == []
    assert play.fail() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["new", "update", "end", "shut", "gone", ""]), st.integers(0, 2), st.booleans(),
            st.floats(0.1, 20.0),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_whatever_happens_no_end_is_reported_twice(steps):
    play, at = Play(), 10.0
    told: list[Decision] = []
    for what, number, seeing, wait_s in steps:
        at += wait_s
        if what == "shut":
            told += play.decider.interrupt()
        elif what == "gone":
            told += play.decider.close()
        else:
            told += play.decisions(at, what, number, seeing=seeing)
        ended = {each.id for each in told} - {incident.id for incident in play.decider.open_incidents}
        assert ended == {each.id for each in {each.id: each for each in told}.values() if each.type == "end"}
    told += play.decider.interrupt()
    for incident in {each.id for each in told}:
        types = [each.type for each in told if each.id == incident]
        assert all((before, after) != ("end", "end") for before, after in itertools.pairwise(types))
        assert types[0] != "end"
        assert types[-1] == "end"


class Blackout(CameraCheck):
    """A camera check that finds the picture black after so many calls."""

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
