"""Stages in the journal: one row for each beginning of a stage; and the reviews since the last one, counted."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edge.decide.stages import NOT_YET, StageEntry, Tally, stage_of
from edge.errors import OptionError
from edge.files import hand_over
from edge.record import database
from edge.record.database import ENDS, NAME, STAGES, faults, reading, utc
from edge.record.media_store import NEGATIVES, plain_name
from edge.record.misses import read_misses
from edge.record.review import REVIEW, TAKEN_BACK, read_review
from edge.schema import Event, utc_text

if TYPE_CHECKING:
    import sqlite3

COLUMNS = ("camera", "stage", "at", "after", "why", "by", "model", "source", "configured")
REVIEWED_FRAME = re.compile(rf"(\d{{6}})-([\w.-]+)-[0-9a-f]{{4}}\.{re.escape(REVIEW)}")


def read_stages(folder: Path) -> dict[str, list[StageEntry]]:
    """Return each camera's entries in the journal in ``folder``, the oldest first. Raises DiskError.

    The camera with the newest entry is the last one.
    """
    found: dict[str, list[StageEntry]] = {}
    with reading(folder, STAGES) as db:
        for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM stages ORDER BY id") if db else ():
            values = dict(zip(COLUMNS, row, strict=True))
            stage, at = stage_of(values.pop("stage")), utc(values.pop("at"))
            if stage and at:
                found[row[0]] = found.pop(row[0], [])
                found[row[0]].append(StageEntry(stage=stage, at=at, **values))
    return found


def write_stage(folder: Path, entry: StageEntry) -> StageEntry:
    """Write an entry into the journal in ``folder``, which an alarm has made; return it as it is kept.

    ``after`` is the newest event's row at most. An entry that is there already, of a COMMIT that reported an error and
    had worked, stays as it is. Raises DiskError, OptionError.
    """
    path = folder / NAME
    if not path.is_file():
        raise OptionError(f"{path}: there is no journal yet; start the alarm once, and try again")
    values = {name: getattr(entry, name) for name in COLUMNS} | {"at": utc_text(entry.at), "not_yet": NOT_YET}
    same = "FROM stages WHERE " + " AND ".join(f"{name} = :{name}" for name in COLUMNS if name != "after")
    newest = "(SELECT coalesce(max(id), 0) FROM events)"
    after = f"CASE WHEN :after = :not_yet THEN {newest} ELSE min(:after, {newest}) END"
    columns = ", ".join(after if name == "after" else f":{name}" for name in COLUMNS)
    with faults(path), closing(database.connect(path, "rw")) as db:
        if database.version(db) != database.VERSION:
            raise OptionError(f"{path}: another version of Bear Alarm made it; start the alarm with this one first")
        db.execute(
            f"INSERT INTO stages({', '.join(COLUMNS)}) SELECT {columns} WHERE NOT EXISTS (SELECT 1 {same})", values
        )
        (row,) = db.execute(f"SELECT max(after) {same}", values).fetchone()
        for end in ENDS:
            hand_over(path.with_name(NAME + end))
    return replace(entry, after=row)


def newest_rows(folder: Path) -> tuple[int, int, int]:
    """Return numbers of the journal's file, and of its newest stage and review: the same while nothing is new.

    Zeros without a journal of this version. Raises DiskError.
    """
    with reading(folder, STAGES) as db:
        if db is None:
            return 0, 0, 0
        query = "SELECT (SELECT coalesce(max(id), 0) FROM stages), (SELECT coalesce(max(id), 0) FROM reviews)"
        stage, review = db.execute(query).fetchone()
        return (folder / NAME).stat().st_ino, stage, review


def watched_before(folder: Path, camera: str) -> bool:
    """Return True if the journal has events of a camera. Raises DiskError."""
    with reading(folder) as db:
        return db is not None and _is_there(db, "camera", camera)


def keeps_event(folder: Path, id_: str) -> bool:
    """Return True if the journal in ``folder`` has this event. Raises DiskError."""
    with reading(folder) as db:
        return db is not None and _is_there(db, "event_id", id_)


def _is_there(db: sqlite3.Connection, column: str, value: str) -> bool:
    return bool(db.execute(f"SELECT EXISTS(SELECT 1 FROM events WHERE {column} = ?)", (value,)).fetchone()[0])


def read_notices(folder: Path, camera: str, after: int) -> set[str]:
    """Return the words of a camera's notices after a row of the journal. Raises DiskError."""
    found: set[str] = set()
    query = "SELECT json FROM events WHERE id > ? AND camera = ? AND kind = 'notice'"
    with reading(folder) as db:
        for (line,) in db.execute(query, (after, camera)) if db else ():
            with suppress(ValueError):
                found.add(Event.from_json(line).detail or "")
    return found


def count_reviews(
    folder: Path, evidence: Path | None, entry: StageEntry, now: datetime, alarm_labels: Collection[str]
) -> Tally:
    """Count the reviews of a camera since its stage began. Raises DiskError, OSError.

    ``evidence``: the folder of random frames and of reported misses; None: none are kept. ``alarm_labels``: the
    card's; an alarm that a person gave another label was wrong.
    """
    verdicts = [_verdict(found, label, alarm_labels) for found, label in _alarms(folder, entry)]
    said = [each for each in verdicts if each in ("right", "wrong")]
    in_a_row = max((len([*run]) for verdict, run in groupby(said) if verdict == "wrong"), default=0)
    tally = Tally(
        right=verdicts.count("right"),
        wrong=verdicts.count("wrong"),
        unsure=verdicts.count("unsure"),
        unreviewed=verdicts.count(""),
        wrong_in_a_row=in_a_row,
    )
    return count_frames(evidence, tally, entry, now, alarm_labels) if evidence else tally


def count_frames(
    evidence: Path, tally: Tally, entry: StageEntry, now: datetime, alarm_labels: Collection[str]
) -> Tally:
    """Return a tally with the random frames and reported misses of ``evidence`` added. Raises OSError."""
    begin = min(entry.at, now)  # the clock may have been ahead
    frames, missed = _frames(evidence, entry, begin, alarm_labels)
    seen = [at for miss in read_misses(evidence) if miss.camera == entry.camera and (at := utc(miss.at))]
    reported = sum(at >= begin for at in seen)
    return replace(
        tally, frames=tally.frames + frames, missed=tally.missed + missed, reported=tally.reported + reported
    )


def _alarms(folder: Path, entry: StageEntry) -> list[tuple[str | None, str | None]]:
    """Return the last verdict and label of each alarm of the stage, in the order of the alarms."""
    query = (
        "SELECT events.json, verdict, label FROM events LEFT JOIN reviews ON reviews.id ="
        " (SELECT max(id) FROM reviews WHERE reviews.event_id = events.event_id)"
        " WHERE events.id > ? AND events.camera = ? AND kind = 'bear' AND type = 'new' ORDER BY events.id"
    )
    with reading(folder) as db:
        rows = db.execute(query, (entry.after, entry.camera)).fetchall() if db else []
    found = []
    for line, verdict, label in rows:
        try:
            event = Event.from_json(line)
        except ValueError:
            continue
        if event.model == entry.model and event.quiet is None:
            found.append((verdict, label))
    return found


def _verdict(verdict: str | None, label: str | None, alarm_labels: Collection[str]) -> str:
    if verdict in (None, TAKEN_BACK):
        return ""
    if verdict == "unsure":
        return "unsure"
    bear = verdict == "confirmed" or (verdict == "relabelled" and label in alarm_labels)
    return "right" if bear else "wrong"


def _frames(root: Path, entry: StageEntry, begin: datetime, alarm_labels: Collection[str]) -> tuple[int, int]:
    """Count reviewed random frames since ``begin``, and those of them with a bear."""
    reviewed = missed = 0
    for path in root.glob(f"{NEGATIVES}/*/*.{REVIEW}"):
        match = REVIEWED_FRAME.fullmatch(path.name)
        if not match or match[2] != plain_name(entry.camera):
            continue
        try:
            at = datetime.strptime(path.parent.name + match[1], "%Y-%m-%d%H%M%S").replace(tzinfo=UTC)
            if at < begin.replace(microsecond=0):
                continue
            review = read_review(path.with_name(path.name.removesuffix(f".{REVIEW}") + ".jpg"))
        except (OptionError, ValueError):  # damaged: the review page shows it as not reviewed
            continue
        said = _verdict(review.verdict, review.label, alarm_labels) if review else ""
        reviewed += said in ("right", "wrong")
        missed += said == "right"
    return reviewed, missed
