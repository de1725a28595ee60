"""Frame rate and crop budget: a quiet place needs few frames, a slow board few crops."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.detect.motion import Grey

HOLD_S = 10.0  # to stay active after the last sign
SCAN_EVERY_S = 2.0
KNOWN_S = 10.0  # for so long at most, a scan of a picture that has not changed is not repeated
CELL_PX = 5  # of the small grey picture: 20 of 1280
SAME_LEVELS = 2.0  # grey levels by which the mean of a cell may differ
SCAN_SHARE, SCAN_BUSY = 0.1, 0.5  # of the time that scans may take, and while the picture moves or one is asked for
MIN_CROPS = 3  # with fewer, what moves would leave nothing for what is followed


class FrameRateControl:
    """Frames a second to ask of a source: ``idle_fps`` while nothing happens, ``active_fps`` from the first sign on.

    ``set_fps`` is called when the rate changes; a source begins active. ``share`` (0 to 1) is asked each time: how much
    of the rate this machine can keep up now; it takes none below ``least`` frames a second.
    """

    def __init__(
        self,
        idle_fps: float,
        active_fps: float,
        set_fps: Callable[[float], object],
        *,
        share: Callable[[], float] = lambda: 1.0,
        least: float = 0.0,
    ) -> None:
        self.idle_fps = idle_fps
        self.active_fps = active_fps
        self.set_fps = set_fps
        self.share = share
        self.least = least
        self._until: float | None = None
        self._fps = active_fps

    def __call__(self, sign: bool, time: float) -> None:
        """Follow what happens at a time (seconds); ``sign``: something moves or is followed."""
        if sign or self._until is None:
            self._until = time + HOLD_S
        wanted = self.active_fps if time < self._until else self.idle_fps
        fps = min(wanted, max(wanted * self.share(), self.least))
        if fps != self._fps:
            self._fps = fps
            self.set_fps(fps)


class ScanTimer:
    """When to look at the whole frame: at once where it is asked, in every frame while the picture moves, else rarely.

    On a slow board so seldom that it takes a tenth of the time at most, or half of it while the picture moves or where
    it is asked for; what was asked for is not forgotten. In a still place where a look found nothing, the next says the
    same until the picture has changed: for ``KNOWN_S`` it is spared. One region that moves ends that.
    """

    def __init__(self) -> None:
        self.took_s = 0.0  # by a look lately; 0: not known, or not to be counted
        self._at: float | None = None
        self._asked = True
        self._looked_at = 0.0  # seconds: the last look that was not spared
        self._shown: Grey | None = None  # the cells of its picture; None: something moved or was followed
        self._empty: Grey | None = None  # the same, while they are known to hold nothing

    def due(self, time: float, *, at_once: bool = False, moving: bool = False, still: Grey | None = None) -> bool:
        """Return True if the frame of this time (seconds) is due, and take it as done.

        ``still``: the small grey picture (h, w), 0 to 255, of a frame in which nothing moves or is followed.
        """
        self._asked = self._asked or at_once
        soon = self._asked or moving
        if soon or still is None:
            self._empty = None
        wait_s = self.took_s / SCAN_BUSY if soon else max(SCAN_EVERY_S, self.took_s / SCAN_SHARE)
        if self._at is not None and 0.0 <= time - self._at < wait_s - 1e-6:
            return False
        self._at, self._asked = time, False
        cells = None if still is None else _cells(still)
        known = self._empty is not None and time - self._looked_at < KNOWN_S - 1e-6
        if known and _same(cells, self._empty):
            return False
        self._looked_at, self._shown, self._empty = time, cells, None
        return True

    def found_nothing(self) -> None:
        """Note that the last look found nothing that could be a bear."""
        self._empty = self._shown

    def note(self, took_s: float) -> None:
        """Note the seconds that a scan has taken; an average over some ten."""
        self.took_s = self.took_s + 0.1 * (took_s - self.took_s) if self.took_s else took_s


def _cells(grey: Grey) -> Grey:
    height, width = grey.shape
    size_wh = max(width // CELL_PX, 1), max(height // CELL_PX, 1)
    return np.asarray(cv2.resize(grey, size_wh, interpolation=cv2.INTER_AREA), np.float32)


def _same(cells: Grey | None, before: Grey | None) -> bool:
    if cells is None or before is None or cells.shape != before.shape:
        return False
    return bool(np.abs(cells - before).max() < SAME_LEVELS)


class CropBudget:
    """Number of crops a frame may have so that scoring takes ``seconds`` or less on this machine.

    Starts with ``most`` and follows what scoring has taken, an average over some ten frames; waiting for other cameras
    counts, for the frame waits too. ``seconds`` None: always ``most``, so that a file gives the same events on every
    machine.
    """

    def __init__(self, seconds: float | None = None, *, most: int = 12) -> None:
        self.seconds = seconds
        self.most = most
        self.crop_s: float | None = None  # what scoring one crop has taken lately; None before the first

    @property
    def crops(self) -> int:
        """Crops for the next frame."""
        return self.beside(0.0)

    def beside(self, other_s: float) -> int:
        """Return crops for a frame in which something else takes so many seconds."""
        if self.seconds is None or not self.crop_s:
            return self.most
        return max(min(MIN_CROPS, self.most), int(min(self.most, (self.seconds - other_s) / self.crop_s)))

    def note(self, crops: int, took_s: float) -> None:
        """Note how long scoring so many crops took, in seconds."""
        if crops:
            each = took_s / crops
            self.crop_s = each if self.crop_s is None else self.crop_s + 0.1 * (each - self.crop_s)


@dataclass
class LoopStats:
    """Counts and times of one camera's loop."""

    frames: int = 0
    crops: int = 0
    footage_s: float = 0.0
    first_time: float | None = None
    # A running device must not grow: the last hour at 10 frames a second.
    frame_ms: deque[float] = field(default_factory=lambda: deque(maxlen=36_000))
