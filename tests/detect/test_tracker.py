"""Tracks: one animal is one track, whatever boxes it is seen in; and a higher score never costs much."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.alarms import Decider
from edge.decide.evidence import Evidence, Rule
from edge.detect.tracker import Tracker, inside, iou
from edge.schema import WHOLE, Region, RegionKind, Score

sides = st.floats(0.02, 0.5)
boxes = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), sides, sides)


def score(box, bear, kind="motion"):
    return Score(Region(box, kind), (bear, 1 - bear), bear, "brown_bear", 0.0)


@given(boxes, boxes)
def test_overlaps_are_shares(one, other):
    assert 0.0 <= iou(one, other) <= inside(one, other) + 1e-9 <= 1.0 + 2e-9
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert iou(one, one) == pytest.approx(1.0)


def test_a_walking_bear_with_jittering_boxes_is_one_track():
    tracker = Tracker(0.5)
    for i in range(50):
        jitter = 0.01 if i % 2 else 0.0
        tracks = tracker([score((0.1 + 0.01 * i - jitter, 0.4, 0.1 + jitter, 0.1 + jitter), 0.9)], i / 10)
    assert [track.number for track in tracks] == [1]
    assert tracks[0].moved
    assert tracks[0].box_xywh[0] == pytest.approx(0.58)


def test_what_a_look_at_the_whole_frame_finds_about_one_bear_is_one_track():
    tracker = Tracker(0.5)
    rng = np.random.default_rng(1)
    for i in range(40):
        around = (0.45 + rng.normal() * 0.01, 0.45 + rng.normal() * 0.01, 0.12 * rng.uniform(0.8, 1.5), 0.15)
        own = [score(region.box_xywh, 0.9, "track") for region in tracker.regions([])]
        tracks = tracker([score(around, 0.9, "scan"), *own], 2.0 * i)
    assert [track.number for track in tracks] == [1]


def test_what_the_frame_scan_found_is_looked_at_again_at_its_box():
    tracker = Tracker(0.5)
    tracker([score((0.0, 0.0, 0.3, 0.5), 0.9, "scan")], 0.0)
    assert tracker.regions([]) == [Region((0.0, 0.0, 0.3, 0.5), "track")]
    assert tracker.regions([Region((0.0, 0.0, 0.3, 0.45), "motion")]) == []


def test_a_place_without_a_bear_says_nothing_of_the_bear_beside_it():
    tracker = Tracker(0.5)
    tracker([score((0.4, 0.4, 0.1, 0.1), 0.9)], 0.0)
    (track,) = tracker([score(WHOLE, 0.01, "scan"), score((0.3, 0.3, 0.3, 0.5), 0.01, "scan")], 0.1)
    assert track.now is None
    (track,) = tracker([score((0.4, 0.4, 0.1, 0.1), 0.1, "track")], 0.2)
    assert track.now
    assert track.now.bear == 0.1


def test_low_scores_begin_no_track():
    assert Tracker(0.5)([score(WHOLE, 0.4, "scan"), score((0.1, 0.1, 0.1, 0.1), 0.49)], 0.0) == []


def test_two_bears_are_two_tracks():
    tracker = Tracker(0.5)
    for i in range(10):
        tracks = tracker([score((0.1, 0.4, 0.1, 0.1), 0.9), score((0.7, 0.4, 0.1, 0.1), 0.8)], i / 10)
    assert len(tracks) == 2


def test_what_the_frame_scan_found_and_then_moves_stays_one_track():
    tracker = Tracker(0.5)
    tracker([score((0.3, 0.3, 0.3, 0.5), 0.9, "scan")], 0.0)
    (track,) = tracker([score((0.4, 0.5, 0.1, 0.1), 0.95)], 0.1)
    assert (track.number, track.moved, track.box_xywh) == (1, True, (0.4, 0.5, 0.1, 0.1))


def test_the_evidence_is_the_highest_of_what_joined():
    tracker = Tracker(0.5)
    box = (0.4, 0.4, 0.2, 0.2)
    (track,) = tracker([score(box, 0.7), score((0.42, 0.42, 0.18, 0.18), 0.9), score(WHOLE, 0.6, "scan")], 0.0)
    assert track.now
    assert track.now.bear == 0.9


def test_a_track_unseen_for_long_is_gone():
    tracker = Tracker(0.5)
    tracker([score((0.4, 0.4, 0.1, 0.1), 0.9)], 0.0)
    assert len(tracker([], 5.0)) == 1
    assert tracker([], 5.1) == []


def test_a_bear_at_one_picture_a_second_is_followed():
    tracker = Tracker(0.5)
    for i in range(6):
        tracks = tracker([score((0.1 + 0.1 * i, 0.4, 0.1, 0.1), 0.9)], float(i))
    assert [track.number for track in tracks] == [1]


def test_tracks_that_come_to_lie_on_one_another_are_one():
    tracker = Tracker(0.5)
    tracker([score((0.2, 0.4, 0.1, 0.1), 0.9), score((0.5, 0.4, 0.1, 0.1), 0.9)], 0.0)
    for i in range(1, 16):
        step = 0.01 * i
        tracks = tracker([score((0.2 + step, 0.4, 0.1, 0.1), 0.9), score((0.5 - step, 0.4, 0.1, 0.1), 0.8)], i / 10)
    assert [track.number for track in tracks] == [1]


# Through tracker and decider: pointwise higher scores


def test_a_weak_hit_beside_a_still_track_does_not_count_against_it():
    """Held to the still threshold, a look with a score between the two would; without a hit it says nothing."""
    rule, box, beside = Rule(0.4, 0.6), (0.4, 0.4, 0.1, 0.1), (0.45, 0.45, 0.3, 0.3)
    sums = []
    for bear in (0.3, 0.5):
        tracker, decider = Tracker(0.4), Decider(rule)
        decider(tracker([score(box, 0.9, "scan")], 0.0), 0.0)
        decider(tracker([score(beside, bear, "scan")], 0.3), 0.3)
        sums.append(decider.evidence_states()[0].sum)
    assert sums[1] == pytest.approx(sums[0])
    assert not tracker.tracks[0].own


def test_a_second_track_beside_the_first_goes_on_from_its_evidence():
    rule = Rule(0.4, 0.6)
    tracker, decider = Tracker(0.4), Decider(rule)
    decider(tracker([score((0.3, 0.4, 0.1, 0.1), 0.99)], 0.0), 0.0)
    decider(tracker([score((0.3, 0.4, 0.1, 0.1), 0.01), score((0.44, 0.43, 0.1, 0.1), 0.41)], 0.1), 0.1)
    decider(tracker([score((0.41, 0.42, 0.1, 0.1), 0.99)], 0.2), 0.2)
    told = decider(tracker([score((0.38, 0.41, 0.1, 0.1), 0.99)], 0.5), 0.5)
    alone = Evidence(rule)
    for bear, time in ((0.99, 0.0), (0.01, 0.1), (0.99, 0.2), (0.99, 0.5)):
        alarmed = alone(rule.evidence(bear), time)
    assert alarmed == bool(told)
    assert max(standing.sum for standing in decider.evidence_states()) >= alone.sum - 1e-9


def test_a_second_bear_beside_one_that_was_reported_gathers_its_own_evidence():
    tracker, decider = Tracker(0.4), Decider(Rule(0.4, 0.6))
    bear, other = (0.3, 0.4, 0.1, 0.1), (0.43, 0.4, 0.1, 0.1)
    for i in range(20):
        told = decider(tracker([score(bear, 0.99)], i / 10), i / 10)
    told = decider(tracker([score(bear, 0.99), score(other, 0.45)], 2.0), 2.0)
    for i in range(21, 34):
        told += decider(tracker([score(other, 0.45)], i / 10), i / 10)
        assert decider.evidence_states()[1].sum < 0.5
    # It could be the first one by now, had that walked.
    assert tracker.tracks[1].likely_same_ids == [1]
    assert told == []


def scattered(seed):
    """[(time, [(region, lower, higher score)])]: boxes scattered about a few places, scores without rhyme."""
    rng = np.random.default_rng(seed)
    fps, count = float(rng.choice([1, 2, 5, 10])), int(rng.integers(3, 40))
    places = [(*rng.uniform(0, 0.7, 2), *rng.uniform(0.05, 0.3, 2)) for _ in range(rng.integers(1, 4))]
    drifts = [rng.uniform(-0.05, 0.05, 2) * rng.integers(0, 2) for _ in places]
    some: list[list[RegionKind]] = [["motion"], ["motion", "scan"], ["motion", "scan", "track"], ["scan"]]
    kinds = some[rng.integers(4)]
    spread, present, mean = rng.choice([0.05, 0.3, 0.8]), rng.uniform(0.3, 1), rng.uniform(0.2, 0.95)
    raised = rng.choice([0.05, 0.3, 1.0])
    frames = []
    for i in range(count):
        seen = []
        for (x, y, w, h), drift in zip(places, drifts, strict=True):
            for _ in range(int(rng.integers(1, 3))):
                if rng.random() > present:
                    continue
                jitter = rng.choice([0.05, 0.2, 0.5])
                wide, tall = w * math.exp(rng.normal() * jitter), h * math.exp(rng.normal() * jitter)
                left = x + drift[0] * i / fps + rng.normal() * jitter * w
                top = y + drift[1] * i / fps + rng.normal() * jitter * h
                low = float(np.clip(mean + spread * rng.normal(), 0, 1))
                high = low + (1 - low) * float(rng.random()) if rng.random() < raised else low
                box = (float(left), float(top), float(wide), float(tall))
                seen.append((Region(box, kinds[rng.integers(len(kinds))]), low, high))
        frames.append((i / fps, seen))
    return frames


def first_alarm(frames, which):
    """When the first alarm comes, and where; infinity for none. ``which``: 1 the lower scores, 2 the higher."""
    rule = Rule(0.4, 0.6, prior=0.2)
    tracker, decider = Tracker(rule.threshold), Decider(rule)
    for time, seen in frames:
        scores = [Score(each[0], (each[which],), each[which], "bear", 0.0) for each in seen]
        for decision in decider(tracker(scores, time), time):
            if decision.type == "new":
                return time, decision.box_xywh
    return math.inf, None


def test_higher_scores_are_rarely_later():
    """A score decides which track an observation joins, so it can be; 11 without ``likely_same_ids`` and ``own``."""
    scenes = [scattered(seed) for seed in range(1000)]
    alarms = [(first_alarm(frames, 1)[0], first_alarm(frames, 2)[0]) for frames in scenes]
    assert sum(lower < math.inf for lower, _ in alarms) > 500
    assert sum(higher > lower + 1e-9 for lower, higher in alarms) <= 6


@given(st.integers(0, 2**32))
def test_higher_scores_are_never_later_than_a_sure_bear_takes_from_nothing(seed):
    """The bound: where the bear is still there, the alarm comes once a track without evidence would have made it."""
    frames = scattered(seed)
    lower, box = first_alarm(frames, 1)
    if lower == math.inf:
        return
    step = frames[1][0]
    sure = [(lower + step * i, [(Region(box, "motion"), 1.0, 1.0)]) for i in range(1, 30)]
    nothing, needed = Evidence(Rule(0.4, 0.6, prior=0.2)), 1
    nothing(-3.0, 0.0)
    while not nothing(3.0, needed * step):
        needed += 1
    higher, _ = first_alarm([frame for frame in frames if frame[0] <= lower] + sure, 2)
    assert higher <= lower + needed * step + 1e-9
