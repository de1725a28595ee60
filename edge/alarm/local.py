"""Who is told here and at once: what makes a noise or acts, the fastest first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.errors import MissingExtraError, OptionError
from edge.sinks.in_doubt import command_in_doubt

if TYPE_CHECKING:
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.sinks.deterrent import Deterrent
    from edge.sinks.gpio import Gpio
    from edge.sinks.sound import Sound
    from edge.sinks.worker import Sink

log = logging.getLogger(__name__)

Refused = Callable[[str, str], object]  # who cannot be told, and why


@dataclass(frozen=True)
class Local:
    """A sink, and how its worker is to treat it."""

    sink: Sink
    deadline_s: float  # what takes longer hangs
    wanted: Callable[[Event], bool]
    silence: Callable[[], object] | None = None  # off, for good; within a second, from any thread
    problem: Callable[[], str | None] = lambda: None  # what is known to be wrong before it is needed


@dataclass(frozen=True)
class Plan:
    """A sink that is to be: ``make`` gives it ready, or None where it cannot be had and was told to be refused.

    Plans with the same ``key`` are the same sink. ``pins``: what only one can have at a time.
    """

    key: Hashable
    name: str
    make: Callable[[], Local | None]
    pins: frozenset[int] = frozenset()


def local_plans(settings: AlertSettings, refused: Refused | None = None) -> list[Plan]:
    """Each of them; ``make`` raises OptionError, MissingExtraError, or has ``refused`` told of a pin it cannot have."""
    plans = [_relay(words, refused) for words in settings.relays]
    plans += [_sound(what, settings) for what in settings.sounds]
    if settings.deterrent:
        plans.append(_deterrent(settings, refused))
    if settings.bell:
        plans.append(Plan("bell", "the bell", _bell))
    if settings.on_alarm:
        plans.append(Plan(("on alarm", settings.on_alarm), "--on-alarm", partial(_on_alarm, settings.on_alarm)))
    if settings.on_trouble:
        make = partial(_on_trouble, settings.on_trouble)
        plans.append(Plan(("on trouble", settings.on_trouble), "--on-trouble", make))
    return plans


def _relay(words: str, refused: Refused | None) -> Plan:
    from edge.sinks.gpio import parse_pin

    def make() -> Local | None:
        pin = _pin(words, "--relay", refused)
        return Local(pin, 5.0, pin.wanted, pin.close) if pin else None

    pins = frozenset({parse_pin(words, "--relay").number})
    return Plan(("relay", words), f"relay {words}", make, pins)


def _sound(what: str, settings: AlertSettings) -> Plan:
    def make() -> Local:
        from edge.sinks.sound import Sound

        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        threading.Thread(target=sound.check, name="sound check", daemon=True).start()
        return Local(sound, 15.0, sound.wanted, sound.close, partial(_problem_of, sound))

    return Plan(("sound", what, settings.sound_s, settings.sound_device), f"sound {what}", make)


def _deterrent(settings: AlertSettings, refused: Refused | None) -> Plan:
    from edge.sinks.gpio import parse_pin

    programme, hours, device = settings.deterrent or "", settings.deterrent_hours, settings.sound_device

    def make() -> Local:
        from edge.sinks.deterrent import open_deterrent
        from edge.sinks.programme import Limits

        pins = [lamp for words in settings.deterrent_lamps if (lamp := _pin(words, "--deterrent-lamp", refused))]
        try:
            deterrent = open_deterrent(programme, pins, Limits(hours=hours), device=device)
        except BaseException:
            for pin in pins:
                pin.close()
            raise
        return Local(deterrent, 15.0, deterrent.wanted, deterrent.close, partial(_problem_of, deterrent))

    lamps = frozenset(parse_pin(words, "--deterrent-lamp").number for words in settings.deterrent_lamps)
    key = "deterrent", programme, settings.deterrent_lamps, hours.words if hours else None, device
    return Plan(key, "deterrent", make, lamps)


def _bell() -> Local:
    from edge.sinks.bell import Bell

    bell = Bell()
    return Local(bell, 5.0, bell.wanted)


def _on_alarm(line: str) -> Local:
    from edge.sinks.command import Command

    _doubt(line, "--on-alarm")
    command = Command(line)
    return Local(command, command.limit_s + 5.0, command.wanted)


def _on_trouble(line: str) -> Local:
    from edge.sinks.command import Command

    _doubt(line, "--on-trouble")
    command = Command(line, lambda event: event.kind in {"camera", "health", "test"})
    return Local(command, command.limit_s + 5.0, command.wanted)


def _doubt(line: str, option: str) -> None:
    if doubt := command_in_doubt(line, option):
        log.warning("%s", doubt)


def _problem_of(sink: Sound | Deterrent) -> str | None:
    return sink.problem


def _pin(words: str, option: str, refused: Refused | None) -> Gpio | None:
    """What one option says of a pin, switched off; None when it cannot be had and ``refused`` was told."""
    from edge.sinks.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    try:
        return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)
    except (OptionError, MissingExtraError) as error:
        if refused is None:
            raise
        refused(f"{option.removeprefix('--')} {words}", str(error))
        return None
