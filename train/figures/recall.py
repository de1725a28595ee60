"""How many bears are found where few of the others pass: recall at, and up to, a false-positive rate. Plain numpy.

What hangs on a threshold that is fitted on the same crops has its interval from a bootstrap that draws whole pictures
(Davison & Hinkley 1997, ch. 3.8; Field & Welsh 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.figures.calibrate import lowest_threshold
from train.figures.clustered import clustered_rate, independent, numbered
from train.figures.metrics import Rate

REPLICATES = 2000
SEED = 7
CHUNK = 100  # replicates at once, so that memory stays small
Figure = Callable[..., NDArray[np.float64]]  # ``recalls`` or ``mean_recalls``


@dataclass(frozen=True)
class AtRate:
    """Recall where at most a given share of the others is taken for a bear."""

    threshold: float
    recall: Rate
    false_positives: Rate  # what that threshold lets through, and the interval of what it lets through elsewhere
    other_pictures: int  # the threshold hangs on
    too_few: (
        bool  # others for this rate: fewer independent ones than 3 / rate, so the rate elsewhere may be any small one
    )


def recall_at(
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float = 0.01,
    replicates: int = REPLICATES,
) -> AtRate | None:
    """Recall at ``rate`` false positives; None when a side is empty. Scores (N,), clusters (N,).

    The interval is a bootstrap over pictures, bears and others apart, each time with a threshold of its own; never
    narrower than that of a fixed threshold, so that 300 of 300 has width too. With fewer than 3 / ``rate`` independent
    others (``independent``) the threshold is that of the highest two or three: that is marked.
    """
    if not len(bears) or not len(others):
        return None
    threshold = threshold_at(others, rate)
    hits = bears >= threshold
    fixed = clustered_rate(hits, bear_clusters)
    passed = clustered_rate(others >= threshold, other_clusters)
    assert fixed is not None
    assert passed is not None
    found = drawn(recalls, bears, others, bear_clusters, other_clusters, rate, replicates)
    low, high = (float(bound) for bound in np.quantile(found, [0.025, 0.975]))
    return AtRate(
        threshold=threshold,
        recall=Rate(fixed.k, fixed.n, fixed.value, min(low, fixed.low), max(high, fixed.high)),
        false_positives=passed,
        other_pictures=len(np.unique(other_clusters)),
        too_few=too_few(other_clusters, rate),
    )


def too_few(others: Sequence[object] | NDArray, rate: float) -> bool:
    """Whether others with these clusters are too few for a threshold of ``rate``: not three expected above it."""
    return independent(others) < 3 / rate - 1e-9


def threshold_at(others: NDArray[np.float64], rate: float) -> float:
    """The lowest threshold that at most ``rate`` of these scores reach."""
    return lowest_threshold(others, np.zeros(len(others), bool), int(rate * len(others) + 1e-9))


def mean_recall(bears: NDArray[np.float64], others: NDArray[np.float64], rate: float) -> float:
    """Recall averaged over the false-positive rates from 0 to ``rate``; a bear no higher than an other is not found.

    The part of the area under the ROC curve left of ``rate``, as a share of what it can be (McClish 1989, Medical
    Decision Making 9; Dodd & Pepe 2003, Biometrics 59). It hangs on all of the highest others, where recall at a rate
    hangs on one of them.
    """
    every = np.ones((1, len(bears)), np.int64), np.ones((1, len(others)), np.int64)
    return float(mean_recalls(np.sort(bears), np.sort(others)[::-1], *every, rate)[0])


def drawn(
    figure: Figure,
    bears: NDArray[np.float64],
    others: NDArray[np.float64],
    bear_clusters: NDArray,
    other_clusters: NDArray,
    rate: float,
    replicates: int = REPLICATES,
    seed: int = SEED,
) -> NDArray[np.float64]:
    """(replicates,) ``recalls`` or ``mean_recalls`` at ``rate``, pictures drawn anew with replacement each time."""
    rising, falling = np.argsort(bears, kind="stable"), np.argsort(others, kind="stable")[::-1]
    bear_of, other_of = numbered(bear_clusters)[rising], numbered(other_clusters)[falling]
    rng = np.random.default_rng(seed)
    found = np.empty(replicates)
    for start in range(0, replicates, CHUNK):
        count = min(CHUNK, replicates - start)
        weights = draws(rng, other_of, count)
        found[start : start + count] = figure(bears[rising], others[falling], draws(rng, bear_of, count), weights, rate)
    return found


def recalls(
    rising: NDArray[np.float64],
    falling: NDArray[np.float64],
    bear_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
    rate: float,
) -> NDArray[np.float64]:
    """(R,) recall at ``rate`` of rising bears and falling others, how often each counts (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    # The threshold lies just above the first of the others that may not pass.
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
    """(R,) ``mean_recall`` of rising bears and falling others, how often each counts (R, bears), (R, others)."""
    passed = np.cumsum(weights, axis=1)
    wide = rate * passed[:, -1:]
    used = int((passed < wide).sum(axis=1).max()) + 1  # others that any row gets to
    inside = np.clip(wide - (passed - weights)[:, :used], 0, weights[:, :used])  # of each, how much lies left of rate
    below = np.pad(np.cumsum(bear_weights, axis=1), ((0, 0), (1, 0)))
    recall = 1 - below[:, np.searchsorted(rising, falling[:used], "right")] / below[:, -1:]
    return np.asarray((inside * recall).sum(axis=1) / wide[:, 0], np.float64)


def draws(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count, N) how often each row is in each of ``count`` draws of whole clusters with replacement."""
    clusters_n = int(clusters.max()) + 1
    picked = rng.multinomial(clusters_n, np.full(clusters_n, 1 / clusters_n), size=count)
    return np.asarray(picked[:, clusters], np.int64)
