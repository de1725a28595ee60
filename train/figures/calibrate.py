"""Temperature, thresholds and the out-of-domain reference, from the tuning part. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.decide.evidence import logit
from edge.detect.card import Threshold
from train.catalog.picture import ALARM_LABELS, BEAR_ANY, LABELS

ALARM_COLUMNS = [LABELS.index(label) for label in ALARM_LABELS]
# Thresholds stay where a probability still means something.
LOWEST, HIGHEST = 0.02, 0.98
SPARE = 0.025  # share of the tuning bears that may lie below the upper end of the room for a threshold


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """(N, L) softmax of logits / temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponents = np.exp(scaled)
    result: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return result


def bear_probability(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) summed probability of the alarm labels of rows (N, L)."""
    total: NDArray[np.float64] = np.asarray(rows, np.float64)[:, ALARM_COLUMNS].sum(axis=1)
    return total


def fit_temperature(logits: NDArray[np.floating], labels: Sequence[str]) -> float:
    """The temperature with the smallest mean negative log-likelihood (Guo et al. 2017), on a grid 0.5 to 5.

    Every crop counts the same. Weighing bears and others alike would calibrate for a place where every second crop
    is a bear: what it cost on sources left out of the fit is in docs/training.md.
    """
    right = np.array(
        [[name == label or (label == BEAR_ANY and name in ALARM_LABELS) for name in LABELS] for label in labels]
    )
    return _best_temperature(logits, right)


def fit_frame_temperature(logits: NDArray[np.floating], bears: NDArray[np.bool_]) -> float:
    """Fit that of whole pictures, bear or none: ``logits`` (N, L) of each one's surest window, ``bears`` (N,) truth."""
    alarm = np.array([name in ALARM_LABELS for name in LABELS])
    return _best_temperature(logits, np.where(bears[:, None], alarm, ~alarm))


def _best_temperature(logits: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """``right`` (N, L): the labels that are true of each row of logits (N, L)."""

    def loss(temperature: float) -> float:
        p = (probabilities(logits, temperature) * right).sum(axis=1)
        return float(-np.log(np.clip(p, 1e-9, 1)).mean())

    grid = np.exp(np.linspace(np.log(0.5), np.log(5.0), 93))
    return round(float(min(grid, key=loss)), 4)


def lowest_threshold(bear: NDArray[np.floating], bears: NDArray[np.bool_], allowed: int) -> float:
    """The lowest threshold that at most ``allowed`` of the pictures without a bear reach.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth. Just above the score of the first that is not allowed;
    0 where all are.
    """
    others = np.sort(np.asarray(bear, np.float64)[~bears])[::-1]
    return float(np.nextafter(others[allowed], np.inf)) if allowed < len(others) else 0.0


def fit_threshold(
    bear: NDArray[np.floating],
    bears: NDArray[np.bool_],
    rate: float,
    sources: Sequence[str],
    pictures: NDArray[np.integer] | None = None,
    *,
    of_found: bool = False,
) -> Threshold:
    """The lowest threshold with at most ``rate`` false positives on these pictures, or above it where there is room.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth, ``pictures`` (N,) which picture each crop came from (left
    out: each is one of its own). Where all but ``SPARE`` of the bears score higher still, the threshold goes
    half-way between the two in logits: other places bring other animals than the few these pictures hold.
    ``of_found``: of the bears that it finds, whatever it misses; where they are few, nothing lies between for long.
    """
    bear, bears = np.asarray(bear, np.float64), np.asarray(bears, bool)
    pictures = np.arange(len(bear)) if pictures is None else pictures
    value = float(np.clip(lowest_threshold(bear, bears, int(rate * (~bears).sum())) + 1e-6, LOWEST, HIGHEST))
    reachable = bears & (bear >= value) if of_found else bears
    if reachable.any():
        reached = float(np.clip(np.quantile(bear[reachable], SPARE), LOWEST, HIGHEST))
        if reached > value:
            value = 1 / (1 + math.exp(-(logit(value) + logit(reached)) / 2))
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
