"""Frames to learn from: views with their boxes, bears pasted into them, and what a window of one is said to hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from torch import nn  # noqa: E402

from train.catalog.picture import ALARM_LABELS, LABELS, Picture  # noqa: E402
from train.learning import frames as framing  # noqa: E402
from train.learning.frames import FrameSampler  # noqa: E402
from train.learning.network import BearNet  # noqa: E402
from train.learning.pasting import Cutout, cut_out, paste  # noqa: E402
from train.learning.windows import frame_loss, window_truth  # noqa: E402

WH = 224, 160
BEAR, MEADOW = (10, 10, 220), (60, 160, 60)  # BGR
AT = (0.5, 0.4, 0.2, 0.25)  # x, y, w, h


def scene(bear: bool, width: int = 640, height: int = 480) -> np.ndarray:
    """A meadow with some texture, and a red bear where ``AT`` says."""
    rng = np.random.default_rng(3)
    image = np.clip(np.array(MEADOW) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    if bear:
        x, y, w, h = (np.array(AT) * (width, height, width, height)).astype(int)
        cv2.ellipse(image, (int(x + w / 2), int(y + h / 2)), (int(w / 2), int(h / 2)), 0, 0, 360, BEAR, -1)
    return image


@pytest.fixture
def rows(tmp_path: Path) -> list[Picture]:
    """A camera's frame with a bear, two without; a photograph with a box, one without."""
    for name, bear in (("bear", True), ("empty", False), ("web", True)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene(bear))
    trap: dict[str, Any] = {"condition": "camera trap"}
    return [
        Picture(tmp_path / "bear.png", "brown_bear", "a", "1", boxes=(AT,), **trap),
        Picture(tmp_path / "empty.png", "no_bear", "a", "1", **trap),
        Picture(tmp_path / "empty.png", "no_bear", "b", "2", **trap),
        Picture(tmp_path / "web.png", "brown_bear", "c", "", boxes=(AT,)),
        Picture(tmp_path / "web.png", "black_bear", "d", ""),
        Picture(tmp_path / "empty.png", "teddy_bear", "e", "", boxes=(AT,)),
    ]


def redness(image: np.ndarray) -> np.ndarray:
    """Where a frame is red."""
    return (image[..., 2].astype(int) - image[..., 1] > 60) & (image[..., 2] > 120)


@pytest.mark.parametrize("kind", ["trail bear", "boxed bear", "pasted bear"])
def test_boxes_follow_the_bear_through_every_view(
    rows: list[Picture], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(framing, "frame_look", lambda image, rng: image)
    monkeypatch.setattr(framing, "STRIP", 0.0)
    sampler, rng = FrameSampler(rows, WH), np.random.default_rng(0)
    seen = 0
    for _ in range(30):
        frame = sampler.draw(kind, rng)
        assert frame.image.shape == (WH[1], WH[0], 3)
        assert frame.boxes is not None
        [(x1, y1, x2, y2, visible)] = frame.boxes
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1
        assert 0 < visible <= 1 + 1e-9
        ys, xs = np.nonzero(redness(frame.image))
        if kind == "pasted bear" or len(xs) < 50:  # a pasted one takes on the light of the place
            continue
        seen += 1
        inside = (xs >= x1 * WH[0] - 3) & (xs <= x2 * WH[0] + 3) & (ys >= y1 * WH[1] - 3) & (ys <= y2 * WH[1] + 3)
        assert inside.mean() > 0.99
    assert seen > 15 or kind == "pasted bear"


def test_kinds_without_pictures_are_left_out_and_all_others_come(rows: list[Picture]) -> None:
    rng = np.random.default_rng(0)
    drawn = FrameSampler(rows, WH).batch(16, rng)
    assert all(frame.boxes is not None for frame in drawn)
    assert any(frame.boxes is not None and len(frame.boxes) for frame in drawn)
    assert any(frame.boxes is not None and not len(frame.boxes) for frame in drawn)
    unboxed = FrameSampler([row for row in rows if not row.boxes], WH).batch(8, rng)
    assert any(frame.boxes is None for frame in unboxed)
    plain = FrameSampler([row for row in rows if row.label == "no_bear"], WH).batch(8, rng)
    assert all(frame.boxes is not None and not len(frame.boxes) for frame in plain)


def test_a_cameras_bears_are_learned_from_where_no_box_says_where(rows: list[Picture]) -> None:
    camera = [replace(row, boxes=()) for row in rows[:3]]
    drawn = FrameSampler(camera, WH).batch(8, np.random.default_rng(0))
    assert sum(frame.boxes is None for frame in drawn) == 2


def test_the_same_seed_draws_the_same_however_little_memory_there_is(
    rows: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = FrameSampler(rows, WH).batch(4, np.random.default_rng(5))
    monkeypatch.setattr(framing, "cache_bytes", lambda: 0)
    small = FrameSampler(rows, WH)
    other = small.batch(4, np.random.default_rng(5))
    assert not small._kept
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))


def test_a_bear_is_cut_out_along_its_outline_and_nothing_else_is() -> None:
    cut = cut_out(scene(bear=True), AT)
    assert cut is not None
    assert redness(cut.pixels)[cut.mask == 1].mean() > 0.97
    assert abs(cut.mask.mean() - np.pi / 4) < 0.06  # an ellipse in its box
    assert cut_out(scene(bear=False), (0.0, 0.0, 1.0, 1.0)) is None  # all of the picture
    assert cut_out(scene(bear=True), (0.5, 0.4, 0.02, 0.02)) is None  # too small to tell its outline


def test_a_pasted_bear_lies_in_its_box_and_the_place_stays_around_it() -> None:
    cut = cut_out(scene(bear=True), AT)
    assert cut is not None
    for seed in range(20):
        place, rng = scene(False, *WH), np.random.default_rng(seed)
        shown, (x, y, w, h) = paste(place, cut, 60.0, rng)
        changed = np.abs(shown.astype(int) - place).max(axis=2) > 0
        ys, xs = np.nonzero(changed)
        assert xs.min() >= round(x * WH[0]) - 1
        assert xs.max() <= round((x + w) * WH[0])
        assert ys.min() >= round(y * WH[1]) - 1
        assert ys.max() <= round((y + h) * WH[1])
        assert max(w * WH[0], h * WH[1]) <= 61


def test_a_bear_on_an_infrared_frame_is_grey() -> None:
    place = np.repeat(scene(False, *WH)[..., :1], 3, axis=2)
    cut = Cutout(np.full((40, 60, 3), BEAR, np.uint8), np.ones((40, 60), np.uint8))
    shown, _ = paste(place, cut, 60.0, np.random.default_rng(1))
    assert np.ptp(shown.astype(int), axis=2).max() <= 1


boxes = st.tuples(st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.05, 0.9), st.floats(0.05, 0.9)).map(
    lambda b: np.array([[b[0], b[1], min(b[0] + b[2], 1.0), min(b[1] + b[3], 1.0), 1.0]])
)


@given(boxes, st.sampled_from([3, 5, 7]))
def test_no_window_both_holds_a_bear_and_is_free_of_it(box: np.ndarray, cells: int) -> None:
    holds, free = window_truth(box, (10, 14), cells)
    assert holds.shape == free.shape == (11 - cells, 15 - cells)
    assert not (holds & free).any()
    for top, left in zip(*np.nonzero(free), strict=True):
        x1, y1, x2, y2 = box[0, :4] * (14, 10, 14, 10)
        assert x2 <= left + 1e-9 or x1 >= left + cells - 1e-9 or y2 <= top + 1e-9 or y1 >= top + cells - 1e-9


def test_windows_that_hold_all_of_a_bear_hold_it_and_half_seen_ones_are_neither() -> None:
    bear = np.array([[2 / 14, 2 / 10, 4 / 14, 4 / 10, 1.0]])
    holds, free = window_truth(bear, (10, 14), 7)
    assert holds[0, 0]
    assert holds[2, 2]
    assert not holds[3, 3]
    assert free[0, 4:].all()
    nearly_out = bear * (1, 1, 1, 1, 0.3)
    holds, free = window_truth(nearly_out, (10, 14), 7)
    assert not holds.any()
    assert not free[0, 0]
    assert window_truth(np.empty((0, 5)), (10, 14), 7)[1].all()


class Passing(nn.Module):
    """A body whose features are its input."""


def heated(cells: tuple[int, int]) -> tuple[BearNet, Any]:
    """A network that takes the first feature for bear, and a map that has it in one cell alone."""
    head = nn.Linear(2, 1000)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.weight[294, 0] = 900.0
    features = torch.zeros(1, 2, 10, 14)
    features[0, 0, cells[0], cells[1]] = 1.0
    return BearNet(Passing(), head, LABELS, ALARM_LABELS), features


def test_a_bear_where_the_box_is_costs_little_and_elsewhere_much() -> None:
    box = np.array([[2 / 14, 2 / 10, 5 / 14, 5 / 10, 1.0]])
    at_box, elsewhere = (frame_loss(*heated(cells), [box]).item() for cells in ((3, 3), (9, 13)))
    assert at_box < elsewhere / 3
    empty, somewhere = (frame_loss(*heated((3, 3)), [boxes]).item() for boxes in (np.empty((0, 5)), None))
    assert somewhere < 0.1 < empty
