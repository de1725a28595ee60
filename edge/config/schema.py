"""Describe every setting of a config for pydantic, and from it the JSON Schema and what a misspelt key was meant to be.

Kinds of values come first, then the sections from the smallest to ``Config``, then what is made of them. Paths count
from the config's folder, which is the ``context`` of validation. A section's docstring, descriptions and examples are
its help in editors and in docs/settings.md. A description says "(default: …)" where no fixed value is the default.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic_core import core_schema

from edge.alert.deterrent import sound_files
from edge.alert.gpio import BLINK, HIGHEST_PIN, parse_pin
from edge.alert.gpio import LONGEST_S as LONGEST_RELAY_S
from edge.alert.mqtt_settings import DISCOVERY, EVERY_S, PREFIX, settings_from_url
from edge.alert.redact import web_address
from edge.alert.sound import LONGEST_S as LONGEST_SOUND_S
from edge.alert.sound import NAMES, is_path, read_wav, unknown_sound
from edge.config.yaml_tree import Key
from edge.decide.schedule import Schedule, parse_schedule
from edge.decide.stages import STAGES, stage_of
from edge.detect.zones import Polygon, parse_polygon
from edge.errors import NOT_HERE, OptionError
from edge.local_time import zone_of
from edge.schema import Stage
from edge.settings import MQTT, parse_listen
from edge.species import parse_country

NAME = "NAME"  # stands for a name of the user's: of a camera, of a zone
MAX_SETTINGS_SHOWN = 16
NAMED_UNDER = (("cameras",), ("cameras", NAME, "zones"))

Pattern = tuple[str, ...]  # cameras, NAME, fps

FILLED = r"\$\{[^{}]+\}"
SWITCHES = "^([Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|[Yy]|[Nn]|[Tt]rue|TRUE|[Ff]alse|FALSE)$"

OFF = frozenset({"off", "no", "false"})
ON = frozenset({"on", "yes", "true"})
SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
CAMERA_NAME = re.compile(r"\w[\w -]*")
ZONE_NAME = re.compile(r"[A-Za-z][\w-]*")
MAX_NAME = 64
DEMO = "demo"
ONE_STAGE = f"{', '.join(STAGES[:-1])} or {STAGES[-1]}"
HERE = "this"  # in place of an option's name, which the sentence then does not begin with


class Section(BaseModel):
    """Settings that belong together; any other key is a mistake. No error of pydantic's holds a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: Any) -> Any:
        """Leave out settings that were left empty; a stage says who is notified, so it must not be."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key == "stage"}

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Show nothing: a password may be among the values."""
        return []


class Words:
    """A value that ``parse(value, folder)`` reads; ``schema`` is its JSON Schema. It may raise ValueError, OSError."""

    def __init__(self, parse: Callable[[Any, Path], object], schema: Mapping[str, Any]) -> None:
        self.parse = parse
        self.schema = dict(schema)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)

    def _read(self, value: Any, info: ValidationInfo) -> object:
        try:
            return self.parse(value, info.context if isinstance(info.context, Path) else Path())
        except OptionError as error:
            raise ValueError(parser_words(error)) from None
        except OSError as error:  # a name that is too long, a folder that may not be looked into
            raise ValueError(f"it cannot be looked at ({error.strerror or type(error).__name__})") from None


class Short:
    """One value alone may stand for a section that has it under ``key``; ``schema`` is of that value.

    ``about`` is its description and examples where it is under a name of the user's: pydantic keeps none there.
    """

    def __init__(self, expand: str | Callable[[Any], object], schema: Mapping[str, Any], **about: Any) -> None:
        self.expand = expand
        self.schema = dict(schema)
        self.about = about

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._long, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(schema)]} | self.about

    def _long(self, value: Any) -> Any:
        if value is None:  # a camera of which only the name is there
            return {}
        if isinstance(self.expand, str):
            return {self.expand: value} if isinstance(value, str | list) else value
        if not isinstance(value, str):
            return value
        try:
            return self.expand(value)
        except OptionError as error:
            raise ValueError(parser_words(error)) from None


class Listed:
    """One value alone may stand for a list of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else [value], handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        return {"anyOf": [found["items"], found]}


def parser_words(error: Exception) -> str:
    """Return a parser's sentence without the option that it names first."""
    words = str(error)
    for start in (f"{HERE}: ", f"{HERE} ", "MQTT: "):
        words = words.removeprefix(start)
    return words


def text_of(value: Any) -> str:
    """Return a value that must be text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{kind_of(value)} where a word is wanted")
    return value


def kind_of(value: Any) -> str:
    """Return the kind of a value in words."""
    if isinstance(value, Mapping):
        return "settings (key: value)"
    return "a list" if isinstance(value, list) else "a word" if isinstance(value, str) else "nothing"


def corners(value: Any, folder: Path) -> Polygon:
    """Read '0.1,0.5 0.6,0.5 …', or a list of pairs. Raises ValueError."""
    return parse_polygon(_corner_words(value), HERE)


def polygons(value: Any, folder: Path) -> tuple[Polygon, ...]:
    """Read the corners of one polygon, or a list of such. Raises ValueError."""
    if isinstance(value, list) and value and not all(_is_pair(each) for each in value):
        return tuple(corners(each, folder) for each in value)
    return (corners(value, folder),) if value else ()


def _corner_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"{kind_of(value)} where corners are wanted, such as '0.1,0.5 0.6,0.5 0.6,0.9'")
    return " ".join(",".join(map(text_of, each)) if isinstance(each, list) else text_of(each) for each in value)


def _is_pair(value: Any) -> bool:
    """Return whether it is one corner, or one side of a corner."""
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(side, str) and len(side.split(",")) == 1 for side in value)
    return isinstance(value, str) and len(value.replace(",", " ").split()) <= 2


CORNER_LIST = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2},
    "minItems": 3,
}
CORNERS = {"anyOf": [{"type": "string"}, CORNER_LIST]}
SWITCH = {"type": "boolean"}
WORD = {"type": "string"}
WORD_OR_NUMBER = {"type": ["string", "integer"]}

When = Annotated[Schedule, Words(lambda value, folder: parse_schedule(text_of(value), HERE), WORD)]
Zone = Annotated[
    Polygon,
    Words(
        corners,
        CORNERS
        | {
            "description": "The corners of one zone, three or more; its name begins with a letter.",
            "examples": ["0.1,0.5 0.6,0.5 0.6,1"],
        },
    ),
]
Masks = Annotated[
    tuple[Polygon, ...], Words(polygons, {"anyOf": [*CORNERS["anyOf"], {"type": "array", "items": CORNERS}]})
]
Rate = Annotated[float, Field(ge=0.25, le=60.0)]  # slower, two sure frames would not alarm (edge.cli.watch)
Share = Annotated[float, Field(ge=0.001, le=0.999)]
Evidence = Annotated[float, Field(ge=1.21, le=6.0)]


def placed(word: str, folder: Path) -> Path:
    """Return the path that a word means, from the config's folder; ``~`` is the home. Raises ValueError."""
    try:
        return folder / Path(word).expanduser()
    except RuntimeError:
        raise ValueError(f"{word!r}: no such user's home folder; give the whole path") from None


def folder_at(value: Any, folder: Path) -> Path:
    """Return a folder that is there, or may be made. Raises ValueError, OSError."""
    path = placed(text_of(value), folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{value!r} is a file; name a folder")
    _check_above(path, value)
    return path


def file_at(value: Any, folder: Path) -> Path:
    """Return a file that is there, or may be made; opening a pipe would hang. Raises ValueError, OSError."""
    path = placed(text_of(value), folder)
    if path.is_dir():
        raise ValueError(f"{value!r} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{value!r} is no ordinary file; name one")
    _check_above(path, value)
    return path


def _check_above(path: Path, word: str) -> None:
    there = next((each for each in path.parents if each.exists()), None)
    if there and not there.is_dir():
        raise ValueError(f"{word!r} cannot be made: {there.name!r} is a file and no folder")


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
    """Return "on", or the folder; None for off."""
    word = text_of(value)
    if word.lower() in ON | OFF:
        return "on" if word.lower() in ON else None
    path = placed(word, folder)
    with suppress(*NOT_HERE):  # as with a sound
        for each in sound_files(word, path):
            read_wav(file_at(str(each), folder), LONGEST_SOUND_S)
    return str(path)


def _discovery(value: Any, folder: Path) -> str:
    """Return Home Assistant's prefix; empty for off."""
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
    """Return the settings of a URL, without those that it leaves as they are."""
    found = {name: value for name, value in asdict(settings_from_url(url)).items() if value is not None}
    found["discovery"] = found["discovery"] or "off"
    return {name: str(value) if name == "ca" else value for name, value in found.items()}


def _update_source(value: Any, folder: Path) -> str:
    word = text_of(value)
    if word == MQTT:
        return word
    if "://" not in word:
        return str(folder_at(word, folder))
    if not re.match(r"https://[^/]+/.*\.(onnx|pub)$", word):  # it may hold a secret
        raise ValueError("this is no address of a model; write https://… that ends with .onnx or .pub, or a folder")
    return _web_address(word, folder)


def _country(value: Any, folder: Path) -> str:
    return parse_country(text_of(value))


def _timezone(value: Any, folder: Path) -> str:
    zone_of(text_of(value))
    return text_of(value)


Text = Annotated[str, Words(lambda value, folder: text_of(value), WORD_OR_NUMBER)]
WebAddress = Annotated[str, Words(_web_address, WORD)]
FilePath = Annotated[Path, Words(file_at, WORD)]
FolderPath = Annotated[Path, Words(folder_at, WORD)]


def described(description: str, example: object, **bounds: Any) -> Any:
    """Return the field of one setting, with its help for editors and docs/settings.md."""
    return Field(description=description, examples=[example], **bounds)


class PinSection(Section):
    """A pin of a Raspberry Pi; 17, 17:30 or 17:30:low:blink may stand for it."""

    pin: Annotated[int, described("Its number, as BCM counts: GPIO17 is 17.", 17, ge=0, le=HIGHEST_PIN)]
    seconds: Annotated[
        float, described("How long it stays on from an alarm on, in seconds.", 30, ge=0.1, le=LONGEST_RELAY_S)
    ] = 10.0
    active: Annotated[
        Literal["high", "low"], described("`low`: for boards that switch on when the pin is low.", "low")
    ] = "high"
    blink: Annotated[bool, described("On and off in turn, half a second each.", True)] = False

    @property
    def words(self) -> str:
        """Return the pin as ``--relay`` takes it."""
        seconds = [f"{self.seconds:g}"] if self.seconds != 10.0 else []
        flags = ["low"] * (self.active == "low") + ["blink"] * self.blink
        return ":".join([str(self.pin), *seconds, *flags])


Pins = Annotated[tuple[Annotated[PinSection, Short(_pin_of, WORD_OR_NUMBER)], ...], Listed()]


class SoundSection(Section):
    """Sound of an alarm."""

    play: Annotated[
        tuple[Annotated[str, Words(_sound, WORD)], ...],
        Listed(),
        described(
            "What to play at each alarm: `siren`, `chirp`, `horn`, `barks`, `shouts`, `bangs`, or WAV files.",
            ["siren", "bark.wav"],
        ),
    ] = ()
    seconds: Annotated[
        float, described("How long it sounds from an alarm on, in seconds.", 30, ge=0.5, le=LONGEST_SOUND_S)
    ] = 20.0
    device: Annotated[
        Text | None,
        described("Output of ALSA to play on; `aplay -L` lists them (default: the system's).", "plughw:1,0"),
    ] = None


class DeterrentSection(Section):
    """Changing noises and flashing lamps that drive bears off."""

    play: Annotated[
        str | None,
        Words(_deterrent, {"type": ["string", "boolean"]}),
        described("`on`: the noises that come with the alarm; or a folder of WAV files (default: off).", "sounds"),
    ] = None
    lamps: Annotated[Pins, described("Pins of lamps that flash with it, written as for `relay`.", [22])] = ()
    hours: Annotated[
        When | None, described("When it may be loud, such as 'daily 20:00-06:00' (default: always).", "daily 21-6")
    ] = None


class CommandSection(Section):
    """Commands of your own; the event's JSON is their standard input, and for `text` a line of text."""

    on_alarm: Annotated[
        Text | None,
        described(
            "Command line to run at each alarm. The shell's `${NAME}` is written `$${NAME}`.", 'espeak "$BEAR_LABEL"'
        ),
    ] = None
    on_trouble: Annotated[
        Text | None,
        described(
            "Command line to run when a camera or the alarm itself fails, or is well again, and at notices.",
            'logger "$BEAR_DETAIL"',
        ),
    ] = None
    text: Annotated[
        Text | None,
        described(
            "Command line that sends a message without the internet, by SMS or LoRa; its standard input is one line "
            "of text. What fails is kept, and tried again.",
            "./sms.sh +15550100",
        ),
    ] = None


class MqttSection(Section):
    """The MQTT broker; a URL such as mqtt://USER:PASSWORD@HOST:1883/PREFIX may stand for it."""

    host: Annotated[Text, described("The broker's name or address.", "10.0.0.7")]
    port: Annotated[
        int | None, described("The broker's port (default: 1883, or 8883 with `tls`).", 1884, ge=1, le=65_535)
    ] = None
    user: Annotated[Text | None, described("The user that logs in (default: no login).", "bees")] = None
    password: Annotated[
        Text | None, described("The password; better as `${NAME}`, with NAME in secrets.yml.", "${MQTT_PASSWORD}")
    ] = None
    tls: Annotated[bool, described("Use TLS.", True)] = False
    ca: Annotated[
        FilePath | None, described("PEM file of the CA to trust (default: those of the system).", "ca.pem")
    ] = None
    insecure: Annotated[bool, described("Use TLS without checking the certificate.", True)] = False
    prefix: Annotated[Text, described("What all topics begin with.", "hives/bears")] = PREFIX
    discovery: Annotated[
        str,
        Words(_discovery, {"type": ["string", "boolean"]}),
        described("The prefix that Home Assistant listens to, so that it finds the alarm; `off`: no discovery.", "off"),
    ] = DISCOVERY
    every_s: Annotated[float, described("How often the state is sent again, in seconds.", 10, ge=0.05, le=3600.0)] = (
        EVERY_S
    )
    pictures: Annotated[bool, described("Publish the pictures of alarms.", False)] = True
    client_id: Annotated[
        Text | None, described("The name under which it connects (default: one of this device).", "hives-1")
    ] = None


class WebhookSection(Section):
    """An address that each event is posted to as JSON; the URL alone may stand for it."""

    url: Annotated[
        WebAddress | None,
        described(
            "The address, https:// or http://; better as `${NAME}`, whole or in part.", "https://example.org/${HOOK}"
        ),
    ] = None
    secret: Annotated[Text | None, described("Secret that signs the posts (HMAC-SHA256).", "${HOOK_SECRET}")] = None


Sound = Annotated[SoundSection, Short("play", WORD)]
Deterrent = Annotated[DeterrentSection, Short("play", {"type": ["string", "boolean"]})]
Command = Annotated[CommandSection, Short("on_alarm", WORD)]
Mqtt = Annotated[MqttSection, Short(_broker_of, WORD)]
Webhook = Annotated[WebhookSection, Short("url", WORD)]
Notify = Annotated[tuple[Text, ...], Listed()]


def is_camera(source: str) -> bool:
    """Return whether a source is a device or a stream; else it is a file, a folder or a pattern."""
    return source.isdecimal() or source.startswith("/dev/") or SCHEME.match(source) is not None


def _source(value: Any, folder: Path) -> str:
    word = text_of(value)
    if is_camera(word) or word == DEMO:
        return word
    path = placed(word, folder)
    if path.is_absolute() and not word.startswith(("/", "~")) and glob.has_magic(word):
        return str(Path(glob.escape(str(folder))) / word)
    return str(path)


def _camera_name(name: str) -> str:
    if name in SETTINGS:
        raise ValueError(f"this is a setting of a camera, not its name; write cameras: {{NAME: {{{name}: …}}}}")
    if not CAMERA_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError("this is no name for a camera; letters and digits, spaces, - and _ between them")
    return name


def _zone_name(name: str) -> str:
    if not ZONE_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError("this is no name for a zone; a letter first, then letters, digits, - and _")
    return name


Source = Annotated[str, Words(_source, WORD_OR_NUMBER)]
CameraName = Annotated[str, AfterValidator(_camera_name)]
ZoneName = Annotated[str, AfterValidator(_zone_name)]


class Motion(Section):
    """Places where motion counts."""

    mask: Annotated[
        Masks,
        described(
            "Where nothing counts: the corners of an area, as for a zone, or a list of such areas.",
            [[0, 0], [1, 0], [1, 0.2], [0, 0.2]],
        ),
    ] = ()


class Looking(Section):
    """Detection and decision for all cameras; each camera may have its own."""

    fps: Annotated[Rate, described("Frames analysed a second.", 5)] = 10.0
    idle_fps: Annotated[
        Rate | None,
        described(
            "Frames per second while nothing moves, on a live camera; at most `fps` (default: half of `fps`).", 2
        ),
    ] = None
    threshold: Annotated[Share | None, described("Bear probability that counts (default: the model's).", 0.7)] = None
    night_threshold: Annotated[
        Share | None, described("Bear probability that counts in the dark and in infrared (default: `threshold`).", 0.8)
    ] = None
    alarm_at: Annotated[
        Evidence | None, described("Evidence that raises the alarm, as `bear-alarm tune` advises (default: 1.8).", 2.4)
    ] = None
    schedule: Annotated[
        When | None,
        described(
            "When it may alarm, in local time, such as 'daily 20:00-06:00' (default: always). Outside it "
            "bears are recorded, and only machines get them (MQTT, webhook, events).",
            "mon-fri 20-6; sat,sun 18-8",
        ),
    ] = None


def _stage(value: Any, folder: Path) -> Stage:
    if value is None:
        raise ValueError(f"no stage is named; write {ONE_STAGE}, or delete the line")
    stage = stage_of(text_of(value))
    if stage is None:
        raise ValueError(f"{value!r} is no stage; write {ONE_STAGE}")
    return stage


class CameraSection(Section):
    """One camera. A camera of which nothing but the source is set may be that alone: ``yard: 0``."""

    source: Annotated[
        Source,
        described(
            "Where its pictures come from: `0`, `/dev/video0`, `/dev/v4l/by-id/…`, `picamera://0`, "
            "`rtsp://…`, `http://…`, a clip, a folder, `demo`.",
            "rtsp://ranger:${CAMERA_PASSWORD}@10.0.0.20/main",
        ),
    ]
    motion_source: Annotated[
        Source | None, described("The camera's smaller stream, to look for motion in.", "rtsp://10.0.0.20/small")
    ] = None
    follow: Annotated[
        bool, described("The source is a folder in which pictures arrive (FTP, trail-camera stations).", True)
    ] = False
    enabled: Annotated[bool, described("`no`: the camera is not watched, and its settings are kept.", False)] = True
    stage: Annotated[
        Stage | None,
        Words(_stage, {"enum": [*STAGES], "type": "string"}),
        described(
            "Stage in which the camera begins: `shadow` alarms nobody, `supervised` waits for a yes before it makes a "
            "noise, `autonomous` alarms at once. Later the page or `bear-alarm stage` changes it; changing this line "
            "does too (default: autonomous).",
            "shadow",
        ),
    ] = None
    stage_lock: Annotated[bool, described("The alarm never takes a stage away by itself; it only says so.", True)] = (
        False
    )
    fps: Annotated[Rate | None, described("As `detect.fps`, of this camera.", 5)] = None
    idle_fps: Annotated[Rate | None, described("As `detect.idle_fps`, of this camera.", 2)] = None
    threshold: Annotated[Share | None, described("As `detect.threshold`, of this camera.", 0.8)] = None
    night_threshold: Annotated[Share | None, described("As `detect.night_threshold`, of this camera.", 0.9)] = None
    alarm_at: Annotated[Evidence | None, described("As `detect.alarm_at`, of this camera.", 2.4)] = None
    schedule: Annotated[When | None, described("As `detect.schedule`, of this camera.", "daily 0-24")] = None
    motion: Annotated[Motion, described("Places where motion counts.", {"mask": "0,0 1,0 1,0.2 0,0.2"})] = Motion()
    zones: Annotated[
        dict[ZoneName, Zone],
        described(
            "Where there are any, only what stands in one alarms. Each has a name and corners: `x,y` as "
            "fractions of the picture, from `0,0` at the left top to `1,1` at the right bottom.",
            {"hives": "0.1,0.5 0.6,0.5 0.6,1"},
        ),
    ] = {}


SETTINGS = frozenset(CameraSection.model_fields)
CameraValue = Annotated[
    CameraSection,
    Short(
        "source",
        WORD_OR_NUMBER,
        description="One camera; the source alone may stand for it. The name is yours: letters and digits, with "
        "spaces, `-` and `_` between them.",
        examples=["picamera://0"],
    ),
]


def _events(value: Any, folder: Path) -> str:
    return "-" if value == "-" else str(file_at(value, folder))


def _model(value: Any, folder: Path) -> str:
    path = file_at(value, folder)
    if not path.exists():
        raise ValueError(f"{value!r}: no such model file; name one made by `bear-alarm export`")
    return str(path)


def _listen(value: Any, folder: Path) -> str:
    host, port = parse_listen(text_of(value))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_name(value: Any, folder: Path) -> str:
    name = text_of(value).strip().rstrip(".").lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name):
        raise ValueError(f"{value!r} is no name of a host, such as bees.example.org")
    return name


HostName = Annotated[str, Words(_host_name, WORD)]


class Record(Section):
    """Pictures and clips kept of an alarm; on or off may stand for it."""

    enabled: Annotated[bool, described("Keep pictures and clips of alarms.", False)] = True
    path: Annotated[
        FolderPath | None,
        described(
            "Folder for them (default: `./evidence`, or in the state folder under a service).", "/mnt/stick/evidence"
        ),
    ] = None
    quota_mb: Annotated[
        float | None,
        described(
            "Room for them, in MB; the oldest goes first, what is locked stays (default: 2000).", 8000, ge=1.0, le=1e8
        ),
    ] = None
    reserve_mb: Annotated[
        float | None,
        described("Room left free on the disk for everything else, in MB (default: 200).", 500, ge=0.0, le=1e8),
    ] = None
    negatives_per_day: Annotated[
        float | None, described("Frames without an alarm to keep a day, at random (default: 4).", 0, ge=0.0, le=100.0)
    ] = None
    full_frame: Annotated[
        bool, described("Keep the whole frame of each alarm too, with nothing drawn on it.", True)
    ] = False
    pre_capture_s: Annotated[
        float | None, described("Seconds of a clip before the alarm (default: 5).", 8, ge=0.0, le=30.0)
    ] = None
    post_capture_s: Annotated[
        float | None, described("Seconds of a clip after the bear was last seen (default: 10).", 20, ge=0.0, le=30.0)
    ] = None


class HeartbeatSection(Section):
    """A URL that is asked for while all is well, so that its silence alarms; the URL alone may stand for it."""

    url: Annotated[
        WebAddress | None,
        described(
            "The address, such as one of healthchecks.io or Uptime Kuma; better as `${NAME}`.",
            "https://hc.example.org/ping/${PING}",
        ),
    ] = None
    every_s: Annotated[float, described("How often it is asked, in seconds.", 600, ge=10.0, le=86_400.0)] = 300.0


class Health(Section):
    """Checks of the alarm's own health."""

    hot_c: Annotated[
        float,
        described(
            "Above this temperature (°C) of the processor a problem is reported and the frame rate falls; "
            "for a processor that says at which temperature it slows down, 5 °C below that if that is more.",
            75,
            ge=30.0,
            le=110.0,
        ),
    ] = 80.0
    low_disk_mb: Annotated[
        float, described("Report less room than this on the state folder's disk, in MB.", 1000, ge=0.0, le=1e8)
    ] = 500.0
    slow_ms: Annotated[
        float, described("Report a crop that takes longer to score than this, in ms.", 800, ge=1.0, le=60_000.0)
    ] = 500.0
    heartbeat: Annotated[
        Annotated[HeartbeatSection, Short("url", WORD)],
        described(
            "A dead man's switch on another machine: its address is asked for while all is well.",
            "https://hc.example.org/ping/${PING}",
        ),
    ] = HeartbeatSection()
    listen: Annotated[
        str | None,
        Words(_listen, {"type": ["string", "integer"]}),
        described(
            "Address and port of /healthz and /metrics, such as 127.0.0.1:9095, or the port alone (default: off).",
            "0.0.0.0:9095",
        ),
    ] = None
    restart_after_s: Annotated[
        float,
        described(
            "Every camera gone for so long, in seconds, restarts the service, once an outage.",
            900,
            ge=60.0,
            le=86_400.0,
        ),
    ] = 600.0
    reboot: Annotated[
        bool, described("Restart the machine where restarting the service did not help, at most once a day.", True)
    ] = False


class PageSection(Section):
    """The page of this alarm in a browser; its address alone may stand for it."""

    listen: Annotated[
        str | None,
        Words(_listen, {"type": ["string", "integer"]}),
        described(
            "Address and port of the page, or the port alone: 127.0.0.1 is for this machine only, "
            "0.0.0.0 for the network (default: off).",
            "0.0.0.0:8470",
        ),
    ] = None
    allow_http: Annotated[
        bool, described("Serve it without TLS also where other machines reach it, as behind a proxy.", True)
    ] = False
    names: Annotated[
        tuple[HostName, ...], Listed(), described("Names it is asked for by, as behind a proxy.", ["bees.example.org"])
    ] = ()


class StagesSection(Section):
    """Rules for the stages of cameras: when the next one is offered, and when one is taken away."""

    precision: Annotated[
        float,
        described(
            "Share of alarms that must be right before the next stage is offered, at the lower end of its 95 % "
            "interval.",
            0.9,
            ge=0.5,
            le=0.99,
        ),
    ] = 0.8
    wrong_in_a_row: Annotated[
        int, described("So many alarms in a row, reviewed as wrong, end `autonomous`.", 5, ge=2, le=20)
    ] = 3
    answer_s: Annotated[
        float,
        described(
            "Without an answer a supervised alarm sounds after so many seconds. With `unanswered: silence` it means "
            "nothing.",
            60,
            ge=5.0,
            le=3600.0,
        ),
    ] = 30.0
    unanswered: Annotated[
        Literal["sound", "silence"],
        described(
            "What a supervised alarm does when nobody answers: `sound`: it sounds after `answer_s`; `silence`: it "
            "stays silent until somebody says yes, within ten minutes.",
            "silence",
        ),
    ] = "sound"


class UpdatesSection(Section):
    """New models: where they come from, and when one takes the place of the model in use."""

    sources: Annotated[
        tuple[Annotated[str, Words(_update_source, WORD)], ...],
        Listed(),
        described(
            "Where signed models are looked for: folders, such as that of a stick; `https://…/NAME.onnx`; `mqtt`: "
            "PREFIX/model of the broker in `mqtt`.",
            ["/media/bears", "https://example.org/bear.onnx"],
        ),
    ] = ()
    every_h: Annotated[float, described("How often an https address is asked, in hours.", 6, ge=0.1, le=8760.0)] = 24.0
    frames: Annotated[
        int,
        described(
            "The new model is tried beside the one in use on so many frames with something to see before it is used.",
            1000,
            ge=1,
            le=100_000,
        ),
    ] = 300
    hours: Annotated[
        float,
        described(
            "The least time of a trial, in hours. After a week an autonomous camera stays so.", 48, ge=0.0, le=8760.0
        ),
    ] = 168.0
    max_differences: Annotated[
        int,
        described(
            "With more alarms that only one of the two would have raised, a person is asked, and the new model is not "
            "used by itself.",
            0,
            ge=0,
            le=1000,
        ),
    ] = 3
    ask_h: Annotated[
        float, described("With too few such frames after so many hours, a person is asked.", 168, ge=1.0, le=8760.0)
    ] = 336.0


class SiteSection(Section):
    """The place where the cameras stand: for the names of species, and for packages of Camtrap DP."""

    name: Annotated[Text, described("Its name, for people.", "Upper meadow")] = ""
    latitude: Annotated[
        float | None, described("Degrees north, WGS 84; south is negative.", 45.6, ge=-90.0, le=90.0)
    ] = None
    longitude: Annotated[
        float | None, described("Degrees east, WGS 84; west is negative.", 14.5, ge=-180.0, le=180.0)
    ] = None
    country: Annotated[
        str,
        Words(_country, {"type": ["string", "boolean"]}),  # YAML 1.1 takes NO, for Norway, for a switch
        described("The country's code of two letters, such as SI; in the USA with the state: US-MT.", "SI"),
    ] = ""
    timezone: Annotated[
        str,
        Words(_timezone, WORD),
        described("A name or an offset from UTC; where it is empty: for events, this device's.", "Europe/Ljubljana"),
    ] = ""


class Config(Section):
    """The settings of Bear Alarm. Nothing is needed: what is not given or left empty has its default."""

    model: Annotated[
        str | None, Words(_model, WORD), described("Model file (default: the chosen or the bundled one).", "bear.onnx")
    ] = None
    state: Annotated[
        FolderPath | None,
        described("Folder for the journal of events (default: this system's place for it).", "/var/lib/bear-alarm"),
    ] = None
    trace: Annotated[
        FilePath | None, described("Keep what was seen and thought in this file, for `bear-alarm why`.", "trace.bin")
    ] = None
    cameras: Annotated[
        dict[CameraName, CameraValue],
        described(
            "The cameras, each by a name of your own; a camera may be just its source: `{yard: 0}`.", {"yard": 0}
        ),
    ] = {}
    detect: Annotated[
        Looking, described("How cameras look and decide, where one does not say otherwise.", {"fps": 5})
    ] = Looking()
    sound: Annotated[Sound, described("What sounds at an alarm.", "siren")] = SoundSection()
    relay: Annotated[
        Pins, described("Pins of a Raspberry Pi to switch at each alarm.", ["17:30", "27:60:low:blink"])
    ] = ()
    deterrent: Annotated[
        Deterrent, described("Noises and lamps that drive bears off, where you may do that.", "on")
    ] = DeterrentSection()
    command: Annotated[Command, described("Commands of your own.", "espeak bear")] = CommandSection()
    bell: Annotated[bool, described("Ring the terminal's bell at each alarm.", False)] = True
    events: Annotated[
        str | None,
        Words(_events, WORD),
        described("Append events to this file, one line of JSON each; `-` for standard output.", "events.jsonl"),
    ] = None
    mqtt: Annotated[
        Mqtt | None,
        described(
            "The MQTT broker; Home Assistant finds the alarm through it.", "mqtt://bees:${MQTT_PASSWORD}@10.0.0.7"
        ),
    ] = None
    webhook: Annotated[Webhook, described("An address that each event is posted to.", "https://example.org/bears")] = (
        WebhookSection()
    )
    notify: Annotated[
        Notify,
        described(
            "Phones, chats, mail or the desktop, as Apprise URLs: `ntfy://…`, `tgram://…`, `mailto://…`, `dbus://`.",
            ["ntfy://TOPIC", "${TELEGRAM}"],
        ),
    ] = ()
    record: Annotated[Annotated[Record, Short("enabled", SWITCH)], described("What is kept of an alarm.", False)] = (
        Record()
    )
    stages: Annotated[StagesSection, described("How cameras earn their stages, and lose them.", {"precision": 0.9})] = (
        StagesSection()
    )
    updates: Annotated[
        Annotated[UpdatesSection, Short("sources", WORD)],
        described(
            "New models for a device that nobody visits. Only what a trusted key signed is taken: "
            "`bear-alarm model trust`.",
            "/media/bears",
        ),
    ] = UpdatesSection()
    health: Annotated[Health, described("How the alarm watches itself, and who may ask it.", {"hot_c": 75})] = Health()
    page: Annotated[
        Annotated[PageSection, Short("listen", WORD_OR_NUMBER)],
        described("The alarm's page in a browser, off unless it is named.", "127.0.0.1:8470"),
    ] = PageSection()
    site: Annotated[SiteSection, described("Where the cameras stand.", {"country": "SI"})] = SiteSection()


@cache
def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config in which ${NAME} is filled in and nothing is empty."""
    plain: dict[str, Any] = _plain(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Bear Alarm"} | plain


@cache
def settings() -> dict[Pattern, dict[str, Any]]:
    """Map each setting and section to its part of the schema; what is in a list is under the list's own name."""
    schema = config_schema()
    return dict(_walk(schema, (), schema["$defs"]))


def pattern(key: Key) -> Pattern:
    """Return a key with ``NAME`` in place of the user's own names."""
    found: Pattern = ()
    for part in key:
        if isinstance(part, str):
            found += (NAME if found in NAMED_UNDER else part,)
    return found


def about(key: Key) -> dict[str, Any]:
    """Return the part of the schema about a setting; empty where there is no such."""
    return settings().get(pattern(key), {})


def unknown(key: Key, value: Any = None) -> str:
    """Return what a setting that does not exist was meant to be, and where it belongs."""
    *_, word = pattern(key)
    level = pattern(key)[:-1]
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    here = [each[-1] for each in settings() if each[:-1] == level and each[-1] != NAME]
    if plain in here:
        return f"no such setting; did you mean {plain}?"
    elsewhere = [each for each in settings() if each[-1] == plain]
    if elsewhere:
        belongs = f"no such setting here; it belongs {' or '.join(_under(each) for each in elsewhere[:3])}"
        near = get_close_matches(plain, here, n=1, cutoff=0.8)  # stage and stages
        return f"{belongs}; or did you mean {near[0]}?" if near else belongs
    if near := get_close_matches(plain, here, n=1):
        return f"no such setting; did you mean {near[0]}?"
    if not level and isinstance(value, dict) and {("cameras", NAME, each) for each in value} & settings().keys():
        return "no such setting; if it is a camera, indent it, and what belongs to it, under cameras:"
    more = ", …" if len(here) > MAX_SETTINGS_SHOWN else ""
    return f"no such setting; there are {', '.join(here[:MAX_SETTINGS_SHOWN])}{more}"


def _under(where: Pattern) -> str:
    return f"under {'.'.join(where[:-1])}" if len(where) > 1 else "at the top, not indented"


def _walk(schema: dict[str, Any], at: Pattern, parts: dict[str, Any]) -> Iterator[tuple[Pattern, dict[str, Any]]]:
    for option in _options(schema, parts):
        for name, inner in option.get("properties", {}).items():
            yield (*at, name), _merged(inner, parts)
            yield from _walk(inner, (*at, name), parts)
        if isinstance(inner := option.get("additionalProperties"), dict):
            yield (*at, NAME), _merged(inner, parts)
            yield from _walk(inner, (*at, NAME), parts)
        if isinstance(inner := option.get("items"), dict):
            yield from ((each, found) for each, found in _walk(inner, at, parts) if len(each) > len(at))


def _options(schema: dict[str, Any], parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a schema allows, without references and alternatives."""
    if "$ref" in schema:
        yield from _options(parts[schema["$ref"].rpartition("/")[2]], parts)
    for each in schema.get("anyOf", ()):
        yield from _options(each, parts)
    yield schema


def _merged(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return the top of a schema, with the description and type of the section to which it refers."""
    own = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return {name: own[name] for name in ("description", "type") if name in own} | schema


def _plain(schema: Any) -> Any:
    """Drop titles, nulls that stand for what is empty, and defaults that a section's own settings have."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: {inner: _plain(each) for inner, each in value.items()}
        if name in {"properties", "$defs"}
        else _plain(value)
        for name, value in schema.items()
        if name != "title" and not (name == "default" and (value is None or isinstance(value, dict)))
    }
    if len(found.get("allOf", ())) == 1:  # how pydantic before 2.9 wrote a reference
        found = found.pop("allOf")[0] | found
    if "anyOf" in found:
        found["anyOf"] = [each for each in found["anyOf"] if each != {"type": "null"}]
        if len(found["anyOf"]) == 1:
            found = found.pop("anyOf")[0] | found
    return found


def editor_schema() -> dict[str, Any]:
    """Return the schema for editors, which see ``${NAME}``, empty settings, and yes and no as words."""
    found: dict[str, Any] = _lenient(config_schema())
    return found


def _lenient(schema: Any) -> Any:
    """Allow ${NAME}, or nothing, in the place of any value."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _lenient(value) for name, value in schema.items()}
    if "enum" in schema:
        kept = {name: value for name, value in found.items() if name not in {"enum", "type"}}
        return kept | {"anyOf": [{"enum": [*schema["enum"], None]}, {"type": "string", "pattern": FILLED}]}
    if isinstance(schema.get("type"), str | list):  # not where `type` is a setting's name
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        strict = "string" not in kinds and "object" not in kinds and "array" not in kinds
        found["type"] = [*kinds, *(["string"] if strict else []), "null"]
        if strict:
            found["pattern"] = f"{SWITCHES}|{FILLED}" if "boolean" in kinds else FILLED
    return found
