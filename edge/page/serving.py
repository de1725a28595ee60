"""The web servers of one run of ``watch``, which outlive the alarms that a reload exchanges: page and telemetry."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.page.server import WebServer
from edge.settings import parse_listen

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.settings import Settings

log = logging.getLogger(__name__)

PAGE, TELEMETRY = "page", "telemetry"  # parts of health


class Serving:
    """Serves what the settings of the running alarm ask for; ``follow`` after each reload, ``close`` at the end.

    ``config`` and ``reload`` are the page's (``edge.page.app.Page``).
    """

    def __init__(self, alarm: Callable[[], Alarm], config: Path | None, reload: Callable[[], None]) -> None:
        self._alarm = alarm
        self._config = config
        self._reload = reload
        self._servers: dict[str, tuple[object, WebServer]] = {}  # by part, with the settings it was made of

    def follow(self) -> None:
        """Open, exchange or close servers as the settings of the running alarm ask; have health ask them."""
        alarm = self._alarm()
        settings = alarm.settings
        telemetry, page = settings.health.listen, settings.page
        self._replace(TELEMETRY, telemetry, lambda: self._telemetry(str(telemetry)))
        self._replace(PAGE, (page, alarm.state) if page.listen else None, lambda: self._page(settings))
        for part, (_, server) in self._servers.items():
            alarm.ask(part, server.problem)

    def server(self, part: str) -> WebServer | None:
        """Return a server that is open; None where there is none."""
        found = self._servers.get(part)
        return found[1] if found else None

    def close(self) -> None:
        """Stop serving."""
        for _, server in self._servers.values():
            server.close()
        self._servers.clear()

    def _replace(self, part: str, wanted: object, make: Callable[[], WebServer]) -> None:
        before = self._servers.get(part)
        if before and before[0] == wanted:
            return
        if before:
            before[1].close()
            del self._servers[part]
        if wanted is not None:
            self._servers[part] = wanted, make()

    def _telemetry(self, listen: str) -> WebServer:
        from edge.page.telemetry import telemetry_app

        host, _ = parse_listen(listen)
        loopback = ipaddress.ip_address(host).is_loopback
        hosts = ["localhost", "127.0.0.1", "[::1]", host] if loopback else None
        server = WebServer(listen, telemetry_app(lambda: self._alarm().status(), hosts), TELEMETRY)
        if not server.problem():
            log.info("the alarm's health is on %s/healthz and /metrics", server.address)
            if not loopback:
                log.warning("anyone who reaches %s can read the alarm's health: it has no password", server.address)
        return server

    def _page(self, settings: Settings) -> WebServer:
        from edge.page.accounts import Accounts
        from edge.page.app import Page, page_app
        from edge.phone.authority import host_name

        state = self._alarm().state
        assert state
        assert settings.page.listen
        own = host_name()
        names = ["localhost", *([own, f"{own}.local"] if own else []), *settings.page.names]
        page = Page(self._alarm, Accounts(state), self._config, self._reload)
        host, _ = parse_listen(settings.page.listen)
        context = partial(tls_context, state, host) if settings.page.tls else None
        server = WebServer(settings.page.listen, page_app(page, names), PAGE, context=context)
        if not server.problem():
            log.info("the page is on %s", server.address)
            if not page.accounts.claimed:
                log.info("Nobody owns it yet: `bear-alarm page claim` prints a link to become its owner.")
        return server


def tls_context(state: Path, host: str) -> ssl.SSLContext:
    """Return TLS by this machine's own authority, which `bear-alarm phone --serve` uses too. Raises OptionError."""
    from edge.phone.authority import LOOPBACK, host_name, identity, own_addresses

    address = ipaddress.ip_address(host)
    mine = [each.address for each in own_addresses() if each.can_be_served]
    addresses = mine if address.is_unspecified else [address]
    return identity(state / "phone", list(dict.fromkeys([*addresses, LOOPBACK])), host_name()).context()
