"""What writes each event down: the journal, and after it the lines of ``--events``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.alert.unavailable import either
from edge.background import Worker, in_background, start_thread

if TYPE_CHECKING:
    from edge.alert.local_sinks import Answered
    from edge.record.journal import Journal
    from edge.record.outbox import Route
    from edge.record.run import Clock, EventFactory, RunLock
    from edge.schema import Event
    from edge.status import Ask

BEAT_S = 600.0  # how often the journal notes that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked
JOURNAL_DEADLINE_S = 12.0  # a little more than the journal itself is patient with a disk
LINES_S = 30.0  # what a file of lines may take


class JournalSink:
    """The journal in ``state`` (None: there is none) and the lines of ``--events``.

    Only one alarm at a time keeps a journal there.
    """

    def __init__(self, *, run: EventFactory, state: Path | None, clock: Clock | None) -> None:
        self.journal: Journal | None = None
        self._run = run
        self._state = state
        self._clock = clock
        self._lock: RunLock | None = None
        self._opened: Journal | None = None  # by the alarm before
        self._began = self._beaten = time.monotonic()
        self._beats: Worker[None] | None = None
        self._keeper: Worker[Any] | None = None  # of events, and questions that come behind them
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
            parts[worker.name] = partial(either, worker.problem, self._lines.problem)
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
        elif self._state is not None:
            from edge.record.run import keep_alone

            self._lock = keep_alone(self._state, self._run.id)

    def remember(self, routes: Sequence[Route]) -> Journal | None:
        """Return the journal, which queues for these routes from now on; the first call opens it."""
        if self._state is None:
            return None
        if self.journal is None:
            from edge.record.journal import Journal

            journal = self.journal = self._opened or Journal(self._state, routes, run=self._run, clock=self._clock)
            self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)
            self._keeper = Worker(self._keep, "the journal", depth=1000, deadline_s=JOURNAL_DEADLINE_S)
        self.journal.reroute(routes)
        return self.journal

    def write_lines(self, events: str | None) -> None:
        """Write lines there too (- : standard output). Raises OptionError for where nothing can be written."""
        if events:
            self._lines = lines_of(events)

    def tick(self, now: float) -> None:
        """Have the journal beat every ten minutes, and check all of it once, a minute after the start."""
        if self._beats and now - self._beaten >= BEAT_S:
            self._beaten = now
            self._beats(None)
        if self.journal and now - self._began >= EXAMINE_S:
            self._began = float("inf")
            start_thread(self.journal.examine, "journal check")

    def open_events(self) -> list[Event]:
        """Return what goes on, as of all events that the journal was given before. Raises TimeoutError."""
        if self._keeper is None:
            return []
        answer: Future[list[Event]] = Future()
        self._keeper(answer)
        return answer.result(2 * JOURNAL_DEADLINE_S)

    def finish(self, within_s: float, *, keep: bool = False) -> None:
        """Write what waits, for at most so many seconds.

        ``keep``: the process goes on, so what the journal takes later gets its line then.
        """
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

    def _keep(self, event: Event | Future[list[Event]], waited_s: float) -> None:
        assert self.journal
        if isinstance(event, Future):
            event.set_result(self.journal.open_events())
            return
        late = None if event.latency_ms is None else round(event.latency_ms + waited_s * 1000.0, 2)
        kept = self.journal(replace(event, latency_ms=late))
        if lines := self._lines.worker:
            lines(kept)
        if not kept.durable:
            raise OSError(self.journal.problem or "it is not on the disk yet")


def _well() -> None:
    """Return None: nothing is wrong."""


@dataclass(frozen=True, eq=False)
class Lines:
    """The worker that writes lines of events, if any are wanted."""

    worker: Worker[Event] | None = None
    problem: Ask = _well  # what is known to be wrong before it is needed


def lines_of(events: str, answered: Answered = lambda *_: None) -> Lines:
    """Return the lines of ``--events`` (- : standard output). Raises OptionError for where nothing can be written."""
    from edge.alert.jsonl import JsonLines

    lines, name = JsonLines(events), f"--events {events}"
    worker = in_background(
        lines,
        name,
        depth=1000,
        # A reader that pauses must not cost lines; the journal goes before, and does not wait for it.
        deadline_s=None if events == "-" else LINES_S,
        at_end=lines.close,
        answered=partial(answered, name),
    )
    return Lines(worker, lambda: lines.problem)
