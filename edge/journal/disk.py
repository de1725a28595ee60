"""The journal's way to the disk: opened when it can be, mended where that helps, and never waited for without end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edge import __version__
from edge.journal.ballast import Ballast
from edge.journal.clock import Clock
from edge.journal.gate import Gate
from edge.journal.locks import Alive
from edge.journal.memory import Memory
from edge.journal.opening import check_whole, open_store
from edge.journal.store import DiskError, Found, Store
from edge.outbox import Route
from edge.run import Run
from edge.schema import utc_text

log = logging.getLogger(__name__)

TRIM_EVENTS = 5_000  # at most at a time
AT_ONCE = 100  # events in one transaction
TRIES = 4  # the ballast given up, a moved or a damaged file opened anew, and once more
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux


class Disk:
    """Writes down what is in ``memory``; what fails is kept there. Nothing raises for a disk that is broken."""

    def __init__(
        self,
        folder: Path,
        memory: Memory,
        routes: Sequence[Route],
        run: Run,
        clock: Clock,
        *,
        ballast: Ballast,
        keep: int,
        patience_s: float,
    ) -> None:
        self.folder = folder
        self.trouble: str | None = None  # why events are in memory only
        self.reserve = True  # the ballast is there
        self._memory = memory
        self._routes = routes
        self._run = run
        self._clock = clock
        self._ballast = ballast
        self._keep = keep  # events
        self._gate = Gate(patience_s)
        self._alive = Alive(folder, run.id)
        self._store: Store | None = None
        self._stale = False  # the store could not be written: good for reading until it is opened anew
        self._suspect: str | None = None  # what is known to be wrong with the file
        self._began_at = clock.wall(), clock.monotonic()
        self._facts: dict[str, object] = {
            "started_at": utc_text(self._began_at[0]),
            "machine_boot": _machine_boot(),
            "version": __version__,
            "clock_synced": clock.synced(),
            "clock_how": clock.how,
        }
        self._facts_written = False

    def write(self, *, beat: bool = False, ended: bool = False) -> bool:
        """Bring all that is in memory to the disk, oldest first; whether that were events.

        ``beat``: also that the run lives; what is old goes, and the ballast comes back. When it fails, or another call
        hangs in the disk, what is in memory is given out from there.
        """
        if not self._gate.enter():
            self._failed(f"{self.folder}: the disk has not answered for {self._gate.patience_s:.0f} s")
            return False
        try:
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
        finally:
            self._gate.leave()

    def waiting(self, channel: str, *, newest_first: bool, limit: int, settled: set[int]) -> list[Found] | None:
        """At most ``limit`` rows of a channel but those ``settled``; None: the disk does not answer now.

        Rows of other runs that live are theirs to deliver.
        """
        if not self._gate.enter():
            return None
        try:
            if self._store is None:
                return []
            return self._store.waiting(
                channel, newest_first=newest_first, limit=limit, besides=self._alive.others(), settled=settled
            )
        except DiskError as error:
            self._mended(error)  # with the next thing that is written
            self._failed(str(error))
            return []
        finally:
            self._gate.leave()

    def examine(self) -> str | None:
        """Check every page and index beside the running alarm; what is wrong, then mended as far as it goes."""
        found = check_whole(self.folder)
        if found:
            if self._gate.enter():
                self._suspect = found
                self._gate.leave()
            self.write(beat=True)
        return found

    def close(self) -> None:
        """The run is over."""
        self.write(beat=True, ended=True)
        if self._gate.enter():
            if self._store:
                self._store.close()
                self._store = None
            self._gate.leave()
        self._alive.close()

    def _note(self, beat: bool, ended: bool) -> None:
        """What is to be written of the run itself."""
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
        """The open journal. Raises DiskError."""
        if self._store and not (self._stale or self._suspect or self._store.moved):
            return self._store
        # Closed first: at its end SQLite removes the log beside a file of this name.
        if self._store:
            self._store.close()
            self._store = None
        self._facts_written = False
        self._store = open_store(self.folder, self._routes, self._clock.wall(), self._suspect)
        self._stale, self._suspect = False, None
        self._alive.say()
        return self._store

    def _write_all(self, store: Store) -> bool:
        """Everything in memory, in its order; whether that were events. Raises DiskError."""
        events = False
        # A disk that refused is tried with little, or every event would cost what all those in memory cost.
        while (what := self._memory.unwritten(1 if self.trouble else AT_ONCE)) or not self._facts_written:
            with store.writing():
                lie = store.put(what)
                if not self._facts_written:
                    store.run(self._run.id, **self._facts)
            self._facts_written = True
            self._memory.written(what, lie)
            events |= bool(what.entries)
            self._well()
        return events

    def _tidy(self, store: Store) -> None:
        """Old events go and the ballast comes back, where there is anything to do. Raises DiskError."""
        if store.surplus(self._keep) > self._keep // 100:
            with store.writing():
                store.trim(self._keep, TRIM_EVENTS)
        self.reserve = self._ballast.top_up()

    def _mended(self, error: DiskError) -> bool:
        """Whether something was done that makes another go worth while."""
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
        if self.trouble is None:
            log.warning("%s; events are kept in memory only until it is better", why)
        self.trouble = why

    def _well(self) -> None:
        if self.trouble is not None:
            log.warning("%s: the journal is written again", self.folder)
        self.trouble = None


def _machine_boot() -> str | None:
    """What tells one start of the machine from the next, where the system has such a thing."""
    with suppress(OSError):
        return MACHINE_BOOT.read_text().strip()
    return None
