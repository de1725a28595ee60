"""The one preprocessing function: a region of a picture becomes the network's input.

Training evaluation, export parity and the runtime all call ``cut``. Everything after it (channel
order, scale, layout) is inside the ONNX graph.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import WHOLE, BoxXYWH, Picture

SMALLEST_SIDE_PX = 12  # below this a crop is a smear of two or three pixels


def square(box_xywh: BoxXYWH, size_wh: tuple[int, int], context: float) -> tuple[int, int, int, int]:
    """Return the pixel rectangle (left, top, width, height) to cut for a region.

    A square of ``context`` times the region's longer side around its centre, moved inside the
    picture. Where the picture is too small for a square, the rectangle ends at its borders.
    """
    width, height = size_wh
    left, top, w, h = box_xywh
    side = max(w * width, h * height) * context
    side = max(side, SMALLEST_SIDE_PX)
    cut_w, cut_h = round(min(side, width)), round(min(side, height))
    x = round((left + w / 2) * width - cut_w / 2)
    y = round((top + h / 2) * height - cut_h / 2)
    return min(max(x, 0), width - cut_w), min(max(y, 0), height - cut_h), cut_w, cut_h


def cut(image: Picture, box_xywh: BoxXYWH, size: int, context: float = 1.0, into: Picture | None = None) -> Picture:
    """Return the region of ``image`` as the network takes it: uint8 (size, size, 3) BGR, written ``into`` where given.

    The rectangle of ``square`` is resized with INTER_AREA when it shrinks and INTER_LINEAR when it
    grows; what is not square (only when the picture ends) is squeezed. The whole picture
    (``WHOLE``) is always taken whole.
    """
    height, width = image.shape[:2]
    if box_xywh != WHOLE:
        x, y, w, h = square(box_xywh, (width, height), context)
        image = image[y : y + h, x : x + w]
    return fit_to(image, (size, size), into)


def fit(image: Picture, size: int) -> Picture:
    """Return the picture resized to (size, size, 3), squeezed where it is not square."""
    return fit_to(image, (size, size))


def fit_to(image: Picture, size_wh: tuple[int, int], into: Picture | None = None) -> Picture:
    """Return the picture resized to a width and height in pixels, written ``into`` where given."""
    shrinking = image.shape[0] * image.shape[1] > size_wh[0] * size_wh[1]
    resized = cv2.resize(image, size_wh, dst=into, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def cut_all(image: Picture, boxes: Iterable[BoxXYWH], size: int, context: float = 1.0) -> NDArray[np.uint8]:
    """``cut`` for several regions of one picture: uint8 (N, size, size, 3)."""
    boxes = list(boxes)
    crops = np.empty((len(boxes), size, size, 3), np.uint8)
    for box, crop in zip(boxes, crops, strict=True):
        cut(image, box, size, context, crop)
    return crops
