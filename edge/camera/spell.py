"""One connection to a camera, from being opened to being let go of."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator

from edge.camera import Source
from edge.camera.newest import Newest
from edge.schema import Frame

log = logging.getLogger(__name__)


class Spell:
    """Opens a source in a thread of its own and keeps its newest frame; nothing here waits for a driver.

    Times are seconds of ``clock``. ``ready`` is notified of each frame, of the end, and when nothing is left.
    """

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        fps: Callable[[], float],
        clock: Callable[[], float],
        ready: threading.Condition,
    ) -> None:
        self.began = clock()
        self.opened: float | None = None
        self.heard: float | None = None  # when the last frame came
        self.taken = 0  # frames
        self.source: Source | None = None
        self._name = name
        self._fps = fps
        self._clock = clock
        self._ready = ready
        self._stopping = False
        self._closers = 0
        self._newest = Newest(lambda: self._frames(open_), f"kept {name}", ready)
        self._newest.start()

    @property
    def over(self) -> bool:
        """Nothing more comes by itself."""
        return self._newest.over

    @property
    def error(self) -> Exception | None:
        """Why it is over."""
        return self._newest.error

    @property
    def waiting(self) -> bool:
        """Whether there is a frame to take, or it is over."""
        return self._newest.waiting

    @property
    def held(self) -> bool:
        """Whether something of it still runs: the camera may not be opened again yet."""
        return not self._newest.over or self._closers > 0

    @property
    def steady_s(self) -> float:
        """For how long it has given frames, from being opened to the last."""
        return self.heard - self.opened if self.heard is not None and self.opened is not None else 0.0

    def take(self) -> Frame | None:
        """The newest frame that has come and was not taken."""
        frame = self._newest.take()
        self.taken += frame is not None
        return frame

    def stop(self) -> None:
        """Let go of the camera; returns at once, also where that hangs."""
        with self._ready:
            if self._stopping:
                return
            self._stopping = True
            self._newest.stop()
            if self.source is None or self._newest.over:
                return  # the opening thread closes what it opens too late
            self._closers += 1
            source = self.source
        threading.Thread(target=self._close, args=(source,), name=f"kept {self._name}", daemon=True).start()

    def _frames(self, open_: Callable[[], Source]) -> Generator[Frame, None, None]:
        """In its own thread."""
        source = open_()
        try:
            with self._ready:
                self.source, self.opened = source, self._clock()
                self._ready.notify_all()
                stopping = self._stopping
            source.fps = self._fps()
            if not stopping:
                for frame in source:
                    self.heard = self._clock()
                    yield frame
        finally:
            source.close()

    def _close(self, source: Source) -> None:
        try:
            source.close()
        except Exception:
            log.exception("%s: could not be closed", self._name)
        finally:
            with self._ready:
                self._closers -= 1
                self._ready.notify_all()
