"""How ``bear-alarm watch`` runs: a thread for each camera, and what signals do."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge.commands.watch_progress import progress
from edge.errors import SourceError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.trace import Trace
    from edge.watch import Watcher

log = logging.getLogger(__name__)

RESTART_S = 1.0  # after a fault of ours a camera is watched again, later each time that no frame was looked at
MOST_RESTART_S = 30.0
CLOSE_S = 3.0  # a camera lets go within a second or two
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end


def run(
    sources: list[Source],
    watchers: list[Watcher],
    stop: threading.Event,
    tick: Callable[[], None],
    *,
    show: bool,
) -> list[BaseException]:
    """One thread for each camera; this one ticks ten times a second, and waits for a signal."""
    failed: list[BaseException] = []

    def look(opened: Source, watcher: Watcher) -> None:
        pause_s, said = RESTART_S / 2, ""
        while True:
            before = watcher.tally.frames
            try:
                watcher(opened)
                return
            except Exception as error:
                words = f"{type(error).__name__}: {error}"
                if not isinstance(error, SourceError):
                    level = logging.DEBUG if words == said else logging.ERROR  # again and again, it would fill the log
                    log.log(level, "%s: a fault of ours (%s)", opened.name, words)
                    log.debug("%s", opened.name, exc_info=error)
                elif len(sources) > 1:
                    log.error("%s", error)
                if isinstance(error, SourceError) or not opened.live or stop.is_set():
                    failed.append(error)  # raised by the main thread once the others are done
                    _try(watcher.close, opened.name)
                    return
                said, fault = words, error
            _try(partial(watcher.failed, opened.name, fault), opened.name)
            looked = watcher.tally.frames > before
            pause_s = RESTART_S if looked else min(2 * pause_s, MOST_RESTART_S)
            stop.wait(pause_s)

    threads = [
        threading.Thread(target=look, args=pair, name=f"watch {pair[0].name}", daemon=True)
        for pair in zip(sources, watchers, strict=True)
    ]
    for thread in threads:
        thread.start()
    with progress(sources, watchers, show):
        while any(thread.is_alive() for thread in threads) and not stop.wait(0.1):
            tick()
    _close(sources)
    until = time.monotonic() + DRAIN_STOPPED_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return failed


def _close(sources: list[Source]) -> None:
    """All side by side: each may take a second to be let go of."""
    closing = [threading.Thread(target=opened.close, name=f"closing {opened.name}", daemon=True) for opened in sources]
    for thread in closing:
        thread.start()
    until = time.monotonic() + CLOSE_S
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))


def _try(tell: Callable[[], object], name: str) -> None:
    """Tell of a fault of ours; where that fails too the camera is watched on all the same."""
    try:
        tell()
    except Exception:
        log.exception("%s: a fault of ours could not be told", name)


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
