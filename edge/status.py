"""How the whole alarm is at one moment: what the watchdog, a heartbeat, ``/healthz`` and ``/metrics`` look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOT_LOOKED = "no frame is being looked at"
# Told, and no reason to mistrust the alarm: a memory chip that is nearly worn out stays so for years.
STANDING = frozenset({"storage"})


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera. Ages are seconds of the monotonic clock."""

    name: str
    live: bool
    fresh: bool  # a frame was looked at within edge.watch.FRESH_S
    frame_age_s: float | None  # since the last frame was handed over; None: there was none yet
    alive_age_s: float  # since its loop or its reconnecting last went on: grows only where a thread hangs
    frames: int  # looked at since the start
    fps: float  # frames a second that are asked of it now
    trouble: str | None  # what is told to be wrong, in one sentence
    reopened: int  # how often it was opened anew
    blind: bool = False  # what comes shows no bear: frozen, black, white or covered


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One of those who are told at once."""

    name: str
    failures: int
    dropped: int
    hung: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """One place over a network."""

    key: str  # names it without secrets
    waiting: int
    parked: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole alarm."""

    version: str
    model: str
    uptime_s: float
    cameras: tuple[CameraStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    channels: tuple[ChannelStatus, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)  # told and not over, by part: edge.health
    alarms: int = 0  # bears told since the start
    crop_ms: float | None = None  # what scoring one crop takes, lately
    inference_age_s: float | None = None  # since a heartbeat inference finished
    fps_share: float = 1.0  # of the frame rates that are set, kept up in heat and at low voltage
    temperature_c: float | None = None
    undervolted: bool | None = None  # now; None: not known on this board
    disk_free_mb: float | None = None  # where the state folder is
    durable: bool | None = None  # whether events are on the disk when they count as told; None: no journal

    @property
    def ill(self) -> list[str]:
        """Why the alarm cannot be relied on now, a sentence each: a camera that sees nothing, and every problem.

        What only asks for a new card one day is told, and stands in ``problems`` alone.
        """
        blind = [_named(each.name, each.trouble or NOT_LOOKED) for each in self.cameras if each.blind or not each.fresh]
        return blind + [f"{name}: {words}" for name, words in self.problems.items() if name not in STANDING]


def _named(camera: str, words: str) -> str:
    """The words with the camera's name before them, which most troubles begin with themselves."""
    return words if words.startswith(camera) else f"{camera}: {words}"
