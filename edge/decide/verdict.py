"""What is told of a bear, and what a happening remembers of it: when it is worth another alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.decide import Rule, logit
from edge.schema import BoxXYWH, EventType

SURE = 0.9  # bear probability from which a bear told in doubt is told again
SURER = 1.5  # and so many logits above what it was told with


@dataclass(frozen=True)
class Verdict:
    """One step in the life of a happening."""

    type: EventType
    happening: int  # 1, 2, 3 … within one camera
    track: int
    label: str
    score: float  # now, 0 to 1
    top_score: float
    box_xywh: BoxXYWH
    onset_s: float | None = None  # first supporting frame -> alarm; only where an alarm was raised
    unknown: bool = False  # unlike anything seen in training
    zones: tuple[str, ...] = ()  # that the bear stands in
    escalated: str | None = None  # why an update alarms again
    quiet: str | None = None  # why nothing may make a noise

    @property
    def alarms(self) -> bool:
        """Whether it is worth a noise (``Event.alarms``)."""
        return self.quiet is None and (self.type == "new" or self.escalated is not None)


@dataclass(eq=False)
class Happening:
    """A bear that was told of, while it lasts and a little longer."""

    number: int
    track: int
    tracks: set[int]
    label: str
    score: float
    top_score: float
    told_score: float
    told_at: float
    box_xywh: BoxXYWH
    seen_at: float
    again_s: float  # found again there within this: the same happening
    rung_score: float  # the top score when it last made a noise
    zones: set[str] = field(default_factory=set)  # made known with a noise
    silenced: bool = False  # seen outside the schedule since
    sure: bool = False  # told again because its score rose
    ended: bool = False

    def worse(self, rule: Rule, zones: Sequence[str], score: float, settled: bool) -> str | None:
        """Why it is worth another alarm, if it is; and it is taken as raised. ``settled``: not told just now."""
        further = [name for name in zones if name not in self.zones]
        # A second noise right after the first is no news: a bear that walks in is surer with every frame.
        doubtful = not self.sure and settled and self.rung_score < rule.still_threshold
        if self.silenced:
            why = "schedule begins"
        elif further:
            why = f"zone {further[0]}"
        elif doubtful and score >= SURE and logit(score) >= logit(self.rung_score) + SURER:
            why, self.sure = "rising score", True
        else:
            return None
        self.silenced, self.rung_score = False, self.top_score
        self.zones.update(zones)
        return why
