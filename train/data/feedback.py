"""Import reviewed evidence into a folder of pictures.

An import can run again and again, and continues after an interruption; the table is complete at any time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from edge.errors import BearAlarmError, OptionError, PictureError
from edge.files import replace_whole
from train.data.feedback_evidence import Case, Evidence, Unit, read_case
from train.data.feedback_pictures import (
    NO_BEAR,
    UNREVIEWED,
    EvidencePicture,
    NotUsable,
    ReviewedLabel,
    Row,
    boxes_of,
    event_pictures,
    key_of,
    negative_pictures,
    relabelled,
    review_of,
    reviewed_label,
    row_of,
)
from train.data.pictures import ALIASES, SPLITS, is_bear
from train.data.table import MANIFEST, Boxes, Table, check_no_loose, read_csv


class ImportTable:
    """The table of pictures during an import. Without a ``table`` nothing is written: a dry run."""

    def __init__(self, root: Path, table: Table | None) -> None:
        present = read_csv(root / MANIFEST)[1] if (root / MANIFEST).exists() else []
        self.rows: dict[str, Row] = {row["file"]: row for row in present if row.get("file")}
        self._table = table
        self._gone: set[str] = set()

    @property
    def dry(self) -> bool:
        """Return True if nothing is written."""
        return self._table is None

    def put(self, row: Mapping[str, str], boxes: Boxes | None = ()) -> None:
        """Add a row, or change the row of that file, with its boxes; ``boxes`` None keeps the present ones."""
        file, new = row["file"], row["file"] not in self.rows
        self.rows[file] = self.rows.get(file, {}) | dict(row)
        self._gone.discard(file)
        if self._table is None:
            return
        if new:
            self._table.add(row, boxes or ())
        else:
            self._table.change(file, row, boxes)

    def remove(self, files: Collection[str]) -> None:
        """Remove the rows of these files, with their boxes; the pictures stay."""
        self._gone |= set(files)

    def write(self) -> None:
        """Write the changes to the disk. Raises OptionError if that fails."""
        if self._table is None:
            return
        if self._gone:
            self._table.remove(self._gone)
        self._table.write()
        for file in self._gone:
            self.rows.pop(file, None)
        self._gone = set()


@contextmanager
def open_import_table(root: Path, *, dry: bool) -> Iterator[ImportTable]:
    """Yield the table of a folder; write it at the end, also after Ctrl-C. ``dry``: only read. Raises as ``Table``."""
    if dry:
        yield ImportTable(root, None)
        return
    try:
        table = Table(root)
    except OptionError as error:
        raise OptionError(str(error).replace("--out", "--into")) from None
    with table:
        rows = ImportTable(root, table)
        try:
            yield rows
        finally:
            rows.write()


WRITE_EVERY = 50  # cases between two writes of the table: a power cut costs so many
Track = Callable[[Sequence[Unit]], Iterable[Unit]]


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import of evidence."""

    site: str = "own cameras"  # the source of the rows, kept together by a split
    cameras: frozenset[str] = frozenset()  # empty: all
    names: Mapping[str, str] = field(default_factory=dict)  # further names of labels
    most: int = 5  # pictures of one event
    unreviewed_negatives: bool = False
    zone: tzinfo | None = None  # for days; None: this machine's
    split: str = ""  # train, tune or test; "": train where the table gives every picture a part, else none


@dataclass
class ImportResult:
    """Result of an import. Unless named otherwise the counts are of events and negatives."""

    events: int = 0
    negatives: int = 0
    pictures: Counter[str] = field(default_factory=Counter)  # new rows by label
    groups: set[str] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)  # of new and changed cases
    known: int = 0  # in the table already, with the same review
    changed: int = 0  # in the table already, but reviewed again since: rows replaced or relabelled
    relabelled: int = 0  # of the changed ones: the evidence has lost pictures, so the present rows got the new label
    taken_back: int = 0  # in the table already, but no longer usable by a newer review: rows removed
    unreviewed_events: int = 0
    unreviewed_negatives: int = 0
    taken_unreviewed: int = 0
    unsure: int = 0
    alike: int = 0  # near duplicates of other pictures of the event, and those beyond ``most``
    other_cameras: int = 0
    misses: int = 0  # bears without an alarm that people reported; there is no picture of them
    left_out: list[str] = field(default_factory=list)  # a sentence each
    kept: list[str] = field(
        default_factory=list
    )  # rows that stay as they are because the answer is missing, a sentence each

    def as_json(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return plain | {
            "pictures": dict(sorted(self.pictures.items())),
            "verdicts": dict(sorted(self.verdicts.items())),
            "groups": sorted(self.groups),
            "left_out": self.left_out,
            "kept": self.kept,
        }


def import_evidence(
    evidence: Evidence, data: Path, options: ImportOptions, *, dry: bool = False, track: Track = iter
) -> ImportResult:
    """Write the pictures into ``data`` and their rows into its table; ``dry``: only count them.

    An interrupted import continues where it stopped: cases that are in the table are skipped. Raises OptionError and
    CatalogError if the folder cannot be used.
    """
    check_no_loose(data, "--into")
    with open_import_table(data, dry=dry) as table:
        work = _Import(data, options, table)
        work.result.left_out += evidence.unreadable
        work.result.misses = evidence.misses
        for number, unit in enumerate(track(evidence.units), start=1):
            work.take(unit)
            if number % WRITE_EVERY == 0:
                table.write()
    return work.result


def missing_cameras(evidence: Evidence, cameras: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the ``cameras`` without evidence and, if there are any, the cameras that have some; sorted."""
    seen: set[str] = set()
    for unit in evidence.units:
        if seen.issuperset(cameras):
            return [], []
        with suppress(PictureError, OptionError):  # the import names what is broken
            if case := read_case(unit):
                seen.add(case.camera)
    return sorted(set(cameras) - seen), sorted(seen)


class _Import:
    """One import, case by case."""

    def __init__(self, data: Path, options: ImportOptions, table: ImportTable) -> None:
        self.data, self.options, self.table = data, options, table
        self.names = {**ALIASES, **options.names}
        parts = [row.get("split", "") for row in table.rows.values()]
        self.split = options.split or ("train" if set(parts) == set(SPLITS) else "")
        self.known: dict[str, dict[str, str]] = defaultdict(dict)  # case -> its files -> their reviews
        for file, row in table.rows.items():
            if key := key_of(row.get("note", "")):
                self.known[key][file] = review_of(row["note"])
        self.result = ImportResult()
        self._seen: set[str] = set()

    def take(self, unit: Unit) -> None:
        """Import one unit of evidence; skip what is broken in it, and name it."""
        try:
            case = read_case(unit)
            if case is not None:
                self._take(case)
        except (PictureError, OptionError) as error:
            if isinstance(error, _FolderError):
                raise OptionError(str(error)) from None
            self.result.left_out.append(str(error))

    def _take(self, case: Case) -> None:
        result = self.result
        if self.options.cameras and case.camera not in self.options.cameras:
            result.other_cameras += 1
            return
        if case.key in self._seen:  # the same evidence twice
            return
        self._seen.add(case.key)
        negative = case.unit.kind == "negative"
        result.negatives += negative
        result.events += not negative
        reviewed = reviewed_label(case, self.names, unreviewed_negatives=self.options.unreviewed_negatives)
        before = self.known.get(case.key)
        if isinstance(reviewed, NotUsable):
            self._skip(case, reviewed)
        elif before and (reviewed.review == UNREVIEWED or set(before.values()) == {reviewed.review}):
            result.known += 1
        else:
            self._import(case, reviewed)

    def _skip(self, case: Case, reason: NotUsable) -> None:
        result, before = self.result, self.known.get(case.key)
        if reason.kind == "unreviewed":
            if before:
                result.known += 1
            elif case.unit.kind == "negative":
                result.unreviewed_negatives += 1
            else:
                result.unreviewed_events += 1
            return
        again = before is not None and set(before.values()) == {reason.review}
        if before and (again or reason.kind == "unknown"):  # the rows still hold; only a --label is missing
            result.known += 1
            labels = " and ".join(sorted({self.table.rows[file].get("label", "") for file in before}))
            words = reason.words or f"{case.unit.name}: the reviewer was unsure"
            result.kept.append(f"{words}; until then its rows in the table stay {labels}")
            return
        if reason.kind == "unsure":
            result.unsure += 1
        else:
            result.left_out.append(reason.words)
        if before:
            result.taken_back += 1
            self._remove(case.key)

    def _import(self, case: Case, reviewed: ReviewedLabel) -> None:
        result, before = self.result, self.known.get(case.key)
        pictures = self._pictures(case, reviewed)
        if before and self._has_lost_pictures(case, pictures, reviewed, before):
            self._relabel(case, reviewed, before)
        elif pictures:
            if before:
                self._remove(case.key)
            self._put(case, pictures, reviewed)
        else:
            result.left_out.append(f"{case.unit.name}: no picture in it to learn from (no crop, whole frame or clip)")
            return
        result.changed += bool(before)
        result.verdicts[reviewed.review.partition("@")[0]] += 1
        result.taken_unreviewed += reviewed.review == UNREVIEWED

    def _has_lost_pictures(
        self, case: Case, pictures: Sequence[EvidencePicture], reviewed: ReviewedLabel, before: Collection[str]
    ) -> bool:
        """Return True if the evidence has fewer pictures now than the table has of it."""
        if not pictures or case.unit.kind == "negative":
            return not pictures
        same_form = all(is_bear(self.table.rows[file].get("label", "")) == is_bear(reviewed.label) for file in before)
        return same_form and len(pictures) < min(len(before), self.options.most)

    def _relabel(self, case: Case, reviewed: ReviewedLabel, files: Iterable[str]) -> None:
        """Give the present rows the new label; the pictures stay."""
        self.result.relabelled += 1
        for file in files:
            self.table.put(relabelled(self.table.rows[file], case, reviewed), None if is_bear(reviewed.label) else ())

    def _put(self, case: Case, pictures: Iterable[EvidencePicture], reviewed: ReviewedLabel) -> None:
        for picture in pictures:
            row = row_of(case, picture, reviewed, site=self.options.site, zone=self.options.zone, split=self.split)
            if not self.table.dry:
                _put(self.data / row["file"], picture.jpeg)
            self.table.put(row, boxes_of(picture))
            self.result.pictures[reviewed.label] += 1
            self.result.groups.add(row["group"])

    def _pictures(self, case: Case, reviewed: ReviewedLabel) -> list[EvidencePicture]:
        framed = is_bear(reviewed.label)  # bears are kept as whole frames with boxes
        if case.unit.kind == "negative":
            drawn = case.review.box_xywh if case.review and reviewed.label != NO_BEAR else None
            return negative_pictures(case, drawn, framed=framed)
        pictures, more = event_pictures(
            case, framed=framed, most=self.options.most, problem=self.result.left_out.append
        )
        self.result.alike += more
        return pictures

    def _remove(self, key: str) -> None:
        self.table.remove(self.known.pop(key))


class _FolderError(OptionError):
    """The folder of pictures cannot be written: the import ends."""


def _put(path: Path, data: bytes) -> None:
    """Write a picture in one step; an equal file stays. Raises _FolderError."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, data)
    except OSError as error:
        raise _FolderError(f"{path}: cannot be written ({error.strerror})") from None
    except BearAlarmError as error:
        raise _FolderError(str(error)) from None
