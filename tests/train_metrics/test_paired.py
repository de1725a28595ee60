"""Paired differences: against published examples, second implementations, and by what one more loss may not do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.stages import Z95
from train.metrics.paired import (
    Pair,
    auc_difference,
    mean_recall_difference,
    rate_difference,
    recall_difference,
    score_difference,
)
from train.metrics.rates import bootstrap, mean_recall, mean_recalls, threshold_at


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few draws are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.metrics.rates.REPLICATES", 400)
        yield


@pytest.mark.parametrize(
    ("gained", "lost", "n", "z", "low", "high"),
    [
        # Tango 1998, Statistics in Medicine 17: the airway data that Newcombe 1998 has as its example too.
        (9, 3, 32, Z95, -0.027, 0.390),
        # Tango 1998: the crossover trial of two lens solutions, 90 %.
        (0, 1, 44, 1.6448536, -0.096, 0.037),
        # Agresti & Min 2005, Statistics in Medicine 24: 53, 16, 8 and 9 answers.
        (16, 8, 86, Z95, -0.020, 0.207),
    ],
)
def test_the_score_interval_as_published(gained: int, lost: int, n: int, z: float, low: float, high: float) -> None:
    assert score_difference(gained, lost, n, z) == pytest.approx((low, high), abs=5e-4)
    assert score_difference(lost, gained, n, z) == pytest.approx((-high, -low), abs=5e-4)


def test_shares_of_a_published_table() -> None:
    old = np.repeat([True, False, True, False], [4, 9, 3, 16])
    new = np.repeat([True, True, False, False], [4, 9, 3, 16])
    found = rate_difference(old, new, range(32))
    assert found is not None
    assert (found.old, found.new, found.value) == pytest.approx((7 / 32, 13 / 32, 6 / 32))
    assert (found.low, found.high) == pytest.approx((-0.027, 0.390), abs=5e-4)


def test_models_that_never_differ_are_bounded_from_both_sides() -> None:
    found = rate_difference(np.ones(300, bool), np.ones(300, bool), np.repeat(np.arange(100), 3))
    assert found is not None
    assert (found.value, found.p) == (0, 1)
    bound = Z95**2 / (100 + Z95**2)
    assert (found.low, found.high) == pytest.approx((-bound, bound))
    assert rate_difference(np.empty(0, bool), np.empty(0, bool), []) is None


def test_one_more_false_positive_is_never_reassuring() -> None:
    old = np.zeros(300, bool)
    highs = []
    for taken in range(40):
        found = rate_difference(old, np.arange(300) < taken, range(300))
        assert found is not None
        highs.append(found.high)
    assert highs == sorted(highs)
    assert highs[0] > 0.0125
    assert highs[1] > 0.018


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=2, max_size=40), st.integers(0, 39)
)
def test_one_more_loss_never_lowers_the_end(crops: list[tuple[bool, bool, int]], which: int) -> None:
    old, new, cluster = (np.array(column) for column in zip(*crops, strict=True))
    before = rate_difference(old, new, cluster)
    more = new.copy()
    more[which % len(new)] = True
    after = rate_difference(old, more, cluster)
    assert before is not None
    assert after is not None
    assert after.high >= before.high - 1e-9
    assert after.low >= before.low - 1e-9
    assert -1 <= before.low <= before.value + 1e-9
    assert before.value - 1e-9 <= before.high <= 1


def test_the_interval_holds_the_truth_about_as_often_as_stated() -> None:
    rng, held, margin = np.random.default_rng(2), 0, 0
    for _ in range(600):
        found = rate_difference(rng.random(300) < 0, rng.random(300) < 0.01, range(300))
        assert found is not None
        held += found.low <= 0.01 <= found.high
        margin += found.high <= 0.01  # a guard that would hold although the loss is at its margin
    assert held / 600 >= 0.94
    assert margin / 600 <= 0.035
    assert margin == 0  # 300 others are too few to rule out one point


def recall_with(lost: int, gained: int = 0) -> tuple[float, float]:
    """The interval of recall where the new model loses some of 100 bears."""
    bear = np.arange(400) < 100
    old = np.where(bear, 0.9, 0.1)
    new = np.where(np.arange(400) < lost, 0.0, old)
    old = np.where((np.arange(400) >= 50) & (np.arange(400) < 50 + gained), 0.0, old)
    found = recall_difference(Pair(old, new, bear, np.arange(400)), 0.01)
    assert found is not None
    assert found.value == pytest.approx((gained - lost) / 100)
    return found.low, found.high


def test_a_lost_bear_is_no_evidence_that_fewer_are_lost() -> None:
    lows = [recall_with(lost)[0] for lost in range(6)]
    assert lows == sorted(lows, reverse=True)
    assert lows[0] == pytest.approx(-(Z95**2) / (100 + Z95**2))
    highs = [recall_with(0, gained)[1] for gained in range(6)]
    assert highs == sorted(highs)
    assert recall_with(0, 20)[0] > 0.1  # what is gained stays shown


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.1, 0.33, 1.0]),
)
def test_mean_recall_against_a_threshold_at_every_rate(bears: list[int], others: list[int], rate: float) -> None:
    found, seen = np.array(bears, float), np.array(others, float)
    steps = (np.arange(3000) + 0.5) / 3000 * rate
    recalls = [(found >= threshold_at(seen, step)).mean() for step in steps]
    assert mean_recall(found, seen, rate) == pytest.approx(np.mean(recalls), abs=0.02)


def test_a_drawn_mean_recall_is_that_of_the_drawn_pictures() -> None:
    """Copies of one picture are drawn together, and each draw has the others of its own."""
    bears, others = np.array([0.9, 0.9, 0.1, 0.1]), np.array([0.5, 0.5])
    found = bootstrap(mean_recalls, bears, others, np.array([0, 0, 1, 1]), np.array([0, 1]), 0.5)
    assert sorted(set(found)) == [0, 0.5, 1]
    assert (found == 0.5).mean() == pytest.approx(0.5, abs=0.08)


def test_a_model_that_knows_nothing_finds_nothing() -> None:
    bear = np.arange(200) < 100
    same = Pair(np.full(200, 0.5), np.where(bear, 0.9, 0.1), bear, np.arange(200))
    found = mean_recall_difference(same, 0.05)
    assert found is not None
    assert (found.old, found.new) == (0, 1)
    assert found.gain
    none = Pair(same.new, same.new, bear, same.picture)
    alike = mean_recall_difference(none, 0.05)
    assert alike is not None
    assert (alike.value, alike.p) == (0, 1)
    assert alike.low < 0 < alike.high


def test_areas_against_delong() -> None:
    rng = np.random.default_rng(3)
    bear = np.arange(130) < 50
    old, new = rng.normal(bear * 1.0, 1).round(1), rng.normal(bear * 1.4, 1).round(1)
    found = auc_difference(Pair(old, new, bear, np.arange(130)))
    assert found is not None
    # DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44: from the matrix of all pairs.
    wins = [
        (scores[bear][:, None] > scores[~bear]) + 0.5 * (scores[bear][:, None] == scores[~bear])
        for scores in (old, new)
    ]
    gap = wins[1] - wins[0]
    variance = gap.mean(axis=1).var(ddof=1) / 50 + gap.mean(axis=0).var(ddof=1) / 80
    assert found.value == pytest.approx(gap.mean())
    assert found.high - found.low == pytest.approx(2 * Z95 * np.sqrt(variance))
