"""A card of pictures as a table: a row a file, and how many of each camera, day and label."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from edge.detect.card import Card
from edge.detect.stills import MAYBE, FileResult, Verdict, is_clip
from edge.errors import OptionError
from edge.files import replace_whole
from edge.schema import BoxXYWH

UNREADABLE, NO_TIME = "could not be read", "no time"
DECIMALS = 5
FORMULA = frozenset("=+-@")  # what a spreadsheet takes a cell that begins with it for
UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})  # Unicode's categories of spaces, control and format characters
BREAKS = ("\t", "\r", "\n")  # some take what follows for a cell of its own


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

    @property
    def kind(self) -> str:
        """Return the label it is counted under."""
        label = self.label.replace("_", " ")
        return UNREADABLE if self.verdict is None else f"maybe {label}" if self.verdict == "maybe" else label


def row_of(finding: FileResult, name: str) -> Row:
    """Return a file's row, under this name. Its camera is the one in the Exif, else its folder."""
    folder, seen = Path(name).parent, finding.seen
    return Row(
        file=name,
        time=finding.taken.isoformat() if finding.taken else "",
        camera=finding.camera or (finding.file.resolve().parent.name if folder == Path() else folder.as_posix()),
        label=seen.label if seen else "",
        score=round(seen.bear, DECIMALS) if seen else None,
        box=cast(BoxXYWH, tuple(round(side, DECIMALS) for side in seen.box_xywh)) if seen else None,
        verdict=seen.verdict if seen else None,
        second=finding.clip.second if finding.clip else None,
        problem=finding.failure or "; ".join(finding.problems),
    )


def csv_bytes(rows: Iterable[Row]) -> bytes:
    """Return the table as CSV (RFC 4180, UTF-8) with a heading."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Row._fields)
    writer.writerows(map(_cells, rows))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(row: Row) -> Iterator[str]:
    for value in row:
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
        self._found: dict[tuple[str, str, str], tuple[int, float]] = {}
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
        count, top = self._found.get(key, (0, 0.0))
        self._found[key] = count + 1, max(top, row.score or 0.0)

    def lines(self) -> list[str]:
        """Return the counts as a table of text."""
        table = [("camera", "day", "label", "files", "highest score")]
        table += [
            (*key, str(count), "" if key[2] == UNREADABLE else f"{top:.3f}")
            for key, (count, top) in sorted(self._found.items())
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
# detection of an "animal" that is classified as a species of bear; everything else is a picture without a detection.
# ``datetime`` is MegaDetector's own name for Exif's DateTimeOriginal. What the format has no place for lies under
# ``bear_alarm``.
#
# The file is also the checkpoint that ``classify`` resumes from: it is only ever replaced whole.


FORMAT_VERSION = "1.6"
ANIMAL = "1"
DETECTION_CATEGORIES = {ANIMAL: "animal", "2": "person", "3": "vehicle"}  # MegaDetector's own; we only give the first
MIN_CLASS_CONF = 0.005  # below it no species is listed, as MegaDetector does
OWN = "bear_alarm"


class Results:
    """The results of one folder by one model, growing file by file.

    ``base`` is the folder that file names are relative to, None when they are as given; ``fps`` is how many frames of
    each second of a clip are looked at.
    """

    def __init__(self, path: Path, card: Card, model: str, base: Path | None, fps: float) -> None:
        self.path = path
        self._card = card
        self._base = None if base is None else str(base.resolve())
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
        image[OWN] = {name: value for name, value in row._asdict().items() if name != "file"}
        self._images[row.file] = _text(image)

    def _detection(self, finding: FileResult, row: Row) -> dict[str, Any]:
        """Return an animal, classified where a species of bear is more likely than everything else."""
        assert finding.seen is not None
        likely = sorted(finding.seen.probabilities.items(), key=lambda item: -item[1])
        found: dict[str, Any] = {"category": ANIMAL, "conf": row.score, "bbox": row.box}
        if likely[0][0] in self._ids:
            found["classifications"] = [
                [self._ids[label], round(p, DECIMALS)]
                for label, p in likely
                if label in self._ids and p >= MIN_CLASS_CONF
            ]
        if finding.clip is not None:
            found["frame_number"] = finding.clip.best
        return found

    def save(self) -> None:
        """Replace the file whole: whatever happens, the old or the new results are there."""
        self._info["detection_completion_time"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        head = {
            "info": self._info,
            "detection_categories": DETECTION_CATEGORIES,
            "classification_categories": {number: label for label, number in self._ids.items()},
        }
        images = ",\n".join(self._images.values())
        whole = f'{_text(head)[:-1]}, "images": [\n{images}\n]}}\n'
        # A name that is not UTF-8 reaches us with surrogates; so written they are JSON's own escapes.
        replace_whole(self.path, whole.encode("utf-8", "backslashreplace"))


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _row(image: dict[str, Any]) -> Row | None:
    """Return the row of a file as ``add`` entered it; None where it has to be looked at, maybe again."""
    try:
        own = dict(image[OWN])
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
