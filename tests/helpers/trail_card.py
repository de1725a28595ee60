"""A card of one trail camera, painted: a place with texture, in changing light, and something red that walks in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from edge.schema import Picture
from tests.helpers.tiny import BEAR_COLOUR
from tests.helpers.uploads import taken_by

SIZE_WH = (320, 240)
BEAR_PX = 24
BEGIN = datetime(2026, 5, 1, 6)


def place(seed: int = 1) -> Picture:
    """A green place (240, 320, 3) with stones and bushes; another for each seed."""
    dice = np.random.default_rng(seed)
    rough = cv2.resize(dice.uniform(0.5, 1.0, (12, 16)).astype(np.float32), SIZE_WH, interpolation=cv2.INTER_CUBIC)
    return np.clip(rough[..., None] * (40, 200, 60), 0, 255).astype(np.uint8)


def infrared(seed: int = 1) -> Picture:
    """The same place by night: no colour, bright in the middle."""
    grey = cv2.cvtColor(place(seed), cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = np.meshgrid(np.linspace(-1, 1, SIZE_WH[0]), np.linspace(-1, 1, SIZE_WH[1]))
    return np.repeat((np.clip(grey * (1.4 - across**2 - down**2), 0, 255)).astype(np.uint8)[..., None], 3, 2)


def shown(where: Picture, bear_xy: tuple[int, int] | None = None, *, light: float = 1.0, colour=BEAR_COLOUR) -> Picture:
    """The place in this light, with sensor noise; a bear whose left top corner is at ``bear_xy`` pixels."""
    picture = where.astype(np.float32)
    if bear_xy:
        x, y = bear_xy
        picture[y : y + BEAR_PX, x : x + BEAR_PX] = colour
    noise = np.random.default_rng(bear_xy or round(1000 * light)).normal(0, 1.5, picture.shape)
    return np.clip(light * picture + noise, 0, 255).astype(np.uint8)


def written(file: Path, picture: Picture, after_s: float | None = None, *, serial: str = "A1") -> Path:
    """The picture as this camera writes it, so many seconds after the first; None: without Exif."""
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    if after_s is not None:
        text = (BEGIN + timedelta(seconds=after_s)).strftime("%Y:%m:%d %H:%M:%S")
        data = taken_by(data, "RECONYX", "HYPERFIRE", serial, text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
