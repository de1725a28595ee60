"""The whole config, as pydantic checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from edge.config.kinds import SWITCH, WORD, Section, Short, Words, text_of
from edge.config.paths import file_at, folder_at
from edge.config.shape_alerts import (
    Command,
    CommandSection,
    Deterrent,
    DeterrentSection,
    Mqtt,
    Notify,
    Pins,
    Sound,
    SoundSection,
    WebAddress,
    Webhook,
    WebhookSection,
)
from edge.config.shape_cameras import CameraName, CameraValue, Looking


def _folder(value: Any, folder: Path) -> Path:
    return folder_at(text_of(value), folder)


def _file(value: Any, folder: Path) -> Path:
    return file_at(text_of(value), folder)


def _events(value: Any, folder: Path) -> str:
    return "-" if value == "-" else str(_file(value, folder))


def _model(value: Any, folder: Path) -> str:
    path = _file(value, folder)
    if not path.exists():
        raise ValueError(f"{value!r}: no such model file; name one made by `bear-alarm export`")
    return str(path)


def _listen(value: Any, folder: Path) -> str:
    from edge.settings import parse_listen

    host, port = parse_listen(text_of(value))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Record(Section):
    """What is kept of an alarm: pictures and clips; on or off may stand for it."""

    enabled: Annotated[bool, Field(description="Keep pictures and clips of alarms.")] = True
    path: Annotated[
        Path | None,
        Words(_folder, WORD),
        Field(description="Folder for them (default: ./evidence; under a service, in the state folder)."),
    ] = None
    quota_mb: Annotated[
        float | None,
        Field(ge=1.0, le=1e8, description="Room for them, in MB; the oldest goes first, what is locked stays. 2000."),
    ] = None
    reserve_mb: Annotated[
        float | None, Field(ge=0.0, le=1e8, description="Room left free on the disk for everything else, in MB. 200.")
    ] = None
    negatives_per_day: Annotated[
        float | None, Field(ge=0.0, le=100.0, description="Frames without an alarm to keep a day, at random. 4.")
    ] = None
    full_frame: Annotated[bool, Field(description="Keep the whole frame of each alarm too, nothing drawn on it.")] = (
        False
    )
    pre_capture_s: Annotated[
        float | None, Field(ge=0.0, le=30.0, description="Seconds of a clip before the alarm. 5.")
    ] = None
    post_capture_s: Annotated[
        float | None, Field(ge=0.0, le=30.0, description="Seconds of it after the bear was last seen. 10.")
    ] = None


class HeartbeatSection(Section):
    """A URL that is asked for while all is well, so that its silence alarms; the URL alone may stand for it."""

    url: Annotated[
        WebAddress | None, Field(description="The address, of healthchecks.io or Uptime Kuma, say; better as ${NAME}.")
    ] = None
    every_s: Annotated[float, Field(ge=10.0, le=86_400.0, description="How often, seconds.")] = 300.0


class Health(Section):
    """How the alarm watches itself."""

    hot_c: Annotated[
        float,
        Field(
            ge=30.0,
            le=110.0,
            description="A processor hotter than that (°C) is told, and the frame rate falls; one that says at which "
            "temperature it slows itself down, from 5 °C below that on where that is more.",
        ),
    ] = 80.0
    low_disk_mb: Annotated[
        float, Field(ge=0.0, le=1e8, description="Less room than that on the state folder's disk is told, in MB.")
    ] = 500.0
    slow_ms: Annotated[
        float, Field(ge=1.0, le=60_000.0, description="A crop that takes longer to score than that is told, in ms.")
    ] = 500.0
    heartbeat: Annotated[
        Annotated[HeartbeatSection, Short("url", WORD)],
        Field(description="A dead man's switch on another machine."),
    ] = HeartbeatSection()
    listen: Annotated[
        str | None,
        Words(_listen, {"type": ["string", "integer"]}),
        Field(
            description="Address and port of /healthz and /metrics, such as 127.0.0.1:9095, or the port alone "
            "(default: off)."
        ),
    ] = None
    restart_after_s: Annotated[
        float,
        Field(
            ge=60.0,
            le=86_400.0,
            description="Every camera gone for so long, seconds, starts the service again, once an outage.",
        ),
    ] = 600.0
    reboot: Annotated[bool, Field(description="And where that was of no use, the machine, at most once a day.")] = False


class Config(Section):
    """The settings of Bear Alarm. Nothing is needed: what is not given or left empty has its default."""

    model: Annotated[
        str | None,
        Words(_model, WORD),
        Field(description="Model file (default: the chosen or the bundled one)."),
    ] = None
    state: Annotated[
        Path | None,
        Words(_folder, WORD),
        Field(description="Folder for the journal of events (default: this system's place for it)."),
    ] = None
    trace: Annotated[
        Path | None,
        Words(_file, WORD),
        Field(description="Keep what was seen and thought in this file, for `bear-alarm why`."),
    ] = None
    cameras: Annotated[
        dict[CameraName, CameraValue],
        Field(description="The cameras, each by a name of your own; a camera may be just its source: {yard: 0}."),
    ] = {}  # noqa: RUF012 -- pydantic copies it
    detect: Annotated[Looking, Field(description="How cameras look and decide, where one does not say otherwise.")] = (
        Looking()
    )
    sound: Annotated[Sound, Field(description="What sounds at an alarm.")] = SoundSection()
    relay: Annotated[Pins, Field(description="Pins of a Raspberry Pi to switch at each alarm.")] = ()
    deterrent: Annotated[Deterrent, Field(description="Drives bears off, where you may do that.")] = DeterrentSection()
    command: Annotated[Command, Field(description="Commands of your own.")] = CommandSection()
    bell: Annotated[bool, Field(description="Ring the terminal's bell at each alarm.")] = True
    events: Annotated[
        str | None,
        Words(_events, WORD),
        Field(description="Append events to this file, one line of JSON each; - for standard output."),
    ] = None
    mqtt: Annotated[Mqtt | None, Field(description="The MQTT broker; Home Assistant finds the alarm through it.")] = (
        None
    )
    webhook: Annotated[Webhook, Field(description="An address that each event is posted to.")] = WebhookSection()
    notify: Annotated[
        Notify,
        Field(
            description="Phones, chats, mail or the desktop, as Apprise URLs: ntfy://…, tgram://…, mailto://…, dbus://."
        ),
    ] = ()
    record: Annotated[Annotated[Record, Short("enabled", SWITCH)], Field(description="What is kept of an alarm.")] = (
        Record()
    )
    health: Annotated[Health, Field(description="How the alarm watches itself, and who may ask it.")] = Health()
