"""Run the trained network with the alarm's own preprocessing: on crops, and on whole pictures by the frame scan.

The frame scan needs one pass: the mean of each window of the last feature map goes through the heads, as a crop's mean
does. An export writes ``SIDES`` and ``WINDOWS`` into its card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge.detect.card import Threshold
from edge.detect.crops import cut
from edge.detect.frame_scan import frame_of
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH, Picture
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.learn.augmentation import degrade
from train.learn.network import Backbone, BearNet
from train.metrics.calibration import fit_threshold

CONTEXT = 1.1  # the crop's side over the region's longer side; wider crops miss far bears
BATCH = 32
SIDES = (448,)  # a picture's longer side, pixels
WINDOWS = (7,)  # cells of 32 pixels


@dataclass(frozen=True, eq=False)
class EvalCrops:
    """Crops to evaluate a network on, with their labels: each picture clean, and degraded."""

    crops: NDArray[np.uint8]  # (N, size, size, 3) BGR
    labels: tuple[str, ...]
    bears: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) the number of its picture
    degraded: NDArray[np.bool_]  # (N,)
    sources: tuple[str, ...]

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        size: int,
        seed: int,
        copies: Callable[[Row], int],
        on_picture: Callable[[Picture], object] = lambda image: None,
    ) -> EvalCrops:
        """Cut the crops of ``rows``, ``copies`` of each degraded; ``on_picture`` gets each whole picture."""
        crops, labels, pictures, degraded, sources = [], [], [], [], set()
        for number, (row, image, found) in enumerate(cut_crops(rows, size, (seed,), copies)):
            on_picture(image)
            crops += found
            labels += [row.label] * len(found)
            pictures += [number] * len(found)
            degraded += [n >= len(found) - copies(row) for n in range(len(found))]
            sources.add(row.source)
        return cls(
            np.stack(crops),
            tuple(labels),
            np.array([is_bear(label) for label in labels]),
            np.array(pictures, np.int64),
            np.array(degraded),
            tuple(sorted(sources)),
        )

    @classmethod
    def of_tune(
        cls, rows: Iterable[Row], size: int, seed: int, on_picture: Callable[[Picture], object] = lambda image: None
    ) -> EvalCrops:
        """Cut the tuning crops for temperature and thresholds: each clean, and degraded twice."""
        return cls.of(rows, size, seed, lambda row: 2, on_picture)

    def where(self, chosen: NDArray[np.bool_]) -> EvalCrops:
        """Return the crops where ``chosen``."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return EvalCrops(
            self.crops[chosen], labels, self.bears[chosen], self.pictures[chosen], self.degraded[chosen], self.sources
        )

    def threshold(
        self, bear: NDArray[np.floating], rate: float, part: NDArray[np.bool_] | slice = slice(None)
    ) -> Threshold:
        """Fit the alarm's threshold for crops from their bear probabilities (N,); ``part``: the crops that count."""
        return fit_threshold(bear[part], self.bears[part], rate, self.sources, self.pictures[part])


def cut_crops(
    rows: Iterable[Row], size: int, seed: Sequence[int], copies: Callable[[Row], int]
) -> Iterator[tuple[Row, Picture, list[Picture]]]:
    """Yield each row, its picture and its crops, ``copies`` of a row degraded.

    Seeded a picture, by its place among ``rows``. Raises PictureError.
    """
    for number, row in enumerate(rows):
        image, rng = read_picture(row.file), np.random.default_rng([*seed, number])
        yield row, image, crops_of(row, image, size, rng, degraded=copies(row))


def crops_of(row: Row, image: Picture, size: int, rng: np.random.Generator, degraded: int) -> list[Picture]:
    """Cut a picture's crops: each box (else the whole), and ``degraded`` copies as the field degrades.

    A picture without bears also gives one random square, as a motion region would.
    """
    boxes: list[BoxXYWH] = list(row.boxes) or [WHOLE]
    if row.label == "no_bear":
        boxes.append(random_square(rng, (image.shape[1], image.shape[0])))
    clean = [cut(image, box, size, CONTEXT) for box in boxes]
    far = [degrade(clean[n % len(clean)], rng) for n in range(degraded)]
    return [*clean, *far]


def random_square(rng: np.random.Generator, size_wh: tuple[int, int]) -> BoxXYWH:
    """Draw a square of 30-80 % of the shorter side, anywhere inside, as fractions."""
    width, height = size_wh
    side = min(width, height) * rng.uniform(0.3, 0.8)
    return (
        rng.uniform(0, 1 - side / width),
        rng.uniform(0, 1 - side / height),
        side / width,
        side / height,
    )


def ask_crops(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return label logits (N, L) of uint8 crops (N, size, size, 3) BGR."""
    logits = []
    for _, raw in answers(net, backbone, crops):
        with torch.inference_mode():
            logits.append(net.label_logits(raw).cpu().numpy())
    return np.concatenate(logits) if logits else np.empty((0, len(net.labels)), np.float32)


def answers(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pooled features (n, F) and raw logits (n, 1000), batch by batch, of uint8 crops (N, size, size, 3) BGR."""
    net.eval()
    for start in range(0, len(crops), BATCH):
        with torch.inference_mode():
            pooled = net.body(normalised(net, backbone, crops[start : start + BATCH]))
            raw = net.heads(pooled)
        yield pooled, raw


def normalised(net: BearNet, backbone: Backbone, pictures: NDArray[np.uint8]) -> Tensor:
    """Make the network's input (N, 3, H, W), on its device, of uint8 pictures (N, H, W, 3) BGR."""
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    rgb = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2).float() / 255
    device = next(net.parameters()).device  # a GPU while the network trains there
    return ((rgb - mean) / std).to(device).contiguous(memory_format=torch.channels_last)


def surest_window(net: BearNet, backbone: Backbone, image: Picture) -> NDArray[np.float32]:
    """Return the label logits (L,) of a picture's window with the highest bear odds."""
    logits = np.concatenate([ask_frame(net, backbone, frame)[0] for frame in frames_of(image)])
    surest: NDArray[np.float32] = logits[int(net.bear_odds(torch.from_numpy(logits)).argmax())]
    return surest


def frames_of(image: Picture) -> list[Picture]:
    """Return a picture as the frame scan sees it, uint8 (H, W, 3) BGR for each of ``SIDES``."""
    return [frame_of(image, side, WINDOWS) for side in SIDES]


def ask_frame(
    net: BearNet, backbone: Backbone, frame: Picture, windows: Sequence[int] = WINDOWS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the label logits (K, L) of the windows of one frame (H, W, 3) BGR, and its heat map of bears (h, w)."""
    net.eval()
    with torch.inference_mode():
        features = feature_map(net, normalised(net, backbone, frame[None]))
        logits = net.label_logits(net.heads(window_features(features, windows)[0]))
    heat = torch.einsum("fhw,f->hw", features[0], bear_direction(net, features.shape[1]))
    return logits.cpu().numpy(), heat.detach().cpu().numpy()


def feature_map(net: BearNet, pictures: Tensor) -> Tensor:
    """Return the last feature map (N, F, h, w) of pictures (N, 3, H, W); the heads take its mean."""
    features: Tensor = net.body.forward_features(pictures)  # type: ignore[operator]  # timm's and every other body's
    return features


def window_features(features: Tensor, windows: Sequence[int]) -> Tensor:
    """Average every window of a feature map (N, F, h, w), row by row, size by size: (N, K, F)."""
    pooled = [F.avg_pool2d(features, window, 1).flatten(2) for window in windows]
    return torch.cat(pooled, 2).transpose(1, 2)


def bear_direction(net: BearNet, features: int) -> Tensor:
    """Return the direction (F,) of bears in the features; a map's product with it is a class activation map.

    The gradient of the bear's log-odds where all classes are equally likely: the mean weights of the bears minus those
    of all others (Zhou et al. 2016, "Learning deep features for discriminative localization").
    """
    with torch.enable_grad():
        nothing = torch.zeros(1, features, requires_grad=True)
        raw = net.heads(nothing)
        odds = net.bear_logit(raw - raw.detach())  # zeros with a gradient
        [direction] = torch.autograd.grad(odds.sum(), nothing)
    return direction[0]
