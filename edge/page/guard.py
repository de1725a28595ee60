"""Decide who may ask for what, before anything of the page runs.

In this order: the Host is one of ours (a stranger's name that leads here by DNS is refused), a change comes from our
own page (Origin), is small, has the session's CSRF token, and the session or token may do it. An answer to an alarm's
question comes from anywhere: its token is checked by ``edge.page.answer``. Every
response gets the headers that keep a browser from running, framing or keeping what it should not.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import math
import re
import time
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from edge.errors import OptionError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge.page.accounts import Access
    from edge.page.common import BasePage

log = logging.getLogger(__name__)

BODY_MAX_BYTES = 256_000  # a form; a config that is edited as text is no longer
COOKIE = "bear_alarm_session"
SECURE_COOKIE = f"__Host-{COOKIE}"  # over TLS: no other program of this machine can set it
PUBLIC = ("/static/", "/icons/", "/login", "/claim", "/manifest.webmanifest")  # seen without a session
ANSWER = "/answer"  # the token in the address is the credential: no session, and no page that it must come from
OPEN_CHANGES = ("/login", "/claim", ANSWER)  # asked for by those who have no session
ANYBODY = ("/logout",)  # changes a viewer may ask for
LOGGED_S = 60.0  # after a line on why nobody gets in, there is no further one
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

    ``tls``: the page has a certificate of its own, which no other name can be added to. It sets
    ``request.state.page``, ``request.state.access`` (Access, or None where nobody is logged in) and
    ``request.state.form`` (a dict of text). ``unclaimed`` makes the answer while the page has no owner; ``refused``
    that to a refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        page: BasePage,
        names: Collection[str],
        *,
        tls: bool,
        unclaimed: Callable[[Request], Response],
        refused: Callable[[Request, Refused], Response],
    ) -> None:
        self._app = app
        self._page = page
        self._accounts = page.accounts
        self._tls = tls
        self._names = frozenset(name.lower() for name in names)
        self._unclaimed = unclaimed
        self._refused = refused
        self._logged_at = -math.inf  # when the log last said why nobody gets in, time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request.state.page, request.state.access, request.state.form = self._page, None, {}
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

        try:
            response = None
            try:
                receive = await self._admit(request)
                response = self._sent_away(request)
            except Refused as refusal:
                response = self._refused(request, refusal)
            except OptionError as error:  # of the accounts
                if time.monotonic() - self._logged_at >= LOGGED_S:
                    self._logged_at = time.monotonic()
                    log.error("nobody gets in: %s", error)
                closed = Refused(HTTPStatus.SERVICE_UNAVAILABLE, "nobody gets in now; this program's log says why")
                response = self._refused(request, closed)
            await (response or self._app)(scope, receive, send_guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            log.error("a request could not be answered: internal error (%s)", type(error).__name__, exc_info=error)
            if not started:
                fault = Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error ({type(error).__name__})")
                await plain_refusal(request, fault)(scope, receive, send_guarded)

    async def _admit(self, request: Request) -> Receive:
        """Check the request, find out who asks, and return its body to be read. Raises Refused, OptionError."""
        if host_of(request) not in self._names and not _is_address(host_of(request)):
            words = "this page does not have this name; use an address of its log"
            if not (self._tls or self._page.is_fleet):
                words += ", or add this name to `names:` below `page:` in the config"
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, words)
        if request.method not in {"GET", "HEAD", "POST"}:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and POST")
        access = request.state.access = self._access(request)
        if request.method != "POST":
            return request.receive
        if not _within(request.url.path, (ANSWER,)):
            _check_origin(request, access)
        body = await _read(request)
        request.state.form = form = _form(request, body)
        path = request.url.path
        if not _within(path, OPEN_CHANGES):
            if access is None:
                raise Refused(HTTPStatus.UNAUTHORIZED, "log in first; nothing was saved")
            sent = request.headers.get("X-CSRF-Token") or form.get("csrf", "")
            if not access.token and not hmac.compare_digest(sent.encode(), access.csrf.encode()):
                raise Refused(HTTPStatus.FORBIDDEN, "this form is too old; load the page again, then repeat it")
            reviews = access.may_review and _within(path, (REVIEW,))
            if not (access.owner or reviews or (_within(path, ANYBODY) and not access.token)):
                raise Refused(HTTPStatus.FORBIDDEN, "only the owner may change this")
        again = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(again, None) or await request.receive()

        return replay

    def _access(self, request: Request) -> Access | None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            access = self._accounts.of_token(token.strip())
            if access is None:
                raise Refused(HTTPStatus.UNAUTHORIZED, "this token is not known (any more)")
            return access
        cookie = session_cookie(request)
        return self._accounts.of_session(cookie) if cookie else None

    def _sent_away(self, request: Request) -> Response | None:
        """Return the response to those who may not see what they ask for; None where they may. Raises Refused."""
        if _within(request.url.path, (ANSWER,)):
            return None
        claimed = self._accounts.claimed
        if _within(request.url.path, PUBLIC):
            return None
        if not claimed:
            return self._unclaimed(request)
        return self._to_login(request) if request.state.access is None else None

    def _to_login(self, request: Request) -> Response:
        """Send a browser to the log-in; a program gets the status."""
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            url = request.url
            return RedirectResponse(login_place(f"{url.path}?{url.query}"), HTTPStatus.SEE_OTHER)
        raise Refused(HTTPStatus.UNAUTHORIZED, "log in first")


def login_place(place: str) -> str:
    """Return the address of the log-in that leads to a place of this page afterwards."""
    place = own_place(place.removesuffix("?"))
    return "/login" if place == "/" else f"/login?next={quote(place)}"


def own_place(place: str) -> str:
    """Return a path of this page with its query; the start for what leads to another site."""
    return place if re.match(r"/(?![/\\])", place) and place.isprintable() else "/"


def host_of(request: Request) -> str:
    """Return the name or address a request asks for, in small letters and without the port; "" for what is none."""
    hosts = request.headers.getlist("Host")
    found = (
        re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:@/?#\[\]]+))(?::\d*)?", hosts[0].lower()) if len(hosts) == 1 else None
    )
    return (found[1] or found[2]).rstrip(".") if found else ""


def is_secure(request: Request) -> bool:
    """Return True for a request over TLS, of this server's or of the proxy's before it."""
    return request.url.scheme == "https"


def session_cookie(request: Request) -> str | None:
    """Return the session's cookie of a browser; None without one."""
    return request.cookies.get(SECURE_COOKIE if is_secure(request) else COOKIE)


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
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_origin(request: Request, access: Access | None) -> None:
    """Raise Refused for a change that a page of another site asks for. A token comes from no browser."""
    if access is not None and access.token:
        return
    origin = request.headers.get("Origin", "")
    same = origin.lower().partition("://")[2] == request.headers["Host"].lower()
    if not same or request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Refused(HTTPStatus.FORBIDDEN, "this did not come from this page")


async def _read(request: Request) -> bytes:
    """Return the body. Raises Refused for one that is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form has {BODY_MAX_BYTES // 1000} kB at most")
    return bytes(body)


def _form(request: Request, body: bytes) -> dict[str, str]:
    """Return a form's fields, or those of a JSON object, as text; the last of a name counts."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            found = {k: v if isinstance(v, str) else json.dumps(v) for k, v in dict(json.loads(body or b"{}")).items()}
            "".join([*found, *found.values()]).encode()  # halves of characters are no text
            return found
        if kind in {"application/x-www-form-urlencoded", ""}:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except (ValueError, TypeError, RecursionError):
        pass
    raise Refused(HTTPStatus.BAD_REQUEST, "this is no form")
