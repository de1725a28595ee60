"""Split pictures into train, tune and test, disjoint by source, else by group. Needs no torch.

Tune is for temperature, thresholds and int8 calibration; test is only for reports.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from train.data.pictures import CAMERAS, SPLITS, Catalog, Picture, is_bear, name_inside
from train.data.table import csv_bytes


def kind(picture: Picture) -> str:
    """Return the label, or "bear" for every bear."""
    return "bear" if is_bear(picture.label) else picture.label


def deal(
    pictures: Sequence[Picture],
    by: Callable[[Picture], str],
    seed: int,
    shares: Mapping[str, float],
    kind_of: Callable[[Picture], str] = kind,
) -> Split:
    """Deal whole units, largest first, each to the part that then is closest to its share of every kind.

    ``by`` names a picture's unit, ``shares`` the share of each part. If units are few, each part gets bears and others
    before any part gets more.
    """
    units: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        units[by(picture)].append(picture)
    order = sorted(units)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(units[name]))
    totals = Counter(map(kind_of, pictures))
    filled = {name: Counter[str]() for name in shares}
    split: Split = {name: [] for name in shares}
    left = {bears: sum(holds(units[unit], bears=bears) for unit in order) for bears in (False, True)}
    for unit in order:
        kinds = Counter(map(kind_of, units[unit]))

        def distance(part: str, kinds: Counter[str] = kinds) -> float:
            """Measure how much fuller than its share the part would be, over the kinds this unit brings."""
            return max((filled[part][kind] + kinds[kind]) / (shares[part] * totals[kind]) for kind in kinds)

        # With few units, the rest must still give every part bears and others.
        open_to = list(shares)
        for bears in (False, True):
            if not holds(units[unit], bears=bears):
                continue
            lacking = [name for name in shares if not holds(split[name], bears=bears)]
            if len(lacking) >= left[bears]:
                open_to = [name for name in lacking if name in open_to] or lacking
            left[bears] -= 1
        part = min(open_to, key=distance)
        filled[part].update(kinds)
        split[part] += units[unit]
    return split


def holds(part: Iterable[Picture], *, bears: bool) -> bool:
    """Return True if there are pictures with bears, or without."""
    return any(is_bear(picture.label) == bears for picture in part)


# Cross-validation over the frames of trail cameras: each is tested once, by a model that saw none of its camera. The
# frames of a fold depend on the table only, so folds of two recipes or seeds can be compared frame by frame.

SEED = 14
TUNE_SHARE = 0.2  # of the frames outside the test part: they too fit thresholds and temperature
_WEB = re.compile(r"\bweb\b")
_CAMERA = re.compile(r".+?(?:\bcam(?:era)?(?= )|(?= burst\b))", re.IGNORECASE)
_TIME = re.compile(r"^(?:(.*?)/)?(?:\d{4}-\d\d-\d\d(?:T|$)|no time(?:/|$))")  # groups of `gather card` and `feedback`


@dataclass(frozen=True)
class Fold:
    """One fold, and the number of folds."""

    number: int  # 1 to ``of``
    of: int

    @classmethod
    def parse(cls, words: str) -> Self:
        """Parse a fold such as ``1/3``. Raises OptionError if it is none."""
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", words.strip())
        fold = cls(int(found[1]), int(found[2])) if found else None
        if fold is None or not 1 <= fold.number <= fold.of or fold.of < 2:
            raise OptionError(f"--fold is {words!r}; give the fold and the number of folds, such as 1/3")
        return fold

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def split_frames(pictures: Iterable[Picture], fold: Fold | None, tune: set[str], test: set[str]) -> Split:
    """Split the frames of trail cameras; other pictures are in no part.

    Test gets the frames of ``fold`` and of the sources in ``test``. Tune gets those of the sources in ``tune`` and a
    fifth of the other groups, balanced by bear and by colour. Train gets the rest.
    """
    frames = [picture for picture in pictures if picture.of_trail_camera]
    out = set(in_fold(frames, fold)) if fold else set()
    tested = [frame for frame in frames if frame in out or frame.source in test]
    tuned = [frame for frame in frames if frame.source in tune and frame not in out]
    rest = [frame for frame in frames if frame not in out and frame.source not in test | tune]
    split = deal(rest, lambda one: one.unit, SEED, {"train": 1 - TUNE_SHARE, "tune": TUNE_SHARE}, stratum)
    return {"train": split["train"], "tune": [*tuned, *split["tune"]], "test": tested}


def in_fold(frames: Sequence[Picture], fold: Fold) -> list[Picture]:
    """Return the frames of this fold."""
    shares = {str(number): 1 / fold.of for number in range(1, fold.of + 1)}
    return deal(frames, camera, SEED, shares, stratum)[str(fold.number)]


def camera(frame: Picture) -> str:
    """Return the camera or site of a frame: its unit without the words after the camera's name.

    The groups ``yard cam deer`` and ``yard cam`` are of one camera, ``CA-01 burst 7`` is of ``CA-01``,
    ``yard/2026-11-24`` of ``yard``; bursts named only by their time are of one camera, the source.
    """
    if timed := _TIME.match(frame.group):
        return f"{frame.source}/{timed[1] or ''}"
    found = _CAMERA.match(frame.group)
    return f"{frame.source}/{found[0]}" if found else frame.unit


def stratum(picture: Picture) -> str:
    """Return the stratum that folds share evenly: bear or not, grey or colour; or "not judged"."""
    if not is_judged(picture):
        return "not judged"
    return f"{'bear' if is_bear(picture.label) else 'no bear'}, {'grey' if picture.grey_or_ir else 'colour'}"


def is_judged(picture: Picture) -> bool:
    """Return True if a frame counts: one without a bear from the web may be of no trail camera."""
    return is_bear(picture.label) or not _WEB.search(picture.group)


log = logging.getLogger(__name__)

LEFT_OUT = "left out"  # the part in ``split.csv`` of a picture that could not be read
SPLIT_COLUMNS = ("file", "label", "source", "group", "split")
SHARES = {"train": 0.70, "tune": 0.15, "test": 0.15}

Split = dict[str, list[Picture]]


def split_catalog(
    catalog: Catalog, seed: int, *, tune: Iterable[str] = (), test: Iterable[str] = (), fold: Fold | None = None
) -> Split:
    """Split the catalogue. Whole sources named in ``tune`` and ``test`` go there, the rest to train.

    Without names: the table's own split column if it names all three parts; else whole sources if every part then has
    bears and others; else whole groups. Frames of trail cameras are split apart (``split_frames``). Raises
    CatalogError if no such split exists.
    """
    tune, test = set(tune), set(test)
    _check_names(catalog, tune, test)
    if not tune | test and fold is None and (by_column := _by_column(catalog)):
        return by_column
    frames = split_frames(catalog.pictures, fold, tune, test)
    if fold is not None and not frames["test"]:
        raise CatalogError(
            f"{catalog.root}: --fold {fold} has no frame of a trail camera; the table's column condition marks "
            f"them: {' or '.join(CAMERAS)}"
        )
    rest = [picture for picture in catalog.pictures if not picture.of_trail_camera]
    if tune or test:
        split = together(_named(rest, seed, tune, test), frames)
        _require_both(split, catalog)
        return split
    nothing: Split = {name: [] for name in SPLITS}
    # A table of trail cameras alone is split as any other.
    for pictures, apart, by in (
        (rest, frames, _source), (rest, frames, _unit), (catalog.pictures, nothing, _source),
        (catalog.pictures, nothing, _unit),
    )[: 2 if fold else 4]:  # fmt: skip
        split = together(deal(pictures, by, seed, SHARES), apart)
        if complete(split):
            if by is _unit:
                log.warning("too few sources to split by source: cameras and groups are split instead")
                _warn_of_single(catalog)
            return split
    raise CatalogError(
        f"{catalog.root}: cannot be split so that training, tuning and testing each have bears and others from "
        "different groups; it takes three or more cameras or places that each have both: put each one's pictures into "
        "a sub-folder of its own (brown_bear/camera-1, no_bear/camera-1, …)"
    )


def _by_column(catalog: Catalog) -> Split | None:
    """Return the parts of the table's split column; None if it does not name all three."""
    parts = {picture.split for picture in catalog.pictures} - {""}
    if parts and parts < set(SPLITS):
        log.warning(
            "%s: the split column has no part %s and is not used; it needs train, tune and test",
            catalog.root,
            " and ".join(repr(name) for name in SPLITS if name not in parts),
        )
    if parts != set(SPLITS):
        return None
    unnamed = next((p for p in catalog.pictures if not p.split), None)
    if unnamed:
        raise CatalogError(f"{unnamed.file}: has no part in the split column; fill in train, tune or test")
    split: Split = {name: [p for p in catalog.pictures if p.split == name] for name in SPLITS}
    parts_of: dict[str, set[str]] = defaultdict(set)
    for picture in catalog.pictures:
        parts_of[picture.unit].add(picture.split)
    shared = [unit for unit, some in parts_of.items() if len(some) > 1]
    if shared:
        raise CatalogError(f"{catalog.root}: the split column cuts {min(shared)!r} in two; keep a group in one part")
    _require_both(split, catalog)
    return split


def _warn_of_single(catalog: Catalog) -> None:
    """Warn if most pictures are groups of their own: one camera's pictures are then in several parts."""
    alone = sum(count == 1 for count in Counter(picture.unit for picture in catalog.pictures).values())
    if alone > len(catalog.pictures) / 2:
        log.warning(
            "%s: %d of %d pictures are in no camera's folder and are split one by one. Training and test may then show "
            "one place, which flatters the figures; put each camera's pictures into a sub-folder of its own",
            catalog.root, alone, len(catalog.pictures),
        )  # fmt: skip


def _check_names(catalog: Catalog, tune: set[str], test: set[str]) -> None:
    sources = {picture.source for picture in catalog.pictures}
    unknown = sorted((tune | test) - sources)
    if unknown:
        raise CatalogError(
            f"{catalog.root}: no source is called {unknown[0]!r}; sources are {', '.join(sorted(sources))}"
        )
    if tune & test:
        raise CatalogError(f"{min(tune & test)!r} is named for tune and for test; a source can be in one part only")


def _named(pictures: Sequence[Picture], seed: int, tune: set[str], test: set[str]) -> Split:
    split: Split = {
        "train": [picture for picture in pictures if picture.source not in tune | test],
        "tune": [picture for picture in pictures if picture.source in tune],
        "test": [picture for picture in pictures if picture.source in test],
    }
    for part, names, other in (("tune", tune, "test"), ("test", test, "tune")):
        if not names:  # take the part without a name from the rest
            carved = deal(split["train"], _source, seed, SHARES)
            split["train"], split[part] = carved["train"] + carved[other], carved[part]
    return split


def together(split: Split, more: Split) -> Split:
    """Join two splits, part by part."""
    return {name: [*split[name], *more[name]] for name in SPLITS}


def _source(picture: Picture) -> str:
    return picture.source


def _unit(picture: Picture) -> str:
    return picture.unit


def complete(split: Split) -> bool:
    """Return True if every part has bears and others."""
    return all(_has_both(part) for part in split.values())


def _has_both(part: Sequence[Picture]) -> bool:
    return holds(part, bears=True) and holds(part, bears=False)


def _require_both(split: Split, catalog: Catalog) -> None:
    for name, part in split.items():
        if not _has_both(part):
            lacking = "pictures without bears" if any(is_bear(picture.label) for picture in part) else "bears"
            raise CatalogError(f"{catalog.root}: the {name} part has no {lacking}; choose other sources for it")


def name_of(picture: Picture, root: Path) -> str:
    """Return a picture's name in ``split.csv``: relative to the pictures' folder if it is inside."""
    return name_inside(picture.file, root) or str(picture.file)


def write_split(split: Split, root: Path, path: Path, left_out: Iterable[Picture] = ()) -> str:
    """Write ``split.csv`` (file, label, source, group, split) and return its SHA-256.

    Pictures that could not be read are in it as ``LEFT_OUT``, because the catalogue has them too. Names that are not
    UTF-8 are written as on the disk. Raises OptionError if the file cannot be written.
    """
    parts = {**split, LEFT_OUT: left_out}
    rows = sorted(
        (name_of(picture, root), picture.label, picture.source, picture.group, part)
        for part, pictures in parts.items()
        for picture in pictures
    )
    data = csv_bytes(SPLIT_COLUMNS, (dict(zip(SPLIT_COLUMNS, row, strict=True)) for row in rows))
    replace_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def split_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a run's ``split.csv``. Raises CatalogError if it is none."""
    try:
        with path.open("rb") as opened:
            opened.readline().decode()  # a file's name may be any bytes, but columns are text
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
            reader = csv.DictReader(opened)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path}: cannot be read as a run's split.csv ({error}); give the right one") from None
    missing = [name for name in ("file", "split") if name not in columns]
    if missing:
        raise CatalogError(f"{path}: column {missing[0]!r} is missing, it is not a run's split.csv; give the right one")
    return rows


def read_split(catalog: Catalog, path: Path) -> Split:
    """Return the split of a run, as pictures of the catalogue; pictures it could not read are in no part.

    Raises CatalogError if the catalogue has a picture that the run does not know, or the file is damaged.
    """
    parts = {row["file"]: row["split"] for row in split_rows(path)}
    split: Split = {name: [] for name in SPLITS}
    for picture in catalog.pictures:
        name = name_of(picture, catalog.root)
        if name not in parts:
            raise CatalogError(
                f"{path}: picture {name!r} is not in this run's split; the pictures changed, train again"
            )
        if parts[name] == LEFT_OUT:
            continue
        if parts[name] not in SPLITS:
            raise CatalogError(f"{path}: {name!r} is in part {parts[name]!r}; parts are {', '.join(SPLITS)}")
        split[parts[name]].append(picture)
    return split
