"""The terminal's bell."""

from __future__ import annotations

import sys
from typing import TextIO

from edge.schema import Event


class Bell:
    """Rings when a bear is new. Nothing but a terminal gets the control character."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Ring, if this is an alarm."""
        stream = self._stream or sys.__stderr__
        if event.kind == "bear" and event.type == "new" and stream is not None and stream.isatty():
            stream.write("\a")
            stream.flush()
