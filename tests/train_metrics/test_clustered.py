"""Rates over pictures: no miss is reassuring, few pictures give wide intervals, and they hold the truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.decide.stages import Z95, score_interval
from train.metrics.rates import (
    Rate,
    clustered_rate,
    design_effect,
    effective_n,
    recall_at,
    t95,
    too_few,
    wilson,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few draws are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.metrics.rates.REPLICATES", 20)
        yield


def rate(hits: NDArray[np.bool_], clusters: NDArray[np.int64]) -> Rate:
    found = clustered_rate(hits, clusters)
    assert found is not None
    return found


def test_one_miss_does_not_make_five_pictures_three_hundred() -> None:
    five = np.repeat(np.arange(5), 60)
    every, but_one = rate(np.ones(300, bool), five), rate(np.arange(300) > 0, five)
    assert every.low == pytest.approx(wilson(5, 5).low)  # type: ignore[union-attr]
    assert but_one.low <= every.low
    assert but_one.low > every.low - 0.02
    assert but_one.high > 0.999
    # One picture that differs tells half of what there is to tell of how alike crops are.
    assert design_effect(np.ones(300), five) == pytest.approx(60)
    assert design_effect(np.arange(300) > 0, five) == pytest.approx(1 + 59 / 2, abs=0.01)


@pytest.mark.parametrize(("pictures", "crops"), [(5, 60), (10, 30), (60, 5), (257, 2)])
@pytest.mark.parametrize("order", ["one picture after the other", "one of each", "at random"])
def test_one_more_miss_never_raises_the_lower_end(pictures: int, crops: int, order: str) -> None:
    n = pictures * crops
    rows = np.arange(n)
    falls = {
        "one picture after the other": rows,
        "one of each": rows.reshape(pictures, crops).T.ravel(),
        "at random": np.random.default_rng(0).permutation(n),
    }[order]
    cluster = rows // crops
    found = [rate(~np.isin(rows, falls[:missed]), cluster) for missed in range(0, n + 1, max(1, n // 150))]
    lows, highs = np.array([one.low for one in found]), np.array([one.high for one in found])
    # The design effect is an estimate: by less than half a point it may tell more of how alike crops are.
    assert np.diff(lows).max() < 0.005
    assert np.diff(highs).max() < 0.005
    assert (lows <= lows[0]).all()
    assert (highs >= highs[-1]).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60))
def test_no_end_is_better_than_where_all_were_hit(crops: list[tuple[bool, int]]) -> None:
    hits, cluster = np.array([hit for hit, _ in crops]), np.array([number for _, number in crops])
    found = rate(hits, cluster)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low <= rate(np.ones(len(hits), bool), cluster).low + 1e-12
    assert found.high >= rate(np.zeros(len(hits), bool), cluster).high - 1e-12
    assert design_effect(hits, cluster) >= 1


@pytest.mark.parametrize(
    ("pictures", "crops", "a", "b"), [(5, 60, 4, 1), (5, 60, 40, 10), (10, 30, 9, 0.5), (60, 5, 4, 1), (60, 5, 18, 2)]
)
def test_few_pictures_hold_the_truth(pictures: int, crops: int, a: float, b: float) -> None:
    rng, held = np.random.default_rng(3), 0
    cluster = np.repeat(np.arange(pictures), crops)
    for _ in range(300):
        found = rate(rng.random(len(cluster)) < np.repeat(rng.beta(a, b, pictures), crops), cluster)
        held += found.low <= a / (a + b) <= found.high
    assert held / 300 >= 0.94


def test_independent_pictures() -> None:
    assert effective_n([]) == 0
    assert effective_n(["a", "b", "c"]) == pytest.approx(3)
    assert effective_n(["a"] * 7 + ["b"] * 7) == pytest.approx(2)
    assert effective_n([1] * 98 + [2, 3]) == pytest.approx(100**2 / (98**2 + 2))


def test_the_factor_of_few_pictures() -> None:
    assert t95(4) == pytest.approx(2.776, abs=5e-4)
    # Tables of Student's t, two-sided 5 %.
    assert [t95(degrees) for degrees in (0, 1, 11, 20, 30, 120)] == pytest.approx(
        [12.706, 12.706, 2.201, 2.086, 2.042, 1.980], abs=1.5e-3
    )
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(6), 50)
    hits = rng.random(300) < np.repeat([0.2, 0.9, 0.4, 0.7, 0.5, 0.6], 50)
    worth = 300 / design_effect(hits, cluster)
    assert worth > 2 * 6
    found = rate(hits, cluster)
    assert (found.low, found.high) == pytest.approx(score_interval(found.value, worth * (Z95 / 2.571) ** 2), abs=1e-4)


def test_too_few_others_are_marked() -> None:
    bears = np.full(50, 0.9), np.arange(50)
    for n, few in ((299, True), (300, False)):
        found = recall_at(bears[0], np.full(n, 0.1), bears[1], np.arange(n))
        assert found is not None
        assert (found.too_few, found.other_pictures) == (few, n)
    copies = recall_at(bears[0], np.full(900, 0.1), bears[1], np.repeat(np.arange(100), 9))
    assert copies is not None
    assert copies.too_few
    assert copies.false_positives.high > 0.03  # what 100 others can show
    assert too_few(range(29), 0.1)
    assert not too_few(range(30), 0.1)
