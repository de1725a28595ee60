"""The formats that ``classify`` writes, and results that it reads in place of pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edge.cli.output import check_new_file, check_writable, counted, track
from edge.detect.stills import Survey, camera_folder
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
    from edge.batch.results import PACKAGE, ResultFiles

    for path in paths:
        if (path / PACKAGE).is_file():
            raise OptionError(f"{path}: is a Camtrap DP package; did you mean {path / PACKAGE}?")
    files = [path for path in paths if path.suffix.lower() == ".json"]
    if not files:
        return None
    if others := [path for path in paths if path not in files]:
        raise OptionError(f"{files[0]} is results and {others[0]} is not; give results alone, or pictures alone")
    return ResultFiles(files)


def check_formats(
    formats: Formats, inputs: Sequence[Path], *, force: bool, goes_on: bool = False, again: bool = False
) -> None:
    """Check that the files may be written, before hours of work. Raises OptionError.

    Refused is what is there already, an input, named twice, or in no folder. ``goes_on``: an --out file that is there
    is continued; ``again``: files by this program are replaced without ``force`` too.
    """
    from edge.batch.results import is_own

    taken = dict[Path, str]()
    for file, option, example in formats.files():
        may = force or (goes_on and file == formats.out) or (again and is_own(file))
        check_new_file(file, example, option=option, force=may)
        if file.exists() and any(each.exists() and file.samefile(each) for each in inputs):
            raise OptionError(f"{option} {file}: is one of the files to look at; name another, such as {example}")
        if (first := taken.setdefault(file.resolve(), option)) != option:
            raise OptionError(f"{option} {file}: is the {first} file too; name another, such as {example}")
        check_writable(file, option)
    if formats.camtrap_dp:
        check_writable(formats.camtrap_dp.folder, "--camtrap-dp")


def check_names(formats: Formats, names: Iterable[str], base: Path | None = None) -> None:
    """Check the folders of the files below ``base`` against the deployments of a package. Raises OptionError."""
    from edge.batch.deployments import Folders

    if formats.camtrap_dp is None:
        return
    one_each = {PurePosixPath(name).parent.as_posix(): name for name in names}
    cameras = sorted(set(map(camera_folder, one_each.values())))
    if formats.camtrap_dp.one_place and len(cameras) > 1:
        raise OptionError(
            f"--camtrap-dp: the files lie in several folders ({', '.join(cameras[:3])}), and the config's site is one "
            "place; give --deployments deployments.csv with a row for each camera"
        )
    deployments = formats.camtrap_dp.deployments
    find = Folders(deployments, base.resolve().name if base else "")
    found = {folder: find(name) for folder, name in one_each.items()}
    used = {deployments[number].folders for number in found.values() if number is not None}
    bare = [each.id for each in deployments if each.folders not in used and not (each.start and each.end)]
    strays = [camera_folder(one_each[folder]) or "." for folder, number in found.items() if number is None]
    if bare and strays:
        raise OptionError(
            f"--camtrap-dp: deployment {bare[0]} has no files, and the folder {strays[0]} is in no deployment; correct "
            f"folder in the row of {bare[0]}, or delete that row"
        )


def write_formats(results: ResultFiles, formats: Formats) -> None:
    """Write the results in each format that is asked for, and log what was written.

    With --csv the counts by camera, day and label are logged too. A file that is replaced stays beside as ``.old``.
    Raises OptionError.
    """
    from edge.batch.look import species_of
    from edge.batch.results import write_coco, write_csv, write_megadetector

    survey = Survey()

    def surveyed(found: Iterable[Result]) -> Iterator[Result]:
        for result in found:
            survey.add(result.row)
            species = species_of(result.row, result.classes, formats.country)
            yield replace(result, row=result.row._replace(species=species))

    if formats.camtrap_dp is not None:  # first: it has the most to find fault with
        formats.camtrap_dp.write(results(), formats.country, results.base)
    for file, option, _ in formats.files():
        found = track(results(), f"writing {file.name}")
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
