"""AUROC with intervals by picture, and the threshold that most of the domain passes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from train.learn.strangeness import PASSES, area, passing, threshold
from train.metrics import auc


def scored(m: int = 60, n: int = 90, shift: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of outsiders and of the domain."""
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, m), rng.normal(0, 1, n)


def test_the_area_is_mann_and_whitneys() -> None:
    strange, usual = scored()
    found = area(strange, usual, np.arange(60), np.arange(90))
    plain = auc(list(strange), list(usual))
    assert plain is not None
    assert found.value == pytest.approx(plain.value)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_crops_of_one_picture_do_not_narrow_the_interval() -> None:
    strange, usual = scored()
    apart = area(strange, usual, np.arange(60), np.arange(90))
    copied = area(np.repeat(strange, 5), np.repeat(usual, 5), np.arange(60).repeat(5), np.arange(90).repeat(5))
    assert (copied.value, copied.low, copied.high) == pytest.approx((apart.value, apart.low, apart.high))
    wrong = area(np.repeat(strange, 5), np.repeat(usual, 5), np.arange(300), np.arange(450))
    assert wrong.high - wrong.low < 0.6 * (apart.high - apart.low)


def test_intervals_hold_the_true_area() -> None:
    """With d' = 1 it is 0.7602; of 200 draws of crops in pairs, most intervals hold it."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        strange, usual = (rng.normal(mean, 0.8, 40).repeat(2) + rng.normal(0, 0.6, 80) for mean in (1.0, 0.0))
        found = area(strange, usual, np.arange(40).repeat(2), np.arange(40).repeat(2))
        held += found.low <= 0.7602 <= found.high
    assert 180 <= held <= 199


def test_a_clean_gap_still_has_an_interval() -> None:
    found = area(np.full(20, 9.0), np.zeros(30), np.arange(20), np.arange(30))
    assert found.value == found.high == 1.0
    assert 0.8 < found.low < 1.0


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="both sides"):
        area(np.empty(0), np.zeros(3), np.empty(0, int), np.arange(3))


FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(arrays.arrays(float, st.integers(2, 200), elements=FINITE), st.data())
def test_the_share_passes_of_the_clean_and_of_the_degraded(values: np.ndarray, data: st.DataObject) -> None:
    degraded = data.draw(arrays.arrays(bool, len(values)))
    limit = threshold(values, degraded)
    for part in (values[~degraded], values[degraded]):
        if len(part):
            assert passing(part, limit) >= PASSES - 1e-12
    assert limit in values


@given(arrays.arrays(float, st.integers(1, 50), elements=FINITE), arrays.arrays(float, 20, elements=FINITE))
def test_an_area_is_a_share_and_turns_round(strange: np.ndarray, usual: np.ndarray) -> None:
    one = area(strange, usual, np.arange(len(strange)), np.arange(20))
    other = area(usual, strange, np.arange(20), np.arange(len(strange)))
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.value == pytest.approx(1 - other.value)
