"""From foreground to boxes: close the gaps, take the connected parts, join what nearly touches, keep the largest.

``docs/motion.md`` writes the arithmetic out; ``tests/motion_vectors.json`` holds a phone's version to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # (h, w), 0 or 1
PixelBox = tuple[int, int, int, int]  # left, top, width, height on the small picture

CLOSING = np.ones((5, 5), np.uint8)
MOST_FOUND = 64  # of these the near ones are joined; in a storm of specks more add nothing


def blobs(
    foreground: Mask,
    seen: Mask | None = None,
    *,
    least_area_px: int,
    least_side_px: int,
    near_px: float,
    near_share: float,
) -> list[PixelBox]:
    """The boxes of what is foreground, largest area first; no part grows into what is not ``seen`` (0)."""
    if not cv2.countNonZero(foreground):
        return []
    closed = cv2.morphologyEx(foreground, cv2.MORPH_CLOSE, CLOSING)
    if seen is not None:
        closed = cv2.bitwise_and(closed, seen)
    # The default algorithm takes three times as long on a picture this small.
    _, _, parts, _ = cv2.connectedComponentsWithStatsWithAlgorithm(closed, 8, cv2.CV_32S, cv2.CCL_GRANA)
    parts = parts[1:]  # the first is what is no foreground
    longer = np.maximum(parts[:, cv2.CC_STAT_WIDTH], parts[:, cv2.CC_STAT_HEIGHT])
    parts = parts[(longer >= least_side_px) & (parts[:, cv2.CC_STAT_AREA] >= least_area_px)]
    # Largest area first; equal areas by left, top, width, height.
    parts = parts[np.lexsort((parts[:, 3], parts[:, 2], parts[:, 1], parts[:, 0], -parts[:, 4]))][:MOST_FOUND]
    found = [((int(x), int(y), int(w), int(h)), int(area)) for x, y, w, h, area in parts]
    return merge(found, near_px, near_share)


def merge(found: Sequence[tuple[PixelBox, int]], near_px: float, near_share: float) -> list[PixelBox]:
    """Boxes (with their areas) that nearly touch become one, until none do; largest area first.

    Two are near when the gap between them is at most ``near_px`` or ``near_share`` of the larger one's
    longer side, and when their union is no more than three times both together, so that a diagonal
    pair does not become one loose box. Of all near pairs the first in the given order is joined first.
    """
    groups = list(found)
    while pair := next(
        (
            (i, j)
            for i, j in combinations(range(len(groups)), 2)
            if _near(groups[i][0], groups[j][0], near_px, near_share)
        ),
        None,
    ):
        i, j = pair
        (one, one_area), (other, other_area) = groups[i], groups.pop(j)
        groups[i] = (_union(one, other), one_area + other_area)
    return [box for box, _ in sorted(groups, key=lambda item: (-item[1], item[0]))]


def _near(one: PixelBox, other: PixelBox, near_px: float, near_share: float) -> bool:
    union = _union(one, other)
    near = max(near_px, near_share * max(*one[2:], *other[2:]))
    gap = max(union[2] - one[2] - other[2], union[3] - one[3] - other[3])
    return gap <= near and union[2] * union[3] <= 3 * (one[2] * one[3] + other[2] * other[3])


def _union(one: PixelBox, other: PixelBox) -> PixelBox:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top
