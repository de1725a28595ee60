"""How far ``watch`` is in files, as a bar on a terminal."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge.background import call_in_thread

if TYPE_CHECKING:
    from edge.alarm import Alarm

PATIENCE_S = 2.0  # what takes less needs no bar
STEP_S = 0.2
GOODBYE_S = 0.5


@contextmanager
def progress(alarm: Alarm, show: bool) -> Iterator[None]:
    """Show a bar over the seconds of footage, on a terminal, for files that take over two seconds.

    It is drawn in a thread of its own: a terminal that is paused holds up nobody.
    """
    lengths = [thread.source.length_s for thread in alarm.threads]
    if not show or sys.stderr is None or not sys.stderr.isatty() or any(length is None for length in lengths):
        yield
        return
    over = threading.Event()
    total = sum(length or 0.0 for length in lengths)
    drawing = call_in_thread(partial(_draw, alarm, total, over), "progress")
    try:
        yield
    finally:
        over.set()
        concurrent.futures.wait([drawing], GOODBYE_S)


def _draw(alarm: Alarm, total: float, over: threading.Event) -> None:
    if over.wait(PATIENCE_S):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.completed:.0f} of {task.total:.0f} s"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("watching", total=total)
        while not over.wait(STEP_S):
            bar.update(task, completed=sum(thread.watcher.stats.footage_s for thread in alarm.threads))
