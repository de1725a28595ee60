"""Told again: surer, in another zone, when the schedule begins, back again; and never where it is to be quiet."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.alarms import Decider
from edge.decide.schedule import Schedule, Window
from edge.detect.zones import Zone
from tests.decide.test_alarms import FAR, LEFT, MIDNIGHT, RIGHT, RULE, Stage

YARD = Zone("yard", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)))
BIN = Zone("bin", ((0.6, 0.4), (0.9, 0.4), (0.9, 0.8), (0.6, 0.8)))


def test_a_bear_reported_in_doubt_is_reported_again_once_it_is_sure():
    stage = Stage()(8.0, (LEFT, 0.5))(4.0, (LEFT, 0.97))(60.0, (LEFT, 0.5))(60.0, (LEFT, 0.99))
    assert stage.escalations() == ["rising score"]
    new, again = stage.noises()
    assert new < 8.0
    assert again == pytest.approx(max(8.0, new + 5.0), abs=0.11)


def test_the_doubt_is_settled_once_even_where_the_still_threshold_is_high():
    stage = Stage(Decider(replace(RULE, still_threshold=0.99)))
    stage(8.0, (LEFT, 0.5))(20.0, (LEFT, 0.91))(20.0, (LEFT, 0.985))
    assert stage.escalations() == ["rising score"]


def test_a_bear_reported_surely_enough_is_not_reported_again_for_its_score():
    assert Stage()(8.0, (LEFT, 0.7))(20.0, (LEFT, 0.999)).escalations() == []
    assert Stage()(8.0, (LEFT, 0.5))(20.0, (LEFT, 0.85)).escalations() == []


def test_only_a_bear_in_a_zone_alarms_and_its_evidence_is_gathered_before():
    stage = Stage(Decider(RULE, zones=[YARD]))(5.0, (LEFT, 0.99))
    assert stage.told == []
    (standing,) = stage.decider.evidence_states()
    assert standing.sum > standing.alarm_at
    assert "outside the zones" in standing.held
    walk = [(0.1 + 0.02 * i, 0.5, 0.1, 0.1) for i in range(31)]
    for box in walk:
        stage(0.1, (box, 0.99))
    (new, _), *_ = stage.told
    assert (new.type, new.zones) == ("new", ("yard",))
    # Its centre is in as soon as half of it is.
    assert new.box_xywh[0] == pytest.approx(0.46, abs=0.011)


def test_entering_another_zone_alarms_again_once():
    stage = Stage(Decider(RULE, zones=[YARD, BIN]))
    for _ in range(3):
        for i in range(31):
            stage(0.1, ((0.45 + 0.01 * i, 0.5, 0.1, 0.1), 0.99))
        for i in range(31):
            stage(0.1, ((0.75 - 0.01 * i, 0.5, 0.1, 0.1), 0.99))
    assert stage.kinds("new") == [("new", 1)]
    assert stage.escalations() == ["zone bin"]
    assert next(v.zones for v, _ in stage.told if v.escalated) == ("yard", "bin")


def test_outside_the_zones_nothing_escalates():
    stage = Stage(Decider(RULE, zones=[YARD]))(8.0, (RIGHT, 0.5))
    for i in range(61):
        stage(0.1, ((0.7 - 0.01 * i, 0.5, 0.1, 0.1), 0.5))
    stage(5.0, (LEFT, 0.99))
    assert stage.kinds("new") == [("new", 1)]
    assert stage.escalations() == []


def between(start_min, end_min):
    """A schedule in whatever time zone this is run in, told by minutes after MIDNIGHT."""
    base = MIDNIGHT.astimezone()
    offset = base.hour * 60 + base.minute
    days, start, end = frozenset(range(7)), (offset + start_min) % 1440, (offset + end_min) % 1440
    return Schedule("as told", (Window(days, start, end or 1440),))


def test_outside_the_schedule_it_is_recorded_and_alarms_when_the_schedule_begins():
    stage = Stage(Decider(RULE, schedule=between(2, 60)))(110.0, (LEFT, 0.99), fps=5.0)
    (new, _), *_ = stage.told
    assert (new.type, new.quiet) == ("new", "outside the schedule")
    assert stage.noises() == []
    assert stage.decider.evidence_states()[0].held[-1] == "outside the schedule"
    stage(30.0, (LEFT, 0.99), fps=5.0)
    assert stage.escalations() == ["schedule begins"]
    (at,) = stage.noises()
    assert 120.0 <= at <= 120.5
    assert stage.decider.evidence_states()[0].held == ("published already, in cooldown",)


def test_a_bear_that_left_before_the_schedule_begins_does_not_alarm():
    stage = Stage(Decider(RULE, schedule=between(2, 60)))(50.0, (LEFT, 0.99), fps=5.0).skip(100.0)
    assert stage.kinds() == [("new", 1), ("end", 1)]
    assert stage.noises() == []


def test_when_the_schedule_ends_it_is_quiet_again():
    stage = Stage(Decider(RULE, schedule=between(0, 1)))(30.0, (LEFT, 0.5), fps=5.0)
    stage(60.0, (LEFT, 0.5), fps=5.0)(30.0, (LEFT, 0.99), fps=5.0)
    assert [v.quiet for v, at in stage.told if at > 60.0] == ["outside the schedule"]
    assert len(stage.noises()) == 1


@given(
    st.lists(
        st.tuples(
            st.floats(0.2, 20.0), st.sampled_from([LEFT, RIGHT, FAR, None]), st.sampled_from([0.3, 0.45, 0.7, 1.0])
        ),
        max_size=25,
    ),
    st.booleans(),
)
def test_escalations_are_bounded(script, zoned):
    zones = [YARD, BIN] if zoned else []
    stage = Stage(Decider(RULE, zones=zones, schedule=between(1, 2)), fps=4.0)
    for seconds, box, bear in script:
        stage(seconds, *([(box, bear)] if box else []))
    for incident in {v.id for v, _ in stage.told}:
        why = [v.escalated for v, _ in stage.told if v.id == incident and v.escalated]
        why = [each for each in why if not each.startswith("back after")]
        assert len(why) == len(set(why)) <= 2 + len(zones)
        life = [(v, at) for v, at in stage.told if v.id == incident]
        for (before, one), (now, two) in itertools.pairwise(life):
            # At once where it is worse, or has been found again; else rarely.
            assert two - one >= 5.0 - 1e-9 or now.type == "end" or now.escalated or before.type == "end"
    assert not any(v.quiet and v.escalated for v, _ in stage.told)
