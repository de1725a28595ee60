"""``--sound WHAT``: a siren, another noise, or any WAV file, from the loudspeaker."""

from __future__ import annotations

import atexit
import errno
import io
import logging
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.background import StoppableThread
from edge.errors import OptionError, UnavailableError
from edge.schema import Event

# WAV files: read whatever their samples are, and made to last as long as they should sound.


Samples = NDArray[np.float64]  # (n,) -1 to 1, mono

RATE = 44_100  # samples a second, which every card takes
PLAYABLE = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, µ-law, extensible; further ones not every player reads
LARGEST = 32_000_000  # bytes of one sound in memory
CONVERT = "convert it, for example with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`"


@dataclass(frozen=True, slots=True, repr=False)
class Wav:
    """A WAV file's format, as it stands in it, and its samples as bytes."""

    format: bytes  # the "fmt " chunk
    data: bytes
    rate: int  # blocks a second
    block: int  # bytes of one sample of all channels

    @property
    def seconds(self) -> float:
        """How long it sounds once."""
        return len(self.data) / self.block / self.rate

    def lasting(self, seconds: float) -> bytes:
        """A whole WAV file of that length: cut, or again and again."""
        size = max(round(seconds * self.rate), 1) * self.block
        data = (self.data * (size // len(self.data) + 1))[:size]
        padded = data + b"\0" * (size % 2)
        head = b"WAVEfmt " + struct.pack("<I", len(self.format)) + self.format + b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", len(head) + len(padded)) + head + padded


def read_wav(path: Path, most_s: float) -> Wav:
    """The file's first ``most_s`` seconds. Raises OptionError with a sentence for what cannot be played.

    UnavailableError for a file that is not there: its disk may not be mounted yet.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path, most_s)
    except (FileNotFoundError, NotADirectoryError):
        raise UnavailableError(f"{path} is not there; mount its disk, or correct the path") from None
    except OSError as error:
        raise OptionError(f"{path}: the sound cannot be read ({error.strerror}); name a WAV file") from None


def is_path(word: str) -> bool:
    """Return True for a path, also of a missing file, and False for the name of a sound."""
    return "/" in word or "\\" in word or word.lower().endswith(".wav")


def wav_of(samples: Samples, rate: int = RATE) -> Wav:
    """Samples as 16-bit mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
    file.seek(0)
    return _read(file, Path("a generated sound"), len(samples) / rate)


def _read(file: BinaryIO, path: Path, most_s: float) -> Wav:
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
            # A WAV written to a pipe says 0 or 4 GB: what is there counts.
            data = file.read(min(size or LARGEST, LARGEST, round(most_s * rate) * block))
            data = data[: len(data) // block * block]
            if not data:
                raise OptionError(f"{path} holds no sound; name another WAV file")
            return Wav(format_, data, rate, block)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    raise OptionError(f"{path}: this WAV file breaks off before its sound; copy it anew, or name another")


# Signals made of tones: a siren, a chirp, an air horn. Each is a phrase that may be repeated without a gap.


LOUD = 0.98  # of full scale: the highest peak
TWO_PI = 2.0 * np.pi


def siren() -> Samples:
    """A shrill sweep between 2 and 4 kHz and back, four times in two seconds; 2 s.

    There small speakers are loudest and ears keenest. A sine with its third harmonic is louder at the same peak.
    """
    sweep_s = 0.5  # at 3 kHz on average 1500 whole waves, so that it joins on to itself without a click
    at = np.arange(round(sweep_s * RATE)) / (sweep_s * RATE)  # 0 to 1
    hertz = 2000.0 + 2000.0 * (1.0 - np.abs(2.0 * at - 1.0))
    phase = TWO_PI * np.cumsum(hertz) / RATE
    return np.tile(loud(np.sin(phase) + np.sin(3.0 * phase) / 3.0), 4)


def chirp() -> Samples:
    """Two short rising notes, from 2.5 to 3.5 kHz, and silence: noticed by who is near, no siren; 1.5 s."""
    note = np.arange(round(0.12 * RATE)) / RATE
    phase = TWO_PI * (2500.0 * note + 0.5 * (1000.0 / 0.12) * note**2)
    sound = np.zeros(round(1.5 * RATE))
    for start_s in (0.0, 0.2):
        add(sound, start_s, np.sin(phase) * swell(len(note), 0.005, 0.02))
    return loud(sound)


def horn(chance: np.random.Generator) -> Samples:
    """Blasts of an air horn, three rough tones at once, each of another length; about 6 s."""
    sound = np.zeros(round(6.0 * RATE))
    start_s = 0.0
    while start_s < 5.0:
        length_s = float(chance.uniform(0.4, 1.6))
        pitch = float(chance.uniform(0.92, 1.08))
        bend = 1.0 - 0.06 * np.exp(-np.arange(round(length_s * RATE)) / (0.04 * RATE))  # it blows up to its pitch
        blast = sum(
            harmonics(hertz * pitch * bend, lambda f: 1.0 / (1.0 + (f / 2500.0) ** 2)) for hertz in (415, 523, 622)
        )
        add(sound, start_s, blast * swell(len(bend), 0.02, 0.06))
        start_s += length_s + float(chance.uniform(0.15, 0.6))
    return loud(sound, drive=3.0)


def harmonics(hertz: Samples, gain: Callable[[float], float]) -> Samples:
    """A tone whose pitch goes with ``hertz``, with all its harmonics below 9 kHz; ``gain`` weighs a frequency in Hz."""
    phase = TWO_PI * np.cumsum(hertz) / RATE
    middle = float(np.mean(hertz))
    many = int(9000.0 / float(np.max(hertz)))
    sound = np.zeros(len(hertz))
    for number in range(1, many + 1):
        sound += gain(number * middle) * np.sin(number * phase)
    return sound


def swell(length: int, rise_s: float, fall_s: float) -> Samples:
    """Loudness 0 to 1 that rises and falls, so that nothing clicks; ``length`` in samples."""
    at = np.arange(length) / RATE
    end = length / RATE - at
    return np.clip(at / rise_s, 0.0, 1.0) * np.clip(end / fall_s, 0.0, 1.0)


def add(sound: Samples, start_s: float, part: Samples) -> None:
    """Mix a part into a sound, from a time on; what goes beyond its end is cut, all of it where it begins there."""
    start = min(round(start_s * RATE), len(sound))
    end = min(start + len(part), len(sound))
    sound[start:end] += part[: end - start]


def loud(sound: Samples, drive: float = 0.0) -> Samples:
    """As loud as the samples allow; ``drive`` over 0 presses the peaks, so that the rest becomes louder."""
    peak = float(np.max(np.abs(sound))) or 1.0
    sound = sound / peak
    if drive > 0.0:
        sound = np.tanh(drive * sound) / np.tanh(drive)
    return LOUD * sound


# Noises of dogs and people, made by arithmetic: barks, shouts, banging on metal. And every sound by its name.


TONES = ("siren", "chirp")
NOISES = ("horn", "barks", "shouts", "bangs")
NAMES = TONES + NOISES
PHRASE_S = 6.0


def make(name: str, seed: int = 0) -> Samples:
    """The sound of that name, one of ``NAMES``; another seed gives other barks, shouts, bangs and blasts."""
    chance = np.random.default_rng(seed)
    if name == "siren":
        return siren()
    if name == "chirp":
        return chirp()
    return {"horn": horn, "barks": barks, "shouts": shouts, "bangs": bangs}[name](chance)


def barks(chance: np.random.Generator) -> Samples:
    """A big dog, by the sound of it: bursts of one to three barks; 6 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.5:
        for _ in range(int(chance.integers(1, 4))):
            length_s = float(chance.uniform(0.14, 0.24))
            at = np.arange(round(length_s * RATE)) / (length_s * RATE)
            # Up fast and down again, as a throat does it.
            hertz = float(chance.uniform(260.0, 340.0)) * (1.0 + 0.8 * np.sin(np.pi * np.sqrt(at)))
            bark = harmonics(hertz, lambda f: formants(f, (650.0, 1250.0, 2600.0)))
            rasp = coloured(len(at), (700.0, 2600.0), chance) * 0.6
            add(sound, start_s, (bark / np.max(np.abs(bark)) + rasp) * swell(len(at), 0.008, 0.08))
            start_s += length_s + float(chance.uniform(0.12, 0.3))
        start_s += float(chance.uniform(0.2, 0.8))
    return loud(sound, drive=3.0)


def shouts(chance: np.random.Generator) -> Samples:
    """Like angry shouts of "hey!": a voice's gliding vowels and no words; 6 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.8:
        length_s = float(chance.uniform(0.35, 0.7))
        at = np.arange(round(length_s * RATE)) / (length_s * RATE)
        hertz = float(chance.uniform(150.0, 230.0)) * (1.0 + 0.45 * np.sin(np.pi * at) - 0.15 * at)
        first = harmonics(hertz, lambda f: formants(f, (560.0, 1750.0, 2500.0)))  # "e"
        then = harmonics(hertz, lambda f: formants(f, (320.0, 2200.0, 3000.0)))  # "i"
        voice = (1.0 - at) * first / np.max(np.abs(first)) + at * then / np.max(np.abs(then))
        breath = coloured(len(at), (500.0, 2500.0), chance) * 0.5 * np.exp(-at * 8.0)
        add(sound, start_s, (voice + breath) * swell(len(at), 0.03, 0.12))
        start_s += length_s + float(chance.uniform(0.2, 0.9))
    return loud(sound, drive=3.0)


def bangs(chance: np.random.Generator) -> Samples:
    """Somebody beats on pots and sheet metal, never in time; 6 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.3:
        at = np.arange(round(0.6 * RATE)) / RATE
        base = float(chance.uniform(320.0, 700.0))
        bang = coloured(len(at), (300.0, 6000.0), chance) * np.exp(-at / 0.012) * 1.5
        for ratio in (1.0, 1.59, 2.14, 2.92, 3.65, 5.1):  # of a plate, not of a string
            ring_s = float(chance.uniform(0.05, 0.25)) / ratio**0.5
            bang += np.sin(2.0 * np.pi * base * ratio * at + float(chance.uniform(0.0, 6.0))) * np.exp(-at / ring_s)
        add(sound, start_s, bang * swell(len(at), 0.0005, 0.05) * float(chance.uniform(0.6, 1.0)))
        start_s += float(chance.choice((0.18, 0.25, 0.4, 0.7))) * float(chance.uniform(0.8, 1.25))
    return loud(sound, drive=3.0)


def formants(hertz: float, peaks: tuple[float, ...]) -> float:
    """How loud a throat with those resonances (Hz) lets a frequency through, about 0 to 1."""
    return sum(0.7**number / (1.0 + ((hertz - peak) / (0.12 * peak + 60.0)) ** 2) for number, peak in enumerate(peaks))


def coloured(length: int, band_hz: tuple[float, float], chance: np.random.Generator) -> Samples:
    """Noise between two frequencies, -1 to 1; ``length`` in samples."""
    spectrum = np.fft.rfft(chance.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1.0 / RATE)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return noise / (float(np.max(np.abs(noise))) or 1.0)


# The system's programs that play a sound, and how each is called.


SAID_BYTES = 2000  # of what a player says, to explain why it failed
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
    """Those installed, the best first. ``device`` is ALSA's name for an output, which only aplay takes.

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
        need = "aplay (`sudo apt install alsa-utils`)"
        which = need if device is not None else f"{need}, paplay or pw-play"
        raise UnavailableError(f"no program that plays sounds was found; install {which}")
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
        """What a player has to inherit to read it. Raises OSError once it is closed."""
        if self._memory is None:
            return ()
        if self._memory.closed:
            raise OSError(errno.EBADF, "the sound is closed")
        return (self._memory.fileno(),)

    def close(self) -> None:
        """Let go of it, from any thread and as often as you like; a player that has begun can play on."""
        if self._memory is not None:
            self._memory.close()
        else:
            Path(self.path).unlink(missing_ok=True)


class Playing:
    """One player at work, in a session of its own: Ctrl-C at the terminal is for us."""

    def __init__(self, player: Player, sound: SoundFile) -> None:
        posix = os.name == "posix"
        self.name = player.name
        self._said = b""
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

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def kill(self) -> None:
        """Silence it, from any thread; returns at once. ``close`` is still to be called."""
        self._killed = True
        self._process.kill()

    def ended(self) -> bool:
        """Whether it has ended; also hears what it says, for a full pipe would make it wait."""
        if self._process.stderr:
            self._said = (self._said + (self._process.stderr.read() or b""))[-SAID_BYTES:]
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
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"{self.name}: " + (lines[-1].strip() if lines else f"exit code {code}")


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
        self._stint = StoppableThread(self._sound, f"the sound {what}")
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
            self._stint.wait_unless_stopped(seconds)
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

    def _sound(self, stint: StoppableThread) -> None:
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

    def _play(self, stint: StoppableThread, problems: list[str]) -> bool:
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
