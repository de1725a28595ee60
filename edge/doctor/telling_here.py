"""Who is told here: loudspeaker, pins and commands, tried without a noise and without switching anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge.doctor.finding import Finding, broken, doubt, fine, unknown
from edge.doctor.patient import Patient
from edge.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from edge.doctor.pins import Ask

SOUND = "plug it in, see `aplay -l`, and name the output as `aplay -L` has it"
NAMED_FACTORY = "GPIOZERO_PIN_FACTORY"


def check_sounds(patient: Patient) -> Iterator[Finding]:
    """Every sound, with a moment of silence on its loudspeaker."""
    from edge.alert.sound import Sound

    alerts = patient.settings.alerts
    for what in alerts.sounds:
        try:
            sound = Sound(what, seconds=alerts.sound_s, device=alerts.sound_device)
        except (OptionError, UnavailableError) as error:
            yield broken(f"sound {what}", *_split(str(error), SOUND))
            continue
        try:
            problem = sound.check()
        finally:
            sound.close()
        if problem is None:
            yield fine(f"sound {what}", f"{sound.player} plays; hear it with `bear-alarm alert test --sound {what}`")
        elif patient.alarm_runs:
            words, todo = f"{problem}, but an alarm runs here and may have it", "stop the alarm and look again"
            yield unknown(f"sound {what}", words, todo)
        else:
            words, _, todo = problem.rpartition("; ")
            yield broken(f"sound {what}", words or problem, todo if words else SOUND)
    if alerts.deterrent:
        yield _deterrent(alerts.deterrent, alerts.sound_device)


def _deterrent(word: str, device: str | None) -> Finding:
    from edge.alert.deterrent import open_deterrent

    try:
        deterrent = open_deterrent(word, device=device)
    except (OptionError, UnavailableError) as error:
        return broken("deterrent", *_split(str(error), SOUND))
    try:
        return fine("deterrent", "its sounds can be read" if word != "on" else "it has its own sounds")
    finally:
        deterrent.close()


def check_pins(patient: Patient, ask: Ask | None = None) -> Iterator[Finding]:
    """Every relay and lamp: whether its pin is there and free."""
    alerts = patient.settings.alerts
    wanted = [("relay", words) for words in alerts.relays] + [("lamp", words) for words in alerts.deterrent_lamps]
    if not wanted:
        return
    from edge.alert.gpio import parse_pin
    from edge.doctor import pins

    factory = os.environ.get(NAMED_FACTORY)
    if factory:
        yield doubt("pins", f"{NAMED_FACTORY} is {factory!r}, so perhaps no real pin is switched", "unset it")
    if ask is None:
        import fcntl  # there is none on Windows, which has no pins

        ask = fcntl.ioctl
    try:
        chip = pins.header(patient.root, ask)
    except PermissionError:
        yield broken("pins", "this user may not use them", "sudo usermod -aG gpio $USER, then log out and in again")
        return
    if chip is None:
        yield broken("pins", "this machine has none that could be switched", "take the relays out of the config")
        return
    for kind, words in wanted:
        name = f"{kind} {words}"
        try:
            number = parse_pin(words, kind).number
            found = pins.line(chip, number, ask)
        except OptionError as error:
            yield broken(name, *_split(str(error), "correct it in the config"))
        except OSError as error:
            yield broken(name, f"there is no such pin on {chip.name} ({error.strerror})", "correct it in the config")
        else:
            yield _pin(patient, name, number, found.used, found.by)


def _pin(patient: Patient, name: str, number: int, used: bool, by: str) -> Finding:
    if not used:
        return fine(name, f"pin {number} is there and free; it was not switched")
    if patient.alarm_runs:
        return fine(name, f"pin {number} is in use, by the running alarm as it seems ({by or 'no name'})")
    todo = "end the other program, or take another pin (see `pinout` and `gpioinfo`)"
    return broken(name, f"pin {number} is in use by another program ({by or 'no name'})", todo)


def check_commands(patient: Patient) -> Iterator[Finding]:
    """Whether the first word of a command can be run."""
    from edge.alert.command import command_in_doubt

    alerts = patient.settings.alerts
    for name, line in (("on_alarm", alerts.on_alarm), ("on_trouble", alerts.on_trouble)):
        if not line:
            continue
        if doubted := command_in_doubt(line, name):
            what, _, todo = doubted.partition("; ")
            yield broken(f"command {name}", what.removeprefix(f"{name}: "), todo)
        else:
            yield fine(f"command {name}", "its program is there; it was not run")
    events = alerts.events
    if events and events != "-":
        yield _line_file(Path(events).expanduser())


def _line_file(path: Path) -> Finding:
    if path.is_dir():
        return broken("events", f"{path} is a folder, not a file", "name a file in it")
    place = path if path.exists() else path.parent
    if os.access(place, os.W_OK):
        return fine("events", f"{path} can be written")
    return doubt("events", f"{path} cannot be written by this user", "make its folder, or change its owner")


def _split(sentence: str, otherwise: str) -> tuple[str, str]:
    what, _, todo = sentence.partition("; ")
    return what, todo or otherwise
