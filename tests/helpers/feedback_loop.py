"""The loop as people walk it: watch a few days, review what alarmed, import it, learn, watch the days after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.crops import cut_all
from edge.detect.tracker import inside
from edge.record.recorder import MediaWriter
from edge.record.review import Review, write_review
from edge.schema import BoxXYWH, Event, Frame, Picture, Region, Score
from edge.watch import Watcher
from tests.helpers.feedback_site import Scene, Site

Features = NDArray[np.float32]  # (N, F)
CONTEXT = 1.1
BEAR_WEIGHT = 0.4  # of all, as the learner draws them


class Embed(Protocol):
    """A frozen network: crops (N, size, size, 3) BGR -> features (N, F) and its own bear logit (N,), or zeros."""

    size: int
    keep: float  # its own logit's share in the answer

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[Features, NDArray[np.float32]]:
        """Features and bear logits."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A frozen network with a head on it: what the alarm asks, in place of a model file."""

    embed: Embed
    weights: NDArray[np.float64]  # (F + 1,)
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    threshold: float = 0.5

    def bear(self, features: Features, own: NDArray[np.float32]) -> NDArray[np.float64]:
        """Bear probabilities (N,)."""
        head = ((features - self.mean) / self.spread) @ self.weights[:-1] + self.weights[-1]
        logits = (1 - self.embed.keep) * head + self.embed.keep * own
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float64)

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """Return what it says of each region of a picture."""
        if not regions:
            return []
        crops = cut_all(image, [region.box_xywh for region in regions], self.embed.size, CONTEXT)
        bears = self.bear(*self.embed(crops))
        return [
            Score(region, (float(p), 1 - float(p)), float(p), "brown_bear", 0.0)
            for region, p in zip(regions, bears, strict=True)
        ]


def fit(embed: Embed, features: Features, bears: NDArray[np.bool_], seed: int, steps: int = 300) -> Judge:
    """A logistic head by gradient descent, bears and others weighted as the learner draws them, started by ``seed``."""
    mean, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64) + 1e-3
    x = ((features - mean) / spread).astype(np.float32)
    share = np.where(bears, BEAR_WEIGHT / max(bears.sum(), 1), (1 - BEAR_WEIGHT) / max((~bears).sum(), 1))
    weights = np.random.default_rng(seed).normal(0, 0.01, x.shape[1] + 1)
    velocity, rate, decay = np.zeros_like(weights), 4.0 / x.shape[1], 1e-3
    for _ in range(steps):
        logits = np.clip(x @ weights[:-1].astype(np.float32) + weights[-1], -30, 30)
        error = share * (1 / (1 + np.exp(-logits)) - bears)
        slope = np.append(x.T @ error.astype(np.float32) + decay * weights[:-1], error.sum())
        velocity = 0.9 * velocity - rate * slope
        weights = weights + velocity
    return Judge(embed, weights, mean, spread)


@dataclass
class Days:
    """What happened on some days: events and crops, true and false."""

    false_alarms: int = 0
    bears: int = 0  # that walked through
    found: int = 0  # of them told
    folders: list[tuple[Path, bool]] = field(default_factory=list)  # each event's evidence, and whether it is a bear
    sign_p: list[float] = field(default_factory=list)  # bear probability of the sign's true box, once a second
    bear_p: list[float] = field(default_factory=list)

    def crops_over(self, threshold: float) -> tuple[float, float]:
        """The share of the sign's and of the bears' crops that pass a threshold."""
        shares = [float(np.mean(np.array(p) > threshold)) if p else 0.0 for p in (self.sign_p, self.bear_p)]
        return shares[0], shares[1]


def watch_days(
    site: Site, scenes: Sequence[Scene], judge: Judge, evidence: Path | None = None, *, clips: bool = True
) -> Days:
    """The whole alarm over some scenes, each with a memory of its own; evidence is kept where a folder is given."""
    days = Days()
    writer = MediaWriter(evidence, reserve_mb=0.0, negatives_per_day=0.0, full=True, clips=clips) if evidence else None
    rule = Rule(judge.threshold, max(judge.threshold, 0.8), prior=0.15)
    for scene in scenes:
        truth: dict[int, dict[str, BoxXYWH]] = {}
        told: list[tuple[Event, bool]] = []

        def tell(event: Event, truth: dict[int, dict[str, BoxXYWH]] = truth, told: list = told) -> None:
            if event.kind == "bear" and event.type == "new":
                now = truth[max(truth)]
                told.append((event, "bear" in now and event.box_xywh is not None and over(event.box_xywh, now["bear"])))

        def shown(scene: Scene = scene, truth: dict[int, dict[str, BoxXYWH]] = truth) -> Iterator[Frame]:
            for frame, boxes in site.frames(scene):
                truth[frame.index] = boxes
                if frame.index % max(round(site.fps), 1) == 0:
                    _ask(judge, frame, boxes, days)
                yield frame

        kept = writer.camera(context=CONTEXT) if writer else None
        Watcher(judge, rule, EventPublisher([tell], model="judge@1", evidence=kept))(shown())
        days.bears += scene.kind == "bear"
        days.found += any(right for _, right in told)
        days.false_alarms += sum(not right for _, right in told)
        days.folders += [(Path(event.evidence).parent, right) for event, right in told if event.evidence]
    if writer:
        assert writer.close(120.0)
    return days


def over(box: BoxXYWH, bear: BoxXYWH) -> bool:
    """Return whether an event's box is the bear's: a good part of one lies in the other."""
    return max(inside(box, bear), inside(bear, box)) > 0.3


def _ask(judge: Judge, frame: Frame, boxes: dict[str, BoxXYWH], days: Days) -> None:
    for name, found in (("sign", days.sign_p), ("bear", days.bear_p)):
        if name in boxes and boxes[name][2] > 0.04:
            found.append(judge.score(frame.image, [Region(boxes[name], "motion")])[0].bear)


def review_all(days: Days) -> None:
    """What a person says of each event, by the scene's truth."""
    for folder, right in days.folders:
        write_review(folder, Review("confirmed" if right else "wrong", "2026-05-04T09:00:00.000Z", by="the scene"))
