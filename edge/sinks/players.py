"""The system's programs that play a sound, and how each is called."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from edge.errors import OptionError, UnavailableError

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
