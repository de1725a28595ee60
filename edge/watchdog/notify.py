"""What a service manager is told: ready, how it is, still alive. systemd's protocol, sd_notify(3).

It is a datagram of ``NAME=value`` lines to the socket that $NOTIFY_SOCKET names. The libraries for it (sdnotify,
cysystemd) send with a socket that blocks, raise or swallow every error, or need a compiler on the board; none sends
again what did not arrive. So it is written down here.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

SLOW_START_S = 300.0  # a worn card gives 1 MB/s, and onnxruntime, OpenCV and the model are 150 MB
MOST_TEXT = 400  # characters of a status: systemd throws away a message of more than 4096 bytes


class Notifier:
    """Tells the service manager; where there is none, nothing happens. Never raises and never waits.

    What must arrive (ready, reloading, stopping, the status) is sent again with the next message when the socket was
    full or gone. Only from one thread.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watchdog_s = watchdog_s  # to be fed within so many seconds; None: nobody waits for that
        self._address = _address(address) if address else None
        self._clock = clock
        self._owed: dict[str, str] = {}  # what has not arrived yet: "state" and "status" -> lines
        self._status: str | None = None  # the last one that was asked for
        self._failing: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd has set it for this process; read now, once."""
        address = environment.get("NOTIFY_SOCKET")
        return cls(address, watchdog_s=_watchdog_s(environment) if address else None)

    @property
    def present(self) -> bool:
        """Whether a service manager listens, who starts again what ends."""
        return self._address is not None

    def ready(self, text: str) -> bool:
        """It watches, from the start or after a reload; ``text`` for people. Whether that arrived."""
        self._owed["state"] = "READY=1"
        self._set_status(text)
        return self._send()

    def status(self, text: str) -> bool:
        """One line for people, sent when it has changed. Whether all that was asked for has arrived."""
        if text != self._status:
            self._set_status(text)
        return self._send() if self._owed else True

    def feed(self) -> bool:
        """It lives: the watchdog waits anew. Whether that arrived."""
        return self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Starting, reloading or stopping may take so many seconds from now, if that is later than the unit allows."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def reloading(self) -> bool:
        """The configuration is read anew; ``ready`` says when that is done."""
        self._owed["state"] = f"RELOADING=1\nMONOTONIC_USEC={round(self._clock() * 1e6)}"
        return self._send()

    def stopping(self) -> bool:
        """It ends, and means to."""
        self._owed["state"] = "STOPPING=1"
        return self._send()

    def _set_status(self, text: str) -> None:
        # A line break would begin another assignment.
        self._owed["status"] = f"STATUS={' '.join(text.split())[:MOST_TEXT]}"
        self._status = text

    def _send(self, line: str | None = None) -> bool:
        """The line, and what is owed; whether it arrived."""
        if self._address is None:
            self._owed.clear()
            return False
        message = "\n".join([*self._owed.values(), *([line] if line else [])])
        try:
            # One for each message: a manager that was started anew listens under the same name, on another socket.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line_out:
                line_out.setblocking(False)
                line_out.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._failing:
                log.warning("the service manager cannot be told (%s); it is tried again", why)
            self._failing = why
            return False
        self._failing = None
        self._owed.clear()
        return True


def _address(named: str) -> str | None:
    """The socket's address as the kernel takes it; None, and said, for one that is none."""
    if named.startswith("@"):
        return "\0" + named[1:]
    if named.startswith("/") and hasattr(socket, "AF_UNIX"):
        return named
    log.warning("$NOTIFY_SOCKET is %r, which is no socket on this machine; no service manager is told anything", named)
    return None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Within how many seconds this very process is to be fed, by $WATCHDOG_USEC and $WATCHDOG_PID."""
    given, pid = environment.get("WATCHDOG_USEC"), environment.get("WATCHDOG_PID")
    if not given or pid not in {None, "", str(os.getpid())}:
        return None  # it is another's: a child inherits the environment
    if not given.isdecimal() or int(given) == 0:
        log.warning("$WATCHDOG_USEC is %r and no time in microseconds; the watchdog is not fed", given)
        return None
    return int(given) / 1e6
