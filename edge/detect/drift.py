"""Drift: how far a device's pictures are from those its model was tuned on; a figure, no alarm.

The population stability index of binned values (Lewis 1994; its distribution: Yurdakul 2018): the symmetric
Kullback-Leibler divergence of two histograms, 0 where they are alike. Usual words: below 0.1 little, above 0.25 much;
``noise`` says what chance alone brings. Needs numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import DriftReference, Spread
from edge.schema import Picture

BINS = 10
DIGITS = 6  # significant ones of a bin's edge: a probability of 1e-7 is not 0
LITTLE, MUCH = 0.1, 0.25
CHANCE = 0.95  # of what chance brings lies below ``noise``


@dataclass(frozen=True)
class Drift:
    """One figure's drift."""

    psi: float  # population stability index, 0 and more; NaN where the reference is one bin without an end
    noise: float  # what it stays below in 95 of 100 cases without any drift

    @property
    def shown(self) -> bool | None:
        """Return whether it is more than chance brings and more than little; None if unknown."""
        return None if math.isnan(self.psi) else self.psi > max(self.noise, LITTLE)


def spread(values: NDArray[np.floating] | Sequence[float], bins: int = BINS) -> Spread:
    """Values (N,) as at most ``bins`` bins of about equal share; equal values are never parted.

    Where (nearly) all are the same, the bin of that value is a narrow one, so that a move to either side is seen.
    Raises ValueError without values, or with one that is no number.
    """
    found = _numbers(values)
    most = float(found.max())
    edges = np.unique([_rounded_up(edge) for edge in np.quantile(found, np.linspace(0, 1, bins + 1)[1:-1])])
    edges = edges[edges < most]
    if not len(edges):
        beside, below = 10.0**-DIGITS * max(1.0, abs(most)), found[found < most]
        edges = np.array([below.max() if len(below) else most - beside, most + beside])
    return Spread(tuple(float(edge) for edge in edges), tuple(float(share) for share in _counts(edges, found)))


def drift(reference: Spread, values: NDArray[np.floating] | Sequence[float], crops: int) -> Drift:
    """Return how far values (N,) have moved from a reference over ``crops`` independent crops.

    Empty bins count as half a value. Crops that follow each other show the same thing: give one value
    a track or a minute, or ``noise`` is too small. Where the reference is one bin without an end, as older cards have
    of a figure that never changed, and all values lie in it, nobody can tell: ``psi`` is NaN then. Raises ValueError
    without values, or with one that is no number.
    """
    found = _numbers(values)
    shares, counts = np.asarray(reference.shares, np.float64), _counts(np.asarray(reference.edges, np.float64), found)
    if np.count_nonzero(shares) == 1 and (shares[0] or shares[-1]) and not counts[shares == 0].any():
        return Drift(math.nan, 0.0)
    expected, seen = np.maximum(shares, 0.5 / crops), np.maximum(counts, 0.5 / len(found))
    expected, seen = expected / expected.sum(), seen / seen.sum()
    psi = float(((seen - expected) * np.log(seen / expected)).sum())
    return Drift(psi, (1 / crops + 1 / len(found)) * _chi_square(len(expected) - 1))


def drifts(
    reference: DriftReference,
    ood: Sequence[float] | NDArray[np.floating],
    bear: Sequence[float] | NDArray[np.floating],
    brightness: Sequence[float] | NDArray[np.floating],
) -> dict[str, Drift]:
    """Return each figure's drift from a card's reference, by its name."""
    values = {"ood": ood, "bear": bear, "brightness": brightness}
    return {name: drift(getattr(reference, name), each, reference.pictures) for name, each in values.items()}


def brightness(crop: Picture) -> float:
    """Return the mean of a crop's pixels, 0 to 1."""
    return float(crop.mean()) / 255


def _numbers(values: NDArray[np.floating] | Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64).ravel()
    if not len(found) or not np.isfinite(found).all():
        raise ValueError(f"drift takes one finite number or more, not {len(found)} of which some are none")
    return found


def _rounded_up(edge: float) -> float:
    """Return the edge with ``DIGITS`` significant ones, not below it: the values on it stay in the bin below."""
    short = float(f"{edge:.{DIGITS}g}")
    if short < edge:
        short = float(f"{short + 10.0 ** (math.floor(math.log10(abs(edge))) + 1 - DIGITS):.{DIGITS}g}")
    return short


def _counts(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Bins are closed above: a value on an edge belongs to the bin below it.
    places = np.searchsorted(edges, values, side="left")
    shares: NDArray[np.float64] = np.bincount(places, minlength=len(edges) + 1) / len(values)
    return shares


def _chi_square(freedom: int) -> float:
    """Return the ``CHANCE`` quantile of the chi-square distribution (Wilson & Hilferty 1931, good to a hundredth)."""
    if freedom < 1:
        return 0.0
    spare = 2 / (9 * freedom)
    return float(freedom * (1 - spare + NormalDist().inv_cdf(CHANCE) * spare**0.5) ** 3)
