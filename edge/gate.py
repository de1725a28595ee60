"""The disk in a thread of its own, one call at a time: a failing card may keep a call for minutes, and nobody waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

IDLE_S = 15.0  # the thread waits so long for more: a new one for each call takes a millisecond


class HangingError(Exception):
    """A call has been in the disk for too long; whoever came after it was not waited for."""


@dataclass(eq=False, slots=True)
class _Call:
    """One thing to be done, and what came of it."""

    work: Callable[[], Any]
    name: str | None
    over: bool = False
    result: Any = None
    error: BaseException | None = None


class Gate:
    """Does what is asked, one after the other, in a thread that lives as long as there is something to do."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._changed = threading.Condition(lock)  # for who waits for an answer
        self._asked = threading.Condition(lock)  # for the thread
        self._serving = self._closed = False
        self._calls: deque[_Call] = deque()
        self._since: float | None = None  # when the call under way began, time.monotonic()

    @property
    def busy_s(self) -> float:
        """For how many seconds the call under way has been; 0: there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def __call__(self, work: Callable[[], T], within_s: float, name: str | None = None) -> T:
        """What ``work()`` gives, or raises. Raises HangingError once one call, this or another, takes ``within_s``.

        Work with a ``name`` is done all the same when it can be, once for all who asked for it before it began; other
        work is not worth doing later.
        """
        with self._changed:
            call = next((each for each in self._calls if name and each.name == name), None)
            if call is None:
                call = _Call(work, name)
                self._calls.append(call)
            alone = not self._serving and not self._start()
            if alone:
                self._calls.remove(call)
            elif self._since is None:
                self._since = time.monotonic()
                self._asked.notify()
            while not (call.over or alone):
                left_s = within_s - self.busy_s
                if left_s <= 0.0:
                    if name is None and call in self._calls:
                        self._calls.remove(call)
                    raise HangingError
                self._changed.wait(left_s)
        if alone:
            return work()
        if call.error:
            raise call.error
        result: T = call.result
        return result

    def close(self) -> None:
        """From now on the thread ends as soon as there is nothing to do; what is asked later is done all the same."""
        with self._changed:
            self._closed = True
            self._asked.notify()

    def _start(self) -> bool:
        """Whether there is a thread to do it; at the very end of a program none is to be had."""
        try:
            threading.Thread(target=self._serve, name="the disk", daemon=True).start()
        except RuntimeError:
            return False
        self._serving = True
        return True

    def _serve(self) -> None:
        while call := self._next():
            try:
                call.result = call.work()
            except BaseException as error:
                call.error = error
            with self._changed:
                call.over = True
                self._since = None
                self._changed.notify_all()

    def _next(self) -> _Call | None:
        """Wait for what is asked; None: nothing was, for a while."""
        with self._changed:
            if not self._calls and not self._closed:
                self._asked.wait(IDLE_S)
            if not self._calls:
                self._serving = False
                return None
            self._since = time.monotonic()
            return self._calls.popleft()
