"""train / tune / test, disjoint by source, else by group. Needs no torch.

Tune serves early decisions, temperature, thresholds and int8 calibration; test is opened only to report.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge.errors import CatalogError
from train.catalog import SPLITS, Catalog, Picture, is_bear

log = logging.getLogger(__name__)

SHARES = {"train": 0.70, "tune": 0.15, "test": 0.15}

Split = dict[str, list[Picture]]


def split_catalog(catalog: Catalog, seed: int, *, tune: Iterable[str] = (), test: Iterable[str] = ()) -> Split:
    """The pictures of each part. Sources named in ``tune`` and ``test`` go there whole, the rest to train.

    Without names: the table's own split column where it has all three, else whole sources where
    every part can have bears and others, else whole groups. Raises CatalogError when no such
    split exists.
    """
    tune, test = set(tune), set(test)
    if tune or test:
        return _named(catalog, seed, tune, test)
    if {picture.split for picture in catalog.pictures} >= set(SPLITS):
        unsaid = next((p for p in catalog.pictures if not p.split), None)
        if unsaid:
            raise CatalogError(f"{unsaid.file}: has no part in the split column; fill in train, tune or test")
        split: Split = {name: [p for p in catalog.pictures if p.split == name] for name in SPLITS}
        shared = {p.unit for p in split["train"]} & {p.unit for p in (*split["tune"], *split["test"])}
        if shared:
            raise CatalogError(
                f"{catalog.root}: the split column cuts {min(shared)!r} in two; keep a group in one part"
            )
        _require_both(split, catalog)
        return split
    for by in ("source", "unit"):
        split = _greedy(catalog.pictures, by, seed)
        if all(_has_both(part) for part in split.values()):
            if by == "unit":
                log.warning("too few sources to keep whole ones apart: split by group instead")
            return split
    raise CatalogError(
        f"{catalog.root}: cannot be split so that training, tuning and testing each have bears and others from "
        "different groups; it takes three or more cameras or places that each have both: put each one's pictures into "
        "a sub-folder of its own (brown_bear/camera-1, no_bear/camera-1, …)"
    )


def _named(catalog: Catalog, seed: int, tune: set[str], test: set[str]) -> Split:
    sources = {picture.source for picture in catalog.pictures}
    unknown = sorted((tune | test) - sources)
    if unknown:
        raise CatalogError(
            f"{catalog.root}: no source is called {unknown[0]!r}; sources are {', '.join(sorted(sources))}"
        )
    if tune & test:
        raise CatalogError(f"{min(tune & test)!r} is named for tune and for test; a source can be in one part only")
    rest = [picture for picture in catalog.pictures if picture.source not in tune | test]
    split: Split = {
        "train": rest,
        "tune": [picture for picture in catalog.pictures if picture.source in tune],
        "test": [picture for picture in catalog.pictures if picture.source in test],
    }
    if not tune:  # carve the tuning part out of what is left
        carved = _greedy(rest, "source", seed)
        split["train"], split["tune"] = carved["train"] + carved["test"], carved["tune"]
    _require_both(split, catalog)
    return split


def _greedy(pictures: Sequence[Picture], by: str, seed: int) -> Split:
    """Whole units, largest first, each to the part that then lies closest to its share of every label."""
    units: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        units[getattr(picture, by)].append(picture)
    order = sorted(units)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(units[name]))
    totals = Counter(_kind(picture) for picture in pictures)
    filled = {name: Counter[str]() for name in SPLITS}
    split: Split = {name: [] for name in SPLITS}
    for position, unit in enumerate(order):
        kinds = Counter(_kind(picture) for picture in units[unit])

        def distance(part: str, kinds: Counter[str] = kinds) -> float:
            """How much fuller than its share the part would be, over the labels this unit brings."""
            return max((filled[part][kind] + kinds[kind]) / (SHARES[part] * totals[kind]) for kind in kinds)

        # Few units: what is left must still give every part bears and others.
        left = len(order) - position
        lacking = [name for name in SPLITS if not _has_both(split[name])]
        part = min(lacking if len(lacking) >= left else SPLITS, key=distance)
        filled[part].update(kinds)
        split[part] += units[unit]
    return split


def _kind(picture: Picture) -> str:
    return "bear" if is_bear(picture.label) else picture.label


def _has_both(part: Sequence[Picture]) -> bool:
    return len({is_bear(picture.label) for picture in part}) == 2


def _require_both(split: Split, catalog: Catalog) -> None:
    for name, part in split.items():
        if not _has_both(part):
            lacking = "pictures without bears" if any(is_bear(picture.label) for picture in part) else "bears"
            raise CatalogError(f"{catalog.root}: the {name} part has no {lacking}; choose other sources for it")


def name_of(picture: Picture, root: Path) -> str:
    """How a picture is called in ``split.csv``: relative to the pictures' folder where it lies inside."""
    return picture.file.relative_to(root).as_posix() if picture.file.is_relative_to(root) else str(picture.file)


def write_split(split: Split, root: Path, path: Path) -> str:
    """Write ``split.csv`` (file, label, source, group, split) and return its SHA-256."""
    rows = []
    for part in SPLITS:
        for picture in split[part]:
            rows.append((name_of(picture, root), picture.label, picture.source, picture.group, part))
    rows.sort()
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("file", "label", "source", "group", "split"))
        writer.writerows(rows)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_split(catalog: Catalog, path: Path) -> Split:
    """The split a run was trained with, as pictures of the catalogue. Raises CatalogError when they differ."""
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            parts = {row["file"]: row["split"] for row in csv.DictReader(opened)}
    except (OSError, KeyError) as error:
        raise CatalogError(f"{path}: cannot read the split ({error}); train the run again") from None
    split: Split = {name: [] for name in SPLITS}
    for picture in catalog.pictures:
        name = name_of(picture, catalog.root)
        if name not in parts:
            raise CatalogError(
                f"{path}: picture {name!r} is not in this run's split; the pictures changed, train again"
            )
        if parts[name] not in SPLITS:
            raise CatalogError(f"{path}: {name!r} is in part {parts[name]!r}; parts are {', '.join(SPLITS)}")
        split[parts[name]].append(picture)
    return split
