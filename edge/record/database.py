"""Opening the journal: checked, and where it is damaged set aside, with what can still be read in a new one."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import pathname2url

from edge.files import hand_over, try_lock
from edge.record.outbox import OutboxRow, Part, Route
from edge.schema import Event, readable, utc_text

if TYPE_CHECKING:
    import sqlite3


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
VERSION = len(MIGRATIONS)


def connect(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """A connection for any thread, one at a time; ``mode`` as in SQLite's URIs. Raises sqlite3.Error."""
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
    """The version of its tables; 0: none yet. Raises sqlite3.Error."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def fault(db: sqlite3.Connection, limit_s: float = CHECK_S) -> str | None:
    """Why this is no journal to go on with, or None; asked for as long as ``limit_s`` seconds. Raises sqlite3.Error."""
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables and not version(db):
        return None
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return "it is something else, no journal of Bear Alarm"
    return checked(db, "quick_check", limit_s)


def checked(db: sqlite3.Connection, check: str, limit_s: float | None = None) -> str | None:
    """What ``quick_check`` or ``integrity_check`` says first, or None when all is well or time is up."""
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
    while (now := version(db)) < VERSION:
        with closing(db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            for statement in MIGRATIONS[now].split(";"):
                cursor.execute(statement)
            cursor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            cursor.execute(f"PRAGMA user_version = {now + 1}")
            cursor.execute("COMMIT")


# Several alarms on one folder: who lives, and who may open the journal; by locks that end with their process.


LONG_DEAD_S = 3600.0  # a file nobody holds may be of a process that is just about to take it
OPENING_S = 15.0  # how long another one may take to check or mend the journal


class RunLock:
    """Says to other processes on this folder that this run lives, as long as it does, and tells which others do.

    Where nothing can be written it says nothing: then others take this run for dead, and may send its events again.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder / "alive"
        self._own = self._folder / run
        self._held: int | None = None

    def say(self) -> None:
        """Take the lock, if it is not held already."""
        if self._held is not None and self._own.exists():
            return
        self.close()
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            hand_over(self._folder)
            file = os.open(self._own, os.O_RDWR | os.O_CREAT, 0o644)
            hand_over(self._own)
            if _taken(file, 1.0):
                self._held = file
            else:
                os.close(file)

    def others(self) -> set[str]:
        """The ids of the other runs whose process lives."""
        found = set()
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path != self._own and self._lives(path):
                    found.add(path.name)
        return found

    def _lives(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:  # it has just ended
            return False
        try:
            if not _taken(file, 0.0, shared=True):
                return True
            long_dead = time.time() - os.fstat(file).st_mtime > LONG_DEAD_S
        finally:
            os.close(file)
        if long_dead:
            with suppress(OSError):
                path.unlink()
        return False

    def close(self) -> None:
        """This run is over."""
        if self._held is not None:
            with suppress(OSError):
                self._own.unlink()
            os.close(self._held)
            self._held = None
            with suppress(OSError):  # Windows removes no file that is open
                self._own.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time opens, checks or mends the journal; on a disk that takes no lock it goes on without.

    Raises TimeoutError when another one takes longer than a quarter of a minute.
    """
    file: int | None = None
    with suppress(OSError):
        file = os.open(folder / "opening", os.O_RDWR | os.O_CREAT, 0o644)
        hand_over(folder / "opening")
    try:
        if file is not None and not _taken(file, OPENING_S):
            raise TimeoutError(f"another process has been opening the journal in {folder} for {OPENING_S:.0f} s")
        yield
    finally:
        if file is not None:
            os.close(file)


def _taken(file: int, within_s: float, *, shared: bool = False) -> bool:
    """Whether the open file could be locked."""
    until = time.monotonic() + within_s
    while True:
        if try_lock(file, shared=shared):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)


# What is not on the disk yet, or cannot be: events and their rows, and what has become of rows; nothing here waits.


log = logging.getLogger(__name__)

State = Literal["waiting", "done", "parked"]

MOST_EVENTS = 1000  # some 2 MB
MOST_KNOWN = 10_000  # rows on the disk of which something is remembered


@dataclass(frozen=True, slots=True)
class Mark:
    """What has become of a row since it was written down."""

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
    picture: Path | None
    mark: Mark = Mark()


@dataclass(eq=False, slots=True)
class Entry:
    """An event, or a picture of one, with its rows, as they are to be written."""

    event: Event
    rows: tuple[Row, ...]
    queued_at: str  # ISO 8601, UTC
    since: float  # seconds, monotonic
    shown: bool = False  # given out from here, for the disk does not take it
    durable: bool = False  # COMMIT returned


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What one transaction is to write."""

    entries: dict[int, tuple[Entry, tuple[Row, ...]]]  # by the order they came, with the rows as they stood then
    marks: dict[int, Mark]  # by row on the disk

    def __bool__(self) -> bool:
        return bool(self.entries or self.marks)


def rows_for(routes: Iterable[Route], event: Event, picture: Path | None = None) -> list[tuple[str, Part, Path | None]]:
    """The (channel, part, picture) that is to be sent of an event: its word, or the ``picture`` given.

    That a channel cannot be reached is told to all the others.
    """
    rows: list[tuple[str, Part, Path | None]] = []
    for route in routes:
        if event.kind == "health" and event.label == route.key:
            continue
        try:
            wanted = route.wants(event)
        except Exception as error:  # a fault in one channel must not cost the others the alarm
            log.error("%s cannot say whether it wants %s, and is sent it (%s)", route.key, event.id, error)
            wanted = True
        if wanted and (picture is None or route.pictures):
            rows.append((route.key, "word" if picture is None else "picture", picture))
    return rows


class Memory:
    """The memory outbox: at most ``most`` events, then one is given up, what is delivered first. For any thread."""

    def __init__(self, most: int = MOST_EVENTS) -> None:
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

    def add(self, event: Event, wanted: Iterable[tuple[str, Part, Path | None]], queued_at: str, since: float) -> Entry:
        """Keep an event with a row for each (channel, part, picture) that is wanted."""
        with self._lock:
            rows = []
            for channel, part, picture in wanted:
                self._numbers += 1
                rows.append(Row(-self._numbers, channel, part, picture))
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
        """The disk does not take what is here: it is delivered from here."""
        with self._lock:
            for entry in self._entries.values():
                entry.shown = True

    def unwritten(self, most: int) -> Unwritten:
        """The oldest ``most`` entries, and as many marks."""
        with self._lock:
            oldest = islice(self._entries.items(), most)
            marks = dict(islice(self._marks.items(), most))
            return Unwritten({key: (entry, entry.rows) for key, entry in oldest}, marks)

    def written(self, what: Unwritten, lie: dict[int, int]) -> None:
        """All of that is on the disk, its rows where ``lie`` says; what has become of them meanwhile is remembered."""
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
        """This has become of a row, on the disk or here."""
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

    def marks(self) -> dict[int, Mark]:
        """What has become of rows on the disk, and is not written there yet."""
        with self._lock:
            return dict(self._marks)

    def since(self, row: int) -> float | None:
        """When a row on the disk was queued, monotonic seconds; None: in an earlier run, or long ago."""
        return self._since.get(row)

    def waiting(self, channel: str, now: float, *, hidden: bool) -> list[OutboxRow]:
        """The rows to be delivered from here, in order; ``hidden``: also those that are just being written."""
        with self._lock:
            return [
                OutboxRow(row.number, entry.event, row.part, row.picture, max(now - entry.since, 0.0), row.mark.tries)
                for entry in self._entries.values()
                if entry.shown or hidden
                for row in entry.rows
                if row.channel == channel and row.mark.state == "waiting"
            ]


def _shorten(known: dict[int, Any]) -> None:
    while len(known) > MOST_KNOWN:
        del known[next(iter(known))]


# What can still be read of a damaged journal, written into a new one.


AGAIN = 100  # newest events told again where nobody knows any more whether they were
LIMIT_S = 20.0  # the alarm must start; what takes longer stays in the quarantine
FAR = 1 << 40  # an id beyond all, where the last one cannot be read
MOST_FAILURES = 20_000  # queries in a table, each around a damaged page


@dataclass(slots=True)
class Saved:
    """What a salvage brought."""

    events: int = 0
    unsent: int = 0
    whole: bool = True  # nothing was unreadable

    def __str__(self) -> str:
        rest = "" if self.whole else "; the rest cannot be read"
        return f"{self.events} events, {self.unsent} of their messages unsent, were saved{rest}"


def salvage(damaged: Path, new: Path, routes: Sequence[Route], now: str, limit_s: float = LIMIT_S) -> Saved:
    """Make the journal ``new`` with all that can be read of ``damaged`` within so many seconds.

    Rows keep their numbers. Where rows of the outbox are lost, the newest events are queued once more at the time
    ``now``: twice is better than never, and they carry the same id. Raises sqlite3.Error or OSError when the new one
    cannot be written.
    """
    saved = Saved()
    until = time.monotonic() + limit_s
    with closing(connect(new)) as to:
        prepare(to, log=False)
        to.execute("BEGIN IMMEDIATE")
        source = _opened(damaged)
        if source is None:
            saved.whole = False
        else:
            with closing(source):
                _copy(source, to, until, saved)
        if not saved.whole:
            _queue_again(to, routes, now)
        saved.events = to.execute("SELECT count(*) FROM events").fetchone()[0]
        saved.unsent = to.execute("SELECT count(*) FROM outbox WHERE state = 'waiting'").fetchone()[0]
        to.execute("COMMIT")
    return saved


def _opened(damaged: Path) -> sqlite3.Connection | None:
    """The damaged one, with its log where that can be read, else without; None: nothing can be read."""
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


def _copy(source: sqlite3.Connection, to: sqlite3.Connection, until: float, saved: Saved) -> None:
    import sqlite3

    def lost() -> None:
        saved.whole = False

    columns = (
        "boot_id, started_at, machine_boot, version, clock_synced, clock_how, synced_at, offset_s, alive_at, ended_at"
    )
    for row in _readable(source, f"SELECT rowid, {columns} FROM runs", "rowid", until, lost):
        to.execute(f"INSERT OR IGNORE INTO runs(rowid, {columns}) VALUES({', '.join('?' * len(row))})", row)
    for number, line in _readable(source, "SELECT id, json FROM events", "id", until, lost):
        try:
            event = Event.from_json(line)
            values = (event.id, event.kind, event.type, event.camera, event.boot_id, event.seq, event.captured_at)
            to.execute(
                "INSERT OR IGNORE INTO events(id, event_id, kind, type, camera, boot_id, seq, captured_at, evidence,"
                " json) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *values, event.evidence, line),
            )  # fmt: skip
        except (ValueError, TypeError, AttributeError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
            log.debug("event %s cannot be understood: %s", number, error)
            saved.whole = False
    columns = "event, channel, part, picture, queued_at, attempts, state, error, settled_at"
    for row in _readable(source, f"SELECT id, {columns} FROM outbox", "id", until, lost):
        event, part, state = row[1], row[3], row[7]
        if part not in ("word", "picture") or state not in ("waiting", "done", "parked"):
            saved.whole = False
        elif to.execute("SELECT 1 FROM events WHERE id = ?", (event,)).fetchone():
            to.execute(f"INSERT OR IGNORE INTO outbox(id, {columns}) VALUES({', '.join('?' * len(row))})", row)

    with suppress(sqlite3.Error):
        if version(source) < REVIEWS:
            return
    columns = "event_id, verdict, label, at"
    for row in _readable(source, f"SELECT id, {columns} FROM reviews", "id", until, lost):
        with suppress(sqlite3.IntegrityError):
            to.execute(f"INSERT INTO reviews(id, {columns}) VALUES(?, ?, ?, ?, ?)", row)


def _readable(
    source: sqlite3.Connection, query: str, key: str, until: float, lost: Callable[[], None]
) -> Iterator[Any]:
    """The rows that can be read: from the first one up to a damage, from the last one down, then what lies between."""
    import sqlite3

    first, last, known = 0, FAR, False
    try:
        for row in source.execute(f"{query} ORDER BY {key}"):
            yield row
            first = row[0]
            if time.monotonic() > until:
                lost()
                break
        return
    except sqlite3.Error:
        lost()
    with suppress(sqlite3.Error):
        for row in source.execute(f"{query} WHERE {key} > ? ORDER BY {key} DESC", (first,)):
            yield row
            last, known = row[0], True
    todo, failures = [(first + 1, last - 1)], 0
    while todo and failures < MOST_FAILURES and time.monotonic() < until:
        begin, end = todo.pop()
        try:
            rows = source.execute(f"{query} WHERE {key} BETWEEN ? AND ?", (begin, end)).fetchall()
        except sqlite3.Error:
            failures += 1
            if begin < end:
                middle = (begin + end) // 2
                halves = [(begin, middle), (middle + 1, end)]
                todo += halves if known else reversed(halves)  # where no last one is known, many above it are none
            continue
        yield from rows


def _queue_again(to: sqlite3.Connection, routes: Sequence[Route], now: str) -> None:
    newest = to.execute("SELECT id, json FROM events ORDER BY id DESC LIMIT ?", (AGAIN,)).fetchall()
    for number, line in reversed(newest):
        for channel, part, _ in rows_for(routes, Event.from_json(line)):
            to.execute(
                "INSERT OR IGNORE INTO outbox(event, channel, part, queued_at) VALUES(?, ?, ?, ?)",
                (number, channel, part, now),
            )


# The journal's database while it is open: one connection, one user at a time; every fault comes out as DiskError.


Fault = Literal["full", "damaged", "busy", "newer", "broken"]


class DiskError(Exception):
    """What the disk or the database did not do; ``fault`` says what may be done about it."""

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
    """Whatever SQLite or the system says of ``path`` becomes a DiskError."""
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
    """An open journal at ``path``; whoever calls sees to it that nobody else does."""

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
        """Whether the file was taken away: SQLite would go on writing where nobody finds it."""
        return self._now_there() != self._identity

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: at its end everything is on the disk, or nothing. Raises DiskError."""
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
        """Write entries and marks, within ``writing``; where the entries' rows lie now."""
        lie = {}
        for entry, rows in what.entries.values():
            event = self._put_event(entry.event)
            for row in rows:
                picture = None if row.picture is None else readable(str(row.picture))
                mark = row.mark
                found = self._db.execute(
                    "INSERT INTO outbox(event, channel, part, picture, queued_at, attempts, state, error, settled_at)"
                    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(event, channel, part) DO UPDATE SET"
                    " picture = excluded.picture RETURNING id",
                    (event, row.channel, row.part, picture, entry.queued_at, mark.tries, mark.state, mark.error,
                     mark.settled_at),
                ).fetchone()  # fmt: skip
                lie[row.number] = int(found[0])
                if mark != Mark():  # it lay there already: a COMMIT that said it failed, and had not
                    self._mark(lie[row.number], replace(mark, tries=0))
        for number, mark in what.marks.items():
            self._mark(number, mark)
        return lie

    def _put_event(self, event: Event) -> int:
        """The row of an event; of one that is there already only the picture is new."""
        event = replace(event, durable=True)
        row = self._db.execute(
            "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, evidence, json)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(boot_id, seq) DO NOTHING RETURNING id",
            (event.id, event.kind, event.type, readable(event.camera), event.boot_id, event.seq, event.captured_at,
             event.evidence and readable(event.evidence), event.to_json()),
        ).fetchone()  # fmt: skip
        if row is None:
            there = "SELECT id, json FROM events WHERE boot_id = ? AND seq = ?"
            row = self._db.execute(there, (event.boot_id, event.seq)).fetchone()
            with suppress(ValueError):  # what is there cannot be read: this is better
                event = replace(Event.from_json(row[1]), evidence=event.evidence)
            self._db.execute(
                "UPDATE events SET evidence = ?, json = ? WHERE id = ?",
                (event.evidence and readable(event.evidence), event.to_json(), row[0]),
            )
        return int(row[0])

    def _mark(self, row: int, mark: Mark) -> None:
        self._db.execute(
            "UPDATE outbox SET state = ?, attempts = attempts + ?, error = coalesce(?, error), settled_at = ?"
            " WHERE id = ? AND state = 'waiting'",
            (mark.state, mark.tries, mark.error, mark.settled_at, row),
        )

    def waiting(
        self, channel: str, *, newest_first: bool, limit: int, besides: set[str], settled: set[int]
    ) -> list[Found]:
        """At most ``limit`` rows a channel has not delivered, but those ``settled`` or of the runs ``besides``.

        Raises DiskError.
        """
        found: list[Found] = []
        with faults(self.path):
            rows = self._db.execute(
                "SELECT outbox.id, part, picture, queued_at, attempts, json, boot_id FROM outbox"
                " JOIN events ON events.id = outbox.event WHERE channel = ? AND state = 'waiting'"
                f" ORDER BY outbox.id {'DESC' if newest_first else 'ASC'}",
                (channel,),
            )
            with closing(rows):
                for *row, run in rows:
                    if len(found) >= limit:
                        break
                    if run not in besides and row[0] not in settled:
                        found.append(Found(*row))
        return found

    def reviews(self, after: int) -> list[Any]:
        """Row, verdict, label, time and the event's first line, of what people said since a row. Raises DiskError.

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
        """How many events there are beyond ``keep``, by their numbers. Raises DiskError."""
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
        """Let go of the file; nothing is raised."""
        import sqlite3

        with suppress(sqlite3.Error):
            self._db.close()


NAME = "journal.db"
ENDS = ("-wal", "-journal", "-shm", "")  # the files of one database
MOST_SET_ASIDE = 3  # a failing card must not fill itself with damaged journals


def open_store(folder: Path, routes: Sequence[Route], now: datetime, suspect: str | None = None) -> Store:
    """The journal in ``folder``, made where there is none. ``suspect``: what is known to be wrong with it.

    A damaged one, or what is none, is moved to ``folder/quarantine``, and that is said. Raises DiskError: of the kind
    "newer" when a newer version made it, which is left as it is.
    """
    path = folder / NAME
    with faults(path):
        for each in reversed([folder, *folder.parents]):
            if not each.exists():
                each.mkdir(exist_ok=True)
                hand_over(each)
                _to_disk(each.parent)
        with alone(folder):
            _finish(folder, now)
            wrong = suspect or _wrong(path)
            if wrong:
                _replace(folder, wrong, routes, now)
            db = connect(path)
            try:
                prepare(db)
                for end in ENDS:
                    hand_over(path.with_name(NAME + end))
                return Store(db, path)
            except BaseException:
                db.close()
                raise


def _wrong(path: Path) -> str | None:
    """Why the journal cannot be gone on with; None: it can, or there is none yet. Raises DiskError or sqlite3.Error."""
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


def _replace(folder: Path, wrong: str, routes: Sequence[Route], now: datetime) -> None:
    """Make a new journal of what can be read of the old one, then put it in its place."""
    part, ready = folder / f"{NAME}.part", folder / f"{NAME}.saved"
    part.unlink(missing_ok=True)
    saved = salvage(folder / NAME, part, routes, utc_text(now))
    part.rename(ready)
    _to_disk(folder)
    aside = _finish(folder, now)
    log.warning("%s was damaged (%s) and is kept in %s; %s", folder / NAME, wrong, aside, saved)


def _finish(folder: Path, now: datetime) -> Path | None:
    """Put a new journal that is ready in place of the old one, also where a power cut came between; where that lies.

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
    for old in others[: max(0, len(others) + 1 - MOST_SET_ASIDE)]:
        for end in ENDS:
            old.with_name(old.name + end).unlink(missing_ok=True)
    return aside


def _to_disk(folder: Path) -> None:
    """What was made, renamed or removed in a folder outlives a power cut from here on."""
    if sys.platform == "win32":  # where folders cannot be opened
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check_whole(folder: Path) -> str | None:
    """What a check of every page and index finds, beside whoever writes; None: all is well, or it cannot be asked."""
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
