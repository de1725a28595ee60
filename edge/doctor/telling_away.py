"""Who is told over a network: asked whether they are there, without sending anything. A network away is a doubt."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.doctor.finding import Finding, broken, doubt, fine
from edge.doctor.patient import Patient
from edge.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from edge.alert.mqtt import Connection

WITHIN_S = 8.0
LASTS_S = 1.0
WAITS = "check the network; until then events wait in the journal"
SILENT = "check the network; until then whoever watches it is right to raise an alarm"
CORRECT = "correct it in the config"
NO_ANSWER = "check its settings, and try it: bear-alarm alert test"


def check_mqtt(patient: Patient) -> Iterator[Finding]:
    """Connect to the broker as a guest, be let in, and leave; the alarm's own connection is not disturbed."""
    settings = patient.settings.alerts.mqtt
    if settings is None:
        return
    from edge.alert import mqtt
    from edge.alert.mqtt import Connection

    name = f"mqtt {settings.where}"
    try:
        socket.create_connection((settings.host, settings.port), WITHIN_S).close()
    except OSError as error:
        yield doubt(name, *_split(mqtt.unreachable(settings.where, error, tls=False)))
        return
    called = threading.Event()
    try:
        connection = Connection(settings, f"bear-alarm-doctor-{uuid.uuid4().hex[:6]}", called.set)
    except (OptionError, UnavailableError) as error:
        yield broken(name, *_split(str(error)))
        return
    _settled(connection, called)
    problem = None if connection.up else connection.problem
    up = connection.up
    connection.close(1.0)
    if up:
        yield fine(name, "the broker is there and lets us in")
    elif problem:
        yield broken(name, problem, "correct it in the config, or at the broker")
    else:
        yield doubt(name, f"the broker took the connection and said nothing for {WITHIN_S:g} s", WAITS)


def _settled(connection: Connection, called: threading.Event) -> None:
    """Wait until it is up, or has a problem that lasts: an older broker refuses once, and is asked again its way."""
    until = time.monotonic() + WITHIN_S
    wrong_since: float | None = None
    connection.tend()
    while not connection.up and (now := time.monotonic()) < until:
        if called.wait(0.05):
            called.clear()
            connection.tend()
            wrong_since = None
        elif connection.problem is None:
            wrong_since = None
        elif wrong_since is None:
            wrong_since = now
        elif now - wrong_since > LASTS_S:
            return


def check_webhook(patient: Patient) -> Iterator[Finding]:
    """The host of the webhook has an address and answers; nothing is posted."""
    url = patient.settings.alerts.webhook
    if not url:
        return
    from edge.alert.webhook import Webhook

    try:
        Webhook(url, secret=patient.settings.alerts.webhook_secret)
    except OptionError as error:
        yield broken("webhook", *_split(str(error)))
        return
    yield _answers("webhook", url, WAITS)


def check_heartbeat(patient: Patient) -> Iterator[Finding]:
    """The host that is asked while all is well, or the proxy on the way to it, has an address and answers."""
    from urllib.request import getproxies, proxy_bypass

    url = patient.settings.health.heartbeat_url
    if not url:
        return
    try:
        to = web_address(url, "the heartbeat")
    except OptionError as error:
        yield broken("heartbeat", *_split(str(error)))
        return
    proxy = getproxies().get("https" if to.tls else "http")
    if proxy and not proxy_bypass(to.host):
        yield _answers("heartbeat's proxy", proxy if "://" in proxy else f"http://{proxy}", SILENT)
    else:
        yield _answers("heartbeat", url, SILENT)


def check_people(patient: Patient) -> Iterator[Finding]:
    """Every Apprise URL is one that Apprise can use; nothing is sent."""
    urls = patient.settings.alerts.notify
    for number, url in enumerate(urls, 1):
        from edge.alert.notify import Notify, guessable

        name = "notify" if len(urls) == 1 else f"notify {number}"
        try:
            Notify(url)
        except (OptionError, UnavailableError) as error:
            yield broken(name, *_split(str(error)))
            continue
        if doubted := guessable(url):
            yield doubt(name, *_split(doubted))
        else:
            scheme = address_of(url).partition("://")[0]
            yield fine(name, f"{scheme}:// is understood; try it with `bear-alarm alert test --notify …`")


def _answers(name: str, url: str, away: str) -> Finding:
    """Whether somebody listens at a URL's host and port, with a certificate that is good where it should have one.

    ``away``: what to do where nobody does.
    """
    where = address_of(url)
    try:
        to = web_address(url, f"the {name}")
        with socket.create_connection((to.host, to.port), WITHIN_S) as opened:
            if to.tls:
                ssl.create_default_context().wrap_socket(opened, server_hostname=to.host).close()
    except OptionError as error:
        return broken(name, *_split(str(error), CORRECT))
    except ssl.SSLCertVerificationError as error:
        words = f"{where}: its certificate is not trusted ({error.verify_message})"
        return broken(name, words, "is this machine's clock right? else mend the certificate")
    except OSError as error:
        return doubt(name, f"{where} cannot be reached ({scrub(error_words(error), secrets_of(url))})", away)
    return fine(name, f"{where} answers; nothing was sent")


def _split(sentence: str, otherwise: str = NO_ANSWER) -> tuple[str, str]:
    what, _, todo = sentence.partition("; ")
    return what, todo or otherwise
