"""From evidence to events: one happening is new, may be updated, and ends.

A bear that is lost and found again soon is the same happening (an update, no second alarm); a second
bear elsewhere at the same time is its own. What lies in one place with an alarming track (the
other half of a large bear, its cub) belongs to it. Where zones are given, only what stands in one alarms,
and it is over when they are empty; and everywhere when nothing of it is followed any more.

An update alarms again (it *escalates*) when the bear enters a zone that was not told, when a bear that was told
in doubt has become sure, and when the schedule begins while it is still there: each zone and the doubt once. So it does
when a bear that had gone is back, two minutes after the last noise and then ever more seldom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.decide import Rule
from edge.decide.offenders import Look, Offenders
from edge.decide.schedule import Schedule
from edge.decide.suspect import Suspect
from edge.decide.verdict import Happening, Verdict
from edge.detect.tracker import TOUCHING, Track, inside
from edge.detect.zones import Zone
from edge.schema import BoxXYWH, EventType, Score, Standing

__all__ = ["Decider", "Verdict"]

OUTSIDE_SCHEDULE = "outside the schedule"
LONGEST_AGAIN_S = 300.0  # of a spot where one happening follows another
REMEMBERED_S = 3600.0  # how long a spot's happenings are known


@dataclass(frozen=True, slots=True)
class _Now:
    """What else is known of a frame."""

    tracks: dict[int, Track]
    time: float
    wall: datetime | None
    night: bool
    look: Look | None
    quiet: str | None


class Decider:
    """Live tracks of one frame in, verdicts out; one for each camera."""

    def __init__(
        self,
        rule: Rule,
        *,
        zones: Sequence[Zone] = (),
        schedule: Schedule | None = None,
        offenders: Offenders | None = None,
        again_s: float = 30.0,
        update_s: float = 5.0,
        remind_s: float = 600.0,
        rise: float = 0.1,
    ) -> None:
        self.rule = rule
        self.zones = tuple(zones)  # where there are any, only what stands in one alarms
        self.schedule = schedule  # None: always
        self.offenders = offenders  # None: no spot is ever held back
        self.again_s = again_s  # found again within this: the same happening; at one spot twice as long each time
        self.update_s = update_s  # at most one update in so many seconds
        self.remind_s = remind_s  # and one at least, while the bear is seen
        self.rise = rise  # of the top score, worth an update
        self.empty_s = 5.0  # zones that are empty for so long end it: as long as a track outlives a hit
        self.unseen_s = 0.5  # a happening without support for so long may be the one found elsewhere
        self._suspects: dict[int, Suspect] = {}
        self._happenings: list[Happening] = []
        self._past: deque[Happening] = deque(maxlen=64)
        self._count = 0
        self._now = _Now({}, 0.0, None, False, None, None)

    def __call__(
        self,
        tracks: Sequence[Track],
        time: float,
        *,
        wall: datetime | None = None,
        night: bool = False,
        look: Look | None = None,
        seeing: bool = True,
    ) -> list[Verdict]:
        """What is to be told after this frame (time in seconds).

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
        verdicts = [self._end(happening) for happening in self._happenings if self._is_over(happening, now)]
        self._retire(time)
        verdicts += [verdict for track in tracks if (verdict := self._consider(track, now))]
        self._suspects = {number: s for number, s in self._suspects.items() if number in now.tracks}
        return verdicts

    def close(self) -> list[Verdict]:
        """The source has ended, or is gone for now, and with it what was still going on."""
        ended = [self._end(happening) for happening in self._happenings if not happening.ended]
        for happening in self._happenings:
            happening.missed_at = None
        return ended

    def standings(self) -> tuple[Standing, ...]:
        """How the evidence of each live track stands after the last frame, oldest track first."""
        now = self._now
        return tuple(
            self._suspects.get(number, Suspect(self.rule)).standing(
                track,
                now.time,
                night=now.night,
                outside=bool(self.zones) and not self._standing_in(track),
                quiet=now.quiet,
            )
            for number, track in now.tracks.items()
        )

    def _look_for(self, time: float, seeing: bool) -> None:
        """Whether a bear is in the frame at all: one that is seen elsewhere may be the one that is missed here."""
        hits = {track.number for track in self._now.tracks.values() if track.last_hit == time}
        found = any(happening.tracks & hits for happening in self._happenings)
        for happening in self._happenings:
            happening.looked_for(time, found=found, seeing=seeing)

    def _is_over(self, happening: Happening, now: _Now) -> bool:
        """Return True when no track of a happening is left or, with zones, when they are empty of it.

        What stands in one and passes the threshold only now and then is no bear any more: water, say, where one was.
        """
        happening.tracks &= now.tracks.keys()
        for number in happening.tracks:
            suspect = self._suspects.get(number)
            if suspect and suspect.mean > 0 and self._standing_in(now.tracks[number]):
                happening.there_at = now.time
        left = bool(self.zones) and now.time - happening.there_at > self.empty_s
        return not happening.ended and (left or not happening.tracks)

    def _consider(self, track: Track, now: _Now) -> Verdict | None:
        """One track's score of this frame, added up."""
        score = track.now
        if score is None:
            return None
        suspect = self._suspects.get(track.number)
        if suspect is None:
            suspect = self._suspects[track.number] = Suspect(self.rule)
        said = suspect.counted(track, now.time, night=now.night)
        suspect.look(track, now.time, night=now.night)
        if said != 0.0:
            suspect.add(said, now.time, (self._suspects[each] for each in track.akin if each in self._suspects))
        if said <= 0:
            return None
        zones = self._standing_in(track)
        if suspect.happening:
            return self._go_on(suspect.happening, track, score, zones, now)
        if (self.zones and not zones) or not self._enough(suspect, track, now):
            return None
        told = (h for h in self._happenings if h.seen_at == now.time and not h.ended)
        if self.rule.one_picture and (here := next(told, None)):
            # One picture, one alarm, of the surest in it: parts of the picture that do not touch may show one bear.
            suspect.happening = here
            here.tracks.add(track.number)
            here.zones.update(zones)
            return None
        onset_s = now.time - (now.time if suspect.onset is None else suspect.onset)
        suspect.happening = self._same(track, now)
        if suspect.happening:
            return self._rejoin(suspect.happening, track, score, zones, now, onset_s)
        suspect.happening = self._begin(suspect, track, score, zones, now)
        return self._verdict("new", suspect.happening, score, zones=zones, onset_s=onset_s)

    def _standing_in(self, track: Track) -> tuple[str, ...]:
        # What the frame scan found lies there roughly, and by an older model file it is the whole picture.
        return tuple(z.name for z in self.zones if (z.holds if track.moved else z.touches)(track.box_xywh))

    def _enough(self, suspect: Suspect, track: Track, now: _Now) -> bool:
        """Return True when the evidence raises the alarm; a repeat offender that never moved needs twice as much.

        Where one picture alone alarms, that is the usual evidence: two sure pictures.
        """
        suspect.twice = None
        score, rule = track.now, self.rule
        sure = rule.threshold_for(still=not track.scanned(now.time), night=now.night)
        alone = rule.one_picture and score is not None and score.bear >= sure
        if not alone and suspect.evidence.sum < self.rule.alarm_at:
            return False
        if self.offenders and now.look and now.wall and not track.moved:
            suspect.twice = self.offenders.twice(track.box_xywh, now.look, now.time, now.wall)
        return (alone and not suspect.twice) or suspect.evidence.sum >= suspect.alarm_at

    def _begin(self, suspect: Suspect, track: Track, score: Score, zones: tuple[str, ...], now: _Now) -> Happening:
        """A happening of its own. What comes back to one spot again and again is found again for longer each time."""
        # Of pictures that arrive one by one only a person's word holds a spot back: a second may not come.
        if self.offenders and now.look and not (self.rule.one_picture or track.moved or suspect.twice):
            self.offenders.alarmed(track.box_xywh, now.look(track.box_xywh), now.time)
        before = [h for h in self._past if _near(h.box_xywh, track.box_xywh) and now.time - h.seen_at <= REMEMBERED_S]
        again_s = max([self.again_s, *(min(2 * h.again_s, LONGEST_AGAIN_S) for h in before)])
        self._count += 1
        happening = Happening(
            number=self._count, track=track.number, tracks={track.number}, label=score.label, score=score.bear,
            top_score=score.bear, told_score=score.bear, told_at=now.time, box_xywh=track.box_xywh, seen_at=now.time,
            again_s=again_s, began_at=now.time, rung_at=now.time, rung_score=score.bear, there_at=now.time,
            zones=set(zones), silenced=now.quiet is not None,
        )  # fmt: skip
        self._happenings.append(happening)
        return happening

    def _take_over(self, kept: int, gone: int) -> None:
        """Two tracks became one: the surer evidence stays, and so does what was told."""
        old, own = self._suspects.pop(gone, None), self._suspects.get(kept)
        if old is None:
            return
        happening = old.happening if own is None or own.happening is None else own.happening
        if own is None or old.evidence.sum > own.evidence.sum:
            self._suspects[kept] = own = old
        own.happening = happening
        if happening:
            happening.tracks.add(kept)

    def _go_on(
        self, happening: Happening, track: Track, score: Score, zones: tuple[str, ...], now: _Now
    ) -> Verdict | None:
        """More of the same; told where it has become worse, the score has risen, or nothing was told for long."""
        happening.seen_at, happening.box_xywh, happening.score = now.time, track.box_xywh, score.bear
        happening.track = track.number
        if score.bear > happening.top_score:
            happening.top_score, happening.label = score.bear, score.label
        since_s, why = now.time - happening.told_at, None
        if now.quiet:
            happening.silenced = True
        elif zones or not self.zones:
            why = happening.worse(
                self.rule, zones, score.bear, now.time, settled=since_s >= self.update_s, moved=track.moved
            )
        risen = happening.top_score >= happening.told_score + self.rise and score.bear >= happening.top_score
        if not why and (since_s < self.update_s or not (risen or since_s >= self.remind_s)):
            return None
        happening.told_score, happening.told_at = happening.top_score, now.time
        return self._verdict("update", happening, score, zones=zones, escalated=why)

    def _same(self, track: Track, now: _Now) -> Happening | None:
        """The happening a newly alarming track belongs to, if any."""
        open_ones = [h for h in self._happenings if not h.ended]
        for happening in open_ones:
            others = [now.tracks[number] for number in happening.tracks if number in now.tracks]
            if any(other.touches(track.box_xywh) >= TOUCHING for other in others):
                return happening
        # A lost bear found again: nothing has supported the other for a while, and it is near; or the only one, and
        # not followed any more. While one is, whatever comes elsewhere is another bear.
        for happening in reversed(self._happenings):
            unseen_s = now.time - happening.seen_at
            alone = unseen_s <= self.again_s and happening.ended and not open_ones
            if unseen_s >= self.unseen_s and (alone or _near(happening.box_xywh, track.box_xywh)):
                return happening
        return None

    def _rejoin(
        self,
        happening: Happening,
        track: Track,
        score: Score,
        zones: tuple[str, ...],
        now: _Now,
        onset_s: float,
    ) -> Verdict | None:
        """A track joins a happening that was told already: an update, at once only where it had ended."""
        happening.tracks.add(track.number)
        reopened, happening.ended = happening.ended, False
        happening.there_at = now.time
        if reopened:
            happening.came_back(now.time - onset_s)
        told = self._go_on(happening, track, score, zones, now)
        if told or not (reopened or now.time - happening.told_at >= self.update_s):
            return told
        happening.told_at = now.time
        return self._verdict("update", happening, score, zones=zones, onset_s=onset_s)

    def _retire(self, time: float) -> None:
        """What has ended and can no longer be found again is past."""
        for happening in [h for h in self._happenings if h.ended and time - h.seen_at > h.again_s]:
            self._happenings.remove(happening)
            self._past.append(happening)

    def _end(self, happening: Happening) -> Verdict:
        happening.ended, happening.tracks = True, set()
        for suspect in self._suspects.values():
            if suspect.happening is happening:
                suspect.happening = None  # what is seen again is found again
        return happening.verdict("end", happening.score, quiet=self._now.quiet)

    def _verdict(self, type_: EventType, happening: Happening, score: Score, **more: Any) -> Verdict:
        unknown = score.ood > self.rule.ood_threshold
        return happening.verdict(type_, score.bear, quiet=self._now.quiet, unknown=unknown, **more)


def _near(one: BoxXYWH, other: BoxXYWH) -> bool:
    """Whether two boxes touch when each is grown by its own size on every side."""
    grown = [(x - w, y - h, 3 * w, 3 * h) for x, y, w, h in (one, other)]
    return inside(grown[0], grown[1]) > 0
