"""A track owns what really overlaps it, however the frame is cut up; and an alarm in a zone ends with its bear."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.alarms import Decider
from edge.decide.evidence import Rule
from edge.detect.tracker import SAME_INSIDE, SAME_IOU, Tracker, inside, iou
from edge.detect.zones import Zone
from edge.record.explanation import explain
from edge.record.trace import Moment
from edge.record.trace_query import Match, TraceRun
from edge.schema import WHOLE, Event, Region, Score
from edge.settings import CameraSettings
from edge.watch import Watcher
from tests.alarm.test_watch import scene, walk, watch
from tests.decide.test_alarms import RULE, Stage
from tests.helpers.tiny import BEAR_COLOUR

LEFT_HALF = Zone("left", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
LEFT, RIGHT = (0.1, 0.5, 0.1, 0.1), (0.7, 0.5, 0.1, 0.1)
HERE, BESIDE, CORNER = (0.2, 0.2, 0.3, 0.3), (0.4, 0.2, 0.3, 0.3), (0.4, 0.4, 0.3, 0.3)  # a third, and a ninth


def score(box, bear, kind="scan"):
    return Score(Region(box, kind), (bear, 1 - bear), bear, "brown_bear", 0.0)


def owns(box, region):
    """Return True if a region's overlap with a track's box is real."""
    return iou(box, region) >= SAME_IOU or inside(box, region) >= SAME_INSIDE


@pytest.mark.parametrize("near", [BESIDE, CORNER])
def test_what_merely_touches_a_track_never_gives_it_a_score_nor_keeps_it_alive(near):
    tracker = Tracker(0.5)
    tracker([score(HERE, 0.9)], 0.0)
    for i in range(1, 80):
        tracks = tracker([score(HERE, 0.1, "track"), score(near, 0.95)], i / 10)
        if own := [track for track in tracks if track.number == 1]:
            assert own[0].now == score(HERE, 0.1, "track")
    assert [track.box_xywh for track in tracks] == [near]


def test_the_part_of_the_frame_beside_what_moves_shows_the_same_animal_and_one_farther_away_another():
    """Motion finds the legs of a walking bear; its back is in the part of the frame above, which touches nothing."""
    legs, above, far = (0.46, 0.51, 0.13, 0.17), (0.36, 0.0, 0.28, 0.5), (0.36, 0.0, 0.28, 0.3)
    tracker = Tracker(0.5)
    assert len(tracker([score(legs, 0.98, "motion"), score(above, 0.94)], 0.0)) == 1
    assert len(tracker([score(legs, 0.98, "motion"), score(far, 0.94)], 0.1)) == 2
    surer = Tracker(0.5)  # a bear that is clearer than what moves is one of its own
    assert len(surer([score(legs, 0.6, "motion"), score(above, 0.94)], 0.0)) == 2


def test_a_large_region_adds_to_what_is_hit_in_it_and_keeps_nothing_alive():
    tracker = Tracker(0.5)
    small = (0.1, 0.1, 0.1, 0.1)
    tracker([score(small, 0.9)], 0.0)
    (track,) = tracker([score(small, 0.6, "track"), score(WHOLE, 0.95)], 0.1)
    assert (track.now, track.box_xywh) == (score(WHOLE, 0.95), small)
    for i in range(2, 60):
        tracks = tracker([score(small, 0.1, "track"), score(WHOLE, 0.95)], i / 10)
    assert [track.box_xywh for track in tracks] == [WHOLE]


def test_the_parts_of_the_frame_that_touch_one_another_begin_one_track():
    tracker = Tracker(0.5)
    (track,) = tracker([score(HERE, 0.8), score(BESIDE, 0.9), score(CORNER, 0.7)], 0.0)
    assert (track.box_xywh, track.now) == (BESIDE, score(BESIDE, 0.9))


def test_what_is_seen_no_more_at_its_box_is_where_an_overlapping_part_says_bear():
    tracker, half = Tracker(0.5), (0.2, 0.35, 0.3, 0.3)
    tracker([score(HERE, 0.9)], 0.0)
    (track,) = tracker([score(HERE, 0.6, "track"), score(half, 0.7)], 0.1)
    assert track.box_xywh == HERE
    (track,) = tracker([score(HERE, 0.1, "track"), score(half, 0.7)], 0.2)
    assert (track.number, track.box_xywh) == (1, half)


@given(st.integers(0, 2**32))
def test_no_track_is_credited_with_a_window_elsewhere_whatever_windows_there_are(seed):
    """Windows of any size and place, as a scan of the whole frame has them, about bears that come and go."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(0.1, 0.6, 60)
    windows = [(*rng.uniform(0, 1 - side, 2), side, side) for side in sides] + [WHOLE]
    bears = [(*rng.uniform(0, 0.9, 2), 0.08, 0.08) for _ in range(3)]
    tracker = Tracker(0.5)
    for i in range(40):
        there = [bear for number, bear in enumerate(bears) if (i // 10 + number) % 3]
        looks = [windows[n] for n in rng.choice(len(windows), 12, replace=False)]
        scores = [score(region.box_xywh, 0.0, "track") for region in tracker.regions([])]
        scores = [*scores, *(score(box, 0.0) for box in looks)]
        for number, one in enumerate(scores):
            holds = any(inside(one.region.box_xywh, bear) > 0.9 for bear in there)
            bear = float(rng.uniform(0.5, 1.0)) if holds else float(rng.uniform(0.0, 0.5))
            scores[number] = replace(one, bear=bear)
        for track in tracker(scores, i / 5):
            assert track.now is None or owns(track.box_xywh, track.now.region.box_xywh)


def test_an_alarm_in_a_zone_ends_when_its_bear_has_left_the_zone_and_goes_on_where_it_is_back():
    stage = Stage(Decider(RULE, zones=[LEFT_HALF]))
    steps = [(0.1 + 0.02 * i, 0.5, 0.1, 0.1) for i in range(31)]
    stage(2.0, (LEFT, 0.99))
    for box in steps:
        stage(0.2, (box, 0.99))
    stage(15.0, (RIGHT, 0.99))
    assert stage.kinds() == [("new", 1), ("end", 1)]
    left_at = 2.0 + 0.2 * 17
    assert left_at + 4.5 <= stage.told[-1][1] <= left_at + 6.0
    for box in reversed(steps):
        stage(0.2, (box, 0.99))
    assert [kind for kind in stage.kinds() if kind[0] != "end"] == [("new", 1), ("update", 1)]


@pytest.mark.parametrize("zones", [(), (LEFT_HALF,)])
def test_a_bear_in_plain_view_that_lies_down_is_not_gone(zones):
    """It passes the threshold for what moves in each frame, and never the one for what stands still."""
    stage = Stage(Decider(RULE, zones=zones))
    stage(2.0, (LEFT, 0.95))
    stage.kind = "scan"
    stage(80.0, (LEFT, 0.5))
    stage.kind = "motion"
    stage(3.0, (LEFT, 0.95))
    assert [track.number for track in stage.tracker.tracks] == [1]
    assert stage.kinds("new") == [("new", 1)]
    assert stage.kinds("end") == []
    assert len(stage.noises()) == 1


@pytest.mark.parametrize(("zones", "ends"), [((), 0), ((LEFT_HALF,), 1)])
def test_a_zone_is_empty_where_what_is_left_is_a_hit_only_now_and_then(zones, ends):
    """Water, say, where a bear stood: such hits keep a track, and so they kept the alarm."""
    stage = Stage(Decider(RULE, zones=zones))
    stage.kind = "scan"
    stage(3.0, (LEFT, 0.95))
    for _ in range(25):
        stage(0.3, (LEFT, 0.5))
        stage(0.7, (LEFT, 0.2))
    assert [track.number for track in stage.tracker.tracks] == [1]
    assert len(stage.kinds("new")) == 1
    assert len(stage.kinds("end")) == ends
    stage(3.0, (LEFT, 0.95))
    assert [kind for kind in stage.kinds() if kind[0] != "end"][1:] == [("update", 1)] * ends


def test_a_track_that_touches_the_bear_that_was_reported_is_that_bear_though_it_moves():
    """One bear and the branches that it shakes: three times as large, and little of the bear in it."""
    bear, branches = (0.3, 0.3, 0.1, 0.1), (0.37, 0.2, 0.3, 0.3)
    assert inside(bear, branches) == pytest.approx(0.3)
    stage = Stage()(2.0, (bear, 0.95))(3.0, (bear, 0.95), (branches, 0.9))
    assert len(stage.tracker.tracks) == 2
    assert stage.kinds("new") == [("new", 1)]


def test_a_bear_that_is_still_and_wavers_keeps_its_event():
    stage = Stage()
    stage.kind = "scan"
    for _ in range(12):
        stage(3.0, (LEFT, 0.95))
        stage(8.0, (LEFT, 0.5))
    assert stage.kinds("new") == [("new", 1)]
    assert stage.kinds("end") == []


def test_one_bear_leaves_the_zone_another_stays_outside_it():
    """In pictures: both stand still from the first frame on, side by side."""
    empty = scene()
    cv2.rectangle(empty, (380, 60), (600, 300), BEAR_COLOUR, -1)
    there = empty.copy()
    cv2.rectangle(there, (30, 60), (250, 300), BEAR_COLOUR, -1)
    frames = itertools.chain(walk(4, background=there), _later(walk(10, background=empty), 4.0))
    told, _ = watch(frames, settings=CameraSettings(zones=(LEFT_HALF,)))
    assert [event.type for event in told if event.type != "update"] == ["new", "end"]
    assert told[-1].detail is None
    assert told[-1].media_time_s <= 12.0


def _later(frames, by_s):
    for frame in frames:
        yield replace(frame, time=frame.time + by_s, media_time_s=frame.media_time_s + by_s, index=frame.index + 1000)


def _again(frames, count):
    """As the camera would go on looking at what it saw last: forth and back."""
    step = frames[-1].time - frames[-2].time
    there_and_back = itertools.cycle([*reversed(frames), *frames])
    for number, frame in enumerate(itertools.islice(there_and_back, count), 1):
        at = frames[-1].time + number * step
        yield replace(frame, time=at, media_time_s=at, index=frames[-1].index + number)


@pytest.mark.slow
def test_bears_at_a_waterfall_have_their_own_scores_and_an_empty_zone_its_end(pictures):
    """One bear fishes at the left until 9 s, two stand at the right throughout, and ten seconds longer."""
    from edge.detect.classifier import BUNDLED, Classifier

    classifier = Classifier(BUNDLED)
    told: list[Event] = []
    moments: list[Moment] = []
    settings = CameraSettings(zones=(LEFT_HALF,))
    watcher = Watcher(
        classifier, Rule.from_card(classifier.card), EventPublisher([told.append]), settings, trace=moments.append
    )
    with open_source(str(pictures / "videos" / "brown_bears_waterfall.mp4")) as source:
        frames = list(source)
    watcher([*frames, *_again(frames[-30:], 100)])
    assert [event.type for event in told if event.type != "update"] == ["new", "end"]
    alarmed_s, ended_s = told[0].media_time_s or 0.0, told[-1].media_time_s or 0.0
    assert alarmed_s <= 2.0
    assert 9.0 <= ended_s <= 19.5
    assert told[-1].detail is None
    said = 0
    for moment in moments:
        for one in moment.evidence_states:
            where = [look.box_xywh for look in moment.scored if look.bear == one.bear]
            assert one.bear is None or any(owns(one.box_xywh, box) for box in where)
            said += one.bear is not None
    assert said > 100
    # While the one at the left still fishes, the surest is one at the right.
    right = next(one for one in moments if 5.0 <= one.time < 9.0 and one.top and one.top.box_xywh[0] > 0.5)
    assert right.top
    words = explain(Match(TraceRun("waterfall", "", moments), right))
    left = [line for line in "\n".join(words).splitlines() if "track" in line and " left," in line]
    assert not any(f"scored {right.top.bear:.2f}" in line for line in left)


@pytest.mark.parametrize(("kind", "night", "least"), [
    ("scan", False, 0.4), ("scan", True, 0.2), ("motion", False, 0.6), ("motion", True, 0.6)
])  # fmt: skip
def test_one_picture_alarms_from_the_threshold_of_its_hour_on_and_a_crop_alone_from_the_still_one(kind, night, least):
    for bear in (least - 0.01, least + 0.01):
        rule = replace(RULE, one_picture=True, night_threshold=0.2)
        decider, tracker = Decider(rule), Tracker(rule.threshold_for(night=night))
        told = decider(tracker([score(LEFT, bear, kind)], 0.0), 0.0, night=night)
        assert [decision.type for decision in told] == (["new"] if bear > least else [])
        assert [standing.alone_at for standing in decider.evidence_states()] in ([least], [])


def test_one_picture_is_one_alarm_of_the_surest_part_and_the_next_picture_another():
    """Far parts of a single picture may show one large bear: whoever gets the picture sees all of it."""
    decider, tracker = Decider(replace(RULE, one_picture=True)), Tracker(RULE.threshold)
    parts = [score(LEFT, 0.95), score(RIGHT, 0.99), score((0.4, 0.0, 0.1, 0.1), 0.97)]
    told = decider(tracker(parts, 0.0), 0.0)
    assert [(decision.type, decision.score) for decision in told] == [("new", 0.99)]
    later = decider(tracker(parts, 60.0), 60.0)
    assert [decision.type for decision in later if decision.alarms or decision.type == "new"] == ["new"]
