"""A picture of the table, the labels, and the catalogue of all pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CatalogError
from edge.schema import BoxXYWH

LABELS = ("brown_bear", "black_bear", "polar_bear", "teddy_bear", "no_bear")
ALARM_LABELS = ("brown_bear", "black_bear", "polar_bear")
BEAR_ANY = "bear_any"  # a bear of unknown species: trains by -log of the alarm labels' summed probability
TRAINING_LABELS = (*LABELS, BEAR_ANY)
IN_WORDS = ", ".join((*LABELS, "bear"))  # the labels as people write them
SPLITS = ("train", "tune", "test")
CAMERAS = ("camera trap", "surveillance")  # the values of ``condition`` that make a frame a trail camera's


@dataclass(frozen=True)
class Picture:
    """One row of the table."""

    file: Path
    label: str  # one of TRAINING_LABELS
    source: str  # repository, person or card the picture came from
    group: str  # camera, burst or drive inside the source; "" when not known
    licence: str = ""  # as in the table; "" without a table
    split: str = ""  # train, tune or test by the table, or ""
    grey_or_ir: bool = False
    note: str = ""
    condition: str = ""  # how it was taken, by the table: one of CAMERAS, "web", "video" …
    boxes: tuple[BoxXYWH, ...] = ()  # bears, fractions of the picture
    named: str = ""  # the label in the table, before aliases
    page: str = ""  # where the picture is described, with its author and licence
    author: str = ""
    licence_url: str = ""
    taken_at: str = ""  # ISO 8601; without an offset it is the camera's own time
    place: str = ""  # if public
    checks: str = ""  # what was checked when it was gathered

    @property
    def unit(self) -> str:
        """Return the smallest unit that a split keeps together: the group, or the source if there is none."""
        return f"{self.source}/{self.group}" if self.group else self.source

    @property
    def of_trail_camera(self) -> bool:
        """Return True for a frame of a trail or surveillance camera, by the table."""
        return self.condition in CAMERAS


@dataclass(frozen=True)
class Catalog:
    """All pictures, their folder, and a digest of the table."""

    root: Path
    pictures: tuple[Picture, ...]
    digest: str = ""
    left_out: tuple[Picture, ...] = ()  # pictures of the table that cannot be decoded (``train.learn.examples``)
    manifest: str = ""  # the table's file name in ``root``; "" for folders
    called: str = ""  # the source of pictures that name none

    def count(self, by: str) -> dict[str, int]:
        """Count the pictures for each value of a field: ``label``, ``source``, ``licence`` …"""
        return dict(Counter(str(getattr(picture, by)) for picture in self.pictures).most_common())


def called(label: str) -> str:
    """Return a label as people write it: "bear" for a bear of unknown species."""
    return "bear" if label == BEAR_ANY else label


def is_bear(label: str) -> bool:
    """Return True if a label raises an alarm."""
    return label in ALARM_LABELS or label == BEAR_ANY


def check_trainable(catalog: Catalog) -> None:
    """Check that there are bears and others, and at least two pictures of each label. Raises CatalogError."""
    counts = catalog.count("label")
    for label, count in counts.items():
        if count < 2:
            raise CatalogError(
                f"{catalog.root}: label {called(label)!r} has one picture; "
                "training needs at least two, better fifty, of each"
            )
    labels = ", ".join(called(label) for label in sorted(counts))
    if not any(is_bear(label) for label in counts):
        raise CatalogError(f"{catalog.root}: no bears among the labels {labels}; add e.g. brown_bear pictures")
    if all(is_bear(label) for label in counts):
        raise CatalogError(f"{catalog.root}: only bears (labels {labels}); add pictures without bears as no_bear")


def name_inside(file: Path, root: Path) -> str | None:
    """Return a file's name relative to a folder; None if it is elsewhere."""
    for path, folder in ((file, root), (file.resolve(), root.resolve())):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return None


def table_digest(pictures: Iterable[Picture], root: Path) -> str:
    """Return the SHA-256 of files, labels, sources, groups, boxes and sizes; it does not depend on the folder."""
    lines = [
        repr(
            (
                name_inside(picture.file, root) or picture.file.name,
                picture.label,
                picture.source,
                picture.group,
                picture.boxes,
                picture.file.stat().st_size,
            )
        )
        for picture in pictures
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
