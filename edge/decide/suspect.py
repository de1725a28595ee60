"""What has been gathered of one track, and what holds it back, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edge.decide import Evidence, Rule
from edge.decide.offenders import TIMES
from edge.decide.verdict import Happening
from edge.detect.tracker import Track
from edge.schema import Standing

OUTSIDE_ZONES = "outside the zones"
MEAN_S = 3.0  # how far back the mean of the looks goes
SCANNED_S = 5.0  # how long the frame scan's word for a bear counts beside its crops


class Suspect:
    """The evidence of one track; one for each that was ever scored."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.evidence = Evidence(rule)
        self.onset: float | None = None  # when the support that led to the alarm began, seconds
        self.happening: Happening | None = None  # what it was told as
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

    def add(self, said: float, time: float, akin: Iterable[Suspect]) -> None:
        """Add what counts at a time (seconds).

        ``akin``: what was gathered of the tracks that this may as well be of. Where that is more it goes on from
        there, unless it was told already: what a second animal nearby is known for is its own.
        """
        if said > 0 and self.happening is None:
            lenders = [other for other in akin if other.happening is None]
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

    def standing(self, track: Track, time: float, *, night: bool, outside: bool, quiet: str | None) -> Standing:
        """How the evidence stands after a frame. ``outside``: the track stands in none of the zones there are."""
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
        if self.happening:
            held.append("told already, in cooldown")
        if quiet:
            held.append(quiet)
        bear = track.now.bear if track.now else None
        alone = rule.threshold_for(still=not track.scanned(time), night=night)
        return Standing(
            track.number, track.box_xywh, bear, threshold, said, self.evidence.at(time), self.alarm_at, tuple(held),
            alone if rule.one_picture and not self.twice else None,
        )  # fmt: skip
