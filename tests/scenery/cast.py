"""The photographic cut-outs as animals: what walks, how, and where its box is at each moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import BoxXYWH, Picture
from tests.scenery.scenery import Sprite, paste

STAMPS = Path(__file__).with_name("stamps")
FACES_LEFT = {"fox"}  # the other stamps look to the right
FEET = 0.6  # below this share of its height a stamp is legs
STRIDE = 0.55  # of the body length, forward in one step cycle


@dataclass(frozen=True, slots=True)
class Path2D:
    """Where the middle of an animal is over time: straight between (seconds, x pixels) points."""

    times_s: tuple[float, ...]
    xs: tuple[float, ...]

    def x(self, time_s: float) -> float:
        """The x of the animal's middle, pixels."""
        return float(np.interp(time_s, self.times_s, self.xs))

    def heading(self, time_s: float) -> int:
        """1 walks right, -1 walks left; where it stands, as it came."""
        heading = 1
        for begin, x0, x1 in zip(self.times_s, self.xs, self.xs[1:], strict=False):
            if begin > time_s and begin != self.times_s[0]:
                break
            heading = heading if x0 == x1 else (1 if x1 > x0 else -1)
        return heading

    def walks(self, time_s: float) -> bool:
        """Return whether it moves at this moment."""
        return abs(self.x(time_s + 0.05) - self.x(time_s - 0.05)) > 1e-6


@dataclass(eq=False)
class Animal:
    """A stamp of ``length_px`` on a path, its feet at ``foot_y``; ``draw`` puts it into a frame."""

    stamp: str
    path: Path2D
    length_px: float
    foot_y: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # BGR gains: the light of the place
    turn_deg: float = 0.0  # a toy lies on its side
    blades: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))  # 0 to 1 a pixel column

    def __post_init__(self) -> None:
        self._right = load_stamp(self.stamp, self.length_px, self.tint, self.turn_deg)
        self._left = np.ascontiguousarray(self._right[:, ::-1])
        self._height, self._width = self._right.shape[:2]
        self._shadow = _shadow(self._width, self._height)
        across = np.arange(self._width, dtype=np.float32)
        down = np.arange(self._height, dtype=np.float32)
        self._across, self._down = np.meshgrid(across, down)

    def corner(self, time_s: float) -> tuple[float, float]:
        """Left and top of the stamp, pixels; outside the frame while it is off stage."""
        x = self.path.x(time_s)
        bob = self._height * 0.012 * math.sin(2 * self._step(x)) if self.path.walks(time_s) else 0.0
        return x - self._width / 2, self.foot_y - self._height - abs(bob)

    def box(self, time_s: float, size_wh: tuple[int, int]) -> BoxXYWH | None:
        """The part of it inside the frame as fractions, None when it is off stage."""
        left, top = self.corner(time_s)
        x0, y0 = max(left, 0.0), max(top, 0.0)
        x1, y1 = min(left + self._width, size_wh[0]), min(top + self._height, size_wh[1])
        if x1 - x0 < 1 or y1 - y0 < 1:
            return None
        return x0 / size_wh[0], y0 / size_wh[1], (x1 - x0) / size_wh[0], (y1 - y0) / size_wh[1]

    def whole(self, time_s: float, size_wh: tuple[int, int]) -> bool:
        """Return whether all of it is inside the frame."""
        left, top = self.corner(time_s)
        return left >= 0 and top >= 0 and left + self._width <= size_wh[0] and top + self._height <= size_wh[1]

    def draw(self, image: Picture, time_s: float) -> None:
        """Put it, its shadow and the grass before its feet into ``image``, in place."""
        left, top = self.corner(time_s)
        if left >= image.shape[1] or left + self._width <= 0:
            return
        sprite = self._right if self.path.heading(time_s) > 0 else self._left
        if len(self.path.xs) > 1:
            sprite = self._stepping(sprite, time_s)
        x, y = round(left), round(top)
        under = self.foot_y - self._shadow.shape[0] * 0.5 - self._height * 0.06
        paste(image, self._shadow, round(left - self._width * 0.05), round(under))
        paste(image, self._in_grass(sprite, x), x, y)

    def _step(self, x: float) -> float:
        return float(2 * math.pi * x / (self._width * STRIDE))

    def _stepping(self, sprite: Sprite, time_s: float) -> Sprite:
        """Legs that swing, those on one side of the belly against the other; at a stand it only breathes."""
        x = self.path.x(time_s)
        legs = np.clip((self._down / self._height - FEET) / (1 - FEET), 0, 1)
        swing = self._width * 0.035 if self.path.walks(time_s) else 0.0
        sway = swing * legs * np.sin(self._step(x) + self._across * np.float32(2 * math.pi / self._width))
        breath = self._height * 0.006 * math.sin(2 * math.pi * time_s / 2.2) * (1 - self._down / self._height)
        moved = cv2.remap(
            sprite, self._across + sway.astype(np.float32), self._down + breath.astype(np.float32), cv2.INTER_LINEAR
        )
        return np.asarray(moved, np.uint8)

    def _in_grass(self, sprite: Sprite, left: int) -> Sprite:
        """The sprite with blades cut out of its feet; blades belong to the place, so feet move through them."""
        if len(self.blades) < 2:
            return sprite
        columns = np.clip(np.arange(left, left + self._width), 0, len(self.blades) - 1)
        reach = max(round(self._height * 0.09), 2)
        level = np.arange(reach, 0, -1, dtype=np.float32)[:, None]  # pixels above the foot line
        show = np.clip(level - self.blades[columns][None] * reach, 0, 1)[..., None]
        out = sprite.copy()
        out[-reach:] = (out[-reach:] * show).astype(np.uint8)
        return out


def load_stamp(name: str, length_px: float, tint: tuple[float, float, float], turn_deg: float = 0.0) -> Sprite:
    """A stamp from ``stamps/`` facing right, its longer side ``length_px``, tinted, premultiplied."""
    found = cv2.imread(str(STAMPS / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise FileNotFoundError(f"{STAMPS / name}.png: the demo's picture is missing; install the package again")
    stamp = found.astype(np.float32)
    if name in FACES_LEFT:
        stamp = stamp[:, ::-1]
    stamp[..., :3] *= stamp[..., 3:] / 255 * np.array(tint, np.float32)
    if turn_deg:
        stamp = _turned(stamp, turn_deg)
    scale = length_px / max(stamp.shape[:2])
    size_wh = (max(round(stamp.shape[1] * scale), 1), max(round(stamp.shape[0] * scale), 1))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = np.clip(cv2.resize(stamp, size_wh, interpolation=way), 0, 255)
    sized[..., :3] = np.minimum(sized[..., :3], sized[..., 3:])  # premultiplied colour never exceeds its alpha
    return np.ascontiguousarray(sized, np.uint8)


def _turned(stamp: NDArray[np.float32], turn_deg: float) -> NDArray[np.float32]:
    height, width = stamp.shape[:2]
    side = math.ceil(math.hypot(height, width))
    spin = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, 1.0)
    spin[:, 2] += (side - width) / 2, (side - height) / 2
    turned = np.asarray(cv2.warpAffine(stamp, spin, (side, side), flags=cv2.INTER_LINEAR), np.float32)
    rows, columns = np.nonzero(turned[..., 3] > 64)
    return turned[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _shadow(width: int, height: int) -> Sprite:
    """A soft dark patch as wide as the animal."""
    wide, tall = max(round(width * 1.1), 4), max(round(min(height, width) * 0.24), 4)
    x = np.linspace(-1, 1, wide, dtype=np.float32)[None]
    y = np.linspace(-1, 1, tall, dtype=np.float32)[:, None]
    sprite = np.zeros((tall, wide, 4), np.uint8)
    sprite[..., 3] = 150 * np.clip(1 - np.sqrt(x**2 + y**2), 0, 1) ** 0.7
    return sprite
