"""``--deterrent``: changing noises and flashing lamps that drive a bear off, off unless somebody asks for them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from edge.background import Stint
from edge.errors import OptionError, UnavailableError
from edge.schema import Event
from edge.sinks.programme import Flash, Limits, Planner, Programme, Step
from edge.sinks.wav import is_path

log = logging.getLogger(__name__)

BUILT_IN = ("siren", "horn", "barks", "shouts", "bangs")
SWITCHED_ON = "on"  # the word for the sounds of our own
MOST_FILES = 40
TIDY_S = 0.3  # what may be waited for a programme whose noises are silent already
BEGUN_S = 5.0  # the first noise has begun or failed by then


class Noise(Protocol):
    """What makes one sound: ``edge.sinks.sound.Sound``."""

    def start(self, seconds: float) -> None:
        """Sound for so long; returns once it does."""

    def stop(self) -> None:
        """Be silent, now."""

    def close(self) -> None:
        """Silent for good, within a moment."""


class Lamp(Protocol):
    """What flashes: ``edge.sinks.gpio.Gpio``."""

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
        self._stint = Stint(self._play, "the deterrent")
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
        self._stint.go_on(programme.seconds + BEGUN_S)
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

    def _play(self, stint: Stint) -> None:
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

    def _step(self, stint: Stint, step: Step) -> bool:
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
    from edge.sinks.sound import Sound

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
