"""The journal's way to the disk: opened when it can be, mended where that helps, and never waited for long."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edge.background import DeadlineError, DeadlineExecutor
from edge.record.ballast import Ballast
from edge.record.clock import Clock
from edge.record.database import DiskError, Found, Store
from edge.record.journal_repair import check_whole, open_store
from edge.record.memory_outbox import Memory
from edge.record.outbox import Route
from edge.run import EventFactory
from edge.schema import utc_text
from edge.version import __version__

log = logging.getLogger(__name__)

TRIM_EVENTS = 5_000  # at most at a time
AT_ONCE = 100  # events in one transaction
TRIES = 4  # the ballast given up, a moved or a damaged file opened again, and once more
START_S = 30.0  # what is damaged is mended first; an alarm whose disk hangs starts all the same
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux

T = TypeVar("T")


class Disk:
    """Writes down what is in ``memory``; what fails is kept there. Nothing raises for a disk that is broken.

    After ``soon_s`` seconds a call goes on without the disk; one that takes ``patience_s`` seconds is a problem.
    """

    def __init__(
        self,
        folder: Path,
        memory: Memory,
        routes: Sequence[Route],
        run: EventFactory,
        clock: Clock,
        *,
        ballast: Ballast,
        keep: int,
        soon_s: float,
        patience_s: float,
    ) -> None:
        self.folder = folder
        self.replaced: str | None = None  # that a damaged journal was quarantined; shown until the next beat
        self.reserve = True  # the ballast is there
        self._memory = memory
        self.routes = routes
        self._run = run
        self._clock = clock
        self._ballast = ballast
        self._keep = keep  # events
        self._soon_s = soon_s
        self._patience_s = patience_s
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
        if self._gate.busy_s >= self._patience_s:
            return f"{self.folder}: the disk has not answered for {self._patience_s:.0f} s"
        return self._trouble

    def start(self) -> None:
        """Open the journal and write down that the run lives; what hangs is left behind after half a minute."""
        self._asked(lambda: self._write(beat=True), START_S, "beat")

    def write(self) -> bool:
        """Bring all that is in memory to the disk, oldest first; return whether there were events.

        When it fails, or a call hangs in the disk, what is in memory is given out from there.
        """
        return bool(self._asked(self._write, self._soon_s, "write"))

    def beat(self) -> None:
        """Write all, and that the run lives; remove what is old, and make the ballast again."""
        self._asked(lambda: self._write(beat=True), self._patience_s, "beat")

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

    def waiting(self, channel: str, *, newest_first: bool, limit: int, settled: set[int]) -> list[Found] | None:
        """Return at most ``limit`` rows of a channel but those ``settled``; None: the disk does not answer now."""
        return self._read(lambda store: store.waiting(channel, newest_first=newest_first, limit=limit, settled=settled))

    def open_events(self) -> list[str] | None:
        """Return what goes on (``Store.open_events``); None while the disk does not answer."""
        return self._read(lambda store: store.open_events(self._run.id))

    def reviews(self, after: int) -> list[Any] | None:
        """Return the reviews after a row (``Store.reviews``); None while the disk does not answer."""
        return self._read(lambda store: store.reviews(after))

    def _read(self, ask: Callable[[Store], list[T]]) -> list[T] | None:
        def look() -> list[T]:
            if self._store is None:
                return []
            try:
                return ask(self._store)
            except DiskError as error:
                self._mended(error)  # with the next thing that is written
                self._failed(str(error))
                return []

        return self._asked(look, self._soon_s)

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
        self._asked(end, self._patience_s, "end")
        self._gate.close()

    def _note(self, beat: bool, ended: bool) -> None:
        """Note what is to be written of the run itself."""
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
        while (what := self._memory.unwritten(1 if self._trouble else AT_ONCE)) or not self._facts_written:
            with store.writing():
                lie = store.put(what)
                if not self._facts_written:
                    store.run(self._run.id, **self._facts)
                if not self._tests_deleted:
                    store.delete_tests()
            self._facts_written = self._tests_deleted = True
            self._memory.written(what, lie)
            events |= bool(what.entries)
            self._well()
        return events

    def _tidy(self, store: Store) -> None:
        """Remove old events and make the ballast again, where there is anything to do. Raises DiskError."""
        if store.surplus(self._keep) > self._keep // 100:
            with store.writing():
                store.trim(self._keep, TRIM_EVENTS)
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
