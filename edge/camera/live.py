"""Cameras and streams: a reader thread and one slot that holds the newest frame."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.source import DEFAULT_SIZE_WH, STREAM, Closing, shown
from edge.errors import SourceError
from edge.schema import Frame, Picture

# Whether what a camera gave is a picture, and whether it is always the same one.


STEP_PX = 16  # of the sample
LEAST_SAME = 3  # frames; two may be the same by chance, or sent twice
FROZEN_S = 5.0  # the same bytes for so long are no living camera
FROZEN_AGAIN_S = 10.0  # and while they go on, it is opened anew so often
MOST_AGAIN_S = 300.0
MOST_PATIENCE_S = 60.0  # of a camera that was seen to come back by itself
STEADY_S = 10.0  # what lives for so long after being opened was helped by it
CERTAIN_S = 3.0  # certain for so long it is told (edge.detect.camera_check)
LIVELY_S = 600.0  # of a picture that lives, in which the patience halves


def picture_fault(picture: object) -> str | None:
    """What is wrong with what should be a ``uint8 (H, W, 3)`` picture, in words; None when nothing is."""
    return _fault(picture, (None, None, 3), "an 8-bit colour picture")


def frame_fault(frame: object) -> str | None:
    """What is wrong with what a source gave, in words; None when nothing is. A picture left for later is not made."""
    if not isinstance(frame, Frame):
        return f"gave {type(frame).__name__} and no frame; start the camera again"
    if isinstance(frame.picture, np.ndarray) or not callable(frame.picture):
        return picture_fault(frame.picture) or (None if frame.luma is None else luma_fault(frame.luma))
    return None if frame.luma is None else luma_fault(frame.luma)


def luma_fault(luma: object) -> str | None:
    """What is wrong with what should be ``uint8 (h, w)`` brightness, in words; None when nothing is."""
    return _fault(luma, (None, None), "8-bit brightness")


class Stillness:
    """For how long the same bytes have been coming; a living camera's noise differs in most frames.

    It compares a sample, every 16th pixel of every 16th row, and a checksum of the whole only where that is equal.
    At 1280x720 on one core of a server (AMD EPYC): 0.03 ms a frame, 0.4 ms where the sample is equal.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what came before."""
        self.frames = 0  # the same, in a row
        self._sample: NDArray[np.uint8] | None = None
        self._checksum: int | None = None  # kept instead of the picture, whose memory may be used again
        self._since = 0.0

    def __call__(self, frame: Frame, time: float) -> float:
        """Seconds from the first of the same frames to this one. A picture for later is judged by its luma."""
        whole = frame.picture if isinstance(frame.picture, np.ndarray) else frame.luma
        if whole is None:
            self.reset()
            return 0.0
        sample = whole[::STEP_PX, ::STEP_PX]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample, self._checksum = sample.copy(), None
            self._since, self.frames = time, 1
            return 0.0
        checksum = zlib.crc32(np.ascontiguousarray(whole).data)
        if self._checksum not in {None, checksum}:
            self._since, self.frames = time, 0
        self._checksum = checksum
        self.frames += 1
        return time - self._since


class Frozen:
    """Whether a camera stands still, and whether to open it anew; times in seconds of one clock.

    The first time it is opened anew and nothing said; it is ``certain`` where that was of no use: the same picture
    again, or soon another that stands still. That lasts until two pictures in a row differ.

    An H.264 camera of a still place may send the same bytes for many seconds and be well. So it is opened anew at
    ever longer intervals, and a run of the same that ended by itself makes it wait twice as long the next time, until
    the picture has lived for a while. One that was told, or went on over an opening, was no still place: nothing is
    learnt from it.
    """

    def __init__(self) -> None:
        self._still = Stillness()
        self._patience_s, self._again_s = FROZEN_S, FROZEN_AGAIN_S
        self._time = 0.0  # of the last frame
        self.reset()

    def reset(self) -> None:
        """The camera was away for another reason."""
        self._still.reset()
        self._doubted = False
        self._stuck = False  # the same picture after it was opened anew
        self._certain_at = 0.0  # since when it is certain
        self.certain = False
        self.frozen_s = 0.0  # for how long the picture has been the same
        self.stood_s = 0.0  # for how long it was, where this frame has ended that and nothing excuses it

    def __call__(self, frame: Frame, time: float, opened: float, number: int) -> bool:
        """Whether to open it anew, after the frame of this number (1, 2, …) since it was opened at ``opened``."""
        before_s, self.frozen_s = self.frozen_s, self._still(frame, time)
        passed_s, self._time, self.stood_s = time - self._time, time, 0.0
        if self._still.frames == 1 and number > 1:
            self._lives(before_s, passed_s)
            self._doubted = self._doubted and time - opened < STEADY_S
        elif number == 1:
            self._stuck = self.frozen_s >= FROZEN_S
        if self.frozen_s < self._patience_s or self._still.frames < LEAST_SAME:
            return False
        if not self._doubted:
            self._doubted = True
            return True
        self._certain_at = self._certain_at if self.certain else time
        self.certain = True
        if time - opened < self._again_s:
            return False
        self._again_s = min(2 * self._again_s, MOST_AGAIN_S)
        return True

    def _lives(self, before_s: float, passed_s: float) -> None:
        """The picture has changed by itself, after so long of the same, and so long since the frame before."""
        told = self.certain and self._time - self._certain_at >= CERTAIN_S
        if before_s >= FROZEN_S:
            self._again_s = FROZEN_AGAIN_S
            if self._stuck or told:
                self.stood_s = before_s
            else:
                self._patience_s = min(max(self._patience_s, 2 * before_s), MOST_PATIENCE_S)
        elif before_s == 0.0:
            self._patience_s = max(self._patience_s * 0.5 ** (min(passed_s, 1.0) / LIVELY_S), FROZEN_S)
        self.certain = self._stuck = False


def _fault(found: object, shape: tuple[int | None, ...], wanted: str) -> str | None:
    if found is None:
        return "gave no picture; start the camera again"
    if not isinstance(found, np.ndarray):
        return f"gave {type(found).__name__} and no picture; start the camera again"
    fits = found.ndim == len(shape) and all(want in {None, have} for want, have in zip(shape, found.shape, strict=True))
    if found.dtype == np.uint8 and fits and found.size:
        return None
    sides = "x".join(str(side) for side in found.shape)
    return f"gave {found.dtype} {sides} instead of {wanted}; set the camera to 8-bit colour, or start it again"


# Opening cameras and streams with OpenCV, and saying in a sentence why one cannot be opened.


SYSFS = Path("/sys/class/video4linux")
BY_ID = Path("/dev/v4l/by-id")
BACKENDS: Mapping[str, int] = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
MOST_DEVICES = 1000
# Frame threads each hold back one frame; two keep up with a stream of 8 megapixels.
DECODING_THREADS = 2
# Nodes of a Raspberry Pi: what a ribbon-cable camera is read through, and what is no camera at all.
PI_RIBBON = re.compile(r"unicam|rp1[-_]cfe|bcm2835-isp|pispbe")
PI_CODEC = re.compile(r"bcm2835-codec|rpi-?(vid|hevc)|hevc-dec")


class Capture(Protocol):
    """What a live source needs of ``cv2.VideoCapture``."""

    def grab(self) -> bool:
        """Wait for the next frame; False when none came."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the frame grabbed: whether that worked, and ``uint8 (H, W, 3)`` BGR."""

    def get(self, what: int) -> float:
        """A property of OpenCV's ``CAP_PROP_…``; 0 or less where it is not known."""

    def release(self) -> None:
        """Let go of it."""


def open_stream(source: str, *, open_s: float, read_s: float) -> Capture:
    """A network stream through FFmpeg, with limits in seconds for opening and for each read. Raises SourceError."""
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_s * 1000),
        cv2.CAP_PROP_N_THREADS, DECODING_THREADS,
    ]  # fmt: skip
    video = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if video.isOpened():
        return video
    video.release()
    raise SourceError(
        f"{shown(source)}: the stream cannot be opened; check the address, user and password, and that the camera is on"
    )


def open_device(
    source: str,
    size_wh: tuple[int, int] | None,
    *,
    platform: str = sys.platform,
    sysfs: Path = SYSFS,
    by_id: Path = BY_ID,
) -> Capture:
    """A camera of this machine, asked for ``size_wh`` pixels where that is not None. Raises SourceError."""
    device = device_number(source, platform)
    if (platform == "linux" and (why := pi_node(device, sysfs))) or (isinstance(device, int) and device > MOST_DEVICES):
        raise SourceError(f"{shown(source)}: {why or _absent(platform, sysfs, by_id)}")
    video = cv2.VideoCapture(device, BACKENDS.get(platform, cv2.CAP_ANY))
    if not video.isOpened():
        video.release()
        raise SourceError(f"{shown(source)}: {_absent(platform, sysfs, by_id)}")
    # Uncompressed, most USB cameras give 720p at 5 to 10 frames a second. The format must come before the size.
    if platform != "darwin":
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if size_wh:
        video.set(cv2.CAP_PROP_FRAME_WIDTH, size_wh[0])
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1])
    return video


def device_number(source: str, platform: str = sys.platform) -> int | str:
    """What OpenCV calls a camera: 0 for "0" and, on Linux, for /dev/video0 and every link to it."""
    if source.isdecimal():
        return int(source[:9])
    if platform != "linux":
        return source
    # A link in /dev/v4l/by-id or by-path stays with its camera or socket when the numbers change.
    path = str(Path(source).resolve())
    match = re.fullmatch(r"/dev/video(\d{1,9})", path)
    return int(match[1]) if match else path


def pi_node(device: int | str, sysfs: Path = SYSFS) -> str | None:
    """Why a device number of a Raspberry Pi is no USB camera, in words; None when it may be one."""
    driver = _driver(sysfs / f"video{device}")
    if PI_RIBBON.search(driver):
        return (
            f"/dev/video{device} ({driver}) belongs to the Raspberry Pi's ribbon-cable camera, which OpenCV cannot "
            "read; use picamera://0"
        )
    if PI_CODEC.search(driver):
        return f"/dev/video{device} ({driver}) is the board's video decoder, no camera; try 0, or picamera://0"
    return None


def _absent(platform: str, sysfs: Path, by_id: Path) -> str:
    """Why there may be no camera, and what there is instead."""
    if platform == "darwin":
        return (
            "no such camera, or it may not be used; allow your terminal the camera in System Settings > Privacy & "
            "Security > Camera, and start the terminal again"
        )
    why = "no such camera, or another program is using it"
    try:
        cameras = sorted(str(path) for path in by_id.glob("*-index0"))
        ribbon = any(PI_RIBBON.search(_driver(node)) for node in sysfs.glob("video*"))
    except OSError:
        cameras, ribbon = [], False
    if cameras:
        return f"{why}; plugged in: {', '.join(cameras)}"
    if ribbon:
        return f"{why}; the Raspberry Pi's ribbon-cable camera is picamera://0"
    return f"{why}; check that it is plugged in. `bear-alarm watch demo` needs none"


def _driver(node: Path) -> str:
    try:
        return (node / "name").read_text(errors="replace").strip()
    except (OSError, ValueError):
        return ""


# An iterator run in a thread of its own, of which only the newest item is kept.


Item = TypeVar("Item")


class LatestFrame(Generic[Item]):
    """Runs what ``items`` makes in a daemon thread; the newest item waits to be taken, an older one is dropped.

    The iterator is made, advanced and closed in that thread, and an iterator that hangs holds up nobody else.
    ``ready`` is notified when there is something to take and when all is over; several may share it.
    """

    def __init__(
        self, items: Callable[[], Generator[Item, None, None]], name: str, ready: threading.Condition | None = None
    ) -> None:
        self.ready = ready or threading.Condition()
        self.over = False  # the thread has ended: nothing comes after what waits
        self.error: Exception | None = None  # what it ended with
        self._stopped = False
        self._slot: Item | None = None
        self._items = items
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    @property
    def waiting(self) -> bool:
        """Whether ``take`` has something to give, or nothing to wait for."""
        return self._slot is not None or self.over or self._stopped

    def take(self, wait_s: float = 0.0) -> Item | None:
        """The newest item, waiting for one up to so many seconds; None when none came, also after the end."""
        with self.ready:
            self.ready.wait_for(lambda: self.waiting, wait_s)
            slot, self._slot = self._slot, None
        return slot

    def stop(self) -> None:
        """End it after the item it is at; returns at once."""
        with self.ready:
            self._stopped = True
            self.ready.notify_all()

    def _run(self) -> None:
        items = self._items()
        try:
            for item in items:
                with self.ready:
                    self._slot = item
                    self.ready.notify_all()
                if self._stopped:
                    break
        except Exception as error:
            if isinstance(error, SourceError):
                error.__traceback__ = None  # it would keep the last picture
            self.error = error
        finally:
            items.close()
            with self.ready:
                self.over = True
                self.ready.notify_all()


log = logging.getLogger(__name__)

OPEN_S = 10.0  # how long a camera may take to open
FIRST_S = 8.0  # and then to its first frame: a stream must wait for its key frame
SILENT_S = 5.0  # without a frame for so long, a camera is gone
CLOSE_S = 0.8  # how long closing waits for a read
RETRY_S = 0.05

# Readers that did not come back from the driver, by what they read: nothing can end them, so there is never a second.
_left: dict[int | str, threading.Thread] = {}


class Grabbed(NamedTuple):
    """A picture and when it was grabbed."""

    picture: Picture
    time: float  # time.monotonic(), seconds
    wall: datetime  # UTC


class LiveSource(Closing):
    """A camera or stream at up to ``fps`` frames a second; never falls behind, drops what is stale.

    ``Frame.time`` is the monotonic clock when the frame was grabbed. Iterating raises SourceError when no frame has
    come for ``silent_s`` seconds, or what came is no picture. A stream that has an end (a file behind http) just ends,
    but for one that ends before its first frame. ``open_`` makes the capture, in the reader thread.
    """

    live = True
    length_s: float | None = None

    def __init__(
        self,
        source: str,
        *,
        name: str,
        fps: float,
        silent_s: float = SILENT_S,
        size_wh: tuple[int, int] | None = DEFAULT_SIZE_WH,
        open_: Callable[[], Capture] | None = None,
    ) -> None:
        self.source = source
        self.name = name
        self.fps = fps
        self.silent_s = silent_s
        self.size_wh = size_wh
        self.problems: list[str] = []
        self._open = open_ or self._open_capture
        self._device = source if STREAM.match(source) else device_number(source)
        self._opened = False
        self._closed = False
        _await_left(self._device, shown(source))
        # Opening may block inside a driver for longer than its time limit, so it happens in the thread too.
        self._newest = LatestFrame(self._read, f"camera {name}")
        self._newest.start()
        ready = self._newest.ready
        with ready:
            answered = ready.wait_for(lambda: self._opened or self._newest.over, OPEN_S + 2.0)
        if not answered:
            self.close()
            raise SourceError(f"{shown(source)}: did not open within {OPEN_S:g} s; check the address and the network")
        if self._newest.error and not self._opened:
            raise self._newest.error

    def __repr__(self) -> str:
        return f"LiveSource({shown(self.source)!r}, name={self.name!r}, fps={self.fps:g})"

    def __iter__(self) -> Iterator[Frame]:
        """The newest frame, again and again. Raises SourceError when they stop coming."""
        index, patience_s = 0, max(self.silent_s, FIRST_S)
        while True:
            grabbed = self._newest.take(patience_s)
            if self._closed:
                return
            if grabbed is None:
                self._judge(index, patience_s)
                return
            if fault := picture_fault(grabbed.picture):
                raise SourceError(f"{shown(self.source)}: {fault}")
            yield Frame(grabbed.picture, grabbed.time, grabbed.wall, self.name, index, time.monotonic())
            index += 1
            # At a slow rate there are pauses between frames that nobody wants.
            patience_s = max(self.silent_s, 2.0 / self.fps)

    def close(self) -> None:
        """Let go of the camera; an iteration under way ends. A read that hangs is left behind and releases it later."""
        self._closed = True
        self._newest.stop()
        thread = self._newest.thread
        if thread is threading.current_thread():
            return
        thread.join(CLOSE_S)
        if thread.is_alive() and _left.get(self._device) is not thread:
            _left[self._device] = thread
            log.debug("%s: a read does not come back; it is left behind", shown(self.source))

    def _judge(self, given: int, waited_s: float) -> None:
        """No frame has come: raise SourceError, but where the stream was one that ends."""
        if self._newest.error:
            raise self._newest.error
        if not self._newest.over:
            raise SourceError(
                f"{shown(self.source)}: no frame for {waited_s:g} s; the camera is unplugged, switched off or "
                "out of reach: check its plug and power, and the network"
            )
        if given == 0:
            raise SourceError(
                f"{shown(self.source)}: ended before its first frame; check the address, and that it is a video"
            )

    def _read(self) -> Generator[Grabbed, None, None]:
        """In the reader thread: grab everything, decode what is due."""
        video = self._open()
        with self._newest.ready:
            self._opened = True
            self._newest.ready.notify_all()
        try:
            count = video.get(cv2.CAP_PROP_FRAME_COUNT) if STREAM.match(self.source) else 0.0
            if count == 1:
                raise SourceError(
                    f"{shown(self.source)}: gives one picture and no stream; use the camera's MJPEG or RTSP address"
                )
            finite = count > 0
            last = float("-inf")
            while not self._closed:
                if not video.grab():
                    if finite:
                        return
                    time.sleep(RETRY_S)
                    continue
                now, gap_s = time.monotonic(), 1.0 / self.fps
                # Without a little slack a 30 fps camera thinned to 10 would give every fourth frame.
                if now < last + gap_s - 0.01:
                    continue
                read, image = video.retrieve()
                if not read or image is None:
                    continue
                # When it was due, so that the rate holds on average; not so long ago that a burst would follow.
                last = max(last + gap_s, now - gap_s / 2)
                yield Grabbed(image, now, datetime.now(UTC))
        finally:
            video.release()

    def _open_capture(self) -> Capture:
        if STREAM.match(self.source):
            return open_stream(self.source, open_s=OPEN_S, read_s=max(self.silent_s, FIRST_S))
        return open_device(self.source, self.size_wh)


def _await_left(device: int | str, words: str) -> None:
    """Wait for a reader that was left behind on this device. Raises SourceError when it does not come back."""
    thread = _left.get(device)
    if thread is None:
        return
    thread.join(OPEN_S)
    if thread.is_alive():
        raise SourceError(
            f"{words}: the driver still hangs in an earlier read, so the camera cannot be opened again; "
            "unplug it and plug it in, or restart this device"
        )
    if _left.get(device) is thread:
        del _left[device]
