"""A Camtrap DP package by any program, read as results: https://camtrap-dp.tdwg.org (version 1.0).

An observation of one picture or clip (``media``) holds for it; one of an event (``event``) holds for all of its
deployment that were taken meanwhile. An event of which some pictures have observations of their own only sums them up:
nothing was found in its others. A person's word goes before a program's.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from edge.batch.camtrap_dp import BOX
from edge.batch.results import Result
from edge.detect.stills import UNREADABLE, Row, Verdict
from edge.errors import OptionError
from edge.schema import BoxXYWH
from edge.species import LABELS

MEDIA = ("mediaID", "deploymentID", "timestamp", "filePath")
OBSERVATIONS = ("deploymentID", "mediaID", "eventStart", "eventEnd", "observationType")
SCIENTIFIC = {name: label for label, names in LABELS.items() for name in names}
BEARS = frozenset({"ursidae", "ursus", "ursus sp.", "ursidae sp."})  # a bear, of no species in particular
LABEL_TAG = "label:"  # in ``observationTags``: the label that the model or a person gave
NO_ANIMALS = {"human": "person", "vehicle": "vehicle"}  # labels of kinds of observations


class Table(NamedTuple):
    """One CSV file of a package."""

    path: Path
    columns: tuple[str, ...]  # it must have
    delimiter: str = ","

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each row with its line. Raises OptionError."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, delimiter=self.delimiter, restval="")
                for column in self.columns:
                    if column not in (reader.fieldnames or ()):
                        raise OptionError(
                            f"{self.path}: has no column {column}; give a package of Camtrap DP 1.0, or add the column"
                        )
                for row in reader:
                    yield reader.line_num, row
        except OSError as error:
            raise OptionError(f"{self.path}: cannot be read ({error.strerror}); is the package whole?") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise OptionError(f"{self.path}: is no table in UTF-8 ({error}); export the package again") from None

    def time(self, line: int, row: dict[str, str], column: str) -> datetime:
        """Return a time with its zone. Raises OptionError."""
        try:
            found = datetime.fromisoformat(row[column])
        except ValueError:
            found = datetime.min
        if found.tzinfo is None:
            raise OptionError(
                f"{self.path}:{line}: {column} {row[column]!r} is no time with a zone; "
                "write it as 2026-05-01T03:00:00+02:00"
            )
        return found

    def number(self, line: int, row: dict[str, str], column: str) -> float | None:
        """Return a number, None for an empty cell. Raises OptionError."""
        word = row.get(column) or ""
        try:
            return float(word) if word else None
        except ValueError:
            raise OptionError(f"{self.path}:{line}: {column} {word!r} is no number; correct it") from None


def read_package(path: Path) -> Iterator[Result]:
    """Yield the result for each picture and clip of the package of this ``datapackage.json``, in the table's order.

    ``row.time`` has the time zone of the package, and ``row.camera`` is the deployment. What was never classified has
    no verdict. The observations lie in a temporary file meanwhile, so memory does not grow. Raises OptionError.
    """
    media, observations = _tables(path)
    with closing(sqlite3.connect("")) as found:
        try:
            longest = _take_in(observations, found)
            for line, row in media.rows():
                at = media.time(line, row, "timestamp")
                yield _result(row, at, _best(found, row, at.timestamp(), longest))
        except sqlite3.Error as error:
            raise OptionError(
                f"{path}: cannot be read ({error}); free some room in the folder of temporary files"
            ) from None


def _tables(path: Path) -> tuple[Table, Table]:
    """Return the tables of media and observations that a package names. Raises OptionError."""
    try:
        package = json.loads(path.read_bytes())
        resources = {each["name"]: each for each in package["resources"]}
        found = [(resources[name], str(resources[name]["path"])) for name in ("media", "observations")]
        dialects = [each.get("dialect") or {} for each, _ in found]
        delimiters = [str(each.get("delimiter", ",")) for each in dialects]
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OptionError(
            f"{path}: is no Camtrap DP package with the tables media and observations; give its datapackage.json"
        ) from None
    for _, word in found:
        if "://" in word:
            raise OptionError(f"{path}: its table {word} is on the web; download it, and write the file's name there")
    paths = [path.parent / word for _, word in found]
    return Table(paths[0], MEDIA, delimiters[0]), Table(paths[1], OBSERVATIONS, delimiters[1])


COLUMNS = "media, deployment, begin, until, verdict, label, score, box, human, by, at"
NEVER: tuple[Any, ...] = (None, "", None, None, False, "", "")


def _take_in(table: Table, into: sqlite3.Connection) -> dict[str, float]:
    """Read the table of observations into the temporary database; return each deployment's longest event, seconds."""
    into.execute(f"CREATE TABLE seen ({COLUMNS})")
    marks = ", ".join("?" * len(COLUMNS.split()))
    into.executemany(f"INSERT INTO seen VALUES ({marks})", (_seen(table, *each) for each in table.rows()))
    into.execute("CREATE INDEX of_media ON seen (media, deployment, begin)")
    into.execute("CREATE INDEX of_time ON seen (deployment, begin) WHERE media <> ''")
    into.execute(
        "UPDATE seen SET verdict = 'none', label = '', score = 0, human = 0, by = iif(human, '', by) WHERE media = '' "
        "AND EXISTS (SELECT 1 FROM seen AS own WHERE own.media <> '' AND own.deployment = seen.deployment "
        "AND own.begin BETWEEN seen.begin AND seen.until AND own.human >= seen.human)"
    )
    return dict(into.execute("SELECT deployment, MAX(until - begin) FROM seen WHERE media = '' GROUP BY 1"))


def _seen(table: Table, line: int, row: dict[str, str]) -> Sequence[Any]:
    verdict, label = _meaning(row)
    score = table.number(line, row, "classificationProbability")
    box = [table.number(line, row, column) for column in BOX]
    return (
        row["mediaID"],
        row["deploymentID"],
        table.time(line, row, "eventStart").timestamp(),
        table.time(line, row, "eventEnd").timestamp(),
        verdict,
        label,
        0.0 if verdict == "none" else score,  # what is written is that of another animal
        None if None in box else json.dumps(box),
        row.get("classificationMethod") == "human",
        row.get("classifiedBy") or "",
        row.get("classificationTimestamp") or "",
    )


def _meaning(row: dict[str, str]) -> tuple[Verdict | None, str]:
    """Return the verdict and the label of an observation; no verdict for what nobody and nothing classified."""
    kind, tags = row["observationType"], (row.get("observationTags") or "").split("|")
    own = next((tag.removeprefix(LABEL_TAG) for tag in tags if tag.startswith(LABEL_TAG)), "")
    name = " ".join((row.get("scientificName") or "").split()[:2])  # a subspecies is its species here
    bear = SCIENTIFIC.get(name.capitalize()) or ("bear" if name.lower() in BEARS else "")
    if kind == "unclassified" and not row.get("classificationMethod"):
        return None, ""
    if kind == "animal" and bear:
        return "bear", own or bear
    said_no = (row.get("observationComments") or "").startswith("no bear")  # as our writer says it
    if (kind == "unknown" and not said_no) or (kind == "animal" and not name and not own):
        return "maybe", own or "animal"
    return "none", own or (name.lower().replace(" ", "_") if kind == "animal" else NO_ANIMALS.get(kind, ""))


def _best(found: sqlite3.Connection, row: dict[str, str], at: float, longest: dict[str, float]) -> Any:
    """Return the observation that holds for a picture at this time: a person's, of it alone, the most like a bear."""
    place = row["deploymentID"]
    query = (
        f"SELECT {COLUMNS} FROM seen WHERE media = ? "
        "OR (media = '' AND deployment = ? AND begin BETWEEN ? AND ? AND until >= ?) "
        "ORDER BY human DESC, media = '', verdict IS NULL, verdict = 'none', verdict = 'maybe', score DESC, label = ''"
    )
    return found.execute(query, (row["mediaID"], place, at - longest.get(place, 0.0), at, at)).fetchone()


def _result(row: dict[str, str], at: datetime, seen: Any) -> Result:
    unreadable = row.get("mediaComments") == UNREADABLE  # as our writer says it, also in an event with others
    *_, verdict, label, score, box, human, by, when = NEVER if unreadable or not seen else seen
    name = row["filePath"]
    sides = cast(BoxXYWH, tuple(json.loads(box))) if box else None
    problem = "" if verdict else UNREADABLE if unreadable else "nobody and no program has classified it"
    return Result(
        Row(name, at.isoformat(), row["deploymentID"], label, score, sides, verdict, None, problem),
        {label: float(score)} if score else {},
        by,
        bool(human),
        when,
    )
