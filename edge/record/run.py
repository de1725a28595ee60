"""One run of the alarm: what all its events share, whether its clock is right, and the lock of its state folder."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.background import DeadlineError, DeadlineExecutor
from edge.errors import OptionError
from edge.files import hand_over, try_lock
from edge.record.database import make_folders
from edge.schema import Event, EventKind, EventType, utc_text

log = logging.getLogger(__name__)


class EventFactory:
    """Makes events with the run's id, their number in one order, and whether the clock is known to be right.

    ``clock_synced`` is asked for each event and must not wait. Safe to use from any thread.
    """

    def __init__(self, id_: str | None = None, clock_synced: Callable[[], bool | None] = lambda: None) -> None:
        self.id = id_ or uuid.uuid4().hex
        self.clock_synced = clock_synced
        self.began = time.monotonic()  # seconds
        self._numbers = itertools.count(1)

    def event(
        self, kind: EventKind, type_: EventType, id_: str, camera: str, wall: datetime | None = None, **more: Any
    ) -> Event:
        """Return the next event; ``wall`` defaults to now; ``more``: further fields of ``Event``."""
        return Event(
            kind=kind,
            type=type_,
            id=id_,
            seq=next(self._numbers),
            boot_id=self.id,
            camera=camera,
            captured_at=utc_text(wall or datetime.now(UTC)),
            clock_synced=self.clock_synced(),
            **more,
        )


# Whether this machine's clock is right, and how that is known: many boards have no clock that outlives the power.


ASKED_AGAIN_S = 1.0  # an event asks each time; the kernel is asked this often at most
STEP_S = 2.0  # the clocks go apart by so much from one look to the next: it was set
LOOKED_S = 0.2  # a look that took longer, on a machine that is too busy, shows nothing of that
UNKNOWN = "this system does not report whether its clock is right"
STA_UNSYNC = 0x40  # linux/timex.h: nothing has set the clock, or not for hours

Answer = tuple[bool | None, str]  # whether it is right, and how that is known in a few words


class Clock:
    """The machine's clocks: what people call the time, seconds that only go forward, and whether the first is right.

    ``ask`` returns whether it is right and how that is known; it is asked once a second at most and must not wait. A
    clock that was set while the system calls it wrong may be right from then on, seconds before the system reports it.
    """

    def __init__(
        self,
        ask: Callable[[], Answer] | None = None,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._ask = ask or _asker()
        self.wall = wall  # UTC
        self.monotonic = monotonic or _going_on  # seconds
        self._answer: Answer = (None, UNKNOWN)
        self._asked_at: float | None = None
        self._apart_s: float | None = None  # between the two clocks at the last look
        self._was_set = False

    def synced(self) -> bool | None:
        """Return whether the clock is right; None: not known. Fit for ``EventFactory(clock_synced=…)``."""
        now = self.monotonic()
        apart_s = self.wall().timestamp() - now
        if self.monotonic() - now < LOOKED_S:
            if self._apart_s is not None and abs(apart_s - self._apart_s) > STEP_S:
                self._was_set = True
            self._apart_s = apart_s
        if self._asked_at is None or now - self._asked_at >= ASKED_AGAIN_S:
            self._answer, self._asked_at = self._ask(), now
        # An event of then must not be corrected by what the clock was set by: it has the new time already.
        return None if self._was_set and self._answer[0] is False else self._answer[0]

    @property
    def how(self) -> str:
        """Return in a few words how the last answer is known."""
        return self._answer[1]


def _going_on() -> float:
    """Return seconds that also count while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _asker() -> Callable[[], Answer]:
    """Return the question for this system: adjtimex on Linux, which every user may call; others do not report it."""
    if sys.platform != "linux":
        return lambda: (None, UNKNOWN)
    import ctypes

    class Timex(ctypes.Structure):
        """``struct timex`` up to its status, of 64-bit Linux."""

        _fields_ = (
            ("modes", ctypes.c_uint),  # 0: read only
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),  # microseconds
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    try:
        adjtimex: Any = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return lambda: (None, UNKNOWN)

    def ask() -> Answer:
        now = Timex()
        if adjtimex(ctypes.byref(now)) < 0:
            return None, f"adjtimex is refused ({os.strerror(ctypes.get_errno())})"
        if now.status & STA_UNSYNC:
            return False, "adjtimex: nothing keeps the clock"
        return True, f"adjtimex: right within {now.maxerror / 1e6:.1f} s"

    return ask


# The lock of the one alarm that watches with a state folder; a command beside it needs none.


LOCK = "watch.lock"
LOCK_S = 2.0  # an alarm that is just ending releases it within this time
LOCK_DISK_S = 5.0  # how long the disk may take


class RunLock:
    """Keeps a second alarm off the state folder, and shows other commands which run watches.

    The system releases it when the process ends, however it ends.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / LOCK
        self._run = run
        self._file: int | None = None
        self._closed = False
        self._holding = threading.Lock()  # a disk that hung may answer when the lock is closed

    def take(self, within_s: float = LOCK_S) -> bool:
        """Return False when another alarm has it all this time. Raises OSError where nothing can be locked."""
        make_folders(self.path.parent)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            hand_over(self.path)
            until = time.monotonic() + within_s
            while not (taken := try_lock(file)) and time.monotonic() < until:
                time.sleep(0.05)
            if taken:
                os.ftruncate(file, 0)
                os.write(file, self._run.encode())
            with self._holding:
                if taken and not self._closed:
                    self._file, file = file, -1
            return taken
        finally:
            if file >= 0:
                os.close(file)

    def close(self) -> None:
        """Let another alarm have it; a call that still hangs in the disk will not hold it either."""
        with self._holding:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None


def keep_alone(folder: Path, run: str) -> RunLock:
    """Take the lock of a state folder for an alarm. Raises OptionError while another alarm has it.

    On a disk that takes no lock, or hangs, the alarm goes on without.
    """
    lock, disk = RunLock(folder, run), DeadlineExecutor()
    try:
        if not disk(lock.take, LOCK_DISK_S):
            raise OptionError(f"{folder}: another alarm uses this state folder; stop it, or name another --state")
    except (DeadlineError, OSError) as error:
        why = getattr(error, "strerror", None) or "the disk does not answer"
        log.warning("%s cannot be locked (%s): a second alarm there would send everything twice", lock.path, why)
    finally:
        disk.close()
    return lock


def watching_run(folder: Path) -> str | None:
    """Return the id of the run that watches with this state folder; None: there is none, or it cannot be asked."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if try_lock(file, shared=True) else os.read(file, 100).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(file)
