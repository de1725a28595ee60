"""Serve HTTP from a thread of its own, which the alarm never waits for.

uvicorn reads requests and writes responses. Added here: a port that cannot be had is tried again, no client may be
slow or silent for long, and where too many come, the oldest of those that only wait has to go. The certificate is
renewed while it serves. The thread yields to the alarm's own where both want the processor (Linux).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from edge.alert.redact import error_words
from edge.background import start_thread, step_back
from edge.errors import OptionError
from edge.settings import parse_listen

if TYPE_CHECKING:
    import ssl

    from starlette.types import ASGIApp

    from edge.phone.authority import Identity

log = logging.getLogger(__name__)

PORT_RETRY_MIN_S = 1.0  # until a port that could not be had is tried again: one just given up is free in a moment
PORT_RETRY_MAX_S = 60.0  # then twice as long each time, up to this
MAX_CLIENTS = 64
REQUEST_S = 5.0  # for a client to send its whole request
STALLED_S = 20.0  # of a client that takes nothing of what is sent to it
KEEP_ALIVE_S = 15
HEAD_MAX_BYTES = 16_384
THREADS = 3  # for endpoints
STUCK_S = 30.0  # without a free thread it is a problem
RENEW_S = 60.0  # until the certificate is looked at again: it ends, and this machine's address changes
POLL_S = 0.2


class WebServer:
    """Serves ``app`` on ``listen``, ADDRESS:PORT, until it is closed.

    ``opened`` is called with the address each time the port was had. ``identity``: the certificate of TLS; it may raise
    OptionError, which is then the ``problem``. ``after``: ends before the port is asked for. Raises OptionError for
    what is no address.
    """

    def __init__(
        self,
        listen: str,
        app: ASGIApp,
        name: str,
        *,
        opened: Callable[[str], None] = lambda address: None,
        identity: Callable[[], Identity] | None = None,
        after: threading.Thread | None = None,
    ) -> None:
        self.name = name
        self._host, self._wanted_port = parse_listen(listen)
        self._shown = f"[{self._host}]" if ":" in self._host else self._host
        self._app = app
        self._opened = opened
        self._identity = identity
        self._closed = threading.Event()
        self._problem: str | None = None
        self._free_at = 0.0  # when it last had a thread for a request, time.monotonic()
        self._door: _Door | None = None
        self._tls: ssl.SSLContext | None = None
        self._after = after
        self._thread = start_thread(self._run, name)

    @property
    def port(self) -> int | None:
        """Return the port it listens on; None while it has none."""
        return self._door.port if self._door else None

    @property
    def address(self) -> str:
        """Return where it is, as the first part of a URL: ``http://127.0.0.1:8470``."""
        return f"{'https' if self._identity else 'http'}://{self._shown}:{self.port or self._wanted_port}"

    def problem(self) -> str | None:
        """Return why it does not serve now, in one sentence; None while all is well."""
        if self._problem is None and self._door and time.monotonic() - self._free_at > STUCK_S:
            return f"{self.address} does not answer: a disk or something else in it hangs"
        return self._problem

    def close(self) -> None:
        """Stop serving, and give the port back. May be called twice."""
        self._closed.set()
        self._thread.join(3.0)
        if door := self._door:  # its thread hangs
            door.close()

    def _open(self) -> None:
        """Take the port, or note why it cannot be had."""
        where = f"{self._shown}:{self._wanted_port}"
        door = problem = None
        try:
            door = _Door(self._host, self._wanted_port)
            self._tls = self._identity().context() if self._identity else None
        except OSError as error:
            problem = f"{where} cannot be listened on ({error_words(error)}); give another port, or end what has it"
        except OptionError as error:
            problem = f"{where} is not served: {error}"
        if problem:
            if door:
                door.close()
            if problem != self._problem:
                log.warning("%s: %s; tried again", self.name, problem)
        else:
            self._free_at, self._door = time.monotonic(), door  # in this order: without a time it would seem stuck
            try:
                self._opened(self.address)
            except Exception as error:  # it serves all the same
                log.warning("%s is on %s (%s: %s)", self.name, self.address, type(error).__name__, error)
        self._problem = problem

    def _run(self) -> None:
        step_back()
        if self._after:
            self._after.join()
        pause_s = 0.0
        while not self._closed.is_set():
            try:
                if self._door is None and not self._closed.wait(pause_s):
                    pause_s = min(max(2.0 * pause_s, PORT_RETRY_MIN_S), PORT_RETRY_MAX_S)
                    self._open()
                if self._door:
                    pause_s = PORT_RETRY_MIN_S
                    asyncio.run(self._serve(self._door))
            except Exception as error:  # an interface that went away, or an internal error: the alarm goes on
                if self._closed.is_set():  # the door was closed for it
                    return
                self._problem = f"{self.address} was lost ({type(error).__name__}: {error}) and is opened again"
                log.error("%s: %s", self.name, self._problem, exc_info=error)
            finally:
                if self._door:
                    self._door.close()
                    self._door = None

    async def _serve(self, door: _Door) -> None:
        """Serve until closed."""
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it would log what strangers send
        config = uvicorn.Config(
            self._app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S, h11_max_incomplete_event_size=HEAD_MAX_BYTES,
            proxy_headers=True, forwarded_allow_ips="127.0.0.1",  # a proxy of this machine names its client
        )  # fmt: skip
        config.load()
        state = ServerState()
        state.default_headers = [(b"server", b"bear-alarm")]
        door.clients = state.connections
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = THREADS
        more: dict[str, Any] = {"ssl": self._tls, "ssl_handshake_timeout": REQUEST_S} if self._tls else {}
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(config, state, {}), sock=door, backlog=MAX_CLIENTS, **more)
        renewed_at = loop.time()
        try:
            while not self._closed.is_set():
                await asyncio.sleep(POLL_S)
                if limiter.statistics().tasks_waiting == 0:
                    self._free_at = time.monotonic()
                if self._tls and loop.time() - renewed_at >= RENEW_S:
                    renewed_at = loop.time()
                    await anyio.to_thread.run_sync(self._renew, self._tls)
        finally:
            server.close()  # its wait_closed would wait for clients
            for client in list(state.connections):
                client.transport.abort()

    def _renew(self, tls: ssl.SSLContext) -> None:
        """Let new clients have the certificate for this machine's addresses of now; note why there is none."""
        assert self._identity
        try:
            tls.load_cert_chain(self._identity().server)
            self._problem = None
        except (OSError, OptionError) as error:
            self._problem = f"{self.address} keeps its certificate of before: {error}"


class _Door(socket.socket):
    """A listening socket with ``MAX_CLIENTS`` at once. Raises OSError.

    The next client of a full house takes the place of the oldest that waits, sends, or shakes hands; those who get a
    response stay.
    """

    clients: Collection[Any] = ()  # of _Client

    def __init__(self, host: str, port: int) -> None:
        super().__init__(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self._inside: list[socket.socket] = []  # the oldest first
        try:
            if os.name != "nt":  # on Windows it would let two programs have the same port
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Numbers alone: no name server is asked.
            self.bind(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4])
            self.listen(MAX_CLIENTS)
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
            served = {each.socket for each in self.clients if each.is_served}
            waits = next((each for each in self._inside if each.fileno() not in served), None)
            if waits is None:
                client.close()
                raise BlockingIOError
            self._inside.remove(waits)
            with contextlib.suppress(OSError):
                waits.shutdown(socket.SHUT_RDWR)
        self._inside.append(client)
        return client, address


class _Client(H11Protocol):
    """One client; cut off where it sends or takes too little for too long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch the time."""
        super().connection_made(transport)
        self.socket: int = transport.get_extra_info("socket").fileno()
        self._since = self._taken_at = self.loop.time()  # it is waited for; it last took something
        self._left = 0  # bytes it has not taken
        self.loop.call_later(1.0, self._check)

    @property
    def is_served(self) -> bool:
        """Return True while it gets the response to a whole request."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

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
        """Cut the line where it is time; else look again in a second."""
        if self not in self.connections:  # it has gone
            return
        now, left = self.loop.time(), self.transport.get_write_buffer_size()
        if left == 0 or left < self._left:
            self._taken_at = now
        self._left = left
        # KEEP_ALIVE_S without a byte is uvicorn's own matter.
        if now - self._taken_at >= STALLED_S or (self._unfinished() and now - self._since >= REQUEST_S):
            self.transport.abort()
        else:
            self.loop.call_later(1.0, self._check)

    def _unfinished(self) -> bool:
        """Return True while a request has begun, or the first has not, and is not whole."""
        if self.timeout_keep_alive_task is not None:
            return False  # between two requests
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
