"""Pictures that no camera in a forest takes."""

from __future__ import annotations

import numpy as np


def zone_plate(width: int = 320, height: int = 240) -> np.ndarray:
    """Rings that grow narrower outwards, (height, width, 3) uint8, as opticians and engineers test with."""
    y, x = np.mgrid[0:height, 0:width]
    rings = (127 + 127 * np.sin((x**2 + y**2) / 300)).astype(np.uint8)
    return np.repeat(rings[..., None], 3, axis=2)
