"""A progress bar on stderr, for what takes longer than two seconds; in a log a line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress


T = TypeVar("T")
log = logging.getLogger(__name__)

PATIENCE_S = 2.0
LINE_S = 30.0  # until the first line where there is no terminal; each comes after twice the time of the one before


def track(iterable: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """Yield the items of ``iterable``, with a bar called ``words`` once they have taken over two seconds.

    ``total`` is how many are to come; by default the iterable's length, and where it has none the bar has no end.
    Where stderr is no terminal, lines show how far it is.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not sys.stderr.isatty():
        yield from _in_lines(iterable, words, total)
        return
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


def _in_lines(iterable: Iterable[T], words: str, total: int | None) -> Iterator[T]:
    started, due_s = time.monotonic(), LINE_S
    for done, item in enumerate(iterable):
        lasted_s = time.monotonic() - started
        if lasted_s >= due_s:
            far = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            log.info("%s: %s after %.0f s", words, far, lasted_s)
            due_s = 2 * lasted_s
        yield item


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


# A number and its noun, as every command writes them.


def counted(number: int, what: str) -> str:
    """Return a number with its noun: ``1 alarm``, ``2,000 alarms``."""
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"
