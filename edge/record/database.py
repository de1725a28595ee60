"""The journal's database: its tables, what waits in memory to be written, and the lock of the alarm that watches.

SQLite's write-ahead log recovers what a power cut leaves. A file that is damaged all the same is moved aside, and a new
one begins with the unsent messages that can still be read. Commands beside the alarm rely on SQLite's own locking.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import pathname2url

from edge.background import DeadlineError, DeadlineExecutor
from edge.errors import OptionError
from edge.files import hand_over, try_lock
from edge.record.media_store import own_still
from edge.record.outbox import OutboxRow, Part, Route
from edge.schema import Event, readable, utc_text

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

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
)
REVIEWS = 2  # the first version with that table
OPEN_KINDS = ("bear", "camera")  # of events that a channel's live state shows
VERSION = len(MIGRATIONS)


def connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Open a connection for any thread, one at a time; ``mode`` as in SQLite's URIs. Raises sqlite3.Error."""
    import sqlite3

    address = f"file:{pathname2url(str(path.absolute()))}?mode={mode}"
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


def fault(db: sqlite3.Connection, limit_s: float = CHECK_S) -> str | None:
    """Return why this journal cannot be used, or None; checks for ``limit_s`` seconds. Raises sqlite3.Error."""
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables and not version(db):
        return None
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return "it is something else, no journal of Bear Alarm"
    return checked(db, "quick_check", limit_s)


def checked(db: sqlite3.Connection, check: str, limit_s: float | None = None) -> str | None:
    """Return what ``quick_check`` or ``integrity_check`` says first, or None when all is well or time is up."""
    import sqlite3

    until = time.monotonic() + limit_s if limit_s is not None else None
    if until is not None:
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


# Until version 0.1 tests were kept here too.
NO_TESTS = """
    DELETE FROM outbox WHERE event IN (SELECT id FROM events WHERE kind = 'test');
    DELETE FROM events WHERE kind = 'test';
"""

# What is not on the disk yet, or cannot be: events and their rows, and what has become of rows; nothing here waits.


State = Literal["waiting", "done", "parked"]

MAX_EVENTS = 1000  # some 2 MB
MAX_KNOWN_ROWS = 10_000  # rows on the disk of which something is remembered


@dataclass(frozen=True, slots=True)
class Mark:
    """Change of a row since it was written."""

    state: State = "waiting"
    tries: int = 0  # further ones
    error: str | None = None
    settled_at: str | None = None  # ISO 8601, UTC

    def then(self, later: Mark) -> Mark:
        """Both, one after the other; what was settled stays so."""
        settled = later if self.state == "waiting" else self
        return replace(settled, tries=self.tries + later.tries, error=later.error or self.error)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the outbox that is to be written."""

    number: int  # below zero
    channel: str
    part: Part
    mark: Mark = Mark()


@dataclass(eq=False, slots=True)
class Entry:
    """An event with its rows, as they are to be written."""

    event: Event
    rows: tuple[Row, ...]
    queued_at: str  # ISO 8601, UTC
    since: float  # seconds, monotonic
    shown: bool = False  # given out from here, for the disk does not take it
    durable: bool = False  # COMMIT returned


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Content of one transaction."""

    entries: dict[int, tuple[Entry, tuple[Row, ...]]]  # by the order they came, with the rows as they stood then
    marks: dict[int, Mark]  # by row on the disk

    def __bool__(self) -> bool:
        return bool(self.entries or self.marks)


def rows_for(routes: Iterable[Route], event: Event) -> list[tuple[str, Part]]:
    """Return the (channel, part) to send of an event: its word, and the picture that came with it.

    That a channel cannot be reached goes to all the others.
    """
    rows: list[tuple[str, Part]] = []
    pictured = own_still(event) is not None
    for route in routes:
        if event.kind == "health" and event.label == route.key:
            continue
        try:
            wanted = route.wants(event)
        except Exception as error:  # a fault in one channel must not cost the others the alarm
            log.error("%s cannot say whether it wants %s, and is sent it (%s)", route.key, event.id, error)
            wanted = True
        if wanted:
            rows.append((route.key, "word"))
        if wanted and pictured and route.pictures:
            rows.append((route.key, "picture"))
    return rows


def picture_of(event: Event, part: Part) -> Path | None:
    """Return where the picture lies, of a row whose part is "picture"."""
    return Path(event.evidence) if part == "picture" and event.evidence else None


class Memory:
    """The memory outbox: at most ``most`` events, then one is given up, what is delivered first. For any thread."""

    def __init__(self, most: int = MAX_EVENTS) -> None:
        self.most = most
        self.lost = 0  # events that were given up
        self._entries: dict[int, Entry] = {}  # by the order they came
        self._marks: dict[int, Mark] = {}  # by row on the disk
        self._moved: dict[int, int] = {}  # numbers below zero -> rows on the disk
        self._since: dict[int, float] = {}  # rows on the disk -> when they were queued, monotonic
        self._came = self._numbers = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, event: Event, wanted: Iterable[tuple[str, Part]], queued_at: str, since: float) -> Entry:
        """Keep an event with a row for each (channel, part) that is wanted."""
        with self._lock:
            rows = []
            for channel, part in wanted:
                self._numbers += 1
                rows.append(Row(-self._numbers, channel, part))
            self._came += 1
            entry = self._entries[self._came] = Entry(event, tuple(rows), queued_at, since)
            if len(self._entries) > self.most:
                settled = (
                    key for key, each in self._entries.items() if all(r.mark.state != "waiting" for r in each.rows)
                )
                del self._entries[next(settled, next(iter(self._entries)))]
                self.lost += 1
            return entry

    def show(self) -> None:
        """Deliver from here, for the disk does not take it."""
        with self._lock:
            for entry in self._entries.values():
                entry.shown = True

    def unwritten(self, most: int) -> Unwritten:
        """Return the oldest ``most`` entries, and as many marks."""
        with self._lock:
            oldest = islice(self._entries.items(), most)
            marks = dict(islice(self._marks.items(), most))
            return Unwritten({key: (entry, entry.rows) for key, entry in oldest}, marks)

    def written(self, what: Unwritten, lie: dict[int, int]) -> None:
        """Forget what is on the disk now, its rows where ``lie`` says, but not what became of them meanwhile."""
        with self._lock:
            for number, then in what.marks.items():
                self._less(number, self._marks.pop(number, then), then)
            for key, (entry, rows) in what.entries.items():
                entry.durable = True
                self._entries.pop(key, None)
                for row, before in zip(entry.rows, rows, strict=True):
                    self._less(lie[row.number], row.mark, before.mark)
                    self._moved[row.number] = lie[row.number]
                    self._since[lie[row.number]] = entry.since
            _shorten(self._moved)
            _shorten(self._since)

    def _less(self, row: int, now: Mark, then: Mark) -> None:
        """Remember of a row what ``then`` did not say."""
        if now != then:
            self._marks[row] = replace(now, tries=now.tries - then.tries)

    def mark(self, number: int, mark: Mark) -> None:
        """Note what became of a row, on the disk or here."""
        with self._lock:
            number = self._moved.get(number, number)
            if number >= 0:
                self._marks[number] = self._marks.get(number, Mark()).then(mark)
                return
            for entry in self._entries.values():
                if any(row.number == number for row in entry.rows):
                    entry.rows = tuple(
                        replace(row, mark=row.mark.then(mark)) if row.number == number else row for row in entry.rows
                    )

    def events(self) -> list[Event]:
        """Return all events here, in order."""
        with self._lock:
            return [entry.event for entry in self._entries.values()]

    def marks(self) -> dict[int, Mark]:
        """Return what became of rows on the disk, and is not written there yet."""
        with self._lock:
            return dict(self._marks)

    def since(self, row: int) -> float | None:
        """Return when a row on the disk was queued, monotonic seconds; None: in an earlier run, or long ago."""
        return self._since.get(row)

    def waiting(self, channel: str, now: float, *, hidden: bool) -> list[OutboxRow]:
        """Return the rows to deliver from here, in order; ``hidden``: also those that are just being written."""
        with self._lock:
            return [
                OutboxRow(
                    row.number,
                    entry.event,
                    row.part,
                    picture_of(entry.event, row.part),
                    max(now - entry.since, 0.0),
                    row.mark.tries,
                )
                for entry in self._entries.values()
                if entry.shown or hidden
                for row in entry.rows
                if row.channel == channel and row.mark.state == "waiting"
            ]


def _shorten(known: dict[int, Any]) -> None:
    while len(known) > MAX_KNOWN_ROWS:
        del known[next(iter(known))]


# The journal's database while it is open: one connection, one user at a time; every fault comes out as DiskError.


Fault = Literal["full", "damaged", "busy", "newer", "broken"]


class DiskError(Exception):
    """Failure of the disk or the database; ``fault`` says what may be done about it."""

    def __init__(self, words: str, fault: Fault) -> None:
        super().__init__(words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Found:
    """One row that waits, as it lies on the disk."""

    row: int
    part: Part
    picture: str | None
    queued_at: str
    attempts: int
    json: str


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn whatever SQLite or the system says of ``path`` into a DiskError."""
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
        with faults(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._back()
                raise

    def _back(self) -> None:
        import sqlite3

        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # it is the first error that counts
                self._db.execute("ROLLBACK")

    def put(self, what: Unwritten) -> dict[int, int]:
        """Write entries and marks, within ``writing``; return where the entries' rows lie now."""
        lie = {}
        for entry, rows in what.entries.values():
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
                if mark != Mark():  # it lay there already: a COMMIT that said it failed, and had not
                    self._mark(lie[row.number], replace(mark, tries=0))
        for number, mark in what.marks.items():
            self._mark(number, mark)
        return lie

    def _put_event(self, event: Event) -> int:
        """Write an event and return its row; it is there already after a COMMIT that said it failed, and had not."""
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

    def waiting(self, channel: str, *, newest_first: bool, limit: int, settled: set[int]) -> list[Found]:
        """Return at most ``limit`` rows that a channel has not delivered, but those ``settled``. Raises DiskError."""
        found: list[Found] = []
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
                        found.append(Found(*row))
        return found

    def open_events(self, run: str) -> list[str]:
        """Return a run's newest event of each bear and camera fault that is not over, as JSON. Raises DiskError."""
        newest = (
            "SELECT max(id) FROM events WHERE boot_id = ?"
            f" AND kind IN ({', '.join('?' * len(OPEN_KINDS))}) GROUP BY event_id"
        )
        query = f"SELECT json FROM events WHERE id IN ({newest}) AND type <> 'end' ORDER BY id"
        with faults(self.path):
            return [row[0] for row in self._db.execute(query, (run, *OPEN_KINDS))]

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


NAME = "journal.db"
ENDS = ("-wal", "-journal", "-shm", "")  # the files of one database
UNSENT = ("id", "event", "channel", "part", "picture", "queued_at", "attempts", "error")
SENT_AGAIN = 100  # newest events, where it is not known any more which were sent
COPY_ROOM_BYTES = 16 << 20  # what a copy of an older journal leaves free
MAX_SET_ASIDE = 3  # a failing card must not fill itself with damaged journals


def open_store(
    folder: Path, routes: Sequence[Route], now: datetime, suspect: str | None = None
) -> tuple[Store, str | None]:
    """Open the journal in ``folder``, made where there is none; and say in one sentence if it was damaged.

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
            db.executescript(NO_TESTS)
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
            _to_disk(copy.parent)
    except DiskError as error:
        log.warning("%s: it is brought up to date without a copy of before (%s)", path, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, so that they outlive a power cut. Raises OSError."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():
            each.mkdir(exist_ok=True)
            hand_over(each)
            _to_disk(each.parent)


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
    """Make a new journal with the unsent messages of the old one, then put it in its place; say so in one sentence."""
    part, ready = folder / f"{NAME}.part", folder / f"{NAME}.saved"
    part.unlink(missing_ok=True)
    saved = copy_unsent(folder / NAME, part, routes, utc_text(now))
    part.rename(ready)
    _to_disk(folder)
    aside = _finish(folder, now)
    said = f"{folder / NAME} was damaged ({wrong}) and is kept in {aside}; {saved}"
    log.warning("%s", said)
    return said


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
    aside = quarantine / f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z.db"
    for end in ENDS:
        with suppress(FileNotFoundError):
            place.with_name(NAME + end).replace(aside.with_name(aside.name + end))
    _to_disk(quarantine)
    _to_disk(folder)
    ready.rename(place)
    _to_disk(folder)
    others = sorted(other for other in quarantine.glob("*.db") if other != aside)  # its name may go by a wrong clock
    for old in others[: max(0, len(others) + 1 - MAX_SET_ASIDE)]:
        for end in ENDS:
            old.with_name(old.name + end).unlink(missing_ok=True)
    return aside


def _to_disk(folder: Path) -> None:
    """Make what was made, renamed or removed in a folder outlive a power cut."""
    if sys.platform == "win32":  # where folders cannot be opened
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


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


# The lock of the one alarm that watches with a state folder; a command beside it needs none.

LOCK = "watch.lock"
LOCK_S = 2.0  # an alarm that is just ending lets go within this time
LOCK_DISK_S = 5.0  # how long the disk may take


class RunLock:
    """Keeps a second alarm off the state folder, and tells other commands which run watches.

    The system lets go of it when the process ends, however it ends.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / LOCK
        self._run = run
        self._file: int | None = None
        self._closed = False
        self._holding = threading.Lock()  # a disk that hung may answer when the lock is closed

    def take(self, within_s: float = LOCK_S) -> bool:
        """Return False when another alarm has it all this time. Raises OSError where nothing can be locked."""
        make_folders(self.path.parent)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            hand_over(self.path)
            until = time.monotonic() + within_s
            while not (taken := try_lock(file)) and time.monotonic() < until:
                time.sleep(0.05)
            if taken:
                os.ftruncate(file, 0)
                os.write(file, self._run.encode())
            with self._holding:
                if taken and not self._closed:
                    self._file, file = file, -1
            return taken
        finally:
            if file >= 0:
                os.close(file)

    def close(self) -> None:
        """Let another alarm have it; a call that still hangs in the disk will not hold it either."""
        with self._holding:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None


def keep_alone(folder: Path, run: str) -> RunLock:
    """Take the lock of a state folder for an alarm. Raises OptionError while another alarm has it.

    On a disk that takes no lock, or hangs, the alarm goes on without.
    """
    lock, disk = RunLock(folder, run), DeadlineExecutor()
    try:
        if not disk(lock.take, LOCK_DISK_S):
            raise OptionError(f"{folder}: another alarm uses this state folder; stop it, or name another --state")
    except (DeadlineError, OSError) as error:
        why = getattr(error, "strerror", None) or "the disk does not answer"
        log.warning("%s cannot be locked (%s): a second alarm there would send everything twice", lock.path, why)
    finally:
        disk.close()
    return lock


def watching_run(folder: Path) -> str | None:
    """Return the id of the run that watches with this state folder; None: there is none, or it cannot be asked."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if try_lock(file, shared=True) else os.read(file, 100).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(file)
