"""Evaluate a model on stills it has not seen: whole pictures, crops from boxes, and shrunk crops.

Every picture gives one or more ``Judged`` rows; the figures are counts over slices of the rows. The model is an ONNX
file: torch is not needed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.classifier import Classifier
from edge.detect.crops import cut, fit, square
from edge.detect.stills import look
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, BoxXYWH
from edge.schema import Picture as Image
from train.data.pictures import Picture, is_bear
from train.evaluate.subjects import bear_of, is_trail, longer_side
from train.metrics.rates import Auc, Rate, clustered_auc, clustered_rate

log = logging.getLogger(__name__)

Mode = Literal["still", "crop", "shrunk"]

SMALL_PX, LARGE_PX = 27, 45  # longer box side; a camera should see bears of 45 px and more
SHRUNK_PX = (20, 36, 60)  # one in each size class

KINDS = ("all", "class", "source", "size", "condition", "note")
NO_BOX = "no box"
SIZES = (f"<{SMALL_PX} px", f"{SMALL_PX}-{LARGE_PX} px", f">={LARGE_PX} px", NO_BOX)


@dataclass(frozen=True)
class Judged:
    """One score of one picture, with the attributes for slices."""

    mode: Mode
    file: str
    bear: bool  # whether there is one
    named: str  # the label in the table
    source: str
    grey_or_ir: bool
    note: str
    score: float  # bear probability, 0 to 1
    alarm: bool
    side_px: float | None = None  # longer box side in source pixels; None without a box
    probabilities: tuple[float, ...] = ()  # of the card's labels, for the region with the highest score
    box_xywh: BoxXYWH = WHOLE  # that region


@dataclass(frozen=True)
class Slice:
    """The figures of one slice of one mode."""

    by: str  # all, class, source, size, condition, note
    value: str
    recall: Rate | None
    false_positive_rate: Rate | None
    auc: Auc | None


@dataclass(frozen=True)
class Stills:
    """Results of ``evaluate`` on stills."""

    pictures: int
    unreadable: tuple[str, ...]
    rows: tuple[Judged, ...]

    def slices(self, mode: Mode) -> list[Slice]:
        """Return the figures of one mode: all, then by class, source, size, condition and note."""
        cells: dict[tuple[str, str], list[Judged]] = defaultdict(list)
        for row in self.rows:
            if row.mode == mode:
                for key in keys(row):
                    cells[key].append(row)

        def rank(cell: tuple[tuple[str, str], list[Judged]]) -> tuple[int, int, str]:
            """Order by kind of slice; sizes from small to large, others from many pictures to few."""
            (by, value), rows = cell
            return KINDS.index(by), SIZES.index(value) if by == "size" else -len(rows), value

        return [figures(by, value, rows) for (by, value), rows in sorted(cells.items(), key=rank)]


def evaluate_stills(classifier: Classifier, pictures: Iterable[Picture]) -> Stills:
    """Judge every picture in all three modes; unreadable pictures are named and skipped."""
    rows: list[Judged] = []
    unreadable: list[str] = []
    seen = 0
    for picture in pictures:
        try:
            image = read_picture(picture.file)
        except PictureError as error:
            log.warning("skipped %s", error)
            unreadable.append(str(picture.file))
            continue
        seen += 1
        rows += judge(classifier, picture, image)
    return Stills(seen, tuple(unreadable), tuple(rows))


def judge(classifier: Classifier, picture: Picture, image: Image) -> Iterator[Judged]:
    """Yield the rows of one picture: the still, its crops, and its crops shrunk."""
    sides = [longer_side(box, image) for box in picture.boxes]
    still = look(classifier, image)
    answers = tuple(still.probabilities[label] for label in classifier.card.labels)
    yield row(picture, "still", still.bear, still.alarm, max(sides, default=None), answers, still.box_xywh)
    # A bear without a box is cut whole, as is a picture without a bear: training shows both.
    boxes: Sequence[tuple[BoxXYWH, float | None]] = list(zip(picture.boxes, sides, strict=True)) or [(WHOLE, None)]
    limit = classifier.card.thresholds["crop"].value
    context = classifier.card.crop.context
    views: list[Image] = []
    about: list[tuple[Mode, float | None, BoxXYWH]] = []
    for box, side in boxes:
        views.append(cut(image, box, classifier.size, context))
        about.append(("crop", side, box))
        for target in SHRUNK_PX:
            if side is None or side >= target:
                views.append(shrunk(image, box, target, classifier.size, context))
                about.append(("shrunk", float(target), box))
    probabilities, _ = classifier(np.stack(views))
    scores = bear_of(probabilities, list(classifier.card.alarm_columns)).tolist()
    for (mode, side, box), one, score in zip(about, probabilities, scores, strict=True):
        yield row(picture, mode, score, score >= limit, side, tuple(float(p) for p in one), box)


def shrunk(image: Image, box: BoxXYWH, target_px: int, size: int, context: float) -> Image:
    """Cut the crop at the distance where the region is ``target_px`` wide, (size, size, 3)."""
    height, width = image.shape[:2]
    x, y, w, h = (0, 0, width, height) if box == WHOLE else square(box, (width, height), context)
    side = target_px if box == WHOLE else round(target_px * context)
    small = cv2.resize(image[y : y + h, x : x + w], (side, side), interpolation=cv2.INTER_AREA)
    return fit(small.astype("uint8"), size)


def row(
    picture: Picture,
    mode: Mode,
    score: float,
    alarm: bool,
    side_px: float | None,
    probabilities: tuple[float, ...] = (),
    box_xywh: BoxXYWH = WHOLE,
) -> Judged:
    """Make one row, with the picture's attributes."""
    return Judged(
        mode=mode,
        file=str(picture.file),
        bear=is_bear(picture.label),
        named=picture.named or picture.label,
        source=picture.source,
        grey_or_ir=picture.grey_or_ir,
        note=picture.note,
        score=score,
        alarm=alarm,
        side_px=side_px,
        probabilities=probabilities,
        box_xywh=box_xywh,
    )


def size_class(side_px: float) -> str:
    """Return the size class of a box."""
    return SIZES[(side_px >= SMALL_PX) + (side_px >= LARGE_PX)]


def keys(judged: Judged) -> Iterator[tuple[str, str]]:
    """Yield a row's slices. Shrunk rows have only a size: a picture has one for each."""
    if judged.mode == "shrunk":
        yield "size", size_class(judged.side_px or 0.0)
        return
    yield "all", ""
    yield "class", judged.named
    yield "source", judged.source
    if judged.side_px is not None:
        yield "size", size_class(judged.side_px)
    elif judged.bear:
        yield "size", NO_BOX
    yield "condition", "grey or infrared" if judged.grey_or_ir else "colour"
    if judged.note:
        yield "note", judged.note


def figures(by: str, value: str, rows: Sequence[Judged]) -> Slice:
    """Measure recall, false-positive rate and AUC of some rows, each None if there is nothing to count.

    Intervals count original pictures, not boxes.
    """
    bears = [judged for judged in rows if judged.bear]
    others = [judged for judged in rows if not judged.bear]
    return Slice(
        by=by,
        value=value,
        recall=clustered_rate([judged.alarm for judged in bears], [judged.file for judged in bears]),
        false_positive_rate=clustered_rate([judged.alarm for judged in others], [judged.file for judged in others]),
        auc=clustered_auc(
            np.array([judged.score for judged in bears]),
            np.array([judged.score for judged in others]),
            [judged.file for judged in bears],
            [judged.file for judged in others],
        ),
    )


# Only whole pictures, for ``compare``.

FollowPictures = Callable[[Iterable[Picture]], Iterable[Picture]]


@dataclass(frozen=True, eq=False)
class StillScores:
    """Scores of whole pictures, one row each, without trail cameras."""

    score: NDArray[np.float64]  # (N,) the still score
    bear: NDArray[np.bool_]
    toy: NDArray[np.bool_]
    files: NDArray[np.str_]


def still_scores(classifier: Classifier, pictures: Iterable[Picture], follow: FollowPictures = iter) -> StillScores:
    """Score every picture except trail cameras' (benchmark B); unreadable pictures are skipped."""
    kept, scores = [], []
    for picture in follow([picture for picture in pictures if not is_trail(picture)]):
        try:
            scores.append(look(classifier, read_picture(picture.file)).bear)
        except PictureError as error:
            log.warning("skipped %s", error)
            continue
        kept.append(picture)
    return StillScores(
        np.array(scores, np.float64),
        np.array([is_bear(picture.label) for picture in kept], bool),
        np.array([picture.label == "teddy_bear" for picture in kept], bool),
        np.array([str(picture.file) for picture in kept]),
    )


def scores_of(stills: Stills, pictures: Sequence[Picture]) -> StillScores:
    """Collect the stills' scores from existing rows, without trail cameras."""
    trail = {str(picture.file) for picture in pictures if is_trail(picture)}
    toys = {str(picture.file) for picture in pictures if picture.label == "teddy_bear"}
    rows = [row for row in stills.rows if row.mode == "still" and row.file not in trail]
    return StillScores(
        np.array([row.score for row in rows], np.float64),
        np.array([row.bear for row in rows], bool),
        np.array([row.file in toys for row in rows], bool),
        np.array([row.file for row in rows]),
    )
