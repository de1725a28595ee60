"""The sweep: whole frame and tiles, a little each second, find what stands still."""

from __future__ import annotations

from edge.crops import tiles
from edge.schema import WHOLE, Region


class Sweep:
    """Which tiles to look at now; one for each camera.

    ``at_once`` (first frame, new background, reconnect) asks for a whole sweep, since a bear may
    already be there. Otherwise one whole sweep is spread over ``period_s`` seconds. While the picture
    as a whole moves, it goes on as fast as the frame's budget of crops allows.
    """

    def __init__(self, *, period_s: float = 10.0) -> None:
        self.period_s = period_s
        self._size_wh = (0, 0)
        self._tiles: list[Region] = []
        self._next = 0
        self._due = 0.0
        self._time: float | None = None

    def __call__(
        self, size_wh: tuple[int, int], time: float, *, most: int, at_once: bool, moving: bool
    ) -> list[Region]:
        """The regions (kind "sweep") to score in the frame of this size and time (seconds).

        At most ``most``, but for a whole sweep at once; what is over comes with the next frames.
        """
        if size_wh != self._size_wh:
            self._size_wh = size_wh
            self._tiles = [Region(box, "sweep") for box in whole_and_tiles(size_wh)]
            self._next = 0
        passed = 0.0 if self._time is None else max(time - self._time, 0.0)
        self._time = time
        if at_once:
            self._next, self._due = 0, 0.0
            return list(self._tiles)
        if moving:
            self._due = 0.0
            return self._take(most)
        self._due += passed * len(self._tiles) / self.period_s
        # A busy spell must not pile up more than one sweep.
        self._due = min(self._due, float(len(self._tiles)))
        taken = self._take(min(int(self._due), most))
        self._due -= len(taken)
        return taken

    def _take(self, count: int) -> list[Region]:
        count = max(0, min(count, len(self._tiles)))
        taken = [self._tiles[(self._next + i) % len(self._tiles)] for i in range(count)]
        self._next = (self._next + count) % len(self._tiles)
        return taken


def whole_and_tiles(size_wh: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """The whole frame, then its tiles, largest first."""
    return [WHOLE, *(box for box in tiles(size_wh) if box != WHOLE)]
