"""Cameras and streams: a reader thread and one slot that holds the newest frame."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from edge.camera import STREAM, device_number, shown
from edge.errors import SourceError
from edge.schema import Frame, Picture

OPEN_S = 10.0  # how long a stream may take to open
SILENT_S = 10.0  # without a frame for so long, a camera is gone
RETRY_S = 0.05


class LiveSource:
    """A camera or stream at up to ``fps`` frames a second; never falls behind, drops what is stale.

    ``Frame.time`` is the monotonic clock when the frame was grabbed. Iterating raises SourceError when
    no frame has come for ``silent_s`` seconds. A stream that has an end (a file behind http) just ends,
    but for one that ends before its first frame.
    """

    live = True
    length_s: float | None = None

    def __init__(self, source: str, *, name: str, fps: float, silent_s: float = SILENT_S) -> None:
        self.source = source
        self.name = name
        self.fps = fps
        self.silent_s = silent_s
        self.problems: list[str] = []
        self.dropped = 0  # frames that were replaced before anyone took them
        self._ready = threading.Condition()
        self._slot: tuple[Picture, float, datetime] | None = None
        self._closed = False
        self._ended = False
        self._opened = threading.Event()
        self._failed: str | None = None
        # Opening may block inside a driver for longer than its time limit, so it happens in the thread too.
        self._thread = threading.Thread(target=self._read, name=f"camera {name}", daemon=True)
        self._thread.start()
        if not self._opened.wait(OPEN_S + 2.0):
            self.close()
            raise SourceError(f"{shown(source)}: did not open within {OPEN_S:.0f} s; check the address and the network")
        if self._failed:
            raise SourceError(self._failed)

    def __iter__(self) -> Iterator[Frame]:
        """The newest frame, again and again. Raises SourceError when they stop coming."""
        index = 0
        while True:
            with self._ready:
                came = self._ready.wait_for(lambda: self._slot or self._closed or self._ended, self.silent_s)
                slot, self._slot = self._slot, None
            if self._closed:
                return
            if self._ended and slot is None:
                if index == 0:
                    raise SourceError(
                        f"{shown(self.source)}: ended before its first frame; check the address, and that it is a video"
                    )
                return
            if not came or slot is None:
                raise SourceError(
                    f"{shown(self.source)}: no frame for {self.silent_s:g} s; the camera is unplugged, frozen or "
                    "out of reach"
                )
            image, at, wall = slot
            yield Frame(image, at, wall, self.name, index, time.monotonic())
            index += 1

    def close(self) -> None:
        """Let go of the camera; an iteration under way ends."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        if self._thread is not threading.current_thread():
            # A read that hangs in the driver must not hang the end of the program.
            self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        """The reader thread: grab everything, decode what is due, keep the newest."""
        video = self._open()
        if video is None:
            self._opened.set()
            return
        self._opened.set()
        finite = video.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        due = 0.0
        try:
            while not self._closed:
                if not video.grab():
                    if finite:
                        break
                    time.sleep(RETRY_S)
                    continue
                now = time.monotonic()
                # Without a little slack a 30 fps camera thinned to 10 would give every fourth frame.
                if now < due - 0.01:
                    continue
                read, image = video.retrieve()
                if not read or image is None:
                    continue
                due = max(due + 1.0 / self.fps, now)
                with self._ready:
                    self.dropped += self._slot is not None
                    self._slot = (np.asarray(image, np.uint8), now, datetime.now(UTC))
                    self._ready.notify_all()
        finally:
            video.release()
            with self._ready:
                self._ended = finite
                self._ready.notify_all()

    def _open(self) -> cv2.VideoCapture | None:
        if STREAM.match(self.source):
            limits = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_S * 1000),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(self.silent_s * 1000),
            ]  # fmt: skip
            video = cv2.VideoCapture(self.source, cv2.CAP_FFMPEG, limits)
            why = "the stream cannot be opened; check the address, user and password, and that the camera is on"
        else:
            backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
            video = cv2.VideoCapture(device_number(self.source), backend)
            why = "no such camera, or another program is using it; `bear-alarm watch demo` needs none"
        if video.isOpened():
            return video
        video.release()
        self._failed = f"{shown(self.source)}: {why}"
        return None
