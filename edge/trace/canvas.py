"""A tiny drawing surface with two backends, SVG and pixels, so that a plot is laid out once.

Coordinates are units with the origin at the top left; one unit is one pixel of the SVG and ``SCALE`` of the PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.drawing import FONT, plain
from edge.schema import Picture

Point = tuple[float, float]  # x, y
Colour = str  # #rrggbb
Anchor = Literal["start", "middle", "end"]

SCALE = 2  # pixels of the PNG a unit: sharp on paper and on dense screens
CAPITALS_PX = 21.0  # height of that font's capitals at scale 1


class Canvas(Protocol):
    """What a plot draws on."""

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0, *, dashed: bool = False) -> None:
        """A line through the points."""

    def area(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """A filled polygon."""

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""

    def words(
        self, at: Point, words: str, size: float = 12.0, colour: Colour = "#222222", anchor: Anchor = "start",
        *, bold: bool = False,
    ) -> None:  # fmt: skip
        """One line of words; ``at`` is on its baseline."""

    def width(self, words: str, size: float = 12.0) -> float:
        """About how wide these words come out."""

    def finished(self) -> bytes:
        """The file's content."""


class SvgCanvas:
    """Draws into an SVG document that needs nothing beside it; ``title`` is read to those who cannot see it."""

    def __init__(self, width: int, height: int, title: str) -> None:
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        fonts = "system-ui, 'DejaVu Sans', Arial, sans-serif"
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{fonts}">',
            f"<title>{_text(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0, *, dashed: bool = False) -> None:
        """A line through the points."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dashes}/>'
        )

    def area(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """A filled polygon."""
        self._parts.append(f'<polygon points="{_points(points)}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}" fill="{colour}"/>')

    def words(
        self, at: Point, words: str, size: float = 12.0, colour: Colour = "#222222", anchor: Anchor = "start",
        *, bold: bool = False,
    ) -> None:  # fmt: skip
        """One line of words; ``at`` is on its baseline."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="{size:g}" fill="{colour}" '
            f"text-anchor={quoteattr(anchor)}{weight}>{_text(words)}</text>"
        )

    def width(self, words: str, size: float = 12.0) -> float:
        """About how wide these words come out: fonts differ."""
        return 0.56 * size * len(words)

    def finished(self) -> bytes:
        """The document in UTF-8."""
        return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(self._parts) + "\n</svg>\n").encode()


class PixelCanvas:
    """Draws into a picture, ``uint8 (SCALE*height, SCALE*width, 3)`` BGR, that becomes a PNG."""

    SHIFT = 4  # OpenCV's fractional bits, so that lines lie where they should between pixels

    def __init__(self, width: int, height: int) -> None:
        self.picture: Picture = np.full((height * SCALE, width * SCALE, 3), 255, np.uint8)

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0, *, dashed: bool = False) -> None:
        """A line through the points."""
        thick = max(1, round(width * SCALE))
        pieces = _dashes(points) if dashed else [points]
        lines = [self._pixels(piece) for piece in pieces]
        cv2.polylines(self.picture, lines, False, _bgr(colour), thick, cv2.LINE_AA, self.SHIFT)

    def area(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """A filled polygon."""
        over = self.picture.copy() if opacity < 1 else self.picture
        cv2.fillPoly(over, [self._pixels(points)], _bgr(colour), cv2.LINE_AA, self.SHIFT)
        if opacity < 1:
            cv2.addWeighted(over, opacity, self.picture, 1 - opacity, 0, self.picture)

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        fine = SCALE << self.SHIFT
        centre = (round(at[0] * fine), round(at[1] * fine))
        cv2.circle(self.picture, centre, round(radius * fine), _bgr(colour), -1, cv2.LINE_AA, self.SHIFT)

    def words(
        self, at: Point, words: str, size: float = 12.0, colour: Colour = "#222222", anchor: Anchor = "start",
        *, bold: bool = False,
    ) -> None:  # fmt: skip
        """One line of words; ``at`` is on its baseline."""
        left = at[0] - self.width(words, size) * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        corner = (round(left * SCALE), round(at[1] * SCALE))
        thick = max(1, round(SCALE * size / 12 * (1.2 if bold else 0.6)))
        cv2.putText(self.picture, plain(words), corner, FONT, _font_scale(size), _bgr(colour), thick, cv2.LINE_AA)

    def width(self, words: str, size: float = 12.0) -> float:
        """How wide these words come out."""
        return float(cv2.getTextSize(plain(words), FONT, _font_scale(size), 1)[0][0]) / SCALE

    def finished(self) -> bytes:
        """The picture as PNG."""
        return cv2.imencode(".png", self.picture)[1].tobytes()

    def _pixels(self, points: Sequence[Point]) -> NDArray[np.int32]:
        return (np.array(points) * (SCALE << self.SHIFT)).round().astype(np.int32)


def _dashes(points: Sequence[Point]) -> list[list[Point]]:
    """A line cut into dashes of 5 units with gaps of 4."""
    dashes: list[list[Point]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = float(np.hypot(x1 - x0, y1 - y0))
        for start in np.arange(0.0, length, 9.0):
            ends = (float(start) / length, min(float(start) + 5.0, length) / length)
            dashes.append([(x0 + (x1 - x0) * end, y0 + (y1 - y0) * end) for end in ends])
    return dashes


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(words: str) -> str:
    """Words as XML takes them: no control characters, no halves of a character."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in words)
    return escape(printable.encode("utf-8", "replace").decode())


def _bgr(colour: Colour) -> tuple[int, int, int]:
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)


def _font_scale(size: float) -> float:
    return size * 0.72 * SCALE / CAPITALS_PX
