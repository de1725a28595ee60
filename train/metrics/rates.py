"""Rates, areas under the ROC curve and recall at a false-positive rate, each with its 95 % interval.

Crops are not independent: several crops of one picture tell less than as many pictures. Rates: Wilson's interval on
the effective sample size n / deff with the t-factor of few clusters (Korn & Graubard 1998, Survey Methodology 24), the
design effect that of a ratio over clusters (Rao & Scott 1992, Biometrics 48). Near 0 and 1 a few misses do not show how
similar crops of one picture are: there Kish's (1965), for crops that always agree, is the bound. A threshold that is
fitted on the same crops has its interval from a bootstrap that draws whole pictures (Davison & Hinkley 1997, ch. 3.8;
Field & Welsh 2007).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, stdtrit

from edge.decide.stages import Z95, score_interval
from edge.detect.card import logit
from edge.tuning import max_alarms


@dataclass(frozen=True)
class Rate:
    """The share ``k`` of ``n``, with its 95 % interval."""

    k: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve: the chance that a bear scores above another picture, with its 95 % interval."""

    value: float
    low: float
    high: float
    n_bear: int
    n_no_bear: int


def wilson(k: int, n: int) -> Rate | None:
    """Return k of n and its score interval (Wilson 1927, JASA 22); None for n = 0.

    It assumes independent pictures; those of one camera are not.
    """
    if n == 0:
        return None
    return Rate(k, n, k / n, *score_interval(k / n, n))


def auc(bears: Sequence[float], others: Sequence[float]) -> Auc | None:
    """Measure the area under the ROC curve (Mann & Whitney 1947), ties counting half; None if one side is empty.

    The interval inverts Hanley & McNeil's variance (1982, Radiology 143) as a score interval, the
    variance taken at the bound (Newcombe 2006, Statistics in Medicine 25): an AUC of 1 has width too.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    value = float(placements(np.asarray(bears, float), np.asarray(others, float)).mean())

    def gap(theta: float) -> float:
        """Return the distance of ``theta`` from the value, minus its 95 % half-width there."""
        return abs(value - theta) - Z95 * math.sqrt(hanley_mcneil(theta, m, n))

    # Slightly off the value: at 0 and 1, where the variance is 0, there is another root.
    low = brentq(gap, 0.0, value - 1e-12) if value > 0 else 0.0
    high = brentq(gap, value + 1e-12, 1.0) if value < 1 else 1.0
    return Auc(value, low, high, m, n)


def placements(some: NDArray[np.float64], against: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each of ``some`` the share of ``against`` below it, ties counting half: (N,)."""
    ranked = np.sort(against)
    below = np.searchsorted(ranked, some, side="left")
    not_above = np.searchsorted(ranked, some, side="right")
    return np.asarray((below + not_above) / (2 * len(ranked)), np.float64)


def hanley_mcneil(theta: float, m: int, n: int) -> float:
    """Return the variance of an AUC of ``theta`` from ``m`` positives and ``n`` negatives (Hanley & McNeil 1982)."""
    two_bears = theta / (2 - theta)  # both of two positives above one negative
    two_others = 2 * theta * theta / (1 + theta)  # one positive above both of two negatives
    square = theta * theta
    spread = theta * (1 - theta) + (m - 1) * (two_bears - square) + (n - 1) * (two_others - square)
    return max(spread, 0.0) / (m * n)


@dataclass(frozen=True)
class FalseAlarms:
    """False alarms on bear-free footage, and their upper bound."""

    alarms: int
    hours: float
    per_day_upper95: float | None  # alarms in a camera-day; None without footage


def false_alarm_bound(alarms: int, hours: float) -> FalseAlarms:
    """Bound a Poisson rate at 95 %: 3 / T after T hours without an alarm (Hanley & Lippman-Hand 1983).

    With alarms it is the exact bound (Garwood 1936).
    """
    if hours <= 0:
        return FalseAlarms(alarms, 0.0, None)
    return FalseAlarms(alarms, hours, max_alarms(alarms) / hours * 24)


def cluster_numbers(clusters: Sequence[object] | NDArray) -> NDArray[np.int64]:
    """Return the number of each cluster, 0, 1, 2 …: (N,)."""
    return np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64).reshape(-1)


def effective_n(clusters: Sequence[object] | NDArray) -> float:
    """Return the effective number of independent crops if those of one picture always agree (Kish 1965).

    The squared sum of the pictures' crops over the sum of their squares: the number of pictures if each has equally
    many crops. 0 without crops.
    """
    if not len(clusters):
        return 0.0
    sizes = np.bincount(cluster_numbers(clusters)).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def design_effect(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> float:
    """Return the variance of a share over that with independent crops; at least 1.

    ``hits`` (N,) 0 or 1. The variance over clusters, but at least Kish's 1 + (m - 1) rho, with m - 1 from the cluster
    sizes. rho is the intra-cluster correlation of this variance, shrunk towards 1 (crops that always agree) by the
    weight of one picture: fully if all or none were hit, half if one picture differs.
    """
    values, cluster = np.asarray(hits, float), cluster_numbers(clusters)
    n = len(values)
    if not n or len(np.unique(cluster)) == n:
        return 1.0
    sizes = np.bincount(cluster)
    count, share, alike = len(sizes), float(values.mean()), n / effective_n(cluster)
    if count < 2 or not 0 < share < 1:
        return alike
    sums = np.bincount(cluster, values - share)
    seen = max(1.0, count / (count - 1) * float((sums**2).sum()) / (n * share * (1 - share)))
    found = np.bincount(cluster, values)
    telling = min(int((found > 0).sum()), int((found < sizes).sum()))  # pictures with the rarer answer
    correlation = (telling * min(1.0, (seen - 1) / (alike - 1)) + 1) / (telling + 1)
    return max(seen, 1 + (alike - 1) * correlation)


def clustered_rate(hits: ArrayLike, clusters: Sequence[object] | NDArray) -> Rate | None:
    """Return k of n crops and the 95 % interval that counts pictures, not crops; None without crops.

    Neither end is better than if all (or none) were hit: one more miss never raises the lower end near 1.
    """
    values = np.asarray(hits, bool)
    n, k = len(values), int(values.sum())
    if n == 0:
        return None
    pictures = effective_n(clusters)
    worth = n / design_effect(values, clusters)
    if pictures < n:  # a variance from c clusters has c - 1 degrees of freedom; crops that always agree need none
        degrees = len(np.unique(np.asarray(clusters))) - 1
        worth = min(worth, max(worth * (Z95 / t95(degrees)) ** 2, pictures))
    low, high = score_interval(k / n, worth)
    return Rate(k, n, k / n, min(low, score_interval(1.0, pictures)[0]), max(high, score_interval(0.0, pictures)[1]))


def t95(degrees: int) -> float:
    """Return the 97.5 % point of Student's t, with at least one degree of freedom."""
    return float(stdtrit(max(degrees, 1), 0.975))


def clustered_auc(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: Sequence[object] | NDArray,
    other_clusters: Sequence[object] | NDArray,
) -> Auc | None:
    """Measure the area under the ROC curve, its 95 % interval over pictures; None if one side is empty.

    Variance over clusters by Obuchowski (1997, Biometrics 53), the interval on the logit scale. For an AUC of 1, or
    one picture on a side, Hanley & McNeil's variance of pictures. With one crop for each picture it is ``auc``.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    bear_of, other_of = cluster_numbers(bear_clusters), cluster_numbers(other_clusters)
    if (int(bear_of.max()) + 1, int(other_of.max()) + 1) == (m, n):
        return auc(list(bears), list(others))
    of_bears, of_others = placements(bears, others), 1 - placements(others, bears)
    value = float(of_bears.mean())
    pictures = int(bear_of.max()) + 1, int(other_of.max()) + 1
    variance = clustered_variance(of_bears - value, bear_of) + clustered_variance(of_others - value, other_of)
    if not 0 < value < 1 or min(pictures) < 2 or variance <= 0:
        near = min(max(value, 0.5 / (pictures[0] * pictures[1])), 1 - 0.5 / (pictures[0] * pictures[1]))
        variance = hanley_mcneil(near, *pictures)
    else:
        near = value
    half = Z95 * math.sqrt(variance) / (near * (1 - near))
    low, high = (float(expit(logit(near) + end)) for end in (-half, half))
    return Auc(value, min(low, value), max(high, value), m, n)


def clustered_variance(deviations: NDArray[np.float64], clusters: NDArray[np.int64]) -> float:
    """Return the variance of the mean of values, from their ``deviations`` from it, over clusters."""
    sums = np.bincount(clusters, deviations)
    count = len(sums)
    return float(count / max(count - 1, 1) * (sums**2).sum() / len(deviations) ** 2)


REPLICATES = 2000
SEED = 7
CHUNK = 100  # replicates at once, so that memory stays small

Figure = Callable[..., NDArray[np.float64]]  # ``recalls`` or ``mean_recalls``


@dataclass(frozen=True)
class AtRate:
    """Recall at the threshold where at most a given share of the others passes."""

    threshold: float
    recall: Rate
    false_positives: Rate  # share of the others that passes, with the interval for other pictures
    other_pictures: int  # that the threshold depends on
    # Fewer independent others than 3 / rate: on other pictures the rate may be any small one.
    too_few: bool


def recall_at(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float = 0.01,
) -> AtRate | None:
    """Measure recall at ``rate`` false positives; None if a side is empty. Scores (N,), clusters (N,).

    The interval is a bootstrap over pictures, bears and others apart, each draw with its own threshold. It is never
    narrower than that of a fixed threshold, so 300 of 300 has width too. ``too_few`` marks fewer than 3 / ``rate``
    independent others (``effective_n``): then the threshold depends on the highest two or three.
    """
    if not len(bears) or not len(others):
        return None
    threshold = threshold_at(others, rate)
    hits = bears >= threshold
    fixed = clustered_rate(hits, bear_clusters)
    passed = clustered_rate(others >= threshold, other_clusters)
    assert fixed is not None
    assert passed is not None
    found = bootstrap(recalls, bears, others, bear_clusters, other_clusters, rate)
    low, high = (float(bound) for bound in np.quantile(found, [0.025, 0.975]))
    return AtRate(
        threshold=threshold,
        recall=Rate(fixed.k, fixed.n, fixed.value, min(low, fixed.low), max(high, fixed.high)),
        false_positives=passed,
        other_pictures=len(np.unique(other_clusters)),
        too_few=too_few(other_clusters, rate),
    )


def too_few(others: Sequence[object] | NDArray, rate: float) -> bool:
    """Return True if others with these clusters are too few for ``rate``: fewer than three are expected above it."""
    return effective_n(others) < 3 / rate - 1e-9


def threshold_at(others: NDArray[np.float64], rate: float) -> float:
    """Find the lowest threshold that at most ``rate`` of these scores reach."""
    return lowest_threshold(others, np.zeros(len(others), bool), int(rate * len(others) + 1e-9))


def mean_recall(bears: NDArray[np.float64], others: NDArray[np.float64], rate: float) -> float:
    """Return recall averaged over the false-positive rates from 0 to ``rate``; ties count as misses.

    The area under the ROC curve left of ``rate``, as a share of its maximum (McClish 1989, Medical Decision Making 9;
    Dodd & Pepe 2003, Biometrics 59). It depends on all of the highest others; recall at a rate depends on one of them.
    """
    every = np.ones((1, len(bears)), np.int64), np.ones((1, len(others)), np.int64)
    return float(mean_recalls(np.sort(bears), np.sort(others)[::-1], *every, rate)[0])


def bootstrap(
    figure: Figure,
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """Return ``recalls`` or ``mean_recalls`` of many draws of pictures with replacement: (REPLICATES,)."""
    rising, falling = np.argsort(bears, kind="stable"), np.argsort(others, kind="stable")[::-1]
    bear_of, other_of = cluster_numbers(bear_clusters)[rising], cluster_numbers(other_clusters)[falling]
    rng = np.random.default_rng(seed)
    found = np.empty(REPLICATES)
    for start in range(0, REPLICATES, CHUNK):
        count = min(CHUNK, REPLICATES - start)
        weights = bootstrap_weights(rng, other_of, count)
        found[start : start + count] = figure(
            bears[rising], others[falling], bootstrap_weights(rng, bear_of, count), weights, rate
        )
    return found


def recalls(
    rising: NDArray[np.float64],
    falling: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """Return recall at ``rate`` (R,) of rising bears and falling others, with weights (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    # The threshold is just above the first other that may not pass.
    first = (passed > rate * passed[:, -1:] + 1e-9).argmax(axis=1)
    above = np.searchsorted(rising, falling[first], side="right")  # bears from here on score higher
    total = np.cumsum(bear_weights, axis=1)
    below = np.where(above > 0, total[np.arange(len(total)), np.maximum(above - 1, 0)], 0)
    return np.asarray(1 - below / total[:, -1], np.float64)


def mean_recalls(
    rising: NDArray[np.float64],
    falling: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """Return ``mean_recall`` (R,) of rising bears and falling others, with weights (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    wide = rate * passed[:, -1:]
    used = int((passed < wide).sum(axis=1).max()) + 1  # others that any row needs
    inside = np.clip(wide - (passed - weights)[:, :used], 0, weights[:, :used])  # weight of each left of rate
    below = np.pad(np.cumsum(bear_weights, axis=1), ((0, 0), (1, 0)))
    recall = 1 - below[:, np.searchsorted(rising, falling[:used], "right")] / below[:, -1:]
    return np.asarray((inside * recall).sum(axis=1) / wide[:, 0], np.float64)


def bootstrap_weights(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Draw whole clusters with replacement; return each row's count in each draw, (count, N)."""
    clusters_n = int(clusters.max()) + 1
    picked = rng.multinomial(clusters_n, np.full(clusters_n, 1 / clusters_n), size=count)
    return np.asarray(picked[:, clusters], np.int64)


def lowest_threshold(bear: NDArray[np.floating], bears: NDArray[np.bool_], allowed: int) -> float:
    """Find the lowest threshold that at most ``allowed`` of the pictures without a bear reach.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth. It is just above the first score that is not allowed; 0 if all
    are.
    """
    others = np.sort(np.asarray(bear, np.float64)[~bears])[::-1]
    return float(np.nextafter(others[allowed], np.inf)) if allowed < len(others) else 0.0
