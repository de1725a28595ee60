"""One still picture: look at all of it, and say whether a bear is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge.classifier import Classifier
from edge.schema import BoxXYWH, Picture, Region, Score
from edge.sweep import whole_and_tiles

Verdict = Literal["bear", "maybe", "none"]
MAYBE = 0.5  # of the threshold: from there on a person should look


@dataclass(frozen=True, slots=True)
class StillResult:
    """What the alarm says of one still; everything but ``bear`` is of the region with the highest score."""

    bear: float  # the still score, 0 to 1
    verdict: Verdict  # "bear": bear >= the card's threshold of mode "still"; "maybe": >= half of it
    label: str  # the best alarm label of a bear and of what may be one, else the best other one
    ood: float
    box_xywh: BoxXYWH
    probabilities: dict[str, float]

    @property
    def alarm(self) -> bool:
        """Return True if it counts as a bear."""
        return self.verdict == "bear"


def look(classifier: Classifier, image: Picture) -> StillResult:
    """The verdict on one picture (H, W, 3) BGR: whole and tiles, scored in one go."""
    height, width = image.shape[:2]
    scores = classifier.score(image, [Region(box, "sweep") for box in whole_and_tiles((width, height))])
    bear, best = still_score(scores), max(scores, key=lambda score: score.bear)
    card = classifier.card
    threshold = card.thresholds["still"].value
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


def still_score(scores: Sequence[Score]) -> float:
    """The bear probability of a still: the highest of its regions'. The ``still`` threshold is fitted on it."""
    return max(score.bear for score in scores)
