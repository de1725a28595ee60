"""Outbox: messages over a network, at least once, across restarts, and never in the way of the alarm.

The journal keeps a row for each event and each channel that wants it (``Queue``); a ``Deliverer``
(``edge.alert.delivery``) feeds each channel from there, in its own thread. A channel (MQTT, a webhook, people's
phones) only knows how to send one message.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from edge.record.media_store import own_still
from edge.schema import Event

log = logging.getLogger(__name__)


Part = Literal["word", "picture"]  # the word goes first and never waits for the picture
WITHDRAWN = "the picture is not on the disk"  # the error of a row that was not refused, but is not sent any more


class RefusedError(RuntimeError):
    """The other side will never take this message (HTTP 400, a topic that is not allowed): it is a dead letter."""


class NotYetError(RuntimeError):
    """The other side asks to be left alone for a while (HTTP 429 or 503 with Retry-After)."""

    def __init__(self, why: str, after_s: float) -> None:
        super().__init__(why)
        self.after_s = after_s  # seconds


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row of the outbox: something one channel has not delivered yet."""

    row: int  # what the queue knows it by; below zero: only in memory, gone with the power
    event: Event
    part: Part
    picture: Path | None  # where the picture lies, of a row whose part is "picture"
    age_s: float  # how long it has waited, seconds
    attempts: int  # how often it was tried


@dataclass(frozen=True, slots=True)
class Message:
    """Message for a channel: one event's word or picture, or the digest of several old ones."""

    events: tuple[Event, ...]  # one, or those of a digest, oldest first
    part: Part
    picture: Path | None = None
    late_s: float = 0.0  # how long the (oldest) event waited, seconds

    @property
    def digest(self) -> bool:
        """Return True when several old events are sent in one."""
        return len(self.events) > 1


class Route(Protocol):
    """Events that a channel wants: all the journal needs to know of it."""

    key: str  # unique and stable over restarts, without secrets: "mqtt 10.0.0.7:1883"
    pictures: bool  # whether it takes pictures too

    def wants(self, event: Event) -> bool:
        """Return True when this event goes to it."""


class Channel(Route, Protocol):
    """Sends one message to one place over a network."""

    people: bool  # True: alarms and the newest first, old ones in one digest; False: machines, strictly in order

    @property
    def problem(self) -> str | None:
        """Return in one sentence why it cannot be reached, as far as it knows without sending; None: not known."""

    def send(self, message: Message) -> None:
        """Send it and wait until it is delivered: PUBACK, 2xx, or what the other side's word for it is.

        Raises RefusedError for what will never be taken; anything else raised means: try again later. Must be safe to
        call while another call is under way: a word does not wait for a picture, nor for a send that hangs.
        """

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, from any thread, when the other side was away and is back; it must return at once.

        A channel that holds no connection never calls.
        """

    def close(self) -> None:
        """Close the connection."""


class Queue(Protocol):
    """The rows that wait, channel by channel; safe to call from any thread. The journal keeps them."""

    def waiting(self, channel: str, *, newest_first: bool = False, limit: int = 100) -> list[OutboxRow]:
        """Return what this channel has not delivered yet, in the order of the journal or the newest first."""

    def done(self, rows: Sequence[int]) -> None:
        """Note that these were delivered: they are not listed again, even where that cannot be written yet."""

    def again(self, row: int, why: str) -> None:
        """Note that this one failed and stays; ``why`` in one sentence without secrets."""

    def dead_letter(self, row: int, why: str) -> None:
        """Note that this one was refused for good: it is kept and shown, and not tried again."""

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, from any thread, when there is something new; it must return at once."""

    def unlisten(self, call: Callable[[], None]) -> None:
        """Stop calling it."""


# The memory outbox: events that are not on the disk yet, and what has become of their rows; nothing here waits.


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


Entries = dict[int, tuple[Entry, tuple[Row, ...]]]  # by the order they came, with the rows as they were then


def rows_for(routes: Iterable[Route], event: Event) -> list[tuple[str, Part]]:
    """Return the (channel, part) to send of an event: its word, and the picture that came with it.

    That a channel cannot be reached goes to all the others. A bear of a camera in shadow goes nowhere.
    """
    if event.kind == "bear" and event.stage == "shadow":
        return []
    rows: list[tuple[str, Part]] = []
    pictured = own_still(event) is not None
    for route in routes:
        if event.kind == "health" and event.label == route.key:
            continue
        try:
            wanted = route.wants(event)
        except Exception as error:  # a fault in one channel must not cost the others the alarm
            log.error("%s fails to decide whether it wants %s, and is sent it (%s)", route.key, event.id, error)
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
    """The memory outbox: at most ``MAX_EVENTS``, then one is given up, what is delivered first. For any thread."""

    def __init__(self) -> None:
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
            if len(self._entries) > MAX_EVENTS:
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

    def unwritten(self, most: int) -> tuple[Entries, dict[int, Mark]]:
        """Return the oldest ``most`` entries, and as many marks of rows on the disk: one transaction."""
        with self._lock:
            oldest = islice(self._entries.items(), most)
            marks = dict(islice(self._marks.items(), most))
            return {key: (entry, entry.rows) for key, entry in oldest}, marks

    def written(self, entries: Entries, marks: dict[int, Mark], lie: dict[int, int]) -> None:
        """Forget what is on the disk now, its rows where ``lie`` says, but not what became of them meanwhile."""
        with self._lock:
            for number, then in marks.items():
                self._less(number, self._marks.pop(number, then), then)
            for key, (entry, rows) in entries.items():
                entry.durable = True
                self._entries.pop(key, None)
                for row, before in zip(entry.rows, rows, strict=True):
                    self._less(lie[row.number], row.mark, before.mark)
                    self._moved[row.number] = lie[row.number]
                    self._since[lie[row.number]] = entry.since
            _shorten(self._moved)
            _shorten(self._since)

    def _less(self, row: int, now: Mark, then: Mark) -> None:
        """Remember of a row what ``then`` did not hold."""
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
