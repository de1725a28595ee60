"""``--sound WHAT``: a siren, another noise, or any WAV file, from the loudspeaker."""

from __future__ import annotations

import atexit
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.background import Stint
from edge.errors import OptionError
from edge.schema import Event
from edge.sinks.noises import NAMES, make
from edge.sinks.players import Player, Playing, SoundFile, find_players
from edge.sinks.wav import is_path, read_wav, wav_of

log = logging.getLogger(__name__)

LONGEST_S = 300.0
SURE_S = 0.25  # a player that cannot play has ended by then, as a rule
POLL_S = 0.02
AGAIN_S = 1.0  # when every player fails, perhaps for another program has the card
CHECK_S = 0.2  # of silence
CHECK_LIMIT_S = 4.0
TIDY_S = 0.3  # what may be waited for a player that was ended already


def unknown_sound(what: str) -> str:
    """The sentence for a sound that is neither a name nor a file."""
    return f"{what!r} is no known sound; write one of {', '.join(NAMES)}, or the path of a WAV file"


class SoundError(RuntimeError):
    """The sound could not be played; it is tried again as long as it should sound."""


class Sound:
    """Plays ``what``, for ``seconds`` from each ``wanted`` event on, by default alarms.

    ``what`` is siren, chirp, horn, barks, shouts, bangs, or a WAV file's path; it is repeated or cut to its time. An
    alarm while it sounds makes it go on for longer. A call returns once it sounds. ``device`` is an output of ALSA
    (``aplay -L`` lists them). Raises OptionError for what can never sound, UnavailableError where this machine cannot
    play it now, or the file is not there; a call raises SoundError.
    """

    def __init__(
        self,
        what: str,
        *,
        seconds: float = 20.0,
        device: str | None = None,
        wanted: Callable[[Event], bool] = lambda event: event.alarms,
        seed: int = 0,
        players: list[Player] | None = None,
    ) -> None:
        if not (math.isfinite(seconds) and 0.0 < seconds <= LONGEST_S):
            raise OptionError(f"a sound of {seconds:g} s cannot be; give it from a moment to {LONGEST_S:g} s")
        self.what = what
        self.seconds = seconds
        self.wanted = wanted
        self.problem: str | None = None  # why it last failed; None: it worked, or was not tried yet
        if what not in NAMES and not is_path(what) and not Path(what).exists():
            raise OptionError(unknown_sound(what))
        # What is wrong with the file is wrong on every machine, so it goes before what is wrong with this one.
        file = None if what in NAMES else read_wav(Path(what).expanduser(), seconds)
        self._players = players or find_players(device)
        wav = file or wav_of(make(what, seed))
        # As long as it should sound and no longer: it ends by itself even when we are killed.
        self._file = SoundFile(wav.lasting(seconds))
        self._stint = Stint(self._sound, f"the sound {what}")
        self._begun = threading.Event()  # the players' first answer is there
        self._first: Playing | None = None  # started already, by whoever called
        self._sounding: Playing | None = None  # what is to be ended for silence
        self._closed = False
        atexit.register(self.close)
        log.info("%s is played by %s", what, ", else by ".join(player.name for player in self._players))

    @property
    def player(self) -> str:
        """The name of the program that is tried first."""
        return self._players[0].name

    def __call__(self, event: Event) -> None:
        """Sound, if this event is wanted."""
        if self.wanted(event):
            self.start(self.seconds)

    def start(self, seconds: float) -> None:
        """Sound until so many seconds from now (at most ``self.seconds``); returns once it does. Raises SoundError."""
        if self._closed:
            raise SoundError(f"{self.what} stays silent, for the alarm ends")
        if not self._stint.going:
            self._begun.clear()
            # Before the thread that looks after it: on a busy machine that would cost milliseconds.
            self._first = self._open(self._players[0], [])
        try:
            self._stint.go_on(seconds)
        except RuntimeError:  # no thread is to be had, and nobody else would end it
            self._close_first()
            raise
        if not self._begun.wait(len(self._players) * 2.0 * SURE_S + AGAIN_S):
            raise SoundError(f"{self.what}: no player has started")
        if self.problem:
            raise SoundError(self.problem)

    def stop(self) -> None:
        """Be silent, now; in any case it returns within 0.3 s."""
        self._stint.stop()
        self._silence()
        self._stint.stop(TIDY_S)

    def close(self) -> None:
        """Be silent for good, and let go of the sound; as ``stop``, from any thread and as often as you like."""
        atexit.unregister(self.close)
        self._closed = True
        self._stint.close()
        self._silence()
        self._stint.stop(TIDY_S)
        self._file.close()

    def check(self) -> str | None:
        """Play a moment's silence; what is wrong in one sentence, or None. The player that works is tried first then.

        Takes seconds where no player works, so call it beside everything else; an alarm cuts it short.
        """
        silence = SoundFile(wav_of(np.zeros(1)).lasting(CHECK_S))
        problems: list[str] = []
        try:
            for player in list(self._players):
                problem = self._check(player, silence)
                if self._stint.going:
                    return self.problem
                if problem is None:
                    self._prefer(player)
                    self.problem = None
                    return None
                problems.append(problem)
        finally:
            silence.close()
        self.problem = self._no_sound(problems)
        return self.problem

    def _check(self, player: Player, silence: SoundFile) -> str | None:
        try:
            playing = player.play(silence)
        except OSError as error:
            return f"{player.name}: {error.strerror}"
        quiet = threading.Event()
        for _ in range(round(CHECK_LIMIT_S / POLL_S)):
            if playing.ended() or self._stint.going:
                return playing.close()
            quiet.wait(POLL_S)
        playing.close()
        return f"{player.name} took longer than {CHECK_LIMIT_S:g} s for {CHECK_S:g} s of silence"

    def _sound(self, stint: Stint) -> None:
        """In a thread of its own, while it is to sound."""
        try:
            while not stint.over:
                asked = stint.asked
                problems: list[str] = []
                if self._play(stint, problems):
                    stint.wait_for_more(asked)
                else:
                    self._answer(self._no_sound(problems))
                    stint.wait(AGAIN_S)
        finally:
            self._close_first()
            self._begun.set()

    def _open(self, player: Player, problems: list[str]) -> Playing | None:
        try:
            playing = self._sounding = player.play(self._file)
        except OSError as error:
            problems.append(f"{player.name}: {error.strerror}")
            return None
        if self._closed:  # while it was starting
            playing.kill()
        return playing

    def _silence(self) -> None:
        """Here and not in the thread that looks after it, which may be held up."""
        playing = self._sounding
        if playing:
            playing.kill()

    def _close_first(self) -> None:
        first, self._first = self._first, None
        if first:
            first.close()

    def _play(self, stint: Stint, problems: list[str]) -> bool:
        """Once, by the first player that can; whether one could. ``problems`` takes what the others said."""
        for player in list(self._players):
            first, self._first = self._first, None
            playing = first or self._open(player, problems)
            if playing is None:
                continue
            polls = 0
            while not playing.ended():
                polls += 1
                if polls * POLL_S >= SURE_S:
                    self._answer(None)
                if stint.wait(POLL_S):
                    break
            problem = playing.close()
            if problem is None:
                self._answer(None)
                self._prefer(player)
                return True
            problems.append(problem)
        return False

    def _answer(self, problem: str | None) -> None:
        if problem and self._begun.is_set() and problem != self.problem:
            log.warning("%s", problem)  # nobody waits for the answer any more
        self.problem = problem
        self._begun.set()

    def _prefer(self, player: Player) -> None:
        if player is not self._players[0]:
            log.info("%s: %s does not work here; using %s", self.what, self._players[0].name, player.name)
            self._players = [player, *(other for other in self._players if other is not player)]

    def _no_sound(self, problems: list[str]) -> str:
        return f"{self.what} cannot sound ({'; '.join(problems)}); check the loudspeaker, and `aplay -L` for its name"
