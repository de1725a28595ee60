"""The methods, as small modules that go into the exported graph as they are.

Each maps pooled features (N, F) and energies (N,) to scores (N,), bigger = stranger. No convolution is among their
operations: int8 quantization ends at the last of those and what follows it, and these stay in float.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Energy(nn.Module):
    """-logsumexp of the logits (Liu et al. 2020, Energy-based Out-of-distribution Detection)."""

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        return energy


class Principal(nn.Module):
    """A centre (F,) and the D directions around it in which the in-domain features spread most (F, D)."""

    def __init__(self, centre: Tensor, axes: Tensor):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("axes", axes)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (N, D) and the squared length of what lies outside them (N,)."""
        moved = pooled - self.centre
        inside = moved @ self.axes
        return inside, torch.abs((moved * moved).sum(1) - (inside * inside).sum(1))


class Mahalanobis(nn.Module):
    """Squared Mahalanobis distance to the nearest label's mean, one covariance for all labels (Lee et al. 2018).

    The covariance keeps its D largest eigenvalues; the smaller ones are shrunk to their mean (the maximum-likelihood
    form of probabilistic PCA, Tipping & Bishop 1999), which keeps the graph small and the inverse sound.
    With ``whole``, the distance to the one Gaussian around all of them is taken off (Ren et al. 2021, relative).
    """

    def __init__(self, axes: Tensor, values: Tensor, rest: float, means: Tensor, whole: Mahalanobis | None = None):
        super().__init__()
        self.register_buffer("axes", axes / values.sqrt())  # (F, D)
        self.register_buffer("spread", values)  # (D,)
        self.register_buffer("means", means)  # (K, F)
        self.rest = rest
        self.whole = whole

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        moved = pooled[:, None, :] - self.means  # (N, K, F)
        inside = moved @ self.axes  # (N, K, D), in standard deviations
        outside = (moved * moved).sum(2) - (inside * inside * self.spread).sum(2)
        distance = ((inside * inside).sum(2) + outside / self.rest).amin(1)
        return distance if self.whole is None else distance - self.whole(pooled, energy)


class Neighbour(nn.Module):
    """Distance to the k-th nearest of some in-domain features, all of length one (Sun et al. 2022)."""

    def __init__(self, bank: Tensor, k: int):
        super().__init__()
        # 1 - cosine as a fully connected layer: an int8 export then stores its weights as int8, a scale a row.
        self.far = nn.Linear(bank.shape[1], len(bank))  # (N, F) -> (N, M)
        self.far.weight = nn.Parameter(-bank.clone(), requires_grad=False)
        self.far.bias = nn.Parameter(torch.ones(len(bank)), requires_grad=False)
        self.k = k

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) distances, 0 to 2."""
        away = self.far(pooled / (pooled.norm(dim=1, keepdim=True) + 1e-9))
        kth = away.topk(self.k, dim=1, largest=False).values[:, -1]
        return torch.sqrt(torch.abs(2 * kth))


class Vim(nn.Module):
    """Virtual-logit matching (Wang et al. 2022): the residual outside the principal space, against the logits.

    The paper's score is the softmax probability of ``scale * residual`` as one more logit; this is its log-odds,
    which orders crops the same and does not saturate.
    """

    def __init__(self, principal: Principal, scale: float):
        super().__init__()
        self.principal = principal
        self.scale = scale

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        return self.scale * torch.sqrt(self.principal(pooled)[1]) + energy
