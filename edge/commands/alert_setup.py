"""Everyone who is told: noises first, then the journal, and from there what goes over a network."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands.alert_local import local_sinks
from edge.commands.alert_remote import channels_of
from edge.commands.watch_words import alert
from edge.sinks.worker import Sink, Worker, in_background

if TYPE_CHECKING:
    from edge.evidence.writer import EvidenceWriter
    from edge.health import Ask, Health
    from edge.journal import Journal
    from edge.journal.clock import Clock
    from edge.outbox import Message
    from edge.outbox.deliver import Deliverer
    from edge.run import Run
    from edge.schema import Event
    from edge.settings import AlertSettings

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often to ask everyone how they are
BEAT_S = 600.0  # how often the journal is told that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked
JOURNAL_DEADLINE_S = 12.0  # a little more than the journal itself is patient with a disk
SILENT_S = 0.5

Say = Callable[..., None]
Answered = Callable[[str, "Event", str | None, float], None]  # who, the event, what went wrong, milliseconds


def _unheard(who: str, event: Event, problem: str | None, took_ms: float) -> None:
    """Nobody wants to know."""


class Alerting:
    """Everyone who is told: ``sinks`` for the tellers, the ``journal``, and the deliverers that it feeds.

    ``state`` None: no journal, which only goes without a network. ``watching`` is set later: whether a camera's frames
    are being looked at. ``answered`` hears from each sink and channel what became of an event. A ``guest`` is beside
    an alarm that watches: it leaves MQTT's states alone, and a pin it cannot have is ``refused`` instead of raised.
    Raises OptionError for what cannot work, before anything makes a noise.
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
        say: Say | None = None,
        answered: Answered = _unheard,
        guest: bool = False,
    ) -> None:
        self.run = run
        self.watching: Callable[[str], bool] = lambda camera: False
        self.evidence: EvidenceWriter | None = None
        self.journal: Journal | None = None
        self.deliverers: list[Deliverer] = []
        self.sinks: list[Worker[Event]] = []
        self.refused: dict[str, str] = {}
        self._answered = answered
        self._began = self._beaten = time.monotonic()
        self._looked = 0.0
        self._beats: Worker[None] | None = None
        self._lines: Worker[Event] | None = None
        self._silencers: list[Callable[[], object]] = []
        self._parts: dict[str, Ask] = {}  # whom health asks, by name
        self._health: Health | None = None
        try:
            self._build(settings, state, clock, cameras, model, guest)
        except BaseException:
            self.close(0.0)
            raise
        if say:
            words = say
            self._sink(lambda event: words("%s", alert(event)), "the terminal")
        self._watch_health()

    def expected(self, event: Event) -> dict[str, bool]:
        """Who answers to this event, in the order they are told, and whether one that fails is tried again."""
        local = [*self.sinks, *([self._lines] if self._lines and self.journal else [])]
        found = dict.fromkeys(self.refused, False) | {sink.name: False for sink in local if sink.wants(event)}
        found |= {each.key: True for each in self.deliverers}
        return found | {f"{each.key}, picture": True for each in self.deliverers if each.channel.pictures}

    def hopeless(self) -> set[str]:
        """Channels that refused something for good: it is not tried again."""
        return {each.key for each in self.deliverers if each.stats.parked}

    def tell(self, event: Event) -> None:
        """An event that comes from no camera, to everyone."""
        for sink in self.sinks:
            sink(event)

    def tick(self, now: float | None = None) -> None:
        """Call it often: every some seconds everyone is asked how they are, and every ten minutes the journal beats."""
        now = time.monotonic() if now is None else now
        if self._health and now - self._looked >= LOOK_S:
            self._looked = now
            for event in self._health(now):
                self.tell(event)
        if self._beats and now - self._beaten >= BEAT_S:
            self._beaten = now
            self._beats(None)
        if self.journal and now - self._began >= EXAMINE_S:
            self._began = float("inf")
            threading.Thread(target=self.journal.examine, name="journal check", daemon=True).start()

    def attach(self, event: Event, picture: Path) -> None:
        """The picture of an event lies on the disk: who takes pictures gets it after the word."""
        if self.journal:
            self.journal.attach(event, picture)

    def losses(self) -> list[str]:
        """One line for each that failed, hung, or left something undone."""
        workers = [*self.sinks, *([self._lines] if self._lines and self.journal else [])]
        lines = [each.status() for each in workers if each.failures or each.dropped or each.hung]
        stats = ((each, each.stats) for each in self.deliverers)
        return lines + [each.status() for each, found in stats if found.parked or found.waiting or found.hung]

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        threads = []
        for call in self._silencers:
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

    def close(self, within_s: float) -> None:
        """Finish what waits, for at most so many seconds; what is not delivered then is kept for the next time."""
        until = time.monotonic() + within_s
        for worker in self.sinks:
            worker.close(until - time.monotonic())
        if self._lines:
            self._lines.close(until - time.monotonic())
        if self._beats:
            self._beats.close(until - time.monotonic())
        if self.deliverers:
            from edge.outbox.deliver import close_all

            close_all(self.deliverers, max(until - time.monotonic(), 0.5))
        if self.journal:
            self.journal.close()

    def _build(
        self,
        settings: AlertSettings,
        state: Path | None,
        clock: Clock | None,
        cameras: Sequence[str],
        model: str | None,
        guest: bool,
    ) -> None:
        for one in local_sinks(settings, self.refused.__setitem__ if guest else None):
            self._sink(one.sink, one.name, deadline_s=one.deadline_s, wanted=one.wanted, at_end=one.silence)
            self._parts[one.name] = partial(_problem, self.sinks[-1].problem, one.problem)
            if one.silence:
                self._silencers.append(one.silence)
        watching = partial(_asked, self)
        channels = channels_of(settings, cameras, model=model, watching=watching, stats=self._stats, guest=guest)
        for channel in channels:
            if callable(channel) and not guest:  # MQTT keeps a state as well
                self._sink(channel, "mqtt state", deadline_s=30.0)
        if settings.events:
            from edge.sinks.jsonl import JsonLines

            lines, name = JsonLines(settings.events), f"--events {settings.events}"
            # A reader that pauses must not cost lines; the journal goes before, and does not wait for it.
            deadline_s = None if settings.events == "-" else 30.0
            self._lines = self._made(lines, name, depth=1000, deadline_s=deadline_s, at_end=lines.close)
            self._parts[name] = partial(_problem, self._lines.problem, lambda: lines.problem)
        if state:
            self._remember(state, channels, clock)
        elif self._lines:
            self.sinks.append(self._lines)

    def _remember(self, state: Path, channels: Sequence[Any], clock: Clock | None) -> None:
        """The journal, and what it feeds; an event is printed once the journal has it."""
        from edge.journal import Journal
        from edge.outbox.deliver import Deliverer
        from edge.outbox.turn import Turn

        journal = self.journal = Journal(state, channels, run=self.run, clock=clock)
        self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)
        for channel in channels:
            deliverer = Deliverer(
                channel,
                journal,
                answered=partial(self._heard, channel.key),
                turn=Turn(state, channel.key),
                run=self.run.id,
            )
            self.deliverers.append(deliverer)
            self._parts[channel.key] = deliverer.problem

        def keep(event: Event) -> None:
            kept = journal(event)
            if self._lines:
                self._lines(kept)
            if not kept.durable:
                raise OSError(journal.problem or "it is not on the disk yet")

        self._sink(keep, "the journal", depth=1000, deadline_s=JOURNAL_DEADLINE_S)

    def _watch_health(self) -> None:
        from edge.health import Health

        parts: dict[str, Ask] = {sink.name: sink.problem for sink in self.sinks} | self._parts
        parts["evidence"] = lambda: self.evidence.problem() if self.evidence else None
        if self.journal:
            # A card that pauses for some seconds fails its sink, and is nobody's business yet.
            journal = self.journal
            parts["the journal"] = lambda: journal.problem
        self._health = Health(self.run, parts, at_once=("the journal", "evidence"))

    def _sink(self, sink: Sink, name: str, **more: Any) -> None:
        self.sinks.append(self._made(sink, name, **more))

    def _made(self, sink: Sink, name: str, **more: Any) -> Worker[Event]:
        return in_background(sink, name, answered=partial(self._answered, name), **more)

    def _heard(self, key: str, message: Message, problem: str | None, took_ms: float) -> None:
        """What a channel answered to a message."""
        who = key if message.part == "word" else f"{key}, picture"
        for event in message.events:
            self._answered(who, event, problem, took_ms)

    def _stats(self) -> Mapping[str, object]:
        return {"problems": self._health.problems if self._health else {}}


def _problem(sink: Ask, before: Ask) -> str | None:
    """What a sink says, or what is wrong before it is needed."""
    return sink() or before()


def _asked(alerting: Alerting, camera: str) -> bool:
    """Whether the camera is watched now: who is to be asked is known only later."""
    return alerting.watching(camera)
