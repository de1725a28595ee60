"""JPEGs one after the other in a stream of bytes, as MJPEG comes through a pipe."""

from __future__ import annotations

import re

MOST_BYTES = 16 << 20  # a picture of 50 megapixels has less

# A marker that is not a stuffed FF 00, a restart FF D0-D7 or a fill byte (ITU-T T.81, annex B).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SIZE = frozenset({0xC0, 0xC1, 0xC2})  # start of frame: baseline, extended, progressive


class JpegCutter:
    """Bytes in, whole JPEGs out, each with its width and height; never holds more than ``most`` bytes.

    Segments are walked, for a thumbnail carries an end marker of its own. What lies between two pictures, or
    belongs to one that was cut short, is dropped.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._held = bytearray()
        self._at = 0  # where the walk goes on; 0: no picture has begun
        self._size_wh = (0, 0)

    def __call__(self, data: bytes | memoryview) -> list[tuple[bytes, tuple[int, int]]]:
        """The pictures that these bytes complete."""
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
        """Where the picture that begins the held bytes ends; None when its end has not come."""
        held = self._held
        if self._at == 0:
            start = held.find(b"\xff\xd8\xff")
            if start < 0:
                del held[:-2]  # a start may be half here
                return None
            del held[:start]
            self._begin(2)
        while marker := _MARKER.search(held, self._at):
            start, at = marker.span()
            kind = held[at - 1]
            if kind == 0xD9:
                return at
            if kind == 0xD8:  # the next picture begins: this one was cut short
                del held[:start]
                self._begin(2)
                continue
            length = 0
            if kind != 0x01:
                length = max(2, int.from_bytes(held[at : at + 2], "big"))
                if at + max(length, 7) > len(held):
                    self._at = start
                    return None
                if kind in _SIZE:
                    self._size_wh = (
                        int.from_bytes(held[at + 5 : at + 7], "big"),
                        int.from_bytes(held[at + 3 : at + 5], "big"),
                    )
            self._at = at + length
        # Only entropy-coded data is left; its last byte may be half a marker.
        self._at = max(self._at, len(held) - 1)
        return None
