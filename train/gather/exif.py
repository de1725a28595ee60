"""Exif of every format that Pillow reads, also of other programs; ``edge.pictures`` reads only what cameras write."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from edge.pictures import EXIF_IFD, WANTED, Exif, exif_of, moment, words
from train.gather.extra import need

DATE_TIME = 0x0132  # when the file was last changed; many programs write no other time


def read_exif(data: bytes) -> Exif:
    """The picture's Exif; empty where there is none or it is damaged."""
    pil = need("PIL.Image")
    try:
        with pil.open(io.BytesIO(data)) as opened:
            found = opened.getexif()
            entries = (*found.items(), *found.get_ifd(EXIF_IFD).items())
    except Exception:  # Pillow's readers raise whatever damaged data leads to
        return Exif()
    texts = {tag: _text(value) for tag, value in entries if tag in WANTED or tag == DATE_TIME}
    exif = exif_of(texts)
    return exif if exif.taken else replace(exif, taken=moment(texts.get(DATE_TIME, "")))


def _text(value: Any) -> str:
    return words(
        value if isinstance(value, bytes) else str(value or "").encode("latin-1", "replace")
    )  # as Pillow reads
