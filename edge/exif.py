"""Read the time and the camera from a picture's Exif data (Exif 2.32, CIPA DC-008)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from edge.jpeg import APP1, EOI, SOS, jpeg_or_none, segments

_MAKE, _MODEL, EXIF_IFD = 0x010F, 0x0110, 0x8769  # the last one: where the Exif directory lies
_TAKEN, _OFFSET, _SERIAL = 0x9003, 0x9011, 0xA431  # DateTimeOriginal, its time zone, BodySerialNumber
WANTED = frozenset({_MAKE, _MODEL, _TAKEN, _OFFSET, _SERIAL})
_ASCII = 2
_LONGEST_TEXT = 128  # bytes; more is damage
_MOST_ENTRIES = 512  # of one directory; more is damage


@dataclass(frozen=True, slots=True)
class Exif:
    """Time and camera of one picture, as far as the camera wrote them."""

    taken: datetime | None = None  # by the camera's own clock, without a time zone
    offset: str = ""  # "+02:00" where the camera writes its time zone
    make: str = ""
    model: str = ""
    serial: str = ""

    @property
    def taken_at(self) -> str:
        """ISO 8601, with the time zone where the camera writes it; "" when not known."""
        return self.taken.isoformat(timespec="seconds") + self.offset if self.taken else ""

    @property
    def camera(self) -> str:
        """``RECONYX HYPERFIRE 2 H2X1234``; "" when the picture does not say."""
        model = self.model if self.model.lower().startswith(self.make.lower()) else f"{self.make} {self.model}"
        return " ".join(f"{model} {self.serial}".split())


def read_exif(data: bytes) -> Exif:
    """Read the Exif of a JPEG's bytes; empty where there is none or it is damaged."""
    found: dict[int, str] = {}
    try:
        if block := _exif(data):
            for tag, text in _texts(block):
                found.setdefault(tag, text)
    except struct.error:  # what was read before the damage counts
        pass
    return exif_of(found)


def exif_of(found: Mapping[int, str]) -> Exif:
    """Time and camera from the texts of an Exif by tag."""
    offset = found.get(_OFFSET, "")
    return Exif(
        taken=moment(found.get(_TAKEN, "")),
        offset=offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "",
        make=found.get(_MAKE, ""),
        model=found.get(_MODEL, ""),
        serial=found.get(_SERIAL, ""),
    )


def capture_time(data: bytes) -> datetime | None:
    """DateTimeOriginal of a JPEG's bytes, in UTC; None where it has none or it makes no sense.

    Cameras seldom say their time zone; without one it is taken as this machine's.
    """
    exif = read_exif(data)
    if exif.taken is None:
        return None
    try:
        return datetime.fromisoformat(exif.taken_at).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _exif(data: bytes) -> bytes | None:
    """The TIFF block of a JPEG's Exif segment, which lies before the picture."""
    if jpeg_or_none(data):
        for segment in takewhile(lambda each: each.kind not in {SOS, EOI}, segments(data)):
            if segment.kind == APP1 and data.startswith(b"Exif\0\0", segment.body + 2):
                return data[segment.body + 8 : segment.end]
    return None


def _texts(block: bytes) -> Iterator[tuple[int, str]]:
    """The texts that matter of the first directory, then of the Exif directory: tag and printable words."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return
    ahead = [struct.unpack_from(order + "L", block, 4)[0]]
    seen: set[int] = set()
    while ahead and (at := ahead.pop()) not in seen:
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", block, at)
        for number in range(min(count, _MOST_ENTRIES)):
            entry = at + 2 + 12 * number
            tag, kind, length, value = struct.unpack_from(order + "HHLL", block, entry)
            if tag == EXIF_IFD:
                ahead.append(value)
            elif tag in WANTED and kind == _ASCII and length <= _LONGEST_TEXT:
                begin = entry + 8 if length <= 4 else value  # a text of up to four bytes lies in the entry itself
                yield tag, words(block[begin : begin + length])


def words(text: bytes) -> str:
    """An Exif text up to its end, on one line, without what could steer a terminal."""
    signs = text.partition(b"\0")[0].decode("utf-8", "replace")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in signs).split())


def moment(text: str) -> datetime | None:
    """An Exif time; None for "0000:00:00 00:00:00" of a clock that was never set, and for nonsense."""
    match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", text, re.ASCII)
    try:
        return datetime(*map(int, match.groups())) if match else None  # type: ignore[arg-type]
    except ValueError:
        return None
