"""Calibration error: without what chance adds to it, with an interval that holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from train.metrics.calibration import BINS, Reliability, reliability


def error(scores: NDArray[np.float64], bears: NDArray[np.bool_], clusters: NDArray[np.int64]) -> Reliability:
    found = reliability(scores, bears, clusters)
    assert found is not None
    return found


def test_by_hand() -> None:
    scores, bears = np.array([0.9] * 10 + [0.1] * 10), np.array([1] * 5 + [0] * 5 + [1] * 1 + [0] * 9, bool)
    found = error(scores, bears, np.arange(20))
    assert found.plain == pytest.approx(0.2)
    assert found.counts == (10, 10)
    assert found.observed == pytest.approx((0.1, 0.5))
    # Ten draws of 0.9: the mean distance from nine is 2 sum over k of max(k - 9, 0) P(k), all of it at k = 10.
    assert found.expected == pytest.approx(2 * 0.9**10 / 10, abs=0.01)
    assert found.low <= found.error <= found.plain <= found.high
    assert 0.1 < found.error < 0.2
    assert reliability(np.empty(0), np.empty(0, bool), []) is None


def test_a_model_without_error_is_not_blamed_for_few_pictures() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(40):
        said = rng.random(300)
        found.append(error(said, rng.random(300) < said, np.arange(300)))
    counted = float(np.mean([one.plain for one in found]))
    assert counted > 0.06
    assert np.mean([one.expected for one in found]) == pytest.approx(counted, abs=0.005)
    assert np.mean([one.error for one in found]) < 0.03
    assert sum(one.low == 0 for one in found) >= 36


@pytest.mark.slow
@pytest.mark.parametrize(("n", "copies"), [(300, 1), (600, 2)])
def test_the_interval_holds_the_truth(n: int, copies: int) -> None:
    rng = np.random.default_rng(6)

    def said(many: int) -> NDArray[np.float64]:
        return np.asarray(rng.beta(0.5, 0.5, many))

    large = said(200_000)
    place = np.minimum((large * BINS).astype(int), BINS - 1)
    true = float(np.abs(np.bincount(place, large**1.4 - large, BINS)).sum() / len(large))
    cluster = np.repeat(np.arange(n // copies), copies)
    found = []
    for _ in range(50):
        scores = said(n // copies)[cluster]
        found.append(error(scores, rng.random(n // copies)[cluster] < scores**1.4, cluster))
    assert sum(one.low <= true <= one.high for one in found) >= 44
    assert np.mean([one.error for one in found]) == pytest.approx(true, abs=0.012)
    assert np.mean([one.plain for one in found]) > true + 0.012


def test_what_is_surely_off_is_found() -> None:
    rng = np.random.default_rng(7)
    said = rng.random(3_000)
    good = error(said, rng.random(3_000) < said, np.arange(3_000))
    bad = error(said, rng.random(3_000) < said**2, np.arange(3_000))
    assert good.error < 0.02
    assert bad.low > 0.1
    assert bad.error == pytest.approx(1 / 6, abs=0.02)  # the mean of p - p squared


def test_crops_of_one_picture_are_one_answer() -> None:
    rng = np.random.default_rng(8)
    once = rng.random(60)
    right = rng.random(60) < once
    single = error(once, right, np.arange(60))
    many = error(np.repeat(once, 5), np.repeat(right, 5), np.repeat(np.arange(60), 5))
    assert many.expected == pytest.approx(single.expected, rel=0.05)
    assert (many.low, many.high) == pytest.approx((single.low, single.high), abs=0.03)
