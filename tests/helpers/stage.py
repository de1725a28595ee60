"""A place to try the alarm in: the demo's clearing with real cut-outs, in any weather, from a seed.

Rendered weather guards against mistakes in the code; it says nothing of how often a forest cries wolf.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from edge.schema import Frame, Picture
from tests.scenery.cast import Animal, Path2D
from tests.scenery.scenery import clearing

SIZE_WH = (1280, 720)
WALL = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
Weather = Callable[[Picture, float], Picture]  # a picture (H, W, 3) BGR and its time in seconds -> a picture


@functools.lru_cache(maxsize=4)
def place(seed: int = 1, size_wh: tuple[int, int] = SIZE_WH) -> Picture:
    """An empty clearing (H, W, 3)."""
    still, _ = clearing(np.random.default_rng(seed), size_wh, "overcast")
    still = np.asarray(cv2.GaussianBlur(still, (0, 0), 0.7), np.uint8)
    still.setflags(write=False)
    return still


def animal(stamp: str, times_s: Sequence[float], xs: Sequence[float], length_px: float = 200.0) -> Animal:
    """A cut-out that is at the pixel ``xs`` (its middle) at ``times_s``, standing before, between and after."""
    blades = np.full(SIZE_WH[0], 0.2, np.float32)
    foot_y = SIZE_WH[1] * (0.6 + 0.3 * min(length_px / 260, 1.0))
    return Animal(stamp, Path2D(tuple(times_s), tuple(xs)), length_px, foot_y, (0.92, 0.93, 0.92), 0.0, blades)


def bear(arrives_s: float, leaves_s: float, *, x: float = 640.0, length_px: float = 220.0) -> Animal:
    """A bear that walks in from the left in three seconds, stands at ``x`` and walks out to the right."""
    outside = length_px
    times = (arrives_s, arrives_s + 3.0, leaves_s - 3.0, leaves_s)
    return animal("european-bear", times, (-outside, x, x, SIZE_WH[0] + outside), length_px)


def film(
    seconds: float,
    animals: Sequence[Animal] = (),
    weather: Sequence[Weather] = (),
    *,
    fps: float = 10.0,
    start: float = 0.0,
    noise: float = 2.0,
    seed: int = 0,
) -> Iterator[Frame]:
    """Frames of the clearing; ``noise`` is the sensor's standard deviation in grey levels."""
    grains = np.random.default_rng(seed).normal(0, noise, (4, *place().shape[:2], 1)).astype(np.int16)
    for index in range(round(seconds * fps)):
        at = start + index / fps
        picture = place().copy()
        for one in animals:
            one.draw(picture, at)
        for change in weather:
            picture = change(picture, at)
        grain = grains[index % 4]
        if index % 2:
            grain = grain[:, ::-1]
        picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
        yield Frame(picture, at, WALL + timedelta(seconds=at), "yard", index, time.monotonic(), media_time_s=at)


def rain(seed: int = 3, streaks: int = 250) -> Weather:
    """Bright streaks that are elsewhere in each frame."""
    rng = np.random.default_rng(seed)

    def change(picture: Picture, _: float) -> Picture:
        height, width = picture.shape[:2]
        layer = np.zeros((height, width), np.uint8)
        for x, y, length in zip(
            rng.integers(0, width, streaks), rng.integers(0, height, streaks), rng.integers(8, 30, streaks), strict=True
        ):
            cv2.line(layer, (int(x), int(y)), (int(x) + int(length) // 5, int(y) + int(length)), 70, 1)
        return np.asarray(cv2.add(picture, cv2.merge([layer] * 3)), np.uint8)

    return change


def fog(from_s: float, thick: float = 0.75, over_s: float = 20.0) -> Weather:
    """A grey veil that thickens from ``from_s`` on, up to ``thick`` (0 to 1)."""

    def change(picture: Picture, at: float) -> Picture:
        share = thick * min(max((at - from_s) / over_s, 0.0), 1.0)
        return np.asarray(cv2.addWeighted(picture, 1 - share, np.full_like(picture, 190), share, 0), np.uint8)

    return change


def lightning(*flashes_s: float) -> Weather:
    """Two bright frames at each of the times, the place lit from elsewhere."""

    def change(picture: Picture, at: float) -> Picture:
        if not any(flash <= at < flash + 0.2 for flash in flashes_s):
            return picture
        ramp = np.linspace(40, 170, picture.shape[1], dtype=np.int16)[None, :, None]
        return np.clip(picture.astype(np.int16) + ramp, 0, 255).astype(np.uint8)

    return change


def ir_cut(at_s: float, settle_s: float = 1.5) -> Weather:
    """The filter flips: colours go, leaves turn bright, and the exposure takes a moment to settle."""

    def change(picture: Picture, at: float) -> Picture:
        if at < at_s:
            return picture
        green = picture[..., 1].astype(np.float32)
        over = 1.8 - 0.8 * min((at - at_s) / settle_s, 1.0)
        grey = np.clip((0.35 * picture[..., 2] + 0.9 * green) * 0.8 * over, 0, 255)
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)

    return change


def shake(px: float = 4.0, every_s: float = 0.35, from_s: float = 0.0, until_s: float = 1e9) -> Weather:
    """Wind on the pole: the picture sways by some pixels."""

    def change(picture: Picture, at: float) -> Picture:
        if not from_s <= at < until_s:
            return picture
        x = px * np.sin(2 * np.pi * at / every_s) + px / 3 * np.sin(2 * np.pi * at / 0.23)
        y = px / 2 * np.sin(2 * np.pi * at / (1.7 * every_s))
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        size_wh = picture.shape[1], picture.shape[0]
        return np.asarray(cv2.warpAffine(picture, move, size_wh, borderMode=cv2.BORDER_REFLECT), np.uint8)

    return change


def hand_held(from_s: float = 0.0, px_a_second: float = 150.0) -> Weather:
    """The camera pans to and fro in somebody's hand."""

    def change(picture: Picture, at: float) -> Picture:
        if at < from_s:
            return picture
        t = at - from_s
        x = px_a_second * np.sin(t) + 6 * np.sin(7 * t)
        move = np.array([[1, 0, x], [0, 1, 10 * np.sin(3 * t)]], np.float32)
        size_wh = picture.shape[1], picture.shape[0]
        return np.asarray(cv2.warpAffine(picture, move, size_wh, borderMode=cv2.BORDER_REFLECT), np.uint8)

    return change


def flag(x: int = 900, y: int = 150, width: int = 120, height: int = 80) -> Weather:
    """A brown flag that waves."""

    def change(picture: Picture, at: float) -> Picture:
        changed = picture.copy()
        for column in range(width):
            lift = round(8 * np.sin(column / 14 - 6 * at))
            shade = 60 + 25 * np.sin(column / 14 - 6 * at)
            changed[y + lift : y + lift + height, x + column] = (shade * 0.6, shade * 0.8, shade)
        return changed

    return change
