"""Daily figures of each camera, by day and at night, in the journal's table ``days``: what ``edge.drift_watch`` reads.

The loop adds up minutes (``MinuteFigures``) and hands on each that is over; a thread beside it adds them to the rows
of their days. A night belongs to the date of its evening.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edge.detect.camera_check import BRIGHT, DARK, CameraCheckSettings, View
from edge.detect.card import logit
from edge.detect.motion import Grey
from edge.errors import OptionError
from edge.record import database
from edge.record.database import NAME, STAGES, faults, reading
from edge.schema import Frame, Score

if TYPE_CHECKING:
    from pydantic import TypeAdapter

log = logging.getLogger(__name__)

MINUTE_S = 60.0
MAX_STEP_S = 10.0  # between two frames of a camera that is watched
FIRST_DAY = date(2024, 1, 1)  # a clock that shows an earlier one was never set
NOON = timedelta(hours=12)
ENOUGH_S = 2 * 3600.0  # of watching, for a day or night to count
ENOUGH_MINUTES = 10  # with crops, for their scores and sizes
MOST_FAULTY = 0.1  # of the time watched
FLAT = CameraCheckSettings().structure

Key = tuple[str, date, bool]  # camera, day, night


@dataclass(frozen=True, slots=True)
class Minute:
    """A minute of one camera. A mean that is None: there was nothing to measure."""

    wall: datetime
    night: bool
    watched_s: float
    well: bool  # no fault of the camera
    moved: bool = False  # the camera was moved just now
    bear: float | None = None  # mean log-odds of the crops
    ood: float | None = None
    size: float | None = None  # log of the regions' longer side in pixels of the frame
    unknown: float | None = None  # share above the card's out-of-domain threshold
    brightness: float | None = None  # log of the mean grey level
    sharpness: float | None = None  # log of the lit blocks' median (``edge.detect.camera_check``)


class MinuteFigures:
    """Adds up what the loop has measured anyway, and gives each minute to ``give``, which returns at once.

    ``unknown_above``: the card's out-of-domain threshold.
    """

    def __init__(self, give: Callable[[Minute], object], unknown_above: float) -> None:
        self._give = give
        self._unknown_above = unknown_above
        self._began: float | None = None
        self._last = self._watched_s = 0.0
        self._crops: list[tuple[float, float, float]] = []  # log-odds, ood, log size
        self._well = True

    def __call__(
        self, frame: Frame, grey: Grey | None, scores: Sequence[Score], *, night: bool | None, well: bool
    ) -> None:
        """Note a frame."""
        if scores:
            width, height = frame.size_wh
            for score in scores:
                if score.region.kind != "scan":
                    _, _, w, h = score.region.box_xywh
                    side = max(w * width, h * height, 1.0)
                    self._crops.append((logit(score.bear), score.ood, math.log(side)))
        if self._began is None:
            self._began = self._last = frame.time
        self._watched_s += min(max(frame.time - self._last, 0.0), MAX_STEP_S)
        self._last, self._well = frame.time, self._well and well
        if frame.time - self._began < MINUTE_S:
            return
        if night is not None:
            self._give(self._minute(frame.wall, grey, night))
        self._began, self._watched_s, self._crops, self._well = frame.time, 0.0, [], True

    def _minute(self, wall: datetime, grey: Grey | None, night: bool) -> Minute:
        found = Minute(wall, night, self._watched_s, self._well)
        if not self._well:
            return found
        crops = np.array(self._crops)
        if len(crops) and np.isfinite(crops).all():
            bear, ood, size = (float(each) for each in crops.mean(axis=0))
            unknown = float(np.mean(crops[:, 1] > self._unknown_above))
            found = replace(found, bear=bear, ood=ood, size=size, unknown=unknown)
        if grey is not None:
            found = replace(found, brightness=math.log(max(float(grey.mean()), 1.0)), sharpness=sharpness(grey))
        return found


def sharpness(grey: Grey) -> float | None:
    """Return the log sharpness of a small picture; None where nothing in it is lit and structured."""
    view = View.at(grey)
    shown = view.sharpness[(view.mean > DARK) & (view.mean < BRIGHT) & (view.structure >= FLAT)]
    middle = float(np.median(shown)) if len(shown) else 0.0
    return math.log(middle) if middle > 0.0 else None


@dataclass(slots=True)
class Day:
    """A day or night of one camera: sums over its minutes, and what people did about its drift."""

    __pydantic_config__: ClassVar[Any] = {"allow_inf_nan": False}

    model: str = ""
    source: str = ""  # of the camera, without secrets; "": it has no stage
    moved: bool = False  # the camera was moved on it; the sums are of what came after
    watched_s: float = 0.0
    faulty_s: float = 0.0
    busy: int = 0  # minutes with crops: something moved
    bear: float = 0.0
    ood: float = 0.0
    size: float = 0.0
    unknown: float = 0.0
    views: int = 0  # minutes with a picture
    brightness: float = 0.0
    sharp_views: int = 0
    sharpness: float = 0.0
    noticed: list[str] = field(default_factory=list)  # figures of whose drift people were notified
    looked: list[str] = field(default_factory=list)  # figures that a person looked after

    @staticmethod
    def of(minute: Minute) -> Day:
        """Return a day of one minute."""
        day = Day(moved=minute.moved, watched_s=minute.watched_s, faulty_s=0.0 if minute.well else minute.watched_s)
        if minute.bear is not None and minute.ood is not None and minute.size is not None:
            day.busy, day.unknown = 1, minute.unknown or 0.0
            day.bear, day.ood, day.size = minute.bear, minute.ood, minute.size
        if minute.brightness is not None:
            day.views, day.brightness = 1, minute.brightness
        if minute.sharpness is not None:
            day.sharp_views, day.sharpness = 1, minute.sharpness
        return day

    def then(self, more: Day) -> Day:
        """Return this and what came later that day; only the later where it begins again."""
        again = more.begins_after(self)
        sums: dict[str, Any] = {}
        for each in fields(Day):
            before, after = getattr(self, each.name), getattr(more, each.name)
            if each.name in {"noticed", "looked"}:
                sums[each.name] = sorted({*before, *after})
            elif each.name in {"model", "source"}:
                sums[each.name] = after or before
            elif each.name == "moved":
                sums[each.name] = before or after
            else:
                sums[each.name] = after if again else before + after
        return Day(**sums)

    def begins_after(self, before: Day) -> bool:
        """Return True if what is usual begins again: the camera was moved, or has another model or another source."""
        names = (self.model, before.model), (self.source, before.source)
        return self.moved or any(now and then and now != then for now, then in names)

    @property
    def enough(self) -> bool:
        """Return True if it was watched for long enough, by a camera that was well."""
        return self.watched_s >= ENOUGH_S and self.faulty_s <= MOST_FAULTY * self.watched_s

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures of which enough was seen, by name."""
        if not self.enough:
            return {}
        hours = (self.watched_s - self.faulty_s) / 3600.0
        found = {"busy": math.log1p(self.busy / hours)}
        if self.busy >= ENOUGH_MINUTES:
            found |= {name: getattr(self, name) / self.busy for name in ("bear", "ood", "size", "unknown")}
        if self.views:
            found["brightness"] = self.brightness / self.views
        if self.sharp_views:
            found["sharpness"] = self.sharpness / self.sharp_views
        return found


def day_of(wall: datetime, *, night: bool) -> date:
    """Return the local date of a time of day, or of the evening in which its night began."""
    local = wall.astimezone()
    return (local - NOON if night else local).date()


def add_up(camera: str, minutes: Iterable[Minute], model: str, source: str = "") -> dict[Key, Day]:
    """Return minutes, in their order, as days; those of a clock that was never set do not count."""
    found: dict[Key, Day] = {}
    for minute in minutes:
        day = day_of(minute.wall, night=minute.night)
        if day >= FIRST_DAY:
            key = camera, day, minute.night
            found[key] = found.get(key, Day(model, source)).then(Day.of(minute))
    return found


def add_days(folder: Path, more: dict[Key, Day]) -> None:
    """Add days to those in the journal in ``folder``, which an alarm has made. Raises DiskError, OptionError."""
    path = folder / NAME
    if not path.is_file():
        raise OptionError(f"{path}: there is no journal yet; start the alarm once, and try again")
    with faults(path), closing(database.connect(path, "rw")) as db:
        db.execute("BEGIN IMMEDIATE")
        for (camera, day, night), later in more.items():
            key = camera, day.isoformat(), int(night)
            row = db.execute("SELECT json FROM days WHERE camera = ? AND day = ? AND night = ?", key).fetchone()
            whole = (_read(row[0], key) or Day()).then(later) if row else later
            line = json.dumps(asdict(whole), separators=(",", ":"))
            db.execute("INSERT OR REPLACE INTO days(camera, day, night, json) VALUES(?, ?, ?, ?)", (*key, line))
        db.execute("COMMIT")


def read_days(folder: Path, cameras: Collection[str], today: date) -> dict[tuple[date, bool], Day]:
    """Return the days up to ``today`` of one camera, by all its names; in their order. Raises DiskError.

    Days that only a wrong clock can have made, and rows that cannot be read, are not among them.
    """
    found: dict[tuple[date, bool], Day] = {}
    query = f"SELECT camera, day, night, json FROM days WHERE camera IN ({', '.join('?' * len(cameras))})"
    with reading(folder, STAGES) as db:
        rows = db.execute(query, tuple(cameras)).fetchall() if db else []
    for *key, line in rows:
        day, (_, when, night) = _read(line, key), key
        try:
            at = date.fromisoformat(when)
        except ValueError:
            continue
        if day and FIRST_DAY <= at <= today:
            known = found.get((at, bool(night)))
            found[at, bool(night)] = known.then(day) if known else day
    return dict(sorted(found.items()))


def _read(line: str, key: Sequence[object]) -> Day | None:
    """Return a row's day; None, and a line in the log, where it cannot be read."""
    try:
        return _days_type().validate_json(line)
    except ValueError as error:
        words = "/".join(map(str, key))
        log.warning("the figures of %s in the journal are damaged, and are not used: %s", words, error)
        return None


@cache
def _days_type() -> TypeAdapter[Day]:
    """Return pydantic's view of a day. Imported here, for it takes 50 ms."""
    from pydantic import TypeAdapter

    return TypeAdapter(Day)
