"""What goes on now, for who shows a live state: one that comes in the middle must not say "no bear" of a bear."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.background import Sink
    from edge.schema import Event

log = logging.getLogger(__name__)

KINDS = frozenset({"bear", "camera"})


class GoingOn:
    """A sink that passes each event on to those who show a state, and keeps the bears and troubles that are not over.

    From any thread; those it passes events on to must return at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # an end must not come before what it ends
        self._events: dict[str, Event] = {}  # the newest of each, by id
        self._shown: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Pass it on."""
        with self._lock:
            if event.kind in KINDS:
                self._events.pop(event.id, None)
                if event.type != "end":
                    self._events[event.id] = event
            for show in self._shown:
                show(event)

    def show_to(self, shown: Mapping[Sink, Sink], cameras: Collection[str]) -> None:
        """These are passed events of these cameras from now on; who is new has been told what goes on on return.

        ``shown``: who takes events -> the state behind it, which is told what goes on at once, and not when there is
        time for it.
        """
        with self._lock:
            self._events = {id_: event for id_, event in self._events.items() if event.camera in cameras}
            for state in (state for show, state in shown.items() if show not in self._shown):
                self._tell(state)
            self._shown = list(shown)

    def _tell(self, state: Sink) -> None:
        for event in self._events.values():
            try:
                state(event)
            except Exception as error:
                log.debug("what goes on cannot be shown (%s)", type(error).__name__, exc_info=error)
