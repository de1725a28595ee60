"""Two streams of one camera: the small one is looked at for motion, the large one is cut where something moved."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import cv2
import numpy as np

from edge.camera import Closing, Source
from edge.camera.newest import Newest
from edge.schema import Frame, Luma

log = logging.getLogger(__name__)

OLDEST_S = 1.0  # a picture of the main stream further away shows another moment
SILENT_S = 5.0  # without one for so long, the main stream is silent
FIRST_S = 8.0  # how long the first frame waits for the main stream, which has its own key frame to wait for
MOST_PROBLEMS = 20


class PairedSource(Closing):
    """The frames of ``sub``, each with the picture of ``main``'s newest frame: ``luma`` and time are the sub-stream's.

    The two lie at most ``oldest_s`` apart; ``skew_s`` is how far in the last frame. Where main has no such picture the
    sub-stream's own is handed over, and when that has lasted ``silent_s`` a sentence in ``problems`` says so. The first
    frame with main's picture again has ``again``, so that all is looked at anew in full resolution. Main goes on at
    its own rate, of which only the newest frame is kept.

    Both must show the same view, which may be squeezed, and have times of the monotonic clock. ``KeptSource`` around
    each opens each anew on its own. Raises SourceError where iterating ``sub`` does.
    """

    live = True

    def __init__(
        self,
        main: Source,
        sub: Source,
        *,
        name: str,
        oldest_s: float = OLDEST_S,
        silent_s: float = SILENT_S,
        first_s: float = FIRST_S,
    ) -> None:
        self.main = main
        self.sub = sub
        self.name = name
        self.oldest_s = oldest_s
        self.silent_s = silent_s
        self.first_s = first_s
        self.length_s = sub.length_s
        self.skew_s: float | None = None  # sub's time less main's, seconds; None: no picture of main's is in use
        self.problems: list[str] = []
        self._newest = Newest(self._follow, f"camera {name} main")
        self._main: Frame | None = None  # the newest
        self._heard = 0.0  # when main last gave a frame, or began to be waited for; monotonic
        self._told = False  # that it is silent
        self.fps = sub.fps

    def __repr__(self) -> str:
        return f"PairedSource({self.main!r}, {self.sub!r}, name={self.name!r})"

    @property
    def fps(self) -> float:
        """Frames handed over a second; may be changed at any time. Main is never so slow that none would be near."""
        return self.sub.fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self.sub.fps = fps
        self.main.fps = max(fps, 2.0 / self.oldest_s)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, as the sub-stream gives them."""
        self._newest = Newest(self._follow, f"camera {self.name} main")  # iterated again, it needs another
        self._newest.start()
        self._main = self._newest.take(self.first_s)
        self._heard = time.monotonic()
        apart, size_wh = False, None
        try:
            for number, seen in enumerate(self.sub):
                main = self._near(seen)
                luma = _luma(seen)
                if main is None:
                    apart = True
                    yield replace(seen, luma=luma, camera=self.name, handed_over=time.monotonic())
                    continue
                again = seen.again or bool(number and (apart or main.size_wh != size_wh))
                apart, size_wh = False, main.size_wh
                yield replace(
                    seen, picture=main.picture, luma=luma, camera=self.name, again=again, handed_over=time.monotonic()
                )
        finally:
            self._newest.stop()
            self.problems += [*self.main.problems, *self.sub.problems]
            del self.problems[:-MOST_PROBLEMS]

    def close(self) -> None:
        """Let go of both streams; an iteration under way ends."""
        self._newest.stop()
        self.sub.close()
        self.main.close()

    def _follow(self) -> Generator[Frame, None, None]:
        """The main stream, in a thread of its own."""
        yield from self.main

    def _near(self, seen: Frame) -> Frame | None:
        """The main stream's newest frame, where it is near this one of the sub-stream."""
        now = time.monotonic()
        if frame := self._newest.take():
            self._main, self._heard, self._told = frame, now, False
        main = self._main
        self.skew_s = None if main is None or abs(seen.time - main.time) > self.oldest_s else seen.time - main.time
        if self.skew_s is not None:
            return main
        self._main = None  # a large picture that nobody will use
        if not self._told and (self._newest.over or now - self._heard >= self.silent_s):
            self._told = True
            why = f" ({self._newest.error})" if self._newest.error else ""
            self.problems.append(
                f"{self.name}: the main stream gives no pictures{why}; the small stream's are used, in which animals "
                "are seen less far: check the main stream's address"
            )
            del self.problems[:-MOST_PROBLEMS]
            log.warning("%s", self.problems[-1])
        return None


def _luma(frame: Frame) -> Luma:
    """The brightness (h, w) of a frame."""
    if frame.luma is not None:
        return frame.luma
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
