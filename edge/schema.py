"""What crosses each boundary: one frozen dataclass per boundary, units written once.

Boxes are ``box_xywh``: left, top, width, height as fractions of the frame, 0 to 1, so that
they mean the same on the small motion picture, the full frame and a phone's screen.
Pictures are ``uint8 (H, W, 3)`` in BGR order, as OpenCV gives them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
BoxXYWH = tuple[float, float, float, float]  # left, top, width, height; fractions of the frame
RegionKind = Literal["motion", "sweep", "track"]
EventKind = Literal["bear", "camera", "health", "test"]
EventType = Literal["new", "update", "end"]

WHOLE: BoxXYWH = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from one camera, with the time it was taken.

    ``time`` is what the logic runs on: seconds that only go forward (a live camera's monotonic
    clock, a file's own clock). ``wall`` is for people. ``handed_over`` is the monotonic clock
    when the camera gave the frame to the loop: latency is counted from there.
    """

    image: Picture
    time: float  # seconds, monotonic within one source
    wall: datetime  # UTC
    camera: str
    index: int  # 0, 1, 2 … as handed over
    handed_over: float = 0.0  # time.monotonic(), seconds
    media_time_s: float | None = None  # seconds into a file; None on a live source

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the frame worth a look: what moved, a sweep tile, or a followed animal."""

    box_xywh: BoxXYWH
    kind: RegionKind


@dataclass(frozen=True, slots=True)
class Score:
    """What the classifier says of one region.

    ``bear`` is the sum of the alarm labels' probabilities; ``ood`` grows the less the crop
    resembles anything seen in training.
    """

    region: Region
    probabilities: tuple[float, ...]  # one a label, in the card's order, summing to 1
    bear: float  # 0 to 1
    label: str  # the best alarm label
    ood: float


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log (JSONL); ``bear-alarm schema event`` prints its JSON Schema."""

    kind: EventKind
    type: EventType
    id: str  # the same for new, update and end of one happening
    seq: int  # counts up within one run
    boot_id: str  # one a run, so that (boot_id, seq) orders events even when the clock is wrong
    camera: str
    captured_at: str  # ISO 8601, UTC, of the frame that caused it
    clock_synced: bool | None = None  # None: not known on this system
    track: int | None = None
    label: str | None = None
    score: float | None = None  # the bear probability now, 0 to 1
    top_score: float | None = None  # the highest so far
    box_xywh: BoxXYWH | None = None
    media_time_s: float | None = None  # seconds into a file
    latency_ms: float | None = None  # trigger frame handed over -> sink called
    onset_s: float | None = None  # first supporting frame -> alarm
    durable: bool = False  # True once it is safely on disk
    model: str | None = None  # name and short digest
    evidence: str | None = None  # path of the evidence picture
    detail: str | None = None  # words for camera, health and test events
    schema_version: int = field(default=SCHEMA_VERSION)

    def to_json(self) -> str:
        """One line of JSON, no newline at the end."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def from_json(line: str) -> Event:
        """The event a line of JSONL holds. Raises ValueError when it is not one."""
        found: dict[str, Any] = json.loads(line)
        if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"not an event of schema version {SCHEMA_VERSION}: {line[:80]!r}")
        box = found.get("box_xywh")
        known = {name: found[name] for name in Event.__dataclass_fields__ if name in found}
        try:
            return Event(**(known | {"box_xywh": None if box is None else tuple(box)}))
        except TypeError as error:
            raise ValueError(f"not an event: {error}") from None


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC to the millisecond, as events carry it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
