"""The figure a recipe is chosen by: recall at a false-positive rate of each size of its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.catalog.picture import Picture
from train.learning.far_figure import SIDES_PX, Looks, far_figure, looks_of, some_of


def looks(bears: int, others: int) -> Looks:
    """So many of each at each side; the crops do not matter."""
    truth = np.tile(np.arange(bears + others) < bears, len(SIDES_PX))
    sides = np.repeat(np.array(SIDES_PX), bears + others)
    return Looks(np.zeros((len(truth), 1, 1, 3), np.uint8), truth, sides)


def test_each_side_has_a_threshold_of_its_own() -> None:
    of = looks(4, 100)
    bear = np.where(of.bears, 0.6, 0.1)
    bear[(of.sides == 20) & ~of.bears] = 0.9  # every other animal of 20 pixels scores above the bears
    found = far_figure(bear, of)
    assert found.recall == {0: 1.0, 20: 0.0, 36: 1.0, 60: 1.0, 120: 1.0}
    assert found.auc[20] == 0
    assert found.far == 0.75
    assert found.far_auc == 0.75


def test_one_percent_of_a_hundred_may_pass() -> None:
    of = looks(10, 100)
    bear = np.where(of.bears, 0.5, 0.1)
    for side in SIDES_PX:
        here = np.flatnonzero((of.sides == side) & ~of.bears)
        bear[here[:1]] = 0.9
    found = far_figure(bear, of)
    assert found.far == 1.0
    assert found.wide == dict.fromkeys(
        SIDES_PX, pytest.approx(0.8)
    )  # of the five highest others one is above the bears
    for side in SIDES_PX:
        here = np.flatnonzero((of.sides == side) & ~of.bears)
        bear[here[:2]] = 0.9
    assert far_figure(bear, of).far == 0.0


@given(st.integers(0, 2**32 - 1))
def test_any_rising_change_of_the_scores_changes_nothing(seed: int) -> None:
    of = looks(5, 40)
    bear = np.random.default_rng(seed).random(len(of.bears))
    assert far_figure(bear, of) == far_figure(bear**3 / 2, of)


def test_looks_are_whole_and_shrunk_and_the_same_each_time(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 255, (90, 130, 3), np.uint8))
    rows = [Picture(file, "brown_bear", "a", ""), Picture(file, "no_bear", "a", "")]
    one, two = looks_of(rows, 64), looks_of(rows, 64)
    assert one.crops.shape == (10, 64, 64, 3)
    assert one.bears.tolist() == [True] * 5 + [False] * 5
    np.testing.assert_array_equal(one.crops, two.crops)
    detail = [float(cv2.Laplacian(crop, cv2.CV_64F).var()) for crop in one.crops[:5]]
    assert detail[1] == pytest.approx(min(detail))  # 20 pixels hold the least


def test_some_of_many_are_taken_evenly_and_few_all() -> None:
    rows = [Picture(Path(f"{n}.jpg"), "brown_bear" if n % 2 else "no_bear", "a", "") for n in range(40)]
    assert set(some_of(rows)) == set(rows)
    few = some_of(rows, bears=3, others=5)
    assert [row.label for row in few] == ["brown_bear"] * 3 + ["no_bear"] * 5
    assert {rows[0], rows[1], rows[38], rows[39]} <= set(few)
