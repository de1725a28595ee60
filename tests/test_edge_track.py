"""Tracks: one animal is one track, whatever boxes it is seen in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.schema import WHOLE, Region, Score
from edge.sweep import whole_and_tiles
from edge.track import Tracker, inside, iou

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


def test_whole_frame_and_tiles_around_one_bear_are_one_track():
    bear = (0.45, 0.45, 0.12, 0.15)
    hits = [score(box, 0.9 if inside(box, bear) > 0.4 else 0.01, "sweep") for box in whole_and_tiles((1280, 720))]
    assert sum(hit.bear > 0.5 for hit in hits) >= 4
    tracker = Tracker(0.5)
    assert len(tracker(hits, 0.0)) == 1
    # The next sweeps find it tile by tile.
    for i, hit in enumerate(hits):
        assert len(tracker([hit, score(tracker.tracks[0].box_xywh, 0.9, "track")], 0.5 * (i + 1))) == 1


def test_a_hit_tile_is_looked_at_again_at_its_box():
    tracker = Tracker(0.5)
    tracker([score((0.0, 0.0, 0.3, 0.5), 0.9, "sweep")], 0.0)
    assert tracker.regions([]) == [Region((0.0, 0.0, 0.3, 0.5), "track")]
    assert tracker.regions([Region((0.0, 0.0, 0.3, 0.45), "motion")]) == []


def test_a_tile_without_a_bear_says_nothing_of_the_bear_beside_it():
    tracker = Tracker(0.5)
    tracker([score((0.4, 0.4, 0.1, 0.1), 0.9)], 0.0)
    (track,) = tracker([score(WHOLE, 0.01, "sweep"), score((0.3, 0.3, 0.3, 0.5), 0.01, "sweep")], 0.1)
    assert track.now is None
    (track,) = tracker([score((0.4, 0.4, 0.1, 0.1), 0.1, "track")], 0.2)
    assert track.now
    assert track.now.bear == 0.1


def test_low_scores_begin_no_track():
    assert Tracker(0.5)([score(WHOLE, 0.4, "sweep"), score((0.1, 0.1, 0.1, 0.1), 0.49)], 0.0) == []


def test_two_bears_are_two_tracks():
    tracker = Tracker(0.5)
    for i in range(10):
        tracks = tracker([score((0.1, 0.4, 0.1, 0.1), 0.9), score((0.7, 0.4, 0.1, 0.1), 0.8)], i / 10)
    assert len(tracks) == 2


def test_what_the_sweep_found_and_then_moves_stays_one_track():
    tracker = Tracker(0.5)
    tracker([score((0.3, 0.3, 0.3, 0.5), 0.9, "sweep")], 0.0)
    (track,) = tracker([score((0.4, 0.5, 0.1, 0.1), 0.95)], 0.1)
    assert (track.number, track.moved, track.box_xywh) == (1, True, (0.4, 0.5, 0.1, 0.1))


def test_the_evidence_is_the_highest_of_what_joined():
    tracker = Tracker(0.5)
    box = (0.4, 0.4, 0.2, 0.2)
    (track,) = tracker([score(box, 0.7), score((0.42, 0.42, 0.18, 0.18), 0.9), score(WHOLE, 0.6, "sweep")], 0.0)
    assert track.now
    assert track.now.bear == 0.9


def test_a_track_unseen_for_long_is_gone():
    tracker = Tracker(0.5, lost_s=5.0)
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
