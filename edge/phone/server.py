"""Serve the web app in a local network: the app over HTTPS, and over plain HTTP how to trust its certificate."""

from __future__ import annotations

import errno
import gzip
import hashlib
import html
import logging
import socket
import ssl
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from edge.errors import OptionError
from edge.phone.authority import Address, Identity

log = logging.getLogger(__name__)

CA_PATH = "/bear-alarm-ca.crt"
CLIENT_LIMIT_S = 30.0  # for a client that sends or takes nothing
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
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}
READY_PACKED = {".png", ".ico"}
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

    data: bytes
    packed: bytes | None  # by gzip, where that makes it smaller
    etag: str


class Folder:
    """The files of a folder, each read and packed once, and again when it changes."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._contents: dict[Path, tuple[tuple[int, int], Content]] = {}
        self._lock = threading.Lock()  # two phones must not pack the same file at once

    def find(self, path: str) -> Path | None:
        """Return the file of an address's path; None where there is none, and for all that lies elsewhere."""
        words = unquote(path).lstrip("/")
        if words == "" or words.endswith("/"):
            words += "index.html"
        parts = words.split("/")
        if any(part.startswith(".") or "\\" in part or ":" in part or "\0" in part for part in parts):
            return None
        try:
            found = self._root.joinpath(*parts).resolve()
            return found if found.is_relative_to(self._root) and found.is_file() else None
        except OSError:  # a name that is too long
            return None

    def read(self, path: Path) -> Content:
        """Return a file's content. Raises OSError."""
        with self._lock:
            stat = path.stat()
            stamp = stat.st_mtime_ns, stat.st_size
            known = self._contents.get(path)
            if known is None or known[0] != stamp:
                known = self._contents[path] = stamp, _content(path)
            return known[1]


def _content(path: Path) -> Content:
    data = path.read_bytes()
    packed = None
    if len(data) >= PACKED_FROM and path.suffix not in READY_PACKED:
        packed = gzip.compress(data, 6, mtime=0)
    if packed is not None and len(packed) >= len(data):
        packed = None
    return Content(data, packed, hashlib.sha256(data).hexdigest()[:24])


class _Handler(BaseHTTPRequestHandler):
    """What both servers share."""

    protocol_version = "HTTP/1.1"
    server_version = "bear-alarm"
    sys_version = ""
    timeout = CLIENT_LIMIT_S

    def do_GET(self) -> None:
        self.answer(urlsplit(self.path).path)

    def do_HEAD(self) -> None:
        self.answer(urlsplit(self.path).path)

    def answer(self, path: str) -> None:
        """Answer a request for a path."""
        raise NotImplementedError

    def send(self, status: HTTPStatus, headers: Mapping[str, str], data: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD" and status is not HTTPStatus.NOT_MODIFIED:
            self.wfile.write(data)

    def missing(self, headers: Mapping[str, str]) -> None:
        """Say that there is no such page."""
        text = {"Content-Type": "text/plain; charset=utf-8"}
        self.send(HTTPStatus.NOT_FOUND, {**headers, **text}, b"There is no such page here.\n")

    def log_message(self, format: str, *words: Any) -> None:
        log.debug("%s %s", self.address_string(), format % words)


class _AppHandler(_Handler):
    server: _AppServer

    def answer(self, path: str) -> None:
        file = self.server.folder.find(path)
        if file is None:
            self.missing(APP_HEADERS)
            return
        try:
            content = self.server.folder.read(file)
        except OSError as error:
            log.warning("%s: cannot be read (%s)", file, error.strerror)
            self.missing(APP_HEADERS)
            return
        packed = content.packed if _takes_gzip(self.headers.get("Accept-Encoding", "")) else None
        tag = f'"{content.etag}{"" if packed is None else "-gzip"}"'
        headers = APP_HEADERS | {"ETag": tag, "Vary": "Accept-Encoding"}
        known = {each.strip().removeprefix("W/") for each in self.headers.get("If-None-Match", "").split(",")}
        if tag in known or "*" in known:
            self.send(HTTPStatus.NOT_MODIFIED, headers, b"")
            return
        headers["Content-Type"] = TYPES.get(file.suffix, "application/octet-stream")
        if packed is not None:
            headers["Content-Encoding"] = "gzip"
        self.send(HTTPStatus.OK, headers, content.data if packed is None else packed)


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.split(","):
        name, _, weight = each.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class _PageHandler(_Handler):
    server: _PageServer

    def answer(self, path: str) -> None:
        if path == CA_PATH:
            about = {"Content-Type": "application/x-x509-ca-cert"}
            self.send(HTTPStatus.OK, PAGE_HEADERS | about, self.server.authority)
        elif path == "/":
            self.send(HTTPStatus.OK, PAGE_HEADERS | {"Content-Type": TYPES[".html"]}, self.server.page)
        else:
            self.missing(PAGE_HEADERS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = sys.platform != "win32"  # there it would share a port with another program

    def __init__(self, option: str, address: Address, port: int, handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        self.host = f"[{address}]" if address.version == 6 else str(address)
        try:
            super().__init__((str(address), port), handler)
        except OSError as error:
            raise OptionError(_why_not(error, option, address, port)) from None
        self._thread: threading.Thread | None = None

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, as http.server would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with one client: one that left is nothing to tell."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # the line was cut, or timed out
            log.debug("%s: %s", client_address[0], error)
        else:
            log.error("a request of %s failed", client_address[0], exc_info=error)

    def start(self) -> None:
        """Serve in a thread, until ``close``."""
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
    def __init__(self, address: Address, port: int, folder: Path, context: ssl.SSLContext, help_url: str) -> None:
        self.folder = Folder(folder)
        self._context = context
        self._help_url = help_url
        super().__init__("--port", address, port, _AppHandler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; its thread shakes hands, so that a client that says nothing holds up nobody else."""
        client, address = super().get_request()
        client.settimeout(CLIENT_LIMIT_S)
        return self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False), address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, then answer."""
        request.do_handshake()
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log it; what a phone that does not trust the authority sends is worth a sentence."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError) and (error.reason or "").endswith(UNTRUSTED):
            log.info("%s does not trust this certificate yet: open %s there", client_address[0], self._help_url)
        else:
            super().handle_error(request, client_address)


class _PageServer(_Server):
    def __init__(self, address: Address, port: int) -> None:
        self.authority = self.page = b""
        super().__init__("--http-port", address, port, _PageHandler)


@dataclass(frozen=True)
class Servers:
    """Both servers, and their addresses."""

    app: _Server
    page: _Server

    @property
    def app_url(self) -> str:
        """Return the address of the app."""
        return f"https://{self.app.host}:{self.app.server_port}/"

    @property
    def page_url(self) -> str:
        """Return the address of the page that says how to trust the app's certificate."""
        return f"http://{self.page.host}:{self.page.server_port}/"

    def close(self) -> None:
        """Stop both."""
        self.app.close()
        self.page.close()


def serve(folder: Path, who: Identity, address: Address, port: int, page_port: int) -> Servers:
    """Serve the folder over HTTPS and the page over HTTP, on one address. Raises OptionError.

    Port 0 is any that is free.
    """
    if port and port == page_port:
        raise OptionError(f"--port and --http-port are both {port}; name two ports")
    page = _PageServer(address, page_port)
    try:
        app = _AppServer(address, port, folder, who.context(), f"http://{page.host}:{page.server_port}/")
    except OptionError:
        page.close()
        raise
    servers = Servers(app, page)
    page.authority = who.authority
    page.page = steps_page(who.fingerprint, servers.app_url).encode()
    app.start()
    page.start()
    return servers


# The page over plain HTTP. Nobody vouches for what it says: what counts is what the phone shows of the certificate.

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bear Alarm: trust this server</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: auto; padding: 1rem }}
a.step {{ display: inline-block; min-height: 3rem; line-height: 3rem; font-weight: bold }}
code {{ overflow-wrap: anywhere; font-size: 1.1rem }}
</style>
</head>
<body>
<h1>Bear Alarm</h1>
<p>The phone opens its camera only for a page that it trusts. Install one certificate, once for each phone.
It can vouch for private networks and .local names only.</p>
<ol>
<li><a class="step" href="{ca}">Download the certificate</a></li>
<li>Install it: see your phone below.</li>
<li>Compare the SHA-256 fingerprint that <strong>the phone shows</strong> with the one in the terminal.
If one sign differs, remove the certificate. It should be:<br><code>{fingerprint}</code></li>
<li><a class="step" href="{app}">Open the alarm</a>: {app}</li>
</ol>
<h2>Android</h2>
<p>The names differ a little from phone to phone. Use Chrome.</p>
<ol>
<li>Open Settings and search for “CA certificate”
(Security and privacy, More security settings, Encryption and credentials, Install a certificate).</li>
<li>Choose “CA certificate”, then “Install anyway”, then the downloaded file bear-alarm-ca.crt.</li>
<li>Fingerprint: Settings, Encryption and credentials, Trusted credentials, tab “User”, tap the certificate.</li>
</ol>
<h2>iPhone and iPad</h2>
<ol>
<li>Use Safari. Tap “Allow” when it asks to download a configuration profile.</li>
<li>Open Settings, General, VPN and Device Management. Tap the profile, then “More Details” for the fingerprint.</li>
<li>Tap “Install”.</li>
<li>Open Settings, General, About, Certificate Trust Settings. Switch this certificate on.</li>
</ol>
<h2>Afterwards</h2>
<p>Remove the certificate in the same place when you no longer use the alarm.</p>
</body>
</html>
"""


def steps_page(fingerprint: str, app_url: str) -> str:
    """Return the page with the steps that make a phone trust the app's certificate."""
    return PAGE.format(ca=CA_PATH, fingerprint=html.escape(fingerprint), app=html.escape(app_url))
