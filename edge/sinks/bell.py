"""The terminal's bell."""

from __future__ import annotations

import sys
from typing import TextIO

from edge.schema import Event


class Bell:
    """Rings for a bear, and where a camera or the alarm itself fails; nothing but a terminal gets the character."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def wanted(self, event: Event) -> bool:
        """Whether this is an alarm or the start of a trouble."""
        return event.alarms or (event.kind in {"camera", "health"} and event.type == "new")

    def __call__(self, event: Event) -> None:
        """Ring, if this event is wanted."""
        stream = self._stream or sys.__stderr__
        if self.wanted(event) and stream is not None and stream.isatty():
            stream.write("\a")
            stream.flush()
