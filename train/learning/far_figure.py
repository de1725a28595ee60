"""One figure for choosing a recipe: how well bears are found small and whole, on the tuning part.

Each picture whole, and shrunk to 20, 36, 60 and 120 pixels, once through JPEG as a camera does it. The shrinking is
plain on purpose: with ``train.learning.field.degrade`` the training's own augmentation would be what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.crops import fit
from edge.pictures import read_picture
from edge.schema import Picture
from train.catalog.picture import Picture as Row
from train.catalog.picture import is_bear
from train.figures.recall import mean_recall
from train.learning.field import jpeg

SIDES_PX = (0, 20, 36, 60, 120)  # 0: the whole picture as it is
EACH_RUN_PX = (20, 36, 60)  # what every training tells
QUALITIES = range(60, 95)
WIDE = 5  # 1 % of some hundred others is decided by a handful of them, 5 % is not


@dataclass(frozen=True)
class Looks:
    """Crops to be asked about: uint8 (N, size, size, 3) BGR, whether a bear, and the side in pixels (0 = whole)."""

    crops: NDArray[np.uint8]
    bears: NDArray[np.bool_]
    sides: NDArray[np.int64]


def looks_of(rows: Iterable[Row], size: int, sides: Sequence[int] = SIDES_PX) -> Looks:
    """The crops of some pictures, the same ones each time."""
    crops: list[Picture] = []
    bears: list[bool] = []
    at: list[int] = []
    for number, row in enumerate(rows):
        image = read_picture(row.file)
        for side in sides:
            crops.append(fit(shrunk(image, side, number) if side else image, size))
            bears.append(is_bear(row.label))
            at.append(side)
    return Looks(np.stack(crops), np.array(bears), np.array(at))


def shrunk(image: Picture, side: int, number: int) -> Picture:
    """The picture squeezed to ``side`` pixels, after JPEG of a quality that ``number`` decides."""
    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(small, QUALITIES[number * 7 % len(QUALITIES)])


def some_of(rows: Sequence[Row], bears: int = 100, others: int = 200) -> list[Row]:
    """At most so many bears and others, evenly taken from the table, so that a training can afford them."""
    chosen: list[Row] = []
    for wanted, most in ((True, bears), (False, others)):
        kind = [row for row in rows if is_bear(row.label) == wanted]
        places = np.unique(np.linspace(0, len(kind) - 1, min(most, len(kind))).round().astype(int))
        chosen += [kind[place] for place in places]
    return chosen


@dataclass(frozen=True)
class FarFigure:
    """Recall of the bears at one false-positive rate by side in pixels, and the mean of all sides but the whole."""

    recall: dict[int, float]
    auc: dict[int, float]
    wide: dict[int, float]  # recall averaged over the rates up to ``WIDE`` times that one

    @property
    def far(self) -> float:
        """Mean recall of the shrunk sides."""
        return float(np.mean([value for side, value in self.recall.items() if side]))

    @property
    def far_auc(self) -> float:
        """Mean AUC of the shrunk sides."""
        return float(np.mean([value for side, value in self.auc.items() if side]))


def far_figure(bear: NDArray[np.floating], looks: Looks, rate: float = 0.01) -> FarFigure:
    """What p(bear) (N,) of ``looks`` is worth: each side has the threshold that lets through ``rate`` of its others."""
    recall, auc, wide = {}, {}, {}
    for side in sorted({int(side) for side in looks.sides}):
        here = looks.sides == side
        others = np.sort(bear[here & ~looks.bears])[::-1]
        found = bear[here & looks.bears]
        threshold = others[int(rate * len(others))]
        recall[side] = float((found > threshold).mean())
        wide[side] = mean_recall(found, others, min(WIDE * rate, 1.0))
        below = np.searchsorted(others[::-1], found, "left") + np.searchsorted(others[::-1], found, "right")
        auc[side] = float(below.sum() / (2 * len(found) * len(others)))
    return FarFigure(recall, auc, wide)
