"""A live camera: one reader thread, and one slot that holds its newest frame.

Opening, reading and closing may each hang in a driver, so all of them happen in the reader thread (``Connection``)
and what takes the frames waits only as long as it wants. ``LiveSource`` gives the frames of one connection; what opens
a lost camera again, for ever, is ``edge.camera.reconnect``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from enum import Enum

import numpy as np

from edge.background import start_thread
from edge.camera import Source, frame_patience_s, shown
from edge.camera.video import OPEN_S
from edge.errors import SourceError
from edge.schema import Frame, LazyImage

log = logging.getLogger(__name__)

FIRST_S = 8.0  # from being opened to the first frame: a stream must wait for its key frame
SILENT_S = 5.0  # without a frame for so long, a camera is gone
CLOSE_S = 0.8  # how long closing waits for a read


class State(Enum):
    """States of a connection."""

    CONNECTING = "connecting"  # being opened
    STREAMING = "streaming"  # open; frames come, or are awaited
    LOST = "lost"  # over: its thread has closed the camera


class LatestFrame:
    """Iterates what ``frames`` makes in a daemon thread; the newest frame waits to be taken, an older one is dropped.

    The iterator is made, advanced and closed in that thread. ``ready`` is notified when there is something to take and
    when all is over; several may share it.
    """

    def __init__(
        self, frames: Callable[[], Generator[Frame, None, None]], name: str, ready: threading.Condition | None = None
    ) -> None:
        self.name = name
        self.ready = ready or threading.Condition()
        self.over = False  # the thread has ended: nothing comes after what waits
        self.error: Exception | None = None  # what it ended with
        self.stopping = False  # it is to end
        self._slot: Frame | None = None
        self._frames = frames

    def start(self) -> None:
        """Begin."""
        start_thread(self._run, self.name)

    @property
    def waiting(self) -> bool:
        """Return True if ``take`` has something to give, or nothing to wait for."""
        return self._slot is not None or self.over or self.stopping

    def take(self, wait_s: float = 0.0) -> Frame | None:
        """Take the newest frame, waiting for one up to so many seconds; None when none came, also after the end."""
        with self.ready:
            self.ready.wait_for(lambda: self.waiting, wait_s)
            frame, self._slot = self._slot, None
        return frame

    def stop(self) -> None:
        """End it after the frame it is at; returns at once."""
        with self.ready:
            self.stopping = True
            self.ready.notify_all()

    def _run(self) -> None:
        try:
            with closing(self._frames()) as frames:
                for frame in frames:
                    with self.ready:
                        self._slot = frame
                        self.ready.notify_all()
                    del frame
                    if self.stopping:
                        break
        except Exception as error:
            if isinstance(error, SourceError):
                error.__traceback__ = None  # it would keep the last picture
            self.error = error
        finally:
            with self.ready:
                self.over = True
                self.ready.notify_all()


# Connections that were stopped and have not come back from the driver, by device. Nothing can end them, and a
# second reader of the same device would hang too, so there is never one.
_stopping: dict[str, Connection] = {}


class Connection(LatestFrame):
    """One opening of a camera, from the call of ``open_`` to its closing, in one reader thread.

    ``open_`` gives a source that is read in the thread that iterates it. Times are seconds of ``clock``. ``ready`` is
    notified of each frame and of each change of ``state``.
    """

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        *,
        fps: float | None = None,
        device: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        ready: threading.Condition | None = None,
    ) -> None:
        super().__init__(self._read, f"camera {name}", ready)
        self.began = clock()
        self.opened_at: float | None = None
        self.frame_at: float | None = None  # when the last frame came
        self.taken = 0  # frames
        self.source: Source | None = None
        self._open = open_
        self._fps = fps
        self._device = device
        self._clock = clock
        self._closing = False
        self.start()

    @property
    def state(self) -> State:
        """Return what it is doing now."""
        if self.over:
            return State.LOST
        return State.CONNECTING if self.opened_at is None else State.STREAMING

    @property
    def held(self) -> bool:
        """Return True if something of it still runs: the camera may not be opened again yet."""
        return not self.over or self._closing

    @property
    def steady_s(self) -> float:
        """For how long it has given frames, from being opened to the last."""
        return self.frame_at - self.opened_at if self.frame_at is not None and self.opened_at is not None else 0.0

    def set_fps(self, fps: float) -> None:
        """Change the rate, also of what is not open yet."""
        self._fps = fps
        if source := self.source:
            source.fps = fps

    def await_open(self) -> None:
        """Wait until the camera is open. Raises what opening it raised, and SourceError when it takes too long."""
        with self.ready:
            self.ready.wait_for(lambda: self.state is not State.CONNECTING, OPEN_S + 2.0)
        if self.state is State.CONNECTING:
            self.stop()
            name = shown(self._device or self.name)
            raise SourceError(f"{name}: did not open within {OPEN_S:g} s; check the address and the network")
        if self.error and self.opened_at is None:
            raise self.error

    def take(self, wait_s: float = 0.0) -> Frame | None:
        """Take the newest frame, and count it."""
        frame = super().take(wait_s)
        self.taken += frame is not None
        return frame

    def stop(self) -> None:
        """Close the camera; returns at once, also where that hangs."""
        with self.ready:
            if self.stopping:
                return
            super().stop()
            if self.over:
                return
            earlier = _stopping.get(self._device or "")
            if self._device and not (earlier and earlier.held):  # else this one still waits for it, and opened nothing
                _stopping[self._device] = self
            if self.source is None:  # the reader closes what it opens too late
                return
            self._closing = True
        start_thread(self._close, self.name)

    def join(self, within_s: float) -> bool:
        """Wait until nothing of it runs any more, at most so many seconds."""
        with self.ready:
            return self.ready.wait_for(lambda: not self.held, within_s)

    def _run(self) -> None:
        super()._run()
        self._forget()

    def _read(self) -> Generator[Frame, None, None]:
        self._await_earlier()
        source = self._open()
        try:
            with self.ready:
                self.source, self.opened_at = source, self._clock()
                self.ready.notify_all()
                stopping = self.stopping
            source.fps = self._fps or source.fps
            if not stopping:
                for frame in source:
                    self.frame_at = self._clock()
                    yield frame
                    del frame
        finally:
            source.close()

    def _await_earlier(self) -> None:
        """Wait for a reader that was left behind on this device. Raises SourceError when it does not come back."""
        earlier = _stopping.get(self._device or "")
        if earlier and not earlier.join(OPEN_S):
            raise SourceError(
                f"{shown(self._device or '')}: the driver still hangs in an earlier read, so the camera cannot be "
                "opened again; unplug it and plug it in, or restart this device"
            )

    def _close(self) -> None:
        try:
            if self.source:
                self.source.close()
        except Exception:
            log.exception("%s: could not be closed", self.name)
        finally:
            with self.ready:
                self._closing = False
                self.ready.notify_all()
            self._forget()

    def _forget(self) -> None:
        """Free the device for others once reading and closing have both come back."""
        if self._device and not self.held and _stopping.get(self._device) is self:
            del _stopping[self._device]


class LiveSource(Source):
    """The newest frames of a camera that ``open_`` opens, at up to ``fps`` a second; what is stale is dropped.

    Iterating raises SourceError when no frame has come for ``silent_s`` seconds, or what came is no picture. A stream
    that has an end just ends. ``word`` is what the user calls the camera. Raises SourceError when it does not open.
    """

    live = True

    def __init__(
        self, open_: Callable[[], Source], word: str, *, name: str, fps: float, silent_s: float = SILENT_S
    ) -> None:
        self.word = word
        self.name = name
        self.silent_s = silent_s
        self._fps = fps
        self._closed = False
        self._connection = Connection(open_, name, fps=fps, device=word)
        self._connection.await_open()
        self.problems = self._connection.source.problems if self._connection.source else []

    @property
    def fps(self) -> float:
        """Frames handed over a second; may be changed at any time."""
        return self._fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self._fps = fps
        self._connection.set_fps(fps)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame, again and again. Raises SourceError when they stop coming."""
        index, patience_s = 0, max(self.silent_s, FIRST_S)
        while True:
            frame = self._connection.take(patience_s)
            if self._closed:
                return
            if frame is None:
                if self._connection.error:
                    raise self._connection.error
                if self._connection.over:
                    return
                raise SourceError(
                    f"{shown(self.word)}: no frame for {patience_s:g} s; the camera is unplugged, switched off or "
                    "out of reach: check its plug and power, and the network"
                )
            if fault := frame_fault(frame):
                raise SourceError(f"{shown(self.word)}: {fault}")
            yield replace(frame, index=index, handed_over=time.monotonic())
            del frame
            index += 1
            patience_s = frame_patience_s(self.silent_s, self.fps)

    def close(self) -> None:
        """Close the camera; an iteration under way ends. A read that hangs is left behind and releases it later."""
        self._closed = True
        self._connection.stop()
        self._connection.join(CLOSE_S)


def frame_fault(frame: object) -> str | None:
    """Return what is wrong with what a source gave, in words; None when nothing is. No ``LazyImage`` is decoded."""
    if not isinstance(frame, Frame):
        return f"gave {type(frame).__name__} and no frame; start the camera again"
    shown = [(frame.luma, 2)] if frame.luma is not None else []
    if not isinstance(frame.picture, LazyImage):
        shown.append((frame.picture, 3))
    for found, dimensions in shown:
        if not (isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.ndim == dimensions and found.size):
            return "gave no 8-bit picture; set the camera to 8-bit colour, or start it again"
        if dimensions == 3 and found.shape[2] != 3:
            return "gave no colour picture; set the camera to 8-bit colour, or start it again"
    return None
