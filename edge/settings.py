"""What a user may set for one camera; every setting has a default, so none is needed to start."""

from __future__ import annotations

from dataclasses import dataclass

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
