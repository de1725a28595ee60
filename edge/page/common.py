"""Shared by the parts of a page: what is behind it, the templates, and how a response is made."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge.page.banner import banner
from edge.version import __version__

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.page.accounts import Access, Accounts
    from edge.page.telemetry import CachedStatus
    from edge.status import Ask

FOLDER = Path(__file__).parent
MENU = (
    ("/", "Live"), ("/events", "Events"), ("/review", "Review"), ("/stages", "Stages"), ("/health", "Health"),
    ("/settings", "Settings"),
)  # fmt: skip


@dataclass(kw_only=True)
class BasePage(ABC):
    """The state that the parts of a page share, an alarm's or a fleet's."""

    is_fleet: ClassVar[bool] = False
    accounts: Accounts
    shared: dict[str, Any] = field(default_factory=dict)  # one object for each part that keeps something

    @abstractmethod
    def for_logged_in(self, access: Access) -> dict[str, Any]:
        """Return values of each template for those who are logged in; it waits for nothing."""


@dataclass(kw_only=True)
class Page(BasePage):
    """The state that the parts of an alarm's page share.

    ``alarm``: the one that runs now; a reload puts another in its place, so ask each time. ``config``: the YAML file,
    None where the alarm was started without. ``reload``: has the alarm read it again, and returns what says how that
    went: None until it was read, then why it is not used, "" where nothing is wrong with it.
    """

    alarm: Callable[[], Alarm]
    status: CachedStatus
    config: Path | None = None
    reload: Callable[[], Ask] | None = None

    @property
    def state(self) -> Path:
        """Return the state folder: of the journal, the accounts, the certificates."""
        folder = self.alarm().state
        assert folder  # a page is only served where there is one
        return folder

    def for_logged_in(self, access: Access) -> dict[str, Any]:
        """Return the menu and the banner."""
        return {"menu": MENU} | banner(self.alarm(), owner=access.owner)


def accounts_of(request: Request) -> Accounts:
    """Return who may get in, of an alarm's page or a fleet's."""
    page: BasePage = request.state.page
    return page.accounts


def page_of(request: Request) -> Page:
    """Return what the parts of an alarm's page share."""
    page: Page = request.state.page
    return page


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page of HTML.

    Every template has ``fleet``, ``access``, ``csrf``, ``path`` and ``version``; with access what is ``for_logged_in``.
    """
    page: BasePage = request.state.page
    access: Access | None = request.state.access
    values = (page.for_logged_in(access) if access else {}) | values
    values = {
        "fleet": page.is_fleet,
        "access": access,
        "csrf": access.csrf if access else "",
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

    The name of a file, a setting or a host with its port keeps its own first letter.
    """
    stop = "" if words.endswith((".", "…", "?", "!")) or not words else "."
    first = words[:1] if re.match(r"\S*[./_:][^\s.]", words) else words[:1].upper()
    return marked(f"{first}{words[1:]}{stop}")


@cache
def _templates() -> Environment:
    made = Environment(loader=PackageLoader("edge.page"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"marked": marked, "prose": prose}
    return made
