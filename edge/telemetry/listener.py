"""A listening socket whose clients are few and have little time: the slow and the hanging keep nobody else waiting."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

log = logging.getLogger(__name__)

MOST_CLIENTS = 8
CLIENT_S = 5.0  # for all a client has to send and take: after that its line is cut
ROOM_S = 1.0  # until the one that was cut for a new one has left


class Listener(socketserver.TCPServer):
    """Listens on an address; ``handle(request, address, listener)`` is called for each client in a thread of its own.

    Of more than eight clients the one that has been there longest is cut off. Raises OSError where the port cannot be
    had. Use it in a ``with``.
    """

    # On Windows it would let two programs have the same port.
    allow_reuse_address = os.name != "nt"
    request_queue_size = 16

    def __init__(self, host: str, port: int, handle: Callable[[Any, Any, Any], None], closed: threading.Event) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._handle = handle
        self._closed = closed
        self._slots = threading.Semaphore(MOST_CLIENTS)
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}  # clients whose line is not cut yet, the oldest first
        # The numbers alone: nobody is asked for a name.
        place: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
        super().__init__(place, socketserver.BaseRequestHandler)

    @property
    def port(self) -> int:
        """The port it has."""
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        """The address it has, in numbers."""
        return str(self.server_address[0])

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    def answer_until_closed(self, poll_s: float) -> None:
        """Serve clients until the event it was given is set; looked at every so many seconds. Raises OSError."""
        self.timeout = poll_s
        while not self._closed.is_set():
            self.handle_request()
            self._cut(older_than_s=CLIENT_S)
        self._cut(older_than_s=0.0)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next client."""
        try:
            return super().get_request()
        except OSError:
            # No more handles are to be had: the client still waits, and this thread must not run in a circle.
            self._closed.wait(0.5)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one client in a thread; this one only waits, for a second at most, where all are taken."""
        if not self._slots.acquire(blocking=False):
            self._cut(oldest=True)
            if not self._slots.acquire(timeout=ROOM_S):
                self.shutdown_request(request)
                return
        with self._lock:
            self._since[request] = time.monotonic()
        try:
            threading.Thread(target=self._serve, args=(request, client_address), name="asked", daemon=True).start()
        except RuntimeError:  # no more threads are to be had
            self._leave(request)

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            request.settimeout(CLIENT_S)
            self._handle(request, client_address, self)
        except OSError:  # it has gone, or was cut off
            pass
        except Exception as error:
            log.error("a request could not be answered: internal error (%s)", type(error).__name__, exc_info=error)
        finally:
            self._leave(request)

    def _leave(self, request: socket.socket) -> None:
        with self._lock:
            self._since.pop(request, None)
        self.shutdown_request(request)
        self._slots.release()

    def _cut(self, *, older_than_s: float = float("inf"), oldest: bool = False) -> None:
        """Cut lines: their threads find them closed, and leave."""
        now = time.monotonic()
        with self._lock:
            late = [each for each, since in self._since.items() if now - since >= older_than_s]
            for request in late or [*self._since][: int(oldest)]:
                del self._since[request]
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)


class Bounded:
    """The lines of a stream, ``most`` bytes of them and no more; ``spent`` where it had more to say."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._left = most
        self.spent = False
        self.closed = False

    def readline(self, limit: int = -1) -> bytes:
        """The next line, or what of it may still be read; nothing once all is spent."""
        if self._left <= 0:
            self.spent = True
            return b""
        line = self._stream.readline(self._left if limit < 0 else min(limit, self._left))
        self._left -= len(line)
        return line

    def close(self) -> None:
        """Close the stream."""
        self.closed = True
        self._stream.close()
