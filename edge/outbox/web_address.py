"""An address of the web as a user writes it, made ready for whoever posts to it or asks for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from edge.errors import OptionError
from edge.outbox.scrub import address_of

PATH_SIGNS = "/%:@!$&'()*+,;=~?-._"  # what may stand in a path and query as it is


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An http or https address. The path, and the login of course, may be secrets."""

    tls: bool
    host: str  # in ASCII, without brackets
    port: int
    path: str = field(repr=False)  # escaped, with its query; begins with /
    login: str | None = field(repr=False)  # as the header Authorization has it; None: there is none

    @property
    def url(self) -> str:
        """The whole without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _port(self.tls) else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{host}{port}{self.path}"


def web_address(url: str, whose: str) -> WebAddress:
    """The parts of a URL; ``whose``, for the words: "the webhook". Raises OptionError, without secrets."""
    problem = f"{whose}'s address ({address_of(url)})"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise OptionError(f"{problem} is no URL: a port is a number, and signs in a password are escaped") from None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise OptionError(f"{problem} is none; it begins with https:// or http:// and a host's name")
    if any(not sign.isprintable() or sign.isspace() for sign in url):
        raise OptionError(f"{problem} has a space or an unprintable sign in it; copy it again")
    try:
        # Also of one in ASCII, which may be too long or have two stops in a row.
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    except UnicodeError:
        raise OptionError(f"{problem} has a host's name that cannot be") from None
    tls = parts.scheme.lower() == "https"
    path = quote(parts.path or "/", safe=PATH_SIGNS)
    if parts.query:
        path += "?" + quote(parts.query, safe=PATH_SIGNS)
    login = None
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + base64.b64encode(words.encode()).decode()
    return WebAddress(tls, host, port or _port(tls), path, login)


def _port(tls: bool) -> int:
    return 443 if tls else 80
