"""What one channel is sent next, and when; what becomes of each row. It knows no thread and reads no clock."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from edge.outbox.backoff import FOR_ALARMS, BackOff, Bucket
from edge.outbox.plan import Key, Lane, Parcel, Plan, crowded, for_machines, for_people, key_of
from edge.record.outbox import Channel, Part, Queue, Waiting

log = logging.getLogger(__name__)

AT_ONCE = 20  # rows asked for first
MOST_ROWS = 100_000
STUBBORN = 3  # failures after which another row is tried beside the newest: perhaps it is not the network
PICTURE_SPARE = 3.0  # messages that must be left for words when people are sent a picture
TEST_OVER = "a test of a run that is over: nobody waits for it any more"


@dataclass(slots=True)
class Count:
    """Rows, since the start."""

    delivered: int = 0
    failed: int = 0  # tries, not rows
    parked: int = 0
    passed_over: int = 0  # pictures that were gone, or too old and too many for people


class Feed:
    """Asks the queue what waits for one channel and says what to send; ``chance`` (0 to 1) shakes the back-off.

    ``run`` is the id of this run: what it told itself it also delivers when another process has the turn.
    Times are seconds of one clock that only goes forward. What the queue raises is passed on: call again later.
    """

    def __init__(self, channel: Channel, queue: Queue, chance: Callable[[], float], run: str | None = None) -> None:
        self.count = Count()
        self.waiting = 0  # rows, when it last looked
        self.oldest_s = 0.0  # how long the oldest of them had waited
        self._channel = channel
        self._queue = queue
        self._run = run
        self._backoffs: dict[Part, BackOff] = {"word": BackOff(chance), "picture": BackOff(chance)}
        self._bucket = Bucket()
        self._many = False  # whether many words waited when the last one was planned
        self._crowd = False  # people were told the newest of many: now the others, in one
        self._aside: set[Key] = set()
        self._doubted: set[Key] = set()  # failed, and then another one went: once more before they are set aside
        self._probed: Key | None = None  # the row that just failed, while another one is tried
        # What was settled (None) or refused (why) and may not be on the disk yet: never sent again for that.
        self._settled: dict[Key, str | None] = {}

    def next(self, now: float, closed: Collection[Lane] = (), *, mine: bool = True) -> Parcel | float:
        """What to send now, or for how many seconds there is nothing to send.

        ``closed``: lanes in which none may start now; people's alarms go beside another word, machines keep the order.
        ``mine`` False: another process has the turn, and delivers what runs that are over have left.
        """
        beside = "word" in closed
        if beside and ("alarm" in closed or not self._channel.people):
            return math.inf
        newest = self._queue.waiting(self._channel.key, newest_first=True, limit=1)
        if not newest:
            self.waiting, self.oldest_s = 0, 0.0
            return math.inf
        self.waiting = max(self.waiting, 1)
        wait_s = self._backoffs["word"].wait_s(now, newest[0].age_s)
        if wait_s > 0.0:
            return wait_s
        rows = self._look(mine)
        if beside:
            aside = self._set_aside()
            rows = [row for row in rows if row.part == "word" and row.event.alarms and key_of(row) not in aside]
            if not rows:
                return math.inf
        words = [row for row in rows if row.part == "word"]
        if self._probed and all(key_of(row) in self._aside | {self._probed} for row in words):
            self._probed = None  # there is no other to try
            self._backoffs["word"].failed(now)
            return self._backoffs["word"].wait_s(now, math.inf)
        if not words:
            if "picture" in closed:
                return math.inf
            wait_s = self._backoffs["picture"].wait_s(now, newest[0].age_s)
        if self._channel.people:
            want = 1.0 + self._left_for_alarms(words) if words else PICTURE_SPARE
            wait_s = max(wait_s, self._bucket.wait_s(now, want))
        if wait_s > 0.0 or not rows:
            return wait_s or math.inf
        plan = self._plan(rows, now)
        if plan.passed_over:
            self.count.passed_over += len(plan.passed_over)
            self._settle(plan.passed_over, None)
        return plan.parcel or math.inf

    def delivered(self, parcel: Parcel, now: float) -> None:
        """It arrived."""
        self._backoffs[parcel.message.part].worked()
        self._bucket.take(now)
        self.count.delivered += len(parcel.rows)
        if self._probed:  # it is that row, or the network came back just now
            (self._aside if self._probed in self._doubted else self._doubted).add(self._probed)
            self._probed = None
        if parcel.message.part == "word":
            self._crowd = self._many and not parcel.message.digest
        self._settle(parcel.rows, None)

    def failed(self, parcel: Parcel, why: str, now: float, after_s: float = 0.0) -> None:
        """It did not arrive, and stays; ``after_s``: how long the other side asks to be left alone."""
        self.count.failed += 1
        self._crowd = False
        row = parcel.rows[-1]
        stubborn = self._channel.people and parcel.message.part == "word" and row.attempts >= STUBBORN and not after_s
        if stubborn and self._probed is None and len(parcel.rows) == 1 and key_of(row) not in self._aside:
            self._probed = key_of(row)
        else:
            self._probed = None
            self._backoffs[parcel.message.part].failed(now, after_s)
        self._queue.again(row.row, why)

    def refused(self, parcel: Parcel, why: str) -> None:
        """It will never be taken."""
        self._backoffs[parcel.message.part].worked()
        self.count.parked += len(parcel.rows)
        self._settle(parcel.rows, why)

    def reached(self) -> None:
        """The other side is back: whatever the back-off says, the next one goes at once."""
        for backoff in self._backoffs.values():
            backoff.reached()

    def _plan(self, rows: Sequence[Waiting], now: float) -> Plan:
        if not self._channel.people:
            return for_machines(rows)
        self._many = crowded(rows)
        last = self._bucket.left(now) < 2.0 + self._left_for_alarms(rows)
        return for_people(rows, pressed=self._crowd or last, aside=self._set_aside())

    def _left_for_alarms(self, rows: Sequence[Waiting]) -> float:
        """How many messages must be left when the next of these words goes: none while an alarm waits.

        One that is set aside counts too: it goes after the others, and must not wait until those may go.
        """
        alarm = any(row.part == "word" and row.event.alarms for row in rows)
        return 0.0 if alarm else float(FOR_ALARMS)

    def _set_aside(self) -> set[Key]:
        return self._aside | {self._probed} if self._probed else self._aside

    def _look(self, mine: bool) -> list[Waiting]:
        """What waits here and was not settled: enough of it to plan by."""
        people, limit = self._channel.people, AT_ONCE
        while True:
            found = self._queue.waiting(self._channel.key, newest_first=people, limit=limit)
            ours = [row for row in found if mine or row.row < 0 or row.event.boot_id == self._run]
            rows = [row for row in ours if key_of(row) not in self._settled and not self._outlived(row)]
            all_ = len(found) < limit or limit >= MOST_ROWS
            if all_ or (not people and any(row.part == "word" for row in rows)):
                break
            limit *= 8
        self.waiting = len(rows)
        self.oldest_s = max((row.age_s for row in rows), default=0.0)
        self._settled |= {key_of(row): TEST_OVER for row in ours if self._outlived(row)}
        self._record_again([row for row in found if key_of(row) in self._settled])
        return rows

    def _outlived(self, row: Waiting) -> bool:
        """Whether it is a test that was interrupted: the queue holds nothing back but what runs that live will send."""
        return row.event.kind == "test" and self._run is not None and row.event.boot_id != self._run

    def _record_again(self, rows: Sequence[Waiting]) -> None:
        """What is settled and still listed could not be written down: once more."""
        self._settled = {key_of(row): self._settled[key_of(row)] for row in rows}
        for row in rows:
            try:
                self._settle([row], self._settled[key_of(row)])
            except Exception as error:  # a full disk: the next words go out all the same
                log.debug("%s: row %d is settled and cannot be written down (%s)", self._channel.key, row.row, error)
                return

    def _settle(self, rows: Sequence[Waiting], why: str | None) -> None:
        self._settled |= {key_of(row): why for row in rows}
        if why is None:
            self._queue.done([row.row for row in rows])
            return
        for row in rows:
            self._queue.park(row.row, why)
