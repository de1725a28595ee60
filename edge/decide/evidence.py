"""When is it a bear: evidence gathered over time, one leaky one-sided CUSUM for each track (Page 1954).

    S <- max(0, S * exp(-dt/tau) + w * clip(logit p - logit pi - d, -c, +c))        alarm at S >= h

p is the bear probability, pi the card's calibration prior, d the drift, w = min(dt, dt_max) seconds (w0 for a
track's first score), tau the forgetting time. Weighted by time, so the frame rate does not matter; capped,
so that one blip after a quiet minute counts once; leaky, so that blips hours apart never add up.
No clock is read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.decide.repeat_alarms import TIMES
from edge.detect.card import Card, logit, sigmoid
from edge.detect.tracker import Track
from edge.errors import OptionError
from edge.schema import EvidenceState

if TYPE_CHECKING:
    from edge.decide.alarms import Incident

STILL_COUNTS = 2.0  # weight of a score of something that stands still, for and against
STILL_MORE = 1.7  # logits by which a crop of what stands still, or one crop alone, must be surer
LONGEST_S = 2.0  # a sure bear alarms within this, whatever h is chosen

MEAN_S = 3.0  # how far back the mean of the scores goes
SCANNED_S = 5.0  # for how long a frame scan that found a bear counts beside the crops
OUTSIDE_ZONES = "outside the zones"


@dataclass(frozen=True)
class Rule:
    """The constants of the decision. Raises OptionError for values with which it could not work."""

    threshold: float  # bear probability with no evidence either way, 0 to 1: the card's `crop`
    still_threshold: float  # the same for a crop of what stands still, and for one crop alone
    prior: float = 0.5  # pi
    ood_threshold: float = math.inf  # stranger crops than this count half
    night_threshold: float | None = None  # in place of `threshold` at night; None: the same
    cap: float = 3.0  # c, logits
    alarm_at: float = 1.8  # h, logit-seconds
    first_s: float = 0.3  # w0
    step_max_s: float = 0.4  # dt_max
    forget_s: float = 10.0  # tau
    one_picture: bool = False  # whether one picture alone alarms: where only one comes

    def __post_init__(self) -> None:
        for name in ("threshold", "still_threshold", "night_threshold", "prior"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise OptionError(f"{name} is {value}; it must lie between 0 and 1")
        for name in ("cap", "alarm_at", "first_s", "step_max_s", "forget_s"):
            if not getattr(self, name) > 0.0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be above 0")
        if max(self.first_s, self.step_max_s) * self.cap >= self.alarm_at - 1e-9:
            raise OptionError(
                f"a single picture could raise the alarm: first_s {self.first_s} and step_max_s {self.step_max_s}, "
                f"times cap {self.cap}, must stay below alarm_at {self.alarm_at}"
            )
        frames = self.frames_needed(self.step_max_s)
        if frames is None or max(self.seconds_at_best, (frames - 1) * self.step_max_s) > LONGEST_S + 1e-9:
            raise OptionError(
                f"alarm_at is {self.alarm_at:g}, with which a sure bear would not alarm within {LONGEST_S:g} s; "
                f"give at most {self.cap * LONGEST_S:g}, {LONGEST_S:g} s at the cap of {self.cap:g}, and less where "
                f"evidence is forgotten within {self.forget_s:g} s"
            )

    @classmethod
    def from_card(
        cls,
        card: Card,
        *,
        threshold: float | None = None,
        night_threshold: float | None = None,
        alarm_at: float | None = None,
    ) -> Rule:
        """Return the rule a model's card asks for; ``threshold`` (0 to 1) overrides both of the rule's.

        All scores that come here are on the crops' scale: the frame scan's are brought there, so that the card's
        threshold ``frame`` falls onto ``crop`` (``FrameScanner.beside_crops``). What the scan takes for a bear passes
        ``threshold`` here too, and nothing else of the card is needed. A crop of what stands still is scored again and
        again and is the same each time, so it must be surer by ``STILL_MORE``; so must a crop that alarms alone,
        because a picture has many. The scan of a lone picture counts from ``threshold`` on, as in ``classify``.

        ``alarm_at``: h in logit-seconds, where a place needs another than the usual (``bear-alarm tune``).
        """
        crop = card.thresholds["crop"].value if threshold is None else threshold
        still = sigmoid(logit(crop) + STILL_MORE) if threshold is None else threshold
        rule = cls(crop, still, prior=card.prior, ood_threshold=card.ood.threshold, night_threshold=night_threshold)
        return rule if alarm_at is None else replace(rule, alarm_at=alarm_at)

    @property
    def frames_at_best(self) -> int:
        """Scored frames that a sure bear needs at least: their number where they come dt_max apart."""
        frames = self.frames_needed(self.step_max_s)
        assert frames is not None  # checked when the rule is made
        return frames

    @property
    def seconds_at_best(self) -> float:
        """Seconds within which a sure bear alarms where there are frames enough: h/c."""
        return self.alarm_at / self.cap

    def frames_needed(self, spacing_s: float) -> int | None:
        """Scored frames ``spacing_s`` seconds apart that a sure bear needs; None: it would never alarm."""
        kept, step = math.exp(-spacing_s / self.forget_s), min(spacing_s, self.step_max_s) * self.cap
        total, count = self.first_s * self.cap, 1
        while total < self.alarm_at:
            further = total * kept + step
            if further <= total + 1e-9:
                return None
            total, count = further, count + 1
        return count

    def threshold_for(self, *, still: bool = False, night: bool = False) -> float:
        """Return the bear probability that is no evidence either way: for what stands still, and at night.

        With ``one_picture`` a picture alone alarms from it on: by its scan, and with ``still`` by one crop.
        """
        threshold = self.night_threshold if night and self.night_threshold is not None else self.threshold
        return max(threshold, self.still_threshold) if still else threshold

    def evidence(self, bear: float, *, ood: float = 0.0, still: bool = False, night: bool = False) -> float:
        """Return the evidence of one bear probability in logits, -c to +c; above 0 where it passes the threshold.

        ``still``: nothing moves there. A stump is scored again and again and is the same each time, so it has the
        higher threshold to pass. Beyond it each score counts double, for and against: a bear that lies there must not
        wait, and a stump whose scores vary gathers nothing. An ``ood`` above ``ood_threshold`` halves evidence for a
        bear and never vetoes it.
        """
        # logit p - logit pi - d, with d = logit(threshold) - logit pi: the prior cancels out.
        logits = logit(bear) - logit(self.threshold_for(night=night))
        if still:
            logits = min(logits, STILL_COUNTS * (logit(bear) - logit(self.threshold_for(still=True, night=night))))
        logits = min(max(logits, -self.cap), self.cap)
        return logits / 2 if logits > 0 and ood > self.ood_threshold else logits


class Evidence:
    """The evidence gathered for one track: the S above."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.sum = 0.0  # S, logit-seconds
        self.time: float | None = None  # of the last score, seconds; None before the first

    def __call__(self, logits: float, time: float) -> bool:
        """Add the evidence of a score (``Rule.evidence``) at a time (seconds); True from the alarm level on."""
        self.sum, self.time = self.after(logits, time), time
        return self.sum >= self.rule.alarm_at

    def after(self, logits: float, time: float) -> float:
        """Return what S would be with one more score."""
        if self.time is None:
            return max(0.0, self.rule.first_s * logits)
        weight = min(max(time - self.time, 0.0), self.rule.step_max_s)
        return max(0.0, self.at(time) + weight * logits)

    def at(self, time: float) -> float:
        """S at a time (seconds), where no score has come since the last."""
        passed = 0.0 if self.time is None else max(time - self.time, 0.0)
        return self.sum * math.exp(-passed / self.rule.forget_s)


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
                self.evidence.sum, self.evidence.time = best.evidence.sum, best.evidence.time
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
            held.append("published already, in cooldown")
        if quiet:
            held.append(quiet)
        bear = track.now.bear if track.now else None
        alone = rule.threshold_for(still=not track.scanned(time), night=night)
        return EvidenceState(
            track.number, track.box_xywh, bear, threshold, logits, self.evidence.at(time), self.alarm_at, tuple(held),
            alone if rule.one_picture and not self.twice else None,
        )  # fmt: skip
