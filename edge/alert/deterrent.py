"""``--deterrent``: changing noises and flashing lamps that drive a bear away; off unless they are asked for.

At an alarm a list of sounds is played in random order, for bears learn what never changes, until the bear is gone or
the time is used up.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.sound import Sound, is_path
from edge.background import StoppableThread
from edge.decide.schedule import Schedule
from edge.errors import OptionError, UnavailableError
from edge.schema import Event

if TYPE_CHECKING:
    from edge.alert.gpio import Gpio

log = logging.getLogger(__name__)

BUILT_IN = ("siren", "horn", "barks", "shouts", "bangs")
SWITCHED_ON = "on"  # the word for the built-in sounds
MAX_FILES = 40
HOUR_S = 3600.0
HOURLY_S = 300.0  # of noise in any hour, pauses included
REST_S = 60.0  # at least, from the end at one alarm to the begin at another
LONGEST_S = 45.0  # at one alarm
SOUND_S = (2.0, 8.0)  # one noise, from short to long
PAUSE_S = (0.3, 4.0)
TIDY_S = 0.3  # what may be waited for noises that are silent already
BEGUN_S = 5.0  # the first noise has begun or failed by then

Span = tuple[float, float]  # begin and end of the noise at one alarm, seconds of a clock that only goes forward
Flash = tuple[float, float]  # seconds a lamp is on and off in turn; off 0: on all the time

# None faster than three times a second: that can bring on a seizure.
FLASHES: tuple[Flash, ...] = ((1.0, 0.0), (1.0, 0.5), (0.4, 0.4), (0.2, 0.2))


class DeterrentError(RuntimeError):
    """It made no noise, or not all of it."""


class Deterrent:
    """At each alarm plays ``noises`` in random order, and ``lamps`` with them; its owner may add lamps at any time.

    An alarm while it goes on changes nothing. It ends when the last of the bears that it began for is gone. A call
    returns once the first noise sounds, and raises DeterrentError when that fails, or when the budget forbids a test.
    """

    def __init__(self, noises: Mapping[str, Sound], budget: Budget) -> None:
        self.noises = dict(noises)
        self.lamps: list[Gpio] = []
        self.problem: str | None = None  # what failed since the last alarm; None: nothing did, or none was tried
        self._budget = budget
        self._coming: list[str] = []  # names of sounds, the next one last
        self._last = ""  # the sound before
        self._room_s = 0.0
        self._bears: set[str] = set()  # ids of the events it goes on for
        self._test = False  # it goes on for a test alone
        self._calls = threading.Lock()  # a test comes from another thread than a bear: one ends before another begins
        self._thread = StoppableThread(self._play, "the deterrent")
        self._begun = threading.Event()

    def wanted(self, event: Event) -> bool:
        """Return True when noise may begin or end with this event."""
        return event.type == "end" or event.alarms

    def __call__(self, event: Event) -> None:
        """Begin, go on, or end when the bear is gone."""
        with self._calls:
            if event.type == "end":
                self._gone(event.id)
            elif event.alarms:
                self._start(event)

    def close(self) -> None:
        """Silence and darkness for good, within a moment; from any thread and as often as you like."""
        self._thread.close()
        for close in [*(noise.close for noise in self.noises.values()), *(lamp.close for lamp in self.lamps)]:
            try:
                close()
            except Exception as error:  # the others must be silenced all the same
                log.warning("the deterrent: %s", error or type(error).__name__)
        self._thread.stop(TIDY_S)

    def next_sound(self) -> str:
        """Choose a sound: each once in random order, then all of them again; none twice running."""
        if not self._coming:
            self._coming = random.sample(list(self.noises), len(self.noises))
            if self._coming[-1] == self._last:
                self._coming.reverse()
        self._last = self._coming.pop()
        return self._last

    def _start(self, event: Event) -> None:
        if self._thread.going:
            self._bears.add(event.id)
            self._test = self._test and event.kind == "test"
            return
        room_s = self._budget(time.monotonic(), datetime.now(UTC))
        if isinstance(room_s, str):
            if event.kind == "test":
                raise DeterrentError(f"no deterrent: {room_s}")
            log.info("no deterrent: %s", room_s)
            return
        self._bears, self._test = {event.id}, event.kind == "test"
        self._room_s, self.problem = room_s, None
        self._begun.clear()
        self._thread.run_for(room_s + BEGUN_S)
        if not self._begun.wait(BEGUN_S):
            raise DeterrentError("the deterrent has not begun")
        if self.problem:
            raise DeterrentError(self.problem)

    def _gone(self, id_: str) -> None:
        if id_ in self._bears:
            self._bears.discard(id_)
            if not self._bears and self._thread.going:
                log.info("the deterrent ends, for the bear is gone")
                self._thread.stop(2.0)  # the next alarm must not find it still ending

    def _play(self, thread: StoppableThread) -> None:
        """In a thread of its own: noises and pauses, until the time is used up or the bear is gone."""
        end = time.monotonic() + self._room_s
        try:
            while (left_s := end - time.monotonic()) >= SOUND_S[0]:
                self._sound(thread, min(random.uniform(*SOUND_S), left_s))
                if thread.wait(random.uniform(*PAUSE_S)):
                    return
        finally:
            self._begun.set()
            self._budget.ended(time.monotonic(), test=self._test)

    def _sound(self, thread: StoppableThread, seconds: float) -> None:
        noise, end = self.noises[self.next_sound()], time.monotonic() + seconds
        on_s, off_s = random.choice(FLASHES)
        for lamp in self.lamps:
            self._try(lamp.start, seconds, (on_s, off_s) if off_s else None)
        self._try(noise.start, seconds)
        self._begun.set()
        thread.wait(max(end - time.monotonic(), 0.0))
        self._try(noise.stop)
        for lamp in self.lamps:
            self._try(lamp.stop)

    def _try(self, do: Callable[..., None], *given: object) -> None:
        try:
            do(*given)
        except Exception as error:
            problem = str(error) or type(error).__name__
            if self._begun.is_set():
                log.warning("the deterrent: %s", problem)
            self.problem = problem


class Budget:
    """Says how long it may be loud now; times are of one clock that only goes forward, seconds.

    ``hours``: when noise may begin, in local time (None: always). ``spent``, oldest first, may be of a budget before:
    what was loud then counts in the hour, and a bear that is still there after a reload is not rested for.
    """

    def __init__(self, hours: Schedule | None = None, spent: deque[Span] | None = None) -> None:
        self._hours = hours
        self._spent: deque[Span] = deque() if spent is None else spent
        self._rest_until = self._rested_before = float("-inf")

    def __call__(self, now: float, wall: datetime) -> float | str:
        """Take the seconds that may be used from now on, or return why there are none; ``wall`` with its zone."""
        spent = self._spent
        if self._hours and not self._hours.holds(wall):
            return f"outside the deterrent's hours ({self._hours.words})"
        if now < self._rest_until:
            return f"resting for another {self._rest_until - now:.0f} s"
        while spent and spent[0][1] <= now - HOUR_S:
            spent.popleft()
        room_s = HOURLY_S - sum(end - max(begin, now - HOUR_S) for begin, end in spent)
        if room_s < SOUND_S[1]:
            return f"the {HOURLY_S / 60:g} minutes of noise an hour are used up"
        room_s = min(LONGEST_S, room_s)
        spent.append((now, now + room_s))
        self._rested_before, self._rest_until = self._rest_until, now + room_s + REST_S
        return room_s

    def ended(self, now: float, *, test: bool = False) -> None:
        """Give back what was not used; the rest begins. A test gives all of it back: a bear may come after it."""
        begin, end = self._spent.pop()
        if test:
            self._rest_until = self._rested_before
            return
        end = min(max(begin, now), end)
        self._spent.append((begin, end))
        self._rest_until = end + REST_S


def open_deterrent(
    word: str, hours: Schedule | None = None, *, device: str | None = None, spent: deque[Span] | None = None
) -> Deterrent:
    """Make the deterrent with the built-in noises ("on"), or a folder's WAV files; ``device`` as for ``Sound``.

    Raises OptionError with a sentence for what cannot sound, UnavailableError for what may sound later.
    """
    if word == SWITCHED_ON:
        sounds = {name: name for name in BUILT_IN}
    else:
        try:
            sounds = {path.name: str(path) for path in sound_files(word, Path(word).expanduser())}
        except OptionError as error:
            raise OptionError(f"--deterrent: {error}") from None
    noises = {name: Sound(what, seconds=SOUND_S[1], device=device) for name, what in sounds.items()}
    return Deterrent(noises, Budget(hours, spent))


def sound_files(word: str, folder: Path) -> list[Path]:
    """Return the WAV files of a folder, called ``word`` by people. Raises OptionError for what is no folder of sounds.

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
    if len(found) > MAX_FILES:
        raise OptionError(f"{folder} has {len(found)} WAV files; {MAX_FILES} are the most")
    return found
