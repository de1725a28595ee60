"""Words about an error without the secrets that libraries put into them, and web addresses taken apart."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from edge.errors import OptionError, one_line

HIDDEN = "***"
PORTS = {True: 443, False: 80}  # with TLS and without
MAX_SENTENCE = 300  # characters of a sentence
MIN_SECRET = 3  # characters of a secret: shorter ones are in every word, and hide nothing
MIN_PATH = 8  # of one between slashes: "hook" is a word, and no token is that short
ENDS = ")]}>'\",.;:?!"  # what may follow a URL in a sentence
PATH_SIGNS = "/%:@!$&'()*+,;=~?-._"  # what needs no escape in a path and query

# Schemes whose host is a host. Of others (tgram, slack, discord) it may be the token itself.
PUBLIC_HOSTS = frozenset(
    {"http", "https", "mqtt", "mqtts", "ws", "wss", "tcp", "ssl", "tls", "rtsp", "rtsps", "smtp", "smtps"}
)

# A user and password may hold any character where they were not escaped, so all up to the last @ belongs to them.
_USER = re.compile(r"(?<=://).*@")
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://((?:\*\*\*@)?(?:\[[^\]\s]*\]|[\w.-]*)(?::\d+)?)(\S*)")
# "Max retries exceeded with url: /bot123:ABC/sendMessage", as urllib3 writes it.
_PATH = re.compile(r"(\burl:\s*)(?!\w+://)\S+", re.IGNORECASE)
_PAIR = re.compile(
    r"(?i)\b([\w-]*(?:passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key|apikey|authorization|signature))"
    r"(['\"]?\s*[=:]\s*)(?:(?:bearer|basic|digest)\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+)"
)
_SCHEMES = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")


def scrub(words: str, secrets: Iterable[str] = ()) -> str:
    """Return one line of at most 300 characters without secrets, and without a URL's login, path and query.

    ``secrets`` are hidden everywhere, also escaped as in a URL.
    """
    for secret in sorted(_spellings(secrets), key=len, reverse=True):
        words = words.replace(secret, HIDDEN)
    words = _USER.sub(f"{HIDDEN}@", one_line(words))
    words = _URL.sub(_address, words)
    words = _PATH.sub(rf"\1{HIDDEN}", words)
    words = _PAIR.sub(rf"\1\2{HIDDEN}", words)
    words = _SCHEMES.sub(rf"\1 {HIDDEN}", words)
    return words if len(words) <= MAX_SENTENCE else words[: MAX_SENTENCE - 2] + " …"


def secrets_of(url: str) -> tuple[str, ...]:
    """Return the secrets of a URL: user, password, path, values of the query, what follows #; and the whole."""
    scheme, place, tail = _parts(url)
    rest = place + tail
    found = {url, rest, tail, *(each for each in re.split(r"[/?#&]", tail) if len(each) >= MIN_PATH)}
    found |= {each.partition("=")[2] for each in re.split(r"[?&#;]", tail)}
    for user in (place.rpartition("@")[0], rest.rpartition("@")[0]):
        found |= {user, *user.split(":", 1)}
    if scheme.lower() not in PUBLIC_HOSTS:
        found |= set(re.split(r"[@:]", place))
    return tuple(each for each in found if len(each) >= MIN_SECRET)


def address_of(url: str) -> str:
    """Return a URL as it may be shown: scheme, host and port; less if the rest may be secret."""
    scheme, place, tail = _parts(url)
    if "://" not in url or not re.fullmatch(r"[a-zA-Z0-9+.-]{1,32}", scheme):
        return "…"
    # An @ further on: perhaps the password has a / in it, and what looks like the host is its beginning.
    if scheme.lower() not in PUBLIC_HOSTS or "@" in tail:
        return f"{scheme}://…"
    return f"{scheme.lower()}://{place.rpartition('@')[2]}"


def error_words(error: BaseException) -> str:
    """Return an exception's words, or its name where it has none; the system's words without its numbers."""
    if verify_message := getattr(error, "verify_message", None):  # ssl.SSLCertVerificationError
        return f"its certificate is not trusted ({verify_message})"
    if type(error) is TimeoutError:  # a socket's; those of the program have words of their own
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error) or type(error).__name__


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, user and host, and the rest from the first of / ? # on."""
    scheme, _, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return scheme, place, rest[len(place) :]


def _address(match: re.Match[str]) -> str:
    scheme, place, rest = match.groups()
    inner = rest.rstrip(ENDS)  # stops and brackets behind a URL belong to the sentence
    if not place and not inner.strip("/"):
        return match[0]
    if scheme.lower() not in PUBLIC_HOSTS:
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{place}" + ("/" + HIDDEN if inner.strip("/") else "") + rest[len(inner) :]


def _spellings(secrets: Iterable[str]) -> set[str]:
    """Return each secret as it is, and escaped and not as URLs and their libraries do it."""
    found: set[str] = set()
    for secret in secrets:
        plain = {secret, unquote(secret), unquote_plus(secret)}
        found |= plain | {quote(each) for each in plain} | {quote(each, safe="") for each in plain}
        found |= {quote_plus(each) for each in plain} | {repr(each)[1:-1] for each in plain}
    return {each for each in found if len(each) >= MIN_SECRET}


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
        """Return the whole without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.tls] else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{host}{port}{self.path}"


def web_address(url: str, whose: str) -> WebAddress:
    """Return the parts of a URL; ``whose``, for the words: "the webhook". Raises OptionError, without secrets."""
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
    return WebAddress(tls, host, port or PORTS[tls], path, login)
