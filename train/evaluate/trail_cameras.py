"""The benchmark of trail cameras: whole frames through ``classify``, and their bears at the true boxes.

**The source of a picture gives its label away**: nearly all frames with a bear are of one source and 500 pixels long,
and that source has none without. So bears and others get the same longer side, 500 pixels at most, and the same JPEG
quality before they are scored (``level``). Frames without a bear from the web, and those under 200 pixels, are
excluded. A training without the source shows what else it gives away (``train --test SOURCE``).

A ``Frame`` has one model's scores of one frame; every figure follows from those (``trail_figures``).
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from edge.detect.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import BoxXYWH, Region, Score
from edge.schema import Picture as Image
from train.data.pictures import Picture, is_bear
from train.data.split import camera, is_judged
from train.evaluate.held_out import Judge
from train.evaluate.subjects import as_jpeg, is_trail, longer_side
from train.metrics.rates import AtRate, Rate, clustered_rate, recall_at, threshold_at

log = logging.getLogger(__name__)

# Checked by a person: of frames the light and what hides the bear; of clips when the bear is 27 pixels long.
TAGS = Path(__file__).with_name("trail_cameras.csv")
LONGER_PX = 500
JPEG_QUALITY = 85
MIN_PX = 200  # longer side of a frame without a bear: smaller ones are thumbnails or from other cameras
SQUASHED = (256, 256)  # a collection with frames squeezed into squares
THREADS = 2
NIGHT = re.compile(r"\b(?:night|infrared|IR|flash)\b", re.IGNORECASE)
DARK_ANIMAL = re.compile(r"\b(?:hogs?|pigs?|boars?|cattle|cows?|dogs?)\b", re.IGNORECASE)

T = TypeVar("T")
Track = Callable[..., Iterable[Any]]  # a progress bar around items: items, words, their number if it is not known


@dataclass(frozen=True)
class Frame:
    """One model's scores of one frame, and the facts of the frame."""

    file: str
    part: str  # "trail camera"; of the far camera "far frame" or "far window"
    camera: str
    bear: bool
    light: str  # colour, flash, grey, infrared; unchecked: colour, grey
    grey: bool  # by the table
    hidden: tuple[str, ...]  # rim, grass, blur, dark, overexposed, small, haze; () nothing, or unchecked
    squashed: bool
    night: bool
    dark_animal: bool  # by the table's note: hogs, cattle, dogs
    side_px: float  # longer side of its largest bear after ``level``; 0 without a box
    model: str
    score: float  # of ``classify``
    threshold: float  # the model's own
    boxes: tuple[float, ...] = ()  # scores at the true boxes
    box_threshold: float = 0.0
    beside: tuple[float, ...] = ()  # of a frame with a bear: scores of regions that touch no box

    @property
    def alarm(self) -> bool:
        """Return True if the score reaches the model's own threshold."""
        return self.score >= self.threshold


def part_of(picture: Picture) -> str:
    """Return the part of the benchmark that a picture belongs to; "" for none."""
    if picture.of_trail_camera:
        return "trail camera" if is_judged(picture) else ""
    if is_bear(picture.label) and picture.boxes and is_trail(picture):
        return "far frame" if "full frame" in picture.note else "far window"
    return ""


def no_progress(items: Iterable[T], *_: object) -> Iterable[T]:
    """Return the items, without a progress bar."""
    return items


def score_frames(judges: Sequence[Judge], follow: Track = no_progress) -> list[Frame]:
    """Score every frame once, by the model that has not seen it; unreadable frames are skipped."""
    rows = [(judge.classifier, picture) for judge in judges for picture in judge.pictures if part_of(picture)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        seen = follow(pool.map(lambda row: score_frame(*row), rows), "frames of trail cameras", len(rows))
        return [frame for frame in seen if frame is not None]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C waiting frames are dropped


def score_frame(classifier: Classifier, picture: Picture) -> Frame | None:
    """Level and score one frame; None if it cannot be read or is too small."""
    try:
        image = read_picture(picture.file)
    except PictureError as error:
        log.warning("skipped %s", error)
        return None
    bear, shape = is_bear(picture.label), image.shape[:2]
    if not bear and max(shape) < MIN_PX:
        return None
    image = level(image)
    light, hidden = tags().get(picture.file.name, ("grey" if picture.grey_or_ir else "colour", ()))
    boxes = picture.boxes if bear else ()
    card, found = classifier.card, FrameScanner(classifier)(image)
    return Frame(
        file=str(picture.file),
        part=part_of(picture),
        camera=camera(picture),
        bear=bear,
        light=light,
        grey=picture.grey_or_ir,
        hidden=hidden,
        squashed=shape == SQUASHED,
        night=picture.grey_or_ir or light in ("flash", "infrared") or bool(NIGHT.search(picture.note)),
        dark_animal=not bear and bool(DARK_ANIMAL.search(picture.note)),
        side_px=round(max((longer_side(box, image) for box in boxes), default=0.0), 1),
        model=classifier.name,
        score=found[0].bear,
        threshold=card.thresholds["frame"].value,
        boxes=tuple(one.bear for one in classifier.score(image, [Region(box, "motion") for box in boxes])),
        box_threshold=card.thresholds["crop"].value,
        beside=tuple(beside(found, boxes)) if boxes else (),
    )


def level(image: Image) -> Image:
    """Return the picture with its longer side at most ``LONGER_PX``, from a JPEG of ``JPEG_QUALITY``: (h, w, 3) BGR."""
    scale = LONGER_PX / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return as_jpeg(image, JPEG_QUALITY)


def beside(scores: Iterable[Score], boxes: Sequence[BoxXYWH]) -> Iterator[float]:
    """Return the scores of regions that touch no box: the background of a frame with a bear."""
    return (one.bear for one in scores if not any(_touch(one.region.box_xywh, box) for box in boxes))


def _touch(one: BoxXYWH, other: BoxXYWH) -> bool:
    return all(one[n] < other[n] + other[n + 2] and other[n] < one[n] + one[n + 2] for n in (0, 1))


def tags() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the table of frames: file name -> light and what hides the bear."""
    return {row["file"]: (row["light"], tuple(row["hidden"].split())) for row in _tagged() if row["light"]}


def from_27_px_s() -> dict[str, float]:
    """Return clips whose bear appears smaller: file name -> second from which it is 27 pixels long."""
    return {row["file"]: float(row["from_27_px_s"]) for row in _tagged() if row["from_27_px_s"]}


@cache
def _tagged() -> list[dict[str, str]]:
    with TAGS.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


RATES = (0.005, 0.01, 0.02)  # shares of the others that may pass
MIN_PASSED = 3  # false alarms that a rate must allow: with fewer the threshold is chance
RATE = 0.01  # for rows by light, size and what hides the bear
NO_END = 10**9
SIZES_PX = (0, 27, 45, 90, 180, NO_END)
FAR_SIZES_PX = (45, 27, 0)


@dataclass(frozen=True)
class Row:
    """Some frames at the models' own thresholds, and at the threshold of 1 %."""

    what: str
    own: Rate
    at_rate: Rate | None  # None if the others are too few for the rate


@dataclass(frozen=True)
class TrailFigures:
    """All figures of one model, or of the folds of one recipe pooled."""

    models: tuple[str, ...]
    rates: dict[str, AtRate]  # "1 %" -> recall there; only rates with at least ``MIN_PASSED`` false alarms
    bears: tuple[Row, ...]
    others: tuple[Row, ...]  # taken for a bear
    at_boxes: tuple[Row, ...]  # crops of the true boxes, at the crop threshold; ``at_rate`` is None
    beside: Rate | None  # frames with a bear and an alarm outside its boxes, at the own threshold
    far: tuple[Row, ...]  # the far camera
    missed: tuple[tuple[str, str], ...]  # bears below the threshold of 1 %: file, light and what hides it; best first
    decide: tuple[str, ...]  # the others that decide that threshold, the highest first


def trail_figures(frames: Iterable[Frame]) -> TrailFigures:
    """Return every figure; scores of several models are pooled without scaling."""
    frames = list(frames)
    bears, others = (
        [one for one in frames if one.part == "trail camera" and one.bear == bear] for bear in (True, False)
    )
    scores, passing = (np.array([one.score for one in side], float) for side in (bears, others))
    of, other_of = (np.array([one.camera for one in side], str) for side in (bears, others))
    rates = {
        f"{100 * rate:g} %": at
        for rate in RATES
        if supported(rate, len(others)) and (at := recall_at(scores, passing, of, other_of, rate)) is not None
    }
    limit = threshold_at(passing, RATE) if supported(RATE, len(others)) else None
    found, taken = ({what: list(some) for what, some in parts} for parts in (_bears(bears), _others(others)))
    far = [one for one in frames if one.part.startswith("far")]
    boxed = [one for one in bears if one.boxes]
    by_score = sorted((one for one in bears if limit is not None and one.score < limit), key=lambda one: -one.score)
    top = sorted(others, key=lambda one: -one.score)[: int(RATE * len(others)) + 1] if limit is not None else []
    return TrailFigures(
        models=tuple(dict.fromkeys(one.model for one in frames)),
        rates=rates,
        bears=tuple(_rows(found, limit)),
        others=tuple(_rows(taken, limit)),
        at_boxes=tuple(_at_boxes(bears)),
        beside=clustered_rate(
            [any(score >= one.threshold for score in one.beside) for one in boxed], [one.camera for one in boxed]
        ),
        far=tuple(_rows({what: list(some) for what, some in _far(far)}, limit)),
        missed=tuple((one.file, " ".join((one.light, *one.hidden))) for one in by_score),
        decide=tuple(one.file for one in top),
    )


def supported(rate: float, others: int) -> bool:
    """Return True if the rate allows at least ``MIN_PASSED`` false alarms among so many others."""
    return rate * others >= MIN_PASSED - 1e-9


def in_words(low: float, high: float) -> str:
    """Write a range of sizes: ``45 to 89 px``."""
    return f"{low:g} px and more" if high == NO_END else f"{low:g} to {high - 1:g} px"


def _bears(bears: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "all", bears
    for light in ("colour", "flash", "grey", "infrared"):
        yield (
            {"flash": "flash at night", "grey": "grey by day"}.get(light, light),
            [b for b in bears if b.light == light],
        )
    yield "grey or infrared by the table", [one for one in bears if one.grey]
    for low, high in pairwise(SIZES_PX):
        yield in_words(low, high), [one for one in bears if low <= one.side_px < high]
    if any(one.hidden for one in bears):
        for what in ("rim", "grass", "blur", "haze", "dark", "overexposed", "small"):
            yield f"hidden by: {what}", [one for one in bears if what in one.hidden]
        yield "hidden by nothing", [one for one in bears if not one.hidden]
    yield from _squashed(bears)


def _others(others: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "all", others
    for what, grey in (("colour", False), ("grey or infrared", True)):
        yield what, [one for one in others if one.grey == grey]
    yield "night", [one for one in others if one.night]
    yield "hogs, cattle and dogs", [one for one in others if one.dark_animal]
    yield from _squashed(others)


def _squashed(frames: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    yield "squashed to 256 × 256", [one for one in frames if one.squashed]
    yield "not squashed", [one for one in frames if not one.squashed]


def _far(far: Sequence[Frame]) -> Iterator[tuple[str, Iterable[Frame]]]:
    for low, high in pairwise((NO_END, *FAR_SIZES_PX)):
        windows = [one for one in far if one.part == "far window" and high <= one.side_px < low]
        yield f"far camera, windows, {in_words(high, low)}", windows
    yield "far camera, whole frames", [one for one in far if one.part == "far frame"]


def _rows(parts: dict[str, list[Frame]], limit: float | None) -> Iterator[Row]:
    """Yield a row for each part that holds frames."""

    def rate(some: Sequence[Frame], passes: Callable[[Frame], bool]) -> Rate | None:
        return clustered_rate([passes(one) for one in some], [one.camera for one in some])

    for what, some in parts.items():
        own = rate(some, lambda one: one.alarm)
        if own is not None:
            yield Row(what, own, None if limit is None else rate(some, lambda one: one.score >= limit))


def _at_boxes(bears: Sequence[Frame]) -> Iterator[Row]:
    kinds = {"all", "colour", "grey or infrared by the table", *(in_words(*span) for span in pairwise(SIZES_PX))}
    for what, some in _bears(bears):
        boxes = [(score >= one.box_threshold, one.camera) for one in some for score in one.boxes]
        found = clustered_rate([hit for hit, _ in boxes], [where for _, where in boxes])
        if found is not None and what in kinds:
            yield Row(what, found, None)
