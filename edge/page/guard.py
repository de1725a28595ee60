"""Decide who may ask for what, before anything of the page runs.

In this order: the Host is one of ours (a name of a stranger's that leads here by DNS is refused), the request is small,
a change comes from our own page (Origin, and the session's CSRF token), and the session or token may do it. Every
response gets the headers that keep a browser from running, framing or keeping what it should not.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge.page.accounts import Access, Accounts

log = logging.getLogger(__name__)

BODY_MAX_BYTES = 256_000  # a form; a config that is edited as text is no longer
COOKIE = "bear_alarm_session"
PUBLIC = ("/static/", "/icons/", "/login", "/claim", "/manifest.webmanifest")  # seen without a session
OPEN_CHANGES = ("/login", "/claim")  # asked for by those who have no session
ANYBODY = ("/logout",)  # changes a viewer may ask for
REVIEW = "/review"  # what a token with the scope "review" may change

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob:; media-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Refused(Exception):  # noqa: N818 -- it is an answer, no error
    """A request that is not carried out; ``words`` are for people."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Guard:
    """The outermost application. ``names``: hosts beside addresses, ``localhost`` and this machine's own names.

    It sets ``request.state.access`` (Access, or None where nobody is logged in) and ``request.state.form`` (a dict of
    text) for the page. ``unclaimed`` makes the answer while the page has no owner; ``refused`` that to a refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        accounts: Accounts,
        names: Collection[str],
        *,
        unclaimed: Callable[[Request], Response],
        refused: Callable[[Request, Refused], Response],
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._names = frozenset(name.lower() for name in names)
        self._unclaimed = unclaimed
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        request.state.access, request.state.form = None, {}
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        response: Response | None = None
        try:
            receive = await self._admit(request, receive)
            if not _within(request.url.path, PUBLIC):
                if not self._accounts.claimed:
                    response = self._unclaimed(request)
                elif request.state.access is None:
                    response = self._to_login(request)
            if response is None:
                await self._app(scope, receive, send_guarded)
        except Refused as refusal:
            response = self._refused(request, refusal)
        except Exception as error:
            log.error("a request could not be answered: internal error (%s)", type(error).__name__, exc_info=error)
            if started:
                return
            fault = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error ({type(error).__name__})")
            response = self._refused(request, fault)
        if response is not None:
            await response(scope, receive, send_guarded)

    async def _admit(self, request: Request, receive: Receive) -> Receive:
        """Check the request, and find out who asks. Raises Refused."""
        self._check_host(request)
        if request.method not in {"GET", "HEAD", "POST"}:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and POST")
        access = request.state.access = self._access(request)
        if request.method != "POST":
            return receive
        _check_origin(request, access)
        body = await _read(request)
        request.state.form = form = _form(request, body)
        path = request.url.path
        if not _within(path, OPEN_CHANGES):
            if access is None:
                raise Refused(HTTPStatus.UNAUTHORIZED, "log in first")
            sent = request.headers.get("X-CSRF-Token") or form.get("csrf", "")
            if not access.token and not hmac.compare_digest(sent.encode(), access.csrf.encode()):
                raise Refused(HTTPStatus.FORBIDDEN, "this form is too old; load the page again, then repeat it")
            reviews = access.may_review and _within(path, (REVIEW,))
            if not (access.owner or reviews or (_within(path, ANYBODY) and not access.token)):
                raise Refused(HTTPStatus.FORBIDDEN, "only the owner may change this")

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    def _check_host(self, request: Request) -> None:
        hosts = request.headers.getlist("Host")
        try:
            name = (urlsplit(f"//{hosts[0]}").hostname or "").rstrip(".") if len(hosts) == 1 else ""
        except ValueError:
            name = ""
        if not name or not (name in self._names or _is_address(name)):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "use the address that `bear-alarm watch` prints")

    def _access(self, request: Request) -> Access | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            access = self._accounts.of_token(token.strip())
            if access is None:
                raise Refused(HTTPStatus.UNAUTHORIZED, "this token is not known (any more)")
            return access
        cookie = request.cookies.get(COOKIE)
        return self._accounts.of_session(cookie) if cookie else None

    def _to_login(self, request: Request) -> Response:
        """Send a browser to the log-in; a program gets the status."""
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        raise Refused(HTTPStatus.UNAUTHORIZED, "log in first")


def wants_json(request: Request) -> bool:
    """Return True for a request of a script."""
    accepted = request.headers.get("Accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def plain_refusal(request: Request, refusal: Refused) -> Response:
    """Return a refusal as a script or a program reads it."""
    if wants_json(request):
        return JSONResponse({"error": refusal.words}, refusal.status)
    return PlainTextResponse(f"{refusal.words}\n", refusal.status)


def _within(path: str, places: Sequence[str]) -> bool:
    """Return True for one of these places, or what lies below it."""
    return any(path == place or path.startswith(place if place.endswith("/") else f"{place}/") for place in places)


def _is_address(name: str) -> bool:
    """Return True for an address in numbers: what leads here by a stranger's DNS has a name."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _check_origin(request: Request, access: Access | None) -> None:
    """Raise Refused for a change that a page of another site asks for. A token comes from no browser."""
    if access is not None and access.token:
        return
    origin = request.headers.get("Origin")
    same = urlsplit(origin).netloc.lower() == request.headers["Host"].lower() if origin else False
    if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Refused(HTTPStatus.FORBIDDEN, "this did not come from the alarm's own page")


async def _read(request: Request) -> bytes:
    """Return the body. Raises Refused for one that is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_MAX_BYTES // 1000} kB; no form is")
    return body


def _form(request: Request, body: bytes) -> dict[str, str]:
    """Return a form's fields, or those of a JSON object, as text; the last of a name counts."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            found = json.loads(body or b"{}")
            return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in dict(found).items()}
        if kind in {"application/x-www-form-urlencoded", ""}:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except (ValueError, TypeError, RecursionError):
        pass
    raise Refused(HTTPStatus.BAD_REQUEST, "this is no form")
