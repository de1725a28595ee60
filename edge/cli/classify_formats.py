"""The formats that ``classify`` writes, and results that it reads in place of pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.output import check_new_file, check_writable, counted, track
from edge.detect.stills import Survey
from edge.errors import OptionError
from edge.schema import readable

if TYPE_CHECKING:
    from edge.batch.results import Result, ResultFiles
    from edge.cli.camtrap_options import Camtrap

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Formats:
    """The files to write of the results; None: not asked for."""

    out: Path | None = None  # one MegaDetector file
    csv: Path | None = None
    coco: Path | None = None  # COCO Camera Traps
    camtrap_dp: Camtrap | None = None
    country: str = ""  # names the species in the table

    def files(self) -> Iterator[tuple[Path, str, str]]:
        """Yield each file with its option and an example of a name."""
        for file, option, example in (
            (self.out, "--out", "results.json"),
            (self.csv, "--csv", "bears.csv"),
            (self.coco, "--coco", "bears.coco.json"),
        ):
            if file is not None:
                yield file, option, example


def sources(paths: Sequence[Path]) -> ResultFiles | None:
    """Return the results that ``paths`` hold where they are files of results (.json); None for pictures.

    Raises OptionError where only some are, and for one that holds something else.
    """
    from edge.batch.results import ResultFiles

    files = [path for path in paths if path.suffix.lower() == ".json"]
    if not files:
        return None
    if others := [path for path in paths if path not in files]:
        raise OptionError(f"{files[0]} is results and {others[0]} is not; give results alone, or pictures alone")
    return ResultFiles(files)


def check_formats(formats: Formats, inputs: Iterable[Path], *, force: bool) -> None:
    """Raise OptionError for a file that is there already, is an input or is named twice, or without a folder."""
    taken = {path.resolve(): "is one of the files to read" for path in inputs}
    for file, option, example in formats.files():
        if words := taken.get(file.resolve()):
            raise OptionError(f"{option} {file}: {words}; name another file, such as {example}")
        taken[file.resolve()] = f"is the {option} file too"
        check_new_file(file, example, option=option, force=force)
        check_writable(file, option)


def write_formats(results: ResultFiles, formats: Formats) -> None:
    """Write the results in each format that is asked for, and log what was written.

    With --csv the counts by camera, day and label are logged too. A file that is replaced stays beside as ``.old``.
    Raises OptionError.
    """
    from edge.batch.look import species_of
    from edge.batch.results import BEARS, write_coco, write_csv, write_megadetector

    survey = Survey()

    def surveyed(found: Iterable[Result]) -> Iterator[Result]:
        for result in found:
            survey.add(result.row)
            bear = result.row.label in BEARS  # "maybe" may also be any animal, by another program
            species = species_of(result.row, result.classes, formats.country) if bear else ""
            yield replace(result, row=result.row._replace(species=species))

    for file, option, _ in formats.files():
        found = track(results(), f"writing {file.name}")
        if file.exists():
            file.replace(file.with_name(f"{file.name}.old"))
        if option == "--out":
            write_megadetector(file, found, results.info, results.labels)
        elif option == "--csv":
            write_csv(file, surveyed(found))
            for line in survey.lines():
                log.info("%s", readable(line))
        elif shares := write_coco(file, found, results.base):
            log.warning(
                "%s: in %s the box is in shares of the picture (bbox_relative): the size of clips, and of pictures "
                "that are no JPEG or not below %s, is not known",
                file,
                counted(shares, "file"),
                results.base or "one folder",
            )
        log.info("%s is written", file)
    if formats.camtrap_dp is not None:
        formats.camtrap_dp.write(results(), formats.country)
