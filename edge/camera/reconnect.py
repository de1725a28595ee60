"""A live camera that is never given up: what goes silent, breaks or freezes is opened again, for ever.

``ReconnectingSource`` makes one row of frames out of connections (``edge.camera.live``), one after the other, and
reports what is wrong. It asks ``GapMonitor`` (do short gaps add up), ``Frozen`` (is it always the same picture),
``FrameSequencer`` (numbers and times that go on after a gap) and ``ReportThrottle`` (is a fault to be reported again).
"""

from __future__ import annotations

import logging
import math
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.camera import DEFAULT_FPS, Reporter, Source, frame_patience_s
from edge.camera.live import FIRST_S, SILENT_S, Connection, State, frame_fault
from edge.errors import BearAlarmError
from edge.schema import CameraFault, Frame

log = logging.getLogger(__name__)

MIN_STEP_S = 1e-3  # between the times of two frames
REPORT_S = 0.4  # a fault that lasts is reported so often
BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # from the start of one opening to the start of the next
LOOK_S = 0.1  # how often to look whether a driver has released it
HANGING_S = 4.0  # it may take so long: the read of a silent stream comes back after READ_S
CLOSE_S = 0.9

WINDOW_S = 180.0  # what was lost longer ago is no longer held against it
# From this share of the window lost in short gaps on, the camera comes and goes; below half of it, it is steady again.
UNSTEADY_SHARE = 0.2
MIN_GAP_S = 0.7  # a shorter gap is a hiccup
SLOW_FACTOR = 3.0  # times the time between two frames: at a slow rate there are pauses by intention
LONG_GAP_S = 2.0  # and one so long is none of a slow camera, however usual
USUAL_GAPS = 16  # gaps between frames that are known; a quarter of them are shorter than what is usual
SHORT_GAP_S = 10.0  # a longer gap is reported as what it is
MIN_GAPS = 3  # fewer are a cable that somebody touched

STEP_PX = 16  # of the sample
MIN_SAME_FRAMES = 3  # two may be the same by chance, or sent twice
FROZEN_S = 5.0  # the same bytes for so long are no living camera
FROZEN_AGAIN_S = 10.0  # and while they go on, it is opened again so often
MAX_FROZEN_AGAIN_S = 300.0
MAX_PATIENCE_S = 60.0  # of a camera that was seen to come back by itself
STEADY_S = 10.0  # what lives for so long after being opened was helped by it
CERTAIN_S = 3.0  # certain for so long it is reported (edge.detect.camera_check)
LIVELY_S = 600.0  # of a picture that lives, in which the patience halves


def ignore(trouble: CameraFault | None, at: float) -> None:
    """Report nothing."""


class ReconnectingSource(Source):
    """The frames of a live camera, for ever: when they stop, it is closed and opened again.

    ``open_`` opens it, in the reader thread. No frame for ``silent_s`` seconds, an error,
    or what is no picture: opened again after 0.5, 1, 2, 4, then 8 s. The same picture for 5 s: once at once, quietly;
    where that is of no use it is a fault, and frames flow on. The first frame after a gap has ``again``, also where the
    picture has changed its size. Index and time only go forward. A stream with an end ends; where it must not
    (``endless``), that is a fault like any other. Short gaps and still pictures add up to a fault (``GapMonitor``).

    ``report`` is called from the iterating thread: with the worst fault and the time of ``clock`` (monotonic seconds)
    at least once a second while there is one, and once with None when all is well. ``sleep`` waits at most so many
    seconds. ``device``: where a reader that an earlier source left behind in this device is awaited.
    """

    live = True

    def __init__(
        self,
        open_: Callable[[], Source],
        *,
        name: str = "camera",
        fps: float = DEFAULT_FPS,
        silent_s: float = SILENT_S,
        endless: bool = False,
        device: str | None = None,
        report: Reporter = ignore,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.name = name
        self.silent_s = silent_s
        self.endless = endless
        self.report = report
        self.problems: list[str] = []
        self.reopened = 0
        self.alive_at: float = clock()  # also while it waits for the camera
        self._device = device
        self._open = open_
        self._fps = fps
        self._clock = clock
        self._sleep = sleep
        self._ready = threading.Condition()
        self._closed = False
        self._connection: Connection | None = None
        self._frozen = Frozen()
        self._sequence = FrameSequencer()
        self._lost = GapMonitor()
        self._due = ReportThrottle()
        self._flowed_at: float | None = None  # when the last frame was handed over; None: nothing iterates
        self._tries = 0

    @property
    def fps(self) -> float:
        """Frames handed over a second; may be changed at any time."""
        return self._fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self._fps = fps
        if connection := self._connection:
            connection.set_fps(fps)

    @property
    def lost_s(self) -> float:  # type: ignore[override]
        """Seconds in which there was no picture, so far."""
        gap_s = self._gap_s(self._clock())
        return self._lost.total_s + (gap_s if self._lost.counts(gap_s, self._fps) else 0.0)

    def report_to(self, report: Reporter, report_main: Reporter) -> None:
        """Report what is wrong from now on."""
        self.report = report

    def open(self) -> None:
        """Open the camera now, once. Raises SourceError where that cannot be done."""
        connection = self._begin()
        if connection:
            connection.await_open()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, for ever; ends when it is closed, or with a stream that has an end."""
        self._flowed_at = self._clock()
        connection = self._connection or self._begin()
        if connection and connection.stopping:  # iterated once more
            connection = self._again(connection, None)
        try:
            while connection and not self._closed:
                state = connection.state  # asked before taking, so that a last frame is not lost
                frame = connection.take()
                if frame is None and state is not State.LOST:
                    connection = self._await(connection)
                elif frame is None:
                    if connection.error is None and not self.endless:
                        return
                    connection = self._again(connection, CameraFault("gone", self._why(connection.error)))
                elif fault := frame_fault(frame):
                    connection = self._again(connection, CameraFault("gone", f"{self.name}: {fault}"))
                else:
                    now = self._clock()
                    reopen = self._frozen(frame, now, connection.opened_at or 0.0, connection.taken)
                    self._lost(now, self._gap_s(now), self._fps, self._frozen.stood_s)
                    self._report_frame(now)
                    if connection.taken == 1 and connection.source:
                        self.problems = connection.source.problems
                    yield replace(
                        self._sequence(frame, now, first=connection.taken == 1), frozen_s=self._frozen.frozen_s
                    )
                    self._flowed_at = self.alive_at = self._clock()
                    connection = self._again(connection, None) if reopen else connection
        finally:
            self._lost.total_s, self._flowed_at = self.lost_s, None
            if connection:
                connection.stop()

    def close(self) -> None:
        """Close the camera within a second, whatever it is doing; an iteration under way ends."""
        with self._ready:
            before, self._closed = self._closed, True
            self._ready.notify_all()
            connection = self._connection
        if connection:
            connection.stop()
            connection.join(0.0 if before else CLOSE_S)

    def _begin(self) -> Connection | None:
        """Open it, in the reader thread; None when it has been closed meanwhile."""
        with self._ready:
            if self._closed:
                return None
            self._connection = Connection(
                self._open, self.name, fps=self._fps, device=self._device, clock=self._clock, ready=self._ready
            )
            return self._connection

    def _await(self, connection: Connection) -> Connection | None:
        """No frame yet: wait a little, and report or reopen when that is due."""
        now = self._clock()
        self._report_no_frame(now)
        patience_s = max(self.silent_s, FIRST_S) if connection.frame_at is None else self._patience_s
        since = connection.opened_at if connection.frame_at is None else connection.frame_at
        # While it is being opened there is nothing to close: that ends by itself, or hangs and is waited for.
        left_s = REPORT_S if since is None else since + patience_s - now
        if left_s <= 0.0:
            return self._again(connection, self._gone(now))
        self._wait(min(REPORT_S, left_s), lambda: connection.waiting)
        return connection

    def _again(self, connection: Connection, trouble: CameraFault | None) -> Connection | None:
        """Close it and open it again: after a pause where there is a fault, else at once and quietly."""
        since = due = now = self._clock()
        if trouble:
            self._frozen.reset()
            self._tries = 0 if connection.steady_s >= STEADY_S else self._tries
            pause_s = BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)]
            due = max(connection.began + pause_s, now + BACK_OFF_S[0])
            self._tries += 1
            self._report(trouble, now)
        log.debug("%s: opened again: %s", self.name, trouble.detail if trouble else "it stands still")
        connection.stop()
        while not self._closed and (connection.held or now < due):
            self._report_no_frame(now, hanging=connection.held and now - since >= HANGING_S)
            if now < due:
                self._wait(min(REPORT_S, due - now), lambda: False)
            else:
                self._wait(LOOK_S, lambda: not connection.held)
            now = self._clock()
        self.reopened += 1
        return self._begin()

    @property
    def _patience_s(self) -> float:
        return frame_patience_s(self.silent_s, self._fps)

    def _gone(self, now: float, *, hanging: bool = False) -> CameraFault:
        words = f"{self.name}: no frame for {self._gap_s(now):.0f} s"
        if hanging:
            return CameraFault("gone", f"{words} and its driver does not let go of it; unplug it and plug it in")
        return CameraFault("gone", f"{words}; check its plug and power, and the network")

    def _why(self, error: Exception | None) -> str:
        if error is None:
            return f"{self.name}: the stream has ended; start it again"
        if not isinstance(error, BearAlarmError):
            log.error("%s: the source failed", self.name, exc_info=error)
        return str(error) or f"{self.name}: {type(error).__name__}; start the camera again"

    def _report_no_frame(self, now: float, *, hanging: bool = False) -> None:
        """Report that there is no frame, where that has lasted, or what was wrong before."""
        trouble = self._due.trouble
        known = trouble is not None and trouble.kind == "gone"
        if self._gap_s(now) >= self._patience_s and (not known or hanging):
            trouble = self._gone(now, hanging=hanging)
        if trouble:
            self._report(trouble, now)

    def _report_frame(self, now: float) -> None:
        trouble = None
        if self._frozen.certain:
            words = f"the same picture for {self._frozen.frozen_s:.0f} s, also after it was opened again"
            trouble = CameraFault("frozen", f"{self.name}: {words}; switch the camera off and on")
        elif self._lost.unsteady:
            trouble = CameraFault("unsteady", f"{self.name}: {self._lost.words(now)}")
        self._report(trouble, now)

    def _report(self, trouble: CameraFault | None, now: float) -> None:
        if self._due(trouble, now):
            self.report(trouble, now)

    def _gap_s(self, now: float) -> float:
        flowed_at = self._flowed_at  # read once: another thread may ask
        return 0.0 if flowed_at is None else now - flowed_at

    def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        self.alive_at = self._clock()
        if self._sleep:
            self._sleep(seconds)
            return
        with self._ready:
            self._ready.wait_for(lambda: self._closed or enough(), seconds)


class GapMonitor:
    """The gaps between a camera's frames, added up. Times in seconds of one clock that only goes forward.

    A gap counts from 0.7 s and from three times what was asked for on. Where the camera itself is slow (a long exposure
    at night), also only from three times what is usual, but from 2 s on all the same.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self.unsteady = False  # it comes and goes
        self._began: float | None = None
        self._short: deque[tuple[float, float]] = deque()  # when a gap ended, how long it was
        self._gaps: deque[float] = deque(maxlen=USUAL_GAPS)  # of the last frames, those that count too

    def __call__(self, now: float, gap_s: float, fps: float, stood_s: float = 0.0) -> None:
        """Note a frame, so long after the one before (seconds), at so many frames a second.

        ``stood_s``: the picture that has changed with it was frozen for so long; that is no picture either.
        """
        first, self._began = self._began is None, now if self._began is None else self._began
        if not first:
            self._gaps.append(gap_s)
        lost_s = stood_s
        if self.counts(gap_s, fps) and not (first and gap_s < FIRST_S):
            self.total_s += gap_s
            lost_s += gap_s
        if 0.0 < lost_s < SHORT_GAP_S:
            self._short.append((now, lost_s))
        while self._short and self._short[0][0] <= now - WINDOW_S:
            self._short.popleft()
        needed_s = UNSTEADY_SHARE * WINDOW_S * (0.5 if self.unsteady else 1.0)
        self.unsteady = self.lately_s >= needed_s and len(self._short) >= MIN_GAPS

    @property
    def lately_s(self) -> float:
        """Seconds lost in short gaps within the window."""
        return sum(gap_s for _, gap_s in self._short)

    def words(self, now: float) -> str:
        """Return what is wrong, and what to do."""
        of_s = min(WINDOW_S, now - (now if self._began is None else self._began))
        return (
            f"the picture comes and goes, {self.lately_s:.0f} of the last {of_s:.0f} s were lost; check its plug, its "
            "power and the network"
        )

    def counts(self, gap_s: float, fps: float) -> bool:
        """Return True if a gap between two frames is time lost, at so many frames a second."""
        gaps = sorted(self._gaps)
        usual_s = gaps[len(gaps) // 4] if gaps else math.inf
        return gap_s >= max(MIN_GAP_S, SLOW_FACTOR / fps, min(SLOW_FACTOR * usual_s, LONG_GAP_S))


class FrameSequencer:
    """Makes frames of several connections one row: numbered on, and with times that only go forward."""

    def __init__(self) -> None:
        self._number = 0
        self._time = -math.inf  # of the last frame
        self._at = 0.0  # when it was handed over
        self._size_wh = (0, 0)
        self._shift_s = 0.0

    def __call__(self, frame: Frame, now: float, *, first: bool) -> Frame:
        """Return the frame as the next of the row; ``now``: the monotonic clock, seconds."""
        number, again = self._number, False
        if first:
            # A connection with a clock of its own continues where the last one was, plus the gap.
            behind = frame.time <= self._time
            self._shift_s = self._time + max(now - self._at, 0.0) - frame.time if behind else 0.0
        if number:
            again = frame.discontinuity or first or frame.size_wh != self._size_wh
        self._time = max(frame.time + self._shift_s, self._time + MIN_STEP_S)
        self._number, self._at, self._size_wh = number + 1, now, frame.size_wh
        return replace(frame, index=number, time=self._time, handed_over=now, discontinuity=again)


class ReportThrottle:
    """Decide whether a source's fault of this moment is reported: a new kind and the end at once, else each 0.4 s."""

    def __init__(self) -> None:
        self.trouble: CameraFault | None = None  # of this moment
        self._reported_at = -math.inf

    def __call__(self, trouble: CameraFault | None, now: float) -> bool:
        """``trouble``: the worst of what is wrong now; None: nothing. ``now``: seconds of a clock that goes forward."""
        before, self.trouble = self.trouble, trouble
        same = (before.kind if before else None) == (trouble.kind if trouble else None)
        if same and (trouble is None or now - self._reported_at < REPORT_S):
            return False
        self._reported_at = now
        return True


class Stillness:
    """For how long the same bytes have been coming; a living camera's noise differs in most frames.

    It compares a sample, every 16th pixel of every 16th row, and a checksum of the whole only where that is equal.
    At 1280x720 on one core of a server (AMD EPYC): 0.03 ms a frame, 0.4 ms where the sample is equal.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what came before."""
        self.frames = 0  # the same, in a row
        self._sample: NDArray[np.uint8] | None = None
        self._checksum: int | None = None  # kept instead of the picture, whose memory may be used again
        self._since = 0.0

    def __call__(self, frame: Frame, time: float) -> float:
        """Seconds from the first of the same frames to this one. A picture for later is judged by its luma."""
        whole = frame.picture if isinstance(frame.picture, np.ndarray) else frame.luma
        if whole is None:
            self.reset()
            return 0.0
        sample = whole[::STEP_PX, ::STEP_PX]
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample, self._checksum = sample.copy(), None
            self._since, self.frames = time, 1
            return 0.0
        checksum = zlib.crc32(np.ascontiguousarray(whole).data)
        if self._checksum not in {None, checksum}:
            self._since, self.frames = time, 0
        self._checksum = checksum
        self.frames += 1
        return time - self._since


class Frozen:
    """Decides whether a camera stands still, and whether to open it again; times in seconds of one clock.

    The first time it is opened again and nothing reported; it is ``certain`` where that was of no use: the same picture
    again, or soon another that stands still. That lasts until two pictures in a row differ.

    An H.264 camera of a still place may send the same bytes for many seconds and be well. So it is opened again at
    ever longer intervals, and a run of the same that ended by itself makes it wait twice as long the next time, until
    the picture has lived for a while. One that was reported, or went on over an opening, was no still place: nothing is
    learnt from it.
    """

    def __init__(self) -> None:
        self._still = Stillness()
        self._patience_s, self._again_s = FROZEN_S, FROZEN_AGAIN_S
        self._time = 0.0  # of the last frame
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: the camera was away for another reason."""
        self._still.reset()
        self._doubted = False
        self._stuck = False  # the same picture after it was opened again
        self._certain_at = 0.0  # since when it is certain
        self.certain = False
        self.frozen_s = 0.0  # for how long the picture has been the same
        self.stood_s = 0.0  # for how long it was, where this frame has ended that and nothing excuses it

    def __call__(self, frame: Frame, time: float, opened: float, number: int) -> bool:
        """Decide whether to open it again, after the frame of this number (1, 2, …) since ``opened``."""
        before_s, self.frozen_s = self.frozen_s, self._still(frame, time)
        passed_s, self._time, self.stood_s = time - self._time, time, 0.0
        if self._still.frames == 1 and number > 1:
            self._lives(before_s, passed_s)
            self._doubted = self._doubted and time - opened < STEADY_S
        elif number == 1:
            self._stuck = self.frozen_s >= FROZEN_S
        if self.frozen_s < self._patience_s or self._still.frames < MIN_SAME_FRAMES:
            return False
        if not self._doubted:
            self._doubted = True
            return True
        self._certain_at = self._certain_at if self.certain else time
        self.certain = True
        if time - opened < self._again_s:
            return False
        self._again_s = min(2 * self._again_s, MAX_FROZEN_AGAIN_S)
        return True

    def _lives(self, before_s: float, passed_s: float) -> None:
        """Note that the picture changed by itself, after so long of the same, and since the frame before (seconds)."""
        reported = self.certain and self._time - self._certain_at >= CERTAIN_S
        if before_s >= FROZEN_S:
            self._again_s = FROZEN_AGAIN_S
            if self._stuck or reported:
                self.stood_s = before_s
            else:
                self._patience_s = min(max(self._patience_s, 2 * before_s), MAX_PATIENCE_S)
        elif before_s == 0.0:
            self._patience_s = max(self._patience_s * 0.5 ** (min(passed_s, 1.0) / LIVELY_S), FROZEN_S)
        self.certain = self._stuck = False
