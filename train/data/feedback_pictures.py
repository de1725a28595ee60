"""Training pictures of one case: the crop, the whole frame, and frames of the clip.

The alarm's own still is never used: a network would learn the rectangle that is drawn around every bear.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.crops import SMALLEST_SIDE_PX, square
from edge.errors import PictureError
from edge.installing import pip
from edge.pictures import decode_picture
from edge.record.clip import jpeg
from edge.schema import BoxXYWH, Picture
from train.data.feedback_evidence import Case, Step, note_in

CROP, FULL = "crop.jpg", "full.jpg"
CONTEXT = 1.1  # the crop's side over the region's longer side, as the classifier sees it
QUALITY = 92
SURE = 0.5  # bear probability from which a step of the path surely shows the animal of the alarm
ALIKE = 3.0  # mean difference of two 16 x 16 thumbnails in grey levels (0 to 255) below which they are near duplicates
CANDIDATES = 4  # steps of the path that are decoded for each wanted picture
APART_S = 0.2  # a frame shows a step of the path if it is at most so far from it
Problem = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class EvidencePicture:
    """One picture: a crop, or a whole frame with its box."""

    part: str  # crop, full, full-cut, clip-1.50s, frame: names one picture of the case, always the same
    jpeg: bytes
    box_xywh: BoxXYWH | None  # of a whole frame; None: a crop, or a frame of an empty place
    score: float | None  # bear probability at that time
    thumb: NDArray[np.float32]  # (16, 16) of the crop


def event_pictures(case: Case, *, framed: bool, most: int, problem: Problem) -> tuple[list[EvidencePicture], int]:
    """Return at most ``most`` pictures of an alarm without near duplicates, and the number of pictures skipped.

    ``framed``: as whole frames with boxes where possible, as bears are kept; else as crops, because boxes are for
    bears only. ``problem`` is called with a sentence about each broken file.
    """
    kept: list[EvidencePicture] = []
    more = 0
    for picture in _candidates(case, framed, most, problem):
        if len(kept) >= most or any(near_duplicate(picture, other) for other in kept):
            more += 1
        else:
            kept.append(picture)
    return kept, more


def negative_pictures(case: Case, box_xywh: BoxXYWH | None, *, framed: bool) -> list[EvidencePicture]:
    """Return the pictures of a random frame. Raises PictureError if it is broken.

    With a reviewer's box: whole (``framed``), or a crop of that box. Of an empty place: whole, and a crop of the
    region with the highest score.
    """
    name = case.unit.name.rpartition("/")[2]
    data = case.unit.read(name)
    image = decode_picture(data, case.unit.name)
    if box_xywh is not None:
        return [_framed("frame", data, image, box_xywh, None)] if framed else [_cropped("frame", image, box_xywh, None)]
    pictures = [EvidencePicture("frame", data, None, None, _thumb(image))]
    if case.box_xywh is not None and _side(case.box_xywh, image) >= SMALLEST_SIDE_PX:
        part = _cropped("frame", image, case.box_xywh, case.score)
        pictures += [part] if not near_duplicate(part, pictures[0]) else []
    return pictures


def near_duplicate(one: EvidencePicture, other: EvidencePicture) -> bool:
    """Return True if two pictures show the same scene, apart from wind and the sensor's noise."""
    return float(np.abs(one.thumb - other.thumb).mean()) < ALIKE


def _candidates(case: Case, framed: bool, most: int, problem: Problem) -> Iterator[EvidencePicture]:
    """Yield the best first: the whole frame of a bear, the best crop, then the clip."""
    makers = [_full, _crop] if framed else [_crop, _full]
    for make in makers:
        try:
            if picture := make(case, framed):
                yield picture
        except PictureError as error:
            problem(str(error))
    for name, from_s in case.clips:
        if name not in case.unit.files:
            continue
        try:
            yield from _clip(case, name, from_s, framed, most)
        except PictureError as error:
            problem(str(error))


def _crop(case: Case, _: bool) -> EvidencePicture | None:
    if CROP not in case.unit.files:
        return None
    data = case.unit.read(CROP)
    score = note_in(data).get("score")
    image = decode_picture(data, f"{case.unit.name}/{CROP}")
    return EvidencePicture("crop", data, None, score if isinstance(score, float) else None, _thumb(image))


def _full(case: Case, framed: bool) -> EvidencePicture | None:
    """Return the whole frame of the alarm. Its box is the reviewer's, else the first of the path."""
    begin = case.path[0] if case.path and case.path[0].at_s == 0.0 else None
    drawn = case.review.box_xywh if case.review else None
    box = drawn or (begin.box_xywh if begin else None)
    if FULL not in case.unit.files or box is None:
        return None
    data = case.unit.read(FULL)
    image = decode_picture(data, f"{case.unit.name}/{FULL}")
    score = begin.bear if begin else None
    return _framed("full", data, image, box, score) if framed else _cropped("full", image, box, score)


def _clip(case: Case, name: str, from_s: float, framed: bool, most: int) -> Iterator[EvidencePicture]:
    """Yield frames that surely show the animal, spread over the whole path."""
    sure = [step for step in case.path if step.bear is not None and step.bear >= SURE]
    steps = [step for step in sure or case.path if step.at_s >= from_s - APART_S]
    wanted = _spread(steps, CANDIDATES * most)
    shown = _frames(case.unit.read(name), [step.at_s - from_s for step in wanted], f"{case.unit.name}/{name}")
    for step, image in zip(wanted, shown, strict=True):
        if image is None or _side(step.box_xywh, image) < SMALLEST_SIDE_PX:
            continue
        part = f"{name.removesuffix('.mp4')}-{step.at_s:.2f}s"
        if framed:
            yield _framed(part, jpeg(image, QUALITY), image, step.box_xywh, step.bear)
        else:
            yield _cropped(part, image, step.box_xywh, step.bear)


def _frames(data: bytes, times_s: Sequence[float], name: str) -> list[Picture | None]:
    """Return the frame nearest to each time; None if none is near. Raises PictureError for a broken clip."""
    try:
        import av
    except ImportError:
        raise PictureError(f"{name}: PyAV is missing, so clips are skipped; run: {pip('install', 'av')}") from None
    found: list[Picture | None] = [None] * len(times_s)
    off = [APART_S] * len(times_s)
    try:
        with av.open(io.BytesIO(data), "r") as film:
            for frame in film.decode(video=0):
                at_s = frame.time or 0.0
                nearer = [n for n, time_s in enumerate(times_s) if abs(time_s - at_s) < off[n]]
                if nearer:
                    image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                    for n in nearer:
                        found[n], off[n] = image, abs(times_s[n] - at_s)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise PictureError(f"{name}: a damaged clip ({error})") from None
    return found


def _spread(steps: Sequence[Step], most: int) -> list[Step]:
    """Return at most ``most`` steps, each as far as possible from those before it."""
    order: list[int] = []
    gaps = [(0, len(steps) - 1)] if steps else []
    if steps:
        order += dict.fromkeys((0, len(steps) - 1))
    while gaps and len(order) < most:
        gaps.sort(key=lambda gap: gap[0] - gap[1])
        first, last = gaps.pop(0)
        middle = (first + last) // 2
        if middle in (first, last):
            continue
        order.append(middle)
        gaps += [(first, middle), (middle, last)]
    return [steps[n] for n in order[:most]]


def _framed(part: str, data: bytes, image: Picture, box_xywh: BoxXYWH, score: float | None) -> EvidencePicture:
    return EvidencePicture(part, data, _inside(box_xywh), score, _thumb(_cut(image, box_xywh)))


def _cropped(part: str, image: Picture, box_xywh: BoxXYWH, score: float | None) -> EvidencePicture:
    pixels = _cut(image, box_xywh)
    return EvidencePicture(f"{part}-cut", jpeg(pixels, QUALITY), None, score, _thumb(pixels))


def _cut(image: Picture, box_xywh: BoxXYWH) -> Picture:
    x, y, w, h = square(_inside(box_xywh), (image.shape[1], image.shape[0]), CONTEXT)
    return image[y : y + h, x : x + w]


def _inside(box_xywh: BoxXYWH) -> BoxXYWH:
    """Return the part of a box inside the frame. Raises PictureError if there is none."""
    x, y, w, h = box_xywh
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, 1.0), min(y + h, 1.0)
    if not (left < right and top < bottom):
        raise PictureError(f"box {box_xywh} is outside the frame")
    return left, top, right - left, bottom - top


def _side(box_xywh: BoxXYWH, image: Picture) -> float:
    """Return the longer side of a box, pixels."""
    return max(box_xywh[2] * image.shape[1], box_xywh[3] * image.shape[0])


def _thumb(image: Picture) -> NDArray[np.float32]:
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)
