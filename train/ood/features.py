"""What the methods look at: the network's pooled features and its energy, crop by crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.learning.backbones import Backbone
from train.learning.network import BearNet
from train.learning.probe import answers


@dataclass(frozen=True, eq=False)
class Features:
    """N crops as the network sees them, float32."""

    pooled: Tensor  # (N, F) what both heads look at
    energy: Tensor  # (N,) -logsumexp of the logits
    top: Tensor  # (N,) the largest of the logits that the energy sums

    def where(self, chosen: NDArray[np.bool_]) -> Features:
        """The crops where ``chosen`` (N,)."""
        keep = torch.from_numpy(np.asarray(chosen))
        return Features(self.pooled[keep], self.energy[keep], self.top[keep])

    def __len__(self) -> int:
        return len(self.pooled)


def features_of(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> Features:
    """The features of uint8 crops (N, size, size, 3) BGR."""
    parts = [(pooled, net.energy(raw), counted(net, raw).amax(1)) for pooled, raw in answers(net, backbone, crops)]
    if not parts:
        return Features(torch.empty(0, net.new_head.in_features), torch.empty(0), torch.empty(0))
    # Out of inference mode: the methods' constants are made of these and are exported with the graph.
    pooled, energy, top = (torch.cat(column).clone() for column in zip(*parts, strict=True))
    return Features(pooled, energy, top)


def counted(net: BearNet, raw: Tensor) -> Tensor:
    """The logits that the energy sums: both heads', or the new one's alone where ImageNet's is not kept."""
    return raw if net.keep > 0 else raw[:, : len(net.labels)]


def head_weights(net: BearNet) -> tuple[Tensor, Tensor]:
    """Weights (C, F) and biases (C,) of the heads whose logits the energy sums."""
    heads = [net.new_head, *([net.old_head] if net.keep > 0 else [])]
    weights = torch.cat([head.weight.detach().clone() for head in heads])
    return weights, torch.cat([head.bias.detach().clone() for head in heads])
