"""``bear-alarm config``: write a config to begin with, and check one."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.alert.sound import NAMES
from edge.cli.help_page import command_group
from edge.cli.output import JsonOpt, check_new_file, counted, print_json
from edge.config import BESIDE, SYSTEM, find_config
from edge.decide.stages import MEANS, stage_of
from edge.errors import ConfigError, ConfigProblem, OptionError

if TYPE_CHECKING:
    from edge.settings import Settings

log = logging.getLogger(__name__)

MODE = 0o640  # an address may hold a password
MAX_TRIES = 3

app = command_group(no_args_is_help=True, help="Write a config to begin with, or check one.")

DEVICES = Path("/dev")
MAX_DEVICES = 9  # devices that are offered
PI_CAMERA = "picamera://0"
NTFY = "ntfy"


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = BESIDE,
    force: Annotated[bool, typer.Option("--force", help="Also where a file is there already.")] = False,
) -> None:
    """Write a config with every setting in it, most of them behind a #. On a terminal it asks three questions."""
    from edge.config.template import template
    from edge.files import hand_over

    path = file.expanduser()
    check_new_file(path, BESIDE.name, force=force)
    if not path.parent.is_dir():
        raise OptionError(f"{path.parent}: no such folder; make it first")
    if at_a_terminal():
        text = _asked(file)
    else:
        text = template(file=str(file), camera="yard", source=next(iter(found_cameras()), "0"))
    _write(path, text)
    hand_over(path)
    print(f"{file}: written. Try it: bear-alarm config check {file}")


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help=f"The config (default: the one found: ./{BESIDE}, {SYSTEM})."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Read a config as `watch` does, and show everything that is wrong with it. Exit code 2 where anything is.

    It warns of what this machine cannot do now, such as a sound without a player: `watch` starts all the same.
    """
    path = file or find_config()
    if path is None:
        raise OptionError(f"no config: there is neither ./{BESIDE} nor {SYSTEM}; `bear-alarm config init` writes one")
    from edge.cli.doctor.findings import Target
    from edge.cli.doctor.keys import new_models
    from edge.cli.options import other_stage, stages_of
    from edge.config.check import doubts
    from edge.config.load import load
    from edge.species import no_bears

    try:
        loaded = load(path)
        _check_for_anything(path, loaded.settings)
    except ConfigError as error:
        if as_json:
            problems = [asdict(each) for each in error.problems]
            print_json({"file": str(path), "fine": False, "problems": problems})
        else:
            # As compilers do it, so that an editor finds the lines.
            print("\n".join(error.lines), file=sys.stderr)
        raise typer.Exit(2) from None
    warnings = [*loaded.warnings, *doubts(loaded.settings.alerts)]
    if not loaded.settings.cameras:
        warnings.append("cameras: there is none, so `bear-alarm watch` needs a SOURCE on the command line")
    if (country := loaded.settings.site.country) and (words := no_bears(country)):
        warnings.append(f"site.country: {words}")
    stages = stages_of(loaded.settings, path)
    shadow = [name for name, history in stages.items() if history[-1].stage == "shadow"]
    if as_json:
        print_json(_facts(path, loaded.settings, shadow, warnings))
        return
    for warning in warnings:
        log.warning("%s", warning)
    for line in filter(None, map(other_stage, stages.values())):
        log.info("%s", line)
    if loaded.settings.updates.sources:
        log.info("New models: %s.", "; ".join(filter(None, new_models(Target(loaded.settings, path), look=True))))
    how = f"it can be used, with {counted(len(warnings), 'warning')}" if warnings else "fine"
    print(f"{path}: {how}; {summary(loaded.settings, shadow)}")


def _check_for_anything(path: Path, settings: Settings) -> None:
    """Raise ConfigError for a config that sets nothing: `watch` would not start with it."""
    from edge.settings import Settings

    if settings == Settings(waits=True):
        words = "it is empty: nothing is watched; `bear-alarm config init` writes one to begin with"
        raise ConfigError(path, [ConfigProblem(0, 0, "", words)])


def summary(settings: Settings, shadow: Sequence[str]) -> str:
    """Return a config in one line: its cameras, those in ``shadow``, its alerts, what is kept; no secrets."""
    names = [camera.name for camera in settings.cameras]
    cameras = f"{counted(len(names), 'camera')}: {', '.join(names)}" if names else "no camera"
    if shadow:
        cameras += f" ({', '.join(shadow)} in shadow: {MEANS['shadow']})"
    notifies = f"notifies {', '.join(_notified(settings)) or 'the terminal'}"
    if names and len(shadow) == len(names):
        notifies += " (no bears: shadow)"
    kept = "no pictures kept" if not settings.evidence.keep else f"pictures in {settings.evidence.folder or 'evidence'}"
    return "; ".join([cameras, notifies, kept])


def _notified(settings: Settings) -> list[str]:
    from edge.alert.redact import address_of

    alerts = settings.alerts
    found = [f"sound {Path(each).name}" for each in alerts.sounds] + [f"relay {each}" for each in alerts.relays]
    found += ["the deterrent"] if alerts.deterrent else []
    found += ["a command"] if alerts.on_alarm else []
    found += [f"MQTT at {alerts.mqtt.where}"] if alerts.mqtt else []
    found += [f"webhook {address_of(alerts.webhook)}/…"] if alerts.webhook else []
    found += [f"{url.partition('://')[0]}://…" for url in alerts.notify]
    found += ["a command for texts"] if alerts.text else []
    return found + ([f"the file {alerts.events}"] if alerts.events else [])


def _facts(path: Path, settings: Settings, shadow: Sequence[str], warnings: Sequence[str]) -> dict[str, object]:
    return {
        "file": str(path),
        "fine": True,
        "cameras": [camera.name for camera in settings.cameras],
        "shadow": shadow,
        "told": _notified(settings),
        "warnings": list(warnings),
        "problems": [],
    }


def _asked(file: Path) -> str:
    """Return the template with the answers in it; asked again where they cannot be used."""
    from edge.config.load import load_text
    from edge.config.template import template

    for _ in range(MAX_TRIES):
        text = template(file=str(file), **asked())
        try:
            load_text(text, file)
        except ConfigError as error:
            for each in error.problems:
                log.warning("%s", ": ".join(part for part in (each.key, each.sentence) if part))
        else:
            return text
    raise OptionError("nothing was written: the answers cannot be used")


def _ask(question: str, usual: str) -> str:
    return str(typer.prompt(question, default=usual, err=True))


def _write(path: Path, text: str) -> None:
    """Write a file that no other user can read, not for a moment."""
    from edge.files import replace_whole

    before = os.umask(0o777 & ~MODE)
    try:
        replace_whole(path, text.encode())
    finally:
        os.umask(before)
    path.chmod(MODE)


def at_a_terminal() -> bool:
    """Return whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def found_cameras() -> list[str]:
    """Return sources that may be there: a Raspberry Pi's camera, and each /dev/video*."""
    pi = [PI_CAMERA] if shutil.which("rpicam-vid") or shutil.which("libcamera-vid") else []
    try:
        names = [path.name for path in DEVICES.iterdir() if re.fullmatch(r"video\d+", path.name)]
    except OSError:
        names = []
    return [*pi, *(str(DEVICES / name) for name in sorted(names, key=lambda name: int(name[5:]))[:MAX_DEVICES])]


def asked() -> dict[str, str]:
    """Return the answers to the three questions, as ``edge.config.template.template`` takes them."""
    found = found_cameras()
    if found:
        log.info("Cameras that may be there:")
        for number, source in enumerate(found, 1):
            log.info(f"  {number}  {source}")
    usual = found[0] if found else "demo"
    word = _ask("Which camera (a number above, /dev/video0, rtsp://…, demo)", usual).strip() or usual
    source = found[int(word) - 1] if found and word.isdecimal() and 1 <= int(word) <= len(found) else word
    log.info("Notify with: a sound (siren, horn, a WAV file), a relay's pin (17), a phone with the ntfy app (ntfy),")
    log.info("an address (mailto://…, mqtt://USER:PASSWORD@HOST, https://…), or none.")
    who = _ask("Notify with", "siren").strip()
    if who.lower() == NTFY:
        from edge.alert.notify import new_topic

        topic = new_topic()
        log.info(f"In the ntfy app, subscribe to: {topic}. Anyone who knows this name can read every message.")
        who = f"ntfy://{topic}"
    log.info("In which stage does camera yard begin? Best in shadow for a week: then you know how often it is wrong.")
    for name, means in MEANS.items():
        log.info(f"  {name:<11} {means}")
    while not stage_of(stage := _ask("Stage", "shadow").strip().lower()):
        log.warning("%r is none of %s", stage, ", ".join(MEANS))
    return {"camera": "yard", "source": source, "stage": stage} | section_of(who)


def section_of(word: str) -> dict[str, str]:
    """Return the answer under the section of the template that it belongs to."""
    if word.lower() in {"", "none", "no", "nobody"}:
        return {}
    scheme, sign, _ = word.partition("://")
    if sign:
        kinds = {"mqtt": "mqtt", "mqtts": "mqtt", "http": "webhook", "https": "webhook"}
        return {kinds.get(scheme.lower(), "notify"): word}
    if word in NAMES or word.lower().endswith(".wav"):
        return {"sound": word}
    return {"relay": word} if word[0].isdecimal() else {"sound": word}
