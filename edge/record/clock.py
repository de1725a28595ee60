"""Whether this machine's clock is right, and how that is known: many boards have no clock that outlives the power."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

ASKED_AGAIN_S = 1.0  # an event asks each time; the kernel is asked this often at most
STEP_S = 2.0  # the clocks go apart by so much from one look to the next: it was set
LOOKED_S = 0.2  # a look that took longer, on a machine that is too busy, shows nothing of that
UNKNOWN = "this system does not say whether its clock is right"
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
