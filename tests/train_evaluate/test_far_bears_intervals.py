"""Clustered intervals and calibration error: against second implementations, and by what they must not promise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.metrics.calibration import before_temperature
from train.metrics.rates import (
    auc,
    bootstrap,
    bootstrap_weights,
    cluster_numbers,
    clustered_auc,
    clustered_rate,
    design_effect,
    recall_at,
    recalls,
    threshold_at,
    wilson,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few draws are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.metrics.rates.REPLICATES", 50)
        yield


scores = st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]), min_size=2, max_size=30)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_one_crop_a_picture_is_wilson(hits: list[bool]) -> None:
    assert clustered_rate(hits, range(len(hits))) == wilson(sum(hits), len(hits))


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_a_picture_add_nothing(copies: int) -> None:
    hits = np.array([1] * 30 + [0] * 10, bool)
    once = wilson(30, 40)
    many = clustered_rate(np.repeat(hits, copies), np.repeat(np.arange(40), copies))
    assert once is not None
    assert many is not None
    assert many.n == 40 * copies
    assert (many.low, many.high) == pytest.approx((once.low, once.high), abs=0.005)
    all_found = clustered_rate(np.ones(40 * copies), np.repeat(np.arange(40), copies))
    assert all_found is not None
    assert all_found.low == pytest.approx(wilson(40, 40).low)  # type: ignore[union-attr]


def test_crops_that_do_not_follow_their_picture_count_in_full() -> None:
    rng = np.random.default_rng(0)
    assert design_effect(rng.random(4000) < 0.6, np.repeat(np.arange(1000), 4)) == pytest.approx(1, abs=0.15)


def test_the_interval_holds_the_truth_about_as_often_as_stated() -> None:
    rng, held = np.random.default_rng(1), 0
    cluster = np.repeat(np.arange(60), 5)
    for _ in range(300):
        found = clustered_rate(rng.random(300) < np.repeat(rng.beta(1.6, 0.4, 60), 5), cluster)
        assert found is not None
        held += found.low <= 0.8 <= found.high
    assert 0.90 <= held / 300 <= 0.99


@given(scores, st.floats(0, 0.5))
def test_at_most_the_rate_passes(others: list[float], rate: float) -> None:
    array = np.array(others)
    limit = threshold_at(array, rate)
    assert (array >= limit).sum() <= rate * len(array) + 1e-6


def test_drawn_recalls_against_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    bears, others = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 90).round(1)
    bear_of, other_of = cluster_numbers(rng.integers(0, 15, 40)), cluster_numbers(rng.integers(0, 30, 90))
    found = bootstrap(recalls, bears, others, bear_of, other_of, 0.05, seed=3)
    # The same draws, row by row: crops are repeated as often as they were drawn. Rows are sorted by score inside, which
    # changes no draw, for pictures are drawn by number.
    again = np.random.default_rng(3)
    order, rising = np.argsort(others, kind="stable")[::-1], np.argsort(bears, kind="stable")
    other_weights, bear_weights = (
        bootstrap_weights(again, other_of[order], 50),
        bootstrap_weights(again, bear_of[rising], 50),
    )
    for one, of_others, of_bears in zip(found, other_weights, bear_weights, strict=True):
        falling = np.sort(np.repeat(others[order], of_others))[::-1]
        limit = falling[int(0.05 * len(falling) + 1e-9)]
        assert one == pytest.approx((np.repeat(bears[rising], of_bears) > limit).mean())


def test_recall_at_a_rate_has_width_even_where_all_are_found() -> None:
    found = recall_at(np.full(300, 0.9), np.full(900, 0.1), np.repeat(np.arange(100), 3), np.arange(900))
    assert found is not None
    assert (found.recall.value, found.recall.high) == (1, 1)
    assert found.recall.low == pytest.approx(wilson(100, 100).low)  # type: ignore[union-attr]
    assert recall_at(np.empty(0), np.ones(3), np.empty(0), np.arange(3)) is None


def test_auc_over_pictures() -> None:
    rng = np.random.default_rng(4)
    bears, others = rng.normal(1.2, 1, 60), rng.normal(0, 1, 80)
    once = auc(list(bears), list(others))
    assert once == clustered_auc(bears, others, range(60), range(80))
    many = clustered_auc(
        np.repeat(bears, 4), np.repeat(others, 4), np.repeat(np.arange(60), 4), np.repeat(np.arange(80), 4)
    )
    assert once is not None
    assert many is not None
    assert many.value == pytest.approx(once.value)
    assert (many.low, many.high) == pytest.approx((once.low, once.high), abs=0.02)
    sure = clustered_auc(np.ones(40), np.zeros(40), np.repeat(np.arange(4), 10), np.repeat(np.arange(4), 10))
    assert sure is not None
    assert sure.value == 1
    assert sure.low < 0.9


@given(st.integers(0, 1000), st.floats(0.5, 4))
def test_the_temperature_can_be_taken_back(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (5, 4))

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    assert before_temperature(softmax(logits / temperature), temperature) == pytest.approx(softmax(logits), abs=1e-6)
