"""Bring reviewed evidence into a folder of pictures: idempotent, resumable, whole at any time."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any, Literal

from edge.errors import BearAlarmError, CatalogError, OptionError, PictureError
from edge.files import replace_whole
from edge.schema import BoxXYWH, utc_text
from train.data.feedback_evidence import Case, Shelf, Unit, open_case
from train.data.feedback_pictures import Look, event_looks, negative_looks
from train.data.licences import OWN
from train.data.pictures import BEAR_ANY, CAMERAS, SPLITS, TRAINING_LABELS, is_bear
from train.data.table import ALIASES, BOX_COLUMNS, BOXES, MANIFEST, Boxes, Table, check_no_loose, csv_bytes

# What a review makes of a case: the label its pictures get, or why they get none.


NO_BEAR = "no_bear"
RANDOM_NEGATIVE = "random negative"  # what a random frame is called in which nobody saw anything
UNREVIEWED = "none"  # the verdict of a negative that is taken as empty unseen


@dataclass(frozen=True)
class Verdict:
    """The label, what a person called it, and which review says so."""

    label: str  # one of TRAINING_LABELS
    named: str  # fox, stump …; the label where nothing more is known
    review: str  # confirmed@2026-11-24T08:12:07.000Z, or none


@dataclass(frozen=True)
class Refused:
    """Why a case brings no pictures."""

    # Nobody has looked; nobody can tell; a word that is no label; a bear was missed, and nobody said where.
    kind: Literal["unreviewed", "unsure", "unknown", "nowhere"]
    review: str = ""  # as of a verdict
    words: str = ""  # a sentence


def verdict_of(case: Case, names: Mapping[str, str], *, unreviewed_negatives: bool) -> Verdict | Refused:
    """Return what the case's pictures are. ``names``: further names of labels, such as fox -> no_bear.

    A confirmed bear is a bear of unknown kind: the kind that the model told is its own guess, and nobody's word.
    """
    review, negative = case.review, case.unit.kind == "negative"
    if review is None:
        if negative and unreviewed_negatives:
            return Verdict(NO_BEAR, RANDOM_NEGATIVE, UNREVIEWED)
        return Refused("unreviewed")
    said = f"{review.verdict}@{review.at}"
    if review.verdict == "unsure":
        return Refused("unsure", said)
    if review.verdict == "wrong":
        return Verdict(NO_BEAR, RANDOM_NEGATIVE if negative else "false alarm", said)
    named = review.label or BEAR_ANY
    label = names.get(named, named)
    if label not in TRAINING_LABELS:
        what = f"was labelled {named!r}, which is no label; say what it is: --label {named}=no_bear"
        return Refused("unknown", said, f"{case.unit.name}: {what}")
    if negative and label != NO_BEAR and review.box_xywh is None:
        what = f"{named.replace('_', ' ')} was missed there, and nobody said where; review it again with --box"
        return Refused("nowhere", said, f"{case.unit.name}: {what}")
    return Verdict(label, "bear" if named == BEAR_ANY else named, said)


# A case and its looks as rows of the table: one group a camera and day, one source a site.


FOLDER = "feedback"  # in the folder of pictures: where these pictures lie
_KEY = re.compile(r"\b(event|negative)=[^;\s]+")
_PART = re.compile(r"\bpart=([^;\s]+)")
_SCORE = re.compile(r"\bscore=([^;\s]+)")
_REVIEW = re.compile(r"\breview=([^;\s]+)")

Row = dict[str, str]


def key_of(note: str) -> str | None:
    """``event=3f9c…`` of a row's note; None for a row that came from elsewhere."""
    found = _KEY.search(note)
    return found[0] if found else None


def review_of(note: str) -> str:
    """``confirmed@2026-…`` of a row's note; "" where it says none."""
    found = _REVIEW.search(note)
    return found[1] if found else ""


def part_of(note: str) -> str | None:
    """Return which look a row is, by its note (``Look.part``); None for one from elsewhere."""
    found = _PART.search(note) if key_of(note) else None
    return found[1] if found else None


def is_cut(part: str) -> bool:
    """Return True if a look (``Look.part``) is a crop, not all that the camera saw."""
    return part == "crop" or part.endswith("-cut")


def day_of(case: Case, zone: tzinfo | None) -> str:
    """Return the local day of the alarm, 2026-11-28; ``zone`` None: this machine's."""
    return f"{case.at.astimezone(zone):%Y-%m-%d}"


def row_of(case: Case, look: Look, verdict: Verdict, *, site: str, zone: tzinfo | None, split: str) -> Row:
    """Return one row, its file named after case and look, so that the same picture has the same name each time."""
    day = day_of(case, zone)
    kind, _, key = case.key.partition("=")
    name = f"{case.at:%H%M%S}-{kind}-{_plain(key)[:16]}-{_plain(look.part)}.jpg"
    return {
        "file": "/".join((FOLDER, _plain(site), _plain(case.camera), day, name)),
        "label": verdict.label,
        "group": f"{case.camera}/{day}",
        "source": site,
        "licence": OWN,
        "time": utc_text(case.at),
        "note": _note(case, verdict, _plain(look.part), _told(look.score if look.score is not None else case.score)),
        "split": split,
        "condition": "" if is_cut(look.part) else CAMERAS[0],
    }


def boxes_of(look: Look) -> Sequence[tuple[str, BoxXYWH]]:
    """Return the bear's box, where the picture is a whole frame."""
    return [("bear", look.box_xywh)] if look.box_xywh is not None else []


def relabelled(row: Row, case: Case, verdict: Verdict) -> Row:
    """Return a row that is there, of this case, as another review has it: file, group and source stay."""
    score = _SCORE.search(row["note"])
    note = _note(case, verdict, part_of(row["note"]) or "", score[1] if score else _told(case.score))
    return row | {"label": verdict.label, "note": note}


def _note(case: Case, verdict: Verdict, part: str, score: str) -> str:
    facts = [
        verdict.named.replace("_", " "),
        case.key,
        f"part={part}",
        f"review={verdict.review}",
        f"told={_line(case.label) or 'nothing'}",
        f"score={score}",
        f"model={_line(case.model) or 'unknown'}",
    ]
    if case.clock_synced is False:
        facts.append("clock=not set")
    if case.review and case.review.by:
        facts.append(f"by={_line(case.review.by)}")
    if case.review and case.review.note:
        facts.append(f"said={_line(case.review.note)}")
    return "; ".join(facts)


def _told(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"


def _line(words: str) -> str:
    return " ".join(words.replace(";", ",").split())


def _plain(words: str) -> str:
    """As a part of a path: no longer than 60 bytes, for file systems end at 255."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:60].decode(errors="ignore").strip(".") or "_"


# The table of pictures as an import needs it: rows that are put, and rows that a person no longer stands by.


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
        """Return True if nothing is written."""
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
    """Yield the table of a folder; write it at the end, after Ctrl-C too; ``dry``: only read. Raises as ``Table``."""
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
    """Write the table without the rows of some files and with new ones, whole or as it was."""
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


OFTEN = 50  # cases between two writes of the table: what a power cut costs
Track = Callable[[Sequence[Unit]], Iterable[Unit]]


@dataclass(frozen=True)
class Wanted:
    """Evidence to import, and its labels."""

    site: str = "own cameras"  # the source of the rows: what a split keeps together
    cameras: frozenset[str] = frozenset()  # empty: all
    names: Mapping[str, str] = field(default_factory=dict)  # further names of labels
    most: int = 5  # pictures of one event
    unreviewed_negatives: bool = False
    zone: tzinfo | None = None  # of days; None: this machine's
    split: str = ""  # train, tune or test; "": train where the table gives every picture a part, else none


@dataclass
class Brought:
    """Result of an import; counts are of events and negatives unless they say otherwise."""

    events: int = 0
    negatives: int = 0
    pictures: Counter[str] = field(default_factory=Counter)  # new rows by label
    groups: set[str] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)  # of what is new or changed
    known: int = 0  # there already, with the same review
    changed: int = 0  # there already, and reviewed otherwise since: their rows were replaced, or relabelled
    relabelled: int = 0  # of those: no better pictures could be made, and the rows that were there got the new label
    taken_back: int = 0  # there already, and nobody can tell any more: their rows were removed
    unreviewed_events: int = 0
    unreviewed_negatives: int = 0
    taken_unreviewed: int = 0
    unsure: int = 0
    alike: int = 0  # pictures left out since the event has as good ones
    other_cameras: int = 0
    left_out: list[str] = field(default_factory=list)  # a sentence each
    kept: list[str] = field(default_factory=list)  # what stays as it is for want of an answer, a sentence each

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


def bring(shelf: Shelf, data: Path, wanted: Wanted, *, dry: bool = False, track: Track = iter) -> Brought:
    """Write the pictures into ``data`` and their rows into its table; ``dry``: only say what would come.

    What was broken off goes on where it stopped, for a case whose rows are there is passed over. Raises OptionError
    and CatalogError where the folder cannot be used.
    """
    check_no_loose(data, "--into")
    with opened(data, dry=dry) as ledger:
        work = _Work(data, wanted, ledger)
        work.brought.left_out += shelf.closed
        for number, unit in enumerate(track(shelf.units), start=1):
            work.take(unit)
            if number % OFTEN == 0:
                ledger.write()
    return work.brought


def missing_cameras(shelf: Shelf, cameras: Collection[str]) -> tuple[list[str], list[str]]:
    """Return those of ``cameras`` that no evidence is of, and the cameras that there are, if any is missing; sorted."""
    seen: set[str] = set()
    for unit in shelf.units:
        if seen.issuperset(cameras):
            return [], []
        with suppress(PictureError, OptionError):  # what is broken is named when it is brought
            if case := open_case(unit):
                seen.add(case.camera)
    return sorted(set(cameras) - seen), sorted(seen)


class _Work:
    """One import: case by case into the table."""

    def __init__(self, data: Path, wanted: Wanted, ledger: Ledger) -> None:
        self.data, self.wanted, self.ledger = data, wanted, ledger
        self.names = {**ALIASES, **wanted.names}
        said = [row.get("split", "") for row in ledger.rows.values()]
        self.split = wanted.split or ("train" if said and set(said) == set(SPLITS) else "")
        self.known: dict[str, dict[str, str]] = defaultdict(dict)  # case -> its files, and which review each is by
        for file, row in ledger.rows.items():
            if key := key_of(row.get("note", "")):
                self.known[key][file] = review_of(row["note"])
        self.brought = Brought()
        self._seen: set[str] = set()

    def take(self, unit: Unit) -> None:
        """Take one unit of evidence; name what is broken in it and skip that."""
        try:
            case = open_case(unit)
            if case is not None:
                self._take(case)
        except (PictureError, OptionError) as error:
            if isinstance(error, _FolderError):
                raise OptionError(str(error)) from None
            self.brought.left_out.append(str(error))

    def _take(self, case: Case) -> None:
        brought = self.brought
        if self.wanted.cameras and case.camera not in self.wanted.cameras:
            brought.other_cameras += 1
            return
        if case.key in self._seen:  # the same evidence lies there twice
            return
        self._seen.add(case.key)
        negative = case.unit.kind == "negative"
        brought.negatives += negative
        brought.events += not negative
        verdict = verdict_of(case, self.names, unreviewed_negatives=self.wanted.unreviewed_negatives)
        before = self.known.get(case.key)
        if isinstance(verdict, Refused):
            self._refuse(case, verdict)
        elif before and (verdict.review == UNREVIEWED or set(before.values()) == {verdict.review}):
            brought.known += 1
        else:
            self._bring(case, verdict)

    def _refuse(self, case: Case, refused: Refused) -> None:
        brought, before = self.brought, self.known.get(case.key)
        if refused.kind == "unreviewed":
            if before:
                brought.known += 1
            elif case.unit.kind == "negative":
                brought.unreviewed_negatives += 1
            else:
                brought.unreviewed_events += 1
            return
        again = before is not None and set(before.values()) == {refused.review}
        if before and (again or refused.kind == "unknown"):  # nobody took back what the rows say; a --label is missing
            brought.known += 1
            labels = " and ".join(sorted({self.ledger.rows[file].get("label", "") for file in before}))
            words = refused.words or f"{case.unit.name}: nobody can tell"
            brought.kept.append(f"{words}; until then what is in the table of it stays {labels}")
            return
        if refused.kind == "unsure":
            brought.unsure += 1
        else:
            brought.left_out.append(refused.words)
        if before:
            brought.taken_back += 1
            self._remove(case.key)

    def _bring(self, case: Case, verdict: Verdict) -> None:
        brought, before = self.brought, self.known.get(case.key)
        looks = self._looks(case, verdict)
        if before and self._are_worn(case, looks, verdict, before):
            self._relabel(case, verdict, before)
        elif looks:
            if before:
                self._remove(case.key)
            self._put(case, looks, verdict)
        else:
            brought.left_out.append(f"{case.unit.name}: no picture in it to learn from (no crop, whole frame or clip)")
            return
        brought.changed += bool(before)
        brought.verdicts[verdict.review.partition("@")[0]] += 1
        brought.taken_unreviewed += verdict.review == UNREVIEWED

    def _are_worn(self, case: Case, looks: Sequence[Look], verdict: Verdict, before: Collection[str]) -> bool:
        """Return True if the evidence has lost pictures since: fewer of a kind than the table has of it."""
        if not looks or case.unit.kind == "negative":
            return not looks
        kept_alike = all(is_bear(self.ledger.rows[file].get("label", "")) == is_bear(verdict.label) for file in before)
        return kept_alike and len(looks) < min(len(before), self.wanted.most)

    def _relabel(self, case: Case, verdict: Verdict, files: Iterable[str]) -> None:
        """Give the rows that are there the new label; the pictures stay where they are."""
        self.brought.relabelled += 1
        for file in files:
            self.ledger.put(relabelled(self.ledger.rows[file], case, verdict), None if is_bear(verdict.label) else ())

    def _put(self, case: Case, looks: Iterable[Look], verdict: Verdict) -> None:
        for look in looks:
            row = row_of(case, look, verdict, site=self.wanted.site, zone=self.wanted.zone, split=self.split)
            if not self.ledger.dry:
                _put(self.data / row["file"], look.jpeg)
            self.ledger.put(row, boxes_of(look))
            self.brought.pictures[verdict.label] += 1
            self.brought.groups.add(row["group"])

    def _looks(self, case: Case, verdict: Verdict) -> list[Look]:
        framed = is_bear(verdict.label)
        if case.unit.kind == "negative":
            drawn = case.review.box_xywh if case.review and verdict.label != NO_BEAR else None
            return negative_looks(case, drawn, framed=framed)
        looks, more = event_looks(case, framed=framed, most=self.wanted.most, problem=self.brought.left_out.append)
        self.brought.alike += more
        return looks

    def _remove(self, key: str) -> None:
        self.ledger.remove(self.known.pop(key))


class _FolderError(OptionError):
    """The folder of pictures cannot be written: the import ends."""


def _put(path: Path, data: bytes) -> None:
    """Write a picture, whole or not at all; one that is there already stays. Raises _FolderError."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, data)
    except OSError as error:
        raise _FolderError(f"{path}: cannot be written ({error.strerror})") from None
    except BearAlarmError as error:
        raise _FolderError(str(error)) from None
