"""``/healthz`` and ``/metrics`` on an address of this machine, for a monitor that asks; nothing else is served.

Nothing here can hold up the alarm: it reads ``Status``, at most once a second, in threads of its own, of which there
are never more than a few. There is no password, so by default only this machine may ask.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge import __version__
from edge.alert.redact import error_words
from edge.settings import parse_listen
from edge.status import Status
from edge.telemetry.listener import Bounded, Listener
from edge.telemetry.metrics import CONTENT_TYPE, metrics_text

log = logging.getLogger(__name__)

SOON_S = 1.0  # until a port that could not be had is tried again: one that was just given up is free in a moment
AGAIN_S = 60.0  # then twice as long each time, up to this
KNOWN_S = 1.0  # for so long a status is as good as a new one
PATIENCE_S = 3.0  # for a status that somebody else is already asking for
POLL_S = 0.25
MOST_BYTES = 16_384  # of a request, all its headers included
MOST_LINE = 4_096  # of its first line
TEXT = "text/plain; charset=utf-8"
HERE = frozenset({"localhost", "127.0.0.1", "[::1]"})  # what a browser on this machine calls this machine


class Server:
    """Answers on ``listen``, ADDRESS:PORT, until it is closed; a port that cannot be had is tried again and again.

    Raises OptionError for what is no address. ``again_s``: seconds between two tries, after the first few.
    """

    def __init__(self, listen: str, status: Callable[[], Status], *, again_s: float = AGAIN_S) -> None:
        self._host, self._wanted_port = parse_listen(listen)
        self._shown = f"[{self._host}]" if ":" in self._host else self._host
        self._again_s = again_s
        self._latest = _Latest(status)
        self._closed = threading.Event()
        self._problem: str | None = None
        self._listener = self._open()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int | None:
        """The port it listens on; None while it has none."""
        return self._listener.port if self._listener else None

    def problem(self) -> str | None:
        """Why nobody can ask now, in one sentence; None while all is well."""
        return self._problem

    def close(self) -> None:
        """Listen no more. May be called twice."""
        self._closed.set()
        self._thread.join(5.0)

    def _open(self) -> Listener | None:
        try:
            listener = Listener(self._host, self._wanted_port, self._handler, self._closed)
        except OSError as error:
            what = f"{self._shown}:{self._wanted_port} cannot be listened on ({error_words(error)})"
            problem = f"{what}; give another port, or end what has it"
            if self._problem is None:
                log.warning("%s; tried again", problem)
            self._problem = problem
            return None
        self._problem = None
        log.info("telling how the alarm is on http://%s:%d/healthz and /metrics", self._shown, listener.port)
        if not listener.loopback:
            log.warning(
                "whoever reaches %s:%d can read how the alarm is: it has no password", self._shown, listener.port
            )
        return listener

    def _run(self) -> None:
        pause_s = SOON_S
        while not self._closed.is_set():
            if self._listener is None:
                if self._closed.wait(min(pause_s, self._again_s)):
                    return
                pause_s = min(2.0 * pause_s, self._again_s)
                self._listener = self._open()
                continue
            listener, pause_s = self._listener, SOON_S
            try:
                with listener:
                    listener.answer_until_closed(POLL_S)
            except OSError as error:  # the network's interface went away under it
                log.warning("%s:%d: %s; reopened", self._shown, listener.port, error_words(error))
                self._listener = None
                self._problem = f"{self._shown}:{listener.port} was lost ({error_words(error)}) and is reopened"

    def _handler(self, request: Any, address: Any, listener: Any) -> None:
        _Handler(request, address, listener, self._latest)


class _Latest:
    """The status, asked for at most once a second, and by one thread at a time."""

    def __init__(self, status: Callable[[], Status], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = status
        self._clock = clock
        self._asking = threading.Lock()
        self._found: Status | None = None
        self._at = 0.0
        self._said: str | None = None

    def __call__(self) -> Status:
        """The status. Raises TimeoutError, RuntimeError with a sentence where there is none."""
        if not self._asking.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the alarm does not say how it is: something in it hangs")
        try:
            if self._found is None or not 0.0 <= self._clock() - self._at < KNOWN_S:
                self._found = None
                self._found, self._at = self._ask(), self._clock()
            return self._found
        except Exception as error:
            words = f"the alarm cannot report its state: internal error ({type(error).__name__})"
            if words != self._said:
                log.error("%s", words, exc_info=error)
            self._said = words
            raise RuntimeError(words) from None
        finally:
            self._asking.release()


class _Handler(BaseHTTPRequestHandler):
    """One request: its answer, and the line is closed."""

    default_request_version = "HTTP/1.0"  # else what cannot be read is answered without a status

    def __init__(self, request: Any, address: Any, listener: Listener, latest: _Latest) -> None:
        self.latest = latest
        self.listener = listener
        super().__init__(request, address, listener)

    def setup(self) -> None:
        """Nobody may send more than a request is long."""
        super().setup()
        self.rfile: Any = Bounded(self.rfile, MOST_BYTES)

    def handle_one_request(self) -> None:
        """Answer the one request of this connection."""
        self.command, self.path, self.request_version, self.requestline = "", "", "HTTP/1.0", ""
        self.raw_requestline = self.rfile.readline(MOST_LINE + 1)
        if len(self.raw_requestline) > MOST_LINE:
            self._answer(HTTPStatus.REQUEST_URI_TOO_LONG, "a request is not that long")
        elif self.raw_requestline and self.parse_request():
            if self.rfile.spent:
                self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a request is not that long")
            else:
                self._serve()
        self.close_connection = True

    def _serve(self) -> None:
        try:
            place = urlsplit(self.path)
        except ValueError:  # brackets with no address in them
            self._answer(HTTPStatus.BAD_REQUEST, "there is /healthz and /metrics")
            return
        # A page of some other site, made to look like this machine's by its name server, is kept out.
        if self.listener.loopback and not self._is_meant():
            self._answer(HTTPStatus.FORBIDDEN, "ask for localhost or 127.0.0.1")
        elif self.command not in {"GET", "HEAD"}:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", allow="GET, HEAD")
        elif place.path == "/healthz":
            self._tell_health("json" in parse_qs(place.query, keep_blank_values=True))
        elif place.path == "/metrics":
            self._tell_metrics()
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there is /healthz and /metrics")

    def _is_meant(self) -> bool:
        hosts = self.headers.get_all("Host") or ["localhost"]  # who names none is no browser
        host = hosts[0].strip().lower()
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        return len(hosts) == 1 and name in {*HERE, self.listener.address}

    def _tell_health(self, as_json: bool) -> None:
        status = None
        try:
            status = self.latest()
            ill = status.ill
        except (TimeoutError, RuntimeError) as error:
            ill = [str(error)]
        code = HTTPStatus.SERVICE_UNAVAILABLE if ill else HTTPStatus.OK
        if as_json or "application/json" in self.headers.get("Accept", ""):
            found = {"ok": not ill, "reasons": ill, "status": asdict(status) if status else None}
            self._answer(code, json.dumps(found, ensure_ascii=False, default=str), "application/json")
        else:
            self._answer(code, "\n".join(ill) or "ok")

    def _tell_metrics(self) -> None:
        try:
            text = metrics_text(self.latest())
        except (TimeoutError, RuntimeError) as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            self._answer(HTTPStatus.OK, text, CONTENT_TYPE)

    def _answer(self, code: HTTPStatus, words: str, kind: str = TEXT, allow: str | None = None) -> None:
        body = (words.rstrip("\n") + "\n").encode(errors="replace")
        self.send_response(code)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if allow:
            self.send_header("Allow", allow)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses, in plain words; what was asked is not said again."""
        self._answer(HTTPStatus(code), HTTPStatus(code).phrase)

    def version_string(self) -> str:
        """What answers."""
        return f"bear-alarm/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a monitor asks thousands of times a day."""
