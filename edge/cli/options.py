"""Options that several commands share: config, state folder, alerts, names of sources.

An option is written once, as a keyword of the function that makes settings of it (``alert_settings``); a command takes
all of that function's options with ``options_of``.
"""

from __future__ import annotations

import functools
import getpass
import inspect
import itertools
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.decide.schedule import parse_schedule
from edge.errors import BearAlarmError, OptionError
from edge.files import need_folder
from edge.settings import AlertSettings, Camera, Settings

if TYPE_CHECKING:
    from edge.cli.doctor.findings import Target
    from edge.decide.stages import StageEntry

log = logging.getLogger(__name__)

# Options on the panels of the help page.
local_option = functools.partial(typer.Option, rich_help_panel="Notified here and at once")
remote_option = functools.partial(typer.Option, rich_help_panel="Notified over a network")

Command = Callable[..., None]


def options_of(**sources: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command the options of other functions, their keyword-only parameters.

    With ``alerts=alert_settings`` the command's parameter ``alerts`` is that function with what was typed filled in.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        theirs = {name: _options(source) for name, source in sources.items()}

        @functools.wraps(command)
        def called(**given: Any) -> None:
            filled = {
                name: functools.partial(source, **{each.name: given.pop(each.name) for each in theirs[name]})
                for name, source in sources.items()
            }
            command(**given, **filled)

        taken = [each for each in own if each.name not in sources] + list(itertools.chain(*theirs.values()))
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in taken]
        # What typer looks at.
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return decorate


def only(source: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Return ``source`` with these of its options alone, for ``options_of``."""
    signature = inspect.signature(source, eval_str=True)
    found = functools.partial(source)
    found.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[signature.parameters[name] for name in names]
    )
    return found


def _options(source: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(source, eval_str=True).parameters.values()
    return [each for each in found if each.kind is inspect.Parameter.KEYWORD_ONLY]


# The config and the state folder.

ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        help="Config file (default: $BEAR_ALARM_CONFIG, ./bear-alarm.yml or /etc/bear-alarm/config.yml, the first that "
        "exists). Options override the config file."
    ),
]


ModelOpt = Annotated[str | None, typer.Option("--model", help="Model file (default: the chosen or the bundled one).")]


def config_for(given: Path | None, sources: Sequence[str] = ()) -> Path | None:
    """Return the config to use, if any. Raises OptionError for one that is named and not there.

    A config that was only found is not used for recorded sources, and that is logged: a demo must not call the
    neighbours.
    """
    from edge.config import ENVIRONMENT, find_config

    found = find_config(given)
    named = given is not None or bool(os.environ.get(ENVIRONMENT))
    if found and not named and sources and _recorded(sources):
        log.info("%s is not used, because this is a recording; --config %s uses it.", found, found)
        return None
    return found


def settings_of(path: Path | None) -> Settings:
    """Return the settings of the config, or the defaults where there is none.

    Raises ConfigError with everything wrong in it.
    """
    if path is None:
        return Settings()
    from edge.config import load_config

    return load_config(path)


def settings_at_hand() -> Settings:
    """Return the config's settings, for a command that only reads what an alarm left; warn if it is bad."""
    try:
        return settings_of(config_for(None))
    except BearAlarmError as error:
        log.warning("%s\nGoing on without a config.", error)
        return Settings()


def configured(settings: Settings, word: str) -> Camera | None:
    """Return the camera of the config that a word on the command line names; a file of that name goes before it."""
    if Path(word).expanduser().exists():
        return None
    return next((camera for camera in settings.cameras if camera.name == word), None)


def no_such_camera(name: str, cameras: Sequence[str], where: str) -> OptionError:
    """Return the error of a --camera that is not among those in the config or the journal (``where``)."""
    near = get_close_matches(name, cameras, n=1)
    which = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(cameras)}"
    return OptionError(f"--camera {name!r}: no such camera in the {where}; {which}")


def _recorded(sources: Sequence[str]) -> bool:
    from edge.camera import is_live

    words = [word for _, word in map(named, sources)]
    try:
        if any(is_live(word) for word in words):
            return False
    except (OSError, ValueError):  # opening the source raises the error
        return False
    return all(word == "demo" or Path(word).expanduser().exists() or "*" in word for word in words)


StateOpt = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the journal of events, which `bear-alarm events` lists (default: $BEAR_ALARM_STATE or this "
        "system's place for it). For recorded sources that you name here, a journal is kept only with this option or "
        "with a network channel."
    ),
]


def target_of(config: Path | None, state: Path | None) -> Target:
    """Return the device whose alarm --config and --state mean."""
    from edge.cli.doctor.findings import Target

    path = config_for(config)
    return Target(settings_of(path), path, given_state=state)


# The stages of cameras, beside an alarm.


def stages_of(settings: Settings, config: Path | None) -> Mapping[str, Sequence[StageEntry]]:
    """Return each camera's stages, the present one last: by the journal, as an alarm with this config goes on.

    A journal that cannot be read is logged; then the stages are the config's.
    """
    from edge.cli.doctor.findings import Target
    from edge.decide.stages import NOT_YET, at_start, begin
    from edge.record.database import DiskError
    from edge.record.stage_log import read_stages
    from edge.rollout import place_of

    places = {each.name: place_of(each, "") for each in settings.cameras if each.stage is not None}
    found: Mapping[str, Sequence[StageEntry]] = {}
    try:
        if places:
            found = read_stages(Target(settings, config).state)
    except (DiskError, OptionError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        log.warning(
            "The journal cannot be read (%s), so the stages are those of the config; sudo helps where it is another "
            "user's.", why
        )  # fmt: skip
    now = datetime.now(UTC)
    stages: dict[str, Sequence[StageEntry]] = {}
    for name, place in places.items():
        first = begin([], place, now, NOT_YET)
        stages[name] = at_start(place, found, places, now) or ([first.entry] if first else [])
    return stages


def other_stage(history: Sequence[StageEntry]) -> str | None:
    """Return that a camera is in another stage than its config says, and why; None where it is not."""
    from edge.decide.stages import present

    last = history[-1]
    if last.configured in {"", last.stage}:
        return None
    why = present(history)[-1].why
    return f"{last.camera}: the config says {last.configured}, and it is {last.stage} now ({why})"


# Who is notified: options of ``watch`` and ``alert test``.


def alert_settings(
    base: AlertSettings | None = None,
    *,
    events: Annotated[
        str | None, typer.Option(help="Append events to this file, one line of JSON each; - for standard output.")
    ] = None,
    on_alarm: Annotated[
        str | None,
        local_option(help="Command to run at each alarm; the event's JSON is its standard input."),
    ] = None,
    on_trouble: Annotated[
        str | None,
        local_option(
            help="Command to run when a camera or the alarm itself fails or is well again, and at notices; the event's "
            "JSON is its input.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        remote_option(
            help="Command that sends a message without the internet, by SMS or LoRa; a line of text is its input.",
        ),
    ] = None,
    sound: Annotated[
        list[str] | None,
        local_option(help="Sound to play at each alarm: siren, chirp, horn, or a WAV file."),
    ] = None,
    sound_seconds: Annotated[
        float | None,
        local_option(min=0.5, max=300.0, help="How long it sounds from an alarm on. [default: 20]"),
    ] = None,
    sound_device: Annotated[str | None, local_option(help="Output of ALSA to play on; `aplay -L` lists them.")] = None,
    relay: Annotated[
        list[str] | None,
        local_option(
            help="Raspberry Pi pin to switch at each alarm, as BCM numbers it: 17, 17:30 (seconds), 17:30:low:blink. "
            "May be given again.",
        ),
    ] = None,
    deterrent: Annotated[
        str | None,
        local_option(
            help="Drive bears off with changing noises: on, or a folder of WAV files. Off unless it is given.",
        ),
    ] = None,
    deterrent_lamp: Annotated[
        list[str] | None,
        local_option(help="Pin of a lamp that flashes with the deterrent, as --relay takes it."),
    ] = None,
    deterrent_hours: Annotated[
        str | None,
        local_option(help="When the deterrent may be loud, as --schedule takes it (default: always)."),
    ] = None,
    bell: Annotated[
        bool | None,
        local_option("--bell/--no-bell", help="Ring the terminal's bell at each alarm. [default: on]"),
    ] = None,
    mqtt: Annotated[
        list[str] | None,
        remote_option(
            envvar="BEAR_ALARM_MQTT",
            show_envvar=True,
            help="MQTT broker: mqtt://USER:PASSWORD@HOST/PREFIX or mqtts://…; Home Assistant finds it by itself.",
        ),
    ] = None,
    notify: Annotated[
        list[str] | None,
        remote_option(
            envvar="BEAR_ALARM_NOTIFY",
            show_envvar=True,
            help="Phone, chat, mail or desktop, as an Apprise URL: ntfy://…, tgram://…, mailto://…, dbus://. "
            "Repeatable.",
        ),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        remote_option(
            envvar="BEAR_ALARM_WEBHOOK",
            show_envvar=True,
            help="Address that each event is posted to as JSON.",
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        remote_option(
            envvar="BEAR_ALARM_WEBHOOK_SECRET",
            show_envvar=True,
            help="Secret the posts are signed with (HMAC-SHA256).",
        ),
    ] = None,
) -> AlertSettings:
    """Return who is notified: by these options, else by ``base``. Raises OptionError for bad combinations."""
    from edge.alert.mqtt_settings import settings_from_url

    for option, word in (
        ("--on-alarm", on_alarm),
        ("--on-trouble", on_trouble),
        ("--text", text),
        ("--deterrent", deterrent),
    ):
        if word is not None and not word.strip():
            raise OptionError(f"{option} is empty; give it a value, or leave the option out")
    for option, urls in (("--mqtt", mqtt), ("--webhook", webhook)):
        if urls and len(urls) > 1:
            raise OptionError(
                f"{option} is given {len(urls)} times, and only one can be used; --notify may be repeated"
            )
    if events and events != "-":
        need_folder(Path(events).expanduser())
    hours = parse_schedule(deterrent_hours, "--deterrent-hours") if deterrent_hours else None
    given: dict[str, Any] = {
        "bell": bell,
        "sounds": tuple(sound or ()),
        "sound_s": sound_seconds,
        "sound_device": sound_device,
        "relays": tuple(relay or ()),
        "deterrent": deterrent,
        "deterrent_lamps": tuple(deterrent_lamp or ()),
        "deterrent_hours": hours,
        "on_alarm": on_alarm,
        "on_trouble": on_trouble,
        "text": text,
        "events": events,
        "mqtt": settings_from_url(mqtt[0]) if mqtt else None,
        "webhook": webhook[0] if webhook else None,
        "webhook_secret": webhook_secret or None,
        "notify": tuple(notify or ()),
    }
    named_here = {name: value for name, value in given.items() if value is not None and value != ()}
    found = replace(base or AlertSettings(), **named_here)
    for option, given_it, used in (
        ("--sound-seconds", sound_seconds is not None, found.sounds),
        ("--sound-device", sound_device is not None, found.sounds or found.deterrent),
    ):
        if given_it and not used:
            raise OptionError(f"{option} belongs to a sound, and there is none; give --sound siren too")
    _check_pins(
        [*(("--relay", each) for each in found.relays), *(("--deterrent-lamp", each) for each in found.deterrent_lamps)]
    )
    if (found.deterrent_lamps or found.deterrent_hours) and not found.deterrent:
        option = "--deterrent-lamp" if found.deterrent_lamps else "--deterrent-hours"
        raise OptionError(f"{option} belongs to a deterrent, and there is none; give --deterrent on")
    if found.webhook_secret and not found.webhook:
        raise OptionError("a webhook's secret is given but no --webhook; give the address too")
    return found


def _check_pins(pins: Sequence[tuple[str, str]]) -> None:
    """Check that each is a pin and has one thing to do. Raises OptionError."""
    from edge.alert.gpio import parse_pin

    seen: dict[int, str] = {}
    for option, words in pins:
        number = parse_pin(words, option).number
        if number in seen:
            raise OptionError(f"{option}: pin {number} is already that of {seen[number]}; give each its own pin")
        seen[number] = f"{option} {words}"


def user_name() -> str:
    """Return who is at the keyboard; empty for a user without a name, as a service's may be."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


# What a SOURCE on the command line is called.

NAME = re.compile(r"\w[\w -]*")


def named(word: str) -> tuple[str | None, str]:
    """Split ``yard=rtsp://…`` into name and source; without a name, and where a file is called so, the name is None."""
    name, sign, source = word.partition("=")
    if not sign or not NAME.fullmatch(name) or Path(word).expanduser().exists():
        return None, word
    return name, source


def names(source: list[str]) -> list[str]:
    """Return a name for each source, its own where it was given one; the second of the same name is name-2.

    Raises OptionError when two were given the same name.
    """
    from edge.camera import source_name

    given = [name for name, _ in map(named, source) if name]
    for name in given:
        if given.count(name) > 1:
            raise OptionError(f"two sources are called {name}; give each a name of its own")
    found: list[str] = []
    for own, word in map(named, source):
        name = own or source_name(word)
        further = (f"{name}-{number}" for number in itertools.count(2))
        taken = found if own else [*found, *given]
        found.append(name if name not in taken else next(each for each in further if each not in taken))
    return found
