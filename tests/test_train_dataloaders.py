"""Catalogue -> crops: how a picture becomes a square, what augmentation is on, and how often each kind is drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from train.data.pictures import Picture
from train.learn.dataloaders import (
    KIND_SHARES,
    OpenExample,
    PictureCache,
    batch_transforms,
    examples_of,
    kind,
    make_dataloaders,
    sampling_weights,
)
from train.learn.network import find_backbone
from train.learn.recipe import Augment, Recipe, Resize


def row(label: str, group: str = "", *, boxes: int = 0, file: Path = Path("x.jpg"), condition: str = "") -> Picture:
    """A row of the table."""
    return Picture(file, label, "yard", group, boxes=((0.1, 0.1, 0.5, 0.5),) * boxes, condition=condition)


ROWS = [
    *(row("brown_bear", boxes=n % 3) for n in range(6)),
    row("black_bear", condition="camera trap"),
    row("teddy_bear"),
    *(row("no_bear") for _ in range(40)),
    *(row("no_bear", "one", condition="camera trap") for _ in range(90)),
    *(row("no_bear", "two", condition="surveillance") for _ in range(10)),
]


def test_kinds_are_drawn_as_promised_and_cameras_more_evenly() -> None:
    weights = sampling_weights(ROWS)
    rows = [each for each in ROWS for _ in each.boxes or (None,)]
    assert len(weights) == len(rows) == len(examples_of(ROWS))
    total: Counter[str] = Counter()
    for each, weight in zip(rows, weights, strict=True):
        total[kind(each)] += weight  # type: ignore[assignment]
    assert dict(total) == pytest.approx(KIND_SHARES)
    assert sum(weights[-10:]) / sum(weights[-100:-10]) == pytest.approx((10 / 90) ** 0.5)


def test_kinds_that_are_not_there_leave_their_share_to_the_others() -> None:
    assert sum(sampling_weights(ROWS[:6])) == pytest.approx(1)


def test_of_cameras_frames_without_a_bear_parts_are_shown(tmp_path: Path) -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    image[:, :, 0] = np.arange(120)
    cv2.imwrite(str(tmp_path / "frame.png"), image)
    opened = OpenExample(PictureCache())
    [frame] = examples_of([row("no_bear", file=tmp_path / "frame.png", condition="camera trap")], windows=True)
    sizes = {opened.encodes(frame).size for _ in range(40)}
    assert (120, 90) in sizes  # some whole
    squares = sizes - {(120, 90)}
    assert len(squares) > 5
    assert all(width == height and 12 <= width <= 90 for width, height in squares)
    [tuning] = examples_of([row("no_bear", file=tmp_path / "frame.png", condition="camera trap")])
    assert {opened.encodes(tuning).size for _ in range(5)} == {(120, 90)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    """Wide pictures whose left end is red and whose right end is blue, green between."""
    image = np.full((60, 180, 3), (20, 200, 20), np.uint8)
    image[:, :30], image[:, -30:] = (20, 20, 230), (230, 20, 20)
    file = tmp_path_factory.mktemp("pictures") / "wide.png"
    cv2.imwrite(str(file), image)
    return [row(label, file=file) for label in ("brown_bear", "no_bear", "teddy_bear", "no_bear")]


@pytest.mark.parametrize(
    ("resize", "ends", "black"), [("crop", False, False), ("squish", True, False), ("pad", True, True)]
)
def test_how_a_picture_becomes_a_square(rows: list[Picture], resize: Resize, ends: bool, black: bool) -> None:
    recipe = Recipe(size=64, batch=2, per_epoch=4, resize=resize, augment="none")
    dls = make_dataloaders(rows, rows, find_backbone("efficientnet_lite0"), recipe)
    pictures, _ = dls.valid.one_batch()  # without chance
    assert pictures.shape == (2, 3, 64, 64)
    middle = (pictures[0] * 0.5 + 0.5)[:, 32]  # (3, 64): the row half-way down
    assert bool(middle[0, 2] > 0.6) == ends  # red at the left end
    assert bool(middle[2, -3] > 0.6) == ends
    assert bool((pictures[0] * 0.5 + 0.5)[:, 2, 32].max() < 0.1) == black


@pytest.mark.parametrize(
    ("resize", "augment"), [("random", "field"), ("crop", "light"), ("pad", "none"), ("squish", "field")]
)
def test_every_way_gives_batches_of_the_size_asked_for(rows: list[Picture], resize: Resize, augment: Augment) -> None:
    recipe = Recipe(size=32, batch=2, per_epoch=4, resize=resize, augment=augment, degraded=1.0)
    pictures, labels = make_dataloaders(rows, rows, find_backbone("resnet18"), recipe).one_batch()
    assert pictures.shape == (2, 3, 32, 32)
    assert labels.shape == (2,)


@pytest.mark.parametrize(("augment", "there"), [("none", False), ("light", True), ("field", True)])
def test_flips_and_light_are_there_when_asked_for(augment: Augment, there: bool) -> None:
    assert bool(batch_transforms(Recipe(augment=augment))) == there
