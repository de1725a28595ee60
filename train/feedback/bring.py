"""Bring reviewed evidence into a folder of pictures: idempotent, resumable, whole at any time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from edge.errors import BearAlarmError, OptionError, PictureError
from edge.files import replace_whole
from train.catalog.picture import SPLITS, is_bear
from train.catalog.read import ALIASES
from train.catalog.table import check_no_loose
from train.feedback.case import Case, open_case
from train.feedback.looks import Look, event_looks, negative_looks
from train.feedback.rows import boxes_of, key_of, relabelled, review_of, row_of
from train.feedback.shelf import Shelf, Unit
from train.feedback.table import Ledger, opened
from train.feedback.verdict import NO_BEAR, UNREVIEWED, Refused, Verdict, verdict_of

OFTEN = 50  # cases between two writes of the table: what a power cut costs
Track = Callable[[Sequence[Unit]], Iterable[Unit]]


@dataclass(frozen=True)
class Wanted:
    """What is to be brought, and as what."""

    site: str = "own cameras"  # the source of the rows: what a split keeps together
    cameras: frozenset[str] = frozenset()  # empty: all
    names: Mapping[str, str] = field(default_factory=dict)  # further names of labels
    most: int = 5  # pictures of one event
    unreviewed_negatives: bool = False
    zone: tzinfo | None = None  # of days; None: this machine's
    split: str = ""  # train, tune or test; "": train where the table gives every picture a part, else none


@dataclass
class Brought:
    """What came of it; counts are of events and negatives unless they say otherwise."""

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
        """All of it, ready for JSON."""
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
    """Those of ``cameras`` that no evidence is of, and the cameras that there are, if any is missing; sorted."""
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
        """One unit of evidence; what is broken in it is named and left out."""
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
        """Whether the evidence has lost pictures since: none, or fewer of the same kind than the table has of it."""
        if not looks or case.unit.kind == "negative":
            return not looks
        kept_alike = all(is_bear(self.ledger.rows[file].get("label", "")) == is_bear(verdict.label) for file in before)
        return kept_alike and len(looks) < min(len(before), self.wanted.most)

    def _relabel(self, case: Case, verdict: Verdict, files: Iterable[str]) -> None:
        """The rows that are there get the new label; the pictures lie in the folder still."""
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
    """A picture, whole or not at all; one that is there already stays. Raises _FolderError."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, data)
    except OSError as error:
        raise _FolderError(f"{path}: cannot be written ({error.strerror})") from None
    except BearAlarmError as error:
        raise _FolderError(str(error)) from None
