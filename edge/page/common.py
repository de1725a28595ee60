"""Shared by the parts of the page: the running alarm, the templates, and how a response is made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge.page.banner import banner
from edge.version import __version__

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.page.accounts import Accounts
    from edge.page.telemetry import CachedStatus
    from edge.status import Ask

FOLDER = Path(__file__).parent
MENU = (
    ("/", "Live"), ("/events", "Events"), ("/review", "Review"), ("/stages", "Stages"), ("/health", "Health"),
    ("/settings", "Settings"),
)  # fmt: skip


@dataclass
class Page:
    """The state that the page's parts share.

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
    """Return a page of HTML. Every template has the banner, ``access``, ``csrf``, ``menu``, ``path``, ``version``."""
    access, app = getattr(request.state, "access", None), request.scope.get("app")  # no app: the guard refuses
    said = banner(app.state.page.alarm(), owner=access.owner) if access and app else {"shadow": "", "questions": []}
    values = {
        **said,
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
