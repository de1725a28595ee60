"""Decisions about labels: an append-only table beside the pictures. Needs no torch.

A decision belongs to a picture's bytes, not to a name: a renamed file keeps its decision, a replaced one has none. No
picture is moved or deleted; ``read_catalog`` applies the decisions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from edge.errors import CatalogError, OptionError
from edge.files import try_lock, unlock
from train.data.pictures import TRAINING_LABELS, Picture, is_bear, name_inside

log = logging.getLogger(__name__)

TABLE = "DECISIONS.csv"
COLUMNS = ("time", "file", "sha256", "bytes", "decision", "before", "after", "by")
KEEP, RELABEL, DELETE, UNDO = "keep", "relabel", "delete", "undo"
KINDS = (KEEP, RELABEL, DELETE, UNDO)


@dataclass(frozen=True)
class Decision:
    """One row: a decision about one picture. ``undo`` takes back the last one about the same picture."""

    time: str  # UTC, ISO 8601
    file: str  # relative to the pictures' folder, at the time of the decision
    sha256: str  # of the file's bytes
    size: int  # bytes of the file
    decision: str  # one of KINDS
    before: str  # the table's label
    after: str  # the right label: the same for keep, "" for delete
    by: str = ""  # person or run

    def __post_init__(self) -> None:
        """Check the row. Raises ValueError with the reason."""
        if self.decision not in KINDS:
            raise ValueError(f"decision {self.decision!r} is none of {', '.join(KINDS)}")
        if self.decision in (KEEP, RELABEL) and self.after not in TRAINING_LABELS:
            raise ValueError(f"label {self.after!r} is none of {', '.join(TRAINING_LABELS)}")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"sha256 {self.sha256[:20]!r} is no digest of 64 hex digits")
        if not self.file or self.size < 0:
            raise ValueError("file is empty" if not self.file else f"bytes is {self.size}")

    @property
    def key(self) -> tuple[str, str]:
        """Return the picture it is about: name and content."""
        return self.file, self.sha256


def decide(
    picture: Picture, root: Path, kind: str, label: str = "", *, by: str = "", before: str | None = None
) -> Decision:
    """Make a decision now. ``label``: for relabel; ``before``: the table's label, if it is not the present one.

    Raises ValueError for an unknown kind or label, OSError if the file cannot be read.
    """
    after = {RELABEL: label, DELETE: ""}.get(kind, picture.label)
    name = name_inside(picture.file, root) or str(picture.file)
    size = picture.file.stat().st_size
    return Decision(now(), name, digest_of(picture.file), size, kind, before or picture.label, after, by)


def take_back(decision: Decision, *, by: str = "") -> Decision:
    """Make the row that takes a decision back, now."""
    return replace(decision, time=now(), decision=UNDO, by=by)


def is_about(decision: Decision, root: Path) -> bool:
    """Return True if the decision's picture is there, under its name and unchanged."""
    file = root / decision.file
    try:
        return file.stat().st_size == decision.size and digest_of(file) == decision.sha256
    except (OSError, ValueError):
        return False


def now() -> str:
    """Return the present time as a decision's: UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def live(rows: Iterable[Decision]) -> list[Decision]:
    """Return the decisions in force, oldest first: the last one about each picture that was not taken back.

    ``before`` is the table's label, also for a picture with several decisions.
    """
    stacks: dict[tuple[str, str], list[tuple[int, Decision]]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.decision != UNDO:
            stacks[row.key].append((number, row))
        elif stacks[row.key]:
            stacks[row.key].pop()
    last = [(*stack[-1], stack[0][1].before) for stack in stacks.values() if stack]
    return [replace(row, before=before) for _, row, before in sorted(last, key=lambda one: one[0])]


def match(
    pictures: Sequence[Picture], root: Path, decisions: Sequence[Decision]
) -> tuple[dict[Picture, Decision], list[Decision]]:
    """Return the decision of each picture, and the decisions without a picture.

    A decision is for the file of its name, if bytes and label are unchanged; else for files of other names with the
    same bytes. Only files of the same size as a decided one are read.
    """
    sizes = {decision.size for decision in decisions}
    by_digest: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        try:
            if picture.file.stat().st_size in sizes:
                by_digest[digest_of(picture.file)].append(picture)
        except OSError:  # gone or unreadable: reported when it is read
            continue
    names = {
        picture: name_inside(picture.file, root) or str(picture.file) for some in by_digest.values() for picture in some
    }
    own = {(names[picture], digest): picture for digest, some in by_digest.items() for picture in some}
    taken = {own[decision.key] for decision in decisions if decision.key in own}
    found: dict[Picture, Decision] = {}
    gone: list[Decision] = []
    for decision in decisions:
        named = own.get(decision.key)
        about = [named] if named else [picture for picture in by_digest[decision.sha256] if picture not in taken]
        about = [picture for picture in about if picture.label in (decision.before, decision.after)]
        found |= dict.fromkeys(about, decision)
        if not about:
            gone.append(decision)
    return found, gone


def decided(pictures: Sequence[Picture], root: Path) -> list[Picture]:
    """Apply the decisions of the table in ``root``: return the pictures relabelled, without the deleted ones.

    A picture that is no longer a bear loses its boxes. Decisions about files that are gone or changed are skipped with
    one warning. Raises CatalogError if the table is damaged.
    """
    decisions = live(read_decisions(root))
    if not decisions:
        return list(pictures)
    found, gone = match(pictures, root, decisions)
    if gone:
        log.warning(
            "%s: %d of %d decisions are skipped: their pictures are gone, changed or relabelled since (%s%s)",
            root / TABLE, len(gone), len(decisions), gone[0].file, ", …" if len(gone) > 1 else "",
        )  # fmt: skip
    return [after for picture in pictures if (after := _applied(picture, found.get(picture)))]


def _applied(picture: Picture, decision: Decision | None) -> Picture | None:
    if decision is None or decision.decision == KEEP:
        return picture
    if decision.decision == DELETE:
        return None
    boxes = picture.boxes if is_bear(decision.after) else ()
    return replace(picture, label=decision.after, named=decision.after, boxes=boxes)


def from_row(row: Mapping[str, str]) -> Decision:
    """Make a decision of its row. Raises ValueError or KeyError if the row is invalid."""
    return Decision(**{name: row[name] for name in COLUMNS if name != "bytes"}, size=int(row["bytes"]))


def as_row(decision: Decision) -> dict[str, str]:
    """Return a decision's row."""
    return {name: str(getattr(decision, "size" if name == "bytes" else name)) for name in COLUMNS}


# The file: a CSV table that only grows, complete after a power cut, and safe with two writers.

WAIT_S = 10.0  # for another writer; a row takes milliseconds


def read_decisions(root: Path) -> list[Decision]:
    """Return every row of the table in ``root``, in order; none if there is no table.

    Raises CatalogError with line and reason if a row is damaged.
    """
    return read_table(root / TABLE) if (root / TABLE).exists() else []


def read_table(table: Path) -> list[Decision]:
    """Return every row of a table of decisions, such as one that a page has saved.

    An unfinished last line, as after a power cut, is skipped. Raises CatalogError with line and reason if another row
    is damaged, or columns are missing.
    """
    try:
        return _parse(table, table.read_bytes())[0]
    except OSError as error:
        raise CatalogError(f"{table}: cannot be read ({error.strerror}); give another file") from None


def append_decisions(root: Path, decisions: Iterable[Decision]) -> list[Decision]:
    """Add decisions to the table in ``root``, in one write to the disk; return those that were not in it yet.

    If that fails, none of them is in it. Two writers wait for each other. Raises OptionError if the table cannot be
    written, CatalogError if it is damaged.
    """
    table = root / TABLE
    try:
        # Without a buffer: closing the file would otherwise write what has failed before.
        with table.open("a+b", buffering=0) as opened, _locked(opened.fileno(), table):
            opened.seek(0)
            data = opened.read()
            known, whole = _parse(table, data)
            seen = set(known)
            new = [row for row in dict.fromkeys(decisions) if row not in seen]
            if whole < len(data):
                opened.truncate(whole)  # an unfinished line: its write never succeeded
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if not whole:
                writer.writerow(COLUMNS)
            elif data[whole - 1 : whole] != b"\n":
                text.write("\n")
            writer.writerows(as_row(row).values() for row in new)
            _write_or_none(opened, text.getvalue().encode("utf-8"), whole)
    except OSError as error:
        raise OptionError(f"{table}: cannot be written ({error.strerror or error}); nothing was decided") from None
    if not whole:
        _sync_folder(table.parent)
    return new


def _parse(table: Path, data: bytes) -> tuple[list[Decision], int]:
    """Return the rows, and the number of bytes of ``data`` in whole lines."""
    if not data.strip(b"\r\n\xef\xbb\xbf"):
        return [], 0
    lines = data.splitlines(keepends=True)  # of bytes: at line ends only
    taken = whole = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for line in lines:
            taken += 1
            yield line.decode("utf-8-sig" if taken == 1 else "utf-8")

    reader = csv.reader(texts(), strict=True)  # a quote that is not closed is an unfinished line
    rows: list[Decision] = []
    head: list[str] | None = None
    while True:
        before = taken
        try:
            fields = next(reader)
            if head is None:
                head = fields
                missing = [name for name in COLUMNS if name not in head]
                if missing:
                    raise ValueError(f"column {missing[0]!r} is missing, it is no table of decisions")
            elif fields:
                if len(fields) != len(head):
                    raise ValueError(f"{len(fields)} fields and not {len(head)}")
                rows.append(from_row(dict(zip(head, fields, strict=True))))
        except StopIteration:
            return rows, whole
        except (ValueError, csv.Error) as error:
            if taken == len(lines) and not data.endswith(b"\n"):
                return rows, whole
            raise CatalogError(f"{table}, line {before + 1}: {error}; mend or remove the line") from None
        whole += sum(map(len, lines[before:taken]))


def _write_or_none(opened: FileIO, data: bytes, whole: int) -> None:
    """Write ``data`` after the first ``whole`` bytes, completely or not at all. Raises OSError, OptionError."""
    try:
        while data:
            data = data[opened.write(data) :]
        os.fsync(opened.fileno())
    except OSError as error:
        try:
            opened.truncate(whole)
        except OSError as still:
            words = f"cannot be written completely ({still.strerror or still}), nor undone; check its last lines"
            raise OptionError(f"{opened.name}: {words}") from error
        with suppress(OSError):  # this call may fail too; the file's length is right already
            os.fsync(opened.fileno())
        raise


@contextmanager
def _locked(file: int, table: Path) -> Iterator[None]:
    """Lock the file. Raises OptionError if another writer has it for long."""
    until = time.monotonic() + WAIT_S
    while not try_lock(file):
        if time.monotonic() >= until:
            raise OptionError(f"{table}: another program has locked it for {WAIT_S:.0f} s; end it and try again")
        time.sleep(0.01)
    try:
        yield
    finally:
        unlock(file)


def _sync_folder(folder: Path) -> None:
    """Write a new file's name to the disk, if the system can synchronise folders."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
