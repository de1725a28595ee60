"""The journal keeps every event on the disk, and is the outbox that feeds what goes over a network.

A disk that is full, read-only, broken or hangs never stops the alarm: events then stay in a bounded memory, are
delivered from there, and are written when the disk is back.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from edge.background import DeadlineError, DeadlineExecutor
from edge.files import hand_over
from edge.record.database import DiskError, Store, Waiting, check_whole, open_store
from edge.record.outbox import Mark, Memory, OutboxRow, Route, rows_for
from edge.record.review import JournalReview, parse_rows
from edge.record.run import Clock, EventFactory
from edge.schema import Event, utc_text
from edge.version import __version__

log = logging.getLogger(__name__)


KEEP_EVENTS = 50_000  # some 60 MB
SOON_S = 3.0  # a card may take a breath; an alarm is not held up by a longer one
PATIENCE_S = 10.0  # such a disk is a problem


class Journal:
    """Keeps events in ``folder/journal.db`` and is the ``edge.record.outbox.Queue`` of the ``routes``. For any thread.

    Nothing here raises for a disk that is broken; ``durable`` and ``problem`` show its state. Calls wait for the
    disk, which works in a thread of its own: ``SOON_S`` seconds where it hangs, and not at all while it goes on
    hanging; they belong in a worker. The newest ``KEEP_EVENTS`` are kept, and every one that still waits to be
    delivered.
    """

    def __init__(
        self,
        folder: Path,
        routes: Sequence[Route] = (),
        *,
        run: EventFactory,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.routes = list(routes)
        self.last = run.id, 0  # boot_id and seq of the newest event that was handed over; 0: none yet
        self.changes = 0  # another number: there may be something new; for those who would ask often
        self._run = run
        self._clock = clock or Clock()
        self._began = self._clock.monotonic()
        self._memory = Memory()
        self._listeners: list[Callable[[], None]] = []
        self._disk = Disk(folder, self._memory, self.routes, run, self._clock)
        self._disk.start()

    def __call__(self, event: Event) -> Event:
        """Write the event, with a row for each channel that wants it or its picture; return it as it is kept.

        ``durable`` is True when COMMIT returned; else the event is kept in memory and delivered from there.
        """
        event.to_json()  # one that cannot be written fails here, and does not take those after it along
        self.last = event.boot_id, max(event.seq, self.last[1])
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
        found = self._disk.read(
            lambda store: store.waiting(channel, newest_first=newest_first, limit=limit, settled=settled)
        )
        marks = self._memory.marks()  # asked again: what was sent from memory may have come to the disk just now
        left = [row for row in found or () if marks.get(row[0], Mark()).state == "waiting"]
        there = [each for each in (self._read(row, marks) for row in left) if each]
        here = self._memory.waiting(channel, self._clock.monotonic(), hidden=found is None)
        return ([*reversed(here), *there] if newest_first else [*there, *here])[:limit]

    def reviews(self, after: int = 0) -> list[JournalReview]:
        """Return the reviews after a row; none while the disk does not answer."""
        return parse_rows(self._disk.read(lambda store: store.reviews(after)) or ())

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

    def _read(self, found: Waiting, marks: dict[int, Mark]) -> OutboxRow | None:
        """Return a row of the disk as a channel sees it; one without an event is a dead letter."""
        row, part, picture, queued, attempts, line = found
        try:
            event = Event.from_json(line)
            queued_at = datetime.fromisoformat(queued)
        except ValueError as error:
            self.dead_letter(row, f"there is no event in it ({error})")
            return None
        since = self._memory.since(row)
        if since is not None:
            age_s = self._clock.monotonic() - since
        else:
            age_s = (self._clock.wall() - queued_at).total_seconds()
            if age_s < 0:  # the clock starts behind an earlier run's: it has waited since this one began at least
                age_s = self._clock.monotonic() - self._began
        attempts += marks.get(row, Mark()).tries
        return OutboxRow(row, event, part, None if picture is None else Path(picture), max(age_s, 0.0), attempts)

    def _notify(self) -> None:
        self.changes += 1
        for call in self._listeners:
            call()


# The journal's way to the disk: opened when it can be, mended where that helps, and never waited for long.


TRIM_EVENTS = 5_000  # at most at a time
AT_ONCE = 100  # events in one transaction
TRIES = 4  # the ballast given up, a moved or a damaged file opened again, and once more
START_S = 30.0  # what is damaged is mended first; an alarm whose disk hangs starts all the same
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux

T = TypeVar("T")


class Disk:
    """Writes down what is in ``memory``; what fails is kept there. Nothing raises for a disk that is broken.

    After ``SOON_S`` seconds a call goes on without the disk; one that takes ``PATIENCE_S`` seconds is a problem.
    """

    def __init__(self, folder: Path, memory: Memory, routes: Sequence[Route], run: EventFactory, clock: Clock) -> None:
        self.folder = folder
        self.replaced: str | None = None  # that a damaged journal was quarantined; shown until the next beat
        self.reserve = True  # the ballast is there
        self._memory = memory
        self.routes = routes
        self._run = run
        self._clock = clock
        self._ballast = Ballast(folder, BALLAST_BYTES, ROOM_BYTES)
        self._gate = DeadlineExecutor()
        self._trouble: str | None = None
        self._late = False  # a call was not waited for, and that is logged
        self._store: Store | None = None
        self._stale = False  # the store could not be written: good for reading until it is opened again
        self._suspect: str | None = None  # what is known to be wrong with the file
        self._closed = False
        self._began_at = clock.wall(), clock.monotonic()
        self._facts: dict[str, object] = {
            "started_at": utc_text(self._began_at[0]),
            "machine_boot": _machine_boot(),
            "version": __version__,
            "clock_synced": clock.synced(),
            "clock_how": clock.how,
        }
        self._facts_written = False
        self._tests_deleted = False

    @property
    def trouble(self) -> str | None:
        """Return why events are in memory only; None: they are on the disk, or soon will be."""
        if self._gate.busy_s >= PATIENCE_S:
            return f"{self.folder}: the disk has not answered for {PATIENCE_S:.0f} s"
        return self._trouble

    def start(self) -> None:
        """Open the journal and write down that the run lives; what hangs is left behind after half a minute."""
        self._asked(lambda: self._write(beat=True), START_S, "beat")

    def write(self) -> bool:
        """Bring all that is in memory to the disk, oldest first; return whether there were events.

        When it fails, or a call hangs in the disk, what is in memory is given out from there.
        """
        return bool(self._asked(self._write, SOON_S, "write"))

    def beat(self) -> None:
        """Write all, and that the run lives; remove what is old, and make the ballast again."""
        self._asked(lambda: self._write(beat=True), PATIENCE_S, "beat")

    def _asked(self, work: Callable[[], T], within_s: float, name: str | None = None) -> T | None:
        """Do work in the disk's thread; when it hangs return None, and deliver from memory."""
        try:
            return self._gate(work, within_s, name)
        except DeadlineError:
            self._memory.show()
            if not self._late:
                self._late = True
                log.warning("%s: the disk does not answer; what comes goes on from memory until it does", self.folder)
            return None

    def _write(self, *, beat: bool = False, ended: bool = False) -> bool:
        self._note(beat, ended)
        for _ in range(TRIES):
            try:
                events = self._write_all(self._ready())
                if beat:
                    self._tidy(self._ready())
            except DiskError as error:
                if not self._mended(error):
                    self._failed(str(error))
                    return False
            else:
                return events
        self._failed(f"{self.folder}: the journal cannot be mended")
        return False

    def read(self, ask: Callable[[Store], list[T]]) -> list[T] | None:
        """Return what the open journal answers; None while the disk does not answer."""

        def look() -> list[T]:
            if self._store is None:
                return []
            try:
                return ask(self._store)
            except DiskError as error:
                self._mended(error)  # with the next thing that is written
                self._failed(str(error))
                return []

        return self._asked(look, SOON_S)

    def examine(self) -> str | None:
        """Check every page and index beside the running alarm, and replace a damaged journal; return what is wrong."""
        found = check_whole(self.folder)
        if found and not self._closed:
            self._suspect = found
            self.beat()
        return found

    def close(self) -> None:
        """End the run."""

        def end() -> None:
            self._write(beat=True, ended=True)
            if self._store:
                self._store.close()
                self._store = None

        if self._closed:
            return
        self._closed = True  # a check that ends later touches nothing
        self._asked(end, PATIENCE_S, "end")
        self._gate.close()

    def _note(self, beat: bool, ended: bool) -> None:
        now = utc_text(self._clock.wall())
        if "synced_at" not in self._facts and self._clock.synced():
            wall, monotonic = self._clock.wall(), self._clock.monotonic()
            jump_s = (wall - self._began_at[0]).total_seconds() - (monotonic - self._began_at[1])
            self._facts |= {"clock_synced": True, "clock_how": self._clock.how, "synced_at": now, "offset_s": jump_s}
            self._facts_written = False
        if beat or "alive_at" not in self._facts:
            self._facts["alive_at"] = now
            self._facts_written = False
        if ended:
            self._facts["ended_at"] = now

    def _ready(self) -> Store:
        """Return the open journal. Raises DiskError."""
        if self._store and not (self._stale or self._suspect or self._store.moved):
            return self._store
        # Closed first: at its end SQLite removes the log beside a file of this name.
        if self._store:
            self._store.close()
            self._store = None
        self._facts_written = False
        self._store, replaced = open_store(self.folder, self.routes, self._clock.wall(), self._suspect)
        self.replaced = replaced or self.replaced
        self._stale, self._suspect = False, None
        return self._store

    def _write_all(self, store: Store) -> bool:
        """Write everything in memory, in its order; return whether there were events. Raises DiskError."""
        events = False
        # A disk that refused is tried with little, or every event would cost what all those in memory cost.
        while any(what := self._memory.unwritten(1 if self._trouble else AT_ONCE)) or not self._facts_written:
            with store.writing():
                lie = store.put(*what)
                if not self._facts_written:
                    store.run(self._run.id, **self._facts)
                if not self._tests_deleted:
                    store.delete_tests()
            self._facts_written = self._tests_deleted = True
            self._memory.written(*what, lie)
            events |= bool(what[0])
            self._well()
        return events

    def _tidy(self, store: Store) -> None:
        if store.surplus(KEEP_EVENTS) > KEEP_EVENTS // 100:
            with store.writing():
                store.trim(KEEP_EVENTS, TRIM_EVENTS)
        self.reserve = self._ballast.top_up()

    def _mended(self, error: DiskError) -> bool:
        """Return whether something was done that makes another try worth while."""
        if error.fault == "full" or (error.fault == "broken" and self._ballast.full):
            self.reserve = False
            return self._ballast.release()
        if error.fault == "damaged":
            self._suspect = str(error.__cause__)
            return True
        self._stale |= error.fault == "broken"
        return False

    def _failed(self, why: str) -> None:
        self._memory.show()
        if self._trouble is None:
            log.warning("%s; events are kept in memory only until it is better", why)
        self._trouble = why

    def _well(self) -> None:
        if self._trouble is not None or self._late:
            log.warning("%s: the journal is written again", self.folder)
        self._trouble, self._late = None, False


def _machine_boot() -> str | None:
    """Return what distinguishes one start of the machine from the next, where the system has such a thing."""
    with suppress(OSError):
        return MACHINE_BOOT.read_text().strip()
    return None


# A file that is only there to be given up: on a full disk it makes room for the alarms that still come.


BALLAST_BYTES = 1 << 20  # some hundred alarms
ROOM_BYTES = 8 << 20  # so much must be free before it is made again, so that it does not itself fill the disk
FULL_BYTES = 256 << 10  # less than this free counts as full
BLOCK_BYTES = 4 << 10


class Ballast:
    """``folder/ballast``, with its blocks really taken; nothing here raises for a disk that is full or broken."""

    def __init__(self, folder: Path, size: int, room: int) -> None:
        self.path = folder / "ballast"
        self.size = size  # bytes
        self.room = room  # bytes

    @property
    def free(self) -> int | None:
        """Return the bytes free on its disk; None when that cannot be asked."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return None

    @property
    def full(self) -> bool:
        """Return True when the disk is as good as full."""
        return (self.free or 0) < min(FULL_BYTES, self.room)

    @property
    def kept(self) -> bool:
        """Return True when it is there, whole."""
        try:
            return self.path.stat().st_size >= self.size
        except OSError:
            return False

    def release(self) -> bool:
        """Give it up; return whether that made room."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.warning(
            "%s: the disk is full; the last %d kB kept for this are used now", self.path.parent, self.size >> 10
        )
        return True

    def top_up(self) -> bool:
        """Make it where it is missing and there is room; return whether it is there now. Writes nothing if it was."""
        if self.kept:
            return True
        if (self.free or 0) < self.room + self.size:
            return False
        beside = self.path.with_suffix(".part")
        try:
            with beside.open("wb") as file:
                for _ in range(0, self.size, BLOCK_BYTES):  # random, for some file systems do not store zeros
                    file.write(os.urandom(BLOCK_BYTES))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            hand_over(self.path)
        except OSError as error:
            log.debug("%s: cannot be made (%s)", self.path, error.strerror)
            beside.unlink(missing_ok=True)
            return False
        return True
