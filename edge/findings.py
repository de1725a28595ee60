"""Classify one file of a card: a picture, or a clip by its most bear-like frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Event

import cv2

from edge.camera.files import VideoSource
from edge.camera.folder import CLIPS
from edge.card import Card
from edge.classifier import Classifier
from edge.errors import PictureError, SourceError
from edge.pictures import SUFFIXES, Exif, decode_picture, picture_bytes, read_exif
from edge.schema import BoxXYWH
from edge.stills import StillResult, in_burst, look, look_closer

FILES = SUFFIXES | CLIPS
Regions = Callable[[Path, tuple[int, int]], list[BoxXYWH]]  # of a picture of this size, what to look at closer
MOST_WORDS = 200  # characters of OpenCV's or onnxruntime's own words


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """The frames of a clip that were scored, numbered from 0 in the file."""

    rate: float  # frames a second of the file
    looked_at: tuple[int, ...]
    best: int  # the one that the result is of

    @property
    def second(self) -> float:
        """Return the time of the best frame, seconds into the clip."""
        return round(self.best / self.rate, 2)


@dataclass(frozen=True, slots=True)
class Finding:
    """One file's outcome: what was seen in it, or why it could not be read."""

    file: Path
    seen: StillResult | None = None
    failure: str | None = None
    taken: datetime | None = None  # by the camera's own clock, without a time zone; clips say nothing of it
    camera: str = ""  # as Exif names it
    clip: ClipFrames | None = None
    ms: float = 0.0
    problems: tuple[str, ...] = ()  # what was wrong but did not stop it, one sentence each


def is_clip(path: Path) -> bool:
    """Return True for the name of a clip."""
    return path.suffix.lower() in CLIPS


def find_in(classifier: Classifier, path: Path, fps: float, stop: Event, regions: Regions | None = None) -> Finding:
    """Look into a picture, and closer at its ``regions``, or into ``fps`` frames a second of a clip, until ``stop``.

    A file that OpenCV, onnxruntime or the memory fails on is a failure of its own: a card holds thousands of others.
    """
    started = time.perf_counter()
    exif = Exif()
    try:
        if is_clip(path):
            seen, clip, problems = _look_into(classifier, path, fps, stop)
        else:
            data = picture_bytes(path)
            exif = read_exif(data)
            image = decode_picture(data, path)
            boxes = regions(path, (image.shape[1], image.shape[0])) if regions else []
            seen, clip, problems = look_closer(classifier, image, look(classifier, image), boxes), None, ()
    except (PictureError, SourceError) as error:
        return Finding(path, failure=str(error), taken=exif.taken, camera=exif.camera)
    except Exception as error:
        if not isinstance(error, (MemoryError, cv2.error)) and not type(error).__module__.startswith("onnxruntime."):
            raise  # a mistake in the program
        if isinstance(error, MemoryError):
            failure = f"{path}: too little memory to look at it; close other programs and try again"
        else:
            why = " ".join(str(error).split())[:MOST_WORDS] or type(error).__name__
            failure = f"{path}: could not be looked at ({why}); try again, or convert it with another program"
        return Finding(path, failure=failure, taken=exif.taken, camera=exif.camera)
    ms = (time.perf_counter() - started) * 1000
    return Finding(path, seen, None, exif.taken, exif.camera, clip, ms, problems)


def support(found: Iterable[Finding], burst: Callable[[Path], int | None], card: Card) -> Iterator[Finding]:
    """Yield what was found, in the same order; each picture of a burst once all of that burst, one after another, are.

    ``burst`` is the number of a picture's burst, None for a picture of none.
    """
    together: list[Finding] = []
    for finding in found:
        number = burst(finding.file)
        if together and number != burst(together[0].file):
            yield from _supported(together, card)
            together = []
        if number is None:
            yield finding
        else:
            together.append(finding)
    yield from _supported(together, card)


def _supported(together: list[Finding], card: Card) -> Iterator[Finding]:
    seen = iter(in_burst(card, [finding.seen for finding in together if finding.seen]))
    for finding in together:
        yield replace(finding, seen=next(seen)) if finding.seen else finding


def _look_into(
    classifier: Classifier, path: Path, fps: float, stop: Event
) -> tuple[StillResult, ClipFrames, tuple[str, ...]]:
    """The frame of a clip with the highest score, and which were looked at. Raises SourceError for none."""
    best: StillResult | None = None
    number, numbers = 0, []
    with VideoSource(path, name=path.stem, fps=fps) as source:
        for frame in source:
            numbers.append(round(frame.time * source.file_fps))
            found = look(classifier, frame.image)
            if best is None or found.bear > best.bear:
                best, number = found, numbers[-1]
            if stop.is_set():
                break
    assert best is not None  # a clip without a frame has raised
    return best, ClipFrames(source.file_fps, tuple(numbers), number), tuple(source.problems)
