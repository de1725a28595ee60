"""A Camtrap DP package by any program, read as results: https://camtrap-dp.tdwg.org (version 1.0).

An observation of one picture or clip (``media``) holds for it; one of an event (``event``) holds for all of its
deployment that were taken meanwhile. A person's word goes before a program's; of several that hold, it is the one most
like a bear. In packages by this program those of single pictures say all, and of two events the later one holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from edge.batch.camtrap_dp import BOX
from edge.batch.look import open_table
from edge.batch.results import LABEL_TAG, NOT_ANIMALS, OWN_TITLE, RANKS, SCORE_TAG, VERDICT_TAG, Result, bear_label
from edge.detect.stills import UNREADABLE, Row, Verdict
from edge.errors import OptionError
from edge.schema import BoxXYWH

MEDIA = ("mediaID", "deploymentID", "timestamp", "filePath")
OBSERVATIONS = ("deploymentID", "mediaID", "eventStart", "eventEnd", "observationType")
NO_ANIMALS = {kind: label for label, kind in reversed(NOT_ANIMALS.items())}


class Table(NamedTuple):
    """One CSV file of a package."""

    path: Path
    columns: tuple[str, ...]  # it must have
    delimiter: str = ","

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield each row with its line. Raises OptionError."""
        with open_table(self.path, self.delimiter) as (columns, rows, _):
            for column in self.columns:
                if column not in columns:
                    raise OptionError(
                        f"{self.path}: has no column {column}; give a package of Camtrap DP 1.0, or add the column"
                    )
            yield from rows

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
    media, observations, own = _tables(path)
    with closing(sqlite3.connect("")) as found:
        try:
            _take_in(observations, found, own=own)
            _choose(media, found, own=own)
            chosen = found.execute("SELECT seen FROM chosen ORDER BY number")
            for (line, row), (number,) in zip(media.rows(), chosen, strict=True):
                seen = found.execute(f"SELECT {COLUMNS} FROM seen WHERE rowid = ?", (number,)).fetchone()
                yield _result(row, media.time(line, row, "timestamp"), seen)
        except sqlite3.Error as error:
            raise OptionError(
                f"{path}: cannot be read ({error}); free some room in the folder of temporary files"
            ) from None


def _tables(path: Path) -> tuple[Table, Table, bool]:
    """Return the tables of media and observations that a package names, and if it is by this program.

    Raises OptionError.
    """
    try:
        package = json.loads(path.read_bytes())
        resources = {each["name"]: each for each in package["resources"]}
        found = [(resources[name], str(resources[name]["path"])) for name in ("media", "observations")]
        dialects = [each.get("dialect") or {} for each, _ in found]
        delimiters = [str(each.get("delimiter", ",")) for each in dialects]
        own = any(each.get("title") == OWN_TITLE for each in package.get("sources") or ())
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
    return Table(paths[0], MEDIA, delimiters[0]), Table(paths[1], OBSERVATIONS, delimiters[1]), own


COLUMNS = "media, deployment, begin, until, verdict, label, score, probability, box, human, by, at"
NEVER: tuple[Any, ...] = (None, "", None, None, None, False, "", "")


def _take_in(table: Table, into: sqlite3.Connection, *, own: bool) -> None:
    """Read the table of observations into the temporary database."""
    into.execute(f"CREATE TABLE seen ({COLUMNS})")
    marks = ", ".join("?" * len(COLUMNS.split()))
    into.executemany(f"INSERT INTO seen VALUES ({marks})", (_seen(table, *each, own=own) for each in table.rows()))
    into.execute("CREATE INDEX of_media ON seen (media)")


def _choose(media: Table, found: sqlite3.Connection, *, own: bool) -> None:
    """Write which observation holds for each picture, by its number in the table, into the temporary database.

    Events and pictures are gone through together in the order of deployment and time.
    """
    pictures = ((row["mediaID"], row["deploymentID"], media.time(line, row, "timestamp").timestamp())
                for line, row in media.rows())  # fmt: skip
    found.execute("CREATE TABLE pictures (number INTEGER PRIMARY KEY, media, deployment, at)")
    found.executemany("INSERT INTO pictures (media, deployment, at) VALUES (?, ?, ?)", pictures)
    found.execute("CREATE TABLE chosen (number INTEGER PRIMARY KEY, seen)")
    columns = "rowid, media, deployment, begin, until, human, verdict, score, label"
    events = map(_Held._make, found.execute(f"SELECT {columns} FROM seen WHERE media = '' ORDER BY deployment, begin"))
    ahead, meanwhile = next(events, None), list[_Held]()
    for number, id_, place, at in found.execute("SELECT * FROM pictures ORDER BY deployment, at"):
        while ahead and (ahead.deployment, ahead.begin) <= (place, at):
            meanwhile.append(ahead)
            ahead = next(events, None)
        meanwhile = [each for each in meanwhile if each.deployment == place and each.until >= at]
        of_it = map(_Held._make, found.execute(f"SELECT {columns} FROM seen WHERE media = ? AND media <> ''", (id_,)))
        holding = list(of_it)
        if own and not holding:
            holding = [each for each in meanwhile if each.begin == meanwhile[-1].begin]
        elif not own:
            holding += meanwhile
        best = max(holding, key=_Held.strength, default=None)
        found.execute("INSERT INTO chosen VALUES (?, ?)", (number, best and best.number))


class _Held(NamedTuple):
    """An observation that may hold for a picture."""

    number: int
    media: str  # "": of an event
    deployment: str
    begin: float  # seconds since 1970
    until: float
    human: bool
    verdict: Verdict | None
    score: float | None
    label: str

    def strength(self) -> tuple[object, ...]:
        rank = -1 if self.verdict is None else RANKS[self.verdict]
        return self.human, rank, bool(self.media), self.score or 0.0, bool(self.label)


def _seen(table: Table, line: int, row: dict[str, str], *, own: bool) -> Sequence[Any]:
    verdict, label = _meaning(row)
    probability = None if verdict == "none" else table.number(line, row, "classificationProbability")
    tag = _tag(row, SCORE_TAG) if own else ""  # the probability is of the species alone
    score = table.number(line, {SCORE_TAG: tag}, SCORE_TAG) if tag else probability
    box = [table.number(line, row, column) for column in BOX]
    return (
        row["mediaID"],
        row["deploymentID"],
        table.time(line, row, "eventStart").timestamp(),
        table.time(line, row, "eventEnd").timestamp(),
        verdict,
        label,
        score,
        probability,
        None if None in box else json.dumps(box),
        row.get("classificationMethod") == "human",
        row.get("classifiedBy") or "",
        row.get("classificationTimestamp") or "",
    )


def _tag(row: dict[str, str], key: str) -> str:
    tags = (row.get("observationTags") or "").split("|")
    return next((tag.removeprefix(key) for tag in tags if tag.startswith(key)), "")


def _meaning(row: dict[str, str]) -> tuple[Verdict | None, str]:
    """Return the verdict and the label of an observation; no verdict for what nobody and nothing classified."""
    kind, label, said = row["observationType"], _tag(row, LABEL_TAG), _tag(row, VERDICT_TAG)
    name = " ".join((row.get("scientificName") or "").split()[:2])  # a subspecies is its species here
    bear = bear_label(name) if kind == "animal" else ""
    if kind == "unclassified" and not row.get("classificationMethod"):
        return None, ""
    verdict: Verdict = "none"
    if said in RANKS:
        verdict = said
    elif bear:
        verdict = "bear"
    elif kind == "unknown" or (kind == "animal" and not name and not label):
        verdict = "maybe"
    other = "animal" if verdict == "maybe" else NO_ANIMALS.get(kind, "")
    return verdict, label or bear or (name.lower().replace(" ", "_") if kind == "animal" else "") or other


def _result(row: dict[str, str], at: datetime, seen: Any) -> Result:
    unreadable = row.get("mediaComments") == UNREADABLE  # as our writer says it, also in an event with others
    *_, verdict, label, score, probability, box, human, by, when = NEVER if unreadable or not seen else seen
    name = row["filePath"]
    sides = cast(BoxXYWH, tuple(json.loads(box))) if box else None
    problem = "" if verdict else UNREADABLE if unreadable else "nobody and no program has classified it"
    return Result(
        Row(name, at.isoformat(), row["deploymentID"], label, score, sides, verdict, None, problem),
        {label: float(probability)} if probability else {},
        by,
        bool(human),
        when,
    )
