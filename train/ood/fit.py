"""The methods fitted to in-domain features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.errors import OptionError
from train.learning.network import BearNet
from train.ood.features import Features, head_weights
from train.ood.methods import Energy, Mahalanobis, Neighbour, Principal, Vim

DIMENSIONS = 128  # of the principal space, where there are so many features; 0.66 MB for 1,280
BANK = 512  # in-domain crops kept as neighbours; 0.66 MB for 1,280 features at a byte each
NEAREST = 5  # the neighbour that counts
FEWEST = 20  # crops below which nothing can be fitted
FEWEST_OF_A_LABEL = 5  # crops below which a label has no mean of its own


def fit_energy(net: BearNet, seen: Features, labels: Sequence[str]) -> nn.Module:
    """Energy needs no fitting."""
    return Energy()


def fit_mahalanobis(net: BearNet, seen: Features, labels: Sequence[str]) -> Mahalanobis:
    """Means by label, and the covariance around them."""
    means, members = label_means(seen.pooled, labels)
    return gaussian(seen.pooled - means[members], means)


def fit_relative(net: BearNet, seen: Features, labels: Sequence[str]) -> Mahalanobis:
    """The same, less the distance to one Gaussian around all features."""
    centre = seen.pooled.mean(0)
    by_label = fit_mahalanobis(net, seen, labels)
    by_label.whole = gaussian(seen.pooled - centre, centre[None])
    return by_label


def fit_neighbour(net: BearNet, seen: Features, labels: Sequence[str]) -> Neighbour:
    """Neighbours drawn at random, as many as a graph can carry; a cover of far-apart ones does worse."""
    drawn = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))[:BANK]
    return Neighbour(normalised(seen.pooled[drawn]), min(NEAREST, len(drawn)))


def fit_every_neighbour(net: BearNet, seen: Features, labels: Sequence[str]) -> Neighbour:
    """The published method, which keeps all features: for comparison, too large for a graph."""
    return Neighbour(normalised(seen.pooled), min(10 * NEAREST, len(seen)))


def fit_vim(net: BearNet, seen: Features, labels: Sequence[str]) -> Vim:
    """The principal space around the point of no bias, and the scale that makes residuals as large as logits."""
    weights, bias = (part.double() for part in head_weights(net))
    origin = -(torch.linalg.pinv(weights) @ bias)
    moved = seen.pooled.double() - origin
    values, axes = torch.linalg.eigh(moved.T @ moved / len(moved))
    principal = Principal(origin.float(), axes[:, -dimensions(values) :].float().contiguous())
    residual = torch.sqrt(principal(seen.pooled)[1]).mean()
    return Vim(principal, float(seen.top.mean() / residual.clamp_min(1e-9)))


Fit = Callable[[BearNet, Features, Sequence[str]], nn.Module]
METHODS: dict[str, Fit] = {
    "energy": fit_energy,
    "mahalanobis": fit_mahalanobis,
    "relative mahalanobis": fit_relative,
    "nearest neighbour": fit_neighbour,
    "vim": fit_vim,
}
# What goes into a graph whose run was not compared; docs/out-of-domain.md says why this one.
USUAL = "nearest neighbour"


def fit_method(name: str, net: BearNet, seen: Features, labels: Sequence[str]) -> nn.Module:
    """The method called ``name``, fitted to in-domain features and their labels. Raises OptionError."""
    if name not in METHODS:
        raise OptionError(f"no out-of-domain method is called {name!r}; there are {', '.join(METHODS)}")
    if len(seen) < FEWEST and name != "energy":
        raise OptionError(f"{len(seen)} in-domain crops are too few to fit {name!r} to; it takes {FEWEST} or more")
    return METHODS[name](net, seen, labels).eval()


def scores(method: nn.Module, features: Features) -> NDArray[np.float64]:
    """(N,) what a method says of features."""
    with torch.inference_mode():
        parts = [
            method(pooled, energy)
            for pooled, energy in zip(features.pooled.split(512), features.energy.split(512), strict=True)
        ]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)


def label_means(pooled: Tensor, labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """A mean a label (K, F), and which of them each crop belongs to (N,); rare labels share the mean of all."""
    names, members = np.unique(np.asarray(labels), return_inverse=True)
    own = [n for n in range(len(names)) if (members == n).sum() >= FEWEST_OF_A_LABEL]
    means = [pooled[torch.from_numpy(members == n)].mean(0) for n in own]
    if len(own) < len(names):
        means.append(pooled.mean(0))
    place = {n: row for row, n in enumerate(own)}
    return torch.stack(means), torch.tensor([place.get(int(n), len(own)) for n in members])


def dimensions(values: Tensor) -> int:
    """How many directions to keep of ascending eigenvalues: ``DIMENSIONS``, at most half of those there are."""
    return max(1, min(DIMENSIONS, len(values) // 2))


def normalised(pooled: Tensor) -> Tensor:
    """The features at length one."""
    return pooled / pooled.norm(dim=1, keepdim=True).clamp_min(1e-9)


def gaussian(centred: Tensor, means: Tensor) -> Mahalanobis:
    """Distances to the nearest of ``means`` under the covariance of ``centred`` (N, F)."""
    wide = centred.double()
    values, axes = torch.linalg.eigh(wide.T @ wide / len(wide))
    count = dimensions(values)
    rest = float(values[:-count].clamp_min(0).mean().clamp_min(1e-9))
    kept = values[-count:].clamp_min(rest)
    return Mahalanobis(axes[:, -count:].float().contiguous(), kept.float(), rest, means)
