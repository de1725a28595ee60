"""The Raspberry Pi's own camera through its own program: no Python camera package, no decoding while nothing moves.

The options are those of rpicam-apps. ``yuv420`` writes the sensor processor's buffers as they are: I420, full range
(libcamera's sYCC), rows padded to 64 bytes on a Pi 4 or Zero 2 W and to 128 on a Pi 5.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import logging
import os
import re
import select
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.background import call_in_thread
from edge.camera import DEFAULT_SIZE_WH, Source, frame_patience_s
from edge.errors import SourceError
from edge.pictures import EOI, SOI, camera_jpeg, segments
from edge.schema import Frame, LazyImage, Luma, Picture

log = logging.getLogger(__name__)

Mode = Literal["auto", "yuv", "mjpeg"]
Codec = Literal["yuv420", "mjpeg"]

PROGRAM = "rpicam-vid"
OLD_PROGRAM = "libcamera-vid"  # its name before 2023
PROGRAM_VARIABLE = "BEAR_ALARM_RPICAM_VID"  # another command line in its place, such as the fake's
UNPADDED = 128  # a width that is a multiple of this comes without padding on every board
MIN_FPS, MAX_FPS = 5.0, 30.0  # slower, the exposure may grow so long that an animal is a smear
PIPE_BYTES = 1 << 20  # the most an ordinary user may ask for: fewer switches between the two processes
LOOK_S = 0.2  # how soon a reader notices that it should end
END_S = 1.0  # how long the program has to end by itself

_GIVES = re.compile(r"configuring streams: \(0\) (\d+)x(\d+)-")

START_S = 10.0  # how long the camera may take to its first frame
SILENT_S = 4.0  # without a frame for so long, a camera is gone; sooner than a wrapper gives up, for we know more
SPEAK_S = 0.5  # how long the program's own words may lag behind its first frame
CHUNK_BYTES = 1 << 16
SLACK_S = 0.01

# OpenCV's I420 conversion takes brightness from 16 to 235 and colour from 16 to 240, the camera gives 0 to 255.
_LEVELS = np.arange(256)
_NARROW_Y = np.round(16 + _LEVELS * 219 / 255).astype(np.uint8)
_NARROW_UV = np.round(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)

Buffer = NDArray[np.uint8]

MAX_JPEG_BYTES = 16 << 20  # a picture of 50 megapixels has less


class PiSource(Source):
    """``picamera://N[?width=…&height=…&rotation=180&mode=yuv|mjpeg]`` at up to ``fps`` frames a second.

    It is opened and read in the caller's thread; what is not read waits in the pipe and holds up the program.
    ``Frame.time`` is the monotonic clock when the frame had been read. In mode ``yuv`` ``Frame.luma`` is a view of the
    full-size brightness; in mode ``mjpeg`` it is decoded at a half to an eighth, at least 320 wide. ``Frame.picture``
    is a ``LazyImage`` in both. ``auto`` takes yuv, and mjpeg where that is refused or the width is no multiple of 128.
    Raises SourceError when no frame comes, at the start or for four seconds, or when the program ends.
    """

    live = True

    def __init__(self, word: str, *, name: str, fps: float) -> None:
        self.word = word
        self.name = name
        self.fps = fps
        self.address = parse_pi(word)
        self.problems: list[str] = []
        self._closed = False
        self._due_at = 0.0  # when the next frame is wanted, time.monotonic()
        program_words, asked = find_program(word), codecs(self.address)
        while not self._start(program_words, asked.pop(0), final=not asked):
            self.problems.append(f"{word}: raw pictures are refused ({self._child.message}); JPEGs cost more")

    def _start(self, program: list[str], codec: Codec, *, final: bool) -> bool:
        """Run the program until its first frame; False when it refuses the codec and another is left to try."""
        self.codec: Codec = codec
        self._child = Child(command(program, self.address, codec, self.fps), self.word)
        self._patience_s = START_S
        self._frames = self._read_yuv() if codec == "yuv420" else self._read_mjpeg()
        try:
            self._first = next(self._frames)
            # Raw pictures of another size would be read askew. Versions that report none are believed.
            if codec == "yuv420" and self._child.spoke.wait(SPEAK_S):
                self._check_size()
        except BaseException as error:
            self._child.end()
            if isinstance(error, SourceError) and self._child.refused and not final:
                return False
            raise
        return True

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when they stop coming."""
        index = 0
        try:
            for frame in itertools.chain([self._first], self._frames):
                if self._closed:
                    return
                self._patience_s = frame_patience_s(SILENT_S, self.fps)
                yield replace(frame, index=index, handed_over=time.monotonic())
                index += 1
        except SourceError:
            if not self._closed:
                raise
        finally:
            self.close()

    def close(self) -> None:
        """End the program, which closes the camera; an iteration under way ends."""
        self._closed = True
        self._child.end()

    def _check_size(self) -> None:
        (width, height), gives = self.address.size_wh, self._child.gives_wh
        if gives not in (None, (width, height)):
            raise SourceError(
                f"{self.word}: this camera gives {gives[0]}x{gives[1]} where {width}x{height} was asked for; "
                f"write picamera://{self.address.number}?width={gives[0]}&height={gives[1]}"
            )

    def _read_yuv(self) -> Iterator[Frame]:
        """Read raw pictures; colours are worked out when somebody asks. Raises SourceError at the end."""
        size_wh = self.address.size_wh
        size = size_wh[0] * size_wh[1] * 3 // 2
        data = np.empty(size, np.uint8)
        while (filled := self._fill(data.data)) == size:
            now = time.monotonic()
            if not self._due(now):
                continue
            later = LazyImage(partial(bgr_of_i420, data, size_wh), size_wh)
            yield Frame(later, now, datetime.now(UTC), self.name, 0, now, luma=i420_luma(data, size_wh))
            data = np.empty(size, np.uint8)
        raise SourceError(self._child.why() + (f"; its last picture has {filled} of {size} bytes" if filled else ""))

    def _read_mjpeg(self) -> Iterator[Frame]:
        """Cut JPEGs from the pipe; what is none is passed over. Raises SourceError at the end."""
        cut, chunk = JpegCutter(), memoryview(bytearray(CHUNK_BYTES))
        while got := self._fill(chunk, whole=False):
            for jpeg in cut(chunk[:got]):
                now = time.monotonic()
                if not self._due(now) or (decoded := camera_jpeg(jpeg)) is None:
                    continue
                later, luma = decoded
                yield Frame(later, now, datetime.now(UTC), self.name, 0, now, luma=luma, jpeg=jpeg)
        raise SourceError(self._child.why() + ("; its last picture is cut short" if cut.held > 2 else ""))

    def _due(self, now: float) -> bool:
        # Without a little slack a camera at 10 frames a second thinned to 10 would give every second one.
        if now < self._due_at - SLACK_S:
            return False
        self._due_at = max(self._due_at + 1.0 / self.fps, now)
        return True

    def _fill(self, view: memoryview, *, whole: bool = True) -> int:
        """Read until the view is full, or until some bytes came; fewer, or 0, at the end. Raises SourceError."""
        filled, until = 0, time.monotonic() + self._patience_s
        while filled < len(view):
            got = self._child.readinto(view[filled:])
            if got == 0:
                break
            filled += got or 0
            if got and not whole:
                break
            if time.monotonic() >= until:
                message = self._child.message
                raise SourceError(
                    f"{self.word}: no frame for {self._patience_s:g} s; check the camera's cable"
                    + (f" ({message})" if message else "")
                )
        return filled


@dataclass(frozen=True, slots=True)
class PiAddress:
    """Parsed address such as ``picamera://0?width=1280&height=720``."""

    number: int
    size_wh: tuple[int, int]
    mode: Mode
    rotation: int  # 0 or 180 degrees: hung upside down


def parse_pi(word: str) -> PiAddress:
    """Return the address in a word. Raises SourceError."""
    parts = urlsplit(word)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    wide, high = DEFAULT_SIZE_WH
    known: dict[str, int | str] = {"width": wide, "height": high, "mode": "auto", "rotation": 0}
    strange = sorted(set(options) - set(known))
    if parts.scheme.lower() != "picamera" or not parts.netloc.isdecimal() or parts.path.strip("/") or strange:
        what = f"it knows no {strange[0]!r}" if strange else "the camera's number is missing"
        raise SourceError(f"{word}: {what}; write it as picamera://0?width=1280&height=720&rotation=180")
    found = known | options
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
        raise SourceError(f"{word}: with mode=yuv the width is a multiple of {UNPADDED}; else write mode=mjpeg")
    return PiAddress(int(parts.netloc), (width, height), asked, rotation)


def codecs(address: PiAddress) -> list[Codec]:
    """Return what to ask for, best first: no encoding and no decoding, then pictures that need both."""
    if address.mode == "mjpeg" or address.size_wh[0] % UNPADDED:
        return ["mjpeg"]
    return ["yuv420"] if address.mode == "yuv" else ["yuv420", "mjpeg"]


def find_program(word: str) -> list[str]:
    """Return the words that start the program; where it is missing, its old name. Raises SourceError."""
    words = shlex.split(os.environ.get(PROGRAM_VARIABLE, "")) or [PROGRAM]
    names = [PROGRAM, OLD_PROGRAM] if words == [PROGRAM] else words[:1]
    for name in names:
        if shutil.which(name):
            return [name, *words[1:]]
    raise SourceError(
        f"{word}: the program {' or '.join(names)} is not installed; "
        "`sudo apt install rpicam-apps` on a Raspberry Pi brings it"
    )


def command(program: list[str], address: PiAddress, codec: Codec, fps: float) -> list[str]:
    """Return the whole command line: endless, without preview, pictures to standard output."""
    width, height = address.size_wh
    return [
        *program,
        "--camera", str(address.number),
        "--codec", codec,
        "--width", str(width),
        "--height", str(height),
        "--framerate", f"{min(max(fps, MIN_FPS), MAX_FPS):g}",
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
        self.gives_wh: tuple[int, int] | None = None  # the size that it reports
        self.spoke = threading.Event()  # it has reported one
        self._last = self._error = ""
        self._ended = False
        self._ending = threading.Lock()
        self._reading = threading.Lock()  # the pipe: it is not closed in the middle of a read
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
        self._stdout, self._stderr = self._process.stdout, self._process.stderr
        self._out, self._err = self._stdout.fileno(), self._stderr.fileno()
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._coming = select.poll()
        self._coming.register(self._out, select.POLLIN)
        self._listener = call_in_thread(self._listen, f"camera {word} stderr")

    def readinto(self, view: memoryview) -> int | None:
        """Bytes read into ``view``; 0 at the end, None when nothing came for a moment."""
        with self._reading:
            if self._ended:
                return 0
            if not self._coming.poll(LOOK_S * 1000.0):
                return None
            return os.readv(self._out, [view])

    def why(self) -> str:
        """Return one sentence on why it ended; waits a moment for its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        concurrent.futures.wait([self._listener], END_S)
        code, message = self._process.returncode, self.message
        words = message.lower()
        if "no cameras available" in words or "selected camera is not available" in words:
            cause = f"no camera found ({message}); check both ends of its cable, and `rpicam-hello --list-cameras`"
        elif "acquire camera" in words or "in use by" in words:
            cause = f"the camera is busy ({message}); stop the other program that uses it"
        else:
            ended = "closed its pipe" if code is None else f"ended with code {code}"
            cause = f"the camera program {ended}" + (f" ({message})" if message else "")
        return f"{self.word}: {cause}"

    @property
    def message(self) -> str:
        """Return its last complaint, else its last line."""
        return self._error or self._last

    @property
    def refused(self) -> bool:
        """Return True if it does not know the codec it was asked for."""
        return "codec" in self._error.lower()

    def end(self) -> None:
        """End it, by force where need be, collect it, and close its pipes. May be called twice, and from any thread."""
        self._ended = True  # for a reader whose pipe somebody else holds open
        with self._ending:
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
            with self._reading:
                self._stdout.close()
            concurrent.futures.wait([self._listener], END_S)
            if self._listener.done():
                self._stderr.close()

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


class JpegCutter:
    """Bytes in, whole JPEGs out; never holds more than ``MAX_JPEG_BYTES``.

    Segments are walked, for a thumbnail carries an end marker of its own. What lies between two pictures, or
    belongs to one that was cut short, is dropped.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0  # where the walk continues; 0: no picture has begun

    def __call__(self, data: bytes | memoryview) -> list[bytes]:
        """Return the pictures that these bytes complete."""
        self._held += data
        whole = []
        while (end := self._walk()) is not None:
            whole.append(bytes(self._held[:end]))
            del self._held[:end]
            self._at = 0
        if len(self._held) > MAX_JPEG_BYTES:
            self._held.clear()
            self._at = 0
        return whole

    @property
    def held(self) -> int:
        """Bytes that wait for their end."""
        return len(self._held)

    def _walk(self) -> int | None:
        """Return where the picture that begins the held bytes ends; None when its end has not come."""
        held = self._held
        if self._at == 0:
            start = held.find(b"\xff\xd8\xff")
            if start < 0:
                del held[:-2]  # a start may be half here
                return None
            del held[:start]
            self._at = 2
        while True:
            for segment in segments(held, self._at):
                if segment.kind == EOI:
                    return segment.end
                if segment.kind == SOI:  # the next picture begins: this one was cut short
                    del held[: segment.start]
                    self._at = 2
                    break
                if segment.end > len(held):
                    self._at = segment.start
                    return None
                self._at = segment.end
            else:
                # Only entropy-coded data is left; its last byte may be half a marker.
                self._at = max(self._at, len(held) - 1)
                return None


def i420_luma(data: Buffer, size_wh: tuple[int, int]) -> Luma:
    """Return the brightness (H, W) of an I420 picture: a view that cannot be written."""
    width, height = size_wh
    luma = data[: width * height].reshape(height, width)
    luma.flags.writeable = False
    return luma


def bgr_of_i420(data: Buffer, size_wh: tuple[int, int]) -> Picture:
    """Return the picture (H, W, 3) of full-range I420 (ITU-R BT.601): H*W bytes Y, then U and V of a quarter."""
    width, height = size_wh
    planes = data.reshape(height * 3 // 2, width)
    narrow = np.empty_like(planes)
    cv2.LUT(planes[:height], _NARROW_Y, narrow[:height])
    cv2.LUT(planes[height:], _NARROW_UV, narrow[height:])
    return np.asarray(cv2.cvtColor(narrow, cv2.COLOR_YUV2BGR_I420), np.uint8)
