"""Rates and areas under the ROC curve of independent pictures, each with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from edge.tuning import max_alarms

Z95 = float(ndtri(0.975))  # the normal distribution's 97.5 % point


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


def score_interval(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``n`` independent trials; ``n`` need not be whole, as scipy's must."""
    spread = Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # Rounding may put a bound on the wrong side of the share.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


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
