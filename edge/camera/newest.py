"""An iterator run in a thread of its own, of which only the newest item is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from edge.errors import SourceError

Item = TypeVar("Item")


class Newest(Generic[Item]):
    """Runs what ``items`` makes in a daemon thread; the newest item waits to be taken, an older one is dropped.

    The iterator is made, advanced and closed in that thread, and an iterator that hangs holds up nobody else.
    ``ready`` is notified when there is something to take and when all is over; several may share it.
    """

    def __init__(
        self, items: Callable[[], Generator[Item, None, None]], name: str, ready: threading.Condition | None = None
    ) -> None:
        self.ready = ready or threading.Condition()
        self.over = False  # the thread has ended: nothing comes after what waits
        self.error: Exception | None = None  # what it ended with
        self._stopped = False
        self._slot: Item | None = None
        self._items = items
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    @property
    def waiting(self) -> bool:
        """Whether ``take`` has something to give, or nothing to wait for."""
        return self._slot is not None or self.over or self._stopped

    def take(self, wait_s: float = 0.0) -> Item | None:
        """The newest item, waiting for one up to so many seconds; None when none came, also after the end."""
        with self.ready:
            self.ready.wait_for(lambda: self.waiting, wait_s)
            slot, self._slot = self._slot, None
        return slot

    def stop(self) -> None:
        """End it after the item it is at; returns at once."""
        with self.ready:
            self._stopped = True
            self.ready.notify_all()

    def _run(self) -> None:
        items = self._items()
        try:
            for item in items:
                with self.ready:
                    self._slot = item
                    self.ready.notify_all()
                if self._stopped:
                    break
        except Exception as error:
            if isinstance(error, SourceError):
                error.__traceback__ = None  # it would keep the last picture
            self.error = error
        finally:
            items.close()
            with self.ready:
                self.over = True
                self.ready.notify_all()
