"""What cannot be meant together, though each setting for itself can."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.alert.sound import is_path
from edge.config.checks_cameras import check_cameras
from edge.config.kinds import said
from edge.config.shape import Config
from edge.config.tree import Key, key_text
from edge.errors import NOT_HERE, OptionError

TWO = re.compile(r"[\s,;]+[\w+-]+://")  # a second address in one
MOST_NOTIFIED = 100

Add = Callable[..., None]  # the setting, the sentence, and further settings: a mistake in one of them says it all


def check_together(config: Config, add: Add) -> None:
    """Give each contradiction to ``add``, with the setting to change; some need a look at files."""
    check_cameras(config, add)
    _check_pins(config, add)
    _check_sound(config, add)
    if "every_s" in config.health.heartbeat.model_fields_set and not config.health.heartbeat.url:
        words = "there is a time but no address; give health.heartbeat.url too"
        add(("health", "heartbeat", "every_s"), words, ("health", "heartbeat", "url"))
    if (config.deterrent.lamps or config.deterrent.hours) and not config.deterrent.play:
        inner = "lamps" if config.deterrent.lamps else "hours"
        words = "this belongs to a deterrent, and there is none; give deterrent.play: on"
        add(("deterrent", inner), words, ("deterrent", "play"))
    if config.webhook.secret and not config.webhook.url:
        add(("webhook", "secret"), "there is a secret but no address; give webhook.url too", ("webhook", "url"))
    _check_heartbeat(config, add)
    _check_mqtt(config, add)
    _check_webhook(config, add)
    _check_notify(config, add)


def absent(config: Config) -> Iterator[tuple[Key, str]]:
    """Paths that are not there, which is no mistake: the alarm names them, and tries again."""
    paths: list[tuple[Key, str]] = [(("sound", "play", n), each) for n, each in enumerate(config.sound.play)]
    if config.deterrent.play:
        paths.append((("deterrent", "play"), config.deterrent.play))
    if config.mqtt and config.mqtt.ca:
        paths.append((("mqtt", "ca"), str(config.mqtt.ca)))
    return (each for each in paths if is_path(each[1]) and not Path(each[1]).exists())


def _check_pins(config: Config, add: Add) -> None:
    seen: dict[int, Key] = {}
    for at, pins in ((("relay",), config.relay), (("deterrent", "lamps"), config.deterrent.lamps)):
        for number, pin in enumerate(pins):
            key: Key = (*at, number)
            if pin.pin in seen:
                add(key, f"pin {pin.pin} is already that of {key_text(seen[pin.pin])}; a pin can do one thing")
            seen.setdefault(pin.pin, key)


def _check_sound(config: Config, add: Add) -> None:
    sound = config.sound
    if sound.play:
        return
    for name in ("seconds", "device"):
        if name in sound.model_fields_set and not (name == "device" and config.deterrent.play):
            add(("sound", name), "nothing would sound; give sound.play too, such as siren", ("sound", "play"))
            return


def _check_mqtt(config: Config, add: Add) -> None:
    from edge.alert.mqtt_settings import Settings

    mqtt = config.mqtt
    if mqtt is None:
        return
    if "://" in mqtt.host or "@" in mqtt.host:
        add(("mqtt", "host"), "a host is a name or an address alone; for a whole URL write mqtt: URL")
        return
    for name in ("ca", "insecure"):
        if getattr(mqtt, name) and not mqtt.tls:
            add(("mqtt", name), "this is for TLS; write tls: yes too", ("mqtt", "tls"))
            return
    sound = True
    for name in ("host", "user", "password", "prefix", "discovery", "client_id"):
        given: dict[str, Any] = {"host": "localhost"} | {name: getattr(mqtt, name)}
        try:
            Settings(**given)
        except OptionError as error:
            sound = False
            add(("mqtt", name), said(error))
    if sound and mqtt.ca:
        try:
            Settings(mqtt.host, tls=True, ca=mqtt.ca).tls_context()
        except NOT_HERE:
            pass  # no mistake, as below
        except OptionError as error:
            add(("mqtt", "ca"), said(error))


def _check_heartbeat(config: Config, add: Add) -> None:
    from edge.alert.redact import web_address

    if config.health.heartbeat.url:
        try:
            web_address(config.health.heartbeat.url, "the heartbeat")
        except OptionError as error:
            add(("health", "heartbeat", "url"), said(error))


def _check_webhook(config: Config, add: Add) -> None:
    from edge.alert.webhook import Webhook

    if config.webhook.url:
        try:
            Webhook(config.webhook.url, secret=config.webhook.secret)
        except OptionError as error:
            add(("webhook", "url"), said(error))


def _check_notify(config: Config, add: Add) -> None:
    if not config.notify:
        return
    from edge.alert.notify import Notify

    if len(config.notify) > MOST_NOTIFIED:
        add(
            ("notify",),
            f"more than {MOST_NOTIFIED} addresses; each takes its time at an alarm, so tell a group instead",
        )
        return
    addresses = [url.strip() for url in config.notify]
    for number, url in enumerate(addresses):
        key: Key = ("notify", number)
        if url in addresses[:number]:
            add(key, "the same address stands there twice; once is enough")
            continue
        if TWO.search(url):
            add(key, "two addresses in one text; give each a line of its own, with - before it")
            continue
        try:
            Notify(url)
        except NOT_HERE:
            pass  # no mistake: it is tried again while the alarm runs, and `config check` warns of it
        except OptionError as error:
            add(key, said(error))
