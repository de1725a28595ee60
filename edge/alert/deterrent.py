"""``--deterrent``: changing noises and flashing lamps that drive a bear off, off unless somebody asks for them."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edge.alert.sound import is_path
from edge.background import StoppableThread
from edge.decide.schedule import Schedule
from edge.errors import OptionError, UnavailableError
from edge.schema import Event

# Which noises to drive a bear off with, and when: chosen anew each time, for bears learn one sound.


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


log = logging.getLogger(__name__)

BUILT_IN = ("siren", "horn", "barks", "shouts", "bangs")
SWITCHED_ON = "on"  # the word for the sounds of our own
MOST_FILES = 40
TIDY_S = 0.3  # what may be waited for a programme whose noises are silent already
BEGUN_S = 5.0  # the first noise has begun or failed by then


class Noise(Protocol):
    """What makes one sound: ``edge.alert.sound.Sound``."""

    def start(self, seconds: float) -> None:
        """Sound for so long; returns once it does."""

    def stop(self) -> None:
        """Be silent, now."""

    def close(self) -> None:
        """Silent for good, within a moment."""


class Lamp(Protocol):
    """What flashes: ``edge.alert.gpio.Gpio``."""

    def start(self, seconds: float, pulse: Flash | None = None) -> None:
        """Be on, or flash, for so long; returns at once."""

    def stop(self) -> None:
        """Off, now."""

    def close(self) -> None:
        """Dark for good, within a moment."""


class DeterrentError(RuntimeError):
    """It made no noise, or not all of it."""


class Deterrent:
    """At each ``wanted`` event, by default alarms, one programme of ``noises`` and ``lamps``, another each time.

    An alarm while it goes on changes nothing. It ends when the last of the bears that it began for is gone. A call
    returns once the first noise sounds, and raises DeterrentError when that fails, or when the limits forbid a test.
    ``clock`` is monotonic, in seconds; ``wall`` the time of day with its zone.
    """

    def __init__(
        self,
        noises: Mapping[str, Noise],
        lamps: Sequence[Lamp] = (),
        limits: Limits | None = None,
        *,
        seed: int | None = None,
        wanted: Callable[[Event], bool] = lambda event: event.alarms,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.noises = dict(noises)
        self.lamps = list(lamps)
        self.planner = Planner(tuple(noises), limits or Limits(), seed=seed)
        self.problem: str | None = None  # what failed last in a programme; None: nothing did, or none was tried
        self.played: Programme | None = None  # the last one
        self._begins = wanted
        self._clock = clock
        self._wall = wall
        self._bears: set[str] = set()  # ids of the events it goes on for
        self._stint = StoppableThread(self._play, "the deterrent")
        self._begun = threading.Event()

    def wanted(self, event: Event) -> bool:
        """Whether a programme may begin with this event, or end with it."""
        return event.type == "end" or self._begins(event)

    def __call__(self, event: Event) -> None:
        """Begin a programme, go on with it, or end it when the bear is gone."""
        if event.type == "end":
            self._gone(event.id)
        elif self._begins(event):
            self._start(event)

    def close(self) -> None:
        """Silence and darkness for good, within a moment; from any thread and as often as you like."""
        self._stint.close()
        for part in (*self.noises.values(), *self.lamps):
            try:
                part.close()
            except Exception as error:  # the others must be silenced all the same
                log.warning("the deterrent: %s", error or type(error).__name__)
        self._stint.stop(TIDY_S)

    def _start(self, event: Event) -> None:
        if self._stint.going:
            self._bears.add(event.id)
            return
        programme = self.planner(self._clock(), self._wall())
        if isinstance(programme, str):
            if event.kind == "test":
                raise DeterrentError(f"no deterrent: {programme}")
            log.info("no deterrent: %s", programme)
            return
        self._bears = {event.id}
        self.played, self.problem = programme, None
        self._begun.clear()
        self._stint.wait_unless_stopped(programme.seconds + BEGUN_S)
        if not self._begun.wait(BEGUN_S):
            raise DeterrentError("the deterrent has not begun")
        if self.problem:
            raise DeterrentError(self.problem)

    def _gone(self, id_: str) -> None:
        if id_ in self._bears:
            self._bears.discard(id_)
            if not self._bears and self._stint.going:
                log.info("the deterrent ends, for the bear is gone")
                self._stint.stop(2.0)  # the next alarm must not find it still ending

    def _play(self, stint: StoppableThread) -> None:
        """In a thread of its own: the programme, to its end or until the bear is gone."""
        programme = self.played
        assert programme is not None
        try:
            for step in programme.steps:
                if self._step(stint, step):
                    break
        finally:
            self._begun.set()
            self.planner.ended(self._clock())

    def _step(self, stint: StoppableThread, step: Step) -> bool:
        """One noise with its lamps, and its pause; True when it is to end."""
        noise = self.noises[step.sound]
        end = time.monotonic() + step.seconds
        for lamp in self.lamps:
            flash = None if step.flash[1] == 0.0 else step.flash
            self._try(lamp.start, step.seconds, flash)
        self._try(noise.start, step.seconds)
        self._begun.set()
        stint.wait(max(end - time.monotonic(), 0.0))
        for part in (noise, *self.lamps):
            self._try(part.stop)
        return stint.wait(step.pause_s)

    def _try(self, do: Callable[..., None], *given: object) -> None:
        """What fails is said, and the others go on."""
        try:
            do(*given)
        except Exception as error:
            problem = str(error) or type(error).__name__
            if self._begun.is_set():
                log.warning("the deterrent: %s", problem)
            self.problem = problem


def open_deterrent(
    word: str,
    lamps: Sequence[Lamp] = (),
    limits: Limits | None = None,
    *,
    device: str | None = None,
    seed: int | None = None,
) -> Deterrent:
    """The deterrent with our own noises ("on"), or with the WAV files of a folder; ``device`` as for ``Sound``.

    Raises OptionError with a sentence for what cannot sound, UnavailableError for what may sound later.
    """
    from edge.alert.sound import Sound

    limits = limits or Limits()
    seconds = limits.sound_s[1]
    if word == SWITCHED_ON:
        # Each start of the program has other barks and bangs.
        number = int(time.time()) if seed is None else seed
        named = {name: Sound(name, seconds=seconds, device=device, seed=number) for name in BUILT_IN}
    else:
        try:
            files = sound_files(word, Path(word).expanduser())
        except OptionError as error:
            raise OptionError(f"--deterrent: {error}") from None
        named = {path.name: Sound(str(path), seconds=seconds, device=device) for path in files}
    return Deterrent(named, lamps, limits, seed=seed)


def sound_files(word: str, folder: Path) -> list[Path]:
    """The WAV files of a folder, called ``word`` by people. Raises OptionError for what is no folder of sounds.

    UnavailableError where there is nothing yet: a disk that is not mounted leaves no folder, or an empty one.
    """
    try:
        inside = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, FileNotFoundError) and is_path(word):
            raise UnavailableError(f"{folder} is not there; mount its disk, or correct the path") from None
        raise OptionError(
            f"{word!r} is no folder; write {SWITCHED_ON} for the built-in sounds, or name a folder with WAV files"
        ) from None
    except OSError as error:
        raise OptionError(f"{folder} cannot be read ({error.strerror}); check its owner and its disk") from None
    found = [path for path in inside if path.suffix.lower() == ".wav" and not path.name.startswith(".")]
    if not found:
        raise UnavailableError(f"{folder} has no WAV files (*.wav); mount its disk, or put some there")
    if len(found) > MOST_FILES:
        raise OptionError(f"{folder} has {len(found)} WAV files; {MOST_FILES} are the most")
    return found
