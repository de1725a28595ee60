"""One still picture: look at all of it, and decide whether a bear is in it.

Around it: a file of a card (``find_in``), pictures of one burst (``support``), the table of a card (``Row``,
``Survey``) and its results in MegaDetector's format (``Results``).
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import cv2

from edge.camera import CLIPS
from edge.camera.video import VideoSource
from edge.detect.card import Card, logit, sigmoid
from edge.detect.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.errors import OptionError, PictureError, SourceError
from edge.files import replace_whole
from edge.pictures import SUFFIXES, Exif, decode_picture, picture_bytes, read_exif
from edge.schema import BoxXYWH, Picture, Region

Verdict = Literal["bear", "maybe", "none"]
MAYBE = 0.5  # of the threshold: from there on a person should look
SURER = 0.5  # logits by which a crop must be surer: more looks at a picture are more chances to be wrong
SUPPORT = 3  # pictures of a burst at least that support one another
TOGETHER = 1.0  # logits by which they are surer together: more, and three black cows are a bear

FILES = SUFFIXES | CLIPS
Regions = Callable[[Path, tuple[int, int]], list[BoxXYWH]]  # of a picture of this size, what to look at closer
MAX_WORDS = 200  # characters of OpenCV's or onnxruntime's own words

UNREADABLE, NO_TIME = "could not be read", "no time"
NO_BEAR = "no_bear"  # a label of models; in files for others it would be read as a species
DECIMALS = 5
FORMULA = frozenset("=+-@")  # what a spreadsheet takes a cell that begins with it for
UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})  # Unicode's categories of spaces, control and format characters
BELOW_DCIM = re.compile(r"[1-9]\d\d\w{5}", re.ASCII)
LIKE_BELOW_DCIM = re.compile(r"[1-9]\d\d(?!\d{5})[A-Z0-9_]{5}")  # elsewhere eight digits are a serial number
BREAKS = ("\t", "\r", "\n")  # some take what follows for a cell of its own

FORMAT_VERSION = "1.6"
ANIMAL = "1"
DETECTION_CATEGORIES = {ANIMAL: "animal", "2": "person", "3": "vehicle"}  # MegaDetector's own; we only give the first
OWN = "bear_alarm"
SHARD = "bear_alarm_shard"  # beside it: results of several shards agree in all but this


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


class Row(NamedTuple):
    """One picture or clip; its fields are the columns of the table."""

    file: str
    time: str  # ISO 8601 by the camera's own clock; "" where it does not say
    camera: str
    label: str  # the best one; "" where the file could not be read
    score: float | None  # how likely a bear is in it, 0 to 1
    box: BoxXYWH | None  # left, top, width, height; fractions of the picture
    verdict: Verdict | None
    second: float | None  # into a clip
    problem: str  # why it could not be read, or what was wrong with it all the same
    species: str = ""  # for people, as far as it can be said where the cameras stand

    @property
    def kind(self) -> str:
        """Return the label it is counted under."""
        label = (self.label or NO_BEAR).replace("_", " ")
        return UNREADABLE if self.verdict is None else f"maybe {label}" if self.verdict == "maybe" else label


def camera_folder(name: str) -> str:
    """Return the folder of a camera from a file's name, with forward slashes; "" for a file in none.

    Cameras make DCIM and folders such as 100EK113 in it by themselves (DCF, CIPA DC-009). Without DCIM only the last
    folder can be one of these.
    """
    parts = PurePosixPath(name).parts[:-1]
    if parts and LIKE_BELOW_DCIM.fullmatch(parts[-1]):
        parts = parts[:-1]
    own = [
        part
        for above, part in zip(("", *parts), parts, strict=False)
        if part.upper() != "DCIM" and not (above.upper() == "DCIM" and BELOW_DCIM.fullmatch(part))
    ]
    return PurePosixPath(*own).as_posix() if own else ""


def row_of(finding: FileResult, name: str) -> Row:
    """Return a file's row, under this name. Its camera is its folder, else the one in the Exif, else where it lies."""
    seen = finding.seen
    place = PurePosixPath(camera_folder(finding.file.resolve().as_posix()))
    return Row(
        file=name,
        time=finding.taken.isoformat() if finding.taken else "",
        camera=camera_folder(name) or finding.camera or place.name,
        label=seen.label if seen else "",
        score=round(seen.bear, DECIMALS) if seen else None,
        box=cast(BoxXYWH, tuple(round(side, DECIMALS) for side in seen.box_xywh)) if seen else None,
        verdict=seen.verdict if seen else None,
        second=finding.clip.second if finding.clip else None,
        problem=finding.failure or "; ".join(finding.problems),
    )


def write_rows(file: BinaryIO, rows: Iterable[Row]) -> None:
    """Write the table as CSV (RFC 4180, UTF-8) with a heading."""
    text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
    writer = csv.writer(text)
    writer.writerow(Row._fields)
    writer.writerows(map(cells, rows))
    text.detach()


def cells(row: Row) -> Iterator[str]:
    """Yield the cells of a row in the table; none can be run by a spreadsheet."""
    for value in row._replace(label="") if row.label == NO_BEAR else row:
        cell = " ".join(f"{side:g}" for side in value) if isinstance(value, tuple) else value
        text = "" if cell is None else str(cell)
        yield f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Return True if a spreadsheet may run the cell, also after spaces or invisible characters."""
    seen = (sign for sign in text if unicodedata.category(sign) not in UNSEEN)
    return text.startswith(BREAKS) or next(seen, "") in FORMULA


class Survey:
    """Counts files by camera, day and label, with the highest score of each."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.verdicts: dict[Verdict, int] = {"bear": 0, "maybe": 0, "none": 0}
        self.failed = 0
        self.clips = 0  # that could be read
        self._found: dict[tuple[str, str, str], tuple[int, float | None]] = {}
        for row in rows:
            self.add(row)

    @property
    def read(self) -> int:
        """Files that could be read."""
        return sum(self.verdicts.values())

    @property
    def pictures(self) -> int:
        """Pictures that could be read."""
        return self.read - self.clips

    def add(self, row: Row) -> None:
        """Count one file."""
        if row.verdict is None:
            self.failed += 1
        else:
            self.verdicts[row.verdict] += 1
            self.clips += row.second is not None
        key = row.camera, row.time[:10] or NO_TIME, row.kind
        count, top = self._found.get(key, (0, None))
        self._found[key] = count + 1, max((score for score in (top, row.score) if score is not None), default=None)

    def lines(self) -> list[str]:
        """Return the counts as a table of text."""
        table = [("camera", "day", "label", "files", "highest score")]
        table += [
            (*key, str(count), "" if top is None else f"{top:.3f}") for key, (count, top) in sorted(self._found.items())
        ]
        widths = [max(len(row[column]) for row in table) for column in range(5)]
        return [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]


# MegaDetector's batch output format 1.6, which Timelapse and other camera-trap tools open.
#
# https://lila.science/megadetector-output-format (agentmorris/MegaDetector). A bear, and what may be one, is a
# detection of an "animal" that is classified as a species of bear; all other pictures have no detection here.
# ``datetime`` is MegaDetector's own name for Exif's DateTimeOriginal. What the format has no place for lies under
# ``bear_alarm``.
#
# The file is also the checkpoint that ``classify`` resumes from: it is only ever replaced whole.


class Results:
    """The results of one folder by one model, growing file by file.

    ``base`` is the folder that file names are relative to, None when they are as given; ``fps`` is how many frames of
    each second of a clip are looked at; ``shard`` is the digest of the list that the files are of.
    """

    def __init__(
        self, path: Path, card: Card, model: str, base: Path | None, fps: float, *, shard: str | None = None
    ) -> None:
        self.path = path
        self._card = card
        self._base = None if base is None else str(base if shard else base.resolve())
        self._model = model
        self.outdated = 0  # clips that ``path`` holds, but looked at with another ``fps``
        self._images: dict[str, str] = {}  # as JSON: a card may hold ten thousand
        frame = card.thresholds["frame"].value
        self._info: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "detector": model,
            "detector_metadata": {
                "typical_detection_threshold": frame,
                "conservative_detection_threshold": MAYBE * frame,
            },
            "classifier": model,
            "base_folder": self._base,
            OWN: {"fps": fps},
            **({} if shard is None else {SHARD: shard}),
        }
        self._ids = {label: str(n) for n, label in enumerate(card.alarm_labels)}

    def resume(self) -> dict[str, Row]:
        """Take up what ``path`` holds already; the rows of the files that need no second look, by name.

        A file that could not be read is tried again, and so are clips that were looked at with another ``fps``.
        Raises OptionError when ``path`` holds something else, or the results of another model or folder.
        """
        held = read_results(self.path)
        model, base = held["info"].get("detector"), held["info"].get("base_folder")
        for what, found, wanted in (
            ("model ", model, self._model),
            ("", base or "single pictures", self._base or "single pictures"),
        ):
            if found != wanted:
                raise OptionError(
                    f"{self.path}: holds results of {what}{found}, not {wanted}; "
                    "name another --out file or replace this one with --force"
                )
        same = held["info"].get(OWN) == self._info[OWN]
        found = [row for image in held["images"] if (row := _row(image))]
        rows = {row.file: row for row in found if same or row.second is None}
        self.outdated = len(found) - len(rows)
        self._images = {image["file"]: _text(image) for image in held["images"] if image["file"] in rows}
        return rows

    def add(self, finding: FileResult, row: Row) -> None:
        """Enter one file: what was seen in it, or why it could not be read."""
        image: dict[str, Any] = {"file": row.file}
        if finding.taken is not None:
            image["datetime"] = finding.taken.strftime("%Y:%m:%d %H:%M:%S")
        if finding.clip is not None:
            image |= {"frame_rate": finding.clip.rate, "frames_processed": finding.clip.looked_at}
        if finding.seen is None:
            image |= {"detections": None, "failure": row.problem}
            if is_clip(finding.file):  # the format demands them of every clip
                image |= {"frame_rate": -1.0, "frames_processed": []}
        else:
            image["detections"] = [self._detection(finding, row)] if row.verdict != "none" else []
        # The species depends on the country that the next run is given.
        own = row._asdict().items()
        image[OWN] = {name: value for name, value in own if name not in {"file", "species"} and value != NO_BEAR}
        self._images[row.file] = _text(image)

    def _detection(self, finding: FileResult, row: Row) -> dict[str, Any]:
        """Return an animal, classified as the species of bear, the likeliest first, however likely all else is."""
        assert finding.seen is not None
        likely = sorted(finding.seen.probabilities.items(), key=lambda item: -item[1])
        found: dict[str, Any] = {"category": ANIMAL, "conf": row.score, "bbox": row.box}
        classes = ([self._ids[label], round(p, DECIMALS)] for label, p in likely if label in self._ids)
        found["classifications"] = [each for each in classes if each[1]]
        if finding.clip is not None:
            found["frame_number"] = finding.clip.best
        return found

    def save(self, *, keep: bool = False) -> None:
        """Replace the file whole: whatever happens, the old or the new results are there.

        ``keep``: the old one stays beside as ``….old``. Raises OptionError.
        """
        self._info["detection_completion_time"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        head = {
            "info": self._info,
            "detection_categories": DETECTION_CATEGORIES,
            "classification_categories": {number: label for label, number in self._ids.items()},
        }
        images = ",\n".join(self._images.values())
        whole = f'{_text(head)[:-1]}, "images": [\n{images}\n]}}\n'
        # A name that is not UTF-8 reaches us with surrogates; so written they are JSON's own escapes.
        replace_whole(self.path, whole.encode("utf-8", "backslashreplace"), keep=keep)


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _row(image: dict[str, Any]) -> Row | None:
    """Return the row of a file as ``add`` entered it; None where it has to be looked at, maybe again."""
    try:
        own = {"label": NO_BEAR} | image[OWN]
        return None if image.get("failure") else Row(image["file"], box=tuple(own.pop("box")), **own)
    except (KeyError, TypeError, ValueError):  # an older version's, or changed by hand
        return None


def read_results(path: Path) -> dict[str, Any]:
    """Return a file in this format, by any program. Raises OptionError when it is something else."""
    try:
        held = json.loads(path.read_bytes())
        if isinstance(held["info"], dict) and all(isinstance(image["file"], str) for image in held["images"]):
            return dict(held)
    except (ValueError, KeyError, TypeError):
        pass
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); name another --out file") from None
    raise OptionError(
        f"{path}: holds something else than results of `bear-alarm classify`; "
        "name another --out file or replace this one with --force"
    )
