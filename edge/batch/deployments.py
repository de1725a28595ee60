"""The table of deployments: places of cameras, in the columns of Camtrap DP, and their clocks."""

from __future__ import annotations

import itertools
import json
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from edge.batch.look import open_table
from edge.errors import OptionError
from edge.local_time import zone_of

SCHEMAS = Path(__file__).with_name("camtrap_dp_1.0.2")
NEEDED = ("deploymentID", "latitude", "longitude")
DAY = timedelta(days=1)
EARLY = timedelta(hours=1)  # a picture of the person who sets a camera up may lie so long before its start
YEARS = range(1970, 2200)  # that a time can be of at all
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR = 2005  # before it no camera trap took a file; clocks that were never set begin at 1970 to 2000

_SHIFT = re.compile(
    r"([+-]?)(?=.)"
    + "".join(rf"(?:(?P<{unit}>\d{{1,5}})\s*{unit[0]}\s*)?" for unit in ("days", "hours", "minutes", "seconds"))
)


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
    def folders(self) -> tuple[str, ...]:
        """Return the folders of its pictures, part of their path, as macOS and others write them alike."""
        return _parts(self.folder or self.id)

    @property
    def any_time(self) -> bool:
        """Return True where times are known to be wrong and taken as they are (``timestampIssues``)."""
        return self.more.get("timestampIssues") == "true"


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(normalize("NFC", path)).parts


@cache
def columns(table: str) -> dict[str, dict[str, Any]]:
    """Return the fields of a table of Camtrap DP ("deployments", "media", "observations") by name, in their order."""
    schema = json.loads((SCHEMAS / f"{table}-table-schema.json").read_bytes())
    return {each["name"]: each for each in schema["fields"]}


def read_deployments(path: Path, zone: str = "") -> list[Deployment]:
    """Return the rows of a CSV table with the columns of Camtrap DP's deployments, and folder, timezone and shift.

    ``zone``: of the rows that have none. Separated by commas, semicolons or tabs, as spreadsheets do. Raises
    OptionError for what is no such table, and for its mistakes, each with its line.
    """
    if zipfile.is_zipfile(path):
        raise OptionError(f'{path}: is an Excel file; save it as "CSV UTF-8"')
    with open_table(path, wanted=NEEDED) as (names, found_rows, sign):
        rows = list(found_rows)
    if missing := [name for name in NEEDED if name not in names]:
        raise OptionError(
            f"{path}: has no column {', '.join(missing)}; a table of deployments needs {', '.join(NEEDED)}"
        )
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise OptionError(f"{path}: has the column {twice[0]} twice; delete one of them")
    if not rows:
        raise OptionError(f"{path}: has no rows; write one for each camera that stood in one place")
    mistakes: list[str] = []
    found: dict[int, Deployment] = {}
    for line, row in rows:
        deployment, wrong = _deployment(row, zone, comma=sign == ";")
        mistakes += [f"line {line}: {words}" for words in dict.fromkeys(wrong)]
        if deployment:
            found[line] = deployment
    if mistakes := mistakes or _clashes(found):
        some = f"{len(mistakes)} mistakes, the first 5 are" if len(mistakes) > 5 else f"{len(mistakes)} mistakes"
        first, *others = mistakes[:5]
        raise OptionError("\n".join([f"{path}: {some}", first, *others]) if others else f"{path} {first}")
    return list(found.values())


def _clashes(found: dict[int, Deployment]) -> list[str]:
    """Return in words which rows have one deploymentID, or one folder at one time."""

    def follows(one: Deployment, two: Deployment) -> bool:
        return bool(one.start and two.end and two.end < one.start + DAY)  # it may be moved in the middle of a day

    clashes = []
    rows = [(line, each, each.folders) for line, each in found.items()]
    for (line, one, folders), (other, two, others) in itertools.combinations(rows, 2):
        if one.id == two.id:
            clashes.append(f"lines {line} and {other}: both have deploymentID {one.id}; each needs its own")
        elif folders == others and one.shift != two.shift:
            clashes.append(
                f"lines {line} and {other}: both have folder {one.folder or one.id}, and shift differs "
                f"({shift_words(one.shift)}, {shift_words(two.shift)}); write the same shift in every row of it"
            )
        elif folders == others and not (follows(one, two) or follows(two, one)):
            clashes.append(
                f"lines {line} and {other}: both have folder {one.folder or one.id}; correct it, or where the camera "
                "was moved give deploymentStart and deploymentEnd, one after the other"
            )
    return clashes


def _deployment(row: dict[str, str], zone: str, *, comma: bool) -> tuple[Deployment | None, list[str]]:
    """Return one row's deployment, every cell checked by the schema, and the mistakes in it; None with mistakes."""
    cells: dict[str, Any] = {}
    wrong: list[str] = []
    zone = row.get("timezone") or zone
    for name, value in row.items():
        try:
            cells[name] = _cell(name, value, zone, comma=comma) if value else None
        except OptionError as error:
            wrong.append(str(error))
    if not row["deploymentID"]:
        wrong.append("has no deploymentID; give the camera's place a name")
    if not (row["latitude"] and row["longitude"]):
        wrong.append("has no coordinates; give latitude and longitude in degrees (WGS 84)")
    if wrong:
        return None, wrong
    latitude, longitude = float(cells.pop("latitude")), float(cells.pop("longitude"))
    start, end = cells.pop("deploymentStart", None), cells.pop("deploymentEnd", None)
    if latitude == longitude == 0:
        wrong.append("latitude and longitude are 0, a place in the sea; correct them")
    if start and end and end < start:
        wrong.append(f"deploymentEnd {end:%Y-%m-%d %H:%M} is before deploymentStart {start:%Y-%m-%d %H:%M}; correct it")
    deployment = Deployment(
        id=cells.pop("deploymentID"),
        latitude=latitude,
        longitude=longitude,
        start=start,
        end=end,
        folder=PurePosixPath(row["folder"].replace("\\", "/")).as_posix() if row.get("folder") else "",
        zone=zone,
        shift=cells.pop("shift", None) or timedelta(),
        more={name: cells[name] for name in columns("deployments") if cells.get(name)},
    )
    return None if wrong else deployment, wrong


def _cell(name: str, value: str, zone: str, *, comma: bool) -> Any:
    """Return a cell's time, shift, or words as Camtrap DP writes them. Raises OptionError for what is not allowed."""
    if "\n" in value and name != "deploymentComments":
        first = value.partition("\n")[0]
        raise OptionError(f"{name} has a line break, after {first!r}; is a quotation mark not closed?")
    if name == "timezone":
        return parse_zone(value, name)
    if name == "shift":
        return parse_shift(value)
    if name in {"deploymentStart", "deploymentEnd"}:
        return _moment(name, value, zone)
    if name not in columns("deployments"):
        return value
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
            good = math.isfinite(number) and (low is None or number >= low) and (high is None or number <= high)
        except ValueError:
            good = False
        bounds = f" from {low} to {high}" if high is not None else f" of {low} or more" if low is not None else ""
        wanted = "" if good else ("a number" if kind == "number" else "a whole number") + bounds
    elif "enum" in limits and value not in limits["enum"]:
        wanted = f"one of {', '.join(limits['enum'])}"
    if wanted:
        raise OptionError(f"{name} is {value!r}; give {wanted}")
    return value


def _moment(name: str, words: str, zone: str) -> datetime | None:
    """Return a time with its zone; None for an open end, such as 9999-12-31. Raises OptionError."""
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        example = "2026-05-01T10:00:00+02:00"
        if day := re.match(r"(\d{1,2})\.\s*(\d{1,2})\.\s*(\d{4})", words):
            example = f"{day[3]}-{int(day[2]):02}-{int(day[1]):02}"
        raise OptionError(f"{name} is {words!r}; write it as {example}") from None
    if name == "deploymentEnd" and moment.year == MAXYEAR:
        return None
    if moment.year not in YEARS:
        raise OptionError(f"{name} is {words!r}; correct the year, or leave the cell empty")
    if name == "deploymentEnd" and len(words) <= len("2026-05-01"):
        moment += DAY - timedelta(seconds=1)  # the whole of that day
    if moment.tzinfo is None:
        if not zone:
            raise OptionError(
                f"{name} is {words!r} without a time zone; give --timezone, such as Europe/Ljubljana or +01:00"
            )
        moment = moment.replace(tzinfo=parse_zone(zone, "timezone"))
    return moment.replace(microsecond=0)


def parse_shift(words: str) -> timedelta:
    """Return what to add to a camera's clock, from words such as +365d, -1h or "12h 30m". Raises OptionError."""
    match = _SHIFT.fullmatch(words.strip())
    if not match:
        raise OptionError(f"shift is {words!r}; write days, hours, minutes and seconds as +365d, -1h or 12h 30m")
    parts = {unit: int(number) for unit, number in match.groupdict().items() if number}
    return timedelta(**parts) * (-1 if match[1] == "-" else 1)


def parse_zone(words: str, where: str) -> tzinfo:
    """Return a time zone. Raises OptionError for what is none."""
    try:
        return zone_of(words)
    except ValueError as error:
        raise OptionError(f"{where}: {error}") from None


class Folders:
    """Finds the deployment of a picture by the folders in its path; the longest name of folders wins.

    ``base``: the name of the folder that relative paths lie in; it counts where they hold none.
    """

    def __init__(self, deployments: Sequence[Deployment], base: str = "") -> None:
        self._base = base
        self._numbers = defaultdict[tuple[str, ...], list[int]](list)
        for number, each in enumerate(deployments):
            self._numbers[each.folders].append(number)
        self._deployments = deployments
        self._longest = max(map(len, self._numbers))
        self._known: dict[str, list[int]] = {}

    def __call__(self, file: str, time: str = "") -> int | None:
        """Return the number of the deployment of a file, taken at this time (ISO 8601); None for a folder of none.

        Of a camera that was moved it is the last deployment that had begun, else its first.
        """
        folder = file.rpartition("/")[0]
        if folder not in self._known:
            base = "" if file.startswith("/") else self._base
            self._known[folder] = self._find(_parts(folder)) or self._find(_parts(base))
        numbers = self._known[folder]
        if len(numbers) < 2 or not time:
            return numbers[0] if numbers else None
        taken = datetime.fromisoformat(time)
        in_order = sorted((self._deployments[number].start or EPOCH, number) for number in numbers)
        begun = [number for start, number in in_order if start <= self._moment(taken, number)]
        return begun[-1] if begun else in_order[0][1]

    def _moment(self, taken: datetime, number: int) -> datetime:
        of = self._deployments[number]
        if taken.tzinfo or not of.zone:
            return taken if taken.tzinfo else taken.replace(tzinfo=UTC)
        return (taken + of.shift).replace(tzinfo=parse_zone(of.zone, of.id))

    def _find(self, parts: tuple[str, ...]) -> list[int]:
        for length in range(self._longest, -1, -1):
            for first in range(len(parts) - length + 1):
                if (key := parts[first : first + length]) in self._numbers:
                    return self._numbers[key]
        return []


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

    def wrong(self, deployment: Deployment) -> str:
        """Return in words how many cannot be right; "" for none."""
        start, end = (moment and f"{moment:%Y-%m-%d}" for moment in (deployment.start, deployment.end))
        kinds = (
            (self.early, f"before deploymentStart {start}"),
            (self.late, f"after deploymentEnd {end}"),
            (self.unset, f"before {FIRST_YEAR}"),
            (self.future, "in the future"),
        )
        return ", ".join(
            f"{count:,} of {self.count:,} pictures {'was' if count == 1 else 'were'} taken {words}"
            for count, words in kinds
            if count
        )


def right_shift(deployment: Deployment, times: Times, now: datetime) -> str | None:
    """Return in words the shift after which all pictures fit, for a clock that was off from the first to the last.

    It is a year to the same day, else the whole days that bring the first picture to the start; None for neither.
    """
    start = deployment.start
    if start is None or times.early + times.late < times.count:
        return None
    month = start.replace(day=1)  # every year has that day
    years = [month - month.replace(year=month.year + sign) for sign in (-1, 1)]
    to_start = timedelta(days=math.ceil((start - EARLY - times.first) / DAY))
    for move in (*years, to_start):
        if times.first + move >= start - DAY and times.last + move <= min(now, deployment.end or now) + DAY:
            note = "" if move in years else " (brings the first picture to the start; check it)"
            return shift_words(deployment.shift + move) + note
    return None


def shift_words(shift: timedelta) -> str:
    """Return a shift as ``parse_shift`` reads it: "+365d", "-1h", "+1d12h"."""
    left, parts = abs(int(shift.total_seconds())), ""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        parts += f"{number}{unit}" if number else ""
    return f"{'-' if shift < timedelta() else '+'}{parts or '0d'}"
