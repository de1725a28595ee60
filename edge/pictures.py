"""Reading still pictures: truncated and damaged ones are noticed, whatever comes out is upright BGR of 8 bits."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import cv2
import numpy as np

from edge.errors import PictureError
from edge.jpeg import jpeg_is_whole, jpeg_or_none
from edge.schema import Picture

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def find_pictures(paths: Iterable[Path], suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Every picture among files and folders (folders through and through), sorted; a file named is taken as it is.

    Hidden files are left out: a Mac leaves ``._IMG_0001.JPG`` on cards. Raises PictureError when a path
    does not exist or a folder holds no file with one of the ``suffixes``.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise PictureError(f"{path}: no such picture or folder")
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()
        )
        if not inside:
            raise PictureError(f"{path}: this folder is empty of pictures ({', '.join(sorted(suffixes))})")
        found.update(dict.fromkeys(inside))
    return list(found)


def read_picture(path: Path | str) -> Picture:
    """The picture in a file, uint8 (H, W, 3) BGR, upright by its EXIF orientation.

    Raises PictureError when the file is missing, empty, truncated or not a picture.
    """
    return decode_picture(picture_bytes(path), path)


def picture_bytes(path: Path | str) -> bytes:
    """What a picture's file holds. Raises PictureError when it is missing or cannot be read."""
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
