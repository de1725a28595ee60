"""The journal's tables, the migrations that lead there, and the settings every connection to it has."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import pathname2url

if TYPE_CHECKING:
    import sqlite3

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
