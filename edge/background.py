"""Work in other threads, so that the alarm waits for no disk, driver, sink or command.

``start_thread``        a thread whose result nobody needs
``step_back``           for work that nothing waits for: other threads go first
``call_in_thread``      one call in a thread of its own, and a Future of its result
``DeadlineExecutor``    the guard for calls that may hang: one after the other, none awaited longer than its deadline
``call_with_deadline``  one such call; if it hangs, its thread is left behind
``Worker``              a bounded queue and a thread that works it off; a call that hangs is left behind
``StoppableThread``     something that goes on for a while, until its time is over
``cores``               how many threads can be at work at the same time
``in_order``            many items in several threads, the results in the order of the items

Threads are daemons: one that hangs does not keep the program from ending.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from edge.schema import Event

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item")
Sink = Callable[["Event"], Any]
Answered = Callable[[Item, str | None, float], None]  # the item, what went wrong (None: nothing), milliseconds

NICE = 10  # of threads that nothing waits for
IDLE_S = 15.0  # an executor's thread waits so long for more: a new one for each call takes a millisecond
MAX_HUNG = 3  # calls of a worker that hang at the same time: each keeps a thread, and what it was given
AT_END_S = 2.0  # the limit for a sink's own end
SINK_DEADLINE_S = 30.0
MAX_AHEAD = 32  # items a thread may be ahead of the slowest one, so that a long clip does not stop the others


NO_ANSWER = "no answer"  # of what was tried, in time


class DeadlineError(Exception):
    """A call took too long, and was left behind."""


def first_to_go(process: int | str = "self") -> None:
    """Have the system end this process before others when memory is short (Linux): never the alarm for it."""
    with suppress(OSError):  # not every system has it, or lets it be written
        Path(f"/proc/{process}/oom_score_adj").write_text("1000")


def step_back() -> None:
    """Give this thread a low priority, and those that it starts (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def start_thread(work: Callable[[], object], name: str) -> threading.Thread:
    """Start ``work()`` in a thread and return it, to join; an error that ends it is printed with its traceback."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def call_in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Start ``work()`` in a thread, for a caller who needs its result. Raises RuntimeError without threads left."""
    future: Future[T] = Future()
    start_thread(partial(_complete, future, work), name)
    return future


def _complete(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


@dataclass(eq=False, slots=True)
class _ExecutorCall:
    work: Callable[[], Any]
    name: str | None
    future: Future[Any] = field(default_factory=Future)


class DeadlineExecutor:
    """Calls one after the other in one thread, such as all that is asked of one disk."""

    def __init__(self, name: str = "the disk") -> None:
        self.name = name  # of its thread
        self._changed = threading.Condition()
        self._alone = threading.Lock()  # one call at a time, also where no thread can be started
        self._serving = self._closed = False
        self._calls: deque[_ExecutorCall] = deque()
        self._since: float | None = None  # when the call under way began, time.monotonic()

    @property
    def busy_s(self) -> float:
        """Seconds since the call under way began; 0 while there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def __call__(self, work: Callable[[], T], within_s: float, name: str | None = None) -> T:
        """Return what ``work()`` returns, or raise what it raises.

        Raises DeadlineError once one call, this or another, takes ``within_s`` seconds. Work with a ``name`` is done
        all the same as soon as it can be, once for all that asked for it before it began; other work is dropped.
        """
        with self._changed:
            call = next((each for each in self._calls if name and each.name == name), None)
            if call is None:
                call = _ExecutorCall(work, name)
                self._calls.append(call)
            if self._serve_in_thread():
                self._await(call, within_s)
            else:
                self._calls.remove(call)
        if not call.future.done():
            with self._alone:
                return work()
        result: T = call.future.result()
        return result

    def close(self) -> None:
        """Let the thread end as soon as there is nothing to do; later calls are done all the same."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve_in_thread(self) -> bool:
        """Have a thread at work; False where none can be started, as at the very end of a program."""
        if not self._serving:
            try:
                start_thread(self._serve, self.name)
            except RuntimeError:
                return False
            self._serving = True
        if self._since is None:
            self._since = time.monotonic()
            self._changed.notify_all()
        return True

    def _await(self, call: _ExecutorCall, within_s: float) -> None:
        while not call.future.done():
            left_s = within_s - self.busy_s
            if left_s <= 0.0:
                if call.name is None and call in self._calls:
                    self._calls.remove(call)
                raise DeadlineError(f"{self.name}: no answer within {within_s:g} s")
            self._changed.wait(left_s)

    def _serve(self) -> None:
        while call := self._next():
            with self._alone:
                _complete(call.future, call.work)
            del call  # held while waiting for the next one, a frame would cost 2.7 MB
            with self._changed:
                self._since = None
                self._changed.notify_all()

    def _next(self) -> _ExecutorCall | None:
        """Wait for a call; None when none came for a while, or none will."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._closed, IDLE_S)
            if not self._calls:
                self._serving, self._since = False, None
                return None
            self._since = time.monotonic()
            return self._calls.popleft()


def call_with_deadline(work: Callable[[], T], within_s: float, name: str) -> T:
    """Return what ``work()`` returns, or raise what it raises. Raises DeadlineError when it takes longer."""
    executor = DeadlineExecutor(name)
    try:
        return executor(work, within_s, name)
    finally:
        executor.close()


class StoppableThread:
    """Does ``work(stint)`` in its own thread until its time is over; asked again meanwhile, it goes on for longer.

    The work waits only by ``wait`` and ``wait_for_more``, and leaves things as they should be however it ends.
    Safe to use from any thread.
    """

    def __init__(self, work: Callable[[StoppableThread], None], name: str) -> None:
        self.name = name
        self.asked = 0  # how often
        self._work = work
        self._changed = threading.Condition()
        self._until = 0.0  # time.monotonic(), seconds
        self._going = False
        self._closed = False

    @property
    def going(self) -> bool:
        """Return True if it is at work."""
        return self._going

    @property
    def over(self) -> bool:
        """Return True if its time is over."""
        return time.monotonic() >= self._until

    def run_for(self, seconds: float) -> bool:
        """Work until so many seconds from now, never for shorter than was asked before; True when it began just now.

        Raises RuntimeError once it is closed, and where no thread is to be had.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self.name} is over, for the alarm ends")
            self._until = max(self._until, time.monotonic() + seconds)
            self.asked += 1
            begun, self._going = not self._going, True
            self._changed.notify_all()
            if begun:
                try:
                    start_thread(self._run, self.name)
                except RuntimeError:
                    self._going = False
                    raise
        return begun

    def stop(self, within_s: float = 0.0) -> bool:
        """End it now, and wait for that at most so many seconds; False when it takes longer."""
        with self._changed:
            self._until = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._going, within_s)

    def close(self, within_s: float = 0.0) -> bool:
        """As ``stop``, and for good: what is asked from now on is refused."""
        self._closed = True
        return self.stop(within_s)

    def wait(self, seconds: float) -> bool:
        """For the work: wait so many seconds; True when its time is over, at once then."""
        with self._changed:
            end = time.monotonic() + seconds
            while not self.over and (left_s := min(end, self._until) - time.monotonic()) > 0.0:
                self._changed.wait(left_s)
            return self.over

    def wait_for_more(self, asked: int) -> bool:
        """For the work: wait until it was asked more often than ``asked``; False when its time is over before."""
        with self._changed:
            while not self.over and self.asked == asked:
                self._changed.wait(max(self._until - time.monotonic(), 0.0))
            return not self.over

    def _run(self) -> None:
        while True:
            failed, asked = False, self.asked
            try:
                self._work(self)
            except Exception as error:  # a thread that dies would leave it "going" for ever
                failed = True
                log.warning("%s failed: %s", self.name, error or type(error).__name__)
            with self._changed:
                # Asked again between the work's last look and now: it begins again.
                if failed or self.over or self.asked == asked:
                    self._going = False
                    self._changed.notify_all()
                    return


class _Call(Generic[Item]):
    def __init__(self, item: Item, put_at: float) -> None:
        self.item = item
        self.waited_s = time.monotonic() - put_at
        self.over = False
        self.left = False  # it hangs: others go on without it
        self.problem: str | None = None
        self.took_ms = 0.0


class Worker(Generic[Item]):
    """Calls ``work(item, waited_s)`` in its own thread; calling the worker only puts the item in the queue.

    Work that raises is logged and counted in ``failures``; the next item is tried again. When ``depth`` items
    wait, the oldest is given up and counted in ``dropped``: the newest matters most.

    A call that takes longer than ``deadline_s`` seconds (None: it may take for ever) is counted in ``hung`` and left
    behind in its thread, and another thread goes on with the next item. When three hang, items are dropped until
    one of them returns. ``answered`` is called with each item that was worked on or dropped so; it returns at once.
    ``at_end`` is called once, by ``close``. What is not ``wanted`` (None: everything is) is neither queued nor
    counted: nothing was tried then, so nothing is known to be well again.
    """

    def __init__(
        self,
        work: Callable[[Item, float], Any],
        name: str,
        *,
        depth: int = 64,
        deadline_s: float | None = None,
        answered: Answered[Item] | None = None,
        at_end: Callable[[], Any] | None = None,
        wanted: Callable[[Item], bool] | None = None,
    ) -> None:
        self.name = name
        self.depth = depth
        self.deadline_s = deadline_s
        self.answered = answered
        self.done = 0  # calls that returned, late ones too
        self.failures = 0  # calls that raised, late ones too
        self.dropped = 0  # items that were never worked on
        self.hung = 0  # calls that passed the deadline
        self.hanging = 0  # calls that hang now, 0 to 3
        self.last_error: str | None = None
        self.last_ms: float | None = None  # of the last call that ended in time
        self._wanted = wanted
        self._work = work
        self._at_end = at_end
        self._waiting: deque[tuple[Item, float]] = deque()  # with the time it was put, time.monotonic()
        self._changed = threading.Condition()
        self._busy = False  # an item is being worked on
        self._executor = DeadlineExecutor(name)
        self._closing = self._over = False
        self._failing: str | None = None  # what the last call raised
        self._logged_dropped = 0
        start_thread(self._serve, name)

    def __call__(self, item: Item) -> None:
        """Put the item in the queue, if it is wanted; returns at once."""
        if not self.wants(item):
            return
        with self._changed:
            if self._over:
                self.dropped += 1
                return
            if len(self._waiting) >= self.depth:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((item, time.monotonic()))
            self._changed.notify_all()

    def wants(self, item: Item) -> bool:
        """Return True if the item would be worked on, and answered."""
        return self._wanted is None or self._wanted(item)

    def problem(self) -> str | None:
        """Return one sentence while calls hang, or when the last one failed; None while all is well."""
        if self.hanging:
            return f"{self.name} hangs: {self._hung_words} ({self.hanging} of {MAX_HUNG})"
        return f"{self.name} failed: {self._failing}" if self._failing else None

    def note(self, problem: str | None) -> None:
        """Note how a call of the same work went that was made beside this worker, such as a test."""
        with self._changed:
            self._failing = problem
            self.last_error = problem or self.last_error

    def status(self) -> str:
        """Return one line for people: what was done, and what went wrong."""
        words = [f"{self.done} done" + ("" if self.last_ms is None else f" (the last call took {self.last_ms:.0f} ms)")]
        counts = (self.failures, "failed"), (self.dropped, "dropped"), (self.hung, "hung")
        words += [f"{count} {what}" for count, what in counts if count]
        if self.hanging:
            words[-1] += f" ({self.hanging} of them still)"
        error = f"; last error: {self.last_error}" if self.last_error else ""
        return f"{self.name}: {', '.join(words)}{error}"

    def close(self, within_s: float) -> bool:
        """Finish what waits, for at most so many seconds; False, and logged, when something was left or hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._busy, max(within_s, 0.0))
            left = len(self._waiting) + self._busy + self.hanging
            at_end, self._at_end = self._at_end, None
        if left:
            log.warning("%s: %d left undone, for time is up", self.name, left)
        if at_end:
            try:  # a sink that hangs may hang here as well
                call_with_deadline(at_end, AT_END_S, f"{self.name}, the end")
            except Exception as error:
                log.warning("%s: its end failed: %s", self.name, error or type(error).__name__)
        return not left

    def _serve(self) -> None:
        """In the worker's thread: one item after the other, until it is closed and all is done."""
        while self._one():
            pass
        self._executor.close()

    def _one(self) -> bool:
        """Wait for an item and see to it; False: there will be none."""
        # Nothing of the item outlives this call, as in the executor.
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                self._over = True
                return False
            item, put_at = self._waiting.popleft()
            self._busy = True
            more = self.dropped - self._logged_dropped
            self._logged_dropped = self.dropped
        if more:  # logged here: a terminal that takes no words must not hold up the loop
            log.warning("%s is too slow: %d left undone so far", self.name, self.dropped)
        if self.hanging >= MAX_HUNG:
            with self._changed:
                self.dropped += 1
            self._answer(item, f"dropped, for {MAX_HUNG} calls before it hang", 0.0)
        else:
            self._see_to(_Call(item, put_at))
        with self._changed:
            self._busy = False
            self._changed.notify_all()
        return True

    def _see_to(self, call: _Call[Item]) -> None:
        """Have the item worked on; a call past the deadline is left behind."""
        if self.deadline_s is None:
            self._carry_out(call)
        else:
            with suppress(DeadlineError):
                self._executor(partial(self._carry_out, call), self.deadline_s, self.name)
        with self._changed:
            call.left = not call.over
            if call.left:
                self._executor.close()
                self._executor = DeadlineExecutor(self.name)
                self.hanging += 1
                self.hung += 1
                self.last_error = call.problem = self._hung_words
                call.took_ms = (self.deadline_s or 0.0) * 1000.0
        problem, took_ms = call.problem, call.took_ms
        if call.left:
            then = "what comes is dropped until one returns" if self.hanging >= MAX_HUNG else "going on without it"
            log.warning("%s hangs: %s (%d of %d); %s", self.name, problem, self.hanging, MAX_HUNG, then)
        elif problem:
            log.warning("%s failed: %s", self.name, problem)
        self._answer(call.item, problem, took_ms)

    def _carry_out(self, call: _Call[Item]) -> None:
        problem: str | None = None
        began = time.monotonic()
        try:
            self._work(call.item, call.waited_s)
        except (Exception, SystemExit) as error:  # whatever one sink does, the others and the loop go on
            problem = str(error) or type(error).__name__
        took_s = time.monotonic() - began
        with self._changed:
            self.done += problem is None
            self.failures += problem is not None
            self.last_error = problem or self.last_error
            if call.left:
                self.hanging -= 1
            else:
                self._failing = call.problem = problem
                self.last_ms = call.took_ms = took_s * 1000.0
                call.over = True
        if call.left:
            log.warning("%s %s (after %.0f s)", self.name, f"failed: {problem}" if problem else "came back", took_s)

    @property
    def _hung_words(self) -> str:
        return f"no answer within {self.deadline_s:g} s"

    def _answer(self, item: Item, problem: str | None, took_ms: float) -> None:
        if self.answered is None:
            return
        try:
            self.answered(item, problem, took_ms)
        except Exception as error:
            log.error("%s: internal error (%s: %s)", self.name, type(error).__name__, error)


def in_background(
    sink: Sink,
    name: str,
    *,
    depth: int = 64,
    deadline_s: float | None = SINK_DEADLINE_S,
    answered: Answered[Event] | None = None,
    at_end: Callable[[], Any] | None = None,
    wanted: Callable[[Event], bool] | None = None,
) -> Worker[Event]:
    """Return the sink with its own worker; its events' latency runs up to the moment the sink is called."""

    def call(event: Event, waited_s: float) -> None:
        late = None if event.latency_ms is None else round(event.latency_ms + waited_s * 1000.0, 2)
        sink(replace(event, latency_ms=late))

    return Worker(call, name, depth=depth, deadline_s=deadline_s, answered=answered, at_end=at_end, wanted=wanted)


def cores() -> int:
    """Count the cores that this program may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Generator[R, None, None]:
    """Yield ``work`` of each item in the items' order, from so many threads.

    Items are taken as they are needed: at most ``MAX_AHEAD`` a thread wait. Closing the iterator drops what has not
    begun, and does not wait for what has.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="look")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= MAX_AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
