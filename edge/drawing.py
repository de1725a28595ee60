"""Boxes, words and outlines on a copy of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.schema import BoxXYWH, Picture
from edge.zones import Polygon
from edge.zones import drawn as covering

Colour = tuple[int, int, int]  # BGR, 0 to 255
Corners = tuple[int, int, int, int]  # left, top, right, bottom in pixels

ALARM: Colour = (60, 60, 255)  # red
MOVING: Colour = (0, 200, 255)  # yellow
TILE: Colour = (190, 190, 190)  # grey
ZONE: Colour = (255, 180, 60)  # blue
FONT = cv2.FONT_HERSHEY_SIMPLEX


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
    zones: Sequence[Polygon] = (),
    masks: Sequence[Polygon] = (),
) -> Picture:
    """A copy of the picture with zones, masks, boxes and a caption along the lower edge.

    Later marks lie over earlier ones and choose first where their words stand; words that find no free place
    beside their box are left out.
    """
    drawn = image.copy()
    height, width = image.shape[:2]
    scale = max(0.35, min(width, height) / 1100)
    line = max(1, round(scale * 2))
    if masks:
        hidden = covering(masks, (width, height))
        drawn[hidden] = drawn[hidden] // 4  # darkened, so that one sees what is left out
    for zone in zones:
        corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in zone]).round().astype(np.int32)
        cv2.polylines(drawn, [corners], isClosed=True, color=ZONE, thickness=line, lineType=cv2.LINE_AA)
    boxes = [_in_pixels(mark.box_xywh, width, height) for mark in marks]
    for mark, (left, top, right, bottom) in zip(marks, boxes, strict=True):
        cv2.rectangle(drawn, (left, top), (right, bottom), mark.colour, line * (2 if mark.bold else 1))
    taken: list[Corners] = []
    if caption:
        (_, tall), base = cv2.getTextSize(caption, FONT, scale, 1)
        band = min(height, tall + 2 * base)
        # A caption on a darkened band reads on snow and at night alike.
        drawn[height - band :] = drawn[height - band :] // 4
        cv2.putText(drawn, caption, (base, height - base), FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
        taken.append((0, height - band, width, height))
    for mark, box in zip(reversed(marks), reversed(boxes), strict=True):
        if mark.words:
            (wide, tall), base = cv2.getTextSize(mark.words, FONT, scale, 1)
            place = free_place(box, (wide, tall + base), (width, height), taken)
            if place is not None:
                left, top, right, bottom = place
                cv2.rectangle(drawn, (left, top), (right, bottom), mark.colour, -1)
                cv2.putText(
                    drawn, mark.words, (left, bottom - base + base // 2), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA
                )
                taken.append(place)
    return drawn


def free_place(
    box: Corners, words_wh: tuple[int, int], picture_wh: tuple[int, int], taken: Sequence[Corners]
) -> Corners | None:
    """Where words stand beside a box without lying over others: left, top, right, bottom; None where there is no room.

    Above it, else inside it at the top, below it, or inside it at the bottom; at its left side, else at its right.
    """
    (left, top, right, bottom), (wide, tall), (width, height) = box, words_wh, picture_wh
    for y in (top - tall, top, bottom, bottom - tall):
        for x in (left, right - wide):
            x = max(0, min(x, width - 1 - wide))
            place = (x, y, x + wide, y + tall)
            if y >= 0 and y + tall < height and not any(_overlap(place, other) for other in taken):
                return place
    return None


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _in_pixels(box_xywh: BoxXYWH, width: int, height: int) -> Corners:
    x, y, w, h = box_xywh
    right, bottom = min(round((x + w) * width), width - 1), min(round((y + h) * height), height - 1)
    return round(x * width), round(y * height), right, bottom
