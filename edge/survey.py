"""A card of pictures as a table: a row a file, and how many of each camera, day and label."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

from edge.findings import Finding
from edge.schema import BoxXYWH
from edge.stills import Verdict

UNREADABLE, NO_TIME = "could not be read", "no time"
DECIMALS = 5
FORMULA = frozenset("=+-@")  # what a spreadsheet takes a cell that begins with it for
UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})  # Unicode's categories of spaces, control and format characters
BREAKS = ("\t", "\r", "\n")  # some take what follows for a cell of its own


class Row(NamedTuple):
    """One picture or clip; its fields are the columns of the table."""

    file: str
    time: str  # ISO 8601 by the camera's own clock; "" where it does not say
    camera: str
    label: str  # the best one; "" where the file could not be read
    score: float | None  # how likely a bear is in it, 0 to 1
    box: BoxXYWH | None  # left, top, width, height; fractions of the picture
    verdict: Verdict | None
    second: float | None  # into a clip
    problem: str  # why it could not be read, or what was wrong with it all the same

    @property
    def kind(self) -> str:
        """Return the label it is counted under."""
        label = self.label.replace("_", " ")
        return UNREADABLE if self.verdict is None else f"maybe {label}" if self.verdict == "maybe" else label


def row_of(finding: Finding, name: str) -> Row:
    """A file's row, under this name. Its camera is the one in the Exif, else its folder."""
    folder, seen = Path(name).parent, finding.seen
    return Row(
        file=name,
        time=finding.taken.isoformat() if finding.taken else "",
        camera=finding.camera or (finding.file.resolve().parent.name if folder == Path() else folder.as_posix()),
        label=seen.label if seen else "",
        score=round(seen.bear, DECIMALS) if seen else None,
        box=cast(BoxXYWH, tuple(round(side, DECIMALS) for side in seen.box_xywh)) if seen else None,
        verdict=seen.verdict if seen else None,
        second=finding.clip.second if finding.clip else None,
        problem=finding.failure or "; ".join(finding.problems),
    )


def csv_bytes(rows: Iterable[Row]) -> bytes:
    """The table as CSV (RFC 4180, UTF-8) with a heading."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Row._fields)
    writer.writerows(map(_cells, rows))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(row: Row) -> Iterator[str]:
    for value in row:
        cell = " ".join(f"{side:g}" for side in value) if isinstance(value, tuple) else value
        text = "" if cell is None else str(cell)
        yield f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Return True if a spreadsheet may run the cell, also after spaces or invisible characters."""
    seen = (sign for sign in text if unicodedata.category(sign) not in UNSEEN)
    return text.startswith(BREAKS) or next(seen, "") in FORMULA


class Survey:
    """Counts files by camera, day and label, with the highest score of each."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.verdicts: dict[Verdict, int] = {"bear": 0, "maybe": 0, "none": 0}
        self.failed = 0
        self.clips = 0  # that could be read
        self._found: dict[tuple[str, str, str], tuple[int, float]] = {}
        for row in rows:
            self.add(row)

    @property
    def read(self) -> int:
        """Files that could be read."""
        return sum(self.verdicts.values())

    @property
    def pictures(self) -> int:
        """Pictures that could be read."""
        return self.read - self.clips

    def add(self, row: Row) -> None:
        """Count one file."""
        if row.verdict is None:
            self.failed += 1
        else:
            self.verdicts[row.verdict] += 1
            self.clips += row.second is not None
        key = row.camera, row.time[:10] or NO_TIME, row.kind
        count, top = self._found.get(key, (0, 0.0))
        self._found[key] = count + 1, max(top, row.score or 0.0)

    def lines(self) -> list[str]:
        """The counts as a table of text."""
        table = [("camera", "day", "label", "files", "highest score")]
        table += [
            (*key, str(count), "" if key[2] == UNREADABLE else f"{top:.3f}")
            for key, (count, top) in sorted(self._found.items())
        ]
        widths = [max(len(row[column]) for row in table) for column in range(5)]
        return [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
