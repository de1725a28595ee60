"""What a user may set: for one camera, and of who is told. Everything has a default, so nothing is needed to start."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.decide.schedule import Schedule
from edge.zones import Polygon, Zone


@dataclass(frozen=True)
class CameraSettings:
    """Where to look, when to be loud, and how much work that may be."""

    masks: tuple[Polygon, ...] = ()  # where nothing counts: a road, a flag, the neighbour's garden
    zones: tuple[Zone, ...] = ()  # where there are any, only what stands in one alarms
    schedule: Schedule | None = None  # when the alarm may make a noise; None: always
    fps: float = 10.0  # frames analysed a second
    idle_fps: float | None = None  # and while nothing moves, on a live camera; None: half of it
    frame_s: float = 0.25  # what scoring one frame of a live camera may take: a slow board gives it fewer crops

    @property
    def quiet_fps(self) -> float:
        """Frames a second while nothing moves."""
        return self.fps / 2 if self.idle_fps is None else min(self.idle_fps, self.fps)


@dataclass(frozen=True)
class AlertSettings:
    """Who is told. What makes a noise, acts or goes over a network is off unless it is named here."""

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
    events: str | None = None  # JSONL file, or - for standard output
    mqtt: str | None = field(default=None, repr=False)  # URLs, which may hold secrets
    webhook: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    notify: tuple[str, ...] = field(default=(), repr=False)

    @property
    def silent(self) -> bool:
        """Whether nothing makes a noise or switches anything."""
        return not (self.sounds or self.relays or self.deterrent)

    @property
    def anyone(self) -> bool:
        """Whether anybody is told but the terminal."""
        return self.remote or not self.silent or bool(self.on_alarm or self.events)

    @property
    def remote(self) -> bool:
        """Whether anything goes over a network."""
        return bool(self.mqtt or self.webhook or self.notify)
