"""The loop on lists of frames with a scorer that knows bears by their colour, and the command on small clips."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.crops import cut_all
from edge.detect.frame_rate import CropBudget
from edge.detect.motion import Motion
from edge.errors import SourceError
from edge.record.recorder import MediaWriter
from edge.schema import WHOLE, Event, Frame, Region, Score
from edge.watch import Watcher
from tests.helpers.meadow import WALL
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR

ROOT = Path(__file__).parents[2]
RULE = Rule(threshold=0.5, still_threshold=0.5)
BOAR = (60, 60, 60)
GREEN = np.full((360, 640, 3), NO_BEAR_COLOUR, np.uint8)


class Colours:
    """A crop is a bear as far as it is red."""

    def __init__(self, factor=1.3):
        self.factor, self.calls = factor, []

    def score(self, image, regions):
        self.calls.append(len(regions))
        crops = cut_all(image, [region.box_xywh for region in regions], 32, 1.1).astype(np.float32)
        red = (crops[..., 2] - crops[..., 1]).clip(0).mean((1, 2)) / 210 * self.factor
        return [
            Score(r, (float(p), 1 - float(p)), float(p), "brown_bear", 0.0)
            for r, p in zip(regions, red.clip(0.01, 0.99), strict=True)
        ]

    def scan(self, image):
        """The red things of a picture, as the frame scan finds bears."""
        red = (image[..., 2].astype(int) - image[..., 1] > 100).astype(np.uint8)
        _, _, found, _ = cv2.connectedComponentsWithStats(red)
        height, width = red.shape
        boxes = [(x / width, y / height, w / width, h / height) for x, y, w, h, area in found[1:] if area > 400]
        return self.score(image, [Region(box, "scan") for box in boxes or [WHOLE]])


def scene(width=640, height=360, seed=0):
    """A green meadow with texture (height, width, 3)."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8), (0, 0), 4)
    texture = (noise - noise.mean()) / np.ptp(noise) * 120
    return np.clip(texture[..., None] + (20, 150, 20), 0, 255).astype(np.uint8)


def walk(seconds, *animals, fps=10, background=None):
    """Frames; an animal is (from_s, to_s, colour, left_px, px a second)."""
    empty = scene() if background is None else background
    for i in range(round(seconds * fps)):
        picture, at = empty.copy(), i / fps
        for start, end, colour, left, speed in animals:
            if start <= at < end:
                x = round(left + speed * (at - start))
                cv2.rectangle(picture, (x, 200), (x + 59, 259), colour, -1)
        yield Frame(picture, at, WALL, "yard", i, time.monotonic(), media_time_s=at)


def watch(frames, scorer=None, **options):
    told: list[Event] = []
    scorer = scorer or Colours()
    watcher = Watcher(scorer, RULE, EventPublisher([told.append], model="test@1"), scan=scorer.scan, **options)
    watcher(frames)
    return told, watcher


def test_a_bear_that_walks_in_is_reported_once_and_its_end():
    told, watcher = watch(walk(15, (3.0, 7.0, BEAR_COLOUR, 100, 60)))
    assert [event.type for event in told] == ["new", "end"]
    new, end = told
    assert 3.0 <= new.media_time_s <= 3.0 + RULE.seconds_at_best + 0.2
    assert 0 <= new.onset_s <= RULE.seconds_at_best + 0.1
    assert new.latency_ms > 0
    assert (new.kind, new.camera, new.label, new.model) == ("bear", "yard", "brown_bear", "test@1")
    assert (new.id, new.boot_id) == (end.id, end.boot_id)
    assert [event.seq for event in told] == [1, 2]
    x, y, w, h = new.box_xywh
    assert (x * 640 - 100, y * 360, w * 640, h * 360) == pytest.approx((30, 200, 65, 65), abs=30)
    assert Event.from_json(new.to_json()) == new
    assert watcher.publisher.counts == {"new": 1, "end": 1}


def test_a_boar_raises_nothing():
    assert watch(walk(8, (2.0, 6.0, BOAR, 100, 60)))[0] == []


def test_a_model_without_bears_raises_nothing():
    assert watch(walk(8, (2.0, 6.0, BEAR_COLOUR, 100, 60)), Colours(factor=0.0))[0] == []


def test_a_bear_there_from_the_first_frame_that_never_moves_is_found():
    standing = scene()
    cv2.rectangle(standing, (200, 60), (420, 300), BEAR_COLOUR, -1)
    told, _ = watch(walk(3, background=standing))
    assert [event.type for event in told] == ["new", "end"]
    assert told[0].media_time_s <= RULE.seconds_at_best + 0.2


def test_a_bear_that_stops_keeps_its_event_open():
    told, _ = watch(walk(25, (2.0, 4.0, BEAR_COLOUR, 100, 60), (4.0, 25.0, BEAR_COLOUR, 220, 0)))
    assert [event.type for event in told if event.type != "update"] == ["new", "end"]
    assert told[-1].media_time_s > 24


def pan(bear):
    wide = scene(1800, 700)
    if bear:
        cv2.rectangle(wide, (700, 150), (1000, 420), BEAR_COLOUR, -1)
    for i in range(60):
        picture = wide[4 * i : 4 * i + 360, 14 * i : 14 * i + 640].copy()
        yield Frame(picture, i / 10, WALL, "hand", i, time.monotonic(), media_time_s=i / 10)


class Scans:
    """What a watcher asked of whole pictures, and when."""

    def __init__(self, scorer=None):
        self.scorer, self.times, self.now = scorer or Colours(), [], 0.0

    def frames(self, frames):
        """The frames, whose time is noted as they come."""
        for frame in frames:
            self.now = frame.time
            yield frame

    def __call__(self, image):
        self.times.append(self.now)
        return self.scorer.scan(image)


def test_while_the_camera_pans_every_frame_is_looked_at_as_a_whole():
    scorer, scans = Colours(), Scans()
    told: list[Event] = []
    watcher = Watcher(scorer, RULE, EventPublisher([told.append]), scan=scans)
    watcher(scans.frames(pan(bear=False)))
    assert told == []
    assert max(scorer.calls, default=0) <= watcher.budget.most
    assert len(scans.times) >= 50  # of 60 frames


def test_the_motion_of_a_followed_animal_is_scored_before_that_of_leaves():
    """Else a bear that walks in the wind, on a board with three crops a frame, seems to pause."""
    bear = Region((0.5, 0.5, 0.05, 0.05), "motion")
    leaves = [Region((0.06 * number, 0.1, 0.03, 0.03), "motion") for number in range(15)]
    watcher = Watcher(Colours(), RULE, EventPublisher(), budget=CropBudget(most=3))
    watcher.tracker([Score(bear, (0.9, 0.1), 0.9, "brown_bear", 0.0)], 0.0)
    scored = set()
    for number, frame in enumerate(walk(2)):
        watcher.stats.frames = number
        found = watcher.find(frame, Motion((*leaves[:7], bear, *leaves[7:])))
        assert bear in found
        scored.update(found)
    assert scored >= set(leaves)  # each in its turn


def looks(frames, scorer=None):
    """The seconds at which a watcher looks at the whole of these frames."""
    scans = Scans(scorer)
    Watcher(scans.scorer, RULE, EventPublisher(), scan=scans)(scans.frames(frames))
    return scans.times


def brighter(frames, levels_a_second):
    for frame in frames:
        lighter = np.minimum(frame.image.astype(int) + round(frame.time * levels_a_second), 255)
        yield replace(frame, picture=lighter.astype(np.uint8))


def test_a_place_where_nothing_moves_is_looked_at_as_a_whole_every_ten_seconds():
    assert looks(walk(21)) == pytest.approx([0, 10, 20])


def test_a_place_that_becomes_another_slowly_is_looked_at_every_two_seconds():
    assert looks(brighter(walk(9), 1.2)) == pytest.approx([0, 2, 4, 6, 8])
    assert looks(brighter(walk(9), 0.15)) == pytest.approx([0])


def test_where_there_may_be_a_bear_the_whole_is_looked_at_every_two_seconds():
    """Too unsure to be followed, yet another look at the same picture may pass."""
    unsure = scene()
    cv2.rectangle(unsure, (200, 60), (420, 300), BEAR_COLOUR, -1)
    assert looks(walk(7, background=unsure), Colours(factor=0.45)) == pytest.approx([0, 2, 4, 6])


def test_after_something_has_moved_the_whole_is_looked_at_again():
    assert looks(walk(7, (2.5, 3.0, BOAR, 100, 60))) == pytest.approx([0, 4])


def test_a_panning_camera_sees_a_bear():
    assert [event.type for event in watch(pan(bear=True))[0]] == ["new", "end"]


def test_two_bears_are_two_events():
    told, _ = watch(walk(8, (2.0, 6.0, BEAR_COLOUR, 60, 20), (3.5, 6.0, BEAR_COLOUR, 500, -20)))
    assert [event.type for event in told if event.type != "end"] == ["new", "new"]
    assert len({event.id for event in told}) == 2


def test_sinks_are_called_in_order_before_any_evidence_is_written(tmp_path):
    order, writer = [], MediaWriter(tmp_path, reserve_mb=0)
    told: list[Event] = []

    def siren(_):
        order.append(("siren", list(tmp_path.rglob("*.jpg"))))

    publisher = EventPublisher([siren, told.append], evidence=writer.camera(clips=False))
    Watcher(Colours(), RULE, publisher)(walk(5, (2.0, 4.0, BEAR_COLOUR, 100, 60)))
    assert writer.close(30.0)
    assert order[0] == ("siren", [])
    assert {Path(event.evidence or "").is_file() for event in told} == {True}
    assert len(list(tmp_path.rglob("alarm*.jpg"))) == len({event.evidence for event in told})


def test_a_camera_that_dies_ends_its_events():
    def dying():
        yield from walk(3, (1.0, 3.0, BEAR_COLOUR, 100, 60))
        raise SourceError("yard: no frame for 10 s")

    told: list[Event] = []
    with pytest.raises(SourceError):
        Watcher(Colours(), RULE, EventPublisher([told.append]))(dying())
    assert [event.type for event in told] == ["new", "end"]
