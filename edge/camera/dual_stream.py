"""Two streams of one camera: the small one is looked at for motion, the large one is cut where something moved."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import cv2
import numpy as np

from edge.background import call_in_thread
from edge.camera import Reporter, Source
from edge.camera.live import LatestFrame
from edge.camera.reconnect import ReportThrottle, ignore
from edge.schema import CameraFault, Frame, Luma

OLDEST_S = 1.0  # a picture of the main stream further away shows another moment
SAME_S = 1.0  # a large picture that is the same for so long, while the small ones change, shows another moment too
SILENT_S = 5.0  # without one for so long, the main stream is gone
CLOSE_S = 1.0


class DualStreamSource(Source):
    """The frames of ``sub``, each with the picture of ``main``'s newest frame: ``luma`` and time are the sub-stream's.

    The two lie at most ``OLDEST_S`` apart. Where main has no such picture, not yet, or the same for ``SAME_S`` while
    sub's change, the sub-stream's own is handed over. The first frame with main's picture after that has ``again``, so
    that all is looked at again in full resolution. Main keeps its own rate; only its newest frame is kept.

    ``report`` is called from the iterating thread, as ``ReconnectingSource``'s is, with what is wrong with main (kind
    "main_gone"): what main reports of itself, or that it gave no picture to use for ``SILENT_S``. What is
    wrong with sub is sub's to report; while sub gives no frame, nothing is reported of main.

    Both must show the same view, which may be squeezed, and have times of the monotonic clock. ``ReconnectingSource``
    around each opens each again on its own. Raises SourceError where iterating ``sub`` does.
    """

    live = True

    def __init__(self, main: Source, sub: Source, *, name: str) -> None:
        self.main = main
        self.sub = sub
        self.name = name
        self.length_s = sub.length_s
        self.report: Reporter = ignore
        self.problems: list[str] = []
        self._newest = LatestFrame(self._follow, f"camera {name} main")
        self._main: Frame | None = None  # the newest
        self._stood_s = 0.0  # for how long it has shown the same while the sub-stream lives; 0 where it is used
        self._used_at = 0.0  # when main last gave a picture to use, or began to be waited for; monotonic
        self._main_fault: CameraFault | None = None  # as main reported it, from its own thread
        self._due = ReportThrottle()
        main.report_to(self._note, self._note)
        self.fps = sub.fps

    @property
    def lost_s(self) -> float:  # type: ignore[override]
        """Seconds in which the sub-stream gave no picture, so far: without it nothing is seen at all."""
        return self.sub.lost_s

    @property
    def reopened(self) -> int:  # type: ignore[override]
        """Return how often either stream was opened again."""
        return self.main.reopened + self.sub.reopened

    @property
    def alive_at(self) -> float | None:  # type: ignore[override]
        """Return when the sub-stream's loop last went on."""
        return self.sub.alive_at

    def report_to(self, report: Reporter, report_main: Reporter) -> None:
        """Report what is wrong with either stream from now on."""
        self.report = report_main
        self.sub.report_to(report, report_main)

    @property
    def primary(self) -> Source:
        """Return the sub-stream."""
        return self.sub

    @property
    def fps(self) -> float:
        """Frames handed over a second; may be changed at any time. Main is never so slow that none would be near."""
        return self.sub.fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self.sub.fps = fps
        self.main.fps = max(fps, 2.0 / OLDEST_S)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, as the sub-stream gives them."""
        self._newest = LatestFrame(self._follow, f"camera {self.name} main")  # iterated again, it needs another
        self._newest.start()
        self._main, self._stood_s = None, 0.0
        self._used_at = time.monotonic()
        apart, size_wh = False, None
        try:
            for number, seen in enumerate(self.sub):
                main = self._near(seen)
                self._judge(main, time.monotonic())
                luma = _luma(seen)
                if main is None:
                    apart = True
                    yield replace(seen, luma=luma, video=None, camera=self.name, handed_over=time.monotonic())
                    continue
                again = seen.discontinuity or bool(number and (apart or main.size_wh != size_wh))
                apart, size_wh = False, main.size_wh
                yield replace(
                    seen,
                    picture=main.picture,
                    jpeg=main.jpeg,
                    video=main.video,
                    luma=luma,
                    camera=self.name,
                    discontinuity=again,
                    frozen_s=min(seen.frozen_s, main.frozen_s),
                    handed_over=time.monotonic(),
                )
        finally:
            self._newest.stop()
            self.problems = [*self.main.problems, *self.sub.problems]

    def close(self) -> None:
        """Close both streams; an iteration under way ends."""
        self._newest.stop()
        # Both at once: each may take a second to close.
        closing = call_in_thread(self.main.close, f"camera {self.name} main closing")
        self.sub.close()
        concurrent.futures.wait([closing], CLOSE_S)

    def _follow(self) -> Generator[Frame, None, None]:
        yield from self.main

    def _note(self, trouble: CameraFault | None, _: float) -> None:
        """Note what main reports, in its thread, for the next frame of the sub-stream."""
        self._main_fault = trouble

    def _near(self, seen: Frame) -> Frame | None:
        """Return the main stream's newest frame, where it is near this one of the sub-stream and shows what is now."""
        self._main = main = self._newest.take() or self._main
        if main is None:
            return None
        # Once found to stand still it is not used until it lives, though the small picture may be the same at times.
        still = main.frozen_s >= SAME_S and (seen.frozen_s == 0.0 or self._stood_s > 0.0)
        self._stood_s = main.frozen_s if still else 0.0
        frozen = self._main_fault is not None and self._main_fault.kind == "frozen"
        if still or frozen or abs(seen.time - main.time) > OLDEST_S:
            self._main = None  # a large picture that will not be used
        return self._main

    def _judge(self, main: Frame | None, now: float) -> None:
        self._used_at = self._used_at if main is None else now
        why = ""
        if self._main_fault:
            why = self._main_fault.detail.removeprefix(f"{self.main.name}: ")
        elif main is None and self._newest.over:
            why = str(self._newest.error or "it has ended")
        elif main is None and self._stood_s >= SILENT_S:
            why = f"the same picture for {self._stood_s:.0f} s, while the small one changes; start the camera again"
        elif main is None and now - self._used_at >= SILENT_S:
            why = f"no picture of the same moment for {now - self._used_at:.0f} s; check its address"
        trouble = None
        if why:
            words = "only the small stream is seen, in which far animals are missed; the main stream"
            trouble = CameraFault("main_gone", f"{self.name}: {words}: {why}")
        if self._due(trouble, now):
            self.report(trouble, now)


def _luma(frame: Frame) -> Luma:
    if frame.luma is not None:
        return frame.luma
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
