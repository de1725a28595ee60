"""The records of a trace: what one camera saw, thought and told in one frame, and what it did in a longer while.

Each is one line of JSON with a ``schema_version`` and a ``kind``; what is empty or false is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from edge.schema import SCHEMA_VERSION, BoxXYWH, Event, Frame, Score, Standing, utc_text

if TYPE_CHECKING:
    from edge.detect.motion import Motion

THE_END = "the end"  # of a run: why a summary was written
SILENT_S = 5.0  # no frame for so long is no matter of the frame rate any more; a camera is silent from then on
APART = timedelta(seconds=1)  # an event so far from its frame was told at another time

# One encoder for all lines, since making one costs as much as a line. ASCII, so that no camera's name can fail.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Look:
    """One place that was looked at, and what the classifier said of it."""

    kind: str  # a RegionKind: motion, sweep, track; whatever else a later version writes
    box_xywh: BoxXYWH
    bear: float  # 0 to 1
    label: str  # the best alarm label
    ood: float


@dataclass(frozen=True, slots=True)
class Told:
    """An event that was told in a frame, or between it and the one before; the fields are the event's."""

    type: str  # new, update, end
    id: str
    kind: str = "bear"
    track: int | None = None
    escalated: str | None = None
    quiet: str | None = None
    zones: tuple[str, ...] = ()
    detail: str | None = None
    at: datetime | None = None  # UTC, where it was told at another time: while no frame came

    @classmethod
    def of(cls, event: Event, frame: Frame) -> Told:
        """What is kept of an event that was told with a frame."""
        at = datetime.fromisoformat(event.captured_at)
        apart = frame.media_time_s is None and abs(at - frame.wall) >= APART
        return cls(
            event.type, event.id, event.kind, event.track, event.escalated, event.quiet, event.zones, event.detail,
            at if apart else None,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Its fields that say something, ready for JSON."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["at"] = utc_text(self.at) if self.at else None
        return {name: value for name, value in found.items() if value not in (None, ())}


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of one camera, explained: what moved, what was looked at, how the evidence stood, what was told."""

    camera: str
    index: int  # of the frame
    time: float  # seconds, monotonic within one source
    wall: datetime  # UTC
    size_wh: tuple[int, int]  # of the frame, pixels
    media_time_s: float | None = None  # seconds into a file; None on a live source
    reset: bool = False  # the background started anew
    moving: bool = False  # the picture as a whole moved
    threshold: float | None = None  # the bear probability that counts, 0 to 1
    scored: tuple[Look, ...] = ()
    standings: tuple[Standing, ...] = ()
    told: tuple[Told, ...] = ()
    troubles: tuple[str, ...] = ()  # one sentence each
    frame_ms: float = 0.0  # what the frame took

    @classmethod
    def of(
        cls,
        frame: Frame,
        motion: Motion,
        scores: Sequence[Score] = (),
        standings: Sequence[Standing] = (),
        events: Sequence[Event] = (),
        troubles: Sequence[str] = (),
        *,
        threshold: float | None = None,
        frame_ms: float = 0.0,
    ) -> Moment:
        """The moment of one turn of the loop."""
        looks = [Look(s.region.kind, s.region.box_xywh, s.bear, s.label, s.ood) for s in scores]
        told = [Told.of(event, frame) for event in events]
        return cls(
            frame.camera, frame.index, frame.time, frame.wall, frame.size_wh, frame.media_time_s, motion.reset,
            motion.moving, threshold, tuple(looks), tuple(standings), tuple(told), tuple(troubles), frame_ms,
        )  # fmt: skip

    @property
    def top(self) -> Look | None:
        """The most bear-like place; None where nothing was looked at."""
        return max(self.scored, key=lambda look: look.bear, default=None)

    @property
    def strongest(self) -> Standing | None:
        """The track with the highest share of what raises an alarm; None where there is no track."""
        return max(self.standings, key=share, default=None)

    def to_json(self) -> str:
        """One line of JSON in ASCII, no newline at the end; boxes to 0.0001, media times to 0.001 s.

        The time and the scores are finer, for ``tune`` adds them up again.
        """
        found: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "kind": "moment",
            "camera": self.camera,
            "index": self.index,
            "time": _round(self.time, 6),
            "wall": utc_text(self.wall),
            "size_wh": self.size_wh,
        }
        if self.media_time_s is not None:
            found["media_time_s"] = _round(self.media_time_s, 3)
        if self.reset:
            found["reset"] = True
        if self.moving:
            found["moving"] = True
        if self.threshold is not None:
            found["threshold"] = _round(self.threshold, 4)
        if self.scored:
            found["scored"] = [
                {
                    "kind": look.kind,
                    "box_xywh": _box(look.box_xywh),
                    "bear": _round(look.bear, 6),
                    "label": look.label,
                    "ood": _round(look.ood, 3),
                }
                for look in self.scored
            ]
        if self.standings:
            found["standings"] = [_standing(standing) for standing in self.standings]
        if self.told:
            found["told"] = [told.as_json() for told in self.told]
        if self.troubles:
            found["troubles"] = self.troubles
        found["frame_ms"] = _round(self.frame_ms, 2)
        return _encode(found)

    @staticmethod
    def from_json(line: str | bytes) -> Moment:
        """The moment a line holds; fields that are not known are passed over. Raises ValueError when it is not one."""
        return _check_moment(_read(line, "moment"))


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest value of a while, and when and where it was reached."""

    value: float
    time: float  # seconds, the frame's clock
    wall: datetime  # UTC
    box_xywh: BoxXYWH


@dataclass(frozen=True, slots=True)
class Summary:
    """What one camera did in a while, so that a quiet hour can be explained when its moments are gone."""

    camera: str
    reason: str  # why it was written: "heartbeat", "the end", or what the person who asked for it said
    since: datetime  # UTC, the first frame
    until: datetime  # UTC, the last frame
    since_s: float  # the same on the frame's clock, seconds
    until_s: float
    frames: int = 0
    crops: int = 0
    moved: int = 0  # frames in which something moved
    told: int = 0  # events
    threshold: float | None = None
    bear: Peak | None = None  # the highest bear probability
    share: Peak | None = None  # the most evidence, as a share of what raises the alarm
    gap_s: float = 0.0  # the longest time between two frames
    gap_at: datetime | None = None  # UTC, the last frame before it
    troubles: tuple[str, ...] = ()  # what was wrong, the first few
    # What `tune` counts; None in older traces.
    seen_s: float | None = None  # the time in which frames came and nothing was wrong, seconds
    most: float | None = None  # the most evidence of one track in the zones, S, logit-seconds

    def to_json(self) -> str:
        """One line of JSON in ASCII, no newline at the end."""
        found: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "kind": "summary"}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None or value == ():
                continue
            if isinstance(value, datetime):
                value = utc_text(value)
            elif isinstance(value, Peak):
                at, box = utc_text(value.wall), _box(value.box_xywh)
                value = {"value": _round(value.value, 4), "time": _round(value.time, 3), "wall": at, "box_xywh": box}
            elif isinstance(value, float):
                value = _round(value, 4)
            found[name] = value
        return _encode(found)

    @staticmethod
    def from_json(line: str | bytes) -> Summary:
        """The summary a line holds. Raises ValueError when it is not one."""
        summary: Summary = _read(line, "summary")
        if summary.since.tzinfo is None or summary.until.tzinfo is None:
            raise ValueError(f"not a whole summary (its times have no zone): {summary.camera} {summary.since}")
        return summary


def share(standing: Standing) -> float:
    """A track's evidence as a share of what raises the alarm, S/h, 0 and up."""
    return standing.sum / standing.alarm_at if standing.alarm_at > 0 else 0.0


def _standing(standing: Standing) -> dict[str, Any]:
    found: dict[str, Any] = {
        "track": standing.track,
        "box_xywh": _box(standing.box_xywh),
        "bear": None if standing.bear is None else _round(standing.bear, 4),
        "threshold": _round(standing.threshold, 4),
        "said": _round(standing.said, 3),
        "sum": _round(standing.sum, 4),
        "alarm_at": _round(standing.alarm_at, 4),
    }
    if standing.held:
        found["held"] = standing.held
    if standing.alone_at is not None:
        found["alone_at"] = _round(standing.alone_at, 4)
    return found


def _read(line: str | bytes, kind: str) -> Any:
    from pydantic import ValidationError

    shown = repr(line[:80])
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"not a {kind}, for it is no line of JSON: {shown}") from None
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ValueError(f"not a {kind}: {shown}")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"a {kind} of schema version {found.get('schema_version')!r}, not {SCHEMA_VERSION}: {shown}")
    try:
        return _type(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"not a whole {kind} ({where}: {first['msg']}): {shown}") from None


@lru_cache
def _type(kind: str) -> Any:
    """pydantic's view of a record. Imported here, for it takes 50 ms and a device only writes."""
    from pydantic import TypeAdapter

    return TypeAdapter({"moment": Moment, "summary": Summary}[kind])


def _check_moment(moment: Moment) -> Moment:
    """The moment, if what is sorted and drawn by it are numbers and its time has a zone. Raises ValueError."""
    boxes = [*(look.box_xywh for look in moment.scored), *(standing.box_xywh for standing in moment.standings)]
    numbers = (moment.time, moment.media_time_s or 0.0, *chain.from_iterable(boxes))
    if not all(map(math.isfinite, numbers)) or min(moment.size_wh) < 1 or moment.wall.tzinfo is None:
        raise ValueError(f"not a whole moment (its times, boxes or size are none): {moment.camera} {moment.index}")
    return moment


def _round(value: float, digits: int) -> float:
    # A classifier's own float32 is no number to JSON.
    return round(float(value), digits)


def _box(box_xywh: BoxXYWH) -> list[float]:
    return [round(float(side), 4) for side in box_xywh]
