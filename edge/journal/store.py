"""The journal's database while it is open: one connection, one user at a time; every fault comes out as DiskError."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.journal.memory import Mark, Unwritten
from edge.outbox import Part
from edge.schema import Event, readable

if TYPE_CHECKING:
    import sqlite3

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
