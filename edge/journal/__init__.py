"""The journal: every event on the disk before it counts as told, and the outbox that feeds what goes over a network.

A disk that is full, read-only, broken or hangs never stops the alarm: events then stay in a bounded memory, are
delivered from there, and are written when the disk is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge.journal.ballast import Ballast
from edge.journal.clock import Clock
from edge.journal.disk import Disk
from edge.journal.memory import Entry, Mark, Memory, rows_for
from edge.journal.reviews import Said, understood
from edge.journal.store import Found
from edge.outbox import Route, Waiting
from edge.run import Run
from edge.schema import Event, utc_text

KEEP_EVENTS = 50_000  # some 60 MB
SOON_S = 3.0  # a card may take a breath; an alarm is not held up by a longer one
PATIENCE_S = 10.0  # such a disk is said to be no good


class Journal:
    """Keeps events in ``folder/journal.db`` and is the ``edge.outbox.Queue`` of the ``routes``. For any thread.

    Nothing here raises for a disk that is broken; ``durable`` and ``problem`` say how it stands. Calls wait for the
    disk, which works in a thread of its own: ``soon_s`` seconds where it hangs, and not at all while it goes on
    hanging; they belong in a worker. A disk that takes ``patience_s`` seconds is a problem. The newest ``keep`` events
    are kept, and every one that still waits to be delivered.
    """

    def __init__(
        self,
        folder: Path,
        routes: Sequence[Route] = (),
        *,
        run: Run,
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
        """Write the event down, with a row for each channel that wants it; the event as it now stands.

        ``durable`` is True when COMMIT returned; else the event is kept in memory and delivered from there.
        """
        return replace(event, durable=self._keep(event, None).durable)

    def attach(self, event: Event, picture: Path) -> None:
        """The picture of an event lies at this path from now on: written down, and sent to who takes pictures."""
        self._keep(replace(event, evidence=str(picture)), picture)

    def reroute(self, routes: Sequence[Route]) -> None:
        """Queue further events for these; what waits for others stays."""
        self.routes = self._disk.routes = list(routes)

    def beat(self) -> None:
        """Every ten minutes: that the run lives is written down, and with it what is still only in memory."""
        self._disk.beat()
        self._notify()

    def examine(self) -> str | None:
        """Check the whole journal beside the running alarm; what is wrong, which is mended as far as it goes."""
        return self._disk.examine()

    def close(self) -> None:
        """The run is over."""
        self._disk.close()

    @property
    def durable(self) -> bool:
        """Whether events are on the disk when they count as told."""
        return self._disk.trouble is None

    @property
    def problem(self) -> str | None:
        """What is wrong now, in one sentence for people; None: nothing."""
        if self._disk.trouble:
            lost = f", {self._memory.lost} were given up" if self._memory.lost else ""
            return f"{self._disk.trouble}; {len(self._memory)} events are in memory only{lost}"
        if not self._disk.reserve:
            return f"{self.folder}: the disk is nearly full, and no room is kept for further alarms; free some space"
        return None

    def listen(self, call: Callable[[], None]) -> None:
        """``call`` is called, from any thread, when there may be something new; it must return at once."""
        self._listeners.append(call)

    def unlisten(self, call: Callable[[], None]) -> None:
        """No longer call it; one that was never to be called is nothing."""
        self._listeners = [each for each in self._listeners if each != call]  # another thread may go through it

    def waiting(self, channel: str, *, newest_first: bool = False, limit: int = 100) -> list[Waiting]:
        """What this channel has not delivered, in the order of the journal or the newest first."""
        marks = self._memory.marks()
        settled = {row for row, mark in marks.items() if mark.state != "waiting"}
        found = self._disk.waiting(channel, newest_first=newest_first, limit=limit, settled=settled)
        there = [each for each in (self._read(row, marks) for row in found or ()) if each]
        here = self._memory.waiting(channel, self._clock.monotonic(), hidden=found is None)
        return ([*reversed(here), *there] if newest_first else [*there, *here])[:limit]

    def reviews(self, after: int = 0) -> list[Said]:
        """Return the reviews after a row; none while the disk does not answer."""
        return understood(self._disk.reviews(after) or ())

    def done(self, rows: Sequence[int]) -> None:
        """These were delivered."""
        now = utc_text(self._clock.wall())
        for row in rows:
            self._memory.mark(row, Mark("done", 1, None, now))
        self._settle()

    def again(self, row: int, why: str) -> None:
        """This one failed and stays; put down with whatever is written next, for a broker may be away for days."""
        self._memory.mark(row, Mark("waiting", 1, why))

    def park(self, row: int, why: str) -> None:
        """This one was refused for good: it is kept and shown, and tried no more."""
        self._memory.mark(row, Mark("parked", 1, why, utc_text(self._clock.wall())))
        self._settle()

    def _settle(self) -> None:
        """What has become of rows to the disk; events that came there with it have other numbers now, which is told."""
        if self._disk.write():
            self._notify()

    def _keep(self, event: Event, picture: Path | None) -> Entry:
        """An event, or the picture of one, to the disk or else to memory."""
        event.to_json()  # one that cannot be written fails here, and does not take those after it along
        rows = rows_for(self.routes, event, picture)
        entry = self._memory.add(event, rows, utc_text(self._clock.wall()), self._clock.monotonic())
        self._disk.write()
        self._notify()
        return entry

    def _read(self, found: Found, marks: dict[int, Mark]) -> Waiting | None:
        """A row of the disk as a channel sees it; one that holds no event is parked, or it would hold up the others."""
        try:
            event = Event.from_json(found.json)
            queued_at = datetime.fromisoformat(found.queued_at)
        except ValueError as error:
            self.park(found.row, f"there is no event in it ({error})")
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
        return Waiting(found.row, event, found.part, picture, max(age_s, 0.0), attempts)

    def _notify(self) -> None:
        for call in self._listeners:
            call()
