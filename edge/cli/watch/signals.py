"""Handle signals: the first one ends the alarm in good order.

Whatever happens then, noises and relays go off.
"""

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
from typing import TYPE_CHECKING, Any

from edge.background import start_thread

if TYPE_CHECKING:
    from edge.record.trace import Trace

log = logging.getLogger(__name__)

SAME_S = 1.0  # a second signal so soon is the same one: `timeout` sends two, and an impatient finger as well
SILENT_S = 0.5  # what silencing may take before the program ends at once
LAST_S = 30.0  # after the first signal: a terminal that takes no words must not keep a relay on

HANGUP = getattr(signal, "SIGHUP", None)
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop(threading.Event):
    """Set by the first signal; what was given to ``silenced_by`` is called then, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False  # it was, once
        self.hung_up = False  # SIGHUP came: the config is to be read again
        self._silence: Callable[[], object] = lambda: None

    def silenced_by(self, silence: Callable[[], object]) -> None:
        """``silence`` is what ends every noise; called at once where it is late already."""
        self._silence = silence
        if self.is_set():
            self.silence()

    def ask_reload(self) -> None:
        """Have the config read again, as SIGHUP does; from any thread."""
        self.hung_up = True

    def silence(self) -> None:
        """End every noise; whatever goes wrong with that, the program still ends."""
        try:
            self._silence()
        except Exception as error:
            log.warning("noises could not be ended: %s", error or type(error).__name__)
        finally:
            self.silent = True


@contextmanager
def stop_on_signal(*, reloads: bool = False) -> Iterator[Stop]:
    """Set an event on SIGINT, SIGTERM and SIGHUP. A second signal, at least a second later, ends the program at once.

    So does half a minute after the first signal, also behind this block: a terminal may take no more words. In any
    case what makes a noise is silenced first. ``reloads``: SIGHUP only sets ``hung_up``, unless the terminal of the
    start was closed; while the program ends it does nothing.
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
            os._exit(128 + number)  # at once: threads that hang in a driver would abort the interpreter's own end

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
        start_thread(the_end, "the end")
        for number in ENDING:
            # nohup: the terminal's end changes nothing. Ctrl-C ends it also where a shell has it ignored.
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
            # A second Ctrl-C on the way out, or the second signal of `timeout`, must not end it at once.
            signal.signal(number, signal.SIG_IGN if first < math.inf else handler)


def _terminals() -> list[int]:
    """Return which of the three streams are a terminal that is still open."""
    return [number for number in range(3) if os.isatty(number)]


@contextmanager
def dump_on_request(recorder: Callable[[], Trace | None]) -> Iterator[None]:
    """Let SIGUSR1 write everything that is in memory, so that `why` can look at the last minutes."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def flush(*_: object) -> None:
        if trace := recorder():
            trace.flush("SIGUSR1")

    # Handled without a trace too: what nobody handles ends the program.
    before = signal.signal(signal.SIGUSR1, flush)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
