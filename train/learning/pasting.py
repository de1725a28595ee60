"""Bears cut out of their pictures and pasted onto frames of cameras that never saw one.

"Cut, paste and learn" (Dwibedi et al. 2017); outlines by GrabCut (Rother et al. 2004) from the boxes. The place's own
background is what such copies are worth most on (WildFit, 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import BoxXYWH, Picture
from train.catalog.picture import Picture as Row
from train.learning.field import grey

SIDE_PX = 260  # of a cut-out's longer side, at most
FEWEST_PX = 60  # of a bear's longer side: the outline of a smaller one is a guess
LARGEST = 0.92  # of the picture: around a larger bear is nothing to tell it from
MARGIN = 0.12  # of the box, around it: GrabCut learns the background there
FILLED = 0.35, 0.97  # of its box: an outline outside of this is no bear's
ROUNDS = 4
GREY = 3.0  # mean difference of blue and red, grey levels, below which a place is grey or infrared
PARTIAL, HIDDEN = 0.35, 0.35  # shares of the pasted bears that the rim cuts, and that stand behind grass


@dataclass(frozen=True, eq=False)
class Cutout:
    """A bear without its surroundings."""

    pixels: Picture  # (h, w, 3) BGR
    mask: NDArray[np.uint8]  # (h, w), 1 where the bear is


def cut_out(image: Picture, box_xywh: BoxXYWH) -> Cutout | None:
    """Cut the bear of a box out of its picture; None where no outline is to be trusted."""
    height, width = image.shape[:2]
    x, y, w, h = (np.array(box_xywh) * (width, height, width, height)).tolist()
    if max(w, h) < FEWEST_PX or w * h > LARGEST * width * height:
        return None
    left, top = int(max(0, x - MARGIN * w)), int(max(0, y - MARGIN * h))
    right, bottom = int(min(width, x + w * (1 + MARGIN))), int(min(height, y + h * (1 + MARGIN)))
    part = image[top:bottom, left:right]
    scale = min(1.0, SIDE_PX / max(part.shape[:2]))
    part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    inside = [int((x - left) * scale), int((y - top) * scale), int(w * scale), int(h * scale)]
    mask = np.zeros(part.shape[:2], np.uint8)
    try:
        cv2.grabCut(part, mask, inside, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_RECT)
    except cv2.error:  # the box leaves no background, or all is of one colour
        return None
    bear = cv2.morphologyEx(mask & 1, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(bear)
    if count < 2:
        return None
    bear = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    low, high = FILLED
    if not low < bear.sum() / max(inside[2] * inside[3], 1) < high:
        return None
    x0, y0, w0, h0 = cv2.boundingRect(bear)
    return Cutout(part[y0 : y0 + h0, x0 : x0 + w0].copy(), bear[y0 : y0 + h0, x0 : x0 + w0].copy())


def cutouts(rows: Iterable[Row]) -> Iterator[Cutout]:
    """Cut out every boxed bear whose outline can be trusted."""
    for row in rows:
        try:
            image = read_picture(row.file)
        except PictureError:  # left out and said when the pictures were read
            continue
        yield from (found for box in row.boxes if (found := cut_out(image, box)) is not None)


def paste(place: Picture, bear: Cutout, longer_px: float, rng: np.random.Generator) -> tuple[Picture, BoxXYWH]:
    """Paste a bear, ``longer_px`` long, into a copy of the place, in its own light; return both it and its box."""
    pixels, mask = _part(bear, rng)
    height, width = place.shape[:2]
    scale = longer_px / max(mask.shape)
    w, h = (min(max(4, int(side * scale)), most) for side, most in ((mask.shape[1], width), (mask.shape[0], height)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fur = cv2.resize(pixels, (w, h), interpolation=how).astype(np.float32)
    alpha = cv2.resize(mask.astype(np.float32), (w, h), interpolation=how)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 1.4))
    x = int(rng.integers(0, width - w + 1))
    y = int(np.clip(rng.normal(0.62, 0.2) * height - h / 2, 0, height - h))  # mostly on the ground
    fur = _in_light_of(place, fur, alpha > 0.5, rng)
    shown = place.copy()
    under = shown[y : y + h, x : x + w].astype(np.float32)
    shown[y : y + h, x : x + w] = np.clip(under + alpha[..., None] * (fur - under), 0, 255).astype(np.uint8)
    if rng.random() < HIDDEN:
        _grow_grass(shown, place, (x, y, w, h), rng)
    return shown, (x / width, y / height, w / width, h / height)


def _part(bear: Cutout, rng: np.random.Generator) -> tuple[Picture, NDArray[np.uint8]]:
    """Return the bear from either side, or what a rim leaves of it."""
    pixels, mask = bear.pixels, bear.mask
    if rng.random() < 0.5:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
    if rng.random() < PARTIAL:
        share, axis = rng.uniform(0.45, 0.9), int(rng.integers(2))
        start = int(rng.uniform(0, mask.shape[axis] * (1 - share)))
        kept = slice(start, start + max(2, int(mask.shape[axis] * share)))
        pixels, mask = (pixels[kept], mask[kept]) if axis == 0 else (pixels[:, kept], mask[:, kept])
    return np.ascontiguousarray(pixels), np.ascontiguousarray(mask)


def _in_light_of(
    place: Picture, fur: NDArray[np.float32], inside: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Move a bear's level, contrast and tint towards the place's; grey, and dark or bright, where the place is grey."""
    scene = place[::8, ::8].reshape(-1, 3).astype(np.float32)
    infrared = np.abs(scene[:, 0] - scene[:, 2]).mean() < GREY
    if infrared:
        fur = grey(fur)
    if not inside.any():
        return fur
    level, spread = fur[inside].mean(), fur[inside].std() + 1
    if infrared:
        goal = scene.mean() * rng.uniform(0.5, 1.7)  # fur is dark or bright in infrared, whatever it is by day
    else:
        goal = 0.5 * level + 0.5 * min(level, scene.mean()) * rng.uniform(0.5, 1.1)
    gain = np.clip(rng.uniform(0.6, 1.1) * scene.std() / spread, 0.45, 1.3)
    fur = np.clip((fur - level) * gain + np.clip(goal, 8, 235), 0, 255)
    tint = np.ones(3) if infrared else scene.mean(0) / max(scene.mean(), 1)
    return np.asarray(fur * (1 + 0.5 * (tint - 1)), np.float32)


def _grow_grass(shown: Picture, place: Picture, at: Sequence[int], rng: np.random.Generator) -> None:
    """Put upright strips of the place in front of the bear, in place."""
    x, y, w, h = at
    width = place.shape[1]
    for _ in range(int(rng.integers(2, 10))):
        blade, top = max(1, int(w * rng.uniform(0.01, 0.06))), y + h - int(h * rng.uniform(0.2, 0.9))
        left, whence = x + int(rng.integers(0, w)), int(rng.integers(0, max(width - blade, 1)))
        blade = min(blade, width - left, width - whence)
        shown[top : y + h, left : left + blade] = place[top : y + h, whence : whence + blade]
