"""What moved: a running average and a threshold on a small grey picture.

``docs/motion.md`` writes the arithmetic out, so that a phone can repeat it, and
``tests/motion_vectors.json`` holds both to it. In short, for each frame:

1. ``small_grey``: a grey picture 320 wide, from ``frame.luma`` where there is one.
2. ``edge.motion.place``: its difference from the background, less what the light explains; where it exceeds a
   threshold and what is usual for that pixel is foreground. Masked pixels never are.
3. Changed "everywhere" means in 60 % of the cells of an 8x6 grid. Light and a pole that sways are explained
   (``edge.motion.steady``) and cost nothing. What is left is, once, a lighting jump (the background starts anew,
   the old one is kept for 2 s in case it was a flash); twice within a second the picture as a whole moves.
4. The background follows, slowly where something stands before it, and what sways grows quiet.
5. ``edge.motion.blobs``: foreground becomes boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.errors import PictureError
from edge.motion.blobs import blobs
from edge.motion.place import AROUND, Change, MotionSettings, Place
from edge.motion.steady import Grey, Seen
from edge.schema import Frame, Luma, Picture, Region
from edge.zones import Polygon, drawn

__all__ = ["Grey", "Motion", "MotionFinder", "MotionSettings", "small_grey"]

LEAST_HEIGHT_PX, MOST_HEIGHT_PX = 6, 1280  # of the small picture: what is thinner is no photograph


@dataclass(frozen=True, eq=False)
class Motion:
    """What moved in one frame."""

    regions: tuple[Region, ...]  # kind "motion", largest first
    reset: bool = False  # the background starts anew: first frame, lighting jump, camera at rest again
    moving: bool = False  # the picture as a whole moves: regions mean nothing, look at it as a whole
    large: bool = False  # a region fills most of the frame, and its crop shows little: as while moving
    grey: Grey | None = None  # (h, 320) the small picture, 0 to 255, for ``edge.lens``


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
        """What moved since the frames before."""
        grey = small_grey(_looked_at(frame), self.settings.width_px)
        dt, self._time = max(frame.time - self._time, 0.0), frame.time
        if self._place is None or self._place.background.shape != grey.shape or frame.again:
            return self._first(grey)
        if self._moving:
            return self._while_moving(self._place, grey, dt)
        found = self._place.compare(grey)
        if found.changed >= self.settings.everywhere:
            return self._before(grey, dt) or self._all_changed(self._place, grey)
        if self._stands_anew(found):
            self._begin(grey)
            return Motion((), reset=True, grey=grey)
        self._place.learn(found, dt)
        return self._motion(found, grey)

    def _first(self, grey: Grey) -> Motion:
        """Nothing known before holds any more."""
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
        """A jump the first time, movement when it comes again soon."""
        if self._kept is None:
            self._kept = (self._time, place)
        self._moving = self._time - self._changed_at <= self.settings.moving_s
        self._changed_at = self._time
        self._begin(grey)
        return Motion((), reset=not self._moving, moving=self._moving, grey=grey)

    def _while_moving(self, last: Place, grey: Grey, dt: float) -> Motion:
        """Each frame against the one before, until nothing changes everywhere for a second."""
        if before := self._before(grey, dt):
            return before
        if last.compare(grey, swaying=False).changed >= self.settings.everywhere:
            self._changed_at = self._time
        self._moving = self._time - self._changed_at <= self.settings.moving_s
        self._begin(grey)
        return Motion((), reset=not self._moving, moving=self._moving, grey=grey)

    def _before(self, grey: Grey, dt: float) -> Motion | None:
        """What moved against the place before the last jump, where it looks like that again: it was a flash."""
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

    def _stands_anew(self, found: Change) -> bool:
        """Whether the picture has lain beside its place for so long that it will not come back."""
        if max(map(abs, found.shift)) < self.settings.swayed_px:
            self._swayed_since = None
        elif self._swayed_since is None:
            self._swayed_since = self._time
        return self._swayed_since is not None and self._time - self._swayed_since > self.settings.swayed_s

    def _motion(self, found: Change, grey: Grey) -> Motion:
        """The boxes of what is foreground, as fractions of the frame."""
        s = self.settings
        height, width = grey.shape
        right, down = found.shift
        regions = []
        boxes = blobs(
            found.foreground,
            found.shows,
            least_area_px=s.least_area_px,
            least_side_px=s.least_side_px,
            near_px=s.near_px,
            near_share=s.near_share,
        )
        for x, y, w, h in boxes[: s.most_regions]:
            x0, x1 = (min(max(at + right, 0.0), width) / width for at in (x, x + w))
            y0, y1 = (min(max(at + down, 0.0), height) / height for at in (y, y + h))
            regions.append(Region((x0, y0, x1 - x0, y1 - y0), "motion"))
        large = any(region.box_xywh[2] * region.box_xywh[3] > s.large for region in regions)
        return Motion(tuple(regions), large=large, grey=grey)


def small_grey(picture: Picture | Luma, width_px: int = 320) -> Grey:
    """The grey picture motion is looked for on: float32 (h, width_px), the height by the picture's shape."""
    height, width = picture.shape[:2]
    rows = (2 * width_px * height + width) // (2 * width)  # rounded, half up
    size_wh = (width_px, min(max(rows, LEAST_HEIGHT_PX), MOST_HEIGHT_PX))
    if (width, height) != size_wh:
        picture = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
    return np.asarray(cv2.boxFilter(grey, cv2.CV_32F, (3, 3)), np.float32)


def _looked_at(frame: Frame) -> Picture | Luma:
    """What of a frame motion looks at. Raises PictureError where it is no picture."""
    looked_at = frame.luma if frame.luma is not None else frame.image
    wanted = "uint8 (h, w)" if frame.luma is not None else "uint8 (H, W, 3) in BGR order"
    dimensions = 2 if frame.luma is not None else 3
    good = looked_at.dtype == np.uint8 and looked_at.ndim == dimensions and looked_at.size > 0
    if not good or (dimensions == 3 and looked_at.shape[2] != 3):
        what = f"{looked_at.dtype} {looked_at.shape}"
        raise PictureError(f"camera {frame.camera}: frame {frame.index} is {what}; a source must give {wanted}")
    return looked_at
