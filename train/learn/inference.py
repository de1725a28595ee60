"""The trained network asked through the runtime's own preprocessing: crops as the alarm cuts them, and whole pictures.

Whole pictures are looked at as the frame scan does: one pass gives the network's last feature map, and the mean of each
window of it goes through the heads, as a crop's does. ``SIDES`` and ``WINDOWS`` are what an export's card says of it.
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
from train.learn.dataloaders import degrade
from train.learn.network import Backbone, BearNet
from train.metrics import fit_threshold

CONTEXT = 1.1  # the crop's side over the region's longer side; looser crops lose far bears
BATCH = 32
SIDES = (448,)  # a picture's longer side, pixels
WINDOWS = (7,)  # cells of 32 pixels


@dataclass(frozen=True, eq=False)
class EvalCrops:
    """The crops that a network is evaluated on, with their truth: each picture clean, and degraded as by the field."""

    crops: NDArray[np.uint8]  # (N, size, size, 3) BGR
    labels: tuple[str, ...]
    bears: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each came from
    degraded: NDArray[np.bool_]  # (N,)
    sources: tuple[str, ...]

    @classmethod
    def of(
        cls,
        rows: Iterable[Row],
        size: int,
        seed: int,
        copies: Callable[[Row], int],
        look: Callable[[Picture], object] = lambda image: None,
    ) -> EvalCrops:
        """Cut the crops of ``rows``, ``copies`` of a row degraded; ``look`` sees each whole picture, decoded once."""
        crops, labels, pictures, degraded, sources = [], [], [], [], set()
        for number, (row, image, found) in enumerate(cut_crops(rows, size, (seed,), copies)):
            look(image)
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
        cls, rows: Iterable[Row], size: int, seed: int, look: Callable[[Picture], object] = lambda image: None
    ) -> EvalCrops:
        """Cut the tuning crops that temperature and thresholds are fitted on: clean, and degraded twice."""
        return cls.of(rows, size, seed, lambda row: 2, look)

    def where(self, chosen: NDArray[np.bool_]) -> EvalCrops:
        """Return the crops where ``chosen``."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return EvalCrops(
            self.crops[chosen], labels, self.bears[chosen], self.pictures[chosen], self.degraded[chosen], self.sources
        )

    def threshold(
        self, bear: NDArray[np.floating], rate: float, part: NDArray[np.bool_] | slice = slice(None)
    ) -> Threshold:
        """Fit the alarm's threshold for crops from their bear probabilities (N,); ``part``: which crops count."""
        return fit_threshold(bear[part], self.bears[part], rate, self.sources, self.pictures[part])


def cut_crops(
    rows: Iterable[Row], size: int, seed: Sequence[int], copies: Callable[[Row], int]
) -> Iterator[tuple[Row, Picture, list[Picture]]]:
    """Yield each row, its picture and its crops, ``copies`` of a row degraded.

    Seeded a picture, by its place among ``rows``. Raises PictureError.
    """
    for number, row in enumerate(rows):
        image, rng = read_picture(row.file), np.random.default_rng([*seed, number])
        yield row, image, crops_of(row, image, size, CONTEXT, rng, degraded=copies(row))


def crops_of(
    row: Row, image: Picture, size: int, context: float, rng: np.random.Generator, degraded: int
) -> list[Picture]:
    """Cut a picture's crops: each box (else the whole), and ``degraded`` copies as the field degrades.

    A picture without bears also gives one random square, as a motion region would.
    """
    boxes: list[BoxXYWH] = list(row.boxes) or [WHOLE]
    if row.label == "no_bear":
        boxes.append(random_square(rng, (image.shape[1], image.shape[0])))
    clean = [cut(image, box, size, context) for box in boxes]
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


def surest_window(net: BearNet, backbone: Backbone, image: Picture) -> NDArray[np.float32]:
    """Return (L,): the label logits of a picture's most bear-like window."""
    logits = np.concatenate([ask_frame(net, backbone, frame)[0] for frame in frames_of(image)])
    surest: NDArray[np.float32] = logits[int(net.bear_odds(torch.from_numpy(logits)).argmax())]
    return surest


def frames_of(image: Picture) -> list[Picture]:
    """Return a picture as the frame scan sees it, uint8 (H, W, 3) BGR for each of ``SIDES``."""
    return [frame_of(image, side, WINDOWS) for side in SIDES]


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
