"""Probabilities, the temperature and thresholds that are fitted on the tuning part, and how well they are calibrated.

Calibrated: a bear probability of 0.8 is right eight times of ten, before and after the temperature. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from edge.detect.card import Threshold, logit
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS
from train.metrics.rates import cluster_numbers, lowest_threshold

ALARM_COLUMNS = [LABELS.index(label) for label in ALARM_LABELS]
# Range of thresholds: beyond it a probability is not exact enough.
LOWEST, HIGHEST = 0.02, 0.98
SPARE = 0.025  # share of the tuning bears that may score below the upper end of the range for a threshold


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return the softmax of logits / temperature, (N, L)."""
    return np.asarray(softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def bear_probability(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum the probabilities of the alarm labels of rows (N, L) to (N,)."""
    total: NDArray[np.float64] = np.asarray(rows, np.float64)[:, ALARM_COLUMNS].sum(axis=1)
    return total


def fit_temperature(logits: NDArray[np.floating], labels: Sequence[str]) -> float:
    """Fit the temperature from 0.5 to 5 with the smallest mean negative log-likelihood (Guo et al. 2017).

    Every crop has the same weight. Equal weights for bears and others would calibrate for a place where every second
    crop is a bear: docs/training.md has the cost on sources outside the fit.
    """
    right = np.array(
        [[name == label or (label == BEAR_ANY and name in ALARM_LABELS) for name in LABELS] for label in labels]
    )
    return _best_temperature(logits, right)


def fit_frame_temperature(logits: NDArray[np.floating], bears: NDArray[np.bool_]) -> float:
    """Fit the temperature of whole pictures: ``logits`` (N, L) of their surest windows, ``bears`` (N,) truth."""
    alarm = np.array([name in ALARM_LABELS for name in LABELS])
    return _best_temperature(logits, np.where(bears[:, None], alarm, ~alarm))


def _best_temperature(logits: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Fit to ``right`` (N, L), the true labels of each row of logits (N, L)."""

    def loss(log_temperature: float) -> float:
        p = (probabilities(logits, math.exp(log_temperature)) * right).sum(axis=1)
        return float(-np.log(np.clip(p, 1e-9, 1)).mean())

    best = minimize_scalar(loss, bounds=(math.log(0.5), math.log(5.0)), method="bounded")
    return round(math.exp(best.x), 4)


def fit_threshold(
    bear: NDArray[np.floating],
    bears: NDArray[np.bool_],
    rate: float,
    sources: Sequence[str],
    pictures: NDArray[np.integer] | None = None,
    *,
    of_found: bool = False,
) -> Threshold:
    """Fit the lowest threshold with at most ``rate`` false positives, or a higher one if the bears leave room.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth, ``pictures`` (N,) each crop's picture (default: all different).
    If all but ``SPARE`` of the bears score higher, the threshold is half-way between the two, in logits: other places
    have other animals than these few pictures. ``of_found``: only bears above the lowest threshold count for that.
    """
    bear, bears = np.asarray(bear, np.float64), np.asarray(bears, bool)
    pictures = np.arange(len(bear)) if pictures is None else pictures
    value = float(np.clip(lowest_threshold(bear, bears, int(rate * (~bears).sum())) + 1e-6, LOWEST, HIGHEST))
    reachable = bears & (bear >= value) if of_found else bears
    if reachable.any():
        reached = float(np.clip(np.quantile(bear[reachable], SPARE), LOWEST, HIGHEST))
        if reached > value:
            value = float(expit((logit(value) + logit(reached)) / 2))
    value = float(np.ceil(value * 1e4) / 1e4)
    hit = bear >= value
    return Threshold(
        value=value,
        recall=float(hit[bears].mean()) if bears.any() else 0.0,
        false_positive_rate=float(hit[~bears].mean()) if (~bears).any() else 0.0,
        n_bear=int(bears.sum()),
        n_no_bear=int((~bears).sum()),
        sources=tuple(sorted(set(sources))),
        bear_pictures=len(np.unique(pictures[bears])),
        no_bear_pictures=len(np.unique(pictures[~bears])),
    )


BINS = 15  # as in Guo et al. (2017)
RELIABILITY_REPLICATES, RELIABILITY_SEED = 400, 5
STEPS = 14  # bisections: to 1/16000 of the range


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram and its expected calibration errors, 0 to 1."""

    n: int  # crops
    pictures: int
    plain: float  # ECE as counted: too high for few crops
    expected: float  # mean of ``plain`` if every probability were right
    error: float  # ECE without the part of chance: the figure to judge by
    low: float  # its 95 % interval
    high: float
    predicted: tuple[float, ...]  # mean probability of each bin with crops
    observed: tuple[float, ...]  # share of bears in it
    counts: tuple[int, ...]


def before_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Undo a temperature: softmax of the logits (N, L), from softmax of logits / ``temperature``."""
    logits = temperature * np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, 1))
    return np.asarray(softmax(logits, axis=1))


def reliability(
    scores: NDArray[np.floating], bears: NDArray[np.bool_], clusters: Sequence[object] | NDArray
) -> Reliability | None:
    """Measure the expected calibration error of ``scores`` (N,) in 15 equal bins (Naeini 2015; Guo 2017).

    None without scores.

    On few crops the counted error is biased upwards, because chance moves every bin off its probability (Kumar et al.
    2019, NeurIPS 32; Roelofs et al. 2022, AISTATS). So ``error`` is the true error of models that are off in the same
    way and show, on average, the counted error; 0 if a model without error would show as much. The interval has the
    errors for which the counted one is no outlier (test inversion: Davison & Hinkley 1997, ch. 5.6), for models that
    are off in all bins as here, and for models that are off only where chance does not explain it. All is simulated
    with the same scores and one draw for each picture, because its crops show the same animal.
    """
    n = len(scores)
    if not n:
        return None
    score, bear, cluster = np.asarray(scores, np.float64), np.asarray(bears, np.float64), cluster_numbers(clusters)
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    held = counts > 0
    gaps = np.bincount(place, bear - score, BINS)
    plain = float(np.abs(gaps).sum() / n)
    shown, narrow = _simulators(score, place, cluster, gaps)
    expected = float(shown(0.0)[1].mean())

    def may_show(drawn: NDArray[np.float64]) -> bool:
        """Return True if the counted error is no outlier among larger ones."""
        return bool((drawn >= plain - 1e-12).mean() > 0.025)

    return Reliability(
        n=n,
        pictures=int(cluster.max()) + 1,
        plain=plain,
        expected=expected,
        error=_smallest_error(shown, lambda drawn: bool(drawn.mean() > plain)),
        low=min(_smallest_error(shown, may_show), _smallest_error(narrow, may_show)),
        high=_smallest_error(shown, lambda drawn: bool((drawn <= plain + 1e-12).mean() < 0.025)),
        predicted=tuple((np.bincount(place, score, BINS)[held] / counts[held]).tolist()),
        observed=tuple((np.bincount(place, bear, BINS)[held] / counts[held]).tolist()),
        counts=tuple(counts[held].tolist()),
    )


Shown = Callable[[float], tuple[float, NDArray[np.float64]]]


def _simulators(
    score: NDArray, place: NDArray[np.int64], cluster: NDArray[np.int64], gaps: NDArray
) -> tuple[Shown, Shown]:
    """Make simulators of models with these scores: offset (0 to 1) -> true error, (R,) counted errors.

    In the first every bin is off as here; in the second only by the part that chance does not explain (Kumar et al.
    2019), if there is any. If no bin is off here, all are, towards the middle.
    """
    n = len(score)
    order = np.argsort(place, kind="stable")
    score, place, cluster = score[order], place[order], cluster[order]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = np.diff(np.append(starts, n))
    drawn = np.random.default_rng(RELIABILITY_SEED).random((RELIABILITY_REPLICATES, int(cluster.max()) + 1))

    def counted(right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return bears minus the sum of probabilities (R, bins); each crop is a bear with chance ``right``."""
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


def _smallest_error(shown: Shown, past: Callable[[NDArray[np.float64]], bool]) -> float:
    """Find the smallest true calibration error for which the counted errors are ``past``; 0 if they are without any."""
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
