"""From evidence to alarms: when a bear is new, when it is worth another alarm, and when it has gone.

``Decider`` gathers each track's evidence and turns it into incidents: one is new, may be updated, and ends. A bear that
is lost and found again soon is the same incident (an update, no second alarm); a second bear elsewhere at the same time
is its own. What lies in one place with an alarming track (the other half of a large bear, its cub) belongs to it. Where
there are zones, only what stands in one alarms, and it is over when they are empty; everywhere when nothing of it is
followed any more.

An update alarms again (it *escalates*) when the bear enters another zone, when a doubt has become sure, and when the
schedule begins while it is still there: each zone and the doubt once. So it does when a bear that had gone is back, two
minutes after the last noise and then ever more seldom.

``EndHold`` comes after it: a camera that shows nothing new must not read as a bear gone. While the camera itself may be
why, an end is held back; when the camera's fault is published, every open incident ends with that as the reason.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from edge.decide.evidence import Evidence, Rule
from edge.decide.repeat_alarms import TIMES, CutThumbnail, RepeatAlarmFilter
from edge.decide.schedule import Schedule
from edge.detect.odds import logit
from edge.detect.tracker import TOUCHING, Track, inside
from edge.detect.zones import Zone
from edge.schema import BoxXYWH, EventType, EvidenceState, Frame, Score, TroubleKind

SURE = 0.9  # bear probability from which a bear in doubt alarms again
SURER = 1.5  # and so many logits above what it was published with
BACK_AFTER_S = 10.0  # unseen for so long, a bear that comes back had gone: a track outlives 5 s without a hit
QUIET_S = 120.0  # since the last noise, before one that comes back makes another: time to be driven off, and to go
OUTSIDE_ZONES = "outside the zones"
MEAN_S = 3.0  # how far back the mean of the looks goes
SCANNED_S = 5.0  # how long the frame scan's word for a bear counts beside its crops
OUTSIDE_SCHEDULE = "outside the schedule"
LONGEST_AGAIN_S = 300.0  # of a spot where one incident follows another
REMEMBERED_S = 3600.0  # how long a spot's incidents are known
UNSEEING: frozenset[TroubleKind] = frozenset({"gone", "frozen", "black", "white", "covered"})  # no bear is seen then
SAME_S = 1.0  # the same picture for so long shows nothing new
SURE_S = 6.0  # of new pictures, until one has had the time to be found again, or to be missed
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
        again_s: float = 30.0,
        update_s: float = 5.0,
        remind_s: float = 600.0,
        rise: float = 0.1,
    ) -> None:
        self.rule = rule
        self.zones = tuple(zones)  # where there are any, only what stands in one alarms
        self.schedule = schedule  # None: always
        self.repeat_alarms = repeat_alarms  # None: no spot is ever held back
        self.again_s = again_s  # found again within this: the same incident; at one spot twice as long each time
        self.update_s = update_s  # at most one update in so many seconds
        self.remind_s = remind_s  # and one at least, while the bear is seen
        self.rise = rise  # of the top score, worth an update
        self.empty_s = 5.0  # zones that are empty for so long end it: as long as a track outlives a hit
        self.unseen_s = 0.5  # an incident without support for so long may be the one found elsewhere
        self._gathered: dict[int, TrackEvidence] = {}
        self._incidents: list[Incident] = []
        self._past: deque[Incident] = deque(maxlen=64)
        self._count = 0
        self._now = _Now({}, 0.0, None, False, None, None)

    def __call__(
        self,
        tracks: Sequence[Track],
        time: float,
        *,
        wall: datetime | None = None,
        night: bool = False,
        look: CutThumbnail | None = None,
        seeing: bool = True,
    ) -> list[Decision]:
        """Return the decisions to publish after this frame (time in seconds).

        ``wall`` (with its time zone) is needed for the schedule and for repeat offenders, ``look`` for the latter.
        ``seeing``: False where the camera shows nothing new; what is not seen then has not gone.
        """
        quiet = None
        if self.schedule and wall is not None and not self.schedule.holds(wall):
            quiet = OUTSIDE_SCHEDULE
        now = self._now = _Now({track.number: track for track in tracks}, time, wall, night, look, quiet)
        for track in tracks:
            for gone in track.absorbed:
                self._take_over(track.number, gone)
        self._look_for(time, seeing)
        decisions = [self._end(incident) for incident in self._incidents if self._is_over(incident, now)]
        self._retire(time)
        decisions += [decision for track in tracks if (decision := self._consider(track, now))]
        self._gathered = {number: s for number, s in self._gathered.items() if number in now.tracks}
        return decisions

    def close(self) -> list[Decision]:
        """End every open incident: the source has ended, or is gone for now."""
        ended = [self._end(incident) for incident in self._incidents if not incident.ended]
        for incident in self._incidents:
            incident.missed_at = None
        return ended

    def standings(self) -> tuple[EvidenceState, ...]:
        """Return how the evidence of each live track stands after the last frame, oldest track first."""
        now = self._now
        return tuple(
            self._gathered.get(number, TrackEvidence(self.rule)).standing(
                track,
                now.time,
                night=now.night,
                outside=bool(self.zones) and not self._standing_in(track),
                quiet=now.quiet,
            )
            for number, track in now.tracks.items()
        )

    def _look_for(self, time: float, seeing: bool) -> None:
        """Note whether a bear is in the frame at all: one seen elsewhere may be the one missed here."""
        hits = {track.number for track in self._now.tracks.values() if track.last_hit == time}
        found = any(incident.tracks & hits for incident in self._incidents)
        for incident in self._incidents:
            incident.looked_for(time, found=found, seeing=seeing)

    def _is_over(self, incident: Incident, now: _Now) -> bool:
        """Return True when no track of an incident is left or, with zones, when they are empty of it.

        What stands in one and passes the threshold only now and then is no bear any more: water, say, where one was.
        """
        incident.tracks &= now.tracks.keys()
        for number in incident.tracks:
            gathered = self._gathered.get(number)
            if gathered and gathered.mean > 0 and self._standing_in(now.tracks[number]):
                incident.there_at = now.time
        left = bool(self.zones) and now.time - incident.there_at > self.empty_s
        return not incident.ended and (left or not incident.tracks)

    def _consider(self, track: Track, now: _Now) -> Decision | None:
        """Add one track's score of this frame to its evidence."""
        score = track.now
        if score is None:
            return None
        gathered = self._gathered.get(track.number)
        if gathered is None:
            gathered = self._gathered[track.number] = TrackEvidence(self.rule)
        said = gathered.counted(track, now.time, night=now.night)
        gathered.look(track, now.time, night=now.night)
        if said != 0.0:
            gathered.add(
                said, now.time, (self._gathered[each] for each in track.likely_same_ids if each in self._gathered)
            )
        if said <= 0:
            return None
        zones = self._standing_in(track)
        if gathered.incident:
            return self._go_on(gathered.incident, track, score, zones, now)
        if (self.zones and not zones) or not self._enough(gathered, track, now):
            return None
        told = (h for h in self._incidents if h.seen_at == now.time and not h.ended)
        if self.rule.one_picture and (here := next(told, None)):
            # One picture, one alarm, of the surest in it: parts of the picture that do not touch may show one bear.
            gathered.incident = here
            here.tracks.add(track.number)
            here.zones.update(zones)
            return None
        onset_s = now.time - (now.time if gathered.onset is None else gathered.onset)
        gathered.incident = self._same(track, now)
        if gathered.incident:
            return self._rejoin(gathered.incident, track, score, zones, now, onset_s)
        gathered.incident = self._begin(gathered, track, score, zones, now)
        return self._decision("new", gathered.incident, score, zones=zones, onset_s=onset_s)

    def _standing_in(self, track: Track) -> tuple[str, ...]:
        # What the frame scan found lies there roughly, and by an older model file it is the whole picture.
        return tuple(z.name for z in self.zones if (z.holds if track.moved else z.touches)(track.box_xywh))

    def _enough(self, gathered: TrackEvidence, track: Track, now: _Now) -> bool:
        """Return True when the evidence raises the alarm; a repeat offender that never moved needs twice as much.

        Where one picture alone alarms, that is the usual evidence: two sure pictures.
        """
        gathered.twice = None
        score, rule = track.now, self.rule
        sure = rule.threshold_for(still=not track.scanned(now.time), night=now.night)
        alone = rule.one_picture and score is not None and score.bear >= sure
        if not alone and gathered.evidence.sum < self.rule.alarm_at:
            return False
        if self.repeat_alarms and now.look and now.wall and not track.moved:
            gathered.twice = self.repeat_alarms.twice(track.box_xywh, now.look, now.time, now.wall)
        return (alone and not gathered.twice) or gathered.evidence.sum >= gathered.alarm_at

    def _begin(
        self, gathered: TrackEvidence, track: Track, score: Score, zones: tuple[str, ...], now: _Now
    ) -> Incident:
        """Begin an incident.

        What comes back to one spot again and again belongs to the same visit for longer each time.
        """
        # Of pictures that arrive one by one only a person's word holds a spot back: a second may not come.
        if self.repeat_alarms and now.look and not (self.rule.one_picture or track.moved or gathered.twice):
            self.repeat_alarms.alarmed(track.box_xywh, now.look(track.box_xywh), now.time)
        before = [h for h in self._past if _near(h.box_xywh, track.box_xywh) and now.time - h.seen_at <= REMEMBERED_S]
        again_s = max([self.again_s, *(min(2 * h.again_s, LONGEST_AGAIN_S) for h in before)])
        self._count += 1
        incident = Incident(
            number=self._count, track=track.number, tracks={track.number}, label=score.label, score=score.bear,
            top_score=score.bear, published_score=score.bear, published_at=now.time, box_xywh=track.box_xywh,
            seen_at=now.time, again_s=again_s, began_at=now.time, rung_at=now.time, rung_score=score.bear,
            there_at=now.time, zones=set(zones), silenced=now.quiet is not None,
        )  # fmt: skip
        self._incidents.append(incident)
        return incident

    def _take_over(self, kept: int, gone: int) -> None:
        """Two tracks became one: the surer evidence stays, and so does what was told."""
        old, own = self._gathered.pop(gone, None), self._gathered.get(kept)
        if old is None:
            return
        incident = old.incident if own is None or own.incident is None else own.incident
        if own is None or old.evidence.sum > own.evidence.sum:
            self._gathered[kept] = own = old
        own.incident = incident
        if incident:
            incident.tracks.add(kept)

    def _go_on(
        self, incident: Incident, track: Track, score: Score, zones: tuple[str, ...], now: _Now
    ) -> Decision | None:
        """More of the same; told where it has become worse, the score has risen, or nothing was told for long."""
        incident.seen_at, incident.box_xywh, incident.score = now.time, track.box_xywh, score.bear
        incident.track = track.number
        if score.bear > incident.top_score:
            incident.top_score, incident.label = score.bear, score.label
        since_s, why = now.time - incident.published_at, None
        if now.quiet:
            incident.silenced = True
        elif zones or not self.zones:
            why = incident.worse(
                self.rule, zones, score.bear, now.time, settled=since_s >= self.update_s, moved=track.moved
            )
        risen = incident.top_score >= incident.published_score + self.rise and score.bear >= incident.top_score
        if not why and (since_s < self.update_s or not (risen or since_s >= self.remind_s)):
            return None
        incident.published_score, incident.published_at = incident.top_score, now.time
        return self._decision("update", incident, score, zones=zones, escalated=why)

    def _same(self, track: Track, now: _Now) -> Incident | None:
        """Return the incident that a newly alarming track belongs to, or None."""
        open_ones = [h for h in self._incidents if not h.ended]
        for incident in open_ones:
            others = [now.tracks[number] for number in incident.tracks if number in now.tracks]
            if any(other.touches(track.box_xywh) >= TOUCHING for other in others):
                return incident
        # A lost bear found again: nothing has supported the other for a while, and it is near; or the only one, and
        # not followed any more. While one is, whatever comes elsewhere is another bear.
        for incident in reversed(self._incidents):
            unseen_s = now.time - incident.seen_at
            alone = unseen_s <= self.again_s and incident.ended and not open_ones
            if unseen_s >= self.unseen_s and (alone or _near(incident.box_xywh, track.box_xywh)):
                return incident
        return None

    def _rejoin(
        self,
        incident: Incident,
        track: Track,
        score: Score,
        zones: tuple[str, ...],
        now: _Now,
        onset_s: float,
    ) -> Decision | None:
        """Let a track join an incident that was published: an update, at once only if it had ended."""
        incident.tracks.add(track.number)
        reopened, incident.ended = incident.ended, False
        incident.there_at = now.time
        if reopened:
            incident.came_back(now.time - onset_s)
        told = self._go_on(incident, track, score, zones, now)
        if told or not (reopened or now.time - incident.published_at >= self.update_s):
            return told
        incident.published_at = now.time
        return self._decision("update", incident, score, zones=zones, onset_s=onset_s)

    def _retire(self, time: float) -> None:
        """Forget the incidents that have ended and can no longer go on."""
        for incident in [h for h in self._incidents if h.ended and time - h.seen_at > h.again_s]:
            self._incidents.remove(incident)
            self._past.append(incident)

    def _end(self, incident: Incident) -> Decision:
        incident.ended, incident.tracks = True, set()
        for gathered in self._gathered.values():
            if gathered.incident is incident:
                gathered.incident = None  # what is seen again is found again
        return incident.decision("end", incident.score, quiet=self._now.quiet)

    def _decision(self, type_: EventType, incident: Incident, score: Score, **more: Any) -> Decision:
        unknown = score.ood > self.rule.ood_threshold
        return incident.decision(type_, score.bear, quiet=self._now.quiet, unknown=unknown, **more)


@dataclass(eq=False)
class Incident:
    """A bear that was told of, while it lasts and a little longer."""

    number: int
    track: int
    tracks: set[int]
    label: str
    score: float
    top_score: float
    published_score: float
    published_at: float
    box_xywh: BoxXYWH
    seen_at: float
    again_s: float  # found again there within this: the same incident
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

    def decision(self, type_: EventType, score: float, **more: Any) -> Decision:
        """Return a step of it, with the bear probability of now (0 to 1); ``more``: further fields of Decision."""
        return Decision(type_, self.number, self.track, self.label, score, self.top_score, self.box_xywh, **more)

    def looked_for(self, time: float, *, found: bool, seeing: bool) -> None:
        """Note whether a published bear was in this frame; where the camera sees nothing, nothing is known of it."""
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
        return time - self.rung_at >= max(QUIET_S, 2 * self.again_s, self.rung_at - self.began_at)

    def worse(
        self, rule: Rule, zones: Sequence[str], score: float, time: float, *, settled: bool, moved: bool
    ) -> str | None:
        """Return why it is worth another alarm, or None; note the alarm as raised.

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


class TrackEvidence:
    """The evidence of one track; one for each that was ever scored."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.evidence = Evidence(rule)
        self.onset: float | None = None  # when the support that led to the alarm began, seconds
        self.incident: Incident | None = None  # what it was told as
        self.twice: str | None = None  # why it needs twice the evidence
        self.mean = 0.0  # of what the last looks said, logits; above 0 where they mostly pass the threshold
        self.looked_at: float | None = None  # seconds

    @property
    def alarm_at(self) -> float:
        """h as it holds for this track now, logit-seconds."""
        # Where one picture is the usual evidence, two are twice as much, and they have this sum.
        return self.rule.alarm_at * (TIMES if self.twice and not self.rule.one_picture else 1.0)

    def counted(self, track: Track, time: float, *, night: bool) -> float:
        """Return what the score of a frame at a time (seconds) counts, logits; 0 where nothing does.

        Only the track's own box speaks against it, and nothing does before something spoke for it. What has paused and
        is not as sure as what stands still must be counts nothing: the look is the one before.
        """
        if track.now is None:
            return 0.0
        rule, bear, doubted = self.rule, track.now.bear, self._doubted(track, time)
        said = rule.evidence(bear, ood=track.now.ood, still=doubted and track.still, night=night)
        if doubted and not track.still and said > 0 and bear < rule.threshold_for(still=True, night=night):
            return 0.0
        return said if said > 0 or (track.own and self.evidence.time is not None) else 0.0

    def look(self, track: Track, time: float, *, night: bool) -> None:
        """Keep the mean of what this frame's score and those before it say (time in seconds).

        What stands still is not held to its own threshold here: a bear that lies down is still there.
        """
        if track.now is None:
            return
        said = self.rule.evidence(track.now.bear, ood=track.now.ood, night=night)
        if said > 0 or track.own:
            share = 1.0 if self.looked_at is None else 1.0 - math.exp(-max(time - self.looked_at, 0.0) / MEAN_S)
            self.mean += share * (said - self.mean)
            self.looked_at = time

    def add(self, said: float, time: float, likely_same_ids: Iterable[TrackEvidence]) -> None:
        """Add what counts at a time (seconds).

        ``likely_same_ids``: what was gathered of the tracks that this may as well be of. Where that is more it goes on
        from there, unless it was told already: what a second animal nearby is known for is its own.
        """
        if said > 0 and self.incident is None:
            lenders = [other for other in likely_same_ids if other.incident is None]
            best = max([self, *lenders], key=lambda one: one.evidence.after(said, time))
            if best is not self:
                self.evidence.take(best.evidence)
                self.onset = best.onset
        self.evidence(said, time)
        if self.evidence.sum == 0.0:
            self.onset = None
        elif self.onset is None:
            self.onset = time

    def _doubted(self, track: Track, time: float) -> bool:
        """Return True if it has paused and must be surer for that: no scan says bear too, or the spot is known."""
        if self.rule.one_picture:
            return track.still and not track.scanned(time)
        return track.paused and (self.twice is not None or not track.scanned(time, SCANNED_S))

    def standing(self, track: Track, time: float, *, night: bool, outside: bool, quiet: str | None) -> EvidenceState:
        """Return how the evidence stands after a frame.

        ``outside``: the track stands in none of the zones there are.
        """
        rule, said, held = self.rule, self.counted(track, time, night=night), []
        plain = rule.threshold_for(night=night)
        threshold = rule.threshold_for(still=self._doubted(track, time), night=night)
        if threshold > plain:
            what = "stands still" if track.moved else "never moved"
            held.append(f"{what}: held to the still threshold {threshold:.2f}")
        elif night and plain != rule.threshold:
            held.append(f"night: held to the night threshold {plain:.2f}")
        if track.now and said > 0 and track.now.ood > rule.ood_threshold:
            held.append("unlike training: counts half")
        if track.now and said <= 0:
            held.append("below the threshold")
        if outside:
            held.append(OUTSIDE_ZONES)
        if self.twice:
            held.append(self.twice)
        if self.incident:
            held.append("told already, in cooldown")
        if quiet:
            held.append(quiet)
        bear = track.now.bear if track.now else None
        alone = rule.threshold_for(still=not track.scanned(time), night=night)
        return EvidenceState(
            track.number, track.box_xywh, bear, threshold, said, self.evidence.at(time), self.alarm_at, tuple(held),
            alone if rule.one_picture and not self.twice else None,
        )  # fmt: skip


class EndHold:
    """Verdicts of each frame in, those to be told out; one for each camera. Times: the frames' clock, seconds."""

    def __init__(self) -> None:
        self._open: dict[int, Decision] = {}  # incidents by number: the last that was told of each
        self._held: dict[int, tuple[float, Decision]] = {}  # ends, and since when they are held back
        self._shut: dict[int, Decision] = {}  # told to be over, though the decision still follows them
        self._sure_at = 0.0  # from when on what is seen can be trusted

    def __call__(self, decisions: Sequence[Decision], frame: Frame, *, seeing: bool) -> list[Decision]:
        """Return the decisions to publish now; ``seeing``: nothing is known to be wrong with the camera."""
        if not seeing or frame.frozen_s >= SAME_S:
            self._sure_at = frame.time + SURE_S
        sure = frame.time >= self._sure_at
        told = [decision for decision in decisions if self._told_now(decision, frame.time, sure)]
        for number, (since, decision) in list(self._held.items()):
            if sure or frame.time - since >= MAX_HELD_S:
                del self._held[number], self._open[number]
                told.append(decision)
        if sure and self._shut:
            lasting = [replace(last, type="update", onset_s=None, escalated=None) for last in self._shut.values()]
            told += [self._opened(decision) for decision in lasting]
        return told

    def shut(self, ended: Sequence[Decision] = ()) -> list[Decision]:
        """Return the ends of all open incidents; ``ended``: those of incidents that the decision has closed."""
        ends = {decision.incident: decision for decision in (*(held for _, held in self._held.values()), *ended)}
        for number in ends:
            self._shut.pop(number, None)
        for number, last in self._open.items():
            if number not in ends:
                self._shut[number] = last
                ends[number] = replace(last, type="end", onset_s=None, unknown=False, zones=(), escalated=None)
        told = [ends[number] for number in self._open]
        self._open.clear()
        self._held.clear()
        return told

    def forget(self) -> None:
        """Nobody watches any more."""
        self._shut.clear()

    def _told_now(self, decision: Decision, now: float, sure: bool) -> bool:
        number = decision.incident
        if decision.type == "end":
            self._shut.pop(number, None)
            if number not in self._open:
                return False  # that was told
            if not sure:
                self._held[number] = now, decision
                return False
            del self._open[number]
            self._held.pop(number, None)
            return True
        if number in self._shut and not decision.alarms and not sure:
            self._shut[number] = decision  # the same old picture
            return False
        self._opened(decision)
        return True

    def _opened(self, decision: Decision) -> Decision:
        self._held.pop(decision.incident, None)
        self._shut.pop(decision.incident, None)
        self._open[decision.incident] = decision
        return decision


@dataclass(frozen=True)
class Decision:
    """One step in the life of an incident."""

    type: EventType
    incident: int  # 1, 2, 3 … within one camera
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
        """Return True if it is worth a noise (``Event.alarms``)."""
        return self.quiet is None and (self.type == "new" or self.escalated is not None)


@dataclass(frozen=True, slots=True)
class _Now:
    """Other facts about a frame."""

    tracks: dict[int, Track]
    time: float
    wall: datetime | None
    night: bool
    look: CutThumbnail | None
    quiet: str | None


def _near(one: BoxXYWH, other: BoxXYWH) -> bool:
    """Return True if two boxes touch when each is grown by its own size on every side."""
    grown = [(x - w, y - h, 3 * w, 3 * h) for x, y, w, h in (one, other)]
    return inside(grown[0], grown[1]) > 0
