"""MegaDetector's batch output format 1.6, which Timelapse and other camera-trap tools open.

https://lila.science/megadetector-output-format (agentmorris/MegaDetector). The file is also the
checkpoint that ``classify`` resumes from: it is only ever replaced whole.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.atomic import replace_whole
from edge.card import Card
from edge.errors import OptionError
from edge.stills import StillResult

FORMAT_VERSION = "1.6"
BEAR = "1"  # the one detection category; "0" is informally reserved for empty
LEAST_CONF = 0.005  # below it nothing is listed, as MegaDetector does
DECIMALS = 5


class Results:
    """The results of one folder by one model, growing picture by picture.

    ``base`` is the folder that file names are relative to, None when they are as given.
    """

    def __init__(self, path: Path, card: Card, model: str, base: Path | None) -> None:
        self.path = path
        self._base = None if base is None else str(base.resolve())
        self._model = model
        self._images: dict[str, dict[str, Any]] = {}
        still = card.thresholds["still"].value
        self._info: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "detector": model,
            "detector_metadata": {"typical_detection_threshold": still, "conservative_detection_threshold": still / 2},
            "classifier": model,
            "base_folder": self._base,
        }
        self._categories = {
            "detection_categories": {BEAR: "bear"},
            "classification_categories": {str(n): label for n, label in enumerate(card.labels)},
        }
        self._ids = {label: str(n) for n, label in enumerate(card.labels)}

    def resume(self) -> None:
        """Take up what ``path`` holds already.

        Raises OptionError when it is not such a file, or of another model or folder: it is never overwritten.
        """
        held = read_results(self.path)
        model, base = held["info"].get("detector"), held["info"].get("base_folder")
        if model != self._model:
            raise OptionError(
                f"{self.path}: holds results of model {model}, not {self._model}; name another --out file "
                "or begin again with --no-resume"
            )
        if base != self._base:
            raise OptionError(
                f"{self.path}: holds results of {base or 'single pictures'}, not {self._base or 'single pictures'}; "
                "name another --out file or begin again with --no-resume"
            )
        self._images = {image["file"]: image for image in held["images"]}

    def done(self, file: str) -> bool:
        """Whether a picture was looked at; one that could not be read is tried again."""
        return file in self._images and not self._images[file].get("failure")

    def add(self, file: str, result: StillResult) -> None:
        """Enter what was seen in a picture."""
        detections = []
        if result.bear >= LEAST_CONF:
            ranked = sorted(result.probabilities.items(), key=lambda item: -item[1])
            detections.append(
                {
                    "category": BEAR,
                    "conf": round(float(result.bear), DECIMALS),
                    "bbox": [round(float(side), DECIMALS) for side in result.box_xywh],
                    "classifications": [[self._ids[label], round(float(p), DECIMALS)] for label, p in ranked],
                }
            )
        self._images[file] = {"file": file, "detections": detections}

    def add_failure(self, file: str, why: str) -> None:
        """Enter a picture that could not be read."""
        self._images[file] = {"file": file, "detections": None, "failure": why}

    def save(self) -> None:
        """Replace the file whole: whatever happens, the old or the new results are there."""
        self._info["detection_completion_time"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        whole = {"info": self._info, **self._categories, "images": list(self._images.values())}
        # A name that is not UTF-8 reaches us with surrogates; so written they are JSON's own escapes.
        replace_whole(self.path, json.dumps(whole, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))


def read_results(path: Path) -> dict[str, Any]:
    """A file in this format, whoever wrote it. Raises OptionError when it is something else."""
    try:
        held = json.loads(path.read_bytes())
        if isinstance(held["info"], dict) and all("file" in image for image in held["images"]):
            return dict(held)
    except (ValueError, KeyError, TypeError):
        pass
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); name another --out file") from None
    raise OptionError(f"{path}: holds something else than results of `bear-alarm classify`; name another --out file")
