"""The whole alarm, put together from settings.

``Alarm`` is what ``bear-alarm watch`` runs: a ``CameraThread`` for each camera, with the watcher that ``make_watcher``
makes; the alerts (``edge.alert.dispatch``); the pictures (``edge.record.recorder``); the model; ``SelfMonitor``, which
asks the machine and the model how they are; and ``ReviewPoller``, which hands people's reviews to the cameras.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.dispatch import Alerting
from edge.background import Sink, Worker
from edge.camera import Source
from edge.detect.camera_faults import UNSEEING
from edge.detect.classifier import Classifier, load
from edge.device.health import ThermalThrottle, parts
from edge.device.model_self_test import ModelSelfTest
from edge.device.sensors import Board, Reading
from edge.device.telemetry import PART, Heartbeat, Server, stats_of
from edge.errors import OptionError, SourceError
from edge.files import made_state_folder, make_folder
from edge.record.journal import Clock
from edge.record.recorder import MediaWriter
from edge.record.trace import Trace
from edge.run import EventFactory
from edge.settings import Camera, HealthSettings, Settings
from edge.status import Ask, CameraStatus, ChannelStatus, SinkStatus, Status
from edge.version import __version__
from edge.watch import FRESH_S, Watcher

if TYPE_CHECKING:
    from edge.decide.evidence import Rule
    from edge.record.journal import Journal, Said
    from edge.schema import CameraFault, Event, Frame
    from edge.settings import CameraSettings, EvidenceSettings
log = logging.getLogger(__name__)
LOOK_S = 5.0  # as often as the machine is read
DEFAULT = Path("evidence")  # in the working folder, which under a service is the state folder
RESTART_S = 1.0  # after an internal error a camera is watched again, later each time that no frame was looked at
MAX_RESTART_S = 30.0
GONE_S = 3.0  # a camera lets go within a second or two
LET_GO_S = 5.0  # and what is going on before it is ended and told
MAX_CROPS = 12  # a frame
MAX_CROPS_ARRIVED = 100  # of a picture that nothing hurries
REVIEWS_EVERY_S = 1.0
START_S = 15.0  # what opening a camera may take


class Alarm:
    """Watches the cameras of ``settings`` and tells who is to be told, from ``start`` to ``close``.

    ``terminal`` gets each event last. ``classifier``: the settings' model where it is loaded already. Raises
    SourceError, ModelError, OptionError and MissingExtraError for what cannot work, having let go of everything.
    ``before``: the alarm that a reload has ended in this process; its run, clock, journal and problems go on.
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
        self.condition: SelfMonitor | None = None  # there is one for cameras
        self.reviews: ReviewPoller | None = None  # where there is a journal
        self.failed: list[BaseException] = []  # of sources that ended with an error
        self._began = time.monotonic()
        self._opened: list[Source] = []
        self._more: dict[str, Ask] = {}
        try:
            self._build(classifier, terminal, root, before)
        except BaseException:
            self.close(0.0, keep=self.alerting is not None and self.alerting.shared)
            raise

    def _build(self, classifier: Classifier | None, terminal: Sink | None, root: Path, before: Alarm | None) -> None:
        settings = self.settings
        followed = any(camera.follow for camera in settings.cameras)
        folder = made_state_folder(settings.state) if followed else None
        for camera in settings.cameras:
            self._opened.append(open_kept(camera, state=folder, waits=settings.waits))
        self.classifier = classifier or load(settings.model)
        for camera in settings.cameras:
            rule_for(self.classifier, camera.settings)
        self.trace = Trace(settings.trace) if settings.trace else None
        # A clip that is tried out is nothing that happened here, unless somebody wants it told.
        live = settings.waits or any(opened.live for opened in self._opened)
        self.state = made_state_folder(settings.state) if settings.state or settings.alerts.remote or live else None
        self.alerting = Alerting(
            settings.alerts,
            self.run,
            state=self.state,
            clock=self.clock,
            cameras=[camera.name for camera in settings.cameras],
            model=self.classifier.name,
            terminal=terminal,
            before=before.alerting if before else None,
        )
        self.writer = evidence_writer(settings.evidence, written=self.alerting.attach)
        self.alerting.evidence = self.writer
        self._shared = Shared(self.classifier, self.run, self.writer, self.trace, self._share)
        for camera, opened in zip(settings.cameras, tuple(self._opened), strict=True):
            self.threads.append(self._camera_thread(camera, opened))
        self.alerting.watching = self._watching
        self.alerting.stats = self._stats
        if live:
            self.condition = SelfMonitor(settings.health, self.state, lambda: self.classifier, self.status, root=root)
        self.alerting.more = self._parts
        if self.alerting.journal:
            self.reviews = ReviewPoller(
                self.alerting.journal, lambda: self.threads, lambda: self.classifier.card.alarm_labels
            )

    def ask(self, name: str, part: Ask) -> None:
        """Have health ask this too."""
        self._more[name] = part

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        if self.alerting:
            self.alerting.silence()

    def losses(self) -> list[str]:
        """Return one line for each of those told that failed, hung, or left something undone."""
        return self.alerting.losses() if self.alerting else []

    def start(self) -> None:
        """Say what cannot work, and begin to watch."""
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

    def status(self, now: float | None = None) -> Status:
        """Return how all of it is now; from any thread."""
        now = time.monotonic() if now is None else now
        alerting, threads = self.alerting, tuple(self.threads)
        assert alerting
        known = [crop_s for thread in threads if (crop_s := thread.watcher.budget.crop_s) is not None]
        status = Status(
            version=__version__,
            model=self.classifier.name,
            uptime_s=now - self._began,
            cameras=tuple(thread.status(now) for thread in threads),
            sinks=tuple(
                SinkStatus(each.name, each.failures, each.dropped, each.hung, each.problem())
                for each in alerting.workers
            ),
            channels=tuple(
                ChannelStatus(each.key, each.stats.waiting, each.stats.parked, each.problem())
                for each in alerting.deliverers
            ),
            problems=alerting.problems,
            alarms=sum(thread.watcher.publisher.counts["new"] for thread in threads),
            crop_ms=max(known) * 1000.0 if known else None,
            durable=alerting.journal.durable if alerting.journal else None,
        )
        return self.condition.add_to(status, now) if self.condition else status

    def let_go(self) -> None:
        """Let go of all cameras, side by side, and end the watching."""
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
                last_first.callback(self.reviews.close, 0.0)
            if trace := self.trace:
                last_first.callback(lambda: trace.close(left_s()))
            if writer := self.writer:  # the journal gets the last pictures
                last_first.callback(lambda: writer.close(left_s()))
            for opened in (*self._opened, *(thread.source for thread in self.threads)):
                last_first.callback(opened.close)

    def drop(self) -> None:
        """Close the journal that was kept open, if no other alarm has taken it."""
        if self.alerting:
            self.alerting.drop()

    def _share(self) -> float:
        return self.condition.share() if self.condition else 1.0

    def _camera_thread(self, camera: Camera, source: Source) -> CameraThread:
        assert self.alerting
        watcher = make_watcher(source, camera, self._shared, self.alerting.sinks)
        connect(source, watcher)
        return CameraThread(camera, source, watcher)

    def _parts(self) -> dict[str, Ask]:
        return (self.condition.parts() if self.condition else {}) | self._more

    def _stats(self) -> Mapping[str, object]:
        """Return the statistics for MQTT; empty while cameras open, which is no problem yet."""
        status = self.status()
        starting = status.uptime_s < START_S and any(each.frame_age_s is None for each in status.cameras)
        return {} if starting else stats_of(status)

    def _watching(self, camera: str) -> bool:
        now = time.monotonic()
        return any(thread.fresh(now) for thread in tuple(self.threads) if thread.camera.name == camera)


class CameraThread:
    """Watches one camera in a thread of its own, from ``start`` to ``close``; an internal error does not end it.

    ``failed`` is what ended it: a source that gives no frames and is not opened again. ``wait`` waits so many seconds,
    or until it is closed.
    """

    def __init__(
        self,
        camera: Camera,
        source: Source,
        watcher: Watcher,
        *,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.camera = camera
        self.source = source
        self.watcher = watcher
        self.failed: BaseException | None = None
        self._alive_at = time.monotonic()
        self._ended = False  # a stream with an end; nothing hangs there, and nothing is missed
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._thread = threading.Thread(target=self._look, name=f"watch {camera.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._alive_at = time.monotonic()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return True if it is still at work."""
        return self._thread.is_alive()

    @property
    def awaits_frame(self) -> bool:
        """Return True if it is a live camera that has given no frame yet."""
        return self.alive and self.source.live and not self.watcher.single_images and self.watcher.frame_at is None

    @property
    def played(self) -> bool:
        """Return True if it was a clip, a folder or the like, and is over."""
        return self._ended and not self.source.live and self.failed is None

    def fresh(self, now: float) -> bool:
        """Return True if its frames are being looked at, as they come; ``now``: time.monotonic().

        In a folder the next picture may arrive tomorrow: what counts is that it is looked through. A camera that is
        let go of is not looked at, though its last frame is new: that its bear's event ends does not mean "no bear".
        """
        if self._closed.is_set():
            return False
        if not self.watcher.single_images:
            return self.watcher.fresh(now)
        looked_at = self.source.alive_at
        return looked_at is not None and now - looked_at <= FRESH_S and not self.watcher.troubles.now

    def let_go(self) -> None:
        """Let go of the camera; ``join`` waits for the end of the watching."""
        self._closed.set()
        self.source.close()

    def join(self, within_s: float) -> None:
        """Wait for the end, at most so many seconds."""
        if self._thread.ident is not None:
            self._thread.join(max(within_s, 0.0))

    def status(self, now: float) -> CameraStatus:
        """Return how it is; from any thread."""
        frame_at = self.watcher.frame_at
        beat = max(at for at in (self._alive_at, frame_at, self.source.alive_at) if at is not None)
        told = self.watcher.troubles.now
        return CameraStatus(
            name=self.camera.name,
            live=self.source.live and not self._ended,
            fresh=self.fresh(now) or self.played,  # nothing is missed of a clip that is over
            frame_age_s=None if frame_at is None else now - frame_at,
            alive_age_s=now - beat,
            frames=self.watcher.stats.frames,
            fps=self.source.fps,
            trouble="; ".join(trouble.detail for trouble in told) or None,
            reopened=self.source.reopened,
            blind=any(trouble.kind in UNSEEING for trouble in told),
        )

    def _look(self) -> None:
        try:
            self._keep_looking()
        finally:
            self._ended = True

    def _keep_looking(self) -> None:
        pause_s, said = RESTART_S / 2, ""
        while True:
            before = self.watcher.stats.frames
            try:
                self.watcher(self.source)
                return
            except Exception as error:
                words = f"{type(error).__name__}: {error}"
                if not isinstance(error, SourceError):
                    level = logging.DEBUG if words == said else logging.ERROR  # again and again, it would fill the log
                    log.log(level, "%s: internal error (%s)", self.camera.name, words)
                    log.debug("%s", self.camera.name, exc_info=error)
                if isinstance(error, SourceError) or not self.source.live or self._closed.is_set():
                    self.failed = error  # for the caller that waits for the end
                    self._try(self.watcher.close)
                    return
                said, fault = words, error
            self._try(partial(self.watcher.failed, self.camera.name, fault))
            looked = self.watcher.stats.frames > before
            pause_s = RESTART_S if looked else min(2 * pause_s, MAX_RESTART_S)
            self._alive_at = time.monotonic()
            self._wait(pause_s)
            self._alive_at = time.monotonic()

    def _try(self, tell: Callable[[], object]) -> None:
        """Report an internal error; if that fails too, go on watching the camera."""
        try:
            tell()
        except Exception:
            log.exception("%s: an internal error could not be reported", self.camera.name)


def make_watcher(source: Source, camera: Camera, shared: Shared, sinks: list[Sink]) -> Watcher:
    """Return the watcher of one camera. Raises OptionError."""
    from edge.alert.events import EventPublisher
    from edge.decide.alarms import Decider
    from edge.decide.repeat_alarms import RepeatAlarmFilter
    from edge.detect.camera_check import CameraCheck
    from edge.detect.frame_rate import CropBudget, FrameRateControl
    from edge.detect.sequences import ArrivingMotion
    from edge.device.health import slowest_fps

    settings, classifier, writer = camera.settings, shared.classifier, shared.writer
    single_images = source.single_images
    live = source.live and not single_images
    rule = rule_for(classifier, settings)
    own = replace(rule, one_picture=True) if single_images else rule
    # Bursts are visits, an hour apart perhaps though they come in together: none is the one before, found again.
    decider = (
        Decider(own, zones=settings.zones, schedule=settings.schedule, repeat_alarms=RepeatAlarmFilter(), again_s=0.0)
        if single_images
        else None
    )
    # Nothing hurries a picture that has arrived: the whole of each is looked at before the next.
    budget = CropBudget(settings.frame_s if live else None, most=MAX_CROPS_ARRIVED if single_images else MAX_CROPS)
    context = classifier.card.crop.context
    pace = FrameRateControl(
        settings.quiet_fps,
        settings.fps,
        lambda fps: setattr(source, "fps", fps),
        share=shared.share,
        least=slowest_fps(rule.frames_needed),
    )
    return Watcher(
        classifier,
        own,
        EventPublisher(
            sinks,
            model=classifier.name,
            context=context,
            evidence=writer.camera(settings.masks, context=context, clips=not single_images) if writer else None,
            run=shared.run,
        ),
        settings,
        pace=pace if live else None,
        budget=budget,
        camera_check=CameraCheck() if live else None,
        single_images=single_images,
        trace=shared.trace,
        motion=ArrivingMotion(settings.masks) if single_images else None,
        decider=decider,
    )


def open_kept(camera: Camera, *, state: Path | None = None, waits: bool = False) -> Source:
    """Return a camera's source; a live one is opened again for ever. Raises SourceError, OptionError.

    ``state``: the folder in which a folder that is followed is remembered, so that the next run goes on there.
    ``waits``: a live one that cannot be opened now, or whose stream ends, is a camera that is down; else it must open
    once.
    """
    from edge.camera import is_live, open_camera, open_source, shown
    from edge.camera.dual_stream import DualStreamSource
    from edge.camera.folder import FolderSource, seen_file
    from edge.camera.reconnect import ReconnectingSource, ignore

    name, word, fps = camera.name, camera.source, camera.settings.fps
    if camera.follow:
        if camera.motion_source:
            raise OptionError(
                f"{name}: --motion-from belongs to a camera's stream, and --follow to a folder; give one of them"
            )
        if not waits and not Path(word).expanduser().is_dir():
            raise OptionError(f"--follow: {shown(word)} is no folder; it takes a folder in which pictures arrive")
        remember = seen_file(state, Path(word)) if state else None
        return FolderSource(word, name=name, remember=remember, report=ignore if waits else None)

    def kept(one: str) -> Source:
        try:
            live = is_live(one)
        except (OSError, ValueError):  # a word that names nothing: opening it says so
            live = False
        if not live:
            return open_source(one, fps=fps, name=name)
        reopen = partial(open_camera, one, name=name, fps=fps)
        source = ReconnectingSource(None, reopen, name=name, fps=fps, device=one, endless=waits)
        if not waits:
            source.open()
        return source

    main = kept(word)
    if camera.motion_source is None:
        return main
    if not main.live:
        main.close()
        raise OptionError(f"--motion-from: {word} is no live stream; only a camera has a smaller stream beside it")
    try:
        sub = kept(camera.motion_source)
    except BaseException:
        main.close()
        raise
    return DualStreamSource(main, sub, name=name)


class SelfMonitor:
    """Reads the machine every 5 s, has the model answer every 20 s, and answers requests for its status.

    Only for cameras: what is played is over soon. ``status`` is the whole alarm's; ``root``: where ``sys`` and
    ``proc`` lie. Raises OptionError for an address or URL that cannot be meant.
    """

    def __init__(
        self,
        settings: HealthSettings,
        state: Path | None,
        classifier: Callable[[], Classifier],
        status: Callable[[], Status],
        *,
        root: Path = Path("/"),
    ) -> None:
        self.settings = settings
        self.reading = Reading()
        self._board = Board(root, state)
        self._effort = ThermalThrottle(settings.hot_c)
        self._machine = parts(
            lambda: self.reading,
            settings,
            state=state,
            share=self.share,
            crop_ms=lambda: status().crop_ms,
        )
        self._looked: float | None = None
        self._pulse = ModelSelfTest(classifier)
        self._heartbeat: Heartbeat | None = None
        self._server = _server(settings, status)
        try:
            self._heartbeat = _heartbeat(settings, status)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Begin with the model's heartbeat."""
        self._pulse.start()

    def share(self) -> float:
        """Of the frame rates that are set: what is kept up in heat and at low voltage."""
        return self._effort.share

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self.reading = self._board.read(now)
            before = self._effort.share
            if self._effort(self.reading, now) != before:
                log.warning("%s", self._effort.why or "all frames are looked at again")

    def add_to(self, status: Status, now: float) -> Status:
        """Return the status with what is known here."""
        return replace(
            status,
            inference_age_s=self._pulse.age_s(now),
            fps_share=self._effort.share,
            temperature_c=self.reading.temperature_c,
            undervolted=self.reading.undervolted,
            disk_free_mb=self.reading.disk_free_mb,
        )

    def parts(self) -> dict[str, Ask]:
        """Whom health is to ask, by the event's label."""
        found = dict(self._machine)
        found["model"] = self._pulse.problem
        if self._server:
            found["page"] = self._server.problem
        if self._heartbeat:
            found[PART] = self._heartbeat.problem
        return found

    def close(self) -> None:
        """No more of it."""
        self._pulse.close()
        if self._server:
            self._server.close()
        if self._heartbeat:
            self._heartbeat.close()


class ReviewPoller:
    """Looks into the journal once a second, in a thread of its own, and hands on what is new.

    ``threads``: of the cameras, now. ``alarm_labels`` are the card's: another label is no bear, its alarm wrong.
    """

    def __init__(
        self,
        journal: Journal,
        threads: Callable[[], Sequence[CameraThread]],
        alarm_labels: Callable[[], Collection[str]],
    ) -> None:
        self._journal = journal
        self._threads = threads
        self._alarm_labels = alarm_labels
        self._row = 0  # the last that was handed on
        self._watchers: list[Watcher] = []  # to which
        self._looked: float | None = None
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "reviews", depth=1, deadline_s=60.0)

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= REVIEWS_EVERY_S:
            self._looked = now
            self._worker(None)

    def look(self) -> None:
        """Hand on what was said since the last look; all of it where there are watchers that know nothing yet."""
        watchers = [thread.watcher for thread in tuple(self._threads())]
        if any(watcher not in self._watchers for watcher in watchers):
            self._row = 0
        self._watchers = watchers
        for said in self._journal.reviews(self._row):
            self._row = said.row
            wrong = said.verdict == "wrong" or (said.label is not None and said.label not in self._alarm_labels())
            for thread in tuple(self._threads()):
                if thread.camera.name == said.event.camera:
                    _hand_on(thread.watcher, said, wrong=wrong)

    def close(self, within_s: float) -> None:
        """No more of it."""
        self._worker.close(within_s)


def _server(settings: HealthSettings, status: Callable[[], Status]) -> Server | None:
    return Server(settings.listen, status) if settings.listen else None


def _heartbeat(settings: HealthSettings, status: Callable[[], Status]) -> Heartbeat | None:
    return Heartbeat(settings.heartbeat_url, settings.heartbeat_s, status) if settings.heartbeat_url else None


def evidence_writer(
    settings: EvidenceSettings,
    *,
    default: Path = DEFAULT,
    written: Callable[[Event, Path], object] | None = None,
) -> MediaWriter | None:
    """Return the writer. A disk that fails now is tried again; a folder that can never be is an error if named.

    A default folder that cannot be, or may not be made here, is gone without; so is all of it where none is kept.
    """
    if not settings.keep:
        return None
    from edge.record.recorder import NEGATIVES_PER_DAY, POST_S, PRE_S, QUOTA_MB, RESERVE_MB

    place = (settings.folder or default).expanduser().absolute()  # events name it, and are read from elsewhere
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
            written=written,
        )
    except OptionError as error:
        if settings.folder:
            raise
        log.warning("%s; going on without pictures", error)
        return None


def _may_be_made(place: Path) -> bool:
    """Return True if this user may have a folder there; whatever else the disk says, it may be well again tomorrow."""
    try:
        make_folder(place)
    except OSError as error:
        return not isinstance(error, PermissionError)
    return True


def connect(source: Source, watcher: Watcher) -> None:
    """Send a source's faults to its watcher; of two streams each has its own."""

    def report(trouble: CameraFault | None, at: float) -> None:
        watcher.report(trouble, at, source.name)

    def report_main(trouble: CameraFault | None, at: float) -> None:
        watcher.report(trouble, at, source.name, "main")

    source.report_to(report, report_main)


def end_all(threads: Sequence[CameraThread]) -> None:
    """Let go of their cameras, side by side, for each may take a second; and wait for the end of the watching."""
    closing = [threading.Thread(target=each.let_go, name="letting go", daemon=True) for each in threads]
    for helper in closing:
        helper.start()
    until = time.monotonic() + GONE_S
    for helper in closing:
        helper.join(max(0.0, until - time.monotonic()))
    until = time.monotonic() + LET_GO_S
    for thread in threads:
        thread.join(until - time.monotonic())


def complaints(threads: Sequence[CameraThread]) -> list[str]:
    """Return what ended sources that gave no more frames, a sentence each."""
    return [str(thread.failed) for thread in threads if isinstance(thread.failed, SourceError)]


@dataclass(frozen=True)
class Shared:
    """Parts that all cameras share."""

    classifier: Classifier
    run: EventFactory  # the numbers of the events
    writer: MediaWriter | None = None
    trace: Trace | None = None
    share: Callable[[], float] = lambda: 1.0  # of the frame rates, kept up in heat and at low voltage


def rule_for(classifier: Classifier, settings: CameraSettings) -> Rule:
    """Return the rule of the model's card as this camera's settings have it.

    Raises OptionError for one that never alarms.
    """
    from edge.decide.evidence import Rule

    rule = Rule.from_card(
        classifier.card,
        threshold=settings.threshold,
        night_threshold=settings.night_threshold,
        alarm_at=settings.alarm_at,
    )
    if rule.frames_needed(1.0 / settings.fps) is None:
        raise OptionError(
            f"--alarm-at {rule.alarm_at:g} at --fps {settings.fps:g}: evidence is forgotten between frames, so a sure "
            "bear would never alarm; raise --fps or lower --alarm-at"
        )
    return rule


def _hand_on(watcher: Watcher, said: Said, *, wrong: bool) -> None:
    event, box = said.event, said.event.box_xywh
    if event.kind != "bear" or box is None:
        return

    def hear(frame: Frame) -> None:
        repeat_alarms = watcher.decider.repeat_alarms
        if repeat_alarms:
            # A picture that arrived has the time of its camera's own clock.
            wall = datetime.now(UTC) if watcher.single_images else frame.wall
            # Ahead of now where the clock has been set back since: then it counts from now on.
            since_s = max((wall - said.at).total_seconds(), 0.0)
            repeat_alarms.reviewed(event.id, box, frame.time - since_s, frame.time, wrong=wrong)

    watcher.before_next(hear)
