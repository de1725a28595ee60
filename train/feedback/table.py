"""The table of pictures as an import needs it: rows that are put, and rows that a person no longer stands by."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from train.catalog.read import MANIFEST
from train.catalog.table import BOX_COLUMNS, BOXES, Boxes, Table, csv_bytes

Row = dict[str, str]


class Ledger:
    """Rows by file. With no ``table`` it takes everything and changes nothing on the disk: a dry run."""

    def __init__(self, root: Path, table: Table | None) -> None:
        self.root = root
        self.rows: dict[str, Row] = {row["file"]: row for row in _read(root / MANIFEST)[1] if row.get("file")}
        self._table = table
        self._gone: set[str] = set()
        self._boxed: dict[str, Boxes] = {}  # of rows that were there before

    @property
    def dry(self) -> bool:
        """Whether nothing is written."""
        return self._table is None

    def put(self, row: Mapping[str, str], boxes: Boxes | None = ()) -> None:
        """Add a row, or change the one of that file, its boxes too; ``boxes`` None: those that are there stay."""
        file, new = row["file"], row["file"] not in self.rows
        self.rows[file] = self.rows.get(file, {}) | dict(row)
        self._gone.discard(file)
        if self._table is None:
            return
        if new:
            self._table.add(row, boxes or ())
        else:
            self._table.change(file, row)
            if boxes is not None:
                self._boxed[file] = boxes

    def remove(self, files: Collection[str]) -> None:
        """Take the rows of these files out, with their boxes; the pictures stay where they lie."""
        self._gone |= set(files)

    def write(self) -> None:
        """Bring it to the disk. Raises OptionError where that cannot be written."""
        if self._table is None:
            return
        # The folder is ours while we hold the table, which is read again where a file was changed. Boxes come first:
        # what is broken off in between is done again, for the rows still name the review before.
        _rewrite(self.root / BOXES, BOX_COLUMNS, self._boxed, _box_rows(self._boxed))
        self._table.write()
        for name in (MANIFEST, BOXES):
            _rewrite(self.root / name, (), self._gone)
        for file in self._gone:
            self.rows.pop(file, None)
        self._gone.clear()
        self._boxed.clear()


@contextmanager
def opened(root: Path, *, dry: bool) -> Iterator[Ledger]:
    """The table of a folder, written at the end, after Ctrl-C too; ``dry``: only read. Raises as ``Table`` does."""
    if dry:
        yield Ledger(root, None)
        return
    try:
        table = Table(root)
    except OptionError as error:
        raise OptionError(str(error).replace("--out", "--into")) from None
    with table:
        ledger = Ledger(root, table)
        try:
            yield ledger
        finally:
            ledger.write()


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """Columns and rows; none where there is no file. Raises CatalogError when it is no table."""
    if not path.exists():
        return [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as found:
            reader = csv.DictReader(found, restkey="", restval="")
            columns = [name for name in reader.fieldnames or [] if name]
            return columns, [{name: row[name] or "" for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path}: cannot be read as a CSV table ({error}); save it as UTF-8 CSV") from None


def _rewrite(path: Path, columns: Sequence[str], without: Collection[str], new: Sequence[Row] = ()) -> None:
    """The table without the rows of some files and with new ones, whole or as it was."""
    if not without and not new:
        return
    own, rows = _read(path)
    left = [row for row in rows if row.get("file") not in without]
    if len(left) == len(rows) and not new:
        return
    replace_whole(path, csv_bytes([*own, *(name for name in columns if name not in own)], [*left, *new]))


def _box_rows(boxed: Mapping[str, Boxes]) -> list[Row]:
    found: list[Row] = []
    for file, boxes in boxed.items():
        for name, (x, y, w, h) in boxes:
            corners = [f"{min(max(corner, 0.0), 1.0):.5f}" for corner in (x, y, x + w, y + h)]
            found.append(dict(zip(BOX_COLUMNS, (file, name, *corners), strict=True)))
    return found
