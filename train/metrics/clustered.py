"""Intervals for crops that are not independent: several crops of one picture tell less than as many pictures.

Rates: Wilson's interval on the effective sample size n / deff with the t-factor of few clusters (Korn & Graubard
1998, Survey Methodology 24), the design effect that of a ratio over clusters (Rao & Scott 1992, Biometrics 48). Near
0 and 1 a few misses do not show how similar crops of one picture are: there Kish's (1965), for crops that always
agree, is the bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, stdtrit

from edge.detect.card import logit
from train.metrics.rates import Z95, Auc, Rate, auc, hanley_mcneil, placements, score_interval


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
