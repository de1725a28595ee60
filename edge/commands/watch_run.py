"""How ``bear-alarm watch`` runs and ends: a thread for each camera, and what signals do."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge.commands.watch_words import progress
from edge.errors import SourceError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.trace import Trace
    from edge.watch import Watcher

log = logging.getLogger(__name__)

RESTART_S = 1.0  # after a fault of ours a camera is watched again
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end


def run(
    sources: list[Source],
    watchers: list[Watcher],
    stop: threading.Event,
    tick: Callable[[], None],
    *,
    show: bool,
) -> list[BaseException]:
    """One thread for each camera; this one shows the progress, ticks ten times a second, and waits for a signal."""
    failed: list[BaseException] = []

    def look(opened: Source, watcher: Watcher) -> None:
        while True:
            try:
                watcher(opened)
                return
            except Exception as error:
                if not isinstance(error, SourceError):
                    log.error("%s: a fault of ours (%s: %s)", opened.name, type(error).__name__, error)
                    log.debug("%s", opened.name, exc_info=error)
                elif len(sources) > 1:
                    log.error("%s", error)
                if isinstance(error, SourceError) or not opened.live or stop.is_set():
                    failed.append(error)  # raised by the main thread once the others are done
                    return
                watcher.failed(opened.name, error)
            stop.wait(RESTART_S)

    threads = [
        threading.Thread(target=look, args=pair, name=f"watch {pair[0].name}", daemon=True)
        for pair in zip(sources, watchers, strict=True)
    ]
    for thread in threads:
        thread.start()
    with progress(sources, watchers, show) as update:
        while any(thread.is_alive() for thread in threads) and not stop.wait(0.1):
            update()
            tick()
    for opened in sources:
        opened.close()
    until = time.monotonic() + DRAIN_STOPPED_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return failed


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; another of them, a second or more later, ends the program the hard way.

    Sooner it is the same one: ``timeout`` sends two, and an impatient finger as well.
    """
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}
    first = math.inf

    def handle(number: int, _: object) -> None:
        nonlocal first
        if time.monotonic() - first >= 1.0:
            os._exit(128 + number)  # no goodbyes: threads that hang in a driver would abort the interpreter's own
        first = min(first, time.monotonic())
        stop.set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # A second Ctrl-C on the way out, or the second signal of `timeout`, must not end it the hard way.
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)


@contextmanager
def dump_on_request(recorder: Trace | None) -> Iterator[None]:
    """SIGUSR1 has everything written that is in memory, so that `why` can look at the last minutes."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def flush(*_: object) -> None:
        if recorder:
            recorder.flush("SIGUSR1")

    # Handled without a trace too: what nobody handles ends the program.
    before = signal.signal(signal.SIGUSR1, flush)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
