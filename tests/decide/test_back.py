"""Driven off and back: worth another noise, two minutes after the last and ever more seldom; flicker is not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.alarms import BACK_AFTER_S, QUIET_S, Decider
from edge.decide.repeat_alarms import RepeatAlarmFilter
from tests.decide.test_alarms import LEFT, RIGHT, RULE, Stage
from tests.device.test_escalation import YARD, between


def visits(stage, times, *, here_s=15.0, away_s=17.0, box=LEFT):
    """A bear that is there and gone in turn."""
    for _ in range(times):
        stage(here_s, (box, 0.9), fps=5.0).skip(away_s)
    return stage


def test_a_bear_that_comes_and_goes_for_five_minutes_is_heard_again_every_two_minutes_at_first():
    stage = visits(Stage(), 10)
    assert stage.kinds("new") == [("new", 1)]
    assert stage.escalations() == ["back after 17 s"] * 2
    for before, now in itertools.pairwise(stage.noises()):
        assert QUIET_S <= now - before <= QUIET_S + 32.0 + 1.0


def test_what_comes_and_goes_all_night_is_heard_ever_more_seldom():
    noises = visits(Stage(), 4 * 3600 // 32).noises()
    gaps = [now - before for before, now in itertools.pairwise(noises)]
    assert len(noises) <= 9
    assert all(now >= 1.5 * before for before, now in itertools.pairwise(gaps[1:]))


def test_a_bear_that_is_back_sooner_and_stays_is_heard_as_soon_as_two_minutes_are_over():
    stage = Stage()(5.0, (LEFT, 0.9)).skip(20.0)(200.0, (LEFT, 0.9), fps=5.0)
    first, again = stage.noises()
    assert stage.escalations() == ["back after 20 s"]
    assert again - first == pytest.approx(QUIET_S, abs=0.5)
    # Once: what has been told is told, and a bear that stays is no news.
    assert stage(3600.0, (LEFT, 0.9), fps=2.0).escalations() == ["back after 20 s"]


@pytest.mark.parametrize("away_s", [2.0, 4.0, 6.0, BACK_AFTER_S - 2.0])
def test_flicker_is_no_return(away_s):
    assert len(visits(Stage(), 40, away_s=away_s).noises()) == 1


def test_where_it_is_back_does_not_matter_but_a_zone_does():
    stage = visits(visits(Stage(), 5), 1, box=RIGHT)
    assert stage.escalations() == ["back after 17 s"]
    stage = visits(Stage(Decider(RULE, zones=[YARD])), 4, box=RIGHT)
    stage(30.0, (LEFT, 0.9), fps=5.0)
    assert stage.escalations() == []
    assert stage(1.0, (RIGHT, 0.9)).escalations() == []  # another bear, seen before the first had gone


def test_while_another_is_seen_none_has_gone():
    """It may be the same one: what is large and near is followed in parts."""
    stage = Stage()
    for _ in range(10):
        stage(15.0, (LEFT, 0.9), (RIGHT, 0.9), fps=5.0)(17.0, (RIGHT, 0.9), fps=5.0)
    assert stage.kinds("new") == [("new", 1), ("new", 2)]
    assert len(stage.noises()) == 2


def test_a_stump_that_is_known_now_and_then_has_not_come_back():
    stage = Stage(Decider(RULE, repeat_alarms=RepeatAlarmFilter()))
    stage.kind = "scan"
    assert len(visits(stage, 100).noises()) == 1


def test_a_camera_that_saw_nothing_has_lost_no_bear():
    stage = Stage()(5.0, (LEFT, 0.9))
    for _ in range(10):  # gone, and opened again
        stage.told += [(decision, stage.time) for decision in stage.decider.close()]
        stage.time += 20.0
        stage(15.0, (LEFT, 0.9), fps=5.0)
    assert len(stage.noises()) == 1
    for _ in range(10):  # covered
        for _ in range(20):
            stage.time += 1.0
            told = stage.decider(stage.tracker([], stage.time), stage.time, seeing=False)
            stage.told += [(decision, stage.time) for decision in told]
        stage(15.0, (LEFT, 0.9), fps=5.0)
    assert stage.kinds("new") == [("new", 1)]
    assert len(stage.noises()) == 1


def test_outside_the_schedule_a_bear_that_is_back_makes_no_noise():
    stage = visits(Stage(Decider(RULE, schedule=between(60, 120))), 20)
    assert stage.noises() == []


def test_a_flag_in_gusts_that_come_and_go_as_they_like_alarms_at_most_sixteen_times_an_hour():
    """The worst there is with both: a return as soon as one is heard, then a visit of its own as soon as it is one."""
    stage = Stage()
    while stage.time < 3600.0:
        heard = len(stage.noises())
        while len(stage.noises()) < heard + 2:  # a new one, and one return
            stage(2.0, (LEFT, 0.99), fps=5.0)
            if len(stage.noises()) < heard + 2:
                stage.skip(12.0)
        wait = stage.decider._incidents[-1].again_s
        stage.skip(wait + 1.0)
    assert sum(at < 3600.0 for at in stage.noises()) <= 16


@given(
    st.lists(st.tuples(st.floats(0.2, 40.0), st.floats(0.2, 40.0), st.sampled_from([LEFT, RIGHT])), max_size=30),
    st.booleans(),
)
def test_a_visit_makes_no_more_than_one_noise_in_two_minutes_for_coming_back(script, outside):
    stage = Stage(Decider(RULE, schedule=between(1, 4) if outside else None), fps=4.0)
    for here_s, away_s, box in script:
        stage(here_s, (box, 0.9)).skip(away_s)
    loud = [(v, at) for v, at in stage.told if v.alarms]
    for incident in {v.id for v, _ in loud}:
        own = [(v, at) for v, at in loud if v.id == incident]
        for (_, before), (now, at) in itertools.pairwise(own):
            if (now.escalated or "").startswith("back after"):
                assert at - before >= QUIET_S
                assert float(now.escalated.split()[2]) >= BACK_AFTER_S - 0.5
