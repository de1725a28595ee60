"""Raspberry Pi's own camera program as a child process: its command line, its pipe, what it says of trouble.

The options are those of rpicam-apps (and of libcamera-apps before it). ``yuv420`` writes the sensor processor's buffers
as they are: I420, full range (libcamera's sYCC), rows padded to 64 bytes on a Pi 4 or Zero 2 W and to 128 on a Pi 5.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shlex
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from edge.errors import SourceError

log = logging.getLogger(__name__)

Mode = Literal["auto", "yuv", "mjpeg"]
Codec = Literal["yuv420", "mjpeg"]

PROGRAM = "rpicam-vid"
OLD_PROGRAM = "libcamera-vid"  # its name before 2023
PROGRAM_VARIABLE = "BEAR_ALARM_RPICAM_VID"  # another command line in its place, such as the fake's
UNPADDED = 128  # a width that is a multiple of this comes without padding on every board
LEAST_FPS, MOST_FPS = 5.0, 30.0  # slower, the exposure may grow so long that an animal is a smear
PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for: fewer switches between the two processes
LOOK_S = 0.2  # how soon a reader notices that it should end
END_S = 1.0  # how long the program has to end by itself

_GIVES = re.compile(r"configuring streams: \(0\) (\d+)x(\d+)-")


@dataclass(frozen=True, slots=True)
class PiAddress:
    """What ``picamera://0?width=1280&height=720`` says."""

    number: int
    size_wh: tuple[int, int]
    mode: Mode
    rotation: int  # 0 or 180 degrees: hung upside down


def parse_pi(word: str, size_wh: tuple[int, int], mode: Mode = "auto") -> PiAddress:
    """The address in a word; what it leaves out is as given. Raises SourceError."""
    parts = urlsplit(word)
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"width": size_wh[0], "height": size_wh[1], "mode": mode, "rotation": 0}
    strange = sorted(set(said) - set(known))
    if parts.scheme.lower() != "picamera" or not parts.netloc.isdecimal() or parts.path.strip("/") or strange:
        what = f"it knows no {strange[0]!r}" if strange else "the camera's number is missing"
        raise SourceError(f"{word}: {what}; write it as picamera://0?width=1280&height=720&rotation=180")
    found = known | said
    try:
        width, height, rotation = (int(found[key]) for key in ("width", "height", "rotation"))
    except ValueError:
        width = height = rotation = -1
    if not (64 <= width <= 9152 and 64 <= height <= 9152) or width % 2 or height % 2 or rotation not in (0, 180):
        raise SourceError(f"{word}: width and height are even numbers from 64 to 9152, rotation is 0 or 180")
    asked: Mode | None = next((each for each in get_args(Mode) if each == found["mode"]), None)
    if asked is None:
        raise SourceError(f"{word}: mode is one of {', '.join(get_args(Mode))}, not {found['mode']!r}")
    if asked == "yuv" and width % UNPADDED:
        below = max(UNPADDED, width // UNPADDED * UNPADDED)
        raise SourceError(
            f"{word}: rows {width} wide come padded, differently on each board; take a multiple of {UNPADDED} such as "
            f"{below} or {below + UNPADDED}, or mode=mjpeg"
        )
    return PiAddress(int(parts.netloc), (width, height), asked, rotation)


def codecs(address: PiAddress) -> list[Codec]:
    """What to ask for, best first: no encoding and no decoding, then pictures that need both."""
    if address.mode == "mjpeg" or address.size_wh[0] % UNPADDED:
        return ["mjpeg"]
    return ["yuv420"] if address.mode == "yuv" else ["yuv420", "mjpeg"]


def find_program(program: str, word: str) -> list[str]:
    """The words that start the program; where it is missing, its old name. Raises SourceError."""
    asked = os.environ.get(PROGRAM_VARIABLE, "") if program == PROGRAM else ""
    words = shlex.split(asked or program)
    names = [PROGRAM, OLD_PROGRAM] if words == [PROGRAM] else words[:1]
    for name in names:
        if shutil.which(name):
            return [name, *words[1:]]
    raise SourceError(
        f"{word}: the program {' or '.join(names) or repr(program)} is not installed; "
        "`sudo apt install rpicam-apps` on a Raspberry Pi brings it"
    )


def command(program: list[str], address: PiAddress, codec: Codec, fps: float) -> list[str]:
    """The whole command line: endless, without preview, pictures to standard output."""
    width, height = address.size_wh
    return [
        *program,
        "--camera", str(address.number),
        "--codec", codec,
        "--width", str(width),
        "--height", str(height),
        "--framerate", f"{min(max(fps, LEAST_FPS), MOST_FPS):g}",
        "--rotation", str(address.rotation),
        "--denoise", "cdn_off",  # noise is motion: the cheap spatial filter stays, only the slow colour one goes
        "--quality", "90",
        "--timeout", "0",
        "--nopreview",
        "--flush",  # or the end of each picture waits in a buffer for the next
        "--output", "-",
    ]  # fmt: skip


class Child:
    """The program while it runs. Standard error is drained by a thread of its own. Raises SourceError at the start."""

    def __init__(self, words: list[str], word: str) -> None:
        self.word = word
        self.gives_wh: tuple[int, int] | None = None  # the size it says it gives
        self.spoke = threading.Event()  # it has said so
        self._last = self._error = ""
        self._ended = False
        try:
            # A group of its own: Ctrl-C in the terminal is for us, and we end it.
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                process_group=0,
            )  # fmt: skip
        except OSError as error:
            raise SourceError(f"{word}: {words[0]} cannot be started ({error.strerror})") from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._out, self._err = self._process.stdout.fileno(), self._process.stderr.fileno()
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._coming = select.poll()
        self._coming.register(self._out, select.POLLIN)
        self._listener = threading.Thread(target=self._listen, name=f"camera {word} stderr", daemon=True)
        self._listener.start()

    def readinto(self, view: memoryview) -> int | None:
        """Bytes read into ``view``; 0 at the end, None when nothing came for a moment."""
        if self._ended:
            return 0
        if not self._coming.poll(LOOK_S * 1000.0):
            return None
        return os.readv(self._out, [view])

    def why(self) -> str:
        """One sentence on why it ended; waits a moment for its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._listener.join(END_S)
        code, said = self._process.returncode, self._error or self._last
        words = said.lower()
        if "no cameras available" in words or "selected camera is not available" in words:
            cause = f"no camera found ({said}); check both ends of its cable, and `rpicam-hello --list-cameras`"
        elif "acquire camera" in words or "in use by" in words:
            cause = f"the camera is busy ({said}); stop the other program that uses it"
        elif code is None:
            cause = "the camera program closed its pipe"
        elif code < 0:
            cause = f"the camera program was ended by signal {-code}" + (f" ({said})" if said else "")
        else:
            cause = f"the camera program ended with code {code}" + (f" ({said})" if said else "")
        return f"{self.word}: {cause}"

    @property
    def said(self) -> str:
        """Its last complaint, else its last line."""
        return self._error or self._last

    @property
    def refused(self) -> bool:
        """Whether it does not know the codec it was asked for."""
        return "codec" in self._error.lower()

    def end(self) -> None:
        """End it, by force where need be, and collect it."""
        self._ended = True  # for a reader whose pipe somebody else holds open
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_S)
        if self._process.returncode is None:
            log.warning("%s: the camera program hangs in the kernel and cannot be ended", self.word)
        self._listener.join(END_S)

    def close_pipes(self) -> None:
        """Close both pipes, once no thread reads them."""
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _listen(self) -> None:
        """Keep what matters of standard error, however much there is of it."""
        coming, rest = select.poll(), b""
        coming.register(self._err, select.POLLIN)
        while not self._ended:
            if not coming.poll(LOOK_S * 1000.0):
                continue
            if not (data := os.read(self._err, 65536)):
                break
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-4096:]
            for line in lines:
                self._hear(line)
        self._hear(rest)

    def _hear(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()[:300]
        # Old versions report every frame: "#42 (10.00 fps) exp 3000.00 ag 1.00 dg 1.00".
        if not text or text.startswith("#"):
            return
        self._last = text
        if "ERROR" in text or "error" in text:
            self._error = text.removeprefix("ERROR:").strip(" *")
        if match := _GIVES.search(text):
            self.gives_wh = int(match[1]), int(match[2])
            self.spoke.set()
