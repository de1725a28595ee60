"""An incident: one bear from its alarm to its end, and the decisions that are published about it.

A camera that shows nothing new must not read as a bear gone. While the camera itself may be the reason, the end of an
incident is held back. When a fault of the camera is published, every open incident is interrupted: its end is
published, and it goes on when the bear is seen again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from edge.decide.evidence import Rule
from edge.detect.odds import logit
from edge.detect.tracker import Track
from edge.schema import BoxXYWH, EventType

SURE = 0.9  # bear probability from which a bear in doubt alarms again
SURER = 1.5  # and so many logits above the score of its last alarm
BACK_AFTER_S = 10.0  # unseen for so long, a bear that comes back had gone: a track outlives 5 s without a hit
QUIET_S = 120.0  # since the last noise, before one that comes back makes another: time to be driven off, and to go
MAX_HELD_S = 30.0  # an end is held back


class State(Enum):
    """State of an incident: is a track of it followed, and is its end published?"""

    OPEN = "open"  # followed
    END_HELD = "end held"  # lost, perhaps because of the camera; its end is not published yet
    INTERRUPTED = "interrupted"  # its end was published, because the camera failed; still followed
    ENDED = "ended"  # its end was published; for a while the bear may be found again


@dataclass(frozen=True)
class Decision:
    """One step of an incident, to be published."""

    type: EventType
    id: str  # of the incident
    track: int
    label: str
    score: float  # bear probability now, 0 to 1
    top_score: float
    box_xywh: BoxXYWH
    onset_s: float | None = None  # first supporting frame -> alarm; only where an alarm was raised
    unknown: bool = False  # unlike anything seen in training
    zones: tuple[str, ...] = ()  # that the bear stands in
    escalated: str | None = None  # why an update alarms again
    quiet: str | None = None  # why nothing may make a noise

    @property
    def alarms(self) -> bool:
        """Return True if it is worth a noise (``Event.alarms``)."""
        return self.quiet is None and (self.type == "new" or self.escalated is not None)


@dataclass(eq=False)
class Incident:
    """One bear that was published, while it lasts and a little longer. Times in seconds, the frames' clock."""

    track: int  # that supported it last
    tracks: set[int]  # all that are this bear
    label: str
    score: float  # the last that supported it
    top_score: float
    published_score: float
    published_at: float
    box_xywh: BoxXYWH
    seen_at: float  # when a score last supported it
    again_s: float  # found again there within this: the same incident
    began_at: float
    noise_at: float  # when it last made a noise
    noise_score: float  # the top score then
    there_at: float  # when a track of it last stood in a zone, where there are any, and was still taken for a bear
    missed_at: float | None = None  # since when a camera that sees has seen no known bear at all; None: it has
    away_s: float = 0.0  # for how long it was gone before it came back, while no noise was made for that; 0: it was not
    zones: set[str] = field(default_factory=set)  # made known with a noise
    silenced: bool = False  # seen outside the schedule since
    sure: bool = False  # has alarmed again because its score rose
    id: str = field(default_factory=lambda: uuid.uuid4().hex)  # of its events
    state: State = State.OPEN
    lost_at: float = 0.0  # when its last track was lost
    last: Decision = field(init=False)  # the last one, also where it was held back
    surest: Track = field(init=False)  # while it is followed: its track with the highest score in the last frame

    @property
    def followed(self) -> bool:
        """Return True while a track of it is followed."""
        return self.state in (State.OPEN, State.INTERRUPTED)

    @property
    def open(self) -> bool:
        """Return True while its end is not published."""
        return self.state in (State.OPEN, State.END_HELD)

    def step(self, type_: EventType, score: float, *, sure: bool, **more: Any) -> Decision | None:
        """Return a decision to publish, with the bear probability of now; ``more``: further fields of Decision.

        ``sure``: the camera shows what is there now. Without it, an interrupted incident only goes on with an alarm.
        """
        self.last = self._decision(type_, score, **more)
        if self.state is State.INTERRUPTED and not (sure or self.last.alarms):
            return None
        self.state = State.OPEN
        return self.last

    def lose(self, time: float, *, sure: bool, quiet: str | None) -> Decision | None:
        """Note that its last track is lost; return the end, unless it is held back or was published before."""
        self.tracks, self.lost_at = set(), time
        if self.state is State.INTERRUPTED:
            self.state = State.ENDED
            return None
        self.last = self._decision("end", self.score, quiet=quiet)
        self.state = State.ENDED if sure else State.END_HELD
        return self.last if sure else None

    def settle(self, time: float, *, sure: bool) -> Decision | None:
        """Return what need not wait for the camera any longer: an end held back, or that the bear is still there."""
        if self.state is State.END_HELD and (sure or time - self.lost_at >= MAX_HELD_S):
            self.state = State.ENDED
            return self.last
        if self.state is State.INTERRUPTED and sure:
            self.state = State.OPEN
            self.last = replace(self.last, type="update", onset_s=None, escalated=None)
            return self.last
        return None

    def interrupt(self) -> Decision | None:
        """Note that the camera has failed; return the end of an open incident."""
        if not self.open:
            return None
        self.state = State.INTERRUPTED if self.followed else State.ENDED
        return replace(self.last, type="end", onset_s=None, unknown=False, zones=(), escalated=None)

    def searched(self, time: float, *, found: bool, seeing: bool) -> None:
        """Note whether any known bear was in this frame; where the camera sees nothing, nothing is known of it."""
        if found or not seeing:
            self.missed_at = None
        elif self.missed_at is None:
            self.missed_at = time

    def came_back(self, since: float) -> None:
        """Note that what was lost is there again since a time (seconds)."""
        if self.missed_at is not None and since - self.missed_at >= BACK_AFTER_S:
            self.away_s = since - self.missed_at
        self.missed_at = None

    def quiet_for(self, time: float) -> bool:
        """Return True if the last noise is so long ago that a bear that came back is worth another.

        Longer at a spot where one incident follows another; and as long again as it has lasted by then, so that what
        comes and goes all night is heard ever more seldom.
        """
        return time - self.noise_at >= max(QUIET_S, 2 * self.again_s, self.noise_at - self.began_at)

    def worse(
        self, rule: Rule, zones: Sequence[str], score: float, time: float, *, settled: bool, moved: bool
    ) -> str | None:
        """Return why it is worth another alarm, or None; note the alarm as raised.

        ``settled``: not published just now. ``moved``: what never moved has not come back, but was there all the time.
        """
        further = [name for name in zones if name not in self.zones]
        # A second noise right after the first is no news: a bear that walks in is surer with every frame.
        doubtful = not self.sure and settled and self.noise_score < rule.still_threshold
        if self.silenced:
            why = "schedule begins"
        elif further:
            why = f"zone {further[0]}"
        elif doubtful and score >= SURE and logit(score) >= logit(self.noise_score) + SURER:
            why, self.sure = "rising score", True
        elif self.away_s and moved and self.quiet_for(time):
            why = f"back after {self.away_s:.0f} s"
        else:
            return None
        self.silenced, self.away_s = False, 0.0
        self.noise_at, self.noise_score = time, self.top_score
        self.zones.update(zones)
        return why

    def _decision(self, type_: EventType, score: float, **more: Any) -> Decision:
        return Decision(type_, self.id, self.track, self.label, score, self.top_score, self.box_xywh, **more)
