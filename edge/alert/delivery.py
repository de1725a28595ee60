"""Deliver from the journal's outbox: one scheduler and one thread for each channel.

Machines (MQTT, webhook) get everything in the journal's order. People get the newest alarm first, and what is old or
too much in one digest. What fails is tried again after 1, 2, 4 … 300 s; what is refused for good is a dead letter.
"""

from __future__ import annotations

import concurrent.futures
import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Literal

from edge.alert.redact import error_words, scrub
from edge.background import DeadlineError, call_in_thread, call_with_deadline
from edge.record.outbox import WITHDRAWN, Channel, Message, NotYetError, OutboxRow, Part, Queue, RefusedError

log = logging.getLogger(__name__)

# When to try again, and how often people may be called. Times are seconds of whatever clock the caller has.

RETRY_MIN_S = 1.0  # after the first failure; then 2, 4, …
RETRY_MAX_S = 300.0
NEWS_RETRY_S = 3.0  # something new is tried so soon after a failure, whatever the back-off
RETRY_AFTER_MAX_S = 300.0  # the longest a server's Retry-After is heeded

BURST = 10  # messages to people at once
EACH_S = 30.0  # and then one in so many seconds
FOR_ALARMS = 5  # of the burst: other words leave so many
FOR_WORDS = 2  # pictures leave so many


class BackOff:
    """Wait 1, 2, 4 … 300 s after failures, up to a quarter less by ``chance`` (0 to 1): many must not knock at once."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.failures = 0  # in a row
        self._chance = chance
        self._failed_at = -math.inf
        self._due = -math.inf
        self._news_due = -math.inf

    def failed(self, now: float, after_s: float = 0.0) -> None:
        """Count one more failure; ``after_s``: how long the other side asks to be left alone."""
        self.failures += 1
        wait_s = min(RETRY_MAX_S, RETRY_MIN_S * 2.0 ** min(self.failures - 1, 20)) * (1.0 - 0.25 * self._chance())
        asked_s = min(after_s, RETRY_AFTER_MAX_S)
        self._failed_at = now
        self._due = now + max(wait_s, asked_s)
        self._news_due = now + max(NEWS_RETRY_S, asked_s)

    def worked(self) -> None:
        """Let the next one go at once."""
        self.failures = 0
        self.reached()

    def reached(self) -> None:
        """Try at once, for the other side is back; should that fail, go on with the same steps."""
        self._due = self._failed_at = -math.inf

    def wait_s(self, now: float, newest_age_s: float) -> float:
        """Return how long to wait still, when the newest message has waited for ``newest_age_s``; 0: go."""
        new = newest_age_s < now - self._failed_at
        return max(0.0, (min(self._due, self._news_due) if new else self._due) - now)


class RateLimit:
    """Ten messages at once, then one in 30 seconds: a flood must not make hundreds."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = -math.inf

    def left(self, now: float) -> float:
        """Return how many messages may go now; a part of one is not there yet."""
        if now > self._at:
            self._left = min(float(BURST), self._left + (now - self._at) / EACH_S)
            self._at = now
        return self._left

    def take(self, now: float) -> None:
        """Count one that was delivered."""
        self._left = max(0.0, self.left(now) - 1.0)

    def wait_s(self, now: float, want: float) -> float:
        """Return the seconds until so many may go."""
        return max(0.0, (want - self.left(now)) * EACH_S)


# What one channel is sent next: words before pictures.

OLD_S = 3600.0  # what waited longer goes to people in one digest
MAX_SINGLES = 5  # newer words go one by one; of more, all but the newest go into the digest
APPEARS_S = 600.0  # a picture is queued with its event, and given so long to appear on the disk, or the disk itself
APPEARS_LOOK_S = 0.5  # and looked for so often
DISK_S = 1.0  # what the look may take; a disk that hangs is asked again after a minute
DISK_AGAIN_S = 60.0
MAX_PICTURE_TRIES = 5  # of an old picture for people
SUSPECT_TRIES = 3  # failures after which another word is tried: perhaps it is not the network
MAX_STRIKES = 2  # so often another word went where this one failed: it waits until nothing else does
ROWS_FIRST = 20  # asked for first
MAX_ROWS = 100_000

Key = tuple[str, int, str, str]  # what a row holds: its number changes when it comes from memory to the disk
Lane = Literal["alarm", "word", "picture"]  # of each at most one is under way


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are sent as one message, oldest first."""

    rows: tuple[OutboxRow, ...]
    message: Message

    @property
    def lane(self) -> Lane:
        """Return its lane: an alarm's word does not wait behind another word."""
        alarm = self.message.part == "word" and any(event.alarms for event in self.message.events)
        return "alarm" if alarm else self.message.part


@dataclass(slots=True)
class Stats:
    """Counts of one channel since the start."""

    delivered: int = 0  # rows: words and pictures
    failed: int = 0  # tries that will be repeated
    dead_letters: int = 0  # rows the other side refused for good
    passed_over: int = 0  # pictures that were gone, or too old and too many for people
    hung: int = 0  # sends that did not answer in time
    hanging: int = 0  # and are still under way
    waiting: int = 0  # rows, when it last looked; of very many only the first are counted
    last_error: str | None = None  # what went wrong last; None: the last one went well
    last_ms: float | None = None  # how long the last delivery took


class DeliveryScheduler:
    """Decides what one channel is sent next and when, and notes in the queue what became of it.

    It knows no thread and reads no clock; times are seconds of one clock that only goes forward. ``chance`` (0 to 1)
    shakes the back-off. What the queue raises is passed on: call again later. ``rate`` may be that of the alarm before.
    """

    def __init__(
        self, channel: Channel, queue: Queue, chance: Callable[[], float], rate: RateLimit | None = None
    ) -> None:
        self.stats = Stats()
        self._channel = channel
        self._queue = queue
        self._backoffs: dict[Part, BackOff] = {"word": BackOff(chance), "picture": BackOff(chance)}
        self._rate = rate or RateLimit()
        self._many = False  # whether many new words waited when the last one was planned
        self._rest_together = False  # people got the newest of many: the others go in one digest
        self._suspect: Key | None = None  # the word that just failed, while another one is tried
        self._strikes: Counter[Key] = Counter()  # how often another word went where this one had failed
        self._missed: dict[int, float] = {}  # pictures that are not on the disk, by row: since when
        self._disk_at = -math.inf  # when the disk may be asked again

    def next(self, now: float, closed: Collection[Lane] = ()) -> Batch | float:
        """Return what to send now, or for how many seconds there is nothing to send.

        ``closed``: lanes in which none may start now. An alarm to people goes beside another word; machines keep the
        order.
        """
        beside = "word" in closed
        if beside and ("alarm" in closed or not self._channel.people):
            return math.inf
        newest = self._queue.waiting(self._channel.key, newest_first=True, limit=1)
        self.stats.waiting = max(self.stats.waiting, 1) if newest else 0
        if not newest:
            return math.inf
        if wait_s := self._backoffs["word"].wait_s(now, newest[0].age_s):
            return wait_s
        rows = self._look()
        words = [row for row in rows if row.part == "word"]
        if beside:
            words = [row for row in words if row.event.alarms and not self._postponed(row)]
        if words:
            return self._word_for_people(words, now) if self._channel.people else _batch(words[:1])
        if beside or "picture" in closed:
            return math.inf
        return self._backoffs["picture"].wait_s(now, newest[0].age_s) or self._picture(rows, now)

    def delivered(self, batch: Batch, now: float) -> None:
        """Note that it arrived."""
        self._backoffs[batch.message.part].worked()
        self._rate.take(now)
        self.stats.delivered += len(batch.rows)
        if self._suspect:  # it fails for itself, or the network came back just now
            self._strikes[self._suspect] += 1
            self._suspect = None
        if batch.message.part == "word":
            self._rest_together = self._many and not batch.message.digest
        self._queue.done([row.row for row in batch.rows])

    def failed(self, batch: Batch, why: str, now: float, after_s: float = 0.0) -> None:
        """Note that it did not arrive, and stays; ``after_s``: how long the other side asks to be left alone."""
        self.stats.failed += 1
        self._rest_together = False
        row = batch.rows[-1]
        stubborn = self._channel.people and batch.lane != "picture" and len(batch.rows) == 1 and not after_s
        if stubborn and row.attempts >= SUSPECT_TRIES and self._suspect is None and not self._postponed(row):
            self._suspect = key_of(row)  # another one is tried at once
        else:
            self._suspect = None
            self._backoffs[batch.message.part].failed(now, after_s)
        self._queue.again(row.row, why)

    def refused(self, batch: Batch, why: str) -> None:
        """Note that it will never be taken."""
        self._backoffs[batch.message.part].worked()
        self.stats.dead_letters += len(batch.rows)
        for row in batch.rows:
            self._queue.dead_letter(row.row, why)

    def reached(self) -> None:
        """Send the next one at once, whatever the back-off: the other side is back."""
        for backoff in self._backoffs.values():
            backoff.reached()

    def _look(self) -> list[OutboxRow]:
        """Return enough of what waits to plan by: for machines up to the first word, for people all."""
        people, limit = self._channel.people, ROWS_FIRST
        while True:
            rows = self._queue.waiting(self._channel.key, newest_first=people, limit=limit)
            if len(rows) < limit or limit >= MAX_ROWS or (not people and any(row.part == "word" for row in rows)):
                break
            limit *= 8
        self.stats.waiting = len(rows)
        return rows

    def _postponed(self, row: OutboxRow) -> bool:
        return key_of(row) == self._suspect or self._strikes[key_of(row)] >= MAX_STRIKES

    def _word_for_people(self, words: Sequence[OutboxRow], now: float) -> Batch | float:
        """Choose the newest alarm, else the newest word; all in one digest where it is old or too much was sent."""
        want = 1.0 if any(row.event.alarms for row in words) else 1.0 + FOR_ALARMS
        if wait_s := self._rate.wait_s(now, want):
            return wait_s
        self._many = sum(row.age_s <= OLD_S for row in words) > MAX_SINGLES
        easy = [row for row in words if not self._postponed(row)]
        if not easy and self._suspect:  # there is no other to try
            self._suspect = None
            self._backoffs["word"].failed(now)
            return self._backoffs["word"].wait_s(now, math.inf)
        if not easy:
            return _batch(words[:1])
        first = next((row for row in easy if row.event.alarms), easy[0])
        together = self._rest_together or first.age_s > OLD_S or self._rate.left(now) < want + 1.0
        return _batch(easy[::-1] if together else [first])

    def _picture(self, rows: Sequence[OutboxRow], now: float) -> Batch | float:
        """Choose the next picture; settle those that are gone, or of no use to people any more."""
        if self._channel.people and (wait_s := self._rate.wait_s(now, 1.0 + FOR_WORDS)):
            return wait_s
        there = self._there(rows, now)
        self._missed = {row.row: self._missed.get(row.row, now) for row in rows if row.row not in there}
        gone = {row for row, since in self._missed.items() if now - since >= APPEARS_S}
        choose = _picture_for_people if self._channel.people else _picture_for_machines
        best, surplus = choose([row for row in rows if row.row in there])
        for number in gone:
            self._queue.dead_letter(number, WITHDRAWN)
        if surplus:
            self._queue.done([row.row for row in surplus])
        self.stats.passed_over += len(gone) + len(surplus)
        self.stats.waiting = len(rows) - len(gone) - len(surplus)
        if best:
            return _batch([best])
        return APPEARS_LOOK_S if self.stats.waiting else math.inf

    def _there(self, rows: Sequence[OutboxRow], now: float) -> set[int]:
        """Return the rows whose picture is on the disk: not written yet, deleted, or unplugged is not there."""
        if now < self._disk_at:
            return set()
        try:
            return call_with_deadline(lambda: {row.row for row in rows if _is_file(row)}, DISK_S, "the pictures' disk")
        except DeadlineError:
            self._disk_at = now + DISK_AGAIN_S  # words must not wait for a disk that hangs
            return set()


def _picture_for_machines(there: Sequence[OutboxRow]) -> tuple[OutboxRow | None, list[OutboxRow]]:
    """Return the first picture; machines get them all, in order."""
    return (there[0] if there else None), []


def _picture_for_people(there: Sequence[OutboxRow]) -> tuple[OutboxRow | None, list[OutboxRow]]:
    """Return one of the few newest pictures, else the newest of the old; and the rest, which is not sent."""
    best = [row for row in there if row.age_s <= OLD_S][:MAX_SINGLES]
    best = best or [row for row in there if row.attempts < MAX_PICTURE_TRIES][:1]
    best.sort(key=lambda row: row.attempts >= MAX_PICTURE_TRIES)  # one that fails for itself goes last
    return (best[0] if best else None), [row for row in there if row not in best]


def _is_file(row: OutboxRow) -> bool:
    try:
        return row.picture is not None and row.picture.is_file()
    except OSError:
        return False


def key_of(row: OutboxRow) -> Key:
    """Return what distinguishes a row from all others of its channel, whatever its number."""
    return row.event.boot_id, row.event.seq, row.part, str(row.picture)


def _batch(rows: Sequence[OutboxRow]) -> Batch:
    late_s = max(row.age_s for row in rows)
    picture = rows[0].picture if rows[0].part == "picture" else None
    return Batch(tuple(rows), Message(tuple(row.event for row in rows), rows[0].part, picture, late_s))


# Sends that are under way, each in a thread of its own: one that hangs is left behind, and the next one goes.


DEADLINES_S: dict[Part, float] = {"word": 60.0, "picture": 180.0}  # a weak network takes a minute for a picture
MAX_HUNG = 3  # left behind, of each part; then one more an hour is tried, and at most
MAX_HUNG_EVER = 8
HUNG_RETRY_S = 3600.0


class HungError(TimeoutError):
    """A send did not answer in its time and is left behind."""


class Sends:
    """At most one of each lane under way; for use from one thread, ``wake`` is called from theirs."""

    def __init__(self, channel: Channel, stats: Stats, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self.flying: dict[Lane, _Send] = {}
        self._channel = channel
        self._stats = stats
        self._clock = clock
        self._wake = wake
        self._left: list[_Send] = []  # they hang
        self._left_at: dict[Part, float] = {}  # when the last one was left behind

    def start(self, batch: Batch) -> None:
        """Send it; returns at once."""
        self.flying[batch.lane] = _Send(self._channel, batch, self._clock, self._wake)

    def closed(self, now: float) -> set[Lane]:
        """Return the lanes in which none may start now: one is under way, or too many hang.

        While an alarm is under way no other word may start, but an alarm may beside another word.
        """
        closed: set[Lane] = {part for part in DEADLINES_S if part in self.flying or self._too_many(part, now)}
        if "alarm" in self.flying or self._too_many("word", now):
            closed |= {"alarm", "word"}
        return closed

    def due_s(self, now: float) -> float:
        """Return the seconds until one is too late."""
        times = [send.began + DEADLINES_S[send.batch.message.part] - now for send in self.flying.values()]
        return max(0.0, min(times, default=float("inf")))

    def answers(self, now: float) -> list[tuple[Batch, BaseException | None, float]]:
        """Return what has ended and what is given up, with the error and the seconds it took.

        Of those left behind only what arrived after all.
        """
        found = []
        for lane, send in list(self.flying.items()):
            part = send.batch.message.part
            if send.ended is not None:
                found.append((send.batch, send.error, send.ended - send.began))
            elif (took_s := now - send.began) >= DEADLINES_S[part]:
                found.append((send.batch, HungError(f"no answer within {took_s:.0f} s"), took_s))
                self._left.append(send)
                self._left_at[part] = now
                self._stats.hung += 1
            else:
                continue
            del self.flying[lane]
        for send in tuple(self._left):
            if send.ended is not None:
                self._left.remove(send)
                if send.error is None:
                    found.append((send.batch, None, send.ended - send.began))
        self._stats.hanging = len(self._left)
        return found

    def _too_many(self, part: Part, now: float) -> bool:
        hanging = sum(send.batch.message.part == part for send in self._left)
        return hanging >= MAX_HUNG_EVER or (hanging >= MAX_HUNG and now - self._left_at[part] < HUNG_RETRY_S)


class _Send:
    def __init__(self, channel: Channel, batch: Batch, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self.batch = batch
        self.began = clock()
        self.ended: float | None = None
        self.error: BaseException | None = None  # once it has ended; None: it arrived
        self._clock = clock
        self._wake = wake
        call_in_thread(partial(channel.send, batch.message), f"send {channel.key}").add_done_callback(self._note)

    def _note(self, sent: Future[None]) -> None:
        self.error = sent.exception()
        self.ended = self._clock()
        self._wake()


LOOK_S = 5.0  # what a journal could not read or write is tried again so soon


class Deliverer:
    """Feeds one channel from the queue until it is closed, and the channel with it; all in threads of its own.

    ``stats`` may be read from any thread.
    """

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        rate: RateLimit | None = None,
    ) -> None:
        self.channel = channel
        self.key = channel.key
        self._clock = clock
        self._wake = threading.Event()
        self._scheduler = DeliveryScheduler(channel, queue, chance, rate)
        self.stats = self._scheduler.stats
        self._sends = Sends(channel, self.stats, clock, self._wake.set)
        self._failing = False  # the last one was not delivered, and not refused
        self._refused: str | None = None  # why the last word was refused, until something is delivered
        self._unread: str | None = None  # why the journal could not be read, as it was last logged
        self._closing = self._ended = False
        self._reached = threading.Event()  # the other side is back
        self._queue = queue
        queue.listen(self._wake.set)
        channel.listen(self._is_reached)
        self._running = call_in_thread(self._run, f"outbox {self.key}")

    def status(self) -> str:
        """Return one line for people."""
        stats = self.stats
        counted = ((stats.waiting, "waiting"), (stats.dead_letters, "refused"), (stats.hanging, "hanging"))
        words = [f"{stats.delivered} delivered", *(f"{number} {what}" for number, what in counted if number)]
        if stats.last_error:
            words.append(f"the last was not ({stats.last_error})")
        elif stats.last_ms is not None:
            words.append(f"the last in {stats.last_ms:.0f} ms")
        return f"{self.key}: {', '.join(words)}"

    def problem(self) -> str | None:
        """Return one sentence while the channel is not reached, as far as it knows, or refuses words; None: well."""
        why, refused = self.stats.last_error if self._failing else self.channel.problem, self._refused
        if why:
            return f"{self.key}: not reached ({why}); messages wait and are sent later"
        return f"{self.key}: refuses messages ({refused})" if refused else None

    def finish(self) -> None:
        """Deliver what waits if that works at once, then end; returns at once. ``close`` waits for it."""
        self._closing = True
        self._wake.set()

    def close(self, within_s: float) -> bool:
        """``finish``, and wait for it so many seconds; False, and logged, when something was left for the next time."""
        until = time.monotonic() + max(within_s, 0.0)
        self.finish()
        concurrent.futures.wait([self._running], max(within_s, 0.0) * 0.9)
        self._ended = True
        self._wake.set()
        self._queue.unlisten(self._wake.set)
        try:
            call_with_deadline(self.channel.close, max(until - time.monotonic(), 0.05), f"close {self.key}")
        except DeadlineError:
            log.debug("%s: goes on closing", self.key)
        except Exception as error:
            log.warning("%s: could not be closed (%s)", self.key, scrub(error_words(error)))
        if left := self.stats.waiting:
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
        """Take the answers and start what may start; return for how many seconds there is nothing to do."""
        now = self._clock()
        for batch, error, took_s in self._sends.answers(now):
            self._take(batch, error, took_s, now)
        if self._reached.is_set():
            self._reached.clear()
            self._scheduler.reached()
        while isinstance(found := self._scheduler.next(now, self._sends.closed(now)), Batch):
            self._sends.start(found)
        return min(LOOK_S, found, self._sends.due_s(now))

    def _is_reached(self) -> None:
        self._reached.set()
        self._wake.set()

    def _take(self, batch: Batch, error: BaseException | None, took_s: float, now: float) -> None:
        if error is None:
            if self._failing:
                log.info("%s: reached again", self.key)
            self.stats.last_error = self._refused = None
            self._failing = False
            self.stats.last_ms = took_s * 1000.0
            self._scheduler.delivered(batch, now)
        else:
            why = scrub(error_words(error))
            if isinstance(error, RefusedError):
                self._failing = False  # it is there, and answers
                if batch.message.part == "word":  # a picture that is too large keeps no alarm from anybody
                    self._refused = why
                log.warning("%s: refused for good, and not sent again: %s", self.key, why)
                self._scheduler.refused(batch, why)
            else:
                if why != self.stats.last_error:
                    log.warning("%s: not delivered (%s); it is kept, and tried again", self.key, why)
                self._failing = True
                after_s = error.after_s if isinstance(error, NotYetError) else 0.0
                self._scheduler.failed(batch, why, now, after_s)
            self.stats.last_error = why
            if isinstance(error, HungError) and self.stats.hanging >= MAX_HUNG:
                log.error("%s: %d sends hang; it is tried seldom from now on", self.key, self.stats.hanging)


def close_all(deliverers: Sequence[Deliverer], within_s: float) -> bool:
    """Close them side by side, all within so many seconds; False: something was left for the next time."""
    until = time.monotonic() + within_s
    for each in deliverers:
        each.finish()
    ended = [each.close(until - time.monotonic()) for each in deliverers]
    return all(ended)
