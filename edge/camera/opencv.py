"""Sources that OpenCV reads: USB cameras and pictures.

A camera may block in a driver for as long as that likes; ``edge.camera.live`` keeps it in a thread of its own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2

from edge.camera import DEFAULT_SIZE_WH, Source, shown
from edge.errors import PictureError, SourceError
from edge.pictures import camera_jpeg, read_picture
from edge.schema import Frame

RETRY_S = 0.05
PLATFORM = sys.platform
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
BY_ID = Path("/dev/v4l/by-id")
SYSFS = Path("/sys/class/video4linux")
BACKENDS: Mapping[str, int] = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
# Nodes of a Raspberry Pi: what a ribbon-cable camera is read through, and what is no camera at all.
PI_RIBBON = re.compile(r"unicam|rp1[-_]cfe|bcm2835-isp|pispbe")
PI_CODEC = re.compile(r"bcm2835-codec|rpi-?(vid|hevc)|hevc-dec")

PICTURE_S = 1.0  # a folder plays one picture a second


class CaptureSource(Source):
    """A USB camera, opened and read in the caller's thread, thinned to ``fps`` frames a second.

    ``Frame.time`` is the monotonic clock when the frame was grabbed. A camera that gives nothing blocks for ever.
    Where it gives its JPEGs as they are (``open_device``), they are decoded small, and in full when somebody asks; what
    is damaged is passed over. Raises SourceError for what cannot be opened. ``open_`` makes the capture.
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
        self._video: Any = open_() if open_ else open_device(word)

    def __iter__(self) -> Iterator[Frame]:
        """Grab every frame, so that none waits in the driver, and decode those that are due."""
        self._reading = True
        index, last = 0, float("-inf")
        try:
            while not self._closed:
                if not self._video.grab():
                    time.sleep(RETRY_S)
                    continue
                now, gap_s = time.monotonic(), 1.0 / self.fps
                # Without a little slack a 30 fps camera thinned to 10 would give every fourth frame.
                if now < last + gap_s - 0.01:
                    continue
                read, image = self._video.retrieve()
                if not read or image is None:
                    continue
                jpeg = image.tobytes() if len(image) == 1 else None  # one row: the camera's own bytes
                decoded = (image, None) if jpeg is None else camera_jpeg(jpeg)
                if decoded is None:
                    continue
                # When it was due, so that the rate holds on average; not so long ago that a burst would follow.
                last = max(last + gap_s, now - gap_s / 2)
                picture, luma = decoded
                yield Frame(
                    picture, now, datetime.now(UTC), self.name, index, time.monotonic(), luma=luma, jpeg=jpeg
                )  # fmt: skip
                index += 1
                del image, picture, decoded
        finally:
            self._video.release()

    def close(self) -> None:
        """End an iteration under way, once its read has come back; that releases the camera."""
        self._closed = True
        if not self._reading:
            self._video.release()


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
        video.set(cv2.CAP_PROP_FOURCC, MJPG)
    video.set(cv2.CAP_PROP_FRAME_WIDTH, DEFAULT_SIZE_WH[0])
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, DEFAULT_SIZE_WH[1])
    # Of the systems' drivers only V4L2 hands over the bytes; a camera that refused MJPG is decoded as ever.
    if PLATFORM == "linux" and video.get(cv2.CAP_PROP_FOURCC) == MJPG:
        video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
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
                image = read_picture(path)
            except PictureError as error:
                self.problems.append(str(error))
                continue
            at = number * PICTURE_S
            yield Frame(
                image, at, datetime.now(UTC), self.name, index, time.monotonic(), media_time_s=at, file=path.name
            )  # fmt: skip
            index += 1
        if index == 0:
            only = f" ({self.problems[0]})" if self.problems else ""
            raise SourceError(f"{self.source}: none of its {len(self.paths)} pictures can be read{only}")

    def close(self) -> None:
        """End an iteration under way."""
        self._closed = True
