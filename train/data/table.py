"""Write the table of pictures: MANIFEST.csv and boxes.csv of a folder, row by row, complete at any time.

One process at a time may write. The file is replaced in one step, so a power cut leaves the old table or the new one.
Columns that other programs added stay, with their values.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole, try_lock
from edge.pictures import SUFFIXES
from edge.schema import BoxXYWH

MANIFEST = "MANIFEST.csv"  # the table of a folder that has one
COLUMNS = (
    "file", "label", "group", "source", "url", "page", "author", "licence", "licence_url", "time", "place",
    "note", "checks", "split",
)  # fmt: skip

BOXES = "boxes.csv"
BOX_COLUMNS = ("file", "class", "x1", "y1", "x2", "y2")
LEFT_OUT = "LEFT_OUT.csv"
LEFT_OUT_COLUMNS = ("url", "page", "kind", "words")
LOCK = ".gather.lock"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, or a byte of a name that is not UTF-8

Values = Mapping[str, str]

Boxes = Sequence[tuple[str, BoxXYWH]]  # name and box of each animal


def plain_text(words: str) -> str:
    """Return words as one line of valid UTF-8: control characters become a space, surrogates U+FFFD."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub(" ", words))


class _Lines(list[str]):
    """Lines from a ``csv`` writer. It ends them with CR LF, and therefore quotes both; here they end with LF."""

    def write(self, row: str) -> None:
        """Write one row."""
        self.append(row.removesuffix("\r\n") + "\n")


def check_no_loose(root: Path, option: str) -> None:
    """Check that a new table in ``root`` would hide no pictures; ``option`` named the folder. Raises OptionError."""
    if root.exists() and not root.is_dir():
        raise OptionError(f"{option} {root}: is no folder; give the folder of pictures, or a new one")
    if not root.is_dir() or (root / MANIFEST).exists():
        return
    for folder in sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")):
        if any(file.suffix.lower() in SUFFIXES for file in folder.rglob("*")):
            raise OptionError(
                f"{option} {root}: has folders of pictures such as {folder.name!r} and no {MANIFEST}; with a table "
                f"they would no longer be read. Import them first (`bear-alarm gather folder {root} --out {root}`), or "
                "give a new folder"
            )


def csv_bytes(columns: Sequence[str], rows: Iterable[Values]) -> bytes:
    """Return a CSV table as UTF-8; lines end with LF, missing values are empty."""
    lines = _Lines()
    writer = csv.DictWriter(lines, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return "".join(lines).encode("utf-8", "surrogateescape")  # names that are not UTF-8 stay as on the disk


def read_csv(path: Path, *, strict: bool = False) -> tuple[list[str], list[dict[str, str]]]:
    """Return columns and rows of a CSV table; missing values are "".

    Raises CatalogError if it cannot be read, or with ``strict`` if a row has more values than columns.
    """
    rows: list[dict[str, str]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened, restval="")
            columns = list(reader.fieldnames or [])
            for row in reader:
                if strict and None in row:
                    raise CatalogError(f"{path}, line {reader.line_num}: more values than columns; mend the line")
                rows.append({name: row[name] for name in columns})
            return columns, rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path}: cannot be read as a CSV table ({error}); save it as UTF-8 CSV") from None


@dataclass
class _Sheet:
    """One CSV file in memory: its columns and rows."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    stamp: tuple[int, int] | None  # of the file at the last read or write
    changed: bool = False

    @classmethod
    def read(cls, path: Path, columns: Sequence[str]) -> Self:
        """Read the file, empty if there is none; add missing ``columns``. Raises CatalogError."""
        stamp = _stamp(path)
        if stamp is None:
            return cls(path, list(columns), [], None)
        own, rows = read_csv(path, strict=True)
        return cls(path, own + [name for name in columns if name not in own], rows, stamp)

    def write(self) -> None:
        """Replace the file in one step. Raises OptionError if it cannot be written."""
        replace_whole(self.path, csv_bytes(self.columns, self.rows))
        self.stamp, self.changed = _stamp(self.path), False


class Table:
    """The tables of one folder, locked by this process until closed; a ``with`` writes them at its end.

    Raises OptionError if the folder cannot be written or another process has locked it, CatalogError if a table in it
    is damaged.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._pending: list[
            Callable[[], object]
        ] = []  # since the last write: repeated if another program has changed a file
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OptionError(f"{self.root}: cannot be written to ({error.strerror}); choose another --out") from None
        try:
            if not try_lock(self._lock):
                raise OptionError(
                    f"{self.root}: another program is gathering into it; wait for it, or choose another --out"
                )
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.write()  # also after Ctrl-C: what was imported stays
        finally:
            self.close()

    def close(self) -> None:
        """Unlock the folder; changes that were not written are lost."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def rows(self) -> Sequence[Values]:
        """Return the pictures' rows, in the table's order."""
        return self._pictures.rows

    @property
    def skipped(self) -> Sequence[Values]:
        """Return what was skipped: address or path, page, kind, words."""
        return self._out.rows

    def add(self, row: Values, boxes: Boxes = ()) -> None:
        """Add a picture, its boxes as fractions of it; its words are made ``plain_text``.

        Raises CatalogError if the file is in the table already, or its name is no plain text.
        """
        if row["file"] in self._rows:
            raise CatalogError(f"{self._pictures.path}: {row['file']!r} is in the table already")
        plain = self._plain(row)
        lines = [box_row(row["file"], plain_text(name), box) for name, box in boxes]
        self._do(lambda: self._add(plain, lines))

    def change(self, file: str, values: Values, boxes: Boxes | None = None) -> None:
        """Change some values of a picture's row; if its ``file`` changes, its boxes follow. ``boxes`` replace its own.

        Raises KeyError if there is no such row, CatalogError if the new name is no plain text.
        """
        if file not in self._rows:
            raise KeyError(file)
        plain = self._plain(values)
        lines = None if boxes is None else [box_row(file, plain_text(name), box) for name, box in boxes]
        self._do(lambda: self._change(file, plain, lines))

    def remove(self, files: Collection[str]) -> None:
        """Remove the rows of these files, with their boxes; the pictures stay."""
        gone = set(files)
        self._do(lambda: self._remove(gone))

    def record_skipped(self, url: str, page: str, kind: str, words: str) -> None:
        """Record what was skipped and why; an address or path is listed once, with the last reason."""
        row = {"url": url, "page": page, "kind": kind, "words": words}
        plain = {name: plain_text(value) for name, value in row.items()}
        self._do(lambda: self._record_skipped(plain))

    def forget_skipped(self, url: str) -> None:
        """Remove an address or path from the skipped ones."""
        if (plain := plain_text(url)) in self._skipped:
            self._do(lambda: self._forget_skipped(plain))

    def write(self) -> None:
        """Write the changed tables: boxes first, so that no picture is ever without its boxes.

        A table that another program has changed meanwhile is read again, and keeps those changes.
        """
        if not self._pending:
            return
        if any(sheet.stamp != _stamp(sheet.path) for sheet in self._sheets):
            self._read()
            for action in self._pending:
                action()
        for sheet in self._sheets:
            if sheet.changed:
                sheet.write()
        self._pending.clear()

    @property
    def _sheets(self) -> tuple[_Sheet, ...]:
        return self._boxes, self._pictures, self._out

    def _read(self) -> None:
        self._pictures = _Sheet.read(self.root / MANIFEST, COLUMNS)
        self._boxes = _Sheet.read(self.root / BOXES, BOX_COLUMNS)
        self._out = _Sheet.read(self.root / LEFT_OUT, LEFT_OUT_COLUMNS)
        for sheet, needed in ((self._pictures, ("file", "label")), (self._boxes, ("file",))):
            missing = [name for name in needed if sheet.rows and name not in sheet.rows[0]]
            if missing:
                raise CatalogError(f"{sheet.path}: column {missing[0]!r} is missing; give the right table")
        self._rows = {row["file"]: row for row in self._pictures.rows}
        self._skipped = {row.get("url", ""): row for row in self._out.rows}

    def _plain(self, values: Values) -> dict[str, str]:
        file = values.get("file", "")
        if file != plain_text(file):
            raise CatalogError(
                f"{str(self.root / file)!r}: its name is not UTF-8 text on one line; rename it, and run it again"
            )
        return {name: plain_text(value) for name, value in values.items()}

    def _do(self, action: Callable[[], object]) -> None:
        action()
        self._pending.append(action)

    def _add(self, row: Values, boxes: Sequence[dict[str, str]]) -> None:
        if row["file"] in self._rows:  # another program has added it
            return
        self._take_columns(row)
        self._rows[row["file"]] = new = dict(row)
        self._pictures.rows.append(new)
        self._pictures.changed = True
        self._boxes.rows += boxes
        self._boxes.changed |= bool(boxes)

    def _change(self, file: str, values: Values, boxes: Sequence[dict[str, str]] | None) -> None:
        row = self._rows.pop(file, None)
        if row is None:  # another program has removed it
            return
        self._take_columns(values)
        row.update(values)
        new = row["file"]
        self._rows[new] = row
        self._pictures.changed = True
        for box in self._boxes.rows if new != file else ():
            if box["file"] == file:
                box["file"] = new
                self._boxes.changed = True

        if boxes is not None:
            self._boxes.rows = [box for box in self._boxes.rows if box["file"] != new] + list(boxes)
            self._boxes.changed = True

    def _remove(self, gone: Collection[str]) -> None:
        for sheet in (self._pictures, self._boxes):
            left = [row for row in sheet.rows if row["file"] not in gone]
            sheet.changed |= len(left) < len(sheet.rows)
            sheet.rows = left
        self._rows = {row["file"]: row for row in self._pictures.rows}

    def _record_skipped(self, row: dict[str, str]) -> None:
        there = self._skipped.get(row["url"])
        if there is None:
            self._skipped[row["url"]] = row
            self._out.rows.append(row)
        elif {**there, **row} == there:
            return
        else:
            there.update(row)
        self._out.changed = True

    def _forget_skipped(self, url: str) -> None:
        if self._skipped.pop(url, None) is not None:
            self._out.rows = [row for row in self._out.rows if row.get("url") != url]
            self._out.changed = True

    def _take_columns(self, row: Iterable[str]) -> None:
        self._pictures.columns += [name for name in row if name not in self._pictures.columns]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def box_row(file: str, name: str, box: BoxXYWH) -> dict[str, str]:
    """Return one row of boxes.csv. Raises CatalogError if the box is not inside the picture."""
    x, y, w, h = box
    corners = (x, y, x + w, y + h)
    if not (w > 0 and h > 0 and all(-1e-6 <= corner <= 1 + 1e-6 for corner in corners)):
        raise CatalogError(f"{file}: box {box} is not inside the picture; boxes are fractions of it")
    values = [f"{min(max(corner, 0.0), 1.0):.5f}" for corner in corners]
    return dict(zip(BOX_COLUMNS, (file, name, *values), strict=True))
