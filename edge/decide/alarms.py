"""From evidence to alarms: when a bear is new, when it is worth another alarm, and when it has gone.

``Decider`` gathers each track's evidence and turns it into incidents: one is new, may be updated, and ends. It alone
knows which incidents are open, and under which id. A bear that is lost and found again soon is the same incident (an
update, no second alarm); a second bear elsewhere at the same time is its own. What lies in one place with an alarming
track (the other half of a large bear, its cub) belongs to it. Where there are zones, only what stands in one alarms,
and it is over when they are empty; everywhere when nothing of it is followed any more.

An update alarms again (it *escalates*) when the bear enters another zone, when a doubt has become sure, and when the
schedule begins while it is still there: each zone and the doubt once. So it does when a bear that had gone is back, two
minutes after the last noise and then ever more seldom.

A camera that shows nothing new must not read as a bear gone. While the camera itself may be the reason, the end of an
incident is held back. When a fault of the camera is published, every open incident is interrupted: its end is
published, and it goes on when the bear is seen again.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from edge.decide.evidence import Rule, TrackEvidence
from edge.decide.repeat_alarms import CutThumbnail, RepeatAlarmFilter
from edge.decide.schedule import Schedule
from edge.detect.card import logit
from edge.detect.tracker import TOUCHING, Track, inside
from edge.detect.zones import Zone
from edge.schema import BoxXYWH, EventType, EvidenceState, Score

OUTSIDE_SCHEDULE = "outside the schedule"
AGAIN_S = 30.0  # a bear found again within this is the same incident
LONGEST_AGAIN_S = 300.0  # of a spot where one incident follows another
REMEMBERED_S = 3600.0  # how long a spot's incidents are known
UPDATE_S = 5.0  # at most one update in so many seconds
REMIND_S = 600.0  # and one at least, while the bear is seen
RISE = 0.1  # of the top score, worth an update
EMPTY_S = 5.0  # zones empty for so long end it: as long as a track outlives a hit
UNSEEN_S = 0.5  # without support for so long, a bear may be the one found elsewhere
CLEAR_AFTER_S = 6.0  # of new pictures, until one has had the time to be found again, or to be missed

RISEN_SCORE = 0.9  # bear probability from which a bear in doubt alarms again
RISE_LOGITS = 1.5  # and so many logits above the score of its last alarm
BACK_AFTER_S = 10.0  # unseen for so long, a bear that comes back had gone: a track outlives 5 s without a hit
QUIET_S = 120.0  # since the last noise, before one that comes back makes another: time to be driven off, and to go
MAX_HELD_S = 30.0  # an end is held back


class Decider:
    """Live tracks of one frame in, decisions out; one for each camera."""

    def __init__(
        self,
        rule: Rule,
        *,
        zones: Sequence[Zone] = (),
        schedule: Schedule | None = None,
        repeat_alarms: RepeatAlarmFilter | None = None,
        again_s: float = AGAIN_S,
    ) -> None:
        self.rule = rule
        self.zones = tuple(zones)  # where there are any, only what stands in one alarms
        self.schedule = schedule  # None: always
        self.repeat_alarms = repeat_alarms  # None: no spot ever needs more evidence
        self.again_s = again_s  # found again within this: the same incident; at one spot twice as long each time
        self._gathered: dict[int, TrackEvidence] = {}
        self._incidents: list[Incident] = []
        self._past: deque[Incident] = deque(maxlen=64)  # too old to go on
        self._clear_at = 0.0  # from when on the camera shows what is there
        self._now = _Now({}, 0.0, None, False, None, None, True)

    def __call__(
        self,
        tracks: Sequence[Track],
        time: float,
        *,
        wall: datetime | None = None,
        night: bool = False,
        thumbnail_of: CutThumbnail | None = None,
        seeing: bool = True,
    ) -> list[Decision]:
        """Return the decisions to publish after this frame (time in seconds).

        ``wall`` (with its time zone) is needed for the schedule and for repeat alarms, ``thumbnail_of`` for the latter.
        ``seeing``: False where the camera shows nothing new. What is not seen then has not gone: its end is held back.
        """
        quiet = None
        if self.schedule and wall is not None and not self.schedule.holds(wall):
            quiet = OUTSIDE_SCHEDULE
        if not seeing:
            self._clear_at = time + CLEAR_AFTER_S
        clear = time >= self._clear_at
        live = {track.number: track for track in tracks}
        self._now = _Now(live, time, wall, night, thumbnail_of, quiet, clear)
        if not (tracks or self._incidents or self._past):
            self._gathered.clear()
            return []
        for track in tracks:
            for gone in track.absorbed:
                self._take_over(track.number, gone)
        self._search(seeing)
        decisions = [self._lose(incident, clear) for incident in self._incidents if self._is_over(incident)]
        self._retire()
        decisions += [self._consider(track) for track in tracks]
        decisions += [incident.settle(time, clear=clear) for incident in self._all]
        for incident in self._incidents:
            if incident.followed:
                incident.surest = max((live[number] for number in incident.tracks), key=_surest)
        self._gathered = {number: s for number, s in self._gathered.items() if number in live}
        return [decision for decision in decisions if decision]

    def interrupt(self) -> list[Decision]:
        """Return the ends of all open incidents: the camera sees nothing. Those still followed may go on."""
        return [end for incident in self._all if (end := incident.interrupt())]

    def close(self) -> list[Decision]:
        """End every incident, and return the ends of those that were open: the source has ended, or is gone for now."""
        ends = [
            self._lose(incident, True) if incident.followed else incident.settle(self._now.time, clear=True)
            for incident in self._all
        ]
        for incident in self._incidents:
            incident.missed_at = None
        return [end for end in ends if end]

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Return the incidents whose end is not published, oldest first."""
        return tuple(incident for incident in self._all if incident.open)

    def evidence_states(self) -> tuple[EvidenceState, ...]:
        """Return the evidence of each live track after the last frame, oldest track first."""
        now, states = self._now, []
        for track in now.tracks.values():
            gathered = self._gathered.get(track.number, TrackEvidence(self.rule))
            outside = bool(self.zones) and not self._standing_in(track)
            states.append(gathered.state(track, now.time, night=now.night, outside=outside, quiet=now.quiet))
        return tuple(states)

    @property
    def _all(self) -> tuple[Incident, ...]:
        # An end can be held back for longer than its incident may go on.
        return (*self._past, *self._incidents)

    def _search(self, seeing: bool) -> None:
        """Note whether a bear is in the frame at all: one seen elsewhere may be the one missed here."""
        time = self._now.time
        hits = {track.number for track in self._now.tracks.values() if track.last_hit == time}
        found = any(incident.tracks & hits for incident in self._incidents)
        for incident in self._incidents:
            incident.searched(time, found=found, seeing=seeing)

    def _is_over(self, incident: Incident) -> bool:
        """Return True when no track of an incident is left or, with zones, when none of them has stood in one lately.

        A track that passes the threshold only now and then is no bear any more, but for example water where one was.
        """
        now = self._now
        incident.tracks &= now.tracks.keys()
        for number in incident.tracks:
            gathered = self._gathered.get(number)
            if gathered and gathered.mean > 0 and self._standing_in(now.tracks[number]):
                incident.there_at = now.time
        left = bool(self.zones) and now.time - incident.there_at > EMPTY_S
        return incident.followed and (left or not incident.tracks)

    def _consider(self, track: Track) -> Decision | None:
        """Add one track's score of this frame to its evidence; return what is to be published about it."""
        now, score = self._now, track.now
        if score is None:
            return None
        gathered = self._gathered.get(track.number)
        if gathered is None:
            gathered = self._gathered[track.number] = TrackEvidence(self.rule)
        logits = gathered.counted(track, now.time, night=now.night)
        gathered.average(track, now.time, night=now.night)
        if logits != 0.0:
            gathered.add(
                logits, now.time, (self._gathered[each] for each in track.likely_same_ids if each in self._gathered)
            )
        if logits <= 0:
            return None
        zones = self._standing_in(track)
        if gathered.incident:
            return self._go_on(gathered.incident, track, score, zones)
        if (self.zones and not zones) or not self._enough(gathered, track):
            return None
        seen = (incident for incident in self._incidents if incident.seen_at == now.time and incident.followed)
        if self.rule.one_picture and (here := next(seen, None)):
            # One picture raises one alarm: parts of the picture that do not touch may show one bear.
            gathered.incident = here
            here.tracks.add(track.number)
            here.zones.update(zones)
            return None
        onset_s = now.time - (now.time if gathered.onset is None else gathered.onset)
        gathered.incident = self._same(track)
        if gathered.incident:
            return self._rejoin(gathered.incident, track, score, zones, onset_s)
        gathered.incident = self._begin(gathered, track, score, zones)
        return self._step("new", gathered.incident, score, zones=zones, onset_s=onset_s)

    def _standing_in(self, track: Track) -> tuple[str, ...]:
        # What the frame scan found lies there roughly, and by an older model file it is the whole picture.
        return tuple(z.name for z in self.zones if (z.holds if track.moved else z.touches)(track.box_xywh))

    def _enough(self, gathered: TrackEvidence, track: Track) -> bool:
        """Return True when the evidence raises the alarm; at a spot of repeat alarms it takes twice as much.

        Where one picture alone alarms, twice as much is the usual evidence: two sure pictures.
        """
        gathered.twice = None
        now, score, rule = self._now, track.now, self.rule
        threshold = rule.threshold_for(still=not track.scanned(now.time), night=now.night)
        alone = rule.one_picture and score is not None and score.bear >= threshold
        if not alone and gathered.evidence.sum < self.rule.alarm_at:
            return False
        if self.repeat_alarms and now.thumbnail_of and now.wall and not track.moved:
            gathered.twice = self.repeat_alarms.twice(track.box_xywh, now.thumbnail_of, now.time, now.wall)
        return (alone and not gathered.twice) or gathered.evidence.sum >= gathered.alarm_at

    def _begin(self, gathered: TrackEvidence, track: Track, score: Score, zones: tuple[str, ...]) -> Incident:
        """Begin an incident.

        At a spot where one incident follows another, each may be found again for twice as long as the one before.
        """
        now = self._now
        # Where one picture alarms, alarms hold no spot back, only reviews: a second picture may not come.
        if self.repeat_alarms and now.thumbnail_of and not (self.rule.one_picture or track.moved or gathered.twice):
            self.repeat_alarms.alarmed(track.box_xywh, now.thumbnail_of(track.box_xywh), now.time)
        recent = [past for past in self._past if now.time - past.seen_at <= REMEMBERED_S]
        before = [past for past in recent if near(past.box_xywh, track.box_xywh)]
        again_s = max([self.again_s, *(min(2 * past.again_s, LONGEST_AGAIN_S) for past in before)])
        incident = Incident(
            track=track.number, tracks={track.number}, label=score.label, share=score.share, score=score.bear,
            top_score=score.bear, published_score=score.bear, published_at=now.time, box_xywh=track.box_xywh,
            seen_at=now.time, again_s=again_s, began_at=now.time, noise_at=now.time, noise_score=score.bear,
            there_at=now.time, zones=set(zones), silenced=now.quiet is not None,
        )  # fmt: skip
        self._incidents.append(incident)
        return incident

    def _take_over(self, kept: int, gone: int) -> None:
        """Merge two tracks that became one: the surer evidence stays, and so does the incident."""
        old, own = self._gathered.pop(gone, None), self._gathered.get(kept)
        if old is None:
            return
        incident = old.incident if own is None or own.incident is None else own.incident
        if own is None or old.evidence.sum > own.evidence.sum:
            self._gathered[kept] = own = old
        own.incident = incident
        if incident:
            incident.tracks.add(kept)

    def _go_on(self, incident: Incident, track: Track, score: Score, zones: tuple[str, ...]) -> Decision | None:
        """Update an incident; return a decision if it is worse, its score has risen, or the last update is long ago."""
        now = self._now
        incident.seen_at, incident.box_xywh, incident.score = now.time, track.box_xywh, score.bear
        incident.track = track.number
        if score.bear > incident.top_score:
            incident.top_score, incident.label, incident.share = score.bear, score.label, score.share
        since_s, why = now.time - incident.published_at, None
        if now.quiet:
            incident.silenced = True
        elif zones or not self.zones:
            why = incident.worse(self.rule, zones, score.bear, now.time, settled=since_s >= UPDATE_S, moved=track.moved)
        risen = incident.top_score >= incident.published_score + RISE and score.bear >= incident.top_score
        if not why and (since_s < UPDATE_S or not (risen or since_s >= REMIND_S)):
            return None
        incident.published_score, incident.published_at = incident.top_score, now.time
        return self._step("update", incident, score, zones=zones, escalated=why)

    def _same(self, track: Track) -> Incident | None:
        now, followed = self._now, [incident for incident in self._incidents if incident.followed]
        for incident in followed:
            others = [now.tracks[number] for number in incident.tracks if number in now.tracks]
            if any(other.touches(track.box_xywh) >= TOUCHING for other in others):
                return incident
        # A bear found again: for a while nothing has supported its incident, and that is near. It may also be far away
        # if no incident is followed now; while one is, a bear elsewhere is another one.
        for incident in reversed(self._incidents):
            unseen_s = now.time - incident.seen_at
            alone = unseen_s <= self.again_s and not followed
            if unseen_s >= UNSEEN_S and (alone or near(incident.box_xywh, track.box_xywh)):
                return incident
        return None

    def _rejoin(
        self, incident: Incident, track: Track, score: Score, zones: tuple[str, ...], onset_s: float
    ) -> Decision | None:
        """Let a track join an incident that was published; return an update, at once only if the bear was lost."""
        now = self._now
        incident.tracks.add(track.number)
        incident.there_at = now.time
        lost = not incident.followed
        if lost:
            incident.came_back(now.time - onset_s)
        update = self._go_on(incident, track, score, zones)
        if update or not (lost or now.time - incident.published_at >= UPDATE_S):
            return update
        incident.published_at = now.time
        return self._step("update", incident, score, zones=zones, onset_s=onset_s)

    def _retire(self) -> None:
        for incident in tuple(self._incidents):
            if not incident.followed and self._now.time - incident.seen_at > incident.again_s:
                self._incidents.remove(incident)
                self._past.append(incident)

    def _lose(self, incident: Incident, clear: bool) -> Decision | None:
        """Return the end of an incident of which nothing is followed any more, where it is to be published now."""
        for gathered in self._gathered.values():
            if gathered.incident is incident:
                gathered.incident = None  # what is seen again is found again
        return incident.lose(self._now.time, clear=clear, quiet=self._now.quiet)

    def _step(self, type_: EventType, incident: Incident, score: Score, **more: Any) -> Decision | None:
        now, unknown = self._now, score.ood > self.rule.ood_threshold
        return incident.step(type_, score.bear, clear=now.clear, quiet=now.quiet, unknown=unknown, **more)


@dataclass(slots=True)
class _Now:
    tracks: dict[int, Track]
    time: float
    wall: datetime | None
    night: bool
    thumbnail_of: CutThumbnail | None
    quiet: str | None
    clear: bool  # the camera has shown what is there for a while


def _surest(track: Track) -> tuple[float, float]:
    return track.now.bear if track.now else 0.0, track.last_hit


def near(one: BoxXYWH, other: BoxXYWH) -> bool:
    """Return True if two boxes lie no farther apart than their own widths and heights together."""
    grown = [(x - w, y - h, 3 * w, 3 * h) for x, y, w, h in (one, other)]
    return inside(grown[0], grown[1]) > 0


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
    share: float = 1.0  # the label's part of ``top_score``

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
    share: float = 1.0  # the label's part of ``top_score``
    missed_at: float | None = None  # since when a camera that sees has seen no known bear at all; None: it has
    away_s: float = 0.0  # for how long it was gone before it came back, while no noise was made for that; 0: it was not
    zones: set[str] = field(default_factory=set)  # made known with a noise
    silenced: bool = False  # seen outside the schedule since
    rose: bool = False  # has alarmed again because its score rose
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

    def step(self, type_: EventType, score: float, *, clear: bool, **more: Any) -> Decision | None:
        """Return a decision to publish, with the bear probability of now; ``more``: further fields of Decision.

        ``clear``: the camera shows what is there now. Without it, an interrupted incident only goes on with an alarm.
        """
        self.last = self._decision(type_, score, **more)
        if self.state is State.INTERRUPTED and not (clear or self.last.alarms):
            return None
        self.state = State.OPEN
        return self.last

    def lose(self, time: float, *, clear: bool, quiet: str | None) -> Decision | None:
        """Note that its last track is lost; return the end, unless it is held back or was published before."""
        self.tracks, self.lost_at = set(), time
        if self.state is State.INTERRUPTED:
            self.state = State.ENDED
            return None
        self.last = self._decision("end", self.score, quiet=quiet)
        self.state = State.ENDED if clear else State.END_HELD
        return self.last if clear else None

    def settle(self, time: float, *, clear: bool) -> Decision | None:
        """Return what need not wait for the camera any longer: an end held back, or that the bear is still there."""
        if self.state is State.END_HELD and (clear or time - self.lost_at >= MAX_HELD_S):
            self.state = State.ENDED
            return self.last
        if self.state is State.INTERRUPTED and clear:
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
        doubtful = not self.rose and settled and self.noise_score < rule.still_threshold
        if self.silenced:
            why = "schedule begins"
        elif further:
            why = f"zone {further[0]}"
        elif doubtful and score >= RISEN_SCORE and logit(score) >= logit(self.noise_score) + RISE_LOGITS:
            why, self.rose = "rising score", True
        elif self.away_s and moved and self.quiet_for(time):
            why = f"back after {self.away_s:.0f} s"
        else:
            return None
        self.silenced, self.away_s = False, 0.0
        self.noise_at, self.noise_score = time, self.top_score
        self.zones.update(zones)
        return why

    def _decision(self, type_: EventType, score: float, **more: Any) -> Decision:
        return Decision(
            type_, self.id, self.track, self.label, score, self.top_score, self.box_xywh, share=self.share, **more
        )
