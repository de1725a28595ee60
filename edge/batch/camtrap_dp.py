"""Write a Camtrap DP 1.0.2 package: deployments, media and observations of events.

https://camtrap-dp.tdwg.org. Pictures of one deployment less than 120 s apart are one event, with one observation of
the event; where that is something, each of its pictures has one as well, with its box. Pictures without a bear are
unclassified: the model knows nothing but bears. Coordinates are rounded unless the user wants them exact.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from glob import escape
from mimetypes import MimeTypes
from pathlib import Path, PurePosixPath
from typing import Any

from edge.batch.deployments import (
    DAY,
    EPOCH,
    FIRST_YEAR,
    YEARS,
    Deployment,
    Folders,
    Times,
    columns,
    parse_zone,
    right_shift,
)
from edge.batch.results import (
    EMPTY,
    LABEL_TAG,
    NOT_ANIMALS,
    OWN_TITLE,
    PACKAGE,
    ROUNDED,
    SCORE_TAG,
    VERDICT_TAG,
    Result,
    bear_label,
)
from edge.camera import CLIPS
from edge.detect.stills import NO_BEAR, camera_folder
from edge.errors import BearAlarmError, OptionError
from edge.files import need_folder, to_disk, try_lock
from edge.species import NAMES, SURE, likely, parse_country, share_of
from edge.version import __version__

log = logging.getLogger(__name__)

ADDRESS = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
TABLES = ("deployments", "media", "observations")

LOCK = "lock"  # is held while a package is being made
TOGETHER_S = 120  # pictures nearer to one another are of one event
FAR_DAYS = 200  # from the middle of the other deployments: a clock that may be off by a year
PLACES = 1  # decimals of a degree that coordinates are rounded to
BLURRED_M = 15_700  # what that may be off at the equator (Chapman & Wieczorek 2020, Georeferencing Best Practices)
BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")

# Columns of deployments in free words, in which people write exact places.
FREE = ("locationID", "locationName", "cameraID", "deploymentGroups", "deploymentTags", "deploymentComments")
BLANK = frozenset({EMPTY, "blank"})
NO_TIME = "has no time"
BAD_NAME = "has a path that begins with . or ~ or has .., which Camtrap DP does not take"
UNKNOWN = frozenset({"", NO_BEAR, "other", "unknown", "teddy_bear"})


@dataclass(frozen=True, slots=True)
class About:
    """Facts of a package that no picture says."""

    contributors: Sequence[dict[str, str]]  # title, email, role
    title: str = "Camera traps"
    country: str = ""  # ISO 3166-1 alpha-2 or US-MT; "": not known
    exact: bool = False  # coordinates as they are
    public: bool = False  # anybody may see the pictures

    def __post_init__(self) -> None:
        """Raise OptionError for what is no country, before the first bear asks for its species."""
        if self.country:
            parse_country(self.country)


def check_folder(folder: Path, *, force: bool) -> None:
    """Check that a package may be written there. Raises OptionError; an older package may be replaced by force."""
    need_folder(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / PACKAGE).is_file():
        raise OptionError(f"{folder}: holds something else than a Camtrap DP package; name a new folder")
    old = _old(folder)
    if not force:
        raise OptionError(
            f"{folder}: is there already; name another folder, or replace it with --force (it is kept as {old.name})"
        )
    if old.exists() and not (old / PACKAGE).is_file():
        raise OptionError(f"{old}: is in the way of the package that would be kept there; rename it")


def _old(folder: Path) -> Path:
    whole = folder.resolve()  # . has no name
    return whole.with_name(f"{whole.name}.old")


class Package:
    """The tables of a package that is being made; ``folder`` is where its files lie until it is whole."""

    def __init__(self, folder: Path, about: About, files: ExitStack) -> None:
        self.folder = folder
        self.about = about
        self.files = self.events = self.bears = 0  # rows of media, observations of events, those of bears among them
        self._deployments: dict[str, tuple[float, float, datetime, datetime]] = {}
        self.withheld: set[str] = set()  # that may hold exact places
        self._decimals: list[int] = []
        self._names: set[str] = set()
        self._levels: set[str] = set()
        self._writers: dict[str, csv.DictWriter[str]] = {}
        for table in TABLES:
            path = folder / f"{table}.csv"
            file = files.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace", newline=""))
            self._writers[table] = csv.DictWriter(file, list(columns(table)), restval="", lineterminator="\n")
            self._writers[table].writeheader()

    def deployment(self, deployment: Deployment, start: datetime, end: datetime) -> None:
        """Write a deployment's row, its coordinates rounded unless they are to be exact."""
        cells = {**deployment.more, "deploymentID": deployment.id}
        place = deployment.latitude, deployment.longitude
        if not self.about.exact:
            self.withheld |= cells.keys() & set(FREE)
            cells = {name: value for name, value in cells.items() if name not in FREE}
            place = round(place[0], PLACES) + 0.0, round(place[1], PLACES) + 0.0  # no -0.0
            cells["coordinateUncertainty"] = str(max(BLURRED_M, int(cells.get("coordinateUncertainty", 0))))
        cells |= {
            "latitude": f"{place[0]}",
            "longitude": f"{place[1]}",
            "deploymentStart": start.isoformat(),
            "deploymentEnd": end.isoformat(),
        }
        self._decimals.append(max(len(f"{degrees}".partition(".")[2]) for degrees in place))
        self._deployments[deployment.id] = *place, start, end
        self._writers["deployments"].writerow(cells)

    def media(self, cells: dict[str, str]) -> None:
        """Write a picture's or a clip's row; the rest of what the table needs is filled in.

        Needs mediaID, deploymentID, timestamp and filePath.
        """
        self.files += 1
        name = PurePosixPath(cells["filePath"]).name
        self._writers["media"].writerow(
            {
                "captureMethod": "activityDetection",
                "filePublic": str(self.about.public).lower(),
                "fileName": name,
                "fileMediatype": media_type(PurePosixPath(name).suffix.lower()),
                **cells,
            }
        )

    def observation(self, cells: dict[str, str]) -> None:
        """Write an observation's row; of an event where it has no mediaID."""
        level = "media" if cells.get("mediaID") else "event"
        self._levels.add(level)
        if name := cells.get("scientificName"):
            self._names.add(name)
        if level == "event":
            self.events += 1
            self.bears += bool(name)
        self._writers["observations"].writerow({"observationLevel": level, **cells})

    def describe(self) -> None:
        """Write datapackage.json. Raises OptionError for a package without deployments."""
        about = self.about
        if not self._deployments:
            raise OptionError("a package needs one deployment at least, and there is none with pictures or times")
        south, west, starts, ends = (list(column) for column in zip(*self._deployments.values(), strict=True))
        corners = [(min(west), min(south)), (max(west), min(south)), (max(west), max(south)), (min(west), max(south))]
        precision = 10 ** -min(self._decimals) if about.exact else 10**-PLACES
        coordinates = "Coordinates are as they were given" if about.exact else f"{ROUNDED} to {precision:g} degree"
        if self.withheld:
            log.warning(
                "not in the package, for they may hold exact places: %s; --exact writes them",
                ", ".join(sorted(self.withheld)),
            )
        document = {
            "resources": [
                {
                    "name": table,
                    "path": f"{table}.csv",
                    "profile": "tabular-data-resource",
                    "format": "csv",
                    "mediatype": "text/csv",
                    "encoding": "utf-8",
                    "schema": f"{ADDRESS}/{table}-table-schema.json",
                }
                for table in TABLES
            ],
            "profile": f"{ADDRESS}/camtrap-dp-profile.json",
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "title": about.title,
            "contributors": list(about.contributors),
            "description": f"Bears in camera-trap pictures. {coordinates}.",
            "sources": [{"title": OWN_TITLE, "version": __version__}],
            "project": {
                "title": about.title,
                "samplingDesign": "opportunistic",
                "captureMethod": ["activityDetection"],
                "individualAnimals": False,
                "observationLevel": sorted(self._levels),
            },
            "coordinatePrecision": round(precision, 15),
            "spatial": {"type": "Point", "coordinates": corners[0]}
            if corners[0] == corners[2]
            else {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
            "temporal": {"start": f"{min(starts):%Y-%m-%d}", "end": f"{max(ends):%Y-%m-%d}"},
            "taxonomic": [
                {
                    "scientificName": name,
                    "taxonRank": "species" if name in NAMES else "family",
                    "vernacularNames": {"eng": NAMES.get(name, "bear")},
                }
                for name in sorted(self._names)
            ],
        }
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (self.folder / PACKAGE).write_text(text + "\n", encoding="utf-8")


@contextmanager
def new_package(folder: Path, about: About, *, force: bool = False) -> Iterator[Package]:
    """Make a package beside ``folder`` and put it there whole at the end; an older one is kept as ``….old``.

    Raises OptionError where it cannot be written; then nothing is left of it.
    """
    check_folder(folder, force=force)
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        _clean(folder)
        beside.mkdir()
        with ExitStack() as files:
            try_lock(files.enter_context((beside / LOCK).open("w")).fileno())
            package = Package(beside, about, files)
            yield package
            package.describe()
        (beside / LOCK).unlink()
        for path in beside.rglob("*"):
            to_disk(path)
        check_folder(folder, force=force)  # another process may have been quicker
        if (folder / PACKAGE).exists():
            shutil.rmtree(_old(folder), ignore_errors=True)
            folder.rename(_old(folder))
        elif folder.exists():  # empty
            folder.rmdir()
        beside.rename(folder)
        to_disk(folder.parent)
    except BearAlarmError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        why = str(error) if isinstance(error, sqlite3.OperationalError) else error.strerror
        raise OptionError(f"{folder}: cannot be written ({why}); nothing was changed; name another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _clean(folder: Path) -> None:
    """Remove what a process that was killed left of a package; a living one holds its lock."""
    for left in folder.parent.glob(f".{escape(folder.name)}.*.part"):
        try:
            with (left / LOCK).open("r+") as file:
                dead = try_lock(file.fileno())
        except OSError:  # another user's, or something else of this name
            continue
        if dead:
            shutil.rmtree(left, ignore_errors=True)


@cache
def media_type(suffix: str) -> str:
    """Return the media type of a picture or a clip by the end of its name, such as ".jpg"."""
    kind = "video" if suffix in CLIPS else "image"
    found = MimeTypes().guess_type(f"x{suffix}", strict=False)[0] or ""
    return found if found.startswith(kind) else f"{kind}/{suffix.removeprefix('.') or 'unknown'}"


# One observation.


def observed(result: Result, country: str = "") -> dict[str, str]:
    """Return the cells of an observation that say what was seen, and by whom. Raises OptionError for no country."""
    row, label, other = result.row, result.row.label, _other(result)
    cells = {"observationType": "unclassified", "observationComments": "no bear found"}
    if row.verdict == "bear":
        if not result.human and share_of(label, result.classes) < SURE:
            label = "bear"
        species = likely(label, country)
        cells = {
            "observationType": "animal",
            "scientificName": species.scientific,
            "observationComments": species.words,
        }
    elif row.verdict == "maybe":
        who = "a person could not tell" if result.human else "a person should look"
        label = "bear" if label == NO_BEAR else label
        cells = {"observationType": "unknown", "observationComments": f"maybe a bear: {who}"}
    elif row.verdict is None:
        cells["observationComments"] = "could not be read"
    elif other:
        words = label.replace("_", " ")
        named = words and label != NO_BEAR
        cells = {"observationType": other, "observationComments": f"no bear: {words}" if named else "no bear"}
    if row.verdict is not None:
        cells |= {
            "classificationMethod": "human" if result.human else "machine",
            "classifiedBy": result.by,
            "classificationTimestamp": datetime.fromisoformat(result.at).isoformat("T", "seconds") if result.at else "",
        }
    # By these ``camtrap_reader`` knows it again.
    tags = [f"{LABEL_TAG}{label}"] if label not in {"", NO_BEAR} and (row.verdict in {"bear", "maybe"} or other) else []
    tags += [f"{VERDICT_TAG}none"] if other == "unknown" else []
    if row.score is not None and not result.human and row.verdict in {"bear", "maybe"}:
        tags.append(f"{SCORE_TAG}{row.score:g}")
        if bear_label(label):  # of any other animal it says nothing about a bear
            cells["classificationProbability"] = f"{result.classes.get(label, row.score):.5g}"
    cells["observationTags"] = "|".join(tags)
    return cells


def _other(result: Result) -> str:
    """Return the kind of what a person, or a program that knows it, saw in place of a bear; "" for nothing said."""
    label = result.row.label
    if result.row.verdict != "none":
        return ""
    if result.human and label in BLANK:
        return "blank"
    if label in NOT_ANIMALS:
        return NOT_ANIMALS[label]
    if label in UNKNOWN | BLANK:
        return "unknown" if result.human else ""
    # A model for bears names its best guess, also where that is too weak to count.
    return "animal" if result.human or not bear_label(label) else ""


def rank(result: Result) -> float:
    """Return how much a picture counts for what its event is: a bear first, by a person before one by the model."""
    row = result.row
    if row.verdict == "bear":
        return 4.0 if result.human else 3.0 + (row.score or 0.0) / 2
    if result.human:
        return 2.0
    if row.verdict == "maybe":
        return 1.0 + (row.score or 0.0) / 2
    return -1.0 if row.verdict is None else 0.5 if _other(result) else 0.0


# Pictures to events.


def write_package(
    folder: Path,
    deployments: Sequence[Deployment],
    results: Iterable[Result],
    about: About,
    *,
    zone: str = "",
    base: str = "",
    by_camera: bool = False,
    force: bool = False,
) -> Package:
    """Write the package of a table of deployments and the results of their pictures; return it.

    ``zone``: of the cameras' clocks where a deployment's row has none. ``base``: as in ``Folders``. ``by_camera``:
    a picture's camera is the name of its deployment, as in results of a package; else the folder says it. Memory
    stays the same however many results there are. What could not go into the package is logged. Raises OptionError
    for pictures of no deployment, without a time or with times that cannot be right, and where it cannot be
    written.
    """
    with new_package(folder, about, force=force) as package:
        path = package.folder / "pictures.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            pictures = _Pictures(db, deployments)
            pictures.gather(results, about.country, base, by_camera=by_camera)
            pictures.to_utc(zone)
            for deployment, times in pictures.checked():
                start = deployment.start or (times and times.first)
                end = deployment.end or (times and start and max(start, times.last))
                if start and end:
                    package.deployment(deployment, start, end)
                    if times is None:
                        log.warning("%s has no pictures; the package has the times of its row", deployment.id)
                else:
                    log.warning("%s has no pictures and no times; it is not in the package", deployment.id)
            pictures.write(package)
        path.unlink()
    return package


class _Pictures:
    """The pictures of all deployments in a database on the disk, in order of deployment and time."""

    def __init__(self, db: sqlite3.Connection, deployments: Sequence[Deployment]) -> None:
        self._db = db
        self._deployments = deployments
        db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"
            "CREATE TABLE pictures(deployment, taken INTEGER, file, zone INTEGER, rank REAL, cells, box, "
            "PRIMARY KEY(deployment, taken, file)) WITHOUT ROWID"
        )
        self._by_clocks: set[int] = set()  # deployments with times by the camera's clock, which a shift moves

    def gather(self, results: Iterable[Result], country: str, base: str, *, by_camera: bool) -> None:
        """Take up what has a deployment and a time; log the count of the others. Raises OptionError."""
        find, ids = Folders(self._deployments, base), {each.id: n for n, each in enumerate(self._deployments)}
        pattern = columns("media")["filePath"]["constraints"]["pattern"]
        strays, lost, examples = Counter[str](), Counter[str](), defaultdict[str, list[str]](list)
        used, count = set[int](), 0
        for count, result in enumerate(results, 1):  # noqa: B007
            row = result.row
            timeless = not row.time or int(row.time[:4]) not in YEARS
            number = ids.get(row.camera) if by_camera else find(row.file, "" if timeless else row.time)
            if number is None:
                strays[camera_folder(row.file) or "."] += 1
                continue
            used.add(number)
            file = row.file.lstrip("/")
            if timeless or not re.fullmatch(pattern, file):
                why = NO_TIME if timeless else BAD_NAME
                lost[why] += 1
                examples[why] += [row.file] * (lost[why] <= 3)
                continue
            moment = datetime.fromisoformat(row.time)
            zone = moment.utcoffset()
            # A time with a zone is not by the camera's clock: it was shifted already.
            taken = moment if zone is not None else moment.replace(tzinfo=UTC) + self._deployments[number].shift
            box = json.dumps(row.box) if row.box and row.verdict in {"bear", "maybe"} else None
            try:
                self._db.execute(
                    "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        int((taken - EPOCH).total_seconds()),
                        file.encode("utf-8", "surrogateescape"),
                        None if zone is None else int(zone.total_seconds()),
                        rank(result),
                        json.dumps(observed(result, country)),
                        box,
                    ),
                )
            except sqlite3.IntegrityError:
                raise OptionError(f"{row.file}: is twice in the results; leave one of them out") from None
        bare = [each for n, each in enumerate(self._deployments) if n not in used and not (each.start and each.end)]
        where = ", ".join(f"{name} ({_pictures(n)})" for name, n in strays.most_common(3))
        if not count:
            raise OptionError("there are no results of pictures, and a package needs one; look at pictures first")
        if strays.total() == count:
            raise OptionError(
                f"none of {_pictures(count)} lies in the folder of a deployment: {where}; write the names of "
                "their folders under folder in the table of deployments (it has "
                f"{', '.join(each.folder or each.id for each in self._deployments[:3])})"
            )
        if strays.total() + lost.total() == count:
            why = max(lost, key=lost.__getitem__)
            raise OptionError(
                f"none of {_pictures(count)} can go into the package, for each {why}, such as {examples[why][0]}; look "
                "at the original files"
            )
        if strays and bare:
            raise OptionError(
                f"deployment {bare[0].id} has no pictures, and {where} {'is' if len(strays) == 1 else 'are'} in no "
                f"deployment; correct folder in the row of {bare[0].id}, or delete that row"
            )
        if strays:
            folder = next((name for name, _ in strays.most_common() if name != "."), "")
            log.warning(
                "%s of %s are not in the package, for their folder is in no row: %s%s",
                f"{strays.total():,}", _pictures(count), where, f"; add a row with folder {folder}" if folder else "",
            )  # fmt: skip
        for why, number in lost.items():
            some = ", ".join(examples[why]) + ", …" * (number > 3)
            log.warning("%s of %s: not in the package, for each %s: %s", f"{number:,}", _pictures(count), why, some)

    def to_utc(self, zone: str) -> None:
        """Turn the clocks of cameras to UTC: the offset at a deployment's first picture holds for all of it."""
        first = self._db.execute(
            "SELECT deployment, min(taken) FROM pictures WHERE zone IS NULL GROUP BY deployment"
        ).fetchall()
        unknown = [self._deployments[number].id for number, _ in first if not (self._deployments[number].zone or zone)]
        if unknown:
            raise OptionError(
                f"the time zone of the cameras' clocks is not known ({', '.join(unknown[:3])}); give --timezone, such "
                "as Europe/Ljubljana or +01:00, or write it under timezone in the table of deployments"
            )
        self._by_clocks = {number for number, _ in first}
        for number, taken in first:
            deployment = self._deployments[number]
            where = parse_zone(deployment.zone or zone, deployment.id)
            offset = where.utcoffset((EPOCH + timedelta(seconds=taken)).replace(tzinfo=None))
            seconds = int(offset.total_seconds()) if offset else 0
            self._db.execute(
                "UPDATE pictures SET taken = taken - ?, zone = ? WHERE deployment = ? AND zone IS NULL",
                (seconds, seconds, number),
            )

    def checked(self) -> list[tuple[Deployment, Times | None]]:
        """Return each deployment with its pictures' times. Raises OptionError for times that cannot be right."""
        now = datetime.now(UTC)
        found = [(each, self._times(number, each, now)) for number, each in enumerate(self._deployments)]
        bad: list[str] = []
        offers: list[str] = []
        folders = Counter(each.folders for each in self._deployments)
        middles: dict[str, datetime] = {}
        for number, (each, times) in enumerate(found):
            if times is None or each.any_time:
                continue
            if not (wrong := times.wrong(each)):
                middles[each.id] = times.first + (times.last - times.first) / 2
                continue
            bad.append(f"{each.id}: {wrong}, the first of all on {times.first:%Y-%m-%d %H:%M}")
            if number not in self._by_clocks:
                continue
            if folders[each.folders] > 1:  # each picture may be of another row then
                offers.append(f"write the same shift in every row of folder {each.folder or each.id}")
            elif shift := right_shift(each, times, now):
                offers.append(f"write {shift} under shift in the row of {each.id}")
        if bad:
            offer = "".join(f"{each}, " for each in dict.fromkeys(offers)) + "or " if offers else ""
            raise OptionError(
                f"the times of pictures do not fit ({'; '.join(bad)}); {offer}correct deploymentStart and "
                "deploymentEnd, or write true under timestampIssues to take the times as they are"
            )
        for each in self._deployments:
            others = [middle for id_, middle in middles.items() if id_ != each.id]
            if each.start or each.id not in middles or not others:
                continue
            days = abs(middles[each.id] - sorted(others)[len(others) // 2]).days
            if days > FAR_DAYS:
                log.warning(
                    "%s: its pictures lie %d days from those of the other deployments; was its clock off? Write "
                    "deploymentStart in its row, and the shift is worked out",
                    each.id, days,
                )  # fmt: skip
        return found

    def _times(self, number: int, deployment: Deployment, now: datetime) -> Times | None:
        start, end = deployment.start or EPOCH - 300 * 365 * DAY, deployment.end or EPOCH + 1000 * 365 * DAY
        limits = start - DAY, end + DAY, datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), now + DAY
        count, first, last, zone, *wrong = self._db.execute(
            "SELECT count(*), min(taken), max(taken), min(zone), sum(taken < ?), sum(taken > ?), sum(taken < ?), "
            "sum(taken > ?) FROM pictures WHERE deployment = ?",
            (*(int((each - EPOCH).total_seconds()) for each in limits), number),
        ).fetchone()
        return Times(count, _moment(first, zone), _moment(last, zone), *wrong) if count else None

    def write(self, package: Package) -> None:
        """Write the rows of pictures, and of what was seen in each event and, where that is something, its pictures."""
        event: dict[str, Any] = {}
        for number, taken, file, zone, weight, text, _ in self._rows():
            deployment, time, cells = self._deployments[number].id, _moment(taken, zone), json.loads(text)
            if not event or number != event["number"] or taken - event["last"] >= TOGETHER_S:
                self._write_event(package, event)
                id_ = f"{deployment}-{time.astimezone(UTC):%Y%m%dT%H%M%SZ}"
                event = {"id": id_, "number": number, "first": taken, "start": time, "rank": -2.0}
            event |= {"last": taken, "end": time}
            if weight > event["rank"]:
                event |= {"rank": weight, "cells": cells}
            media, path = self._media(deployment, file)
            package.media(
                {
                    "mediaID": media,
                    "deploymentID": deployment,
                    "timestamp": time.isoformat(),
                    "filePath": path,
                    "mediaComments": cells["observationComments"] if weight < 0 else "",
                }
            )
        self._write_event(package, event)

    def _write_event(self, package: Package, event: dict[str, Any]) -> None:
        if not event:
            return
        deployment = self._deployments[event["number"]].id
        of_all = {"deploymentID": deployment, "eventID": event["id"]}
        times = {"eventStart": event["start"].isoformat(), "eventEnd": event["end"].isoformat()}
        package.observation({"observationID": event["id"], **of_all, **times, **event["cells"]})
        if event["rank"] <= 0:
            return
        number = event["number"]
        of_event = "WHERE deployment = ? AND taken BETWEEN ? AND ?"
        for _, taken, file, zone, _, text, box in self._rows(of_event, number, event["first"], event["last"]):
            media, _ = self._media(deployment, file)
            times = dict.fromkeys(times, _moment(taken, zone).isoformat())
            sides = dict(zip(BOX, map(str, json.loads(box)), strict=True)) if box else {}
            package.observation(
                {"observationID": media, "mediaID": media, **of_all, **times, **sides, **json.loads(text)}
            )

    def _rows(self, which: str = "", *values: int) -> Iterator[Any]:
        yield from self._db.execute(f"SELECT * FROM pictures {which} ORDER BY deployment, taken, file", values)

    def _media(self, deployment: str, name: bytes) -> tuple[str, str]:
        """Return a picture's mediaID, the same each time, and its path."""
        path = name.decode("utf-8", "surrogateescape")
        key = f"{deployment}/".encode() + name
        return hashlib.blake2b(key, digest_size=8).hexdigest(), path


def _moment(taken: int, zone: int) -> datetime:
    return (EPOCH + timedelta(seconds=taken)).astimezone(timezone(timedelta(seconds=zone)))


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' if count != 1 else ''}"
