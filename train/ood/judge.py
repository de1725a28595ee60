"""How well a score tells outsiders from the domain: AUROC with intervals by picture, and who passes a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.metrics import Z95, Auc, auc

PASSES = 0.95  # of held-out in-domain crops, clean and degraded ones each, pass the threshold


@dataclass(frozen=True)
class Told:
    """How one method tells one kind of outsider from the domain."""

    kind: str
    auroc: float
    low: float  # 95 % interval
    high: float
    fpr95: float  # share of the outsiders that pass where 95 % of the same in-domain crops do: smaller is better
    passes: float  # share of the outsiders that pass the threshold of the tuning part
    crops: int
    pictures: int
    seen: int  # of the pictures, how many the network was trained on


def area(
    strange: NDArray[np.float64], usual: NDArray[np.float64], of: NDArray[np.integer], of_usual: NDArray[np.integer]
) -> Auc:
    """AUROC of scores (N,) of outsiders against (M,) of the domain, crops of one picture counted together.

    ``of`` and ``of_usual`` say which picture each crop is of. The variance is Obuchowski's (1997, Biometrics 53) for
    clusters that are of one kind each; the interval is taken on the logit scale. Where the two do not overlap at
    all, or a side is one picture, the interval is that of as many pictures (``train.metrics.auc``).
    Raises ValueError where a side is empty.
    """
    if not len(strange) or not len(usual):
        raise ValueError("an AUROC needs scores on both sides")
    above, below = _placements(strange, usual), 1 - _placements(usual, strange)
    value = float(above.mean())
    spread = _clustered(above - value, of) + _clustered(below - value, of_usual)
    m, n = len(np.unique(of)), len(np.unique(of_usual))
    if not 0 < value < 1 or spread <= 0 or min(m, n) < 2:
        plain = auc(_per_picture(strange, of), _per_picture(usual, of_usual))
        assert plain is not None
        return Auc(value, min(plain.low, value), max(plain.high, value), m, n)
    middle, half = math.log(value / (1 - value)), Z95 * math.sqrt(spread) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(max(end, -500.0), 500.0))) for end in (middle - half, middle + half))
    return Auc(value, low, high, m, n)


def threshold(usual: NDArray[np.float64], degraded: NDArray[np.bool_], passes: float = PASSES) -> float:
    """The value that the share ``passes`` of the clean and of the degraded crops does not exceed: the higher of two."""
    parts = [part for part in (usual[~degraded], usual[degraded]) if len(part)]
    return max(float(np.quantile(part, passes, method="inverted_cdf")) for part in parts)


def passing(scores: NDArray[np.floating], limit: float) -> float:
    """The share of scores (N,) that are not above ``limit``."""
    return float((np.asarray(scores) <= limit).mean())


def mean_area(told: Sequence[Told]) -> float:
    """The mean AUROC over kinds, each counting the same."""
    return float(np.mean([one.auroc for one in told]))


def _placements(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of ours, the share of theirs below it, ties counting half."""
    ranked = np.sort(theirs)
    under = np.searchsorted(ranked, ours, side="left") + np.searchsorted(ranked, ours, side="right")
    share: NDArray[np.float64] = under / (2 * len(ranked))
    return share


def _clustered(deviations: NDArray[np.float64], of: NDArray[np.integer]) -> float:
    """Variance of a mean over crops whose pictures are independent and whose crops are not."""
    _, cluster = np.unique(of, return_inverse=True)
    sums = np.bincount(cluster, deviations)
    count = len(sums)
    return 0.0 if count < 2 else float(count / (count - 1) * (sums**2).sum()) / len(deviations) ** 2


def _per_picture(scores: NDArray[np.float64], of: NDArray[np.integer]) -> list[float]:
    """Mean score a picture."""
    _, cluster = np.unique(of, return_inverse=True)
    return list(np.bincount(cluster, scores) / np.bincount(cluster))
