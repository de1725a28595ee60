"""Compressed frames in memory: the last seconds of a camera, and a clip in the making; both bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

OVERHEAD_BYTES = 200  # of a shot in memory beside its picture: objects, and their places


class Shot(NamedTuple):
    """One compressed frame."""

    time: float  # seconds, the frame's clock
    jpeg: bytes

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return len(self.jpeg) + OVERHEAD_BYTES


class Ring:
    """The shots of the last ``seconds``, at most ``most_bytes`` of them; the oldest go."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self.seconds = seconds
        self.most_bytes = most_bytes
        self.bytes = 0
        self._shots: deque[Shot] = deque()

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: Shot) -> None:
        """Take one more; after a jump back in time the ring begins anew."""
        if self._shots and shot.time < self._shots[-1].time:
            self._shots.clear()
            self.bytes = 0
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self._shots and (self.bytes > self.most_bytes or self._shots[0].time < shot.time - self.seconds):
            self.bytes -= self._shots.popleft().bytes

    def shots(self) -> tuple[Shot, ...]:
        """What there is, oldest first."""
        return tuple(self._shots)


class Reel:
    """The shots of one clip, at most ``most_bytes`` of them: where they become too many, every second one goes.

    From then on it takes half as many a second, so that a long clip is thin everywhere and not cut short.
    """

    def __init__(self, shots: Iterable[Shot], most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self.gap_s = 0.0  # between two shots, at least
        self._shots: list[Shot] = []
        for shot in shots:
            self.add(shot)

    def __len__(self) -> int:
        return len(self._shots)

    def add(self, shot: Shot) -> None:
        """Take one more, unless it comes too soon after the last one, or is too large for any reel."""
        if shot.bytes > self.most_bytes or (self._shots and shot.time - self._shots[-1].time < self.gap_s):
            return
        self._shots.append(shot)
        self.bytes += shot.bytes
        while self.bytes > self.most_bytes:
            self._thin()

    def shots(self) -> tuple[Shot, ...]:
        """What there is, oldest first."""
        return tuple(self._shots)

    def _thin(self) -> None:
        self._shots = self._shots[::2]
        self.bytes = sum(shot.bytes for shot in self._shots)
        times = [shot.time for shot in self._shots]
        steps = sorted(after - before for before, after in pairwise(times))
        # A hair less than what is usual now: the clock of a camera jitters.
        self.gap_s = max(self.gap_s, 0.9 * steps[len(steps) // 2]) if steps else self.gap_s
