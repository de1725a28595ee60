"""Heat, low voltage, a full or failing disk: fewer frames, and a sentence for ``edge.status``.

A Raspberry Pi's firmware slows the processor from 80 °C on, hard from 85 °C on, and at low voltage; what it then cannot
do in time it would do late. Half as many frames are half the work, and a bear takes seconds, not frames. A PC's
processor works at 80 °C and more all day and slows itself down at what its sensor calls critical, mostly 100 °C: there
it is hot no sooner than 5 °C below that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from edge.device.sensors import Reading
from edge.settings import HealthSettings

Ask = Callable[[], str | None]
Read = Callable[[], Reading]
Cause = Literal["heat", "voltage", "slowed"]

# Shares of the frame rate.
WHOLE, HALF, QUARTER = 1.0, 0.5, 0.25
VERY_HOT_C = 5.0  # so much hotter than hot
COOLER_C = 5.0  # so much below a limit it must be again
CALM_S = 60.0  # and for so long, before one step more is looked at
CALM_MAX_S = 3600.0  # doubled up to this for each time it was too much again
TOO_MUCH_WITHIN_S = 3600.0  # of the step
SURE_S = 4.0  # within so long a sure bear alarms at the slowest rate
RATES = (0.25, 0.5, 1.0, 1.5, 2.0)  # frames a second, tried from the slowest

DIPS = 2  # readings with a low voltage: one alone is a lamp that was switched on
DIPS_WITHIN_S = 600.0
DIP_LASTS_S = 120.0  # a voltage that dips now and then is one problem, and its dips are shorter than a reading's age
MIN_MEMORY_SHARE, MIN_MEMORY_MB = 0.08, 200.0  # less than the smaller is left: the next program may end this one
BACK_FACTOR = 1.1  # so much better than the limit it must be again: a number that sways about it is one problem

SHADE = "give it shade or a heat sink"
SUPPLY = "use a stronger power supply and a short, thick cable"
WAS_HOT_WORDS = "the processor was too hot a moment ago"
SLOWED_WORDS = "the processor is slowed down by its own system"


class ThermalThrottle:
    """Turns readings into the share of the frame rate to keep up: 1, a half or a quarter. Call it every few seconds.

    Hot (from ``hot_c``, °C) or undervolted: a half; very hot (5 °C more) or throttled: a quarter, both at once. Up it
    goes one step at a time, each after a minute in which it was 5 °C below the limit: twice as long, up to an hour, for
    each time that such a step was too much, or a board in the sun would go up and down all day.
    """

    def __init__(self, hot_c: float = HealthSettings.hot_c) -> None:
        self.hot_c = hot_c
        self.share = WHOLE
        self._calm_since: float | None = None
        self._calm_s = CALM_S
        self._rose_at: float | None = None
        self._reading = Reading()
        self._cause: Cause | None = None

    def __call__(self, reading: Reading, now: float) -> float:
        """Return the share at ``now``, in seconds of a clock that only goes forward."""
        self._reading = reading
        wanted = self._allowed(reading)
        if wanted < self.share:
            self.share, self._calm_since = wanted, None
            again = self._rose_at is not None and now - self._rose_at < TOO_MUCH_WITHIN_S
            self._calm_s = min(2.0 * self._calm_s, CALM_MAX_S) if again else CALM_S
            self._rose_at = None
        elif self._allowed(reading, COOLER_C) <= self.share:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= self._calm_s:
            self.share, self._calm_since, self._rose_at = min(WHOLE, 2.0 * self.share), None, now
            if self._allowed(reading, COOLER_C) > self.share:
                self._calm_since = now
        if wanted <= self.share:  # what holds it there now, not what once did
            self._cause = self._because(reading)
        return self.share

    @property
    def why(self) -> str | None:
        """Return why not every frame is looked at; None: all are."""
        if self.share >= WHOLE or not self._cause:
            return None
        degrees, now = self._reading.temperature_c, self._because(self._reading)
        words = {
            "heat": heat_words(degrees or 0.0) if now else WAS_HOT_WORDS,
            "voltage": f"the supply voltage {'is too low' if now else 'was too low a moment ago'}",
            "slowed": SLOWED_WORDS if now else "the processor was slowed down a moment ago",
        }
        cause = now or self._cause
        advice = SUPPLY if cause == "voltage" else SHADE
        return f"{words[cause]}{slower(self.share)}; {advice}"

    def _allowed(self, reading: Reading, margin_c: float = 0.0) -> float:
        """Return the share that a reading allows; ``margin_c``: so much cooler than the limits."""
        degrees = -273.0 if reading.temperature_c is None else reading.temperature_c + margin_c
        hot_c = hot_from(self.hot_c, reading)
        if reading.throttled or degrees >= hot_c + VERY_HOT_C:
            return QUARTER
        return HALF if reading.undervolted or degrees >= hot_c else WHOLE

    def _because(self, reading: Reading) -> Cause | None:
        if reading.temperature_c is not None and reading.temperature_c >= hot_from(self.hot_c, reading):
            return "heat"
        if reading.undervolted:
            return "voltage"
        return "slowed" if reading.throttled else None


def heat_words(temperature_c: float) -> str:
    """Return the temperature in words."""
    return f"the processor has {temperature_c:.0f} °C"


def hot_from(hot_c: float, reading: Reading) -> float:
    """Return from which temperature on this processor is hot, °C; ``hot_c``: as it is set."""
    return hot_c if reading.critical_c is None else max(hot_c, reading.critical_c - VERY_HOT_C)


def slower(share: float) -> str:
    """Return the effect on the frames, as the middle of a sentence; empty where there is none."""
    if share >= WHOLE:
        return ""
    return f", so {'half' if share >= HALF else 'a quarter'} of the frames are looked at"


def slowest_fps(frames_needed: Callable[[float], int | None]) -> float:
    """Return the slowest frames a second at which a sure bear still alarms within ``SURE_S``.

    ``frames_needed``: ``edge.decide.evidence.Rule.frames_needed`` of the rule in use.
    """
    for fps in RATES:
        frames = frames_needed(1.0 / fps)
        if frames is not None and (frames - 1) / fps <= SURE_S:
            return fps
    return 2.5  # frames 0.4 s apart count in full: no rule is made with which a sure bear would take longer


def parts(
    read: Read,
    settings: HealthSettings,
    *,
    state: Path | None = None,
    share: Callable[[], float] = lambda: 1.0,
    crop_ms: Callable[[], float | None] = lambda: None,
) -> dict[str, Ask]:
    """List what ``edge.status.Health`` is to ask of the machine, by the event's label: a sentence, or None while well.

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

    Until it is 5 °C below the limit, and every frame is looked at again.
    """

    def __init__(self, read: Read, hot_c: float, follows: Callable[[], str] = lambda: "") -> None:
        self.read = read
        self.hot_c = hot_c
        self.follows = follows
        self._is = False

    def __call__(self) -> str | None:
        """Return one sentence while it is hot."""
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
        """Return one sentence while it is low, and for two minutes after."""
        reading = self.read()
        if reading.undervolted and (not self._dips or reading.at > self._dips[-1]):
            self._dips.append(reading.at)
        while self._dips and reading.at - self._dips[0] > DIPS_WITHIN_S:
            self._dips.popleft()
        if len(self._dips) < DIPS or reading.at - self._dips[-1] > DIP_LASTS_S:
            return None
        how = "is too low" if reading.undervolted else "falls too low again and again"
        return f"the supply voltage {how}{self.follows()}; {SUPPLY}, or the machine may stop without a word"


class Slow:
    """Scoring takes so long that an alarm comes late."""

    def __init__(self, crop_ms: Callable[[], float | None], slow_ms: float) -> None:
        self.crop_ms = crop_ms
        self.slow_ms = slow_ms
        self._is = False

    def __call__(self) -> str | None:
        """Return one sentence while it is slow."""
        took = self.crop_ms()
        self._is = took is not None and took > self.slow_ms / (BACK_FACTOR if self._is else 1.0)
        if not self._is:
            return None
        return (
            f"looking at one crop takes {took:.0f} ms, more than {self.slow_ms:.0f}, so an alarm comes late; "
            "see what else runs here, or watch with fewer cameras"
        )


class MemoryLow:
    """There is hardly any memory left."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self._is = False

    def __call__(self) -> str | None:
        """Return one sentence while there is too little."""
        reading = self.read()
        free, whole = reading.memory_free_mb, reading.memory_mb
        if free is None or whole is None:
            self._is = False
            return None
        self._is = free < min(MIN_MEMORY_SHARE * whole, MIN_MEMORY_MB) * (BACK_FACTOR if self._is else 1.0)
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
        """Return one sentence while there is too little room."""
        reading = self.read()
        free = reading.disk_free_mb
        self._is = free is not None and free < self.low_mb * (BACK_FACTOR if self._is else 1.0)
        if reading.read_only:
            return f"{self.where}the disk is read-only, so nothing is kept; a card that fails does that: replace it"
        if not self._is:
            return None
        return (
            f"{self.where}{free:.0f} MB are free, fewer than {self.low_mb:.0f}; "
            "delete what is not needed, or give evidence a smaller quota"
        )


class StorageFails:
    """The disk that the events are kept on is failing: its file system finds more errors, or it reports so itself."""

    def __init__(self, read: Read, state: Path | None = None) -> None:
        self.read = read
        self.where = f"{state}: " if state else ""
        self._first: int | None = None  # errors that were there when the alarm started

    def __call__(self) -> str | None:
        """Return one sentence from the first new error on."""
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
