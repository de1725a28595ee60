"""Intervals for crops that are not independent: several of one picture are less than as many pictures. Plain numpy.

Rates: Wilson's interval on the effective sample size n / deff with the t-factor of few clusters (Korn & Graubard 1998,
Survey Methodology 24), the design effect that of a ratio over clusters (Rao & Scott 1992, Biometrics 48). Near 0 and 1
a handful of misses tells nothing of how alike crops of one picture are: there it is bounded by Kish's (1965) for crops
that always agree. What hangs on a threshold that is fitted on the same crops has its intervals in ``recall``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.figures.metrics import Z95, Auc, Rate, auc, hanley_mcneil


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
