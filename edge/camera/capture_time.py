"""When a picture was taken, by the clock of the camera that wrote it (Exif 2.32, DateTimeOriginal)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile

from edge.jpeg import APP1, EOI, SOS, jpeg_or_none, segments

_EXIF_IFD, _TAKEN, _OFFSET = 0x8769, 0x9003, 0x9011  # tags: where the Exif part lies, DateTimeOriginal, its time zone
_ASCII = 2
_MOST_ENTRIES = 512  # of one directory; more is damage


def capture_time(data: bytes) -> datetime | None:
    """DateTimeOriginal of a JPEG's bytes, in UTC; None where it has none or it makes no sense.

    Cameras seldom say their time zone; without one it is taken as this machine's.
    """
    try:
        block = _exif(data)
        found = dict(_ascii(block, _tags(block))) if block else {}
        match = re.match(rb"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", found.get(_TAKEN, b""))
        if not match:
            return None
        taken = datetime(*map(int, match.groups()))  # type: ignore[arg-type]
        zone = re.match(rb"[+-]\d\d:\d\d", found.get(_OFFSET, b""))
        if zone:
            taken = datetime.fromisoformat(taken.isoformat() + zone[0].decode())
        return taken.astimezone(UTC)
    except (struct.error, ValueError, OverflowError, OSError):
        return None


def _exif(data: bytes) -> bytes | None:
    """The TIFF block of a JPEG's Exif segment, which lies before the picture."""
    if jpeg_or_none(data):
        for segment in takewhile(lambda each: each.kind not in {SOS, EOI}, segments(data)):
            if segment.kind == APP1 and data.startswith(b"Exif\0\0", segment.body + 2):
                return data[segment.body + 8 : segment.end]
    return None


def _tags(block: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Entries of the first directory, then of the Exif directory: tag, type, count, where the value lies."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return
    ahead = [struct.unpack_from(order + "L", block, 4)[0]]
    seen: set[int] = set()
    while ahead and (at := ahead.pop()) not in seen:
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", block, at)
        for number in range(min(count, _MOST_ENTRIES)):
            tag, kind, length, value = struct.unpack_from(order + "HHLL", block, at + 2 + 12 * number)
            if tag == _EXIF_IFD:
                ahead.append(value)
            yield tag, kind, length, value


def _ascii(block: bytes, tags: Iterator[tuple[int, int, int, int]]) -> Iterator[tuple[int, bytes]]:
    """The texts that matter; both are longer than the four bytes that lie in the entry itself."""
    for tag, kind, length, value in tags:
        if tag in {_TAKEN, _OFFSET} and kind == _ASCII and 4 < length < 64:
            yield tag, block[value : value + length]
