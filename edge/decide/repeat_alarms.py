"""Spots of repeated false alarms: what never moves, looks the same and alarms again and again needs twice the evidence.

A spot is held back only if at least three separate alarms were raised there over two hours or more by something
that never moved, and what stands there now looks like all three; or if a person reviewed an alarm as wrong. Nothing is
held back for longer than a day, by more than a factor of two, or once it moves: a bear that visits the same bin five
nights alarms five times. Time is data; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.detect.tracker import iou
from edge.schema import BoxXYWH, Picture

Thumbnail = NDArray[np.float32]  # (16, 16), zero mean and unit variance; zeros where there was nothing to see
CutThumbnail = Callable[[BoxXYWH], Thumbnail]  # cuts the thumbnail of a box (fractions) from this frame

TIMES = 2.0  # the evidence that a spot held back needs, as a multiple of the usual
MIN_ALARMS = 3
MIN_SPREAD_S = 2 * 3600.0  # between the first and the last of them
KEPT_S = 24 * 3600.0  # an older alarm, or an older review, no longer counts
SAME_SPOT_IOU = 0.5
LIKE = 0.95  # correlation of two thumbnails
MAX_CHANGE = 1.0  # of any of their cells, in standard deviations: a small animal on a large tile changes few cells
FLAT_LEVELS = 1.0  # standard deviation in grey levels below which a crop shows nothing that could look alike
MAX_SPOTS = 64
MAX_ALARMS = 8  # kept of one spot


@dataclass(frozen=True, eq=False, slots=True)
class _Alarm:
    time: float  # seconds, the frame's clock
    thumbnail: Thumbnail


@dataclass(eq=False)
class _Spot:
    box_xywh: BoxXYWH
    time: float  # of its last alarm or review
    alarms: list[_Alarm] = field(default_factory=list)
    wrongs: dict[str, float] = field(default_factory=dict)  # by event, when a person reviewed it as wrong


class RepeatAlarmFilter:
    """Remembers one camera's alarms, and which spots need twice the evidence now."""

    def __init__(self) -> None:
        self._spots: list[_Spot] = []

    def alarmed(self, box_xywh: BoxXYWH, thumbnail: Thumbnail, time: float) -> None:
        """Note an alarm at a time (seconds) by something that never moved, with the usual evidence.

        Do not pass an alarm that was raised in spite of ``twice``: being held back must end within the day.
        """
        spot = self._spot(box_xywh, time)
        spot.alarms.append(_Alarm(time, thumbnail))
        if len(spot.alarms) > MAX_ALARMS:
            # The one with the nearest neighbours goes, so that what is kept spans as long a time.
            gaps = [spot.alarms[i + 1].time - spot.alarms[i - 1].time for i in range(1, len(spot.alarms) - 1)]
            del spot.alarms[1 + gaps.index(min(gaps))]

    def reviewed(self, event: str, box_xywh: BoxXYWH, at: float, time: float, *, wrong: bool) -> None:
        """Note that a person reviewed an event at ``at`` (seconds; now is ``time``), as wrong or not.

        For a day after a wrong one, what does not move there needs twice the evidence. Another review of that event
        takes it back.
        """
        for spot in self._spots:
            spot.wrongs.pop(event, None)
        if wrong and time - at < KEPT_S:
            self._spot(box_xywh, time).wrongs[event] = at

    @property
    def wrong(self) -> dict[str, tuple[BoxXYWH, float]]:
        """Return the events that people reviewed as wrong: where each was, and when it was reviewed (seconds)."""
        return {event: (spot.box_xywh, at) for spot in self._spots for event, at in spot.wrongs.items()}

    def adopt(self, wrong: Mapping[str, tuple[BoxXYWH, float]], time: float) -> None:
        """Have the reviews of another filter of this camera (its ``wrong``), and no others."""
        for spot in self._spots:
            spot.wrongs.clear()
        for event, (box_xywh, at) in wrong.items():
            self._spot(box_xywh, time).wrongs[event] = at

    def twice(self, box_xywh: BoxXYWH, thumbnail_of: CutThumbnail, time: float, wall: datetime) -> str | None:
        """Return why something that never moved in this box needs twice the evidence; None if it does not.

        ``thumbnail_of`` is only called for a spot with a history. ``wall`` (with its time zone) is for the words.
        """
        self._forget(time)
        seen: Thumbnail | None = None
        for spot in self._spots:
            if iou(spot.box_xywh, box_xywh) < SAME_SPOT_IOU:
                continue
            if spot.wrongs:
                since_s = max(spot.wrongs.values()) - time
                return _words("a person said wrong here at {}", since_s, since_s + KEPT_S, wall)
            if _again_and_again([alarm.time for alarm in spot.alarms]):
                seen = thumbnail_of(box_xywh) if seen is None else seen
                times = [alarm.time for alarm in spot.alarms if alike(alarm.thumbnail, seen)]
                if _again_and_again(times):
                    why = f"this spot raised {len(times)} alarms that looked alike since {{}}"
                    return _words(why, times[0] - time, _ends(times) - time, wall)
        return None

    def _spot(self, box_xywh: BoxXYWH, time: float) -> _Spot:
        """Return the spot a box lies on, or a new one; forget the longest untouched if there are too many."""
        self._forget(time)
        spot = max(self._spots, key=lambda spot: iou(spot.box_xywh, box_xywh), default=None)
        if spot is None or iou(spot.box_xywh, box_xywh) < SAME_SPOT_IOU:
            spot = _Spot(box_xywh, time)
            self._spots.append(spot)
        spot.time = time
        if len(self._spots) > MAX_SPOTS:
            self._spots.remove(min(self._spots, key=lambda spot: spot.time))
        return spot

    def _forget(self, time: float) -> None:
        for spot in self._spots:
            spot.alarms = [alarm for alarm in spot.alarms if time - alarm.time < KEPT_S]
            spot.wrongs = {event: at for event, at in spot.wrongs.items() if time - at < KEPT_S}
        self._spots = [spot for spot in self._spots if spot.alarms or spot.wrongs]


def thumbnail(image: Picture, box_xywh: BoxXYWH) -> Thumbnail:
    """Return the small grey picture by which two crops are compared: (16, 16), zero mean and unit variance."""
    height, width = image.shape[:2]
    x, y, w, h = box_xywh
    left, right = (min(max(round(at * width), 0), width) for at in (x, x + w))
    top, bottom = (min(max(round(at * height), 0), height) for at in (y, y + h))
    if right - left < 1 or bottom - top < 1:
        return np.zeros((16, 16), np.float32)
    small = cv2.resize(image[top:bottom, left:right], (16, 16), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    spread = float(grey.std())
    if spread < FLAT_LEVELS:
        return np.zeros((16, 16), np.float32)
    return np.asarray((grey - grey.mean()) / spread, np.float32)


def alike(one: Thumbnail, other: Thumbnail) -> bool:
    """Return True if two crops are near-identical: correlated, and no cell much changed."""
    # Two blank crops correlate with nothing.
    return float((one * other).mean()) >= LIKE and float(np.abs(one - other).max()) <= MAX_CHANGE


def _again_and_again(times: list[float]) -> bool:
    return len(times) >= MIN_ALARMS and times[-1] - times[0] >= MIN_SPREAD_S


def _ends(times: list[float]) -> float:
    """Return when alarms at these times, in order, no longer hold their spot back."""
    last = next(i for i in range(len(times)) if not _again_and_again(times[i + 1 :]))
    return times[last] + KEPT_S


def _words(why: str, since_s: float, until_s: float, wall: datetime) -> str:
    """Return the reason for people, in local times of day; seconds from ``wall``."""
    since, until = ((wall + timedelta(seconds=ahead)).astimezone().strftime("%H:%M") for ahead in (since_s, until_s))
    return f"{why.format(since)}: it needs twice the evidence until {until}"
