"""A channel's own thread: it takes what waits in the journal, sends it, and never lets a send that hangs hold it up."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.alert.redact import error_words, scrub
from edge.record.outbox import Channel, Message, NotYetError, OutboxRow, Part, Queue, RefusedError

# When to try again, and how often people may be called: two small clocks without a clock of their own.


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


# Which row goes next: in order for machines, the newest first for people; and words before pictures.


OLD_S = 3600.0  # what waited longer is told to people in one digest
FEW = 5  # newer ones go one by one; of more, all but the newest go into the digest
APPEARS_S = 60.0  # a picture is given so long to appear on the disk
MOST_TRIES = 5  # of an old picture for people

Key = tuple[str, int, str, str]  # what a row holds: its number changes when it comes from memory to the disk


def key_of(row: OutboxRow) -> Key:
    """What tells a row from all others of its channel, whatever its number."""
    return row.event.boot_id, row.event.seq, row.part, str(row.picture)


Lane = Literal["alarm", "word", "picture"]  # of each at most one is under way


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are sent as one message, oldest first."""

    rows: tuple[OutboxRow, ...]
    message: Message

    @property
    def lane(self) -> Lane:
        """An alarm's word does not wait behind another word."""
        alarm = self.message.part == "word" and any(event.alarms for event in self.message.events)
        return "alarm" if alarm else self.message.part


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be sent, if anything, and the pictures that are not worth it or gone: done without a word."""

    parcel: Batch | None = None
    passed_over: tuple[OutboxRow, ...] = ()


def for_machines(rows: Sequence[OutboxRow]) -> Delivery:
    """The next one of rows in the journal's order: its first word, and only without one its first picture."""
    word = next((row for row in rows if row.part == "word"), None)
    if word:
        return Delivery(_parcel((word,)))
    gone: list[OutboxRow] = []
    for row in rows:
        if _there(row):
            return Delivery(_parcel((row,)), tuple(gone))
        if row.age_s < APPEARS_S:
            break
        gone.append(row)
    return Delivery(None, tuple(gone))


def for_people(rows: Sequence[OutboxRow], *, pressed: bool = False, aside: Collection[Key] = ()) -> Delivery:
    """The next one of rows that come the newest first: an alarm, else another word, else a picture.

    ``pressed``: all words go in one, for too much was sent already. ``aside`` are rows that failed while others went:
    they wait until nothing else does.
    """
    words = [row for row in rows if row.part == "word"]
    if easy := [row for row in words if key_of(row) not in aside]:
        first = next((row for row in easy if row.event.alarms), easy[0])
        alone = not pressed and first.age_s <= OLD_S
        return Delivery(_parcel((first,) if alone else easy[::-1]))
    if words:
        return Delivery(_parcel(words[:1]))
    return _picture_for_people(rows)


def crowded(rows: Sequence[OutboxRow]) -> bool:
    """Whether so many new words wait that people are told the newest alone, and the others in one."""
    return sum(row.part == "word" and row.age_s <= OLD_S for row in rows) > FEW


def _picture_for_people(rows: Sequence[OutboxRow]) -> Delivery:
    """A few of the new pictures, without one the newest of the old; the rest lies on the device."""
    there = [row for row in rows if _there(row)]
    fresh = [row for row in there if row.age_s <= OLD_S][:FEW]
    old = [] if fresh else [row for row in there if row.attempts < MOST_TRIES][:1]
    awaited = [row for row in rows if row not in there and row.age_s < APPEARS_S]
    kept = {key_of(row) for row in (*fresh, *old, *awaited)}
    # One that fails for itself must not stand before the others.
    best = sorted((*fresh, *old), key=lambda row: row.attempts >= MOST_TRIES)
    return Delivery(_parcel(best[:1]) if best else None, tuple(row for row in rows if key_of(row) not in kept))


def _there(row: OutboxRow) -> bool:
    """Whether the picture lies where it should: the quota may have taken it, or the card died."""
    try:
        return row.picture is not None and row.picture.is_file()
    except OSError:
        return False


def _parcel(rows: Sequence[OutboxRow]) -> Batch:
    late_s = max(row.age_s for row in rows)
    picture = rows[0].picture if rows[0].part == "picture" else None
    return Batch(tuple(rows), Message(tuple(row.event for row in rows), rows[0].part, picture, late_s))


# What one channel is sent next, and when; what becomes of each row. It knows no thread and reads no clock.


log = logging.getLogger(__name__)

AT_ONCE = 20  # rows asked for first
MOST_ROWS = 100_000
STUBBORN = 3  # failures after which another row is tried beside the newest: perhaps it is not the network
PICTURE_SPARE = 3.0  # messages that must be left for words when people are sent a picture


@dataclass(slots=True)
class Count:
    """Rows, since the start."""

    delivered: int = 0
    failed: int = 0  # tries, not rows
    parked: int = 0
    passed_over: int = 0  # pictures that were gone, or too old and too many for people


class DeliveryScheduler:
    """Asks the queue what waits for one channel and says what to send; ``chance`` (0 to 1) shakes the back-off.

    Times are seconds of one clock that only goes forward. What the queue raises is passed on: call again later.
    """

    def __init__(self, channel: Channel, queue: Queue, chance: Callable[[], float]) -> None:
        self.count = Count()
        self.waiting = 0  # rows, when it last looked
        self.oldest_s = 0.0  # how long the oldest of them had waited
        self._channel = channel
        self._queue = queue
        self._backoffs: dict[Part, BackOff] = {"word": BackOff(chance), "picture": BackOff(chance)}
        self._bucket = Bucket()
        self._many = False  # whether many words waited when the last one was planned
        self._crowd = False  # people were told the newest of many: now the others, in one
        self._aside: set[Key] = set()
        self._doubted: set[Key] = set()  # failed, and then another one went: once more before they are set aside
        self._probed: Key | None = None  # the row that just failed, while another one is tried
        # What was settled (None) or refused (why) and may not be on the disk yet: never sent again for that.
        self._settled: dict[Key, str | None] = {}

    def next(self, now: float, closed: Collection[Lane] = ()) -> Batch | float:
        """What to send now, or for how many seconds there is nothing to send.

        ``closed``: lanes in which none may start now; people's alarms go beside another word, machines keep the order.
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
        rows = self._look()
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

    def delivered(self, parcel: Batch, now: float) -> None:
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

    def failed(self, parcel: Batch, why: str, now: float, after_s: float = 0.0) -> None:
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

    def refused(self, parcel: Batch, why: str) -> None:
        """It will never be taken."""
        self._backoffs[parcel.message.part].worked()
        self.count.parked += len(parcel.rows)
        self._settle(parcel.rows, why)

    def reached(self) -> None:
        """The other side is back: whatever the back-off says, the next one goes at once."""
        for backoff in self._backoffs.values():
            backoff.reached()

    def _plan(self, rows: Sequence[OutboxRow], now: float) -> Delivery:
        if not self._channel.people:
            return for_machines(rows)
        self._many = crowded(rows)
        last = self._bucket.left(now) < 2.0 + self._left_for_alarms(rows)
        return for_people(rows, pressed=self._crowd or last, aside=self._set_aside())

    def _left_for_alarms(self, rows: Sequence[OutboxRow]) -> float:
        """How many messages must be left when the next of these words goes: none while an alarm waits.

        One that is set aside counts too: it goes after the others, and must not wait until those may go.
        """
        alarm = any(row.part == "word" and row.event.alarms for row in rows)
        return 0.0 if alarm else float(FOR_ALARMS)

    def _set_aside(self) -> set[Key]:
        return self._aside | {self._probed} if self._probed else self._aside

    def _look(self) -> list[OutboxRow]:
        """What waits here and was not settled: enough of it to plan by."""
        people, limit = self._channel.people, AT_ONCE
        while True:
            found = self._queue.waiting(self._channel.key, newest_first=people, limit=limit)
            rows = [row for row in found if key_of(row) not in self._settled]
            all_ = len(found) < limit or limit >= MOST_ROWS
            if all_ or (not people and any(row.part == "word" for row in rows)):
                break
            limit *= 8
        self.waiting = len(rows)
        self.oldest_s = max((row.age_s for row in rows), default=0.0)
        self._record_again([row for row in found if key_of(row) in self._settled])
        return rows

    def _record_again(self, rows: Sequence[OutboxRow]) -> None:
        """What is settled and still listed could not be written down: once more."""
        self._settled = {key_of(row): self._settled[key_of(row)] for row in rows}
        for row in rows:
            try:
                self._settle([row], self._settled[key_of(row)])
            except Exception as error:  # a full disk: the next words go out all the same
                log.debug("%s: row %d is settled and cannot be written down (%s)", self._channel.key, row.row, error)
                return

    def _settle(self, rows: Sequence[OutboxRow], why: str | None) -> None:
        self._settled |= {key_of(row): why for row in rows}
        if why is None:
            self._queue.done([row.row for row in rows])
            return
        for row in rows:
            self._queue.park(row.row, why)


# Sends that are under way, each in a thread of its own: one that hangs is left behind, and the next one goes.


DEADLINES_S: dict[Part, float] = {"word": 60.0, "picture": 180.0}  # a weak network takes a minute for a picture
MOST_HUNG = 3  # left behind, of each part; then one more an hour is tried, and at most
HUNG_EVER = 8
SELDOM_S = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one parcel."""

    parcel: Batch
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

    def start(self, parcel: Batch) -> None:
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

    def __init__(self, channel: Channel, parcel: Batch, clock: Callable[[], float], wake: Callable[[], None]) -> None:
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


LOOK_S = 5.0  # what a journal could not read or write is tried again so soon

Answered = Callable[[Message, str | None, float], None]  # the message, what went wrong (None: delivered), milliseconds


@dataclass(frozen=True, slots=True)
class Stats:
    """How it stands with one channel, since the start."""

    key: str
    delivered: int  # rows: words and pictures
    failed: int  # tries that will be repeated
    parked: int  # rows the other side refused
    passed_over: int  # pictures that were gone, or too old and too many for people
    hung: int  # sends that did not answer in time
    hanging: int  # and are still under way
    waiting: int  # rows, when it last looked; of very many only the first are counted
    oldest_s: float  # how long the oldest of them had waited
    last_error: str | None  # what went wrong last; None: the last one went well
    last_ms: float | None  # how long the last delivery took


def _nobody(message: Message, error: str | None, took_ms: float) -> None:
    """Nobody wants to know."""


class Deliverer:
    """Feeds one channel from the queue until it is closed; everything happens in threads of its own.

    ``answered`` is told of each try, in the deliverer's thread. ``deadlines_s``: how long a word
    and a picture may take. The channel is closed with the deliverer.
    """

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        answered: Answered = _nobody,
        deadlines_s: dict[Part, float] | None = None,
    ) -> None:
        self.channel = channel
        self.key = channel.key
        self._clock = clock
        self._answered = answered
        self._wake = threading.Event()
        self._feed = DeliveryScheduler(channel, queue, chance)
        self._sends = Sends(channel, clock, self._wake.set, deadlines_s)
        self._error: str | None = None
        self._failing = False  # the last one was not delivered, and not refused
        self._refused: str | None = None  # why the last word was refused, until something is delivered
        self._took_ms: float | None = None
        self._unread: str | None = None  # why the journal could not be read, as it was last said
        self._closing = self._ended = False
        self._reached = threading.Event()  # the other side is back
        self._queue = queue
        queue.listen(self._wake.set)
        channel.listen(self._is_reached)
        self._thread = threading.Thread(target=self._run, name=f"outbox {self.key}", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Stats:
        """How it stands now; safe from any thread."""
        count = self._feed.count
        return Stats(
            key=self.key,
            delivered=count.delivered,
            failed=count.failed,
            parked=count.parked,
            passed_over=count.passed_over,
            hung=self._sends.hung,
            hanging=self._sends.hanging,
            waiting=self._feed.waiting,
            oldest_s=self._feed.oldest_s,
            last_error=self._error,
            last_ms=self._took_ms,
        )

    def status(self) -> str:
        """One line for people."""
        stats = self.stats
        counted = ((stats.waiting, "waiting"), (stats.parked, "refused"), (stats.hanging, "hanging"))
        words = [f"{stats.delivered} delivered", *(f"{number} {what}" for number, what in counted if number)]
        if stats.last_error:
            words.append(f"the last was not ({stats.last_error})")
        elif stats.last_ms is not None:
            words.append(f"the last in {stats.last_ms:.0f} ms")
        return f"{self.key}: {', '.join(words)}"

    def problem(self) -> str | None:
        """One sentence while the channel is not reached, as far as it knows itself, or refuses words; None: well."""
        why, refused = self._error if self._failing else self.channel.problem, self._refused
        if why:
            return f"{self.key}: not reached ({why}); messages wait and are sent later"
        return f"{self.key}: refuses messages ({refused})" if refused else None

    def finish(self) -> None:
        """Deliver what waits if that works at once, then end; returns at once. ``close`` waits for it."""
        self._closing = True
        self._wake.set()

    def close(self, within_s: float) -> bool:
        """``finish``, and wait for it so many seconds; False, and said, when something was left for the next time."""
        until = time.monotonic() + max(within_s, 0.0)
        self.finish()
        self._thread.join(max(within_s, 0.0) * 0.9)
        self._ended = True
        self._wake.set()
        self._queue.unlisten(self._wake.set)
        closing = threading.Thread(target=self._close_channel, name=f"close {self.key}", daemon=True)
        closing.start()
        closing.join(max(until - time.monotonic(), 0.05))
        left = self._feed.waiting
        if left:
            log.info("%s: %d not delivered yet; kept for the next time", self.key, left)
        return not left

    def _run(self) -> None:
        while not self._ended:
            try:
                wait_s = self._step()
                self._unread = None
            except Exception as error:  # nothing of it is lost by waiting
                wait_s = LOOK_S
                if (why := scrub(error_words(error))) != self._unread:
                    log.warning("%s: what waits cannot be read (%s); looking again", self.key, why)
                self._unread = why
            if self._closing and not self._sends.flying:
                return
            self._wake.wait(wait_s)
            self._wake.clear()

    def _step(self) -> float:
        """Take the answers and start what may start; for how many seconds there is nothing to do then."""
        now = self._clock()
        for answer in self._sends.answers(now):
            self._take(answer, now)
        if self._reached.is_set():
            self._reached.clear()
            self._feed.reached()
        while isinstance(found := self._feed.next(now, self._sends.closed(now)), Batch):
            self._sends.start(found)
        return min(LOOK_S, found, self._sends.due_s(now))

    def _is_reached(self) -> None:
        self._reached.set()
        self._wake.set()

    def _take(self, answer: Answer, now: float) -> None:
        """What one answer means for the rows, the state and whoever asked."""
        parcel, error = answer.parcel, answer.error
        if error is None:
            if self._failing:
                log.info("%s: reached again", self.key)
            self._error = self._refused = why = None
            self._failing = False
            self._took_ms = answer.took_s * 1000.0
            self._record(lambda: self._feed.delivered(parcel, now))
        else:
            why = scrub(error_words(error))
            if isinstance(error, RefusedError):
                self._failing = False  # it is there, and answers
                if parcel.message.part == "word":  # a picture too large, say, keeps no alarm from anybody
                    self._refused = why
                log.warning("%s: refused for good, and parked: %s", self.key, why)
                self._record(lambda: self._feed.refused(parcel, why))
            else:
                if why != self._error:
                    # A test is taken back where it does not arrive in time: nothing else may be promised.
                    test = all(event.kind == "test" for event in parcel.message.events)
                    kept = "trying again" if test else "it is kept, and tried again"
                    log.warning("%s: not delivered (%s); %s", self.key, why, kept)
                self._failing = True
                after_s = error.after_s if isinstance(error, NotYetError) else 0.0
                self._record(lambda: self._feed.failed(parcel, why, now, after_s))
            self._error = why
            if isinstance(error, HungError) and self._sends.hanging >= MOST_HUNG:
                log.error("%s: %d sends hang; it is tried seldom from now on", self.key, self._sends.hanging)
        try:
            self._answered(parcel.message, why, answer.took_s * 1000.0)
        except Exception as error:
            log.warning("%s: who waits for its answers failed (%s)", self.key, scrub(error_words(error)))

    def _record(self, write: Callable[[], None]) -> None:
        """A journal that cannot be written must not stop what is told."""
        try:
            write()
        except Exception as error:
            log.warning("%s: what became of it cannot be written down (%s)", self.key, scrub(error_words(error)))

    def _close_channel(self) -> None:
        try:
            self.channel.close()
        except Exception as error:
            log.warning("%s: could not be closed (%s)", self.key, scrub(error_words(error)))


def close_all(deliverers: Sequence[Deliverer], within_s: float) -> bool:
    """Close them side by side, all within so many seconds; False: something was left for the next time."""
    until = time.monotonic() + within_s
    for each in deliverers:
        each.finish()
    ended = [each.close(until - time.monotonic()) for each in deliverers]
    return all(ended)
