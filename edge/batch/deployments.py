"""Where the cameras stood: the table of deployments, in the columns of Camtrap DP, and their clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Deployment:
    """One camera in one place for a time. ``start`` and ``end`` have a time zone."""

    id: str
    latitude: float  # degrees, WGS 84
    longitude: float
    start: datetime | None = None  # None: that of its first picture
    end: datetime | None = None
    folder: str = ""  # of its pictures, relative to that of all of them; "": the id
    zone: str = ""  # of the camera's clock: Europe/Ljubljana or +01:00; "": as --timezone says
    shift: timedelta = timedelta()  # to add to what the camera's clock showed
    more: dict[str, str] = field(default_factory=dict)  # other columns of Camtrap DP, such as locationName
