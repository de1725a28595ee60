"""Times for people: by this device's clock and time zone, with UTC beside it, as events and files carry it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo


def clock(wall: datetime, *, date: bool = True) -> str:
    """Return a time (with its zone) as ``2026-11-24 04:12:07 (03:12:07Z)``; only with a Z where this place has UTC."""
    local = wall.astimezone()
    words = f"{local:%Y-%m-%d %H:%M:%S}" if date else f"{local:%H:%M:%S}"
    return f"{words}Z" if not local.utcoffset() else f"{words} ({wall.astimezone(UTC):%H:%M:%SZ})"


def lasting(seconds: float) -> str:
    """Return a length of time: ``0.5 s``, ``42 s``, ``12 min``, ``3.2 h``, ``8.0 days``."""
    for unit_s, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_s:
            number = seconds / unit_s
            return f"{number:.0f} {unit}" if number >= 10 or unit == "min" else f"{number:.1f} {unit}"
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def zone_of(word: str) -> tzinfo:
    """Return the time zone of ``Europe/Ljubljana``, ``+01:00`` or ``Z``. Raises ValueError with a sentence."""
    offset = re.fullmatch(r"([+-])([01]\d|2[0-3]):?([0-5]\d)", word)
    if offset:
        length = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-length if offset[1] == "-" else length)
    try:
        return UTC if word == "Z" else ZoneInfo(word)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder's name is an OSError
        raise ValueError(f"{word!r} is no time zone; write a name such as Europe/Ljubljana, or +01:00") from None
