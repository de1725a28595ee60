"""The classifier: one body and two heads, the new one and ImageNet's own.

Fine-tuning on a few thousand pictures forgets what ImageNet knew of bears. The untouched
1,000-class layer stays beside the new head, and the two heads' bear logits are averaged; on sources not
trained on that keeps nearly all recall at half a percent of false positives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.learning.backbones import IMAGENET_BEARS


class BearNet(nn.Module):
    """Pictures (N, 3, H, W), normalised RGB -> raw logits (N, L + 1000).

    The first L columns are the new head's, the rest ImageNet's. ``label_logits`` makes the L logits
    whose softmax is the answer. ``keep`` is ImageNet's share in the bear logit, 0 to 1.
    """

    def __init__(self, body: nn.Module, old_head: nn.Linear, labels: Sequence[str], alarm: Sequence[str], keep: float):
        super().__init__()
        self.body = body
        self.old_head = old_head
        self.new_head = nn.Linear(old_head.in_features, len(labels))
        self.labels = tuple(labels)
        self.keep = keep
        old_bears = torch.zeros(old_head.out_features, dtype=torch.bool)
        old_bears[list(IMAGENET_BEARS)] = True
        self.register_buffer("alarm", torch.tensor([label in alarm for label in labels]))  # (L,)
        self.register_buffer("old_bears", old_bears)  # (1000,)

    def forward(self, pictures: Tensor) -> Tensor:
        """Raw logits (N, L + 1000)."""
        return self.heads(self.body(pictures))

    def heads(self, features: Tensor) -> Tensor:
        """Raw logits (N, L + 1000) of the body's pooled features (N, F)."""
        return torch.cat([self.new_head(features), self.old_head(features)], dim=1)

    def label_logits(self, raw: Tensor) -> Tensor:
        """(N, L): the new head's log-probabilities with the bear logit moved towards ImageNet's.

        Within bears and within the others the new head's proportions stay.
        """
        new, old = raw[:, : len(self.labels)], raw[:, len(self.labels) :]
        new = torch.log_softmax(new, dim=1)
        if self.keep == 0:
            return new
        shift = self.keep * (bear_logit(old, self.old_bears) - bear_logit(new, self.alarm))  # (N,)
        return new + shift[:, None] * self.alarm.to(new.dtype)

    def energy(self, raw: Tensor) -> Tensor:
        """(N,) out-of-domain energy, -logsumexp of the logits (Liu et al. 2020): bigger = stranger."""
        return -torch.logsumexp(raw if self.keep > 0 else raw[:, : len(self.labels)], dim=1)


class CalibratedNet(nn.Module):
    """The trained network with its last answer: pictures (N, 3, H, W) -> logits (N, L) whose softmax is the answer.

    ``temperature`` was fitted once, on the tuning part's crops, and ``frame_temperature`` on its whole pictures as the
    frame scan sees them. An exported file answers the same.
    """

    def __init__(self, net: BearNet, temperature: float, frame_temperature: float):
        super().__init__()
        self.net, self.temperature, self.labels = net, temperature, net.labels
        self.frame_temperature = frame_temperature

    def forward(self, pictures: Tensor) -> Tensor:
        """Label logits (N, L), divided by the temperature."""
        return self.net.label_logits(self.net(pictures)) / self.temperature


def bear_logit(logits: Tensor, bears: Tensor) -> Tensor:
    """(N,) log-odds that the class is one of ``bears`` (a mask over the columns)."""
    lowest = torch.finfo(logits.dtype).min / 4
    inside = torch.logsumexp(torch.where(bears, logits, lowest), dim=1)
    outside = torch.logsumexp(torch.where(bears, lowest, logits), dim=1)
    return inside - outside
