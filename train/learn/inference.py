"""Whole pictures as the frame scan looks at them, asked of the trained network.

The network's last feature map comes from one pass; the mean of a window of it goes through the heads, as a crop's
does. ``SIDES`` and ``WINDOWS`` are what an export's card says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge.detect.crops import cut
from edge.detect.frame_scan import frame_of
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH, Picture
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.learn.dataloaders import degrade
from train.learn.network import Backbone, BearNet

# The trained network asked through the runtime's own preprocessing: crops in, logits out.


BATCH = 32
CONTEXT = 1.1  # the crop's side over the region's longer side; looser crops lose far bears
T = TypeVar("T")
Follow = Callable[[Sequence[Row]], Iterator[Row]]  # a progress bar around the rows, or plain iter


def crops_of(
    row: Row, image: Picture, size: int, context: float, rng: np.random.Generator, degraded: int
) -> list[Picture]:
    """A picture's crops: each box (else the whole), and ``degraded`` field copies of it.

    A picture without bears also gives one random square, as a motion region would.
    """
    boxes: list[BoxXYWH] = list(row.boxes) or [WHOLE]
    if row.label == "no_bear":
        boxes.append(random_square(rng, (image.shape[1], image.shape[0])))
    clean = [cut(image, box, size, context) for box in boxes]
    far = [degrade(clean[n % len(clean)], rng) for n in range(degraded)]
    return [*clean, *far]


@dataclass(frozen=True, eq=False)
class CropSet:
    """Crops of one part of the split with their truth."""

    crops: NDArray[np.uint8]  # (N, size, size, 3) BGR
    labels: tuple[str, ...]
    bears: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each came from
    degraded: NDArray[np.bool_]  # (N,)
    sources: tuple[str, ...]

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        """The crops where ``chosen``."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return CropSet(
            self.crops[chosen], labels, self.bears[chosen], self.pictures[chosen], self.degraded[chosen], self.sources
        )


def collect(
    rows: Iterable[Row],
    size: int,
    seed: int,
    bear_copies: int,
    other_copies: int,
    follow: Callable[[Any], Iterator[Row]],
) -> CropSet:
    """Clean crops and degraded copies of every picture; seeded a picture, so that order does not matter."""
    crops, labels, pictures, degraded, sources = [], [], [], [], set()
    for number, row in enumerate(follow(list(rows))):
        copies = bear_copies if is_bear(row.label) else other_copies
        rng = np.random.default_rng([seed, number])
        cut = crops_of(row, read_picture(row.file), size, CONTEXT, rng, degraded=copies)
        crops += cut
        labels += [row.label] * len(cut)
        pictures += [number] * len(cut)
        degraded += [n >= len(cut) - copies for n in range(len(cut))]
        sources.add(row.source)
    return CropSet(
        np.stack(crops),
        tuple(labels),
        np.array([is_bear(label) for label in labels]),
        np.array(pictures, np.int64),
        np.array(degraded),
        tuple(sorted(sources)),
    )


def collect_tune(rows: Iterable[Row], size: int, seed: int, follow: Callable[[Any], Iterator[Row]]) -> CropSet:
    """The tuning crops that temperature and thresholds are fitted on: every picture clean, and degraded twice."""
    return collect(rows, size, seed, 2, 2, follow)


def random_square(rng: np.random.Generator, size_wh: tuple[int, int]) -> BoxXYWH:
    """A square of 30-80 % of the shorter side, anywhere inside, as fractions."""
    width, height = size_wh
    side = min(width, height) * rng.uniform(0.3, 0.8)
    return (
        rng.uniform(0, 1 - side / width),
        rng.uniform(0, 1 - side / height),
        side / width,
        side / height,
    )


def answers(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch by batch, pooled features (n, F) and raw logits (n, 1000) of uint8 crops (N, size, size, 3) BGR."""
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    net.eval()
    device = next(net.parameters()).device  # a GPU's while the network trains there
    for start in range(0, len(crops), BATCH):
        with torch.inference_mode():
            part = torch.from_numpy(np.ascontiguousarray(crops[start : start + BATCH, ..., ::-1]))
            pictures = part.permute(0, 3, 1, 2).float() / 255
            pooled = net.body(((pictures - mean) / std).to(device).contiguous(memory_format=torch.channels_last))
            raw = net.heads(pooled)
        yield pooled, raw


def ask(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Label logits (N, L) and energies (N,) of uint8 crops (N, size, size, 3) BGR."""
    logits, energies = [], []
    for _, raw in answers(net, backbone, crops):
        with torch.inference_mode():
            logits.append(net.label_logits(raw).cpu().numpy())
            energies.append(net.energy(raw).cpu().numpy())
    if not logits:
        return np.empty((0, len(net.labels)), np.float32), np.empty(0, np.float32)
    return np.concatenate(logits), np.concatenate(energies)


SIDES = (448,)  # a picture's longer side, pixels
WINDOWS = (7,)  # cells of 32 pixels


def frames_of(row: Row) -> list[Picture]:
    """Return a picture as the frame scan sees it, uint8 (H, W, 3) BGR for each of ``SIDES``. Raises PictureError."""
    image = read_picture(row.file)
    return [frame_of(image, side, WINDOWS) for side in SIDES]


def feature_map(net: BearNet, pictures: Tensor) -> Tensor:
    """Return the last map of features (N, F, h, w) of pictures (N, 3, H, W), whose mean the heads look at."""
    features: Tensor = net.body.forward_features(pictures)  # type: ignore[operator]  # timm's and every other body's
    return features


def window_features(features: Tensor, windows: Sequence[int]) -> Tensor:
    """Average every window of a feature map (N, F, h, w), row by row, one size after the other: (N, K, F)."""
    pooled = [F.avg_pool2d(features, window, 1).flatten(2) for window in windows]
    return torch.cat(pooled, 2).transpose(1, 2)


def bear_direction(net: BearNet, features: int) -> Tensor:
    """Return (F,): which way in the features bears lie; a map's product with it shows where (class activation mapping).

    The gradient of the bear's log-odds where every class is as likely as any other: the mean weights of the bears less
    those of all else (Zhou et al. 2016, "Learning deep features for discriminative localization").
    """
    with torch.enable_grad():
        nothing = torch.zeros(1, features, requires_grad=True)
        raw = net.heads(nothing)
        odds = net.bear_logit(raw - raw.detach())  # zeros that know where they come from
        [direction] = torch.autograd.grad(odds.sum(), nothing)
    return direction[0]


def ask_frame(
    net: BearNet, backbone: Backbone, frame: Picture, windows: Sequence[int] = WINDOWS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ask for label logits (K, L) of the windows of one frame (H, W, 3) BGR, and its map of bears (h, w)."""
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    net.eval()
    device = next(net.parameters()).device  # a GPU's while the network trains there
    with torch.inference_mode():
        rgb = torch.from_numpy(np.ascontiguousarray(frame[None, ..., ::-1])).permute(0, 3, 1, 2).float() / 255
        pictures = ((rgb - mean) / std).to(device).contiguous(memory_format=torch.channels_last)
        features = feature_map(net, pictures)
        logits = net.label_logits(net.heads(window_features(features, windows)[0]))
    heat = torch.einsum("fhw,f->hw", features[0], bear_direction(net, features.shape[1]))
    return logits.cpu().numpy(), heat.detach().cpu().numpy()


def surest_windows(net: BearNet, backbone: Backbone, rows: Iterable[Row]) -> NDArray[np.float32]:
    """Return (N, L): the label logits of each picture's most bear-like window. Raises PictureError."""
    found = []
    for row in rows:
        logits = np.concatenate([ask_frame(net, backbone, frame)[0] for frame in frames_of(row)])
        found.append(logits[int(net.bear_odds(torch.from_numpy(logits)).argmax())])
    return np.stack(found)
