"""``--sound WHAT``: a siren, another noise, or any WAV file, from the loudspeaker.

The sounds with a name lie beside this file, in ``sounds/``; tests/helpers/make_sounds.py makes them.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from edge.background import StoppableThread
from edge.errors import OptionError, UnavailableError
from edge.schema import TEST_S, Event

log = logging.getLogger(__name__)

NAMES = ("siren", "chirp", "horn", "barks", "shouts", "bangs")
SOUNDS = Path(__file__).parent / "sounds"
LONGEST_S = 300.0  # that one alarm may sound
FAILS_WITHIN_S = 0.25  # a player that cannot play has ended by then, as a rule
POLL_S = 0.02
AGAIN_S = 1.0  # when every player fails, perhaps for another program has the card
CHECK_S = 0.2  # of silence
CHECK_LIMIT_S = 4.0
TIDY_S = 0.3  # what may be waited for a player that was ended already


def unknown_sound(what: str) -> str:
    """Return the sentence for a sound that is neither a name nor a file."""
    return f"{what!r} is no known sound; write one of {', '.join(NAMES)}, or the path of a WAV file"


def is_path(word: str) -> bool:
    """Return True for a path, also of a missing file, and False for the name of a sound."""
    return "/" in word or "\\" in word or word.lower().endswith(".wav")


class SoundError(RuntimeError):
    """The sound could not be played; it is tried again as long as it should sound."""


class Sound:
    """Plays ``what``, for ``seconds`` from each alarm on; for ``TEST_S`` at a test.

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
        players: list[Player] | None = None,
    ) -> None:
        self.what = what
        self.seconds = seconds
        self.problem: str | None = None  # why it last failed; None: it worked, or was not tried yet
        if what not in NAMES and not is_path(what) and not Path(what).exists():
            raise OptionError(unknown_sound(what))
        # What is wrong with the file is wrong on every machine, so it goes before what is wrong with this one.
        wav = read_wav(SOUNDS / f"{what}.wav" if what in NAMES else Path(what).expanduser(), seconds)
        self._players = players or find_players(device)
        # As long as it should sound and no longer: it ends by itself even when we are killed.
        self._file = SoundFile(wav.lasting(seconds))
        self._thread = StoppableThread(self._sound, f"the sound {what}")
        self._begun = threading.Event()  # the players' first answer is there
        self._first: Playing | None = None  # started already, by the caller
        self._sounding: Playing | None = None  # what is to be ended for silence
        self._closed = False
        self._starting = threading.Lock()  # a test and a bear come from two threads
        atexit.register(self.close)
        log.info("%s is played by %s", what, ", else by ".join(player.name for player in self._players))

    @property
    def player(self) -> str:
        """Return the name of the program that is tried first."""
        return self._players[0].name

    def wanted(self, event: Event) -> bool:
        """Return True for alarms."""
        return event.alarms

    def __call__(self, event: Event) -> None:
        """Sound, if this event is wanted."""
        if self.wanted(event):
            self.start(min(self.seconds, TEST_S) if event.kind == "test" else self.seconds)

    def start(self, seconds: float) -> None:
        """Sound until so many seconds from now (at most ``self.seconds``); returns once it does. Raises SoundError."""
        if self._closed:
            raise SoundError(f"{self.what} stays silent, for the alarm ends")
        with self._starting:
            if not self._thread.going:
                self._begun.clear()
                # Before the thread that looks after it: on a busy machine that would cost milliseconds.
                self._first = self._open(self._players[0], [])
            try:
                self._thread.run_for(seconds)
            except RuntimeError:  # no thread can be started, so nothing else would end it
                self._close_first()
                raise
        if not self._begun.wait(len(self._players) * 2.0 * FAILS_WITHIN_S + AGAIN_S):
            raise SoundError(f"{self.what}: no player has started")
        if self.problem:
            raise SoundError(self.problem)

    def stop(self) -> None:
        """Be silent, now; in any case it returns within 0.3 s."""
        self._thread.stop()
        self._silence()
        self._thread.stop(TIDY_S)

    def close(self) -> None:
        """Be silent for good, and close the sound; as ``stop``, from any thread and as often as you like."""
        atexit.unregister(self.close)
        self._closed = True
        self._thread.close()
        self._silence()
        self._thread.stop(TIDY_S)
        self._file.close()

    def check(self) -> str | None:
        """Play a moment's silence; what is wrong in one sentence, or None. The player that works is tried first then.

        Takes seconds where no player works, so call it beside everything else; an alarm cuts it short.
        """
        chirp = read_wav(SOUNDS / "chirp.wav", CHECK_S)
        silence = SoundFile(replace(chirp, data=bytes(len(chirp.data))).lasting(CHECK_S))
        problems: list[str] = []
        try:
            for player in list(self._players):
                problem = self._check(player, silence)
                if self._thread.going:
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
            if playing.ended() or self._thread.going:
                return playing.close()
            quiet.wait(POLL_S)
        playing.close()
        return f"{player.name} took longer than {CHECK_LIMIT_S:g} s for {CHECK_S:g} s of silence"

    def _sound(self, thread: StoppableThread) -> None:
        try:
            while not thread.over:
                asked = thread.asked
                problems: list[str] = []
                if self._play(thread, problems):
                    thread.wait_for_more(asked)
                else:
                    self._answer(self._no_sound(problems))
                    thread.wait(AGAIN_S)
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
        """Stop it here, not in the thread that looks after it: that may be held up."""
        playing = self._sounding
        if playing:
            playing.kill()

    def _close_first(self) -> None:
        first, self._first = self._first, None
        if first:
            first.close()

    def _play(self, thread: StoppableThread, problems: list[str]) -> bool:
        """Play once, by the first player that can; return whether one could. ``problems`` takes others' failures."""
        for player in list(self._players):
            first, self._first = self._first, None
            playing = first or self._open(player, problems)
            if playing is None:
                continue
            polls = 0
            while not playing.ended():
                polls += 1
                if polls * POLL_S >= FAILS_WITHIN_S:
                    self._answer(None)
                if thread.wait(POLL_S):
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
            log.warning("%s", problem)  # no caller waits for the answer any more
        self.problem = problem
        self._begun.set()

    def _prefer(self, player: Player) -> None:
        if player is not self._players[0]:
            log.info("%s: %s does not work here; using %s", self.what, self._players[0].name, player.name)
            self._players = [player, *(other for other in self._players if other is not player)]

    def _no_sound(self, problems: list[str]) -> str:
        return f"{self.what} cannot sound ({'; '.join(problems)}); check the loudspeaker, and `aplay -L` for its name"


# WAV files: read whatever their samples are, and made to last as long as they should sound.

PLAYABLE = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, µ-law, extensible; further ones not every player reads
MAX_BYTES = 32_000_000  # of one sound in memory
CONVERT = "convert it, for example with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`"


@dataclass(frozen=True, slots=True, repr=False)
class Wav:
    """A WAV file's format, as the file has it, and its samples as bytes."""

    format: bytes  # the "fmt " chunk
    data: bytes
    rate: int  # blocks a second
    block: int  # bytes of one sample of all channels

    @property
    def seconds(self) -> float:
        """Return how long it sounds once."""
        return len(self.data) / self.block / self.rate

    def lasting(self, seconds: float) -> bytes:
        """Return a whole WAV file of that length: cut, or again and again."""
        size = max(round(seconds * self.rate), 1) * self.block
        data = (self.data * (size // len(self.data) + 1))[:size]
        padded = data + b"\0" * (size % 2)
        head = b"WAVEfmt " + struct.pack("<I", len(self.format)) + self.format + b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", len(head) + len(padded)) + head + padded


def read_wav(path: Path, max_s: float) -> Wav:
    """Return the file's first ``max_s`` seconds. Raises OptionError with a sentence for what cannot be played.

    UnavailableError for a file that is not there: its disk may not be mounted yet.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path, max_s)
    except (FileNotFoundError, NotADirectoryError):
        raise UnavailableError(f"{path} is not there; mount its disk, or correct the path") from None
    except OSError as error:
        raise OptionError(f"{path}: the sound cannot be read ({error.strerror}); name a WAV file") from None


def _read(file: BinaryIO, path: Path, max_s: float) -> Wav:
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise OptionError(f"{path} is no WAV file; {CONVERT}")
    format_ = b""
    while len(head := file.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"fmt " and 16 <= size <= 1024:
            format_ = file.read(size)
            file.seek(size % 2, io.SEEK_CUR)
        elif name == b"data" and len(format_) >= 16:
            tag, _, rate, _, block, _ = struct.unpack("<HHIIHH", format_[:16])
            if tag not in PLAYABLE or not rate or not block:
                raise OptionError(f"{path}: its sound is of a kind not every player knows (format {tag}); {CONVERT}")
            # The header of a WAV written to a pipe has 0 or 4 GB: what is there counts.
            data = file.read(min(size or MAX_BYTES, MAX_BYTES, round(max_s * rate) * block))
            data = data[: len(data) // block * block]
            if not data:
                raise OptionError(f"{path} holds no sound; name another WAV file")
            return Wav(format_, data, rate, block)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    raise OptionError(f"{path}: this WAV file breaks off before its sound; copy it again, or name another")


# The system's programs that play a sound, and how each is called.

OUTPUT_BYTES = 2000  # of a player's messages, which explain why it failed
WINDOWS = "import sys, winsound; winsound.PlaySound(sys.argv[1], winsound.SND_FILENAME | winsound.SND_NODEFAULT)"


@dataclass(frozen=True, slots=True)
class Player:
    """A program that plays a WAV file and ends, with another exit code than 0 when it cannot."""

    name: str
    command: tuple[str, ...]  # the file's path comes last

    def play(self, sound: SoundFile) -> Playing:
        """Start it; returns at once. Raises OSError."""
        return Playing(self, sound)


def find_players(device: str | None = None, platform: str = sys.platform) -> list[Player]:
    """Return those installed, the best first. ``device`` is ALSA's name for an output, which only aplay takes.

    Raises UnavailableError when there is none, OptionError for a device on a system that has no ALSA.
    """
    if platform == "win32":
        found = [Player("winsound", (sys.executable, "-c", WINDOWS))]
    elif platform == "darwin":
        found = _installed("afplay")
    elif device is None:
        # Through the desktop's sound server where there is one; a service has none, and aplay needs none.
        found = [*_installed("pw-play"), *_installed("paplay"), *_installed("aplay", "-q")]
    else:
        found = _installed("aplay", "-q", "-D", device)
    if device is not None and platform in ("win32", "darwin"):
        raise OptionError(
            f"the sound device {device!r} is a name for ALSA, on Linux; leave it out, and choose in the system"
        )
    if not found:
        raise UnavailableError("no program that plays sounds was found; install aplay (`sudo apt install alsa-utils`)")
    return found


def _installed(name: str, *options: str) -> list[Player]:
    path = shutil.which(name)
    return [Player(name, (path, *options))] if path else []


class SoundFile:
    """A WAV file where any player can read it; on Linux in memory, so that no full or read-only disk silences it.

    Raises UnavailableError where it cannot be kept.
    """

    def __init__(self, data: bytes) -> None:
        self._memory: FileIO | None = None
        if sys.platform == "linux":
            self._memory = FileIO(os.memfd_create("bear-alarm-sound", os.MFD_CLOEXEC), "wb")
            with open(self._memory.fileno(), "wb", closefd=False) as file:
                file.write(data)
            self.path = f"/proc/self/fd/{self._memory.fileno()}"
            return
        try:
            fd, self.path = tempfile.mkstemp(prefix="bear-alarm-", suffix=".wav")
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        except OSError as error:
            place = tempfile.gettempdir()
            raise UnavailableError(
                f"{place}: the sound cannot be kept there ({error.strerror}); make room for it"
            ) from None

    @property
    def handles(self) -> tuple[int, ...]:
        """Return what a player has to inherit to read it."""
        return () if self._memory is None else (self._memory.fileno(),)

    def close(self) -> None:
        """Close it, from any thread and as often as you like; a player that has begun can play on."""
        if self._memory is not None:
            self._memory.close()
        else:
            Path(self.path).unlink(missing_ok=True)


class Playing:
    """One player at work, in a session of its own: Ctrl-C at the terminal is for us."""

    def __init__(self, player: Player, sound: SoundFile) -> None:
        posix = os.name == "posix"
        self.name = player.name
        self._output = b""
        self._killed = False
        self._process = subprocess.Popen(
            [*player.command, sound.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if posix else subprocess.DEVNULL,
            pass_fds=sound.handles if posix else (),
            start_new_session=posix,
        )
        if self._process.stderr:
            os.set_blocking(self._process.stderr.fileno(), False)

    def kill(self) -> None:
        """Silence it, from any thread; returns at once. ``close`` is still to be called."""
        self._killed = True
        self._process.kill()

    def ended(self) -> bool:
        """Return whether it has ended; also read its messages, for a full pipe would make it wait."""
        if self._process.stderr:
            self._output = (self._output + (self._process.stderr.read() or b""))[-OUTPUT_BYTES:]
        return self._process.poll() is not None

    def close(self) -> str | None:
        """End it if it goes on; a sentence when it had ended because it could not play."""
        code = self._process.poll()
        if code is None:
            self._process.kill()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return f"{self.name} cannot be ended"
        finally:
            self.ended()
            if self._process.stderr:
                self._process.stderr.close()
        if not code or self._killed:
            return None
        lines = self._output.decode(errors="replace").strip().splitlines()
        return f"{self.name}: " + (lines[-1].strip() if lines else f"exit code {code}")
