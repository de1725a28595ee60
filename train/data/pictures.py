"""A picture of the table, the catalogue of all pictures, and labels by the names that people use."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from edge.errors import CatalogError, OptionError
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


UNSORTED = "unsorted"  # gathered pictures without a label yet: training skips them


def parse_labels(options: Iterable[str]) -> dict[str, str]:
    """Parse ``["dog=no_bear"]`` to ``{"dog": "no_bear"}``. Raises OptionError with one sentence."""
    aliases = {}
    for option in options:
        name, _, label = option.partition("=")
        label = BEAR_ANY if label == called(BEAR_ANY) else label
        if not name or label not in TRAINING_LABELS:
            raise OptionError(f"--label {option!r} is not NAME=LABEL with a label among {IN_WORDS}")
        aliases[plain_name(name)] = label
    return aliases


def plain_name(name: str) -> str:
    """Write a name as labels are written: "Polar Bear" -> "polar_bear"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def label_of(name: str, names: Mapping[str, str]) -> str | None:
    """Return the label of a name, such as a folder's, by ``names``; None if it has none."""
    label = names.get(plain_name(name), plain_name(name))
    return label if label in TRAINING_LABELS else None


# Names that people give their folders. A panda is no alarm.
ALIASES = {
    "bear": BEAR_ANY,
    "bears": BEAR_ANY,
    "brown": "brown_bear",
    "grizzly": "brown_bear",
    "grizzly_bear": "brown_bear",
    "black": "black_bear",
    "asiatic_black_bear": "black_bear",
    "polar": "polar_bear",
    "teddy": "teddy_bear",
    "teddys": "teddy_bear",
    "panda": "no_bear",
    "background": "no_bear",
    "empty": "no_bear",
    "nothing": "no_bear",
    "other": "no_bear",
}


def unknown_label(named: str) -> str:
    """Return the sentence about an unknown label: which was meant, or how to define it."""
    near = get_close_matches(plain_name(named), [*TRAINING_LABELS, *ALIASES], 1, 0.75)
    if near:
        return f"unknown label {named!r}; did you mean {near[0]}? Labels are {IN_WORDS}"
    return (
        f"unknown label {named!r}; labels are {IN_WORDS}. Say which one it is with "
        f"--label {shlex.quote(f'{named}=LABEL')}, such as no_bear for any other animal"
    )


def plain_label(words: str, more: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the label, and a note with the words if they are more exact than the label.

    ``grizzly`` → brown_bear, grizzly; ``dog=no_bear`` → no_bear, dog. Raises OptionError with one sentence.
    """
    name, _, label = words.partition("=")
    known = plain_name(name)
    label = plain_name(label) or (more or {}).get(known) or ALIASES.get(known, known)
    if label not in (*TRAINING_LABELS, UNSORTED):
        raise OptionError(unknown_label(words))
    return label, "" if known == label else name.strip()


def category_labels(options: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """Parse ``["ursus americanus=black_bear"]`` to ``{"ursus americanus": "black_bear"}``, for a set's categories.

    A category that is a label, or a known name of one, needs no ``=LABEL``. Raises OptionError.
    """
    there = list(categories)
    labels: dict[str, str] = {}
    for option in options:
        name = option.partition("=")[0].strip().lower()
        if name not in there:
            raise OptionError(f"--label {option!r}: the set has no category {name!r}; it has {', '.join(there[:30])}")
        labels[name] = plain_label(option)[0]
    return labels


def known_label(words: str) -> str:
    """Return the label of any known name: ``Bear`` is bear_any."""
    return ALIASES.get(plain_name(words), plain_name(words))


def words_of(note: str) -> str:
    """Return the words of a note before its first ``;``: they name the thing on the picture."""
    return note.partition(";")[0].strip()
