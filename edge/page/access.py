"""Who gets in: the claim, the log-in, the log-out, and the owner's page about all of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.errors import OptionError
from edge.page.accounts import SESSION_S, TooManyTriesError
from edge.page.common import accounts_of, back_to, render
from edge.page.guard import COOKIE, SECURE_COOKIE, Refused, is_secure, own_place, session_cookie

if TYPE_CHECKING:
    from edge.page.accounts import Scope

OWN_COOKIE = "bear_alarm_own_browser"  # of a browser in which the owner logged in
OWN_S = 365 * 86_400.0
DONE = {  # by button
    "viewer": "Saved. They get in with this passphrase now.",
    "no-viewer": "Saved. Nobody but you gets in now.",
    "end-token": "The token is ended.",
    "log-out-all": "Everybody is logged out, this browser too.",
}
SCOPES: dict[str, Scope] = {"view": "view", "review": "review"}


def log_in(request: Request) -> Response:
    """Show the log-in, or log in."""
    accounts, problem, status = accounts_of(request), None, HTTPStatus.OK
    if not accounts.claimed:
        return back_to("/")
    if request.method == "POST":
        client = request.client.host if request.client else ""
        try:
            own = request.cookies.get(OWN_COOKIE, "")
            cookie = accounts.log_in(request.state.form.get("passphrase", ""), client, own)
            return _begun(request, cookie, own_place(request.state.form.get("next", "")))
        except TooManyTriesError as error:
            problem, status = str(error), HTTPStatus.TOO_MANY_REQUESTS
        except OptionError as error:
            problem, status = str(error), HTTPStatus.FORBIDDEN
    place = request.state.form.get("next") or request.query_params.get("next", "")
    done = DONE["log-out-all"] if "all" in request.query_params else None
    return render(request, "login.html", status, problem=problem, next=own_place(place), done=done)


def claim(request: Request) -> Response:
    """Show the form for the owner's passphrase to the person with a claim code, or make the owner."""
    accounts, problem, status = accounts_of(request), None, HTTPStatus.OK
    form = request.state.form
    code = form.get("code") or request.query_params.get("code", "")
    fits = accounts.claim_fits(code)
    if request.method == "POST":
        try:
            if form.get("passphrase") != form.get("again"):
                raise OptionError("the two passphrases differ; type the same one twice")
            return _begun(request, accounts.claim(code, form.get("passphrase", "")))
        except OptionError as error:
            problem, status = str(error), HTTPStatus.BAD_REQUEST
    if not fits:
        status = HTTPStatus.FORBIDDEN
    code = code if fits else ""
    return render(request, "claim.html", status, problem=problem, code=code, claimed=accounts.claimed)


def log_out(request: Request) -> Response:
    """End this session."""
    if cookie := session_cookie(request):
        accounts_of(request).log_out(cookie)
    response = back_to("/login")
    _set(response, request, SECURE_COOKIE if is_secure(request) else COOKIE, "", 0)
    return response


def people(request: Request) -> Response:
    """Show who may get in, and change it (the owner)."""
    accounts, form, problem, token = accounts_of(request), request.state.form, None, None
    if not request.state.access.owner:
        raise Refused(HTTPStatus.FORBIDDEN, "only the owner sees this")
    if request.method == "POST":
        what = form.get("what", "")
        try:
            if what == "viewer":
                accounts.set_viewer(form.get("passphrase", ""))
            elif what == "no-viewer":
                accounts.set_viewer(None)
            elif what == "token":
                token = accounts.new_token(form.get("name", "").strip(), SCOPES.get(form.get("scope", ""), "view"))
            elif what == "end-token":
                accounts.end_token(form.get("name", ""))
            elif what == "log-out-all":
                accounts.log_out_all()
            else:
                raise OptionError("this button is not known; load the page again")
        except OptionError as error:
            problem = str(error)
        if problem is None and token is None:
            return back_to("/login?all" if what == "log-out-all" else f"/access?done={what}")
    status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
    done = None if problem or token else DONE.get(request.query_params.get("done", ""))
    return render(request, "access.html", status, accounts=accounts, problem=problem, token=token, done=done)


def _begun(request: Request, cookie: str, place: str = "/") -> Response:
    """Return the way to a place, with the cookie of a new session; an owner's browser is known from then on."""
    accounts, response = accounts_of(request), back_to(place)
    _set(response, request, SECURE_COOKIE if is_secure(request) else COOKIE, cookie, SESSION_S)
    access = accounts.of_session(cookie)
    if access and access.owner:
        _set(response, request, OWN_COOKIE, accounts.own_browser, OWN_S)
    return response


def _set(response: Response, request: Request, name: str, value: str, lasts_s: float) -> None:
    """Set a cookie that no script reads and no other site sends; over TLS only, where it was set over TLS."""
    response.set_cookie(
        name, value, max_age=round(lasts_s), secure=is_secure(request), httponly=True, samesite="strict"
    )


ROUTES = [
    Route("/login", log_in, methods=["GET", "POST"]),
    Route("/claim", claim, methods=["GET", "POST"]),
    Route("/logout", log_out, methods=["POST"]),
    Route("/access", people, methods=["GET", "POST"]),
]
