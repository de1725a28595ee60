"""What happened is kept: the journal first, and a line for whoever reads along once the journal has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alarm.word_first import WordFirst
from edge.background import Worker, in_background

if TYPE_CHECKING:
    from edge.alarm.at_once import Answered
    from edge.record.journal import Clock, Journal
    from edge.record.outbox import Route
    from edge.run import Run
    from edge.schema import Event
    from edge.status import Ask

BEAT_S = 600.0  # how often the journal is told that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked
JOURNAL_DEADLINE_S = 12.0  # a little more than the journal itself is patient with a disk
LINES_S = 30.0  # what a file of lines may take
UNDER_WAY_S = 0.05  # a line that is just being handed over is there by then
LAST_LINES_S = 5.0  # what writing the last ones may take


def _well() -> None:
    """Nothing is wrong."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Who writes lines of events, and where to; None: nobody, nowhere."""

    where: str | None = None
    worker: Worker[Event] | None = None
    problem: Ask = _well  # what is known to be wrong before it is needed


class Keeping:
    """The journal in ``state`` (None: there is none) and the lines of ``--events``."""

    def __init__(self, answered: Answered, *, run: Run, state: Path | None, clock: Clock | None) -> None:
        self.journal: Journal | None = None
        self._word_first: WordFirst | None = None  # on the way to the journal
        self._answered = answered
        self._run = run
        self._state = state
        self._clock = clock
        self._began = self._beaten = time.monotonic()
        self._beats: Worker[None] | None = None
        self._keeper: Worker[Event] | None = None
        self._lines = Lines()

    @property
    def workers(self) -> list[Worker[Event]]:
        """Who is to be given each event: the journal, which gives it to the lines; without one the lines."""
        first = self._keeper or self._lines.worker
        return [first] if first else []

    @property
    def answering(self) -> list[Worker[Event]]:
        """Everyone here who answers to an event."""
        return [each for each in (self._keeper, self._lines.worker) if each]

    @property
    def parts(self) -> dict[str, Ask]:
        """Whom health asks, by name."""
        parts: dict[str, Ask] = {}
        if worker := self._lines.worker:
            parts[worker.name] = partial(_either, worker.problem, self._lines.problem)
        if self.journal:
            # A card that pauses for some seconds fails its sink, and is nobody's business yet.
            journal = self.journal
            parts["the journal"] = lambda: journal.problem
        return parts

    def remember(self, routes: Sequence[Route]) -> Journal | None:
        """The journal, which queues for these routes from now on; opened with the first call."""
        if self._state is None:
            return None
        if self.journal is None:
            from edge.record.journal import Journal

            journal = self.journal = Journal(self._state, routes, run=self._run, clock=self._clock)
            self._word_first = WordFirst(journal)
            self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)
            self._keeper = in_background(
                self._keep,
                "the journal",
                depth=1000,
                deadline_s=JOURNAL_DEADLINE_S,
                answered=partial(self._answered, "the journal"),
            )
        self.journal.reroute(routes)
        return self.journal

    def lines(self, events: str | None) -> Lines:
        """Lines that go there (- : standard output), ready for ``print_to``; those of now where they go there already.

        Raises OptionError for where nothing can be written.
        """
        if events == self._lines.where:
            return self._lines
        if not events:
            return Lines()
        from edge.sinks.jsonl import JsonLines

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
        return Lines(events, worker, lambda: lines.problem)

    def print_to(self, lines: Lines) -> Lines:
        """Write these from now on; those of before, to be dropped."""
        before, self._lines = self._lines, lines
        return before

    def drop(self, lines: Lines) -> None:
        """End these, where they are not those that are written to; beside everything else, for a disk may hang."""

        def close(worker: Worker[Event]) -> None:
            time.sleep(UNDER_WAY_S)
            worker.close(LAST_LINES_S)

        if lines.worker and lines is not self._lines:
            threading.Thread(target=close, args=(lines.worker,), name="lines no more", daemon=True).start()

    def tick(self, now: float) -> None:
        """Every ten minutes the journal beats, and once, a while after the start, all of it is checked."""
        if self._beats and now - self._beaten >= BEAT_S:
            self._beaten = now
            self._beats(None)
        if self.journal and now - self._began >= EXAMINE_S:
            self._began = float("inf")
            threading.Thread(target=self.journal.examine, name="journal check", daemon=True).start()

    def attach(self, event: Event, picture: Path) -> None:
        """The picture of an event lies on the disk: the journal gets it after the event, however long that takes."""
        if self._word_first:
            self._word_first.attach(event, picture)

    def finish(self, within_s: float) -> None:
        """Write what waits, for at most so many seconds."""
        until = time.monotonic() + within_s
        for worker in (self._keeper, self._lines.worker, self._beats):
            if worker:
                worker.close(until - time.monotonic())

    def close(self) -> None:
        """The run is over; after those whom the journal feeds."""
        if self.journal:
            self.journal.close()

    def _keep(self, event: Event) -> None:
        assert self.journal
        assert self._word_first
        kept = self._word_first(event)
        if lines := self._lines.worker:
            lines(kept)
        if not kept.durable:
            raise OSError(self.journal.problem or "it is not on the disk yet")


def _either(sink: Ask, before: Ask) -> str | None:
    """What a sink says, or what is known to be wrong before it is needed."""
    return sink() or before()
