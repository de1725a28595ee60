"""Two models on the same crops: differences, 95 % intervals, and tests that count original pictures. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.figures.clustered import independent, numbered, placements
from train.figures.metrics import Z95
from train.figures.recall import CHUNK, REPLICATES, Figure, drawn, mean_recall, mean_recalls, recalls, threshold_at

SEED = 11


@dataclass(frozen=True)
class Difference:
    """New minus old of one figure, on ``n`` crops of ``pictures`` original pictures."""

    old: float
    new: float
    value: float  # new - old
    low: float  # 95 % interval of the difference
    high: float
    p: float  # two-sided, of no difference
    n: int
    pictures: int

    @property
    def gain(self) -> bool:
        """Whether the new one is shown to be higher: by the test and by the interval, for each alone may err."""
        return self.p <= 0.05 and self.low > 0

    @property
    def loss(self) -> bool:
        """Whether the new one is shown to be lower."""
        return self.p <= 0.05 and self.high < 0


@dataclass(frozen=True, eq=False)
class Pair:
    """Both models' bear probabilities of the same N crops."""

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    bear: NDArray[np.bool_]
    picture: NDArray  # (N,) which original picture

    def where(self, chosen: NDArray[np.bool_]) -> Pair:
        """The rows where ``chosen``."""
        return Pair(self.old[chosen], self.new[chosen], self.bear[chosen], self.picture[chosen])


def recall_difference(pair: Pair, rate: float, replicates: int = REPLICATES, seed: int = SEED) -> Difference | None:
    """Recall where each model takes ``rate`` of the others for bears: the models' own thresholds do not matter.

    Interval and test as ``_difference`` says, thresholds fitted anew each time. None when a side is empty.
    """

    def recall(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return float((bears >= threshold_at(others, rate)).mean())

    allowed = int(rate * (~pair.bear).sum() + 1e-9)
    place = max(int((~pair.bear).sum()) - 1 - allowed, 0)  # in rising order, the first that may not pass

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        limit = np.partition(ranks[:, ~pair.bear], place, axis=1)[:, place : place + 1]
        return np.asarray((ranks[:, pair.bear] > limit).mean(axis=1), np.float64)

    return _difference(pair, Measure(recall, recalls, of_ranks), rate, replicates, seed)


def mean_recall_difference(
    pair: Pair, rate: float, replicates: int = REPLICATES, seed: int = SEED
) -> Difference | None:
    """Recall averaged over the false-positive rates up to ``rate`` (``train.figures.recall.mean_recall``).

    Interval and test as ``_difference`` says. None when a side is empty.
    """

    def of_ranks(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([mean_recall(row[pair.bear], row[~pair.bear], rate) for row in ranks])

    def of_scores(bears: NDArray[np.float64], others: NDArray[np.float64]) -> float:
        return mean_recall(bears, others, rate)

    return _difference(pair, Measure(of_scores, mean_recalls, of_ranks), rate, replicates, seed)


@dataclass(frozen=True)
class Measure:
    """A figure of one model in the three ways that an interval and a test of two models ask for it."""

    of_scores: Callable[[NDArray[np.float64], NDArray[np.float64]], float]  # of bears' and others' scores
    of_draws: Figure  # the same of many draws of pictures: ``train.figures.recall.drawn``
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (R, N) ranks of all crops -> (R,)


def _difference(pair: Pair, measure: Measure, rate: float, replicates: int, seed: int) -> Difference | None:
    """New minus old of a measure.

    Interval: a paired bootstrap of pictures. Test: the models' answers to a picture are swapped at random, on the scale
    of ranks, for two models' probabilities need not mean the same (Venkatraman & Begg 1996, Biometrika 83). Where the
    new model is no better, the interval reaches at least as far down as where both find the same bears
    (``score_difference``), and likewise up.
    """
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    of = numbered(bears.picture), numbered(others.picture)
    old, new = measure.of_scores(bears.old, others.old), measure.of_scores(bears.new, others.new)
    # The same seed draws the same pictures for both.
    before, after = (
        drawn(measure.of_draws, *scores, *of, rate, replicates, seed)
        for scores in ((bears.old, others.old), (bears.new, others.new))
    )
    low, high = (float(bound) for bound in np.quantile(after - before, [0.025, 0.975]))
    # A loss does not make a larger one less likely: no end is closer to 0 than where no bear tells the two apart.
    none = score_difference(0, 0, independent(of[0]))
    low, high = low if new > old else min(low, none[0]), high if new < old else max(high, none[1])
    p = swapped(pair, measure.of_ranks, new - old, replicates, seed)
    return Difference(old, new, new - old, low, high, p, len(bears.old), int(of[0].max()) + 1)


def swapped(
    pair: Pair,
    of_ranks: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seen: float,
    replicates: int,
    seed: int,
) -> float:
    """Two-sided p of a difference as large as ``seen``, were the two models exchangeable."""
    old, new, cluster = midranks(pair.old), midranks(pair.new), numbered(pair.picture)
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        swap = rng.integers(0, 2, (count, int(cluster.max()) + 1), dtype=np.int8).astype(bool)[:, cluster]
        first, second = np.where(swap, new, old), np.where(swap, old, new)
        hits += int((np.abs(of_ranks(second) - of_ranks(first)) >= abs(seen) - 1e-12).sum())
    return (hits + 1) / (replicates + 1)


def midranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) ranks of scores, equal ones sharing theirs."""
    ranked = np.sort(scores)
    return np.asarray(
        (np.searchsorted(ranked, scores, side="left") + np.searchsorted(ranked, scores, side="right")) / 2, np.float64
    )


def auc_difference(pair: Pair) -> Difference | None:
    """Difference of the areas under the ROC curves, variance over pictures (Obuchowski 1997, paired as DeLong 1988)."""
    bears, others = pair.where(pair.bear), pair.where(~pair.bear)
    if not len(bears.old) or not len(others.old):
        return None
    old, new = placements(bears.old, others.old), placements(bears.new, others.new)
    value = float(new.mean() - old.mean())
    of = numbered(bears.picture), numbered(others.picture)
    by_other = placements(others.old, bears.old) - placements(others.new, bears.new)
    error = math.sqrt(_variance(new - old, of[0]) + _variance(by_other, of[1]))
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
    """Difference of two shares of the same crops: of bears found, or of others taken for one. None of none.

    Test: exact, all sign flips of the pictures' differences; with one crop a picture it is McNemar's exact test.
    Interval: ``score_difference`` on counts that are scaled down to independent pictures (``independent``), as if crops
    of one picture always agreed: it has width where nothing differs, and one more loss never makes it end lower.
    """
    n = len(old)
    if not n:
        return None
    cluster = numbered(clusters)
    step = new.astype(int) - old.astype(int)
    worth = independent(cluster)
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
    """The score interval of (gained - lost) / n of ``n`` pairs (Tango 1998, Statistics in Medicine 17); 95 % or ``z``.

    ``gained`` pairs have the new answer alone, ``lost`` the old alone; effective counts need not be whole. Where no
    pair differs it ends at z^2 / (n + z^2), 3.7 / n for many.
    """
    seen = (gained - lost) / n

    def away(delta: float) -> float:
        """The score statistic of the observed counts, were the difference ``delta``; falls as delta grows."""
        linear = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * delta * (1 - delta), 0.0))
        only_old = (root - linear) / (4 * n)  # its likeliest share then
        variance = n * (2 * only_old + delta * (1 - delta))
        gap = gained - lost - n * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0

    def end(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(away(middle)) > z:
                outside = middle
            else:
                inside = middle
        return inside

    return end(seen, -1.0), end(seen, 1.0)


def sign_flips(sums: NDArray[np.int64]) -> float:
    """Exact two-sided p of the sum of whole numbers, each as likely with the other sign."""
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    total = int(sizes.sum())
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never reaches the borders twice
    away = np.abs(np.arange(-total, total + 1)) >= abs(int(sums.sum()))
    return min(1.0, float(chances[away].sum()))


def _variance(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Variance of the mean of values, over clusters."""
    sums = np.bincount(clusters, values - values.mean())
    count = len(sums)
    return float(count / max(count - 1, 1) * (sums**2).sum() / len(values) ** 2)
