"""Serve HTTP from a thread of its own, which the alarm never waits for.

uvicorn reads requests and writes responses. Added here: a port that cannot be had is tried again, no client may be
slow or silent for long, and no more than so many are let in. The thread yields to the alarm's own where both want the
processor (Linux).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from edge.alert.redact import error_words
from edge.background import start_thread
from edge.settings import parse_listen

if TYPE_CHECKING:
    import ssl

    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

PORT_RETRY_MIN_S = 1.0  # until a port that could not be had is tried again: one just given up is free in a moment
PORT_RETRY_MAX_S = 60.0  # then twice as long each time, up to this
MAX_CLIENTS = 64
REQUEST_S = 5.0  # for a client to send its whole request
STALLED_S = 20.0  # of a client that takes nothing of what is sent to it
KEEP_ALIVE_S = 15
HEAD_MAX_BYTES = 16_384
NICE = 10
POLL_S = 0.2


class WebServer:
    """Serves ``app`` on ``listen``, ADDRESS:PORT, until it is closed.

    ``context``: TLS, made anew each time the port is opened; it may raise OptionError, which is then the ``problem``.
    Raises OptionError for what is no address.
    """

    def __init__(
        self, listen: str, app: ASGIApp, name: str, *, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self.listen = listen
        self.name = name
        self._host, self._wanted_port = parse_listen(listen)
        self._shown = f"[{self._host}]" if ":" in self._host else self._host
        self._app = app
        self._context = context
        self._closed = threading.Event()
        self._problem: str | None = None
        self._door: _Door | None = None
        self._tls: ssl.SSLContext | None = None
        self._open()
        self._thread = start_thread(self._run, name)

    @property
    def port(self) -> int | None:
        """Return the port it listens on; None while it has none."""
        return self._door.port if self._door else None

    @property
    def address(self) -> str:
        """Return where it is, as the first part of a URL: ``http://127.0.0.1:8470``."""
        return f"{'https' if self._context else 'http'}://{self._shown}:{self.port or self._wanted_port}"

    @property
    def loopback(self) -> bool:
        """Return True if only this machine reaches it."""
        return ipaddress.ip_address(self._host.partition("%")[0]).is_loopback

    def problem(self) -> str | None:
        """Return why it does not listen now, in one sentence; None while all is well."""
        return self._problem

    def close(self) -> None:
        """Stop listening. May be called twice."""
        self._closed.set()
        self._thread.join(3.0)

    def _open(self) -> None:
        """Take the port, or note why it cannot be had."""
        from edge.errors import OptionError

        door = None
        try:
            door = _Door(self._host, self._wanted_port)
            self._tls = self._context() if self._context else None
        except (OSError, OptionError) as error:
            if isinstance(error, OSError):
                what = f"{self._shown}:{self._wanted_port} cannot be listened on ({error_words(error)})"
                problem = f"{what}; give another port, or end what has it"
            else:
                problem = f"{self._shown}:{self._wanted_port} is not served: {error}"
            if door:
                door.close()
            if problem != self._problem:
                log.warning("%s: %s; tried again", self.name, problem)
            self._problem = problem
        else:
            self._door, self._problem = door, None

    def _run(self) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        pause_s = PORT_RETRY_MIN_S
        while not self._closed.is_set():
            if self._door is None:
                if self._closed.wait(pause_s):
                    break
                pause_s = min(2.0 * pause_s, PORT_RETRY_MAX_S)
                self._open()
                continue
            try:
                asyncio.run(self._serve(self._door))
            except Exception as error:  # an interface that went away, or a fault of ours: the alarm goes on
                self._problem = f"{self.address} was lost ({type(error).__name__}: {error}) and is opened again"
                log.error("%s: %s", self.name, self._problem, exc_info=error)
            else:
                pause_s = PORT_RETRY_MIN_S
            finally:
                self._door.close()
                self._door = None

    async def _serve(self, door: _Door) -> None:
        """Serve until closed."""
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would log what strangers send
        config = uvicorn.Config(
            self._app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S, h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        )  # fmt: skip
        config.load()
        state = ServerState()
        state.default_headers = [(b"server", b"bear-alarm")]
        loop = asyncio.get_running_loop()
        # asyncio's own pool would be 32 threads of 8 MB of addresses each.
        import anyio.to_thread

        anyio.to_thread.current_default_thread_limiter().total_tokens = 4
        more: dict[str, Any] = {"ssl": self._tls, "ssl_handshake_timeout": REQUEST_S} if self._tls else {}
        server = await loop.create_server(lambda: _Client(config, state, {}), sock=door, backlog=16, **more)
        async with server:
            while not self._closed.is_set():
                await asyncio.sleep(POLL_S)
            for client in list(state.connections):  # from Python 3.12 on, leaving would wait for them
                client.transport.abort()


class _Door(socket.socket):
    """A listening socket that lets in no more than ``MAX_CLIENTS`` at once. Raises OSError."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._inside: list[socket.socket] = []
        try:
            if os.name != "nt":  # on Windows it would let two programs have the same port
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Numbers alone: no name server is asked.
            self.bind(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4])
            self.listen(16)
            self.setblocking(False)
        except OSError:
            self.close()
            raise
        self.port = int(self.getsockname()[1])

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next client, or turn it away."""
        client, address = super().accept()
        self._inside = [each for each in self._inside if each.fileno() >= 0]
        if len(self._inside) >= MAX_CLIENTS:
            client.close()
            raise BlockingIOError
        self._inside.append(client)
        return client, address


class _Client(H11Protocol):
    """One client; cut off where it sends or takes too little for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the time."""
        super().connection_made(transport)
        self._since = self.loop.time()  # it is waited for
        self._stalled_since: float | None = None
        self.loop.call_later(1.0, self._check)

    def data_received(self, data: bytes) -> None:
        """Count the time of a request from its first byte."""
        if self.timeout_keep_alive_task is not None:
            self._since = self.loop.time()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._since = self.loop.time()

    def _check(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if not self.flow.write_paused:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now
        stalled = self._stalled_since is not None and now - self._stalled_since >= STALLED_S
        # KEEP_ALIVE_S without a byte is uvicorn's own matter.
        slow = self._unfinished() and now - self._since >= REQUEST_S
        if slow or stalled:
            self.transport.abort()
        else:
            self.loop.call_later(1.0, self._check)

    def _unfinished(self) -> bool:
        """Return True while a request has begun, or the first has not, and is not whole."""
        import h11

        waiting = self.cycle is None or self.cycle.response_complete
        if waiting and self.timeout_keep_alive_task is not None:
            return False  # between two requests
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
