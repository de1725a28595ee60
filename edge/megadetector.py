"""MegaDetector's batch output format 1.6, which Timelapse and other camera-trap tools open.

https://lila.science/megadetector-output-format (agentmorris/MegaDetector). A bear, and what may be one, is a detection
of an "animal" that is classified as a species of bear; everything else is a picture without a detection. ``datetime``
is MegaDetector's own name for Exif's DateTimeOriginal. What the format has no place for lies under ``bear_alarm``.

The file is also the checkpoint that ``classify`` resumes from: it is only ever replaced whole.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.card import Card
from edge.errors import OptionError
from edge.files import replace_whole
from edge.findings import Finding, is_clip
from edge.stills import MAYBE
from edge.survey import DECIMALS, Row

FORMAT_VERSION = "1.6"
ANIMAL = "1"
DETECTION_CATEGORIES = {ANIMAL: "animal", "2": "person", "3": "vehicle"}  # MegaDetector's own; we only give the first
LEAST_CLASS_CONF = 0.005  # below it no species is listed, as MegaDetector does
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

    def add(self, finding: Finding, row: Row) -> None:
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

    def _detection(self, finding: Finding, row: Row) -> dict[str, Any]:
        """An animal, classified where a species of bear is more likely than everything else."""
        assert finding.seen is not None
        likely = sorted(finding.seen.probabilities.items(), key=lambda item: -item[1])
        found: dict[str, Any] = {"category": ANIMAL, "conf": row.score, "bbox": row.box}
        if likely[0][0] in self._ids:
            found["classifications"] = [
                [self._ids[label], round(p, DECIMALS)]
                for label, p in likely
                if label in self._ids and p >= LEAST_CLASS_CONF
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
    """The row of a file as ``add`` entered it; None where it has to be looked at, maybe again."""
    try:
        own = dict(image[OWN])
        return None if image.get("failure") else Row(image["file"], box=tuple(own.pop("box")), **own)
    except (KeyError, TypeError, ValueError):  # an older version's, or changed by hand
        return None


def read_results(path: Path) -> dict[str, Any]:
    """A file in this format, whoever wrote it. Raises OptionError when it is something else."""
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
