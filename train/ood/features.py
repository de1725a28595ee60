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

    pooled: Tensor  # (N, F) what the head looks at
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
    parts = [(pooled, net.energy(raw), raw.amax(1)) for pooled, raw in answers(net, backbone, crops)]
    if not parts:
        return Features(torch.empty(0, net.head.in_features), torch.empty(0), torch.empty(0))
    # Out of inference mode: the methods' constants are made of these and are exported with the graph.
    pooled, energy, top = (torch.cat(column).clone() for column in zip(*parts, strict=True))
    return Features(pooled, energy, top)


def head_weights(net: BearNet) -> tuple[Tensor, Tensor]:
    """Return weights (1000, F) and biases (1000,) of the head whose logits the energy sums."""
    return net.head.weight.detach().clone(), net.head.bias.detach().clone()
