"""Boxes, words, zones and masks on a copy of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import combining, normalize

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.zones import Polygon, Zone, contains
from edge.detect.zones import drawn as covering
from edge.schema import BoxXYWH, Picture

# Words on a picture: in letters that OpenCV has, each on a plate of its colour, none over another.


Colour = tuple[int, int, int]  # BGR, 0 to 255
Corners = tuple[int, int, int, int]  # left, top, right, bottom in pixels

FONT = cv2.FONT_HERSHEY_SIMPLEX
ASCII = str.maketrans({"–": "-", "—": "-", "·": "-", "×": "x", "…": "...", "\u2009": " ", "’": "'"})
Places = Callable[[tuple[int, int]], Iterable[Corners]]  # the places for words of a width and height, the best first

GRID = 12  # places tried along each side of a zone where none at its corners is free


def plain(words: str) -> str:
    """Return words in the letters that OpenCV has: an accent is dropped, what is left over is a question mark."""
    letters = "".join(sign for sign in normalize("NFKD", words.translate(ASCII)) if not combining(sign))
    return letters.encode("ascii", "replace").decode()


class Lettering:
    """Writes on a picture (H, W, 3) BGR in place; the first caller chooses first where its words go."""

    def __init__(self, picture: Picture, scale: float) -> None:
        self.picture = picture
        self.scale = scale  # of the font
        self.size_wh = picture.shape[1], picture.shape[0]
        self._taken: list[Corners] = []

    def measure(self, words: str) -> tuple[int, int, int]:
        """Width, height and depth below the baseline of words, in pixels."""
        (wide, tall), base = cv2.getTextSize(words, FONT, self.scale, 1)
        return wide, tall, base

    def beside(self, box: Corners, words: str, colour: Colour) -> None:
        """Write words at a box, or nothing if no place beside it is free."""
        self._put(words, colour, lambda wh: around(box, wh, self.size_wh))

    def within(self, polygon: Polygon, words: str, colour: Colour) -> None:
        """Write a polygon's name at one of its corners, inside it if possible, else where there is room."""
        self._put(words, colour, lambda wh: within(polygon, wh, self.size_wh))

    def band(self, top: int, height: int) -> None:
        """Darken a band over the whole width and keep it free: light words on it read on snow and at night alike."""
        self.picture[top : top + height] = self.picture[top : top + height] // 4
        self._taken.append((0, top, self.size_wh[0], top + height))

    def write(self, words: str, at: tuple[int, int]) -> None:
        """White words, whose baseline begins at x, y in pixels."""
        cv2.putText(self.picture, words, at, FONT, self.scale, (255, 255, 255), 1, cv2.LINE_AA)

    def _put(self, words: str, colour: Colour, places: Places) -> None:
        words = plain(words)
        wide, tall, base = self.measure(words)
        place = first_free(places((wide, tall + base)), self._taken)
        if not words or place is None:
            return
        left, top, right, bottom = place
        cv2.rectangle(self.picture, (left, top), (right, bottom), colour, -1)
        corner = (left, bottom - base + base // 2)
        cv2.putText(self.picture, words, corner, FONT, self.scale, (0, 0, 0), 1, cv2.LINE_AA)
        self._taken.append(place)


def first_free(places: Iterable[Corners], taken: Sequence[Corners]) -> Corners | None:
    """Return the first place that lies over none of those taken; None where there is none."""
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), None)


def around(box: Corners, words_wh: tuple[int, int], picture_wh: tuple[int, int]) -> Iterator[Corners]:
    """Yield where words may go beside a box.

    Above it, else inside it at the top, below it, or inside it at the bottom; at its left side, else at its right.
    """
    (left, top, right, bottom), (wide, tall), (width, height) = box, words_wh, picture_wh
    for y in (top - tall, top, bottom, bottom - tall):
        for x in (left, right - wide):
            x = max(0, min(x, width - 1 - wide))
            if y >= 0 and y + tall < height:
                yield x, y, x + wide, y + tall


def within(polygon: Polygon, words_wh: tuple[int, int], picture_wh: tuple[int, int]) -> Iterator[Corners]:
    """Yield where a polygon's name may go, the best first: places whose middle is inside it before others."""
    (wide, tall), (width, height) = words_wh, picture_wh
    xs, ys = (
        [round(at * side) for at in axis] for axis, side in zip(zip(*polygon, strict=True), picture_wh, strict=True)
    )
    gap = max(2, tall // 4)
    spots = [
        (x + dx, y + dy) for x, y in zip(xs, ys, strict=True) for dy in (gap, -tall - gap) for dx in (gap, -wide - gap)
    ]
    steps = range(GRID + 1)
    spots += [
        (min(xs) + (max(xs) - min(xs)) * i // GRID - wide // 2, min(ys) + (max(ys) - min(ys)) * j // GRID - tall // 2)
        for j in steps
        for i in steps
    ]
    places = [
        (x, y, x + wide, y + tall) for x, y in spots if x >= 0 and y >= 0 and x + wide < width and y + tall < height
    ]
    yield from sorted(
        places, key=lambda p: not contains(polygon, ((p[0] + p[2]) / 2 / width, (p[1] + p[3]) / 2 / height))
    )


def _overlap(one: Corners, other: Corners) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


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
    """Return a copy of the picture with masks, zones, boxes and a caption along the lower edge.

    Later marks lie over earlier ones and choose first where their words go; after the last one come the names of
    the zones. Words that find no free place are omitted. ``legend`` names the colours of boxes; with one, zones and
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
    height, width = shape_hw
    return np.asarray(np.add.outer(np.arange(height), np.arange(width)) % (12 * line) < line)


def _outline(drawn: Picture, polygon: Polygon, line: int) -> None:
    """Draw a zone: its area tinted, its edge in colour upon a darker one."""
    height, width = drawn.shape[:2]
    corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in polygon]).round().astype(np.int32)
    inside = covering([polygon], (width, height))
    drawn[inside] = (drawn[inside] * (1 - TINT) + np.array(ZONE) * TINT).astype(np.uint8)
    for colour, thick in ((OVER, 3 * line + 2), (ZONE, 2 * line)):
        cv2.polylines(drawn, [corners], isClosed=True, color=colour, thickness=thick, lineType=cv2.LINE_AA)


def _foot(words: Lettering, caption: str, legend: Sequence[tuple[str, Colour]]) -> None:
    """Draw the caption along the lower edge, and the legend at its right, or above it if there is no room."""
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
