"""What moved: a running average and a threshold on a small grey picture.

The arithmetic is plain so that the phone can repeat it from test vectors. Per frame, all in
float32, with dt the seconds since the last frame:

1. ``grey``: resize to 320 wide (INTER_LINEAR, height round(320*H/W)), BGR to grey, 3x3 mean
   (border mirrored without its edge, OpenCV's default).
2. ``shift``: the lower median of grey - background on every 4th row and column; the background is moved
   by it, so that a cloud over the sun moves nothing.
3. ``diff`` = |grey - background|; a pixel is foreground where diff > max(threshold, k * deviation).
4. ``deviation`` follows diff, and ``background`` follows grey, each by 1 - exp(-dt/T); foreground
   pixels by the longer times. So what sways grows quiet, and what stops is absorbed slowly.
5. Foreground is closed (5x5 maximum, then minimum, ignoring what lies outside), its 8-connected
   parts become boxes, small ones are dropped, near ones merged, the largest kept.

Changed "everywhere" means: in 60 % of the cells of an 8x6 grid more than 5 % of the pixels. Once is a
lighting jump (the background starts anew); twice within a second means the picture as a whole moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.schema import BoxXYWH, Frame, Picture, Region

Grey = NDArray[np.float32]  # (h, 320), 0 to 255
Mask = NDArray[np.uint8]  # (h, 320), 0 or 1
PixelBox = tuple[int, int, int, int]  # left, top, width, height on the small picture

WIDTH_PX = 320
CELLS_WH = (8, 6)
CLOSING = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class MotionSettings:
    """How much change counts, in grey levels (0 to 255), seconds and pixels of the small picture."""

    threshold: float = 9.0  # least difference that counts
    deviations: float = 3.0  # and at least so many mean deviations of that pixel
    background_s: float = 10.0  # how fast the background follows
    foreground_s: float = 60.0  # and where something stands in front of it
    deviation_s: float = 10.0  # how fast a swaying pixel grows quiet
    first_deviation: float = 1.5  # of a background that has seen one frame
    least_area_px: int = 8  # foreground pixels: a 27 px wide bear in 1280 covers about 7 x 4
    least_side_px: int = 4  # longer side of the box
    near_px: float = 3.0  # boxes closer than this, or than near_share of the larger, are one
    near_share: float = 0.15
    most_regions: int = 8
    everywhere: float = 0.6  # share of cells that must change for a jump or a moving picture
    cell_share: float = 0.05
    moving_s: float = 1.0  # two changes everywhere within this are movement, not a jump


@dataclass(frozen=True)
class Motion:
    """What moved in one frame."""

    regions: tuple[Region, ...]  # kind "motion", largest first
    reset: bool = False  # the background starts anew: first frame, lighting jump, camera at rest again
    moving: bool = False  # the picture as a whole moves: regions mean nothing, sweep instead


class MotionFinder:
    """Frame in, ``Motion`` out; one for each camera. Time comes from ``frame.time``."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self.settings = settings or MotionSettings()
        self._background: Grey | None = None
        self._deviation: Grey = np.empty((0, 0), np.float32)
        self._previous: Grey = np.empty((0, 0), np.float32)
        self._time = 0.0
        self._changed_at = -math.inf
        self._moving = False

    def __call__(self, frame: Frame) -> Motion:
        """What moved since the frames before."""
        grey = small_grey(frame.image)
        dt, self._time = max(frame.time - self._time, 0.0), frame.time
        if self._background is None or self._background.shape != grey.shape:
            self._restart(grey)
            return Motion((), reset=True)
        previous, self._previous = self._previous, grey
        step = np.abs(grey - previous - _median(grey - previous))
        if self._everywhere(step > self.settings.threshold):
            return self._all_changed(grey)
        if self._moving:
            if frame.time - self._changed_at <= self.settings.moving_s:
                self._restart(grey)
                return Motion((), moving=True)
            self._moving = False
            self._restart(grey)
            return Motion((), reset=True)
        return self._compare(grey, dt)

    def _compare(self, grey: Grey, dt: float) -> Motion:
        """Steps 2 to 5 on a picture that holds still."""
        s = self.settings
        assert self._background is not None
        background = self._background + _median(grey - self._background)
        change = grey - background
        diff = np.abs(change)
        foreground = diff > np.maximum(s.deviations * self._deviation, s.threshold)
        if self._everywhere(foreground):
            return self._all_changed(grey)
        follow = np.where(foreground, _alpha(dt, s.foreground_s), _alpha(dt, s.background_s))
        self._background = background + follow * change
        self._deviation += _alpha(dt, s.deviation_s) * (diff - self._deviation)
        return Motion(tuple(Region(box, "motion") for box in self._boxes(foreground.view(np.uint8))))

    def _all_changed(self, grey: Grey) -> Motion:
        """A jump the first time, movement when it comes again soon."""
        again = self._time - self._changed_at <= self.settings.moving_s
        self._changed_at = self._time
        self._restart(grey)
        self._moving = again
        return Motion((), reset=not again, moving=again)

    def _restart(self, grey: Grey) -> None:
        self._background = self._previous = grey
        self._deviation = np.full_like(grey, self.settings.first_deviation)

    def _everywhere(self, changed: NDArray[np.bool_]) -> bool:
        """Whether enough cells of the grid have changed."""
        # Averaging areas down to the grid gives each cell's share in one call.
        shares = cv2.resize(changed.view(np.uint8) * np.float32(1), CELLS_WH, interpolation=cv2.INTER_AREA)
        return float(np.mean(shares > self.settings.cell_share)) >= self.settings.everywhere

    def _boxes(self, foreground: Mask) -> list[BoxXYWH]:
        """The boxes of what is foreground, as fractions, largest first."""
        s = self.settings
        height, width = foreground.shape
        closed = cv2.morphologyEx(foreground, cv2.MORPH_CLOSE, CLOSING)
        # The outer contour's box is its 8-connected part's box.
        contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found: list[tuple[PixelBox, int]] = []
        for contour in contours:
            x, y, w, h = (int(v) for v in cv2.boundingRect(contour))
            if max(w, h) < s.least_side_px:
                continue
            area = int(cv2.countNonZero(closed[y : y + h, x : x + w]))
            if area >= s.least_area_px:
                found.append(((x, y, w, h), area))
        found.sort(key=lambda item: (-item[1], item[0]))
        # Merging is quadratic; a storm of specks beyond this adds nothing.
        merged = merge(found[: 8 * s.most_regions], s.near_px, s.near_share)[: s.most_regions]
        return [(x / width, y / height, w / width, h / height) for x, y, w, h in merged]


def small_grey(image: Picture) -> Grey:
    """The grey picture, 320 wide, that motion is looked for on: float32 (round(320*H/W), 320)."""
    height, width = image.shape[:2]
    size_wh = (WIDTH_PX, max(1, round(WIDTH_PX * height / width)))
    grey = cv2.cvtColor(cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.blur(grey.astype(np.float32), (3, 3)), np.float32)


def merge(found: list[tuple[PixelBox, int]], near_px: float, near_share: float) -> list[PixelBox]:
    """Boxes (with their areas) that nearly touch become one, until none do; largest area first.

    Two are near when the gap between them is at most ``near_px`` or ``near_share`` of the larger one's
    longer side, and when their union is no more than three times both together, so that a diagonal
    pair does not become one loose box.
    """
    groups = list(found)
    merging = True
    while merging:
        merging = False
        for i, (one, one_area) in enumerate(groups):
            for j in range(i + 1, len(groups)):
                other, other_area = groups[j]
                union = _union(one, other)
                near = max(near_px, near_share * max(*one[2:], *other[2:]))
                gap_x = union[2] - one[2] - other[2]
                gap_y = union[3] - one[3] - other[3]
                if max(gap_x, gap_y) <= near and union[2] * union[3] <= 3 * (one[2] * one[3] + other[2] * other[3]):
                    groups[i] = (union, one_area + other_area)
                    del groups[j]
                    merging = True
                    break
            if merging:
                break
    return [box for box, _ in sorted(groups, key=lambda item: (-item[1], item[0]))]


def _union(one: PixelBox, other: PixelBox) -> PixelBox:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


def _median(change: Grey) -> np.float32:
    sample = change[::4, ::4].ravel()
    return np.float32(np.partition(sample, (len(sample) - 1) // 2)[(len(sample) - 1) // 2])


def _alpha(dt: float, time_constant_s: float) -> np.float32:
    return np.float32(1.0 - math.exp(-dt / time_constant_s))
