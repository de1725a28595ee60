"""Results of many files, one at a time: however many there are, the memory stays the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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


class ResultFiles:
    """The results of several files, of shards or given by a person, as often as they are asked for.

    ``base``: the folder that the names are relative to; None: not known.
    """

    base: Path | None
    info: dict[str, Any]  # MegaDetector's, as far as the files agree

    def __init__(self, paths: Sequence[Path], base: Path | None = None) -> None:
        """Raise OptionError for a file that holds something else."""
        raise NotImplementedError

    def __call__(self) -> Iterator[Result]:
        """Yield the results of one file after the other. Raises OptionError for two of one name."""
        raise NotImplementedError


def read_results(path: Path) -> Iterator[Result]:
    """Yield the results of a file in MegaDetector's format, by any program. Raises OptionError for something else."""
    raise NotImplementedError


def write_megadetector(path: Path, results: Iterable[Result], info: dict[str, Any]) -> None:
    """Write one file in MegaDetector's format 1.6, whole. Raises OptionError."""
    raise NotImplementedError


def write_csv(path: Path, results: Iterable[Result]) -> None:
    """Write the table of ``classify --csv``, whole. Raises OptionError."""
    raise NotImplementedError


def write_coco(path: Path, results: Iterable[Result], base: Path | None) -> None:
    """Write a file in the format COCO Camera Traps, whole. Raises OptionError."""
    raise NotImplementedError
