"""What a source offers: one picture, where it can be had, and what is known of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge.schema import BoxXYWH
from train.catalog.licences import NOT_STATED

LONGEST_NAME = 80  # characters of a file's stem: some file systems take 143 bytes

_PHOTO = re.compile(r"inaturalist[^/]*(?:/[^/]*)?/photos/(\d+)/")


@dataclass(frozen=True)
class Found:
    """One picture that a source offers. Exactly one of ``url``, ``file`` and ``data`` says where its bytes are."""

    label: str
    source: str  # what a split keeps together first: a service, a camera, a card
    group: str  # and inside it: an observer's day, a burst, a place; "" when not known
    name: str  # of its file in the dataset, without suffix; made safe by ``safe_name``
    url: str = ""
    file: Path | None = None
    data: Callable[[], bytes] | None = None
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
    fixed_camera: bool = False  # its pictures look alike without being copies of each other

    @property
    def key(self) -> str:
        """What it is known by in the table, whichever size of it was fetched and from whom it was heard."""
        return photo_key(self.url) if self.url else self.known_by


def photo_key(url: str) -> str:
    """An address, or of a photograph at iNaturalist its number: GBIF and iNaturalist offer it in several sizes."""
    photo = _PHOTO.search(url)
    return f"inaturalist.org/photos/{photo[1]}" if photo else url


def safe_name(words: str, fallback: str = "picture") -> str:
    """A file's stem from any words: letters, digits, dots and dashes, no longer than ``LONGEST_NAME``.

    Two words that differ only in what was left out get different stems.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-._")
    if plain == words and 0 < len(plain) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9].rstrip('-._') or fallback}-{digest}"


def name_in(url: str) -> str:
    """The file's name at the end of an address, without its suffix."""
    return Path(unquote(urlsplit(url).path)).stem
