"""One still picture: look at all of it, and say whether a bear is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.classifier import Classifier
from edge.detect.frame_scan import FrameScanner
from edge.schema import BoxXYWH, Picture

Verdict = Literal["bear", "maybe", "none"]
MAYBE = 0.5  # of the threshold: from there on a person should look


@dataclass(frozen=True, slots=True)
class StillResult:
    """What the alarm says of one still, by the surest bear in it."""

    bear: float  # 0 to 1, on the scale of the threshold ``frame``
    verdict: Verdict  # "bear": bear >= the card's threshold of mode "frame"; "maybe": >= half of it
    label: str  # the best alarm label of a bear and of what may be one, else the best other one
    ood: float
    box_xywh: BoxXYWH
    probabilities: dict[str, float]

    @property
    def alarm(self) -> bool:
        """Return True if it counts as a bear."""
        return self.verdict == "bear"


def look(classifier: Classifier, image: Picture) -> StillResult:
    """The verdict on one picture (H, W, 3) BGR, by the frame scan."""
    best, card = FrameScanner(classifier)(image)[0], classifier.card
    bear, threshold = best.bear, card.thresholds["frame"].value
    verdict: Verdict = "bear" if bear >= threshold else "maybe" if bear >= MAYBE * threshold else "none"
    probabilities = dict(zip(card.labels, best.probabilities, strict=True))
    candidates = [label for label in card.labels if (label in card.alarm_labels) == (verdict != "none")]
    return StillResult(
        bear=bear,
        verdict=verdict,
        label=max(candidates, key=probabilities.__getitem__),
        ood=best.ood,
        box_xywh=best.region.box_xywh,
        probabilities=probabilities,
    )
