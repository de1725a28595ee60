"""Pictures as evidence keeps them: JPEGs with a note inside, and a camera's compressed frames in bounded memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from edge.errors import PictureError
from edge.schema import Luma, Picture

OVERHEAD_BYTES = 200  # of a shot in memory beside its picture: objects, and their places
_COMMENT = b"\xff\xfe"
_MAX_NOTE_BYTES = 65_533  # of a JPEG's comment (ITU-T T.81, B.2.4.5)


def at_most(image: Picture | Luma, width: int, *, even: bool = False) -> Picture | Luma:
    """Return the picture no wider than ``width`` pixels; with ``even`` sides, as video wants them."""
    tall, wide = image.shape[:2]
    scale = min(1.0, width / wide)
    step = 2 if even else 1
    size_wh = tuple(max(step, round(side * scale) // step * step) for side in (wide, tall))
    if size_wh == (wide, tall):
        return image
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(image: Picture | Luma, quality: int, note: Mapping[str, Any] | None = None) -> bytes:
    """Return the picture as a JPEG, with ``note`` as JSON in its comment. Raises OSError when it cannot be encoded."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"a picture of {image.shape[1]}x{image.shape[0]} could not be encoded")
    whole = data.tobytes()
    if note is None:
        return whole
    words = json.dumps(note, ensure_ascii=True, separators=(",", ":")).encode()
    if len(words) > _MAX_NOTE_BYTES:
        raise OSError(f"a note of {len(words)} bytes does not fit in a JPEG's comment")
    return b"".join((whole[:2], _COMMENT, (len(words) + 2).to_bytes(2, "big"), words, whole[2:]))


def read_note(path: Path) -> dict[str, Any]:
    """Return what ``jpeg`` noted in a picture: camera, time, score, box. Raises PictureError when there is no note."""
    try:
        with path.open("rb") as file:
            begin = file.read(6)
            words = file.read(int.from_bytes(begin[4:6], "big") - 2) if begin[2:4] == _COMMENT else b""
        found = json.loads(words)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PictureError(f"{path}: no note in it; it is no crop or negative that evidence has kept")
    return found


class CompressedFrame(NamedTuple):
    """One compressed frame."""

    time: float  # seconds, the frame's clock
    jpeg: bytes

    @property
    def bytes(self) -> int:
        """Return what it takes in memory."""
        return len(self.jpeg) + OVERHEAD_BYTES


class Ring:
    """The shots of the last ``seconds``, at most ``most_bytes`` of them; the oldest go."""

    def __init__(self, seconds: float, max_bytes: int) -> None:
        self.seconds = seconds
        self.max_bytes = max_bytes
        self.bytes = 0
        self._shots: deque[CompressedFrame] = deque()

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: CompressedFrame) -> None:
        """Take one more; after a jump back in time the ring begins again."""
        if self._shots and shot.time < self._shots[-1].time:
            self._shots.clear()
            self.bytes = 0
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self._shots and (self.bytes > self.max_bytes or self._shots[0].time < shot.time - self.seconds):
            self.bytes -= self._shots.popleft().bytes

    def shots(self) -> tuple[CompressedFrame, ...]:
        """Return what there is, oldest first."""
        return tuple(self._shots)


class ClipBuffer:
    """The shots of one clip, at most ``most_bytes`` of them: where they become too many, every second one goes.

    From then on it takes half as many a second, so that a long clip is thin everywhere and not cut short.
    """

    def __init__(self, shots: Iterable[CompressedFrame], max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.gap_s = 0.0  # between two shots, at least
        self._shots: list[CompressedFrame] = []
        for shot in shots:
            self.add(shot)

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: CompressedFrame) -> None:
        """Take one more, unless it comes too soon after the last one, or is too large for any reel."""
        if shot.bytes > self.max_bytes or (self._shots and shot.time - self._shots[-1].time < self.gap_s):
            return
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self.bytes > self.max_bytes:
            self._thin()

    def shots(self) -> tuple[CompressedFrame, ...]:
        """Return what there is, oldest first."""
        return tuple(self._shots)

    def _thin(self) -> None:
        self._shots = self._shots[::2]
        self.bytes = sum(shot.bytes for shot in self._shots)
        times = [shot.time for shot in self._shots]
        steps = sorted(after - before for before, after in pairwise(times))
        # A hair less than what is usual now: the clock of a camera jitters.
        self.gap_s = max(self.gap_s, 0.9 * steps[len(steps) // 2]) if steps else self.gap_s
