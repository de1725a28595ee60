"""Where evidence lies, and which names are ours: nothing of another name is ever counted or thrown away."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

NEGATIVES = "negatives"
KEEP = "keep"  # in an event's folder: never throw it away
GONE = ".gone-"  # before the name of what is being thrown away

DAY = re.compile(r"\d{4}-\d\d-\d\d")
VISIT = re.compile(r"\d{6}-[\w.-]+-[0-9a-f]{8}")  # an event's folder
SAMPLE = re.compile(r"\d{6}-[\w.-]+-[0-9a-f]{4}\.jpg")  # a random negative

_LONGEST_NAME = 60  # of a camera; file systems end at 255 bytes


def visit_folder(root: Path, camera: str, wall: datetime, event_id: str) -> Path:
    """The folder of one event: DAY/TIME-CAMERA-ID8, in UTC. ``event_id`` is hexadecimal, 8 digits or more."""
    at = wall.astimezone(UTC)
    return root / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}-{_plain(camera)}-{event_id[:8]}"


def sample_path(root: Path, camera: str, wall: datetime, number: int) -> Path:
    """Where a random negative lies; ``number`` (0 to 65535) tells those of one second apart."""
    at = wall.astimezone(UTC)
    return root / NEGATIVES / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}-{_plain(camera)}-{number:04x}.jpg"


def _plain(camera: str) -> str:
    return re.sub(r"[^\w.-]+", "_", camera)[:_LONGEST_NAME] or "camera"
