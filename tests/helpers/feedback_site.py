"""One camera's days, rendered: a clearing of its own where a sign in the shape of a bear hangs, and raises alarms.

Rendered scenes say that the loop from a false alarm to a better model works, not how good it is in a forest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import BoxXYWH, Frame, Picture
from tests.scenery.cast import Animal, Path2D, load_stamp
from tests.scenery.scenery import MOODS, clearing, fractal, paste

FIRST = datetime(2026, 5, 1, 5, 0, tzinfo=UTC)  # of day 1
CAMERA = "gate"
KINDS = ("sign", "bear", "other")  # what moves in a day's scenes
# Colours of the place and light of each day: the later days are darker and of another colour than the first three.
LIGHT = {1: ("noon", 1.0), 2: ("overcast", 0.92), 3: ("noon", 1.06), 4: ("evening", 0.72), 5: ("autumn", 0.85)}
DUSK = ("overcast", 0.6)  # of day 6 and later


@dataclass(frozen=True)
class Scene:
    """A few seconds of one day: what moves in it. The sign hangs there in all of them."""

    day: int  # 1, 2 …
    kind: str  # one of KINDS
    number: int = 0  # of its kind on that day


def scenes(days: range, times: int = 1) -> list[Scene]:
    """The scenes of some days, each kind ``times`` a day."""
    return [Scene(day, kind, number) for day in days for number in range(times) for kind in KINDS]


class Site:
    """A place from a seed; ``frames`` gives a scene's frames, each with the boxes of ``sign`` and ``bear`` in it."""

    def __init__(
        self, seed: int, *, size_wh: tuple[int, int] = (1280, 720), fps: float = 4.0, lasts_s: float = 7.0
    ) -> None:
        self.seed, self.size_wh, self.fps, self.lasts_s = seed, size_wh, fps, lasts_s
        rng = np.random.default_rng([seed, 1])
        width, height = size_wh
        self._sign = carved("bear", width * rng.uniform(0.11, 0.15), rng)
        self._hangs = round(width * rng.uniform(0.15, 0.7)), round(height * rng.uniform(0.5, 0.62))
        self._empty: dict[str, Picture] = {}

    def frames(self, scene: Scene) -> Iterator[tuple[Frame, dict[str, BoxXYWH]]]:
        """Each frame, and what is where in it."""
        mood, gain = LIGHT.get(scene.day, DUSK)
        rng = np.random.default_rng([self.seed, scene.day, KINDS.index(scene.kind), scene.number])
        animal = self._animal(scene.kind, rng)
        began = FIRST + timedelta(days=scene.day - 1, hours=4 * KINDS.index(scene.kind), minutes=20 * scene.number)
        swing_px, noise = self.size_wh[0] * 0.012, rng.uniform(1.5, 3.5)
        for index in range(round(self.lasts_s * self.fps)):
            at = index / self.fps
            image = self.empty(mood).copy()
            moved = swing_px * np.sin(2 * np.pi * at / 1.9) * min(at / 2, 1.0) if scene.kind == "sign" else 0.0
            left, top = self._hangs[0] + round(moved), self._hangs[1]
            paste(image, self._sign, left, top)
            tall, wide = self._sign.shape[:2]
            boxes: dict[str, BoxXYWH] = {"sign": self._fractions(left, top, wide, tall)}
            if animal is not None:
                animal.draw(image, at)
                box = animal.box(at, self.size_wh)
                if box is not None and scene.kind == "bear":
                    boxes["bear"] = box
            image = lit(np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8), gain, noise, rng)
            yield Frame(image, at, began + timedelta(seconds=at), CAMERA, index, media_time_s=at), boxes

    def empty(self, mood: str) -> Picture:
        """The place without anything, (H, W, 3): the same on every day but for its colours."""
        if "noon" not in self._empty:
            self._empty["noon"] = clearing(np.random.default_rng([self.seed, 2]), self.size_wh, "noon")[0]
        if mood not in self._empty:
            tint = np.array([np.divide(MOODS[mood][n], MOODS["noon"][n]) for n in (1, 2, 3)]).mean(axis=0)
            self._empty[mood] = np.clip(self._empty["noon"] * tint.astype(np.float32), 0, 255).astype(np.uint8)
        return self._empty[mood]

    def _animal(self, kind: str, rng: np.random.Generator) -> Animal | None:
        """A bear, or a boar or fox, that walks through from one side to the other."""
        if kind == "sign":
            return None
        width, height = self.size_wh
        stamps = ("european-bear", "bear") if kind == "bear" else ("wildboar", "fox")
        length = width * rng.uniform(0.08, 0.17)
        ends = (-length / 2, width + length / 2) if rng.random() < 0.5 else (width + length / 2, -length / 2)
        foot_y = height * rng.uniform(0.72, 0.95)
        path = Path2D((0.5, self.lasts_s - 0.5), ends)
        return Animal(stamps[int(rng.integers(2))], path, length, foot_y, (0.92, 0.93, 0.92))

    def _fractions(self, left: int, top: int, wide: int, tall: int) -> BoxXYWH:
        width, height = self.size_wh
        return left / width, top / height, wide / width, tall / height


def lit(image: Picture, gain: float, noise: float, rng: np.random.Generator) -> Picture:
    """The picture in another light, with a sensor's noise of so many grey levels."""
    grain = rng.standard_normal((*image.shape[:2], 1), np.float32) * np.float32(noise)
    return np.asarray(np.clip(image * np.float32(gain) + grain, 0, 255), np.uint8)


def carved(stamp: str, length_px: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A stamp's shape in dark wood with the grain along it: BGRA, premultiplied."""
    found = load_stamp(stamp, length_px, (1.0, 1.0, 1.0)).astype(np.float32)
    alpha = found[..., 3:] / 255
    light = found[..., :3].mean(axis=2) / np.maximum(alpha[..., 0], 0.02)
    tall, wide = light.shape
    grain = np.asarray(cv2.resize(fractal(rng, (wide, max(tall // 6, 2)), wide / 2, 5), (wide, tall)), np.float32)
    shade = (0.5 * light / max(float(light[alpha[..., 0] > 0.5].mean()), 1.0) + 0.5) * (0.5 + grain)
    wood = np.array((40, 62, 95), np.float32) * shade[..., None] * alpha
    return np.clip(np.dstack([wood, alpha * 255]), 0, 255).astype(np.uint8)


def elsewhere(seed: int, count: int, size_wh: tuple[int, int] = (640, 360)) -> list[tuple[Picture, BoxXYWH, bool]]:
    """Pictures of other places without the sign; in each a box of an animal or of nothing, and whether it is a bear."""
    rng = np.random.default_rng([seed, 3])
    width, height = size_wh
    places = [
        clearing(np.random.default_rng([seed, 4, n]), size_wh, mood)[0] for n, mood in enumerate(("noon", "evening"))
    ]
    found: list[tuple[Picture, BoxXYWH, bool]] = []
    for number in range(count):
        image = places[number % len(places)].copy()
        stamp = ("european-bear", "wildboar", "bear", "fox", None, "edward_bear")[number % 6]
        if stamp is None:
            side = rng.uniform(0.15, 0.4)
            box = (rng.uniform(0, 1 - side * height / width), rng.uniform(0, 1 - side), side * height / width, side)
        else:
            length = width * rng.uniform(0.08, 0.2)
            path = Path2D((0.0,), (width * rng.uniform(0.2, 0.8),))
            animal = Animal(stamp, path, length, height * rng.uniform(0.7, 0.95), (0.92, 0.93, 0.92))
            animal.draw(image, 0.0)
            box = animal.box(0.0, size_wh) or (0.0, 0.0, 1.0, 1.0)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.uint8)
        found.append((lit(image, rng.uniform(0.6, 1.1), 2.0, rng), box, stamp in ("european-bear", "bear")))
    return found
