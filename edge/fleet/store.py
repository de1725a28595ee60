"""The fleet's events and devices on the disk: ``fleet.db`` and ``pictures`` in its state folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edge.alert.mqtt_discovery import segment
from edge.errors import OptionError
from edge.files import hand_over, make_own_folder, replace_whole, try_lock
from edge.fleet.devices import Device, Known, State
from edge.fleet.messages import Place, shown, taken_at
from edge.record.database import DiskError, connect, faults, version
from edge.schema import Event, EventKind

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

NAME = "fleet.db"
LOCK = "fleet.lock"
PICTURES = "pictures"
VERSION = 1

KEEP_EVENTS = 10_000  # of a device
KEEP_ALL_EVENTS = 1_000_000
KEEP_PICTURE_BYTES = 2_000_000_000
TRIM_AT_ONCE = 5_000
PICTURE_S = 600.0  # a picture without the id of its event belongs to a bear that began no longer ago

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
    CREATE INDEX IF NOT EXISTS events_by_happening ON events(device, event_id);
    CREATE TABLE IF NOT EXISTS happenings(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL, kind TEXT NOT NULL, camera TEXT NOT NULL,
        label TEXT, species TEXT, top_score REAL, began_at REAL NOT NULL, ended_at REAL,
        clock_doubtful INTEGER NOT NULL, stage TEXT, alarms INTEGER NOT NULL, detail TEXT,
        boot_id TEXT NOT NULL, seq INTEGER NOT NULL,
        UNIQUE(device, event_id)
    );
    CREATE INDEX IF NOT EXISTS happenings_by_time ON happenings(began_at);
    CREATE INDEX IF NOT EXISTS happenings_by_device ON happenings(device, began_at);
    CREATE INDEX IF NOT EXISTS happenings_by_kind ON happenings(kind, began_at);
    CREATE TABLE IF NOT EXISTS pictures(
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, event_id TEXT NOT NULL, boot_id TEXT NOT NULL,
        seq INTEGER NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
        UNIQUE(device, event_id)
    )
"""

# Of one happening: what its newest event says; events may come in another order, and each once.
_NEWEST = ("label", "species", "stage", "detail")
PUT_HAPPENING = f"""
    INSERT INTO happenings(device, event_id, kind, camera, label, species, top_score, began_at, ended_at,
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
class Happening:
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


_HAPPENINGS = """
    SELECT h.id, h.device, h.event_id, h.kind, h.camera, h.label, h.species, h.top_score, h.began_at, h.ended_at,
        h.clock_doubtful, h.stage, h.alarms, h.detail, p.file
    FROM happenings h LEFT JOIN pictures p ON p.device = h.device AND p.event_id = h.event_id
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

    def happenings(
        self, *, device: str | None = None, kind: str | None = None, before: int | None = None, limit: int = 50
    ) -> list[Happening]:
        """Return the newest, by the time they began; ``before``: those that follow after the one with this id."""
        wheres = {
            "h.device = ?": device,
            "h.kind = ?": kind,
            "(h.began_at, h.id) < (SELECT began_at, id FROM happenings WHERE id = ?)": before,
        }
        given = {where: value for where, value in wheres.items() if value is not None}
        rows = self._read(
            f"{_HAPPENINGS} WHERE {' AND '.join(given) or '1'} ORDER BY h.began_at DESC, h.id DESC LIMIT ?",
            *given.values(),
            limit,
        )
        return [_happening(row) for row in rows]

    def happening(self, id_: int) -> Happening | None:
        """Return one; None: there is none with this id any more."""
        return next((_happening(row) for row in self._read(f"{_HAPPENINGS} WHERE h.id = ?", id_)), None)

    def rows(self, device: str, event_id: str) -> list[Event]:
        """Return the events of one happening, in the order of their numbers; those of an earlier run first."""
        found = self._read("SELECT json FROM events WHERE device = ? AND event_id = ? ORDER BY id", device, event_id)
        events = [Event.from_json(line) for (line,) in found]
        runs = list(dict.fromkeys(event.boot_id for event in events))
        return sorted(events, key=lambda event: (runs.index(event.boot_id), event.seq))

    def picture(self, happening: Happening) -> Path | None:
        """Return the file of its picture, a JPEG; None: there is none."""
        path = self.folder / PICTURES / (happening.picture or "")
        return path if happening.picture and path.is_file() else None

    def has_picture(self, device: str, event_id: str, place: Place) -> bool:
        """Return True if it has this picture of an event, or a newer one of the same run."""
        found = self._read("SELECT boot_id, seq FROM pictures WHERE device = ? AND event_id = ?", device, event_id)
        return any(boot_id == place[0] and seq >= place[1] for boot_id, seq in found)

    def _read(self, query: str, *values: object) -> list[Any]:
        if not self._path.is_file():
            return []
        with faults(self._path), closing(connect(self._path, "ro")) as db:
            return db.execute(query, values).fetchall()


def _happening(row: Any) -> Happening:
    values: list[Any] = [*row]
    values[10] = bool(values[10])
    return Happening(*values)


def _known(row: Any) -> Known:
    name, hidden, state, since, heard_at, available, boot_id, seq, stats, watched, doubts = row
    known = Known(name, since)
    known.hidden, known.heard_at = bool(hidden), heard_at
    known.state = state if state in get_args(State) else "well"
    known.available = None if available is None else bool(available)
    known.cursor = None if boot_id is None else (boot_id, seq)
    known.stats, known.urgent = stats, False
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
        self._db: sqlite3.Connection | None = None
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
            with faults(self._path):
                db = connect(self._path)
                try:
                    if version(db) > VERSION:
                        raise OptionError(f"{self._path}: a newer version wrote it; update this one")
                    db.execute("PRAGMA journal_mode = WAL").close()
                    db.execute("PRAGMA wal_autocheckpoint = 1000")
                    db.executescript(f"BEGIN; {TABLES}; PRAGMA user_version = {VERSION}; COMMIT")
                except BaseException:
                    db.close()
                    raise
            hand_over(self._path)
            self._db = db
        return self._db

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Open one transaction; after a fault the file is opened again with the next."""
        import sqlite3

        db = self._open()
        try:
            with faults(self._path):
                db.execute("BEGIN IMMEDIATE")
                yield
                db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # it is the first error that counts
                if db.in_transaction:
                    db.execute("ROLLBACK")
            self._db = None
            with suppress(sqlite3.Error):
                db.close()
            raise

    def close(self) -> None:
        """Let another fleet have the folder."""
        if self._db:
            self._db.close()
        os.close(self._lock)

    def load(self) -> list[Known]:
        """Return every device."""
        with faults(self._path):
            return [_known(row) for row in self._open().execute("SELECT * FROM devices")]

    def meta(self, key: str) -> str | None:
        """Return what was kept under a key."""
        with faults(self._path):
            found = self._open().execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

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

    def put(self, device: str, event: Event, now: float) -> bool:
        """Write an event; False: it was there."""
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
            PUT_HAPPENING,
            (
                device, event.id, event.kind, *texts, top_score, at, ended_at, int(doubtful), event.stage,
                int(event.alarms), shown(event.detail), event.boot_id, event.seq,
            ),
        )  # fmt: skip
        return True

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

    def newest_bear(self, device: str, level: str, now: float) -> str | None:
        """Return the id of a camera's newest bear that has no picture; ``level``: the camera's, of its topics."""
        rows = self._open().execute(
            f"{_HAPPENINGS} WHERE h.device = ? AND h.began_at > ? AND h.kind = 'bear' AND p.file IS NULL"
            " ORDER BY h.began_at DESC LIMIT 50",
            (device, now - PICTURE_S),
        )
        return next((each.event_id for each in map(_happening, rows) if segment(each.camera) == level), None)

    def put_picture(self, device: str, event_id: str, place: Place, jpeg: bytes) -> list[str]:
        """Write an event's picture in place of an older one; return the names of the files to remove afterwards."""
        db = self._open()
        before = db.execute(
            "SELECT boot_id, seq, file FROM pictures WHERE device = ? AND event_id = ?", (device, event_id)
        ).fetchone()
        if before and before[0] == place[0] and before[1] >= place[1]:
            return []
        key = "\0".join((device, event_id, place[0], str(place[1]))).encode("utf-8", "backslashreplace")
        name = f"{hashlib.sha256(key).hexdigest()[:32]}.jpg"
        try:
            replace_whole(self.folder / PICTURES / name, jpeg, private=True)
        except OptionError as error:
            raise DiskError(str(error), "broken") from None
        db.execute(
            "INSERT OR REPLACE INTO pictures(device, event_id, boot_id, seq, file, bytes) VALUES(?, ?, ?, ?, ?, ?)",
            (device, event_id, *place, name, len(jpeg)),
        )
        return [before[2]] if before else []

    def trim(self) -> list[str]:
        """Delete the oldest beyond what is kept, some at a time; return the names of the pictures to remove afterwards.

        Of pictures, those of the device that has the most: none can push out all others'.
        """
        db = self._open()
        files: list[Any] = []
        counts = db.execute("SELECT device, count(*) FROM events GROUP BY device").fetchall()
        surplus = [(device, count - KEEP_EVENTS) for device, count in counts if count > KEEP_EVENTS]
        gone: list[Any] = []
        for device, count in surplus:
            gone += db.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE device = ? ORDER BY id LIMIT ?)"
                " RETURNING device, event_id",
                (device, min(count, TRIM_AT_ONCE)),
            ).fetchall()
        left = sum(count for _, count in counts) - len(gone) - KEEP_ALL_EVENTS
        if left > 0:
            gone += db.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?) RETURNING device, event_id",
                (min(left, TRIM_AT_ONCE),),
            ).fetchall()
        for key in dict.fromkeys(gone):
            if not db.execute("SELECT 1 FROM events WHERE device = ? AND event_id = ? LIMIT 1", key).fetchone():
                db.execute("DELETE FROM happenings WHERE device = ? AND event_id = ?", key)
                files += db.execute("DELETE FROM pictures WHERE device = ? AND event_id = ? RETURNING file", key)
        sizes = dict(db.execute("SELECT device, sum(bytes) FROM pictures GROUP BY device").fetchall())
        while sizes and sum(sizes.values()) > KEEP_PICTURE_BYTES:
            most = max(sizes, key=lambda device: sizes[device])
            row = db.execute("SELECT id, file, bytes FROM pictures WHERE device = ? ORDER BY id", (most,)).fetchone()
            db.execute("DELETE FROM pictures WHERE id = ?", row[:1])
            files.append((row[1],))
            sizes[most] -= row[2]
        return [name for (name,) in files]

    def remove(self, files: Iterable[str]) -> None:
        """Remove pictures that no event has any more, after the transaction."""
        for name in files:
            path = self.folder / PICTURES / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: cannot be removed (%s); the next start tries again", path, error.strerror)

    def sweep(self) -> None:
        """Remove the files that a power cut left without an event. Raises DiskError."""
        with faults(self.folder / PICTURES):
            known = {name for (name,) in self._open().execute("SELECT file FROM pictures")}
            self.remove(each.name for each in (self.folder / PICTURES).iterdir() if each.name not in known)
