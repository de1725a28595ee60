"""Polygons over the picture: zones in which a bear matters, masks in which nothing does.

A polygon is three corners or more, x y as fractions of the frame, so that it means the same at every size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import OptionError
from edge.schema import BoxXYWH, Picture

Polygon = tuple[tuple[float, float], ...]  # corners x, y; fractions of the frame
MAX_CORNERS = 100
GREY, BLACK = 114, 0  # of what is hidden: for the classifier neither light nor dark; for people plainly nothing


@dataclass(frozen=True, slots=True)
class Zone:
    """A named polygon."""

    name: str
    corners: Polygon

    def holds(self, box_xywh: BoxXYWH) -> bool:
        """Return True if an animal stands in it: the middle of its box's lower edge (its feet) or its centre.

        The centre counts too, since a tall fence or grass hides feet, and what the frame scan finds lies there roughly.
        """
        x, y, w, h = box_xywh
        return contains(self.corners, (x + w / 2, y + h)) or contains(self.corners, (x + w / 2, y + h / 2))

    def touches(self, box_xywh: BoxXYWH) -> bool:
        """Return True if any part of it lies in a box, judged on a grid of 16 x 16 points and at its corners."""
        x, y, w, h = box_xywh
        return covered([self.corners], box_xywh) > 0 or any(
            x <= at_x <= x + w and y <= at_y <= y + h for at_x, at_y in self.corners
        )


def parse_polygon(words: str, option: str) -> Polygon:
    """Corners of 'x,y x,y x,y …', fractions 0 to 1; commas also between them. Raises OptionError naming ``option``."""
    corners = _corners(words)
    highest = max((at for corner in corners for at in corner), default=0.0)
    if len(corners) >= 3 and 2.0 <= highest < math.inf:
        raise OptionError(f"{option} {words!r}: {_too_high(corners, highest)}")
    if not 3 <= len(corners) <= MAX_CORNERS or not all(0.0 <= at <= 1.0 for corner in corners for at in corner):
        raise OptionError(f"{option} {words!r}: give three corners or more as 'x,y x,y x,y', fractions from 0 to 1")
    if area(corners) < 1e-6:
        raise OptionError(f"{option} {words!r}: these corners enclose nothing; give them in order around the area")
    return corners


def _corners(words: str) -> Polygon:
    """Return the pairs of numbers in some words; none where it is in doubt which belong together."""
    groups = [part.removeprefix(",").removesuffix(",") for part in words.split() if part != ","]
    try:
        numbers = [[float(number) for number in group.split(",")] for group in groups]
    except ValueError:
        return ()
    singles = all(len(each) == 1 for each in numbers) and len(numbers) % 2 == 0
    if not singles and any(len(each) % 2 for each in numbers):
        return ()
    flat = [number for each in numbers for number in each]
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _too_high(corners: Polygon, highest: float) -> str:
    if highest > 100.0:
        return "these look like pixels; give fractions from 0 to 1: each x by the picture's width, each y by its height"
    better = " ".join(f"{x / 100:.4g},{y / 100:.4g}" for x, y in corners[:MAX_CORNERS])
    return f"these look like percent; give fractions from 0 to 1: '{better}'"


def parse_masks(words: Sequence[str]) -> tuple[Polygon, ...]:
    """Return the polygons of ``--mask``. Raises OptionError where they are none, or leave nothing to look at."""
    masks = tuple(parse_polygon(each, "--mask") for each in words)
    if masks and covered(masks, (0.0, 0.0, 1.0, 1.0)) == 1.0:
        raise OptionError("--mask: together the masks cover the whole picture and leave nothing to look at")
    return masks


def parse_zones(words: Sequence[str], option: str = "--zone") -> tuple[Zone, ...]:
    """Return the zones of ``--zone``; those without a name are zone, zone-2 and so on. Raises OptionError."""
    zones: list[Zone] = []
    for each in words:
        zone, number = parse_zone(each, option), 1
        named = "=" in each
        if named and zone.name in {other.name for other in zones}:
            raise OptionError(f"{option}: two zones are called {zone.name}; give each a name of its own")
        while zone.name in {other.name for other in zones}:
            number += 1
            zone = Zone(f"zone-{number}", zone.corners)
        zones.append(zone)
    return tuple(zones)


def parse_zone(words: str, option: str = "--zone") -> Zone:
    """Return a zone of 'NAME=x,y x,y x,y …', or of the corners alone. Raises OptionError."""
    name, equals, corners = words.rpartition("=")
    name = name.strip()
    if equals and not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise OptionError(
            f"{option} {words!r}: {name!r} is no name for a zone; a letter first, then letters, digits, - and _"
        )
    return Zone(name or "zone", parse_polygon(corners, option))


def area(corners: Polygon) -> float:
    """Return the area a polygon encloses, as a share of the frame (shoelace formula)."""
    pairs = zip(corners, (*corners[1:], corners[0]), strict=True)
    return abs(math.fsum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def contains(corners: Polygon, point: tuple[float, float]) -> bool:
    """Return True if a point lies in a polygon (even-odd rule); a point past the frame's edge counts as on the edge."""
    x, y = (min(max(at, 0.0), 1.0) for at in point)
    # On the frame's very edge the rule would be up to rounding.
    x, y = min(max(x, 1e-9), 1.0 - 1e-9), min(max(y, 1e-9), 1.0 - 1e-9)
    odd = False
    for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            odd = not odd
    return odd


def drawn(polygons: Sequence[Polygon], size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels of a picture of this size have their centre in one of the polygons: bool (H, W)."""
    width, height = size_wh
    xs, ys = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return _grid(polygons, xs, ys)


def covered(polygons: Sequence[Polygon], box_xywh: BoxXYWH) -> float:
    """Return the share of a box that polygons cover together, 0 to 1, judged on a grid of 16 x 16 points."""
    x, y, w, h = box_xywh
    steps = (np.arange(16) + 0.5) / 16
    return float(np.mean(_grid(polygons, x + w * steps, y + h * steps)))


def _grid(polygons: Sequence[Polygon], xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``contains`` for every point of a grid, by any of the polygons: bool (len(ys), len(xs))."""
    found = np.zeros((len(ys), len(xs)), bool)
    for corners in polygons:
        odd = np.zeros_like(found)
        for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            rows = np.flatnonzero((y0 > ys) != (y1 > ys))
            if len(rows):
                odd[rows] ^= xs < ((x1 - x0) * (ys[rows] - y0) / (y1 - y0) + x0)[:, None]
        found |= odd
    return found


class PrivacyMask:
    """Hides what masks cover, whatever picture, crop or window reaches into it; ``fill`` is its grey level."""

    def __init__(self, masks: Sequence[Polygon], fill: int = GREY) -> None:
        self.masks = tuple(masks)
        self.fill = fill
        self._seen: NDArray[np.uint8] | None = None  # (H, W), 0 where something is hidden

    def __call__(self, image: Picture, rect: tuple[int, int, int, int] | None = None) -> Picture:
        """Return the picture (H, W, 3), or a copy of its rectangle (left, top, width, height in pixels), masked.

        A whole picture is copied only where there are masks.
        """
        if rect is None and not self.masks:
            return image
        height, width = image.shape[:2]
        x, y, w, h = rect or (0, 0, width, height)
        part = image[y : y + h, x : x + w]
        if not self.masks:
            return part.copy()
        seen = self._seen  # may be called from two threads
        if seen is None or seen.shape != (height, width):
            seen = self._seen = (~drawn(self.masks, (width, height))).astype(np.uint8)
        return np.asarray(cv2.copyTo(part, seen[y : y + h, x : x + w], np.full_like(part, self.fill)), np.uint8)
