"""The benchmark of trail cameras: whole frames through ``classify``, and their bears at the true boxes.

**The source of a picture gives its label away**: of the frames at hand nearly all with a bear come from one source and
are 500 pixels long, and that source has none without. So bears and others are brought to the same longer side, 500
pixels at most, and to the same JPEG quality before they are scored (``level``); frames without a bear that were found
on the web, and those under 200 pixels, are left out. What else a source may give away, a training that never saw the
source shows (``train --test SOURCE``).

One ``Frame`` holds all that one model said of one frame; every figure follows from those (``trail_figures``).
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from edge.detect.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import BoxXYWH, Region, Score
from edge.schema import Picture as Image
from train.benchmark.held_out import Judge
from train.benchmark.subjects import is_trail
from train.data.pictures import Picture, is_bear
from train.data.split import camera, is_judged

log = logging.getLogger(__name__)

# Of frames that were looked at: the light and what hides the bear; of clips: from when the bear is 27 pixels long.
TAGS = Path(__file__).with_name("trail_cameras.csv")
LONGER_PX = 500
JPEG_QUALITY = 85
LEAST_PX = 200  # longer side of a frame without a bear: smaller ones are thumbnails, or of another kind of camera
SQUASHED = (256, 256)  # a collection that squeezed its frames into squares
THREADS = 2
NIGHT = re.compile(r"\b(?:night|infrared|IR|flash)\b", re.IGNORECASE)
DARK_ANIMAL = re.compile(r"\b(?:hogs?|pigs?|boars?|cattle|cows?|dogs?)\b", re.IGNORECASE)

T = TypeVar("T")
Track = Callable[[Iterable[T], str, int | None], Iterable[T]]


@dataclass(frozen=True)
class Frame:
    """One model's scores of one frame, and the facts of the frame."""

    file: str
    part: str  # "trail camera", or of the far camera "far frame" and "far window"
    camera: str
    bear: bool
    light: str  # colour, flash, grey, infrared; where nobody looked: colour, grey
    grey: bool  # by the table
    hidden: tuple[str, ...]  # rim, grass, blur, dark, overexposed, small, haze; () nothing, or nobody looked
    squashed: bool
    night: bool
    dark_animal: bool  # by the table's note: hogs, cattle, dogs
    side_px: float  # longer side of its largest bear as it was judged; 0 without a box
    model: str
    score: float  # of ``classify``
    threshold: float  # the model's own
    boxes: tuple[float, ...] = ()  # scores at the true boxes
    box_threshold: float = 0.0
    beside: tuple[float, ...] = ()  # of a frame with a bear: scores of what was looked at and touches no box

    @property
    def alarm(self) -> bool:
        """Return True if the model takes it for a bear at its own threshold."""
        return self.score >= self.threshold


def part_of(picture: Picture) -> str:
    """Return the part of the benchmark that a picture belongs to; "" for none."""
    if picture.of_trail_camera:
        return "trail camera" if is_judged(picture) else ""
    if is_bear(picture.label) and picture.boxes and is_trail(picture):
        return "far frame" if "full frame" in picture.note else "far window"
    return ""


def at_once(frames: Iterable[T], _: str, __: int | None) -> Iterable[T]:
    """Follow nothing: no progress bar."""
    return frames


def see_all(judges: Sequence[Judge], follow: Track[Frame | None] = at_once) -> list[Frame]:
    """Judge every frame by the model that has not seen it, once; what cannot be read is left out."""
    rows = [(judge.classifier, picture) for judge in judges for picture in judge.pictures if part_of(picture)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        seen = follow(pool.map(lambda row: see(*row), rows), "frames of trail cameras", len(rows))
        return [frame for frame in seen if frame is not None]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C the frames that wait are not looked at


def see(classifier: Classifier, picture: Picture) -> Frame | None:
    """Level one frame and look at it; None where it cannot be read or is too small to be judged."""
    try:
        image = read_picture(picture.file)
    except PictureError as error:
        log.warning("%s; it is not judged", error)
        return None
    bear, shape = is_bear(picture.label), image.shape[:2]
    if not bear and max(shape) < LEAST_PX:
        return None
    image = level(image)
    height, width = image.shape[:2]
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
        side_px=round(max((max(w * width, h * height) for _, _, w, h in boxes), default=0.0), 1),
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
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def beside(scores: Iterable[Score], boxes: Sequence[BoxXYWH]) -> Iterator[float]:
    """Return the scores of places that touch no box: the background of a frame with a bear."""
    return (one.bear for one in scores if not any(_touch(one.region.box_xywh, box) for box in boxes))


def _touch(one: BoxXYWH, other: BoxXYWH) -> bool:
    return all(one[n] < other[n] + other[n + 2] and other[n] < one[n] + one[n + 2] for n in (0, 1))


def tags() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read the table: a frame's file name -> its light and what hides its bear."""
    return {row["file"]: (row["light"], tuple(row["hidden"].split())) for row in _tagged() if row["light"]}


def from_27_px_s() -> dict[str, float]:
    """Read a clip's file name -> from which second its bear is 27 pixels long, where it appears before that."""
    return {row["file"]: float(row["from_27_px_s"]) for row in _tagged() if row["from_27_px_s"]}


@cache
def _tagged() -> list[dict[str, str]]:
    with TAGS.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))
