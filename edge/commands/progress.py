"""A progress bar on stderr, for what takes longer than two seconds, and only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

PATIENCE_S = 2.0


def track(iterable: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """The items of ``iterable``, with a bar called ``words`` once they have taken over two seconds.

    ``total`` is how many are to come; left out, it is asked of the iterable, and a bar without an
    end shows where nobody knows.
    """
    if not sys.stderr.isatty():
        yield from iterable
        return
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    started, bar = time.monotonic(), None
    try:
        for done, item in enumerate(iterable):
            if bar is None and time.monotonic() - started > PATIENCE_S:
                bar = _start(words, total)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done)
            yield item
        if bar is not None and total is not None:
            bar.update(bar.task_ids[0], completed=total)
    finally:
        if bar is not None:
            bar.stop()


def _start(words: str, total: int | None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Redirected lines come out on this console: what goes into a file or pipe must not.
        redirect_stdout=sys.stdout.isatty(),
    )
    bar.add_task(words, total=total)
    bar.start()
    return bar
