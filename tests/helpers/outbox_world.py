"""A queue in memory, and a channel that does what it is told, for the tests of delivering."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.alert.delivery import Batch, DeliveryScheduler
from edge.record.outbox import Message, OutboxRow, Part, RefusedError
from edge.schema import Event


def event(seq: int = 1, type_: Any = "new", kind: Any = "bear", **more: Any) -> Event:
    """An event of the run "run"; it has its number in its id."""
    return Event(kind, type_, f"id{seq}", seq, "run", "yard", "2026-01-01T12:00:00.000Z", **more)


class MemoryQueue:
    """Rows in memory, as the journal keeps them on the disk; ``clock`` says how old they are."""

    def __init__(self, clock: Any = time.monotonic) -> None:
        self.clock = clock
        self.rows: dict[int, dict[str, Any]] = {}
        self.done_order: list[int] = []
        self.broken: set[str] = set()  # what raises
        self._listeners: list[Any] = []
        self._lock = threading.Lock()
        self._last = 0

    def put(self, event: Event, part: Part = "word", picture: Path | None = None, *, memory: bool = False) -> int:
        """One more row; its number."""
        with self._lock:
            self._last += 1
            number = -self._last if memory else self._last
            row = {"event": event, "part": part, "picture": picture, "at": self.clock(), "attempts": 0}
            self.rows[number] = row | {"state": "waiting", "why": None}
        for call in self._listeners:
            call()
        return number

    def of(self, state: str) -> list[int]:
        """The rows in this state, in order."""
        return [number for number, row in self.rows.items() if row["state"] == state]

    def waiting(self, channel: str, *, newest_first: bool = False, limit: int = 100) -> list[OutboxRow]:
        """Return what waits."""
        self._check("waiting")
        with self._lock:
            now = self.clock()
            found = [
                OutboxRow(number, row["event"], row["part"], row["picture"], now - row["at"], row["attempts"])
                for number, row in self.rows.items()
                if row["state"] == "waiting"
            ]
        return (found[::-1] if newest_first else found)[:limit]

    def done(self, rows: Any) -> None:
        """They were delivered."""
        self._check("done")
        for row in rows:
            self.rows[row]["state"] = "done"
            self.done_order.append(row)

    def again(self, row: int, why: str) -> None:
        """It failed."""
        self._check("again")
        self.rows[row]["attempts"] += 1
        self.rows[row]["why"] = why

    def dead_letter(self, row: int, why: str) -> None:
        """It was refused."""
        self._check("dead_letter")
        self.rows[row] |= {"state": "parked", "why": why}

    def listen(self, call: Any) -> None:
        """Call it for each new row."""
        self._listeners.append(call)

    def unlisten(self, call: Any) -> None:
        """Call it no more."""
        self._listeners = [each for each in self._listeners if each != call]

    def _check(self, what: str) -> None:
        if what in self.broken:
            raise OSError(28, "No space left on device")


@dataclass
class FakeChannel:
    """A channel that keeps what it is sent; ``does`` may raise, wait or say nothing."""

    does: Any = lambda message: None
    people: bool = False
    pictures: bool = True
    key: str = "fake"
    messages: list[Message] = field(default_factory=list)
    closed: bool = False
    problem: str | None = None
    reached: Any = None  # to be called when the other side is back

    def wants(self, event: Event) -> bool:
        return True

    def send(self, message: Message) -> None:
        self.does(message)
        self.messages.append(message)

    def listen(self, call: Any) -> None:
        self.reached = call

    def close(self) -> None:
        self.closed = True

    @property
    def seqs(self) -> list[tuple[int, ...]]:
        """The numbers of the events of each message that arrived."""
        return [tuple(event.seq for event in message.events) for message in self.messages]


class Net:
    """Up or down, and it has seen what passed."""

    def __init__(self) -> None:
        self.up = True
        self.refuses: set[int] = set()
        self.poison: set[int] = set()

    def __call__(self, message: Message) -> None:
        if not self.up:
            raise OSError("network is unreachable")
        if any(each.seq in self.refuses for each in message.events):
            raise RefusedError("HTTP 400")
        if any(each.seq in self.poison for each in message.events):
            raise OSError("cannot say why")


class Life:
    """A feed, its queue and its channel in a time of their own, in one thread."""

    def __init__(self, *, people: bool = False, does: Any = lambda message: None, chance: Any = lambda: 0.0) -> None:
        self.now = 0.0
        self.queue = MemoryQueue(lambda: self.now)
        self.channel = FakeChannel(does, people=people)
        self.chance = chance
        self.tried: list[tuple[float, Message]] = []
        self.restart()

    def restart(self) -> None:
        """The program ends and begins again: only the queue remembers."""
        self.feed = DeliveryScheduler(self.channel, self.queue, self.chance)

    def look(self) -> float:
        """Send all that may go now; for how many seconds there is nothing to do then."""
        while isinstance(found := self.feed.next(self.now), Batch):
            self.tried.append((self.now, found.message))
            try:
                self.channel.send(found.message)
            except RefusedError as error:
                self.feed.refused(found, str(error))
            except Exception as error:
                self.feed.failed(found, str(error), self.now, getattr(error, "after_s", 0.0))
            else:
                self.feed.delivered(found, self.now)
        return found

    def live(self, seconds: float) -> None:
        """Time goes on, and all that is to be done in it is."""
        until = self.now + seconds
        while True:
            wait_s = max(self.look(), 1e-6)
            if self.now + wait_s > until:
                break
            self.now += wait_s
        self.now = until
        self.look()


def wait_for(what: Any, seconds: float = 20.0) -> None:
    """Until it is so; fails when it takes too long."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.005)
