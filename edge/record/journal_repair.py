"""Open the journal's database; replace a damaged one by a new one with the unsent messages that can still be read."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.files import hand_over
from edge.record.database import (
    ENDS,
    NAME,
    VERSION,
    DiskError,
    Store,
    checked,
    connect,
    fault,
    faults,
    make_folders,
    prepare,
    to_disk,
    version,
)
from edge.record.memory_outbox import picture_of, rows_for
from edge.record.outbox import Route
from edge.schema import Event, readable, utc_text

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

UNSENT = ("id", "event", "channel", "part", "picture", "queued_at", "attempts", "error")
SENT_AGAIN = 100  # newest events, where it is not known any more which were sent
COPY_ROOM_BYTES = 16 << 20  # what a copy of an older journal leaves free
MAX_QUARANTINED = 3  # a failing card must not fill itself with damaged journals


def open_store(
    folder: Path, routes: Sequence[Route], now: datetime, suspect: str | None = None
) -> tuple[Store, str | None]:
    """Open the journal in ``folder``, made where there is none; and return in one sentence that it was damaged.

    A damaged one, or what is none, is moved to ``folder/quarantine``. ``suspect``: what is known to be wrong with it.
    Raises DiskError: of the kind "newer" when a newer version made it, which is left as it is.
    """
    path = folder / NAME
    with faults(path):
        make_folders(folder)
        replaced = None
        _finish(folder, now)
        if wrong := suspect or _wrong(path):
            replaced = _replace(folder, wrong, routes, now)
        db = connect(path)
        try:
            if 0 < version(db) < VERSION:
                _back_up(db, path)
            prepare(db)
            for end in ENDS:
                hand_over(path.with_name(NAME + end))
            return Store(db, path), replaced
        except BaseException:
            db.close()
            raise


def _back_up(db: sqlite3.Connection, path: Path) -> None:
    """Copy a journal of an older version before its tables change; where there is no room, go on without."""
    copy = path.with_name(f"{NAME}.version-{version(db)}")
    part = copy.with_name(f"{copy.name}.part")
    if copy.exists():
        return
    try:
        with faults(path):
            if shutil.disk_usage(path.parent).free < 2 * path.stat().st_size + COPY_ROOM_BYTES:
                raise DiskError("there is no room", "full")
            part.unlink(missing_ok=True)
            with closing(connect(part)) as to:
                db.backup(to)
            part.rename(copy)
            hand_over(copy)
            to_disk(copy.parent)
    except DiskError as error:
        log.warning("%s: it is brought up to date without a copy of before (%s)", path, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _wrong(path: Path) -> str | None:
    """Return why the journal cannot be used; None: it can, or there is none yet. Raises DiskError or sqlite3.Error."""
    if not path.exists():
        return None
    try:
        with faults(path):
            db = connect(path)
            try:
                if version(db) > VERSION:
                    raise DiskError(
                        f"{path}: a newer version of Bear Alarm made it (tables {version(db)}, this one knows"
                        f" {VERSION}); update this one, or keep its journal in another folder", "newer",
                    )  # fmt: skip
                return fault(db)
            finally:
                db.close()
    except DiskError as error:
        if error.fault != "damaged":
            raise
        return str(error.__cause__)


def _replace(folder: Path, wrong: str, routes: Sequence[Route], now: datetime) -> str:
    """Make a new journal with the unsent messages of the old one, then put it in its place; return what was done."""
    part, ready = folder / f"{NAME}.part", folder / f"{NAME}.saved"
    part.unlink(missing_ok=True)
    saved = copy_unsent(folder / NAME, part, routes, utc_text(now))
    part.rename(ready)
    to_disk(folder)
    quarantined = _finish(folder, now)
    words = f"{folder / NAME} was damaged ({wrong}) and is kept in {quarantined}; {saved}"
    log.warning("%s", words)
    return words


def copy_unsent(damaged: Path, new: Path, routes: Sequence[Route], now: str) -> str:
    """Make the journal ``new`` with the unsent messages and the reviews of ``damaged``; return in words what came.

    Rows keep their numbers. Where the outbox cannot be read to its end, the newest events are queued once more at the
    time ``now``: twice is better than never, and they carry the same id. Raises sqlite3.Error or OSError when the new
    one cannot be written.
    """
    with closing(connect(new)) as to:
        prepare(to, log=False)
        to.execute("BEGIN IMMEDIATE")
        source = _opened(damaged)
        lost = 0 if source else None
        if source:
            with closing(source):
                lost = _copy_unsent(source, to, routes, now)
        count = to.execute("SELECT count(*) FROM outbox").fetchone()[0]
        to.execute("COMMIT")
    rest = {None: "; nothing else can be read", 0: ""}.get(lost, f"; {lost} cannot be read")
    return f"{count} unsent messages were saved{rest}"


def _opened(damaged: Path) -> sqlite3.Connection | None:
    """Open the damaged one, with its log where that can be read, else without; None: nothing can be read."""
    import sqlite3

    for mode in ("ro", "ro&immutable=1"):
        with suppress(sqlite3.Error):
            db = connect(damaged, mode)
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            with suppress(sqlite3.Error):
                if db.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('events', 'outbox')").fetchone()[0]:
                    return db
            db.close()
    return None


def _copy_unsent(source: sqlite3.Connection, to: sqlite3.Connection, routes: Sequence[Route], now: str) -> int | None:
    """Copy what can be read; how many unsent messages cannot be, or None where not even that is known."""
    import sqlite3

    lost: int | None = 0
    rows: list[tuple[object, ...]] = []
    try:
        rows.extend(source.execute(f"SELECT {', '.join(UNSENT)} FROM outbox WHERE state = 'waiting' ORDER BY id"))
    except sqlite3.Error:
        lost = None
    for row in rows:
        if _copy_event(source, to, row[1]) is None:
            lost = None if lost is None else lost + 1
        elif row[3] in ("word", "picture"):
            to.execute(f"INSERT OR IGNORE INTO outbox({', '.join(UNSENT)}) VALUES(?, ?, ?, ?, ?, ?, ?, ?)", row)
    if lost is None:
        newest: list[tuple[int]] = []
        with suppress(sqlite3.Error):
            newest.extend(source.execute("SELECT id FROM events ORDER BY id DESC LIMIT ?", (SENT_AGAIN,)))
        for (number,) in reversed(newest):
            event = _copy_event(source, to, number)
            for channel, part in rows_for(routes, event) if event else ():
                picture = picture_of(event, part) if event else None
                to.execute(
                    "INSERT OR IGNORE INTO outbox(event, channel, part, picture, queued_at) VALUES(?, ?, ?, ?, ?)",
                    (number, channel, part, picture and readable(str(picture)), now),
                )
    with suppress(sqlite3.Error):  # a person's word is kept with the event it is of
        first = "(SELECT min(id) FROM events WHERE events.event_id = reviews.event_id)"
        for number, *review in source.execute(f"SELECT {first}, event_id, verdict, label, at FROM reviews ORDER BY id"):
            if number and _copy_event(source, to, number):
                to.execute("INSERT INTO reviews(event_id, verdict, label, at) VALUES(?, ?, ?, ?)", review)
    return lost


def _copy_event(source: sqlite3.Connection, to: sqlite3.Connection, number: object) -> Event | None:
    """Copy one event; None where it cannot be read."""
    import sqlite3

    try:
        (line,) = source.execute("SELECT json FROM events WHERE id = ?", (number,)).fetchone()
        event = Event.from_json(line)
        values = (event.id, event.kind, event.type, event.camera, event.boot_id, event.seq, event.captured_at)
        to.execute(
            "INSERT OR IGNORE INTO events(id, event_id, kind, type, camera, boot_id, seq, captured_at, evidence, json)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *values, event.evidence, line),
        )  # fmt: skip
    except (sqlite3.DatabaseError, sqlite3.InterfaceError, ValueError, TypeError, AttributeError) as error:
        log.debug("event %s cannot be read: %s", number, error)
        return None
    return event


def _finish(folder: Path, now: datetime) -> Path | None:
    """Put a new journal that is ready in place of the old one, also after a power cut; return where the old one lies.

    The old log is gone on the disk before the new file comes: it would be played into it.
    """
    ready, place = folder / f"{NAME}.saved", folder / NAME
    if not ready.exists():
        return None
    quarantine = folder / "quarantine"
    quarantine.mkdir(exist_ok=True)
    hand_over(quarantine)
    quarantined = quarantine / f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z.db"
    for end in ENDS:
        with suppress(FileNotFoundError):
            place.with_name(NAME + end).replace(quarantined.with_name(quarantined.name + end))
    to_disk(quarantine)
    to_disk(folder)
    ready.rename(place)
    to_disk(folder)
    # The name of the newest may go by a wrong clock.
    others = sorted(other for other in quarantine.glob("*.db") if other != quarantined)
    for old in others[: max(0, len(others) + 1 - MAX_QUARANTINED)]:
        for end in ENDS:
            old.with_name(old.name + end).unlink(missing_ok=True)
    return quarantined


def check_whole(folder: Path) -> str | None:
    """Check every page and index beside the writer; return what is wrong, or None: nothing is known to be."""
    path = folder / NAME
    try:
        with faults(path):
            db = connect(path, "ro")
            try:
                return checked(db, "integrity_check")
            finally:
                db.close()
    except DiskError as error:
        if error.fault == "damaged":
            return str(error.__cause__)
        log.warning("the journal cannot be checked: %s", error)
        return None
