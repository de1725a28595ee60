"""What a camera hands to the threads that write: files of one event, and frames to make a clip of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.detect.zones import Polygon
from edge.evidence.ring import Shot
from edge.schema import Event


@dataclass(frozen=True, eq=False)
class Papers:
    """Files to write, each made in the writing thread, in this order."""

    unit: Path  # the event's folder, or the one file itself
    files: tuple[tuple[Path, Callable[[], bytes]], ...]
    still_of: Event | None = None  # the first file is this event's picture


@dataclass(frozen=True, eq=False)
class Film:
    """Frames to make a clip of."""

    unit: Path  # the event's folder
    path: Path
    shots: tuple[Shot, ...]
    masks: tuple[Polygon, ...]

    @property
    def bytes(self) -> int:
        """What the frames take, which a clip of them never exceeds by much."""
        return sum(shot.bytes for shot in self.shots)


class Desk(Protocol):
    """Takes what is to be written; each call returns at once."""

    def write(self, papers: Papers) -> None:
        """Files of one event, or a negative."""

    def film(self, film: Film) -> None:
        """A clip to make."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None while all is well."""
