"""Who is told here and at once: what makes a noise or acts, the fastest first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.errors import NOT_HERE
from edge.sinks.in_doubt import command_in_doubt

if TYPE_CHECKING:
    from edge.background import Sink
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.sinks.gpio import Gpio
    from edge.sinks.sound import Sound


@dataclass(frozen=True)
class Local:
    """A sink, and how its worker is to treat it."""

    sink: Sink
    deadline_s: float  # what takes longer hangs
    wanted: Callable[[Event], bool]
    silence: Callable[[], object] | None = None  # off, for good; within a second, from any thread
    problem: Callable[[], str | None] = lambda: None  # what is known to be wrong before it is needed
    try_again: Callable[[], object] = lambda: None  # whether it works; called at the start and while it has a problem


@dataclass(frozen=True)
class Plan:
    """A sink that is to be: ``make`` gives it ready, and raises one of ``NOT_HERE`` where it cannot work now.

    Plans with the same ``key`` are the same sink. ``pins``: what only one can have at a time.
    """

    key: Hashable
    name: str
    make: Callable[[], Local]
    pins: frozenset[int] = frozenset()


def local_plans(settings: AlertSettings) -> list[Plan]:
    """Each of them; ``make`` raises OptionError for what can never work."""
    plans = [_relay(words) for words in settings.relays]
    plans += [_sound(what, settings) for what in settings.sounds]
    if settings.deterrent:
        plans.append(_deterrent(settings))
    if settings.bell:
        plans.append(Plan("bell", "the bell", _bell))
    if settings.on_alarm:
        plans.append(Plan(("on alarm", settings.on_alarm), "--on-alarm", partial(_on_alarm, settings.on_alarm)))
    if settings.on_trouble:
        make = partial(_on_trouble, settings.on_trouble)
        plans.append(Plan(("on trouble", settings.on_trouble), "--on-trouble", make))
    return plans


def _relay(words: str) -> Plan:
    from edge.sinks.gpio import parse_pin

    def make() -> Local:
        pin = _pin(words, "--relay")
        return Local(pin, 5.0, pin.wanted, pin.close)

    pins = frozenset({parse_pin(words, "--relay").number})
    return Plan(("relay", words), f"relay {words}", make, pins)


def _sound(what: str, settings: AlertSettings) -> Plan:
    def make() -> Local:
        from edge.sinks.sound import Sound

        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        return Local(sound, 15.0, sound.wanted, sound.close, partial(_problem_of, sound), sound.check)

    return Plan(("sound", what, settings.sound_s, settings.sound_device), f"sound {what}", make)


def _deterrent(settings: AlertSettings) -> Plan:
    from edge.sinks.gpio import parse_pin

    programme, hours, device = settings.deterrent or "", settings.deterrent_hours, settings.sound_device

    def make() -> Local:
        from edge.sinks.deterrent import open_deterrent
        from edge.sinks.programme import Limits

        deterrent = open_deterrent(programme, [], Limits(hours=hours), device=device)
        dark = dict.fromkeys(settings.deterrent_lamps, "")  # lamps that cannot be had now, and why
        lighting, closed = threading.Lock(), threading.Event()

        def light() -> None:
            with lighting:  # one thread at a time: two would open the same pin
                for words in tuple(dark):
                    if closed.is_set():
                        return
                    try:
                        lamp = _pin(words, "--deterrent-lamp")
                    except NOT_HERE as error:
                        dark[words] = f"lamp {words} stays dark: {error}"
                        continue
                    dark.pop(words)
                    deterrent.lamps.append(lamp)
                    if closed.is_set():  # meanwhile, perhaps without this lamp
                        lamp.close()

        def close() -> None:
            closed.set()  # without the lock: silence waits for no pin
            deterrent.close()

        def problem() -> str | None:
            return deterrent.problem or "; ".join(tuple(dark.values())) or None

        light()
        return Local(deterrent, 15.0, deterrent.wanted, close, problem, light)

    lamps = frozenset(parse_pin(words, "--deterrent-lamp").number for words in settings.deterrent_lamps)
    key = "deterrent", programme, settings.deterrent_lamps, hours.words if hours else None, device
    return Plan(key, "deterrent", make, lamps)


def _bell() -> Local:
    from edge.sinks.bell import Bell

    bell = Bell()
    return Local(bell, 5.0, bell.wanted)


def _on_alarm(line: str) -> Local:
    from edge.sinks.command import Command

    command = Command(line)
    return Local(command, command.limit_s + 5.0, command.wanted, problem=partial(command_in_doubt, line, "--on-alarm"))


def _on_trouble(line: str) -> Local:
    from edge.sinks.command import Command

    command = Command(line, lambda event: event.kind in {"camera", "health", "test"})
    doubt = partial(command_in_doubt, line, "--on-trouble")
    return Local(command, command.limit_s + 5.0, command.wanted, problem=doubt)


def _problem_of(sink: Sound) -> str | None:
    return sink.problem


def _pin(words: str, option: str) -> Gpio:
    """Make the output of one pin option, switched off."""
    from edge.sinks.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)
