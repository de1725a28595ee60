"""The frame scan: the whole picture goes through the network once, and every window of its feature map is scored.

The network is fully convolutional up to its pooling (OverFeat: Sermanet et al. 2014), so hundreds of overlapping crops
cost one pass. The window with the highest score says how sure a bear is; a map of bears beside it says where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import CELL_PX, logit, sigmoid
from edge.detect.classifier import Classifier, scored
from edge.detect.crops import fit_to
from edge.detect.tracker import inside
from edge.detect.zones import Polygon, covered
from edge.schema import WHOLE, BoxXYWH, Picture, Region, Score

HIDDEN = 0.9  # a window that masks cover so far is left out
MOST = 5  # bears of one picture
LEAST = 0.02  # bear probability of a second one and further ones
HELD = 0.25  # a window that holds so much of a bear that was found shows that one again
MARGIN = 2  # cells around the window that may be of the bear in it
FAINT = 0.1  # of the peak of the map of bears above the least of the window: what is less is no bear
SPREAD = 1.8  # standard deviations of what is more, from its middle to the box's sides


class Scorer(Protocol):
    """Interface of a classifier that the loop needs."""

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """Score each region of one picture, in the same order."""


def frame_of(image: Picture, side: int, windows: Sequence[int]) -> Picture:
    """Resize a picture (H, W, 3) as the network takes it whole: the longer side ``side`` pixels, its aspect kept.

    Both sides are rounded to whole cells, and none is shorter than the largest window.
    """
    height, width = image.shape[:2]
    least = max(windows)
    w, h = (max(round(each * side / max(width, height) / CELL_PX), least) * CELL_PX for each in (width, height))
    return fit_to(image, (w, h))


class FrameScanner:
    """Pictures in, bears out: one for each classifier and set of masks.

    A model file whose card is of version 1 knows no frame scan: it is shown the whole picture, squashed.
    """

    def __init__(self, classifier: Classifier, masks: Sequence[Polygon] = ()) -> None:
        self.classifier = classifier
        self.masks = tuple(masks)
        self._seen: dict[tuple[int, ...], tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}  # by the map's size

    def __call__(self, image: Picture) -> list[Score]:
        """Find the bears of one picture (H, W, 3) BGR, the surest first; at least one, however unsure.

        ``bear`` of the first is the picture's score, on the scale of the card's threshold ``frame``; ``ood`` is the
        picture's as a whole. One bear is one score (non-maximum suppression). Empty where masks hide everything.
        """
        rule = self.classifier.card.frame
        if rule is None:
            whole = covered(self.masks, WHOLE) < HIDDEN
            return self.classifier.score(image, [Region(WHOLE, "scan")] if whole else [])
        passes = [self._look(frame_of(image, side, rule.windows), rule.windows) for side in rule.sides]
        windows, rows, bear = (np.concatenate(part) for part in zip(*(each[:3] for each in passes), strict=True))
        whose = np.repeat(np.arange(len(passes)), [len(each[0]) for each in passes])
        scores, boxes = list[Score](), list[BoxXYWH]()
        left = np.ones(len(windows), bool)
        while left.any() and len(scores) < MOST:
            best = int(np.where(left, bear, -1.0).argmax())
            if scores and bear[best] < LEAST:
                break
            heat, ood = passes[whose[best]][3:]
            box = where(heat, windows[best])
            if not any(inside(box, other) > HELD for other in boxes):
                boxes.append(box)
                scores.append(scored(self.classifier.card, Region(box, "scan"), rows[best], ood))
                left &= share_in(box, windows) <= HELD
            left[best] = False
        return scores

    def beside_crops(self, image: Picture) -> list[Score]:
        """Return them with ``bear`` on the crops' scale, where a crop's threshold holds: what the watch loop goes by.

        Each logit is moved so that the card's threshold ``frame`` falls onto ``crop``.
        """
        limits = self.classifier.card.thresholds
        move = logit(limits["crop"].value) - logit(limits["frame"].value)
        return [replace(score, bear=sigmoid(logit(score.bear) + move)) for score in self(image)]

    def _look(
        self, frame: Picture, sizes: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]:
        """Score the windows that masks leave: they (K, 4), their rows (K, L), bears (K,); the map of bears, and ood."""
        probabilities, heat, ood = self.classifier.windows(frame[None])
        windows, kept = self._windows(heat[0].shape, sizes)
        rows = probabilities[0][kept]
        return windows, rows, rows[:, list(self.classifier.card.alarm_columns)].sum(1), heat[0], float(ood[0])

    def _windows(self, size_hw: tuple[int, ...], sizes: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the windows of a map that masks leave (K, 4), and which of all they are."""
        if size_hw not in self._seen:
            boxes = windows_of(size_hw, sizes)
            kept = np.ones(len(boxes), bool)
            if self.masks:
                kept = np.array([covered(self.masks, tuple(box)) < HIDDEN for box in boxes])
            self._seen[size_hw] = boxes[kept], kept
        return self._seen[size_hw]


def scan_of(scorer: Scorer, masks: Sequence[Polygon]) -> Callable[[Picture], list[Score]]:
    """Return the watch loop's scan: the frame scan, or with another scorer the picture as one crop."""
    if isinstance(scorer, Classifier):
        return FrameScanner(scorer, masks).beside_crops
    return lambda image: scorer.score(image, [Region(WHOLE, "scan")])


def windows_of(size_hw: tuple[int, ...], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Return the windows (K, 4) of a map of h x w cells in the order of a model's scores; fractions x y w h."""
    h, w = size_hw
    return np.array(
        [(x / w, y / h, k / w, k / h) for k in sizes for y in range(h - k + 1) for x in range(w - k + 1)], np.float64
    )


def where(heat: NDArray[np.float32], window: NDArray[np.float64]) -> BoxXYWH:
    """Locate the bear in a window (x y w h, fractions) by the map of bears (h, w).

    Middle and spread of what stands out of the least in the window, in it and ``MARGIN`` cells around it: a large bear
    reaches beyond its window. Of the ways that were tried it met the most boxes (docs/architecture.md).
    """
    h, w = heat.shape
    x, y, across, down = np.rint(window * (w, h, w, h)).astype(int)
    inner = heat[y : y + down, x : x + across]
    top, left = max(y - MARGIN, 0), max(x - MARGIN, 0)
    part = heat[top : y + down + MARGIN, left : x + across + MARGIN].astype(np.float64)
    least, peak = float(inner.min()), float(inner.max())
    weight = np.clip((part - least) / max(peak - least, 1e-9), 0.0, 1.0)
    weight = np.where(weight > FAINT, weight - FAINT, 0.0)
    if not weight.any():  # the same everywhere
        return tuple(float(each) for each in window)  # type: ignore[return-value]
    sides = []
    for axis, start, cells in ((1, left, w), (0, top, h)):
        along = weight.sum(1 - axis) / weight.sum()
        middles = start + np.arange(len(along)) + 0.5
        middle = float(along @ middles)
        reach = SPREAD * float(np.sqrt(along @ (middles - middle) ** 2 + 1 / 12))  # a cell is not a point
        low, high = max(middle - reach, 0.0) / cells, min(middle + reach, float(cells)) / cells
        sides.append((low, high - low))
    (bx, bw), (by, bh) = sides
    return bx, by, bw, bh


def share_in(box: BoxXYWH, windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (K,): the share of a box that lies in each of some windows (K, 4)."""
    x, y, w, h = box
    across = np.minimum(x + w, windows[:, 0] + windows[:, 2]) - np.maximum(x, windows[:, 0])
    down = np.minimum(y + h, windows[:, 1] + windows[:, 3]) - np.maximum(y, windows[:, 1])
    common: NDArray[np.float64] = np.maximum(across, 0) * np.maximum(down, 0)
    return common / max(w * h, 1e-12)
