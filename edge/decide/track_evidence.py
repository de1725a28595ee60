"""The evidence of one track: what each frame's score counts, what it adds up to, and what holds an alarm back."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edge.decide.evidence import Evidence, Rule
from edge.decide.incident import Incident
from edge.decide.repeat_alarms import TIMES
from edge.detect.tracker import Track
from edge.schema import EvidenceState

MEAN_S = 3.0  # how far back the mean of the scores goes
SCANNED_S = 5.0  # for how long a frame scan that found a bear counts beside the crops
OUTSIDE_ZONES = "outside the zones"


class TrackEvidence:
    """The evidence of one track; one for each that was ever scored."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.evidence = Evidence(rule)
        self.onset: float | None = None  # when the support that led to the alarm began, seconds
        self.incident: Incident | None = None  # that it was published as
        self.twice: str | None = None  # why it needs twice the evidence
        self.mean = 0.0  # of the last scores in logits; above 0 where they mostly pass the threshold
        self.averaged_at: float | None = None  # seconds

    @property
    def alarm_at(self) -> float:
        """h as it holds for this track now, logit-seconds."""
        # Where one picture is the usual evidence, two are twice as much, and they have this sum.
        return self.rule.alarm_at * (TIMES if self.twice and not self.rule.one_picture else 1.0)

    def counted(self, track: Track, time: float, *, night: bool) -> float:
        """Return what the score of a frame at a time (seconds) counts, logits; 0 where nothing does.

        Only a score of the track's own box counts against it, and none does before one counted for it. What has paused
        and does not reach the still threshold counts nothing: it is the same picture as before.
        """
        if track.now is None:
            return 0.0
        rule, bear, doubted = self.rule, track.now.bear, self._doubted(track, time)
        logits = rule.evidence(bear, ood=track.now.ood, still=doubted and track.still, night=night)
        if doubted and not track.still and logits > 0 and bear < rule.threshold_for(still=True, night=night):
            return 0.0
        return logits if logits > 0 or (track.own and self.evidence.time is not None) else 0.0

    def average(self, track: Track, time: float, *, night: bool) -> None:
        """Keep the mean of this frame's score and those before it, in logits (time in seconds).

        What stands still is not held to its own threshold here: a bear that lies down is still there.
        """
        if track.now is None:
            return
        logits = self.rule.evidence(track.now.bear, ood=track.now.ood, night=night)
        if logits > 0 or track.own:
            passed_s = math.inf if self.averaged_at is None else max(time - self.averaged_at, 0.0)
            self.mean += (1.0 - math.exp(-passed_s / MEAN_S)) * (logits - self.mean)
            self.averaged_at = time

    def add(self, logits: float, time: float, likely_same_ids: Iterable[TrackEvidence]) -> None:
        """Add what counts at a time (seconds).

        ``likely_same_ids``: the evidence of other tracks that may be the same animal. Where one of them has more, this
        goes on from there; not from one that was published already, for that evidence is of a second animal nearby.
        """
        if logits > 0 and self.incident is None:
            lenders = [other for other in likely_same_ids if other.incident is None]
            best = max([self, *lenders], key=lambda one: one.evidence.after(logits, time))
            if best is not self:
                self.evidence.take(best.evidence)
                self.onset = best.onset
        self.evidence(logits, time)
        if self.evidence.sum == 0.0:
            self.onset = None
        elif self.onset is None:
            self.onset = time

    def _doubted(self, track: Track, time: float) -> bool:
        """Return True if it has paused and needs a higher score: no frame scan found it, or its spot has a history."""
        if self.rule.one_picture:
            return track.still and not track.scanned(time)
        return track.paused and (self.twice is not None or not track.scanned(time, SCANNED_S))

    def state(self, track: Track, time: float, *, night: bool, outside: bool, quiet: str | None) -> EvidenceState:
        """Return the evidence after a frame, and what holds it back.

        ``outside``: the track stands in none of the zones there are.
        """
        rule, logits, held = self.rule, self.counted(track, time, night=night), []
        plain = rule.threshold_for(night=night)
        threshold = rule.threshold_for(still=self._doubted(track, time), night=night)
        if threshold > plain:
            what = "stands still" if track.moved else "never moved"
            held.append(f"{what}: held to the still threshold {threshold:.2f}")
        elif night and plain != rule.threshold:
            held.append(f"night: held to the night threshold {plain:.2f}")
        if track.now and logits > 0 and track.now.ood > rule.ood_threshold:
            held.append("unlike training: counts half")
        if track.now and logits <= 0:
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
            track.number, track.box_xywh, bear, threshold, logits, self.evidence.at(time), self.alarm_at, tuple(held),
            alone if rule.one_picture and not self.twice else None,
        )  # fmt: skip
