"""Check whether bytes are a still picture that can be trained on; refuse others by kind."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import av

from edge.errors import PictureError
from edge.pictures import decode_picture, jpeg_is_whole, jpeg_or_none
from edge.schema import Picture
from train.data.gather.offers import need

SMALLEST_PX = 64  # of the shorter side; below, a bear of 45 pixels hardly fits in
MAX_PIXELS = 100_000_000  # a panorama of this size takes 300 MB decoded
# Pillow's names of formats, and their suffix. MPO is a camera's JPEG with a preview in it.
FORMATS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
EMPTY, TOO_SMALL, TOO_LARGE = "empty", "too small", "too large"
TRUNCATED, CORRUPT, ANIMATED, WRONG_TYPE = "truncated", "corrupt", "animated", "not a picture"


class RefusedError(Exception):
    """A picture cannot be used: kind and reason. Caught inside this package."""

    def __init__(self, kind: str, words: str) -> None:
        self.kind, self.words = kind, words
        super().__init__(f"{kind}: {words}")


@dataclass(frozen=True)
class Checked:
    """A picture that can be trained on."""

    suffix: str
    size_wh: tuple[int, int]  # upright
    sha256: str
    image: Picture  # uint8 (H, W, 3) BGR

    @property
    def words(self) -> str:
        """Return the text for the table's column ``checks``."""
        return f"{self.size_wh[0]}x{self.size_wh[1]} {self.suffix[1:]} sha256={self.sha256}"


def check(data: bytes) -> Checked:
    """Return the picture in a file's bytes. Raises RefusedError, MissingExtraError without Pillow."""
    if not data:
        raise RefusedError(EMPTY, "0 bytes")
    suffix, (width, height) = _opened(data)
    if min(width, height) < SMALLEST_PX:
        raise RefusedError(TOO_SMALL, f"{width}x{height} pixels, and the shorter side must have {SMALLEST_PX}")
    if width * height > MAX_PIXELS:
        raise RefusedError(TOO_LARGE, f"{width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    _decoded(data)
    try:
        image = decode_picture(data, "it")  # as training reads it
    except PictureError as error:
        raise RefusedError(CORRUPT, str(error).removeprefix("it: ")) from None
    size_wh = image.shape[1], image.shape[0]
    return Checked(suffix, size_wh, hashlib.sha256(data).hexdigest(), image)


def _opened(data: bytes) -> tuple[str, tuple[int, int]]:
    """Return suffix and size from the file's head. Raises RefusedError."""
    pil = need("PIL.Image")
    try:
        with warnings.catch_warnings(action="ignore"), pil.open(io.BytesIO(data)) as opened:  # it warns of large ones
            kind, size, frames = opened.format or "", opened.size, int(getattr(opened, "n_frames", 1))
    except pil.DecompressionBombError:
        raise RefusedError(TOO_LARGE, f"more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception:  # Pillow's readers raise whatever a damaged head leads to
        if jpeg_or_none(data):
            kind = TRUNCATED if not jpeg_is_whole(data) else CORRUPT
            raise RefusedError(kind, f"a JPEG of {len(data)} bytes that cannot be opened") from None
        raise RefusedError(WRONG_TYPE, _looks_like(data)) from None
    if kind == "GIF" and frames == 1:
        raise RefusedError(WRONG_TYPE, "a GIF, which training does not read")
    if frames > 1 and kind != "MPO":
        raise RefusedError(ANIMATED, f"{frames} pictures in one {kind}")
    if kind not in FORMATS:
        raise RefusedError(WRONG_TYPE, f"{kind or 'a format'} that training does not read")
    return FORMATS[kind], (int(size[0]), int(size[1]))


def _decoded(data: bytes) -> None:
    """Check that it can be decoded to its last row (OpenCV fills gaps with grey). Raises RefusedError."""
    pil = need("PIL.Image")
    if jpeg_or_none(data) and not jpeg_is_whole(data):
        raise RefusedError(TRUNCATED, f"a JPEG of {len(data)} bytes without its end")
    if jpeg_or_none(data) and (why := _damaged_jpeg(data)):
        raise RefusedError(CORRUPT, f"its data is damaged ({why})")
    try:
        with pil.open(io.BytesIO(data)) as opened:
            opened.load()
    except Exception as error:  # whatever damaged data leads to, in Pillow or in its codecs
        kind = TRUNCATED if "truncated" in str(error).lower() else CORRUPT
        raise RefusedError(kind, f"its data cannot be decoded ({str(error)[:80] or type(error).__name__})") from None


def _damaged_jpeg(data: bytes) -> str:
    """Return the damage that FFmpeg finds in a JPEG (OpenCV and Pillow only warn); "" if none."""
    codec: Any = av.CodecContext.create("mjpeg", "r")
    codec.options = {"err_detect": "explode"}
    codec.thread_count = 1
    try:
        frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]
    except av.error.PatchWelcomeError:  # a kind of JPEG that FFmpeg does not know
        return ""
    except av.FFmpegError as error:
        return str(error.strerror or error)[:80]
    return "" if frames else "no picture in it"


def _looks_like(data: bytes) -> str:
    if b"<html" in data[:512].lower():
        return "a web page (HTML)"
    if data[4:8] == b"ftyp":
        return "a video, HEIC or AVIF, which training does not read"
    return f"{len(data)} bytes of no picture format"
