"""When is it a bear: evidence gathered over time, one leaky one-sided CUSUM for each track (Page 1954).

    S <- max(0, S * exp(-dt/tau) + w * clip(logit p - logit pi - d, -c, +c))        alarm at S >= h

p is the bear probability, pi the card's calibration prior, d the drift, w = min(dt, dt_max) seconds (w0 for a
track's first score), tau the forgetting time. Weighted by time, so the frame rate does not matter; capped,
so that one blip after a quiet minute counts once; leaky, so that blips hours apart never add up.
No clock is read here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edge.detect.card import Card
from edge.detect.odds import logit, sigmoid
from edge.errors import OptionError

STILL_COUNTS = 2.0  # weight of a score of something that stands still, for and against
STILL_MORE = 1.7  # logits by which a crop of what stands still, or one crop alone, must be surer
LONGEST_S = 2.0  # a sure bear alarms within this, whatever h is chosen


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

    def take(self, other: Evidence) -> None:
        """Go on from another track's evidence."""
        self.sum, self.time = other.sum, other.time
