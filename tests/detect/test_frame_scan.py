"""The frame scan: the bears of a whole picture, each once and where it is; what masks hide is left out."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.detect.card import FrameRule, GoldenFrame, logit
from edge.detect.classifier import Classifier
from edge.detect.frame_rate import CropBudget, FrameRateControl, ScanTimer
from edge.detect.frame_scan import FrameScanner, frame_of, share_in, where, windows_of
from edge.detect.stills import look
from edge.detect.tracker import iou
from edge.detect.zones import PrivacyMask
from edge.errors import ModelError
from edge.schema import WHOLE
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, older_card, plain, tiny_card, write_tiny_model

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
ALL = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
LEFT, RIGHT = (100, 100, 200, 200), (420, 60, 200, 240)  # left, top, width, height in a picture of 640 x 360


@pytest.fixture
def classifier(tmp_path):
    return Classifier(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))


def meadow(*bears, height=360, width=640):
    """A green picture with red rectangles."""
    picture = plain(NO_BEAR_COLOUR, height, width)
    for x, y, w, h in bears:
        picture[y : y + h, x : x + w] = BEAR_COLOUR
    return picture


def fractions(bear, size_wh=(640, 360)):
    x, y, w, h = bear
    return x / size_wh[0], y / size_wh[1], w / size_wh[0], h / size_wh[1]


def test_a_bear_is_found_once_and_where_it_is(classifier):
    found = FrameScanner(classifier)(meadow(LEFT))
    assert found[0].bear > 0.9
    assert iou(found[0].region.box_xywh, fractions(LEFT)) > 0.6
    assert [score.bear > 0.5 for score in found[1:]] == [False] * (len(found) - 1)
    assert {score.region.kind for score in found} == {"scan"}
    assert look(classifier, meadow(LEFT)).box_xywh == found[0].region.box_xywh


def test_two_bears_far_apart_are_two(classifier):
    found = [score for score in FrameScanner(classifier)(meadow(LEFT, RIGHT)) if score.bear > 0.5]
    assert len(found) == 2
    for bear in (LEFT, RIGHT):
        assert max(iou(score.region.box_xywh, fractions(bear)) for score in found) > 0.6


@pytest.mark.parametrize("size_wh", [(640, 360), (360, 640), (3000, 200), (20, 20), (500, 375)])
def test_every_picture_has_an_answer_the_surest_first(classifier, size_wh):
    image = plain(NO_BEAR_COLOUR, size_wh[1], size_wh[0])
    scores = [score.bear for score in FrameScanner(classifier)(image)]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[0] < 0.1
    height, width = frame_of(image, 448, (7, 5)).shape[:2]
    assert height % 32 == width % 32 == 0
    assert min(height, width) >= 224
    assert max(height, width) == 448
    if max(size_wh) <= 2 * min(size_wh):
        assert width / height == pytest.approx(size_wh[0] / size_wh[1], rel=0.08)


def test_the_best_window_of_several_sizes_counts(classifier):
    twice = replace(classifier.card, frame=FrameRule((448, 640), (7, 5), 1.0))
    small = meadow((300, 150, 135, 135))
    once = FrameScanner(classifier)(small)[0]
    classifier.card = twice
    best = FrameScanner(classifier)(small)[0]
    assert best.bear > 0.9 > once.bear
    assert iou(best.region.box_xywh, fractions((300, 150, 135, 135))) > 0.4


def test_windows_that_masks_hide_are_left_out(classifier):
    image = PrivacyMask([LEFT_HALF])(meadow(LEFT, RIGHT))
    found = FrameScanner(classifier, [LEFT_HALF])(image)
    assert all(score.region.box_xywh[0] + score.region.box_xywh[2] > 0.5 for score in found)
    assert FrameScanner(classifier, [ALL])(meadow(LEFT)) == []


def test_an_older_file_is_shown_the_whole_picture_and_reports_it_once(tmp_path, caplog):
    card = json.loads(older_card().to_json())
    card["thresholds"]["still"] = card["thresholds"].pop("frame")
    path = write_tiny_model(tmp_path / "older.onnx", None, text=json.dumps(card))
    with caplog.at_level(logging.WARNING):
        older = Classifier(path)
        [score] = FrameScanner(older)(plain(BEAR_COLOUR))
        FrameScanner(older, [ALL])(plain(BEAR_COLOUR))
    assert len(caplog.records) == 1
    assert "export it again" in caplog.text
    assert (score.region.box_xywh, score.bear > 0.9) == (WHOLE, True)
    assert FrameScanner(older, [ALL])(plain(BEAR_COLOUR)) == []


def test_beside_crops_a_frame_at_its_threshold_scores_the_crops_threshold(classifier):
    scanner = FrameScanner(classifier)
    image = meadow((150, 120, 160, 160))
    own, moved = scanner(image)[0].bear, scanner.beside_crops(image)[0].bear
    assert 0.01 < own < 0.99
    limits = classifier.card.thresholds
    assert logit(moved) - logit(limits["crop"].value) == pytest.approx(logit(own) - logit(limits["frame"].value))


def test_a_map_without_a_peak_says_no_more_than_the_window(classifier):
    window = windows_of((8, 14), (5,))[3]
    assert where(np.zeros((8, 14), np.float32), window) == pytest.approx(tuple(window))
    assert share_in(tuple(window), windows_of((8, 14), (5,)))[3] == pytest.approx(1.0)
    assert len(windows_of((8, 14), (7, 5))) == 2 * 8 + 4 * 10


def test_a_golden_frame_that_is_answered_otherwise_is_refused(tmp_path):
    golden = tiny_card().golden_frames[0]
    wrong = replace(tiny_card(), golden_frames=(GoldenFrame(golden.png_base64, golden.size_wh, 0.5),))
    with pytest.raises(ModelError, match=r"golden vectors differ by 0\.500"):
        Classifier(write_tiny_model(tmp_path / "wrong.onnx", wrong))


def at(timer, seconds, fps=10.0, **how):
    """When a timer is due in so many seconds."""
    return [i / fps for i in range(round(seconds * fps)) if timer.due(i / fps, **how)]


def test_the_whole_is_looked_at_at_once_then_every_two_seconds_and_in_every_frame_while_all_moves():
    assert at(ScanTimer(), 9) == pytest.approx([0, 2, 4, 6, 8])
    assert len(at(ScanTimer(), 3, moving=True)) == 30
    timer = ScanTimer()
    assert [timer.due(0.0), timer.due(0.1), timer.due(0.2, at_once=True), timer.due(0.3)] == [True, False, True, False]


@pytest.mark.parametrize(("how", "share"), [({}, 0.1), ({"moving": True}, 0.5), ({"at_once": True}, 0.5)])
def test_on_a_slow_board_it_takes_no_more_than_its_share_of_the_time(how, share):
    timer = ScanTimer()
    timer.note(0.8)
    looks = at(timer, 100, **how)
    assert len(looks) * 0.8 <= 100 * share + 0.8
    assert np.diff(looks).max() <= 0.8 / share + 0.1 + 1e-6


def test_a_look_that_was_asked_for_too_soon_is_not_forgotten():
    timer = ScanTimer()
    timer.note(1.0)
    assert timer.due(0.0)
    assert not timer.due(0.5, at_once=True)
    assert not timer.due(1.9)
    assert timer.due(2.0)
    assert not timer.due(4.0)


def test_what_a_look_takes_is_not_there_for_crops():
    budget = CropBudget(0.25)
    budget.note(1, 0.02)
    assert (budget.crops, budget.beside(0.1), budget.beside(9.0)) == (12, 7, 3)
    assert CropBudget().beside(9.0) == 12
    assert math.isclose(budget.crop_s or 0.0, 0.02)


def test_a_sign_makes_it_active_at_once_and_quiet_makes_it_idle_after_a_while():
    told: list[float] = []
    pace = FrameRateControl(2.0, 10.0, told.append)
    for time, sign in ((100.0, False), (109.9, False), (110.0, False), (111.0, True), (120.9, False), (121.0, False)):
        pace(sign, time)
        told.append(time)
    assert told == [100.0, 109.9, 2.0, 110.0, 10.0, 111.0, 120.9, 2.0, 121.0]


@pytest.mark.parametrize(("crop_ms", "crops"), [(4, 12), (40, 6), (90, 3), (2000, 3)])
def test_a_slow_board_gives_a_frame_fewer_crops(crop_ms, crops):
    budget = CropBudget(0.25)
    for _ in range(60):
        budget.note(budget.crops, budget.crops * crop_ms / 1000)
    assert budget.crops == crops


def test_one_slow_frame_changes_little():
    budget = CropBudget(0.25)
    for _ in range(20):
        budget.note(12, 12 * 0.01)
    budget.note(12, 12 * 0.05)
    assert budget.crops == 12


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 10))))
def test_it_stays_between_least_and_most(noted):
    budget = CropBudget(0.25)
    for crops, took_s in noted:
        budget.note(crops, took_s)
        assert 3 <= budget.crops <= 12


def test_without_a_budget_it_is_always_the_same():
    budget = CropBudget()
    budget.note(1, 100.0)
    assert budget.crops == 12
