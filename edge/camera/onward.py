"""Frames of several connections as one row."""

from __future__ import annotations

import math
from dataclasses import replace

from edge.schema import Frame

LEAST_STEP_S = 1e-3  # between the times of two frames


class Onward:
    """Makes frames of several connections one row: numbered on, and with times that only go forward."""

    def __init__(self) -> None:
        self._number = 0
        self._time = -math.inf  # of the last frame
        self._at = 0.0  # when it was handed over
        self._size_wh = (0, 0)
        self._shift_s = 0.0

    def __call__(self, frame: Frame, now: float, *, first: bool) -> Frame:
        """The frame as the next of the row; ``first`` of its connection. ``now``: the monotonic clock, seconds."""
        number, again = self._number, False
        if first:
            # A connection with a clock of its own goes on where the last one was, plus the gap.
            behind = frame.time <= self._time
            self._shift_s = self._time + max(now - self._at, 0.0) - frame.time if behind else 0.0
        if number:
            again = frame.again or first or frame.size_wh != self._size_wh
        self._time = max(frame.time + self._shift_s, self._time + LEAST_STEP_S)
        self._number, self._at, self._size_wh = number + 1, now, frame.size_wh
        return replace(frame, index=number, time=self._time, handed_over=now, again=again)
