"""Serve the web app in a local network: the app over HTTPS, and over plain HTTP how to trust its certificate."""

from __future__ import annotations

import errno
import gzip
import hashlib
import logging
import re
import socket
import ssl
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote

from edge.errors import OptionError
from edge.phone.authority import Address, Identity
from edge.phone.folder import ENTRY
from edge.phone.steps_page import CA_NAME, steps_page

log = logging.getLogger(__name__)

CLIENT_LIMIT_S = 30.0  # for a client that sends or takes nothing
MOST_CLIENTS = 50  # at once, on each port
PACKED_FROM = 1024  # bytes; a smaller file is not worth packing
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".crt": "application/x-x509-ca-cert",
}
UNTRUSTED = "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "BAD_CERTIFICATE"  # ends of what TLS calls a client's refusal

ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
APP_HEADERS = ALWAYS | {
    # These two give the page a second thread.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
PAGE_HEADERS = ALWAYS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}


@dataclass(frozen=True)
class Content:
    """A file as it is sent."""

    type: str
    data: bytes
    packed: bytes | None  # by gzip, where that makes it smaller
    etag: str  # weak: the same for both


def content(name: str, data: bytes) -> Content:
    """Return a file as it is sent, packed once."""
    suffix = PurePosixPath(name).suffix
    packed = gzip.compress(data, 6, mtime=0) if len(data) >= PACKED_FROM and suffix != ".png" else data
    return Content(
        TYPES.get(suffix, "application/octet-stream"),
        data,
        packed if len(packed) < len(data) else None,
        f'W/"{hashlib.sha256(data).hexdigest()[:24]}"',
    )


def first_language(accepted: str) -> str:
    """Return the first of our languages in an Accept-Language header, "en" or "de"; browsers name the best first."""
    found = re.search(r"(?:^|,)\s*(en|de)\b", accepted, re.IGNORECASE)
    return found[1].lower() if found else "en"


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "bear-alarm"
    sys_version = ""
    timeout = CLIENT_LIMIT_S

    def do_GET(self) -> None:
        """Reply with what is served at the path."""
        path, vary = unquote(self.path.partition("?")[0]), "Accept-Encoding"
        if path == "/" and self.server.by_language:
            path += first_language(self.headers.get("Accept-Language", ""))
            vary += ", Accept-Language"
        content = self.server.contents.get(path)
        if content is None:
            text = {"Content-Type": "text/plain; charset=utf-8"}
            self.reply(HTTPStatus.NOT_FOUND, text, b"There is no such page here.\n")
            return
        headers = {"ETag": content.etag, "Vary": vary}
        if content.etag in self.headers.get("If-None-Match", ""):
            self.reply(HTTPStatus.NOT_MODIFIED, headers)
            return
        headers["Content-Type"] = content.type
        data = content.data
        if content.packed is not None and "gzip" in self.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            data = content.packed
        self.reply(HTTPStatus.OK, headers, data)

    def reply(self, status: HTTPStatus, headers: Mapping[str, str], data: bytes | None = None) -> None:
        """Send a reply, with the headers that all replies of this server have."""
        self.send_response(status)
        for name, value in {**self.server.headers, **headers}.items():
            self.send_header(name, value)
        if data is not None:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *words: Any) -> None:
        log.debug("%s %s", self.address_string(), format % words)


class _Server(ThreadingHTTPServer):
    """Holds its port from the beginning; serves from ``start`` to ``close``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    allow_reuse_address = sys.platform != "win32"  # there it would share a port with another program

    def __init__(self, option: str, address: Address, port: int, headers: Mapping[str, str]) -> None:
        self.address_family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        self.host = f"[{address}]" if address.version == 6 else str(address)
        self.headers = headers
        self.contents: Mapping[str, Content] = {}
        self.by_language = False  # "/" is at "/en" and "/de"
        self._free = threading.Semaphore(MOST_CLIENTS)
        self._thread: threading.Thread | None = None
        try:
            super().__init__((str(address), port), _Handler)
        except OSError as error:
            raise OptionError(_why_not(error, option, address, port)) from None

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, as http.server would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a client a thread, while there are not too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            log.debug("%s: turned away, for %d others are connected", client_address[0], MOST_CLIENTS)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with one client: one that left is nothing to tell."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # the line was cut, or timed out
            log.debug("%s: %s", client_address[0], error)
        else:
            log.error("a request of %s failed", client_address[0], exc_info=error)

    def start(self, contents: Mapping[str, Content]) -> None:
        """Serve this in a thread."""
        self.contents = contents
        self._thread = threading.Thread(target=self.serve_forever, args=(0.25,), name="phone-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and give the port back."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()


def _why_not(error: OSError, option: str, address: Address, port: int) -> str:
    """Say why nothing can be served there."""
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {address}: is not an address of this machine; leave --host out, or see `ip address`"
    if error.errno == errno.EADDRINUSE:
        return f"{option} {port}: is in use by another program; name another port"
    if error.errno == errno.EACCES:
        return f"{option} {port}: this user may not serve there; name a port from 1024 on"
    return f"{option} {port}: cannot be served on {address} ({error.strerror})"


class _AppServer(_Server):
    context: ssl.SSLContext  # before it starts
    help_url: str

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; its thread shakes hands, so that a client that says nothing holds up nobody else."""
        client, address = super().get_request()
        client.settimeout(CLIENT_LIMIT_S)
        return self.context.wrap_socket(client, server_side=True, do_handshake_on_connect=False), address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, then reply."""
        request.do_handshake()
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log it; what a phone that does not trust the authority sends is worth a sentence."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError) and (error.reason or "").endswith(UNTRUSTED):
            log.info("%s does not trust this certificate yet: open %s there", client_address[0], self.help_url)
        else:
            super().handle_error(request, client_address)


class HelpServer(_Server):
    """The page over HTTP that makes phones and computers trust the certificate. Raises OptionError."""

    def __init__(self, option: str, address: Address, port: int) -> None:
        super().__init__(option, address, port, PAGE_HEADERS)
        self.url = f"http://{self.host}:{self.server_port}/"

    def show(self, who: Identity, app_url: str, name_url: str | None, *, device: bool = False) -> None:
        """Serve the steps to trust who serves ``app_url``, in a thread; ``device``: it is the page of a device."""
        pages = {
            f"/{language}": content(
                ENTRY, steps_page(language, who.fingerprint_lines, app_url, name_url, device=device)
            )
            for language in ("en", "de")
        }
        self.by_language = True
        self.start(pages | {f"/{CA_NAME}": content(CA_NAME, who.authority)})


class Servers:
    """The app over HTTPS, and the page over HTTP that makes phones trust it. Both ports are taken at once."""

    def __init__(self, address: Address, port: int, http_port: int, name: str | None) -> None:
        """Port 0 is any that is free; ``name`` is this machine's, without .local. Raises OptionError."""
        if port and port == http_port:
            raise OptionError(f"--port and --http-port are both {port}; name two ports")
        self._page = HelpServer("--http-port", address, http_port)
        try:
            self._app = _AppServer("--port", address, port, APP_HEADERS)
        except OptionError:
            self._page.close()
            raise
        self.page_url = self._page.url
        self.app_url = f"https://{self._app.host}:{self._app.server_port}/"
        self.name_url = f"https://{name}.local:{self._app.server_port}/" if name else None

    def start(self, files: Mapping[str, bytes], who: Identity) -> None:
        """Serve an app's files, by name."""
        self._app.context, self._app.help_url = who.context(), self.page_url
        app = {f"/{name}": content(name, data) for name, data in files.items()}
        self._app.start(app | {"/": app[f"/{ENTRY}"]})
        self._page.show(who, self.app_url, self.name_url)

    def close(self) -> None:
        """Stop both."""
        self._app.close()
        self._page.close()
