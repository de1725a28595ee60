"""When the alarm may make a noise, in words: 'mon-fri 20:00-06:00; sat,sun 0-24'.

Days are mon to sun, a range of them, several with commas, or daily (also when left out). Times are of the
device's own time zone, 0 to 24 o'clock, with minutes or without. A time over midnight belongs to the day on
which it begins: 'fri 20-6' goes on until six on Saturday.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from edge.errors import OptionError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_MIN = 24 * 60
EXAMPLE = "such as 'mon-fri 20:00-06:00' or 'daily 22-5', several with ';' between"

_TIME = re.compile(r"(?:(?P<days>[a-z][a-z,\s-]*?)\s+)?(?P<start>[\d:]+)\s*-\s*(?P<end>[\d:]+)")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?")


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day on some days of the week."""

    days: frozenset[int]  # on which it begins; 0 is Monday
    start_min: int  # minutes after midnight, 0 to 1439
    end_min: int  # 1 to 1440, not itself within; below the start where it goes over midnight

    def holds(self, day: int, minute: int) -> bool:
        """Return True if a minute (0 to 1439) of a day (0 is Monday) lies in it."""
        if self.start_min < self.end_min:
            return day in self.days and self.start_min <= minute < self.end_min
        evening = day in self.days and minute >= self.start_min
        morning = (day - 1) % 7 in self.days and minute < self.end_min
        return evening or morning


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times in which the alarm may make a noise."""

    words: str
    windows: tuple[Window, ...]

    def holds(self, wall: datetime) -> bool:
        """Return True if a moment (with its time zone, as ``Frame.wall``) lies in the schedule, in local time."""
        local = wall.astimezone()
        return any(window.holds(local.weekday(), local.hour * 60 + local.minute) for window in self.windows)

    def begins(self, wall: datetime) -> datetime:
        """Return when it begins next after a moment (with its time zone), in local time."""
        local = wall.astimezone()
        return min(
            begin
            for window in self.windows
            for day in (local.date() + timedelta(days=ahead) for ahead in range(8))
            for begin in [datetime.combine(day, time(*divmod(window.start_min, 60))).astimezone()]
            if day.weekday() in window.days and begin > local
        )


def parse_schedule(words: str, option: str = "--schedule") -> Schedule:
    """Return the schedule that words describe. Raises OptionError that names ``option``."""
    parts = [" ".join(part.lower().split()) for part in words.split(";") if part.strip()]
    if not parts:
        raise OptionError(f"{option} is empty; give times, {EXAMPLE}")
    return Schedule("; ".join(parts), tuple(_window(part, option) for part in parts))


def _window(words: str, option: str) -> Window:
    match = _TIME.fullmatch(words)
    if not match:
        raise OptionError(f"{option}: {words!r} is no time of the week; write days and times, {EXAMPLE}")
    start, end = (_minutes(match[name], option) for name in ("start", "end"))
    if start == DAY_MIN:
        raise OptionError(f"{option}: {words!r} begins at 24, which is 0 of the next day; write that")
    if start == end:
        raise OptionError(f"{option}: {words!r} begins and ends at the same time; for the whole day write 0-24")
    return Window(_days(match["days"] or "daily", option), start, end or DAY_MIN)


def _minutes(clock: str, option: str) -> int:
    match = _CLOCK.fullmatch(clock)
    hour, minute = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
    if hour * 60 + minute > DAY_MIN or minute > 59:
        raise OptionError(f"{option}: {clock!r} is no time of day; write 20 or 20:30, at most 24:00")
    return hour * 60 + minute


def _days(words: str, option: str) -> frozenset[int]:
    if words == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in words.split(","):
        first, dash, last = (side.strip() for side in part.partition("-"))
        begin = _day(first, option)
        end = _day(last, option) if dash else begin
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _day(word: str, option: str) -> int:
    for number, (short, full) in enumerate(zip(DAYS, NAMES, strict=True)):
        if word in (short, full):
            return number
    raise OptionError(f"{option}: {word!r} is no day; days are {', '.join(DAYS)}, or daily")
