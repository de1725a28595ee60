"""Pictures and their brightness from the bytes of the Pi camera's program: I420, or JPEGs one after the other."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pictures import EOI, SOF, SOI, segments
from edge.schema import Luma, Picture

LUMA_PX = 320  # motion looks at no more

# OpenCV's I420 conversion takes brightness from 16 to 235 and colour from 16 to 240, the camera gives 0 to 255.
_LEVELS = np.arange(256)
_NARROW_Y = np.round(16 + _LEVELS * 219 / 255).astype(np.uint8)
_NARROW_UV = np.round(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)

_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)

Buffer = NDArray[np.uint8]

MAX_JPEG_BYTES = 16 << 20  # a picture of 50 megapixels has less
SIZE_BYTES = 7  # of a start of frame, to the end of its height and width


class JpegCutter:
    """Bytes in, whole JPEGs out, each with its width and height; never holds more than ``most`` bytes.

    Segments are walked, for a thumbnail carries an end marker of its own. What lies between two pictures, or
    belongs to one that was cut short, is dropped.
    """

    def __init__(self, most: int = MAX_JPEG_BYTES) -> None:
        self.most = most
        self._held = bytearray()
        self._at = 0  # where the walk continues; 0: no picture has begun
        self._size_wh = (0, 0)

    def __call__(self, data: bytes | memoryview) -> list[tuple[bytes, tuple[int, int]]]:
        """Return the pictures that these bytes complete."""
        self._held += data
        whole = []
        while (end := self._walk()) is not None:
            if self._size_wh != (0, 0):
                whole.append((bytes(self._held[:end]), self._size_wh))
            del self._held[:end]
            self._begin(0)
        if len(self._held) > self.most:
            self._held.clear()
            self._begin(0)
        return whole

    @property
    def held(self) -> int:
        """Bytes that wait for their end."""
        return len(self._held)

    def _begin(self, at: int) -> None:
        self._at, self._size_wh = at, (0, 0)

    def _walk(self) -> int | None:
        """Return where the picture that begins the held bytes ends; None when its end has not come."""
        held = self._held
        if self._at == 0:
            start = held.find(b"\xff\xd8\xff")
            if start < 0:
                del held[:-2]  # a start may be half here
                return None
            del held[:start]
            self._begin(2)
        while True:
            for segment in segments(held, self._at):
                if segment.kind == EOI:
                    return segment.end
                if segment.kind == SOI:  # the next picture begins: this one was cut short
                    del held[: segment.start]
                    self._begin(2)
                    break
                if segment.end > len(held) or (segment.kind in SOF and segment.body + SIZE_BYTES > len(held)):
                    self._at = segment.start
                    return None
                if segment.kind in SOF:
                    high, wide = held[segment.body + 3 : segment.body + 5], held[segment.body + 5 : segment.body + 7]
                    self._size_wh = int.from_bytes(wide, "big"), int.from_bytes(high, "big")
                self._at = segment.end
            else:
                # Only entropy-coded data is left; its last byte may be half a marker.
                self._at = max(self._at, len(held) - 1)
                return None


def i420_luma(data: Buffer, size_wh: tuple[int, int]) -> Luma:
    """Return the brightness (H, W) of an I420 picture: a view that cannot be written."""
    width, height = size_wh
    luma = data[: width * height].reshape(height, width)
    luma.flags.writeable = False
    return luma


def bgr_of_i420(data: Buffer, size_wh: tuple[int, int]) -> Picture:
    """Return the picture (H, W, 3) of full-range I420 (ITU-R BT.601): H*W bytes Y, then U and V of a quarter."""
    width, height = size_wh
    planes = data.reshape(height * 3 // 2, width)
    narrow = np.empty_like(planes)
    cv2.LUT(planes[:height], _NARROW_Y, narrow[:height])
    cv2.LUT(planes[height:], _NARROW_UV, narrow[height:])
    return np.asarray(cv2.cvtColor(narrow, cv2.COLOR_YUV2BGR_I420), np.uint8)


def jpeg_luma(data: bytes, size_wh: tuple[int, int]) -> Luma | None:
    """Return a JPEG's brightness at 1/1 to 1/8, 320 wide or more if it has that (libjpeg), else None."""
    flag = next((flag for share, flag in _REDUCED if size_wh[0] >= share * LUMA_PX), cv2.IMREAD_GRAYSCALE)
    luma = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return None if luma is None else np.asarray(luma, np.uint8)


def jpeg_picture(data: bytes, luma: Luma, size_wh: tuple[int, int]) -> Picture:
    """Return a JPEG's picture (H, W, 3), or its brightness if its colours are damaged."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != (size_wh[1], size_wh[0]):
        image = cv2.cvtColor(cv2.resize(luma, size_wh), cv2.COLOR_GRAY2BGR)
    return np.asarray(image, np.uint8)
