"""The page put together: its parts, its templates, and what they share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.page.guard import Guard, Refused, login_place, plain_refusal
from edge.version import __version__

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge.alarm import Alarm
    from edge.page.accounts import Accounts
    from edge.page.telemetry import CachedStatus
    from edge.status import Ask

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
MENU = (("/", "Live"), ("/events", "Events"), ("/review", "Review"), ("/health", "Health"), ("/settings", "Settings"))


@dataclass
class Page:
    """What the page's parts share.

    ``alarm``: the one that runs now; a reload puts another in its place, so ask each time. ``config``: the YAML file,
    None where the alarm was started without. ``reload``: has the alarm read it again, and returns what says how that
    went: None until it was read, then why it is not used, "" where nothing is wrong with it.
    """

    alarm: Callable[[], Alarm]
    status: CachedStatus
    accounts: Accounts
    config: Path | None = None
    reload: Callable[[], Ask] | None = None
    shared: dict[str, Any] = field(default_factory=dict)  # one object for each part that keeps something

    @property
    def state(self) -> Path:
        """Return the state folder: of the journal, the accounts, the certificates."""
        folder = self.alarm().state
        assert folder  # a page is only served where there is one
        return folder


def page_of(request: Request) -> Page:
    """Return what the parts share."""
    page: Page = request.app.state.page
    return page


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page of HTML. Every template has ``access``, ``csrf``, ``menu``, ``path``, ``version``."""
    access = getattr(request.state, "access", None)
    values = {
        "access": access,
        "csrf": access.csrf if access else "",
        "menu": MENU,
        "path": request.url.path,
        "version": __version__,
    } | values
    return HTMLResponse(_templates().get_template(template).render(values), status)


def back_to(place: str) -> Response:
    """Return a redirect after a change, so that loading the page again does not repeat it."""
    return RedirectResponse(place, HTTPStatus.SEE_OTHER)


def refused(request: Request, refusal: Refused) -> Response:
    """Return a refusal, for people or for programs."""
    if "text/html" not in request.headers.get("Accept", ""):
        return plain_refusal(request, refusal)
    login = None
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        sent_from = urlsplit(request.headers.get("Referer", ""))
        login = login_place(f"{sent_from.path}?{sent_from.query}")
    return render(request, "refused.html", refusal.status, words=refusal.words, code=int(refusal.status), login=login)


def unclaimed(request: Request) -> Response:
    """Return what is shown until the page has an owner: nothing but how to become it."""
    if "text/html" not in request.headers.get("Accept", ""):
        return plain_refusal(request, Refused(HTTPStatus.FORBIDDEN, "this page has no owner yet"))
    return render(request, "unclaimed.html", HTTPStatus.FORBIDDEN)


async def _failed(request: Request, error: Exception) -> Response:
    """Return the page for what was refused, or is not there."""
    if isinstance(error, Refused):
        return refused(request, error)
    if not isinstance(error, HTTPException):  # the guard logs it
        return refused(request, Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error ({type(error).__name__})"))
    words = {404: "there is no such page", 405: "this cannot be asked for in this way"}.get(error.status_code)
    return refused(request, Refused(HTTPStatus(error.status_code), words or error.detail))


def page_app(page: Page, names: list[str]) -> ASGIApp:
    """Return the application; ``names``: hosts beside addresses and localhost."""
    from edge.page import access, events, health, live, review, settings, zones

    parts = (access, live, events, review, health, settings, zones)
    routes = [route for part in parts for route in part.ROUTES]
    static = Mount("/static", StaticFiles(directory=FOLDER / "static"))
    icons = Mount("/icons", StaticFiles(directory=FOLDER.parent / "phone" / "app" / "icons"))
    manifest = Route("/manifest.webmanifest", _manifest)
    failed = {HTTPException: _failed, Refused: _failed, Exception: _failed}
    app = Starlette(routes=[*routes, manifest, static, icons], exception_handlers=failed)
    app.state.page = page
    tls = page.alarm().settings.page.tls
    return Guard(app, page.accounts, names, tls=tls, unclaimed=unclaimed, refused=refused)


async def _manifest(request: Request) -> Response:
    return Response((FOLDER / "static" / "manifest.webmanifest").read_bytes(), media_type="application/manifest+json")


def marked(words: str) -> Markup:
    """Return words with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(words))))


def prose(words: str) -> Markup:
    """Return words as a sentence: a capital letter first, a full stop last, what stands in backticks as code.

    The name of a file or a setting keeps its own first letter.
    """
    stop = "" if words.endswith((".", "…", "?", "!")) or not words else "."
    first = words[:1] if re.match(r"\S*[./_][^\s.]", words) else words[:1].upper()
    return marked(f"{first}{words[1:]}{stop}")


@cache
def _templates() -> Environment:
    made = Environment(loader=PackageLoader("edge.page"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"marked": marked, "prose": prose}
    return made
