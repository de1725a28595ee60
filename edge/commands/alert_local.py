"""Who is told here and at once: what makes a noise or acts, the fastest first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.commands.watch_words import command_in_doubt
from edge.errors import MissingExtraError, OptionError

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

    name: str
    sink: Sink
    deadline_s: float  # what takes longer hangs
    wanted: Callable[[Event], bool]
    silence: Callable[[], object] | None = None  # off, for good; within a second, from any thread
    problem: Callable[[], str | None] = lambda: None  # what is known to be wrong before it is needed


def local_sinks(settings: AlertSettings, refused: Refused | None = None) -> list[Local]:
    """Each of them, ready. Raises OptionError, MissingExtraError; a pin that cannot be had goes to ``refused``."""
    for option, line in (("--on-alarm", settings.on_alarm), ("--on-trouble", settings.on_trouble)):
        if line and (doubt := command_in_doubt(line, option)):
            log.warning("%s", doubt)
    made: list[Local] = []
    try:
        made += _relays(settings, refused)
        made += _sounds(settings)
        made += _deterrent(settings, refused)
    except BaseException:
        for one in made:
            if one.silence:
                one.silence()
        raise
    return [*made, *_others(settings)]


def _relays(settings: AlertSettings, refused: Refused | None) -> list[Local]:
    made = []
    for words in settings.relays:
        pin = _pin(words, "--relay", refused)
        if pin:
            made.append(Local(f"relay {words}", pin, 5.0, pin.wanted, pin.close))
    return made


def _sounds(settings: AlertSettings) -> list[Local]:
    if not settings.sounds:
        return []
    from edge.sinks.sound import Sound

    made = []
    for what in settings.sounds:
        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        threading.Thread(target=sound.check, name="sound check", daemon=True).start()
        made.append(Local(f"sound {what}", sound, 15.0, sound.wanted, sound.close, partial(_problem_of, sound)))
    return made


def _deterrent(settings: AlertSettings, refused: Refused | None) -> list[Local]:
    if not settings.deterrent:
        return []
    from edge.sinks.deterrent import open_deterrent
    from edge.sinks.programme import Limits

    lamps = [lamp for words in settings.deterrent_lamps if (lamp := _pin(words, "--deterrent-lamp", refused))]
    limits = Limits(hours=settings.deterrent_hours)
    deterrent = open_deterrent(settings.deterrent, lamps, limits, device=settings.sound_device)
    problem = partial(_problem_of, deterrent)
    return [Local("deterrent", deterrent, 15.0, deterrent.wanted, deterrent.close, problem)]


def _others(settings: AlertSettings) -> list[Local]:
    from edge.sinks.bell import Bell
    from edge.sinks.command import Command

    made = []
    if settings.bell:
        bell = Bell()
        made.append(Local("the bell", bell, 5.0, bell.wanted))
    if settings.on_alarm:
        alarm = Command(settings.on_alarm)
        made.append(Local("--on-alarm", alarm, alarm.limit_s + 5.0, alarm.wanted))
    if settings.on_trouble:
        trouble = Command(settings.on_trouble, lambda event: event.kind in {"camera", "health", "test"})
        made.append(Local("--on-trouble", trouble, trouble.limit_s + 5.0, trouble.wanted))
    return made


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
