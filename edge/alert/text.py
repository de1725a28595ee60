"""Places without the internet: a command of the user's own sends each message as one line of text, by SMS or LoRa."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from edge.alert.delivery import FOR_ALARMS
from edge.alert.local_sinks import Command, CommandError, variables
from edge.alert.notify import LATE_S, says_all, span, title_of, wanted_by_people, when
from edge.errors import one_line
from edge.record.outbox import Message, NotYetError, RefusedError
from edge.schema import Event, readable

MAX_BYTES = 180  # of UTF-8: twenty of them an hour are less than 1 % of the air (docs/lora.md)
LIMIT_S = 55.0  # what the command may take: less than the deliverer waits for an answer
WAIT_S = 3.0  # for the one before it, if it is to be begun; less than the deliverer has beside LIMIT_S
EX_DATAERR = 65  # of sysexits.h: this text will never be taken
MAX_RUNS = 20  # in
WITHIN_S = 3600.0  # seconds: a radio may use little of the air, and an SMS costs money
CLOCK = "%H:%M"


class Text:
    """A channel for people: one line of text of at most 180 bytes for each message, and no pictures.

    The shell runs ``line``. Exit code 0 is delivered, 65 is refused for good, and anything else is tried again; so is
    what takes longer than 55 s. ``runs``: when it ran in the last hour, time.monotonic(); all of these count.
    ``sending``: held while it runs.
    """

    key = "text"  # of the only one, whatever its command: what waits is sent by the new one
    people = True
    pictures = False
    problem: str | None = None  # nothing is known before something is sent
    wants = staticmethod(wanted_by_people)

    def __init__(
        self,
        line: str,
        runs: deque[float] | None = None,
        sending: threading.Lock | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = Command(line)
        self._runs = deque[float]() if runs is None else runs
        self._sending = sending or threading.Lock()
        self._clock = clock

    def send(self, message: Message) -> None:
        """Run the command and wait, one at a time: a modem or a radio is one device.

        Raises RefusedError for exit code 65, CommandError for any other but 0 and for the time limit, and NotYetError
        where another one runs, or where it ran too often.
        """
        began = self._clock()
        if not self._sending.acquire(timeout=LIMIT_S):
            raise NotYetError("the message before it is still being sent", 1.0)
        try:
            if self._clock() - began > WAIT_S:
                raise NotYetError("the message before it was still being sent", 0.0)  # begun with its whole time
            self._count(self._clock(), alarm=any(event.alarms for event in message.events))
            environment = variables(message.events[-1]) | {"BEAR_TEXT_ID": text_id(message)}
            words = text_of(message, datetime.now(UTC))
            code = self._command.run(words, environment, LIMIT_S)
        finally:
            self._sending.release()
        if code == EX_DATAERR:
            raise RefusedError(f"{self._command.shown} refuses this text (exit code {code})")
        if code:
            raise CommandError(f"{self._command.shown} ended with exit code {code}")

    def _count(self, now: float, *, alarm: bool) -> None:
        """Count a run. Raises NotYetError where that is too many; other messages leave some of them to alarms."""
        while self._runs and now - self._runs[0] >= WITHIN_S:
            self._runs.popleft()
        most = MAX_RUNS if alarm else MAX_RUNS - FOR_ALARMS
        if len(self._runs) >= most:
            after_s = self._runs[-most] + WITHIN_S - now
            at = datetime.now() + timedelta(seconds=after_s)
            raise NotYetError(
                f"{self._command.shown} ran {most} times in an hour; the next is at {at:{CLOCK}}", after_s
            )
        self._runs.append(now)

    def listen(self, call: Callable[[], None]) -> None:
        """Do nothing: no connection is held that could come back."""

    def close(self) -> None:
        """Do nothing: no connection is held between two messages."""


def text_of(message: Message, now: datetime, zone: tzinfo | None = None) -> str:
    """Return a message's line: "BEAR at yard: brown bear, 97% sure, hives, 02:14. #3fa9", at most 180 bytes of UTF-8.

    What is too long is cut before the time. ``now`` is aware, and times are in ``zone`` (default: this machine's).
    """
    head, at = _of_many(message, now, zone) if message.digest else _of_one(message.events[0], now, zone)
    late = f", {span(message.late_s)} late" if message.late_s >= LATE_S else ""
    tail = f", {at}{late}. #{text_id(message)}"
    head = one_line(readable(head))
    left = MAX_BYTES - len(tail.encode())
    if len(head.encode()) > left:
        head = head.encode()[: left - 3].decode(errors="ignore") + "..."  # the alphabet of SMS has no "…"
    return head + tail


def text_id(message: Message) -> str:
    """Return four hex digits: the same each time that a message is sent, and others for others."""
    numbers = ",".join(f"{event.boot_id}-{event.seq}" for event in message.events)
    return hashlib.sha256(numbers.encode()).hexdigest()[:4]


def _of_one(event: Event, now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    words = []
    if event.kind == "bear":
        words = [event.animal, *([f"{event.score:.0%} sure"] if event.score is not None else []), *event.zones]
    elif event.kind != "test":
        words = [(event.detail or (event.label or "").replace("_", " ")).rstrip(".")]
    if event.clock_synced is False:
        words.append("sender's clock not set")
    told = ", ".join(filter(None, words))
    head = told if says_all(event) else f"{title_of(event)}: {told}" if told else title_of(event)
    return head, when(event, now, zone, CLOCK)


def _of_many(message: Message, now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    events = message.events
    alarms = [event for event in events if event.alarms]
    counts = Counter("alarms" if event.alarms else "other messages" for event in events)
    told = ", ".join(f"{what} {number}" for what, number in counts.items())
    title = f"{title_of(alarms[-1])}, and {len(events) - 1} more" if alarms else f"{len(events)} messages"
    return f"{title} ({told})", f"{when(events[0], now, zone, CLOCK)} to {when(events[-1], now, zone, CLOCK)}"
