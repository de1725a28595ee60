"""Who is told, as options: ``watch`` and ``alert test`` take the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.alert.mqtt_settings import Settings as MqttSettings
    from edge.settings import AlertSettings

TELL, AWAY = "Who is told, here and at once", "Who is told, over a network"  # panels of the help page

EventsOpt = Annotated[
    str | None, typer.Option(help="Append events to this file, one line of JSON each; - for standard output.")
]
OnAlarmOpt = Annotated[
    str | None,
    typer.Option(help="Command to run at each alarm; the event's JSON is its standard input.", rich_help_panel=TELL),
]
OnTroubleOpt = Annotated[
    str | None,
    typer.Option(
        help="Command to run when a camera or the alarm itself fails or is well again; the event's JSON is its input.",
        rich_help_panel=TELL,
    ),
]
SoundOpt = Annotated[
    list[str] | None,
    typer.Option(help="Sound to play at each alarm: siren, chirp, horn, or a WAV file.", rich_help_panel=TELL),
]
SoundSecondsOpt = Annotated[
    float | None,
    typer.Option(min=0.5, max=300.0, help="How long it sounds from an alarm on. [default: 20]", rich_help_panel=TELL),
]
SoundDeviceOpt = Annotated[
    str | None,
    typer.Option(help="Output of ALSA to play on; `aplay -L` lists them.", rich_help_panel=TELL),
]
RelayOpt = Annotated[
    list[str] | None,
    typer.Option(
        help="Raspberry Pi pin to switch at each alarm, as BCM numbers it: 17, 17:30 (seconds), 17:30:low:blink. "
        "May be given again.",
        rich_help_panel=TELL,
    ),
]
DeterrentOpt = Annotated[
    str | None,
    typer.Option(
        help="Drive bears off with changing noises: on, or a folder of WAV files. Off unless it is given.",
        rich_help_panel=TELL,
    ),
]
DeterrentLampOpt = Annotated[
    list[str] | None,
    typer.Option(help="Pin of a lamp that flashes with the deterrent, as --relay takes it.", rich_help_panel=TELL),
]
DeterrentHoursOpt = Annotated[
    str | None,
    typer.Option(
        help="When the deterrent may be loud, as --schedule takes it (default: always).", rich_help_panel=TELL
    ),
]
BellOpt = Annotated[
    bool | None,
    typer.Option(
        "--bell/--no-bell", help="Ring the terminal's bell at each alarm. [default: on]", rich_help_panel=TELL
    ),
]
MqttOpt = Annotated[
    list[str] | None,
    typer.Option(
        envvar="BEAR_ALARM_MQTT",
        show_envvar=True,
        help="MQTT broker: mqtt://USER:PASSWORD@HOST/PREFIX or mqtts://…; Home Assistant finds it by itself.",
        rich_help_panel=AWAY,
    ),
]
NotifyOpt = Annotated[
    list[str] | None,
    typer.Option(
        envvar="BEAR_ALARM_NOTIFY",
        show_envvar=True,
        help="Phone, chat, mail or desktop, as an Apprise URL: ntfy://…, tgram://…, mailto://…, dbus://. Repeatable.",
        rich_help_panel=AWAY,
    ),
]
WebhookOpt = Annotated[
    list[str] | None,
    typer.Option(
        envvar="BEAR_ALARM_WEBHOOK",
        show_envvar=True,
        help="Address that each event is posted to as JSON.",
        rich_help_panel=AWAY,
    ),
]
WebhookSecretOpt = Annotated[
    str | None,
    typer.Option(
        envvar="BEAR_ALARM_WEBHOOK_SECRET",
        show_envvar=True,
        help="Secret the posts are signed with (HMAC-SHA256).",
        rich_help_panel=AWAY,
    ),
]
StateOpt = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the journal of events, which `bear-alarm events` lists (default: $BEAR_ALARM_STATE or this "
        "system's place for it). For recorded sources that you name here, a journal is kept only with this option or "
        "with a network channel.",
    ),
]


def alert_settings(
    base: AlertSettings | None = None,
    *,
    bell: bool | None,
    on_alarm: str | None,
    on_trouble: str | None,
    sound: Sequence[str] | None,
    sound_seconds: float | None,
    sound_device: str | None,
    relay: Sequence[str] | None,
    deterrent: str | None,
    deterrent_lamp: Sequence[str] | None,
    deterrent_hours: str | None,
    mqtt: Sequence[str] | None,
    notify: Sequence[str] | None,
    webhook: Sequence[str] | None,
    webhook_secret: str | None,
    events: str | None = None,
) -> AlertSettings:
    """Who is told: what these options say, else what ``base`` does. Raises OptionError for what makes no sense."""
    from edge.decide.schedule import parse_schedule
    from edge.files import need_folder
    from edge.settings import AlertSettings

    for option, word in (("--on-alarm", on_alarm), ("--on-trouble", on_trouble), ("--deterrent", deterrent)):
        if word is not None and not word.strip():
            raise OptionError(f"{option} is empty; give it a value, or leave the option out")
    for option, urls in (("--mqtt", mqtt), ("--webhook", webhook)):
        if urls and len(urls) > 1:
            raise OptionError(
                f"{option} is given {len(urls)} times, and only one can be told; --notify may be repeated"
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
        "events": events,
        "mqtt": _broker(mqtt[0]) if mqtt else None,
        "webhook": webhook[0] if webhook else None,
        "webhook_secret": webhook_secret or None,
        "notify": tuple(notify or ()),
    }
    said = {name: value for name, value in given.items() if value is not None and value != ()}
    found = replace(base or AlertSettings(), **said)
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
    """Each is a pin, and has one thing to do. Raises OptionError."""
    from edge.alert.gpio import parse_pin

    seen: dict[int, str] = {}
    for option, words in pins:
        number = parse_pin(words, option).number
        if number in seen:
            raise OptionError(f"{option}: pin {number} is already that of {seen[number]}; a pin can do one thing")
        seen[number] = f"{option} {words}"


def _broker(url: str) -> MqttSettings:
    from edge.alert.mqtt_settings import settings_from_url

    return settings_from_url(url)
