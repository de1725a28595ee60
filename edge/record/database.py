"""The journal's database: its tables, what is read and written, and the repair of a damaged one.

Every fault of the disk comes out as DiskError. SQLite's write-ahead log recovers what a power cut leaves. Commands
beside the alarm rely on SQLite's own locking.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.files import hand_over, to_disk
from edge.record.outbox import Entries, Mark, Part, Route, picture_of, rows_for
from edge.schema import Event, readable, utc_text

if TYPE_CHECKING:
    import sqlite3


log = logging.getLogger(__name__)


NAME = "journal.db"
ENDS = ("-wal", "-journal", "-shm", "")  # the files of one database

# The journal's tables, the migrations that lead there, and the settings every connection to it has.


APPLICATION_ID = 0x42454152  # "BEAR"
BUSY_S = 5.0  # how long another process may write
CHECK_S = 5.0  # the alarm starts all the same; a check of the whole follows once it runs

# MIGRATIONS[n] leads from version n to n + 1.
MIGRATIONS = (
    """
    CREATE TABLE runs(
        boot_id TEXT PRIMARY KEY, started_at TEXT, machine_boot TEXT, version TEXT,
        clock_synced INTEGER, clock_how TEXT, synced_at TEXT, offset_s REAL, alive_at TEXT, ended_at TEXT
    );
    CREATE TABLE events(
        id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL, camera TEXT NOT NULL,
        boot_id TEXT NOT NULL, seq INTEGER NOT NULL, captured_at TEXT NOT NULL, evidence TEXT, json TEXT NOT NULL,
        UNIQUE(boot_id, seq)
    );
    CREATE INDEX events_by_happening ON events(event_id);
    CREATE TABLE outbox(
        id INTEGER PRIMARY KEY, event INTEGER NOT NULL REFERENCES events(id), channel TEXT NOT NULL, part TEXT NOT NULL,
        picture TEXT, queued_at TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'waiting', error TEXT, settled_at TEXT,
        UNIQUE(event, channel, part)
    );
    CREATE INDEX outbox_waiting ON outbox(channel, id) WHERE state = 'waiting';
    """,
    """
    CREATE TABLE reviews(
        id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, verdict TEXT NOT NULL, label TEXT, at TEXT NOT NULL
    );
    CREATE INDEX reviews_by_event ON reviews(event_id);
    """,
    """
    CREATE TABLE stages(
        id INTEGER PRIMARY KEY, camera TEXT NOT NULL, stage TEXT NOT NULL, at TEXT NOT NULL, after INTEGER NOT NULL,
        why TEXT NOT NULL, by TEXT NOT NULL, model TEXT NOT NULL, source TEXT NOT NULL, configured TEXT NOT NULL
    );
    CREATE TABLE days(
        camera TEXT NOT NULL, day TEXT NOT NULL, night INTEGER NOT NULL, json TEXT NOT NULL,
        PRIMARY KEY(camera, day, night)
    );
    """,
)
REVIEWS, STAGES = 2, 3  # the first versions with these tables
VERSION = len(MIGRATIONS)


def connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Open a connection for any thread, one at a time; ``mode`` as in SQLite's URIs. Raises sqlite3.Error."""
    import sqlite3

    address = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")  # COMMIT returns when it is on the disk
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite would write zeros over what is deleted
        db.execute("PRAGMA wal_autocheckpoint = 64")  # pages: a short log leaves the ballast to the alarms
    except BaseException:
        db.close()
        raise
    return db


def version(db: sqlite3.Connection) -> int:
    """Return the version of its tables; 0: none yet. Raises sqlite3.Error."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def reading(folder: Path, tables: int = 0) -> Iterator[sqlite3.Connection | None]:
    """Open the journal in ``folder`` for reading; None: there is none, or one older than version ``tables``.

    Raises DiskError.
    """
    path = folder / NAME
    if not path.is_file():
        yield None
        return
    with faults(path), closing(connect(path, "ro")) as db:
        yield db if version(db) >= tables else None


def fault(db: sqlite3.Connection) -> str | None:
    """Return why this journal cannot be used, or None; checks for ``CHECK_S`` seconds. Raises sqlite3.Error."""
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables and not version(db):
        return None
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return "it is something else, no journal of Bear Alarm"
    return checked(db, "quick_check", CHECK_S)


def checked(db: sqlite3.Connection, check: str, limit_s: float | None = None) -> str | None:
    """Return the first finding of ``quick_check`` or ``integrity_check``, or None when all is well or time is up."""
    import sqlite3

    if limit_s is not None:
        until = time.monotonic() + limit_s
        db.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        found = str(db.execute(f"PRAGMA {check}(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        db.set_progress_handler(None, 0)
    return None if found == "ok" else " ".join(found.split())


def prepare(db: sqlite3.Connection, *, log: bool = True) -> None:
    """Bring the tables to this version; ``log``: with the write-ahead log. Raises sqlite3.Error."""
    if log and db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        db.execute("PRAGMA journal_mode = WAL").close()
    if version(db) >= VERSION:
        return
    with closing(db.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        for number in range(version(db), VERSION):  # asked again: another process may have just done it
            for statement in MIGRATIONS[number].split(";"):
                cursor.execute(statement)
        cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        cursor.execute(f"PRAGMA user_version = {VERSION}")
        cursor.execute("COMMIT")


def utc(text: str | None) -> datetime | None:
    """Parse a time of the journal; None where there is none, or none that can be read."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that they outlive a power cut. Raises OSError."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(exist_ok=True)
            hand_over(each)
            to_disk(each.parent)


# The journal's database while it is open: one connection, one user at a time; every fault comes out as DiskError.


Fault = Literal["full", "damaged", "busy", "newer", "broken"]
Waiting = tuple[int, Part, str | None, str, int, str]  # row, part, picture, queued_at, attempts, event as JSON


class DiskError(Exception):
    """Failure of the disk or the database; ``fault`` decides what is done about it."""

    def __init__(self, words: str, fault: Fault) -> None:
        super().__init__(words)
        self.fault = fault


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn every error of SQLite or the system at ``path`` into a DiskError."""
    import sqlite3

    codes: dict[int, Fault] = {
        sqlite3.SQLITE_FULL: "full",
        sqlite3.SQLITE_CORRUPT: "damaged",
        sqlite3.SQLITE_NOTADB: "damaged",
        sqlite3.SQLITE_BUSY: "busy",
        sqlite3.SQLITE_LOCKED: "busy",
    }
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # Python's own complaints carry none
        raise DiskError(f"{path}: {error}", codes.get(code, "broken")) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DiskError(f"{path}: {error.strerror or error}", "full" if full else "broken") from error


class Store:
    """An open journal at ``path``; for one thread at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self.path = path
        self._identity = self._now_there()

    def _now_there(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @property
    def moved(self) -> bool:
        """Return True when the file was taken away: SQLite would go on writing where it is not found."""
        return self._now_there() != self._identity

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open one transaction: at its end everything is on the disk, or nothing. Raises DiskError."""
        import sqlite3

        with faults(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    with suppress(sqlite3.Error):  # it is the first error that counts
                        self._db.execute("ROLLBACK")
                raise

    def put(self, entries: Entries, marks: dict[int, Mark]) -> dict[int, int]:
        """Write entries and marks, within ``writing``; return where the entries' rows lie now."""
        lie = {}
        for entry, rows in entries.values():
            event = self._put_event(entry.event)
            for row in rows:
                picture, mark = picture_of(entry.event, row.part), row.mark
                found = self._db.execute(
                    "INSERT INTO outbox(event, channel, part, picture, queued_at, attempts, state, error, settled_at)"
                    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(event, channel, part) DO UPDATE SET"
                    " picture = excluded.picture RETURNING id",
                    (event, row.channel, row.part, picture and readable(str(picture)), entry.queued_at, mark.tries,
                     mark.state, mark.error, mark.settled_at),
                ).fetchone()  # fmt: skip
                lie[row.number] = int(found[0])
                if mark != Mark():  # it is there already: a COMMIT reported an error, and had worked
                    self._mark(lie[row.number], replace(mark, tries=0))
        for number, mark in marks.items():
            self._mark(number, mark)
        return lie

    def _put_event(self, event: Event) -> int:
        """Write an event and return its row; it is there already if a COMMIT worked, and reported an error."""
        event = replace(event, durable=True)
        row = self._db.execute(
            "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, evidence, json)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(boot_id, seq) DO UPDATE SET json = excluded.json RETURNING id",
            (event.id, event.kind, event.type, readable(event.camera), event.boot_id, event.seq, event.captured_at,
             event.evidence and readable(event.evidence), event.to_json()),
        ).fetchone()  # fmt: skip
        return int(row[0])

    def _mark(self, row: int, mark: Mark) -> None:
        self._db.execute(
            "UPDATE outbox SET state = ?, attempts = attempts + ?, error = coalesce(?, error), settled_at = ?"
            " WHERE id = ? AND state = 'waiting'",
            (mark.state, mark.tries, mark.error, mark.settled_at, row),
        )

    def waiting(self, channel: str, *, newest_first: bool, limit: int, settled: set[int]) -> list[Waiting]:
        """Return at most ``limit`` rows that a channel has not delivered, but those ``settled``. Raises DiskError."""
        found: list[Waiting] = []
        with faults(self.path):
            rows = self._db.execute(
                "SELECT outbox.id, part, picture, queued_at, attempts, json FROM outbox"
                " JOIN events ON events.id = outbox.event WHERE channel = ? AND state = 'waiting'"
                f" ORDER BY outbox.id {'DESC' if newest_first else 'ASC'}",
                (channel,),
            )
            with closing(rows):
                for row in rows:
                    if len(found) >= limit:
                        break
                    if row[0] not in settled:
                        found.append(row)
        return found

    def delete_tests(self) -> None:
        """Delete the tests of ``alert test``, which version 0.1 kept in the journal too, within ``writing``."""
        self._db.execute("DELETE FROM outbox WHERE event IN (SELECT id FROM events WHERE kind = 'test')")
        self._db.execute("DELETE FROM events WHERE kind = 'test'")

    def reviews(self, after: int) -> list[Any]:
        """Return row, verdict, label, time and the event's first line of reviews after a row. Raises DiskError.

        All of it where fewer rows are left than that: the journal is another one.
        """
        query = (
            "SELECT reviews.id, verdict, label, at, json FROM reviews JOIN events ON events.id ="
            " (SELECT min(id) FROM events WHERE events.event_id = reviews.event_id) WHERE reviews.id >"
            " CASE WHEN (SELECT max(id) FROM reviews) < ?1 THEN 0 ELSE ?1 END ORDER BY reviews.id"
        )
        with faults(self.path):
            return self._db.execute(query, (after,)).fetchall()

    def run(self, id_: str, **columns: object) -> None:
        """Write down what is known of a run, within ``writing``."""
        self._db.execute("INSERT INTO runs(boot_id) VALUES(?) ON CONFLICT DO NOTHING", (id_,))
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE runs SET {names} WHERE boot_id = ?", (*columns.values(), id_))

    def surplus(self, keep: int) -> int:
        """Count the events beyond ``keep``, by their numbers. Raises DiskError."""
        with faults(self.path):
            first, last = self._db.execute("SELECT min(id), max(id) FROM events").fetchone()
        return 0 if first is None else max(last - first + 1 - keep, 0)

    def trim(self, keep: int, most: int) -> None:
        """Forget at most ``most`` of the oldest events beyond ``keep``, never one that waits; within ``writing``.

        The file does not shrink, but grows no more: what becomes free is used again, and nothing is written to move it.
        """
        old = self._db.execute(
            "SELECT id FROM events WHERE id <= (SELECT max(id) FROM events) - ? AND NOT EXISTS"
            " (SELECT 1 FROM outbox WHERE event = events.id AND state = 'waiting') ORDER BY id LIMIT ?",
            (keep, most),
        ).fetchall()
        self._db.executemany("DELETE FROM outbox WHERE event = ?", old)
        self._db.executemany("DELETE FROM events WHERE id = ?", old)
        self._db.execute("DELETE FROM reviews WHERE event_id NOT IN (SELECT event_id FROM events)")
        self._db.execute(
            "DELETE FROM runs WHERE rowid < (SELECT max(rowid) FROM runs) - 1000"
            " AND NOT EXISTS (SELECT 1 FROM events WHERE events.boot_id = runs.boot_id)"
        )

    def close(self) -> None:
        """Close the file; nothing is raised."""
        import sqlite3

        with suppress(sqlite3.Error):
            self._db.close()


# Open the journal's database; replace a damaged one by a new one with the unsent messages that can still be read.


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
        with faults(path), closing(connect(path)) as db:
            if version(db) > VERSION:
                raise DiskError(
                    f"{path}: a newer version of Bear Alarm made it (tables {version(db)}, this one knows"
                    f" {VERSION}); update this one, or keep its journal in another folder", "newer",
                )  # fmt: skip
            return fault(db)
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
    """Make the journal ``new`` with the unsent messages, reviews, stages and days of ``damaged``; return what came.

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
    rows: list[Any] = []
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
        newest = _readable_rows(source, f"SELECT id FROM events ORDER BY id DESC LIMIT {SENT_AGAIN}")
        for (number,) in reversed(newest):
            event = _copy_event(source, to, number)
            for channel, part in rows_for(routes, event) if event else ():
                picture = picture_of(event, part) if event else None
                to.execute(
                    "INSERT OR IGNORE INTO outbox(event, channel, part, picture, queued_at) VALUES(?, ?, ?, ?, ?)",
                    (number, channel, part, picture and readable(str(picture)), now),
                )
    first = "(SELECT min(id) FROM events WHERE events.event_id = reviews.event_id)"
    reviews = _readable_rows(source, f"SELECT {first}, event_id, verdict, label, at FROM reviews ORDER BY id")
    for number, *review in reviews:  # a person's word is kept with the event it is of
        if number and _copy_event(source, to, number):
            to.execute("INSERT OR IGNORE INTO reviews(event_id, verdict, label, at) VALUES(?, ?, ?, ?)", review)
    for table in ("stages", "days"):
        for order in ("DESC", "ASC"):  # around rows that cannot be read; the newest count most
            for row in _readable_rows(source, f"SELECT * FROM {table} ORDER BY rowid {order}"):
                to.execute(f"INSERT OR IGNORE INTO {table} VALUES({', '.join('?' * len(row))})", row)
    # Numbers of events begin again after the newest one that came.
    to.execute("UPDATE stages SET after = min(after, (SELECT coalesce(max(id), 0) FROM events))")
    return lost


def _readable_rows(source: sqlite3.Connection, query: str) -> list[Any]:
    """Return the rows before the first one that cannot be read."""
    import sqlite3

    rows: list[Any] = []
    with suppress(sqlite3.Error):
        rows.extend(source.execute(query))
    return rows


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
    quarantined = set_aside(place, now)
    ready.rename(place)
    to_disk(folder)
    return quarantined


def set_aside(path: Path, now: datetime) -> Path:
    """Move a damaged database to ``quarantine`` beside it, which keeps the newest few; return where it lies."""
    quarantine = path.parent / "quarantine"
    quarantine.mkdir(exist_ok=True)
    hand_over(quarantine)
    quarantined = quarantine / f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z.db"
    for end in ENDS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).replace(quarantined.with_name(quarantined.name + end))
    to_disk(quarantine)
    to_disk(path.parent)
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
        with faults(path), closing(connect(path, "ro")) as db:
            return checked(db, "integrity_check")
    except DiskError as error:
        if error.fault == "damaged":
            return str(error.__cause__)
        log.warning("the journal cannot be checked: %s", error)
        return None
