"""Training pictures and rows of the table of one reviewed case: the crop, the whole frame, and frames of the clip.

The alarm's own still is never used: a network would learn the rectangle that is drawn around every bear. A group is
one camera on one day, a source is one site.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.crops import SMALLEST_SIDE_PX, square
from edge.errors import PictureError
from edge.installing import pip
from edge.pictures import decode_picture
from edge.record.clip import jpeg, note_in
from edge.schema import BoxXYWH, Picture, utc_text
from train.data.feedback_evidence import Case, Step
from train.data.licences import OWN
from train.data.pictures import BEAR_ANY, CAMERAS, TRAINING_LABELS

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


NO_BEAR = "no_bear"
RANDOM_NEGATIVE = "random negative"  # the name of a random frame without an animal
UNREVIEWED = "none"  # the review of a negative that is imported as empty without one


@dataclass(frozen=True)
class ReviewedLabel:
    """The label, the name that a person gave, and the review that it comes from."""

    label: str  # one of TRAINING_LABELS
    named: str  # fox, stump …; the label if nothing more is known
    review: str  # confirmed@2026-11-24T08:12:07.000Z, or none


@dataclass(frozen=True)
class NotUsable:
    """The reason why a case gives no pictures."""

    # Not reviewed; the reviewer cannot tell; the word is no label; a bear was missed, and its box is not known.
    kind: Literal["unreviewed", "unsure", "unknown", "nowhere"]
    review: str = ""  # as in ReviewedLabel
    words: str = ""  # a sentence


def reviewed_label(case: Case, names: Mapping[str, str], *, unreviewed_negatives: bool) -> ReviewedLabel | NotUsable:
    """Return the label of the case's pictures. ``names``: further names of labels, such as fox -> no_bear.

    A confirmed bear is a bear of unknown species: the model's species is a guess that no person has confirmed.
    """
    review, negative = case.review, case.unit.kind == "negative"
    if review is None:
        if negative and unreviewed_negatives:
            return ReviewedLabel(NO_BEAR, RANDOM_NEGATIVE, UNREVIEWED)
        return NotUsable("unreviewed")
    source = f"{review.verdict}@{review.at}"
    if review.verdict == "unsure":
        return NotUsable("unsure", source)
    if review.verdict == "wrong":
        return ReviewedLabel(NO_BEAR, RANDOM_NEGATIVE if negative else "false alarm", source)
    named = review.label or BEAR_ANY
    label = names.get(named, named)
    if label not in TRAINING_LABELS:
        what = f"was labelled {named!r}, which is no label; define it: --label {named}=no_bear"
        return NotUsable("unknown", source, f"{case.unit.name}: {what}")
    if negative and label != NO_BEAR and review.box_xywh is None:
        what = f"{named.replace('_', ' ')} was missed there, at an unknown place; review it again with --box"
        return NotUsable("nowhere", source, f"{case.unit.name}: {what}")
    return ReviewedLabel(label, "bear" if named == BEAR_ANY else named, source)


FOLDER = "feedback"  # the sub-folder of the pictures' folder
_KEY = re.compile(r"\b(event|negative)=[^;\s]+")
_PART = re.compile(r"\bpart=([^;\s]+)")
_SCORE = re.compile(r"\bscore=([^;\s]+)")
_REVIEW = re.compile(r"\breview=([^;\s]+)")

Row = dict[str, str]


def key_of(note: str) -> str | None:
    """Return the case's key in a row's note, such as ``event=3f9c…``; None for a row of another source."""
    found = _KEY.search(note)
    return found[0] if found else None


def review_of(note: str) -> str:
    """Return the review in a row's note, such as ``confirmed@2026-…``; "" if there is none."""
    found = _REVIEW.search(note)
    return found[1] if found else ""


def part_of(note: str) -> str | None:
    """Return the part in a row's note (``EvidencePicture.part``); None for a row of another source."""
    found = _PART.search(note) if key_of(note) else None
    return found[1] if found else None


def is_cut(part: str) -> bool:
    """Return True if a part (``EvidencePicture.part``) is a crop, not a whole frame."""
    return part == "crop" or part.endswith("-cut")


def day_of(case: Case, zone: tzinfo | None) -> str:
    """Return the local day of the alarm, such as 2026-11-28. ``zone`` None: this machine's time zone."""
    return f"{case.at.astimezone(zone):%Y-%m-%d}"


def row_of(
    case: Case, picture: EvidencePicture, reviewed: ReviewedLabel, *, site: str, zone: tzinfo | None, split: str
) -> Row:
    """Return one row. The file is named after case and part, so a picture has the same name each time."""
    day = day_of(case, zone)
    score = picture.score if picture.score is not None else case.score
    kind, _, key = case.key.partition("=")
    name = f"{case.at:%H%M%S}-{kind}-{_plain(key)[:16]}-{_plain(picture.part)}.jpg"
    return {
        "file": "/".join((FOLDER, _plain(site), _plain(case.camera), day, name)),
        "label": reviewed.label,
        "group": f"{case.camera}/{day}",
        "source": site,
        "licence": OWN,
        "time": utc_text(case.at),
        "note": _note(case, reviewed, _plain(picture.part), _score_text(score)),
        "split": split,
        "condition": "" if is_cut(picture.part) else CAMERAS[0],
    }


def boxes_of(picture: EvidencePicture) -> Sequence[tuple[str, BoxXYWH]]:
    """Return the bear's box, where the picture is a whole frame."""
    return [("bear", picture.box_xywh)] if picture.box_xywh is not None else []


def relabelled(row: Row, case: Case, reviewed: ReviewedLabel) -> Row:
    """Return an existing row of this case with the label of a newer review; file, group and source stay."""
    score = _SCORE.search(row["note"])
    note = _note(case, reviewed, part_of(row["note"]) or "", score[1] if score else _score_text(case.score))
    return row | {"label": reviewed.label, "note": note}


def _note(case: Case, reviewed: ReviewedLabel, part: str, score: str) -> str:
    facts = [
        reviewed.named.replace("_", " "),
        case.key,
        f"part={part}",
        f"review={reviewed.review}",
        f"told={_line(case.label) or 'nothing'}",
        f"score={score}",
        f"model={_line(case.model) or 'unknown'}",
    ]
    if case.clock_synced is False:
        facts.append("clock=not set")
    if case.review and case.review.by:
        facts.append(f"by={_line(case.review.by)}")
    if case.review and case.review.note:
        facts.append(f"said={_line(case.review.note)}")
    return "; ".join(facts)


def _score_text(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"


def _line(words: str) -> str:
    return " ".join(words.replace(";", ",").split())


def _plain(words: str) -> str:
    """Make words a part of a path, at most 60 bytes: file systems allow 255 for a name."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:60].decode(errors="ignore").strip(".") or "_"
