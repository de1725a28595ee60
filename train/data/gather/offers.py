"""Offers of pictures by a source, each with its address and its facts; and the counts of an import."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from edge.errors import BearAlarmError, MissingExtraError
from edge.installing import extra
from edge.schema import BoxXYWH
from train.data.licences import NOT_STATED
from train.data.table import plain_text


def need(module: str) -> Any:
    """Import a module of the ``gather`` extra. Raises MissingExtraError with the pip line if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        part = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"`bear-alarm gather` needs {part}, which is not part of the device's install; run: {extra('gather')}"
        ) from None


TRAIL_CAMERA = "trail camera"  # in notes
LONGEST_NAME = 80  # characters of a file's stem: some file systems take 143 bytes

_PHOTO = re.compile(r"inaturalist[^/]*(?:/[^/]*)?/photos/(\d+)/")


T = TypeVar("T")


@dataclass(frozen=True)
class Failed:
    """The reason why a picture could not be fetched. ``for_good``: another try would give the same."""

    kind: str
    words: str
    for_good: bool = False


@dataclass(frozen=True)
class Offer:
    """One picture that a source offers. Exactly one of ``url``, ``file``, ``data`` and ``failed`` is given.

    Texts are made ``plain_text`` here, as the table has them; an address stays as it is.
    """

    label: str
    source: str  # kept together by a split first: a service, a camera, a card
    group: str  # kept together inside a source: an observer's day, a burst, a place; "" if not known
    name: str  # of its file in the dataset, without suffix; made safe by ``safe_name``
    url: str = ""
    file: Path | None = None
    data: Callable[[], bytes] | None = None
    failed: Failed | None = None  # the reason why a record of the source offers none
    known_by: str = ""  # its identity if it has no address
    page: str = ""
    author: str = ""
    licence: str = NOT_STATED
    licence_url: str = ""
    taken_at: str = ""  # ISO 8601
    place: str = ""  # "latitude, longitude" or words, if public
    note: str = ""
    boxes: tuple[tuple[str, BoxXYWH], ...] = ()  # name and box of each animal, as fractions
    boxes_px: tuple[tuple[str, BoxXYWH], ...] = ()  # the same in pixels, if the source does not give the picture's size
    trail_camera: bool = False  # whole frames: a place, with animals at any distance
    fixed_camera: bool = False  # its pictures look alike without being copies

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) and each.name != "url":
                object.__setattr__(self, each.name, plain_text(value))

    @property
    def full_note(self) -> str:
        """Return the note for the table: what is on the picture, and "trail camera" if one took it."""
        return "; ".join(filter(None, (self.note, TRAIL_CAMERA if self.trail_camera else "")))

    @property
    def key(self) -> str:
        """Return its identity in the table: the same for every size of it and every source."""
        return plain_text(photo_key(self.url)) if self.url else self.known_by

    @property
    def address(self) -> str:
        """Return its address, its path, or another identity."""
        return self.url or (str(self.file.absolute()) if self.file else self.known_by)


def parsed(records: Iterable[T], read: Callable[[T], Iterable[Offer]], source: str) -> Iterator[Offer]:
    """Yield the offers that ``read`` makes of each record of a source's answer.

    The rest of a record that is not as documented is skipped: it is offered as ``failed``, and counted.
    """
    for record in records:
        try:
            yield from read(record)
        except BearAlarmError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            words = f"{source}: {type(error).__name__}: {str(error)[:80]} in {str(record)[:120]}"
            yield Offer("", source, "", "", failed=Failed("not understood", plain_text(words)))


def photo_key(url: str) -> str:
    """Return an address; for iNaturalist, which offers several sizes, the photograph's number."""
    photo = _PHOTO.search(url)
    return f"inaturalist.org/photos/{photo[1]}" if photo else url


def safe_name(words: str) -> str:
    """Make a file's stem of any words: letters, digits, dots and dashes, at most ``LONGEST_NAME`` of them.

    A digest keeps words apart that differ only in other characters.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-._")
    if plain == words and 0 < len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9].rstrip('-._') or 'picture'}-{digest}"


def name_in(url: str) -> str:
    """Return the file's name at the end of an address, without suffix; "" if it is no address."""
    try:
        return Path(unquote(urlsplit(url).path)).stem
    except ValueError:  # "http://[photo]/1.jpg"; the download reports it
        return ""


def host_in(url: str) -> str:
    """Return the host of an address; "" if it is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


NEW, THERE, BETTER, LABELLED = "new", "already there", "better copies", "labelled"
DUPLICATE, OTHER_LABEL = "duplicates", "duplicates of pictures with another label"
IN_THE_TABLE = (NEW, THERE, BETTER, LABELLED)  # every other kind is skipped
LEFT_OUT_FOLDER = "left-out"  # files that a better copy replaced


@dataclass
class ImportCounts:
    """Counts of offered pictures by outcome, with an example each."""

    by_kind: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, words: str = "") -> None:
        """Count one picture."""
        self.by_kind[kind] += 1
        if words:
            self.examples.setdefault(kind, words)

    def lines(self, out: Path, total: int) -> list[str]:
        """Return the lines to print at the end."""
        there = f", {self.by_kind[THERE]} were in it already" if self.by_kind[THERE] else ""
        new = f"{self.by_kind[NEW]} new picture{'' if self.by_kind[NEW] == 1 else 's'}"
        lines = [f"{new} in {out}, which now has {total}{there}."]
        if self.by_kind[BETTER]:
            lines.append(
                f"{self.by_kind[BETTER]} are better copies of pictures in it (by licence or size); "
                f"the replaced files are in {out / LEFT_OUT_FOLDER}."
            )
        if self.by_kind[LABELLED]:
            lines.append(f"{self.by_kind[LABELLED]} unsorted pictures have a label now.")
        out_of = {kind: n for kind, n in self.by_kind.most_common() if kind not in IN_THE_TABLE}
        if out_of:
            lines.append("Skipped: " + ", ".join(f"{n} {kind}" for kind, n in out_of.items()) + ".")
            lines += [f"  {kind}: {self.examples[kind]}" for kind in out_of if kind in self.examples]
        return lines
