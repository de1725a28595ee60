"""Calibration: whether a bear probability of 0.8 is right eight times of ten, before and after the temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.figures.clustered import CHUNK, draws, numbered

BINS = 15  # as Guo et al. (2017) count them
REPLICATES, SEED = 1000, 5


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram and its expected calibration error."""

    n: int  # crops
    pictures: int
    error: float  # ECE, 0 to 1
    low: float  # 95 % interval
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

    The interval is a basic bootstrap over original pictures (Davison & Hinkley 1997, ch. 5.2), which takes away the
    upward bias that resampling adds to an error that cannot be negative.
    """
    n = len(scores)
    if not n:
        return None
    score, bear, cluster = np.asarray(scores, np.float64), np.asarray(bears, np.float64), numbered(clusters)
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    member = np.zeros((n, BINS))
    member[np.arange(n), place] = score - bear
    counts = np.bincount(place, minlength=BINS)
    error = float(np.abs(member.sum(axis=0)).sum() / n)
    rng = np.random.default_rng(SEED)
    drawn = np.concatenate(
        [_errors(draws(rng, cluster, min(CHUNK, REPLICATES - start)), member) for start in range(0, REPLICATES, CHUNK)]
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    held = counts > 0
    return Reliability(
        n=n,
        pictures=int(cluster.max()) + 1,
        error=error,
        low=float(min(max(2 * error - high, 0.0), error)),
        high=float(max(2 * error - low, error)),
        said=tuple((np.bincount(place, score, BINS)[held] / counts[held]).tolist()),
        was=tuple((np.bincount(place, bear, BINS)[held] / counts[held]).tolist()),
        counts=tuple(counts[held].tolist()),
    )


def _errors(weights: NDArray[np.int64], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) calibration error of each row of weights (R, N)."""
    return np.asarray(np.abs(weights @ member).sum(axis=1) / weights.sum(axis=1), np.float64)
