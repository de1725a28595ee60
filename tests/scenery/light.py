"""What lies over the whole picture: the light of the day and the grain of the sensor."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import Picture


class Light:
    """The light of the place: a slow swing, and once a cloud that comes within half a second."""

    def __init__(self, rng: np.random.Generator, duration_s: float) -> None:
        self._slow = rng.uniform(0.02, 0.07), rng.uniform(9, 20), rng.uniform(0, 6.28)
        self._base = rng.uniform(0.82, 1.05)
        self.jump_s = float(rng.uniform(3, duration_s - 4))
        self._depth = rng.uniform(0.18, 0.35)
        self._away_s = self.jump_s + rng.uniform(3, 8)

    def __call__(self, image: Picture, time_s: float) -> Picture:
        swing, period_s, phase = self._slow
        turns_s = (self.jump_s, self.jump_s + 0.4, self._away_s, self._away_s + 1.8)
        cloud = float(np.interp(time_s, turns_s, (0, 1, 1, 0)))
        gain = self._base * (1 + swing * math.sin(2 * math.pi * time_s / period_s + phase)) * (1 - self._depth * cloud)
        levels = np.arange(256, dtype=np.float32)[:, None] * gain * np.array((1 + 0.06 * cloud, 1, 1 - 0.04 * cloud))
        table = np.clip(levels + 0.5, 0, 255).astype(np.uint8)[None]
        return np.asarray(cv2.LUT(image, table), np.uint8)


class Grain:
    """Sensor noise, cut at random places from one field: drawing it anew would cost more than the scene."""

    MARGIN = 64

    def __init__(self, rng: np.random.Generator, size_wh: tuple[int, int], sigma: float) -> None:
        self._rng = rng
        width, height = size_wh[0] + self.MARGIN, size_wh[1] + self.MARGIN
        grey = rng.standard_normal((height, width, 1), np.float32) * sigma
        colour = rng.standard_normal((height, width, 3), np.float32) * (0.4 * sigma)
        self._field: NDArray[np.int16] = np.rint(grey + colour).astype(np.int16)

    def __call__(self, image: Picture) -> Picture:
        x, y = (int(offset) for offset in self._rng.integers(0, self.MARGIN, 2))
        part = self._field[y : y + image.shape[0], x : x + image.shape[1]]
        return np.asarray(cv2.add(image, part, dtype=cv2.CV_8U), np.uint8)
