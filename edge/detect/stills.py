"""One still picture: look at all of it, and say whether a bear is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Literal

import cv2

from edge.camera.files import VideoSource
from edge.camera.folder_scan import CLIPS
from edge.detect.card import Card
from edge.detect.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.detect.odds import logit, sigmoid
from edge.errors import PictureError, SourceError
from edge.pictures import SUFFIXES, Exif, decode_picture, picture_bytes, read_exif
from edge.schema import BoxXYWH, Picture, Region

Verdict = Literal["bear", "maybe", "none"]
MAYBE = 0.5  # of the threshold: from there on a person should look
SURER = 0.5  # logits by which a crop must be surer: more looks at a picture are more chances to be wrong
SUPPORT = 3  # pictures of a burst at least that support one another
TOGETHER = 1.0  # logits by which they are surer together: more, and three black cows are a bear


@dataclass(frozen=True, slots=True)
class StillResult:
    """Result for one still, by the surest bear in it."""

    bear: float  # 0 to 1, on the scale of the threshold ``frame``
    verdict: Verdict  # "bear": bear >= the card's threshold of mode "frame"; "maybe": >= half of it
    label: str  # the best alarm label of a bear and of what may be one, else the best other one
    ood: float
    box_xywh: BoxXYWH
    probabilities: dict[str, float]

    @property
    def alarm(self) -> bool:
        """Return True if it counts as a bear."""
        return self.verdict == "bear"


def look(classifier: Classifier, image: Picture) -> StillResult:
    """Return the verdict on one picture (H, W, 3) BGR, by the frame scan."""
    best = FrameScanner(classifier)(image)[0]
    probabilities = dict(zip(classifier.card.labels, best.probabilities, strict=True))
    return _result(classifier.card, best.bear, probabilities, best.ood, best.region.box_xywh)


def look_closer(classifier: Classifier, image: Picture, seen: StillResult, boxes: Sequence[BoxXYWH]) -> StillResult:
    """Return the result for a picture, or for the surest crop of these boxes where that is more.

    A crop's logit is moved so that the card's threshold ``crop`` and ``SURER`` fall onto its threshold ``frame``.
    """
    if not boxes:
        return seen
    card = classifier.card
    crops = classifier.score(image, [Region(box, "motion") for box in boxes])
    best = max(crops, key=lambda score: score.bear)
    move = logit(_threshold(card)) - logit(card.thresholds["crop"].value) - SURER
    bear = sigmoid(logit(best.bear) + move)
    if bear <= seen.bear:
        return seen
    probabilities = dict(zip(card.labels, best.probabilities, strict=True))
    return _result(card, bear, probabilities, best.ood, best.region.box_xywh)


def in_burst(card: Card, burst: Sequence[StillResult]) -> list[StillResult]:
    """Combine the results for the pictures of one burst: three or more that are maybe a bear may together be one.

    The mean of the logits (Kittler et al. 1998) of the better half, three at least, and ``TOGETHER``. Nothing becomes
    less of a bear, and what shows nothing by itself stays so.
    """
    best = sorted((logit(seen.bear) for seen in burst), reverse=True)[: max(SUPPORT, (len(burst) + 1) // 2)]
    bear = sigmoid(sum(best) / len(best) + TOGETHER) if len(best) >= SUPPORT else 0.0
    if bear < _threshold(card):
        return list(burst)
    return [
        _result(card, bear, seen.probabilities, seen.ood, seen.box_xywh) if seen.verdict == "maybe" else seen
        for seen in burst
    ]


def _threshold(card: Card) -> float:
    return card.thresholds["frame"].value


def _result(card: Card, bear: float, probabilities: dict[str, float], ood: float, box_xywh: BoxXYWH) -> StillResult:
    threshold = _threshold(card)
    verdict: Verdict = "bear" if bear >= threshold else "maybe" if bear >= MAYBE * threshold else "none"
    candidates = [label for label in card.labels if (label in card.alarm_labels) == (verdict != "none")]
    return StillResult(
        bear=bear,
        verdict=verdict,
        label=max(candidates, key=probabilities.__getitem__),
        ood=ood,
        box_xywh=box_xywh,
        probabilities=probabilities,
    )


# Classify one file of a card: a picture, or a clip by its most bear-like frame.


FILES = SUFFIXES | CLIPS
Regions = Callable[[Path, tuple[int, int]], list[BoxXYWH]]  # of a picture of this size, what to look at closer
MAX_WORDS = 200  # characters of OpenCV's or onnxruntime's own words


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
class FileResult:
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


def find_in(classifier: Classifier, path: Path, fps: float, stop: Event, regions: Regions | None = None) -> FileResult:
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
        return FileResult(path, failure=str(error), taken=exif.taken, camera=exif.camera)
    except Exception as error:
        if not isinstance(error, (MemoryError, cv2.error)) and not type(error).__module__.startswith("onnxruntime."):
            raise  # a mistake in the program
        if isinstance(error, MemoryError):
            failure = f"{path}: too little memory to look at it; close other programs and try again"
        else:
            why = " ".join(str(error).split())[:MAX_WORDS] or type(error).__name__
            failure = f"{path}: could not be looked at ({why}); try again, or convert it with another program"
        return FileResult(path, failure=failure, taken=exif.taken, camera=exif.camera)
    ms = (time.perf_counter() - started) * 1000
    return FileResult(path, seen, None, exif.taken, exif.camera, clip, ms, problems)


def support(found: Iterable[FileResult], burst: Callable[[Path], int | None], card: Card) -> Iterator[FileResult]:
    """Yield what was found, in the same order; each picture of a burst once all of that burst, one after another, are.

    ``burst`` is the number of a picture's burst, None for a picture of none.
    """
    together: list[FileResult] = []
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


def _supported(together: list[FileResult], card: Card) -> Iterator[FileResult]:
    seen = iter(in_burst(card, [finding.seen for finding in together if finding.seen]))
    for finding in together:
        yield replace(finding, seen=next(seen)) if finding.seen else finding


def _look_into(
    classifier: Classifier, path: Path, fps: float, stop: Event
) -> tuple[StillResult, ClipFrames, tuple[str, ...]]:
    """Return the frame of a clip with the highest score, and which were looked at. Raises SourceError for none."""
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
