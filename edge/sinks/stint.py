"""Something that goes on for a while beside everything else: a siren, a lamp, a programme of noises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Stint:
    """Does ``work(stint)`` in its own thread until its time is over; asked again meanwhile, it goes on for longer.

    The work waits only by ``wait`` and ``wait_for_more``, and leaves things as they should be however it ends.
    Safe to use from any thread.
    """

    def __init__(self, work: Callable[[Stint], None], name: str) -> None:
        self.name = name
        self.asked = 0  # how often
        self._work = work
        self._changed = threading.Condition()
        self._until = 0.0  # time.monotonic(), seconds
        self._going = False
        self._closed = False

    @property
    def going(self) -> bool:
        """Whether it is at work."""
        return self._going

    @property
    def over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self._until

    def go_on(self, seconds: float) -> bool:
        """Work until so many seconds from now, never for shorter than was asked before; True when it began just now.

        Raises RuntimeError once it is closed, and where no thread is to be had.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self.name} is over, for the alarm ends")
            self._until = max(self._until, time.monotonic() + seconds)
            self.asked += 1
            begun, self._going = not self._going, True
            self._changed.notify_all()
            if begun:
                try:
                    threading.Thread(target=self._run, name=self.name, daemon=True).start()
                except RuntimeError:
                    self._going = False
                    raise
        return begun

    def stop(self, within_s: float = 0.0) -> bool:
        """End it now, and wait for that at most so many seconds; False when it takes longer."""
        with self._changed:
            self._until = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._going, within_s)

    def close(self, within_s: float = 0.0) -> bool:
        """As ``stop``, and for good: what is asked from now on is refused."""
        self._closed = True
        return self.stop(within_s)

    def wait(self, seconds: float) -> bool:
        """For the work: wait so many seconds; True when its time is over, at once then."""
        with self._changed:
            end = time.monotonic() + seconds
            while not self.over and (left_s := min(end, self._until) - time.monotonic()) > 0.0:
                self._changed.wait(left_s)
            return self.over

    def wait_for_more(self, asked: int) -> bool:
        """For the work: wait until it was asked more often than ``asked``; False when its time is over before."""
        with self._changed:
            while not self.over and self.asked == asked:
                self._changed.wait(max(self._until - time.monotonic(), 0.0))
            return not self.over

    def _run(self) -> None:
        while True:
            failed, asked = False, self.asked
            try:
                self._work(self)
            except Exception as error:  # a thread that dies would leave it "going" for ever
                failed = True
                log.warning("%s failed: %s", self.name, error or type(error).__name__)
            with self._changed:
                # Asked again between the work's last look and now: it begins anew.
                if failed or self.over or self.asked == asked:
                    self._going = False
                    self._changed.notify_all()
                    return
