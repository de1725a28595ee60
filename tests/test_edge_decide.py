"""The decision: what must hold for any scores at any times, and the life of a happening."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.decide import Evidence, Rule
from edge.errors import OptionError
from edge.happening import Decider
from edge.schema import Region, Score
from edge.track import Tracker

RULE = Rule(threshold=0.4, still_threshold=0.6, prior=0.2, ood_threshold=5.0)

probabilities = st.floats(0.0, 1.0)
gaps = st.floats(0.01, 30.0)
sequences = st.lists(st.tuples(gaps, probabilities), min_size=1, max_size=60)


def first_alarm(scores, rule=RULE, **what):
    """The time of the first alarm of (gap, probability) pairs; infinity for none."""
    evidence, time = Evidence(rule), 0.0
    for gap, bear in scores:
        time += gap
        if evidence(rule.evidence(bear, **what), time):
            return time
    return math.inf


@given(st.lists(st.tuples(gaps, st.floats(0.0, 0.4)), max_size=200))
def test_no_evidence_never_alarms(scores):
    assert first_alarm(scores) == math.inf


@given(sequences, st.data())
def test_higher_scores_never_alarm_later(scores, data):
    higher = [(gap, data.draw(st.floats(bear, 1.0))) for gap, bear in scores]
    assert first_alarm(higher) <= first_alarm(scores)


@given(st.floats(0.5, 1.0), st.floats(3.0, 30.0), st.floats(3.0, 30.0))
def test_the_frame_rate_does_not_matter(bear, fps, other_fps):
    said = RULE.evidence(bear)
    # Below this the leak wins in the end at any rate, and near it the time is not well defined.
    assume(said > 1.5 * RULE.alarm_at / RULE.forget_s)
    times = [first_alarm([(1 / rate, bear)] * 2000) for rate in (fps, other_fps)]
    longest = math.log(1 / (1 - RULE.alarm_at / (said * RULE.forget_s))) * RULE.forget_s
    assert all(time <= longest + 2 / rate for time, rate in zip(times, (fps, other_fps), strict=True))
    # They may differ by a frame, and by the first score's fixed weight.
    assert abs(times[0] - times[1]) <= 2 * (1 / fps + 1 / other_fps) + 0.05 * longest


@given(st.lists(st.floats(3600.0, 20000.0), min_size=1, max_size=50))
def test_blips_hours_apart_never_add_up(hours):
    assert first_alarm([(gap, 1.0) for gap in hours]) == math.inf


@given(st.lists(st.tuples(gaps, st.floats(0.0, 0.4)), max_size=30), gaps)
def test_one_blip_never_alarms(before, gap):
    assert first_alarm([*before, (gap, 1.0)]) == math.inf


@given(st.floats(0.5, 60.0))
def test_a_sure_bear_alarms_in_time(fps):
    last_allowed = max(RULE.frames_at_best, math.ceil(RULE.seconds_at_best * fps - 1e-9) + 1)
    assume(1 / fps <= 4.0)
    assert first_alarm([(1 / fps, 1.0)] * last_allowed) < math.inf
    assert first_alarm([(1 / fps, 1.0)]) == math.inf


@given(probabilities)
def test_evidence_begins_at_the_cards_threshold(bear):
    assert (RULE.evidence(bear) > 1e-9) == (bear > 0.4 + 1e-9) or abs(bear - 0.4) < 1e-6
    assert RULE.evidence(bear, still=True) <= RULE.evidence(bear)


@given(probabilities)
def test_strangeness_halves_and_never_vetoes(bear):
    plain, strange = RULE.evidence(bear), RULE.evidence(bear, ood=6.0)
    assert strange == pytest.approx(plain / 2 if plain > 0 else plain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.0},
        {"prior": 0.0},
        {"cap": -1.0},
        {"forget_s": math.nan},
        {"first_s": 0.7},
        {"step_max_s": 0.6},
        {"first_s": 0.1, "step_max_s": 0.2},
    ],
)
def test_constants_that_could_not_work_are_refused(wrong):
    with pytest.raises(OptionError):
        Rule(**({"threshold": 0.4, "still_threshold": 0.4} | wrong))


def play(script, fps=10.0, until=None, decider=None):
    """Verdicts of {name: (from_s, to_s, box, bear)} scenes played through tracker and decider."""
    tracker, decider = Tracker(RULE.threshold), decider or Decider(RULE)
    end = until or max(to for _, to, _, _ in script)
    told = []
    for i in range(round(end * fps)):
        time = i / fps
        moving = [
            Score(Region(box, "motion"), (bear, 1 - bear), bear, "brown_bear", 0.0)
            for start, to, box, bear in script
            if start <= time < to
        ]
        again = [
            Score(region, (0.0, 1.0), 0.0, "brown_bear", 0.0) for region in tracker.regions([s.region for s in moving])
        ]
        told += [(verdict, time) for verdict in decider(tracker([*moving, *again], time), time)]
    return told + [(verdict, end) for verdict in decider.close()]


def kinds(told):
    return [(verdict.type, verdict.happening) for verdict, _ in told]


LEFT, RIGHT = (0.1, 0.5, 0.1, 0.1), (0.7, 0.5, 0.1, 0.1)


def test_a_bear_comes_and_goes():
    told = play([(1.0, 4.0, LEFT, 0.99)], until=15.0)
    assert kinds(told) == [("new", 1), ("end", 1)]
    (new, at), (end, ended_at) = told
    assert at - 1.0 == pytest.approx(new.onset_s, abs=1e-6)
    assert new.onset_s <= RULE.seconds_at_best
    assert (new.label, new.box_xywh) == ("brown_bear", LEFT)
    assert 8.5 <= ended_at <= 9.5
    assert end.top_score == 0.99


def test_the_end_of_the_source_ends_what_is_open():
    assert kinds(play([(0.0, 3.0, LEFT, 0.99)])) == [("new", 1), ("end", 1)]


def test_found_again_soon_is_the_same_happening():
    told = play([(0.0, 2.0, LEFT, 0.99), (12.0, 14.0, RIGHT, 0.99)], until=25.0)
    assert kinds(told) == [("new", 1), ("end", 1), ("update", 1), ("end", 1)]


def test_found_again_late_is_a_new_one():
    told = play([(0.0, 2.0, LEFT, 0.99), (60.0, 62.0, LEFT, 0.99)], until=75.0)
    assert kinds(told) == [("new", 1), ("end", 1), ("new", 2), ("end", 2)]


def test_a_second_bear_at_the_same_time_is_its_own():
    told = play([(0.0, 6.0, LEFT, 0.99), (2.0, 6.0, RIGHT, 0.99)])
    assert kinds(told) == [("new", 1), ("new", 2), ("end", 1), ("end", 2)]


def test_updates_are_rare_and_only_for_a_higher_score():
    told = play([(0.0, 3.0, LEFT, 0.8), (3.0, 20.0, LEFT, 0.99)])
    assert kinds(told) == [("new", 1), ("update", 1), ("end", 1)]
    assert told[1][1] - told[0][1] >= 5.0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0.1, 5), st.sampled_from([LEFT, RIGHT]), probabilities),
        min_size=1,
        max_size=6,
    )
)
def test_every_happening_begins_once_and_ends_last(scenes):
    told = play([(start, start + length, box, bear) for start, length, box, bear in scenes], fps=5.0, until=40.0)
    for number in {verdict.happening for verdict, _ in told}:
        life = [verdict.type for verdict, _ in told if verdict.happening == number]
        assert life[0] == "new"
        assert life.count("new") == 1
        assert life[-1] == "end"
        assert not any(one == two == "end" for one, two in itertools.pairwise(life))
