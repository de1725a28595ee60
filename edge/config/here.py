"""Warn of settings that this machine cannot serve now, or that are unwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config.kinds import said
from edge.errors import NOT_HERE

if TYPE_CHECKING:
    from edge.settings import AlertSettings


def doubts(alerts: AlertSettings) -> Iterator[str]:
    """One sentence for each, beginning with the setting. Nothing is played, switched or sent."""
    from edge.alert.command import command_in_doubt
    from edge.alert.deterrent import SWITCHED_ON, sound_files
    from edge.alert.gpio import parse_pin, reach_pins
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
