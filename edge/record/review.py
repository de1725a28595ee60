"""Reviews of events and random negatives: ``review.json`` in the event's folder, or beside the negative.

    {"schema_version": 1, "verdict": "wrong", "label": null, "by": "anna", "at": "2026-11-24T08:12:07.000Z",
     "note": "a stump", "box_xywh": null, "earlier": []}

``verdict`` is of the picture, not of the alarm: ``confirmed`` a bear is there, ``wrong`` none is, ``relabelled`` what
is there is called ``label``, ``unsure`` nobody can tell. The last review holds; those before it stay in ``earlier``.
A running alarm reads it in the journal, where ``pass_on`` writes it too.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from edge.errors import OptionError
from edge.files import hand_over, replace_whole, try_lock
from edge.record import database
from edge.record.database import ENDS, NAME, DiskError, faults, utc
from edge.record.media_store import SAMPLE
from edge.schema import BoxXYWH, Event, utc_text

log = logging.getLogger(__name__)


Verdict = Literal["confirmed", "wrong", "relabelled", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
SCHEMA_VERSION = 1
REVIEW = "review.json"
WAIT_S = 10.0  # how long another reviewer is waited for; a review takes milliseconds
LABEL = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
MAX_NOTE = 2000  # characters of a note


@dataclass(frozen=True)
class Review:
    """Review by one person at one time. Raises ValueError with the reason if it makes no sense."""

    verdict: Verdict
    at: str  # UTC, ISO 8601
    label: str | None = None  # what is there, where it was relabelled: brown_bear, teddy_bear, fox …
    by: str = ""
    note: str = ""
    box_xywh: BoxXYWH | None = None  # where it is in the whole frame, where a person drew it; fractions

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(VERDICTS)}")
        if (self.label is None) != (self.verdict != "relabelled"):
            raise ValueError(f"verdict {self.verdict!r} with label {self.label!r}; a label goes with relabelled alone")
        if self.label is not None and not (isinstance(self.label, str) and LABEL.fullmatch(self.label)):
            raise ValueError(f"label {self.label!r} is no word in small letters, such as fox or brown_bear")
        for name in ("at", "by", "note"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} {getattr(self, name)!r} is no text")
        if len(self.note) > MAX_NOTE:
            raise ValueError(f"note has {len(self.note)} characters, more than {MAX_NOTE}")
        if self.box_xywh is not None:
            object.__setattr__(self, "box_xywh", _box(self.box_xywh))


def review_path(unit: Path) -> Path:
    """Return where the review of an event's folder, or of a random negative, lies."""
    return unit.with_suffix("." + REVIEW) if SAMPLE.fullmatch(unit.name) else unit / REVIEW


def read_review(unit: Path) -> Review | None:
    """Return the review that counts, or None. Raises OptionError if it is damaged or cannot be read."""
    path = review_path(unit)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_review(data, path)


def parse_review(data: bytes, name: object) -> Review:
    """Return the review that holds, of a review's file; ``name`` only names it in the OptionError."""
    return _parse(data, name)[-1]


def write_review(unit: Path, review: Review) -> Path:
    """Review an event's folder, or a random negative; gives the file. Earlier reviews stay in it.

    Raises OptionError where there is no such unit, a review that is there is damaged, or nothing can be written.
    """
    path = review_path(unit)
    if not unit.exists():
        raise OptionError(f"{unit}: not there; its evidence is gone, or was never written")
    with _alone(unit):
        try:
            before = _parse(path.read_bytes(), path)
        except FileNotFoundError:
            before = []
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
        if before and replace(before[-1], at=review.at) == review:
            return path  # the same again
        replace_whole(path, _whole([*before, review]))
    return path


def take_back(unit: Path, review: Review) -> Review | None:
    """Remove this review of a unit, if it is the last one; return the one that holds now, None where none is left.

    Raises OptionError where another one is the last, the file is damaged, or nothing can be written.
    """
    path = review_path(unit)
    with _alone(unit):
        try:
            *before, last = _parse(path.read_bytes(), path)
            if last != review:
                raise OptionError(f"{unit.name}: somebody reviewed it again; that review stays")
            if not before:
                path.unlink()
                return None
        except OSError as error:
            raise OptionError(f"{path}: cannot be changed ({error.strerror})") from None
        replace_whole(path, _whole(before))
    return before[-1]


def _whole(reviews: Sequence[Review]) -> bytes:
    """Return the file's content; the last review is the one that holds."""
    *earlier, last = (asdict(each) for each in reviews)
    whole = {"schema_version": SCHEMA_VERSION} | last | {"earlier": earlier}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode() + b"\n"


@contextmanager
def _alone(unit: Path) -> Iterator[None]:
    """Only one writer at a time reviews a unit; on a disk that takes no lock it goes on without.

    The lock is on what is there anyway, so that evidence holds no further file. Raises OptionError when another
    program holds it for long.
    """
    held: int | None = None
    with suppress(OSError):  # a folder on Windows, or a file that nobody may open
        held = os.open(unit if sys.platform != "win32" or unit.is_file() else unit / "event.json", os.O_RDONLY)
    try:
        until = time.monotonic() + WAIT_S
        while held is not None and not _taken(held):
            if time.monotonic() >= until:
                raise OptionError(
                    f"{unit}: another program has been reviewing it for {WAIT_S:.0f} s; end it, try again"
                )
            time.sleep(0.01)
        yield
    finally:
        if held is not None:
            os.close(held)  # which lets go of it


def _taken(file: int) -> bool:
    """Return whether it is locked now, or cannot be."""
    try:
        return try_lock(file)
    except OSError:
        return True


def _parse(data: bytes, name: object) -> list[Review]:
    """Return every review, the one that holds last."""
    try:
        found = json.loads(data)
        if not isinstance(found, dict) or not isinstance(found.get("earlier", []), list):
            raise ValueError("no JSON object")
        if found.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {found.get('schema_version')!r}, this program reads {SCHEMA_VERSION}")
        names = [each.name for each in fields(Review)]
        reviews = (*found.get("earlier", []), found)
        return [Review(**{name: each[name] for name in names if name in each}) for each in reviews]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise OptionError(f"{name}: no review this program can read ({why}); mend it, or delete it") from None


def _box(found: object) -> BoxXYWH:
    """Return a box of fractions inside the frame, give or take a rounding. Raises ValueError."""
    if isinstance(found, list | tuple) and len(found) == 4 and all(isinstance(side, int | float) for side in found):
        x, y, w, h = (float(side) for side in found)
        if x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 1.001 and y + h <= 1.001:
            return x, y, w, h
    raise ValueError(f"box_xywh {found!r} is not left, top, width, height as fractions of the frame")


# Reviews in the journal: one row for each, of which the last of an event counts. A running alarm reads them there.

TAKEN_BACK = "taken back"  # the verdict of a row after which an event has no review any more


@dataclass(frozen=True, slots=True)
class JournalReview:
    """One review of an event."""

    row: int  # counts up
    event: Event  # its first one
    verdict: str  # one of VERDICTS, or TAKEN_BACK
    label: str | None  # what is there, where it was relabelled
    at: datetime  # UTC, by the device's clock


def parse_rows(rows: Iterable[tuple[int, str, str | None, str, str]]) -> list[JournalReview]:
    """Parse rows of ``Store.reviews``, in order; skip what cannot be read."""
    found = []
    for number, verdict, label, at, line in rows:
        when = utc(at)
        with suppress(ValueError):
            event = Event.from_json(line)
            if when:
                found.append(JournalReview(number, event, verdict, label, when))
    return found


def pass_on(folder: Path, ids: Sequence[str], review: Review | None) -> str | None:
    """Write a review of these events into the journal in ``folder``, where there is one that knows them.

    None: their review was taken back, and none is left.
    Return in words why a running alarm does not get it; None: it does, or there is none.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with faults(path):
            return _write(path, ids, review)
    except DiskError as error:
        return str(error)


def _write(path: Path, ids: Sequence[str], review: Review | None) -> str | None:
    verdict, label, at = (
        (review.verdict, review.label, review.at) if review else (TAKEN_BACK, None, utc_text(datetime.now(UTC)))
    )
    with closing(database.connect(path, "rw")) as db:
        if database.version(db) > database.VERSION:
            return f"{path}: a newer version of Bear Alarm made it; use that one"
        if database.version(db) < database.REVIEWS:  # only an alarm changes the tables: an older one may run on them
            return "its journal is of an older version; start the alarm with this version, and review once more"
        db.execute("BEGIN IMMEDIATE")
        for id_ in ids:
            db.execute(
                "INSERT INTO reviews(event_id, verdict, label, at) SELECT ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM events WHERE event_id = ?)",
                (id_, verdict, label, at, id_),
            )
        db.execute("COMMIT")
        for end in ENDS:
            hand_over(path.with_name(NAME + end))
    return None
