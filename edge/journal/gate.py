"""One at a time on the disk, and nobody waits for ever: a failing card may keep a call for minutes."""

from __future__ import annotations

import threading
import time


class Gate:
    """Lets one in at a time; whoever waits gives up once the one inside has been there for ``patience_s`` seconds."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._changed = threading.Condition()
        self._since: float | None = None  # when the one inside came, time.monotonic()

    def enter(self) -> bool:
        """Whether one is inside now; every True is followed by ``leave``."""
        with self._changed:
            while self._since is not None:
                left = self._since + self.patience_s - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            self._since = time.monotonic()
            return True

    def leave(self) -> None:
        """Let the next one in."""
        with self._changed:
            self._since = None
            self._changed.notify()
