"""The segments of a JPEG's bytes (ITU-T T.81, annex B), walked: an Exif thumbnail has markers of its own inside one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

SOI, EOI, SOS, APP1, TEM = 0xD8, 0xD9, 0xDA, 0xE1, 0x01  # start, end, start of scan, where Exif lies, "temporary"
SOF = frozenset({0xC0, 0xC1, 0xC2})  # start of frame: baseline, extended, progressive

# A marker that is not a stuffed FF 00, a restart FF D0-D7 or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Segment(NamedTuple):
    """One segment: what kind, and where it lies in the bytes; ``end`` may lie beyond what has come so far."""

    kind: int  # its marker's second byte
    start: int  # of its marker
    body: int  # behind its marker: two bytes of length, then what it holds
    end: int  # where the walk goes on


def segments(data: bytes | bytearray, at: int = 2) -> Iterator[Segment]:
    """The segments from ``at`` on (2: behind the start marker), as far as the bytes go; picture data is passed by."""
    while marker := _MARKER.search(data, at):
        start, body = marker.span()
        kind = data[body - 1]
        length = 0 if kind in {TEM, SOI, EOI} else max(2, int.from_bytes(data[body : body + 2], "big"))
        at = body + length
        yield Segment(kind, start, body, at)


def jpeg_is_whole(data: bytes) -> bool:
    """Whether a JPEG runs to its end marker; OpenCV fills what is missing with grey and only warns."""
    return any(segment.kind == EOI for segment in segments(data))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels from the first bytes of a JPEG, before its Exif turns it; None: not there."""
    for kind, _, body, _ in segments(data):
        if kind in SOF and len(data) >= body + 7:
            return int.from_bytes(data[body + 5 : body + 7], "big"), int.from_bytes(data[body + 3 : body + 5], "big")
    return None


def jpeg_or_none(data: bytes) -> bytes | None:
    """The bytes themselves where they are a JPEG's, else None."""
    return data if data.startswith(b"\xff\xd8") else None
