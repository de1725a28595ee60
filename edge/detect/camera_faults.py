"""Faults of a camera, reported once: after a grace time, and again when they are over.

A camera that is gone, frozen, black, blinded, covered, blurred or moved sees no bear, and one that comes and goes may
miss it. One that flickers must not flood: each time a fault is back soon after its end, the next end has to be good
for twice as long before it is believed.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from edge.schema import CameraFault, EventType, TroubleKind

# Seconds a fault must last before it is reported. What a source or the lens check reports is some seconds old already.
GRACE_S: Mapping[TroubleKind, float] = {
    "gone": 3.0, "frozen": 3.0, "black": 5.0, "white": 5.0, "covered": 5.0, "blurred": 60.0, "moved": 0.0,
    "unsteady": 0.0, "main_gone": 3.0,
}  # fmt: skip
UNSEEING: frozenset[TroubleKind] = frozenset({"gone", "frozen", "black", "white", "covered"})  # no bear is seen then
MAX_CLEAR_S = 300.0
MAX_RETURNS = 10  # further ones change nothing


@dataclass(frozen=True, slots=True)
class FaultReport:
    """A fault that is new or over (end)."""

    type: EventType
    id: str  # of its events: new and end share it
    trouble: CameraFault
    lasted_s: float


@dataclass(eq=False)
class _Case:
    """One kind of fault: what is known of it now, and how often it came back."""

    trouble: CameraFault
    since: float
    seen_at: float
    id: str | None = None  # None: not published
    ended_at: float | None = None  # when the last end was published
    returns: int = 0


class FaultDebouncer:
    """Faults of one moment in, reports out; one for each camera. Call it about once a second.

    ``clear_s``: without the fault for so long it is over; doubled, up to five minutes, for each time it was
    back within ``again_s`` of its end. Times in seconds, from one clock that only goes forward.
    """

    def __init__(
        self, grace_s: Mapping[TroubleKind, float] = GRACE_S, *, clear_s: float = 3.0, again_s: float = 600.0
    ) -> None:
        self.grace_s = grace_s
        self.clear_s = clear_s
        self.again_s = again_s
        self._cases: dict[TroubleKind, _Case] = {}

    @property
    def now(self) -> tuple[CameraFault, ...]:
        """Return the faults that were published and last."""
        return tuple(case.trouble for case in self._cases.values() if case.id)

    def __call__(
        self, troubles: Sequence[CameraFault], time: float, *, at_once: Collection[TroubleKind] = ()
    ) -> list[FaultReport]:
        """Return the reports to publish now (seconds); ``at_once``: kinds that are sure and need no grace time."""
        kinds = {trouble.kind for trouble in troubles}
        # While no picture comes, nothing else can be known to be over.
        gone_by = [self._gone_by(kind, time) for kind in self._cases if kind not in kinds and "gone" not in kinds]
        lasting = [self._lasting(trouble, time, trouble.kind in at_once) for trouble in troubles]
        return [report for report in (*gone_by, *lasting) if report]

    def close(self, time: float) -> list[FaultReport]:
        """End every fault that was published and lasts: the camera is closed."""
        reports = [
            FaultReport("end", case.id, case.trouble, max(time - case.since, 0.0))
            for case in self._cases.values()
            if case.id
        ]
        self._cases.clear()
        return reports

    def _lasting(self, trouble: CameraFault, time: float, at_once: bool) -> FaultReport | None:
        """Return a report of a fault that is there now, once it has lasted; else None."""
        case = self._cases.setdefault(trouble.kind, _Case(trouble, time, time))
        if not case.id and time - case.seen_at >= self.clear_s:
            case.since = time
        case.trouble, case.seen_at = trouble, time
        if case.id or time - case.since < (0.0 if at_once else self.grace_s.get(trouble.kind, 0.0)):
            return None
        back_soon = case.ended_at is not None and time - case.ended_at <= self.again_s
        case.returns = case.returns + 1 if back_soon else 0
        case.id = uuid.uuid4().hex
        return FaultReport("new", case.id, trouble, time - case.since)

    def _gone_by(self, kind: TroubleKind, time: float) -> FaultReport | None:
        """Return a report that a fault is over, once it has been gone for long enough; else None."""
        case = self._cases[kind]
        clear_s = min(self.clear_s * 2 ** min(case.returns, MAX_RETURNS), MAX_CLEAR_S)
        if not case.id or time - case.seen_at < clear_s:
            return None
        report = FaultReport("end", case.id, case.trouble, case.seen_at - case.since)
        case.id, case.ended_at = None, time
        return report
