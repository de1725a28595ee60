"""The whole alarm, put together from settings, and changed while it watches.

``Alarm`` is what ``bear-alarm watch`` runs: a post for each camera (``post``), everyone who is told (``alerting``), the
pictures (``edge.evidence``), the model; and how all of it is (``edge.status``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge import __version__
from edge.alarm.condition import Condition
from edge.alarm.pictures import evidence_writer
from edge.alarm.post import Post, complaints, end_all
from edge.alarm.reviews import Reviews
from edge.alarm.sources import connect, open_kept
from edge.alarm.watchers import Shared, change_watcher, let_go_of, make_watcher, rule_for
from edge.alert.dispatch import Alerting
from edge.background import Sink
from edge.camera import Source
from edge.detect.classifier import Classifier, load
from edge.device.telemetry import stats_of
from edge.files import made_state_folder
from edge.record.evidence import EvidenceWriter
from edge.record.journal import Clock
from edge.record.trace import Trace
from edge.run import Run
from edge.settings import Camera, Settings
from edge.status import Ask, ChannelStatus, SinkStatus, Status

__all__ = ["Alarm", "complaints"]

log = logging.getLogger(__name__)

START_S = 15.0  # what opening a camera may take
OLD_S = 5.0  # what an evidence writer that is done with may take


class Alarm:
    """Watches the cameras of ``settings`` and tells who is to be told, from ``start`` to ``close``.

    ``terminal`` is told last of each event. Raises SourceError, ModelError, OptionError and MissingExtraError for what
    cannot work, having let go of everything. ``change`` is for the thread that calls ``tick``.
    """

    def __init__(self, settings: Settings, *, terminal: Sink | None = None, root: Path = Path("/")) -> None:
        self.settings = settings
        self.clock = Clock()
        self.run = Run(clock_synced=self.clock.synced)
        self.posts: list[Post] = []
        self.writer: EvidenceWriter | None = None
        self.trace: Trace | None = None
        self.alerting: Alerting | None = None
        self.condition: Condition | None = None  # there is one for cameras
        self.reviews: Reviews | None = None  # where there is a journal
        self.failed: list[BaseException] = []  # of sources that ended with an error
        self._began = time.monotonic()
        self._alarms_before = 0  # of cameras that are not watched any more
        self._opened: list[Source] = []
        self._more: dict[str, Ask] = {}
        try:
            self._build(terminal, root)
        except BaseException:
            self.close(0.0)
            raise

    def _build(self, terminal: Sink | None, root: Path) -> None:
        settings = self.settings
        followed = any(camera.follow for camera in settings.cameras)
        folder = made_state_folder(settings.state) if followed else None
        for camera in settings.cameras:
            self._opened.append(open_kept(camera, state=folder, waits=settings.waits))
        self.classifier: Classifier = load(settings.model)
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
        )
        self.writer = evidence_writer(settings.evidence, written=self.alerting.attach)
        self.alerting.evidence = self.writer
        self._shared = self._shares()
        for camera, opened in zip(settings.cameras, tuple(self._opened), strict=True):
            self.posts.append(self._post(camera, opened))
        self.alerting.watching = self._watching
        self.alerting.stats = self._stats
        if live:
            self.condition = Condition(settings.health, self.state, lambda: self.classifier, self.status, root=root)
        self.alerting.more = self._parts
        if self.alerting.journal:
            self.reviews = Reviews(self.alerting.journal, lambda: self.posts, lambda: self.classifier.card.alarm_labels)

    def ask(self, name: str, part: Ask) -> None:
        """Have health ask this too."""
        self._more[name] = part

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        if self.alerting:
            self.alerting.silence()

    def losses(self) -> list[str]:
        """One line for each of those told that failed, hung, or left something undone."""
        return self.alerting.losses() if self.alerting else []

    def start(self) -> None:
        """Say what cannot work, and begin to watch."""
        assert self.alerting
        self.alerting.tick()
        for post in self.posts:
            post.start()
        if self.condition:
            self.condition.start()

    @property
    def alive(self) -> bool:
        """Whether any camera is still watched."""
        return any(post.alive for post in self.posts)

    def tick(self, now: float) -> None:
        """Call it about ten times a second; ``now``: time.monotonic()."""
        assert self.alerting
        if self.condition:
            self.condition.tick(now)
        self.alerting.tick(now)
        if self.reviews:
            self.reviews.tick(now)

    def status(self, now: float | None = None) -> Status:
        """How all of it is now; from any thread."""
        now = time.monotonic() if now is None else now
        alerting, posts = self.alerting, tuple(self.posts)
        assert alerting
        known = [crop_s for post in posts if (crop_s := post.watcher.budget.crop_s) is not None]
        status = Status(
            version=__version__,
            model=self.classifier.name,
            uptime_s=now - self._began,
            cameras=tuple(post.status(now) for post in posts),
            sinks=tuple(
                SinkStatus(each.name, each.failures, each.dropped, each.hung, each.problem())
                for each in alerting.workers
            ),
            channels=tuple(
                ChannelStatus(each.key, each.stats.waiting, each.stats.parked, each.problem())
                for each in alerting.deliverers
            ),
            problems=alerting.problems,
            alarms=self._alarms_before + _alarms(posts),
            crop_ms=max(known) * 1000.0 if known else None,
            durable=alerting.journal.durable if alerting.journal else None,
        )
        return self.condition.add_to(status, now) if self.condition else status

    def change(self, settings: Settings, classifier: Classifier | None = None) -> None:
        """Go on with other settings, and another model where one is given; cameras that stay lose no frame.

        Raises what making it would; then all is as it was. ``state`` and ``trace`` hold from the next start on.
        """
        assert self.alerting
        before, old = self.settings, self._shared
        new_classifier = classifier or self.classifier
        for camera in settings.cameras:
            rule_for(new_classifier, camera.settings)
        kept = {post.camera.name: post for post in self.posts}
        stays = {camera.name for camera in settings.cameras if _same_source(kept.get(camera.name), camera)}
        gone = [post for post in self.posts if post.camera.name not in stays]
        new = [camera for camera in settings.cameras if camera.name not in stays]
        later = [camera for camera in new if any(_same_folder(post.camera, camera) for post in gone)]
        opened = self._open_new([camera for camera in new if camera not in later])
        writer = self.writer
        apply_health = drop_health = _nothing
        try:
            if settings.evidence != before.evidence:
                writer = evidence_writer(settings.evidence, written=self.alerting.attach)
            if self.condition:
                apply_health, drop_health = self.condition.change(settings.health)
            names = [camera.name for camera in settings.cameras]
            self.alerting.change(settings.alerts, names, new_classifier.name)
        except BaseException:
            drop_health()
            for source in opened.values():
                source.close()
            if writer and writer is not self.writer:
                writer.close(0.0)
            raise
        # From here on nothing can fail.
        self.settings, self.classifier = replace(settings, state=before.state, trace=before.trace), new_classifier
        old_writer, self.writer = self.writer, writer
        self.alerting.evidence = writer
        apply_health()
        self._shared = self._shares()
        end_all(gone)
        for post in gone:
            let_go_of(post.watcher.teller.evidence)
        opened |= self._open_new(later)  # which knows now what was looked at
        posts = []
        for camera in settings.cameras:
            post = kept[camera.name] if camera.name in stays else self._post(camera, opened[camera.name])
            if camera.name in stays:
                change_watcher(post.watcher, post.camera, camera, old, self._shared)
                post.camera = camera
            posts.append(post)
        self._alarms_before, self.posts = self._alarms_before + _alarms(gone), posts
        for camera, post in zip(settings.cameras, posts, strict=True):
            if camera.name not in stays:
                post.start()
        if old_writer and old_writer is not writer:
            threading.Thread(target=old_writer.close, args=(OLD_S,), name="old evidence", daemon=True).start()

    def let_go(self) -> None:
        """Let go of all cameras, side by side, and end the watching."""
        end_all(self.posts)
        self.failed += [post.failed for post in self.posts if post.failed]

    def close(self, within_s: float) -> None:
        """Finish what waits to be told and kept, for at most so many seconds."""
        until = time.monotonic() + within_s
        for opened in (*self._opened, *(post.source for post in self.posts)):
            opened.close()
        for worker in (self.writer, self.trace):  # the journal is told of the last pictures
            if worker:
                worker.close(until - time.monotonic())
        if self.reviews:
            self.reviews.close(0.0)
        if self.condition:
            self.condition.close()
        if self.alerting:
            self.alerting.close(until - time.monotonic())

    def _open_new(self, cameras: Sequence[Camera]) -> dict[str, Source]:
        """Sources of cameras that are new; one that stands for another is opened when that was let go of."""
        opened: dict[str, Source] = {}
        try:
            for camera in cameras:
                opened[camera.name] = open_kept(camera, state=self.state, waits=True)
        except BaseException:
            for source in opened.values():
                source.close()
            raise
        return opened

    def _shares(self) -> Shared:
        return Shared(self.classifier, self.run, self.writer, self.trace, self._share)

    def _share(self) -> float:
        return self.condition.share() if self.condition else 1.0

    def _post(self, camera: Camera, source: Source) -> Post:
        assert self.alerting
        watcher = make_watcher(source, camera, self._shared, self.alerting.sinks)
        connect(source, watcher)
        return Post(camera, source, watcher)

    def _parts(self) -> dict[str, Ask]:
        return (self.condition.parts() if self.condition else {}) | self._more

    def _stats(self) -> Mapping[str, object]:
        """Return the statistics for MQTT; empty while cameras open, which is no problem yet."""
        status = self.status()
        starting = status.uptime_s < START_S and any(each.frame_age_s is None for each in status.cameras)
        return {} if starting else stats_of(status)

    def _watching(self, camera: str) -> bool:
        now = time.monotonic()
        return any(post.fresh(now) for post in tuple(self.posts) if post.camera.name == camera)


def _nothing() -> None:
    """There is nothing to change."""


def _alarms(posts: Sequence[Post]) -> int:
    return sum(post.watcher.teller.told["new"] for post in posts)


def _same_source(post: Post | None, camera: Camera) -> bool:
    """Whether a camera's frames come from where they came before; a clip that was played is not played again."""
    if post is None or not (post.alive or post.played):
        return False
    return replace(post.camera, settings=camera.settings) == camera


def _same_folder(one: Camera, other: Camera) -> bool:
    """Whether both follow the same folder, as what is renamed does: one goes on where the other has ended."""
    followed = one.follow and other.follow and not other.motion_source  # which is refused
    return followed and Path(one.source).expanduser().absolute() == Path(other.source).expanduser().absolute()
