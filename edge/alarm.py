"""The whole alarm, put together from settings.

``Alarm`` is what ``bear-alarm watch`` runs: a ``CameraThread`` for each camera (``edge.camera_thread``), the alerts
(``edge.alert.alerting``), the pictures (``edge.record.recorder``), the model, the ``SelfMonitor`` of the device and the
model, and the ``ReviewPoller``, which hands people's reviews to the cameras.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.alerting import Alerting
from edge.background import Sink, Worker
from edge.camera import Source
from edge.camera_thread import CameraThread, Shared, connect, end_all, make_watcher, open_kept, rule_for
from edge.decide.stages import stage_of
from edge.detect.classifier import ENVIRONMENT, Classifier, load
from edge.device.health import SelfMonitor
from edge.device.telemetry import stats_of
from edge.drift_watch import DriftWatch
from edge.errors import OptionError
from edge.files import made_state_folder, make_folder
from edge.model_store import Entry, ModelStore
from edge.record.recorder import NEGATIVES_PER_DAY, POST_S, PRE_S, QUOTA_MB, RESERVE_MB, MediaWriter
from edge.record.run import Clock, EventFactory, watching_run
from edge.record.trace import Trace
from edge.rollout import Rollout
from edge.settings import MQTT, Settings
from edge.status import Ask, ChannelStatus, SinkStatus, Status
from edge.update.attempt import Attempt
from edge.update.kept import compare_kept
from edge.update.sources import Sources
from edge.update.trial import Trial, TrialCounts, read_counts, settings_of, write_counts
from edge.update.updates import Start, Updates, begin, uncount
from edge.version import __version__
from edge.watch import Watcher

if TYPE_CHECKING:
    from edge.record.journal import Journal
    from edge.record.review import JournalReview
    from edge.schema import Event, Frame
    from edge.settings import EvidenceSettings
log = logging.getLogger(__name__)
DEFAULT = Path("evidence")  # in the working folder, which under a service is the state folder
REVIEWS_EVERY_S = 1.0
START_S = 15.0  # what opening a camera may take


class Alarm:
    """Watches the cameras of ``settings`` and alerts, from ``start`` to ``close``.

    ``terminal`` gets each event last. ``classifier``: the settings' model where it is loaded already. ``before``: the
    alarm that a reload has ended in this process; it hands on its run, clock, journal, problems, limits, uptime and
    count of alarms. Raises SourceError, ModelError, OptionError and MissingExtraError for what cannot work, with
    everything closed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        classifier: Classifier | None = None,
        terminal: Sink | None = None,
        root: Path = Path("/"),
        before: Alarm | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = before.clock if before else Clock()
        self.run: EventFactory = before.run if before else EventFactory(clock_synced=self.clock.synced)
        self.threads: list[CameraThread] = []
        self.writer: MediaWriter | None = None
        self.trace: Trace | None = None
        self.alerting: Alerting | None = None
        self.condition: SelfMonitor | None = None  # where there is a camera
        self.reviews: ReviewPoller | None = None  # where there is a journal
        self.rollout: Rollout | None = None  # there too
        self.drift: DriftWatch | None = None  # there too
        self.updates: Updates | None = None  # there too, where no model is named
        self.failed: list[BaseException] = []  # of sources that ended with an error
        self._began = time.monotonic()
        self._process_began: float = before._process_began if before else self._began
        self._earlier: int = before.alarms if before else 0  # alarms, before the reload
        self._opened: list[Source] = []
        self._more: dict[str, Ask] = {}
        self._start = Start()
        self._loaded = False
        try:
            self._build(classifier, terminal, root, before)
        except BaseException:
            self.close(0.0, keep=self.alerting is not None and self.alerting.shared)
            if self._loaded and self.updates is None and self._start.counted and (store := self._store()):
                uncount(store, 0.5)
            raise

    def _build(self, classifier: Classifier | None, terminal: Sink | None, root: Path, before: Alarm | None) -> None:
        settings = self.settings
        followed = any(camera.follow for camera in settings.cameras)
        folder = made_state_folder(settings.state) if followed else None
        for camera in settings.cameras:
            self._opened.append(open_kept(camera, state=folder, waits=settings.waits))
        store = self._store()
        if store:
            alone = before is None and watching_run(store.folder.parent) is None
            self._start = begin(store, counts=settings.waits and alone)
        self.classifier = classifier or load(settings.model, settings.state)
        for camera in settings.cameras:
            rule_for(self.classifier, camera.settings)
        self._loaded = True
        self.trace = Trace(settings.trace) if settings.trace else None
        # A clip that is tried out is nothing that happened here, unless it is sent somewhere.
        live = settings.waits or any(opened.live for opened in self._opened)
        kept = settings.state or settings.alerts.remote or settings.page.listen or live
        self.state = made_state_folder(settings.state) if kept else None
        sources = self._sources(before.updates if before else None) if store and self.state else None
        self.alerting = Alerting(
            settings.alerts,
            self.run,
            state=self.state,
            clock=self.clock,
            cameras=[camera.name for camera in settings.cameras],
            model=self.classifier.name,
            terminal=terminal,
            answer_s=settings.stages.answer_s,
            sound_unanswered=settings.stages.unanswered == "sound",
            offered=sources.offers.append if sources and MQTT in settings.updates.sources else None,
            before=before.alerting if before else None,
        )
        self.writer = evidence_writer(settings.evidence)
        self.alerting.evidence = self.writer
        shared = Shared(self.classifier, self.run, self.writer, self.trace, self._share, settings.site.country)
        for camera, opened in zip(settings.cameras, tuple(self._opened), strict=True):
            watcher = make_watcher(opened, camera, shared, self.alerting.sinks)
            connect(opened, watcher)
            watcher.publisher.stage = stage_of(camera.stage or "")  # until the journal is asked
            self.threads.append(CameraThread(camera, opened, watcher))
        self.alerting.watching = self._watching
        self.alerting.stats = self._stats
        if live:
            self.condition = SelfMonitor(
                settings.health,
                self.state,
                lambda: self.classifier,
                self.status,
                root=root,
                before=before.condition if before else None,
            )
        self.alerting.more = self._parts
        if self.alerting.journal:
            tested = False
            if store and sources:
                self.updates = self._updates(store, sources, before.updates if before else None)
                tested = self.updates.tested
            self.rollout = self._rollout(before.rollout if before else None, tested=tested)
            self.drift = self._drift_watch()
            self.alerting.hears = self._hear
            self.reviews = ReviewPoller(self.alerting.journal, self.threads, self.classifier.card.alarm_labels)
        # Last: until the journal is read, questions of the alarm before go by its stages.
        publishers = {thread.camera.name: thread.watcher.publisher for thread in self.threads}
        self.alerting.confirmations.stage = lambda name: publishers[name].stage if name in publishers else None

    def _store(self) -> ModelStore | None:
        """Return the installed models; None where one is named, or this user has no folder for them."""
        if self.settings.model:
            return None
        if os.environ.get(ENVIRONMENT):
            if self.settings.updates.sources:
                log.warning("no new model is taken from updates.sources, for $%s names the one to use", ENVIRONMENT)
            return None
        with suppress(OptionError):  # without a home there are none, and what needs a state folder says so
            return ModelStore.of(self.settings.state)
        return None

    def _sources(self, before: Updates | None) -> Sources:
        """Return the sources of new models; those of the alarm before where they are the same."""
        assert self.state
        if before and (before.sources.settings, before.sources.state) == (self.settings.updates, self.state):
            return before.sources
        if before:
            before.sources.close()
        return Sources(self.settings.updates, self.state)

    def _updates(self, store: ModelStore, sources: Sources, before: Updates | None) -> Updates:
        assert self.alerting
        alerting, old, evidence = self.alerting, self.classifier, self.writer.folder if self.writer else None

        def tries(entry: Entry) -> Attempt:
            def kept(stop: threading.Event) -> TrialCounts:
                assert evidence
                own = ((each.name, each.settings) for each in self.settings.cameras)
                thresholds = {name: (each.threshold, each.night_threshold) for name, each in own}
                return compare_kept(
                    old.path, store.slot(entry), evidence, self.settings.updates.frames, thresholds, stop
                )

            beside = partial(Trial, self.threads, store, entry, old, share=self._share)
            between = store, entry.sha256, old.digest, settings_of(self.threads)
            saved, save = partial(read_counts, *between), partial(write_counts, *between)
            return Attempt(entry.name, store.slot(entry), beside, kept if evidence else None, saved, save)

        def well() -> bool:
            now = time.monotonic()
            looks = any(thread.fresh(now) and thread.watcher.stats.frames for thread in self.threads)
            return looks and not ill()

        def ill() -> bool:
            now = time.monotonic()
            return "model" in alerting.problems or any(each.watcher.failing(now) for each in self.threads)

        def busy() -> bool:
            bears = any(thread.watcher.decider.open_incidents for thread in self.threads)
            return bears or bool(self.writer and self.writer.busy())  # a reload would cut off their clips

        updates = Updates(
            self.settings.updates,
            store,
            sources,
            start=self._start,
            digest=self.classifier.digest,
            tries=tries,
            well=well,
            ill=ill,
            busy=busy,
            run=self.run,
            publish=alerting.publish,
            before=before,
        )
        self.ask("updates", updates.problem)
        return updates

    def _rollout(self, before: Rollout | None, *, tested: bool) -> Rollout:
        assert self.alerting
        assert self.state
        alerting = self.alerting
        rollout = Rollout(
            self.settings.cameras,
            {thread.camera.name: thread.watcher.publisher for thread in self.threads},
            model=self.classifier.name,
            tested=tested,
            folder=self.state,
            evidence=self.writer.folder if self.writer else None,
            goal=self.settings.stages.goal,
            alarm_labels=self.classifier.card.alarm_labels,
            run=self.run,
            publish=alerting.publish,
            wall=self.clock.wall,
            before=before,
        )
        self.ask("stages", rollout.problem)
        return rollout

    def _drift_watch(self) -> DriftWatch:
        assert self.alerting
        assert self.state
        drift = DriftWatch(
            {thread.camera.name: thread.watcher for thread in self.threads},
            model=self.classifier.name,
            card=self.classifier.card,
            folder=self.state,
            run=self.run,
            clock=self.clock,
            publish=self.alerting.publish,
        )
        self.ask("drift", drift.problem)
        return drift

    def _hear(self, event: Event) -> None:
        assert self.rollout
        assert self.drift
        self.rollout.take_event(event)
        self.drift.take_event(event)

    def ask(self, name: str, part: Ask) -> None:
        """Have health ask this too."""
        self._more[name] = part

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        if self.alerting:
            self.alerting.silence()

    def losses(self) -> list[str]:
        """Return one line for each sink and channel that failed, hung, or left something undone."""
        return self.alerting.losses() if self.alerting else []

    def start(self) -> None:
        """Report what cannot work, and begin to watch."""
        assert self.alerting
        self.alerting.tick()
        for thread in self.threads:
            thread.start()
        if self.condition:
            self.condition.start()

    @property
    def alive(self) -> bool:
        """Return True if any camera is still watched."""
        return any(thread.alive for thread in self.threads)

    def tick(self, now: float) -> None:
        """Call it about ten times a second; ``now``: time.monotonic()."""
        assert self.alerting
        if self.condition:
            self.condition.tick(now)
        self.alerting.tick(now)
        if self.reviews:
            self.reviews.tick(now)
        if self.rollout:
            self.rollout.tick(now)
        if self.drift:
            self.drift.tick(now)
        if self.updates:
            self.updates.tick(now)

    @property
    def alarms(self) -> int:
        """Return how many bears were published since the start of the process."""
        return self._earlier + sum(thread.watcher.publisher.counts["new"] for thread in self.threads)

    def status(self, now: float | None = None) -> Status:
        """Return how all of it is now; from any thread."""
        now = time.monotonic() if now is None else now
        alerting = self.alerting
        assert alerting
        known = [crop_s for thread in self.threads if (crop_s := thread.watcher.budget.crop_s) is not None]
        status = Status(
            version=__version__,
            model=self.classifier.name,
            uptime_s=now - self._process_began,
            cameras=tuple(thread.status(now) for thread in self.threads),
            sinks=tuple(
                SinkStatus(each.name, each.failures, each.dropped, each.hung, each.problem())
                for each in alerting.workers
            ),
            channels=tuple(
                ChannelStatus(each.key, each.stats.waiting, each.stats.dead_letters, each.problem())
                for each in alerting.deliverers
            ),
            problems=alerting.problems,
            alarms=self.alarms,
            crop_ms=max(known) * 1000.0 if known else None,
            durable=alerting.journal.durable if alerting.journal else None,
        )
        return self.condition.add_to(status, now) if self.condition else status

    def stop_cameras(self) -> None:
        """Close all cameras at the same time, and end the watching."""
        end_all(self.threads)
        self.failed += [thread.failed for thread in self.threads if thread.failed]

    def close(self, within_s: float, *, keep: bool = False) -> None:
        """Finish what waits to be published and kept, for at most so many seconds.

        ``keep``: leave the journal open, for the next alarm in this process (``before``).
        """
        until = time.monotonic() + within_s

        def left_s() -> float:
            return until - time.monotonic()

        with ExitStack() as last_first:  # whatever fails, all the others are closed
            if self.alerting:
                alerting = self.alerting
                last_first.callback(lambda: alerting.close(left_s(), keep=keep))
            if self.condition:
                last_first.callback(self.condition.close)
            if self.reviews:
                last_first.callback(self.reviews.close, 0.5)
            if self.rollout:
                last_first.callback(self.rollout.close, 0.5)
            if self.drift:
                last_first.callback(self.drift.close, 0.5)
            if updates := self.updates:
                last_first.callback(lambda: updates.close(0.5, keep=keep))
            if trace := self.trace:
                last_first.callback(lambda: trace.close(left_s()))
            if writer := self.writer:  # the journal gets the last pictures
                last_first.callback(lambda: writer.close(left_s()))
            for opened in self._opened:
                last_first.callback(opened.close)

    def drop(self) -> None:
        """Close the journal that was kept open, if no other alarm has taken it."""
        if self.alerting:
            self.alerting.drop()

    def _share(self) -> float:
        return self.condition.share() if self.condition else 1.0

    def _parts(self) -> dict[str, Ask]:
        return (self.condition.parts() if self.condition else {}) | self._more

    def _stats(self) -> Mapping[str, object]:
        """Return the statistics for MQTT; empty while cameras open, which is no problem yet."""
        status = self.status()
        starting = time.monotonic() - self._began < START_S and any(each.frame_age_s is None for each in status.cameras)
        return {} if starting else stats_of(status) | self._fleet_stats()

    def _fleet_stats(self) -> dict[str, object]:
        """Return what those who watch many devices need; the place only where not everyone reads along."""
        broker, journal = self.settings.alerts.mqtt, self.alerting and self.alerting.journal
        site = self.settings.site
        place = {"name": site.name or None, "latitude": site.latitude, "longitude": site.longitude}
        open_to_all = broker is None or not broker.answers
        return {
            "every_s": broker and broker.every_s,
            "last": journal and journal.last,
            "clock_synced": self.clock.synced(),
            **({} if open_to_all or set(place.values()) == {None} else {"site": place}),
        }

    def _watching(self, camera: str) -> bool:
        now = time.monotonic()
        return any(thread.fresh(now) for thread in self.threads if thread.camera.name == camera)


class ReviewPoller:
    """Reads people's reviews from the journal once a second, in a thread of its own, and hands on what is new.

    ``alarm_labels`` are the card's: another label is no bear, its alarm wrong.
    """

    def __init__(
        self,
        journal: Journal,
        threads: Sequence[CameraThread],
        alarm_labels: Collection[str],
    ) -> None:
        self._journal = journal
        self._threads = threads
        self._alarm_labels = alarm_labels
        self._row = 0  # the last that was handed on
        self._looked: float | None = None
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "reviews", depth=1, deadline_s=60.0)

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= REVIEWS_EVERY_S:
            self._looked = now
            self._worker(None)

    def look(self) -> None:
        """Hand on the reviews since the last look; the first look reads all of them."""
        for review in self._journal.reviews(self._row):
            self._row = review.row
            wrong = review.verdict == "wrong" or (review.label is not None and review.label not in self._alarm_labels)
            for thread in self._threads:
                if thread.camera.name == review.event.camera:
                    _hand_on(thread.watcher, review, wrong=wrong)

    def close(self, within_s: float) -> None:
        """Stop reading."""
        self._worker.close(within_s)


def evidence_writer(settings: EvidenceSettings) -> MediaWriter | None:
    """Return the writer of pictures and clips; None where none are kept.

    A disk that fails now is tried again. A named folder that can never be used raises OptionError; where the default
    folder cannot be made, no pictures are kept.
    """
    if not settings.keep:
        return None

    place = (settings.folder or DEFAULT).expanduser().absolute()  # events name it, and are read from elsewhere
    try:
        if settings.folder is None and not _may_be_made(place):
            raise OptionError(f"{place}: cannot keep evidence there (Permission denied)")
        return MediaWriter(
            place,
            quota_mb=QUOTA_MB if settings.quota_mb is None else settings.quota_mb,
            reserve_mb=RESERVE_MB if settings.reserve_mb is None else settings.reserve_mb,
            negatives_per_day=NEGATIVES_PER_DAY if settings.negatives_per_day is None else settings.negatives_per_day,
            full=settings.full,
            pre_s=PRE_S if settings.pre_capture_s is None else settings.pre_capture_s,
            post_s=POST_S if settings.post_capture_s is None else settings.post_capture_s,
        )
    except OptionError as error:
        if settings.folder:
            raise
        log.warning("%s; no pictures are kept", error)
        return None


def _may_be_made(place: Path) -> bool:
    """Return False if this user may not have a folder there; any other fault of the disk may pass."""
    try:
        make_folder(place)
    except OSError as error:
        return not isinstance(error, PermissionError)
    return True


def _hand_on(watcher: Watcher, review: JournalReview, *, wrong: bool) -> None:
    event, box = review.event, review.event.box_xywh
    if event.kind != "bear" or box is None:
        return

    def note(frame: Frame) -> None:
        repeat_alarms = watcher.decider.repeat_alarms
        if repeat_alarms:
            # A picture that arrived has the time of its camera's own clock.
            wall = datetime.now(UTC) if watcher.single_images else frame.wall
            # Ahead of now where the clock has been set back since: then it counts from now on.
            since_s = max((wall - review.at).total_seconds(), 0.0)
            repeat_alarms.reviewed(event.id, box, frame.time - since_s, frame.time, wrong=wrong)

    watcher.before_next(note)
