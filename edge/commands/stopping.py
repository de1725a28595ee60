"""What signals do: the first one ends the alarm in good order, and whatever happens then, noises and relays go off."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

log = logging.getLogger(__name__)

SAME_S = 1.0  # a second signal so soon is the same one: `timeout` sends two, and an impatient finger as well
SILENT_S = 0.5  # what silencing may take before the hard way
LAST_S = 30.0  # after the first signal: a terminal that takes no words must not keep a relay, or us

HANGUP = getattr(signal, "SIGHUP", None)
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop(threading.Event):
    """Set by the first signal; what ``silenced_by`` was told is called then, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False  # it was, once
        self.hung_up = False  # SIGHUP came, and means that the config is to be read again
        self._silence: Callable[[], object] = lambda: None

    def silenced_by(self, silence: Callable[[], object]) -> None:
        """``silence`` is what ends every noise; called at once where it is late already."""
        self._silence = silence
        if self.is_set():
            self.silence()

    def silence(self) -> None:
        """End every noise; whatever goes wrong with that, the rest of the ending goes on."""
        try:
            self._silence()
        except Exception as error:
            log.warning("noises could not be ended: %s", error or type(error).__name__)
        finally:
            self.silent = True


@contextmanager
def stop_on_signal(*, reloads: bool = False) -> Iterator[Stop]:
    """Set by SIGINT, SIGTERM and SIGHUP; another of them, a second or more later, ends the program the hard way.

    ``reloads``: SIGHUP only sets ``hung_up``, and is nothing once it ends, for as long as a terminal that was there is
    not closed.

    So does half a minute after the first, also behind this block, where last words may be said to a terminal that takes
    none. In any case what makes a noise is silenced first.
    """
    stop = Stop()
    numbers: SimpleQueue[int] = SimpleQueue()  # a handler may put here whatever it interrupts
    before: dict[signal.Signals, Any] = {}
    first = math.inf

    terminal = _terminals() if reloads else []

    def handle(number: int, _: object) -> None:
        nonlocal first
        if reloads and number == HANGUP and (not terminal or _terminals()):
            stop.hung_up = True
            return
        if first == math.inf:
            first = time.monotonic()
            numbers.put(number)
        elif time.monotonic() - first >= SAME_S:
            until = time.monotonic() + SILENT_S
            while not stop.silent and time.monotonic() < until:
                time.sleep(0.01)
            os._exit(128 + number)  # no goodbyes: threads that hang in a driver would abort the interpreter's own

    def the_end() -> None:
        number = numbers.get()
        if not number:
            return
        stop.set()
        stop.silence()
        time.sleep(max(0.0, first + LAST_S - time.monotonic()))
        stop.silence()
        os._exit(128 + number)

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
        if first == math.inf:
            numbers.put(0)
        until = time.monotonic() + 2 * SILENT_S
        while first < math.inf and not stop.silent and time.monotonic() < until:
            time.sleep(0.01)
        for number, handler in before.items():
            # A second Ctrl-C on the way out, or the second signal of `timeout`, must not end it the hard way.
            signal.signal(number, signal.SIG_IGN if first < math.inf else handler)


def _terminals() -> list[int]:
    """Which of what is read and written is a terminal; one that was closed is none any more."""
    return [number for number in range(3) if os.isatty(number)]
