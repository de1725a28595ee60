"""Boxes, words, zones and masks on a copy of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.lettering import Colour, Corners, Lettering, plain
from edge.schema import BoxXYWH, Picture
from edge.zones import Polygon, Zone
from edge.zones import drawn as covering

ALARM: Colour = (60, 60, 255)  # red
MOVING: Colour = (0, 200, 255)  # yellow
FOUND: Colour = (190, 190, 190)  # grey
ZONE: Colour = (255, 180, 60)  # blue
HATCH: Colour = (125, 125, 125)
TINT = 0.15  # of its colour in a zone
OVER = (0, 0, 0)  # what a zone's line lies on, so that it shows on a sky as on a shadow


@dataclass(frozen=True)
class Mark:
    """A box to draw, with a few words at its corner."""

    box_xywh: BoxXYWH
    words: str
    colour: Colour
    bold: bool = False


def annotate(
    image: Picture,
    marks: Sequence[Mark],
    caption: str = "",
    zones: Sequence[Zone] = (),
    masks: Sequence[Polygon] = (),
    legend: Sequence[tuple[str, Colour]] = (),
) -> Picture:
    """A copy of the picture with masks, zones, boxes and a caption along the lower edge.

    Later marks lie over earlier ones and choose first where their words stand; after the last one come the names of
    the zones. Words that find no free place are left out. ``legend`` names the colours of boxes; with one, zones and
    masks are named in it as well.
    """
    drawn = image.copy()
    height, width = image.shape[:2]
    scale = max(0.35, min(width, height) / 1100)
    line = max(1, round(scale * 2))
    if masks:
        hidden = covering(masks, (width, height))
        drawn[hidden] = drawn[hidden] // 3
        drawn[hidden & _stripes(hidden.shape, line)] = HATCH
    for zone in zones:
        _outline(drawn, zone.corners, line)
    boxes = [_in_pixels(mark.box_xywh, width, height) for mark in marks]
    for mark, (left, top, right, bottom) in zip(marks, boxes, strict=True):
        cv2.rectangle(drawn, (left, top), (right, bottom), mark.colour, line * (2 if mark.bold else 1))
    words = Lettering(drawn, scale)
    if legend:
        legend = [*legend, *([("zone", ZONE)] if zones else []), *([("mask", HATCH)] if masks else [])]
    _foot(words, plain(caption), legend)
    labelled = [(mark, box) for mark, box in zip(reversed(marks), reversed(boxes), strict=True) if mark.words]
    for mark, box in labelled[:1]:
        words.beside(box, mark.words, mark.colour)
    for zone in zones:
        words.within(zone.corners, zone.name, ZONE)
    for mark, box in labelled[1:]:
        words.beside(box, mark.words, mark.colour)
    return drawn


def _stripes(shape_hw: tuple[int, ...], line: int) -> NDArray[np.bool_]:
    """Slanting stripes: bool (H, W)."""
    height, width = shape_hw
    return np.asarray(np.add.outer(np.arange(height), np.arange(width)) % (12 * line) < line)


def _outline(drawn: Picture, polygon: Polygon, line: int) -> None:
    """A zone: its area tinted, its edge in colour upon a darker one."""
    height, width = drawn.shape[:2]
    corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in polygon]).round().astype(np.int32)
    inside = covering([polygon], (width, height))
    drawn[inside] = (drawn[inside] * (1 - TINT) + np.array(ZONE) * TINT).astype(np.uint8)
    for colour, thick in ((OVER, 3 * line + 2), (ZONE, 2 * line)):
        cv2.polylines(drawn, [corners], isClosed=True, color=colour, thickness=thick, lineType=cv2.LINE_AA)


def _foot(words: Lettering, caption: str, legend: Sequence[tuple[str, Colour]]) -> None:
    """The caption along the lower edge, and the legend at its right, or above it where that has no room."""
    width, height = words.size_wh
    wide, tall, base = words.measure(caption or "0")
    band = min(height, tall + 2 * base)
    if caption:
        words.band(height - band, band)
        words.write(caption, (base, height - base))
    needed = sum(words.measure(name)[0] + tall + 3 * base for name, _ in legend)
    if not legend or needed > width:
        return
    bottom = height if needed + wide + 3 * base <= width or not caption else height - band
    if bottom != height or not caption:
        words.band(bottom - band, band)
    left = width - needed
    for name, colour in legend:
        box = (left, bottom - base - tall), (left + tall, bottom - base)
        cv2.rectangle(words.picture, *box, colour, max(1, tall // 8))
        if colour == HATCH:
            cv2.line(words.picture, (box[0][0], box[1][1]), (box[1][0], box[0][1]), colour, max(1, tall // 8))
        words.write(name, (left + tall + base, bottom - base))
        left += words.measure(name)[0] + tall + 3 * base


def _in_pixels(box_xywh: BoxXYWH, width: int, height: int) -> Corners:
    x, y, w, h = box_xywh
    right, bottom = min(round((x + w) * width), width - 1), min(round((y + h) * height), height - 1)
    return round(x * width), round(y * height), right, bottom
