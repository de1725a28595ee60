"""What can still be read of a damaged journal, written into a new one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.journal import layout
from edge.journal.memory import rows_for
from edge.outbox import Route
from edge.schema import Event

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger(__name__)

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
    with closing(layout.connect(new)) as to:
        layout.prepare(to, log=False)
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
            db = layout.connect(damaged, mode)
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
        if layout.version(source) < layout.REVIEWS:
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
