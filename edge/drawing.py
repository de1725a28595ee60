"""Boxes, words and outlines on a copy of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.schema import BoxXYWH, Picture

Colour = tuple[int, int, int]  # BGR, 0 to 255
Zone = Sequence[tuple[float, float]]  # corners x, y as fractions of the frame

ALARM: Colour = (60, 60, 255)
MOVING: Colour = (0, 200, 255)
TILE: Colour = (190, 190, 190)
ZONE: Colour = (255, 180, 60)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Mark:
    """A box to draw, with a few words at its corner."""

    box_xywh: BoxXYWH
    words: str
    colour: Colour
    bold: bool = False


def annotate(image: Picture, marks: Sequence[Mark], caption: str = "", zones: Sequence[Zone] = ()) -> Picture:
    """A copy of the picture with zones, boxes and a caption along the lower edge."""
    drawn = image.copy()
    height, width = image.shape[:2]
    scale = max(0.35, min(width, height) / 1100)
    line = max(1, round(scale * 2))
    for zone in zones:
        corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in zone]).round().astype(np.int32)
        cv2.polylines(drawn, [corners], isClosed=True, color=ZONE, thickness=line, lineType=cv2.LINE_AA)
    for mark in marks:
        x, y, w, h = mark.box_xywh
        left, top = round(x * width), round(y * height)
        right, bottom = min(round((x + w) * width), width - 1), min(round((y + h) * height), height - 1)
        cv2.rectangle(drawn, (left, top), (right, bottom), mark.colour, line * (2 if mark.bold else 1))
        if mark.words:
            _words(drawn, mark.words, (left, top), mark.colour, scale)
    if caption:
        (_, tall), base = cv2.getTextSize(caption, FONT, scale, 1)
        band = min(height, tall + 2 * base)
        # A caption on a darkened band reads on snow and at night alike.
        drawn[height - band :] = drawn[height - band :] // 4
        cv2.putText(drawn, caption, (base, height - base), FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn


def _words(picture: Picture, words: str, corner_xy: tuple[int, int], colour: Colour, scale: float) -> None:
    """Words on a patch of their own colour above the corner, or below it at the picture's top."""
    (wide, tall), base = cv2.getTextSize(words, FONT, scale, 1)
    left = max(0, min(corner_xy[0], picture.shape[1] - wide))
    top = corner_xy[1] - tall - base if corner_xy[1] >= tall + base else corner_xy[1]
    cv2.rectangle(picture, (left, top), (left + wide, top + tall + base), colour, -1)
    cv2.putText(picture, words, (left, top + tall + base // 2), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
