"""The file under ``train.catalog.decisions``: a CSV table that only grows.

Whole after a power cut, safe with two writers.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from edge.errors import CatalogError, OptionError
from edge.files import try_lock, unlock

T = TypeVar("T")
WAIT_S = 10.0  # how long another writer is waited for; a row takes milliseconds


def read_rows(table: Path, columns: Sequence[str], row_of: Callable[[dict[str, str]], T]) -> list[T]:
    """The table's rows. An unfinished last line, as a power cut leaves it, is passed over.

    Raises CatalogError with line and reason when another row is damaged, or columns are missing.
    """
    try:
        return _parse(table, table.read_bytes(), columns, row_of)[0]
    except OSError as error:
        raise CatalogError(f"{table}: cannot be read ({error.strerror}); give another file") from None


def append_rows(
    table: Path,
    columns: Sequence[str],
    rows: Iterable[T],
    row_of: Callable[[dict[str, str]], T],
    to_row: Callable[[T], Sequence[str]],
) -> list[T]:
    """Add the rows that are not in the table yet, in one write brought to the disk, and return them.

    Where they cannot be written, none of them is in it. Raises OptionError when it cannot be written, CatalogError
    when it is damaged.
    """
    try:
        # Without a buffer: what could not be written would be written after all when the file is closed.
        with table.open("a+b", buffering=0) as opened, _alone(opened.fileno(), table):
            opened.seek(0)
            data = opened.read()
            known, whole = _parse(table, data, columns, row_of)
            seen, new = set(known), list[T]()
            for row in rows:
                if row not in seen:
                    seen.add(row)
                    new.append(row)
            if whole < len(data):
                opened.truncate(whole)  # an unfinished line was acknowledged to nobody
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if not whole:
                writer.writerow(columns)
            elif data[whole - 1 : whole] != b"\n":
                text.write("\n")
            writer.writerows(to_row(row) for row in new)
            _write_or_none(opened, text.getvalue().encode("utf-8"), whole)
    except _LeftError as error:
        raise OptionError(
            f"{table}: cannot be written ({error}), nor taken back what was; look at its last {len(new)} lines"
        ) from None
    except OSError as error:
        raise OptionError(f"{table}: cannot be written ({error.strerror or error}); nothing was decided") from None
    if not whole:
        _keep_name(table.parent)
    return new


def _parse(
    table: Path, data: bytes, columns: Sequence[str], row_of: Callable[[dict[str, str]], T]
) -> tuple[list[T], int]:
    """The rows, and how many bytes of ``data`` are whole lines."""
    if not data.strip(b"\r\n\xef\xbb\xbf"):
        return [], 0
    lines = data.splitlines(keepends=True)  # of bytes: at line ends only
    taken = _Counted(lines)
    reader = csv.reader(taken, strict=True)  # a quote that is not closed is an unfinished line
    rows: list[T] = []
    head: list[str] | None = None
    whole = 0
    while True:
        number = taken.lines + 1
        try:
            fields = next(reader)
            if head is None:
                head = fields
                missing = [name for name in columns if name not in head]
                if missing and (taken.more or data.endswith(b"\n")):
                    raise CatalogError(
                        f"{table}: column {missing[0]!r} is missing, it is no table of decisions; give the right file"
                    )
                if missing:
                    return [], 0
            elif fields:
                if len(fields) != len(head):
                    raise ValueError(f"{len(fields)} fields and not {len(head)}")
                rows.append(row_of(dict(zip(head, fields, strict=True))))
        except StopIteration:
            return rows, whole
        except (ValueError, csv.Error) as error:
            if isinstance(error, CatalogError):
                raise
            if not taken.more and not data.endswith(b"\n"):
                return rows, whole
            raise CatalogError(f"{table}, line {number}: {error}; mend or remove the line") from None
        whole = taken.bytes


class _Counted(Iterator[str]):
    """Lines as text, and how far they have been read."""

    def __init__(self, lines: Sequence[bytes]):
        self._lines, self.lines, self.bytes = lines, 0, 0

    @property
    def more(self) -> bool:
        """Whether lines are left."""
        return self.lines < len(self._lines)

    def __next__(self) -> str:
        if not self.more:
            raise StopIteration
        line = self._lines[self.lines]
        self.lines, self.bytes = self.lines + 1, self.bytes + len(line)
        return line.decode("utf-8-sig" if self.lines == 1 else "utf-8")


class _LeftError(Exception):
    """What was written could not be taken back."""


def _write_or_none(opened: FileIO, data: bytes, whole: int) -> None:
    """Bring ``data`` to the disk behind the first ``whole`` bytes, or leave those alone. Raises OSError, _LeftError."""
    try:
        while data:
            data = data[opened.write(data) :]
        os.fsync(opened.fileno())
    except OSError as error:
        try:
            opened.truncate(whole)
        except OSError as still:
            raise _LeftError(still.strerror or str(still)) from error
        with suppress(OSError):  # the disk refuses this very call; the file's length is right already
            os.fsync(opened.fileno())
        raise


@contextmanager
def _alone(file: int, table: Path) -> Iterator[None]:
    """Hold the file's lock. Raises OptionError when another writer holds it for long."""
    until = time.monotonic() + WAIT_S
    while not try_lock(file):
        if time.monotonic() >= until:
            raise OptionError(f"{table}: another program has held it for {WAIT_S:.0f} s; end it and try again")
        time.sleep(0.01)
    try:
        yield
    finally:
        unlock(file)


def _keep_name(folder: Path) -> None:
    """Bring a new file's name to the disk, where folders can be synchronised."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
