"""Truth and loss of a frame's windows: which hold a bear, and which only what is around it.

The network is convolutional up to its pooling, so a frame goes through once, and every window of its feature map is
scored by the head, as the alarm's frame scan does (Sermanet et al. 2014, "OverFeat"). Among the windows without a bear
the surest count: hard negatives, in every frame (Shrivastava et al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from train.learning.frames import Boxes
from train.learning.network import BearNet
from train.learning.scanning import window_features

LEARNED = (7, 5)  # sides in cells of the feature map; what is scanned for later are those of ``scanning.WINDOWS``
HARDEST = 3  # windows without a bear that count, of each frame and size
COVERED, FILLED = 0.75, 0.6  # of the bear in the window, or of the window by the bear: from there on it holds one
LEAST = 0.08  # of a window's side: a smaller bear is nothing to learn it from
VISIBLE = 0.5  # of a bear: less inside the frame is neither bear nor none


def window_logits(net: BearNet, features: Tensor, cells: int) -> Tensor:
    """Return bear log-odds (N, rows, columns) of every window of ``cells`` x ``cells`` of features (N, F, h, w)."""
    height, width = (side - cells + 1 for side in features.shape[2:])
    return net.bear_logit(net.heads(window_features(features, [cells]))).unflatten(1, (height, width))


def window_truth(boxes: Boxes, grid: tuple[int, int], cells: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the windows that hold a bear, and those that hold none: two masks (rows, columns) of ``grid`` (h, w) cells.

    A window that holds a part of one is neither.
    """
    height, width = grid
    top, left = np.mgrid[0 : height - cells + 1, 0 : width - cells + 1]
    holds, free = np.zeros(top.shape, bool), np.ones(top.shape, bool)
    for x1, y1, x2, y2, visible in boxes * (width, height, width, height, 1):
        across = np.clip(np.minimum(left + cells, x2) - np.maximum(left, x1), 0, None)
        down = np.clip(np.minimum(top + cells, y2) - np.maximum(top, y1), 0, None)
        common = across * down
        if visible >= VISIBLE and max(x2 - x1, y2 - y1) >= LEAST * cells:
            holds |= (common >= COVERED * (x2 - x1) * (y2 - y1)) | (common >= FILLED * cells * cells)
        free &= common <= 1e-9
    return holds, free


def frame_loss(net: BearNet, features: Tensor, boxes: Sequence[Boxes | None]) -> Tensor:
    """Return mean loss of frames' features (N, F, h, w): logistic, of the best-looking windows on each side.

    Where a frame holds a bear and no box says where (None), its best window has to (multiple-instance learning:
    Dietterich et al. 1997).
    """
    grid, losses = (features.shape[2], features.shape[3]), []
    for cells in LEARNED:
        for logits, known in zip(window_logits(net, features, cells), boxes, strict=True):
            if known is None:
                losses.append(F.softplus(-logits.max()))
                continue
            holds, free = (torch.from_numpy(mask) for mask in window_truth(known, grid, cells))
            if holds.any():
                bears = logits[holds]
                losses.append(F.softplus(math.log(len(bears)) - torch.logsumexp(bears, 0)))
            if free.any():
                hardest = logits[free].topk(min(HARDEST, int(free.sum()))).values
                losses.append(F.softplus(hardest).mean())
    return torch.stack(losses).sum() / (len(boxes) * len(LEARNED))
