"""Update the table after a person has moved pictures between the label folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.errors import OptionError
from edge.pictures import SUFFIXES
from train.data.decisions import digest_of
from train.data.gather.importer import SHA256
from train.data.gather.offers import LEFT_OUT_FOLDER
from train.data.labels import UNSORTED, known_label
from train.data.pictures import TRAINING_LABELS
from train.data.table import Table, Values, plain_text


def sha256_of(row: Values) -> str:
    """Return the digest of a row's file when it was gathered; "" if the table has none."""
    found = SHA256.search(row.get("checks") or "")
    return found[1] if found else ""


@dataclass(frozen=True)
class Sorted:
    """The result of sorting."""

    moved: dict[str, int]  # new label -> pictures
    unsorted: int  # pictures that are still unsorted
    gone: tuple[str, ...]  # files of the table that are missing
    unlisted: tuple[str, ...]  # pictures in label folders that are not in the table
    folders: tuple[str, ...]  # of unlisted and moved pictures: names that are no label
    odd: tuple[str, ...]  # pictures with names that a table cannot have


def sort_moved(out: Path) -> Sorted:
    """Relabel each picture that was moved into another label's folder, known by its bytes. Raises OptionError."""
    if not out.is_dir():
        raise OptionError(f"{out}: no such folder; give the one that pictures were gathered into with --out")
    moved: dict[str, int] = {}
    gone: list[str] = []
    unnamed: set[str] = set()
    with Table(out) as table:
        known = {row["file"] for row in table.rows}
        missing = {row["file"]: dict(row) for row in table.rows if not (out / row["file"]).is_file()}
        unlisted = _unlisted(out, known)
        odd = [name for name in unlisted if plain_text(name) != name]
        unlisted = [name for name in unlisted if name not in odd]
        places = {digest_of(out / name): name for name in unlisted} if missing else {}
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
            unlisted.remove(there)
            moved[label] = moved.get(label, 0) + 1
        left = sum(row.get("label") == UNSORTED for row in table.rows)
    return Sorted(moved, left, tuple(gone), tuple(unlisted), tuple(sorted(unnamed)), tuple(odd))


def _unlisted(out: Path, known: set[str]) -> list[str]:
    names = []
    for file in sorted(out.rglob("*")):
        inside = file.relative_to(out)
        if len(inside.parts) < 2 or inside.parts[0] == LEFT_OUT_FOLDER or any(p.startswith(".") for p in inside.parts):
            continue
        if file.suffix.lower() in SUFFIXES and inside.as_posix() not in known and file.is_file():
            names.append(inside.as_posix())
    return names
