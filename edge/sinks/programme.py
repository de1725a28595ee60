"""Which noises to drive a bear off with, and when: chosen anew each time, for bears learn one sound."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.decide.schedule import Schedule
from edge.errors import OptionError

HOUR_S = 3600.0

Flash = tuple[float, float]  # seconds a lamp is on and off in turn; off 0: on all the time

# None faster than three times a second: that can bring on a seizure.
FLASHES: tuple[Flash, ...] = ((1.0, 0.0), (1.0, 0.5), (0.4, 0.4), (0.2, 0.2))


@dataclass(frozen=True, slots=True)
class Step:
    """One noise of a programme."""

    sound: str  # its name
    seconds: float
    pause_s: float  # silence after it, with the lamps off
    flash: Flash


@dataclass(frozen=True, slots=True)
class Programme:
    """What is done at one alarm."""

    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """From the first noise to the end of the last pause."""
        return sum(step.seconds + step.pause_s for step in self.steps)


@dataclass(frozen=True)
class Limits:
    """How much noise may be made."""

    hours: Schedule | None = None  # when it may begin, in local time; None: always
    hourly_s: float = 300.0  # of programmes in any hour
    rest_s: float = 60.0  # at least, from the end of one to the next
    longest_s: float = 45.0  # of one programme
    sound_s: tuple[float, float] = (2.0, 8.0)  # one noise
    pause_s: tuple[float, float] = (0.3, 4.0)

    def __post_init__(self) -> None:
        """Raises OptionError for what no programme fits in."""
        values = self.hourly_s, self.rest_s, self.longest_s, *self.sound_s, *self.pause_s
        if not all(math.isfinite(value) and value >= 0.0 for value in values):
            raise OptionError(f"the deterrent's times {values} must be seconds, not below 0")
        if not (0.0 < self.sound_s[0] <= self.sound_s[1] and self.pause_s[0] <= self.pause_s[1]):
            raise OptionError(f"the deterrent's noises {self.sound_s} and pauses {self.pause_s} go from short to long")
        if min(self.longest_s, self.hourly_s) < self.least_s:
            raise OptionError(
                f"the deterrent's {self.longest_s:g} s at once and {self.hourly_s:g} s an hour "
                f"leave no room for one noise of {self.least_s:g} s; allow more"
            )

    @property
    def least_s(self) -> float:
        """The shortest programme: one short noise and pause."""
        return self.sound_s[0] + self.pause_s[0]


class Planner:
    """Chooses a programme at each alarm, or says why there is none: the hours, the rest, the budget of an hour.

    No sound comes twice running, neither within a programme nor from one to the next, where there are two or more;
    no programme is that of the time before. ``now`` is a clock in seconds that only goes forward. The same seed makes
    the same choices. Raises OptionError without sounds.
    """

    def __init__(self, sounds: Sequence[str], limits: Limits, *, seed: int | None = None) -> None:
        self.sounds = tuple(dict.fromkeys(sounds))
        if not self.sounds:
            raise OptionError("the deterrent has no sounds; name a folder with WAV files, or leave the folder out")
        self.limits = limits
        self._chance = random.Random(seed)
        self._last: Programme | None = None
        self._spent: deque[tuple[float, float]] = deque()  # (begin, end) of each programme, oldest first

    def __call__(self, now: float, wall: datetime) -> Programme | str:
        """The programme to begin at once, or why there is none; ``wall`` with its time zone."""
        room_s = self._room_s(now, wall)
        if isinstance(room_s, str):
            return room_s
        programme = self._choose(room_s)
        while programme == self._last:
            programme = self._choose(room_s)
        self._last = programme
        self._spent.append((now, now + programme.seconds))
        return programme

    def ended(self, now: float) -> None:
        """The programme is over: what it did not use is still there, and the rest begins."""
        if self._spent:
            begin, _ = self._spent.pop()
            self._spent.append((begin, max(begin, now)))

    def _room_s(self, now: float, wall: datetime) -> float | str:
        """How long a programme may be now, in seconds."""
        limits = self.limits
        if limits.hours and not limits.hours.holds(wall):
            return f"outside the deterrent's hours ({limits.hours.words})"
        if self._spent and now < self._spent[-1][1] + limits.rest_s:
            return f"resting for another {self._spent[-1][1] + limits.rest_s - now:.0f} s"
        while len(self._spent) > 1 and self._spent[0][1] <= now - HOUR_S:
            self._spent.popleft()
        spent_s = sum(max(0.0, end - max(begin, now - HOUR_S)) for begin, end in self._spent)
        room_s = min(limits.longest_s, limits.hourly_s - spent_s)
        if room_s < limits.least_s:
            return f"the {limits.hourly_s / 60:g} minutes of noise an hour are used up"
        return room_s

    def _choose(self, room_s: float) -> Programme:
        limits = self.limits
        length_s = min(room_s, self._chance.uniform(0.4, 1.0) * limits.longest_s)
        steps: list[Step] = []
        while not steps or length_s >= limits.least_s:
            steps.append(self._step(steps, min(room_s, max(length_s, limits.least_s))))
            length_s -= steps[-1].seconds + steps[-1].pause_s
            room_s -= steps[-1].seconds + steps[-1].pause_s
        return Programme(tuple(steps))

    def _step(self, before: list[Step], room_s: float) -> Step:
        """One noise and its pause, of no more than ``room_s`` seconds together."""
        limits = self.limits
        seconds = min(self._chance.uniform(*limits.sound_s), room_s - limits.pause_s[0])
        pause_s = min(self._chance.uniform(*limits.pause_s), room_s - seconds)
        last = before or (self._last.steps if self._last else ())
        fresh = [sound for sound in self.sounds if not last or sound != last[-1].sound]
        sound = self._chance.choice(fresh or self.sounds)
        return Step(sound, seconds, pause_s, self._chance.choice(FLASHES))
