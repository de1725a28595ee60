"""Probabilities, and the temperature and thresholds that are fitted on the tuning part. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax

from edge.detect.card import Threshold, logit
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS

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


def lowest_threshold(bear: NDArray[np.floating], bears: NDArray[np.bool_], allowed: int) -> float:
    """Find the lowest threshold that at most ``allowed`` of the pictures without a bear reach.

    ``bear`` (N,) probabilities, ``bears`` (N,) truth. It is just above the first score that is not allowed; 0 if all
    are.
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
