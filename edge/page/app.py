"""A page put together: its parts, and what is answered to what is refused or is not there."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from edge.page import access, answer, drift, events, health, live, models, review, settings, stages, zones
from edge.page.common import FOLDER, BasePage, Page, render
from edge.page.guard import Guard, Refused, login_place, plain_refusal
from edge.record.database import DiskError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PARTS = (access, answer, live, events, review, stages, health, drift, models, settings, zones)


def refused(request: Request, refusal: Refused) -> Response:
    """Return a refusal, for people or for programs."""
    if "text/html" not in request.headers.get("Accept", ""):
        return plain_refusal(request, refusal)
    login = None
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        try:
            sent_from = urlsplit(request.headers.get("Referer", ""))
        except ValueError:  # http://[
            sent_from = urlsplit("")
        login = login_place(f"{sent_from.path}?{sent_from.query}")
    code = int(refusal.status)
    return render(request, "refused.html", refusal.status, words=refusal.words, code=code, login=login)


def unclaimed(request: Request) -> Response:
    """Return what is shown until the page has an owner: nothing but how to become it."""
    if "text/html" not in request.headers.get("Accept", ""):
        return plain_refusal(request, Refused(HTTPStatus.FORBIDDEN, "this page has no owner yet"))
    return render(request, "unclaimed.html", HTTPStatus.FORBIDDEN)


async def _failed(request: Request, error: Exception) -> Response:
    """Return the page for what was refused, or is not there."""
    if isinstance(error, Refused):
        return refused(request, error)
    if isinstance(error, DiskError):
        return refused(request, Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))
    if not isinstance(error, HTTPException):  # the guard logs it
        return refused(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error ({type(error).__name__})"))
    words = {404: "there is no such page", 405: "this cannot be asked for in this way"}.get(error.status_code)
    return refused(request, Refused(HTTPStatus(error.status_code), words or error.detail))


def page_app(page: Page, names: list[str]) -> ASGIApp:
    """Return an alarm's application; ``names``: hosts beside addresses and localhost."""
    routes = [route for part in PARTS for route in part.ROUTES]
    return guarded_app(page, routes, names, tls=page.alarm().settings.page.tls)


def guarded_app(page: BasePage, routes: Sequence[BaseRoute], names: Sequence[str], *, tls: bool) -> ASGIApp:
    """Return the application of a page with these routes behind its guard; ``tls``: with a certificate of its own."""
    static = Mount("/static", StaticFiles(directory=FOLDER / "static"))
    icons = Mount("/icons", StaticFiles(directory=FOLDER.parent / "phone" / "app" / "icons"))
    manifest = Route("/manifest.webmanifest", _manifest)
    failed = dict.fromkeys((HTTPException, Refused, DiskError, Exception), _failed)
    app = Starlette(routes=[*routes, manifest, static, icons], exception_handlers=failed)
    return Guard(app, page, names, tls=tls, unclaimed=unclaimed, refused=refused)


async def _manifest(request: Request) -> Response:
    return Response((FOLDER / "static" / "manifest.webmanifest").read_bytes(), media_type="application/manifest+json")
