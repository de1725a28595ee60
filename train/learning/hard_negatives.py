"""Bear-free pictures and clips whose crops the present model takes for bears: more to learn from. Needs no torch."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2

from edge.camera import open_source
from edge.classifier import Classifier
from edge.crops import square
from edge.errors import BearAlarmError, OptionError, PictureError
from edge.pictures import SUFFIXES, find_pictures, read_picture
from edge.schema import BoxXYWH, Picture, Region
from edge.sweep import whole_and_tiles
from train.catalog.picture import Picture as Row
from train.figures.metrics import iou

log = logging.getLogger(__name__)

FOLDER = "hard-negatives"  # in the run's folder
SOURCE = "hard negatives"
LEAST = 0.2  # p(bear) from which a crop is hard
MOST = 600  # crops kept of all: the highest
PER_PICTURE = 3
APART = 0.3  # crops of one picture that overlap more than this (IoU) are one
FPS = 1.0  # of clips
OWN = re.compile(r"\d{5}\.png")
Track = Callable[[Iterable[Path], str], Iterator[Path]]


class Found(NamedTuple):
    """One crop that is no bear and scored like one."""

    bear: float
    crop: Picture
    whence: str  # the clip or picture


@dataclass(frozen=True)
class Mined:
    """The rows to train on, how many pictures and frames were looked at, and the highest score among them."""

    rows: tuple[Row, ...]
    looked_at: int
    highest: float


def mine(paths: Sequence[Path], classifier: Classifier, out: Path, track: Track, least: float = LEAST) -> Mined:
    """Score the whole and the tiles of every picture and every second of a clip; keep what reaches ``least``.

    The crops are written to OUT/hard-negatives as PNG, so that someone can see whether a bear is among them.
    Raises OptionError for a path that is neither picture, folder nor clip.
    """
    found: list[Found] = []
    looked_at = 0
    for path in track(files_of(paths), "looking for hard negatives"):
        for image in pictures_of(path):
            looked_at += 1
            found += hard_crops(classifier, image, path.name, least)
        found = sorted(found, key=lambda one: -one.bear)[:MOST]
    rows = tuple(_write(found, out / FOLDER))
    return Mined(rows, looked_at, found[0].bear if found else 0.0)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The pictures and clips that some words name; folders are looked through for pictures."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise OptionError(f"--hard-negatives {path}: no such file or folder; name bear-free pictures or a clip")
        try:
            files += find_pictures([path]) if path.is_dir() else [path]
        except PictureError as error:
            raise OptionError(f"--hard-negatives {error}") from None
    return files


def pictures_of(path: Path) -> Iterator[Picture]:
    """The picture, or a clip's frames, one a second. What breaks off or is damaged is left out and said."""
    try:
        if path.suffix.lower() in SUFFIXES:
            yield read_picture(path)
        else:
            source = open_source(str(path), fps=FPS)
            try:
                for frame in source:
                    yield frame.image
            finally:
                source.close()
    except BearAlarmError as error:
        log.warning("%s; nothing more is taken from it", error)


def hard_crops(classifier: Classifier, image: Picture, whence: str, least: float) -> list[Found]:
    """The highest-scoring regions of a picture, apart from each other, at most ``PER_PICTURE``."""
    size_wh = (image.shape[1], image.shape[0])
    scores = classifier.score(image, [Region(box, "sweep") for box in whole_and_tiles(size_wh)])
    kept: list[tuple[float, BoxXYWH]] = []
    for score in sorted(scores, key=lambda one: -one.bear):
        box = score.region.box_xywh
        if score.bear < least or len(kept) == PER_PICTURE:
            break
        if all(iou(box, other) <= APART for _, other in kept):
            kept.append((score.bear, box))
    found = []
    for bear, box in kept:
        x, y, w, h = square(box, size_wh, 1.0)
        found.append(Found(bear, image[y : y + h, x : x + w].copy(), whence))
    return found


def _write(found: Sequence[Found], folder: Path) -> Iterator[Row]:
    """Write the crops, in place of those of an earlier training."""
    if folder.is_dir():
        for file in folder.iterdir():
            if OWN.fullmatch(file.name):
                file.unlink()
    for number, one in enumerate(found):
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number:05d}.png"
        if not cv2.imwrite(str(file), one.crop):
            raise OptionError(f"{file}: cannot be written; is the disk full?")
        yield Row(file, "no_bear", SOURCE, one.whence, note=f"hard negative, p(bear) {one.bear:.2f}")
