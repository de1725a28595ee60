"""How a source says what is wrong with it: to one reporter, again while it lasts, and once when it is over."""

from __future__ import annotations

import math
from collections.abc import Callable

from edge.schema import Trouble

REPORT_S = 0.4

Reporter = Callable[[Trouble | None, float], None]  # what is wrong, and the monotonic clock in seconds; None: nothing


def nobody(trouble: Trouble | None, at: float) -> None:
    """A reporter that nobody hears."""


class Due:
    """Whether a source's trouble of this moment is to be reported: a new kind and the end at once, else each 0.4 s."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None  # as it stands
        self._told_at = -math.inf

    def __call__(self, trouble: Trouble | None, now: float) -> bool:
        """``trouble``: the worst of what is wrong now; None: nothing. ``now``: seconds of a clock that goes forward."""
        before, self.trouble = self.trouble, trouble
        same = (before.kind if before else None) == (trouble.kind if trouble else None)
        if same and (trouble is None or now - self._told_at < REPORT_S):
            return False
        self._told_at = now
        return True
