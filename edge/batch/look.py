"""Look at many files, whether they are a card or a shard of a million, and read tables that list them."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event

import cv2

from edge.background import in_order
from edge.detect.classifier import Classifier
from edge.detect.sequences import CardPictures, Head, read_head
from edge.detect.stills import FILES, FileResult, Row, find_in, is_clip, row_of, support
from edge.errors import OptionError
from edge.pictures import find_pictures
from edge.species import LABELS, likely

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
                yield finding, row_of(finding, names[finding.file])
    finally:
        stop.set()


def species_of(row: Row, classes: Mapping[str, float], country: str) -> str:
    """Return which bear a file most likely shows in a country, for people; "" for none, and without a country.

    ``classes``: the probabilities by label, as far as they are known.
    """
    if not country or row.verdict not in {"bear", "maybe"} or row.label not in LABELS:
        return ""
    bears = sum(classes.get(label, 0.0) for label in LABELS)
    return likely(row.label, country, share=classes.get(row.label, 0.0) / bears if bears else 1.0).words


def whole(path: Path) -> Path:
    """Return the absolute path without ``..``; links stay as they are."""
    return Path(os.path.normpath(path.absolute()))


def is_picture(name: str) -> bool:
    """Return True for the name of a picture or clip that is no hidden file (a Mac leaves ``._IMG_0001.JPG``)."""
    return Path(name).suffix.lower() in FILES and not name.startswith(".")


# Tables of pictures.


COLUMNS = ("file", "filePath", "File")  # ours, Camtrap DP's, Timelapse's with RelativePath


def is_table(path: Path) -> bool:
    """Return True for the name of a table of pictures."""
    return path.suffix.lower() == ".csv"


def read_table(table: Path) -> list[Path]:
    """Return the files that a table lists, there or not. Raises OptionError.

    Its column is ``file``, ``filePath``, or ``RelativePath`` and ``File``; names are absolute, or relative to the
    table's folder. Separated by commas, or by semicolons as spreadsheets in much of Europe write it.
    """
    lines: dict[Path, int] = {}
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
            heading = opened.readline()
            opened.seek(0)
            rows = csv.DictReader(opened, delimiter=";" if heading.count(";") > heading.count(",") else ",")
            column = next((name for name in COLUMNS if name in (rows.fieldnames or ())), None)
            if column is None:
                raise OptionError(
                    f"{table}: has no column `file` in its first line; name the column of the pictures so"
                )
            for row in rows:
                name = "/".join(part for part in (column == "File" and row.get("RelativePath"), row[column]) if part)
                if not row[column]:
                    raise OptionError(f"{table}: line {rows.line_num} names no file; write one, or delete the line")
                file = whole(table.parent / name.replace("\\", "/"))
                first = lines.setdefault(file, rows.line_num)
                if first != rows.line_num:
                    raise OptionError(f"{table}: lines {first} and {rows.line_num} both name {name}; delete one")
    except FileNotFoundError:
        raise OptionError(f"{table}: there is no such table; correct the path") from None
    except (OSError, csv.Error) as error:
        raise OptionError(f"{table}: cannot be read ({error}); save it as CSV") from None
    if not lines:
        raise OptionError(f"{table}: lists no pictures; write a line for each")
    return list(lines)


def missing(files: Collection[Path], table: Path) -> set[Path]:
    """Return the files of a table that are not there, and warn of them. Raises OptionError where all are missing."""
    lost = [file for file in files if not file.exists()]
    if len(lost) == len(files):
        raise OptionError(
            f"{table}: none of its files is there ({len(files):,}), such as {lost[0]}; "
            f"correct their names, which are taken from {table.absolute().parent}"
        )
    if lost:
        log.warning(
            "%s: %s of its %s files are not there, such as %s", table, f"{len(lost):,}", f"{len(files):,}", lost[0]
        )
    return set(lost)


def find_files(paths: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """Return every file among tables, files and folders and below, and the folder that names are relative to.

    That is the only folder that is given, or that of the only table, where all lie below it; None: names are as given.
    Raises OptionError and PictureError.
    """
    found = dict[Path, None]()
    for path in paths:
        if is_table(path):
            listed = read_table(path)
            missing(listed, path)
            found.update(dict.fromkeys(listed))
        else:
            found.update(dict.fromkeys(find_pictures([path], FILES)))
    if len(paths) > 1 or not (is_table(paths[0]) or paths[0].is_dir()):
        return list(found), None
    base = whole(paths[0].parent) if is_table(paths[0]) else paths[0]
    return list(found), base if all(file.is_relative_to(base) for file in found) else None
