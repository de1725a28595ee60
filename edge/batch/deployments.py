"""Where the cameras stood: the table of deployments, in the columns of Camtrap DP, and their clocks."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from edge.errors import OptionError
from edge.local_time import zone_of

SCHEMAS = Path(__file__).with_name("camtrap_dp_1.0.2")
NEEDED = ("deploymentID", "latitude", "longitude")
OWN = ("folder", "timezone", "shift")  # columns that are no part of Camtrap DP
DAY = timedelta(days=1)
EARLY = timedelta(hours=1)  # a picture of the person who sets a camera up may lie so long before its start
FIRST_YEAR = 2005  # before it no camera trap took a file; clocks that were never set begin at 1970 to 2000

_SHIFT = re.compile(r"([+-]?)((?:\d{1,5}\s*[dhms]\s*)+)")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One camera in one place for a time. ``start`` and ``end`` have a time zone."""

    id: str
    latitude: float  # degrees, WGS 84
    longitude: float
    start: datetime | None = None  # None: that of its first picture
    end: datetime | None = None
    folder: str = ""  # of its pictures, part of their path; ".": all of them; "": the id
    zone: str = ""  # of the camera's clock: Europe/Ljubljana or +01:00; "": as --timezone says
    shift: timedelta = timedelta()  # to add to what the camera's clock showed
    more: dict[str, str] = field(default_factory=dict)  # other columns of Camtrap DP, such as locationName

    @property
    def any_time(self) -> bool:
        """Return True where times are known to be wrong and taken as they are (``timestampIssues``)."""
        return self.more.get("timestampIssues") == "true"


@cache
def columns(table: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a table of Camtrap DP ("deployments", "media", "observations") by name, in their order."""
    schema = json.loads((SCHEMAS / f"{table}-table-schema.json").read_bytes())
    return {each["name"]: each for each in schema["fields"]}


def read_deployments(path: Path, zone: str = "") -> list[Deployment]:
    """Return the rows of a CSV table with the columns of Camtrap DP's deployments, and folder, timezone and shift.

    ``zone``: of the rows that have none. Separated by commas, semicolons or tabs, as spreadsheets do. Raises
    OptionError for what is no such table.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror}); name a table of deployments") from None
    except UnicodeDecodeError:
        raise OptionError(f'{path}: is no text in UTF-8; save the table as "CSV UTF-8"') from None
    heading = text.partition("\n")[0]
    sign = max(",;\t", key=heading.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=sign, restval="")
    if missing := [name for name in NEEDED if name not in (rows.fieldnames or ())]:
        raise OptionError(
            f"{path}: has no column {', '.join(missing)}; a table of deployments needs {', '.join(NEEDED)}"
        )
    filled = [
        (rows.line_num, {name: value.strip() for name, value in row.items() if name and isinstance(value, str)})
        for row in rows
    ]
    filled = [(line, row) for line, row in filled if any(row.values())]
    if not filled:
        raise OptionError(f"{path}: has no rows; write one for each camera that stood in one place")
    if nowhere := [row["deploymentID"] or f"line {line}" for line, row in filled if not _placed(row)]:
        raise OptionError(
            f"{path}: no coordinates for {', '.join(nowhere)}; give latitude and longitude in degrees (WGS 84)"
        )
    found: list[Deployment] = []
    lines: dict[tuple[str, str], int] = {}
    for line, row in filled:
        deployment = _deployment(f"{path} line {line}", row, zone, comma=sign == ";")
        for what, name in (("deploymentID", deployment.id), ("folder", _folder(deployment))):
            if (first := lines.setdefault((what, name), line)) != line:
                raise OptionError(f"{path}: lines {first} and {line} both have {what} {name}; each needs its own")
        found.append(deployment)
    return found


def _placed(row: dict[str, str]) -> bool:
    return bool(row["latitude"] and row["longitude"])


def _folder(deployment: Deployment) -> str:
    return deployment.folder or deployment.id


def _deployment(where: str, row: dict[str, str], zone: str, *, comma: bool) -> Deployment:
    """Return one row's deployment, every cell checked by the schema. Raises OptionError."""
    cells = {name: _cell(where, name, row[name], comma=comma) for name in columns("deployments") if row.get(name)}
    if "deploymentID" not in cells:
        raise OptionError(f"{where}: has no deploymentID; give the camera's place a name")
    zone = row.get("timezone") or zone
    if zone:
        parse_zone(zone, where)
    return Deployment(
        id=cells.pop("deploymentID"),
        latitude=float(cells.pop("latitude")),
        longitude=float(cells.pop("longitude")),
        start=_moment(where, "deploymentStart", cells.pop("deploymentStart", ""), zone),
        end=_moment(where, "deploymentEnd", cells.pop("deploymentEnd", ""), zone),
        folder=PurePosixPath(row.get("folder", "").replace("\\", "/")).as_posix() if row.get("folder") else "",
        zone=zone,
        shift=parse_shift(row["shift"], where) if row.get("shift") else timedelta(),
        more=cells,
    )


def _cell(where: str, name: str, value: str, *, comma: bool) -> str:
    """Return a cell as Camtrap DP writes it. Raises OptionError for what its schema does not allow."""
    field_ = columns("deployments")[name]
    kind, limits = field_["type"], field_["constraints"]
    wanted = ""
    if kind == "boolean":
        value = value.lower()
        wanted = "" if value in {"true", "false"} else "true or false"
    elif kind in {"number", "integer"}:
        value = value.replace(",", ".") if comma else value
        low, high = limits.get("minimum"), limits.get("maximum")
        try:
            number = float(value) if kind == "number" else int(value)
            good = (low is None or number >= low) and (high is None or number <= high)
        except ValueError:
            good = False
        bounds = f" from {low} to {high}" if high is not None else f" of {low} or more" if low is not None else ""
        wanted = "" if good else ("a number" if kind == "number" else "a whole number") + bounds
    elif "enum" in limits and value not in limits["enum"]:
        wanted = f"one of {', '.join(limits['enum'])}"
    if wanted:
        raise OptionError(f"{where}: {name} is {value!r}; give {wanted}")
    return value


def _moment(where: str, name: str, words: str, zone: str) -> datetime | None:
    if not words:
        return None
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise OptionError(f"{where}: {name} is {words!r}; write it as 2026-05-01T10:00:00+02:00") from None
    if name == "deploymentEnd" and len(words) <= len("2026-05-01"):
        moment += DAY - timedelta(seconds=1)  # the whole of that day
    if moment.tzinfo is None:
        if not zone:
            raise OptionError(
                f"{where}: {name} is {words!r} without a time zone; give --timezone, such as Europe/Ljubljana or +01:00"
            )
        moment = moment.replace(tzinfo=parse_zone(zone, where))
    return moment.replace(microsecond=0)


def parse_shift(words: str, where: str = "shift") -> timedelta:
    """Return what to add to a camera's clock, from words such as +365d, -1h or "12h 30m". Raises OptionError."""
    match = _SHIFT.fullmatch(words.strip())
    if not match:
        raise OptionError(
            f"{where}: shift is {words!r}; write days, hours, minutes and seconds as +365d, -1h or 12h 30m"
        )
    parts = {_UNITS[unit]: int(number) for number, unit in re.findall(r"(\d+)\s*([dhms])", match[2])}
    return timedelta(**parts) * (-1 if match[1] == "-" else 1)


def parse_zone(words: str, where: str) -> tzinfo:
    """Return a time zone. Raises OptionError for what is none."""
    try:
        return zone_of(words)
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from None


class Folders:
    """Finds the deployment of a picture by the folders in its path; the longest name of folders wins."""

    def __init__(self, deployments: Sequence[Deployment]) -> None:
        self._numbers = {PurePosixPath(_folder(each)).parts: n for n, each in enumerate(deployments)}
        self._longest = max(map(len, self._numbers))
        self._known: dict[str, int | None] = {}

    def __call__(self, file: str) -> int | None:
        """Return the number of the deployment of this file; None for a folder of none."""
        folder = file.rpartition("/")[0]
        if folder not in self._known:
            self._known[folder] = self._find(PurePosixPath(folder).parts)
        return self._known[folder]

    def _find(self, parts: tuple[str, ...]) -> int | None:
        for length in range(self._longest, -1, -1):
            for first in range(len(parts) - length + 1):
                if (number := self._numbers.get(parts[first : first + length])) is not None:
                    return number
        return None


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a deployment's pictures, shifted as its row says."""

    count: int
    first: datetime  # with a time zone
    last: datetime
    early: int  # before its start by more than a day
    late: int  # after its end by more than a day
    unset: int  # before FIRST_YEAR
    future: int  # by more than a day

    def wrong(self) -> str:
        """Return in words how many cannot be right; "" for none."""
        kinds = (
            (self.early, "before deploymentStart"),
            (self.late, "after deploymentEnd"),
            (self.unset, f"before {FIRST_YEAR}"),
            (self.future, "in the future"),
        )
        return ", ".join(f"{count:,} {words}" for count, words in kinds if count)


def right_shift(deployment: Deployment, times: Times, now: datetime) -> timedelta | None:
    """Return the shift of whole days that makes all of a deployment's pictures fit its row; None for none.

    Tried are another year, the usual mistake, and the days that bring the first picture to the start.
    """
    if deployment.start is None:
        return None
    missing = deployment.start - EARLY - times.first
    days = timedelta(days=math.ceil(missing / DAY))
    years = [_years_later(times.first, deployment.start.year - times.first.year + more) for more in (0, 1)]
    near = [move for move in years if missing <= move <= missing + 31 * DAY]
    for move in (*near, days):
        if move and times.last + move <= min(now, deployment.end or now) + DAY:
            return deployment.shift + move
    return None


def _years_later(moment: datetime, years: int) -> timedelta:
    day = moment.replace(month=2, day=28) if (moment.month, moment.day) == (2, 29) else moment
    return day.replace(year=day.year + years) - day


def shift_words(shift: timedelta) -> str:
    """Return a shift as ``parse_shift`` reads it: "+365d", "-1h", "+1d12h"."""
    left, parts = abs(int(shift.total_seconds())), ""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        parts += f"{number}{unit}" if number else ""
    return f"{'-' if shift < timedelta() else '+'}{parts or '0d'}"
