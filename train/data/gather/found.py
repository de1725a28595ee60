"""Offer of a source: one picture, its address, and what is known of it."""

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

# What only gathering needs is imported where it is used; where it is missing, one sentence says what to install.


def need(module: str) -> Any:
    """Return the module, imported now. Raises MissingExtraError with the pip line where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        part = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"`bear-alarm gather` needs {part}, which a device goes without; run: {extra('gather')}"
        ) from None


TRAIL_CAMERA = "trail camera"  # in notes
LONGEST_NAME = 80  # characters of a file's stem: some file systems take 143 bytes

_PHOTO = re.compile(r"inaturalist[^/]*(?:/[^/]*)?/photos/(\d+)/")


T = TypeVar("T")


@dataclass(frozen=True)
class Failed:
    """Why a picture could not be had. ``for_good``: another try would bring the same."""

    kind: str
    words: str
    for_good: bool = False


@dataclass(frozen=True)
class Found:
    """One picture that a source offers. Exactly one of ``url``, ``file``, ``data`` and ``failed`` is given.

    Its words are made ``plain_text`` here, so that they compare with what the table holds; an address stays as it is.
    """

    label: str
    source: str  # what a split keeps together first: a service, a camera, a card
    group: str  # and inside it: an observer's day, a burst, a place; "" when not known
    name: str  # of its file in the dataset, without suffix; made safe by ``safe_name``
    url: str = ""
    file: Path | None = None
    data: Callable[[], bytes] | None = None
    failed: Failed | None = None  # why a record of the source offers none
    known_by: str = ""  # what it is known by where it has no address
    page: str = ""
    author: str = ""
    licence: str = NOT_STATED
    licence_url: str = ""
    taken_at: str = ""  # ISO 8601
    place: str = ""  # "latitude, longitude" or words, where it is open
    note: str = ""
    boxes: tuple[tuple[str, BoxXYWH], ...] = ()  # what is in it, and where, as fractions
    boxes_px: tuple[tuple[str, BoxXYWH], ...] = ()  # the same in pixels of the picture, where its size was not told
    trail_camera: bool = False  # its pictures show a place, and animals as far away as they come
    fixed_camera: bool = False  # its pictures look alike without being copies of each other

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) and each.name != "url":
                object.__setattr__(self, each.name, plain_text(value))

    @property
    def noted(self) -> str:
        """Return the note for the table: what is on the picture, then that a trail camera took it."""
        return "; ".join(filter(None, (self.note, TRAIL_CAMERA if self.trail_camera else "")))

    @property
    def key(self) -> str:
        """Return what it is known by in the table, whichever size of it was fetched and from whom it was heard."""
        return plain_text(photo_key(self.url)) if self.url else self.known_by

    @property
    def address(self) -> str:
        """Return where it was looked for: its address, its path, or what else it is known by."""
        return self.url or (str(self.file.absolute()) if self.file else self.known_by)


def understood(records: Iterable[T], read: Callable[[T], Iterable[Found]], source: str) -> Iterator[Found]:
    """Yield what ``read`` makes of each record that a source answered with.

    Of a record that is not as the source documents it the rest is left out: it is offered as ``failed``, and counted.
    """
    for record in records:
        try:
            yield from read(record)
        except BearAlarmError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            words = f"{source}: {type(error).__name__}: {str(error)[:80]} in {str(record)[:120]}"
            yield Found("", source, "", "", failed=Failed("not understood", plain_text(words)))


def photo_key(url: str) -> str:
    """Return an address, or a photograph's number at iNaturalist: it is offered in several sizes."""
    photo = _PHOTO.search(url)
    return f"inaturalist.org/photos/{photo[1]}" if photo else url


def safe_name(words: str, fallback: str = "picture") -> str:
    """Return a file's stem from any words: letters, digits, dots and dashes, no longer than ``LONGEST_NAME``.

    Two words that differ only in what was left out get different stems.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-._")
    if plain == words and 0 < len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9].rstrip('-._') or fallback}-{digest}"


def name_in(url: str) -> str:
    """Return the file's name at the end of an address, without its suffix; "" of what is no address."""
    try:
        return Path(unquote(urlsplit(url).path)).stem
    except ValueError:  # "http://[photo]/1.jpg"; fetching it says so
        return ""


def host_in(url: str) -> str:
    """Return the host of an address; "" of what is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


# What became of the pictures that were offered, by kind, and the lines that say so.


NEW, THERE, BETTER, LABELLED = "new", "already there", "better copies", "labelled"
DUPLICATE, OTHER_LABEL = "duplicates", "duplicates of pictures with another label"
IN_THE_TABLE = (NEW, THERE, BETTER, LABELLED)  # every other kind is left out
LEFT_OUT_FOLDER = "left-out"  # pictures that a better copy replaced


@dataclass
class Tally:
    """Counts of the pictures that were offered, by outcome, and a few words on some."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, words: str = "") -> None:
        """Count one more of a kind."""
        self.counts[kind] += 1
        if words:
            self.examples.setdefault(kind, words)

    @property
    def kept(self) -> int:
        """Return how many came in, better copies of what was there included."""
        return self.counts[NEW] + self.counts[BETTER]

    def lines(self, out: Path, total: int) -> list[str]:
        """Return what to say at the end."""
        there = f", {self.counts[THERE]} were there already" if self.counts[THERE] else ""
        new = f"{self.counts[NEW]} new picture{'' if self.counts[NEW] == 1 else 's'}"
        lines = [f"{new} in {out}, which now has {total}{there}."]
        if self.counts[BETTER]:
            lines.append(
                f"{self.counts[BETTER]} are better copies of pictures that were there (by licence or size); "
                f"files that gave way lie in {out / LEFT_OUT_FOLDER}."
            )
        if self.counts[LABELLED]:
            lines.append(f"{self.counts[LABELLED]} that were there unsorted have a label now.")
        out_of = {kind: n for kind, n in self.counts.most_common() if kind not in IN_THE_TABLE}
        if out_of:
            lines.append("Left out: " + ", ".join(f"{n} {kind}" for kind, n in out_of.items()) + ".")
            lines += [f"  {kind}: {self.examples[kind]}" for kind in out_of if kind in self.examples]
        return lines
