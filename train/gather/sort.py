"""After a person has moved pictures between the folders of labels: the table is made to say the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OptionError
from edge.pictures import SUFFIXES
from train.catalog.picture import TRAINING_LABELS
from train.catalog.read import UNSORTED
from train.catalog.table import Table, plain_text
from train.gather.keep import sha256_of
from train.gather.labels import known_label
from train.gather.tally import LEFT_OUT_FOLDER


@dataclass(frozen=True)
class Sorted:
    """What was found."""

    moved: dict[str, int]  # how many pictures have which new label
    unsorted: int  # how many still lie unsorted
    gone: tuple[str, ...]  # files of the table that are nowhere
    strangers: tuple[str, ...]  # pictures in folders of labels that the table does not know
    folders: tuple[str, ...]  # of strangers and moved pictures, that name no label
    odd: tuple[str, ...]  # pictures whose names no table can hold


def sort_moved(out: Path) -> Sorted:
    """Give each picture that was moved into a label's folder that label, known by its bytes. Raises OptionError."""
    if not out.is_dir():
        raise OptionError(f"{out}: no such folder; give the one that pictures were gathered into with --out")
    moved: dict[str, int] = {}
    gone: list[str] = []
    unnamed: set[str] = set()
    with Table(out) as table:
        known = {row["file"] for row in table.rows}
        missing = {row["file"]: dict(row) for row in table.rows if not (out / row["file"]).is_file()}
        strangers = _strangers(out, known)
        odd = [name for name in strangers if plain_text(name) != name]
        strangers = [name for name in strangers if name not in odd]
        places = {_digest(out / name): name for name in strangers} if missing else {}
        for file, row in missing.items():
            there = places.get(sha256_of(row))
            if there is None:
                gone.append(file)
                continue
            folder = there.split("/")[0]
            label = known_label(folder)
            if label not in (*TRAINING_LABELS, UNSORTED):
                unnamed.add(folder)
                continue
            table.change(file, {"file": there, "label": label})
            strangers.remove(there)
            moved[label] = moved.get(label, 0) + 1
        left = sum(row.get("label") == UNSORTED for row in table.rows)
    return Sorted(moved, left, tuple(gone), tuple(strangers), tuple(sorted(unnamed)), tuple(odd))


def _strangers(out: Path, known: set[str]) -> list[str]:
    names = []
    for file in sorted(out.rglob("*")):
        inside = file.relative_to(out)
        if len(inside.parts) < 2 or inside.parts[0] == LEFT_OUT_FOLDER or any(p.startswith(".") for p in inside.parts):
            continue
        if file.suffix.lower() in SUFFIXES and inside.as_posix() not in known and file.is_file():
            names.append(inside.as_posix())
    return names


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
