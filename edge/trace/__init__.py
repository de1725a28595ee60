"""The recorder behind ``bear-alarm why``: the last minutes in memory, and on the disk what is worth keeping.

Of a file every moment is written. Of a live camera: the moments around each event, every ten minutes a summary with
the two most notable moments, and everything in memory when somebody asks.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from edge.background import Worker
from edge.decide.alarms import OUTSIDE_ZONES
from edge.trace.file import TraceFile
from edge.trace.moment import SILENT_S, THE_END, Moment, Peak, Summary, share

log = logging.getLogger(__name__)

WRITE_EACH_S = 1.0  # one write for all the lines of a second
RETRY_S = 30.0  # after a disk that was full
BACKLOG_BYTES = 4_000_000  # waiting for the disk
# After an inference the caches are cold and Python is slow, so lines are made some at a time.
SETTLE_MOMENTS = 32
SETTLE_S = 3.0
OVERHEAD_BYTES = 130  # of a line in memory: its bytes object, its time, their tuple, its place in the ring
MOST_TROUBLES = 5  # named in a summary


class Trace:
    """Takes the moments of any number of cameras, one call a frame, and keeps them in one file.

    ``before_s`` and ``after_s`` are kept around an event of a live camera; its other moments stay in memory for
    ``ring_s`` seconds and at most ``ring_bytes``. The disk is the worker's; a call never waits for it.
    Raises OptionError for a path that can never be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        before_s: float = 30.0,
        after_s: float = 10.0,
        heartbeat_s: float = 600.0,
        ring_s: float = 600.0,
        ring_bytes: int = 4_000_000,
        file_bytes: int = 20_000_000,
    ) -> None:
        self.before_s, self.after_s, self.heartbeat_s = before_s, after_s, heartbeat_s
        self.ring_s, self.ring_bytes = ring_s, ring_bytes
        self.lost = 0  # lines given up, for the disk took none
        self._file = TraceFile(path, limit_bytes=file_bytes, run=uuid.uuid4().hex[:8])
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
        """Keep one moment; returns at once."""
        with self._lock:
            ring = self._rings.get(moment.camera)
            if ring is None:
                ring = self._rings[moment.camera] = _Ring(self)
            if not ring.add(moment):
                return
            self._put(ring.settle())
            full = self._due_bytes > BACKLOG_BYTES // 4 and not self._failing
            ask = bool(self._due) and not self._asked and bool(full or moment.told or time.monotonic() >= self._ask_at)
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
        """In the worker's thread: what is due goes to the disk, or waits for a better one."""
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
    """One camera's moments that are not written, and what its next summary says."""

    def __init__(self, of: Trace) -> None:
        self._of = of
        self._new: list[Moment] = []
        self._kept: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._keep_until = -math.inf
        self._last: Moment | None = None
        self._while: _While | None = None

    def add(self, moment: Moment) -> bool:
        """Take one moment; whether it is time to settle."""
        self._new.append(moment)
        late = moment.time - self._new[0].time >= SETTLE_S
        return late or len(self._new) >= SETTLE_MOMENTS or bool(moment.told)

    def settle(self) -> list[bytes]:
        """Keep the new moments as lines; those lines that are now due to be written."""
        new, self._new = self._new, []
        return [line for moment in new for line in self._keep(moment)]

    def _keep(self, moment: Moment) -> list[bytes]:
        line = moment.to_json().encode("ascii") + b"\n"
        due: list[bytes] = []
        last, self._last = self._last or moment, moment
        if self._while and moment.time - self._while.first.time >= self._of.heartbeat_s:
            due += self.sum_up("heartbeat")
        self._while = self._while or _While(moment, last)
        self._while(moment, line)
        if any(told.type != "update" or told.escalated for told in moment.told):
            # Of a camera that failed, what came before it failed counts, not the time it was away.
            since = last if any(told.at for told in moment.told) else moment
            due += self.take_since(since.time - self._of.before_s)
            self._keep_until = moment.time + self._of.after_s
        # A bear that stays for hours is updated all the while: of a mere update the moment alone.
        if moment.media_time_s is not None or moment.told or moment.time <= self._keep_until:
            return [*due, line]
        self._kept.append((moment.time, line))
        self._bytes += len(line) + OVERHEAD_BYTES
        while self._kept and (self._bytes > self._of.ring_bytes or self._kept[0][0] < moment.time - self._of.ring_s):
            self._bytes -= len(self._kept.popleft()[1]) + OVERHEAD_BYTES
        return due

    def take_since(self, since_s: float) -> list[bytes]:
        """The lines from a time on (frame's clock, seconds), oldest first; they are kept here no longer."""
        taken: list[bytes] = []
        while self._kept and self._kept[-1][0] >= since_s:
            taken.append(self._kept.pop()[1])
            self._bytes -= len(taken[-1]) + OVERHEAD_BYTES
        return taken[::-1]

    def sum_up(self, reason: str) -> list[bytes]:
        """The summary since the last one, before it the moments it names; nothing where no frame came."""
        summed, self._while = self._while, None
        return summed.lines(reason) if summed else []


class _While:
    """What happened since the last summary of one camera."""

    def __init__(self, first: Moment, last: Moment) -> None:
        self.first, self.last = first, last  # of the while before at first: no gap between the two is lost
        self.frames = self.crops = self.moved = self.told = 0
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
        inside = [standing.sum for standing in moment.standings if OUTSIDE_ZONES not in standing.held]
        self.most = max([self.most, *inside])
        # What is told after a frame comes with that frame once more.
        self.frames += moment is self.last or (moment.index, moment.time) != (self.last.index, self.last.time)
        self.last = moment
        self.crops += len(moment.scored)
        self.moved += any(look.kind == "motion" for look in moment.scored)
        self.told += len(moment.told)
        look, standing = moment.top, moment.strongest
        if look and (self.bear is None or look.bear > self.bear[0].value):
            self.bear = Peak(look.bear, moment.time, moment.wall, look.box_xywh), line
        if standing and share(standing) > (self.share[0].value if self.share else 0.0):
            self.share = Peak(share(standing), moment.time, moment.wall, standing.box_xywh), line
        for trouble in moment.troubles:
            if len(self.troubles) < MOST_TROUBLES:
                self.troubles[trouble] = None

    def lines(self, reason: str) -> list[bytes]:
        """Lines of the moments with the most evidence and the most bear-like place, and of the summary."""
        first, last = self.first, self.last
        summary = Summary(
            first.camera, reason, first.wall, last.wall, first.time, last.time, self.frames, self.crops, self.moved,
            self.told, last.threshold, self.bear[0] if self.bear else None, self.share[0] if self.share else None,
            self.gap_s, self.gap_at if self.gap_s > 0 else None, tuple(self.troubles),
            self.seen_s, self.most,
        )  # fmt: skip
        live = first.media_time_s is None
        notable = dict.fromkeys(peak[1] for peak in (self.share, self.bear) if peak and live)
        return [*notable, summary.to_json().encode("ascii") + b"\n"]
