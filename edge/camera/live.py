"""Cameras and streams: a reader thread and one slot that holds the newest frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import cv2

from edge.camera import DEFAULT_SIZE_WH, STREAM, Closing, shown
from edge.camera.checks import picture_fault
from edge.camera.device import Capture, device_number, open_device, open_stream
from edge.camera.newest import Newest
from edge.errors import SourceError
from edge.schema import Frame, Picture

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
        self._newest = Newest(self._read, f"camera {name}")
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
