"""All alerts: noises first, then the journal, and from there what goes over a network.

``Alerting`` has four parts. ``Confirmations`` holds noises back where a person is to be asked first. ``LocalSinks``
works on this device, at once, and is never tried again. ``JournalSink``
writes each event down. ``RemoteChannels`` sends what the journal's outbox holds, over restarts, until it has arrived.

To add a way to alert: write it in ``edge/alert/``, as a callable that takes an ``Event`` (local: add it to
``local_plans``) or as a ``Channel`` of ``edge.record.outbox`` (over a network: add it to ``channel_plans``). Give it a
setting in ``edge/settings.py`` (``AlertSettings``), an option in ``edge/cli/options.py``, a section in
``edge/config/schema.py`` and ``load.py``, and a check in ``edge/cli/doctor/alerts.py``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.confirmation import Confirmations
from edge.alert.local_sinks import DETERRENT, LocalSinks
from edge.alert.remote_channels import RemoteChannels, send_once
from edge.background import NO_ANSWER, DeadlineError, Sink, Worker, call_with_deadline, in_background, start_thread
from edge.errors import OptionError
from edge.files import mistaken
from edge.schema import TEST_S, utc_text
from edge.status import Health

if TYPE_CHECKING:
    from edge.alert.confirmation import Question
    from edge.alert.delivery import Deliverer
    from edge.alert.local_sinks import Answered
    from edge.record.journal import Journal
    from edge.record.outbox import Route
    from edge.record.recorder import MediaWriter
    from edge.record.run import Clock, EventFactory, RunLock
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often to ask every part how it is
START_S = 15.0  # a channel that fails so soon after the start is reported at once
BEAT_S = 600.0  # how often the journal notes that the run lives: the only write while nothing happens
EXAMINE_S = 60.0  # after the start, when alarms are live, the whole journal is checked
JOURNAL_DEADLINE_S = 12.0  # a little more than the journal itself is patient with a disk
LINES_S = 30.0  # what a file of lines may take
ANSWER_S = 20.0  # what is tried out has so long
EVENT_S = 10.0  # an answer may come before its event is in the journal
TEST_WORDS = "a test of the alarm: there is no bear"
AT_ONCE = ("the journal", "evidence", "config", "model")  # what is wrong there does not pass by itself


class Alerting:
    """All alerts: the ``sinks`` of the publishers, the ``journal``, and the deliverers that it feeds.

    ``sinks`` stays the same list while those in it change, as what was missing is made. ``state`` None: no journal, so
    nothing may go over a network. Set later: ``watching``, whether a camera's frames are being looked at; ``stats``,
    what MQTT publishes about the whole alarm; ``more``, what else health asks; ``page``, the beginning of the page's
    URLs for other machines, None where none reach it. ``terminal`` comes last. ``offered`` takes what the broker offers
    as a new model; None: nothing is taken. What cannot work here and now is
    ``missing``, a problem, and tried again. ``before``: the alerts of the alarm that a reload has ended in this
    process; its open journal, its problems, its questions, the limit of messages and the deterrent's budget go on.
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
        answer_s: float = 30.0,
        sound_unanswered: bool = True,
        offered: Callable[[bytes], object] | None = None,
        before: Alerting | None = None,
    ) -> None:
        self.run = run
        self.watching: Callable[[str], bool] = lambda camera: False
        self.stats: Callable[[], Mapping[str, object]] = dict
        self.more: Callable[[], Mapping[str, Ask]] = dict
        self.page: Callable[[], str | None] = lambda: None
        self.hears: Callable[[Event], None] = lambda event: None  # of each event; must return at once
        self.evidence: MediaWriter | None = None
        self.sinks: list[Sink] = []
        self._left_tests: set[str] = set()  # sinks in which a test has not ended
        self._handed_on = False  # questions, to the next alarm
        self._began = time.monotonic()
        self._looked = 0.0
        self.confirmations: Confirmations = before.confirmations if before else Confirmations(self._act)
        self._local: LocalSinks = LocalSinks(before=before._local if before else None)
        self._journal_sink = JournalSink(run=run, state=state, clock=clock)
        self._remote: RemoteChannels = RemoteChannels(
            remember=self._journal_sink.remember,
            watching=lambda camera: self.watching(camera),  # noqa: PLW0108 - it is set later
            stats=lambda: self.stats(),  # noqa: PLW0108
            confirmations=self.confirmations,
            page=lambda: self.page(),  # noqa: PLW0108
            offered=offered,
            before=before._remote if before else None,
        )
        self._reviews: Worker[Question] | None = None
        if state:
            write = partial(write_review, state)
            self._reviews = Worker(lambda question, _: write(question), "answers", deadline_s=60.0)
        self._terminal: list[Worker[Event]] = []
        self._health: Health = before._health if before else Health(run, {}, at_once=AT_ONCE)
        try:
            self._remote.plan(settings, cameras, model)
            self._journal_sink.lock(before._journal_sink if before else None)  # before anything is heard of this alarm
            self._journal_sink.write_lines(settings.events)
            self._local.make(settings)
            self._remote.make()
            if terminal:
                self._terminal = [in_background(terminal, "the terminal")]
            self._point()
            self._take_over(answer_s, sound=sound_unanswered)
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
        return self._journal_sink.opened is not None

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
        """Return every sink without a network, and MQTT's live state, the fastest first."""
        return [*self._local.workers, *self._remote.workers, *self._journal_sink.workers, *self._terminal]

    @property
    def problems(self) -> dict[str, str]:
        """Return the problems that were published and last, by part."""
        return self._health.problems

    def publish(self, event: Event) -> None:
        """Publish an event that comes from no camera."""
        for sink in tuple(self.sinks):
            sink(event)

    @property
    def can_be_tried(self) -> set[str]:
        """Return the names that ``try_out`` takes."""
        local = {each.name for each in self._local.workers}
        return local | {each.key for each in self.deliverers} | self.missing.keys()

    def try_out(self, name: str) -> str | None:
        """Send a test alarm to one local sink or channel of those in use; return what went wrong, without secrets.

        It is in no journal, and not sent later. It ends no noise that a bear began. It takes ``ANSWER_S`` and
        ``TEST_S`` at most. Raises OptionError for a name that is not in use.
        """
        from edge.record.outbox import Message
        from edge.record.run import EventFactory

        if why := self.missing.get(name):
            return why
        test = EventFactory().event("test", "new", uuid.uuid4().hex, "test", label="test", detail=TEST_WORDS)
        if running := self._local.running.get(name):
            if running.worker.hanging or name in self._left_tests:
                return running.worker.problem() or f"{name} hangs: an earlier test has not ended"
            problem = self._try_sink(name, running.local.sink, test)
            running.worker.note(problem)
            return problem or running.local.problem()
        for each in self.deliverers:
            if each.key == name:
                return send_once(each.channel, Message((test,), "word"), time.monotonic() + ANSWER_S)
        raise OptionError(f"{name}: there is no such sink or channel in use; load the page again")

    def _try_sink(self, name: str, sink: Sink, test: Event) -> str | None:
        """Call a sink beside its worker, in which a bear would wait for the test; return what went wrong."""
        self._left_tests.add(name)

        def call() -> None:
            try:
                sink(test)
            finally:
                self._left_tests.discard(name)

        try:
            call_with_deadline(call, ANSWER_S, name)
            if name == DETERRENT:
                time.sleep(TEST_S)
        except DeadlineError:
            return NO_ANSWER
        except (Exception, SystemExit) as error:
            return str(error) or type(error).__name__
        finally:
            if name == DETERRENT:  # it goes on until what began it ends
                sink(replace(test, type="end"))
        return None

    def tick(self, now: float | None = None) -> None:
        """Call it often: it asks every part how it is every 5 s, and has the journal beat every ten minutes."""
        now = time.monotonic() if now is None else now
        self.confirmations.tick()  # where no thread could be had for it
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._remote.try_again(now)
            if self._local.try_again(now):
                self._point()
            self._health.parts = self._parts()
            self._health.at_once = frozenset(AT_ONCE) | self._local.lasting | self._remote.missing.why.keys()
            if now - self._began < START_S:  # a broker that restarts later has its minute
                self._health.at_once |= {each.key for each in self.deliverers if each.channel.problem}
            for event in self._health(now):
                self.publish(event)
        self._journal_sink.tick(now)

    def losses(self) -> list[str]:
        """Return one line for each that failed, hung, or left something undone."""
        lines = [each.status() for each in self.workers if each.failures or each.dropped or each.hung]
        if self._reviews and (self._reviews.failures or self._reviews.dropped or self._reviews.hung):
            lines.append(self._reviews.status())
        if not self._handed_on and (held := self.confirmations.held):
            lines.append(f"{held} alarm{'' if held == 1 else 's'} waited for an answer, and made no noise")
        stats = ((each, each.stats) for each in self.deliverers)
        return lines + [each.status() for each, found in stats if found.dead_letters or found.waiting or found.hung]

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        self._pause()
        self._local.silence()

    def close(self, within_s: float, *, keep: bool = False) -> None:
        """Finish what waits, for at most so many seconds; what is not delivered then is kept for the next time.

        ``keep``: leave the journal open, for the next alarm in this process.
        """
        until = time.monotonic() + within_s
        self._pause()
        self._handed_on = keep
        for worker in [*self._local.workers, *self._remote.workers]:
            worker.close(until - time.monotonic())
        self._journal_sink.finish(until - time.monotonic(), keep=keep)
        if self._reviews:
            self._reviews.close(until - time.monotonic())
        for worker in self._terminal:
            worker.close(until - time.monotonic())
        self._remote.close(until - time.monotonic())
        if not keep:
            self._journal_sink.close()

    def drop(self) -> None:
        """Close the journal that ``close`` has kept open."""
        self._journal_sink.close()

    def _point(self) -> None:
        self.sinks[:] = [
            self.confirmations,
            *self._local.ringing,
            *self._journal_sink.workers[:1],
            self._remote.show,
            lambda event: self.hears(event),  # noqa: PLW0108 - it is set later
            *self._terminal,
        ]

    def _act(self, event: Event) -> None:
        """Give an event to what makes a noise or does something."""
        for worker in self._local.acting:
            worker(event)

    def _pause(self) -> None:
        if self.confirmations.act == self._act:  # one that hung until the next alarm took over pauses nothing
            self.confirmations.pause()

    def _take_over(self, answer_s: float, *, sound: bool) -> None:
        """Have the questions, those of the alarm before too, act on what this one has."""
        confirmations = self.confirmations
        confirmations.answer_s, confirmations.sound = answer_s, sound
        confirmations.act, confirmations.asked, confirmations.changed = self._act, self._remote.ask, self._changed
        confirmations.resume()

    def _changed(self, question: Question) -> None:
        self._remote.ask(question)
        camera = question.event.camera
        words = f"camera {camera}: {question.words(time.monotonic())}"
        self.publish(self.run.event("notice", "new", uuid.uuid4().hex, camera, label="answer", detail=words))
        if question.answer and self._reviews:
            self._reviews(question)

    def _parts(self) -> dict[str, Ask]:
        parts: dict[str, Ask] = {each.name: each.problem for each in self._terminal}
        parts |= self._local.parts | self._remote.parts | self._journal_sink.parts
        if self._reviews:
            parts[self._reviews.name] = self._reviews.problem
        parts["evidence"] = lambda: self.evidence.problem() if self.evidence else None
        return parts | dict(self.more())


def write_review(state: Path, question: Question) -> None:
    """Write an answer into the journal in ``state`` as a review; wait for an event that is not there yet.

    Raises DiskError or OSError where that is not possible.
    """
    from edge.record.review import Review, pass_on
    from edge.record.stage_log import keeps_event

    id_, until = question.event.id, time.monotonic() + EVENT_S
    review = Review("confirmed" if question.answer == "yes" else "wrong", utc_text(datetime.now(UTC)))
    while not (there := keeps_event(state, id_)) and time.monotonic() < until:
        time.sleep(1.0)
    why = pass_on(state, [id_], review) if there else "its alarm is not there"
    if why:
        raise OSError(f"the answer about {question.event.camera} is not in the journal as a review: {why}")


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
        self.opened: Journal | None = None  # by the alarm before
        self._began = self._beaten = time.monotonic()
        self._beats: Worker[None] | None = None
        self._keeper: Worker[Event] | None = None
        self._lines: JsonLines | None = None
        self._line_worker: Worker[Event] | None = None

    @property
    def workers(self) -> list[Worker[Event]]:
        """Return the workers of events; the first takes each event, and the journal gives it to the lines."""
        return [each for each in (self._keeper, self._line_worker) if each]

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts: dict[str, Ask] = {}
        if (lines := self._lines) and (worker := self._line_worker):
            parts[worker.name] = lambda: worker.problem() or lines.problem
        if self.journal:
            # A card that pauses for some seconds fails its sink, which is no problem yet.
            journal = self.journal
            parts["the journal"] = lambda: journal.problem
        return parts

    def lock(self, before: JournalSink | None) -> None:
        """Take the state folder for this alarm, or the open journal of the alarm before if it has the same one.

        Raises OptionError while another alarm has it.
        """
        if before and before._state == self._state:
            self._lock, self.opened = before._lock, before.journal
        elif self._state is not None:
            from edge.record.run import keep_alone

            self._lock = keep_alone(self._state, self._run.id)

    def remember(self, routes: Sequence[Route]) -> Journal | None:
        """Return the journal, which queues for these routes from now on; the first call opens it."""
        if self._state is None:
            return None
        if self.journal is None:
            from edge.record.journal import Journal

            journal = self.journal = self.opened or Journal(self._state, routes, run=self._run, clock=self._clock)
            self._beats = Worker(lambda _, __: journal.beat(), "the journal's heartbeat", depth=1, deadline_s=60.0)
            self._keeper = Worker(self._keep, "the journal", depth=1000, deadline_s=JOURNAL_DEADLINE_S)
        self.journal.reroute(routes)
        return self.journal

    def write_lines(self, events: str | None) -> None:
        """Write lines there too (- : standard output). Raises OptionError for where nothing can be written."""
        if events:
            self._lines = JsonLines(events)
            self._line_worker = line_worker(self._lines)

    def tick(self, now: float) -> None:
        """Have the journal beat every ten minutes, and check all of it once, a minute after the start."""
        if self._beats and now - self._beaten >= BEAT_S:
            self._beaten = now
            self._beats(None)
        if self.journal and now - self._began >= EXAMINE_S:
            self._began = float("inf")
            start_thread(self.journal.examine, "journal check")

    def finish(self, within_s: float, *, keep: bool = False) -> None:
        """Write what waits, for at most so many seconds.

        ``keep``: the process goes on, so what the journal takes later gets its line then.
        """
        until = time.monotonic() + within_s
        kept = self._keeper is None or self._keeper.close(until - time.monotonic())
        for worker in (None if keep and not kept else self._line_worker, self._beats):
            if worker:
                worker.close(until - time.monotonic())

    def close(self) -> None:
        """End the run; call it after the channels are closed."""
        if self.journal:
            self.journal.close()
        if self._lock:
            self._lock.close()

    def _keep(self, event: Event, waited_s: float) -> None:
        assert self.journal
        late = None if event.latency_ms is None else round(event.latency_ms + waited_s * 1000.0, 2)
        kept = self.journal(replace(event, latency_ms=late))
        if self._line_worker:
            self._line_worker(kept)
        if not kept.durable:
            raise OSError(self.journal.problem or "it is not on the disk yet")


def line_worker(lines: JsonLines, answered: Answered = lambda *_: None) -> Worker[Event]:
    """Return the worker that writes the lines of ``--events``."""
    name = f"--events {lines.path}"
    return in_background(
        lines,
        name,
        depth=1000,
        # A reader that pauses must not cost lines; the journal goes before, and does not wait for it.
        deadline_s=None if lines.path == "-" else LINES_S,
        at_end=lines.close,
        answered=partial(answered, name),
    )


class JsonLines:
    """Appends each event to a file and brings it to the disk before it returns.

    ``durable`` is true in such a line, because a reader reads it from the disk. ``-`` is standard
    output, where it stays false. A disk that takes nothing at the start is tried again at each event; a file that was
    moved or deleted is begun again. A call raises OSError. Raises OptionError for a path that can never be a file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None  # why nothing could be written last; None: it was, or was not tried yet
        self._place = None if path == "-" else Path(path).expanduser()
        self._file: FileIO | None = None
        self._closed = False
        if self._place:
            try:
                self._file = _open(self._place)
            except OSError as error:
                words = f"{self._place}: cannot write events there ({error.strerror})"
                if mistaken(error):
                    raise OptionError(words) from None
                self.problem = words
                log.warning("%s; it is tried again at each event", words)

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if self._place is None:
            sys.stdout.write(event.to_json() + "\n")
            sys.stdout.flush()
            return
        try:
            self._write(self._place, event)
            self.problem = None
            if self._closed:
                self._close()
        except OSError as error:
            self._close()  # half a line may be left, or the disk is another by then: opening it sees to both
            self.problem = f"{self._place}: cannot write events there ({error.strerror or error})"
            raise OSError(self.problem) from None

    def close(self) -> None:
        """Close the file; a later line, which a disk held up, opens it for itself."""
        self._closed = True
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # a call has reported it
                file.close()

    def _write(self, place: Path, event: Event) -> None:
        if self._file is not None and _moved(place, self._file):
            self._close()
        if (file := self._file) is None:
            file = self._file = _open(place)
        line = replace(event, durable=True).to_json().encode() + b"\n"
        # One call a line and no buffer: what failed is not written again later, and no lock is held while a disk hangs.
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the disk is full")
        os.fsync(file.fileno())


def _open(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    file = path.open("a+b", buffering=0)
    try:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            # A power cut can leave half a line; the next event must not grow onto it.
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError:
        file.close()
        raise
    return file


def _moved(path: Path, file: FileIO) -> bool:
    """Return True if the file no longer lies there: rotated away, deleted, or another disk is mounted in its place."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return True
    except OSError:
        return False  # the disk does not answer now; what is open may still take it
