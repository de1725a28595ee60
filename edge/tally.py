"""What one camera's loop has done so far: how much it looked at, and how long that took."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What one camera's loop has done so far."""

    frames: int = 0
    crops: int = 0
    footage_s: float = 0.0
    first_time: float | None = None
    # A running device must not grow: the last hour at 10 frames a second.
    frame_ms: deque[float] = field(default_factory=lambda: deque(maxlen=36_000))
