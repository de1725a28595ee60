"""``/healthz`` and ``/metrics``: how the alarm is, for programs that watch it. No claim, names of people, or pictures.

The server has no password, so by default only this machine may ask.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge.device.telemetry import metrics_text
from edge.page.guard import host_of
from edge.status import Status

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

STATUS_MAX_AGE_S = 1.0  # a status so old is as good as a new one
STATUS_PATIENCE_S = 3.0  # for a status that another request is already asking for
METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"  # the text exposition format of Prometheus
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class CachedStatus:
    """The status, asked for at most once a second, and by one thread at a time."""

    def __init__(self, status: Callable[[], Status], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = status
        self._clock = clock
        self._asking = threading.Lock()
        self._found: Status | None = None
        self._at = 0.0
        self._logged: str | None = None

    def forget(self) -> None:
        """Ask again the next time: there is another alarm."""
        self._found = None

    def __call__(self) -> Status:
        """Return the status. Raises TimeoutError, RuntimeError with a sentence where there is none."""
        if not self._asking.acquire(timeout=STATUS_PATIENCE_S):
            raise TimeoutError("the alarm does not report its state: something in it hangs")
        try:
            found = self._found
            if found is None or not 0.0 <= self._clock() - self._at < STATUS_MAX_AGE_S:
                self._found = None
                found = self._found = self._ask()
                self._at = self._clock()
            return found
        except Exception as error:
            words = f"the alarm cannot report its state: internal error ({type(error).__name__})"
            if words != self._logged:
                log.error("%s", words, exc_info=error)
            self._logged = words
            raise RuntimeError(words) from None
        finally:
            self._asking.release()


def telemetry_app(latest: Callable[[], Status], hosts: Collection[str] | None = None) -> ASGIApp:
    """Return the application. ``latest``: a CachedStatus; ``hosts``: the names it may be asked by, None: any.

    They keep out a page of some other site that its name server makes look like this machine's.
    """

    def healthz(request: Request) -> Response:  # in a thread: it may wait for the status
        found = None
        try:
            found = latest()
            ill = found.ill
        except (TimeoutError, RuntimeError) as error:
            ill = [str(error)]
        code = HTTPStatus.SERVICE_UNAVAILABLE if ill else HTTPStatus.OK
        if "json" in request.query_params or "application/json" in request.headers.get("Accept", ""):
            return JSONResponse(
                {"ok": not ill, "reasons": ill, "status": asdict(found) if found else None}, code, HEADERS
            )
        return _text("\n".join(ill) or "ok", code)

    def metrics(_: Request) -> Response:
        try:
            return Response(metrics_text(latest()), headers=HEADERS, media_type=METRICS_TEXT)
        except (TimeoutError, RuntimeError) as error:
            return _text(str(error), HTTPStatus.SERVICE_UNAVAILABLE)

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = "only GET and HEAD" if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "there is no such page"
        return _text(f"{words}; there is /healthz and /metrics", error.status_code, dict(error.headers or {}))

    app = Starlette(
        routes=[Route("/healthz", healthz), Route("/metrics", metrics)], exception_handlers={HTTPException: other}
    )

    async def meant(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        strange = hosts is not None and "Host" in request.headers and host_of(request) not in hosts
        answer = _text("ask for localhost or 127.0.0.1", HTTPStatus.FORBIDDEN) if strange else app
        await answer(scope, receive, send)

    return meant


def _text(words: str, code: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{words}\n", code, HEADERS | (headers or {}))
