"""Which row goes next: in order for machines, the newest first for people; and words before pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.record.outbox import Message, Waiting

OLD_S = 3600.0  # what waited longer is told to people in one digest
FEW = 5  # newer ones go one by one; of more, all but the newest go into the digest
APPEARS_S = 60.0  # a picture is given so long to appear on the disk
MOST_TRIES = 5  # of an old picture for people

Key = tuple[str, int, str, str]  # what a row holds: its number changes when it comes from memory to the disk


def key_of(row: Waiting) -> Key:
    """What tells a row from all others of its channel, whatever its number."""
    return row.event.boot_id, row.event.seq, row.part, str(row.picture)


Lane = Literal["alarm", "word", "picture"]  # of each at most one is under way


@dataclass(frozen=True, slots=True)
class Parcel:
    """Rows that are sent as one message, oldest first."""

    rows: tuple[Waiting, ...]
    message: Message

    @property
    def lane(self) -> Lane:
        """An alarm's word does not wait behind another word."""
        alarm = self.message.part == "word" and any(event.alarms for event in self.message.events)
        return "alarm" if alarm else self.message.part


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent, if anything, and the pictures that are not worth it or gone: done without a word."""

    parcel: Parcel | None = None
    passed_over: tuple[Waiting, ...] = ()


def for_machines(rows: Sequence[Waiting]) -> Plan:
    """The next one of rows in the journal's order: its first word, and only without one its first picture."""
    word = next((row for row in rows if row.part == "word"), None)
    if word:
        return Plan(_parcel((word,)))
    gone: list[Waiting] = []
    for row in rows:
        if _there(row):
            return Plan(_parcel((row,)), tuple(gone))
        if row.age_s < APPEARS_S:
            break
        gone.append(row)
    return Plan(None, tuple(gone))


def for_people(rows: Sequence[Waiting], *, pressed: bool = False, aside: Collection[Key] = ()) -> Plan:
    """The next one of rows that come the newest first: an alarm, else another word, else a picture.

    ``pressed``: all words go in one, for too much was sent already. ``aside`` are rows that failed while others went:
    they wait until nothing else does.
    """
    words = [row for row in rows if row.part == "word"]
    if easy := [row for row in words if key_of(row) not in aside]:
        first = next((row for row in easy if row.event.alarms), easy[0])
        alone = not pressed and first.age_s <= OLD_S
        return Plan(_parcel((first,) if alone else easy[::-1]))
    if words:
        return Plan(_parcel(words[:1]))
    return _picture_for_people(rows)


def crowded(rows: Sequence[Waiting]) -> bool:
    """Whether so many new words wait that people are told the newest alone, and the others in one."""
    return sum(row.part == "word" and row.age_s <= OLD_S for row in rows) > FEW


def _picture_for_people(rows: Sequence[Waiting]) -> Plan:
    """A few of the new pictures, without one the newest of the old; the rest lies on the device."""
    there = [row for row in rows if _there(row)]
    fresh = [row for row in there if row.age_s <= OLD_S][:FEW]
    old = [] if fresh else [row for row in there if row.attempts < MOST_TRIES][:1]
    awaited = [row for row in rows if row not in there and row.age_s < APPEARS_S]
    kept = {key_of(row) for row in (*fresh, *old, *awaited)}
    # One that fails for itself must not stand before the others.
    best = sorted((*fresh, *old), key=lambda row: row.attempts >= MOST_TRIES)
    return Plan(_parcel(best[:1]) if best else None, tuple(row for row in rows if key_of(row) not in kept))


def _there(row: Waiting) -> bool:
    """Whether the picture lies where it should: the quota may have taken it, or the card died."""
    try:
        return row.picture is not None and row.picture.is_file()
    except OSError:
        return False


def _parcel(rows: Sequence[Waiting]) -> Parcel:
    late_s = max(row.age_s for row in rows)
    picture = rows[0].picture if rows[0].part == "picture" else None
    return Parcel(tuple(rows), Message(tuple(row.event for row in rows), rows[0].part, picture, late_s))
