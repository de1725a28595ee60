"""One camera's post: its frames, whoever watches them, and the thread in which that happens, for ever begun anew."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from edge.alarm.sources import alive_at, reopened
from edge.camera import Source
from edge.decide.alarms import UNSEEING
from edge.errors import SourceError
from edge.settings import Camera
from edge.status import CameraStatus
from edge.watch import FRESH_S, Watcher

log = logging.getLogger(__name__)

RESTART_S = 1.0  # after a fault of ours a camera is watched again, later each time that no frame was looked at
MOST_RESTART_S = 30.0
GONE_S = 3.0  # a camera lets go within a second or two
LET_GO_S = 5.0  # and what is going on before it is ended and told


class Post:
    """Watches one camera in a thread of its own, from ``start`` to ``close``; a fault of ours does not end it.

    ``failed`` is what ended it: a source that gives no frames and is not opened anew. ``wait`` waits so many seconds,
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
        """Whether it is still at work."""
        return self._thread.is_alive()

    @property
    def played(self) -> bool:
        """Whether it was a clip, a folder or the like, and is over."""
        return self._ended and not self.source.live and self.failed is None

    def fresh(self, now: float) -> bool:
        """Whether its frames are being looked at, as they come; ``now``: time.monotonic().

        In a folder the next picture may arrive tomorrow: what counts is that it is looked through. A camera that is
        let go of is not looked at, though its last frame is new: that its bear's event ends does not mean "no bear".
        """
        if self._closed.is_set():
            return False
        if not self.watcher.arriving:
            return self.watcher.fresh(now)
        looked_at = alive_at(self.source)
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
        """How it is; from any thread."""
        frame_at = self.watcher.frame_at
        beat = max(at for at in (self._alive_at, frame_at, alive_at(self.source)) if at is not None)
        told = self.watcher.troubles.now
        return CameraStatus(
            name=self.camera.name,
            live=self.source.live and not self._ended,
            fresh=self.fresh(now) or self.played,  # nothing is missed of a clip that is over
            frame_age_s=None if frame_at is None else now - frame_at,
            alive_age_s=now - beat,
            frames=self.watcher.tally.frames,
            fps=self.source.fps,
            trouble="; ".join(trouble.detail for trouble in told) or None,
            reopened=reopened(self.source),
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
            before = self.watcher.tally.frames
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
                    self.failed = error  # for whoever waits for the end
                    self._try(self.watcher.close)
                    return
                said, fault = words, error
            self._try(partial(self.watcher.failed, self.camera.name, fault))
            looked = self.watcher.tally.frames > before
            pause_s = RESTART_S if looked else min(2 * pause_s, MOST_RESTART_S)
            self._alive_at = time.monotonic()
            self._wait(pause_s)
            self._alive_at = time.monotonic()

    def _try(self, tell: Callable[[], object]) -> None:
        """Tell of a fault of ours; where that fails too the camera is watched on all the same."""
        try:
            tell()
        except Exception:
            log.exception("%s: an internal error could not be reported", self.camera.name)


def end_all(posts: Sequence[Post]) -> None:
    """Let go of their cameras, side by side, for each may take a second; and wait for the end of the watching."""
    closing = [threading.Thread(target=post.let_go, name="letting go", daemon=True) for post in posts]
    for thread in closing:
        thread.start()
    until = time.monotonic() + GONE_S
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))
    until = time.monotonic() + LET_GO_S
    for post in posts:
        post.join(until - time.monotonic())


def complaints(posts: Sequence[Post]) -> list[str]:
    """What ended sources that gave no more frames, a sentence each."""
    return [str(post.failed) for post in posts if isinstance(post.failed, SourceError)]
