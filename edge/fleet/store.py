"""The fleet's events and devices on the disk: ``fleet.db`` and ``pictures`` in its state folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edge.errors import OptionError
from edge.files import hand_over, make_own_folder, replace_whole, try_lock
from edge.fleet.devices import Device, Known, State
from edge.fleet.messages import Place, shown, taken_at
from edge.record.database import CHECK_S, DiskError, checked, connect, faults, set_aside, version
from edge.schema import Event, EventKind

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

NAME = "fleet.db"
LOCK = "fleet.lock"
PICTURES = "pictures"
SESSION = "session"  # not in the database, which may be damaged: the broker keeps events for it
NO_BROKER = "no_broker_since"  # time.time(); 0: there is one
VERSION = 1

KEEP_EVENTS = 10_000  # of a device
KEEP_ALL_EVENTS = 1_000_000
KEEP_PICTURE_BYTES = 2_000_000_000
TRIM_AT_ONCE = 200  # events beyond what is kept before the oldest go
BLOCK_BYTES = 4_096  # a file takes whole blocks
UNCLAIMED_S = 3_600.0  # how long a picture waits for its event
MAX_ROWS = 200  # of an incident that are shown
ROOM_BYTES = 100_000_000  # stay free: an alarm on the same machine writes its journal there
FULL_BYTES = 1_000_000  # with less free, SQLite cannot even read

TABLES = """
    CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS devices(
        name TEXT PRIMARY KEY, hidden INTEGER NOT NULL, state TEXT NOT NULL, since REAL NOT NULL,
        heard_at REAL NOT NULL, available INTEGER, boot_id TEXT, seq INTEGER,
        stats BLOB NOT NULL, watched TEXT NOT NULL, doubts TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS events(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot_id TEXT NOT NULL, seq INTEGER NOT NULL,
        event_id TEXT NOT NULL, json TEXT NOT NULL,
        UNIQUE(device, boot_id, seq)
    );
    CREATE INDEX IF NOT EXISTS events_by_incident ON events(device, event_id);
    CREATE TABLE IF NOT EXISTS incidents(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL, kind TEXT NOT NULL, camera TEXT NOT NULL,
        label TEXT, species TEXT, top_score REAL, began_at REAL NOT NULL, ended_at REAL,
        clock_doubtful INTEGER NOT NULL, stage TEXT, alarms INTEGER NOT NULL, detail TEXT,
        boot_id TEXT NOT NULL, seq INTEGER NOT NULL,
        UNIQUE(device, event_id)
    );
    CREATE INDEX IF NOT EXISTS incidents_by_time ON incidents(began_at);
    CREATE INDEX IF NOT EXISTS incidents_by_device ON incidents(device, began_at);
    CREATE INDEX IF NOT EXISTS incidents_by_kind ON incidents(kind, began_at);
    CREATE TABLE IF NOT EXISTS pictures(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL, boot_id TEXT NOT NULL,
        seq INTEGER NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
        UNIQUE(device, event_id)
    )
"""

# Of one incident: what its newest event says; events may come in another order, and each once.
_NEWEST = ("label", "species", "stage", "detail")
PUT_INCIDENT = f"""
    INSERT INTO incidents(device, event_id, kind, camera, label, species, top_score, began_at, ended_at,
        clock_doubtful, stage, alarms, detail, boot_id, seq) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(device, event_id) DO UPDATE SET
        began_at = min(began_at, excluded.began_at),
        ended_at = coalesce(excluded.ended_at, ended_at),
        top_score = max(ifnull(top_score, excluded.top_score), ifnull(excluded.top_score, top_score)),
        clock_doubtful = max(clock_doubtful, excluded.clock_doubtful),
        alarms = alarms + excluded.alarms,
        {
    ", ".join(
        f"{each} = CASE WHEN boot_id = excluded.boot_id AND seq > excluded.seq THEN ifnull({each}, excluded.{each})"
        f" ELSE ifnull(excluded.{each}, {each}) END"
        for each in _NEWEST
    )
},
        seq = CASE WHEN boot_id = excluded.boot_id THEN max(seq, excluded.seq) ELSE excluded.seq END,
        boot_id = excluded.boot_id
"""


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """All events of a device with one id, as one: a bear from "new" to "end". Texts come from the device."""

    id: int  # in this store; a newer one may have begun earlier
    device: str
    event_id: str
    kind: EventKind
    camera: str
    label: str | None
    species: str | None
    top_score: float | None
    began_at: float  # time.time(), by the device's clock; by this machine's where that is doubtful
    ended_at: float | None  # None: it goes on, or its end is not known
    clock_doubtful: bool
    stage: str | None
    alarms: int  # how often it made a noise
    detail: str | None
    picture: str | None  # name of its file


_INCIDENTS = """
    SELECT h.id, h.device, h.event_id, h.kind, h.camera, h.label, h.species, h.top_score, h.began_at, h.ended_at,
        h.clock_doubtful, h.stage, h.alarms, h.detail, p.file
    FROM incidents h LEFT JOIN pictures p ON p.device = h.device AND p.event_id = h.event_id
"""


class FleetStore:
    """Reads what the fleet wrote into ``folder``, also while it runs; empty where there is nothing yet. For any thread.

    Raises DiskError where the disk cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME

    def devices(self) -> list[Device]:
        """Return the devices in the view by name, as they were last written: at most a minute ago while it runs."""
        rows, now = self._read("SELECT * FROM devices WHERE NOT hidden ORDER BY name"), time.time()
        return [_known(row).device(now) for row in rows]

    def no_broker_since(self) -> float | None:
        """Return since when the fleet has no broker, time.time(); None: it has one, or that is not known."""
        found = self._read("SELECT value FROM meta WHERE key = ?", NO_BROKER)
        return float(found[0][0]) or None if found else None

    def incidents(
        self, *, device: str | None = None, kind: str | None = None, before: int | None = None, limit: int = 50
    ) -> list[FleetEvent]:
        """Return the newest, by the time they began; ``before``: those that follow after the one with this id."""
        wheres = {
            "h.device = ?": device,
            "h.kind = ?": kind,
            "(h.began_at, h.id) < (SELECT began_at, id FROM incidents WHERE id = ?)": before,
        }
        given = {where: value for where, value in wheres.items() if value is not None}
        rows = self._read(
            f"{_INCIDENTS} WHERE {' AND '.join(given) or '1'} ORDER BY h.began_at DESC, h.id DESC LIMIT ?",
            *given.values(),
            limit,
        )
        return [_incident(row) for row in rows]

    def bears_now(self, since: float) -> list[FleetEvent]:
        """Return the bears that have no end yet and are not in shadow, the newest first; ``since``: time.time()."""
        rows = self._read(
            f"{_INCIDENTS} WHERE h.kind = 'bear' AND h.began_at >= ? AND h.ended_at IS NULL"
            " AND h.stage IS NOT 'shadow' ORDER BY h.began_at DESC",
            since,
        )
        return [_incident(row) for row in rows]

    def incident(self, id_: int) -> FleetEvent | None:
        """Return one; None: there is none with this id any more."""
        return next((_incident(row) for row in self._read(f"{_INCIDENTS} WHERE h.id = ?", id_)), None)

    def rows(self, device: str, event_id: str) -> list[Event]:
        """Return the first ``MAX_ROWS`` events of one incident, by their numbers; those of an earlier run first."""
        query = "SELECT json FROM events WHERE device = ? AND event_id = ? ORDER BY id LIMIT ?"
        found = self._read(query, device, event_id, MAX_ROWS)
        events = [Event.from_json(line) for (line,) in found]
        runs = list(dict.fromkeys(event.boot_id for event in events))
        return sorted(events, key=lambda event: (runs.index(event.boot_id), event.seq))

    def picture(self, incident: FleetEvent) -> Path | None:
        """Return the file of its picture, a JPEG; None: there is none."""
        path = self.folder / PICTURES / (incident.picture or "")
        return path if incident.picture and path.is_file() else None

    def has_picture(self, device: str, event_id: str, place: Place) -> bool:
        """Return True if it has this picture of an event, or a newer one of the same run."""
        found = self._read("SELECT boot_id, seq FROM pictures WHERE device = ? AND event_id = ?", device, event_id)
        return any(boot_id == place[0] and seq >= place[1] for boot_id, seq in found)

    def _read(self, query: str, *values: object) -> list[Any]:
        with _faults(self._path):
            if not self._path.is_file():
                return []
            with closing(connect(self._path, "ro")) as db:
                return db.execute(query, values).fetchall()


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn every error of SQLite or the system into a DiskError; SQLite calls a full disk an I/O error, too."""
    try:
        with faults(path):
            yield
    except DiskError as error:
        with suppress(OSError):
            if error.fault == "full" or shutil.disk_usage(path.parent).free < FULL_BYTES:
                raise DiskError(f"{path}: its disk is full; make room", "full") from error
        raise


def _incident(row: Any) -> FleetEvent:
    values: list[Any] = [*row]
    values[10] = bool(values[10])
    return FleetEvent(*values)


def _known(row: Any) -> Known:
    name, hidden, state, since, heard_at, available, boot_id, seq, stats, watched, doubts = row
    known = Known(name, since)
    known.hidden, known.heard_at = bool(hidden), heard_at
    known.state = state if state in get_args(State) else "well"
    known.available = None if available is None else bool(available)
    known.cursor = None if boot_id is None else (boot_id, seq)
    known.urgent = False
    known.watched = {camera: (bool(fine), at) for camera, (fine, at) in json.loads(watched).items()}
    known.doubts = {kind: (count, at, why) for kind, (count, at, why) in json.loads(doubts).items()}
    if stats:
        known.read_stats(json.loads(stats))
    return known


class FleetWriter:
    """Writes ``fleet.db``; one for a folder, and for one thread. Raises DiskError, and writes all of it or nothing."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, made where it is missing. Raises OptionError where it cannot be, or another fleet has it."""
        self.folder = folder
        self._path = folder / NAME
        self.begun = 0  # files in place of damaged ones
        self._db: sqlite3.Connection | None = None
        self._checked = False
        # What is kept, by device; counted where the file is opened.
        self._events: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._all_events = self._all_bytes = 0
        self._unneeded: list[str] = []  # pictures, once the transaction is on the disk
        try:
            make_own_folder(folder, 0o700)  # coordinates are in it
            make_own_folder(folder / PICTURES)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OptionError(
                f"{folder}: the fleet cannot be kept there ({error.strerror}); name another --state"
            ) from None
        try:
            if not try_lock(self._lock):
                raise OptionError(f"{folder}: another fleet uses this state folder; stop it, or name another --state")
            self._open()
        except (DiskError, OSError) as error:
            os.close(self._lock)
            raise OptionError(f"{folder}: the fleet cannot be kept there ({error}); name another --state") from None
        except OptionError:
            os.close(self._lock)
            raise

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = self._opened()
            except DiskError as error:
                if error.fault != "damaged":
                    raise
                self._set_aside(str(error))
                self._db = self._opened()
        return self._db

    def _opened(self) -> sqlite3.Connection:
        with _faults(self._path):
            db = connect(self._path)
            try:
                if version(db) > VERSION:
                    raise OptionError(f"{self._path}: a newer version wrote it; update this one")
                if not self._checked and (wrong := checked(db, "quick_check", CHECK_S)):
                    raise DiskError(f"{self._path}: {wrong}", "damaged")
                self._checked = True
                db.execute("PRAGMA journal_mode = WAL").close()
                db.execute("PRAGMA wal_autocheckpoint = 1000")
                if version(db) < VERSION:
                    db.executescript(f"BEGIN; {TABLES}; PRAGMA user_version = {VERSION}; COMMIT")
                self._events = Counter(dict(db.execute("SELECT device, count(*) FROM events GROUP BY device")))
                self._bytes = Counter(dict(db.execute("SELECT device, sum(bytes) FROM pictures GROUP BY device")))
                self._all_events, self._all_bytes = self._events.total(), self._bytes.total()
            except BaseException:
                db.close()
                raise
        hand_over(self._path)
        return db

    def _set_aside(self, wrong: str) -> None:
        with _faults(self._path):
            aside = set_aside(self._path, datetime.now(UTC))
        self.begun += 1
        log.warning("%s; it is kept as %s, and a new one is begun: devices come back as they speak", wrong, aside)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open one transaction; after a fault the file is opened again with the next, after damage a new one."""
        import sqlite3

        with _faults(self._path):
            free = shutil.disk_usage(self.folder).free
        if free < ROOM_BYTES:
            raise DiskError(f"{self.folder}: less than {ROOM_BYTES / 1e6:.0f} MB are free; make room", "full")
        self._unneeded = []
        db = self._open()
        try:
            with _faults(self._path):
                db.execute("BEGIN IMMEDIATE")
                yield
                db.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):  # it is the first error that counts
                if db.in_transaction:
                    db.execute("ROLLBACK")
            self._db = None
            with suppress(sqlite3.Error):
                db.close()
            if isinstance(error, DiskError) and error.fault == "damaged":
                self._set_aside(str(error))
            raise
        self._remove(self._unneeded)

    def close(self) -> None:
        """Let another fleet have the folder."""
        if self._db:
            self._db.close()
        os.close(self._lock)

    def load(self) -> list[Known]:
        """Return every device."""
        with _faults(self._path):
            return [_known(row) for row in self._open().execute("SELECT * FROM devices")]

    def meta(self, key: str) -> str | None:
        """Return what was kept under a key."""
        with _faults(self._path):
            found = self._open().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def session(self) -> str | None:
        """Return the client id with which a session was begun at the broker; None: there was none."""
        with _faults(self.folder / SESSION), suppress(FileNotFoundError):
            return (self.folder / SESSION).read_text("utf-8", "replace") or None
        return None

    def keep_session(self, client_id: str) -> None:
        """Keep the client id of a session."""
        self._replace(SESSION, client_id.encode())

    def _replace(self, name: str, data: bytes) -> None:
        try:
            replace_whole(self.folder / name, data, private=True)
        except OptionError as error:
            raise DiskError(str(error), "broken") from None

    # Within ``writing``.

    def keep(self, key: str, value: str) -> None:
        """Keep a value."""
        self._open().execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def save(self, known: Known) -> None:
        """Write what is known of a device, but how far its events are there."""
        available = None if known.available is None else int(known.available)
        self._open().execute(
            "INSERT INTO devices VALUES(?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET"
            " hidden = excluded.hidden, state = excluded.state, since = excluded.since, heard_at = excluded.heard_at,"
            " available = excluded.available, stats = excluded.stats, watched = excluded.watched,"
            " doubts = excluded.doubts",
            (
                known.name, int(known.hidden), known.state, known.since, known.heard_at, available,
                known.stats, json.dumps(known.watched), json.dumps(known.doubts),
            ),
        )  # fmt: skip

    def move(self, device: str, cursor: Place) -> None:
        """Write up to which event all are there."""
        self._open().execute("UPDATE devices SET boot_id = ?, seq = ? WHERE name = ?", (*cursor, device))

    def delete(self, device: str) -> None:
        """Delete what is known of a device; its events stay until they are too many."""
        self._open().execute("DELETE FROM devices WHERE name = ?", (device,))

    def put(self, device: str, event: Event, now: float) -> bool:
        """Write an event, and delete the oldest beyond what is kept; False: it was there."""
        db = self._open()
        values = device, event.boot_id, event.seq, event.id, event.to_json()
        added = db.execute(
            "INSERT INTO events(device, boot_id, seq, event_id, json) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            values,
        )
        if not added.rowcount:
            return False
        at, doubtful = taken_at(event, now)
        texts = shown(event.camera) or "?", shown(event.label), shown(event.species)
        top_score = event.score if event.top_score is None else event.top_score
        ended_at = at if event.type == "end" else None
        db.execute(
            PUT_INCIDENT,
            (
                device, event.id, event.kind, *texts, top_score, at, ended_at, int(doubtful), event.stage,
                int(event.alarms), shown(event.detail), event.boot_id, event.seq,
            ),
        )  # fmt: skip
        self._events[device] += 1
        self._all_events += 1
        if self._events[device] >= KEEP_EVENTS + TRIM_AT_ONCE:
            self._delete_oldest(device)
        elif self._all_events >= KEEP_ALL_EVENTS + TRIM_AT_ONCE:
            self._delete_oldest(max(self._events, key=lambda each: self._events[each]))
        return True

    def _delete_oldest(self, device: str) -> None:
        """Delete ``TRIM_AT_ONCE`` events of a device, and incidents of which none is left, with their pictures."""
        db = self._open()
        gone = db.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE device = ? ORDER BY +id LIMIT ?)"
            " RETURNING event_id",
            (device, TRIM_AT_ONCE),
        ).fetchall()
        self._events[device] -= len(gone)
        self._all_events -= len(gone)
        for (event_id,) in dict.fromkeys(gone):
            key = device, event_id
            if not db.execute("SELECT 1 FROM events WHERE device = ? AND event_id = ? LIMIT 1", key).fetchone():
                db.execute("DELETE FROM incidents WHERE device = ? AND event_id = ?", key)
                self._delete_pictures("device = ? AND event_id = ?", *key)

    def complete(self, device: str, cursor: Place) -> Place:
        """Return the last event of the run up to which all are there, from one that is known to be."""
        boot_id, seq = cursor
        query = "SELECT seq FROM events WHERE device = ? AND boot_id = ? AND seq > ? ORDER BY seq"
        with closing(self._open().execute(query, (device, boot_id, seq))) as rows:
            for (found,) in rows:
                if found != seq + 1:
                    break
                seq = found
        return boot_id, seq

    def put_picture(self, device: str, event_id: str, place: Place, jpeg: bytes) -> None:
        """Write an event's picture in place of an older one.

        Beyond what is kept, the oldest of the device that has the most go: none can push out all others'.
        """
        db = self._open()
        key = device, event_id
        before = db.execute("SELECT boot_id, seq FROM pictures WHERE device = ? AND event_id = ?", key).fetchone()
        if before and before[0] == place[0] and before[1] >= place[1]:
            return
        words = "\0".join((*key, place[0], str(place[1]))).encode("utf-8", "backslashreplace")
        name = f"{hashlib.sha256(words).hexdigest()[:32]}.jpg"
        self._replace(f"{PICTURES}/{name}", jpeg)
        self._delete_pictures("device = ? AND event_id = ?", *key)
        size = -(-len(jpeg) // BLOCK_BYTES) * BLOCK_BYTES
        db.execute(
            "INSERT INTO pictures(device, event_id, boot_id, seq, file, bytes) VALUES(?, ?, ?, ?, ?, ?)",
            (*key, *place, name, size),
        )
        self._bytes[device] += size
        self._all_bytes += size
        while self._all_bytes > KEEP_PICTURE_BYTES:
            most = max(self._bytes, key=lambda each: self._bytes[each])
            self._delete_pictures("id = (SELECT min(id) FROM pictures WHERE device = ?)", most)

    def trim(self) -> None:
        """Delete the pictures whose event did not come."""
        waiting = self._open().execute(
            "SELECT id, file FROM pictures p WHERE NOT EXISTS"
            " (SELECT 1 FROM incidents WHERE device = p.device AND event_id = p.event_id)"
        )
        for number, name in waiting.fetchall():
            path = self.folder / PICTURES / name
            if not path.exists() or time.time() - path.stat().st_mtime > UNCLAIMED_S:
                self._delete_pictures("id = ?", number)

    def _delete_pictures(self, where: str, *values: object) -> None:
        query = f"DELETE FROM pictures WHERE {where} RETURNING device, file, bytes"
        for device, name, size in self._open().execute(query, values).fetchall():
            self._bytes[device] -= size
            self._all_bytes -= size
            self._unneeded.append(name)

    def sweep(self) -> None:
        """Remove the files that a power cut left without an event. Raises DiskError."""
        with _faults(self.folder / PICTURES):
            known = {name for (name,) in self._open().execute("SELECT file FROM pictures")}
            self._remove(each.name for each in (self.folder / PICTURES).iterdir() if each.name not in known)

    def _remove(self, files: Iterable[str]) -> None:
        for name in files:
            path = self.folder / PICTURES / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: cannot be removed (%s); the next start tries again", path, error.strerror)
