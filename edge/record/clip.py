"""A clip from compressed pictures, made by a program of its own: no crash and no peak of memory touches the alarm.

``ClipMaker`` is the alarm's side: it starts the program, feeds it, and ends it when it takes too long. The program is

    python -m edge.record.clip clip.mp4 < pictures

It reads a line of JSON (``{"masks": [...]}``), then for each picture when it is shown and decoded (float64, seconds),
1 if decoding may begin there (uint8), its length (uint32), all big-endian, and its bytes: a JPEG, or H.264 as Annex B;
a length of 0 is the end. Where all is a camera's own H.264, it is copied. JPEGs, a mix of both, what masks hide part
of, and what a browser may not play are encoded: H.264, yuv420p. The index comes first, as browsers and phones want it;
whole or not at all. Exit codes: 0 written, 2 what came is no clip, 3 this machine cannot encode.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import dropwhile, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np

from edge.background import first_to_go
from edge.detect.zones import BLACK, Polygon, PrivacyMask
from edge.installing import pip
from edge.pictures import jpeg_colours
from edge.schema import Luma, Packet, Picture

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


log = logging.getLogger(__name__)


LIMIT_S = 300.0  # a minute of 720p may take a third of it on a small board
PROGRAM = (sys.executable, "-m", "edge.record.clip")

HEAD = struct.Struct(">dd?I")  # time, decode time, key, length
NOTHING, CANNOT = 2, 3  # exit codes
MAX_WIDTH = 1280
TICKS = 1000  # a second
STEP_TICKS = 190  # between two pictures of H.264 that is encoded: five a second, for cameras jitter
PLAYABLE = ("yuv420p", "yuvj420p")  # 8 bits, 4:2:0
PARAMETER_SETS = (7, 8)  # NAL unit types, H.264 table 7-1
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

    def __call__(self, packets: Sequence[Packet], path: Path, masks: Sequence[Polygon] = ()) -> bool:
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
            why = _feed(child, packets, masks)
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


def _feed(child: subprocess.Popen[bytes], packets: Sequence[Packet], masks: Sequence[Polygon]) -> str:
    """Give the child its pictures and wait for it; return its last line, which is why it failed."""
    assert child.stdin is not None
    assert child.stderr is not None
    # A child that has ended wrote why on its standard error.
    with contextlib.suppress(OSError), child.stdin as pipe:
        for piece in packed(packets, masks):
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


def packed(packets: Iterable[Packet], masks: Sequence[Polygon]) -> Iterator[bytes]:
    """Yield what this program reads, piece by piece."""
    yield json.dumps({"masks": masks}).encode() + b"\n"
    for packet in packets:
        yield HEAD.pack(packet.time, packet.decode_time, packet.key, len(packet.data))
        yield packet.data
    yield HEAD.pack(0.0, 0.0, False, 0)


def unpacked(stream: BinaryIO) -> tuple[tuple[Polygon, ...], list[Packet]]:
    """Return the masks and the pictures.

    Raises ValueError for anything but what ``packed`` gives, also where it ends early.
    """
    found = json.loads(stream.readline())["masks"]
    masks = tuple(tuple((float(x), float(y)) for x, y in corners) for corners in found)
    packets: list[Packet] = []
    while True:
        head = stream.read(HEAD.size)
        if len(head) < HEAD.size:
            raise ValueError("the pictures end early")
        time, decode_time, key, length = HEAD.unpack(head)
        if length == 0:
            return masks, packets
        data = stream.read(length)
        if len(data) < length:
            raise ValueError("the pictures end early")
        packets.append(Packet(data, time, decode_time, key))


def encode(packets: Iterable[Packet], path: Path, masks: Sequence[Polygon] = ()) -> int:
    """Write the clip; return how many pictures are in it. Those that cannot be decoded are missing.

    Raises CannotError, ValueError when there are fewer than two pictures, OSError.
    """
    try:
        import av
    except ImportError as error:
        raise CannotError(f"PyAV is missing ({error}); install it with: {pip('install', 'av')}") from None
    playable = list(dropwhile(lambda packet: not packet.key, packets))
    part = half_written(path)
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as out:
            count = 0 if masks else _copied(playable, out)
            count = count or _encoded(playable, out, PrivacyMask(masks, BLACK))
            if count < 2:
                raise ValueError(f"{count} frames are no clip")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _copied(packets: Sequence[Packet], out: OutputContainer) -> int:
    """Copy a camera's own video; return how many pictures, 0 where a browser may not play it as it is.

    Every picture is to be H.264 of the same parameter sets, 8 bits, 4:2:0.
    """
    import av

    if len(packets) < 2 or not all(packet.h264 for packet in packets):
        return 0
    if len({parameter_sets(packet.data) for packet in packets if packet.key} - {frozenset()}) != 1:
        return 0
    with av.open(BytesIO(b"".join(packet.data for packet in packets[:2])), format="h264") as own:
        if own.streams.video[0].pix_fmt not in PLAYABLE:
            return 0
        stream = out.add_stream_from_template(own.streams.video[0])
    last = -(1 << 62)
    for each in packets:
        packet = _av_packet(each, packets[0].time)
        last = packet.dts = max(last + 1, packet.dts or 0)
        packet.pts = max(last, packet.pts or 0)
        packet.stream, packet.is_keyframe = stream, each.key
        out.mux(packet)
    return len(packets)


def parameter_sets(data: bytes) -> frozenset[bytes]:
    """Return the sequence and picture parameter sets in H.264, Annex B."""
    units = re.split(rb"\x00*\x00\x00\x01", data)
    return frozenset(unit for unit in units if unit and unit[0] & 31 in PARAMETER_SETS)


def _av_packet(packet: Packet, began: float) -> Any:
    import av

    made = av.Packet(packet.data)
    made.time_base = Fraction(1, TICKS)
    made.pts, made.dts = (round((at - began) * TICKS) for at in (packet.time, packet.decode_time))
    return made


def _encoded(packets: Sequence[Packet], out: OutputContainer, hidden: PrivacyMask) -> int:
    """Encode pictures, masked, each in the first one's size; return how many. Raises CannotError."""
    import av

    count, last = 0, -1
    stream: VideoStream | None = None
    began = packets[0].time if packets else 0.0
    for ticks, image in _pictures(packets, began):
        picture = np.asarray(at_most(hidden(image), MAX_WIDTH, even=True))
        if stream is None:
            stream = _stream(out, picture.shape[1], picture.shape[0])
        elif (stream.width, stream.height) != (picture.shape[1], picture.shape[0]):
            picture = np.asarray(cv2.resize(picture, (stream.width, stream.height)), np.uint8)
        if ticks <= last:
            continue
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
        out.mux(stream.encode(frame))
        count, last = count + 1, ticks
    if stream:
        out.mux(stream.encode(None))
    return count


def _pictures(packets: Sequence[Packet], began: float) -> Iterator[tuple[int, Picture]]:
    """Yield each JPEG, and five pictures a second of H.264, with the ticks since ``began``."""
    import av

    for h264, run in groupby(packets, lambda packet: packet.h264):
        if not h264:
            for packet in run:
                if (image := jpeg_colours(packet.data)) is not None:
                    yield round((packet.time - began) * TICKS), image
            continue
        decoder, due = av.CodecContext.create("h264", "r"), float("-inf")
        for each in (*(_av_packet(packet, began) for packet in run), None):
            try:
                frames = decoder.decode(each)
            except av.FFmpegError:
                continue  # what is damaged
            for frame in frames:
                ticks = frame.pts or 0
                if ticks >= due:
                    due = ticks + STEP_TICKS
                    yield ticks, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


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
        masks, packets = unpacked(sys.stdin.buffer)
        encode(packets, Path(sys.argv[1]), masks)
    except CannotError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return NOTHING
    return 0


# Pictures with a note inside, and compressed pictures in bounded memory.


OWN = 0.7  # the share of a clip's bytes up to which it takes what the camera compressed
LATE_S = 1.0  # the longest that a camera's own video may show nothing new
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


class Ring:
    """The JPEGs of the last ``seconds``, at most ``max_bytes`` of them; the oldest are dropped."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.seconds = seconds
        self.max_bytes = max_bytes
        self.bytes = 0
        self._packets: deque[Packet] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: Packet) -> None:
        """Take one more; after a jump back in time the ring begins again."""
        if self._packets and packet.time < self._packets[-1].time:
            self._packets.clear()
            self.bytes = 0
        self._packets.append(packet)
        self.bytes += packet.bytes
        while self._packets and (self.bytes > self.max_bytes or self._packets[0].time < packet.time - self.seconds):
            self.bytes -= self._packets.popleft().bytes

    def packets(self) -> tuple[Packet, ...]:
        """Return what there is, oldest first."""
        return tuple(self._packets)


class ClipBuffer:
    """The pictures of one clip, at most ``max_bytes`` of them.

    A camera's own bytes fill it up to the share ``OWN``. Then it is ``full`` for them: it takes no more H.264, and is
    to be given small JPEGs. Where even these become too many, JPEGs are dropped where they lie closest: a long clip
    gets thinner everywhere and is not cut short.
    """

    def __init__(self, packets: Iterable[Packet], max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.full = False
        self._packets: list[Packet] = []
        for packet in packets:
            self.add(packet)

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def last(self) -> Packet | None:
        """Return the newest."""
        return self._packets[-1] if self._packets else None

    def add(self, packet: Packet) -> None:
        """Take one more; not H.264 where it is full, nor a JPEG that is too large."""
        self.full = self.full or self.bytes + packet.bytes > OWN * self.max_bytes
        if self.full if packet.h264 else packet.bytes > (1 - OWN) * self.max_bytes:
            return
        self._packets.append(packet)
        self.bytes += packet.bytes
        while self.bytes > self.max_bytes:
            self._thin()

    def lacks(self, time: float) -> bool:
        """Return True if a JPEG at this time is wanted: no video of the camera's own is taken, or none has come."""
        last = self.last
        return self.full or last is None or not last.h264 or time - last.time > LATE_S

    def packets(self) -> tuple[Packet, ...]:
        """Return what there is, in the order of decoding."""
        return tuple(self._packets)

    def _thin(self) -> None:
        """Drop the JPEG whose neighbours are the nearest to each other."""
        held = self._packets
        span = {n: held[n + 1].time - held[n - 1].time for n in range(1, len(held) - 1) if not held[n].h264}
        self.bytes -= held.pop(min(span, key=span.__getitem__, default=-1)).bytes


if __name__ == "__main__":
    sys.exit(main())
