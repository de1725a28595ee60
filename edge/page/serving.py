"""The web servers of one run of ``watch``, which outlive the alarms that a reload exchanges: page and telemetry."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from edge.background import start_thread
from edge.errors import OptionError
from edge.page.server import WebServer
from edge.page.telemetry import CachedStatus, telemetry_app
from edge.settings import parse_listen

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge.alarm import Alarm
    from edge.page.accounts import Accounts
    from edge.phone.authority import Identity
    from edge.settings import PageSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

PAGE, TELEMETRY = "page", "telemetry"  # parts of health


class Serving:
    """Serves what the settings of the running alarm ask for; ``follow`` after each reload, ``close`` at the end.

    ``config`` and ``reload`` are the page's (``edge.page.common.Page``). ``claim``: the command that makes an owner.
    """

    def __init__(
        self,
        alarm: Callable[[], Alarm],
        config: Path | None,
        reload: Callable[[], Ask] | None,
        claim: Callable[[], str],
    ) -> None:
        self._alarm = alarm
        self._config = config
        self._reload = reload
        self._claim = claim
        self._status = CachedStatus(lambda: alarm().status())
        self._servers: dict[str, tuple[object, WebServer, Ask]] = {}  # by part, with the settings it was made of
        self._closing: dict[str, Thread] = {}  # by part: ends the server before

    def follow(self) -> None:
        """Open, exchange or close servers as the settings of the running alarm ask; have health ask them.

        It waits for none: a certificate is made, and what hangs is closed, in threads.
        """
        alarm = self._alarm()
        self._status.forget()
        telemetry, page = alarm.settings.health.listen, alarm.settings.page
        self._replace(TELEMETRY, telemetry, lambda: self._telemetry(str(telemetry)))
        self._replace(PAGE, (page, alarm.state) if page.listen else None, lambda: self._page(page))
        for part, (_, _, problem) in self._servers.items():
            alarm.ask(part, problem)
        if PAGE in self._servers and alarm.alerting:
            alarm.alerting.page = self.reached

    def reached(self) -> str | None:
        """Return the beginning of the page's URLs for other machines; None where none reach it."""
        page, server = self._alarm().settings.page, self.server(PAGE)
        if server is None or not server.port or (page.loopback and not page.names):
            return None
        return addresses_of(page, server.port)[0]

    def server(self, part: str) -> WebServer | None:
        """Return a server that is open; None where there is none."""
        found = self._servers.get(part)
        return found[1] if found else None

    def close(self) -> None:
        """Stop serving."""
        for _, server, _ in self._servers.values():
            server.close()
        self._servers.clear()

    def _replace(self, part: str, wanted: object, make: Callable[[], tuple[WebServer, Ask]]) -> None:
        before = self._servers.get(part)
        if before and before[0] == wanted:
            return
        if before:
            self._closing[part] = start_thread(before[1].close, f"{part} closes")
            del self._servers[part]
        if wanted is not None:
            self._servers[part] = wanted, *make()

    def _telemetry(self, listen: str) -> tuple[WebServer, Ask]:
        host, _ = parse_listen(listen)
        loopback = ipaddress.ip_address(host).is_loopback
        hosts = {"localhost", "127.0.0.1", "::1", host} if loopback else None

        def opened(address: str) -> None:
            log.info("the alarm's health is on %s/healthz and /metrics", address)
            if not loopback:
                log.warning("anyone who reaches %s can read the alarm's health: it has no password", address)

        app, after = telemetry_app(self._status, hosts), self._closing.get(TELEMETRY)
        server = WebServer(listen, app, TELEMETRY, opened=opened, after=after)
        return server, server.problem

    def _page(self, settings: PageSettings) -> tuple[WebServer, Ask]:
        from edge.page.app import page_app
        from edge.page.common import Page

        state = self._alarm().state
        assert state

        def make(accounts: Accounts, names: list[str]) -> ASGIApp:
            page = Page(
                alarm=self._alarm, status=self._status, accounts=accounts, config=self._config, reload=self._reload
            )
            return page_app(page, names)

        return page_server(settings, state, make, self._claim(), after=self._closing.get(PAGE))


def page_server(
    settings: PageSettings,
    state: Path,
    make: Callable[[Accounts, list[str]], ASGIApp],
    claim: str,
    *,
    after: Thread | None = None,
) -> tuple[WebServer, Ask]:
    """Open the server of a page; return it, and what asks for its problem.

    ``settings``: ``listen`` is set. ``state``: the folder of accounts and certificates. ``make``: of the accounts and
    the names it is asked for by, the application. ``claim``: the command that makes an owner. ``after``: ends before.
    """
    from edge.page.accounts import Accounts
    from edge.phone.authority import host_name

    assert settings.listen
    host, _ = parse_listen(settings.listen)
    own = host_name()
    names = ["localhost", *([own, f"{own}.local"] if own else []), *settings.names]
    accounts = Accounts(state)

    def opened(address: str) -> None:
        log.info("the page is on %s", " and ".join(addresses_of(settings, int(address.rpartition(":")[2]))))
        if not (settings.loopback or settings.tls):
            log.warning("anyone in the network can read the page's passphrase: with allow_http it is not encrypted")
        if _is_claimed(accounts):
            log.info("`%s` prints a link to choose another passphrase for the page.", claim)
        else:
            log.info("Nobody owns the page yet: `%s` prints a link to become its owner.", claim)

    app = make(accounts, names)
    identity = partial(page_identity, state, host) if settings.tls else None
    server = WebServer(settings.listen, app, PAGE, opened=opened, identity=identity, after=after)
    return server, lambda: server.problem() or accounts.problem()


def addresses_of(where: PageSettings, port: int = 0) -> list[str]:
    """Return the beginnings of the page's URLs, the best for another machine first; ``port``: had instead of 0."""
    from edge.phone.authority import host_name, own_addresses

    host, wanted = parse_listen(str(where.listen))
    listener, hosts = ipaddress.ip_address(host), [host]
    if listener.is_unspecified:
        name, own_ones = host_name(), [each.address for each in own_addresses() if not each.fault]
        hosts = [str(each) for each in own_ones if each.version <= listener.version]  # [::] takes IPv4 too
        hosts = [*hosts, *([f"{name}.local"] if name else [])] or ["127.0.0.1"]
    own = [
        f"{'https' if where.tls else 'http'}://{f'[{each}]' if ':' in each else each}:{wanted or port}"
        for each in hosts
    ]
    proxied = [] if where.tls else [f"https://{name}" for name in where.names]
    return [*proxied, *own]


def page_identity(state: Path, host: str) -> Identity:
    """Return the certificate of a page that listens on ``host``, by the authority that `phone --serve` uses too.

    Raises OptionError.
    """
    from edge.phone.authority import LOOPBACK, host_name, identity, own_addresses

    address = ipaddress.ip_address(host)
    mine = [each.address for each in own_addresses() if each.can_be_served]
    addresses = mine if address.is_unspecified else [address]
    return identity(state / "phone", list(dict.fromkeys([*addresses, LOOPBACK])), host_name())


def _is_claimed(accounts: Accounts) -> bool:
    """Return True also where that is not known: health reports it then."""
    try:
        return accounts.claimed
    except OptionError:
        return True
