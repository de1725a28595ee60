"""The trace behind ``bear-alarm why``: the last minutes in memory, and on the disk what is worth keeping.

Of a file every moment is written. Of a live camera: the moments around each event, every ten minutes a summary with
the two most notable moments, and everything in memory when somebody asks.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edge.background import Worker
from edge.decide.evidence import OUTSIDE_ZONES
from edge.errors import OptionError
from edge.schema import SCHEMA_VERSION, BoxXYWH, Event, EvidenceState, Frame, Score, utc_text
from edge.version import __version__

if TYPE_CHECKING:
    from edge.detect.motion import Motion


# The file of a trace: lines appended in batches, rotated at a size, one old file kept.
#
# It is opened for each batch and closed again, so that a moved file, a full disk and a removed card need no special
# handling.

FILE_BYTES = 20_000_000
BEGINNING = b'{"schema_version"'
NOT_THE_USERS = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EIO,
}  # faults of the disk, not mistakes of the user: the alarm starts all the same


class TraceFile:
    """Appends lines to ``path``; at ``FILE_BYTES`` the file becomes ``path`` with ``.1`` and a new one begins.

    Each run, and each file, begins with a line of kind "start". Raises OptionError where the path can never be
    written or holds something else; a disk that is full or read-only now may be better later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        start = {"schema_version": SCHEMA_VERSION, "kind": "start", "run": uuid.uuid4().hex[:8]}
        self._start = start | {"version": __version__, "wall": utc_text(datetime.now(UTC))}
        self._begun = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as file:
                file.seek(0)
                head = file.read(40)
        except OSError as error:
            if error.errno in NOT_THE_USERS:
                return
            raise OptionError(f"{self.path}: cannot write a trace there ({error.strerror})") from None
        if not is_trace(head):
            raise OptionError(f"{self.path}: is no trace, and nothing is appended to it; name another file")

    def append(self, lines: deque[bytes]) -> None:
        """Write the lines (each with its newline), taking from the deque what is written. Raises OSError."""
        while lines:
            with self._open() as file:
                size = file.seek(0, os.SEEK_END)
                batch = [] if size and self._begun else [json.dumps(self._start).encode() + b"\n"]
                if size and not _ends_a_line(file, size):
                    batch.insert(0, b"\n")  # a power cut can leave half a line
                room = FILE_BYTES - size - sum(map(len, batch))
                taken = 0
                while taken < len(lines) and (room >= len(lines[taken]) or not size + taken):
                    batch.append(lines[taken])
                    room -= len(lines[taken])
                    taken += 1
                if taken:
                    _write(file, b"".join(batch), size)
                    self._begun = True
            for _ in range(taken):
                lines.popleft()
            if lines:
                self.path.replace(old(self.path))

    def _open(self) -> BinaryIO:
        # Not buffered: a full disk fails at the write, and closing cannot fail.
        return self.path.open("a+b", buffering=0)


def old(path: Path) -> Path:
    """Return the path of the file before this one."""
    return path.with_name(f"{path.name}.1")


def is_trace(head: bytes) -> bool:
    """Return whether a file that begins so (40 bytes are enough) may be a trace, or what a power cut left of one."""
    begun = head.lstrip(b"\0\r\n")[: len(BEGINNING)]
    return begun == BEGINNING[: len(begun)]


def _ends_a_line(file: BinaryIO, size: int) -> bool:
    file.seek(size - 1)
    return file.read(1) == b"\n"


def _write(file: BinaryIO, data: bytes, size: int) -> None:
    """Write all of the data, or nothing of it. Raises OSError."""
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        if len(left) < len(data):
            os.truncate(file.fileno(), size)
        raise


# The records of a trace: what the alarm found, scored and published in one frame, and a summary of many frames.
#
# Each is one line of JSON with a ``schema_version`` and a ``kind``, without the fields that are empty or false.


THE_END = "the end"  # of a run: why a summary was written
SILENT_S = 5.0  # without a frame for longer, a camera is silent: a low frame rate does not explain that
APART = timedelta(seconds=1)  # an event so far from its frame was published while no frame came

# Field names in the files, which older versions wrote too, and here.
NAMES = {"standings": "evidence_states", "told": "events"}
FILE_NAMES = {name: key for key, name in NAMES.items()}

# One encoder for all lines, since making one costs as much as a line. ASCII, so that no camera's name can fail.
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ScoredRegion:
    """One region and its score."""

    kind: str  # a RegionKind: motion, scan, track; sweep in older files
    box_xywh: BoxXYWH
    bear: float  # 0 to 1
    label: str  # the best alarm label
    ood: float


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An event that was published in a frame, or between it and the one before; the fields are the event's."""

    type: str  # new, update, end
    id: str
    kind: str = "bear"
    track: int | None = None
    escalated: str | None = None
    quiet: str | None = None
    zones: tuple[str, ...] = ()
    detail: str | None = None
    at: datetime | None = None  # UTC, where it was published while no frame came
    stage: str | None = None

    @classmethod
    def of(cls, event: Event, frame: Frame) -> TracedEvent:
        """Return what is kept of an event that was published with a frame."""
        at = datetime.fromisoformat(event.captured_at)
        apart = frame.media_time_s is None and abs(at - frame.wall) >= APART
        return cls(
            event.type, event.id, event.kind, event.track, event.escalated, event.quiet, event.zones, event.detail,
            at if apart else None, event.stage,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return its fields that are not empty, ready for JSON."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["at"] = utc_text(self.at) if self.at else None
        return {name: value for name, value in found.items() if value not in (None, ())}


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of one camera, explained: what moved, what was scored, the evidence, and what was published."""

    camera: str
    index: int  # of the frame
    time: float  # seconds, monotonic within one source
    wall: datetime  # UTC
    size_wh: tuple[int, int]  # of the frame, pixels
    media_time_s: float | None = None  # seconds into a file; None on a live source
    reset: bool = False  # the background started again
    moving: bool = False  # the picture as a whole moved
    threshold: float | None = None  # the bear probability that counts, 0 to 1
    scored: tuple[ScoredRegion, ...] = ()
    evidence_states: tuple[EvidenceState, ...] = ()
    events: tuple[TracedEvent, ...] = ()
    troubles: tuple[str, ...] = ()  # one sentence each
    frame_ms: float = 0.0  # what the frame took

    @classmethod
    def of(
        cls,
        frame: Frame,
        motion: Motion,
        scores: Sequence[Score] = (),
        evidence_states: Sequence[EvidenceState] = (),
        events: Sequence[Event] = (),
        troubles: Sequence[str] = (),
        *,
        threshold: float | None = None,
        frame_ms: float = 0.0,
    ) -> Moment:
        """Return the moment of one turn of the loop."""
        scored = [ScoredRegion(s.region.kind, s.region.box_xywh, s.bear, s.label, s.ood) for s in scores]
        traced = [TracedEvent.of(event, frame) for event in events]
        return cls(
            frame.camera, frame.index, frame.time, frame.wall, frame.size_wh, frame.media_time_s, motion.reset,
            motion.moving, threshold, tuple(scored), tuple(evidence_states), tuple(traced), tuple(troubles), frame_ms,
        )  # fmt: skip

    @property
    def top(self) -> ScoredRegion | None:
        """Return the region with the highest score; None where nothing was scored."""
        return max(self.scored, key=lambda region: region.bear, default=None)

    @property
    def strongest(self) -> EvidenceState | None:
        """Return the track with the highest share of what raises an alarm; None where there is no track."""
        return max(self.evidence_states, key=share, default=None)

    def to_json(self) -> str:
        """Return one line of JSON in ASCII, no newline at the end; boxes to 0.0001, media times to 0.001 s.

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
            "media_time_s": None if self.media_time_s is None else _round(self.media_time_s, 3),
            "reset": self.reset or None,
            "moving": self.moving or None,
            "threshold": None if self.threshold is None else _round(self.threshold, 4),
            "scored": [
                {
                    "kind": region.kind,
                    "box_xywh": _box(region.box_xywh),
                    "bear": _round(region.bear, 6),
                    "label": region.label,
                    "ood": _round(region.ood, 3),
                }
                for region in self.scored
            ]
            or None,
            "standings": [_state_json(state) for state in self.evidence_states] or None,
            "told": [event.as_json() for event in self.events] or None,
            "troubles": self.troubles or None,
            "frame_ms": _round(self.frame_ms, 2),
        }
        return _encode({name: value for name, value in found.items() if value is not None})

    @staticmethod
    def from_json(line: str | bytes) -> Moment:
        """Return the moment a line holds; unknown fields are skipped. Raises ValueError if it is none."""
        return _check_moment(_read(line, "moment"))


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest value in a period, and when and where it was reached."""

    value: float
    time: float  # seconds, the frame's clock
    wall: datetime  # UTC
    box_xywh: BoxXYWH


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of one camera's frames: it explains a quiet hour when its moments are gone."""

    camera: str
    reason: str  # why it was written: "heartbeat", "the end", or the reason of the person who asked for it
    since: datetime  # UTC, the first frame
    until: datetime  # UTC, the last frame
    since_s: float  # the same on the frame's clock, seconds
    until_s: float
    frames: int = 0
    crops: int = 0
    moved: int = 0  # frames in which something moved
    events: int = 0  # that were published
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
        """Return one line of JSON in ASCII, no newline at the end."""
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
            found[FILE_NAMES.get(name, name)] = value
        return _encode(found)

    @staticmethod
    def from_json(line: str | bytes) -> Summary:
        """Return the summary a line holds. Raises ValueError when it is not one."""
        summary: Summary = _read(line, "summary")
        if summary.since.tzinfo is None or summary.until.tzinfo is None:
            raise ValueError(f"not a whole summary (its times have no zone): {summary.camera}")
        return summary


def _check_moment(moment: Moment) -> Moment:
    """Return the moment, if its times and boxes are finite numbers and its time has a zone. Raises ValueError."""
    boxes = [*(one.box_xywh for one in moment.scored), *(one.box_xywh for one in moment.evidence_states)]
    numbers = (moment.time, moment.media_time_s or 0.0, *chain.from_iterable(boxes))
    if not all(map(math.isfinite, numbers)) or min(moment.size_wh) < 1 or moment.wall.tzinfo is None:
        raise ValueError(f"not a whole moment (its times, boxes or size are none): {moment.camera} {moment.index}")
    return moment


def share(state: EvidenceState) -> float:
    """Return a track's evidence as a share of what raises the alarm, S/h, 0 and up."""
    return state.sum / state.alarm_at if state.alarm_at > 0 else 0.0


def _state_json(state: EvidenceState) -> dict[str, Any]:
    found: dict[str, Any] = {
        "track": state.track,
        "box_xywh": _box(state.box_xywh),
        "bear": None if state.bear is None else _round(state.bear, 4),
        "threshold": _round(state.threshold, 4),
        "said": _round(state.said, 3),
        "sum": _round(state.sum, 4),
        "alarm_at": _round(state.alarm_at, 4),
    }
    if state.held:
        found["held"] = state.held
    if state.alone_at is not None:
        found["alone_at"] = _round(state.alone_at, 4)
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
        return _type(kind).validate_python({NAMES.get(key, key): value for key, value in found.items()})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"not a whole {kind} ({where}: {first['msg']}): {shown}") from None


@lru_cache
def _type(kind: str) -> Any:
    """pydantic's view of a record. Imported here, for it takes 50 ms and a device only writes."""
    from pydantic import TypeAdapter

    return TypeAdapter({"moment": Moment, "summary": Summary}[kind])


def _round(value: float, digits: int) -> float:
    # A classifier's own float32 is no number to JSON.
    return round(float(value), digits)


def _box(box_xywh: BoxXYWH) -> list[float]:
    return [round(float(side), 4) for side in box_xywh]


log = logging.getLogger(__name__)

BEFORE_S, AFTER_S = 30.0, 10.0  # written around an event of a live camera
HEARTBEAT_S = 600.0  # between two summaries
RING_S, RING_BYTES = 600.0, 4_000_000  # of a live camera's moments in memory
WRITE_EACH_S = 1.0  # one write for all the lines of a second
RETRY_S = 30.0  # after a disk that was full
BACKLOG_BYTES = 4_000_000  # waiting for the disk
# Just after an inference the caches are cold and Python is slow, so lines are made in batches.
SETTLE_MOMENTS = 32
SETTLE_S = 3.0
OVERHEAD_BYTES = 130  # of a line in memory: its bytes object, its time, their tuple, its place in the ring
MAX_TROUBLES = 5  # named in a summary


class Trace:
    """Takes the moments of any number of cameras, one call a frame, and keeps them in one file.

    The moments around an event of a live camera are written; its others stay in memory for a while. The disk is the
    worker's; a call never waits for it. Raises OptionError for a path that can never be written.
    """

    def __init__(self, path: Path) -> None:
        self.lost = 0  # lines given up, for the disk took none
        self._file = TraceFile(path)
        self.path = self._file.path
        self._lock = threading.Lock()  # of all below
        self._rings: dict[str, _Ring] = {}
        self._due: deque[bytes] = deque()
        self._due_bytes = 0
        self._asked = False
        self._ask_at = 0.0  # time.monotonic(), seconds
        self._failing = False
        self._worker: Worker[str | None] = Worker(self._write, "the trace", depth=8)

    def __call__(self, moment: Moment) -> None:
        """Take one moment; returns at once."""
        with self._lock:
            ring = self._rings.get(moment.camera)
            if ring is None:
                ring = self._rings[moment.camera] = _Ring()
            if not ring.add(moment):
                return
            self._put(ring.settle())
            full = self._due_bytes > BACKLOG_BYTES // 4 and not self._failing
            soon = full or bool(moment.events) or time.monotonic() >= self._ask_at
            ask = bool(self._due) and not self._asked and soon
            self._asked = self._asked or ask
        if ask:
            self._worker(None)

    def flush(self, reason: str) -> None:
        """Write everything in memory and a summary that names the reason; returns at once, safe in a signal handler."""
        self._worker(reason)

    def close(self, within_s: float) -> bool:
        """Write what is due and each camera's last summary, for at most so many seconds; False when some was left."""
        with self._lock:
            for ring in self._rings.values():
                self._put([*ring.settle(), *ring.sum_up(THE_END)])
        self._worker(None)
        return self._worker.close(within_s) and not self._due

    def _put(self, lines: Sequence[bytes]) -> None:
        self._due.extend(lines)
        self._due_bytes += sum(map(len, lines))
        while self._due_bytes > BACKLOG_BYTES:
            self._due_bytes -= len(self._due.popleft())
            self.lost += 1

    def _write(self, reason: str | None, _: float) -> None:
        """Write what is due, in the worker's thread; keep it if the disk takes nothing."""
        with self._lock:
            if reason is not None:
                for ring in self._rings.values():
                    self._put([*ring.settle(), *ring.take_since(-math.inf), *ring.sum_up(reason)])
            lines, self._due, self._due_bytes, self._asked = self._due, deque(), 0, False
            self._ask_at = time.monotonic() + WRITE_EACH_S
        if not lines:
            return
        try:
            self._file.append(lines)
        except OSError as error:
            self._not_written(lines, error)
        else:
            if self._failing:
                lost = f"; {self.lost} lines were lost" if self.lost else ""
                log.warning("%s: the trace is written again%s", self.path, lost)
            self._failing = False

    def _not_written(self, lines: deque[bytes], error: OSError) -> None:
        if not self._failing:
            why = error.strerror or error
            log.warning("%s: the trace cannot be written (%s); tried again later", self.path, why)
        with self._lock:
            newer, self._due, self._due_bytes = self._due, deque(), 0
            self._put([*lines, *newer])
            self._failing, self._ask_at = True, time.monotonic() + RETRY_S


class _Ring:
    """One camera's moments that are not written yet, and the values of its next summary."""

    def __init__(self) -> None:
        self._new: list[Moment] = []
        self._kept: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._keep_until = -math.inf
        self._last: Moment | None = None
        self._period: _Period | None = None

    def add(self, moment: Moment) -> bool:
        """Take one moment; return whether it is time to settle."""
        self._new.append(moment)
        late = moment.time - self._new[0].time >= SETTLE_S
        return late or len(self._new) >= SETTLE_MOMENTS or bool(moment.events)

    def settle(self) -> list[bytes]:
        """Keep the new moments as lines; return those that are now due to be written."""
        new, self._new = self._new, []
        return [line for moment in new for line in self._keep(moment)]

    def _keep(self, moment: Moment) -> list[bytes]:
        line = moment.to_json().encode("ascii") + b"\n"
        due: list[bytes] = []
        last, self._last = self._last or moment, moment
        if self._period and moment.time - self._period.first.time >= HEARTBEAT_S:
            due += self.sum_up("heartbeat")
        self._period = self._period or _Period(moment, last)
        self._period(moment, line)
        if any(event.type != "update" or event.escalated for event in moment.events):
            # For a camera that failed, the seconds before it failed are kept, not the time it was away.
            since = last if any(event.at for event in moment.events) else moment
            due += self.take_since(since.time - BEFORE_S)
            self._keep_until = moment.time + AFTER_S
        # A bear that stays for hours is updated again and again: of an update only its moment is written.
        if moment.media_time_s is not None or moment.events or moment.time <= self._keep_until:
            return [*due, line]
        self._kept.append((moment.time, line))
        self._bytes += len(line) + OVERHEAD_BYTES
        while self._kept and (self._bytes > RING_BYTES or self._kept[0][0] < moment.time - RING_S):
            self._bytes -= len(self._kept.popleft()[1]) + OVERHEAD_BYTES
        return due

    def take_since(self, since_s: float) -> list[bytes]:
        """Remove and return the lines from a time on (frame's clock, seconds), oldest first."""
        taken: list[bytes] = []
        while self._kept and self._kept[-1][0] >= since_s:
            taken.append(self._kept.pop()[1])
            self._bytes -= len(taken[-1]) + OVERHEAD_BYTES
        return taken[::-1]

    def sum_up(self, reason: str) -> list[bytes]:
        """Return the summary since the last one, after the moments it names; nothing if no frame came."""
        summed, self._period = self._period, None
        return summed.lines(reason) if summed else []


class _Period:
    """Counts and peaks since the last summary of one camera."""

    def __init__(self, first: Moment, last: Moment) -> None:
        self.first, self.last = first, last  # ``last`` of the period before: no gap between the two is lost
        self.frames = self.crops = self.moved = self.events = 0
        self.bear: tuple[Peak, bytes] | None = None
        self.share: tuple[Peak, bytes] | None = None
        self.gap_s = 0.0
        self.gap_at = first.wall
        self.troubles: dict[str, None] = {}
        self.seen_s = self.most = 0.0

    def __call__(self, moment: Moment, line: bytes) -> None:
        gap_s = moment.time - self.last.time
        if gap_s > self.gap_s:
            self.gap_s, self.gap_at = gap_s, self.last.wall
        if gap_s <= SILENT_S and not moment.troubles:
            self.seen_s += gap_s
        inside = [state.sum for state in moment.evidence_states if OUTSIDE_ZONES not in state.held]
        self.most = max([self.most, *inside])
        # Events between two frames come with the frame before, a second time.
        self.frames += moment is self.last or (moment.index, moment.time) != (self.last.index, self.last.time)
        self.last = moment
        self.crops += len(moment.scored)
        self.moved += any(region.kind == "motion" for region in moment.scored)
        self.events += len(moment.events)
        top, strongest = moment.top, moment.strongest
        if top and (self.bear is None or top.bear > self.bear[0].value):
            self.bear = Peak(top.bear, moment.time, moment.wall, top.box_xywh), line
        if strongest and share(strongest) > (self.share[0].value if self.share else 0.0):
            self.share = Peak(share(strongest), moment.time, moment.wall, strongest.box_xywh), line
        for trouble in moment.troubles:
            if len(self.troubles) < MAX_TROUBLES:
                self.troubles[trouble] = None

    def lines(self, reason: str) -> list[bytes]:
        """Return lines of the moments with the most evidence and the highest score, and of the summary."""
        first, last = self.first, self.last
        summary = Summary(
            first.camera, reason, first.wall, last.wall, first.time, last.time, self.frames, self.crops, self.moved,
            self.events, last.threshold, self.bear[0] if self.bear else None, self.share[0] if self.share else None,
            self.gap_s, self.gap_at if self.gap_s > 0 else None, tuple(self.troubles),
            self.seen_s, self.most,
        )  # fmt: skip
        live = first.media_time_s is None
        notable = dict.fromkeys(peak[1] for peak in (self.share, self.bear) if peak and live)
        return [*notable, summary.to_json().encode("ascii") + b"\n"]
