"""Catalogue -> crops: how a picture becomes a square, what augmentation is on, and how often each kind is drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from train.catalog.picture import Picture  # noqa: E402
from train.learning.backbones import find_backbone  # noqa: E402
from train.learning.dataloaders import (  # noqa: E402
    KIND_SHARES,
    FieldLook,
    batch_transforms,
    item_transforms,
    make_dataloaders,
    sampling_weights,
    what,
)
from train.learning.pictures import PictureCache, examples_of  # noqa: E402
from train.learning.recipe import Augment, Recipe, Resize  # noqa: E402


def row(label: str, note: str = "", *, boxes: int = 0, file: Path = Path("x.jpg")) -> Picture:
    """A row of the table."""
    return Picture(file, label, "yard", "", note=note, boxes=((0.1, 0.1, 0.5, 0.5),) * boxes)


ROWS = [
    *(row("brown_bear", boxes=n % 3) for n in range(6)),
    row("teddy_bear"),
    *(row("no_bear", "dog") for _ in range(90)),
    *(row("no_bear", "boar: thermal") for _ in range(10)),
]


@pytest.mark.parametrize("even", [0.0, 0.5, 1.0])
def test_kinds_are_drawn_as_promised_and_animals_more_evenly(even: float) -> None:
    weights = sampling_weights(ROWS, even)
    examples = examples_of(ROWS)
    assert len(weights) == len(examples)
    total: Counter[str] = Counter()
    for example, weight in zip(examples, weights, strict=True):
        total["bear" if example.label == "brown_bear" else example.label] += weight  # type: ignore[assignment]
    assert dict(total) == pytest.approx(KIND_SHARES)
    assert sum(weights[-10:]) / sum(weights[-100:-10]) == pytest.approx((10 / 90) ** (1 - even))


def test_what_a_picture_shows_is_its_note_or_its_source() -> None:
    assert [what(row("no_bear", note)) for note in ("dog", "boar: thermal", "")] == ["dog", "boar", "yard"]


def test_hard_negatives_are_one_kind_whatever_they_scored() -> None:
    hard = [row("no_bear", f"hard negative: p(bear) 0.{score}") for score in range(20, 80)]
    dogs = [row("no_bear", "dog") for _ in range(10)]
    assert {what(each) for each in hard} == {"hard negative"}
    weights = sampling_weights([*ROWS[:7], *dogs, *hard], 1.0)
    assert sum(weights[-60:]) == pytest.approx(sum(weights[-70:-60]))  # not sixty kinds to one


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


@pytest.mark.parametrize(
    ("augment", "clear", "look"), [("none", False, 0), ("light", False, 0), ("field", False, 1), ("field", True, 0)]
)
def test_the_fields_look_is_there_when_asked_for_and_left_to_a_clear_teacher(
    augment: Augment, clear: bool, look: int
) -> None:
    recipe = Recipe(augment=augment, clear_teacher=clear)
    assert sum(isinstance(one, FieldLook) for one in item_transforms(recipe, PictureCache())) == look
    assert bool(batch_transforms(recipe)) == (augment != "none")
