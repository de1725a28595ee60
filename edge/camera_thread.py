"""One camera of the alarm: its source, its watcher, and the thread in which they run."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.events import EventPublisher
from edge.background import Sink, call_in_thread
from edge.camera import LAST_FRAME_S, Source, is_live, open_camera, open_source, shown
from edge.camera.dual_stream import DualStreamSource
from edge.camera.folder import FolderSource
from edge.camera.processed_files import seen_file
from edge.camera.reconnect import ReconnectingSource
from edge.decide.alarms import AGAIN_S, Decider
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter
from edge.detect.camera_check import UNSEEING, CameraCheck
from edge.detect.classifier import Classifier
from edge.detect.frame_rate import CropBudget, FrameRateControl
from edge.detect.sequences import ArrivingMotion
from edge.device.health import slowest_fps
from edge.errors import OptionError, SourceError
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.record.trace import Trace
from edge.settings import Camera, CameraSettings
from edge.status import CameraStatus
from edge.watch import FRESH_S, Watcher

if TYPE_CHECKING:
    from edge.schema import CameraFault

log = logging.getLogger(__name__)

RESTART_S = 1.0  # after an internal error a camera is watched again, later each time that no frame was looked at
MAX_RESTART_S = 30.0
GONE_S = 3.0  # a camera closes within a second or two
MAX_CROPS = 12  # a frame
MAX_CROPS_ARRIVED = 100  # of a picture that nothing hurries


@dataclass(frozen=True)
class Shared:
    """Parts that all cameras share."""

    classifier: Classifier
    run: EventFactory  # the numbers of the events
    writer: MediaWriter | None = None
    trace: Trace | None = None
    share: Callable[[], float] = lambda: 1.0  # of the frame rates, kept up in heat and at low voltage
    country: str = ""  # of the site


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
        self._watching: Future[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._alive_at = time.monotonic()
        self._watching = call_in_thread(self._look, f"watch {self.camera.name}")

    @property
    def alive(self) -> bool:
        """Return True if it is still at work."""
        return self._watching is not None and not self._watching.done()

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

        In a folder the next picture may arrive tomorrow: what counts is that it is looked through. A camera that was
        closed is not looked at, though its last frame is new: that its bear's event ends does not mean "no bear".
        """
        if self._closed.is_set():
            return False
        if not self.watcher.single_images:
            return self.watcher.fresh(now)
        looked_at = self.source.alive_at
        return looked_at is not None and now - looked_at <= FRESH_S and not self.watcher.troubles.now

    def close(self) -> None:
        """Close the camera; ``join`` waits for the end of the watching."""
        self._closed.set()
        self.source.close()

    def join(self, within_s: float) -> None:
        """Wait for the end, at most so many seconds."""
        if self._watching:
            concurrent.futures.wait([self._watching], max(within_s, 0.0))

    def status(self, now: float) -> CameraStatus:
        """Return how it is; from any thread."""
        frame_at = self.watcher.frame_at
        beat = max(at for at in (self._alive_at, frame_at, self.source.alive_at) if at is not None)
        troubles = self.watcher.troubles.now
        return CameraStatus(
            name=self.camera.name,
            live=self.source.live and not self._ended,
            fresh=self.fresh(now) or self.played,  # nothing is missed of a clip that is over
            frame_age_s=None if frame_at is None else now - frame_at,
            alive_age_s=now - beat,
            frames=self.watcher.stats.frames,
            fps=self.source.fps,
            trouble="; ".join(trouble.detail for trouble in troubles) or None,
            reopened=self.source.reopened,
            blind=any(trouble.kind in UNSEEING for trouble in troubles),
            stage=self.watcher.publisher.stage,
        )

    def _look(self) -> None:
        try:
            self._keep_looking()
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._ended = True

    def _keep_looking(self) -> None:
        pause_s, logged = RESTART_S / 2, ""
        while True:
            before = self.watcher.stats.frames
            try:
                self.watcher(self.source)
                return
            except Exception as error:
                words = f"{type(error).__name__}: {error}"
                if not isinstance(error, SourceError):
                    level = (
                        logging.DEBUG if words == logged else logging.ERROR
                    )  # again and again, it would fill the log
                    log.log(level, "%s: internal error (%s)", self.camera.name, words)
                    log.debug("%s", self.camera.name, exc_info=error)
                if isinstance(error, SourceError) or not self.source.live or self._closed.is_set():
                    self.failed = error  # for the caller that waits for the end
                    self._try(self.watcher.close)
                    return
                logged, fault = words, error
            self._try(partial(self.watcher.failed, self.camera.name, fault))
            looked = self.watcher.stats.frames > before
            pause_s = RESTART_S if looked else min(2 * pause_s, MAX_RESTART_S)
            self._alive_at = time.monotonic()
            self._wait(pause_s)
            self._alive_at = time.monotonic()

    def _try(self, report: Callable[[], object]) -> None:
        """Report an internal error; if that fails too, the camera is still watched."""
        try:
            report()
        except Exception:
            log.exception("%s: an internal error could not be reported", self.camera.name)


def end_all(threads: Sequence[CameraThread]) -> None:
    """Close their cameras at the same time, for each may take a second; and wait for the end of the watching."""
    closing = [call_in_thread(each.close, f"closing {each.camera.name}") for each in threads]
    for closed in concurrent.futures.wait(closing, GONE_S).done:
        if error := closed.exception():
            log.warning("a camera could not be closed (%s)", error or type(error).__name__)
    until = time.monotonic() + LAST_FRAME_S
    for thread in threads:
        thread.join(until - time.monotonic())


def complaints(threads: Sequence[CameraThread]) -> list[str]:
    """Return what ended sources that gave no more frames, a sentence each."""
    return [str(thread.failed) for thread in threads if isinstance(thread.failed, SourceError)]


def open_kept(camera: Camera, *, state: Path | None = None, waits: bool = False) -> Source:
    """Return a camera's source; a live one is opened again for ever. Raises SourceError, OptionError.

    ``state``: where it is remembered which pictures of a followed folder were looked at, for the next run. ``waits``:
    a live source that cannot be opened now, or whose stream ends, is a camera that is down; else it must open once.
    """
    name, word, fps = camera.name, camera.source, camera.settings.fps
    if camera.follow:
        if camera.motion_source:
            raise OptionError(
                f"{name}: --motion-from belongs to a camera's stream, and --follow to a folder; give one of them"
            )
        if not waits and not Path(word).expanduser().is_dir():
            raise OptionError(f"--follow: {shown(word)} is no folder; it takes a folder in which pictures arrive")
        remember = seen_file(state, Path(word)) if state else None
        return FolderSource(word, name=name, remember=remember, waits=waits)

    def kept(one: str) -> Source:
        try:
            live = is_live(one)
        except (OSError, ValueError):  # a word that names nothing: opening it reports that
            live = False
        if not live:
            return open_source(one, fps=fps, name=name)
        open_ = partial(open_camera, one, name=name, fps=fps)
        source = ReconnectingSource(open_, name=name, fps=fps, device=one, endless=waits)
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


def make_watcher(source: Source, camera: Camera, shared: Shared, sinks: list[Sink]) -> Watcher:
    """Return the watcher of one camera. Raises OptionError."""
    settings, classifier, writer = camera.settings, shared.classifier, shared.writer
    single_images = source.single_images
    live = source.live and not single_images
    decider = make_decider(classifier, settings, single_images=single_images)
    # Nothing hurries a picture that has arrived: the whole of each is looked at before the next.
    budget = CropBudget(settings.frame_s if live else None, most=MAX_CROPS_ARRIVED if single_images else MAX_CROPS)
    context = classifier.card.crop.context
    pace = FrameRateControl(
        settings.quiet_fps,
        settings.fps,
        lambda fps: setattr(source, "fps", fps),
        share=shared.share,
        least=slowest_fps(decider.rule.frames_needed),
    )
    return Watcher(
        classifier,
        decider.rule,
        EventPublisher(
            sinks,
            model=classifier.name,
            context=context,
            evidence=writer.camera(settings.masks, context=context, clips=not single_images) if writer else None,
            run=shared.run,
            country=shared.country,
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


def make_decider(classifier: Classifier, settings: CameraSettings, *, single_images: bool) -> Decider:
    """Return what decides by a model's scores as this camera's settings have it. Raises OptionError as ``rule_for``."""
    rule = replace(rule_for(classifier, settings), one_picture=single_images)
    # Bursts are visits, an hour apart perhaps though they come in together: none is the one before, found again.
    again_s = 0.0 if single_images else AGAIN_S
    repeat_alarms = RepeatAlarmFilter()
    return Decider(rule, zones=settings.zones, schedule=settings.schedule, repeat_alarms=repeat_alarms, again_s=again_s)


def rule_for(classifier: Classifier, settings: CameraSettings) -> Rule:
    """Return the rule of the model's card as this camera's settings have it.

    Raises OptionError for one that never alarms.
    """
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


def connect(source: Source, watcher: Watcher) -> None:
    """Send a source's faults to its watcher; of two streams each has its own."""

    def report(trouble: CameraFault | None, at: float) -> None:
        watcher.report(trouble, at, source.name)

    def report_main(trouble: CameraFault | None, at: float) -> None:
        watcher.report(trouble, at, source.name, "main")

    source.report_to(report, report_main)
