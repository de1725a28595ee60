"""Work done in several threads, handed over in order: OpenCV and onnxruntime let other threads run meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 32  # items a thread may be ahead of the slowest one, so that a long clip does not stop the others


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Generator[R, None, None]:
    """Yield ``work`` of each item in the items' order, from so many threads.

    Items are taken as they are needed: at most ``AHEAD`` a thread wait. Closing the iterator drops what has not
    begun, and does not wait for what has.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="look")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
