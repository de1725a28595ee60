"""A thread with a bounded queue in front of it, so that the alarm waits for no sink, disk or command."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from edge.schema import Event

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Sink = Callable[[Event], Any]


class Worker(Generic[Item]):
    """Calls ``work(item, waited_s)`` in its own thread; calling the worker only puts the item in the queue.

    Work that raises is said and counted in ``failures``; the next item is tried again. When ``depth`` items
    wait, the oldest is given up and counted in ``dropped``: the newest matters most.
    """

    def __init__(self, work: Callable[[Item, float], Any], name: str, *, depth: int = 64) -> None:
        self.name = name
        self.depth = depth
        self.failures = 0
        self.dropped = 0
        self._work = work
        self._waiting: deque[tuple[Item, float]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __call__(self, item: Item) -> None:
        """Put the item in the queue; returns at once."""
        with self._changed:
            if len(self._waiting) >= self.depth:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((item, time.monotonic()))
            self._changed.notify_all()

    def close(self, within_s: float) -> bool:
        """Finish what waits, for at most so many seconds; False, and said, when something was left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._busy, max(within_s, 0.0))
            left = len(self._waiting) + self._busy
        if not done:
            log.warning("%s: %d left undone, for time is up", self.name, left)
        return done

    def _run(self) -> None:
        said = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                item, put_at = self._waiting.popleft()
                self._busy = True
                dropped = self.dropped
            if dropped > said:  # said here: a terminal that takes no words must not hold up whoever puts
                said = dropped
                log.warning("%s is too slow: %d left undone so far", self.name, dropped)
            try:
                self._work(item, time.monotonic() - put_at)
            except Exception as error:  # whatever one sink does, the others and the loop go on
                self.failures += 1
                log.warning("%s failed: %s", self.name, error or type(error).__name__)
            finally:
                # Held while waiting for the next one, a frame would cost 2.7 MB.
                del item
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()


def in_background(sink: Sink, name: str) -> Worker[Event]:
    """The sink with its own worker; its events' latency runs up to the moment the sink is called."""

    def call(event: Event, waited_s: float) -> None:
        late = None if event.latency_ms is None else round(event.latency_ms + waited_s * 1000.0, 2)
        sink(replace(event, latency_ms=late))

    return Worker(call, name)
