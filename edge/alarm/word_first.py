"""An event reaches the journal before its picture, whichever of two threads is faster."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.record.journal import Journal
    from edge.schema import Event

MOST_KNOWN = 10_000  # events of which it is remembered that the journal has them
MOST_WAITING = 1000  # pictures: as many as events that wait to be written

Key = tuple[str, int]  # an event's run and number


class WordFirst:
    """Gives events and pictures to the journal; a picture whose event is not there yet waits for it. For any thread.

    Events come through a queue, and pictures straight from whoever made them: on a busy machine, or with a slow disk,
    the picture may be first. It would then be sent first, for the outbox knows nothing of an event still to come.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[Key, None] = {}  # the oldest first
        self._waiting: dict[Key, tuple[Event, Path]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> Event:
        """Write an event down, and after it the picture that waited for it; the event as the journal has it."""
        kept = self._journal(event)
        with self._lock:
            self._known[_key(event)] = None
            _shorten(self._known, MOST_KNOWN)
            waited = self._waiting.pop(_key(event), None)
        if waited:
            self._journal.attach(*waited)
        return kept

    def attach(self, event: Event, picture: Path) -> None:
        """The picture of an event lies on the disk: written down now, or as soon as its event is."""
        with self._lock:
            if _key(event) not in self._known:
                self._waiting[_key(event)] = event, picture
                _shorten(self._waiting, MOST_WAITING)
                return
        self._journal.attach(event, picture)


def _key(event: Event) -> Key:
    return event.boot_id, event.seq


def _shorten(found: dict[Key, Any], most: int) -> None:
    while len(found) > most:
        del found[next(iter(found))]
