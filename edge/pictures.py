"""Reading still pictures: truncated and damaged ones are noticed, whatever comes out is upright BGR of 8 bits."""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge.errors import PictureError, one_line
from edge.schema import LazyImage, Luma, Picture

log = logging.getLogger(__name__)

# The segments of a JPEG's bytes (ITU-T T.81, annex B), walked: an Exif thumbnail has markers of its own inside one.


SOI, EOI, SOS, APP1, TEM = 0xD8, 0xD9, 0xDA, 0xE1, 0x01  # start, end, start of scan, where Exif lies, "temporary"
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, of any coding (table B.1)

# A marker that is not a stuffed FF 00, a restart FF D0-D7 or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Segment(NamedTuple):
    """One segment: what kind, and where it lies in the bytes; ``end`` may lie beyond what has come so far."""

    kind: int  # its marker's second byte
    start: int  # of its marker
    body: int  # behind its marker: two bytes of length, then what it holds
    end: int  # where the walk goes on


def segments(data: bytes | bytearray, at: int = 2) -> Iterator[Segment]:
    """Yield the segments from ``at`` on (2: behind the start marker); skip the picture data."""
    while marker := _MARKER.search(data, at):
        start, body = marker.span()
        kind = data[body - 1]
        length = 0 if kind in {TEM, SOI, EOI} else max(2, int.from_bytes(data[body : body + 2], "big"))
        at = body + length
        yield Segment(kind, start, body, at)


def jpeg_is_whole(data: bytes) -> bool:
    """Return True if a JPEG runs to its end marker; OpenCV fills what is missing with grey and only warns."""
    return any(segment.kind == EOI for segment in segments(data))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels from the first bytes of a JPEG, before its Exif turns it; None: not there."""
    for kind, _, body, _ in segments(data):
        if kind in SOF and len(data) >= body + 7:
            return int.from_bytes(data[body + 5 : body + 7], "big"), int.from_bytes(data[body + 3 : body + 5], "big")
    return None


def jpeg_or_none(data: bytes) -> bytes | None:
    """Return the bytes themselves where they are a JPEG's, else None."""
    return data if data.startswith(b"\xff\xd8") else None


MAX_PIXELS = 50_000_000  # of a camera's JPEG: a header may claim gigabytes

# What motion looks at, decoded apart: a camera's JPEG shrunk while it is decoded (libjpeg), and never in full.

LUMA_PX = 320  # motion looks at no more
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)


def camera_jpeg(data: bytes) -> tuple[LazyImage, Luma] | None:
    """Return the picture of a camera's JPEG, for later, and its luma at 1/1 to 1/8; None where it is damaged.

    None too where its end is missing, or its header claims more than ``MAX_PIXELS``. Its Exif turns neither. JPEGs of
    cameras often come without Huffman tables; libjpeg then takes the usual ones (ITU-T T.81, annex K).
    """
    size_wh = _sound_size(data)
    luma = jpeg_luma(data, size_wh) if size_wh else None
    if size_wh is None or luma is None:
        return None
    return LazyImage(partial(jpeg_picture, data, luma, size_wh), size_wh), luma


def jpeg_luma(data: bytes, size_wh: tuple[int, int]) -> Luma | None:
    """Return a JPEG's brightness at 1/1 to 1/8, 320 wide or more if it has that (libjpeg), else None."""
    flag = next((flag for share, flag in _REDUCED if size_wh[0] >= share * LUMA_PX), cv2.IMREAD_GRAYSCALE)
    return _decoded(data, flag)


def jpeg_picture(data: bytes, luma: Luma, size_wh: tuple[int, int]) -> Picture:
    """Return a JPEG's picture (H, W, 3), or its brightness if its colours are damaged."""
    image = _decoded(data, cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != (size_wh[1], size_wh[0]):
        image = np.asarray(cv2.cvtColor(cv2.resize(luma, size_wh), cv2.COLOR_GRAY2BGR), np.uint8)
    return image


def jpeg_colours(data: bytes) -> Picture | None:
    """Return the picture (H, W, 3) of a camera's JPEG; None where it is damaged or too large, as ``camera_jpeg``."""
    return _decoded(data, cv2.IMREAD_COLOR) if _sound_size(data) else None


def _sound_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a whole JPEG of at most ``MAX_PIXELS``, else None."""
    size_wh = jpeg_size(data) if jpeg_or_none(data) else None
    if size_wh is None or size_wh[0] * size_wh[1] > MAX_PIXELS:
        return None
    # The last bytes are seen at once; the walk to them takes a twentieth of the decoding.
    return size_wh if data.endswith(b"\xff\xd9") or jpeg_is_whole(data) else None


def _decoded(data: bytes, flag: int) -> Picture | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def find_pictures(paths: Iterable[Path], suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Return every picture among files and folders and below, sorted; a file that is named is always taken.

    Hidden files are skipped: a Mac leaves ``._IMG_0001.JPG`` on cards. Raises PictureError when a path
    does not exist or a folder holds no file with one of the ``suffixes``.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise PictureError(f"{path}: no such picture or folder")
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(chain.from_iterable(folders_of_pictures(path, suffixes)))
        if not inside:
            raise PictureError(f"{path}: this folder is empty of pictures ({', '.join(sorted(suffixes))})")
        found.update(dict.fromkeys(inside))
    return list(found)


def folders_of_pictures(folder: Path, suffixes: Collection[str] = SUFFIXES) -> Iterator[list[Path]]:
    """Yield the pictures in a folder, then those in each below it, each time sorted by name; none may be in it.

    Hidden files, broken links and what is no file are skipped; of a folder that cannot be read a warning says so.
    """
    for top, folders, names in os.walk(folder, onerror=_warn):
        folders.sort()
        files = (Path(top, name) for name in sorted(names) if not name.startswith("."))
        yield [file for file in files if file.suffix.lower() in suffixes and file.is_file()]


def _warn(error: OSError) -> None:
    log.warning("skipped %s: it cannot be read (%s)", error.filename, error.strerror)


def read_picture(path: Path | str) -> Picture:
    """Return the picture in a file, uint8 (H, W, 3) BGR, upright by its EXIF orientation.

    Raises PictureError when the file is missing, empty, truncated or not a picture.
    """
    return decode_picture(picture_bytes(path), path)


def picture_bytes(path: Path | str) -> bytes:
    """Return what a picture's file holds. Raises PictureError when it is missing or cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: no such picture") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder, not a picture") from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or error})") from None


def decode_picture(data: bytes, name: object, flags: int = cv2.IMREAD_COLOR) -> Picture:
    """Decode a file's bytes; ``name`` only names it in the PictureError. ``flags``: OpenCV's, of a BGR one."""
    if not data:
        raise PictureError(f"{name}: the file is empty (0 bytes)")
    if jpeg_or_none(data) and not jpeg_is_whole(data):
        raise PictureError(f"{name}: truncated JPEG, its end is missing ({len(data)} bytes); copy it again")
    if data.startswith(b"\x89PNG") and b"IEND" not in data:
        raise PictureError(f"{name}: truncated PNG, its end is missing ({len(data)} bytes); copy it again")
    try:
        # IMREAD_COLOR turns by EXIF, makes grey and 16-bit pictures 8-bit BGR and drops alpha.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise PictureError(f"{name}: too little memory to read it; close other programs and try again") from None
        image = None
    if image is None:
        raise PictureError(f"{name}: not a picture this program can read, or damaged")
    return np.asarray(image, np.uint8)


# Read the time and the camera from a picture's Exif data (Exif 2.32, CIPA DC-008).


_MAKE, _MODEL, EXIF_IFD = 0x010F, 0x0110, 0x8769  # the last one: where the Exif directory lies
_ORIENTATION, _TURNED = 0x0112, {"5", "6", "7", "8"}  # by 90 or 270 degrees
_TAKEN, _OFFSET, _SERIAL = 0x9003, 0x9011, 0xA431  # DateTimeOriginal, its time zone, BodySerialNumber
WANTED = frozenset({_ORIENTATION, _MAKE, _MODEL, _TAKEN, _OFFSET, _SERIAL})
_ASCII, _SHORT = 2, 3
_LONGEST_TEXT = 128  # bytes; more is damage
_MAX_ENTRIES = 512  # of one directory; more is damage


@dataclass(frozen=True, slots=True)
class Exif:
    """Time and camera of one picture, as far as the camera wrote them."""

    taken: datetime | None = None  # by the camera's own clock, without a time zone
    offset: str = ""  # "+02:00" where the camera writes its time zone
    make: str = ""
    model: str = ""
    serial: str = ""
    turned: bool = False  # upright, the picture's width is its height in the file

    @property
    def taken_at(self) -> str:
        """ISO 8601, with the time zone where the camera writes it; "" when not known."""
        return self.taken.isoformat(timespec="seconds") + self.offset if self.taken else ""

    @property
    def camera(self) -> str:
        """``RECONYX HYPERFIRE 2 H2X1234``; "" when the picture has neither."""
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
        turned=found.get(_ORIENTATION) in _TURNED,
    )


def capture_time(data: bytes) -> datetime | None:
    """DateTimeOriginal of a JPEG's bytes, in UTC; None where it has none or it makes no sense.

    Cameras seldom write their time zone; without one it is taken as this machine's.
    """
    exif = read_exif(data)
    if exif.taken is None:
        return None
    try:
        return datetime.fromisoformat(exif.taken_at).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _exif(data: bytes) -> bytes | None:
    """Return the TIFF block of a JPEG's Exif segment, which lies before the picture."""
    if jpeg_or_none(data):
        for segment in takewhile(lambda each: each.kind not in {SOS, EOI}, segments(data)):
            if segment.kind == APP1 and data.startswith(b"Exif\0\0", segment.body + 2):
                return data[segment.body + 8 : segment.end]
    return None


def _texts(block: bytes) -> Iterator[tuple[int, str]]:
    """Yield the texts that matter of the first directory, then of the Exif directory: tag and printable words."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return
    ahead = [struct.unpack_from(order + "L", block, 4)[0]]
    seen: set[int] = set()
    while ahead and (at := ahead.pop()) not in seen:
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", block, at)
        for number in range(min(count, _MAX_ENTRIES)):
            entry = at + 2 + 12 * number
            tag, kind, length, value = struct.unpack_from(order + "HHLL", block, entry)
            if tag == EXIF_IFD:
                ahead.append(value)
            elif tag in WANTED and kind == _ASCII and length <= _LONGEST_TEXT:
                begin = entry + 8 if length <= 4 else value  # a text of up to four bytes lies in the entry itself
                yield tag, words(block[begin : begin + length])
            elif tag == _ORIENTATION and kind == _SHORT:
                yield tag, str(struct.unpack_from(order + "H", block, entry + 8)[0])


def words(text: bytes) -> str:
    """Return an Exif text up to its end, on one line, without what could steer a terminal."""
    return one_line(text.partition(b"\0")[0].decode("utf-8", "replace"))


def moment(text: str) -> datetime | None:
    """Return an Exif time; None for "0000:00:00 00:00:00" of a clock that was never set, and for nonsense."""
    match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", text, re.ASCII)
    try:
        return datetime(*map(int, match.groups())) if match else None  # type: ignore[arg-type]
    except ValueError:
        return None
