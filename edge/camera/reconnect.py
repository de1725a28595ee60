"""A live camera that is never given up: what goes silent, breaks or freezes is opened anew, for ever."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from edge.camera.live import FIRST_S, SILENT_S, STEADY_S, Frozen, LatestFrame, frame_fault
from edge.camera.source import DEFAULT_FPS, Closing, Source
from edge.errors import BearAlarmError
from edge.schema import CameraFault, Frame

# How much of the time a camera gave no picture, and whether short gaps add up to a trouble of their own.


WINDOW_S = 180.0  # what was lost longer ago is no longer held against it
SHARE = 0.2  # of the window: lost in short gaps, from which on the camera comes and goes; it is steady below half of it
LEAST_S = 0.7  # a shorter gap is a hiccup
SLOW = 3.0  # times the time between two frames: at a slow rate there are pauses that nobody wants
LONG_S = 2.0  # and one so long is none of a slow camera, however usual
USUAL = 16  # gaps between frames that are known; a quarter of them are shorter than what is usual
SHORT_S = 10.0  # a longer gap is told as what it is
LEAST_GAPS = 3  # fewer are a cable that somebody touched


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
        self._gaps: deque[float] = deque(maxlen=USUAL)  # of the last frames, those that count too

    def __call__(self, now: float, gap_s: float, fps: float, stood_s: float = 0.0) -> None:
        """A frame has come, so long after the one before, at so many frames a second.

        ``stood_s``: the picture that has changed with it was frozen for so long; that is no picture either.
        """
        first, self._began = self._began is None, now if self._began is None else self._began
        if not first:
            self._gaps.append(gap_s)
        lost_s = stood_s
        if self.counts(gap_s, fps) and not (first and gap_s < FIRST_S):
            self.total_s += gap_s
            lost_s += gap_s
        if 0.0 < lost_s < SHORT_S:
            self._short.append((now, lost_s))
        while self._short and self._short[0][0] <= now - WINDOW_S:
            self._short.popleft()
        needed_s = SHARE * WINDOW_S * (0.5 if self.unsteady else 1.0)
        self.unsteady = self.lately_s >= needed_s and len(self._short) >= LEAST_GAPS

    @property
    def lately_s(self) -> float:
        """Seconds lost in short gaps within the window."""
        return sum(gap_s for _, gap_s in self._short)

    def words(self, now: float) -> str:
        """What is wrong, and what to do."""
        of_s = min(WINDOW_S, now - (now if self._began is None else self._began))
        return (
            f"the picture comes and goes, {self.lately_s:.0f} of the last {of_s:.0f} s were lost; check its plug, its "
            "power and the network"
        )

    def counts(self, gap_s: float, fps: float) -> bool:
        """Whether a gap between two frames is time lost, at so many frames a second."""
        gaps = sorted(self._gaps)
        usual_s = gaps[len(gaps) // 4] if gaps else math.inf
        return gap_s >= max(LEAST_S, SLOW / fps, min(SLOW * usual_s, LONG_S))


# Frames of several connections as one row.


LEAST_STEP_S = 1e-3  # between the times of two frames


class FrameSequencer:
    """Makes frames of several connections one row: numbered on, and with times that only go forward."""

    def __init__(self) -> None:
        self._number = 0
        self._time = -math.inf  # of the last frame
        self._at = 0.0  # when it was handed over
        self._size_wh = (0, 0)
        self._shift_s = 0.0

    def __call__(self, frame: Frame, now: float, *, first: bool) -> Frame:
        """The frame as the next of the row; ``first`` of its connection. ``now``: the monotonic clock, seconds."""
        number, again = self._number, False
        if first:
            # A connection with a clock of its own goes on where the last one was, plus the gap.
            behind = frame.time <= self._time
            self._shift_s = self._time + max(now - self._at, 0.0) - frame.time if behind else 0.0
        if number:
            again = frame.again or first or frame.size_wh != self._size_wh
        self._time = max(frame.time + self._shift_s, self._time + LEAST_STEP_S)
        self._number, self._at, self._size_wh = number + 1, now, frame.size_wh
        return replace(frame, index=number, time=self._time, handed_over=now, again=again)


# How a source says what is wrong with it: to one reporter, again while it lasts, and once when it is over.


REPORT_S = 0.4

Reporter = Callable[
    [CameraFault | None, float], None
]  # what is wrong, and the monotonic clock in seconds; None: nothing


def nobody(trouble: CameraFault | None, at: float) -> None:
    """A reporter that nobody hears."""


class ReportThrottle:
    """Whether a source's trouble of this moment is to be reported: a new kind and the end at once, else each 0.4 s."""

    def __init__(self) -> None:
        self.trouble: CameraFault | None = None  # as it stands
        self._told_at = -math.inf

    def __call__(self, trouble: CameraFault | None, now: float) -> bool:
        """``trouble``: the worst of what is wrong now; None: nothing. ``now``: seconds of a clock that goes forward."""
        before, self.trouble = self.trouble, trouble
        same = (before.kind if before else None) == (trouble.kind if trouble else None)
        if same and (trouble is None or now - self._told_at < REPORT_S):
            return False
        self._told_at = now
        return True


# One connection to a camera, from being opened to being let go of.


log = logging.getLogger(__name__)


class Connection:
    """Opens a source in a thread of its own and keeps its newest frame; nothing here waits for a driver.

    Times are seconds of ``clock``. ``ready`` is notified of each frame, of the end, and when nothing is left.
    """

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        fps: Callable[[], float],
        clock: Callable[[], float],
        ready: threading.Condition,
    ) -> None:
        self.began = clock()
        self.opened: float | None = None
        self.heard: float | None = None  # when the last frame came
        self.taken = 0  # frames
        self.source: Source | None = None
        self._name = name
        self._fps = fps
        self._clock = clock
        self._ready = ready
        self._stopping = False
        self._closers = 0
        self._newest = LatestFrame(lambda: self._frames(open_), f"kept {name}", ready)
        self._newest.start()

    @property
    def over(self) -> bool:
        """Nothing more comes by itself."""
        return self._newest.over

    @property
    def error(self) -> Exception | None:
        """Why it is over."""
        return self._newest.error

    @property
    def waiting(self) -> bool:
        """Whether there is a frame to take, or it is over."""
        return self._newest.waiting

    @property
    def held(self) -> bool:
        """Whether something of it still runs: the camera may not be opened again yet."""
        return not self._newest.over or self._closers > 0

    @property
    def steady_s(self) -> float:
        """For how long it has given frames, from being opened to the last."""
        return self.heard - self.opened if self.heard is not None and self.opened is not None else 0.0

    def take(self) -> Frame | None:
        """The newest frame that has come and was not taken."""
        frame = self._newest.take()
        self.taken += frame is not None
        return frame

    def stop(self) -> None:
        """Let go of the camera; returns at once, also where that hangs."""
        with self._ready:
            if self._stopping:
                return
            self._stopping = True
            self._newest.stop()
            if self.source is None or self._newest.over:
                return  # the opening thread closes what it opens too late
            self._closers += 1
            source = self.source
        threading.Thread(target=self._close, args=(source,), name=f"kept {self._name}", daemon=True).start()

    def _frames(self, open_: Callable[[], Source]) -> Generator[Frame, None, None]:
        """In its own thread."""
        source = open_()
        try:
            with self._ready:
                self.source, self.opened = source, self._clock()
                self._ready.notify_all()
                stopping = self._stopping
            source.fps = self._fps()
            if not stopping:
                for frame in source:
                    self.heard = self._clock()
                    yield frame
        finally:
            source.close()

    def _close(self, source: Source) -> None:
        try:
            source.close()
        except Exception:
            log.exception("%s: could not be closed", self._name)
        finally:
            with self._ready:
                self._closers -= 1
                self._ready.notify_all()


BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # from the start of one opening to the start of the next
STEP_S = 0.1  # how often to look whether a driver has let go
HANGING_S = 2.0  # it may take so long
CLOSE_S = 0.9


class ReconnectingSource(Closing):
    """The frames of a live source, for ever: when they stop, it is closed and opened anew.

    ``first`` is open already, or None for a camera that is not there at the start. No frame for ``silent_s`` seconds,
    an error, or what is no picture: opened anew after 0.5, 1, 2, 4, then 8 s. The same picture for 5 s: once at once
    and quietly; where that is of no use it is a trouble, and frames flow on. The first frame after a gap has
    ``again``, also where the picture has changed its size. Index and time go on forwards. A stream with an end ends;
    where that is no end for whoever watches (``endless``), it is a trouble like any other.

    Gaps and standing still too short to be told add up to a trouble that is: ``edge.camera.reconnect``.

    ``report`` is called from the iterating thread: with the worst trouble and the time of ``clock`` (monotonic seconds)
    at least once a second while there is one, and once with None when all is well. ``sleep`` waits at most so many
    seconds.
    """

    live = True
    length_s: float | None = None

    def __init__(
        self,
        first: Source | None,
        reopen: Callable[[], Source],
        *,
        name: str | None = None,
        fps: float | None = None,
        silent_s: float = SILENT_S,
        endless: bool = False,
        report: Reporter = nobody,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name or (first.name if first else "camera")
        self.silent_s = silent_s
        self.endless = endless
        self.report = report
        self.problems: list[str] = []
        self.reopened = 0  # how often it was opened anew
        self.alive_at = clock()  # when its loop last went on, also while it waits for the camera
        self._first = first
        self._reopen = reopen
        self._fps = fps or (first.fps if first else DEFAULT_FPS)
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._ready = threading.Condition()
        self._closed = False
        self._spell: Connection | None = None
        self._frozen = Frozen()
        self._onward = FrameSequencer()
        self._lost = GapMonitor()
        self._due = ReportThrottle()
        self._flowed_at: float | None = None  # when the last frame was handed over; None: nobody iterates
        self._tries = 0

    def __repr__(self) -> str:
        return f"KeptSource(name={self.name!r}, fps={self._fps:g})"

    @property
    def fps(self) -> float:
        """Frames handed over a second; may be changed at any time."""
        return self._fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self._fps = fps
        if (spell := self._spell) and (source := spell.source):
            source.fps = fps

    @property
    def lost_s(self) -> float:
        """Seconds in which there was no picture, so far."""
        gap_s = self._gap_s(self._clock())
        return self._lost.total_s + (gap_s if self._lost.counts(gap_s, self._fps) else 0.0)

    def __iter__(self) -> Iterator[Frame]:
        """The frames, for ever; ends when it is closed, or with a stream that has an end."""
        self._flowed_at = self._clock()
        spell = self._again(self._spell, None) if self._spell else self._begin()
        try:
            while spell and not self._closed:
                over = spell.over  # asked before taking, so that a last frame is not lost
                frame = spell.take()
                if frame is None and not over:
                    spell = self._await(spell)
                elif frame is None and spell.error is None:
                    if not self.endless:
                        return
                    spell = self._again(
                        spell, CameraFault("gone", f"{self.name}: the stream has ended; start it again")
                    )
                elif frame is None:
                    spell = self._again(spell, CameraFault("gone", self._why(spell.error)))
                elif fault := frame_fault(frame):
                    spell = self._again(spell, CameraFault("gone", f"{self.name}: {fault}"))
                else:
                    now = self._clock()
                    anew = self._frozen(frame, now, spell.opened or 0.0, spell.taken)
                    self._lost(now, self._gap_s(now), self._fps, self._frozen.stood_s)
                    self._say(now)
                    if spell.taken == 1 and spell.source:
                        self.problems = spell.source.problems
                    yield replace(self._onward(frame, now, first=spell.taken == 1), frozen_s=self._frozen.frozen_s)
                    self._flowed_at = self.alive_at = self._clock()
                    spell = self._again(spell, None) if anew else spell
        finally:
            self._lost.total_s, self._flowed_at = self.lost_s, None
            if spell:
                spell.stop()

    def close(self) -> None:
        """Let go of the camera within a second, whatever it is doing; an iteration under way ends."""
        with self._ready:
            before, self._closed = self._closed, True
            self._ready.notify_all()
            spell, first = self._spell, self._first
        if spell:
            spell.stop()
            with self._ready:
                self._ready.wait_for(lambda: before or not spell.held, CLOSE_S)  # it was waited for once
        elif first:
            first.close()

    def _begin(self) -> Connection | None:
        """Open it, in a thread; None when it has been closed meanwhile."""
        with self._ready:
            if self._closed:
                return None
            first, self._first = self._first, None
            open_ = self._reopen if first is None else lambda: first
            self._spell = Connection(open_, self.name, lambda: self._fps, self._clock, self._ready)
            return self._spell

    def _await(self, spell: Connection) -> Connection | None:
        """No frame yet: wait a little, and say or do what is due."""
        now = self._clock()
        self._miss(now)
        patience_s = max(self.silent_s, FIRST_S) if spell.heard is None else self._patience_s
        # While it is being opened there is nothing to close: that ends by itself, or hangs and is waited for.
        since = spell.opened if spell.heard is None else spell.heard
        left_s = REPORT_S if since is None else since + patience_s - now
        if left_s <= 0.0:
            return self._again(spell, self._gone(now))
        self._wait(min(REPORT_S, left_s), lambda: spell.waiting)
        return spell

    def _again(self, spell: Connection, trouble: CameraFault | None) -> Connection | None:
        """Let go of it and open it anew: after a pause where there is trouble, else at once and quietly."""
        since = due = now = self._clock()
        if trouble:
            self._frozen.reset()
            self._tries = 0 if spell.steady_s >= STEADY_S else self._tries
            sooner = 1.0 - self._chance() / 4  # cameras behind one switch must not all come at once
            pause_s = BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)]
            due = max(spell.began + pause_s * sooner, now + BACK_OFF_S[0] * sooner)
            self._tries += 1
            self._tell(trouble, now)
        log.debug("%s: opened anew: %s", self.name, trouble.detail if trouble else "it stands still")
        spell.stop()
        while not self._closed and (spell.held or now < due):
            self._miss(now, hanging=spell.held and now - since >= HANGING_S)
            if now < due:
                self._wait(min(REPORT_S, due - now), lambda: False)
            else:
                self._wait(STEP_S, lambda: not spell.held)
            now = self._clock()
        self.reopened += 1
        return self._begin()

    @property
    def _patience_s(self) -> float:
        # At a slow rate there are pauses between frames that nobody wants.
        return max(self.silent_s, 2.0 / self._fps)

    def _gone(self, now: float, *, hanging: bool = False) -> CameraFault:
        words = f"{self.name}: no frame for {self._gap_s(now):.0f} s"
        if hanging:
            return CameraFault("gone", f"{words} and its driver does not let go of it; unplug it and plug it in")
        return CameraFault("gone", f"{words}; check its plug and power, and the network")

    def _why(self, error: Exception | None) -> str:
        if not isinstance(error, BearAlarmError):
            log.error("%s: the source failed", self.name, exc_info=error)
        return str(error) or f"{self.name}: {type(error).__name__}; start the camera again"

    def _miss(self, now: float, *, hanging: bool = False) -> None:
        """No frame at this moment: a trouble where that has lasted, told again where there is one."""
        trouble = self._due.trouble
        known = trouble is not None and trouble.kind == "gone"
        if self._gap_s(now) >= self._patience_s and (not known or hanging):
            trouble = self._gone(now, hanging=hanging)
        if trouble:
            self._tell(trouble, now)

    def _say(self, now: float) -> None:
        """A frame has come: what it says of the camera."""
        trouble = None
        if self._frozen.certain:
            words = f"the same picture for {self._frozen.frozen_s:.0f} s, also after it was opened anew"
            trouble = CameraFault("frozen", f"{self.name}: {words}; switch the camera off and on")
        elif self._lost.unsteady:
            trouble = CameraFault("unsteady", f"{self.name}: {self._lost.words(now)}")
        self._tell(trouble, now)

    def _tell(self, trouble: CameraFault | None, now: float) -> None:
        if self._due(trouble, now):
            self.report(trouble, now)

    def _gap_s(self, now: float) -> float:
        """Seconds since the last frame was handed over."""
        flowed_at = self._flowed_at  # read once: another thread may ask
        return 0.0 if flowed_at is None else now - flowed_at

    def _wait(self, seconds: float, enough: Callable[[], bool]) -> None:
        self.alive_at = self._clock()
        if self._sleep:
            self._sleep(seconds)
            return
        with self._ready:
            self._ready.wait_for(lambda: self._closed or enough(), seconds)
