"""What signals do: the first one ends the alarm in good order, and whatever happens then, noises and relays go off."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SAME_S = 1.0  # a second signal so soon is the same one: `timeout` sends two, and an impatient finger as well
SILENT_S = 0.5  # what silencing may take before the hard way
LAST_S = 30.0  # after the first signal: a terminal that takes no words must not keep a relay, or us

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop(threading.Event):
    """Set by the first signal. ``silence`` is called at once then, in a thread of its own; it may be set later."""

    def __init__(self) -> None:
        super().__init__()
        self.silence: Callable[[], object] = lambda: None


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Set by SIGINT, SIGTERM and SIGHUP; another of them, a second or more later, ends the program the hard way.

    So does half a minute after the first. In any case what makes a noise is silenced first.
    """
    stop, woken, silent, over = Stop(), threading.Event(), threading.Event(), threading.Event()
    before: dict[signal.Signals, Any] = {}
    first, code = math.inf, 0

    def handle(number: int, _: object) -> None:
        nonlocal first, code
        if time.monotonic() - first >= SAME_S:
            silent.wait(SILENT_S)
            os._exit(128 + number)  # no goodbyes: threads that hang in a driver would abort the interpreter's own
        if not stop.is_set():
            first, code = time.monotonic(), 128 + number
            stop.set()
            woken.set()

    def the_end() -> None:
        woken.wait()
        if not stop.is_set():
            return
        stop.silence()
        silent.set()
        if not over.wait(LAST_S):
            os._exit(code)

    if threading.current_thread() is threading.main_thread():
        threading.Thread(target=the_end, name="the end", daemon=True).start()
        for number in ENDING:
            # nohup: the end of the terminal is not ours. A shell has programs in the background ignore Ctrl-C; not us.
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        if stop.is_set():
            silent.wait(2 * SILENT_S)
        over.set()
        woken.set()
        for number, handler in before.items():
            # A second Ctrl-C on the way out, or the second signal of `timeout`, must not end it the hard way.
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)
