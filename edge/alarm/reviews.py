"""Hand people's reviews to the camera that raised the alarm, within two seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.background import Worker

if TYPE_CHECKING:
    from edge.alarm.post import Post
    from edge.record.journal import Journal, Said
    from edge.schema import Frame
    from edge.watch import Watcher

LOOK_S = 1.0


class Reviews:
    """Looks into the journal once a second, in a thread of its own, and hands on what is new.

    ``posts`` are those of now. ``alarm_labels`` are the card's: what was called otherwise is no bear, and its alarm was
    wrong.
    """

    def __init__(
        self,
        journal: Journal,
        posts: Callable[[], Sequence[Post]],
        alarm_labels: Callable[[], Collection[str]],
    ) -> None:
        self._journal = journal
        self._posts = posts
        self._alarm_labels = alarm_labels
        self._row = 0  # the last that was handed on
        self._watchers: list[Watcher] = []  # to which
        self._looked: float | None = None
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "reviews", depth=1, deadline_s=60.0)

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self._worker(None)

    def look(self) -> None:
        """Hand on what was said since the last look; all of it where there are watchers that know nothing yet."""
        watchers = [post.watcher for post in tuple(self._posts())]
        if any(watcher not in self._watchers for watcher in watchers):
            self._row = 0
        self._watchers = watchers
        for said in self._journal.reviews(self._row):
            self._row = said.row
            wrong = said.verdict == "wrong" or (said.label is not None and said.label not in self._alarm_labels())
            for post in tuple(self._posts()):
                if post.camera.name == said.event.camera:
                    _hand_on(post.watcher, said, wrong=wrong)

    def close(self, within_s: float) -> None:
        """No more of it."""
        self._worker.close(within_s)


def _hand_on(watcher: Watcher, said: Said, *, wrong: bool) -> None:
    event, box = said.event, said.event.box_xywh
    if event.kind != "bear" or box is None:
        return

    def hear(frame: Frame) -> None:
        offenders = watcher.decider.offenders
        if offenders:
            # A picture that arrived has the time of its camera's own clock.
            wall = datetime.now(UTC) if watcher.arriving else frame.wall
            # Ahead of now where the clock has been set back since: then it counts from now on.
            since_s = max((wall - said.at).total_seconds(), 0.0)
            offenders.said(event.id, box, frame.time - since_s, frame.time, wrong=wrong)

    watcher.before_next(hear)
