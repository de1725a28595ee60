"""Results of many files, one at a time: however many there are, the memory stays the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.detect.stills import Row


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one picture or clip, by a model or by a person."""

    row: Row  # ``row.file``: relative to the folder of the pictures, with forward slashes
    classes: dict[str, float] = field(default_factory=dict)  # alarm label: probability; the likeliest first
    by: str = ""  # the model's name, or the person's
    human: bool = False  # a person said so
    at: str = ""  # when it was classified, ISO 8601 with a zone
    image: dict[str, Any] = field(default_factory=dict)  # its entry in MegaDetector's format, where it has one
