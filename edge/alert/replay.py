"""Replay over MQTT: events of the journal for a subscriber that missed some.

A request on ``PREFIX/replay`` names the last event that is known, ``{"after": [boot_id, seq]}``, or null for the newest
``EVENTS``. The answer on ``PREFIX/replayed``:

after   as it was asked
events  at most ``EVENTS`` and ``BYTES``, in the journal's order; what goes over no network is skipped
upto    [boot_id, seq] of the last event looked at, to ask on from; null: the journal is empty
more    there are events after that
last    [boot_id, seq] of the newest event of this run; seq 0: there is none yet
lost    the event that was named is not in the journal any more, and others may have gone with it
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from edge.alert.mqtt_connection import UndeliveredError
from edge.background import start_thread, step_back
from edge.record.database import NAME
from edge.record.history import JournalReadError, ReadOnly
from edge.record.outbox import RefusedError, Route, rows_for
from edge.schema import Event, readable

if TYPE_CHECKING:
    from edge.record.journal import Journal

log = logging.getLogger(__name__)

EVENTS, BYTES = 50, 60_000  # of one answer, which is one event at least
ROWS = 1000  # looked at for one answer
AT_ONCE = 100  # rows read at a time
PAUSE_S = 1.0  # between two answers
MAX_REQUEST = 1000  # bytes
IGNORED_S = 60.0  # after a line about a request that is not answered, further ones are not logged

Position = tuple[str, int]  # boot_id and seq of an event


class Replay:
    """Answers requests in a thread of its own: one at a time, one waits, the rest is dropped.

    ``route``: events that it does not want are skipped. ``deliver`` is called with each answer and what was asked, and
    raises as ``BrokerConnection.deliver``. An answer that the broker refuses is halved; after one
    that it takes, the next may be twice as large.
    """

    def __init__(
        self, route: Route, journal: Callable[[], Journal | None], deliver: Callable[[bytes, object], None]
    ) -> None:
        self._route = route
        self._journal = journal
        self._deliver = deliver
        self._waiting: Queue[Position | None] = Queue(1)
        self._closed = threading.Event()
        self._most = EVENTS  # of one answer
        self._ignored_at = -math.inf  # when a request was last logged as ignored, time.monotonic()
        start_thread(self._run, "mqtt replay")

    def __call__(self, request: bytes) -> None:
        """Take a request; returns at once. What is none is ignored, and logged once a minute."""
        try:
            after = _parsed(request)
        except (ValueError, TypeError, KeyError, RecursionError):
            self._ignore('it is not {"after": [boot_id, seq]} or {"after": null}')
        else:
            self._put(after)

    def close(self) -> None:
        """Answer no more."""
        self._closed.set()
        self._put(None)

    def _put(self, after: Position | None) -> None:
        with suppress(Full):
            self._waiting.put_nowait(after)

    def _run(self) -> None:
        step_back()
        while not self._closed.is_set():
            after = self._waiting.get()
            if not self._closed.is_set():
                self._serve(after)
                self._closed.wait(PAUSE_S)

    def _serve(self, after: Position | None) -> None:
        try:
            if answer := self._answer(after):
                words = readable(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
                self._deliver(words.encode(), after)
                self._most = min(2 * self._most, EVENTS)
        except UndeliveredError as error:  # the connection reports it, and the other side asks again
            log.debug("a replay is not delivered: %s", error)
        except RefusedError as error:
            self._most = self._most // 2 or EVENTS
            if self._most < EVENTS:
                self._put(after)
            else:
                self._ignore(str(error))
        except JournalReadError as error:
            self._ignore(str(error))

    def _answer(self, after: Position | None) -> dict[str, Any] | None:
        """Return the answer; None before the alarm has opened its journal. Raises JournalReadError."""
        journal = self._journal()
        if journal is None:
            return None
        last = journal.last
        with ReadOnly(journal.folder / NAME) as db:
            return {"after": after, **events_after(db, after, self._route, self._most), "last": last}

    def _ignore(self, why: str) -> None:
        now = time.monotonic()
        if now - self._ignored_at >= IGNORED_S:
            self._ignored_at = now
            log.warning("MQTT: a request for a replay is ignored: %s", why)


def _parsed(request: bytes) -> Position | None:
    """Return the event that is named. Raises ValueError, TypeError, KeyError or RecursionError for another form."""
    if len(request) > MAX_REQUEST:
        raise ValueError
    after = json.loads(request)["after"]
    if after is None:
        return None
    boot_id, seq = after
    if not (isinstance(boot_id, str) and type(seq) is int and 0 <= seq < 1 << 63):
        raise ValueError
    boot_id.encode()  # half a character is none for the journal
    return boot_id, seq


def events_after(db: ReadOnly, after: Position | None, route: Route, most: int = EVENTS) -> dict[str, Any]:
    """Return ``events`` (``most`` of them), ``upto``, ``more`` and ``lost`` of an answer. Raises JournalReadError."""
    number, lost = _start(db, after)
    upto: Position | None = after if number and not lost else None
    events: list[Any] = []
    size = looked = 0
    while looked < ROWS:
        rows = db.rows("SELECT id, boot_id, seq, json FROM events WHERE id >= ? ORDER BY id LIMIT ?", (number, AT_ONCE))
        for row, boot_id, seq, line in rows:
            if _goes_out(line, route):
                size += len(line.encode())
                if events and (len(events) == most or size > BYTES):
                    return {"events": events, "upto": upto, "more": True, "lost": lost}
                events.append(json.loads(line))
            upto, number, looked = (boot_id, seq), row + 1, looked + 1
        if len(rows) < AT_ONCE:
            break
    more = bool(db.rows("SELECT 1 FROM events WHERE id >= ? LIMIT 1", (number,)))
    return {"events": events, "upto": upto, "more": more, "lost": lost}


def _start(db: ReadOnly, after: Position | None) -> tuple[int, bool]:
    """Return the row to begin with, 0 for an empty journal, and whether the event that was named is lost."""

    def number(query: str, values: tuple[object, ...] = ()) -> int | None:
        found = db.rows(query, values)
        return found[0][0] if found else None

    newest = "SELECT min(id) FROM (SELECT id FROM events ORDER BY id DESC LIMIT ?)"
    if after is None:
        return number(newest, (EVENTS,)) or 0, False
    row = number("SELECT id FROM events WHERE boot_id = ? AND seq = ?", after)
    if row is not None:
        return row + 1, False
    begun = after[1] == 0 and number("SELECT 1 FROM runs WHERE boot_id = ?", after[:1])  # it had no event to name yet
    later = number("SELECT min(id) FROM events WHERE boot_id = ? AND seq > ?", after)
    return later or number(newest, (ROWS,)) or 0, not begun


def _goes_out(line: str, route: Route) -> bool:
    try:
        return bool(rows_for([route], Event.from_json(line)))
    except ValueError as error:  # the outbox shows it
        log.debug("a row of the journal is skipped: %s", error)
        return False
