"""Settings of the whole alarm. Everything has a default, so nothing is needed to start.

A config file (``edge.config``) and the options of the command make the same values.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.decide.schedule import Schedule
from edge.decide.stages import Goal
from edge.detect.zones import Polygon, Zone
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.alert.mqtt_settings import MqttSettings


@dataclass(frozen=True)
class CameraSettings:
    """Settings of one camera: zones and masks, schedule, thresholds and frame rates."""

    masks: tuple[Polygon, ...] = ()  # where nothing counts: a road, a flag, the neighbour's garden
    zones: tuple[Zone, ...] = ()  # where there are any, only a bear in one alarms
    schedule: Schedule | None = None  # when the alarm may make a noise; None: always
    fps: float = 10.0  # frames analysed a second
    idle_fps: float | None = None  # and while nothing moves, on a live camera; None: half of it
    frame_s: float = 0.25  # what scoring one frame of a live camera may take: a slow board gives it fewer crops
    threshold: float | None = None  # bear probability that counts, 0 to 1; None: the model's own
    night_threshold: float | None = None  # and in the dark and in infrared; None: the same
    alarm_at: float | None = None  # evidence that raises the alarm, logit-seconds; None: the rule's own

    @property
    def quiet_fps(self) -> float:
        """Frames a second while nothing moves."""
        return self.fps / 2 if self.idle_fps is None else min(self.idle_fps, self.fps)


@dataclass(frozen=True)
class Camera:
    """One camera: its name, where its pictures come from, and how it is watched."""

    name: str
    source: str = field(repr=False)  # 0, /dev/video0, rtsp://…, clip.mp4, a folder, demo; may hold a password
    motion_source: str | None = field(default=None, repr=False)  # a smaller stream, to look for motion in
    follow: bool = False  # a folder in which pictures arrive
    settings: CameraSettings = CameraSettings()
    stage: str | None = None  # in the config; "": none is written; None: named on the command line, and has no stages
    stage_lock: bool = False  # the alarm itself never moves it down


@dataclass(frozen=True)
class AlertSettings:
    """Alerts. What makes a noise, acts or goes over a network is off unless it is named here."""

    bell: bool = True  # the terminal's
    sounds: tuple[str, ...] = ()  # siren, chirp, … or WAV files
    sound_s: float = 20.0  # how long they sound, seconds
    sound_device: str | None = None  # of ALSA
    relays: tuple[str, ...] = ()  # PIN[:SECONDS[:low][:blink]]
    deterrent: str | None = None  # "on", or a folder of WAV files
    deterrent_lamps: tuple[str, ...] = ()  # pins that flash with it
    deterrent_hours: Schedule | None = None  # when it may be loud; None: always
    on_alarm: str | None = None  # shell command lines
    on_trouble: str | None = None
    text: str | None = None  # takes each message as a line of text
    events: str | None = None  # JSONL file, or - for standard output
    mqtt: MqttSettings | None = field(default=None, repr=False)
    webhook: str | None = field(default=None, repr=False)  # URLs, which may hold secrets
    webhook_secret: str | None = field(default=None, repr=False)
    notify: tuple[str, ...] = field(default=(), repr=False)

    @property
    def silent(self) -> bool:
        """Return True if nothing makes a noise or switches anything."""
        return not (self.sounds or self.relays or self.deterrent)

    @property
    def anyone(self) -> bool:
        """Return True if anything but the terminal is notified."""
        return self.remote or not self.silent or bool(self.on_alarm or self.events)

    @property
    def remote(self) -> bool:
        """Return True if anything goes over a network, be it of SMS or radio."""
        return bool(self.mqtt or self.webhook or self.notify or self.text)


@dataclass(frozen=True)
class StageSettings:
    """Settings of the stages: what a camera has to earn, and who is waited for."""

    precision: float = 0.8  # share of right alarms, at the lower bound, for the next stage to be offered
    wrong_in_a_row: int = 3  # reviewed alarms: so many end "autonomous"
    answer_s: float = 30.0  # without an answer a supervised alarm sounds after so long, unless silence was chosen
    unanswered: Literal["sound", "silence"] = "sound"

    @property
    def goal(self) -> Goal:
        """Return what is asked of a camera."""
        return Goal(self.precision, self.wrong_in_a_row)

    @property
    def unanswered_words(self) -> str:
        """Return what a supervised alarm does when nobody answers, a clause."""
        if self.unanswered == "silence":
            return "it stays SILENT until somebody says yes"
        return f"without an answer it sounds after {self.answer_s:g} s"


@dataclass(frozen=True)
class EvidenceSettings:
    """Settings of the evidence kept. None: the default of ``edge.record.recorder``."""

    keep: bool = True
    folder: Path | None = None  # None: ./evidence, or in the state folder under a service
    quota_mb: float | None = None
    reserve_mb: float | None = None  # stay free on the disk
    negatives_per_day: float | None = None
    full: bool = False  # the whole frame of each alarm as well
    pre_capture_s: float | None = None  # of a clip, before the alarm
    post_capture_s: float | None = None  # and after the bear was last seen


@dataclass(frozen=True)
class HealthSettings:
    """Settings of the alarm's own health checks and telemetry."""

    hot_c: float = 80.0  # of the processor, °C: from here on it is reported and the frame rate falls
    low_disk_mb: float = 500.0  # less room than this is reported
    slow_ms: float = 500.0  # a crop that takes longer to score is reported
    heartbeat_url: str | None = field(default=None, repr=False)  # asked for while all is well
    heartbeat_s: float = 300.0
    listen: str | None = None  # ADDRESS:PORT of /healthz and /metrics; None: there is no server
    restart_after_s: float = 600.0  # under a service: every camera gone for so long starts it again, once an outage
    reboot: bool = False  # and where that was of no use, the machine, at most once a day


@dataclass(frozen=True)
class PageSettings:
    """Settings of the page that shows the alarm in a browser."""

    listen: str | None = None  # ADDRESS:PORT; None: there is no page
    allow_http: bool = False  # without TLS also where others reach it, as behind a proxy
    names: tuple[str, ...] = ()  # hosts by which it is asked for beside its addresses, as behind a proxy

    @property
    def loopback(self) -> bool:
        """Return True if only this machine reaches the page, or there is none."""
        return self.listen is None or ipaddress.ip_address(parse_listen(self.listen)[0]).is_loopback

    @property
    def tls(self) -> bool:
        """Return True where the page is encrypted: always, but on this machine alone or where HTTP is allowed."""
        return not (self.loopback or self.allow_http)


MQTT = "mqtt"  # as a source of new models: the broker of the config


@dataclass(frozen=True)
class UpdateSettings:
    """Settings of new models: where they come from, and when one takes the place of the one in use."""

    sources: tuple[str, ...] = ()  # folders, https URLs, MQTT
    every_h: float = 24.0  # how often a URL is asked
    frames: int = 300  # with something to see: so many are looked at by both models
    hours: float = 168.0  # of a trial at least: a week, as a stage counts it as tested
    max_differences: int = 3  # alarms that only one of them raises; with more, a person is asked
    ask_h: float = 336.0  # with fewer frames after so long, a person is asked


@dataclass(frozen=True)
class Site:
    """The place where the cameras of this alarm stand."""

    name: str = ""  # for people
    latitude: float | None = None  # degrees, WGS 84
    longitude: float | None = None
    country: str = ""  # ISO 3166-1 alpha-2, or US-MT for a state of the USA
    timezone: str = ""  # Europe/Ljubljana or +01:00; "": for events, this device's


@dataclass(frozen=True)
class Settings:
    """Everything ``watch`` runs on."""

    cameras: tuple[Camera, ...] = ()
    alerts: AlertSettings = AlertSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    health: HealthSettings = HealthSettings()
    page: PageSettings = PageSettings()
    stages: StageSettings = StageSettings()
    updates: UpdateSettings = UpdateSettings()
    site: Site = Site()
    model: str | None = None  # None: the chosen or the bundled one
    state: Path | None = None  # folder of the journal; None: this system's place for it
    trace: Path | None = None
    waits: bool = False  # a camera that is missing at the start is down, and tried again; else it is a mistake


# Where to listen, as a user writes it.


LOOPBACK = "127.0.0.1"


def parse_listen(listen: str) -> tuple[str, int]:
    """Return the address and port of ``[ADDRESS:]PORT``; a port alone listens on 127.0.0.1, port 0 on any that is free.

    An IPv6 address is in brackets. No name but localhost is accepted: it would need a name server.
    Raises OptionError.
    """
    match = re.fullmatch(r"(?:(?:\[(?P<six>[^\[\]]*)\]|(?P<four>[^:\[\]]*)):)?(?P<port>[0-9]{1,5})", listen.strip())
    problem = f"{listen!r} is no place to listen on"
    how = f"give a port, {LOOPBACK}:PORT, 0.0.0.0:PORT or [::1]:PORT"
    if not match:
        raise OptionError(f"{problem}; {how}")
    port = int(match["port"])
    if port > 65_535:
        raise OptionError(f"{problem}: a port is at most 65535; {how}")
    if match["six"] is None and match["four"] is None:
        return LOOPBACK, port
    named = match["six"] or match["four"] or ""
    if named.lower() == "localhost" and match["six"] is None:
        return LOOPBACK, port
    try:
        address = ipaddress.ip_address(named)
    except ValueError:
        raise OptionError(f"{problem}: {named!r} is no address of a network; {how}") from None
    if (address.version == 6) != (match["six"] is not None):
        raise OptionError(f"{problem}: brackets are for addresses of IPv6; {how}")
    return str(address), port
