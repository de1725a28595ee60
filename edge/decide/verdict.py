"""What is told of a bear, and what a happening remembers of it: when it is worth another alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.decide import Rule, logit
from edge.schema import BoxXYWH, EventType

SURE = 0.9  # bear probability from which a bear told in doubt is told again
SURER = 1.5  # and so many logits above what it was told with
LOST_S = 10.0  # unseen for so long a bear has gone, and has not only flickered: a track outlives 5 s without a hit
QUIET_S = 120.0  # since the last noise, before one that comes back makes another: time to be driven off, and to go


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
    began_at: float
    rung_at: float  # when it last made a noise
    rung_score: float  # the top score then
    there_at: float  # when a track of it last stood in a zone, where there are any, and was still taken for a bear
    missed_at: float | None = None  # since when a camera that sees has seen no told bear at all; None: it has
    away_s: float = 0.0  # for how long it was gone before it came back, while no noise was made for that; 0: it was not
    zones: set[str] = field(default_factory=set)  # made known with a noise
    silenced: bool = False  # seen outside the schedule since
    sure: bool = False  # told again because its score rose
    ended: bool = False

    def verdict(self, type_: EventType, score: float, **more: Any) -> Verdict:
        """A step in its life, with the bear probability of now (0 to 1); ``more`` are a Verdict's further fields."""
        return Verdict(type_, self.number, self.track, self.label, score, self.top_score, self.box_xywh, **more)

    def looked_for(self, time: float, *, found: bool, seeing: bool) -> None:
        """Some told bear was in a frame or none; where the camera sees nothing, nothing is known of it."""
        if found or not seeing:
            self.missed_at = None
        elif self.missed_at is None:
            self.missed_at = time

    def came_back(self, since: float) -> None:
        """What was lost is there again since a time (seconds)."""
        if self.missed_at is not None and since - self.missed_at >= LOST_S:
            self.away_s = since - self.missed_at
        self.missed_at = None

    def quiet_for(self, time: float) -> bool:
        """Whether the last noise is so old that one that came back is worth another.

        Longer at a spot where one happening follows another; and as long again as it has lasted by then, so that what
        comes and goes all night is heard ever more seldom.
        """
        return time - self.rung_at >= max(QUIET_S, 2 * self.again_s, self.rung_at - self.began_at)

    def worse(
        self, rule: Rule, zones: Sequence[str], score: float, time: float, *, settled: bool, moved: bool
    ) -> str | None:
        """Why it is worth another alarm, if it is; and it is taken as raised.

        ``settled``: not told just now. ``moved``: what never did has not come back, but was there and not known.
        """
        further = [name for name in zones if name not in self.zones]
        # A second noise right after the first is no news: a bear that walks in is surer with every frame.
        doubtful = not self.sure and settled and self.rung_score < rule.still_threshold
        if self.silenced:
            why = "schedule begins"
        elif further:
            why = f"zone {further[0]}"
        elif doubtful and score >= SURE and logit(score) >= logit(self.rung_score) + SURER:
            why, self.sure = "rising score", True
        elif self.away_s and moved and self.quiet_for(time):
            why = f"back after {self.away_s:.0f} s"
        else:
            return None
        self.silenced, self.away_s = False, 0.0
        self.rung_at, self.rung_score = time, self.top_score
        self.zones.update(zones)
        return why
