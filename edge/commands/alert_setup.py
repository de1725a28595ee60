"""From options to everyone who is told: noises first, then the journal, and from there what goes over a network."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands.watch_words import alert, command_in_doubt
from edge.errors import OptionError
from edge.sinks.worker import Sink, Worker, in_background

if TYPE_CHECKING:
    from edge.evidence import EvidenceWriter
    from edge.health import Ask
    from edge.journal import Journal
    from edge.journal.clock import Clock
    from edge.outbox import Channel, Message
    from edge.outbox.deliver import Deliverer
    from edge.run import Run
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.sinks.gpio import Gpio
    from edge.sinks.sound import Sound

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often to ask everyone how they are
BEAT_S = 600.0  # how often the journal is told that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked

Say = Callable[..., None]
Answered = Callable[[str, "Event", str | None, float], None]  # who, the event, what went wrong, milliseconds


def _unheard(who: str, event: Event, problem: str | None, took_ms: float) -> None:
    """Nobody wants to know."""


class Alerting:
    """Everyone who is told: ``sinks`` for the tellers, the ``journal``, and the deliverers that it feeds.

    ``state`` None: no journal, which only goes without a network. ``watching`` may be set later: whether a camera's
    frames are being looked at. ``answered`` hears from each sink and channel what became of an event.
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
        from edge.health import Health

        self.run = run
        self.watching: Callable[[str], bool] = lambda camera: True
        self.evidence: EvidenceWriter | None = None
        self.journal: Journal | None = None
        self.deliverers: list[Deliverer] = []
        self.sinks: list[Worker[Event]] = []
        self._lines: Worker[Event] | None = None
        self._sounds: dict[str, Sound] = {}  # by the name of the sink
        self._answered = answered
        self._began = self._beaten = time.monotonic()
        self._looked = 0.0
        self._beats: Worker[None] | None = None
        try:
            self._local(settings)
            channels = self._channels(settings, cameras, model, guest)
            self._remember(settings, channels, state, clock)
        except BaseException:
            self.close(0.0)
            raise
        if say:
            words = say
            self._sink(lambda event: words("%s", alert(event)), "the terminal")
        self._health = Health(run, self._parts(), at_once=("journal", "evidence"))

    @property
    def expected(self) -> dict[str, bool]:
        """Everyone who answers, in the order they are told, and whether one that fails is tried again."""
        local = [*self.sinks, *([self._lines] if self._lines and self.journal else [])]
        found = {sink.name: False for sink in local} | {each.key: True for each in self.deliverers}
        return found | {f"{each.key}, picture": True for each in self.deliverers if each.channel.pictures}

    def tell(self, event: Event) -> None:
        """An event that comes from no camera, to everyone."""
        for sink in self.sinks:
            sink(event)

    def tick(self, now: float | None = None) -> None:
        """Call it often: every some seconds everyone is asked how they are, and every ten minutes the journal beats."""
        now = time.monotonic() if now is None else now
        if now - self._looked >= LOOK_S:
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

    def status(self) -> dict[str, str]:
        """One line for each, by name, of what it did and what went wrong."""
        return {each.name: each.status() for each in self.sinks} | {each.key: each.status() for each in self.deliverers}

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

    def _sink(self, sink: Sink, name: str, **more: Any) -> None:
        self.sinks.append(self._made(sink, name, **more))

    def _made(self, sink: Sink, name: str, **more: Any) -> Worker[Event]:
        return in_background(sink, name, answered=partial(self._answered, name), **more)

    def _local(self, settings: AlertSettings) -> None:
        """What makes a noise or acts, the fastest first."""
        from edge.sinks.bell import Bell
        from edge.sinks.command import Command

        for option, line in (("--on-alarm", settings.on_alarm), ("--on-trouble", settings.on_trouble)):
            if line and (doubt := command_in_doubt(line, option)):
                log.warning("%s", doubt)
        if settings.relays:
            for words in settings.relays:
                pin = _pin(words, "--relay")
                self._sink(pin, f"relay {words}", deadline_s=5.0, at_end=pin.close)
        for what in settings.sounds:
            from edge.sinks.sound import Sound

            sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
            self._sink(sound, f"sound {what}", deadline_s=15.0, at_end=sound.close)
            # A loudspeaker that is not there is better known now than when a bear comes.
            threading.Thread(target=sound.check, name="sound check", daemon=True).start()
            self._sounds[f"sound {what}"] = sound
        if settings.deterrent:
            from edge.sinks.deterrent import open_deterrent
            from edge.sinks.programme import Limits

            lamps = [_pin(words, "--deterrent-lamp") for words in settings.deterrent_lamps]
            limits = Limits(hours=settings.deterrent_hours)
            deterrent = open_deterrent(settings.deterrent, lamps, limits, device=settings.sound_device)
            self._sink(deterrent, "deterrent", deadline_s=15.0, at_end=deterrent.close)
        if settings.bell:
            self._sink(Bell(), "the bell", deadline_s=5.0)
        if settings.on_alarm:
            command = Command(settings.on_alarm)
            self._sink(command, "--on-alarm", deadline_s=command.limit_s + 5.0)
        if settings.on_trouble:
            command = Command(settings.on_trouble, lambda event: event.kind in {"camera", "health", "test"})
            self._sink(command, "--on-trouble", deadline_s=command.limit_s + 5.0)

    def _channels(
        self, settings: AlertSettings, cameras: Sequence[str], model: str | None, guest: bool
    ) -> list[Channel]:
        """What goes over a network; a library is loaded, and a connection made, only for what is named."""
        found: list[Channel] = []
        if settings.mqtt:
            from edge.sinks.mqtt import Mqtt, settings_from_url

            mqtt = Mqtt(
                settings_from_url(settings.mqtt),
                cameras,
                model=model,
                watching=lambda camera: self.watching(camera),  # noqa: PLW0108 it may be set later
                guest=guest,
                stats=self._stats,
            )
            found.append(mqtt)
            if not guest:
                self._sink(mqtt, "mqtt state", deadline_s=30.0)
        if settings.webhook:
            from edge.sinks.webhook import Webhook

            found.append(Webhook(settings.webhook, secret=settings.webhook_secret))
        if settings.notify:
            from edge.sinks.notify import Notify

            found += [Notify(url) for url in settings.notify]
        keys = [channel.key for channel in found]
        for key in keys:
            if keys.count(key) > 1:
                raise OptionError(f"{key} is named twice; once is enough")
        return found

    def _remember(
        self, settings: AlertSettings, channels: list[Channel], state: Path | None, clock: Clock | None
    ) -> None:
        """The journal, the lines that are printed once it has an event, and what it feeds."""
        from edge.sinks.jsonl import JsonLines

        if state:
            from edge.journal import Journal
            from edge.outbox.deliver import Deliverer
            from edge.outbox.turn import Turn

            journal = self.journal = Journal(state, channels, run=self.run, clock=clock)
            self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)

            def heard(key: str) -> Callable[[Message, str | None, float], None]:
                def answered(message: Message, problem: str | None, took_ms: float) -> None:
                    for event in message.events:
                        who = key if message.part == "word" else f"{key}, picture"
                        self._answered(who, event, problem, took_ms)

                return answered

            self.deliverers = [
                Deliverer(channel, journal, answered=heard(channel.key), turn=Turn(state, channel.key), run=self.run.id)
                for channel in channels
            ]

        if settings.events:
            lines = JsonLines(settings.events)
            # A reader that pauses must not cost lines; the journal goes before, and does not wait for it.
            deadline_s = None if settings.events == "-" else 30.0
            self._lines = self._made(
                lines, f"--events {settings.events}", depth=1000, deadline_s=deadline_s, at_end=lines.close
            )
        if self.journal:
            self._sink(self._keep, "the journal", depth=1000, deadline_s=60.0)
        elif self._lines:
            self.sinks.append(self._lines)

    def _keep(self, event: Event) -> None:
        """To the journal; acknowledged, it is printed."""
        assert self.journal
        kept = self.journal(event)
        if self._lines:
            self._lines(kept)

    def _parts(self) -> Mapping[str, Ask]:
        """Whom health asks, by name."""
        parts: dict[str, Ask] = {sink.name: partial(self._problem_of, sink) for sink in self.sinks}
        parts |= {each.key: each.problem for each in self.deliverers}
        parts["evidence"] = lambda: self.evidence.problem() if self.evidence else None
        if self.journal:
            journal = self.journal
            parts["journal"] = lambda: journal.problem
        return parts

    def _problem_of(self, sink: Worker[Event]) -> str | None:
        """What a sink says, or its loudspeaker, which was tried before it was needed."""
        return sink.problem() or (self._sounds[sink.name].problem if sink.name in self._sounds else None)

    def _stats(self) -> Mapping[str, object]:
        return {"problems": self._health.problems}


def _pin(words: str, option: str) -> Gpio:
    """What one option says of a pin, switched off. Raises OptionError, MissingExtraError."""
    from edge.sinks.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)
