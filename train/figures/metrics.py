"""The figures ``evaluate`` reports, each with its 95 % interval. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.tuning import most_alarms

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Rate:
    """``k`` of ``n`` and the 95 % interval around k / n."""

    k: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Auc:
    """The chance that a bear scores above a picture without one, and its 95 % interval."""

    value: float
    low: float
    high: float
    n_bear: int
    n_no_bear: int


def wilson(k: int, n: int) -> Rate | None:
    """The score interval of a proportion (Wilson 1927, JASA 22); None of none.

    It takes the pictures as independent: pictures of one camera are less than that.
    """
    if n == 0:
        return None
    share, spread = k / n, Z95 * Z95 / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # Rounding may put a bound a hair on the wrong side of the share.
    return Rate(k, n, share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def auc(bears: Sequence[float], others: Sequence[float]) -> Auc | None:
    """Area under the ROC curve (Mann & Whitney 1947), ties counting half; None when one side is empty.

    The interval inverts Hanley & McNeil's variance (1982, Radiology 143) as a score interval, the
    variance taken at the bound (Newcombe 2006, Statistics in Medicine 25): an AUC of 1 has width too.
    """
    m, n = len(bears), len(others)
    if not m or not n:
        return None
    ranked = np.sort(np.asarray(others, float))
    scores = np.asarray(bears, float)
    below = np.searchsorted(ranked, scores, side="left")
    not_above = np.searchsorted(ranked, scores, side="right")
    value = float((below + not_above).sum() / (2 * m * n))

    def gap(theta: float) -> float:
        """By how many standard errors at ``theta`` the value lies off it, past the 95 % point."""
        return abs(value - theta) - Z95 * math.sqrt(hanley_mcneil(theta, m, n))

    low = _root(gap, 0.0, value) if value > 0 else 0.0
    high = _root(gap, 1.0, value) if value < 1 else 1.0
    return Auc(value, low, high, m, n)


def hanley_mcneil(theta: float, m: int, n: int) -> float:
    """Variance of an AUC of ``theta`` from ``m`` positives and ``n`` negatives (Hanley & McNeil 1982)."""
    two_bears = theta / (2 - theta)  # both of two positives above one negative
    two_others = 2 * theta * theta / (1 + theta)  # one positive above both of two negatives
    square = theta * theta
    spread = theta * (1 - theta) + (m - 1) * (two_bears - square) + (n - 1) * (two_others - square)
    return max(spread, 0.0) / (m * n)


def _root(gap: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``gap`` turns from positive (at ``outside``) to negative (towards ``inside``), by bisection."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if gap(middle) > 0:
            outside = middle
        else:
            inside = middle
    return (outside + inside) / 2


@dataclass(frozen=True)
class Quiet:
    """False alarms on bear-free footage: how many in how many hours, and what that bounds."""

    alarms: int
    hours: float
    per_day_upper95: float | None  # alarms a camera-day, None without footage


def quiet(alarms: int, hours: float) -> Quiet:
    """The 95 % upper bound of a Poisson rate: 3 / T after T hours without one (Hanley & Lippman-Hand 1983).

    With alarms it is the exact bound (Garwood 1936), found by bisection.
    """
    if hours <= 0:
        return Quiet(alarms, 0.0, None)
    return Quiet(alarms, hours, most_alarms(alarms) / hours * 24)
