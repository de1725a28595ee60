"""The model's runs of several threads: as many at a time as there are cores, and small ones together.

Each run at the same time takes memory of its own, for scans and fours of crops some 20 MB. Four crops in one run take
three quarters of the time of four runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]  # pictures of one size, (N, H, W, 3)
Outcome = tuple[NDArray[np.float32], ...]  # arrays with a row for each of them
Run = Callable[[Rows], Outcome]


@dataclass(eq=False)
class _Call:
    """A caller's rows, and what came of them."""

    run: Run
    rows: Rows
    most: int
    outcome: Outcome | None = None
    error: BaseException | None = None

    @property
    def over(self) -> bool:
        return self.outcome is not None or self.error is not None


class RunQueue:
    """Lets ``at_once`` runs begin at the same time; a caller waits only while there are as many.

    Callers that wait have their turn in the order they came, and one run takes those of the same ``run`` and size with
    it while they fit. One who brings many rows brings them in parts, and waits behind others with each. There is no
    thread for it: a run is done by any of those who wait.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._waiting: list[_Call] = []
        self._changed = threading.Condition()

    def __call__(self, run: Run, rows: Rows, most: int) -> Outcome:
        """Return what ``run`` gives for the rows; others go with them while there are ``most`` in all, no more.

        Raises what the run raised that they were in.
        """
        call = _Call(run, rows, most)
        with self._changed:
            self._waiting.append(call)
            while not call.over:
                if self._running < self._at_once and call in self._waiting:
                    self._run_next()
                else:
                    self._changed.wait()
        if call.error is not None:
            raise call.error
        return call.outcome or ()

    def _run_next(self) -> None:
        """Do the run that is due; the lock is held before and after it."""
        calls = self._take()
        self._running += 1
        self._changed.release()
        error: BaseException | None = None
        outcome: Outcome = ()
        try:
            outcome = calls[0].run(calls[0].rows if len(calls) == 1 else np.concatenate([call.rows for call in calls]))
        except BaseException as raised:  # of all whose rows were in it
            error = raised
        finally:
            self._changed.acquire()
            self._running -= 1
            self._changed.notify_all()
        at = 0
        for call in calls:
            end = at + len(call.rows)
            call.error, call.outcome = error, tuple(each[at:end] for each in outcome)
            at = end

    def _take(self) -> list[_Call]:
        """Remove the call that waits longest, and those that go with it, from those that wait."""
        first = self._waiting.pop(0)
        taken, rows = [first], len(first.rows)
        for call in list(self._waiting):
            alike = call.run == first.run and call.rows.shape[1:] == first.rows.shape[1:]
            if alike and rows + len(call.rows) <= first.most:
                self._waiting.remove(call)
                taken.append(call)
                rows += len(call.rows)
        return taken
