"""Calibration: whether a bear probability of 0.8 is right eight times of ten, before and after the temperature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.figures.clustered import numbered

BINS = 15  # as Guo et al. (2017) count them
REPLICATES, SEED = 400, 5
STEPS = 14  # bisections: to 1/16000 of the range


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram and its expected calibration errors, 0 to 1."""

    n: int  # crops
    pictures: int
    plain: float  # ECE of the crops as counted: too high, the more so the fewer there are
    expected: float  # what ``plain`` would be on average, were every probability here right
    error: float  # ECE without what chance adds: the figure to judge by
    low: float  # its 95 % interval
    high: float
    said: tuple[float, ...]  # mean probability of each bin that holds crops
    was: tuple[float, ...]  # share of bears in it
    counts: tuple[int, ...]


def before_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """(N, L) what softmax gave of the logits alone, from what it gave of logits / ``temperature``."""
    powers = temperature * np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, 1))
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def reliability(
    scores: NDArray[np.floating], bears: NDArray[np.bool_], clusters: Sequence[object] | NDArray
) -> Reliability | None:
    """Expected calibration error in 15 bins of equal width (Naeini 2015; Guo 2017). ``scores`` (N,); None of none.

    Counted on few crops it is biased upwards, for chance moves every bin off its probability (Kumar et al. 2019,
    NeurIPS 32; Roelofs et al. 2022, AISTATS). So ``error`` is the one at which models that are off as this one is show,
    on average, what was counted; 0 where a model without error would show as much. The interval holds the errors at
    which what was counted is no outlier (test inversion: Davison & Hinkley 1997, ch. 5.6), for models that are off in
    all bins as here, and for those that are off only where chance does not explain it. All by simulation at the same
    scores, crops of one picture answering to one draw, for they show the same animal.
    """
    n = len(scores)
    if not n:
        return None
    score, bear, cluster = np.asarray(scores, np.float64), np.asarray(bears, np.float64), numbered(clusters)
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    held = counts > 0
    gaps = np.bincount(place, bear - score, BINS)
    plain = float(np.abs(gaps).sum() / n)
    shown, narrow = _simulators(score, place, cluster, gaps)
    expected = float(shown(0.0)[1].mean())

    def may_show(drawn: NDArray[np.float64]) -> bool:
        """Whether what was counted is no outlier among larger ones."""
        return bool((drawn >= plain - 1e-12).mean() > 0.025)

    return Reliability(
        n=n,
        pictures=int(cluster.max()) + 1,
        plain=plain,
        expected=expected,
        error=_where(shown, lambda drawn: bool(drawn.mean() > plain)),
        low=min(_where(shown, may_show), _where(narrow, may_show)),
        high=_where(shown, lambda drawn: bool((drawn <= plain + 1e-12).mean() < 0.025)),
        said=tuple((np.bincount(place, score, BINS)[held] / counts[held]).tolist()),
        was=tuple((np.bincount(place, bear, BINS)[held] / counts[held]).tolist()),
        counts=tuple(counts[held].tolist()),
    )


Shown = Callable[[float], tuple[float, NDArray[np.float64]]]


def _simulators(
    score: NDArray, place: NDArray[np.int64], cluster: NDArray[np.int64], gaps: NDArray
) -> tuple[Shown, Shown]:
    """What models with these scores show: how far off (0 to 1) -> true calibration error, (R,) counted errors.

    Of the first a bin is off as it is here; of the second only by what chance does not add to its square (Kumar et al.
    2019), where there is such a bin. Where no bin is off here, all are, towards the middle.
    """
    n = len(score)
    order = np.argsort(place, kind="stable")
    score, place, cluster = score[order], place[order], cluster[order]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = np.diff(np.append(starts, n))
    drawn = np.random.default_rng(SEED).random((REPLICATES, int(cluster.max()) + 1))

    def counted(right: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R, bins) bears less the sum of probabilities, crop by crop bears with chance ``right``."""
        # One replicate at a time, so that memory stays small.
        return np.array([np.add.reduceat((row[cluster] < right) - score, starts) for row in drawn])

    off_here = gaps[place[starts]] / sizes
    beyond = np.sqrt(np.maximum(off_here**2 - (counted(score) ** 2).mean(axis=0) / sizes**2, 0))
    towards_middle = np.where(np.add.reduceat(score, starts) / sizes < 0.5, 1.0, -1.0)
    wide = off_here if np.abs(off_here).max() > 1e-9 else towards_middle
    narrow = np.sign(off_here) * beyond if beyond.max() > 1e-9 else wide

    def simulator(pattern: NDArray[np.float64]) -> Shown:
        moved = np.repeat(pattern / np.abs(pattern).max(), sizes)

        def shown(off: float) -> tuple[float, NDArray[np.float64]]:
            right = np.clip(score + off * moved, 0, 1)
            true = float(np.abs(np.add.reduceat(right - score, starts)).sum() / n)
            return true, np.asarray(np.abs(counted(right)).sum(axis=1) / n, np.float64)

        return shown

    return simulator(wide), simulator(narrow)


def _where(shown: Shown, past: Callable[[NDArray[np.float64]], bool]) -> float:
    """The smallest true calibration error for which what is counted is ``past``; 0 where it is without one."""
    low, high = 0.0, 1.0
    if past(shown(low)[1]):
        return 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if past(shown(middle)[1]):
            high = middle
        else:
            low = middle
    return shown(high)[0]
