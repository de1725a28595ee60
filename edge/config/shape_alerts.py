"""What may be set of alerts: what sounds and switches here, and who is told over a network."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edge.alert.deterrent import sound_files
from edge.alert.gpio import BLINK, HIGHEST_PIN, parse_pin
from edge.alert.gpio import LONGEST_S as LONGEST_RELAY_S
from edge.alert.mqtt_settings import DISCOVERY, EVERY_S, PREFIX, settings_from_url
from edge.alert.redact import web_address
from edge.alert.sound import LONGEST_S as LONGEST_SOUND_S
from edge.alert.sound import NAMES, is_path, read_wav, unknown_sound
from edge.config.kinds import HERE, WORD, WORD_OR_NUMBER, Listed, Section, Short, When, Words, text_of
from edge.config.paths import file_at, placed
from edge.errors import NOT_HERE

OFF = frozenset({"off", "no", "false"})
ON = frozenset({"on", "yes", "true"})


def _sound(value: Any, folder: Path) -> str:
    word = text_of(value)
    if word in NAMES:
        return word
    path = file_at(word, folder)
    if not is_path(word) and not path.exists():
        raise ValueError(unknown_sound(word))
    with suppress(*NOT_HERE):  # no mistake: it is tried again while the alarm runs, and `config check` warns of it
        read_wav(path, LONGEST_SOUND_S)
    return str(path)


def _deterrent(value: Any, folder: Path) -> str | None:
    """ "on", or the folder; None: off."""
    word = text_of(value)
    if word.lower() in ON | OFF:
        return "on" if word.lower() in ON else None
    path = placed(word, folder)
    with suppress(*NOT_HERE):  # as with a sound
        for each in sound_files(word, path):
            read_wav(file_at(str(each), folder), LONGEST_SOUND_S)
    return str(path)


def _ca(value: Any, folder: Path) -> Path:
    return file_at(text_of(value), folder)


def _discovery(value: Any, folder: Path) -> str:
    """Home Assistant's prefix; empty: it is told nothing."""
    word = text_of(value)
    return DISCOVERY if word.lower() in ON else "" if word.lower() in OFF else word


def _web_address(value: Any, folder: Path) -> str:
    url = text_of(value)
    web_address(url, "the setting")  # "this" would be taken for HERE
    return url


def _pin_of(words: str) -> dict[str, Any]:
    pin = parse_pin(words, HERE)
    return {
        "pin": pin.number,
        "seconds": pin.seconds,
        "active": "high" if pin.active_high else "low",
        "blink": pin.pulse == BLINK,
    }


def _broker_of(url: str) -> dict[str, Any]:
    """The settings of a URL, but for those that it leaves as they are."""
    found = settings_from_url(url)
    every = {
        "host": found.host, "port": found.port, "user": found.user, "password": found.password, "tls": found.tls,
        "ca": None if found.ca is None else str(found.ca), "insecure": found.insecure, "prefix": found.prefix,
        "discovery": found.discovery or "off", "every_s": found.every_s, "pictures": found.pictures,
        "client_id": found.client_id,
    }  # fmt: skip
    return {name: value for name, value in every.items() if value is not None}


Text = Annotated[str, Words(lambda value, folder: text_of(value), WORD_OR_NUMBER)]
WebAddress = Annotated[str, Words(_web_address, WORD)]


class PinSection(Section):
    """A pin of a Raspberry Pi; 17, 17:30 or 17:30:low:blink may stand for it."""

    pin: Annotated[int, Field(ge=0, le=HIGHEST_PIN, description="Its number, as BCM counts: GPIO17 is 17.")]
    seconds: Annotated[
        float, Field(ge=0.1, le=LONGEST_RELAY_S, description="How long it is on from an alarm on, seconds.")
    ] = 10.0
    active: Annotated[
        Literal["high", "low"], Field(description="Low: for boards that switch on when the pin is low.")
    ] = "high"
    blink: Annotated[bool, Field(description="On and off in turn, half a second each.")] = False

    @property
    def words(self) -> str:
        """As ``--relay`` takes it."""
        seconds = [f"{self.seconds:g}"] if "seconds" in self.model_fields_set and self.seconds != 10.0 else []
        flags = ["low"] * (self.active == "low") + ["blink"] * self.blink
        return ":".join([str(self.pin), *seconds, *flags])


Pins = Annotated[tuple[Annotated[PinSection, Short(_pin_of, WORD_OR_NUMBER)], ...], Listed()]


class SoundSection(Section):
    """What sounds at an alarm."""

    play: Annotated[
        tuple[Annotated[str, Words(_sound, WORD)], ...],
        Listed(),
        Field(description="What to play at each alarm: siren, chirp, horn, barks, shouts, bangs, or WAV files."),
    ] = ()
    seconds: Annotated[
        float, Field(ge=0.5, le=LONGEST_SOUND_S, description="How long it sounds from an alarm on, seconds.")
    ] = 20.0
    device: Annotated[
        Text | None, Field(description="Output of ALSA to play on; `aplay -L` lists them (default: the system's).")
    ] = None


class DeterrentSection(Section):
    """Changing noises and flashing lamps that drive bears off."""

    play: Annotated[
        str | None,
        Words(_deterrent, {"type": ["string", "boolean"]}),
        Field(description="on: noises of our own; or a folder of WAV files. Off unless it is given."),
    ] = None
    lamps: Annotated[Pins, Field(description="Pins of lamps that flash with it, as relay takes them.")] = ()
    hours: Annotated[
        When | None, Field(description="When it may be loud, such as 'daily 20:00-06:00' (default: always).")
    ] = None


class CommandSection(Section):
    """Commands of your own; the event's JSON is their standard input."""

    on_alarm: Annotated[
        Text | None, Field(description="Command line to run at each alarm. The shell's ${NAME} is written $${NAME}.")
    ] = None
    on_trouble: Annotated[
        Text | None,
        Field(description="Command line to run when a camera or the alarm itself fails or is well again."),
    ] = None


class MqttSection(Section):
    """The MQTT broker; a URL such as mqtt://USER:PASSWORD@HOST:1883/PREFIX may stand for it."""

    host: Annotated[Text, Field(description="The broker's name or address.")]
    port: Annotated[
        int | None, Field(ge=1, le=65_535, description="Port of the broker (default: 1883; with tls, 8883).")
    ] = None
    user: Annotated[Text | None, Field(description="Who logs in (default: without a login).")] = None
    password: Annotated[Text | None, Field(description="Better as ${NAME}, and NAME in secrets.yml.")] = None
    tls: Annotated[bool, Field(description="Speak TLS.")] = False
    ca: Annotated[
        Path | None, Words(_ca, WORD), Field(description="PEM file of the CA to trust (default: those of the system).")
    ] = None
    insecure: Annotated[bool, Field(description="TLS without looking at the certificate.")] = False
    prefix: Annotated[Text, Field(description="What all topics begin with.")] = PREFIX
    discovery: Annotated[
        str,
        Words(_discovery, {"type": ["string", "boolean"]}),
        Field(
            description="The prefix that Home Assistant listens to, so that it finds the alarm; off: do not tell it."
        ),
    ] = DISCOVERY
    every_s: Annotated[float, Field(ge=0.05, le=3600.0, description="How often the state is said again, seconds.")] = (
        EVERY_S
    )
    pictures: Annotated[bool, Field(description="Publish the pictures of alarms.")] = True
    client_id: Annotated[
        Text | None, Field(description="The name under which it connects (default: one of this device).")
    ] = None


class WebhookSection(Section):
    """An address that each event is posted to as JSON; the URL alone may stand for it."""

    url: Annotated[
        WebAddress | None, Field(description="The address; https:// or http://. Whole or in part better as ${NAME}.")
    ] = None
    secret: Annotated[Text | None, Field(description="Signs the posts (HMAC-SHA256).")] = None


Sound = Annotated[SoundSection, Short("play", WORD)]
Deterrent = Annotated[DeterrentSection, Short("play", {"type": ["string", "boolean"]})]
Command = Annotated[CommandSection, Short("on_alarm", WORD)]
Mqtt = Annotated[MqttSection, Short(_broker_of, WORD)]
Webhook = Annotated[WebhookSection, Short("url", WORD)]
Notify = Annotated[tuple[Text, ...], Listed()]
