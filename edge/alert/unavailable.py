"""What cannot be used now, such as a pin, a library or a disk: it is a problem, and tried again once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from edge.errors import NOT_HERE, BearAlarmError

if TYPE_CHECKING:
    from edge.status import Ask

log = logging.getLogger(__name__)

AGAIN_S = 60.0  # how often it is tried again

Made = TypeVar("Made")


class Unavailable:
    """What cannot work now, by name, and why. ``why`` is never cleared ahead of a try: what fails again stays in it."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self._tried = time.monotonic()

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        return {name: partial(str, f"{name}: {why}") for name, why in self.why.items()}

    def due(self, now: float) -> bool:
        """Return True when a retry is due: once a minute; ``now``: time.monotonic()."""
        if now - self._tried < AGAIN_S:
            return False
        self._tried = now
        return True

    def make(self, name: str, make: Callable[[], Made], *, again: bool = False) -> Made | None:
        """Return the result of ``make``, or None and note it as missing. Raises OptionError for a mistake.

        ``again``: these settings are in use. Whatever goes wrong with them by now, such as a file that has become
        damaged, is missing too: it ends nothing that works.
        """
        try:
            made = make()
        except NOT_HERE as error:
            self.why[name] = str(error)
            return None
        except Exception as error:
            if not again:
                raise
            self.why[name] = str(error) if isinstance(error, BearAlarmError) else f"{type(error).__name__} in making it"
            log.debug("%s cannot be made", name, exc_info=error)
            return None
        self.why.pop(name, None)
        return made


def either(sink: Ask, before: Ask) -> str | None:
    """Return what is wrong by the sink, or what is known to be wrong before it is needed."""
    return sink() or before()
