"""Times for people: by this device's clock and time zone, with UTC beside it, as events and files carry it."""

from __future__ import annotations

from datetime import UTC, datetime


def clock(wall: datetime, *, date: bool = True) -> str:
    """Return a time (with its zone) as ``2026-11-24 04:12:07 (03:12:07Z)``; only with a Z where this place has UTC."""
    local = wall.astimezone()
    words = f"{local:%Y-%m-%d %H:%M:%S}" if date else f"{local:%H:%M:%S}"
    return f"{words}Z" if not local.utcoffset() else f"{words} ({wall.astimezone(UTC):%H:%M:%SZ})"


def lasting(seconds: float) -> str:
    """Return a length of time: ``0.5 s``, ``12 min``, ``3.2 h``, ``8.0 days``."""
    for unit_s, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_s:
            number = seconds / unit_s
            return f"{number:.0f} {unit}" if number >= 10 or unit == "min" else f"{number:.1f} {unit}"
    return f"{seconds:.1f} s"
