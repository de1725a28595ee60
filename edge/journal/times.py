"""When events truly were: many boards wake up with a wrong clock, and are set right only when a network is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from edge.journal.read_only import ReadOnly
from edge.schema import Event

# "doubtful": known to be unset, and nobody knows by how much; "unknown": the system does not say.
Clock = Literal["right", "corrected", "doubtful", "unknown"]
AT_ONCE_S = 5.0  # set so soon after the start, it was right before: nothing is learned for the runs before


@dataclass(frozen=True, slots=True)
class _Set:
    """How a run's clock was set."""

    offset_s: float  # to be added to what was captured before
    at: datetime | None = None  # UTC; None: in a later run
    seq: int | None = None  # the first event that was captured with a clock known to be right


class Times:
    """Corrects the times of a journal's events by what their runs learned of the clock. Raises JournalReadError."""

    def __init__(self, file: ReadOnly) -> None:
        self._set: dict[str, _Set] = {}
        query = "SELECT boot_id, machine_boot, offset_s, started_at, synced_at FROM runs ORDER BY rowid DESC"
        learned: dict[str, _Set] = {}
        for boot_id, machine, offset_s, started_at, synced_at in file.rows(query):
            if offset_s is None:
                # The clock went on unset since the machine was started, until a later run saw it being set.
                if machine in learned:
                    self._set[boot_id] = learned[machine]
                continue
            started, synced = utc(started_at), utc(synced_at)
            first = "SELECT MIN(seq) FROM events WHERE boot_id = ? AND json LIKE '%\"clock_synced\":true%'"
            seq = file.rows(first, [boot_id])[0][0] if abs(offset_s) >= 1.0 else None
            self._set[boot_id] = _Set(float(offset_s), synced, seq)
            began_unset = started and synced and abs((synced - started).total_seconds()) > AT_ONCE_S
            learned.pop(machine, None)
            if machine and began_unset:
                learned[machine] = _Set(float(offset_s))

    def __call__(self, event: Event) -> tuple[datetime, Clock]:
        """When an event was (UTC), and what is known of its clock. Raises ValueError or OverflowError."""
        at = datetime.fromisoformat(event.captured_at)
        at = at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
        if event.clock_synced is not False:
            return at, "right" if event.clock_synced else "unknown"
        found = self._set.get(event.boot_id)
        if found is None:
            return at, "doubtful"
        corrected = at + timedelta(seconds=found.offset_s)
        # A clock that was set, and is no longer looked after, runs on well enough.
        late = found.at is not None and corrected > found.at + timedelta(seconds=AT_ONCE_S)
        if late or (found.seq is not None and event.seq > found.seq):
            return at, "unknown"
        return corrected, "corrected"


def utc(text: str | None) -> datetime | None:
    """A time of the journal; None where there is none, or none that can be read."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
