"""The journal keeps every event on the disk, and is the outbox that feeds what goes over a network.

A disk that is full, read-only, broken or hangs never stops the alarm: events then stay in a bounded memory, are
delivered from there, and are written when the disk is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge.record.ballast import Ballast
from edge.record.clock import Clock
from edge.record.database import OPEN_KINDS, Found
from edge.record.disk import Disk
from edge.record.journal_reviews import JournalReview, parsed
from edge.record.memory_outbox import Mark, Memory, rows_for
from edge.record.outbox import OutboxRow, Route
from edge.run import EventFactory
from edge.schema import Event, utc_text

KEEP_EVENTS = 50_000  # some 60 MB
SOON_S = 3.0  # a card may take a breath; an alarm is not held up by a longer one
PATIENCE_S = 10.0  # such a disk is a problem


class Journal:
    """Keeps events in ``folder/journal.db`` and is the ``edge.record.outbox.Queue`` of the ``routes``. For any thread.

    Nothing here raises for a disk that is broken; ``durable`` and ``problem`` show its state. Calls wait for the
    disk, which works in a thread of its own: ``soon_s`` seconds where it hangs, and not at all while it goes on
    hanging; they belong in a worker. A disk that takes ``patience_s`` seconds is a problem. The newest ``keep`` events
    are kept, and every one that still waits to be delivered.
    """

    def __init__(
        self,
        folder: Path,
        routes: Sequence[Route] = (),
        *,
        run: EventFactory,
        clock: Clock | None = None,
        ballast: Ballast | None = None,
        keep: int = KEEP_EVENTS,
        soon_s: float = SOON_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.folder = folder
        self.routes = list(routes)
        self._clock = clock or Clock()
        self._began = self._clock.monotonic()
        self._memory = Memory()
        self._listeners: list[Callable[[], None]] = []
        self._disk = Disk(
            folder,
            self._memory,
            self.routes,
            run,
            self._clock,
            ballast=ballast or Ballast(folder),
            keep=keep,
            soon_s=soon_s,
            patience_s=patience_s,
        )
        self._disk.start()

    def __call__(self, event: Event) -> Event:
        """Write the event, with a row for each channel that wants it or its picture; return it as it is kept.

        ``durable`` is True when COMMIT returned; else the event is kept in memory and delivered from there.
        """
        event.to_json()  # one that cannot be written fails here, and does not take those after it along
        entry = self._memory.add(
            event, rows_for(self.routes, event), utc_text(self._clock.wall()), self._clock.monotonic()
        )
        self._disk.write()
        self._notify()
        return replace(event, durable=entry.durable)

    def reroute(self, routes: Sequence[Route]) -> None:
        """Queue further events for these; what waits for others stays."""
        self.routes = self._disk.routes = list(routes)

    def beat(self) -> None:
        """Write that the run lives, and what is still only in memory; call it every ten minutes."""
        self._disk.replaced = None
        self._disk.beat()
        self._notify()

    def examine(self) -> str | None:
        """Check the whole journal beside the running alarm, and replace a damaged one; return what is wrong."""
        return self._disk.examine()

    def close(self) -> None:
        """End the run."""
        self._disk.close()

    @property
    def durable(self) -> bool:
        """Return True when events are on the disk as soon as they count as published."""
        return self._disk.trouble is None

    @property
    def problem(self) -> str | None:
        """Return what is wrong now, in one sentence for people; None: nothing."""
        if self._disk.trouble:
            lost = f", {self._memory.lost} were given up" if self._memory.lost else ""
            return f"{self._disk.trouble}; {len(self._memory)} events are in memory only{lost}"
        if self._disk.replaced:
            return self._disk.replaced
        if not self._disk.reserve:
            return f"{self.folder}: the disk is nearly full, and no room is kept for further alarms; free some space"
        return None

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, from any thread, when there may be something new; it must return at once."""
        self._listeners.append(call)

    def unlisten(self, call: Callable[[], None]) -> None:
        """Stop calling it, if it was to be called."""
        self._listeners = [each for each in self._listeners if each != call]  # another thread may go through it

    def waiting(self, channel: str, *, newest_first: bool = False, limit: int = 100) -> list[OutboxRow]:
        """Return what this channel has not delivered, in the order of the journal or the newest first."""
        settled = {row for row, mark in self._memory.marks().items() if mark.state != "waiting"}
        found = self._disk.waiting(channel, newest_first=newest_first, limit=limit, settled=settled)
        marks = self._memory.marks()  # asked again: what was sent from memory may have come to the disk just now
        left = [row for row in found or () if marks.get(row.row, Mark()).state == "waiting"]
        there = [each for each in (self._read(row, marks) for row in left) if each]
        here = self._memory.waiting(channel, self._clock.monotonic(), hidden=found is None)
        return ([*reversed(here), *there] if newest_first else [*there, *here])[:limit]

    def open_events(self) -> list[Event]:
        """Return this run's newest event of each bear and camera fault that is not over; between two events."""
        here = self._memory.events()  # asked first: they may come to the disk meanwhile
        found: dict[str, Event] = {}
        for line in self._disk.open_events() or ():
            with suppress(ValueError):
                event = Event.from_json(line)
                found[event.id] = event
        for event in here:
            found.pop(event.id, None)
            if event.kind in OPEN_KINDS and event.type != "end":
                found[event.id] = event
        return list(found.values())

    def reviews(self, after: int = 0) -> list[JournalReview]:
        """Return the reviews after a row; none while the disk does not answer."""
        return parsed(self._disk.reviews(after) or ())

    def done(self, rows: Sequence[int]) -> None:
        """Note that these were delivered."""
        now = utc_text(self._clock.wall())
        for row in rows:
            self._memory.mark(row, Mark("done", 1, None, now))
        self._settle()

    def again(self, row: int, why: str) -> None:
        """Note that this one failed and stays; written with what comes next, for a broker may be away for days."""
        self._memory.mark(row, Mark("waiting", 1, why))

    def dead_letter(self, row: int, why: str) -> None:
        """Note that this one was refused for good: it is kept and shown, and not tried again."""
        self._memory.mark(row, Mark("parked", 1, why, utc_text(self._clock.wall())))
        self._settle()

    def _settle(self) -> None:
        """Write what became of rows; call the listeners if events came to the disk, with other numbers."""
        if self._disk.write():
            self._notify()

    def _read(self, found: Found, marks: dict[int, Mark]) -> OutboxRow | None:
        """Return a row of the disk as a channel sees it; one without an event is a dead letter."""
        try:
            event = Event.from_json(found.json)
            queued_at = datetime.fromisoformat(found.queued_at)
        except ValueError as error:
            self.dead_letter(found.row, f"there is no event in it ({error})")
            return None
        since = self._memory.since(found.row)
        if since is not None:
            age_s = self._clock.monotonic() - since
        else:
            age_s = (self._clock.wall() - queued_at).total_seconds()
            if age_s < 0:  # the clock starts behind an earlier run's: it has waited since this one began at least
                age_s = self._clock.monotonic() - self._began
        attempts = found.attempts + marks.get(found.row, Mark()).tries
        picture = None if found.picture is None else Path(found.picture)
        return OutboxRow(found.row, event, found.part, picture, max(age_s, 0.0), attempts)

    def _notify(self) -> None:
        for call in self._listeners:
            call()
