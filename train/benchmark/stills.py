"""Subject-filling stills: whole pictures, as ``classify`` looks at them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.detect.stills import look
from edge.errors import PictureError
from edge.pictures import read_picture
from train.benchmark.subjects import is_trail
from train.data.pictures import Picture, is_bear

log = logging.getLogger(__name__)

Follow = Callable[[Iterable[Picture]], Iterable[Picture]]


@dataclass(frozen=True, eq=False)
class StillScores:
    """What a model says of whole pictures, one row each; those of trail cameras are left out."""

    score: NDArray[np.float64]  # (N,) the still score
    bear: NDArray[np.bool_]
    toy: NDArray[np.bool_]
    files: NDArray[np.str_]


def still_scores(classifier: Classifier, pictures: Iterable[Picture], follow: Follow = iter) -> StillScores:
    """Look at every picture but a trail camera's, whose far bears are benchmark B; what cannot be read is left out."""
    kept, scores = [], []
    for picture in follow([picture for picture in pictures if not is_trail(picture)]):
        try:
            scores.append(look(classifier, read_picture(picture.file)).bear)
        except PictureError as error:
            log.warning("%s; it is not judged", error)
            continue
        kept.append(picture)
    return StillScores(
        np.array(scores, np.float64),
        np.array([is_bear(picture.label) for picture in kept], bool),
        np.array([picture.label == "teddy_bear" for picture in kept], bool),
        np.array([str(picture.file) for picture in kept]),
    )
