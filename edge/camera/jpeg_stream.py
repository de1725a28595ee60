"""JPEGs one after the other in a stream of bytes, as MJPEG comes through a pipe."""

from __future__ import annotations

from edge.pictures import EOI, SOF, SOI, segments

MOST_BYTES = 16 << 20  # a picture of 50 megapixels has less
SIZE_BYTES = 7  # of a start of frame, to the end of its height and width


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
