"""What the journal knows, happening by happening, for people who ask; also while the alarm writes it."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from edge.errors import OptionError
from edge.evidence.review import Review
from edge.journal.layout import REVIEWS
from edge.journal.locks import Alive
from edge.journal.read_only import ReadOnly
from edge.journal.times import Clock, Times, utc
from edge.schema import Event

log = logging.getLogger(__name__)

ALIVE = timedelta(minutes=30)  # a run that said nothing for longer no longer runs
AT_ONCE = 500  # rows asked for in one query
WITHDRAWN = "a test that was over"  # how the error of a row begins that `alert test` takes back
State = Literal["over", "going on", "cut off"]


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a happening, and when it truly was."""

    event: Event
    at: datetime  # UTC; corrected where the clock was set only afterwards
    clock: Clock
    line: str  # the event as the journal holds it, JSON


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it stands with one part of one event on its way to one channel."""

    seq: int  # the event's
    channel: str
    part: str  # "word" or "picture"
    state: str  # "waiting", "done" or "parked"
    attempts: int
    error: str | None
    queued_at: str  # ISO 8601, UTC, by the device's clock
    settled_at: str | None

    @property
    def withdrawn(self) -> bool:
        """Whether it was taken back here; nobody has refused it."""
        return self.state == "parked" and (self.error or "").startswith(WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Happening:
    """What belongs together, from new to end."""

    told: tuple[Told, ...]  # in the journal's order; at least one
    deliveries: tuple[Delivery, ...]
    state: State  # "cut off": the alarm ended before it did
    review: Review | None = None  # what a person said of it last, as far as the journal was told

    @property
    def first(self) -> Told:
        """Its first event."""
        return self.told[0]

    @property
    def last(self) -> Told:
        """Its last event."""
        return self.told[-1]

    @property
    def id(self) -> str:
        """What all its events share."""
        return self.first.event.id

    @property
    def label(self) -> str | None:
        """What it was taken for when that was last said."""
        return next((told.event.label for told in reversed(self.told) if told.event.label), None)

    @property
    def top_score(self) -> float | None:
        """The highest bear probability, 0 to 1."""
        given = (score for told in self.told for score in (told.event.top_score, told.event.score))
        return max((score for score in given if score is not None), default=None)

    @property
    def zones(self) -> tuple[str, ...]:
        """Every zone it was seen in, in order."""
        return tuple(dict.fromkeys(name for told in self.told for name in told.event.zones))

    @property
    def lasted_s(self) -> float | None:
        """Seconds from its first event to its last; None where there is but one."""
        if len(self.told) == 1:
            return None
        begin, end = self.first.event.media_time_s, self.last.event.media_time_s
        if begin is not None and end is not None:
            return max(end - begin, 0.0)
        return max((self.last.at - self.first.at).total_seconds(), 0.0)


class JournalReader:
    """The journal at ``path``, read only, as it was when this was made; use it in a ``with``.

    ``now`` (UTC) says which run may still go on. Raises what ``ReadOnly`` raises.
    """

    def __init__(self, path: Path, *, now: datetime | None = None) -> None:
        self._folder = path.parent
        self._now = now or datetime.now(UTC)
        self._file = ReadOnly(path)
        try:
            self._when = Times(self._file)
            self._alive = self._living()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def happenings(
        self, *, kind: str | None = None, camera: str | None = None, since: datetime | None = None, limit: int = 0
    ) -> list[Happening]:
        """The newest ``limit`` of them (0: all) that began at or after ``since``, oldest first."""
        chosen = {column: value for column, value in (("kind", kind), ("camera", camera)) if value is not None}
        where = f"WHERE {' AND '.join(f'{column} = ?' for column in chosen)}" if chosen else ""
        query = f"SELECT MIN(id) FROM events {where} GROUP BY event_id ORDER BY 1 DESC"
        firsts = [row[0] for row in self._file.rows(query, list(chosen.values()))]
        wanted: list[str] = []
        for begin in range(0, len(firsts), AT_ONCE):
            for _, told in reversed(self._told("id", firsts[begin : begin + AT_ONCE])):
                if since is None or told.at >= since:
                    wanted.append(told.event.id)
            if limit and len(wanted) >= limit:
                break
        return self._gather(wanted[:limit] if limit else wanted)

    def find(self, word: str) -> Happening:
        """The one whose id begins with ``word``; ``last``: the newest. Raises OptionError where it is not just one."""
        prefix = word.strip().lower()
        if prefix == "last":
            newest = self.happenings(limit=1)
            if not newest:
                raise OptionError("the journal holds no event yet, so there is no last one")
            return newest[0]
        query = "SELECT event_id FROM events WHERE substr(lower(event_id), 1, ?) = ? GROUP BY event_id LIMIT 6"
        found = [str(row[0]) for row in self._file.rows(query, [len(prefix), prefix])] if prefix else []
        if len(found) == 1:
            return self._gather(found)[0]
        if found:
            some = ", ".join(id_[: max(8, len(prefix) + 2)] for id_ in found[:5]) + ", …" * (len(found) > 5)
            raise OptionError(f"{word!r} begins more than one event ({some}); give more of the id")
        rows = self._file.rows("SELECT event_id FROM events GROUP BY event_id ORDER BY MAX(id) DESC LIMIT 1000")
        near = get_close_matches(prefix[:8], [str(row[0])[:8] for row in rows], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "`bear-alarm events` lists them"
        raise OptionError(f"{word!r}: no such event in the journal; {hint}")

    def cameras(self) -> list[str]:
        """The name of every camera of which something was told."""
        return [str(row[0]) for row in self._file.rows("SELECT DISTINCT camera FROM events ORDER BY 1")]

    def _gather(self, ids: Iterable[str]) -> list[Happening]:
        """The happenings of these ids with all that belongs to them, oldest first."""
        rows: dict[str, list[tuple[int, Told]]] = defaultdict(list)
        for row, told in self._told("event_id", list(ids)):
            rows[told.event.id].append((row, told))
        deliveries = self._deliveries([row for each in rows.values() for row, _ in each])
        reviews = self._reviews(list(rows))
        return [
            Happening(
                tuple(told for _, told in each),
                tuple(delivery for row, _ in each for delivery in deliveries[row]),
                self._state(each[-1][1].event),
                reviews.get(each[0][1].event.id),
            )
            for each in sorted(rows.values(), key=lambda each: each[0][0])
        ]

    def _told(self, column: str, values: Sequence[object]) -> list[tuple[int, Told]]:
        """The events where ``column`` is one of ``values``, by row; what cannot be understood is said and left out."""
        told = []
        for begin in range(0, len(values), AT_ONCE):
            some = values[begin : begin + AT_ONCE]
            query = f"SELECT id, json FROM events WHERE {column} IN ({_marks(some)}) ORDER BY id"
            for row, line in self._file.rows(query, some):
                try:
                    event = Event.from_json(line)
                    told.append((int(row), Told(event, *self._when(event), str(line))))
                except (ValueError, TypeError, OverflowError) as error:
                    log.warning("one event in the journal cannot be understood and is left out (%s)", error)
        return sorted(told, key=lambda one: one[0])

    def _deliveries(self, rows: Sequence[int]) -> dict[int, list[Delivery]]:
        """What was to be sent of the events in these rows."""
        found: dict[int, list[Delivery]] = defaultdict(list)
        columns = "event, seq, channel, part, outbox.state, attempts, error, queued_at, settled_at"
        for begin in range(0, len(rows), AT_ONCE):
            some = rows[begin : begin + AT_ONCE]
            query = f"SELECT {columns} FROM outbox JOIN events ON events.id = event WHERE event IN ({_marks(some)})"
            for event, *rest in self._file.rows(f"{query} ORDER BY outbox.id", some):
                found[event].append(Delivery(*rest))
        return found

    def _reviews(self, ids: Sequence[str]) -> dict[str, Review]:
        """Return the last review of each of these events."""
        found: dict[str, Review] = {}
        if self._file.version < REVIEWS:
            return found
        for begin in range(0, len(ids), AT_ONCE):
            some = ids[begin : begin + AT_ONCE]
            query = f"SELECT event_id, verdict, at, label FROM reviews WHERE event_id IN ({_marks(some)}) ORDER BY id"
            for id_, *said in self._file.rows(query, some):
                with suppress(ValueError):  # what a later version may say
                    found[id_] = Review(*said)
        return found

    def _state(self, last: Event) -> State:
        if last.type == "end" or last.kind == "test":
            return "over"
        return "going on" if last.boot_id in self._alive else "cut off"

    def _living(self) -> set[str]:
        """The runs that go on."""
        query = "SELECT boot_id, COALESCE(alive_at, started_at) FROM runs WHERE ended_at IS NULL ORDER BY rowid DESC"
        living = Alive(self._folder, "").others()
        going_on = set()
        for number, (boot_id, alive_at) in enumerate(self._file.rows(query)):
            # Another user's lock cannot be asked: then the newest run goes on if it has said so lately.
            known = os.access(self._folder / "alive" / boot_id, os.W_OK)
            said = utc(alive_at)
            recent = number == 0 and said is not None and abs(self._now - said) <= ALIVE
            if boot_id in living if known else recent:
                going_on.add(boot_id)
        return going_on


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
