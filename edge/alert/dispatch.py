"""Alert everyone: noises first, then the journal, and from there what goes over a network.

``Alerting`` has three parts. ``LocalSinks`` works on this device, at once, and is never tried again. ``JournalSink``
writes each event down. ``RemoteChannels`` sends what the journal's outbox holds, over restarts, until it has arrived.

To add a way to alert: write it in ``edge/alert/``, as a callable that takes an ``Event`` (local: add it to
``local_plans``) or as a ``Channel`` of ``edge.record.outbox`` (over a network: add it to ``channel_plans``). Give it a
setting in ``edge/settings.py`` (``AlertSettings``), an option in ``edge/cli/options.py``, a section in
``edge/config/schema.py`` and ``load.py``, and a check in ``edge/cli/doctor/alerts.py``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge.alert.command import command_in_doubt
from edge.background import Sink, Worker, in_background
from edge.errors import NOT_HERE, BearAlarmError, OptionError
from edge.status import Health

if TYPE_CHECKING:
    from edge.alert.delivery import Deliverer, RateLimit
    from edge.alert.deterrent import Span
    from edge.alert.gpio import Gpio
    from edge.alert.sound import Sound
    from edge.record.database import RunLock
    from edge.record.journal import Clock, Journal
    from edge.record.outbox import Channel, Message, Route
    from edge.record.recorder import MediaWriter
    from edge.run import EventFactory
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask
log = logging.getLogger(__name__)
AGAIN_S = 60.0  # how often what does not work is tried again
Made = TypeVar("Made")
SILENT_S = 0.5
Answered = Callable[[str, "Event", str | None, float], None]  # who, the event, what went wrong, milliseconds
KINDS = frozenset({"bear", "camera"})
BEAT_S = 600.0  # how often the journal notes that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked
JOURNAL_DEADLINE_S = 12.0  # a little more than the journal itself is patient with a disk
LINES_S = 30.0  # what a file of lines may take
LOOK_S = 5.0  # how often to ask everyone how they are
START_S = 15.0  # a channel that fails so soon after the start is reported at once
AT_ONCE = ("the journal", "evidence", "config", "model")  # what is wrong there does not pass by itself


class Alerting:
    """All alerts: the ``sinks`` of the publishers, the ``journal``, and the deliverers that it feeds.

    ``sinks`` stays the same list while those in it change, as what was missing is made. ``state`` None: no journal,
    which only goes without a network. Set later: ``watching``, whether a camera's frames are being looked at;
    ``stats``, what MQTT says of the whole alarm; ``more``, whom else health asks. ``answered`` hears from each sink and
    channel what became of an event. A ``guest`` is beside an alarm that watches, and leaves MQTT's states alone.
    ``terminal`` comes last. What cannot work here and now is ``missing``, a problem, and tried again. ``before``: the
    alerts of the alarm that a reload has ended in this process; its open journal, its problems, the limit of messages
    and the deterrent's budget go on. Raises OptionError for what can never work.
    """

    def __init__(
        self,
        settings: AlertSettings,
        run: EventFactory,
        *,
        state: Path | None = None,
        clock: Clock | None = None,
        cameras: Sequence[str] = (),
        model: str | None = None,
        terminal: Sink | None = None,
        answered: Answered = lambda *_: None,
        guest: bool = False,
        before: Alerting | None = None,
    ) -> None:
        self.run = run
        self.watching: Callable[[str], bool] = lambda camera: False
        self.stats: Callable[[], Mapping[str, object]] = dict
        self.more: Callable[[], Mapping[str, Ask]] = dict
        self.evidence: MediaWriter | None = None
        self.sinks: list[Sink] = []
        self._began = time.monotonic()
        self._looked = 0.0
        self._cameras = tuple(cameras)
        self._exchanging = False  # those who show a state, of which the new know nothing yet
        self._at_once: LocalSinks = LocalSinks(answered, before._at_once if before else None)
        self._keeping = JournalSink(answered, run=run, state=state, clock=clock, guest=guest)
        self._away: RemoteChannels = RemoteChannels(
            answered,
            remember=self._keeping.remember,
            watching=self._is_watching,
            stats=self._asked,
            guest=guest,
            before=before._away if before else None,
        )
        self._going_on = OpenEvents()
        self._terminal: Worker[Event] | None = None
        self._health: Health = before._health if before else Health(run, {}, at_once=AT_ONCE)
        try:
            self._away.plan(settings, cameras, model)
            self._keeping.lock(before._keeping if before else None)  # before anything is heard of this alarm
            self._keeping.write_lines(settings.events)
            self._at_once.make(settings)
            self._away.make()
            self._going_on.show_to(self._away.states, cameras)
            if terminal:
                self._terminal = in_background(terminal, "the terminal")
            self._point()
        except BaseException:
            self.close(0.0, keep=self.shared)
            raise

    @property
    def journal(self) -> Journal | None:
        """Return the journal, where there is one."""
        return self._keeping.journal

    @property
    def shared(self) -> bool:
        """Return True if the journal is that of the alarm before."""
        return self._keeping.shared

    @property
    def missing(self) -> dict[str, str]:
        """Return who cannot be told here and now, and why."""
        return self._at_once.missing.why | self._away.missing.why

    @property
    def deliverers(self) -> list[Deliverer]:
        """Return one for each place over a network."""
        return self._away.deliverers

    @property
    def workers(self) -> list[Worker[Event]]:
        """Every sink without a network, and MQTT's live state, the fastest first."""
        last = [self._terminal] if self._terminal else []
        return [*self._at_once.workers, *self._away.workers, *self._keeping.answering, *last]

    @property
    def problems(self) -> dict[str, str]:
        """Return the problems that were published and last, by part."""
        return self._health.problems

    def expected(self, event: Event) -> dict[str, bool]:
        """Return who answers to this event, in the order of the calls, and whether one that fails is tried again."""
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
        """Publish an event that comes from no camera."""
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
        """Give an event's picture, which is on the disk, to whatever takes pictures, after the event."""
        self._keeping.attach(event, picture)

    def losses(self) -> list[str]:
        """Return one line for each that failed, hung, or left something undone."""
        lines = [each.status() for each in self.workers if each.failures or each.dropped or each.hung]
        stats = ((each, each.stats) for each in self.deliverers)
        return lines + [each.status() for each, found in stats if found.parked or found.waiting or found.hung]

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        self._at_once.silence()

    def close(self, within_s: float, *, keep: bool = False) -> None:
        """Finish what waits, for at most so many seconds; what is not delivered then is kept for the next time.

        ``keep``: leave the journal open, for the next alarm in this process.
        """
        until = time.monotonic() + within_s
        for worker in [*self._at_once.workers, *self._away.workers]:
            worker.close(until - time.monotonic())
        self._keeping.finish(until - time.monotonic(), keep=keep)
        if self._terminal:
            self._terminal.close(until - time.monotonic())
        self._away.close(until - time.monotonic())
        if not keep:
            self._keeping.close()

    def drop(self) -> None:
        """Close the journal that ``close`` has kept open."""
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


class LocalSinks:
    """Sounds, relays, the deterrent, the bell and commands; one that cannot work is ``missing``, and tried again."""

    def __init__(self, answered: Answered, before: LocalSinks | None = None) -> None:
        self.missing = Unavailable()
        self._answered = answered
        self._spent: deque[Span] = before._spent if before else deque()  # by the deterrent, of what it may be loud
        self._plans: dict[Hashable, SinkSpec] = {}  # all sinks of the settings, in the order of notification
        self._running: dict[Hashable, _RunningSink] = {}

    @property
    def workers(self) -> list[Worker[Event]]:
        """In the order in which they are called."""
        return [each.worker for each in self._running.values()]

    @property
    def parts(self) -> dict[str, Ask]:
        """Whom health asks, by name."""
        parts = self.missing.parts
        for each in self._running.values():
            parts[each.worker.name] = partial(_either, each.worker.problem, each.local.problem)
        return parts

    @property
    def sure(self) -> set[str]:
        """Parts whose problem does not pass within a moment."""
        return {*self.missing.why, *(each.worker.name for each in self._running.values() if each.local.problem())}

    def make(self, settings: AlertSettings) -> None:
        """Make the sinks that these settings name. Raises OptionError for what can never work."""
        self._plans = {plan.key: plan for plan in local_plans(settings, self._spent)}
        self._take(self._made(list(self._plans.values())))

    def try_again(self, now: float) -> bool:
        """Once a minute, what does not work is tried again; whether ``workers`` are others by that."""
        if not self.missing.due(now):
            return False
        for each in self._running.values():
            if each.local.problem():
                _beside(each.plan.name, each.local.try_again)
        made = self._made([plan for key, plan in self._plans.items() if key not in self._running], again=True)
        self._take(made)
        return bool(made)

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        threads = []
        for call in [each.local.silence for each in self._running.values() if each.local.silence]:
            thread = threading.Thread(target=call, name="silence", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is to be had: one after the other then
                call()
            else:
                threads.append(thread)
        until = time.monotonic() + SILENT_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _take(self, made: dict[Hashable, _RunningSink]) -> None:
        """Tell these too."""
        self._running = {key: told for key in self._plans if (told := made.get(key) or self._running.get(key))}

    def _made(self, plans: Sequence[SinkSpec], *, again: bool = False) -> dict[Hashable, _RunningSink]:
        """Return each that can be made, ready and with its worker; none is made where one can never work."""
        made: dict[Hashable, _RunningSink] = {}
        try:
            for plan in plans:
                local = self.missing.make(plan.name, plan.make, again=again)
                if local:
                    made[plan.key] = _RunningSink(plan, local, self._worker(plan, local))
                    _beside(plan.name, local.try_again)
        except BaseException:
            _close(list(made.values()), 0.0)
            raise
        return made

    def _worker(self, plan: SinkSpec, local: Local) -> Worker[Event]:
        return in_background(
            local.sink,
            plan.name,
            deadline_s=local.deadline_s,
            wanted=local.wanted,
            at_end=local.silence,
            answered=partial(self._answered, plan.name),
        )


class RemoteChannels:
    """MQTT, the webhook and people's phones. ``remember`` gives the journal that queues for these channels."""

    def __init__(
        self,
        answered: Answered,
        *,
        remember: Callable[[Sequence[Route]], Journal | None],
        watching: Callable[[str], bool],
        stats: Callable[[], Mapping[str, object]],
        guest: bool,
        before: RemoteChannels | None = None,
    ) -> None:
        self._answered = answered
        self._rates: dict[str, RateLimit] = before._rates if before else {}  # by channel
        self._remember = remember
        self._watching = watching
        self._stats = stats
        self._guest = guest
        self._reached: dict[Hashable, _Reached] = {}
        self.missing = Unavailable()
        self._plans: Sequence[ChannelSpec] = ()  # all that are wanted

    @property
    def workers(self) -> list[Worker[Event]]:
        """Return the workers of channels that keep a live state."""
        return [each.state for each in self._reached.values() if each.state]

    @property
    def states(self) -> dict[Sink, Sink]:
        """Return the channels that keep a live state, by their workers."""
        return {each.state: each.channel for each in self._reached.values() if each.state and callable(each.channel)}

    @property
    def deliverers(self) -> list[Deliverer]:
        """Return one deliverer for each channel."""
        return [each.deliverer for each in self._reached.values() if each.deliverer]

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts: dict[str, Ask] = {each.name: each.deliverer.problem for each in self._reached.values() if each.deliverer}
        parts |= self.missing.parts
        return parts | {each.name: each.problem for each in self.workers}

    def plan(self, settings: AlertSettings, cameras: Sequence[str], model: str | None) -> None:
        """Plan the channels of these settings. Raises OptionError, without secrets, for a value that can never work."""
        self._plans = channel_plans(
            settings, cameras, model=model, watching=self._watching, stats=self._stats, guest=self._guest
        )
        for channel in made([plan for plan in self._plans if not plan.connects], Unavailable()).values():
            channel.close()

    def make(self) -> None:
        """Make the channels that were planned and are not there yet; what cannot be made now is missing."""
        lacking = set(self.missing.why)
        beside = {each.channel.key for each in self._reached.values()}
        names = {plan.key: plan.name for plan in self._plans}
        channels = made(
            [plan for plan in self._plans if plan.key not in self._reached], self.missing, beside, again=True
        )
        new = {
            key: _Reached(names[key] if names[key] in lacking else channel.key, channel, self._worker(channel))
            for key, channel in channels.items()
        }
        journal = self._remember([each.channel for each in (*self._reached.values(), *new.values())])
        for key, each in new.items():
            new[key] = replace(each, deliverer=self._deliverer(each.channel, journal))
        self._reached = self._reached | new  # in one step: others look at it meanwhile

    def try_again(self, now: float) -> bool:
        """Try once a minute what could not be made; return whether one of them was made."""
        if not self.missing.why or not self.missing.due(now):
            return False
        before = len(self._reached)
        self.make()
        return len(self._reached) > before

    def close(self, within_s: float) -> None:
        """Deliver what can be delivered in so many seconds; the rest is kept for the next time."""
        self._close(list(self._reached.values()), within_s)

    def _close(self, reached: Sequence[_Reached], within_s: float) -> None:
        from edge.alert.delivery import close_all

        for each in reached:
            if each.state:
                each.state.close(0.5)
        close_all([each.deliverer for each in reached if each.deliverer], max(within_s, 0.5) if reached else 0.0)
        for each in reached:
            if each.deliverer is None:
                each.channel.close()

    def _worker(self, channel: Channel) -> Worker[Event] | None:
        if self._guest or not callable(channel):
            return None
        return in_background(channel, "mqtt state", deadline_s=30.0, answered=partial(self._answered, "mqtt state"))

    def _deliverer(self, channel: Channel, journal: Journal | None) -> Deliverer | None:
        if journal is None:
            return None
        from edge.alert.delivery import Deliverer, RateLimit

        rate = self._rates.setdefault(channel.key, RateLimit())
        return Deliverer(channel, journal, rate=rate, answered=partial(self._heard, channel.key))

    def _heard(self, key: str, message: Message, problem: str | None, took_ms: float) -> None:
        """Pass on what a channel answered to a message."""
        who = key if message.part == "word" else f"{key}, picture"
        for event in message.events:
            self._answered(who, event, problem, took_ms)


class JournalSink:
    """The journal in ``state`` (None: there is none) and the lines of ``--events``.

    Only one alarm at a time keeps a journal there; a ``guest`` writes into it beside that alarm.
    """

    def __init__(
        self, answered: Answered, *, run: EventFactory, state: Path | None, clock: Clock | None, guest: bool = False
    ) -> None:
        self.journal: Journal | None = None
        self._answered = answered
        self._run = run
        self._state = state
        self._clock = clock
        self._guest = guest
        self._lock: RunLock | None = None
        self._opened: Journal | None = None  # by the alarm before
        self._finished = False  # what comes now goes straight to the journal
        self._began = self._beaten = time.monotonic()
        self._beats: Worker[None] | None = None
        self._keeper: Worker[Any] | None = None  # of events and their pictures, in the order they came
        self._lines = Lines()

    @property
    def workers(self) -> list[Worker[Event]]:
        """Return the worker that takes each event: the journal, which gives it to the lines, or else the lines."""
        first = self._keeper or self._lines.worker
        return [first] if first else []

    @property
    def answering(self) -> list[Worker[Event]]:
        """Return the workers that answer to an event."""
        return [each for each in (self._keeper, self._lines.worker) if each]

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts: dict[str, Ask] = {}
        if worker := self._lines.worker:
            parts[worker.name] = partial(_either, worker.problem, self._lines.problem)
        if self.journal:
            # A card that pauses for some seconds fails its sink, which is no problem yet.
            journal = self.journal
            parts["the journal"] = lambda: journal.problem
        return parts

    @property
    def shared(self) -> bool:
        """Return True if the journal was opened by the alarm before."""
        return self._opened is not None

    def lock(self, before: JournalSink | None) -> None:
        """Take the state folder for this alarm, or the open journal of the alarm before if it has the same one.

        Raises OptionError while another alarm has it.
        """
        if before and before._state == self._state:
            self._lock, self._opened = before._lock, before.journal
        elif self._state is not None and not self._guest:
            from edge.record.database import keep_alone

            self._lock = keep_alone(self._state, self._run.id)

    def remember(self, routes: Sequence[Route]) -> Journal | None:
        """Return the journal, which queues for these routes from now on; the first call opens it."""
        if self._state is None:
            return None
        if self.journal is None:
            from edge.record.journal import Journal

            journal = self.journal = self._opened or Journal(
                self._state, routes, run=self._run, clock=self._clock, guest=self._guest
            )
            self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)
            self._keeper = Worker(
                self._keep, "the journal", depth=1000, deadline_s=JOURNAL_DEADLINE_S, answered=self._kept
            )
        self.journal.reroute(routes)
        return self.journal

    def write_lines(self, events: str | None) -> None:
        """Write lines there too (- : standard output). Raises OptionError for where nothing can be written."""
        if not events:
            return
        from edge.alert.jsonl import JsonLines

        lines, name = JsonLines(events), f"--events {events}"
        worker = in_background(
            lines,
            name,
            depth=1000,
            # A reader that pauses must not cost lines; the journal goes before, and does not wait for it.
            deadline_s=None if events == "-" else LINES_S,
            at_end=lines.close,
            answered=partial(self._answered, name),
        )
        self._lines = Lines(worker, lambda: lines.problem)

    def tick(self, now: float) -> None:
        """Have the journal beat every ten minutes, and check all of it once, a minute after the start."""
        if self._beats and now - self._beaten >= BEAT_S:
            self._beaten = now
            self._beats(None)
        if self.journal and now - self._began >= EXAMINE_S:
            self._began = float("inf")
            threading.Thread(target=self.journal.examine, name="journal check", daemon=True).start()

    def attach(self, event: Event, picture: Path) -> None:
        """Write a picture that lies on the disk: it goes the way of its event, and so comes after it."""
        if self._keeper and not self._finished:
            self._keeper(_Picture(event, picture))
        elif self.journal:  # a picture that took longer than the end of its alarm
            self.journal.attach(event, picture)

    def finish(self, within_s: float, *, keep: bool = False) -> None:
        """Write what waits, for at most so many seconds.

        ``keep``: the process goes on, so what the journal takes later gets its line then.
        """
        self._finished = True
        until = time.monotonic() + within_s
        kept = self._keeper is None or self._keeper.close(until - time.monotonic())
        for worker in (None if keep and not kept else self._lines.worker, self._beats):
            if worker:
                worker.close(until - time.monotonic())

    def close(self) -> None:
        """End the run; call it after the channels are closed."""
        if self.journal:
            self.journal.close()
        if self._lock:
            self._lock.close()

    def _keep(self, item: Event | _Picture, waited_s: float) -> None:
        assert self.journal
        if isinstance(item, _Picture):
            self.journal.attach(item.event, item.path)
            return
        late = None if item.latency_ms is None else round(item.latency_ms + waited_s * 1000.0, 2)
        kept = self.journal(replace(item, latency_ms=late))
        if lines := self._lines.worker:
            lines(kept)
        if not kept.durable:
            raise OSError(self.journal.problem or "it is not on the disk yet")

    def _kept(self, item: Event | _Picture, problem: str | None, took_ms: float) -> None:
        if not isinstance(item, _Picture):
            self._answered("the journal", item, problem, took_ms)


class OpenEvents:
    """A sink that passes each event on to those who show a state, and keeps the bears and troubles that are not over.

    From any thread; those it passes events on to must return at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # an end must not come before what it ends
        self._events: dict[str, Event] = {}  # the newest of each, by id
        self._shown: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Pass it on."""
        with self._lock:
            if event.kind in KINDS:
                self._events.pop(event.id, None)
                if event.type != "end":
                    self._events[event.id] = event
            for show in self._shown:
                show(event)

    def show_to(self, shown: Mapping[Sink, Sink], cameras: Collection[str]) -> None:
        """Pass events of these cameras to these sinks from now on; tell new ones first what is going on.

        ``shown``: who takes events -> the state behind it, which hears what goes on at once, and not when there is
        time for it.
        """
        with self._lock:
            self._events = {id_: event for id_, event in self._events.items() if event.camera in cameras}
            for state in (state for show, state in shown.items() if show not in self._shown):
                self._tell(state)
            self._shown = list(shown)

    def _tell(self, state: Sink) -> None:
        for event in self._events.values():
            try:
                state(event)
            except Exception as error:
                log.debug("what goes on cannot be shown (%s)", type(error).__name__, exc_info=error)


class Unavailable:
    """Who cannot work now, by name. ``why`` is never cleared ahead of a try: what fails again stays in it."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self._tried = time.monotonic()

    @property
    def parts(self) -> dict[str, Ask]:
        """Whom health asks, by name."""
        return {name: partial(str, f"{name}: {why}") for name, why in self.why.items()}

    def due(self, now: float) -> bool:
        """Return True when a retry is due: once a minute; ``now``: time.monotonic()."""
        if now - self._tried < AGAIN_S:
            return False
        self._tried = now
        return True

    def make(self, name: str, make: Callable[[], Made], *, again: bool = False) -> Made | None:
        """Return the result of ``make``, or None and note it as missing. Raises OptionError for a mistake.

        ``again``: these settings are in use. Whatever goes wrong with them by now, such as a file that has become
        damaged, is missing too: it ends nothing that works.
        """
        try:
            made = make()
        except NOT_HERE as error:
            self.why[name] = str(error)
            return None
        except Exception as error:
            if not again:
                raise
            self.why[name] = str(error) if isinstance(error, BearAlarmError) else f"{type(error).__name__} in making it"
            log.debug("%s cannot be made", name, exc_info=error)
            return None
        self.why.pop(name, None)
        return made

    def keep(self, names: Collection[str]) -> None:
        """Forget those of other names: they are not wanted any more."""
        self.why = {name: why for name, why in self.why.items() if name in names}


@dataclass(frozen=True)
class Local:
    """A sink, and how its worker is to treat it."""

    sink: Sink
    deadline_s: float  # what takes longer hangs
    wanted: Callable[[Event], bool]
    silence: Callable[[], object] | None = None  # off, for good; within a second, from any thread
    problem: Callable[[], str | None] = lambda: None  # what is known to be wrong before it is needed
    try_again: Callable[[], object] = lambda: None  # whether it works; called at the start and while it has a problem


@dataclass(frozen=True)
class SinkSpec:
    """A sink that is to be: ``make`` gives it ready, and raises one of ``NOT_HERE`` where it cannot work now.

    Plans with the same ``key`` are the same sink. ``pins``: what only one can have at a time.
    """

    key: Hashable
    name: str
    make: Callable[[], Local]
    pins: frozenset[int] = frozenset()


def local_plans(settings: AlertSettings, spent: deque[Span] | None = None) -> list[SinkSpec]:
    """Return each of them; ``make`` raises OptionError for what can never work.

    ``spent``: when the deterrent was loud before, and is from now on.
    """
    plans = [_relay(words) for words in settings.relays]
    plans += [_sound(what, settings) for what in settings.sounds]
    if settings.deterrent:
        plans.append(_deterrent(settings, spent))
    if settings.bell:
        plans.append(SinkSpec("bell", "the bell", _bell))
    if settings.on_alarm:
        plans.append(SinkSpec(("on alarm", settings.on_alarm), "--on-alarm", partial(_on_alarm, settings.on_alarm)))
    if settings.on_trouble:
        make = partial(_on_trouble, settings.on_trouble)
        plans.append(SinkSpec(("on trouble", settings.on_trouble), "--on-trouble", make))
    return plans


def _relay(words: str) -> SinkSpec:
    from edge.alert.gpio import parse_pin

    def make() -> Local:
        pin = _pin(words, "--relay")
        return Local(pin, 5.0, pin.wanted, pin.close)

    pins = frozenset({parse_pin(words, "--relay").number})
    return SinkSpec(("relay", words), f"relay {words}", make, pins)


def _sound(what: str, settings: AlertSettings) -> SinkSpec:
    def make() -> Local:
        from edge.alert.sound import Sound

        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        return Local(sound, 15.0, sound.wanted, sound.close, partial(_problem_of, sound), sound.check)

    return SinkSpec(("sound", what, settings.sound_s, settings.sound_device), f"sound {what}", make)


def _deterrent(settings: AlertSettings, spent: deque[Span] | None) -> SinkSpec:
    from edge.alert.gpio import parse_pin

    programme, hours, device = settings.deterrent or "", settings.deterrent_hours, settings.sound_device

    def make() -> Local:
        from edge.alert.deterrent import Limits, open_deterrent

        deterrent = open_deterrent(programme, [], Limits(hours=hours), device=device, spent=spent)
        dark = dict.fromkeys(settings.deterrent_lamps, "")  # lamps that cannot be had now, and why
        lighting, closed = threading.Lock(), threading.Event()

        def light() -> None:
            with lighting:  # one thread at a time: two would open the same pin
                for words in tuple(dark):
                    if closed.is_set():
                        return
                    try:
                        lamp = _pin(words, "--deterrent-lamp")
                    except NOT_HERE as error:
                        dark[words] = f"lamp {words} stays dark: {error}"
                        continue
                    dark.pop(words)
                    deterrent.lamps.append(lamp)
                    if closed.is_set():  # meanwhile, perhaps without this lamp
                        lamp.close()

        def close() -> None:
            closed.set()  # without the lock: silence waits for no pin
            deterrent.close()

        def problem() -> str | None:
            return deterrent.problem or "; ".join(tuple(dark.values())) or None

        light()
        return Local(deterrent, 15.0, deterrent.wanted, close, problem, light)

    lamps = frozenset(parse_pin(words, "--deterrent-lamp").number for words in settings.deterrent_lamps)
    key = "deterrent", programme, settings.deterrent_lamps, hours.words if hours else None, device
    return SinkSpec(key, "deterrent", make, lamps)


def _bell() -> Local:
    from edge.alert.command import TerminalBell

    bell = TerminalBell()
    return Local(bell, 5.0, bell.wanted)


def _on_alarm(line: str) -> Local:
    from edge.alert.command import Command

    command = Command(line)
    return Local(command, command.limit_s + 5.0, command.wanted, problem=partial(command_in_doubt, line, "--on-alarm"))


def _on_trouble(line: str) -> Local:
    from edge.alert.command import Command

    command = Command(line, lambda event: event.kind in {"camera", "health", "test"})
    doubt = partial(command_in_doubt, line, "--on-trouble")
    return Local(command, command.limit_s + 5.0, command.wanted, problem=doubt)


def _problem_of(sink: Sound) -> str | None:
    return sink.problem


def _pin(words: str, option: str) -> Gpio:
    """Make the output of one pin option, switched off."""
    from edge.alert.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)


@dataclass(frozen=True, eq=False)
class _RunningSink:
    """One of them."""

    plan: SinkSpec
    local: Local
    worker: Worker[Event]


def _close(told: Sequence[_RunningSink], within_s: float) -> None:
    """Have them finish what they have in hand, and be silent."""
    until = time.monotonic() + within_s
    for each in told:
        if each.plan.pins and each.local.silence:  # a pin is given back at once
            each.local.silence()
        each.worker.close(until - time.monotonic())


def _beside(name: str, call: Callable[[], object]) -> None:
    """Run slow work in a thread of its own."""

    def run() -> None:
        try:
            call()
        except Exception as error:
            log.warning("%s cannot be tried (%s)", name, str(error) or type(error).__name__)

    threading.Thread(target=run, name="try", daemon=True).start()


@dataclass(frozen=True)
class ChannelSpec:
    """A channel that is to be; plans with the same ``key`` are the same channel."""

    key: Hashable
    name: str  # for people, without secrets
    make: Callable[[], Channel]
    connects: bool = False  # when it is made; what does not may be made to see whether it can be


def channel_plans(
    settings: AlertSettings,
    cameras: Sequence[str],
    *,
    model: str | None,
    watching: Callable[[str], bool],
    stats: Callable[[], Mapping[str, object]],
    guest: bool,
) -> list[ChannelSpec]:
    """Return one for each place that is named. ``make`` raises OptionError, without secrets, for what cannot be used.

    So does this for an MQTT broker, which is connected to as soon as it is made.
    """
    plans: list[ChannelSpec] = []
    if settings.mqtt:
        broker = settings.mqtt
        with suppress(*NOT_HERE):  # it is missing then, and tried again
            broker.tls_context()
        name = f"mqtt {broker.where}/{broker.prefix}"

        def mqtt() -> Channel:
            from edge.alert.mqtt import Mqtt

            return Mqtt(broker, cameras, model=model, watching=watching, stats=stats, guest=guest)

        plans.append(ChannelSpec(("mqtt", broker, tuple(cameras), model), name, mqtt, connects=True))
    if settings.webhook:
        url, secret = settings.webhook, settings.webhook_secret

        def webhook() -> Channel:
            from edge.alert.webhook import Webhook

            return Webhook(url, secret=secret)

        plans.append(ChannelSpec(("webhook", url, secret), "webhook", webhook))
    for number, one in enumerate(settings.notify, 1):

        def notify(url: str = one) -> Channel:
            from edge.alert.notify import Notify

            return Notify(url)

        plans.append(ChannelSpec(("notify", one), f"notify {number}" if settings.notify[1:] else "notify", notify))
    return plans


def made(
    plans: Sequence[ChannelSpec], missing: Unavailable, beside: Collection[str] = (), *, again: bool = False
) -> dict[Hashable, Channel]:
    """Return the channels that can be made now, by their plans' keys; the others are ``missing``.

    ``beside``: keys of channels that are there already, of which none may be a second. Raises OptionError, having
    closed what was made, for what can never work, unless ``again``.
    """
    found: dict[Hashable, Channel] = {}

    def make(plan: ChannelSpec) -> Channel:
        channel = plan.make()
        if channel.key in beside or channel.key in {other.key for other in found.values()}:
            channel.close()
            raise OptionError(f"{channel.key} is named twice; once is enough")
        return channel

    try:
        for plan in plans:
            if channel := missing.make(plan.name, partial(make, plan), again=again):
                found[plan.key] = channel
    except BaseException:
        for channel in found.values():
            channel.close()
        raise
    return found


@dataclass(frozen=True, eq=False)
class _Reached:
    """One place: how to send to it, who sends, and its live state where it has one."""

    name: str  # by which health asks it: the one it was missing under, so that this problem ends, else its key
    channel: Channel
    state: Worker[Event] | None  # MQTT keeps a state as well
    deliverer: Deliverer | None = None


def _well() -> None:
    """Say that nothing is wrong."""


@dataclass(frozen=True)
class _Picture:
    """The picture of an event, on its way to the journal behind the event."""

    event: Event
    path: Path


@dataclass(frozen=True, eq=False)
class Lines:
    """The worker that writes lines of events, if any are wanted."""

    worker: Worker[Event] | None = None
    problem: Ask = _well  # what is known to be wrong before it is needed


def _either(sink: Ask, before: Ask) -> str | None:
    """Return what a sink says, or what is known to be wrong before it is needed."""
    return sink() or before()
