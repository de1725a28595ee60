"""A channel's own thread: it takes what waits in the journal, sends it, and never lets a send that hangs hold it up."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.outbox.feed import Feed
from edge.outbox.plan import Parcel
from edge.outbox.scrub import error_words, scrub
from edge.outbox.sends import MOST_HUNG, Answer, HungError, Sends
from edge.outbox.turn import Turn
from edge.record.outbox import Channel, Message, NotYetError, Part, Queue, RefusedError

log = logging.getLogger(__name__)

LOOK_S = 5.0  # another process may have put something in the journal, or left the turn to us

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
    mine: bool  # False: another process has the turn, and delivers what earlier runs left


def _nobody(message: Message, error: str | None, took_ms: float) -> None:
    """Nobody wants to know."""


class Deliverer:
    """Feeds one channel from the queue until it is closed; everything happens in threads of its own.

    ``answered`` is told of each try, in the deliverer's thread. ``turn`` keeps two processes with one journal from
    telling the same twice; what the run with the id ``run`` told itself, it delivers without it. ``deadlines_s``: how
    long a word and a picture may take. The channel is closed with the deliverer.
    """

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        answered: Answered = _nobody,
        turn: Turn | None = None,
        run: str | None = None,
        deadlines_s: dict[Part, float] | None = None,
    ) -> None:
        self.channel = channel
        self.key = channel.key
        self._clock = clock
        self._answered = answered
        self._turn = turn
        self._mine = turn is None
        self._wake = threading.Event()
        self._feed = Feed(channel, queue, chance, run)
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
            mine=self._mine,
        )

    def status(self) -> str:
        """One line for people."""
        stats = self.stats
        counted = ((stats.waiting, "waiting"), (stats.parked, "refused"), (stats.hanging, "hanging"))
        words = [f"{stats.delivered} delivered", *(f"{number} {what}" for number, what in counted if number)]
        if not stats.mine:
            words.append("another process delivers what earlier runs left")
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
        if self._turn:
            self._turn.release()
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
        self._mine = self._turn is None or self._turn.take()
        if self._reached.is_set():
            self._reached.clear()
            self._feed.reached()
        while isinstance(found := self._feed.next(now, self._sends.closed(now), mine=self._mine), Parcel):
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
