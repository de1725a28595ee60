"""When is it a bear: evidence gathered over time, one leaky one-sided CUSUM for each track (Page 1954).

    S <- max(0, S * exp(-dt/tau) + w * clip(logit p - logit pi - d, -c, +c))        alarm at S >= h

p is the bear probability, pi the card's calibration prior, d the drift, w = min(dt, dt_max) seconds (w0 for a
track's first score), tau the forgetting time. Weighted by time, so the frame rate does not matter; capped,
so that one blip after a quiet minute counts once; leaky, so that blips hours apart never add up.
No clock is read here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.card import Card
from edge.errors import OptionError

EPSILON = 1e-6  # probabilities are kept this far from 0 and 1, where the logit ends


@dataclass(frozen=True)
class Rule:
    """The constants of the decision. Raises OptionError for values with which it could not work."""

    threshold: float  # bear probability with no evidence either way, 0 to 1: the card's `crop`
    still_threshold: float  # the same for what was found by the sweep and never moved: the card's `still`
    prior: float = 0.5  # pi
    ood_threshold: float = math.inf  # stranger crops than this count half
    cap: float = 3.0  # c, logits
    alarm_at: float = 1.8  # h, logit-seconds
    first_s: float = 0.3  # w0
    step_max_s: float = 0.4  # dt_max
    forget_s: float = 10.0  # tau

    def __post_init__(self) -> None:
        for name in ("threshold", "still_threshold", "prior"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("cap", "alarm_at", "first_s", "step_max_s", "forget_s"):
            if not getattr(self, name) > 0.0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be above 0")
        if max(self.first_s, self.step_max_s) * self.cap >= self.alarm_at - 1e-9:
            raise OptionError(
                f"a single picture could raise the alarm: first_s {self.first_s} and step_max_s {self.step_max_s}, "
                f"times cap {self.cap}, must stay below alarm_at {self.alarm_at}"
            )
        kept = self.first_s * math.exp(-self.step_max_s / self.forget_s)
        if (kept + self.step_max_s) * self.cap < self.alarm_at:
            raise OptionError(
                f"two sure pictures {self.step_max_s} s apart could not raise the alarm: alarm_at {self.alarm_at} "
                f"is more than {(kept + self.step_max_s) * self.cap:.2f}; lower it"
            )

    @classmethod
    def from_card(cls, card: Card, *, threshold: float | None = None) -> Rule:
        """The rule a model's card asks for; ``threshold`` (0 to 1) overrides both of its thresholds."""
        crop = card.thresholds["crop"].value if threshold is None else threshold
        still = card.thresholds["still"].value if threshold is None else threshold
        return cls(crop, max(crop, still), prior=card.prior, ood_threshold=card.ood.threshold)

    @property
    def frames_at_best(self) -> int:
        """Scored frames that a sure bear needs at least."""
        return 2

    @property
    def seconds_at_best(self) -> float:
        """Seconds within which a sure bear alarms where there are frames enough: h/c."""
        return self.alarm_at / self.cap

    def evidence(self, bear: float, *, ood: float = 0.0, still: bool = False) -> float:
        """What one bear probability says, in logits, -c to +c; above 0 where it passes the threshold.

        ``still``: the track was found by the sweep and has never moved. Stranger than ``ood_threshold``
        halves what speaks for a bear and vetoes nothing.
        """
        drift = logit(self.still_threshold if still else self.threshold) - logit(self.prior)
        said = min(max(logit(bear) - logit(self.prior) - drift, -self.cap), self.cap)
        return said / 2 if said > 0 and ood > self.ood_threshold else said


class Evidence:
    """The evidence gathered for one track: the S above."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.sum = 0.0  # S, logit-seconds
        self._time: float | None = None

    def __call__(self, said: float, time: float) -> bool:
        """Add what a score says (logits, ``Rule.evidence``) at a time (seconds); True from the alarm level on."""
        rule = self.rule
        if self._time is None:
            kept, weight = 1.0, rule.first_s
        else:
            passed = max(time - self._time, 0.0)
            kept, weight = math.exp(-passed / rule.forget_s), min(passed, rule.step_max_s)
        self._time = time
        self.sum = max(0.0, self.sum * kept + weight * said)
        return self.sum >= rule.alarm_at


def logit(p: float) -> float:
    """log(p / (1 - p)), p kept away from 0 and 1."""
    p = min(max(p, EPSILON), 1.0 - EPSILON)
    return math.log(p / (1.0 - p))
