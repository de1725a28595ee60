"""One still picture: look at all of it, and say whether a bear is in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge.card import Card
from edge.classifier import Classifier
from edge.decide import logit, sigmoid
from edge.detect.frame_scan import FrameScanner
from edge.schema import BoxXYWH, Picture, Region

Verdict = Literal["bear", "maybe", "none"]
MAYBE = 0.5  # of the threshold: from there on a person should look
SURER = 0.5  # logits by which a crop must be surer: more looks at a picture are more chances to be wrong
SUPPORT = 3  # pictures of a burst at least that support one another
TOGETHER = 1.0  # logits by which they are surer together: more, and three black cows are a bear


@dataclass(frozen=True, slots=True)
class StillResult:
    """Result for one still, by the surest bear in it."""

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
    """Return the verdict on one picture (H, W, 3) BGR, by the frame scan."""
    best = FrameScanner(classifier)(image)[0]
    probabilities = dict(zip(classifier.card.labels, best.probabilities, strict=True))
    return _result(classifier.card, best.bear, probabilities, best.ood, best.region.box_xywh)


def look_closer(classifier: Classifier, image: Picture, seen: StillResult, boxes: Sequence[BoxXYWH]) -> StillResult:
    """Return the result for a picture, or for the surest crop of these boxes where that is more.

    A crop's logit is moved so that the card's threshold ``crop`` and ``SURER`` fall onto its threshold ``frame``.
    """
    if not boxes:
        return seen
    card = classifier.card
    crops = classifier.score(image, [Region(box, "motion") for box in boxes])
    best = max(crops, key=lambda score: score.bear)
    move = logit(_threshold(card)) - logit(card.thresholds["crop"].value) - SURER
    bear = sigmoid(logit(best.bear) + move)
    if bear <= seen.bear:
        return seen
    probabilities = dict(zip(card.labels, best.probabilities, strict=True))
    return _result(card, bear, probabilities, best.ood, best.region.box_xywh)


def in_burst(card: Card, burst: Sequence[StillResult]) -> list[StillResult]:
    """Combine the results for the pictures of one burst: three or more that are maybe a bear may together be one.

    The mean of the logits (Kittler et al. 1998) of the better half, three at least, and ``TOGETHER``. Nothing becomes
    less of a bear, and what shows nothing by itself stays so.
    """
    best = sorted((logit(seen.bear) for seen in burst), reverse=True)[: max(SUPPORT, (len(burst) + 1) // 2)]
    bear = sigmoid(sum(best) / len(best) + TOGETHER) if len(best) >= SUPPORT else 0.0
    if bear < _threshold(card):
        return list(burst)
    return [
        _result(card, bear, seen.probabilities, seen.ood, seen.box_xywh) if seen.verdict == "maybe" else seen
        for seen in burst
    ]


def _threshold(card: Card) -> float:
    return card.thresholds["frame"].value


def _result(card: Card, bear: float, probabilities: dict[str, float], ood: float, box_xywh: BoxXYWH) -> StillResult:
    threshold = _threshold(card)
    verdict: Verdict = "bear" if bear >= threshold else "maybe" if bear >= MAYBE * threshold else "none"
    candidates = [label for label in card.labels if (label in card.alarm_labels) == (verdict != "none")]
    return StillResult(
        bear=bear,
        verdict=verdict,
        label=max(candidates, key=probabilities.__getitem__),
        ood=ood,
        box_xywh=box_xywh,
        probabilities=probabilities,
    )
