"""From evidence to events: one happening is new, may be updated, and ends.

A bear that is lost and found again soon is the same happening (an update, no second alarm); a second
bear elsewhere at the same time is its own. What lies in one place with an alarming track (the
other half of a large bear, its cub) belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.decide import Evidence, Rule
from edge.schema import BoxXYWH, EventType, Score
from edge.track import SAME_INSIDE, Track, inside


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
    ended: bool = False


class _Suspect:
    """What has been gathered of one track."""

    def __init__(self, rule: Rule) -> None:
        self.evidence = Evidence(rule)
        self.onset: float | None = None  # when the support that led to the alarm began
        self.happening: Happening | None = None


class Decider:
    """Live tracks of one frame in, verdicts out; one for each camera."""

    def __init__(self, rule: Rule, *, again_s: float = 30.0, update_s: float = 5.0, rise: float = 0.1) -> None:
        self.rule = rule
        self.again_s = again_s  # found again within this: the same happening
        self.update_s = update_s  # at most one update in so many seconds
        self.rise = rise  # of the top score, worth an update
        self.unseen_s = 0.5  # a happening without support for so long may be the one found elsewhere
        self._suspects: dict[int, _Suspect] = {}
        self._happenings: list[Happening] = []
        self._count = 0

    def __call__(self, tracks: Sequence[Track], time: float) -> list[Verdict]:
        """What is to be told after this frame (time in seconds)."""
        verdicts: list[Verdict] = []
        by_number = {track.number: track for track in tracks}
        for track in tracks:
            while track.absorbed:
                self._take_over(track.number, track.absorbed.pop())
        for track in tracks:
            verdict = self._consider(track, by_number, time)
            if verdict:
                verdicts.append(verdict)
        self._suspects = {number: s for number, s in self._suspects.items() if number in by_number}
        for happening in self._happenings:
            happening.tracks &= by_number.keys()
            if not happening.tracks and not happening.ended:
                verdicts.append(self._end(happening))
        self._happenings = [h for h in self._happenings if not h.ended or time - h.seen_at <= self.again_s]
        return verdicts

    def close(self) -> list[Verdict]:
        """The source has ended, and with it what was still going on."""
        return [self._end(happening) for happening in self._happenings if not happening.ended]

    def evidence(self, track: int) -> float:
        """The evidence gathered for a track as a share of what raises the alarm, 0 and up."""
        suspect = self._suspects.get(track)
        return suspect.evidence.sum / self.rule.alarm_at if suspect else 0.0

    def _consider(self, track: Track, tracks: dict[int, Track], time: float) -> Verdict | None:
        """One track's score of this frame, added up."""
        score = track.now
        if score is None:
            return None
        suspect = self._suspects.setdefault(track.number, _Suspect(self.rule))
        said = self.rule.evidence(score.bear, ood=score.ood, still=not track.moved)
        alarming = suspect.evidence(said, time)
        if suspect.evidence.sum == 0.0:
            suspect.onset = None
        elif suspect.onset is None:
            suspect.onset = time
        if suspect.happening:
            return self._go_on(suspect.happening, track, score, time) if said > 0 else None
        if not alarming or said <= 0:
            return None
        onset_s = time - (time if suspect.onset is None else suspect.onset)
        suspect.happening = self._same(track, tracks, time)
        if suspect.happening:
            return self._rejoin(suspect.happening, track, score, time, onset_s)
        self._count += 1
        happening = Happening(
            number=self._count, track=track.number, tracks={track.number}, label=score.label, score=score.bear,
            top_score=score.bear, told_score=score.bear, told_at=time, box_xywh=track.box_xywh, seen_at=time,
        )  # fmt: skip
        suspect.happening = happening
        self._happenings.append(happening)
        return self._verdict("new", happening, score, onset_s)

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

    def _go_on(self, happening: Happening, track: Track, score: Score, time: float) -> Verdict | None:
        """More of the same; told where the score has risen and some time has passed."""
        happening.seen_at, happening.box_xywh, happening.score = time, track.box_xywh, score.bear
        happening.track = track.number
        if score.bear > happening.top_score:
            happening.top_score, happening.label = score.bear, score.label
        risen = happening.top_score >= happening.told_score + self.rise
        if not risen or time - happening.told_at < self.update_s or score.bear < happening.top_score:
            return None
        happening.told_score, happening.told_at = happening.top_score, time
        return self._verdict("update", happening, score, None)

    def _same(self, track: Track, tracks: dict[int, Track], time: float) -> Happening | None:
        """The happening a newly alarming track belongs to, if any."""
        open_ones = [h for h in self._happenings if not h.ended]
        for happening in open_ones:
            others = [tracks[number] for number in happening.tracks if number in tracks]
            if any(other.touches(track.box_xywh) >= SAME_INSIDE for other in others):
                return happening
        # A lost bear found again: nothing has supported the other for a while, and it is near or the only one.
        for happening in reversed(self._happenings):
            unseen = time - happening.seen_at >= self.unseen_s
            alone = all(h is happening for h in open_ones)
            if unseen and (alone or _near(happening.box_xywh, track.box_xywh)):
                return happening
        return None

    def _rejoin(self, happening: Happening, track: Track, score: Score, time: float, onset_s: float) -> Verdict | None:
        """A track joins a happening that was told already: an update, at once only where it had ended."""
        happening.tracks.add(track.number)
        reopened, happening.ended = happening.ended, False
        told = self._go_on(happening, track, score, time)
        if told or not (reopened or time - happening.told_at >= self.update_s):
            return told
        happening.told_at = time
        return self._verdict("update", happening, score, onset_s)

    @staticmethod
    def _end(happening: Happening) -> Verdict:
        happening.ended = True
        return Verdict(
            "end",
            happening.number,
            happening.track,
            happening.label,
            happening.score,
            happening.top_score,
            happening.box_xywh,
        )

    def _verdict(self, type_: EventType, happening: Happening, score: Score, onset_s: float | None) -> Verdict:
        return Verdict(
            type_, happening.number, happening.track, happening.label, score.bear, happening.top_score,
            happening.box_xywh, onset_s, unknown=score.ood > self.rule.ood_threshold,
        )  # fmt: skip


def _near(one: BoxXYWH, other: BoxXYWH) -> bool:
    """Whether two boxes touch when each is grown by its own size on every side."""
    grown = [(x - w, y - h, 3 * w, 3 * h) for x, y, w, h in (one, other)]
    return inside(grown[0], grown[1]) > 0
