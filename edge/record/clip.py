"""A clip from compressed frames, made by a program of its own: no crash and no peak of memory touches the alarm.

``ClipMaker`` is the alarm's side: it starts the program, feeds it, and ends it when it takes too long. The program is

    python -m edge.record.clip clip.mp4 < frames

It reads a line of JSON (``{"masks": [...]}``), then for each frame its time (float64, seconds), its length (uint32),
both big-endian, and its JPEG; a length of 0 is the end. It writes H.264, yuv420p, with the index first, as browsers and
phones want it; whole or not at all. Exit codes: 0 written, 2 what came is no clip, 3 this machine cannot encode.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import cv2
import numpy as np

from edge.background import first_to_go
from edge.detect.zones import BLACK, Polygon, PrivacyMask
from edge.installing import pip
from edge.schema import Luma, Picture

if TYPE_CHECKING:
    from av.video.stream import VideoStream


log = logging.getLogger(__name__)


LIMIT_S = 300.0  # a minute of 720p may take a third of it on a small board
PROGRAM = (sys.executable, "-m", "edge.record.clip")

HEAD = struct.Struct(">dI")  # time, length
NOTHING, CANNOT = 2, 3  # exit codes
MAX_WIDTH = 1280
TICKS = 1000  # a second
NICENESS = 15
# The first that is there: H.264 plays everywhere, VP9 in browsers and on most phones.
ENCODERS = (
    ("libx264", {"preset": "veryfast", "crf": "25", "bf": "0", "threads": "1", "g": "25", "rc-lookahead": "5"}),
    ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "crf": "36", "b": "0", "threads": "1", "g": "25"}),
)


class ClipError(RuntimeError):
    """A clip was not made."""


class ClipMaker:
    """Makes one clip at a time in a child process. Call it from one thread; ``stop`` from any.

    Where this machine cannot encode, that is logged once and nothing is tried any more.
    """

    def __init__(self) -> None:
        self.cannot: str | None = None  # why there are no clips on this machine
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._path = Path()  # what the child makes
        self._stopped = False

    def __call__(self, shots: Sequence[CompressedFrame], path: Path, masks: Sequence[Polygon] = ()) -> bool:
        """Write the clip, whole or not at all; False where this machine cannot. Raises ClipError or OSError."""
        if self.cannot:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._stopped:
                raise ClipError("no time is left")
            child = self._child = self._start(path)
            self._path = path
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            child.kill()

        timer = threading.Timer(LIMIT_S, end)
        timer.daemon = True
        timer.start()
        try:
            why = _feed(child, shots, masks)
        finally:
            timer.cancel()
            with self._lock:
                self._child = None
            child.kill()  # whatever went wrong here, no child is left behind
            child.wait()
            half_written(path).unlink(missing_ok=True)
        if child.returncode == CANNOT:
            self.cannot = why
            log.warning("there will be no clips, pictures only: %s", why)
            return False
        if child.returncode != 0:
            if overdue.is_set():
                why = f"it took longer than {LIMIT_S:g} s"
            raise ClipError(why or f"exit code {child.returncode}")
        return True

    def stop(self) -> None:
        """End the one that is being made, for good: nothing of it stays."""
        with self._lock:
            self._stopped = True
            if self._child:
                self._child.kill()
                self._child.wait()
                half_written(self._path).unlink(missing_ok=True)

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        # The same edge as this one, wherever the alarm was started.
        home = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        env = os.environ | {"PYTHONPATH": os.pathsep.join([home, known] if known else [home])}
        return subprocess.Popen(
            [*PROGRAM, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C is for the alarm, which finishes what it has begun
        )


def _feed(child: subprocess.Popen[bytes], shots: Sequence[CompressedFrame], masks: Sequence[Polygon]) -> str:
    """Give the child its frames and wait for it; return its last line, which is why it failed."""
    assert child.stdin is not None
    assert child.stderr is not None
    # A child that has ended wrote why on its standard error.
    with contextlib.suppress(OSError), child.stdin as pipe:
        for piece in packed(shots, masks):
            pipe.write(piece)
    with child.stderr as pipe:
        lines = pipe.read().decode(errors="replace").strip().splitlines()
    child.wait()
    return lines[-1] if lines else ""


# The program.


class CannotError(RuntimeError):
    """No encoder is installed."""


def half_written(path: Path) -> Path:
    """Return what the clip is called until it is whole."""
    return path.with_name(f".{path.name}.part")


def packed(shots: Iterable[CompressedFrame], masks: Sequence[Polygon]) -> Iterator[bytes]:
    """Yield what this program reads, piece by piece."""
    yield json.dumps({"masks": masks}).encode() + b"\n"
    for shot in shots:
        yield HEAD.pack(shot.time, len(shot.jpeg))
        yield shot.jpeg
    yield HEAD.pack(0.0, 0)


def unpacked(stream: BinaryIO) -> tuple[tuple[Polygon, ...], Iterator[CompressedFrame]]:
    """Return the masks and the frames.

    Raises ValueError for anything but what ``packed`` gives, also where it ends early.
    """
    found = json.loads(stream.readline())["masks"]
    masks = tuple(tuple((float(x), float(y)) for x, y in corners) for corners in found)

    def shots() -> Iterator[CompressedFrame]:
        while True:
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                raise ValueError("the frames end early")
            time, length = HEAD.unpack(head)
            if length == 0:
                return
            jpeg = stream.read(length)
            if len(jpeg) < length:
                raise ValueError("the frames end early")
            yield CompressedFrame(time, jpeg)

    return masks, shots()


def encode(shots: Iterable[CompressedFrame], path: Path, masks: Sequence[Polygon] = ()) -> int:
    """Write the clip; gives how many frames are in it. Frames that cannot be decoded are left out.

    Every frame gets the first one's size. Raises CannotError, ValueError when there are fewer than two frames, OSError.
    """
    try:
        import av
    except ImportError as error:
        raise CannotError(f"PyAV is missing ({error}); install it with: {pip('install', 'av')}") from None
    hidden = PrivacyMask(masks, BLACK)
    part = half_written(path)
    count, began, last = 0, 0.0, -1
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as out:
            stream: VideoStream | None = None
            for shot in shots:
                image = cv2.imdecode(np.frombuffer(shot.jpeg, np.uint8), cv2.IMREAD_COLOR)
                if image is None:
                    continue
                picture = np.asarray(at_most(np.asarray(image, np.uint8), MAX_WIDTH, even=True))
                if stream is None:
                    stream, began = _stream(out, picture.shape[1], picture.shape[0]), shot.time
                elif (stream.width, stream.height) != (picture.shape[1], picture.shape[0]):
                    picture = np.asarray(cv2.resize(picture, (stream.width, stream.height)), np.uint8)
                ticks = round((shot.time - began) * TICKS)
                if ticks <= last:
                    continue
                frame = av.VideoFrame.from_ndarray(hidden(picture), format="bgr24")
                frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
                out.mux(stream.encode(frame))
                count, last = count + 1, ticks
            if stream is None or count < 2:
                raise ValueError(f"{count} frames are no clip")
            out.mux(stream.encode(None))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _stream(out: Any, width: int, height: int) -> VideoStream:
    """Return a stream of the first encoder that there is. Raises CannotError."""
    import av

    for name, options in ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:  # UnknownCodecError is one
            continue
        stream: VideoStream = out.add_stream(name, rate=5, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # 16 to 235, BT.601: as it is converted.
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 6
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        return stream
    raise CannotError(f"PyAV was built without libx264; install its wheel: {pip('install', '--force-reinstall', 'av')}")


def _step_back() -> None:
    """Lower this process: less of the processor, and the first to go when memory is short."""
    if sys.platform == "win32":
        return
    os.nice(NICENESS)
    first_to_go()


def main() -> int:
    """From standard input to the file that is named; one sentence on standard error where that fails."""
    _step_back()
    cv2.setNumThreads(1)
    try:
        masks, shots = unpacked(sys.stdin.buffer)
        encode(shots, Path(sys.argv[1]), masks)
    except CannotError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return NOTHING
    return 0


# Pictures with a note inside, and compressed frames in bounded memory.


OVERHEAD_BYTES = 200  # of a shot in memory beside its picture: objects, and their places
_COMMENT = b"\xff\xfe"


def at_most(image: Picture | Luma, width: int, *, even: bool = False) -> Picture | Luma:
    """Return the picture no wider than ``width`` pixels; with ``even`` sides, as video wants them."""
    tall, wide = image.shape[:2]
    scale = min(1.0, width / wide)
    step = 2 if even else 1
    size_wh = tuple(max(step, round(side * scale) // step * step) for side in (wide, tall))
    if size_wh == (wide, tall):
        return image
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: Picture | Luma, quality: int, note: Mapping[str, Any] | None = None) -> bytes:
    """Return the picture as a JPEG, with ``note`` as JSON in its comment. Raises OSError when it cannot be encoded."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"a picture of {image.shape[1]}x{image.shape[0]} could not be encoded")
    whole = data.tobytes()
    if note is None:
        return whole
    words = json.dumps(note, ensure_ascii=True, separators=(",", ":")).encode()
    return b"".join((whole[:2], _COMMENT, (len(words) + 2).to_bytes(2, "big"), words, whole[2:]))


def note_in(data: bytes) -> dict[str, Any]:
    """Return the note that ``jpeg`` wrote in a JPEG's comment; empty if there is none. The first 64 kB are enough."""
    if data[2:4] != b"\xff\xfe":
        return {}
    try:
        found = json.loads(data[6 : 4 + int.from_bytes(data[4:6], "big")])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class CompressedFrame(NamedTuple):
    """One compressed frame."""

    time: float  # seconds, the frame's clock
    jpeg: bytes

    @property
    def bytes(self) -> int:
        """Return what it takes in memory."""
        return len(self.jpeg) + OVERHEAD_BYTES


class Ring:
    """The shots of the last ``seconds``, at most ``max_bytes`` of them; the oldest are dropped."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.seconds = seconds
        self.max_bytes = max_bytes
        self.bytes = 0
        self._shots: deque[CompressedFrame] = deque()

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: CompressedFrame) -> None:
        """Take one more; after a jump back in time the ring begins again."""
        if self._shots and shot.time < self._shots[-1].time:
            self._shots.clear()
            self.bytes = 0
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self._shots and (self.bytes > self.max_bytes or self._shots[0].time < shot.time - self.seconds):
            self.bytes -= self._shots.popleft().bytes

    def shots(self) -> tuple[CompressedFrame, ...]:
        """Return what there is, oldest first."""
        return tuple(self._shots)


class ClipBuffer:
    """The shots of one clip, at most ``max_bytes`` of them: where they become too many, every second one is dropped.

    From then on it takes half as many a second, so that a long clip is thin everywhere and not cut short.
    """

    def __init__(self, shots: Iterable[CompressedFrame], max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.gap_s = 0.0  # between two shots, at least
        self._shots: list[CompressedFrame] = []
        for shot in shots:
            self.add(shot)

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: CompressedFrame) -> None:
        """Take one more, unless it comes too soon after the last one, or is too large."""
        if shot.bytes > self.max_bytes or (self._shots and shot.time - self._shots[-1].time < self.gap_s):
            return
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self.bytes > self.max_bytes:
            self._thin()

    def shots(self) -> tuple[CompressedFrame, ...]:
        """Return what there is, oldest first."""
        return tuple(self._shots)

    def _thin(self) -> None:
        self._shots = self._shots[::2]
        self.bytes = sum(shot.bytes for shot in self._shots)
        times = [shot.time for shot in self._shots]
        steps = sorted(after - before for before, after in pairwise(times))
        # A hair less than what is usual now: the clock of a camera jitters.
        self.gap_s = max(self.gap_s, 0.9 * steps[len(steps) // 2]) if steps else self.gap_s


if __name__ == "__main__":
    sys.exit(main())
