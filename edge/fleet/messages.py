"""Reading what devices send. Nothing of it is trusted: what is not exactly as it should be is refused, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, TypeGuard, get_args
from unicodedata import category

from edge.errors import BearAlarmError
from edge.schema import Event, EventKind, EventType, Stage, readable

MAX_BYTES = 200_000  # of a message in JSON: an answer has 60 kB, and reading more takes other devices' time
MAX_PICTURE_BYTES = 2_000_000
MAX_EVENT_BYTES = 8_000  # of one event in JSON
MAX_NAME = 64  # characters of a device's name
MAX_ID = 200  # characters of an id
MAX_TEXT = 2_000  # characters of any other text
MAX_DEPTH = 8
MAX_CAMERAS = 50  # of a device
MAX_EVENTS = 50  # of an answer
MAX_ZONES = 50  # of an event
BLANKS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs that show nothing
MAX_INTEGER = 2**53
EARLIEST = datetime.fromisoformat("2020-01-01T00:00:00Z").timestamp()
AHEAD_S = 600.0  # by how much a device's clock may be ahead of this machine's
CLOCK_SET = datetime.fromisoformat("2025-01-01T00:00:00Z").timestamp()  # a machine whose clock is before has none

Place = tuple[str, int]  # boot_id and seq of an event


@dataclass(frozen=True, slots=True)
class Site:
    """The place of a device. Coordinates are for the owner alone."""

    name: str | None
    latitude: float  # degrees, -90 to 90
    longitude: float  # degrees, -180 to 180


class MessageError(BearAlarmError, ValueError):
    """A message that is refused; the words say why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A device's answer to the question for what follows after an event."""

    after: Place | None  # as it was asked
    events: tuple[Event, ...]
    upto: Place | None  # the last row that it looked at; None: its journal is empty
    more: bool
    lost: bool  # the event that was named is not in its journal any more
    refused: tuple[str, ...] = ()  # why, for each event that is not as it should be


def good_name(name: str) -> bool:
    """Return True for a device's name that can be shown, and seen."""
    seen = any(category(sign)[0] in "LNPS" and sign not in BLANKS for sign in name)
    return seen and len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


def parse(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in a message: its texts can be written as UTF-8, its numbers are finite.

    Raises MessageError.
    """
    try:
        found: Any = json.loads(payload.decode(), parse_constant=_refuse_number)
    except RecursionError:
        raise MessageError("it is nested too deep") from None
    except MessageError:
        raise
    except ValueError:
        raise MessageError("it is no JSON") from None
    if not isinstance(found, dict):
        raise MessageError("it is no JSON object")
    cleaned: dict[str, Any] = _clean(found, 0)
    return cleaned


def event_of(found: object) -> Event:
    """Return the event in an object of ``parse``. Raises MessageError where a field is not as in ``Event``."""
    if not isinstance(found, dict) or found.get("schema_version") != 1:
        raise MessageError("it is no event of schema version 1")
    known = {name: found[name] for name in Event.__dataclass_fields__ if name in found}
    for name, value in known.items():
        if not _CHECKS[name](value):
            raise MessageError(f"its {name} is not as an event has it")
    box = known.get("box_xywh")
    try:
        pairs = {"box_xywh": None if box is None else tuple(box), "zones": tuple(known.get("zones", ()))}
        event = Event(**(known | pairs))
    except TypeError:
        raise MessageError("it is no whole event") from None
    if len(event.to_json().encode()) > MAX_EVENT_BYTES:
        raise MessageError(f"an event has over {MAX_EVENT_BYTES:,} bytes")
    return event


def answer_of(found: Mapping[str, Any]) -> Answer:
    """Return the answer in an object of ``parse``, without events that are refused. Raises MessageError."""
    events = found.get("events")
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise MessageError(f"its events are no list of at most {MAX_EVENTS}")
    more, lost = found.get("more"), found.get("lost")
    if not (isinstance(more, bool) and isinstance(lost, bool)):
        raise MessageError("its more or lost is neither true nor false")
    after, upto = (None if found.get(name) is None else place_of(found[name]) for name in ("after", "upto"))
    if (after is None and found.get("after") is not None) or (upto is None and found.get("upto") is not None):
        raise MessageError("its after or upto names no event")
    sound, refused = [], []
    for event in events:
        try:
            sound.append(event_of(event))
        except MessageError as error:
            refused.append(str(error))
    return Answer(after, tuple(sound), upto, more, lost, tuple(refused))


def place_of(found: object) -> Place | None:
    """Return boot_id and seq; None where it is no such pair."""
    if isinstance(found, list) and len(found) == 2 and _is_id(found[0]) and _is_count(found[1]):
        return found[0], found[1]
    return None


def site_of(found: object) -> Site | None:
    """Return a device's site; None where it has no coordinates that exist."""
    if not isinstance(found, dict):
        return None
    latitude, longitude = found.get("latitude"), found.get("longitude")
    if not (_is_number(latitude) and _is_number(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    if latitude == longitude == 0:  # a receiver without a fix
        return None
    return Site(shown(found.get("name")), float(latitude), float(longitude))


def taken_at(event: Event, now: float) -> tuple[float, bool]:
    """Return when an event was, time.time(), and whether its clock is doubtful: then it is ``now``.

    The device's clock counts where this machine's was never set.
    """
    at = datetime.fromisoformat(event.captured_at).timestamp()
    doubtful = not EARLIEST <= at <= (now + AHEAD_S if now >= CLOCK_SET else math.inf)
    return (now, True) if doubtful else (at, False)


def shown(value: object) -> str | None:
    """Return a text as people are shown it, on one line and not too long; None: it is no text, or an empty one."""
    if not isinstance(value, str):
        return None
    cut = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    return " ".join("".join(sign if sign.isprintable() else " " for sign in cut).split()) or None


def _refuse_number(word: str) -> NoReturn:
    raise MessageError(f"it holds {word}, which is no number of JSON")


def _clean(value: Any, depth: int) -> Any:
    """Return the value with texts that can be written. Raises MessageError for what is too deep, long or large."""
    if depth > MAX_DEPTH:
        raise MessageError("it is nested too deep")
    if isinstance(value, dict):
        if any(len(name) > MAX_TEXT for name in value):
            raise MessageError(f"a name in it has over {MAX_TEXT} characters")
        return {readable(name): _clean(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, depth + 1) for each in value]
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= MAX_INTEGER):
        raise MessageError("a number in it is too large")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_moment(value: object) -> bool:
    try:
        return (
            isinstance(value, str)
            and value.isascii()
            and value.isprintable()
            and datetime.fromisoformat(value).tzinfo is not None
        )
    except ValueError:
        return False


def _words(value: object) -> bool:
    return value is None or _is_text(value)


def _flag(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _number(value: object) -> bool:
    return value is None or _is_number(value)


def _share(value: object) -> bool:
    return value is None or (_is_number(value) and 0 <= value <= 1)


_CHECKS: dict[str, Callable[[object], bool]] = {
    "kind": lambda value: value in get_args(EventKind),
    "type": lambda value: value in get_args(EventType),
    "id": _is_id,
    "seq": _is_count,
    "boot_id": _is_id,
    "camera": _is_text,
    "captured_at": _is_moment,
    "clock_synced": _flag,
    "track": lambda value: value is None or _is_count(value),
    "label": _words,
    "score": _share,
    "top_score": _share,
    "box_xywh": lambda value: value is None or (isinstance(value, list) and len(value) == 4 and all(map(_share, value))
                                                and None not in value),
    "media_time_s": _number,
    "latency_ms": _number,
    "onset_s": _number,
    "durable": lambda value: isinstance(value, bool),
    "model": _words,
    "evidence": _words,
    "detail": _words,
    "zones": lambda value: isinstance(value, list) and len(value) <= MAX_ZONES and all(map(_is_text, value)),
    "escalated": _words,
    "file": _words,
    "quiet": _words,
    "species": _words,
    "stage": lambda value: value is None or value in get_args(Stage),
    "schema_version": lambda value: value == 1,
}  # fmt: skip
