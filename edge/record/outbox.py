"""Outbox: messages over a network, at least once, across restarts, and never in the way of the alarm.

The journal keeps a row for each event and each channel that wants it (``Queue``); a ``Deliverer``
(``edge.alert.delivery``) feeds each channel from there, in its own thread. A channel (MQTT, a webhook, people's
phones) only knows how to send one message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edge.schema import Event

Part = Literal["word", "picture"]  # the word goes first and never waits for the picture
WITHDRAWN = "the picture is not on the disk"  # the error of a row that was not refused, but is not sent any more


class RefusedError(RuntimeError):
    """The other side will never take this message (HTTP 400, a topic that is not allowed): it is a dead letter."""


class NotYetError(RuntimeError):
    """The other side asks to be left alone for a while (HTTP 429 or 503 with Retry-After)."""

    def __init__(self, why: str, after_s: float) -> None:
        super().__init__(why)
        self.after_s = after_s  # seconds


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One row of the outbox: something one channel has not delivered yet."""

    row: int  # what the queue knows it by; below zero: only in memory, gone with the power
    event: Event
    part: Part
    picture: Path | None  # where the picture lies, of a row whose part is "picture"
    age_s: float  # how long it has waited, seconds
    attempts: int  # how often it was tried


@dataclass(frozen=True, slots=True)
class Message:
    """Message for a channel: one event's word or picture, or the digest of several old ones."""

    events: tuple[Event, ...]  # one, or those of a digest, oldest first
    part: Part
    picture: Path | None = None
    late_s: float = 0.0  # how long the (oldest) event waited, seconds

    @property
    def digest(self) -> bool:
        """Return True when several old events are sent in one."""
        return len(self.events) > 1


class Route(Protocol):
    """Events that a channel wants: all the journal needs to know of it."""

    key: str  # unique and stable over restarts, without secrets: "mqtt 10.0.0.7:1883"
    pictures: bool  # whether it takes pictures too

    def wants(self, event: Event) -> bool:
        """Return True when this event goes to it."""


class Channel(Route, Protocol):
    """Sends one message to one place over a network."""

    people: bool  # True: alarms and the newest first, old ones in one digest; False: machines, strictly in order

    @property
    def problem(self) -> str | None:
        """Return in one sentence why it cannot be reached, as far as it knows without sending; None: not known."""

    def send(self, message: Message) -> None:
        """Send it and wait until it is delivered: PUBACK, 2xx, or what the other side's word for it is.

        Raises RefusedError for what will never be taken; anything else raised means: try again later. Must be safe to
        call while another call is under way: a word does not wait for a picture, nor for a send that hangs.
        """

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, from any thread, when the other side was away and is back; it must return at once.

        A channel that holds no connection never calls.
        """

    def close(self) -> None:
        """Close the connection."""


class Queue(Protocol):
    """The rows that wait, channel by channel; safe to call from any thread. The journal keeps them."""

    def waiting(self, channel: str, *, newest_first: bool = False, limit: int = 100) -> list[OutboxRow]:
        """Return what this channel has not delivered yet, in the order of the journal or the newest first."""

    def done(self, rows: Sequence[int]) -> None:
        """Note that these were delivered: they are not listed again, even where that cannot be written yet."""

    def again(self, row: int, why: str) -> None:
        """Note that this one failed and stays; ``why`` in one sentence without secrets."""

    def dead_letter(self, row: int, why: str) -> None:
        """Note that this one was refused for good: it is kept and shown, and not tried again."""

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, from any thread, when there is something new; it must return at once."""

    def unlisten(self, call: Callable[[], None]) -> None:
        """Stop calling it."""
