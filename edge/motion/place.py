"""What a place looks like while nothing moves there: a background, and how much each pixel usually differs from it.

``docs/motion.md`` writes the arithmetic out; ``tests/motion_vectors.json`` holds a phone's version to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.motion.blobs import Mask
from edge.motion.steady import Grey, Seen, middle, relit, steadied, sway

CELLS_WH = (8, 6)
AROUND = np.ones((3, 3), np.uint8)
# Beyond this, since the place was begun, what could not be seen may be seen now: it is begun anew.
LEAST_GAIN, MOST_GAIN = 0.6, 1.7
LEAST_SEEN = 0.25  # a cell of which less is unmasked tells nothing


@dataclass(frozen=True)
class MotionSettings:
    """How much change counts, in grey levels (0 to 255), seconds and pixels of the small picture."""

    width_px: int = 320  # of the small picture; every figure below is made for 320
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
    most_regions: int = 16  # a frame; the loop takes turns where that is too many
    large: float = 0.6  # share of the frame from which on a region's crop shows little
    everywhere: float = 0.6  # share of cells that must change for a jump or a moving picture
    cell_share: float = 0.05  # of a cell's pixels, for it to have changed
    touched_share: float = 0.01  # of a cell's pixels, for the light to be a reason
    widespread: float = 0.25  # share of cells so touched from which on the pole may be
    edges: float = 0.5  # while swaying, so much of the range around a pixel is no change
    swayed_px: float = 0.5  # the camera stands anew when it has been so far from its place
    swayed_s: float = 10.0  # for so long
    flash_s: float = 2.0  # how long the background before a jump is kept, to be taken back when it fits again
    moving_s: float = 1.0  # two changes everywhere within this are movement, not a jump


@dataclass(eq=False)
class Change:
    """One picture held against a place."""

    grey: Grey  # the picture, moved back if it had swayed
    change: Grey  # it minus the background in its light
    diff: Grey  # the absolute of that
    deviation: Grey  # in its light
    foreground: Mask
    count: int  # foreground pixels
    shows: Seen | None  # where the picture shows the place: not under masks, nor where it had swayed out of view
    edges: Grey | None  # where it had swayed: the least difference that counts
    changed: float = 0.0  # share of cells with more than cell_share of foreground, 0 to 1; 1 in quite another light
    touched: float = 0.0  # the same with touched_share
    gain: float = 1.0  # by which the light has changed the picture
    shift: tuple[float, float] = (0.0, 0.0)  # how far right and down the picture has swayed, pixels


class Place:
    """The background of one place and each pixel's mean deviation from it; begun from one picture."""

    def __init__(self, grey: Grey, seen: Seen | None, settings: MotionSettings) -> None:
        self.settings = settings
        self.background = grey
        self.deviation: Grey = np.full_like(grey, settings.first_deviation)
        self.gain = 1.0  # by which the light has changed since it was begun
        self._seen = seen
        self._few = 0.0  # with no more foreground than this no cell is touched
        if seen is None:
            s = settings
            self._few = grey.size * s.touched_share / (CELLS_WH[0] * CELLS_WH[1])

    def compare(self, grey: Grey, *, swaying: bool = True) -> Change:
        """What is different, after what the pole (with ``swaying``) and the light explain."""
        s, seen = self.settings, self._seen
        change = grey - self.background
        change -= middle(change, seen)
        found = self._against(grey, change, self.deviation, seen)
        if swaying and found.touched >= s.widespread:
            shift = sway(grey - change, grey, seen)
            if shift is not None and shift != (0.0, 0.0):
                other = self._swayed(grey, grey - change, shift)
                found = other if self._explains(other, found) else found
        if found.touched > 0 and (light := relit(self.background, found.grey, found.shows)):
            other = self._relit(found, *light)
            if self._explains(other, found):
                if LEAST_GAIN <= self.gain * other.gain <= MOST_GAIN:
                    return other
                found.changed = 1.0
        return found

    def _explains(self, other: Change, found: Change) -> bool:
        """Whether the other leaves less than half of what was found, or no longer everything."""
        return 2 * other.count < found.count or other.changed < self.settings.everywhere <= found.changed

    def _swayed(self, grey: Grey, background: Grey, shift: tuple[float, float]) -> Change:
        """The picture moved back by ``shift`` against the background in this light."""
        back, shows = steadied(grey, shift)
        if self._seen is not None:
            # A mask stays where it is in the picture: what it hides may not come from beside it, nor go there.
            shows &= self._seen & (steadied(self._seen.astype(np.float32), shift)[0] >= 1).view(np.uint8)
        change = back - background
        change -= middle(change, shows)
        # Between pixels no picture can be moved exactly: edges stay.
        span = cv2.dilate(background, AROUND) - cv2.erode(background, AROUND)
        found = self._against(back, change, self.deviation, shows, np.float32(self.settings.edges) * span)
        found.shift = shift
        return found

    def _relit(self, found: Change, gain: np.float32, offset: np.float32) -> Change:
        """The same picture against the background in another light."""
        lit = np.clip(gain * self.background + offset, 0, 255)  # what is white cannot get whiter
        other = self._against(found.grey, found.grey - lit, gain * self.deviation, found.shows, found.edges)
        other.gain, other.shift = float(gain), found.shift
        return other

    def learn(self, found: Change, dt: float) -> None:
        """Follow the picture by ``dt`` seconds: slowly under foreground, not where it is hidden."""
        s = self.settings
        follow: np.float32 | Grey = _alpha(dt, s.background_s)
        steady = _alpha(dt, s.deviation_s)
        if found.count:
            follow = np.where(found.foreground, _alpha(dt, s.foreground_s), follow)
        if found.shows is not None:
            follow = follow * found.shows
            found.diff = np.where(found.shows, found.diff, found.deviation)
        self.gain *= found.gain
        self.background = found.grey - (1 - follow) * found.change
        self.deviation = found.deviation + steady * (found.diff - found.deviation)

    def _against(
        self, grey: Grey, change: Grey, deviation: Grey, shows: Seen | None, edges: Grey | None = None
    ) -> Change:
        s = self.settings
        diff = np.abs(change)
        limit = np.maximum(s.deviations * deviation, s.threshold)
        if edges is not None:
            limit = np.maximum(limit, edges)
        foreground = (diff > limit).view(np.uint8)
        if shows is not None:
            foreground &= shows
        found = Change(grey, change, diff, deviation, foreground, int(cv2.countNonZero(foreground)), shows, edges)
        if shows is not None or found.count > self._few:
            shares = _shares(foreground, shows)
            found.changed = float(np.mean(shares > s.cell_share))
            found.touched = float(np.mean(shares > s.touched_share))
        return found


def _shares(foreground: Mask, seen: Seen | None) -> NDArray[np.float32]:
    """The share of each cell's unmasked pixels that is foreground, (n,) cells that tell anything."""
    # Averaging areas down to the grid gives each cell's share in one call.
    shares = _grid(foreground)
    if seen is None:
        return shares.ravel()
    open_share = _grid(seen)
    tell = open_share >= LEAST_SEEN
    found: NDArray[np.float32] = shares[tell] / open_share[tell]
    return found if len(found) else np.zeros(1, np.float32)


def _grid(mask: Mask) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(mask * np.float32(1), CELLS_WH, interpolation=cv2.INTER_AREA), np.float32)


def _alpha(dt: float, time_constant_s: float) -> np.float32:
    return np.float32(1.0 - math.exp(-dt / time_constant_s))
