"""A made-up camera with a life of faults, in a made-up time, for the tests of keeping it alive."""

import itertools
import math
import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from edge.camera import Source
from edge.camera.reconnect import ReconnectingSource
from edge.errors import SourceError
from edge.schema import CameraFault, Frame
from tests.helpers.tiny import BEAR_COLOUR

NOW = datetime(2024, 5, 1, tzinfo=UTC)
NEVER = math.inf


class World:
    """A clock that moves on when every thread of the camera waits for it; no real time passes."""

    def __init__(self):
        self.now = 1000.0
        self.changed = threading.Condition()
        self.parked = {}  # thread -> when it wants to be woken

    def clock(self):
        return self.now

    def until(self, moment):
        """In a camera's thread: wait for that time, or to be woken."""
        me = threading.current_thread()
        with self.changed:
            if moment <= self.now:
                return
            self.parked[me] = moment
            assert self.changed.wait_for(lambda: self.parked.get(me, -1.0) <= self.now, 20)
            self.parked.pop(me, None)

    def wake(self, thread):
        with self.changed:
            self.parked.pop(thread, None)
            self.changed.notify_all()

    def sleep(self, seconds):
        """In the thread that iterates: time goes on to the next thing that happens, at most so far."""
        with self.changed:
            self.settle()
            self.now = max(self.now, min([self.now + seconds, *self.parked.values()]))
            self.changed.notify_all()
            self.settle()

    def settle(self):
        patience = time.monotonic() + 20
        while not all(self.parked.get(thread, -1.0) > self.now for thread in ours()):
            assert time.monotonic() < patience, "a thread waits for something real"
            self.changed.wait(0.0005)


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("camera")]


class Camera:
    """A camera with a life: what it does from which second on. Opening takes half a second."""

    def __init__(self, world, *life, fps=4.0, size_wh=(48, 32)):
        self.world, self.fps, self.size_wh = world, fps, size_wh
        self.begin = world.now
        self.life = [(0.0, "live"), *life]
        self.opened = []  # when
        self.open_now = self.most_open = 0

    def state(self):
        since = self.world.now - self.begin + 1e-9
        return [state for start, state in self.life if start <= since][-1]

    def change(self):
        """When the state changes next."""
        return next((self.begin + start for start, _ in self.life if self.begin + start > self.world.now), NEVER)

    def open(self):
        self.opened.append(self.world.now - self.begin)
        if self.state() == "stuck":
            self.world.until(self.change())
        if self.state() not in {"away", "stuck"}:
            self.world.until(self.world.now + 0.5)
        if self.state() in {"away", "stuck"}:
            raise SourceError("yard: no such camera; plug it in")
        return Connection(self)


class Connection(Source):
    """One opening of a made-up camera, with a clock of its own that starts anew."""

    live = True

    def __init__(self, camera):
        self.camera, self.world, self.name, self.fps = camera, camera.world, "yard", camera.fps
        self.problems = []
        self.closed, self.deaf, self.thread = False, False, None
        camera.open_now += 1
        camera.most_open = max(camera.most_open, camera.open_now)
        self.counted = True

    def __iter__(self):
        self.thread = threading.current_thread()
        index, began = 0, self.world.now
        while not self.closed:
            self.world.until(self.world.now + 1.0 / self.fps)
            state = self.camera.state()
            if self.closed or state == "ends":
                return
            if state in {"silent", "away", "stuck"}:
                self.world.until(NEVER)
                continue
            if state == "deaf":
                self.deaf = True
                self.world.until(self.camera.change())
                self.deaf = False
                continue
            if state == "broken":
                raise SourceError("yard: the stream broke off; check the network")
            if state == "bug":
                raise ZeroDivisionError
            shade = 7 if state in {"frozen", "stare"} else int(self.world.now * 100) % 256
            width, height = self.camera.size_wh
            picture: Any = None if state == "garbage" else np.full((height, width, 3), shade, np.uint8)
            if state in {"bear", "stare"}:  # a bear, and a picture that froze with one in it
                picture[4:] = BEAR_COLOUR
            yield Frame(picture, self.world.now - began, NOW, "yard", index)
            index += 1

    def close(self):
        self.closed = True
        if not self.deaf and self.thread and threading.current_thread() is not self.thread:
            self.world.wake(self.thread)
        if self.counted and (threading.current_thread() is self.thread or self.thread is None):
            self.counted = False
            self.camera.open_now -= 1


def opens(first, again):
    """Return what opens a camera: ``first``, which is open already, and from then on ``again``."""
    open_ones = [first]
    return lambda: open_ones.pop() if open_ones else again()


class Diary:
    """What a kept camera gave and said, with the seconds since it began."""

    def __init__(self, *life, seconds, first=True, **given):
        world = World()
        self.camera = Camera(world, *life)
        self.frames: list[tuple[float, Frame]] = []
        self.reports: list[tuple[float, CameraFault | None]] = []
        began = world.now
        open_ = opens(Connection(self.camera), self.camera.open) if first else self.camera.open

        def report(trouble, at):
            assert at - began < seconds + 100.0, "it never comes back"
            self.reports.append((at - began, trouble))

        options: dict[str, Any] = {"clock": world.clock, "sleep": world.sleep}
        options |= {"fps": self.camera.fps} | given
        self.kept = ReconnectingSource(open_, name="yard", report=report, **options)
        for frame in self.kept:
            self.frames.append((world.now - began, frame))
            if world.now - began >= seconds:
                break
        self.ended_at = world.now - began
        self.kept.close()
        gone = time.monotonic() + 5
        while ours() and time.monotonic() < gone:
            with world.changed:
                world.now += 1000.0  # what hangs in a driver comes back in the end
                world.changed.notify_all()
            time.sleep(0.001)
        assert not ours()

    @property
    def troubles(self):
        """(when, kind) of each change of what is said."""
        last: str | None = None
        changes: list[tuple[Any, str | None]] = []
        for at, trouble in self.reports:
            kind = trouble.kind if trouble else None
            if kind != last or trouble is None:
                changes.append((pytest.approx(at, abs=0.51), kind))
            last = kind
        return changes

    @property
    def said(self):
        """The sentences, in order."""
        return [trouble.detail for _, trouble in self.reports if trouble]

    def again(self):
        return [at for at, frame in self.frames if frame.discontinuity]

    def check(self):
        """What holds whatever happens."""
        assert [frame.index for _, frame in self.frames] == list(range(len(self.frames)))
        times = [frame.time for _, frame in self.frames]
        assert all(later > earlier for earlier, later in itertools.pairwise(times))
        assert all(at == pytest.approx(frame.handed_over - 1000.0) for at, frame in self.frames)
        assert self.camera.most_open <= 1
        for (at, trouble), (then, _) in itertools.pairwise(self.reports):
            assert trouble is None or then - at <= 1.0, (at, then)
        assert all(before or after for (_, before), (_, after) in itertools.pairwise(self.reports))
        assert not self.reports or self.reports[0][1]
        ats = [at for at, _ in self.frames]
        for earlier, (at, frame) in zip(ats, self.frames[1:], strict=False):
            assert frame.discontinuity or at - earlier < 5.5, (earlier, at)


class Blocking(Source):
    """A source whose reads, or whose closing, hang until it is let go; in real time."""

    live = True

    def __init__(self, go, *, frames=3, closing=False):
        self.name, self.fps, self.problems = "yard", 10.0, []
        self.go, self.frames, self.closing, self.closed = go, frames, closing, threading.Event()

    def __iter__(self):
        for i in range(self.frames):
            picture = np.full((32, 32, 3), i % 256, np.uint8)
            yield Frame(picture, time.monotonic(), NOW, "yard", i)
            time.sleep(0.01)
        self.go.wait(30)

    def close(self):
        self.closed.set()
        if self.closing:
            self.go.wait(30)
