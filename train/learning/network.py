"""The classifier: ImageNet's network, whose 1,000 classes are summed up to our labels.

ImageNet knows four kinds of bear, toys, and nine hundred things that are neither. A new head learns what web
photographs look like and forgets the rest; so there is none, and training moves what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from train.learning.backbones import IMAGENET_CLASSES

# ImageNet's classes of each label; every other class is "no_bear". A sloth bear (297) is dark, as a black bear is.
CLASSES_OF = {"brown_bear": (294,), "black_bear": (295, 297), "polar_bear": (296,), "teddy_bear": (850,)}
LEAST = 1e-30  # of a probability whose logarithm is taken


class BearNet(nn.Module):
    """Pictures (N, 3, H, W), normalised RGB -> raw logits (N, 1000).

    ``label_logits`` makes the L logits whose softmax is the answer.
    """

    def __init__(self, body: nn.Module, head: nn.Linear, labels: Sequence[str], alarm: Sequence[str]):
        super().__init__()
        self.body = body
        self.head = head
        self.labels = tuple(labels)
        sums = torch.zeros(IMAGENET_CLASSES, len(labels))
        for column, label in enumerate(labels):
            sums[list(CLASSES_OF.get(label, ())), column] = 1
        sums[~sums.any(1), self.labels.index("no_bear")] = 1
        self.register_buffer("sums", sums)  # (1000, L), one 1 in each row
        self.register_buffer("alarm", torch.tensor([label in alarm for label in labels]))  # (L,)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return raw logits (N, 1000)."""
        return self.heads(self.body(pictures))

    def heads(self, features: Tensor) -> Tensor:
        """Return raw logits (..., 1000) of the body's pooled features (..., F)."""
        logits: Tensor = self.head(features)
        return logits

    def label_logits(self, raw: Tensor) -> Tensor:
        """Return (..., L): log-probabilities of the labels, each the sum of its classes'."""
        summed = torch.softmax(raw.float(), dim=-1) @ self.sums
        return summed.clamp_min(LEAST).log()

    def bear_odds(self, logits: Tensor) -> Tensor:
        """Return (...) log-odds of label logits (..., L) that it is one of the alarm labels."""
        bears = torch.logsumexp(logits[..., self.alarm], dim=-1)
        return bears - torch.logsumexp(logits[..., ~self.alarm], dim=-1)

    def bear_logit(self, raw: Tensor) -> Tensor:
        """Return (...) log-odds of raw logits (..., 1000) that it is one of the alarm labels."""
        return self.bear_odds(self.label_logits(raw))

    def energy(self, raw: Tensor) -> Tensor:
        """(N,) out-of-domain energy, -logsumexp of the logits (Liu et al. 2020): bigger = stranger."""
        return -torch.logsumexp(raw, dim=1)


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


def fold_batch_norms(module: nn.Module) -> None:
    """Move each batch norm into the convolution before it, in place: the same function, a fifth faster to train.

    A few thousand pictures would spoil the norms' statistics, so they were frozen anyway.
    """
    convolution: nn.Conv2d | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            convolution = child
        elif isinstance(child, nn.BatchNorm2d) and convolution is not None:
            weight, bias = fuse_conv_bn_weights(
                convolution.weight, convolution.bias, child.running_mean, child.running_var, child.eps,
                child.weight, child.bias,
            )  # fmt: skip
            convolution.weight, convolution.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
            setattr(module, name, getattr(child, "act", nn.Identity()))  # timm's norms carry the activation
            convolution = None
        else:
            fold_batch_norms(child)


def interpolate(net: nn.Module, untouched: nn.Module, share: float) -> None:
    """Move ``net``'s weights by ``share`` of the way to the untouched ones, in place.

    WiSE-FT: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    old = dict(untouched.named_parameters())
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.lerp_(old[name].to(parameter.device), share)
