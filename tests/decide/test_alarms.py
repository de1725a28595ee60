"""The life of a happening: new, updated, found again, ended; and how each track stands."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide import alarms
from edge.decide.alarms import Decider
from edge.decide.evidence import Rule
from edge.detect.tracker import Tracker
from edge.schema import Region, Score

RULE = Rule(threshold=0.4, still_threshold=0.6, prior=0.2, ood_threshold=5.0)
LEFT, RIGHT, FAR = (0.1, 0.5, 0.1, 0.1), (0.7, 0.5, 0.1, 0.1), (0.4, 0.1, 0.08, 0.08)
MIDNIGHT = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)

probabilities = st.floats(0.0, 1.0)


def score(box, bear, kind="motion", ood=0.0):
    return Score(Region(box, kind), (bear, 1 - bear), bear, "brown_bear", ood)


class Stage:
    """Tracker and decider, played a scene at a time; ``told`` holds (decision, seconds)."""

    def __init__(self, decider=None, fps=10.0):
        self.tracker, self.decider, self.fps = Tracker(RULE.threshold), decider or Decider(RULE), fps
        self.told, self.time, self.kind, self.crop = [], 0.0, "motion", np.zeros((16, 16), np.float32)

    def __call__(self, seconds, *seen, fps=None):
        """``seen``: (box, bear) pairs, the same in every frame for so many seconds."""
        for _ in range(round(seconds * (fps or self.fps))):
            self.frame([score(box, bear, self.kind) for box, bear in seen])
            self.time += 1 / (fps or self.fps)
        return self

    def frame(self, scores):
        moving = [s.region for s in scores if s.region.kind == "motion"]
        if not scores or self.kind == "motion":
            scores = scores + [score(region.box_xywh, 0.0, "track") for region in self.tracker.regions(moving)]
        tracks, wall = self.tracker(scores, self.time), MIDNIGHT + timedelta(seconds=self.time)
        found = self.decider(tracks, self.time, wall=wall, thumbnail_of=lambda _: self.crop)
        self.told += [(decision, self.time) for decision in found]

    def skip(self, seconds):
        """Nothing is seen for so long; one frame a second."""
        return self(seconds, fps=1.0)

    def kinds(self, type_=None):
        return [(kind, number) for kind, number in kinds(self.told) if type_ in (None, kind)]

    def escalations(self):
        return [v.escalated for v, _ in self.told if v.escalated]

    def noises(self):
        """Times at which something would sound."""
        return [at for v, at in self.told if v.quiet is None and (v.type == "new" or v.escalated)]


def play(script, fps=10.0, until=None, decider=None):
    """Decisions, with their times, of (from_s, to_s, box, bear) scenes."""
    stage, end = Stage(decider, fps), until or max(to for _, to, _, _ in script)
    for i in range(round(end * fps)):
        stage.time = i / fps
        stage.frame([score(box, bear) for start, to, box, bear in script if start <= stage.time < to])
    return stage.told + [(decision, end) for decision in stage.decider.close()]


def kinds(told):
    """The types, each with its incident: 1, 2, 3 … in the order of their beginning."""
    ids = list(dict.fromkeys(decision.id for decision, _ in told))
    return [(decision.type, ids.index(decision.id) + 1) for decision, _ in told]


def test_a_bear_comes_and_goes():
    told = play([(1.0, 4.0, LEFT, 0.99)], until=15.0)
    assert kinds(told) == [("new", 1), ("end", 1)]
    (new, at), (end, ended_at) = told
    assert at - 1.0 == pytest.approx(new.onset_s, abs=1e-6)
    assert new.onset_s <= RULE.seconds_at_best
    assert (new.label, new.box_xywh, new.quiet, new.zones) == ("brown_bear", LEFT, None, ())
    assert 8.5 <= ended_at <= 9.5
    assert end.top_score == 0.99


def test_a_decision_has_the_labels_part_of_all_bears_in_the_surest_picture():
    stage = Stage()
    for bear, share, seconds in ((0.8, 0.5, 3.0), (0.99, 0.8, 6.0), (0.95, 1.0, 1.0)):
        for _ in range(round(seconds * stage.fps)):
            stage.frame([replace(score(LEFT, bear), share=share)])
            stage.time += 1 / stage.fps
    told = [decision for decision, _ in stage.told] + stage.decider.close()
    assert [(each.type, each.share) for each in told] == [("new", 0.5), ("update", 0.8), ("end", 0.8)]


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
    assert told[1][0].escalated is None


def test_an_incident_that_lasts_is_published_now_and_then(monkeypatch):
    monkeypatch.setattr(alarms, "REMIND_S", 60.0)
    stage = Stage(Decider(RULE))(301.0, (LEFT, 0.99), fps=2.0)
    assert stage.kinds() == [("new", 1), *[("update", 1)] * 5]
    assert len(stage.noises()) == 1


def test_a_pause_of_the_camera_ends_the_cooldown():
    stage = Stage()(2.0, (LEFT, 0.99))
    stage.time += 1000.0
    stage(2.0, (LEFT, 0.99))
    assert stage.kinds() == [("new", 1), ("end", 1), ("new", 2)]


def test_when_the_camera_is_gone_what_was_seen_ends_and_is_found_again_afterwards():
    stage = Stage()(2.0, (LEFT, 0.99))
    stage.told += [(decision, stage.time) for decision in stage.decider.close()]
    assert stage.decider.close() == []
    stage.time += 3.0  # shorter than a track lives
    stage(2.0, (LEFT, 0.99)).skip(10.0)
    assert stage.kinds() == [("new", 1), ("end", 1), ("update", 1), ("end", 1)]
    assert len(stage.noises()) == 1


scenes = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0.1, 5), st.sampled_from([LEFT, RIGHT]), probabilities),
    min_size=1,
    max_size=6,
)


@given(scenes)
def test_every_happening_begins_once_and_ends_last(found):
    told = play([(start, start + length, box, bear) for start, length, box, bear in found], fps=5.0, until=40.0)
    for incident in {decision.id for decision, _ in told}:
        life = [decision.type for decision, _ in told if decision.id == incident]
        assert life[0] == "new"
        assert life.count("new") == 1
        assert life[-1] == "end"
        assert not any(one == two == "end" for one, two in itertools.pairwise(life))


def test_a_flag_that_waves_for_an_hour_alarms_once():
    stage = Stage()
    for _ in range(360):
        stage(7.0, (LEFT, 0.8), fps=2.0)(3.0, fps=2.0)
    assert len(stage.noises()) == 1
    assert len(stage.told) <= 2 + 3600 / 600


def test_a_flag_in_gusts_alarms_at_most_sixteen_times_an_hour():
    """The worst there is: every gust comes as soon as the cooldown is over."""
    stage, last = Stage(), 0.0
    while stage.time < 3600.0:
        before = len(stage.noises())
        stage(2.0, (LEFT, 0.99), fps=5.0)
        last = stage.time
        assert len(stage.noises()) == before + 1
        # 30 s, 60 s … 300 s, counted from when it was last seen.
        wait = min(30.0 * 2**before, 300.0) + 1.0
        stage.skip(round(wait))
    assert stage.time - last < 310.0
    assert len(stage.noises()) <= 16
    # An hour of peace, and the spot is as any other again.
    stage.skip(3700.0)(2.0, (LEFT, 0.99)).skip(35.0)(2.0, (LEFT, 0.99))
    assert [v.type for v, _ in stage.told][-3:] == ["new", "end", "new"]


def test_a_bear_elsewhere_does_not_share_the_flags_longer_cooldown():
    stage = Stage()
    for wait in (35, 70, 130):
        stage(2.0, (LEFT, 0.99)).skip(wait)
    stage(2.0, (LEFT, 0.99)).skip(40)
    before = len(stage.noises())
    assert before == 4
    stage(2.0, (LEFT, 0.99))
    assert len(stage.noises()) == before  # the flag is still in its cooldown
    stage.skip(40)(2.0, (RIGHT, 0.99))
    assert len(stage.noises()) == before + 1


def test_standings_say_what_holds_a_track_back():
    rule = Rule(0.4, 0.6, ood_threshold=5.0, night_threshold=0.45)
    tracker, decider = Tracker(0.4), Decider(rule)
    decider(tracker([score(LEFT, 0.5, "track"), score(RIGHT, 0.9, ood=9.0), score(FAR, 0.43)], 0.0), 0.0, night=True)
    far, right, left = sorted(
        decider.evidence_states(), key=lambda standing: standing.box_xywh[1] - standing.box_xywh[0]
    )
    assert (left.threshold, left.said, left.sum) == (0.6, 0.0, 0.0)
    assert left.held == ("never moved: held to the still threshold 0.60", "below the threshold")
    assert (right.bear, right.alarm_at) == (0.9, 1.8)
    assert right.said == pytest.approx(rule.evidence(0.9, night=True) / 2)
    assert right.sum == pytest.approx(0.3 * right.said)
    assert right.held == ("night: held to the night threshold 0.45", "unlike training: counts half")
    assert far.held == ("night: held to the night threshold 0.45", "below the threshold")
    decider(tracker([], 5.0), 5.0)
    later = next(standing for standing in decider.evidence_states() if standing.track == right.track)
    assert (later.bear, later.said) == (None, 0.0)
    assert later.held == ("stands still: held to the still threshold 0.60",)
    assert 0 < later.sum < right.sum


@pytest.mark.parametrize(
    ("crop", "whole", "every", "alarms"),
    [
        (0.55, 0.55, 20, True),
        (0.55, None, 20, False),
        (0.2, 0.55, 20, False),
        (0.5, 0.5, 20, True),
        (0.5, 0.5, 100, False),  # what the scan said once does not count for ever
    ],
)
def test_what_is_still_alarms_where_its_crop_and_the_frame_scan_both_say_bear(crop, whole, every, alarms):
    """Neither passes the still threshold of 0.6: one look that is the same each time is not enough."""
    stage = Stage()
    for number in range(100):
        scanned = [score(LEFT, whole, "scan")] if whole and number % every == 0 else []
        stage.frame([*scanned, score(LEFT, crop, "track")])
        stage.time += 0.1
    assert bool(stage.kinds("new")) == alarms


@pytest.mark.parametrize(("sways", "bear", "alarms"), [(1, 0.59, False), (4, 0.55, True)])
def test_what_pauses_gathers_nothing_and_loses_nothing(sways, bear, alarms):
    """A leaf that swayed once is looked at again and again, each time the same; a bear that grazes walks on."""
    stage = Stage()
    for _ in range(sways):
        stage.kind = "motion"
        stage(0.5, (LEFT, bear))
        stage.kind = "track"
        stage(2.0, (LEFT, bear))
    stage(8.0, (LEFT, bear))
    assert bool(stage.kinds("new")) == alarms


@given(scenes)
def test_standings_agree_with_what_was_reported(found):
    stage = Stage(fps=5.0)
    for i in range(150):
        stage.time, before = i / 5.0, len(stage.told)
        stage.frame([score(b, p) for start, length, b, p in found if start <= stage.time < start + length])
        standings = {standing.track: standing for standing in stage.decider.evidence_states()}
        assert list(standings) == [track.number for track in stage.tracker.tracks]
        for decision, _ in stage.told[before:]:
            if decision.type == "new":
                assert standings[decision.track].sum >= standings[decision.track].alarm_at
                assert "published already, in cooldown" in standings[decision.track].held
        for standing in standings.values():
            assert standing.sum >= 0.0
            assert abs(standing.said) <= RULE.cap
            assert standing.alarm_at in (RULE.alarm_at, 2 * RULE.alarm_at)
