"""What waits to be written: the pictures of alarms outlast a disk that pauses, and a folder's papers join."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from edge.evidence.papers import Papers


class Pile:
    """Papers in the order they came, at most ``depth`` of them; safe to use from any thread.

    Papers without a still join those of the same folder that wait: of each file only the newest counts. Where too many
    wait, those without a still go first, then an update's still, then an alarm's; among equals the oldest.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.dropped = 0  # papers that were given up
        self._waiting: deque[Papers] = deque()
        self._lock = threading.Lock()

    def put(self, papers: Papers) -> bool:
        """Take it; whether one more waits now. Returns at once."""
        with self._lock:
            if papers.still_of is None and self._joined(papers):
                return False
            self._waiting.append(papers)
            if len(self._waiting) <= self.depth:
                return True
            self._waiting.remove(min(self._waiting, key=_worth))
            self.dropped += 1
            return False

    def take(self) -> Papers | None:
        """The one that waits longest; None: none does."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _joined(self, papers: Papers) -> bool:
        for number, waiting in reversed(list(enumerate(self._waiting))):
            if waiting.unit == papers.unit:
                files = dict(waiting.files) | dict(papers.files)  # each keeps its place, for the still comes first
                self._waiting[number] = replace(waiting, files=tuple(files.items()))
                return True
        return False


def _worth(papers: Papers) -> int:
    if papers.still_of is None:
        return 0
    return 2 if papers.still_of.type == "new" else 1
