"""A live camera that is never given up: what goes silent, breaks or freezes is opened anew, for ever."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from edge.camera import DEFAULT_FPS, Closing, Source
from edge.camera.checks import STEADY_S, Frozen, frame_fault
from edge.camera.live import FIRST_S, SILENT_S
from edge.camera.lost import Lost
from edge.camera.onward import Onward
from edge.camera.report import REPORT_S, Due, Reporter, nobody
from edge.camera.spell import Spell
from edge.errors import BearAlarmError
from edge.schema import Frame, Trouble

log = logging.getLogger(__name__)

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # from the start of one opening to the start of the next
STEP_S = 0.1  # how often to look whether a driver has let go
HANGING_S = 2.0  # it may take so long
CLOSE_S = 0.9


class KeptSource(Closing):
    """The frames of a live source, for ever: when they stop, it is closed and opened anew.

    ``first`` is open already, or None for a camera that is not there at the start. No frame for ``silent_s`` seconds,
    an error, or what is no picture: opened anew after 0.5, 1, 2, 4, then 8 s. The same picture for 5 s: once at once
    and quietly; where that is of no use it is a trouble, and frames flow on. The first frame after a gap has
    ``again``, also where the picture has changed its size. Index and time go on forwards. A stream with an end ends;
    where that is no end for whoever watches (``endless``), it is a trouble like any other.

    Gaps and standing still too short to be told add up to a trouble that is: ``edge.camera.lost``.

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
        self._spell: Spell | None = None
        self._frozen = Frozen()
        self._onward = Onward()
        self._lost = Lost()
        self._due = Due()
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
                    spell = self._again(spell, Trouble("gone", f"{self.name}: the stream has ended; start it again"))
                elif frame is None:
                    spell = self._again(spell, Trouble("gone", self._why(spell.error)))
                elif fault := frame_fault(frame):
                    spell = self._again(spell, Trouble("gone", f"{self.name}: {fault}"))
                else:
                    now = self._clock()
                    anew = self._frozen(frame, now, spell.opened or 0.0, spell.taken)
                    self._lost(now, self._gap_s(now), self._fps, self._frozen.stood_s)
                    self._say(now)
                    if spell.taken == 1 and spell.source:
                        self.problems = spell.source.problems
                    yield replace(self._onward(frame, now, first=spell.taken == 1), same_s=self._frozen.same_s)
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

    def _begin(self) -> Spell | None:
        """Open it, in a thread; None when it has been closed meanwhile."""
        with self._ready:
            if self._closed:
                return None
            first, self._first = self._first, None
            open_ = self._reopen if first is None else lambda: first
            self._spell = Spell(open_, self.name, lambda: self._fps, self._clock, self._ready)
            return self._spell

    def _await(self, spell: Spell) -> Spell | None:
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

    def _again(self, spell: Spell, trouble: Trouble | None) -> Spell | None:
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

    def _gone(self, now: float, *, hanging: bool = False) -> Trouble:
        words = f"{self.name}: no frame for {self._gap_s(now):.0f} s"
        if hanging:
            return Trouble("gone", f"{words} and its driver does not let go of it; unplug it and plug it in")
        return Trouble("gone", f"{words}; check its plug and power, and the network")

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
            words = f"the same picture for {self._frozen.same_s:.0f} s, also after it was opened anew"
            trouble = Trouble("frozen", f"{self.name}: {words}; switch the camera off and on")
        elif self._lost.unsteady:
            trouble = Trouble("unsteady", f"{self.name}: {self._lost.words(now)}")
        self._tell(trouble, now)

    def _tell(self, trouble: Trouble | None, now: float) -> None:
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
