"""Night or day, by the look of a picture: infrared has no colour, and dark is dark. It needs no clock and no place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.schema import Luma, Picture

SAMPLE_PX = 45  # the shorter side of the sample
COLOURLESS, COLOURED = (
    4.0,
    7.0,
)  # what three quarters of the pixels' channels differ by at most: infrared, and surely not
NIGHT_BELOW, DAY_FROM = 40.0, 55.0  # mean brightness, 0 to 255: night, and surely day
APART_S = 30.0
LASTS_S = 10.0  # headlights and lightning make no day, a shadow no night


def is_night(image: Picture | Luma | NDArray[np.float32]) -> bool:
    """Return True if one picture is infrared or dark: (H, W, 3) BGR, or (h, w) grey, which can only be dark."""
    colour, light = _measured(image)
    return light < NIGHT_BELOW or (colour is not None and colour <= COLOURLESS)


def is_grey(image: Picture) -> bool:
    """Return True if a picture (H, W, 3) BGR has no colour, as infrared has none."""
    colour, _ = _measured(image)
    return colour is not None and colour <= COLOURLESS


class Night:
    """Picture and its time in, night or not out; one for each camera.

    The first picture decides; after that a change must be clear (up to a brightness of 55, or with colours up
    to 7 apart, it is still night) and last for 10 s. After 30 s without one, the next decides again.
    """

    def __init__(self, *, lasts_s: float = LASTS_S) -> None:
        self.lasts_s = lasts_s
        self.night: bool | None = None  # None: nothing seen yet
        self._infrared = False
        self._looked: float | None = None
        self._since: float | None = None  # when the picture began to look otherwise

    def __call__(self, image: Picture | Luma | NDArray[np.float32], time: float) -> bool:
        """Return True if it is night, with this picture taken at ``time`` seconds: (H, W, 3) BGR or (h, w) grey.

        Grey pictures between coloured ones leave it to those whether it is infrared.
        """
        colour, light = _measured(image)
        if self._looked is not None and time - self._looked > APART_S:
            self.night = self._since = None  # pictures so far apart have nothing to do with one another
        self._looked = time
        night = bool(self.night)
        if colour is not None:
            self._infrared = colour <= (COLOURED if night else COLOURLESS)
        looks = self._infrared or light < (DAY_FROM if night else NIGHT_BELOW)
        if self.night is None:
            self.night = looks
        if looks == self.night:
            self._since = None
        elif self._since is None:
            self._since = time
        if self._since is not None and time - self._since >= self.lasts_s:
            self.night, self._since = looks, None
        return self.night


def _measured(image: Picture | Luma | NDArray[np.float32]) -> tuple[float | None, float]:
    """Return what three quarters of the pixels' channels differ by at most (None: grey), and the mean brightness."""
    step = max(1, min(image.shape[:2]) // SAMPLE_PX)
    sample = image[step // 2 :: step, step // 2 :: step]
    if sample.ndim == 2:
        return None, float(np.mean(sample))
    blue, green, red = (sample[..., channel].ravel() for channel in range(3))
    spread = np.maximum(np.maximum(blue, green), red) - np.minimum(np.minimum(blue, green), red)
    most = (3 * len(spread)) // 4
    light = 0.114 * np.mean(blue) + 0.587 * np.mean(green) + 0.299 * np.mean(red)
    return float(np.partition(spread, most)[most]), float(light)
