"""Frames to learn from: what a camera sees at once, with a bear somewhere in it or without one.

A photograph's bear fills it; a camera's stands in something else, and most of its frames hold none. So half of what is
learned are frames: of trail cameras where there are some, at any zoom; bears pasted onto frames without one; and
pictures of other animals. Needs no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pictures import read_picture
from edge.schema import Picture
from train.catalog.picture import Picture as Row
from train.catalog.picture import is_bear
from train.learning.field import frame_look
from train.learning.pasting import cutouts, paste
from train.learning.pictures import cache_bytes

LONGEST_PX = 900  # of a kept picture: more shows no more in a frame of 448
KEPT = 2 / 3  # of the memory that crops may take, for frames
# How often each kind of frame is drawn; a kind that has no pictures is left out.
SHARES = {"trail bear": 2.0, "pasted bear": 1.5, "boxed bear": 0.5, "bear": 1.0, "trail": 3.0, "other": 1.0}
BEAR_PX = {"trail bear": (28, 330), "pasted bear": (18, 300), "boxed bear": (90, 330)}  # longer sides, in the frame
ENLARGED = 2.5  # at most: a bear of 20 pixels shows no more than that
STRIP = 0.3  # share of the frames that get a line of text, as cameras write one
Boxes = NDArray[np.float64]  # (B, 5): x1, y1, x2, y2 as fractions of the frame, and the visible share of the bear
NO_BOXES = np.empty((0, 5))


@dataclass(frozen=True, eq=False)
class Frame:
    """One training frame."""

    image: Picture  # (H, W, 3) BGR
    boxes: Boxes | None  # None: it holds a bear, and where is not known


class FrameSampler:
    """Draws training frames of one size from a training part's pictures."""

    def __init__(self, rows: Sequence[Row], size_wh: tuple[int, int], pasted: bool = True):
        self.size_wh = size_wh
        self._kept: dict[Row, Picture] = {}
        self._bytes, self._most = 0, int(KEPT * cache_bytes())
        trail, others = ([row for row in rows if row.of_trail_camera == field] for field in (True, False))
        boxed = [row for row in others if is_bear(row.label) and row.boxes]
        places = [row for row in trail if row.label == "no_bear"] or [r for r in others if r.label == "no_bear"]
        self.kinds: dict[str, list[Row]] = {
            "trail bear": [row for row in trail if is_bear(row.label) and row.boxes],
            "boxed bear": boxed,
            # Where boxes say where some bears are, those without one teach little.
            "bear": [row for row in rows if is_bear(row.label) and not row.boxes and not boxed],
            "trail": places,
            "other": [row for row in others if not is_bear(row.label)],
        }
        self.cutouts = list(cutouts([*boxed, *self.kinds["trail bear"]])) if pasted and places else []
        counts = Counter(row.unit for row in places)
        even = np.array([counts[row.unit] ** -0.5 for row in places])  # a camera of 400 frames is not all cameras
        self._even = even / even.sum() if len(even) else even
        there = {kind: share for kind, share in SHARES.items() if self.kinds.get(kind) or kind == "pasted bear"}
        if not self.cutouts:
            there.pop("pasted bear")
        self._names, shares = list(there), np.array(list(there.values()))
        self._ends = np.cumsum(shares / shares.sum())

    def batch(self, count: int, rng: np.random.Generator) -> list[Frame]:
        """Draw frames, the kinds as often as ``SHARES`` says also within a small batch."""
        at = (np.arange(count) + rng.random()) / count
        return [self.draw(self._names[int(np.searchsorted(self._ends, one))], rng) for one in at]

    def draw(self, kind: str, rng: np.random.Generator) -> Frame:
        """Draw one frame of a kind, as the field shows it."""
        rows = self.kinds["trail" if kind == "pasted bear" else kind]
        even = self._even if kind in ("trail", "pasted bear") else None
        row = rows[int(rng.choice(len(rows), p=even))]
        image = self._read(row)
        boxes: Boxes | None = NO_BOXES
        if kind == "bear":
            image = np.asarray(cv2.resize(image, self.size_wh, interpolation=cv2.INTER_AREA), np.uint8)
            boxes = None
        elif is_bear(row.label):  # a panda may have a box too
            longer = float(np.exp(rng.uniform(*np.log(BEAR_PX[kind]))))
            image, boxes = view_of_bear(image, row, self.size_wh, longer, rng)
        else:
            image = view(image, self.size_wh, rng)
        if kind == "pasted bear":
            longer = float(np.exp(rng.uniform(*np.log(BEAR_PX[kind]))))
            image, (x, y, w, h) = paste(image, self.cutouts[int(rng.integers(len(self.cutouts)))], longer, rng)
            boxes = np.array([[x, y, x + w, y + h, 1.0]])
        if rng.random() < STRIP:
            image = with_strip(image, rng)
        return Frame(frame_look(np.asarray(image, np.uint8), rng), boxes)

    def _read(self, row: Row) -> Picture:
        kept = self._kept.get(row)
        if kept is None:
            kept = read_picture(row.file)
            scale = LONGEST_PX / max(kept.shape[:2])
            if scale < 1:
                kept = np.asarray(cv2.resize(kept, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            if self._bytes + kept.nbytes <= self._most:
                self._kept[row], self._bytes = kept, self._bytes + kept.nbytes
        return kept


def view(image: Picture, size_wh: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Cut out some part of a frame, of at least half its sides, that fills ``size_wh``; mirrored half of the time."""
    width, height = size_wh
    cover = max(width / image.shape[1], height / image.shape[0])
    return _cut(image, NO_BOXES[:, :4], size_wh, cover * np.exp(rng.uniform(0, np.log(2.0))), None, rng)[0]


def view_of_bear(
    image: Picture, row: Row, size_wh: tuple[int, int], longer_px: float, rng: np.random.Generator
) -> tuple[Picture, Boxes]:
    """Cut a part with one of the bears about ``longer_px`` long out of a frame, for ``size_wh``; and its boxes."""
    height, width = image.shape[:2]
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in row.boxes])
    chosen = int(rng.integers(len(boxes)))
    now = max((boxes[chosen, 2] - boxes[chosen, 0]) * width, (boxes[chosen, 3] - boxes[chosen, 1]) * height)
    return _cut(image, boxes, size_wh, min(longer_px / max(now, 1), ENLARGED), chosen, rng)


def _cut(
    image: Picture,
    boxes: Boxes,
    size_wh: tuple[int, int],
    scale: float,
    around: int | None,
    rng: np.random.Generator,
) -> tuple[Picture, Boxes]:
    """Cut out a part, scaled by about ``scale`` or as much as it takes to fill ``size_wh``; and its boxes (B, 5)."""
    width, height = size_wh
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
    h, w = image.shape[:2]
    boxes = boxes * (w, h, w, h)
    scale = max(scale, width / w, height / h)
    squeeze = np.exp(rng.uniform(-0.12, 0.12))
    part_w, part_h = min(w, width / scale * squeeze), min(h, height / scale / squeeze)
    left, top = rng.uniform(0, w - part_w), rng.uniform(0, h - part_h)
    if around is not None:
        x1, y1, x2, y2 = boxes[around]
        left = np.clip(rng.uniform(x1, x2) - rng.uniform(0.15, 0.85) * part_w, 0, w - part_w)
        top = np.clip(rng.uniform(y1, y2) - rng.uniform(0.15, 0.85) * part_h, 0, h - part_h)
    part = image[int(top) : int(np.ceil(top + part_h)), int(left) : int(np.ceil(left + part_w))]
    how = cv2.INTER_AREA if part_w > width else cv2.INTER_LINEAR
    shown = np.asarray(cv2.resize(np.ascontiguousarray(part), size_wh, interpolation=how), np.uint8)
    inside = (boxes - (left, top, left, top)) / (part_w, part_h, part_w, part_h)
    clipped = np.clip(inside, 0, 1)
    areas = [(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (clipped, inside)]
    return shown, np.column_stack([clipped, areas[0] / np.maximum(areas[1], 1e-9)])


def with_strip(image: Picture, rng: np.random.Generator) -> Picture:
    """Write date, time and temperature along the top or bottom of a copy of the frame, as trail cameras do."""
    height, width = image.shape[:2]
    high = max(6, int(height * rng.uniform(0.03, 0.08)))
    top = 0 if rng.random() < 0.4 else height - high
    ground = 0 if rng.random() < 0.6 else int(rng.integers(20, 255))
    shown = np.ascontiguousarray(image).copy()
    if rng.random() < 0.7:
        shown[top : top + high] = ground
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(2010, 2027)
    words = f"{rng.integers(-9, 40)}C {month:02d}/{day:02d}/{year} {rng.integers(24):02d}:{rng.integers(60):02d}"
    at = int(rng.uniform(0, width / 2)), top + high - 2
    cv2.putText(shown, words, at, cv2.FONT_HERSHEY_SIMPLEX, high / 34, (255 - ground,) * 3, 1, cv2.LINE_AA)
    return shown
