"""The intervals of ``evaluate``, against published values and by their properties."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from edge.detect.tracker import iou
from train.metrics.paired import sign_flips
from train.metrics.rates import auc, false_alarm_bound, hanley_mcneil, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(k, n, low, high):
    rate = wilson(k, n)
    assert rate is not None
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 9), (7, 9), (9, 9), (81, 263), (499, 500)])
def test_wilson_is_scipys(k, n):
    rate = wilson(k, n)
    assert rate is not None
    assert (rate.low, rate.high) == pytest.approx(tuple(binomtest(k, n).proportion_ci(method="wilson")), abs=1e-12)


def test_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    bears, others = rng.integers(2, 9, 40), rng.integers(0, 7, 70)
    truth = np.repeat([1, 0], [40, 70])
    found = auc(bears.tolist(), others.tolist())
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(truth, np.concatenate([bears, others])))


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 9), (12, 12), (2, 40)])
def test_one_crop_a_picture_has_mcnemars_exact_test(gained, lost):
    steps = np.repeat([1, -1, 0], [gained, lost, 50])
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert sign_flips(steps) == pytest.approx(expected)


def test_nothing_counted_is_no_rate():
    assert wilson(0, 0) is None
    assert auc([], [0.1]) is None
    assert auc([0.1], []) is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(pair):
    k, n = pair
    rate, other = wilson(k, n), wilson(n - k, n)
    assert rate is not None
    assert other is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate.low == pytest.approx(1 - other.high, abs=1e-9)


scores = st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]), min_size=1, max_size=12)


@given(scores, scores)
def test_auc_is_the_share_of_pairs_in_order(bears, others):
    found = auc(bears, others)
    assert found is not None
    pairs = [1.0 if b > o else 0.5 if b == o else 0.0 for b in bears for o in others]
    assert found.value == pytest.approx(float(np.mean(pairs)))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_perfect_auc_is_not_certain():
    small, large = auc([0.9] * 5, [0.1] * 5), auc([0.9] * 500, [0.1] * 500)
    assert small is not None
    assert large is not None
    assert small.high == large.high == 1
    assert small.low < 0.8
    assert 0.98 < large.low < 1


@given(st.integers(1, 300), st.integers(1, 300))
def test_without_skill_the_variance_is_mann_and_whitneys(m, n):
    # Mann & Whitney 1947: U has variance mn(m + n + 1) / 12 when both sides are alike; AUC = U / mn.
    assert hanley_mcneil(0.5, m, n) == pytest.approx((m + n + 1) / (12 * m * n))


def test_quiet_hours_bound_the_rate_at_three_over_t():
    assert false_alarm_bound(0, 0).per_day_upper95 is None
    assert false_alarm_bound(0, 72).per_day_upper95 == pytest.approx(1.0)
    # One-sided 95 % upper bound of a Poisson mean, Garwood 1936: 4.744 for one event, 10.513 for five.
    assert false_alarm_bound(1, 24).per_day_upper95 == pytest.approx(4.744, abs=2e-3)
    assert false_alarm_bound(5, 24).per_day_upper95 == pytest.approx(10.513, abs=2e-3)


def test_iou():
    assert iou((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert iou((0, 0, 1, 1), (1, 0, 1, 1)) == 0
    assert iou((0, 0, 1, 1), (0.5, 0, 1, 1)) == pytest.approx(1 / 3)
