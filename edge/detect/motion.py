"""Motion: a running average and a threshold on a small grey picture.

``docs/motion.md`` writes the arithmetic out, so that a phone can repeat it, and
``tests/detect/motion_vectors.json`` holds both to it. In short, for each frame:

1. ``small_grey``: a grey picture 320 wide, from ``frame.luma`` where there is one.
2. Its difference from the background, less what the light explains; where it exceeds a
   threshold and what is usual for that pixel is foreground. Masked pixels never are.
3. Changed "everywhere" means in 60 % of the cells of an 8x6 grid. Light and a pole that sways are explained
   and cost nothing. What is left is, once, a lighting jump (the background starts again,
   the old one is kept for 2 s in case it was a flash); twice within a second the picture as a whole moves.
4. The background follows, slowly where something stands before it, and what sways grows quiet.
5. Foreground becomes boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.zones import Polygon, drawn
from edge.errors import PictureError
from edge.schema import Frame, Luma, Picture, Region

# From foreground to boxes: close the gaps, take the connected parts, join what nearly touches, keep the largest.


Mask = NDArray[np.uint8]  # (h, w), 0 or 1
PixelBox = tuple[int, int, int, int]  # left, top, width, height on the small picture

CLOSING = np.ones((5, 5), np.uint8)
SPARE = 4  # by which closing looks around a pixel
MAX_FOUND = 64  # of these the near ones are joined; in a storm of specks more add nothing

Grey = NDArray[np.float32]  # (h, 320), 0 to 255
Seen = NDArray[np.uint8]  # (h, 320), 1 where a pixel counts, 0 under a mask

STEP = 4  # light and sway are judged on every 4th row and column
REACH_PX = 4  # how far the picture may sway, on the small picture
CAP = 20.0  # a larger difference says no more: what moves in the picture must not drag the whole along
MIN_SPREAD = 6.0  # grey levels between dark and bright parts, below which no gain can be told
MIN_CHANGE = 0.02  # of the gain; what is less the middle of all differences has explained
WHITE = 250.0  # what is whiter is as white in any light
PARTS = 16  # the sway is measured in sixteenths of a pixel

CELLS_WH = (8, 6)
AROUND = np.ones((3, 3), np.uint8)
# Beyond this, since the place was begun, what could not be seen may be seen now: it is begun again.
MIN_GAIN, MAX_GAIN = 0.6, 1.7
MIN_SEEN = 0.25  # a cell of which less is unmasked tells nothing

MIN_HEIGHT_PX, MAX_HEIGHT_PX = 6, 1280  # of the small picture: what is thinner is no photograph


def blobs(
    foreground: Mask,
    seen: Mask | None = None,
    *,
    min_area_px: int,
    min_side_px: int,
    near_px: float,
    near_share: float,
) -> list[PixelBox]:
    """Return the boxes of what is foreground, largest area first; no part grows into what is not ``seen`` (0)."""
    left, top, width, height = cv2.boundingRect(foreground)
    if not width:
        return []
    # Beyond these rows and columns closing leaves nothing.
    left, right, top, bottom = max(left - SPARE, 0), left + width + SPARE, max(top - SPARE, 0), top + height + SPARE
    closed = cv2.morphologyEx(foreground[top:bottom, left:right], cv2.MORPH_CLOSE, CLOSING)
    if seen is not None:
        closed = cv2.bitwise_and(closed, seen[top:bottom, left:right])
    # The default algorithm takes three times as long on a picture this small.
    _, _, parts, _ = cv2.connectedComponentsWithStatsWithAlgorithm(closed, 8, cv2.CV_32S, cv2.CCL_GRANA)
    found = [
        ((left + x, top + y, w, h), area)
        for x, y, w, h, area in parts.tolist()[1:]  # the first is what is no foreground
        if area >= min_area_px and max(w, h) >= min_side_px
    ]
    return merge(sorted(found, key=_largest)[:MAX_FOUND], near_px, near_share)


def merge(found: Sequence[tuple[PixelBox, int]], near_px: float, near_share: float) -> list[PixelBox]:
    """Boxes (with their areas) that nearly touch become one, until none do; largest area first.

    Two are near when the gap between them is at most ``near_px`` or ``near_share`` of the larger one's
    longer side, and when their union is no more than three times both together, so that a diagonal
    pair does not become one loose box. Of all near pairs the first in the given order is joined first.
    """
    groups = list(found)
    while pair := next(
        (
            (i, j)
            for i, j in combinations(range(len(groups)), 2)
            if _near(groups[i][0], groups[j][0], near_px, near_share)
        ),
        None,
    ):
        i, j = pair
        (one, one_area), (other, other_area) = groups[i], groups.pop(j)
        groups[i] = (_union(one, other), one_area + other_area)
    return [box for box, _ in sorted(groups, key=_largest)]


def _largest(found: tuple[PixelBox, int]) -> tuple[int, PixelBox]:
    """Sort the largest area first; equal areas by left, top, width, height."""
    return -found[1], found[0]


def _near(one: PixelBox, other: PixelBox, near_px: float, near_share: float) -> bool:
    union = _union(one, other)
    near = max(near_px, near_share * max(*one[2:], *other[2:]))
    gap = max(union[2] - one[2] - other[2], union[3] - one[3] - other[3])
    return gap <= near and union[2] * union[3] <= 3 * (one[2] * one[3] + other[2] * other[3])


def _union(one: PixelBox, other: PixelBox) -> PixelBox:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return left, top, right - left, bottom - top


# What changes a whole picture though nothing in it moved: its light, and the camera swaying on its pole.


def middle(change: Grey, seen: Seen | None) -> np.float32:
    """Return the lower median of every 4th row and column, 0 where all of it is masked."""
    sample = change[::STEP, ::STEP]
    values = sample.flatten() if seen is None else sample[seen[::STEP, ::STEP] > 0]
    return _lower_median(values) if len(values) else np.float32(0)


def relit(background: Grey, grey: Grey, seen: Seen | None) -> tuple[np.float32, np.float32] | None:
    """Gain and offset that make the background look like ``grey``; None where light alone cannot be it.

    A line through the medians of the darkest and the brightest third (Tukey's resistant line, 1971), so
    that what moved does not bend it.
    """
    was, now = background[::STEP, ::STEP].ravel(), grey[::STEP, ::STEP].ravel()
    # White would flatten the line.
    tells = np.maximum(was, now) < WHITE
    if seen is not None:
        tells &= seen[::STEP, ::STEP].ravel() > 0
    if np.count_nonzero(tells) < len(tells):
        was, now = was[tells], now[tells]
    third = len(was) // 3
    if not third:
        return None
    ordered = np.sort(was)
    darkest, brightest = ordered[third], ordered[-1 - third]
    below, above = ordered.searchsorted(darkest, "right"), ordered.searchsorted(brightest)
    spread = ordered[(above + len(ordered) - 1) // 2] - ordered[(below - 1) // 2]
    if spread < MIN_SPREAD:
        return None
    gain = (_lower_median(now[was >= brightest]) - _lower_median(now[was <= darkest])) / spread
    if abs(gain - 1) < MIN_CHANGE:
        return None
    return gain, _lower_median(now - gain * was)


def sway(background: Grey, grey: Grey, seen: Seen | None) -> tuple[float, float] | None:
    """Return how far right and down the picture lies of the background in its light, in pixels; None beyond 3.

    Every whole shift up to 4 is tried and the best refined by a parabola through its neighbours' costs.
    """
    height, width = background.shape
    if min(height, width) < 4 * REACH_PX:
        return None
    rows, columns = slice(REACH_PX, height - REACH_PX, STEP), slice(REACH_PX, width - REACH_PX, STEP)
    was = background[rows, columns]
    counts = None if seen is None else seen[rows, columns]
    shifts = range(-REACH_PX, REACH_PX + 1)
    costs = np.empty((len(shifts), len(shifts)))
    for j, down in enumerate(shifts):
        band = grey[REACH_PX + down : height - REACH_PX + down : STEP]
        for i, right in enumerate(shifts):
            off = np.minimum(np.abs(band[:, REACH_PX + right : width - REACH_PX + right : STEP] - was), CAP)
            costs[j, i] = np.vdot(off, off if counts is None else off * counts)
    j, i = divmod(int(costs.argmin()), len(shifts))
    if not (0 < i < len(shifts) - 1 and 0 < j < len(shifts) - 1):
        return None
    x, y = shifts[i] + _lowest(*costs[j, i - 1 : i + 2]), shifts[j] + _lowest(*costs[j - 1 : j + 2, i])
    return math.floor(x * PARTS + 0.5) / PARTS, math.floor(y * PARTS + 0.5) / PARTS


def steadied(grey: Grey, shift: tuple[float, float]) -> tuple[Grey, Seen]:
    """Return the picture moved back by ``shift`` (bilinear, borders repeated), and 1 where it has pixels to show."""
    height, width = grey.shape
    right, x_part, xs = _taps(width, shift[0])
    down, y_part, ys = _taps(height, shift[1])
    across = grey[:, right] * np.float32(1 - x_part) + grey[:, np.minimum(right + 1, width - 1)] * np.float32(x_part)
    back = across[down] * np.float32(1 - y_part) + across[np.minimum(down + 1, height - 1)] * np.float32(y_part)
    return back, np.outer(ys, xs).view(np.uint8)


def _taps(length: int, shift: float) -> tuple[NDArray[np.intp], float, NDArray[np.bool_]]:
    """For each pixel of a row the left one of the two to mix, the right one's share, and whether both exist."""
    whole = int(np.floor(shift))
    at = np.arange(length) + whole
    exists = (at >= 0) & (at + (shift > whole) < length)
    return at.clip(0, length - 1), shift - whole, exists


def _lowest(before: float, at: float, after: float) -> float:
    """Return where a parabola through three costs one apart is lowest, from the middle one: -0.5 to 0.5."""
    bend = before - 2 * at + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend > 0 else 0.0


def _lower_median(values: Grey) -> np.float32:
    """Return the lower median of values that nobody needs any more: their order is lost."""
    half = (len(values) - 1) // 2
    values.partition(half)
    return values[half]  # type: ignore[no-any-return]


# What a place looks like while nothing moves there: a background, and how much each pixel usually differs from it.


@dataclass(frozen=True)
class MotionSettings:
    """Limits of motion, in grey levels (0 to 255), seconds and pixels of the small picture."""

    width_px: int = 320  # of the small picture; every figure below is made for 320
    threshold: float = 9.0  # least difference that counts
    deviations: float = 3.0  # and at least so many mean deviations of that pixel
    background_s: float = 10.0  # how fast the background follows
    foreground_s: float = 60.0  # and where something stands in front of it
    deviation_s: float = 10.0  # how fast a swaying pixel grows quiet
    first_deviation: float = 1.5  # of a background that has seen one frame
    min_area_px: int = 8  # foreground pixels: a 27 px wide bear in 1280 covers about 7 x 4
    min_side_px: int = 4  # longer side of the box
    near_px: float = 3.0  # boxes closer than this, or than near_share of the larger, are one
    near_share: float = 0.15
    max_regions: int = 16  # a frame; the loop takes turns where that is too many
    large: float = 0.6  # share of the frame from which on a region's crop shows little
    everywhere: float = 0.6  # share of cells that must change for a jump or a moving picture
    cell_share: float = 0.05  # of a cell's pixels, for it to have changed
    touched_share: float = 0.01  # of a cell's pixels, for the light to be a reason
    widespread: float = 0.25  # share of cells so touched from which on the pole may be
    edges: float = 0.5  # while swaying, so much of the range around a pixel is no change
    swayed_px: float = 0.5  # the camera has a new place when it has been so far from the old one
    swayed_s: float = 10.0  # for so long
    flash_s: float = 2.0  # how long the background before a jump is kept, to be taken back when it fits again
    moving_s: float = 1.0  # two changes everywhere within this are movement, not a jump


@dataclass(eq=False, slots=True)
class Change:
    """One picture held against a place."""

    grey: Grey  # the picture, moved back if it had swayed
    background: Grey  # before the light changed
    offset: float  # that the light added to it
    diff: Grey  # the absolute difference of the picture and the background in its light
    deviation: Grey  # in its light
    foreground: Mask
    count: int  # foreground pixels
    part: tuple[slice, slice]  # rows and columns beyond which there is no foreground
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
        self.background = grey.copy()
        self.deviation: Grey = np.full_like(grey, settings.first_deviation)
        # Made once: a fresh array of this size costs more than the arithmetic in it.
        self._diff = np.empty_like(grey)
        self.gain = 1.0  # by which the light has changed since it was begun
        self._seen = seen

    def compare(self, grey: Grey, *, swaying: bool = True) -> Change:
        """Return what is different, after what the pole (with ``swaying``) and the light explain.

        Good until the next call: its arrays are used again.
        """
        s, seen = self.settings, self._seen
        found = self._against(grey, self.background, self.deviation, seen, diff=self._diff)
        if swaying and found.touched >= s.widespread:
            lit = self.background + found.offset
            shift = sway(lit, grey, seen)
            if shift is not None and shift != (0.0, 0.0):
                other = self._swayed(grey, lit, shift)
                found = other if self._explains(other, found) else found
        if found.touched > 0 and (light := relit(self.background, found.grey, found.shows)):
            other = self._relit(found, *light)
            if self._explains(other, found):
                if MIN_GAIN <= self.gain * other.gain <= MAX_GAIN:
                    return other
                found.changed = 1.0
        return found

    def _explains(self, other: Change, found: Change) -> bool:
        """Return True if the other leaves less than half of what was found, or no longer everything."""
        return 2 * other.count < found.count or other.changed < self.settings.everywhere <= found.changed

    def _swayed(self, grey: Grey, background: Grey, shift: tuple[float, float]) -> Change:
        back, shows = steadied(grey, shift)
        if self._seen is not None:
            # A mask stays where it is in the picture: what it hides may not come from beside it, nor go there.
            shows &= self._seen & (steadied(self._seen.astype(np.float32), shift)[0] >= 1).view(np.uint8)
        # Between pixels no picture can be moved exactly: edges stay.
        span = cv2.dilate(background, AROUND) - cv2.erode(background, AROUND)
        found = self._against(back, background, self.deviation, shows, np.float32(self.settings.edges) * span)
        found.shift = shift
        return found

    def _relit(self, found: Change, gain: np.float32, offset: np.float32) -> Change:
        lit = np.clip(gain * self.background + offset, 0, 255)  # what is white cannot get whiter
        deviation = gain * self.deviation
        other = self._against(found.grey, lit, deviation, found.shows, found.edges, offset=0.0)
        other.gain, other.shift = float(gain), found.shift
        return other

    def learn(self, found: Change, dt: float) -> None:
        """Follow the picture by ``dt`` seconds: slowly under foreground, not where it is hidden."""
        s, part, shows, offset = self.settings, found.part, found.shows, found.offset
        self.gain *= found.gain
        self.background, self.deviation = found.background, found.deviation
        if found.count:
            under = _towards(self.background[part], found.grey[part], _alpha(dt, s.foreground_s), offset)
        if shows is None:
            _towards(self.background, found.grey, _alpha(dt, s.background_s), offset, self.background)
        else:
            self.background += offset
            cv2.accumulateWeighted(found.grey, self.background, _alpha(dt, s.background_s), shows)
        cv2.accumulateWeighted(found.diff, self.deviation, _alpha(dt, s.deviation_s), shows)
        if found.count:
            np.copyto(self.background[part], under, where=found.foreground[part].view(np.bool_))

    def _against(
        self,
        grey: Grey,
        background: Grey,
        deviation: Grey,
        shows: Seen | None,
        edges: Grey | None = None,
        diff: Grey | None = None,
        offset: float | None = None,
    ) -> Change:
        s = self.settings
        diff = np.subtract(grey, background, out=diff)
        offset = float(middle(diff, shows)) if offset is None else offset
        diff -= offset
        np.abs(diff, out=diff)
        foreground = (diff > s.threshold).view(np.uint8)
        part, count = (slice(0), slice(0)), cv2.countNonZero(foreground)
        if count:
            left, top, width, height = cv2.boundingRect(foreground)
            part = slice(top, top + height), slice(left, left + width)
            there = foreground[part]
            there &= diff[part] > deviation[part] * np.float32(s.deviations)
            if edges is not None:
                there &= diff[part] > edges[part]
            if shows is not None:
                there &= shows[part]
            count = cv2.countNonZero(there)
        found = Change(grey, background, offset, diff, deviation, foreground, count, part, shows, edges)
        # With no more foreground than this no cell is touched.
        few = grey.size * s.touched_share / (CELLS_WH[0] * CELLS_WH[1]) * (1.0 if shows is None else MIN_SEEN)
        if count > few:
            shares = _shares(foreground, part, shows)
            found.changed = cv2.countNonZero((shares > s.cell_share).view(np.uint8)) / len(shares)
            found.touched = cv2.countNonZero((shares > s.touched_share).view(np.uint8)) / len(shares)
        return found


def _shares(foreground: Mask, part: tuple[slice, slice], seen: Seen | None) -> NDArray[np.float32]:
    """Return the share of each cell's unmasked pixels that is foreground, (n,) cells that tell anything."""
    shares = _grid(foreground, part)
    if seen is None:
        return shares.ravel()
    open_share = _grid(seen)
    tell = open_share >= MIN_SEEN
    found: NDArray[np.float32] = shares[tell] / open_share[tell]
    return found if len(found) else np.zeros(1, np.float32)


def _grid(mask: Mask, part: tuple[slice, slice] | None = None) -> NDArray[np.float32]:
    """Return the share of each cell that is 1, (6, 8); rows and columns beyond ``part`` are 0."""
    (height, width), (columns, rows) = mask.shape, CELLS_WH
    # Averaging areas down to the grid gives each cell's share in one call.
    if part is None or height % rows or width % columns:
        return np.asarray(cv2.resize(mask * np.float32(1), CELLS_WH, interpolation=cv2.INTER_AREA), np.float32)
    high, wide = height // rows, width // columns
    top, bottom = part[0].start // high, -(-part[0].stop // high)
    left, right = part[1].start // wide, -(-part[1].stop // wide)
    there = mask[top * high : bottom * high, left * wide : right * wide] * np.float32(1)
    grid = np.zeros((rows, columns), np.float32)
    grid[top:bottom, left:right] = cv2.resize(there, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return grid


def _towards(background: Grey, grey: Grey, share: float, offset: float, out: Grey | None = None) -> Grey:
    """Return the background in its light, a share nearer to the picture."""
    return np.asarray(cv2.addWeighted(background, 1 - share, grey, share, (1 - share) * offset, dst=out), np.float32)


def _alpha(dt: float, time_constant_s: float) -> float:
    return 1.0 - math.exp(-dt / time_constant_s)


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of one frame."""

    regions: tuple[Region, ...]  # kind "motion", largest first
    reset: bool = False  # the background starts again: first frame, lighting jump, camera at rest again
    moving: bool = False  # the picture as a whole moves: regions mean nothing, look at it as a whole
    large: bool = False  # a region fills most of the frame, and its crop shows little: as while moving
    grey: Grey | None = None  # (h, 320) the small picture, 0 to 255, for ``edge.detect.camera_check``


class MotionFinder:
    """Frame in, ``Motion`` out; one for each camera. Time comes from ``frame.time``.

    What lies under ``masks`` never moves. Raises PictureError for what is no picture.
    """

    def __init__(self, settings: MotionSettings | None = None, masks: Sequence[Polygon] = ()) -> None:
        self.settings = settings or MotionSettings()
        self.masks = tuple(masks)
        self._place: Place | None = None
        self._kept: tuple[float, Place] | None = None  # the place before a jump, and when that was
        self._seen: Seen | None = None
        self._time = 0.0
        self._changed_at = -math.inf
        self._swayed_since: float | None = None
        self._moving = False

    def __call__(self, frame: Frame) -> Motion:
        """Return what moved since the frames before."""
        grey = small_grey(_looked_at(frame), self.settings.width_px)
        dt, self._time = max(frame.time - self._time, 0.0), frame.time
        if self._place is None or self._place.background.shape != grey.shape or frame.discontinuity:
            return self._first(grey)
        if self._moving:
            return self._while_moving(self._place, grey, dt)
        found = self._place.compare(grey)
        if found.changed >= self.settings.everywhere:
            return self._before(grey, dt) or self._all_changed(self._place, grey)
        if self._has_new_place(found):
            self._begin(grey)
            return Motion((), reset=True, grey=grey)
        self._place.learn(found, dt)
        return self._motion(found, grey)

    def _first(self, grey: Grey) -> Motion:
        self._seen = None
        if self.masks:
            height, width = grey.shape
            # One pixel more, since each of the grey picture is mixed of nine.
            self._seen = np.asarray(cv2.erode((~drawn(self.masks, (width, height))).view(np.uint8), AROUND), np.uint8)
        self._kept, self._moving, self._changed_at = None, False, -math.inf
        self._begin(grey)
        return Motion((), reset=True, grey=grey)

    def _begin(self, grey: Grey) -> None:
        self._place = Place(grey, self._seen, self.settings)
        self._swayed_since = None

    def _all_changed(self, place: Place, grey: Grey) -> Motion:
        """Answer a change everywhere: a jump the first time, movement if it comes again soon."""
        if self._kept is None:
            self._kept = (self._time, place)
        self._moving = self._time - self._changed_at <= self.settings.moving_s
        self._changed_at = self._time
        self._begin(grey)
        return Motion((), reset=not self._moving, moving=self._moving, grey=grey)

    def _while_moving(self, last: Place, grey: Grey, dt: float) -> Motion:
        """Compare each frame with the one before, until nothing changes everywhere for a second."""
        if before := self._before(grey, dt):
            return before
        if last.compare(grey, swaying=False).changed >= self.settings.everywhere:
            self._changed_at = self._time
        self._moving = self._time - self._changed_at <= self.settings.moving_s
        self._begin(grey)
        return Motion((), reset=not self._moving, moving=self._moving, grey=grey)

    def _before(self, grey: Grey, dt: float) -> Motion | None:
        """Return what moved against the place before the last jump, where it looks like that again: it was a flash."""
        if self._kept is None or self._time - self._kept[0] > self.settings.flash_s:
            self._kept = None
            return None
        place = self._kept[1]
        found = place.compare(grey)
        if found.changed > self.settings.everywhere / 2:
            return None
        self._place, self._kept, self._moving, self._changed_at = place, None, False, -math.inf
        place.learn(found, dt)
        return self._motion(found, grey)

    def _has_new_place(self, found: Change) -> bool:
        """Return True if the picture has lain beside its place for so long that it will not come back."""
        if max(map(abs, found.shift)) < self.settings.swayed_px:
            self._swayed_since = None
        elif self._swayed_since is None:
            self._swayed_since = self._time
        return self._swayed_since is not None and self._time - self._swayed_since > self.settings.swayed_s

    def _motion(self, found: Change, grey: Grey) -> Motion:
        """Return the boxes of what is foreground, as fractions of the frame."""
        if not found.count:
            return Motion((), grey=grey)
        s = self.settings
        height, width = grey.shape
        right, down = found.shift
        regions = []
        boxes = blobs(
            found.foreground,
            found.shows,
            min_area_px=s.min_area_px,
            min_side_px=s.min_side_px,
            near_px=s.near_px,
            near_share=s.near_share,
        )
        for x, y, w, h in boxes[: s.max_regions]:
            x0, x1 = (min(max(at + right, 0.0), width) / width for at in (x, x + w))
            y0, y1 = (min(max(at + down, 0.0), height) / height for at in (y, y + h))
            regions.append(Region((x0, y0, x1 - x0, y1 - y0), "motion"))
        large = any(region.box_xywh[2] * region.box_xywh[3] > s.large for region in regions)
        return Motion(tuple(regions), large=large, grey=grey)


def small_grey(picture: Picture | Luma, width_px: int = 320) -> Grey:
    """Return the grey picture motion is looked for on: float32 (h, width_px), the height by the picture's shape."""
    height, width = picture.shape[:2]
    rows = (2 * width_px * height + width) // (2 * width)  # rounded, half up
    size_wh = (width_px, min(max(rows, MIN_HEIGHT_PX), MAX_HEIGHT_PX))
    if (width, height) != size_wh:
        picture = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
    return np.asarray(cv2.boxFilter(grey, cv2.CV_32F, (3, 3)), np.float32)


def _looked_at(frame: Frame) -> Picture | Luma:
    """Return what of a frame motion looks at. Raises PictureError where it is no picture."""
    looked_at = frame.image if frame.luma is None else frame.luma
    colours = (3,) if frame.luma is None else ()
    if looked_at.dtype != np.uint8 or looked_at.ndim < 2 or looked_at.shape[2:] != colours or not looked_at.size:
        what = f"{looked_at.dtype} {looked_at.shape}"
        wanted = "uint8 (H, W, 3) in BGR order" if colours else "uint8 (h, w)"
        raise PictureError(f"camera {frame.camera}: frame {frame.index} is {what}; a source must give {wanted}")
    return looked_at
