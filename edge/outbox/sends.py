"""Sends that are under way, each in a thread of its own: one that hangs is left behind, and the next one goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge.outbox.plan import Lane, Parcel
from edge.record.outbox import Channel, Part

DEADLINES_S: dict[Part, float] = {"word": 60.0, "picture": 180.0}  # a weak network takes a minute for a picture
MOST_HUNG = 3  # left behind, of each part; then one more an hour is tried, and at most
HUNG_EVER = 8
SELDOM_S = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one parcel."""

    parcel: Parcel
    error: BaseException | None  # None: delivered
    took_s: float


class HungError(TimeoutError):
    """A send did not answer in its time and is left behind."""


class Sends:
    """At most one of each lane under way; for use from one thread, ``wake`` is called from theirs.

    ``deadlines_s``: how long each part may take, seconds of ``clock``.
    """

    def __init__(
        self,
        channel: Channel,
        clock: Callable[[], float],
        wake: Callable[[], None],
        deadlines_s: dict[Part, float] | None = None,
    ) -> None:
        self.flying: dict[Lane, _Send] = {}
        self.hung = 0  # since the start
        self._channel = channel
        self._clock = clock
        self._wake = wake
        self._deadlines_s = deadlines_s or DEADLINES_S
        self._left: list[_Send] = []
        self._left_at: dict[Part, float] = {}  # when the last one was left behind

    @property
    def hanging(self) -> int:
        """How many were left behind and still run."""
        return len(self._left)

    def start(self, parcel: Parcel) -> None:
        """Send it; returns at once."""
        self.flying[parcel.lane] = _Send(self._channel, parcel, self._clock, self._wake)

    def closed(self, now: float) -> set[Lane]:
        """The lanes in which none may start: one is under way, or too many hang and it is not yet time for one more.

        While an alarm is under way no other word may start, but an alarm may beside another word.
        """
        closed: set[Lane] = {part for part in DEADLINES_S if part in self.flying or self._too_many(part, now)}
        if "alarm" in self.flying or self._too_many("word", now):
            closed |= {"alarm", "word"}
        return closed

    def due_s(self, now: float) -> float:
        """Seconds until one is too late."""
        times = [send.began + self._deadlines_s[send.parcel.message.part] - now for send in self.flying.values()]
        return max(0.0, min(times, default=float("inf")))

    def answers(self, now: float) -> list[Answer]:
        """What has ended, well or not, and what is given up; of those left behind only what arrived after all."""
        found = []
        for lane, send in list(self.flying.items()):
            part = send.parcel.message.part
            if send.over:
                found.append(Answer(send.parcel, send.error, send.ended - send.began))
            elif (took_s := now - send.began) >= self._deadlines_s[part]:
                found.append(Answer(send.parcel, HungError(f"no answer within {took_s:.0f} s"), took_s))
                self._left.append(send)
                self._left_at[part] = now
                self.hung += 1
            else:
                continue
            del self.flying[lane]
        late = [send for send in self._left if send.over]
        self._left = [send for send in self._left if send not in late]
        return found + [Answer(each.parcel, None, each.ended - each.began) for each in late if each.error is None]

    def _too_many(self, part: Part, now: float) -> bool:
        hanging = sum(send.parcel.message.part == part for send in self._left)
        return hanging >= HUNG_EVER or (hanging >= MOST_HUNG and now - self._left_at[part] < SELDOM_S)


class _Send:
    """One message on its way."""

    def __init__(self, channel: Channel, parcel: Parcel, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self.parcel = parcel
        self.began = self.ended = clock()
        self.over = False
        self.error: BaseException | None = RuntimeError("it ended without an answer")
        self._channel = channel
        self._clock = clock
        self._wake = wake
        threading.Thread(target=self._run, name=f"send {channel.key}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._channel.send(self.parcel.message)
            self.error = None
        except Exception as error:
            self.error = error
        finally:
            self.ended = self._clock()
            self.over = True
            self._wake()
