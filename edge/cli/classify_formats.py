"""The formats that ``classify`` writes, and results that it reads in place of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.batch.results import ResultFiles


@dataclass(frozen=True, slots=True)
class Formats:
    """The files to write of the results; None: not asked for."""

    out: Path | None = None  # one MegaDetector file
    csv: Path | None = None
    coco: Path | None = None  # COCO Camera Traps
    camtrap_dp: Callable[[ResultFiles], object] | None = None  # writes the package


def sources(paths: Sequence[Path]) -> ResultFiles | None:
    """Return the results that ``paths`` hold where they are files of results (.json); None for pictures.

    Raises OptionError where only some are.
    """
    raise NotImplementedError


def check_formats(formats: Formats, inputs: Iterable[Path], force: bool) -> None:
    """Raise OptionError for a file that cannot be written, before anything is looked at."""
    raise NotImplementedError


def write_formats(results: ResultFiles, formats: Formats) -> None:
    """Write the results in each format that is asked for; log what was written. Raises OptionError."""
    raise NotImplementedError
