"""A training crop in another place: smaller, whole, in surroundings that hold no bear."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from fastai.vision.core import PILImage

from edge.schema import WHOLE
from train.data.pictures import Picture
from train.learn.augmentation import SIDES, SQUASH, ZoomOut, put, surroundings
from train.learn.dataloaders import item_transforms, make_dataloaders
from train.learn.examples import Example, PictureCache
from train.learn.network import find_backbone
from train.learn.recipe import Recipe

SIZE = 64
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour: tuple[int, int, int], width: int = SIZE, height: int = SIZE) -> np.ndarray:
    """Make a picture of one colour, RGB."""
    return np.full((height, width, 3), colour, np.uint8)


def place(folder: Path, colour: tuple[int, int, int], width: int = 100, height: int = 80) -> Example:
    """Write a file of one colour (RGB), and return it as an example."""
    file = folder / f"{colour}-{width}.png"
    cv2.imwrite(str(file), plain(colour, width, height)[..., ::-1])
    return Example(file, "no_bear", WHOLE)


@given(st.integers(0, 10_000), st.sampled_from([32, 64, 224]))
def test_all_of_the_subject_is_there_and_all_around_is_the_place(seed: int, side: int) -> None:
    shown = put(plain(RED), plain(BLUE, side, side), np.random.default_rng(seed)).astype(int)
    assert shown.shape == (side, side, 3)
    red = shown[..., 0] / 255
    assert np.abs(shown[..., 0] + shown[..., 2] - 255).max() <= 1  # nothing but the two
    assert red.max() == 1
    soft = 1 - 2 * 0.12  # of each side, where the rim is softest
    assert (SIDES[0] * soft) ** 2 * SQUASH[0] * 0.9 <= red.mean() <= SIDES[1] ** 2 * 1.05  # a tenth for whole pixels


def test_a_subject_is_shrunk_and_not_cut() -> None:
    halves = np.hstack([plain(RED, 32), plain(GREEN, 32)])
    shown = put(halves, plain(BLUE), np.random.default_rng(3)).astype(int)
    red, green = (shown[..., 0] > 200).sum(), (shown[..., 1] > 200).sum()
    assert red == pytest.approx(green, rel=0.25)


def test_a_share_goes_elsewhere_and_a_seed_repeats_it(tmp_path: Path) -> None:
    away = ZoomOut(0.4, PictureCache(), [place(tmp_path, BLUE)])
    subject = PILImage.create(plain(RED))

    def shown(seed: int) -> list[np.ndarray]:
        np.random.seed(seed)
        return [np.asarray(away.encodes(subject)) for _ in range(600)]

    first = shown(1)
    moved = sum(bool((image[..., 2] > 200).any()) for image in first)
    assert 0.33 < moved / 600 < 0.47
    assert all(np.array_equal(one, other) for one, other in zip(first, shown(1), strict=True))


def test_without_a_place_the_crop_stays(tmp_path: Path) -> None:
    subject = PILImage.create(plain(RED))
    for places in ([], [place(tmp_path, BLUE, 20, 20)]):
        assert np.array_equal(np.asarray(ZoomOut(1.0, PictureCache(), places).encodes(subject)), plain(RED))


@given(st.integers(0, 1000))
def test_surroundings_are_a_part_of_the_picture(seed: int) -> None:
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[..., 0] = np.arange(90)[None, :]
    square = surroundings(picture, 32, np.random.default_rng(seed))
    assert square.shape == (32, 32, 3)
    across = square[..., 0].astype(int)
    assert (np.diff(across, axis=1) >= 0).all()
    assert across.max() - across.min() <= 60


def test_places_that_are_too_small_are_passed_over(tmp_path: Path) -> None:
    np.random.seed(3)
    small = tmp_path / "small"
    small.mkdir()
    places = [place(tmp_path, BLUE), place(small, BLUE, 20, 20)]
    away = ZoomOut(1.0, PictureCache(), places)
    shown = [np.asarray(away.encodes(PILImage.create(plain(RED)))) for _ in range(30)]
    assert not [one for one in shown if np.array_equal(one, plain(RED))]


def test_places_hold_no_bear(tmp_path: Path) -> None:
    rows = []
    for label, colour in (("no_bear", BLUE), ("brown_bear", GREEN), ("teddy_bear", GREEN)):
        for n in range(3):
            rows.append(Picture(place(tmp_path, colour, 100 + n + len(label)).file, label, "yard", ""))
    recipe = Recipe(size=SIZE, per_epoch=32, batch=32, zoom_out=1.0, degraded=0.0)
    tune = [Picture(place(tmp_path, RED).file, "no_bear", "wood", "")]
    dls = make_dataloaders(rows, tune, find_backbone("efficientnet_lite0"), recipe)
    (away,) = [one for one in dls.train.after_item.fs if isinstance(one, ZoomOut)]
    assert [example.file for example in away.places] == [row.file for row in rows if row.label == "no_bear"]


@pytest.mark.parametrize(("share", "there"), [(0.5, 1), (0.0, 0)])
def test_it_is_there_where_a_share_is_asked_for(share: float, there: int) -> None:
    recipe = Recipe(zoom_out=share)
    assert sum(isinstance(one, ZoomOut) for one in item_transforms(recipe, PictureCache())) == there
