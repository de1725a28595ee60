"""Check what pydantic cannot: settings that contradict each other, and what this machine lacks.

``check_together`` finds contradictions, ``absent`` and ``doubts`` what is missing now and may come later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.alert.mqtt_settings import MqttSettings
from edge.alert.sound import is_path
from edge.config.cameras import Add, check_cameras
from edge.config.schema import Config, said
from edge.config.yaml_tree import Key, key_text
from edge.errors import NOT_HERE, OptionError

if TYPE_CHECKING:
    from edge.settings import AlertSettings

TWO_ADDRESSES = re.compile(r"[\s,;]+[\w+-]+://")  # a second address in one
MAX_NOTIFIED = 100


def check_together(config: Config, add: Add) -> None:
    """Give each contradiction to ``add``, with the setting to change. Files and folders are looked at."""
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
    if config.webhook.secret and not config.webhook.secret.strip():
        add(("webhook", "secret"), "it is empty; give one, or leave it out")
    _check_mqtt(config, add)
    _check_notify(config, add)


def _check_pins(config: Config, add: Add) -> None:
    seen: dict[int, Key] = {}
    for at, pins in ((("relay",), config.relay), (("deterrent", "lamps"), config.deterrent.lamps)):
        for number, pin in enumerate(pins):
            key: Key = (*at, number)
            if pin.pin in seen:
                add(key, f"pin {pin.pin} is already that of {key_text(seen[pin.pin])}; give each its own pin")
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
            MqttSettings(**given)
        except OptionError as error:
            sound = False
            add(("mqtt", name), said(error))
    if sound and mqtt.ca:
        try:
            MqttSettings(mqtt.host, tls=True, ca=mqtt.ca).tls_context()
        except NOT_HERE:
            pass  # no mistake, as below
        except OptionError as error:
            add(("mqtt", "ca"), said(error))


def _check_notify(config: Config, add: Add) -> None:
    if not config.notify:
        return
    from edge.alert.notify import Notify

    if len(config.notify) > MAX_NOTIFIED:
        add(
            ("notify",),
            f"more than {MAX_NOTIFIED} addresses; each takes its time at an alarm, so notify a group instead",
        )
        return
    addresses = [url.strip() for url in config.notify]
    for number, url in enumerate(addresses):
        key: Key = ("notify", number)
        if url in addresses[:number]:
            add(key, "the same address is there twice; once is enough")
            continue
        if TWO_ADDRESSES.search(url):
            add(key, "two addresses in one text; give each a line of its own, with - before it")
            continue
        try:
            Notify(url)
        except NOT_HERE:
            pass  # no mistake: it is tried again while the alarm runs, and `config check` warns of it
        except OptionError as error:
            add(key, said(error))


def absent(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield paths that are missing, which is not a mistake: the alarm reports them and tries again."""
    paths: list[tuple[Key, str]] = [(("sound", "play", n), each) for n, each in enumerate(config.sound.play)]
    if config.deterrent.play:
        paths.append((("deterrent", "play"), config.deterrent.play))
    if config.mqtt and config.mqtt.ca:
        paths.append((("mqtt", "ca"), str(config.mqtt.ca)))
    return (each for each in paths if is_path(each[1]) and not Path(each[1]).exists())


def doubts(alerts: AlertSettings) -> Iterator[str]:
    """Yield what this machine cannot do now or what is unwise, a sentence each. Nothing is played, switched or sent."""
    from edge.alert.deterrent import SWITCHED_ON, sound_files
    from edge.alert.gpio import parse_pin, reach_pins
    from edge.alert.local_sinks import command_in_doubt
    from edge.alert.notify import Notify, guessable
    from edge.alert.sound import NAMES, find_players, read_wav

    if alerts.sounds or alerts.deterrent:
        yield from _tried("sound" if alerts.sounds else "deterrent", partial(find_players, alerts.sound_device))
    for path in (Path(what) for what in alerts.sounds if what not in NAMES):
        yield from _tried("sound.play", partial(read_wav, path, alerts.sound_s))
    if alerts.deterrent and alerts.deterrent != SWITCHED_ON:
        yield from _tried("deterrent.play", partial(sound_files, alerts.deterrent, Path(alerts.deterrent)))
    if alerts.mqtt:
        yield from _tried("mqtt.ca", alerts.mqtt.tls_context)
    for name, pins in (("relay", alerts.relays), ("deterrent.lamps", alerts.deterrent_lamps)):
        if pins:
            yield from _tried(name, partial(reach_pins, parse_pin(pins[0], name).number))
    for name, line in (("command.on_alarm", alerts.on_alarm), ("command.on_trouble", alerts.on_trouble)):
        if line and (doubt := command_in_doubt(line, name)):
            yield doubt
    for url in alerts.notify:
        yield from _tried("notify", partial(Notify, url))
        if doubt := guessable(url):
            yield f"notify: {doubt}"


def _tried(name: str, call: Callable[[], object]) -> Iterator[str]:
    try:
        call()
    except NOT_HERE as error:
        yield f"{name}: {said(error)}"
