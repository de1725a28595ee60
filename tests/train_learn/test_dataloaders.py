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
from train.learn.dataloaders import KIND_SHARES, OpenExample, kind, make_dataloaders, sampling_weights
from train.learn.examples import PictureCache, examples_of
from train.learn.learner import seed_everything
from train.learn.network import find_backbone
from train.learn.recipe import Recipe


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


def test_batches_are_of_the_size_asked_for(rows: list[Picture]) -> None:
    recipe = Recipe(size=32, batch=2, per_epoch=4, degraded=1.0)
    dls = make_dataloaders(rows, rows, find_backbone("resnet18"), recipe)
    for loader in (dls.train, dls.valid):
        pictures, labels = loader.one_batch()
        assert pictures.shape == (2, 3, 32, 32)
        assert labels.shape == (2,)


def test_training_pictures_are_random_pieces_and_tuning_ones_are_not(rows: list[Picture]) -> None:
    seed_everything(3)
    dls = make_dataloaders(
        rows[:1] * 4, rows[:1] * 2, find_backbone("resnet18"), Recipe(size=64, batch=4, per_epoch=4, zoom_out=0.0)
    )
    learned, _ = dls.train.one_batch()
    assert not any(torch.equal(learned[0], other) for other in learned[1:])
    first, second = dls.valid.one_batch()[0][:2]
    assert torch.equal(first, second)
    assert torch.equal(first, dls.valid.one_batch()[0][0])
