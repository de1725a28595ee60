"""Two models on the same crops: differences, 95 % intervals, and tests that count original pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import rankdata

from edge.decide.stages import Z95
from train.metrics.rates import (
    CHUNK,
    Figure,
    bootstrap,
    cluster_numbers,
    clustered_variance,
    effective_n,
    mean_recall,
    mean_recalls,
    placements,
    recalls,
    threshold_at,
)

PAIRED_SEED = 11


@dataclass(frozen=True)
class Difference:
    """One figure of two models and its difference, on ``n`` crops of ``pictures`` original pictures."""

    old: float
    new: float
    value: float  # new - old
    low: float  # 95 % interval of the difference
    high: float
    p: float  # two-sided p of no difference
    n: int
    pictures: int

    @property
    def gain(self) -> bool:
        """Return True if the new one is shown to be higher, by test and interval: each alone may err."""
        return self.p <= 0.05 and self.low > 0

    @property
    def loss(self) -> bool:
        """Return True if the new one is shown to be lower."""
        return self.p <= 0.05 and self.high < 0


@dataclass(frozen=True, eq=False)
class Pair:
    """Both models' bear probabilities of the same N crops."""

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    bear: NDArray[np.bool_]
    picture: NDArray  # (N,) original picture of each

    def where(self, chosen: NDArray[np.bool_]) -> Pair:
        """Return the rows where ``chosen``."""
        return Pair(self.old[chosen], self.new[chosen], self.bear[chosen], self.picture[chosen])


def recall_difference(pair: Pair, rate: float) -> Difference | None:
    """Compare recall at the thresholds where ``rate`` of the others pass, not at the models' own.

    Interval and test as in ``_difference``, with thresholds fitted in each draw. None if a side is empty.
    """

    def recall(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return float((bears >= threshold_at(others, rate)).mean())

    allowed = int(rate * (~pair.bear).sum() + 1e-9)
    place = max(int((~pair.bear).sum()) - 1 - allowed, 0)  # the first that may not pass, in rising order

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        limit = np.partition(ranks[:, ~pair.bear], place, axis=1)[:, place : place + 1]
        return np.asarray((ranks[:, pair.bear] > limit).mean(axis=1), np.float64)

    return _difference(pair, Measure(recall, recalls, of_ranks), rate)


def mean_recall_difference(pair: Pair, rate: float) -> Difference | None:
    """Compare recall averaged over the false-positive rates up to ``rate`` (``mean_recall``).

    Interval and test as in ``_difference``. None if a side is empty.
    """

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([mean_recall(row[pair.bear], row[~pair.bear], rate) for row in ranks])

    def of_scores(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return mean_recall(bears, others, rate)

    return _difference(pair, Measure(of_scores, mean_recalls, of_ranks), rate)


@dataclass(frozen=True)
class Measure:
    """A figure of one model, in the three forms that interval and test of two models need."""

    of_scores: Callable[[NDArray[np.float64], NDArray[np.float64]], float]  # of bears' and others' scores
    of_draws: Figure  # of many draws of pictures: ``bootstrap``
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (R, N) ranks of all crops -> (R,)


def _difference(pair: Pair, measure: Measure, rate: float) -> Difference | None:
    """Compare a measure, new minus old.

    Interval: a paired bootstrap of pictures. Test: the models' answers to a picture are swapped at random, as ranks,
    because two models' probabilities need not mean the same (Venkatraman & Begg 1996, Biometrika 83). If the new model
    is no better, the interval reaches at least as far down as if both found the same bears (``score_difference``);
    likewise up.
    """
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    of = cluster_numbers(bears.picture), cluster_numbers(others.picture)
    old, new = measure.of_scores(bears.old, others.old), measure.of_scores(bears.new, others.new)
    # The same seed draws the same pictures for both.
    before, after = (
        bootstrap(measure.of_draws, *scores, *of, rate, PAIRED_SEED)
        for scores in ((bears.old, others.old), (bears.new, others.new))
    )
    low, high = (float(bound) for bound in np.quantile(after - before, [0.025, 0.975]))
    # A loss must not narrow the interval: no end is closer to 0 than if both find the same bears.
    none = score_difference(0, 0, effective_n(of[0]))
    low, high = low if new > old else min(low, none[0]), high if new < old else max(high, none[1])
    p = swap_test(pair, measure.of_ranks, new - old, len(before))
    return Difference(old, new, new - old, low, high, p, len(bears.old), int(of[0].max()) + 1)


def swap_test(
    pair: Pair,
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seen: float,
    replicates: int,
) -> float:
    """Return the two-sided p of a difference as large as ``seen`` if the models are exchangeable."""
    old, new, cluster = rankdata(pair.old), rankdata(pair.new), cluster_numbers(pair.picture)
    rng = np.random.default_rng(PAIRED_SEED)
    hits = 0
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        swap = rng.integers(0, 2, (count, int(cluster.max()) + 1), dtype=np.int8).astype(bool)[:, cluster]
        first, second = np.where(swap, new, old), np.where(swap, old, new)
        hits += int((np.abs(of_ranks(second) - of_ranks(first)) >= abs(seen) - 1e-12).sum())
    return (hits + 1) / (replicates + 1)


def auc_difference(pair: Pair) -> Difference | None:
    """Compare the areas under the ROC curves, variance over pictures (Obuchowski 1997, paired as DeLong 1988)."""
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    old, new = placements(bears.old, others.old), placements(bears.new, others.new)
    value = float(new.mean() - old.mean())
    of = cluster_numbers(bears.picture), cluster_numbers(others.picture)
    by_other = placements(others.old, bears.old) - placements(others.new, bears.new)
    error = math.sqrt(
        clustered_variance(new - old - value, of[0]) + clustered_variance(by_other - by_other.mean(), of[1])
    )
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else 1.0
    return Difference(
        float(old.mean()),
        float(new.mean()),
        value,
        value - Z95 * error,
        value + Z95 * error,
        p,
        len(pair.old),
        int(of[0].max() + of[1].max()) + 2,
    )


def rate_difference(
    old: NDArray[np.bool_], new: NDArray[np.bool_], clusters: Sequence[object] | NDArray
) -> Difference | None:
    """Compare two shares of the same crops: of bears found, or of others taken for one. None without crops.

    Test: exact, over all sign flips of the pictures' differences; with one crop for each picture it is McNemar's exact
    test. Interval: ``score_difference`` on counts scaled down to independent pictures (``effective_n``), as if crops of
    one picture always agreed: it has width if nothing differs, and one more loss never raises its end.
    """
    n = len(old)
    if not n:
        return None
    cluster = cluster_numbers(clusters)
    step = new.astype(int) - old.astype(int)
    worth = effective_n(cluster)
    low, high = score_difference(float((step > 0).sum()) * worth / n, float((step < 0).sum()) * worth / n, worth)
    sums = np.bincount(cluster, step).round().astype(int)
    return Difference(
        old=float(old.mean()),
        new=float(new.mean()),
        value=float(step.mean()),
        low=low,
        high=high,
        p=sign_flips(sums),
        n=n,
        pictures=int(cluster.max()) + 1,
    )


def score_difference(gained: float, lost: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Return the score interval of (gained - lost) / n of ``n`` pairs (Tango 1998, Statistics in Medicine 17).

    In ``gained`` pairs only the new model is right, in ``lost`` only the old; effective counts may be fractions. If no
    pair differs, it ends at z^2 / (n + z^2), 3.7 / n for large n.
    """
    seen = (gained - lost) / n

    def away(delta: float) -> float:
        """Return the score statistic of the counts for a difference of ``delta``; it falls as delta grows."""
        linear = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * delta * (1 - delta), 0.0))
        only_old = (root - linear) / (4 * n)  # its most likely share then
        variance = n * (2 * only_old + delta * (1 - delta))
        gap = gained - lost - n * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0

    low = -1.0 if away(-1.0) <= z else brentq(lambda delta: away(delta) - z, -1.0, seen)
    high = 1.0 if away(1.0) >= -z else brentq(lambda delta: away(delta) + z, seen, 1.0)
    return low, high


def sign_flips(sums: NDArray[np.int64]) -> float:
    """Return the exact two-sided p of the sum of integers, if each sign is equally likely.

    For ones it is scipy's ``binomtest``.
    """
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    total = int(sizes.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never wraps around
    away = np.abs(np.arange(-total, total + 1)) >= abs(int(sums.sum()))
    return min(1.0, float(chances[away].sum()))
