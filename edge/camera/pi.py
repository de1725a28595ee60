"""The Raspberry Pi's own camera through its own program: no Python camera package, no decoding while nothing moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera import Closing
from edge.camera.jpeg_stream import JpegCutter
from edge.camera.rpicam import PROGRAM, Child, Codec, Mode, codecs, command, find_program, parse_pi
from edge.errors import SourceError
from edge.schema import Frame, Later, Luma, Picture

START_S = 10.0  # how long the camera may take to its first frame
SILENT_S = 4.0  # without a frame for so long, a camera is gone; sooner than a wrapper gives up, for we know more
SPEAK_S = 0.5  # how long the program's own words may lag behind its first frame
CHUNK = 1 << 16
LUMA_PX = 320  # motion looks at no more

# OpenCV's I420 conversion takes brightness from 16 to 235 and colour from 16 to 240, the camera gives 0 to 255.
_LEVELS = np.arange(256)
_NARROW_Y = np.round(16 + _LEVELS * 219 / 255).astype(np.uint8)
_NARROW_UV = np.round(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)

_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)

Buffer = NDArray[np.uint8]
_Shot = tuple[Buffer | bytes, tuple[int, int], float, datetime]  # raw or JPEG, its size, monotonic, UTC


class PiSource(Closing):
    """``picamera://N[?width=…&height=…&rotation=180&mode=yuv|mjpeg]`` at up to ``fps`` frames a second.

    ``Frame.time`` is the monotonic clock when the frame had been read. In mode ``yuv`` ``Frame.luma`` is a view of the
    full-size brightness; in mode ``mjpeg`` it is decoded at a half to an eighth, at least 320 wide. ``Frame.picture``
    is a ``Later`` in both. ``auto`` takes yuv, and mjpeg where that is refused or the width is no multiple of 128.
    Raises SourceError when no frame comes, at the start or for ``silent_s`` seconds, or when the program ends.
    """

    live = True
    length_s: float | None = None

    def __init__(
        self,
        word: str,
        *,
        name: str,
        fps: float,
        size_wh: tuple[int, int] = (1280, 720),
        mode: Mode = "auto",
        program: str = PROGRAM,
        start_s: float = START_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self.word = word
        self.name = name
        self.fps = fps
        self.silent_s = silent_s
        self.address = parse_pi(word, size_wh, mode)
        self.problems: list[str] = []
        self._ready = threading.Condition()
        self._closed = False
        program_words, asked = find_program(program, word), codecs(self.address)
        while not self._start(program_words, asked.pop(0), start_s, final=not asked):
            self.problems.append(f"{word}: raw pictures are refused ({self._child.said}); takes JPEGs, which cost more")

    def _start(self, program: list[str], codec: Codec, start_s: float, *, final: bool) -> bool:
        """Run the program until its first frame; False when it refuses the codec and another is left to try."""
        self.codec: Codec = codec
        self._slot: _Shot | None = None
        self._why = ""  # one sentence, once the program has ended
        self._child = Child(command(program, self.address, codec, self.fps), self.word)
        read = self._read_yuv if codec == "yuv420" else self._read_mjpeg
        self._thread = threading.Thread(target=read, args=(self._child,), name=f"camera {self.name}", daemon=True)
        self._thread.start()
        with self._ready:
            self._ready.wait_for(lambda: self._slot or self._why, start_s)
            why = "" if self._slot else self._why or self._silent(start_s)
        # Raw pictures of another size would be read askew. Versions that do not say are believed.
        if not why and codec == "yuv420" and self._child.spoke.wait(SPEAK_S):
            why = self._other_size()
        if not why:
            return True
        self._stop()
        if self._child.refused and not final:
            return False
        raise SourceError(why)

    def __iter__(self) -> Iterator[Frame]:
        """The newest frame, again and again. Raises SourceError when they stop coming."""
        index = 0
        while True:
            # At a slow rate there are pauses between frames that nobody wants.
            patience_s = max(self.silent_s, 2.0 / self.fps)
            with self._ready:
                self._ready.wait_for(lambda: self._slot or self._closed or self._why, patience_s)
                shot, self._slot = self._slot, None
            if self._closed:
                return
            if shot is None:
                why = self._why or self._silent(patience_s)
                self.close()
                raise SourceError(why)
            frame = self._frame(shot, index)
            if frame is not None:
                yield frame
                index += 1

    def close(self) -> None:
        """End the program and let go of the camera; an iteration under way ends."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self._stop()

    def _stop(self) -> None:
        self._child.end()
        self._thread.join(1.0)
        if not self._thread.is_alive():
            self._child.close_pipes()

    def _silent(self, seconds: float) -> str:
        said = self._child.said
        return f"{self.word}: no frame for {seconds:g} s; check the camera's cable" + (f" ({said})" if said else "")

    def _other_size(self) -> str:
        """What is wrong when the camera gives another size than asked for; empty when nothing is."""
        (width, height), gives = self.address.size_wh, self._child.gives_wh
        if gives is None or gives == (width, height):
            return ""
        return (
            f"{self.word}: this camera gives {gives[0]}x{gives[1]} where {width}x{height} was asked for; "
            f"write picamera://{self.address.number}?width={gives[0]}&height={gives[1]}"
        )

    def _frame(self, shot: _Shot, index: int) -> Frame | None:
        """A frame whose colours are worked out when somebody asks; None for a JPEG that is none."""
        data, size_wh, at, wall = shot
        if not isinstance(data, bytes):
            later = Later(partial(bgr_of_i420, data, size_wh), size_wh)
            return Frame(later, at, wall, self.name, index, time.monotonic(), luma=i420_luma(data, size_wh))
        luma = jpeg_luma(data, size_wh)
        if luma is None:
            return None
        later = Later(partial(jpeg_picture, data, luma, size_wh), size_wh)
        return Frame(later, at, wall, self.name, index, time.monotonic(), luma=luma, jpeg=data)

    def _read_yuv(self, child: Child) -> None:
        """The reader thread: one buffer is filled, one waits in the slot; what a frame has taken is its own."""
        size_wh = self.address.size_wh
        size = size_wh[0] * size_wh[1] * 3 // 2
        spare, due = np.empty(size, np.uint8), 0.0
        while (filled := _fill(child, spare.data)) == size:
            now = time.monotonic()
            # Without a little slack a camera at 10 frames a second thinned to 10 would give every second one.
            if now < due - 0.01:
                continue
            due = max(due + 1.0 / self.fps, now)
            replaced = self._keep((spare, size_wh, now, datetime.now(UTC)))
            spare = np.empty(size, np.uint8) if replaced is None else np.asarray(replaced[0])
        self._ended(child, f"; its last picture has {filled} of {size} bytes" if filled else "")

    def _read_mjpeg(self, child: Child) -> None:
        """The reader thread: JPEGs are cut from the pipe and decoded by whoever takes the frame."""
        cut, due, chunk = JpegCutter(), 0.0, memoryview(bytearray(CHUNK))
        while got := _fill(child, chunk, whole=False):
            for jpeg, size_wh in cut(chunk[:got]):
                now = time.monotonic()
                if now >= due - 0.01:
                    due = max(due + 1.0 / self.fps, now)
                    self._keep((jpeg, size_wh, now, datetime.now(UTC)))
        self._ended(child, "; its last picture is cut short" if cut.held > 2 else "")

    def _keep(self, shot: _Shot) -> _Shot | None:
        """The newest picture into the slot; gives back the one that nobody took."""
        with self._ready:
            replaced, self._slot = self._slot, shot
            self._ready.notify_all()
        return replaced

    def _ended(self, child: Child, note: str) -> None:
        why = child.why() + note
        with self._ready:
            self._why = why
            self._ready.notify_all()


def i420_luma(data: Buffer, size_wh: tuple[int, int]) -> Luma:
    """The brightness (H, W) of an I420 picture: a view that cannot be written."""
    width, height = size_wh
    luma = data[: width * height].reshape(height, width)
    luma.flags.writeable = False
    return luma


def bgr_of_i420(data: Buffer, size_wh: tuple[int, int]) -> Picture:
    """The picture (H, W, 3) of full-range I420 (JPEG's YCbCr, ITU-R BT.601): H*W bytes Y, then U and V of a quarter."""
    width, height = size_wh
    planes = data.reshape(height * 3 // 2, width)
    narrow = np.empty_like(planes)
    cv2.LUT(planes[:height], _NARROW_Y, narrow[:height])
    cv2.LUT(planes[height:], _NARROW_UV, narrow[height:])
    return np.asarray(cv2.cvtColor(narrow, cv2.COLOR_YUV2BGR_I420), np.uint8)


def jpeg_luma(data: bytes, size_wh: tuple[int, int]) -> Luma | None:
    """A JPEG's brightness at 1/1 to 1/8, at least 320 wide where it has that (libjpeg's scaled decoding), else None."""
    flag = next((flag for share, flag in _REDUCED if size_wh[0] >= share * LUMA_PX), cv2.IMREAD_GRAYSCALE)
    luma = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return None if luma is None else np.asarray(luma, np.uint8)


def jpeg_picture(data: bytes, luma: Luma, size_wh: tuple[int, int]) -> Picture:
    """A JPEG's picture (H, W, 3); where its colours are damaged its brightness, for nothing may end the loop here."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != (size_wh[1], size_wh[0]):
        image = cv2.cvtColor(cv2.resize(luma, size_wh), cv2.COLOR_GRAY2BGR)
    return np.asarray(image, np.uint8)


def _fill(child: Child, view: memoryview, *, whole: bool = True) -> int:
    """Bytes read until the view is full, or until some came; fewer, or 0, at the end."""
    filled = 0
    while filled < len(view):
        got = child.readinto(view[filled:])
        if got == 0:
            break
        filled += got or 0
        if got and not whole:
            break
    return filled
