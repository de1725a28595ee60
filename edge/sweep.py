"""The sweep: whole frame and tiles, a little each second, find what stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.crops import tiles
from edge.schema import WHOLE, BoxXYWH, Region
from edge.zones import Polygon, covered

HIDDEN = 0.9  # a tile that masks cover so far is left out


class Sweep:
    """Which tiles to look at now; one for each camera.

    One round over all tiles is spread over ``period_s`` seconds. ``at_once`` (first frame, new background,
    reconnect) begins an urgent round, since a bear may already be there: the whole frame first, then the
    largest tiles, as many in each frame as the caller has left, until all have been looked at. While the
    picture as a whole moves, round follows round as fast as that allows.

    A round under way is never cut short: asked for another, it goes on until each tile has been looked at
    once more. So no tile starves, however often the light flickers (``longest_unseen_s``).
    """

    def __init__(self, *, period_s: float = 10.0, masks: Sequence[Polygon] = ()) -> None:
        self.period_s = period_s
        self.masks = tuple(masks)
        self._size_wh = (0, 0)
        self._tiles: list[Region] = []
        self._next = 0
        self._urgent = 0  # tiles that an urgent round has still to look at
        self._due = 0.0
        self._time: float | None = None

    def due(self, size_wh: tuple[int, int], time: float, *, at_once: bool = False, moving: bool = False) -> int:
        """How many of this frame's crops must be kept for the sweep, whatever else there is: 1 or 0.

        Asked before motion and tracks take theirs; it changes nothing.
        """
        if size_wh != self._size_wh:
            return 1
        return int(bool(self._tiles) and (at_once or moving or self._urgent > 0 or self._due_by(time) >= 1))

    def __call__(
        self, size_wh: tuple[int, int], time: float, *, most: int, at_once: bool = False, moving: bool = False
    ) -> list[Region]:
        """The regions (kind "sweep") to score in the frame of this size and time (seconds), ``most`` at most."""
        if size_wh != self._size_wh:
            self._size_wh, at_once = size_wh, True
            self._tiles = [Region(box, "sweep") for box in whole_and_tiles(size_wh, self.masks)]
            self._next = self._urgent = 0
        self._due, self._time = self._due_by(time), time
        if at_once:
            self._next = self._next if self._urgent else 0
            self._urgent = len(self._tiles)
        if self._urgent or moving:
            taken = self._take(most if moving else min(self._urgent, most))
            self._urgent = max(self._urgent - len(taken), 0)
            self._due = 0.0
            return taken
        taken = self._take(min(int(self._due), most))
        self._due -= len(taken)
        return taken

    def longest_unseen_s(self, fps: float, most: int = 1, size_wh: tuple[int, int] = (1280, 720)) -> float:
        """Seconds within which every tile is looked at again, so also each that shows a bear that never moves.

        ``most`` is how many crops a frame are left to the sweep at worst (1: what ``due`` keeps), ``fps`` the
        lowest rate of frames that are really looked at: while nothing moves the idle rate (edge.pace; 5 by
        default: 14.2 s), or what a slow board can do with the three crops that a frame is given at least.
        One round, spread or as fast as these allow, and before it an urgent one that began just before the
        tile's turn, each rounded up to whole frames.
        """
        count = len(whole_and_tiles(size_wh, self.masks))
        return max(self.period_s, count / most / fps) + (math.ceil(count / most) + 2) / fps

    def _due_by(self, time: float) -> float:
        """Tiles due at this time; a busy spell must not pile up more than one round."""
        passed = 0.0 if self._time is None else max(time - self._time, 0.0)
        return min(self._due + passed * len(self._tiles) / self.period_s, float(len(self._tiles)))

    def _take(self, count: int) -> list[Region]:
        count = max(0, min(count, len(self._tiles)))
        taken = [self._tiles[(self._next + i) % len(self._tiles)] for i in range(count)]
        self._next = (self._next + count) % max(len(self._tiles), 1)
        return taken


def whole_and_tiles(size_wh: tuple[int, int], masks: Sequence[Polygon] = ()) -> list[BoxXYWH]:
    """The whole frame, then its tiles, largest first, but for those that masks cover to nine tenths."""
    boxes = [WHOLE, *(box for box in tiles(size_wh) if box != WHOLE)]
    return [box for box in boxes if covered(masks, box) < HIDDEN]
