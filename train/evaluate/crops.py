"""Crops for the measures of far bears: a box in pixels, a camera's JPEG, and scores.

Cutting itself is the alarm's own (``edge.detect.crops``).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.schema import BoxXYWH
from edge.schema import Picture as Image

Score = Callable[[NDArray[np.uint8]], NDArray[np.floating]]  # crops (N, size, size, 3) BGR -> p(bear) (N,)


def longer_side(box: BoxXYWH, image: Image) -> float:
    """Return the box's longer side in pixels of the picture."""
    height, width = image.shape[:2]
    return max(box[2] * width, box[3] * height)


def as_jpeg(image: Image, quality: int) -> Image:
    """Return the picture as a camera's file of this quality keeps it."""
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def bear_score(classifier: Classifier) -> Score:
    """Make a function from crops to bear probabilities of the classifier."""
    columns = list(classifier.card.alarm_columns)

    def score(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
        return bear_of(classifier(crops)[0], columns)

    return score


def bear_of(probabilities: NDArray[np.floating], columns: list[int]) -> NDArray[np.floating]:
    """Sum the probabilities of the alarm labels of rows (N, L), at most 1: (N,)."""
    return np.minimum(probabilities[:, columns].sum(axis=1), 1.0)
