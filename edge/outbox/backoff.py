"""When to try again, and how often people may be called: two small clocks without a clock of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

FIRST_S = 1.0  # after the first failure; then 2, 4, …
MOST_S = 300.0
NEWS_S = 3.0  # something new is tried so soon after a failure, whatever the back-off
ASKED_S = 300.0  # the longest a server's Retry-After is heeded

BURST = 10  # messages to people at once
EACH_S = 30.0  # and then one in so many seconds
FOR_ALARMS = 5  # of the burst: what cameras and the alarm itself have to say leaves so many


class BackOff:
    """After failures 1, 2, 4 … 300 s, up to a quarter less by ``chance`` (0 to 1): a crowd must not knock at once.

    Times are seconds of whatever clock the caller has.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self.failures = 0  # in a row
        self._chance = chance
        self._failed_at = -math.inf
        self._due = -math.inf
        self._sooner = -math.inf  # when something new may be tried

    def failed(self, now: float, after_s: float = 0.0) -> None:
        """One more failure; ``after_s``: how long the other side asks to be left alone."""
        self.failures += 1
        wait_s = min(MOST_S, FIRST_S * 2.0 ** min(self.failures - 1, 20)) * (1.0 - 0.25 * self._chance())
        asked_s = min(after_s, ASKED_S)
        self._failed_at = now
        self._due = now + max(wait_s, asked_s)
        self._sooner = now + max(NEWS_S, asked_s)

    def worked(self) -> None:
        """It worked: the next one may go at once."""
        self.failures = 0
        self._due = self._failed_at = -math.inf

    def reached(self) -> None:
        """The other side is back: try at once, but go on with the same steps should that fail."""
        self._due = self._failed_at = -math.inf

    def wait_s(self, now: float, newest_age_s: float) -> float:
        """How long to wait still, when the newest of what waits has done so for ``newest_age_s``; 0: go."""
        new = newest_age_s < now - self._failed_at
        return max(0.0, (min(self._due, self._sooner) if new else self._due) - now)


class Bucket:
    """How many messages may still be sent: ten at once, then one in 30 seconds. A flood must not make hundreds."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = -math.inf

    def left(self, now: float) -> float:
        """Messages that may go now; a part of one is not there yet."""
        if now > self._at:
            self._left = min(float(BURST), self._left + (now - self._at) / EACH_S)
            self._at = now
        return self._left

    def take(self, now: float) -> None:
        """One was delivered."""
        self._left = max(0.0, self.left(now) - 1.0)

    def wait_s(self, now: float, want: float) -> float:
        """Seconds until so many may go."""
        return max(0.0, (want - self.left(now)) * EACH_S)
