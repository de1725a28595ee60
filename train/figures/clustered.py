"""Intervals for crops that are not independent: several of one picture are less than as many pictures. Plain numpy.

Rates: Wilson's interval on the effective sample size n / deff with the t-factor of few clusters (Korn & Graubard 1998,
Survey Methodology 24), the design effect that of a ratio over clusters (Rao & Scott 1992, Biometrics 48). Near 0 and 1
a handful of misses tells nothing of how alike crops of one picture are: there it is bounded by Kish's (1965) for crops
that always agree. Whatever hangs on a threshold that is fitted on the same crops: a bootstrap that draws whole pictures
(Davison & Hinkley 1997, ch. 3.8; Field & Welsh 2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.figures.calibrate import lowest_threshold
from train.figures.metrics import Z95, Auc, Rate, auc, hanley_mcneil

REPLICATES = 2000
SEED = 7
CHUNK = 100  # replicates at once, so that memory stays small


def numbered(clusters: Sequence[object] | NDArray) -> NDArray[np.int64]:
    """(N,) clusters as numbers 0, 1, 2 …"""
    return np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64).reshape(-1)


def independent(clusters: Sequence[object] | NDArray) -> float:
    """How many independent crops N crops are worth where those of one picture always agree (Kish 1965); at most N.

    The square of the sum of the pictures' crops over the sum of their squares: as many as there are pictures where
    each has equally many. 0 of none.
    """
    if not len(clusters):
        return 0.0
    sizes = np.bincount(numbered(clusters)).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def design_effect(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> float:
    """How many times larger the variance of a share is than with independent crops; at least 1.

    ``hits`` (N,) 0 or 1. The variance over clusters, but no less than Kish's 1 + (m - 1) rho, m - 1 from the cluster
    sizes. rho is the intra-cluster correlation that this variance implies, shrunk towards 1 (crops that always agree)
    as if one more picture had said so: all of it where all or none were hit, half where one picture differs.
    """
    values, cluster = np.asarray(hits, float), numbered(clusters)
    n = len(values)
    if not n or len(np.unique(cluster)) == n:
        return 1.0
    sizes = np.bincount(cluster)
    count, share, alike = len(sizes), float(values.mean()), n / independent(cluster)
    if count < 2 or not 0 < share < 1:
        return alike
    sums = np.bincount(cluster, values - share)
    seen = max(1.0, count / (count - 1) * float((sums**2).sum()) / (n * share * (1 - share)))
    found = np.bincount(cluster, values)
    telling = min(int((found > 0).sum()), int((found < sizes).sum()))  # pictures with the rarer answer
    correlation = (telling * min(1.0, (seen - 1) / (alike - 1)) + 1) / (telling + 1)
    return max(seen, 1 + (alike - 1) * correlation)


def clustered_rate(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> Rate | None:
    """k of n crops and the 95 % interval that counts pictures, not crops; None of none.

    Neither end is better than it is where all (or none) were hit: one more miss never raises the lower end near 1.
    """
    values = np.asarray(hits, bool)
    n, k = len(values), int(values.sum())
    if n == 0:
        return None
    pictures = independent(clusters)
    worth = n / design_effect(values, clusters)
    if pictures < n:  # a variance from c clusters has c - 1 degrees of freedom; crops that always agree need none
        degrees = len(np.unique(np.asarray(clusters))) - 1
        worth = min(worth, max(worth * (Z95 / t95(degrees)) ** 2, pictures))
    low, high = score_interval(k / n, worth)
    return Rate(k, n, k / n, min(low, score_interval(1.0, pictures)[0]), max(high, score_interval(0.0, pictures)[1]))


T95 = 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228  # for 1 to 10 degrees of freedom


def t95(degrees: int) -> float:
    """The 97.5 % point of Student's t (tables; from 11 on Abramowitz & Stegun 1964, 26.7.5, good to 0.001)."""
    if degrees <= len(T95):
        return T95[max(degrees, 1) - 1]
    z = Z95
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    )


def score_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share of ``n`` independent trials, where ``n`` need not be whole."""
    spread = Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


@dataclass(frozen=True)
class AtRate:
    """Recall where at most a given share of the others is taken for a bear."""

    threshold: float
    recall: Rate
    false_positives: Rate  # what that threshold lets through, and the interval of what it lets through elsewhere
    other_pictures: int  # the threshold hangs on
    too_few: (
        bool  # others for this rate: fewer independent ones than 3 / rate, so the rate elsewhere may be any small one
    )


def recall_at(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float = 0.01,
    replicates: int = REPLICATES,
) -> AtRate | None:
    """Recall at ``rate`` false positives; None when a side is empty. Scores (N,), clusters (N,).

    The interval is a bootstrap over pictures, bears and others apart, each time with a threshold of its own; never
    narrower than that of a fixed threshold, so that 300 of 300 has width too. With fewer than 3 / ``rate`` independent
    others (``independent``) the threshold is that of the highest two or three: that is marked.
    """
    if not len(bears) or not len(others):
        return None
    threshold = threshold_at(others, rate)
    hits = bears >= threshold
    fixed = clustered_rate(hits, bear_clusters)
    passed = clustered_rate(others >= threshold, other_clusters)
    assert fixed is not None
    assert passed is not None
    drawn = drawn_recalls(bears, others, bear_clusters, other_clusters, rate, replicates)
    low, high = (float(bound) for bound in np.quantile(drawn, [0.025, 0.975]))
    return AtRate(
        threshold=threshold,
        recall=Rate(fixed.k, fixed.n, fixed.value, min(low, fixed.low), max(high, fixed.high)),
        false_positives=passed,
        other_pictures=len(np.unique(other_clusters)),
        too_few=too_few(other_clusters, rate),
    )


def too_few(others: Sequence[object] | NDArray, rate: float) -> bool:
    """Whether others with these clusters are too few for a threshold of ``rate``: not three expected above it."""
    return independent(others) < 3 / rate - 1e-9


def threshold_at(others: NDArray[np.float64], rate: float) -> float:
    """The lowest threshold that at most ``rate`` of these scores reach."""
    return lowest_threshold(others, np.zeros(len(others), bool), int(rate * len(others) + 1e-9))


def drawn_recalls(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """(replicates,) recall at ``rate`` false positives, pictures drawn anew with replacement each time."""

    def recalls(
        rising: NDArray[np.float64],
        falling: NDArray[np.float64],
        of_bears: NDArray[np.int64],
        weights: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        passed = np.cumsum(weights, axis=1)
        # The threshold lies just above the first of the others that may not pass.
        first = (passed > rate * passed[:, -1:] + 1e-9).argmax(axis=1)
        above = np.searchsorted(rising, falling[first], side="right")  # bears from here on score higher
        total = np.cumsum(of_bears, axis=1)
        below = np.where(above > 0, total[np.arange(len(total)), np.maximum(above - 1, 0)], 0)
        return np.asarray(1 - below / total[:, -1], np.float64)

    return _drawn(bears, others, bear_clusters, other_clusters, recalls, replicates, seed)


def mean_recall(bears: NDArray[np.float64], others: NDArray[np.float64], rate: float) -> float:
    """Recall averaged over the false-positive rates from 0 to ``rate``; a bear no higher than an other is not found.

    The part of the area under the ROC curve left of ``rate``, as a share of what it can be (McClish 1989, Medical
    Decision Making 9; Dodd & Pepe 2003, Biometrics 59). It hangs on all of the highest others, where recall at a rate
    hangs on one of them.
    """
    every = np.ones((1, len(bears)), np.int64), np.ones((1, len(others)), np.int64)
    return float(_mean_recalls(np.sort(bears), np.sort(others)[::-1], *every, rate)[0])


def drawn_mean_recalls(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """(replicates,) ``mean_recall``, pictures drawn anew with replacement each time."""
    means = partial(_mean_recalls, rate=rate)
    return _drawn(bears, others, bear_clusters, other_clusters, means, replicates, seed)


def _drawn(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    figure: Callable[..., NDArray[np.float64]],
    replicates: int,
    seed: int,
) -> NDArray[np.float64]:
    """(replicates,) a figure of rising bears, falling others and how often each is drawn: (R, bears), (R, others)."""
    rising, falling = np.argsort(bears, kind="stable"), np.argsort(others, kind="stable")[::-1]
    bear_of, other_of = numbered(bear_clusters)[rising], numbered(other_clusters)[falling]
    rng = np.random.default_rng(seed)
    found = np.empty(replicates)
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        weights = draws(rng, other_of, count)
        found[start : start + count] = figure(bears[rising], others[falling], draws(rng, bear_of, count), weights)
    return found


def _mean_recalls(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """(R,) of rising bears and falling others, how often each counts (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    wide = rate * passed[:, -1:]
    used = int((passed < wide).sum(axis=1).max()) + 1  # others that any row gets to
    inside = np.clip(wide - (passed - weights)[:, :used], 0, weights[:, :used])  # of each, how much lies left of rate
    below = np.pad(np.cumsum(bear_weights, axis=1), ((0, 0), (1, 0)))
    recall = 1 - below[:, np.searchsorted(bears, others[:used], "right")] / below[:, -1:]
    return np.asarray((inside * recall).sum(axis=1) / wide[:, 0], np.float64)


def draws(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count, N) how often each row is in each of ``count`` draws of whole clusters with replacement."""
    clusters_n = int(clusters.max()) + 1
    picked = rng.multinomial(clusters_n, np.full(clusters_n, 1 / clusters_n), size=count)
    return np.asarray(picked[:, clusters], np.int64)


def clustered_auc(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: Sequence[object] | NDArray,
    other_clusters: Sequence[object] | NDArray,
) -> Auc | None:
    """Area under the ROC curve and its 95 % interval over pictures; None when one side is empty.

    Variance over clusters by Obuchowski (1997, Biometrics 53), the interval on the logit scale. An AUC of 1 or a side
    of one picture has Hanley & McNeil's variance, with pictures in the place of crops; one crop a picture is ``auc``.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    bear_of, other_of = numbered(bear_clusters), numbered(other_clusters)
    if (int(bear_of.max()) + 1, int(other_of.max()) + 1) == (m, n):
        return auc(list(bears), list(others))
    of_bears, of_others = placements(bears, others), 1 - placements(others, bears)
    value = float(of_bears.mean())
    pictures = int(bear_of.max()) + 1, int(other_of.max()) + 1
    variance = _spread(of_bears - value, bear_of) + _spread(of_others - value, other_of)
    if not 0 < value < 1 or min(pictures) < 2 or variance <= 0:
        near = min(max(value, 0.5 / (pictures[0] * pictures[1])), 1 - 0.5 / (pictures[0] * pictures[1]))
        variance = hanley_mcneil(near, *pictures)
    else:
        near = value
    half = Z95 * math.sqrt(variance) / (near * (1 - near))
    middle = math.log(near / (1 - near))
    low, high = (1 / (1 + math.exp(-bound)) for bound in (middle - half, middle + half))
    return Auc(value, min(low, value), max(high, value), m, n)


def placements(some: NDArray[np.float64], against: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) for each of ``some`` the share of ``against`` it lies above, ties counting half."""
    ranked = np.sort(against)
    below = np.searchsorted(ranked, some, side="left")
    not_above = np.searchsorted(ranked, some, side="right")
    return np.asarray((below + not_above) / (2 * len(ranked)), np.float64)


def _spread(deviations: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    sums = np.bincount(clusters, deviations)
    count = len(sums)
    return float(count / max(count - 1, 1) * (sums**2).sum() / len(deviations) ** 2)
