"""A forest clearing from nothing but seeded noise and brush strokes: no picture of a real place.

``clearing`` paints what stands still; the plants it returns beside it sway in every frame.
All sprites carry premultiplied alpha, so that warping and resizing leave no bright or dark rims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture

Sprite = NDArray[np.uint8]  # (H, W, 4) BGRA, premultiplied
Field = NDArray[np.float32]  # (H, W), about 0 to 1
Colour = tuple[float, float, float]  # BGR, 0 to 255

MOODS: dict[str, tuple[Colour, Colour, Colour, Colour]] = {  # sky above, sky below, grass, leaves
    "noon": ((214, 172, 120), (236, 226, 208), (62, 132, 112), (48, 100, 70)),
    "overcast": ((206, 200, 192), (224, 222, 218), (70, 122, 104), (58, 94, 70)),
    "evening": ((196, 164, 140), (176, 204, 238), (58, 122, 128), (42, 84, 78)),
    "autumn": ((218, 186, 146), (232, 228, 218), (66, 132, 146), (44, 98, 128)),
}
FIR: Colour = (56, 84, 60)


@dataclass(frozen=True, slots=True, eq=False)
class Plant:
    """Something that sways: its foot stays, its top moves ``sway_px`` at most."""

    sprite: Sprite
    left: int  # pixels
    top: int  # pixels
    foot_y: float  # pixels; what stands nearer than this hides it
    sway_px: float
    period_s: float
    phase: float

    def at(self, time_s: float) -> Sprite:
        """The plant as the wind holds it at one moment."""
        swing = math.sin(2 * math.pi * time_s / self.period_s + self.phase)
        gust = 0.6 + 0.4 * math.sin(0.37 * time_s + 2.3 * self.phase)
        height, width = self.sprite.shape[:2]
        shift = self.sway_px * swing * gust
        shear = np.array([[1, -shift / height, shift], [0, 1, 0]], np.float64)
        return np.asarray(cv2.warpAffine(self.sprite, shear, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def paste(image: Picture, sprite: Sprite, left: int, top: int) -> None:
    """Lay a premultiplied sprite over ``image`` in place, clipped at the borders."""
    height, width = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + sprite.shape[1], width), min(top + sprite.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    below = image[y0:y1, x0:x1]
    keep = cv2.cvtColor(255 - part[..., 3], cv2.COLOR_GRAY2BGR)
    image[y0:y1, x0:x1] = cv2.add(cv2.multiply(below, keep, scale=1 / 255), part[..., :3])


def fractal(rng: np.random.Generator, size_wh: tuple[int, int], cell_px: float, octaves: int = 4) -> Field:
    """Smooth noise with detail down to ``cell_px / 2**(octaves - 1)``, mean near 0.5."""
    width, height = size_wh
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = max(cell_px / 2**octave, 1.0)
        grid = rng.random((math.ceil(height / cell) + 2, math.ceil(width / cell) + 2), np.float32)
        total += np.asarray(cv2.resize(grid, size_wh, interpolation=cv2.INTER_CUBIC), np.float32) / 2**octave
    return total / np.float32(2 - 2 ** (1 - octaves))


def clearing(rng: np.random.Generator, size_wh: tuple[int, int], mood: str) -> tuple[Picture, list[Plant]]:
    """The clearing without its swaying plants, and those plants, farthest first."""
    width, height = size_wh
    sky_high, sky_low, grass, leaves = MOODS[mood]
    horizon = round(height * rng.uniform(0.34, 0.40))
    canvas = _sky(rng, size_wh, horizon, sky_high, sky_low)
    for depth in (0.15, 0.5, 1.0):  # far rows fade into the haze
        _firs(rng, canvas, horizon, depth, _mix(sky_low, FIR, 0.3 + 0.6 * depth))
    _meadow(rng, canvas, horizon, grass, _mix(sky_low, grass, 0.6))
    for x in np.arange(0.0, width, width * 0.022):  # undergrowth hides where forest and meadow meet
        radii = width * rng.uniform(0.012, 0.03), height * rng.uniform(0.01, 0.028)
        shade = _lit(_mix(sky_low, leaves, 0.85), rng.uniform(0.7, 1.05))
        _leafy(rng, canvas, (x + rng.normal(0, 8), horizon + rng.normal(2, 3)), radii, shade, 2.2)
    plants = [_tree(rng, size_wh, horizon, side, leaves) for side in (0, 1) if rng.random() < 0.85]
    for _ in range(int(rng.integers(4, 7))):
        plants.append(_bush(rng, size_wh, horizon + height * rng.uniform(0.015, 0.12), rng.uniform(0, 1), leaves))
    for side in (rng.uniform(0.0, 0.12), rng.uniform(0.88, 1.0)):
        plants.append(_bush(rng, size_wh, height * rng.uniform(1.02, 1.06), side, leaves))
    return np.asarray(np.clip(canvas, 0, 255), np.uint8), sorted(plants, key=lambda plant: plant.foot_y)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    blue, green, red = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return blue, green, red


def _lit(colour: Colour, gain: float) -> Colour:
    return colour[0] * gain, colour[1] * gain, colour[2] * gain


def _sky(
    rng: np.random.Generator, size_wh: tuple[int, int], horizon: int, high: Colour, low: Colour
) -> NDArray[np.float32]:
    down = np.clip(np.linspace(0, size_wh[1] / horizon, size_wh[1], dtype=np.float32), 0, 1)[:, None, None]
    sky = np.array(high, np.float32) * (1 - down) + np.array(low, np.float32) * down
    clouds = np.clip(fractal(rng, size_wh, size_wh[0] / 4) * 2.4 - 1.05, 0, 1)[..., None]
    return np.asarray(sky * (1 - 0.5 * clouds) + 240 * 0.5 * clouds, np.float32)


def _firs(rng: np.random.Generator, canvas: NDArray[np.float32], horizon: int, depth: float, colour: Colour) -> None:
    """One row of firs as drooping strokes, the top of each lit from one side."""
    height, width = canvas.shape[:2]
    foot = horizon + height * 0.02 * depth
    light = rng.choice((-1.0, 1.0))
    for x in np.arange(-20.0, width + 20, width * (0.012 + 0.012 * depth)):
        x += rng.normal(0, width * 0.008)
        tall = horizon * (0.22 + 0.42 * depth) * rng.uniform(0.6, 1.25)
        shade = rng.uniform(0.8, 1.15)
        for step in np.linspace(0, 1, round(tall / 2.2)):
            y = foot - tall * (1 - step) + rng.normal(0, 1.5)
            for side in (-1.0, 1.0):
                reach = tall * (0.015 + 0.2 * step) * rng.uniform(0.35, 1.25)
                gain = shade * (1.0 + 0.16 * light * side + rng.normal(0, 0.14)) * (1.12 - 0.4 * step)
                end = (round(x + side * reach), round(y + reach * rng.uniform(0.2, 0.6)))
                cv2.line(canvas, (round(x), round(y)), end, _lit(colour, gain), 1 + round(depth), cv2.LINE_AA)


def _meadow(rng: np.random.Generator, canvas: NDArray[np.float32], horizon: int, near: Colour, far: Colour) -> None:
    """Grass in perspective: noise stretched by distance, worn earth, then blades and a few flowers."""
    height, width = canvas.shape[:2]
    rows = height - horizon
    down = np.linspace(0, 1, rows, dtype=np.float32)
    # A floor seen at an angle: the farther the row, the more of the texture it gathers.
    across = (np.arange(width, dtype=np.float32)[None] - width / 2) / (0.15 + down[:, None]) * 0.5 + 2000
    along = np.broadcast_to((1 / (0.15 + down) * 380)[:, None], across.shape)
    floor = fractal(rng, (4000, 2600), 70, 6)
    texture = cv2.remap(floor, across, np.ascontiguousarray(along, np.float32), cv2.INTER_LINEAR)
    ground = np.array(far, np.float32) * (1 - down[:, None, None]) + np.array(near, np.float32) * down[:, None, None]
    ground = ground * (0.6 + 0.8 * np.asarray(texture, np.float32))[..., None]
    path_x = width * rng.uniform(0.3, 0.7) + fractal(rng, (1, rows), rows / 2, 3)[:, 0] * width * 0.3
    distance = np.abs(np.arange(width)[None] - path_x[:, None]) / (width * (0.012 + 0.07 * down[:, None]))
    worn = np.clip(1.6 - distance - np.asarray(texture), 0, 1)[..., None] * 0.55
    earth = np.array((92, 124, 148), np.float32) * (0.5 + np.asarray(texture, np.float32))[..., None]
    canvas[horizon:] = ground * (1 - worn) + earth * worn
    for y in np.sort(horizon + rows * rng.beta(1.05, 1.1, 16000)):
        near_y = (y - horizon) / rows
        x, long = rng.uniform(0, width), 2 + 16 * near_y * rng.uniform(0.3, 1)
        row, column = min(round(y), height - 1), min(int(x), width - 1)
        base = canvas[row, column]
        gain = rng.normal(1.04, 0.17)
        tint = (float(base[0]) * gain * 0.95, float(base[1]) * gain, float(base[2]) * gain)
        tip = (round(x + rng.normal(0, long * 0.35)), round(y - long))
        cv2.line(canvas, (round(x), round(y)), tip, tint, 1 + int(near_y > 0.75), cv2.LINE_AA)
    for _ in range(int(rng.integers(40, 160))):
        near_y = rng.beta(1.2, 1.6)
        spot = (int(rng.uniform(0, width)), round(horizon + rows * near_y))
        petals = ((225, 232, 235), (70, 200, 225), (190, 150, 190))[int(rng.integers(3))]
        cv2.circle(canvas, spot, 1 + round(1.6 * near_y), petals, -1, cv2.LINE_AA)


def _leafy(
    rng: np.random.Generator,
    sprite: Sprite | NDArray[np.float32],
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: Colour,
    leaf_px: float,
) -> None:
    """A clump of leaves: dark ones behind and below, light ones above and in front."""
    count = int(9 * radii[0] * radii[1] / leaf_px**2) + 60
    for order in range(count):
        ragged = 1 + 0.14 * math.sin(rng.uniform(0, 2 * math.pi))
        angle, out = rng.uniform(0, 2 * math.pi), math.sqrt(rng.random()) * ragged
        dx, dy = math.cos(angle) * out, math.sin(angle) * out
        gain = (0.45 + 0.55 * order / count) * (0.9 - 0.35 * dy) + rng.normal(0, 0.07)
        blue, green, red = _lit(colour, max(gain, 0.15) * 1.2)
        at = (round(centre[0] + dx * radii[0]), round(centre[1] + dy * radii[1]))
        axes = (max(round(leaf_px * rng.uniform(0.6, 1.2)), 1), max(round(leaf_px * 0.45), 1))
        cv2.ellipse(sprite, at, axes, rng.uniform(0, 180), 0, 360, (blue, green, red, 255), -1, cv2.LINE_AA)


def _bush(rng: np.random.Generator, size_wh: tuple[int, int], foot_y: float, where: float, colour: Colour) -> Plant:
    width, height = size_wh
    near = foot_y / height
    wide, tall = round(width * 0.26 * near * rng.uniform(0.7, 1.2)), round(height * 0.21 * near * rng.uniform(0.7, 1.1))
    sprite = np.zeros((tall, wide, 4), np.uint8)
    own = _lit(_mix(colour, (50, 120, 110), rng.uniform(0, 0.5)), rng.uniform(0.85, 1.15))
    for _ in range(int(rng.integers(4, 7))):
        centre = (wide * rng.uniform(0.26, 0.74), tall * rng.uniform(0.5, 0.85))
        _leafy(rng, sprite, centre, (wide * 0.2, tall * rng.uniform(0.22, 0.4)), own, 2 + 4.5 * near)
    left = round(where * width - wide / 2)
    return Plant(sprite, left, round(foot_y) - tall, foot_y, 5 * near, rng.uniform(1.8, 3.6), rng.uniform(0, 6.28))


def _tree(rng: np.random.Generator, size_wh: tuple[int, int], horizon: int, side: int, colour: Colour) -> Plant:
    """A leaf tree at the left (0) or right (1) edge, its crown cut by the top of the picture."""
    width, height = size_wh
    foot_y = horizon + height * rng.uniform(0.06, 0.16)
    tall, wide = round(foot_y + height * 0.06), round(width * rng.uniform(0.34, 0.42))
    sprite = np.zeros((tall, wide, 4), np.uint8)
    trunk = (wide * (0.4 if side == 0 else 0.6), width * 0.013)
    for x in np.arange(-trunk[1], trunk[1], 1.0):
        bark = 1 + 0.4 * x / trunk[1] + rng.normal(0, 0.15)
        flare = x * (1.5 if abs(x) > trunk[1] * 0.5 else 1.0)
        ends = (round(trunk[0] + flare), tall - 1), (round(trunk[0] + x * 0.6), round(tall * 0.3))
        cv2.line(sprite, *ends, (44 * bark, 58 * bark, 72 * bark, 255), 2, cv2.LINE_AA)
    for _ in range(16):
        centre = (trunk[0] + wide * rng.uniform(-0.2, 0.2), tall * rng.uniform(0.0, 0.46))
        radii = wide * rng.uniform(0.1, 0.18), tall * rng.uniform(0.07, 0.13)
        _leafy(rng, sprite, centre, radii, _lit(colour, rng.uniform(0.85, 1.15)), 6)
    left = round(width * rng.uniform(-0.14, -0.04)) if side == 0 else round(width * rng.uniform(1.04, 1.14)) - wide
    return Plant(sprite, left, round(foot_y) - tall, foot_y, 5.0, rng.uniform(2.5, 4.5), rng.uniform(0, 6.28))
