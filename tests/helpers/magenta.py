"""A colour that is nowhere in a test's pictures but where masks hide it."""

import numpy as np

from edge.schema import Picture

MAGENTA = (255, 0, 255)


def magenta(picture: Picture) -> int:
    """Return how magenta the most magenta pixel is, 0 to 255."""
    blue, green, red = np.moveaxis(picture.astype(int), 2, 0)
    return int((np.minimum(blue, red) - green).max())
