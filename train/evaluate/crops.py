"""Sizes and scores of crops; ``edge.detect.crops`` cuts them, as for the alarm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.pictures import decode_picture
from edge.record.clip import jpeg
from edge.schema import BoxXYWH
from edge.schema import Picture as Image

Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]  # crops (N, size, size, 3) BGR -> p(bear) (N,)


def longer_side(box: BoxXYWH, image: Image) -> float:
    """Return the box's longer side in pixels of the picture."""
    height, width = image.shape[:2]
    return max(box[2] * width, box[3] * height)


def as_jpeg(image: Image, quality: int) -> Image:
    """Compress a picture as a camera's JPEG of this quality, and decode it again."""
    return decode_picture(jpeg(image, quality), "a JPEG")


def bear_score(classifier: Classifier) -> Score:
    """Make a function from crops to bear probabilities of the classifier."""
    columns = list(classifier.card.alarm_columns)

    def score(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
        return bear_of(classifier(crops)[0], columns)

    return score


def bear_of(probabilities: NDArray[np.floating], columns: list[int]) -> NDArray[np.floating]:
    """Sum the probabilities of the alarm labels of rows (N, L), at most 1: (N,)."""
    return np.minimum(probabilities[:, columns].sum(axis=1), 1.0)
