"""Who is told over a network: asked whether they are there, without sending anything. A network away is a doubt."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge.doctor.finding import Finding, broken, doubt, fine
from edge.doctor.patient import Patient
from edge.errors import OptionError
from edge.outbox.scrub import address_of, error_words, scrub, secrets_of

if TYPE_CHECKING:
    from edge.sinks.mqtt.connection import Connection

WITHIN_S = 8.0
LASTS_S = 1.0
WAITS = "check the network; until then events wait in the journal"
CORRECT = "correct it in the config"
NO_ANSWER = "check its settings, and try it: bear-alarm alert test"


def check_mqtt(patient: Patient) -> Iterator[Finding]:
    """Connect to the broker as a guest, be let in, and leave; the alarm's own connection is not disturbed."""
    settings = patient.settings.alerts.mqtt
    if settings is None:
        return
    from edge.sinks.mqtt import problems
    from edge.sinks.mqtt.connection import Connection

    name = f"mqtt {settings.where}"
    try:
        socket.create_connection((settings.host, settings.port), WITHIN_S).close()
    except OSError as error:
        yield doubt(name, *_split(problems.unreachable(settings.where, error, tls=False)))
        return
    called = threading.Event()
    try:
        connection = Connection(settings, f"bear-alarm-doctor-{uuid.uuid4().hex[:6]}", called.set)
    except OptionError as error:
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
    from edge.sinks.webhook import Webhook

    try:
        Webhook(url, secret=patient.settings.alerts.webhook_secret)
    except OptionError as error:
        yield broken("webhook", *_split(str(error)))
        return
    yield _answers("webhook", url)


def check_heartbeat(patient: Patient) -> Iterator[Finding]:
    """The host that is asked while all is well has an address and answers."""
    url = patient.settings.health.heartbeat_url
    if url:
        yield _answers("heartbeat", url)


def check_people(patient: Patient) -> Iterator[Finding]:
    """Every Apprise URL is one that Apprise can use; nothing is sent."""
    urls = patient.settings.alerts.notify
    for number, url in enumerate(urls, 1):
        from edge.sinks.notify import Notify

        name = "notify" if len(urls) == 1 else f"notify {number}"
        try:
            Notify(url)
        except OptionError as error:
            yield broken(name, *_split(str(error)))
        else:
            scheme = address_of(url).partition("://")[0]
            yield fine(name, f"{scheme}:// is understood; try it with `bear-alarm alert test --notify …`")


def _answers(name: str, url: str) -> Finding:
    """Whether somebody listens at a URL's host and port, with a certificate that is good where it should have one."""
    try:
        parts = urlsplit(url)
        host, port, tls = parts.hostname or "", parts.port, parts.scheme.lower() == "https"
    except ValueError:
        return broken(name, "its address is no URL", CORRECT)
    if not host or parts.scheme.lower() not in ("http", "https"):
        return broken(name, "its address does not begin with http:// or https:// and a host", CORRECT)
    where = address_of(url)
    try:
        with socket.create_connection((host, port or (443 if tls else 80)), WITHIN_S) as opened:
            if tls:
                ssl.create_default_context().wrap_socket(opened, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        words = f"{where}: its certificate is not trusted ({error.verify_message})"
        return broken(name, words, "is this machine's clock right? else mend the certificate")
    except OSError as error:
        return doubt(name, f"{where} cannot be reached ({scrub(error_words(error), secrets_of(url))})", WAITS)
    return fine(name, f"{where} answers; nothing was sent")


def _split(sentence: str) -> tuple[str, str]:
    what, _, todo = sentence.partition("; ")
    return what, todo or NO_ANSWER
