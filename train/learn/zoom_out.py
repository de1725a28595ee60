"""A training crop shown smaller, in another place: a photograph's bear fills it, a trail camera's bear does not.

SSD's "expand" (Liu et al. 2016) with real surroundings in place of one colour, as in Dwibedi et al. 2017 ("Cut, paste
and learn"). Crops with and without a bear are treated alike, so that the rim gives nothing away. The places are parts
of pictures without a bear, each picture as often as any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from fastai.vision.core import PILImage
from fasttransform import Transform
from numpy.typing import NDArray

from edge.detect.crops import fit
from train.learn.examples import Example, PictureCache

SIDES = (0.5, 0.95)  # range of the shrunk crop's side, as a share of the square's
SQUASH = 0.7, 1.0  # range of the shorter side, as a share of the longer: few subjects are square
PLACE_MIN_PX = 32  # of a place's shorter side
DRAWS = 8  # attempts to find a place that is large enough


class ZoomOut(Transform):
    """Shrinks a share of the training crops, and puts each into a part of a picture without a bear."""

    order = 2  # RandomResizedCrop is 1; DegradeCrops comes after
    split_idx = 0  # training only

    def __init__(self, share: float, read: PictureCache, places: Sequence[Example]):
        super().__init__()
        self.share, self.read, self.places = share, read, list(places)

    def encodes(self, image: PILImage) -> PILImage:
        """Show the picture in another place with probability ``share`` (numpy's seeded generator)."""
        rng = np.random.default_rng(np.random.randint(2**31))
        if rng.random() >= self.share or not self.places:
            return image
        subject = np.asarray(image)
        for _ in range(DRAWS):
            place = self.read(self.places[int(rng.integers(len(self.places)))])[..., ::-1]
            if min(place.shape[:2]) >= PLACE_MIN_PX:
                return PILImage.create(put(subject, surroundings(place, subject.shape[0], rng), rng))
        return image


def surroundings(place: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a random square out of a picture, (side, side, 3)."""
    height, width = place.shape[:2]
    part = max(PLACE_MIN_PX, round(min(height, width) * rng.uniform(0.4, 1.0)))
    x, y = int(rng.integers(width - part + 1)), int(rng.integers(height - part + 1))
    return fit(np.ascontiguousarray(place[y : y + part, x : x + part]), side)


def put(subject: NDArray[np.uint8], place: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink the subject and paste it onto the place (side, side, 3), its rim sharp or soft."""
    side = place.shape[0]
    long = max(2, round(side * rng.uniform(*SIDES)))
    width, height = long, max(2, round(long * rng.uniform(*SQUASH)))
    if rng.random() < 0.5:
        width, height = height, width
    x, y = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
    small = cv2.resize(np.ascontiguousarray(subject), (width, height), interpolation=cv2.INTER_AREA)
    soft = rng.uniform(0.0, 0.12) * min(width, height)
    alpha = np.zeros((height, width), np.float32)
    edge = round(soft)
    alpha[edge : height - edge, edge : width - edge] = 1
    if edge:
        alpha = cv2.GaussianBlur(alpha, (0, 0), soft / 2, borderType=cv2.BORDER_CONSTANT)
    shown = place.astype(np.float32)
    under = shown[y : y + height, x : x + width]
    shown[y : y + height, x : x + width] = under + alpha[..., None] * (small.astype(np.float32) - under)
    return np.clip(shown, 0, 255).round().astype(np.uint8)
