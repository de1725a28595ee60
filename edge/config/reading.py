"""A config's text, from the disk: what is no text, or far too much of it, is said in a sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge.config.composing import Place, Unreadable, place_after

LARGEST = 1_000_000  # bytes
NOWHERE = Place(0, 0)
BOM = "\ufeff"
WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins


def read_text(path: Path) -> str:
    """The text of a file. Raises Unreadable, in one sentence."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            if str(path) == os.devnull:
                return ""
            raise Unreadable(NOWHERE, "a folder, not a file" if path.is_dir() else "no ordinary file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise Unreadable(NOWHERE, "no such file") from None
    except (OSError, ValueError) as error:  # a zero byte in the path
        why = (error.strerror if isinstance(error, OSError) else None) or "no path"
        raise Unreadable(NOWHERE, f"it cannot be read ({why})") from None
    return decoded(data)


def decoded(data: bytes) -> str:
    """UTF-8 bytes as text. Raises Unreadable."""
    if len(data) > LARGEST:
        raise Unreadable(NOWHERE, f"larger than {LARGEST // 1_000_000} MB; this is no config")
    if data.startswith(WIDE):
        raise Unreadable(NOWHERE, "it is in UTF-16; save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = place_after(data[: error.start].decode(errors="replace"))
        byte = data[error.start]
        raise Unreadable(place, f"byte 0x{byte:02x} is no UTF-8 text; save the file as UTF-8") from None
    return text.removeprefix(BOM)
