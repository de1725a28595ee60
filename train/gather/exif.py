"""What a camera wrote into its picture: when, and which camera (Exif 2.32, CIPA DC-008)."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from train.gather.extra import need

MAKE, MODEL, DATE_TIME, EXIF_IFD = 0x010F, 0x0110, 0x0132, 0x8769
TAKEN, TAKEN_OFFSET, SERIAL = 0x9003, 0x9011, 0xA431


@dataclass(frozen=True)
class Exif:
    """Time and camera of one picture, as far as they are told."""

    taken: datetime | None = None  # the camera's own clock, without an offset
    offset: str = ""  # "+02:00" where the camera says
    make: str = ""
    model: str = ""
    serial: str = ""

    @property
    def taken_at(self) -> str:
        """ISO 8601 with the offset the camera told; "" when not known."""
        return self.taken.isoformat(timespec="seconds") + self.offset if self.taken else ""

    @property
    def camera(self) -> str:
        """``RECONYX HYPERFIRE 2 H2X1234``; "" when not told."""
        model = self.model if self.model.lower().startswith(self.make.lower()) else f"{self.make} {self.model}"
        return " ".join(f"{model} {self.serial}".split())


def read_exif(data: bytes) -> Exif:
    """The picture's Exif; empty where there is none or it is damaged."""
    pil = need("PIL.Image")
    try:
        with pil.open(io.BytesIO(data)) as opened:
            found = opened.getexif()
            inner = found.get_ifd(EXIF_IFD)
    except Exception:  # Pillow's readers raise whatever damaged data leads to
        return Exif()
    offset = _words(inner.get(TAKEN_OFFSET))
    return Exif(
        taken=_moment(inner.get(TAKEN)) or _moment(found.get(DATE_TIME)),
        offset=offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "",
        make=_words(found.get(MAKE)),
        model=_words(found.get(MODEL)),
        serial=_words(inner.get(SERIAL)),
    )


def _words(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return " ".join(str(value or "").replace("\0", " ").split())


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.strptime(_words(value), "%Y:%m:%d %H:%M:%S")
    except ValueError:  # "0000:00:00 00:00:00" of a clock that was never set
        return None
