"""What the alarm saw: one annotated JPEG an alarm, written after it was raised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import cv2

from edge.atomic import replace_whole
from edge.drawing import Mark, annotate
from edge.errors import OptionError
from edge.schema import Event, Frame
from edge.sinks.worker import Worker

QUALITY = 88


@dataclass(frozen=True)
class Exhibit:
    """One picture to write."""

    path: Path
    frame: Frame
    marks: tuple[Mark, ...]
    event: Event


class EvidenceWriter:
    """Writes evidence into a folder for each UTC day, in its own thread; several cameras may call it.

    ``place`` says beforehand where a picture will lie, so that the event can carry the path. At most
    ``depth`` pictures wait (a 720p frame holds 2.7 MB). Raises OptionError when the folder cannot be made.
    """

    def __init__(self, folder: Path, *, depth: int = 8) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{folder}: cannot keep evidence there ({error.strerror})") from None
        self.worker: Worker[Exhibit] = Worker(lambda exhibit, _: write(exhibit), "evidence", depth=depth)

    def place(self, frame: Frame, event_id: str, seq: int) -> Path:
        """Where the picture of this event will lie: DAY/TIME-CAMERA-EVENT-SEQ.jpg."""
        at = frame.wall.astimezone(UTC)
        camera = re.sub(r"[^\w.-]+", "_", frame.camera)
        return self.folder / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}-{camera}-{event_id[:8]}-{seq}.jpg"

    def __call__(self, exhibit: Exhibit) -> None:
        """Queue one picture; returns at once."""
        self.worker(exhibit)

    def close(self, within_s: float) -> bool:
        """Write what waits, for at most so many seconds."""
        return self.worker.close(within_s)


def write(exhibit: Exhibit) -> None:
    """One annotated JPEG, whole or not at all. Raises OSError or OptionError."""
    path, event = exhibit.path, exhibit.event
    when = event.captured_at if event.media_time_s is None else f"{event.media_time_s:.1f} s"
    words = f"{event.camera}  {when}  {event.label} {event.score or 0.0:.2f}  {event.model or ''}".replace("_", " ")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = annotate(exhibit.frame.image, exhibit.marks, words)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise OSError(f"{path}: the picture could not be encoded")
    replace_whole(path, data.tobytes())
