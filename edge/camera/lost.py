"""How much of the time a camera gave no picture, and whether short gaps add up to a trouble of their own."""

from __future__ import annotations

import math
from collections import deque

from edge.camera.live import FIRST_S

WINDOW_S = 180.0  # what was lost longer ago is no longer held against it
SHARE = 0.2  # of the window: lost in short gaps, from which on the camera comes and goes; it is steady below half of it
LEAST_S = 0.7  # a shorter gap is a hiccup
SLOW = 3.0  # times the time between two frames: at a slow rate there are pauses that nobody wants
LONG_S = 2.0  # and one so long is none of a slow camera, however usual
USUAL = 16  # gaps between frames that are known; a quarter of them are shorter than what is usual
SHORT_S = 10.0  # a longer gap is told as what it is
LEAST_GAPS = 3  # fewer are a cable that somebody touched


class Lost:
    """The gaps between a camera's frames, added up. Times in seconds of one clock that only goes forward.

    A gap counts from 0.7 s and from three times what was asked for on. Where the camera itself is slow (a long exposure
    at night), also only from three times what is usual, but from 2 s on all the same.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self.unsteady = False  # it comes and goes
        self._began: float | None = None
        self._short: deque[tuple[float, float]] = deque()  # when a gap ended, how long it was
        self._gaps: deque[float] = deque(maxlen=USUAL)  # of the last frames, those that count too

    def __call__(self, now: float, gap_s: float, fps: float, stood_s: float = 0.0) -> None:
        """A frame has come, so long after the one before, at so many frames a second.

        ``stood_s``: the picture that has changed with it was frozen for so long; that is no picture either.
        """
        first, self._began = self._began is None, now if self._began is None else self._began
        if not first:
            self._gaps.append(gap_s)
        lost_s = stood_s
        if self.counts(gap_s, fps) and not (first and gap_s < FIRST_S):
            self.total_s += gap_s
            lost_s += gap_s
        if 0.0 < lost_s < SHORT_S:
            self._short.append((now, lost_s))
        while self._short and self._short[0][0] <= now - WINDOW_S:
            self._short.popleft()
        needed_s = SHARE * WINDOW_S * (0.5 if self.unsteady else 1.0)
        self.unsteady = self.lately_s >= needed_s and len(self._short) >= LEAST_GAPS

    @property
    def lately_s(self) -> float:
        """Seconds lost in short gaps within the window."""
        return sum(gap_s for _, gap_s in self._short)

    def words(self, now: float) -> str:
        """What is wrong, and what to do."""
        of_s = min(WINDOW_S, now - (now if self._began is None else self._began))
        return (
            f"the picture comes and goes, {self.lately_s:.0f} of the last {of_s:.0f} s were lost; check its plug, its "
            "power and the network"
        )

    def counts(self, gap_s: float, fps: float) -> bool:
        """Whether a gap between two frames is time lost, at so many frames a second."""
        gaps = sorted(self._gaps)
        usual_s = gaps[len(gaps) // 4] if gaps else math.inf
        return gap_s >= max(LEAST_S, SLOW / fps, min(SLOW * usual_s, LONG_S))
