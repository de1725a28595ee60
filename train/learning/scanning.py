"""Whole pictures as the frame scan looks at them, asked of the trained network.

The network's last feature map comes from one pass; the mean of a window of it goes through the heads, as a crop's
does. ``SIDES`` and ``WINDOWS`` are what an export's card says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge.detect.frame_scan import frame_of
from edge.pictures import read_picture
from edge.schema import Picture
from train.data.pictures import Picture as Row
from train.learning.backbones import Backbone
from train.learning.network import BearNet

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
