"""Look at many files, whether they are a card or a shard of a million, and read tables that list them."""

from __future__ import annotations

import codecs
import csv
import logging
import os
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import NamedTuple

import cv2

from edge import species
from edge.background import in_order
from edge.detect.classifier import Classifier
from edge.detect.sequences import CardPictures, Head, read_head
from edge.detect.stills import FILES, FileResult, Row, find_in, is_clip, row_of, support
from edge.errors import OptionError
from edge.pictures import find_pictures
from edge.schema import readable

log = logging.getLogger(__name__)


def read_heads(files: Iterable[Path], workers: int) -> Iterator[Head]:
    """Yield the head of each picture among the files, in their order, read by so many threads."""
    with closing(in_order(read_head, (file for file in files if not is_clip(file)), workers)) as heads:
        yield from heads


def look_at(
    classifier: Classifier, card: CardPictures, files: Iterable[Path], names: Mapping[Path, str], *, fps: float,
    workers: int,
) -> Generator[tuple[FileResult, Row], None, None]:  # fmt: skip
    """Yield what is found in each file, and its row under its name, in the card's order, by so many threads.

    ``card`` is made of the heads of these files, and of those they are compared with.
    """
    stop = Event()
    cv2.setNumThreads(1)  # each file has a thread of its own
    work = partial(find_in, classifier, fps=fps, stop=stop, regions=card.regions)
    try:
        with closing(in_order(work, card.in_turn(files), workers)) as found:
            for finding in support(found, card.burst, classifier.card):
                name = names[finding.file]
                row = row_of(finding, name)
                yield finding, row._replace(problem=row.problem.replace(str(finding.file), name))
    finally:
        stop.set()


def species_of(row: Row, classes: Mapping[str, float], country: str) -> str:
    """Return which bear a file most likely shows in a country, for people; "" for none, and without a country.

    ``classes``: the probabilities by label, as far as they are known.
    """
    if not country or row.verdict not in {"bear", "maybe"} or row.label not in {*species.LABELS, "bear"}:
        return ""
    return species.species_of(row.label, classes, country).words


def whole(path: Path) -> Path:
    """Return the absolute path without ``..``; links stay as they are."""
    return Path(os.path.normpath(path.absolute()))


# Tables of pictures.


TABLE = ".csv"
COLUMNS = ("file", "filePath", "File")  # ours, Camtrap DP's, Timelapse's with RelativePath


class Table(NamedTuple):
    """A CSV table that is open: its columns, and its rows as they are read, each with its line."""

    columns: list[str]
    rows: Iterator[tuple[int, dict[str, str]]]
    delimiter: str


@contextmanager
def open_table(path: Path, delimiter: str = "", wanted: Collection[str] = ()) -> Iterator[Table]:
    """Open a CSV table in UTF-8, UTF-16 or Windows-1252, as spreadsheets write it. Raises OptionError.

    ``delimiter``: "" for that of comma, semicolon and tab by which a column in ``wanted`` is found in its first line,
    else the most frequent there. Spaces around columns and
    cells are cut, and rows without a word are skipped.
    """
    try:
        with path.open(encoding=_encoding(path), errors="surrogateescape", newline="") as file:
            first = file.readline()
            signs = sorted(",;\t", key=first.count, reverse=True)
            found = (sign for sign in signs for each in first.split(sign) if each.strip(' "\r\n') in wanted)
            sign = delimiter or next(found, signs[0])
            file.seek(0)
            reader = csv.DictReader(file, delimiter=sign, restval="")
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = (
                (reader.line_num, {name: cell.strip() for name, cell in row.items() if isinstance(cell, str)})
                for row in reader
            )
            yield Table(columns, ((line, row) for line, row in rows if any(row.values())), sign)
    except FileNotFoundError:
        raise OptionError(f"{path}: there is no such table; correct the path") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise OptionError(f"{path}: cannot be read ({error}); save it as CSV") from None


def _encoding(path: Path) -> str:
    with path.open("rb") as opened:
        if opened.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return "utf-16"
    try:
        with path.open(encoding="utf-8") as file:
            for _ in file:
                pass
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def is_table(path: Path) -> bool:
    """Return True for the name of a table of pictures, which is no folder's."""
    return path.suffix.lower() == TABLE and not path.is_dir()


def read_table(table: Path) -> list[Path]:
    """Return the files that a table lists, there or not. Raises OptionError.

    Its column is ``file``, ``filePath``, or ``RelativePath`` and ``File``; names are absolute, or relative to the
    table's folder.
    """
    lines: dict[Path, int] = {}
    with open_table(table, wanted=COLUMNS) as (columns, rows, _):
        column = next((name for name in COLUMNS if name in columns), None)
        if column is None:
            raise OptionError(
                f"{table}: has no column `file` in its first line ({readable(', '.join(columns))}); name the column of "
                "the pictures so"
            )
        for line, row in rows:
            if not row[column]:
                raise OptionError(f"{table}: line {line} names no file; write one, or delete the line")
            name = "/".join(part for part in (column == "File" and row.get("RelativePath"), row[column]) if part)
            file = whole(table.parent / name.replace("\\", "/"))
            if (first := lines.setdefault(file, line)) != line:
                raise OptionError(f"{table}: lines {first} and {line} both name {readable(name)}; delete one")
    if not lines:
        raise OptionError(f"{table}: lists no pictures; write a line for each")
    return list(lines)


def listed(path: Path) -> list[Path]:
    """Return the files that a table lists, or the only one of a path that is no table.

    Warns of files that are not there. Raises OptionError where all are missing.
    """
    if not is_table(path):
        return [path]
    files = read_table(path)
    lost = [file for file in files if not file.is_file()]
    if other := next((file for file in lost if file.exists()), None):  # a pipe would be waited for
        raise OptionError(f"{path}: names {readable(str(other))}, which is no file; correct its line, or delete it")
    if len(lost) == len(files):
        raise OptionError(
            f"{path}: none of its files is there ({len(files):,}), such as {readable(str(lost[0]))}; "
            f"correct their names, which are taken from {path.absolute().parent}"
        )
    if lost:
        log.warning(
            "%s: %s of its %s files are not there, such as %s",
            path, f"{len(lost):,}", f"{len(files):,}", readable(str(lost[0])),
        )  # fmt: skip
    return files


def find_files(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """Return every file among tables, files and folders and below, and the folder that names are relative to.

    That is the only folder that is given, or that of the only table, where all lie below it; None: names are as given.
    Raises OptionError and PictureError.
    """
    found = dict[Path, None]()
    for path in paths:
        found.update(dict.fromkeys(listed(path) if is_table(path) else find_pictures([path], FILES)))
    if len(paths) > 1 or not (is_table(paths[0]) or paths[0].is_dir()):
        return list(found), None
    base = whole(paths[0].parent) if is_table(paths[0]) else paths[0]
    return list(found), base if all(file.is_relative_to(base) for file in found) else None
