"""One event, or one negative, as its evidence tells it: who saw it, when, how sure, where it went."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.errors import PictureError
from edge.record.review import REVIEW, Review, parse_review, review_path
from edge.schema import BoxXYWH, Event
from train.feedback.shelf import EVENT, Unit

YEARS = range(1970, 9999)  # a clock that was never set begins in 1970; beyond, there is no day in some time zones
_ID = re.compile(r"[\w-]{8,64}", re.ASCII)
_FOLDER_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[/-](\d{6})-")


@dataclass(frozen=True)
class Step:
    """A place of an event's way: seconds from the alarm, where, how sure it was a bear there (None: not asked)."""

    at_s: float
    box_xywh: BoxXYWH
    bear: float | None


@dataclass(frozen=True)
class Case:
    """What is known of one unit of evidence."""

    unit: Unit
    key: str  # the same wherever the evidence is copied: event=ID or negative=DIGEST
    camera: str
    at: datetime  # UTC, of the alarm
    label: str  # what the model took it for
    score: float | None  # the highest bear probability
    model: str
    clock_synced: bool | None
    path: tuple[Step, ...] = ()
    clips: tuple[tuple[str, float], ...] = ()  # file, and its first frame's seconds from the alarm
    box_xywh: BoxXYWH | None = None  # of a negative: what looked most like a bear
    review: Review | None = None


def open_case(unit: Unit) -> Case | None:
    """The case; None for what is no bear's event. Raises PictureError or OptionError for what cannot be read."""
    return _event(unit) if unit.kind == "event" else _negative(unit)


def note_in(data: bytes) -> dict[str, Any]:
    """What ``edge.record.pictures.jpeg`` noted in a JPEG's first segment, its comment; empty where there is none."""
    if data[2:4] != b"\xff\xfe":
        return {}
    try:
        found = json.loads(data[6 : 4 + int.from_bytes(data[4:6], "big")])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _event(unit: Unit) -> Case | None:
    try:
        text = unit.read(EVENT).decode()
        event = Event.from_json(text)
        found = json.loads(text)
        path = tuple(_step(step) for step in found.get("path", ()))
        clips = tuple((str(clip["file"]), _number(clip["from_s"])) for clip in found.get("clips", ()))
        at = _alarmed_at(unit.name) or _time(event.captured_at)
        if not (_ID.fullmatch(event.id) and event.camera and isinstance(event.camera, str)):
            raise ValueError(f"id {event.id!r} or camera {event.camera!r} is none")
        score = event.score if event.top_score is None else event.top_score
        score = None if score is None else _number(score)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"{unit.name}/{EVENT}: not an event this program can read ({_short(error)})") from None
    if event.kind != "bear":
        return None
    return Case(
        unit=unit,
        key=f"event={event.id}",
        camera=event.camera,
        at=at,
        label=str(event.label or ""),
        score=score,
        model=str(event.model or ""),
        clock_synced=event.clock_synced,
        path=path,
        clips=clips,
        review=_review(unit, REVIEW),
    )


def _negative(unit: Unit) -> Case:
    name = unit.name.rpartition("/")[2]
    data = unit.read(name)
    note = note_in(data)
    if not note:
        raise PictureError(f"{unit.name}: no note in it; it is no negative that evidence has kept")
    try:
        at = _time(note["captured_at"])
        box = _box(note["box_xywh"]) if note.get("box_xywh") else None
        camera, score = str(note["camera"]), note.get("score")
        score = None if score is None else _number(score)
    except (ValueError, TypeError, KeyError) as error:
        raise PictureError(f"{unit.name}: its note cannot be read ({_short(error)})") from None
    return Case(
        unit=unit,
        key=f"negative={sha256(data).hexdigest()[:24]}",
        camera=camera,
        at=at,
        label=str(note.get("label") or ""),
        score=score,
        model=str(note.get("model") or ""),
        clock_synced=None,
        box_xywh=box,
        review=_review(unit, review_path(Path(name)).name),
    )


def _review(unit: Unit, name: str) -> Review | None:
    return parse_review(unit.read(name), f"{unit.name}: {name}") if name in unit.files else None


def _alarmed_at(name: str) -> datetime | None:
    """The alarm's time as the event's folder says it: ``event.json`` has that of the event told last."""
    found = _FOLDER_TIME.search(name)
    try:
        at = datetime.strptime("".join(found.groups()), "%Y-%m-%d%H%M%S") if found else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at and at.year in YEARS else None


def _step(found: list[Any]) -> Step:
    at_s, *box, bear = found
    return Step(_number(at_s), _box(box), None if bear is None else _number(bear))


def _box(found: list[Any]) -> BoxXYWH:
    x, y, w, h = (_number(side) for side in found)
    return x, y, w, h


def _number(found: Any) -> float:
    """A finite number. Raises ValueError, TypeError."""
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _time(found: str) -> datetime:
    """A time with its offset, as UTC; in years that have a day in any time zone. Raises ValueError, TypeError."""
    at = datetime.fromisoformat(found)
    if at.year not in YEARS:
        raise ValueError(f"the year of {found} is not within {YEARS.start} to {YEARS.stop - 1}")
    return at.astimezone(UTC)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
