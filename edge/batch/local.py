"""The engine of this machine: a process for each core, a shard at a time.

Each shard has a process of its own: what it takes of memory is free again after it, and what kills it kills one shard.
"""

from __future__ import annotations

import logging
import math
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from edge.background import first_to_go, step_back

log = logging.getLogger(__name__)

PROGRESS_S = 1.0
AGAIN_S = 10.0  # until a shard that another run has is tried again
TRIES = 2
END_S = 10.0  # for a child to end by itself
REFUSED = 2  # exit code: the user's mistake, which each further shard would meet as well


@dataclass(slots=True)
class Outcome:
    """The end of a run: what is neither failed nor refused is done."""

    failed: list[int] = field(default_factory=list)  # shards whose process crashed each time
    refused: str = ""  # the sentence of a process that met the user's mistake; no shard was begun after it


def run_shards(
    command: Callable[[int], Sequence[str]],
    numbers: Sequence[int],
    *,
    workers: int,
    done: Callable[[int], bool],
    free: Callable[[int], bool],
    pictures: Callable[[int], int],
    progress: Callable[[int], object],
) -> Outcome:
    """Run ``command(number)`` of each shard, so many at a time, the largest first: at the end all are busy.

    A process prints how many files it has looked at, a number a line; its other lines are passed on, each once. One
    that crashes is run once more. A shard that is not ``free`` is with another run, which is waited for: none is begun
    that is ``done`` meanwhile. After exit code 2 no shard is begun. ``progress`` is called each second with the files
    looked at so far.

    At KeyboardInterrupt, and any other error, the processes are ended first.
    """
    run = _Run(command, sorted(numbers, key=pictures, reverse=True), done, free, pictures)
    with ThreadPoolExecutor(workers, thread_name_prefix="shard") as pool:
        threads = [pool.submit(run.work) for _ in range(workers)]
        try:
            while True:
                ended, going = wait(threads, PROGRESS_S, FIRST_EXCEPTION)
                progress(run.looked_at)
                if not going or any(thread.exception() for thread in ended):
                    break
        finally:
            run.stop()
    for thread in threads:
        thread.result()
    return run.outcome


class _Run:
    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        numbers: Sequence[int],
        done: Callable[[int], bool],
        free: Callable[[int], bool],
        pictures: Callable[[int], int],
    ) -> None:
        self.outcome = Outcome()
        self._command, self._done, self._free, self._pictures = command, done, free, pictures
        self._again = {number for number in numbers if done(number)}  # to be run all the same
        self._changed = threading.Condition()
        self._waiting = deque(numbers)
        self._elsewhere: dict[int, float] = {}  # shards that another run has: when to try again, time.monotonic()
        self._busy = 0  # shards that a thread is at
        self._children: dict[int, subprocess.Popen[str]] = {}
        self._looked_at = dict.fromkeys(numbers, 0)
        self._crashes = dict.fromkeys(numbers, 0)
        self._stopped = self._said = False
        self._passed_on = set[str]()  # lines of children

    @property
    def looked_at(self) -> int:
        """Files looked at so far."""
        return sum(self._looked_at.values())

    def stop(self) -> None:
        """End the processes that are at work, and begin none."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            children = list(self._children.values())
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()

    def work(self) -> None:
        """Run shards until none is to be begun."""
        step_back()  # a child has the priority of the thread that starts it
        while (number := self._next()) is not None:
            code, words = 0, ""
            if (number in self._again or not self._done(number)) and self._free(number):
                code, words = self._run(number)
            self._after(number, code, words)

    def _run(self, number: int) -> tuple[int, str]:
        """Run a shard in a process; return its exit code, and its last words where it did not end well."""
        child = subprocess.Popen(
            self._command(number),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C is for this process alone, which ends its children
        )
        with self._changed:
            self._children[number] = child
            if self._stopped:
                child.terminate()
        first_to_go(child.pid)
        words = ""
        assert child.stdout is not None
        with child.stdout:
            for line in filter(None, map(str.strip, child.stdout)):
                if line.isdecimal():
                    self._looked_at[number] = int(line)
                else:
                    self._pass_on(words)
                    words = line
        code = child.wait()
        if code == 0:
            self._pass_on(words)
        return code, words

    def _pass_on(self, words: str) -> None:
        if words and words not in self._passed_on:
            self._passed_on.add(words)
            log.warning("%s", words)

    def _next(self) -> int | None:
        """Wait for a shard to run; None when none is to be begun."""
        with self._changed:
            while not self._stopped and not self.outcome.refused:
                due_s = min(self._elsewhere.values(), default=math.inf) - time.monotonic()
                if not self._waiting and due_s <= 0.0:
                    self._waiting.extend(self._elsewhere)
                    self._elsewhere.clear()
                if self._waiting:
                    self._busy += 1
                    return self._waiting.popleft()
                if self._elsewhere and not self._said:
                    numbers = ", ".join(map(str, self._elsewhere))
                    log.info("waiting for another run, which has these shards: %s", numbers)
                    self._said = True
                if not self._busy and not self._elsewhere:
                    break
                self._changed.wait(due_s if self._elsewhere else None)
        return None

    def _after(self, number: int, code: int, words: str) -> None:
        done = code == 0 and self._done(number)
        with self._changed:
            self._children.pop(number, None)
            self._busy -= 1
            self._changed.notify_all()
            if self._stopped:
                return
            self._looked_at[number] = self._pictures(number) if done else 0
            if code == 0 and not done:
                self._elsewhere[number] = time.monotonic() + AGAIN_S
            elif code == REFUSED:
                self.outcome.refused = words.removeprefix("bear-alarm: ")
            elif code:
                why = f"killed by {signal.Signals(-code).name}" if code < 0 else words or f"exit code {code}"
                self._crashed(number, why)

    def _crashed(self, number: int, why: str) -> None:
        self._crashes[number] += 1
        if self._crashes[number] < TRIES:
            log.warning("shard %d ended too early (%s); it is run once more", number, why)
            self._waiting.append(number)
        else:
            log.warning("shard %d failed %d times (%s); the same command tries it again", number, TRIES, why)
            self.outcome.failed.append(number)
