"""One run of the alarm: what all its events share, whichever camera or part they come from."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from edge.schema import Event, EventKind, EventType, utc_text


class EventFactory:
    """Makes events with the run's id, their number in one order, and whether the clock is known to be right.

    ``clock_synced`` is asked for each event and must not wait. Safe to use from any thread.
    """

    def __init__(self, id_: str | None = None, clock_synced: Callable[[], bool | None] = lambda: None) -> None:
        self.id = id_ or uuid.uuid4().hex
        self.clock_synced = clock_synced
        self.began = time.monotonic()  # seconds
        self._numbers = itertools.count(1)

    def event(
        self, kind: EventKind, type_: EventType, id_: str, camera: str, wall: datetime | None = None, **more: Any
    ) -> Event:
        """Return the next event; ``wall`` defaults to now; ``more``: further fields of ``Event``."""
        return Event(
            kind=kind,
            type=type_,
            id=id_,
            seq=next(self._numbers),
            boot_id=self.id,
            camera=camera,
            captured_at=utc_text(wall or datetime.now(UTC)),
            clock_synced=self.clock_synced(),
            **more,
        )
