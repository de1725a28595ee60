"""Everyone who is told: noises first, then the journal, and from there what goes over a network."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alarm.at_once import Answered, AtOnce
from edge.alarm.away import Away
from edge.alarm.going_on import GoingOn
from edge.alarm.keeping import Keeping
from edge.background import Sink, Worker, in_background
from edge.status import Health

if TYPE_CHECKING:
    from edge.outbox.deliver import Deliverer
    from edge.record.evidence import EvidenceWriter
    from edge.record.journal import Clock, Journal
    from edge.run import Run
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often to ask everyone how they are
START_S = 15.0  # a channel that fails so soon after the start is reported at once
AT_ONCE = ("the journal", "evidence", "config", "model")  # what is wrong there does not pass by itself


def _unheard(who: str, event: Event, problem: str | None, took_ms: float) -> None:
    """Nobody wants to know."""


class _Held:
    """Keeps events while somebody is exchanged; then passes them on, and also what comes a moment too late."""

    def __init__(self, tell: Sink) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._events: list[Event] | None = []

    def __call__(self, event: Event) -> None:
        """Keep it, or pass it on."""
        with self._lock:
            if self._events is not None:
                self._events.append(event)
                return
        self._tell(event)

    def release(self) -> None:
        """Pass on what was kept."""
        with self._lock:
            events, self._events = self._events or [], None
        for event in events:
            self._tell(event)


class Alerting:
    """Everyone who is told: ``sinks`` for the tellers, the ``journal``, and the deliverers that it feeds.

    ``sinks`` stays the same list while those in it change. ``state`` None: no journal, which only goes without a
    network. Set later: ``watching``, whether a camera's frames are being looked at; ``stats``, what MQTT says of the
    whole alarm; ``more``, whom else health asks. ``answered`` hears from each sink and channel what became of an event.
    A ``guest`` is beside an alarm that watches, and leaves MQTT's states alone. ``terminal`` is told last. What cannot
    work here and now is ``missing``, a problem, and tried again. Raises OptionError for what can never work.
    """

    def __init__(
        self,
        settings: AlertSettings,
        run: Run,
        *,
        state: Path | None = None,
        clock: Clock | None = None,
        cameras: Sequence[str] = (),
        model: str | None = None,
        terminal: Sink | None = None,
        answered: Answered = _unheard,
        guest: bool = False,
    ) -> None:
        self.run = run
        self.watching: Callable[[str], bool] = lambda camera: False
        self.stats: Callable[[], Mapping[str, object]] = dict
        self.more: Callable[[], Mapping[str, Ask]] = dict
        self.evidence: EvidenceWriter | None = None
        self.sinks: list[Sink] = []
        self._began = time.monotonic()
        self._looked = 0.0
        self._cameras: Sequence[str] = ()
        self._exchanging = False  # those who show a state, of which the new know nothing yet
        self._at_once = AtOnce(answered)
        self._keeping = Keeping(answered, run=run, state=state, clock=clock)
        self._away = Away(
            answered,
            run=run,
            state=state,
            remember=self._keeping.remember,
            watching=self._is_watching,
            stats=self._asked,
            guest=guest,
        )
        self._going_on = GoingOn()
        self._terminal: Worker[Event] | None = None
        self._health = Health(run, {}, at_once=AT_ONCE)
        try:
            self.change(settings, cameras, model)
            if terminal:
                self._terminal = in_background(terminal, "the terminal")
                self._point()
        except BaseException:
            self.close(0.0)
            raise

    @property
    def journal(self) -> Journal | None:
        """The journal, where there is one."""
        return self._keeping.journal

    @property
    def missing(self) -> dict[str, str]:
        """Who cannot be told here and now, and why."""
        return self._at_once.missing.why | self._away.missing.why

    @property
    def deliverers(self) -> list[Deliverer]:
        """One for each place over a network."""
        return self._away.deliverers

    @property
    def workers(self) -> list[Worker[Event]]:
        """Everyone who is told without a network, and MQTT's live state, the fastest first."""
        last = [self._terminal] if self._terminal else []
        return [*self._at_once.workers, *self._away.workers, *self._keeping.answering, *last]

    @property
    def problems(self) -> dict[str, str]:
        """What is told to be wrong and not over, by part."""
        return self._health.problems

    def change(self, settings: AlertSettings, cameras: Sequence[str], model: str | None) -> None:
        """Tell these from now on; those who stay are not disturbed, and what happens meanwhile is told to the new.

        Raises OptionError for what can never work; then all is as it was.
        """
        plans = self._away.plan(settings, cameras, model)
        lines = self._keeping.lines(settings.events)
        held = _Held(self.tell)
        try:
            let_go = self._at_once.change(settings, lambda: self._hold(held))
        except BaseException:
            self._keeping.drop(lines)
            raise
        finally:
            self._point()
            held.release()
        self._keeping.drop(self._keeping.print_to(lines))
        let_go()
        self._cameras = tuple(cameras)
        self._exchanging = True
        try:
            self._away.change(plans)
            self._going_on.show_to(self._away.states, cameras)
        finally:
            self._exchanging = False
            self._point()

    def expected(self, event: Event) -> dict[str, bool]:
        """Who answers to this event, in the order they are told, and whether one that fails is tried again."""
        found = dict.fromkeys(self.missing, False) | {each.name: False for each in self.workers if each.wants(event)}
        found |= {each.key: True for each in self.deliverers}
        return found | {f"{each.key}, picture": True for each in self.deliverers if each.channel.pictures}

    @property
    def ailing(self) -> dict[str, str]:
        """Return the local sinks that do not work, with the reason."""
        return {name: why for name, ask in self._at_once.parts.items() if (why := ask())} | self._away.missing.why

    def hopeless(self) -> set[str]:
        """Channels that refused something for good: it is not tried again."""
        return {each.key for each in self.deliverers if each.stats.parked}

    def tell(self, event: Event) -> None:
        """An event that comes from no camera, to everyone."""
        for sink in tuple(self.sinks):
            sink(event)

    def tick(self, now: float | None = None) -> None:
        """Call it often: every some seconds everyone is asked how they are, and every ten minutes the journal beats."""
        now = time.monotonic() if now is None else now
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._try_again(now)
            self._health.parts = self._parts()
            self._health.at_once = frozenset(AT_ONCE) | self._at_once.sure | self._away.missing.why.keys()
            if now - self._began < START_S:  # a broker that restarts later has its minute
                self._health.at_once |= {each.key for each in self.deliverers if each.channel.problem}
            for event in self._health(now):
                self.tell(event)
        self._keeping.tick(now)

    def attach(self, event: Event, picture: Path) -> None:
        """The picture of an event lies on the disk: who takes pictures gets it after the word."""
        self._keeping.attach(event, picture)

    def losses(self) -> list[str]:
        """One line for each that failed, hung, or left something undone."""
        lines = [each.status() for each in self.workers if each.failures or each.dropped or each.hung]
        stats = ((each, each.stats) for each in self.deliverers)
        return lines + [each.status() for each, found in stats if found.parked or found.waiting or found.hung]

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        self._at_once.silence()

    def close(self, within_s: float) -> None:
        """Finish what waits, for at most so many seconds; what is not delivered then is kept for the next time."""
        until = time.monotonic() + within_s
        for worker in [*self._at_once.workers, *self._away.workers]:
            worker.close(until - time.monotonic())
        self._keeping.finish(until - time.monotonic())
        if self._terminal:
            self._terminal.close(until - time.monotonic())
        self._away.close(until - time.monotonic())
        self._keeping.close()

    def _try_again(self, now: float) -> None:
        """Retry missing sinks and channels, once a minute."""
        self._exchanging = not self._away.states  # no older state is shown that this could disturb
        try:
            others = self._away.try_again(now)
            if others:
                self._going_on.show_to(self._away.states, self._cameras)
        finally:
            self._exchanging = False
        if self._at_once.try_again(now) or others:
            self._point()

    def _is_watching(self, camera: str) -> bool:
        return not self._exchanging and self.watching(camera)  # who is to be asked is known only later

    def _asked(self) -> Mapping[str, object]:
        return self.stats()

    def _hold(self, held: Sink) -> None:
        self.sinks[:] = [held]

    def _point(self) -> None:
        # Without a journal there is no network, and so nobody who shows a state.
        states: list[Sink] = [self._going_on] if self.journal or self._away.workers else []
        last = [self._terminal] if self._terminal else []
        self.sinks[:] = [*self._at_once.workers, *states, *self._keeping.workers, *last]

    def _parts(self) -> dict[str, Ask]:
        """Whom health asks now, by name."""
        parts: dict[str, Ask] = {} if self._terminal is None else {self._terminal.name: self._terminal.problem}
        parts |= self._at_once.parts | self._away.parts | self._keeping.parts
        parts["evidence"] = lambda: self.evidence.problem() if self.evidence else None
        return parts | dict(self.more())
