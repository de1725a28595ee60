"""Sources that OpenCV reads: USB cameras and network streams, video files, pictures.

A camera or stream may block in a driver for as long as that likes; ``edge.camera.live`` keeps it in a thread of its
own. Files are read in full, on their own clock, as fast as it goes.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.camera import DEFAULT_SIZE_WH, STREAM, Source, shown
from edge.errors import PictureError, SourceError
from edge.pictures import decode_picture, jpeg_or_none, picture_bytes
from edge.schema import Frame

OPEN_S = 10.0  # the limit for opening a stream
READ_S = 8.0  # and for each read: the first waits for a key frame
RETRY_S = 0.05
PLATFORM = sys.platform
BY_ID = Path("/dev/v4l/by-id")
SYSFS = Path("/sys/class/video4linux")
BACKENDS: Mapping[str, int] = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
# Frame threads each hold back one frame; two keep up with a stream of 8 megapixels.
DECODING_THREADS = 2
# Nodes of a Raspberry Pi: what a ribbon-cable camera is read through, and what is no camera at all.
PI_RIBBON = re.compile(r"unicam|rp1[-_]cfe|bcm2835-isp|pispbe")
PI_CODEC = re.compile(r"bcm2835-codec|rpi-?(vid|hevc)|hevc-dec")

USUAL_FPS = 25.0  # where a file gives none, or nonsense
MAX_FPS = 480.0
PICTURE_S = 1.0  # a folder plays one picture a second


class CaptureSource(Source):
    """A USB camera or a stream, opened and read in the caller's thread, thinned to ``fps`` frames a second.

    ``Frame.time`` is the monotonic clock when the frame was grabbed. A camera that gives nothing blocks for ever; a
    stream that has an end (a file behind http) just ends, but for one that ends before its first frame. Raises
    SourceError for what cannot be opened, and for an address of one picture. ``open_`` makes the capture.
    """

    live = True

    def __init__(
        self,
        word: str,
        *,
        name: str,
        fps: float,
        open_: Callable[[], Any] | None = None,
    ) -> None:
        self.word = word
        self.name = name
        self.fps = fps
        self.problems: list[str] = []
        self._reading = self._closed = False
        stream = bool(STREAM.match(word))
        if open_ is None:
            open_ = (lambda: open_stream(word)) if stream else (lambda: open_device(word))
        self._video: Any = open_()
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT) if stream else 0.0
        self._ends = count > 0
        if count == 1:
            self._video.release()
            raise SourceError(f"{shown(word)}: gives one picture and no stream; use the camera's MJPEG or RTSP address")

    def __iter__(self) -> Iterator[Frame]:
        """Grab every frame, so that none waits in the driver, and decode those that are due."""
        self._reading = True
        index, last = 0, float("-inf")
        try:
            while not self._closed:
                if not self._video.grab():
                    if self._ends:
                        break
                    time.sleep(RETRY_S)
                    continue
                now, gap_s = time.monotonic(), 1.0 / self.fps
                # Without a little slack a 30 fps camera thinned to 10 would give every fourth frame.
                if now < last + gap_s - 0.01:
                    continue
                read, image = self._video.retrieve()
                if not read or image is None:
                    continue
                # When it was due, so that the rate holds on average; not so long ago that a burst would follow.
                last = max(last + gap_s, now - gap_s / 2)
                yield Frame(image, now, datetime.now(UTC), self.name, index, time.monotonic())
                index += 1
                del image
        finally:
            self._video.release()
        if index == 0 and not self._closed:
            raise SourceError(
                f"{shown(self.word)}: ended before its first frame; check the address, and that it is a video"
            )

    def close(self) -> None:
        """End an iteration under way, once its read has come back; that releases the camera."""
        self._closed = True
        if not self._reading:
            self._video.release()


def open_stream(source: str) -> cv2.VideoCapture:
    """Open a network stream through FFmpeg. Raises SourceError."""
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_S * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(READ_S * 1000),
        cv2.CAP_PROP_N_THREADS, DECODING_THREADS,
    ]  # fmt: skip
    video = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if video.isOpened():
        return video
    video.release()
    raise SourceError(
        f"{shown(source)}: the stream cannot be opened; check the address, user and password, and that the camera is on"
    )


def open_device(source: str) -> cv2.VideoCapture:
    """Open a camera of this machine. Raises SourceError."""
    device = device_number(source)
    if why := pi_node(device):
        raise SourceError(f"{shown(source)}: {why}")
    video = cv2.VideoCapture(device, BACKENDS.get(PLATFORM, cv2.CAP_ANY))
    if not video.isOpened():
        video.release()
        allow = "; allow your terminal the camera in System Settings" if PLATFORM == "darwin" else ""
        cameras = ", ".join(sorted(map(str, BY_ID.glob("*-index0"))))
        there = f"plugged in: {cameras}" if cameras else "check that it is plugged in"
        raise SourceError(
            f"{shown(source)}: no such camera, or another program is using it{allow}; {there}; "
            "a Raspberry Pi's ribbon-cable camera is picamera://0. `bear-alarm watch demo` needs none"
        )
    # Uncompressed, most USB cameras give 720p at 5 to 10 frames a second. The format must come before the size.
    if PLATFORM != "darwin":
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    video.set(cv2.CAP_PROP_FRAME_WIDTH, DEFAULT_SIZE_WH[0])
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, DEFAULT_SIZE_WH[1])
    return video


def device_number(source: str) -> int | str:
    """Return what OpenCV calls a camera: 0 for "0" and, on Linux, for /dev/video0 and every link to it."""
    if source.isdecimal():
        return int(source[:9])
    if PLATFORM != "linux":
        return source
    # A link in /dev/v4l/by-id or by-path stays with its camera or socket when the numbers change.
    path = str(Path(source).resolve())
    match = re.fullmatch(r"/dev/video(\d{1,9})", path)
    return int(match[1]) if match else path


def pi_node(device: int | str) -> str | None:
    """Return why a device number of a Raspberry Pi is no USB camera, in words; None when it may be one."""
    try:
        driver = (SYSFS / f"video{device}" / "name").read_text(errors="replace").strip()
    except (OSError, ValueError):  # no Linux, or no such device
        return None
    if PI_RIBBON.search(driver):
        return (
            f"/dev/video{device} ({driver}) belongs to the Raspberry Pi's ribbon-cable camera, which OpenCV cannot "
            "read; use picamera://0"
        )
    if PI_CODEC.search(driver):
        return f"/dev/video{device} ({driver}) is the board's video decoder, no camera; try 0, or picamera://0"
    return None


class VideoSource(Source):
    """A video file, thinned to ``fps``. Frames that are not wanted are grabbed and never decoded to pictures.

    ``Frame.time`` is the media time, which always goes forward also where the file's time stamps do not.
    """

    def __init__(self, path: Path, *, name: str, fps: float) -> None:
        self.path = path
        self.name = name
        self.fps = fps
        self.problems: list[str] = []
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SourceError(f"{path}: cannot read the video ({error.strerror})") from None
        if size == 0:
            raise SourceError(f"{path}: the video file is empty (0 bytes); copy it again")
        self._closed = False
        self._reading = False
        # One decoding thread: a board has other work for its cores, and each thread holds frames of its own.
        self._video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not self._video.isOpened():
            raise SourceError(f"{path}: cannot be read as a video; it is truncated, damaged or no video at all")
        fps_of_file = self._video.get(cv2.CAP_PROP_FPS)
        known = math.isfinite(fps_of_file) and 0.1 <= fps_of_file <= MAX_FPS
        self.file_fps = fps_of_file if known else USUAL_FPS
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        self._count = int(count) if math.isfinite(count) and 0 < count < 1e9 else None
        self.length_s = self._count / self.file_fps if self._count else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when there is not one."""
        self._reading = True
        index, grabbed, at, last = 0, 0, -math.inf, -1.0 / self.fps
        try:
            while not self._closed and self._video.grab():
                at = self._stamp(grabbed, at)
                grabbed += 1
                # A hair early is on time: the stamps of a 10 fps file are not exact multiples of 0.1.
                gap_s = 1.0 / self.fps
                if at < last + gap_s - 0.25 / self.file_fps:
                    continue
                read, image = self._video.retrieve()
                if not read or image is None:
                    continue
                last = max(last + gap_s, at - gap_s)  # when it was due, so that the rate holds on average
                yield frame(image, self.name, index, at)
                index += 1
            if not self._closed:
                self._judge(grabbed, index)
        finally:
            self._video.release()

    def _stamp(self, grabbed: int, last: float) -> float:
        """Seconds into the file of the frame just grabbed; by counting where its stamp is missing or goes back."""
        stamp = float(self._video.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        if grabbed == 0:
            return stamp if math.isfinite(stamp) and 0.0 <= stamp < 1e6 else 0.0
        step = stamp - last
        # A hole of more than a minute is a broken stamp, not a pause.
        return stamp if math.isfinite(step) and 1e-4 < step < 60.0 else last + 1.0 / self.file_fps

    def _judge(self, grabbed: int, given: int) -> None:
        if given == 0:
            raise SourceError(f"{self.path}: no frame could be read from this video; it is truncated or damaged")
        # Containers that only estimate their length are off by a few frames.
        if self._count and grabbed < 0.97 * self._count - 2:
            self.problems.append(
                f"{self.path}: ends early, {grabbed} of {self._count} frames could be read; "
                "the file is truncated or damaged"
            )

    def close(self) -> None:
        """Close the file; an iteration under way ends with its current frame, and releases it there."""
        self._closed = True
        if not self._reading:
            self._video.release()


class PictureSource(Source):
    """Pictures played one a second, all of them whatever ``fps`` is; what cannot be read is named in ``problems``."""

    slides = True
    fps = 1.0 / PICTURE_S

    def __init__(self, paths: Sequence[Path], source: str, *, name: str) -> None:
        if not paths:
            raise SourceError(f"{source}: no pictures there (.jpg, .png, .bmp, .tif, .webp)")
        self.paths = list(paths)
        self.source = source
        self.name = name
        self.problems: list[str] = []
        self.length_s: float | None = len(self.paths) * PICTURE_S
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when no picture can be read."""
        index = 0
        for number, path in enumerate(self.paths):
            if self._closed:
                return
            try:
                data = picture_bytes(path)
                image = decode_picture(data, path)
            except PictureError as error:
                self.problems.append(str(error))
                continue
            yield frame(image, self.name, index, number * PICTURE_S, jpeg_or_none(data), path.name)
            index += 1
        if index == 0:
            only = f" ({self.problems[0]})" if self.problems else ""
            raise SourceError(f"{self.source}: none of its {len(self.paths)} pictures can be read{only}")

    def close(self) -> None:
        """End an iteration under way."""
        self._closed = True


def frame(image: object, name: str, index: int, at: float, jpeg: bytes | None = None, file: str | None = None) -> Frame:
    """Return a frame of a file, ``at`` seconds into it."""
    picture = np.asarray(image, np.uint8)
    return Frame(picture, at, datetime.now(UTC), name, index, time.monotonic(), media_time_s=at, jpeg=jpeg, file=file)
