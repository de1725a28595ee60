"""Read the journal incident by incident, also while the alarm writes it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from edge.errors import BearAlarmError, OptionError
from edge.record.database import APPLICATION_ID, REVIEWS, VERSION, utc
from edge.record.outbox import WITHDRAWN
from edge.record.review import TAKEN_BACK, Review
from edge.record.run import LOCK, watching_run
from edge.schema import Event, utc_text

if TYPE_CHECKING:
    import sqlite3


# A journal file opened for reading only: beside a writer, after a power cut, on a disk that takes no writing.


PATIENCE_S = 5.0  # while the writer holds the file for itself


class JournalReadError(BearAlarmError, OSError):
    """A journal cannot be read."""


class NoJournalError(JournalReadError):
    """There is no journal here, or nothing was ever written into it."""


class ReadOnly:
    """The journal at ``path`` as it is at this moment; use it in a ``with``.

    Raises NoJournalError where there is none, JournalReadError where it may not be read, is damaged, of a newer version
    or something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        try:  # first, for SQLite does not distinguish these
            path.stat()
            # It must not be opened for that: where this process writes the journal too, closing any other handle of
            # the file releases SQLite's locks (fcntl(2)), and the next program damages it.
            if not os.access(path, os.R_OK):
                raise PermissionError
        except (FileNotFoundError, NotADirectoryError):
            raise NoJournalError(f"{path}: no such journal") from None
        except PermissionError:
            raise JournalReadError(f"{path}: this user may not read it; try it with sudo") from None
        except OSError as error:
            raise self._cannot(error) from None
        self._db = self._open()
        try:
            self.version = self._check()
            self.rows("BEGIN")  # all that is asked from now on is of one moment
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        if self._copy:
            self._copy.cleanup()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return the answer to one query. Raises JournalReadError."""
        import sqlite3

        try:
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._cannot(error) from None

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        try:
            return _connect(self.path, "mode=ro")
        except sqlite3.Error as error:
            # SQLite keeps files beside a journal that it shares with the writer, and cannot make them on such a disk.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise self._cannot(error) from None
        wal = _beside(self.path)
        try:
            if not wal.exists() or not wal.stat().st_size:
                return _connect(self.path, "mode=ro&immutable=1")
            # The newest events lie in the second file, which an immutable journal is read without.
            self._copy = tempfile.TemporaryDirectory(prefix="bear-alarm-")
            copy = Path(self._copy.name) / self.path.name
            shutil.copyfile(self.path, copy)
            shutil.copyfile(wal, _beside(copy))
            return _connect(copy, "mode=rw")
        except (sqlite3.Error, OSError) as error:
            if self._copy:
                self._copy.cleanup()
            raise self._cannot(error) from None

    def _check(self) -> int:
        """Return the version of its tables, which is one that can be read."""
        version, mark = (int(self.rows(f"PRAGMA {name}")[0][0]) for name in ("user_version", "application_id"))
        if not version and not mark and not self.rows("SELECT 1 FROM sqlite_schema LIMIT 1"):
            raise NoJournalError(f"{self.path}: the journal is empty; where an alarm runs, its disk is full or fails")
        if mark != APPLICATION_ID:
            raise JournalReadError(f"{self.path}: is a database of another program, no journal of bear-alarm")
        if version > VERSION:
            raise JournalReadError(
                f"{self.path}: the journal is of version {version}, and this bear-alarm reads up to {VERSION}; use the "
                "bear-alarm that wrote it, or a newer one"
            )
        return version

    def _cannot(self, error: Exception) -> JournalReadError:
        import sqlite3

        # Python's own complaints (text that is no UTF-8) carry no code: what was read is damaged.
        code = None if isinstance(error, OSError) else getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            why = "is held by another program; try again in a moment"
        elif code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            why = f"is damaged or no journal ({error}); a running alarm quarantines it and begins a new one"
        else:
            why = f"cannot be read ({error.strerror if isinstance(error, OSError) else error})"
        return JournalReadError(f"{self.path}: {why}")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file in this mode, and read from it once."""
    import sqlite3

    db = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=PATIENCE_S, isolation_level=None)
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


# When events truly were: many boards wake up with a wrong clock, and are set right only when a network is there.


# "doubtful": known to be unset, and nobody knows by how much; "unknown": the system does not report it.
Clock = Literal["right", "corrected", "doubtful", "unknown"]
AT_ONCE_S = 5.0  # set so soon after the start, it was right before: nothing is learned for the runs before


@dataclass(frozen=True, slots=True)
class _Set:
    """Correction of a run's clock."""

    offset_s: float  # to be added to what was captured before
    at: datetime | None = None  # UTC; None: in a later run
    seq: int | None = None  # the first event that was captured with a clock known to be right


class Times:
    """Corrects the times of a journal's events by what their runs learned of the clock. Raises JournalReadError."""

    def __init__(self, file: ReadOnly) -> None:
        self._set: dict[str, _Set] = {}
        query = "SELECT boot_id, machine_boot, offset_s, started_at, synced_at FROM runs ORDER BY rowid DESC"
        learned: dict[str, _Set] = {}
        for boot_id, machine, offset_s, started_at, synced_at in file.rows(query):
            if offset_s is None:
                # The clock went on unset since the machine was started, until a later run saw it being set.
                if machine in learned:
                    self._set[boot_id] = learned[machine]
                continue
            started, synced = utc(started_at), utc(synced_at)
            first = "SELECT MIN(seq) FROM events WHERE boot_id = ? AND json LIKE '%\"clock_synced\":true%'"
            seq = file.rows(first, [boot_id])[0][0] if abs(offset_s) >= 1.0 else None
            self._set[boot_id] = _Set(float(offset_s), synced, seq)
            began_unset = started and synced and abs((synced - started).total_seconds()) > AT_ONCE_S
            learned.pop(machine, None)
            if machine and began_unset:
                learned[machine] = _Set(float(offset_s))

    @property
    def corrected(self) -> list[str]:
        """Return the runs whose clock was set after they began."""
        return list(self._set)

    def __call__(self, event: Event) -> tuple[datetime, Clock]:
        """Return when an event was (UTC), and what is known of its clock. Raises ValueError or OverflowError."""
        at = datetime.fromisoformat(event.captured_at)
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
        if event.clock_synced is not False:
            return at, "right" if event.clock_synced else "unknown"
        found = self._set.get(event.boot_id)
        if found is None:
            return at, "doubtful"
        corrected = at + timedelta(seconds=found.offset_s)
        # A clock that was set, and is no longer looked after, runs on well enough.
        late = found.at is not None and corrected > found.at + timedelta(seconds=AT_ONCE_S)
        if late or (found.seq is not None and event.seq > found.seq):
            return at, "unknown"
        return corrected, "corrected"


log = logging.getLogger(__name__)

ALIVE = timedelta(minutes=30)  # a run that wrote nothing for longer no longer runs
AT_ONCE = 500  # rows asked for in one query
State = Literal["over", "going on", "cut off"]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a happening, and when it truly was."""

    event: Event
    at: datetime  # UTC; corrected where the clock was set only afterwards
    clock: Clock
    line: str  # the event as the journal holds it, JSON
    row: int  # of the journal


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivery of one part of one event to one channel."""

    seq: int  # the event's
    channel: str
    part: str  # "word" or "picture"
    state: str  # "waiting", "done" or "parked"
    attempts: int
    error: str | None
    queued_at: str  # ISO 8601, UTC, by the device's clock
    settled_at: str | None

    @property
    def withdrawn(self) -> bool:
        """Return True for a picture that was not on the disk; nobody refused it."""
        return self.state == "parked" and self.error == WITHDRAWN


@dataclass(frozen=True, slots=True)
class PastEvent:
    """Events of one incident, from new to end."""

    events: tuple[EventRow, ...]  # in the journal's order; at least one
    deliveries: tuple[Delivery, ...]
    state: State  # "cut off": the alarm ended before it did
    review: Review | None = None  # the last one, as far as the journal has it

    @property
    def first(self) -> EventRow:
        """Return its first event."""
        return self.events[0]

    @property
    def last(self) -> EventRow:
        """Return its last event."""
        return self.events[-1]

    @property
    def id(self) -> str:
        """Return the id that all its events share."""
        return self.first.event.id

    @property
    def label(self) -> str | None:
        """Return the last label that an event has."""
        return self.labelled.label

    @property
    def labelled(self) -> Event:
        """Return the last of its events that has a label, else the first."""
        return next((each.event for each in reversed(self.events) if each.event.label), self.first.event)

    @property
    def top_score(self) -> float | None:
        """Return the highest bear probability, 0 to 1."""
        given = (score for each in self.events for score in (each.event.top_score, each.event.score))
        return max((score for score in given if score is not None), default=None)

    @property
    def zones(self) -> tuple[str, ...]:
        """Return every zone it was seen in, in order."""
        return tuple(dict.fromkeys(name for each in self.events for name in each.event.zones))

    @property
    def lasted_s(self) -> float | None:
        """Return the seconds from its first event to its last; None where there is but one."""
        if len(self.events) == 1:
            return None
        begin, end = self.first.event.media_time_s, self.last.event.media_time_s
        if begin is not None and end is not None:
            return max(end - begin, 0.0)
        return max((self.last.at - self.first.at).total_seconds(), 0.0)


class JournalReader(ReadOnly):
    """The journal at ``path`` incident by incident, as it was when this was made; use it in a ``with``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.skipped = 0  # events that could not be read
        try:
            self._when = Times(self)
            self._alive = self._living()
        except BaseException:
            self.close()
            raise

    def incidents(
        self,
        *,
        kind: str | None = None,
        camera: str | None = None,
        label: str | None = None,
        reviewed: bool | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 0,
    ) -> list[PastEvent]:
        """Return the newest ``limit`` of them (0: all) that began in [since, until), oldest first.

        ``reviewed``: by the journal; False: only bears. ``before``: only what began at a lower row. ``after``: the
        first ``limit`` of those that began at a higher row.
        """
        mine = "FROM events WHERE event_id = e.event_id"
        where, values = [f"NOT EXISTS (SELECT 1 {mine} AND id < e.id)"], list[object]()
        for column, value in (("kind", kind), ("camera", camera)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if label is not None:
            where.append(f"instr((SELECT json {mine} AND instr(json, ?) ORDER BY id DESC LIMIT 1), ?)")
            values += ['"label":"', f'"label":{json.dumps(label, ensure_ascii=False)}']
        if reviewed is not None:
            last = "SELECT verdict FROM reviews WHERE event_id = e.event_id ORDER BY id DESC LIMIT 1"
            there = f"COALESCE(({last}), ?) <> ?"
            where.append(there if reviewed else f"kind = 'bear' AND NOT {there}")
            values += [TAKEN_BACK, TAKEN_BACK]
        for sign, at in ((">=", since), ("<", until)):
            if at is not None:  # what has a corrected time is looked at below
                where.append(f"(captured_at {sign} ? OR boot_id IN ({_marks(self._when.corrected)}))")
                values += [utc_text(at), *self._when.corrected]
        sign, order = ("<", "DESC") if after is None else (">", "ASC")
        query = f"SELECT id, event_id FROM events AS e WHERE {' AND '.join(where)} AND id {sign} ? ORDER BY id {order}"
        found: list[PastEvent] = []
        row = after if after is not None else before if before is not None else sys.maxsize
        while True:
            most = min(limit - len(found), AT_ONCE) if limit else AT_ONCE
            rows = self.rows(f"{query} LIMIT {most}", [*values, row])
            for one in self._gather([id_ for _, id_ in rows]):
                if (since is None or one.first.at >= since) and (until is None or one.first.at < until):
                    found.append(one)
            if len(rows) < most or (limit and len(found) == limit):
                return sorted(found, key=lambda one: one.first.row)
            row = rows[-1][0]

    def incident(self, id_: str) -> PastEvent | None:
        """Return the one with this whole id; None where there is none that can be read."""
        return next(iter(self._gather([id_])), None)

    def find(self, word: str) -> PastEvent:
        """Find the one whose id begins with ``word``; ``last``: the newest. Raises OptionError for none or many."""
        prefix = word.strip().lower()
        if prefix == "last":
            newest = self.incidents(limit=1)
            if not newest:
                raise OptionError("the journal holds no event yet, so there is no last one")
            return newest[0]
        query = "SELECT event_id FROM events WHERE substr(lower(event_id), 1, ?) = ? GROUP BY event_id LIMIT 6"
        found = [str(row[0]) for row in self.rows(query, [len(prefix), prefix])] if prefix else []
        if len(found) == 1:
            return self._gather(found)[0]
        if found:
            some = ", ".join(id_[: max(8, len(prefix) + 2)] for id_ in found[:5]) + ", …" * (len(found) > 5)
            raise OptionError(f"{word!r} begins more than one event ({some}); give more of the id")
        rows = self.rows("SELECT event_id FROM events GROUP BY event_id ORDER BY MAX(id) DESC LIMIT 1000")
        near = get_close_matches(prefix[:8], [str(row[0])[:8] for row in rows], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "`bear-alarm events` lists them"
        raise OptionError(f"{word!r}: no such event in the journal; {hint}")

    def cameras(self) -> list[str]:
        """Return the name of every camera that has events."""
        return [str(row[0]) for row in self.rows("SELECT DISTINCT camera FROM events ORDER BY 1")]

    def _gather(self, ids: Iterable[str]) -> list[PastEvent]:
        """Return the incidents of these ids with all that belongs to them, oldest first."""
        events: dict[str, list[EventRow]] = defaultdict(list)
        for found in self._events(list(ids)):
            events[found.event.id].append(found)
        deliveries = self._deliveries([one.row for each in events.values() for one in each])
        reviews = self._reviews(list(events))
        return [
            PastEvent(
                tuple(each),
                tuple(delivery for one in each for delivery in deliveries[one.row]),
                self._state(each[-1].event),
                reviews.get(id_),
            )
            for id_, each in sorted(events.items(), key=lambda one: one[1][0].row)
        ]

    def _events(self, ids: Sequence[str]) -> list[EventRow]:
        """Return the events of these ids, by row; warn of what cannot be read, and skip it."""
        found = []
        for begin in range(0, len(ids), AT_ONCE):
            some = ids[begin : begin + AT_ONCE]
            query = f"SELECT id, json FROM events WHERE event_id IN ({_marks(some)}) ORDER BY id"
            for row, line in self.rows(query, some):
                try:
                    event = Event.from_json(line)
                    found.append(EventRow(event, *self._when(event), str(line), int(row)))
                except (ValueError, TypeError, OverflowError) as error:
                    self.skipped += 1
                    log.warning("one event in the journal cannot be understood and is skipped (%s)", error)
        return sorted(found, key=lambda one: one.row)

    def _deliveries(self, rows: Sequence[int]) -> dict[int, list[Delivery]]:
        found: dict[int, list[Delivery]] = defaultdict(list)
        columns = "event, seq, channel, part, outbox.state, attempts, error, queued_at, settled_at"
        for begin in range(0, len(rows), AT_ONCE):
            some = rows[begin : begin + AT_ONCE]
            query = f"SELECT {columns} FROM outbox JOIN events ON events.id = event WHERE event IN ({_marks(some)})"
            for event, *rest in self.rows(f"{query} ORDER BY outbox.id", some):
                found[event].append(Delivery(*rest))
        return found

    def _reviews(self, ids: Sequence[str]) -> dict[str, Review]:
        found: dict[str, Review] = {}
        if self.version < REVIEWS:
            return found
        for begin in range(0, len(ids), AT_ONCE):
            some = ids[begin : begin + AT_ONCE]
            query = f"SELECT event_id, verdict, at, label FROM reviews WHERE event_id IN ({_marks(some)}) ORDER BY id"
            for id_, *review in self.rows(query, some):
                if review[0] == TAKEN_BACK:
                    found.pop(id_, None)
                with suppress(ValueError):  # of a later version
                    found[id_] = Review(*review)
        return found

    def _state(self, last: Event) -> State:
        if last.type == "end" or last.kind == "notice":  # which has no end
            return "over"
        return "going on" if last.boot_id == self._alive else "cut off"

    def _living(self) -> str | None:
        if os.access(self.path.parent / LOCK, os.R_OK):
            return watching_run(self.path.parent)
        # Another user's, or an older version's: the newest run goes on if it has written so lately.
        query = "SELECT boot_id, COALESCE(alive_at, started_at) FROM runs WHERE ended_at IS NULL ORDER BY rowid DESC"
        for boot_id, alive_at in self.rows(f"{query} LIMIT 1"):
            alive = utc(alive_at)
            if alive is not None and abs(datetime.now(UTC) - alive) <= ALIVE:
                return str(boot_id)
        return None


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
