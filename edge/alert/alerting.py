"""All alerts: noises first, then the journal, and from there what goes over a network.

``Alerting`` has three parts. ``LocalSinks`` works on this device, at once, and is never tried again. ``JournalSink``
writes each event down. ``RemoteChannels`` sends what the journal's outbox holds, over restarts, until it has arrived.

To add a way to alert: write it in ``edge/alert/``, as a callable that takes an ``Event`` (local: add it to
``local_plans``) or as a ``Channel`` of ``edge.record.outbox`` (over a network: add it to ``channel_plans``). Give it a
setting in ``edge/settings.py`` (``AlertSettings``), an option in ``edge/cli/options.py``, a section in
``edge/config/schema.py`` and ``load.py``, and a check in ``edge/cli/doctor/alerts.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.journal_sink import JournalSink
from edge.alert.local_sinks import LocalSinks
from edge.alert.remote_channels import RemoteChannels
from edge.background import Sink, Worker, in_background
from edge.status import Health

if TYPE_CHECKING:
    from edge.alert.delivery import Deliverer
    from edge.record.journal import Journal
    from edge.record.recorder import MediaWriter
    from edge.record.run import Clock, EventFactory
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

LOOK_S = 5.0  # how often to ask every part how it is
START_S = 15.0  # a channel that fails so soon after the start is reported at once
AT_ONCE = ("the journal", "evidence", "config", "model")  # what is wrong there does not pass by itself


class Alerting:
    """All alerts: the ``sinks`` of the publishers, the ``journal``, and the deliverers that it feeds.

    ``sinks`` stays the same list while those in it change, as what was missing is made. ``state`` None: no journal, so
    nothing may go over a network. Set later: ``watching``, whether a camera's frames are being looked at; ``stats``,
    what MQTT publishes about the whole alarm; ``more``, what else health asks. ``terminal`` comes last. What cannot
    work here and now is ``missing``, a problem, and tried again. ``before``: the alerts of the alarm that a reload has
    ended in this process; its open journal, its problems, the limit of messages and the deterrent's budget go on.
    Raises OptionError for what can never work.
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
        self._local: LocalSinks = LocalSinks(before=before._local if before else None)
        self._journal_sink = JournalSink(run=run, state=state, clock=clock)
        self._remote: RemoteChannels = RemoteChannels(
            remember=self._journal_sink.remember,
            open_events=self._journal_sink.open_events,
            watching=self._is_watching,
            stats=self._asked,
            before=before._remote if before else None,
        )
        self._terminal: Worker[Event] | None = None
        self._health: Health = before._health if before else Health(run, {}, at_once=AT_ONCE)
        try:
            self._remote.plan(settings, cameras, model)
            self._journal_sink.lock(before._journal_sink if before else None)  # before anything is heard of this alarm
            self._journal_sink.write_lines(settings.events)
            self._local.make(settings)
            self._remote.make()
            if terminal:
                self._terminal = in_background(terminal, "the terminal")
            self._point()
        except BaseException:
            self.close(0.0, keep=self.shared)
            raise

    @property
    def journal(self) -> Journal | None:
        """Return the journal, where there is one."""
        return self._journal_sink.journal

    @property
    def shared(self) -> bool:
        """Return True if the journal is that of the alarm before."""
        return self._journal_sink.shared

    @property
    def missing(self) -> dict[str, str]:
        """Return the sinks and channels that cannot work here and now, with the reason."""
        return self._local.missing.why | self._remote.missing.why

    @property
    def deliverers(self) -> list[Deliverer]:
        """Return one for each place over a network."""
        return self._remote.deliverers

    @property
    def workers(self) -> list[Worker[Event]]:
        """Every sink without a network, and MQTT's live state, the fastest first."""
        last = [self._terminal] if self._terminal else []
        return [*self._local.workers, *self._remote.workers, *self._journal_sink.answering, *last]

    @property
    def problems(self) -> dict[str, str]:
        """Return the problems that were published and last, by part."""
        return self._health.problems

    def publish(self, event: Event) -> None:
        """Publish an event that comes from no camera."""
        for sink in tuple(self.sinks):
            sink(event)

    def tick(self, now: float | None = None) -> None:
        """Call it often: it asks every part how it is every 5 s, and has the journal beat every ten minutes."""
        now = time.monotonic() if now is None else now
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._try_again(now)
            self._health.parts = self._parts()
            self._health.at_once = frozenset(AT_ONCE) | self._local.sure | self._remote.missing.why.keys()
            if now - self._began < START_S:  # a broker that restarts later has its minute
                self._health.at_once |= {each.key for each in self.deliverers if each.channel.problem}
            for event in self._health(now):
                self.publish(event)
        self._journal_sink.tick(now)

    def losses(self) -> list[str]:
        """Return one line for each that failed, hung, or left something undone."""
        lines = [each.status() for each in self.workers if each.failures or each.dropped or each.hung]
        stats = ((each, each.stats) for each in self.deliverers)
        return lines + [each.status() for each, found in stats if found.dead_letters or found.waiting or found.hung]

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        self._local.silence()

    def close(self, within_s: float, *, keep: bool = False) -> None:
        """Finish what waits, for at most so many seconds; what is not delivered then is kept for the next time.

        ``keep``: leave the journal open, for the next alarm in this process.
        """
        until = time.monotonic() + within_s
        for worker in [*self._local.workers, *self._remote.workers]:
            worker.close(until - time.monotonic())
        self._journal_sink.finish(until - time.monotonic(), keep=keep)
        if self._terminal:
            self._terminal.close(until - time.monotonic())
        self._remote.close(until - time.monotonic())
        if not keep:
            self._journal_sink.close()

    def drop(self) -> None:
        """Close the journal that ``close`` has kept open."""
        self._journal_sink.close()

    def _try_again(self, now: float) -> None:
        """Retry missing sinks and channels, once a minute."""
        self._remote.try_again(now)
        if self._local.try_again(now):
            self._point()

    def _is_watching(self, camera: str) -> bool:
        return self.watching(camera)  # set later

    def _asked(self) -> Mapping[str, object]:
        return self.stats()

    def _point(self) -> None:
        last = [self._terminal] if self._terminal else []
        self.sinks[:] = [*self._local.workers, *self._journal_sink.workers, self._remote.show, *last]

    def _parts(self) -> dict[str, Ask]:
        """Return what health asks now, by name."""
        parts: dict[str, Ask] = {} if self._terminal is None else {self._terminal.name: self._terminal.problem}
        parts |= self._local.parts | self._remote.parts | self._journal_sink.parts
        parts["evidence"] = lambda: self.evidence.problem() if self.evidence else None
        return parts | dict(self.more())
