"""The model's runs of several threads: as many at a time as there are cores, and small ones together.

Each run at the same time takes memory of its own, for scans and fours of crops some 20 MB. Four crops in one run take
three quarters of the time of four runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.uint8]  # pictures of one size, (N, H, W, 3)
Outcome = tuple[NDArray[np.float32], ...]  # arrays with a row for each of them
Run = Callable[[Rows], Outcome]


@dataclass(eq=False)
class _Call:
    """A caller's rows, and what came of them so far."""

    run: Run
    rows: Rows
    most: int
    taken: int = 0
    parts: dict[int, Outcome] = field(default_factory=dict)  # by their first row
    done: int = 0
    error: BaseException | None = None

    @property
    def left(self) -> int:
        return len(self.rows) - self.taken

    @property
    def over(self) -> bool:
        return self.done == len(self.rows) or self.error is not None

    def goes_with(self, other: _Call) -> bool:
        return self.run == other.run and self.rows.shape[1:] == other.rows.shape[1:]


class RunQueue:
    """Lets ``at_once`` runs begin at the same time; a caller waits only while there are as many.

    Rows of several callers that wait then go into one run: the caller who waits longest first, with others of the same
    ``run`` and size, by turns, a row each. So one who brings many rows cannot keep out one who brings one. There is no
    thread for it: a run is done by any of those who wait.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._waiting: list[_Call] = []  # with rows that no run has taken
        self._changed = threading.Condition()

    def __call__(self, run: Run, rows: Rows, most: int) -> Outcome:
        """Return what ``run`` gives for the rows, one or more, with at most ``most`` in one run.

        Raises what a run raised that had some of them in it.
        """
        call = _Call(run, rows, most)
        with self._changed:
            self._waiting.append(call)
            try:
                while not call.over:
                    if self._running < self._at_once and call in self._waiting:
                        self._run_next()
                    else:
                        self._changed.wait()
            finally:
                self._leave(call)  # also where the caller is interrupted
        if call.error is not None:
            raise call.error
        return tuple(np.concatenate(each) for each in zip(*(call.parts[n] for n in sorted(call.parts)), strict=True))

    def _run_next(self) -> None:
        """Do the run that is due; the lock is held before and after it."""
        taken = self._take()
        self._running += 1
        self._changed.release()
        error: BaseException | None = None
        outcome: Outcome = ()
        try:
            parts = [call.rows[start:end] for call, start, end in taken]
            outcome = taken[0][0].run(parts[0] if len(parts) == 1 else np.concatenate(parts))
        except BaseException as raised:  # of all whose rows were in it
            error = raised
        finally:
            self._changed.acquire()
            self._running -= 1
            self._changed.notify_all()
        at = 0
        for call, start, end in taken:
            if error is not None:
                call.error = error
                self._leave(call)
                continue
            call.parts[start] = tuple(each[at : at + end - start] for each in outcome)
            call.done += end - start
            at += end - start

    def _take(self) -> list[tuple[_Call, int, int]]:
        """Choose the rows of the next run: callers, first row, end. Callers with rows left go behind the others."""
        first = self._waiting[0]
        shares = {call: 0 for call in self._waiting if call.goes_with(first)}
        for _ in range(first.most):
            unmet = [call for call, share in shares.items() if share < call.left]
            if not unmet:
                break
            shares[min(unmet, key=shares.__getitem__)] += 1  # of equals the one that waits longest
        taken = [(call, call.taken, call.taken + share) for call, share in shares.items() if share]
        for call, _, end in taken:
            call.taken = end
            self._leave(call)
            if call.left:
                self._waiting.append(call)
        return taken

    def _leave(self, call: _Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
