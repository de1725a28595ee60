"""Settings of the MQTT broker: one value, made from a URL or by a config."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from edge.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    import ssl


PREFIX = "bear-alarm"
DISCOVERY = "homeassistant"  # the prefix Home Assistant listens to unless it is set to another
EVERY_S = 30.0
EXAMPLE = "write mqtt://USER:PASSWORD@HOST:1883/PREFIX, or mqtts:// for TLS"
OPTIONS = ("ca", "insecure", "discovery", "every", "pictures", "client_id")
PORTS = {"mqtt": 1883, "mqtts": 8883}
SWITCH = {"1": True, "yes": True, "on": True, "true": True, "0": False, "no": False, "off": False, "false": False}


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """One broker. Raises OptionError, in a sentence without secrets, for what makes no sense."""

    host: str  # a name or an address, IPv6 without brackets
    port: int = 1883
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: Path | None = None  # PEM file of the CA to trust; None: those of the system
    insecure: bool = False  # TLS without looking at the certificate
    prefix: str = PREFIX  # of all topics
    discovery: str = DISCOVERY  # Home Assistant's discovery prefix; empty: do not announce
    every_s: float = EVERY_S  # how often the state is published again, seconds
    pictures: bool = True
    client_id: str | None = None  # None: one of this device

    def __post_init__(self) -> None:
        if not _is_host(self.host):
            raise OptionError(f"MQTT: the host is no name and no address; {EXAMPLE}")
        if not 1 <= self.port <= 65_535:
            raise OptionError(f"MQTT: port {self.port} does not exist; give one from 1 to 65535")
        if not _is_topic(self.prefix):
            raise OptionError(f"MQTT: {self.prefix!r} cannot begin a topic; use a/b/c without +, # and $")
        if self.discovery and not _is_topic(self.discovery):
            raise OptionError(f"MQTT: discovery={self.discovery!r} cannot begin a topic; use {DISCOVERY}, or 0")
        if not (math.isfinite(self.every_s) and 0.05 <= self.every_s <= 3600.0):
            raise OptionError(f"MQTT: every={self.every_s:g} seconds is not between 0.05 and 3600")
        if (self.ca or self.insecure) and not self.tls:
            raise OptionError("MQTT: ca and insecure are for TLS; write mqtts:// in front")

    @property
    def where(self) -> str:
        """Host and port as people see them: no secrets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def answers(self) -> bool:
        """Return True where questions may be asked and answered: not where everyone in the network is the user."""
        return self.user is not None or self.tls

    @property
    def expire_s(self) -> int:
        """Return after how many seconds a state that was not published again expires."""
        return max(1, math.ceil(3 * self.every_s))

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the TLS context; None without TLS. Raises OptionError when the CA file cannot be used.

        UnavailableError where it is not there: its disk may not be mounted yet.
        """
        if not self.tls:
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (FileNotFoundError, NotADirectoryError):
            raise UnavailableError(f"MQTT: ca={self.ca} is not there; mount its disk, or correct the path") from None
        except (OSError, ValueError) as error:  # SSLError is an OSError
            why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
            raise OptionError(f"MQTT: ca={self.ca} cannot be used ({why or 'no certificates in it'})") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def settings_from_url(url: str) -> MqttSettings:
    """Return the settings of a URL: ``mqtt://user:password@host:1883/prefix?every=30`` or ``mqtts://…?ca=/path.pem``.

    Raises OptionError in one sentence that shows nothing a password could be part of.
    """
    scheme, sign, _ = url.strip().partition("://")
    scheme = scheme.lower()
    if not sign or scheme not in PORTS:
        raise OptionError(f"MQTT: the address does not begin with mqtt:// or mqtts://; {EXAMPLE}")
    try:
        parts = urlsplit(url.strip())
        # A / or ? in a password ends the host's part, and leaves the rest of the password and the @ behind.
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise OptionError("MQTT: write %, /, ?, # and @ in a user or password as %25, %2F, %3F, %23 and %40")
        port = parts.port
    except OptionError:
        raise
    except ValueError:  # whose words would hold the address
        raise OptionError(f"MQTT: host and port cannot be read; {EXAMPLE}") from None
    if parts.fragment:
        raise OptionError("MQTT: a topic or option cannot hold #; leave it out")
    options = _options(parts.query)
    discovery = options.get("discovery", DISCOVERY)
    try:
        ca = Path(options["ca"]).expanduser() if options.get("ca") else None
        every_s = float(options.get("every") or EVERY_S)
    except (RuntimeError, ValueError) as error:
        raise OptionError(f"MQTT: ca or every cannot be read ({error})") from None
    return MqttSettings(
        host=parts.hostname or "",
        port=PORTS[scheme] if port is None else port,
        user=_plain(parts.username, "user"),
        password=_plain(parts.password, "password"),
        tls=scheme == "mqtts",
        ca=ca,
        insecure=_switch(options, "insecure", default=False),
        prefix=(_plain(parts.path, "prefix") or "").strip("/") or PREFIX,
        discovery="" if SWITCH.get(discovery.lower(), True) is False else discovery,
        every_s=every_s,
        pictures=_switch(options, "pictures", default=True),
        client_id=options.get("client_id") or None,
    )


def _options(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise OptionError("MQTT: what follows the ? is not NAME=VALUE&NAME=VALUE in UTF-8") from None
    for name, value in pairs:
        if name not in OPTIONS:
            raise OptionError(f"MQTT: an option that does not exist; there are {', '.join(OPTIONS)}")
        found[name] = value
    return found


def _switch(options: dict[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name)
    if value is None:
        return default
    if value.lower() not in SWITCH:
        raise OptionError(f"MQTT: {name}={value!r} is neither 0 nor 1")
    return SWITCH[value.lower()]


def _plain(text: str | None, what: str) -> str | None:
    try:
        return None if text is None else unquote(text, errors="strict")
    except ValueError:
        raise OptionError(f"MQTT: the {what} is not UTF-8 once its %XX are read") from None


def _is_host(host: str) -> bool:
    try:
        # What the resolver does first; a name it cannot take would end the network thread.
        encoded = host.encode("idna")
    except UnicodeError:
        return False
    return 0 < len(encoded) <= 253 and re.search(r"[\s\x00-\x20/@\x7f]", host) is None


def _is_topic(topic: str) -> bool:
    return (
        topic.isprintable()
        and not re.search(r"[+#]", topic)
        and not topic.startswith("$")
        and all(topic.split("/"))
        and len(topic.encode()) <= 200
    )
