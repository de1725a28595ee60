"""The map of the fleet: where its devices are, as one drawing without tiles. Nothing is fetched for it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.fleet.devices import Device

WIDTH, HEIGHT = 800.0, 560.0  # units of the drawing
PHONE = 320.0, 400.0  # of that for a phone
MARGIN = 70.0  # for names, the scale and the arrow; at the sides at most an eighth of the width
LEAST_KM = 1.0  # across the drawing
KM_A_DEGREE = 111.2  # of latitude
MAX_DOTS = 2000
FAR, FAR_KM = 10.0, 1000.0  # so many times the distance of most devices from the middle, and at least so many km
CELL = 8.0  # names are placed by cells of this size
FONT = 14.0
DOT = 9.0  # half of its size


@dataclass(frozen=True)
class Dot:
    """A device on the map; ``label``: its name at ``label_x``, ``label_y``, or "" where there is no room."""

    device: Device
    x: float
    y: float
    label: str
    label_x: float = 0.0
    label_y: float = 0.0


@dataclass(frozen=True)
class Map:
    """The drawing: its size, the dots, the bar of the scale with its length and words, and who is not drawn.

    Lengths are in its own units. ``far``: devices far beyond the others, with their distance in km; ``beyond``: how
    many have no room.
    """

    size: tuple[float, float]
    dots: list[Dot]
    far: list[tuple[Device, float]]
    bar: float
    bar_words: str
    beyond: int


def draw(devices: Sequence[Device], width: float = WIDTH, height: float = HEIGHT) -> Map | None:
    """Return the map of the devices that say where they are, the first ones' names first; None where none does.

    The projection is equirectangular, true to scale in the middle. Longitudes are cut at their widest gap, so that
    devices on both sides of the antimeridian are neighbours.
    """
    placed = [(each, each.site.latitude, each.site.longitude) for each in devices if each.site]
    if not placed:
        return None
    distances = _distances([(latitude, longitude) for _, latitude, longitude in placed])
    # One in ten, and one of three, may be far away without the scale of the map being theirs.
    most = math.inf if len(placed) < 3 else max(FAR_KM, FAR * sorted(distances)[(len(placed) - 1) * 9 // 10])
    far = [(device, km) for (device, _, _), km in zip(placed, distances, strict=True) if km > most]
    near = [each for each, km in zip(placed, distances, strict=True) if km <= most]
    shown = near[:MAX_DOTS]
    west = _west_of([longitude for _, _, longitude in shown])
    middle = (min(each[1] for each in shown) + max(each[1] for each in shown)) / 2
    narrow = max(math.cos(math.radians(middle)), 0.01)
    flat = [
        ((longitude % 360.0 - west) % 360.0 * narrow * KM_A_DEGREE, -each * KM_A_DEGREE) for _, each, longitude in shown
    ]
    (left, right), (top, low) = ((min(side), max(side)) for side in zip(*flat, strict=True))
    room = width - 2 * min(MARGIN, width / 8), height - 2 * MARGIN
    scale = min(room[0] / max(right - left, LEAST_KM), room[1] / max(low - top, LEAST_KM))  # units a kilometre
    points = [
        (width / 2 + (x - (left + right) / 2) * scale, height / 2 + (y - (top + low) / 2) * scale) for x, y in flat
    ]
    length = _round_km(0.25 * width / scale)
    words = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    names = [each.name for each, _, _ in shown]
    dots = [
        Dot(device, round(x, 1), round(y, 1), *label)
        for (device, _, _), (x, y), label in zip(shown, points, _labels(names, points, width, height), strict=True)
    ]
    return Map((width, height), dots, far, round(length * scale, 1), words, len(near) - len(shown))


def _distances(places: Sequence[tuple[float, float]]) -> list[float]:
    """Return how far each place, in degrees, is from the middle one of them, in km: the haversine formula."""
    west = _west_of([longitude for _, longitude in places])
    latitude = math.radians(median(each for each, _ in places))
    longitude = math.radians(west + median((each - west) % 360.0 for _, each in places))
    found = []
    for there in ((math.radians(north), math.radians(east)) for north, east in places):
        north, east = there[0] - latitude, there[1] - longitude
        part = math.sin(north / 2) ** 2 + math.cos(latitude) * math.cos(there[0]) * math.sin(east / 2) ** 2
        found.append(math.degrees(2 * math.asin(min(1.0, math.sqrt(part)))) * KM_A_DEGREE)
    return found


def _west_of(longitudes: Sequence[float]) -> float:
    """Return the longitude east of which all lie with the widest gap behind them."""
    around = sorted(each % 360.0 for each in longitudes)
    gaps = [(east - west) % 360.0 for west, east in zip([around[-1], *around], around, strict=False)]
    return around[gaps.index(max(gaps))]


def _round_km(most: float) -> float:
    """Return the longest of 1, 2 and 5 times a power of ten that is not over it."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(each * power for each in (5, 2, 1) if each * power <= most or each == 1)


def _labels(
    names: Sequence[str], points: Sequence[tuple[float, float]], width: float, height: float
) -> list[tuple[str, float, float]]:
    """Return for each name itself and where it begins: right of its dot, left, above or below, else nothing.

    None lies over another name or a dot.
    """
    taken = _cells(0, height - 50, 0.3 * width, 50) | _cells(width - 50, 0, 50, 80)  # the scale and the arrow
    for x, y in points:
        taken |= _cells(x - DOT, y - DOT, 2 * DOT, 2 * DOT)
    found = []
    for name, (x, y) in zip(names, points, strict=True):
        wide = FONT * sum(1.0 if unicodedata.east_asian_width(each) in "WF" else 0.6 for each in name)
        gap = 2 * CELL
        beside, over = y + FONT / 3, x - wide / 2
        spots = (x + gap, beside), (x - gap - wide, beside), (over, y - gap), (over, y + gap + FONT)
        label = "", 0.0, 0.0
        for left, base in spots:
            cells = _cells(left, base - FONT, wide, FONT * 1.3)
            if left >= 0 and left + wide <= width and not cells & taken:
                taken |= cells
                label = name, round(left, 1), round(base, 1)
                break
        found.append(label)
    return found


def _cells(left: float, top: float, width: float, height: float) -> set[tuple[int, int]]:
    columns = range(math.floor(left / CELL), math.floor((left + width) / CELL) + 1)
    rows = range(math.floor(top / CELL), math.floor((top + height) / CELL) + 1)
    return {(column, row) for column in columns for row in rows}
