"""People's reviews in the journal: one row for each, of which the last of an event counts.

The record is the review beside the evidence (``edge.record.review``); a running alarm hears of it by these rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.files import hand_over
from edge.record import database
from edge.record.database import ENDS, NAME, DiskError, faults
from edge.record.history import utc
from edge.schema import Event

if TYPE_CHECKING:
    from edge.record.review import Review

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JournalReview:
    """One review of an event."""

    row: int  # counts up
    event: Event  # its first one
    verdict: str
    label: str | None  # what is there, where it was relabelled
    at: datetime  # UTC, by the device's clock


def parsed(rows: Iterable[tuple[int, str, str | None, str, str]]) -> list[JournalReview]:
    """Parse rows of ``Store.reviews``, in order; skip what cannot be read."""
    found = []
    for number, verdict, label, at, line in rows:
        try:
            event = Event.from_json(line)
        except ValueError as error:
            log.debug("review %s is of an event that cannot be understood: %s", number, error)
            continue
        if (when := utc(at)) is not None:
            found.append(JournalReview(number, event, verdict, label, when))
    return found


def pass_on(folder: Path, ids: Sequence[str], review: Review) -> str | None:
    """Write a review of these events into the journal in ``folder``, where there is one that knows them.

    Why a running alarm does not hear of it, in words; None: it does, or there is none.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with faults(path):
            return _write(path, ids, review)
    except DiskError as error:
        return str(error)


def _write(path: Path, ids: Sequence[str], review: Review) -> str | None:
    with closing(database.connect(path, "rw")) as db:
        if db.execute("PRAGMA application_id").fetchone()[0] != database.APPLICATION_ID:
            return f"{path}: it is no journal of Bear Alarm"
        if database.version(db) > database.VERSION:
            return f"{path}: a newer version of Bear Alarm made it; use that one"
        if database.version(db) < database.REVIEWS:  # only an alarm changes the tables: an older one may run on them
            return "its journal is of an older version; start the alarm with this version, and review once more"
        db.execute("BEGIN IMMEDIATE")
        for id_ in ids:
            db.execute(
                "INSERT INTO reviews(event_id, verdict, label, at) SELECT ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM events WHERE event_id = ?)",
                (id_, review.verdict, review.label, review.at, id_),
            )
        db.execute("COMMIT")
        for end in ENDS:
            hand_over(path.with_name(NAME + end))
    return None
