"""The demo: its scenes are what they say they are, its clip plays, and the shipped model hears the bear."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.alert.events import EventPublisher
from edge.camera import DEMO, open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.schema import BoxXYWH, Event, EventType, Picture, Region, Score
from edge.watch import Watcher
from tests.scenery.compose import Scene, truth_json, write_clip
from tests.scenery.scene import SIZE_WH, Shot
from tests.scenery.score import judge, listen

SMALL_WH = (427, 240)
NAMES = {"toy", "fox", "boar", "bear"}


def some(scene: Scene, count: int) -> list[Shot]:
    """The first frames of a scene."""
    return [shot for shot, _ in zip(scene.frames(), range(count), strict=False)]


def test_the_same_seed_gives_the_same_scene_and_another_seed_another():
    one, again, other = (some(Scene(seed, size_wh=SMALL_WH), 12) for seed in (7, 7, 8))
    assert all(np.array_equal(a.image, b.image) and a.boxes == b.boxes for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0].image, other[0].image)
    assert Scene(7).truth == Scene(7).truth
    assert Scene(7).truth.bear_in_view_s != Scene(8).truth.bear_in_view_s


def test_frames_can_be_asked_for_twice():
    scene = Scene(7, size_wh=SMALL_WH)
    assert np.array_equal(some(scene, 3)[-1].image, some(scene, 3)[-1].image)


@pytest.mark.parametrize("seed", range(40, 60))
def test_truth_is_consistent(seed):
    truth = Scene(seed).truth
    assert 20 <= truth.duration_s <= 40
    assert len(truth.boxes) == round(truth.duration_s * truth.fps)
    assert set(truth.intervals_s) == NAMES
    assert truth.intervals_s["toy"] == (0.0, truth.duration_s)
    # One after the other, and some empty seconds at the end for the event to end in.
    (_, fox_gone), (boar_in, boar_gone), (bear_in, bear_gone) = (truth.intervals_s[k] for k in ("fox", "boar", "bear"))
    assert fox_gone <= boar_in
    assert boar_gone <= bear_in
    assert bear_in == truth.bear_in_view_s < truth.bear_fully_in_view_s < truth.bear_gone_s == bear_gone
    assert truth.duration_s - bear_gone >= 5
    assert 90 <= truth.bear_length_px <= 260
    for index, boxes in enumerate(truth.boxes):
        for name, (left, top, width, height) in boxes.items():
            begin, end = truth.intervals_s[name]
            assert begin - 1e-9 <= index / truth.fps < end + 1e-9
            assert min(left, top) >= 0
            assert min(width, height) > 0
            assert max(left + width, top + height) <= 1 + 1e-9


def test_an_animal_is_where_its_box_says():
    scene = Scene(41)
    middle_s = sum(scene.truth.intervals_s["fox"]) / 2
    without = Scene(41)
    del without.animals["fox"]
    index = round(middle_s * scene.fps)
    shots = [next(shot for shot in one.frames() if shot.time_s >= index / one.fps) for one in (scene, without)]
    changed = np.abs(shots[0].image.astype(int) - shots[1].image).max(axis=2) > 40
    rows, columns = np.nonzero(changed)
    left, top, width, height = (np.array(shots[0].boxes["fox"]) * (*SIZE_WH, *SIZE_WH)).tolist()
    assert left - 8 <= columns.min() < columns.max() <= left + width + 8
    assert top - 8 <= rows.min() < rows.max() <= top + height + 14  # its shadow lies a little lower
    assert columns.max() - columns.min() > 0.8 * width


def test_an_animal_faces_where_it_walks():
    for seed in range(40, 50):
        bear = Scene(seed).animals["bear"]
        times, xs = bear.path.times_s, bear.path.xs
        assert bear.path.heading(times[0] + 0.1) == np.sign(xs[1] - xs[0])
        assert bear.path.heading((times[1] + times[2]) / 2) == np.sign(xs[1] - xs[0])
        assert bear.path.heading(times[3] - 0.1) == np.sign(xs[3] - xs[2])


def test_the_bundled_clip_plays_and_is_small():
    assert DEMO.stat().st_size <= 3_000_000
    truth = json.loads(DEMO.with_suffix(".json").read_text(encoding="utf-8"))
    clip = cv2.VideoCapture(str(DEMO))
    count, fps = 0, clip.get(cv2.CAP_PROP_FPS)
    while clip.grab():
        count += 1
    assert (clip.get(cv2.CAP_PROP_FRAME_WIDTH), clip.get(cv2.CAP_PROP_FRAME_HEIGHT)) == SIZE_WH
    assert count == len(truth["boxes"])
    assert 20 <= count / fps <= 40


def test_the_bundled_clip_is_seed_0():
    scene = Scene(0)
    assert DEMO.with_suffix(".json").read_text(encoding="utf-8") == truth_json(scene.truth)
    clip = cv2.VideoCapture(str(DEMO))
    found, image = clip.read()
    assert found
    assert np.abs(image.astype(int) - next(scene.frames()).image).mean() < 8


def test_without_ffmpeg_opencv_writes_the_clip(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    scene = Scene(3, size_wh=(320, 180))
    write_clip(scene, tmp_path / "clip.mp4")
    clip = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    assert clip.read()[0]
    assert clip.get(cv2.CAP_PROP_FRAME_COUNT) == len(scene.truth.boxes)
    assert (tmp_path / "clip.json").is_file()


class NoBear:
    """A model whose bear output is forced to zero."""

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        return [Score(region, (0.0, 1.0), 0.0, "brown_bear", 0.0) for region in regions]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The model that ships."""
    return Classifier(BUNDLED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [901, 902, 903])
def test_the_shipped_model_hears_the_bear_and_nothing_else(seed, classifier):
    outcome = listen(Scene(seed), classifier, Rule.from_card(classifier.card))
    assert outcome.quiet, outcome
    assert outcome.in_time, outcome
    assert outcome.ended, outcome


def test_the_shipped_model_alarms_once_on_the_bundled_clip(classifier):
    events: list[Event] = []
    with open_source("demo") as source:
        Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([events.append]))(source)
    outcome = judge(Scene(0).truth, events)
    assert [event.type for event in events if event.type != "update"] == ["new", "end"]
    assert outcome.quiet, outcome
    assert outcome.in_time, outcome
    assert outcome.ended, outcome


def test_a_model_without_bears_raises_nothing_on_the_bundled_clip():
    events: list[Event] = []
    with open_source("demo") as source:
        watcher = Watcher(NoBear(), Rule(0.3, 0.5), EventPublisher([events.append]))
        watcher(source)
    assert watcher.stats.frames > 200
    assert watcher.stats.crops > watcher.stats.frames / 2
    assert events == []


def told(type_: EventType, time_s: float, box: BoxXYWH) -> Event:
    """An event of the loop, as far as the judge looks at it."""
    return Event("bear", type_, "1", 1, "run", "demo", "", box_xywh=box, media_time_s=time_s)


def test_the_judge_tells_the_bear_from_the_others():
    truth = Scene(5).truth
    full_s, fps = truth.bear_fully_in_view_s, truth.fps
    fox_s = sum(truth.intervals_s["fox"]) / 2
    bear_box = truth.boxes[round((full_s + 0.5) * fps)]["bear"]
    fox_box = truth.boxes[round(fox_s * fps)]["fox"]
    toy_box = truth.boxes[0]["toy"]

    good = judge(truth, [told("new", full_s + 0.5, bear_box), told("end", truth.bear_gone_s + 5, bear_box)])
    assert (good.in_time, good.quiet, good.ended) == (True, True, True)
    assert good.delay_s == pytest.approx(0.5)
    late = judge(truth, [told("new", full_s + 1.2, bear_box)])
    assert (late.in_time, late.quiet, late.ended) == (False, True, False)
    fooled = judge(truth, [told("new", fox_s, fox_box), told("update", 20.0, toy_box)])
    assert not fooled.in_time
    assert [who for _, who in fooled.wrong] == ["fox", "toy"]
    assert judge(truth, []).quiet
