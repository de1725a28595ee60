"""Recall at, and up to, a false-positive rate.

A threshold that is fitted on the same crops has its interval from a bootstrap that draws whole pictures (Davison &
Hinkley 1997, ch. 3.8; Field & Welsh 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.metrics.clustered import cluster_numbers, clustered_rate, effective_n
from train.metrics.rates import Rate
from train.metrics.thresholds import lowest_threshold

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
    replicates: int = REPLICATES,
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
    found = bootstrap(recalls, bears, others, bear_clusters, other_clusters, rate, replicates)
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
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """Return ``recalls`` or ``mean_recalls`` of many draws of pictures with replacement: (replicates,)."""
    rising, falling = np.argsort(bears, kind="stable"), np.argsort(others, kind="stable")[::-1]
    bear_of, other_of = cluster_numbers(bear_clusters)[rising], cluster_numbers(other_clusters)[falling]
    rng = np.random.default_rng(seed)
    found = np.empty(replicates)
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
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
