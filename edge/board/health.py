"""What is wrong with the machine, as parts for ``edge.status``: a sentence each while it is, None while all is well."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge.board import Reading
from edge.board.effort import COOLER_C, SHADE, SLOWED_WORDS, SUPPLY, WAS_HOT_WORDS, heat_words, hot_from, slower
from edge.settings import HealthSettings

Ask = Callable[[], str | None]
Read = Callable[[], Reading]

DIPS = 2  # readings with a low voltage: one alone is a lamp that was switched on
DIPS_S = 600.0  # within so long
DIP_LASTS_S = 120.0  # a voltage that dips now and then is one problem, and its dips are shorter than a reading's age
MEMORY_SHARE, MEMORY_MOST_MB = 0.08, 200.0  # less than that is left: the next program may end this one
BACK = 1.1  # so much better than the limit it must be again: a number that sways about it is one problem


def parts(
    read: Read,
    settings: HealthSettings,
    *,
    state: Path | None = None,
    share: Callable[[], float] = lambda: 1.0,
    crop_ms: Callable[[], float | None] = lambda: None,
) -> dict[str, Ask]:
    """Whom ``edge.status.Health`` is to ask of the machine, by the event's label.

    ``read``: the machine now (``Board.read``); ``share`` of the frame rate that is kept up; ``crop_ms``: what scoring
    one crop takes, lately.
    """

    def follows() -> str:
        return slower(share())

    return {
        "hot": Hot(read, settings.hot_c, follows),
        "undervolted": Undervolted(read, follows),
        "slow": Slow(crop_ms, settings.slow_ms),
        "memory": MemoryLow(read),
        "disk": DiskLow(read, settings.low_disk_mb, state),
        "storage": StorageFails(read, state),
    }


class Hot:
    """The processor is hot, or slowed down for another reason than its voltage.

    Until it is 5 °C below the limit and the frames are looked at again which that has cost.
    """

    def __init__(self, read: Read, hot_c: float, follows: Callable[[], str] = lambda: "") -> None:
        self.read = read
        self.hot_c = hot_c
        self.follows = follows
        self._is = False

    def __call__(self) -> str | None:
        """One sentence while it is hot."""
        reading = self.read()
        degrees = reading.temperature_c
        limit_c = hot_from(self.hot_c, reading) - (COOLER_C if self._is else 0.0)
        hot, follows = degrees is not None and degrees >= limit_c, self.follows()
        self._is = hot or (self._is and bool(follows))
        if hot and degrees is not None:
            return f"{heat_words(degrees)}{follows}; {SHADE}"
        if reading.throttled and not reading.undervolted:
            return f"{SLOWED_WORDS}{follows}; {SHADE}"
        return f"{WAS_HOT_WORDS}{follows}; {SHADE}" if self._is else None


class Undervolted:
    """The supply voltage is low, or dips again and again."""

    def __init__(self, read: Read, follows: Callable[[], str] = lambda: "") -> None:
        self.read = read
        self.follows = follows
        self._dips: deque[float] = deque(maxlen=200)  # when it was low, by the readings

    def __call__(self) -> str | None:
        """One sentence while it is low, and for two minutes after."""
        reading = self.read()
        if reading.undervolted and (not self._dips or reading.at > self._dips[-1]):
            self._dips.append(reading.at)
        while self._dips and reading.at - self._dips[0] > DIPS_S:
            self._dips.popleft()
        if len(self._dips) < DIPS or reading.at - self._dips[-1] > DIP_LASTS_S:
            return None
        how = "is too low" if reading.undervolted else "falls too low again and again"
        return f"the supply voltage {how}{self.follows()}; {SUPPLY}, or the machine may stop without a word"


class Slow:
    """Scoring takes so long that a bear is told late."""

    def __init__(self, crop_ms: Callable[[], float | None], slow_ms: float) -> None:
        self.crop_ms = crop_ms
        self.slow_ms = slow_ms
        self._is = False

    def __call__(self) -> str | None:
        """One sentence while it is slow."""
        took = self.crop_ms()
        self._is = took is not None and took > self.slow_ms / (BACK if self._is else 1.0)
        if not self._is:
            return None
        return (
            f"looking at one crop takes {took:.0f} ms, more than {self.slow_ms:.0f}, so a bear is told late; "
            "see what else runs here, or watch with fewer cameras"
        )


class MemoryLow:
    """There is hardly any memory left."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self._is = False

    def __call__(self) -> str | None:
        """One sentence while there is too little."""
        reading = self.read()
        free, whole = reading.memory_free_mb, reading.memory_mb
        if free is None or whole is None:
            self._is = False
            return None
        self._is = free < min(MEMORY_SHARE * whole, MEMORY_MOST_MB) * (BACK if self._is else 1.0)
        if not self._is:
            return None
        return (
            f"{free:.0f} of {whole:.0f} MB of memory are left, and the system may end this program; "
            "see what else runs here, or watch with fewer cameras"
        )


class DiskLow:
    """The disk that the events are kept on is nearly full, or takes nothing."""

    def __init__(self, read: Read, low_mb: float, state: Path | None = None) -> None:
        self.read = read
        self.low_mb = low_mb
        self.where = f"{state}: " if state else ""
        self._is = False

    def __call__(self) -> str | None:
        """One sentence while there is too little room."""
        reading = self.read()
        free = reading.disk_free_mb
        self._is = free is not None and free < self.low_mb * (BACK if self._is else 1.0)
        if reading.read_only:
            return f"{self.where}the disk is read-only, so nothing is kept; a card that fails does that: replace it"
        if not self._is:
            return None
        return (
            f"{self.where}{free:.0f} MB are free, fewer than {self.low_mb:.0f}; "
            "delete what is not needed, or give evidence a smaller quota"
        )


class StorageFails:
    """The disk that the events are kept on is failing: its file system finds more errors, or it says so itself."""

    def __init__(self, read: Read, state: Path | None = None) -> None:
        self.read = read
        self.where = f"{state}: " if state else ""
        self._first: int | None = None  # errors that were there when the alarm started

    def __call__(self) -> str | None:
        """One sentence from the first new error on."""
        reading = self.read()
        errors = reading.fs_errors
        if errors is not None:
            self._first = errors if self._first is None else min(self._first, errors)
            if errors > self._first:
                return (
                    f"{self.where}the file system has found {errors - self._first} new errors; "
                    "the card or disk may be failing: copy what matters and replace it"
                )
        if reading.worn:
            return f"{self.where}the memory chip says that it is nearly worn out; copy what matters and replace it"
        return None
