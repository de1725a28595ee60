"""Check every alert but the pins without noise or sending: loudspeaker, commands, broker, webhook, people."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, split_todo, unknown
from edge.cli.doctor.target import Target
from edge.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from edge.alert.mqtt_connection import BrokerConnection

WITHIN_S = 8.0  # for an answer over the network
PROBLEM_LASTS_S = 1.0
WAITS = "check the network; until then events wait in the journal"
SILENT = "check the network; until then anyone who watches it is right to raise an alarm"
CORRECT = "correct it in the config"
NO_ANSWER = "check its settings, and try it: bear-alarm alert test"
SOUND = "plug it in, see `aplay -l`, and name the output as `aplay -L` has it"


def check_sounds(target: Target) -> Iterator[CheckResult]:
    """Check every sound, with a moment of silence on its loudspeaker."""
    from edge.alert.sound import Sound

    alerts = target.settings.alerts
    for what in alerts.sounds:
        try:
            sound = Sound(what, seconds=alerts.sound_s, device=alerts.sound_device)
        except (OptionError, UnavailableError) as error:
            yield broken(f"sound {what}", *split_todo(str(error), SOUND))
            continue
        try:
            problem = sound.check()
        finally:
            sound.close()
        if problem is None:
            yield fine(f"sound {what}", f"{sound.player} plays; hear it with `bear-alarm alert test --sound {what}`")
        elif target.alarm_runs:
            words, todo = f"{problem}, but an alarm runs here and may have it", "stop the alarm and look again"
            yield unknown(f"sound {what}", words, todo)
        else:
            words, _, todo = problem.rpartition("; ")
            yield broken(f"sound {what}", words or problem, todo if words else SOUND)
    if alerts.deterrent:
        yield _deterrent(alerts.deterrent, alerts.sound_device)


def _deterrent(word: str, device: str | None) -> CheckResult:
    from edge.alert.deterrent import open_deterrent

    try:
        deterrent = open_deterrent(word, device=device)
    except (OptionError, UnavailableError) as error:
        return broken("deterrent", *split_todo(str(error), SOUND))
    try:
        return fine("deterrent", "its sounds can be read" if word != "on" else "it has its own sounds")
    finally:
        deterrent.close()


def check_commands(target: Target) -> Iterator[CheckResult]:
    """Check that the first word of a command can be run."""
    from edge.alert.local_sinks import command_in_doubt

    alerts = target.settings.alerts
    for name, line in (("on_alarm", alerts.on_alarm), ("on_trouble", alerts.on_trouble)):
        if not line:
            continue
        if doubted := command_in_doubt(line, name):
            what, todo = split_todo(doubted.removeprefix(f"{name}: "), CORRECT)
            yield broken(f"command {name}", what, todo)
        else:
            yield fine(f"command {name}", "its program is there; it was not run")
    events = alerts.events
    if events and events != "-":
        yield _line_file(Path(events).expanduser())


def _line_file(path: Path) -> CheckResult:
    if path.is_dir():
        return broken("events", f"{path} is a folder, not a file", "name a file in it")
    place = path if path.exists() else path.parent
    if os.access(place, os.W_OK):
        return fine("events", f"{path} can be written")
    return doubt("events", f"{path} cannot be written by this user", "make its folder, or change its owner")


def check_mqtt(target: Target) -> Iterator[CheckResult]:
    """Connect to the broker under a name of its own, and leave; the alarm's own connection is not disturbed."""
    settings = target.settings.alerts.mqtt
    if settings is None:
        return
    from edge.alert.mqtt_connection import BrokerConnection, unreachable

    name = f"mqtt {settings.where}"
    try:
        socket.create_connection((settings.host, settings.port), WITHIN_S).close()
    except OSError as error:
        yield doubt(name, *split_todo(unreachable(settings.where, error, tls=False), NO_ANSWER))
        return
    called = threading.Event()
    try:
        settings.tls_context()
        connection = BrokerConnection(settings, f"bear-alarm-doctor-{uuid.uuid4().hex[:6]}", called.set)
    except (OptionError, UnavailableError) as error:
        yield broken(name, *split_todo(str(error), NO_ANSWER))
        return
    _settled(connection, called)
    problem = None if connection.up else connection.problem
    up = connection.up
    connection.close(1.0)
    if up:
        yield fine(name, "the broker is there and accepts the login")
    elif problem:
        yield broken(name, problem, "correct it in the config, or at the broker")
    else:
        yield doubt(name, f"the broker took the connection and did not answer for {WITHIN_S:g} s", WAITS)


def _settled(connection: BrokerConnection, called: threading.Event) -> None:
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
        elif now - wrong_since > PROBLEM_LASTS_S:
            return


def check_webhook(target: Target) -> Iterator[CheckResult]:
    """Check that the host of the webhook has an address and answers; nothing is posted."""
    url = target.settings.alerts.webhook
    if not url:
        return
    from edge.alert.webhook import Webhook

    try:
        Webhook(url, secret=target.settings.alerts.webhook_secret)
    except OptionError as error:
        yield broken("webhook", *split_todo(str(error), NO_ANSWER))
        return
    yield _answers("webhook", url, WAITS)


def check_heartbeat(target: Target) -> Iterator[CheckResult]:
    """Check that the host of the heartbeat, or the proxy on the way to it, has an address and answers."""
    from urllib.request import getproxies, proxy_bypass

    url = target.settings.health.heartbeat_url
    if not url:
        return
    try:
        to = web_address(url, "the heartbeat")
    except OptionError as error:
        yield broken("heartbeat", *split_todo(str(error), NO_ANSWER))
        return
    proxy = getproxies().get("https" if to.tls else "http")
    if proxy and not proxy_bypass(to.host):
        yield _answers("heartbeat's proxy", proxy if "://" in proxy else f"http://{proxy}", SILENT)
    else:
        yield _answers("heartbeat", url, SILENT)


def check_people(target: Target) -> Iterator[CheckResult]:
    """Check that Apprise can use every URL; nothing is sent."""
    urls = target.settings.alerts.notify
    for number, url in enumerate(urls, 1):
        from edge.alert.notify import Notify, guessable

        name = "notify" if len(urls) == 1 else f"notify {number}"
        try:
            Notify(url)
        except (OptionError, UnavailableError) as error:
            yield broken(name, *split_todo(str(error), NO_ANSWER))
            continue
        if doubted := guessable(url):
            yield doubt(name, *split_todo(doubted, NO_ANSWER))
        else:
            scheme = address_of(url).partition("://")[0]
            yield fine(name, f"{scheme}:// is understood; try it with `bear-alarm alert test --notify …`")


def _answers(name: str, url: str, away: str) -> CheckResult:
    """Connect to a URL's host and port, and check its certificate where it should have one.

    ``away``: what to do where nothing answers.
    """
    where = address_of(url)
    try:
        to = web_address(url, f"the {name}")
        with socket.create_connection((to.host, to.port), WITHIN_S) as opened:
            if to.tls:
                ssl.create_default_context().wrap_socket(opened, server_hostname=to.host).close()
    except OptionError as error:
        return broken(name, *split_todo(str(error), CORRECT))
    except ssl.SSLCertVerificationError as error:
        words = f"{where}: its certificate is not trusted ({error.verify_message})"
        return broken(name, words, "check this machine's clock, then the certificate")
    except OSError as error:
        return doubt(name, f"{where} cannot be reached ({scrub(error_words(error), secrets_of(url))})", away)
    return fine(name, f"{where} answers; nothing was sent")
