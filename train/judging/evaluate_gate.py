"""What the motion stage makes of boxed bears: how close its regions come, and what recall it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edge.camera import open_source
from edge.detect.classifier import Classifier
from edge.detect.motion import MotionFinder
from edge.detect.tracker import iou
from edge.schema import BoxXYWH, Frame, Region
from train.metrics import Rate, wilson

CLOSE_IOU = 0.3  # a region this close to the box is a hit


@dataclass(frozen=True)
class Gate:
    """What the motion stage makes of boxed bears."""

    boxes: int
    median_iou: float | None  # best region against the box
    close: Rate | None  # boxes with a region of IoU >= 0.3
    reached: Rate | None  # boxes whose middle lies in some region
    recall: Rate | None  # boxes reached by a region that scores at the crop threshold or above
    recall_on_boxes: Rate | None  # the same of the true boxes: what the gate costs is the difference


@dataclass(frozen=True)
class Boxed:
    """One boxed bear and what came through the gate."""

    iou: float
    reached: bool
    alarm: bool  # a region that reaches it scores at the crop threshold or above
    alarm_on_box: bool


def through_gate(classifier: Classifier, file: Path, boxes: Iterable[tuple[float, BoxXYWH]]) -> list[Boxed]:
    """The motion stage and the classifier on the frames of a clip nearest to ``boxes`` (seconds, box)."""
    find, waiting, found = MotionFinder(), sorted(boxes), []
    last: tuple[Frame, tuple[Region, ...]] | None = None
    with open_source(str(file)) as source:
        for frame in source:
            now = (frame, find(frame).regions)
            while waiting and waiting[0][0] <= frame.time:
                time_s, box = waiting.pop(0)
                # The frame before may be the nearer one.
                before = last is not None and time_s - last[0].time < frame.time - time_s
                found.append(compare(classifier, *(last if before and last else now), box))
            last = now
    if last is not None:
        found += [compare(classifier, *last, box) for time_s, box in waiting if time_s - last[0].time < 1.0]
    return found


def compare(classifier: Classifier, frame: Frame, regions: Sequence[Region], box: BoxXYWH) -> Boxed:
    """One true box against the regions that moved in that frame."""
    limit = classifier.card.thresholds["crop"].value
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    reach = [
        region
        for region in regions
        if region.box_xywh[0] <= x <= region.box_xywh[0] + region.box_xywh[2]
        and region.box_xywh[1] <= y <= region.box_xywh[1] + region.box_xywh[3]
    ]
    scores = classifier.score(frame.image, [*reach, Region(box, "motion")])
    return Boxed(
        iou=max((iou(region.box_xywh, box) for region in regions), default=0.0),
        reached=bool(reach),
        alarm=any(score.bear >= limit for score in scores[:-1]),
        alarm_on_box=scores[-1].bear >= limit,
    )


def gate(boxed: Sequence[Boxed]) -> Gate:
    """The figures of the motion gate."""
    n = len(boxed)
    return Gate(
        boxes=n,
        median_iou=median(one.iou for one in boxed) if boxed else None,
        close=wilson(sum(one.iou >= CLOSE_IOU for one in boxed), n),
        reached=wilson(sum(one.reached for one in boxed), n),
        recall=wilson(sum(one.alarm for one in boxed), n),
        recall_on_boxes=wilson(sum(one.alarm_on_box for one in boxed), n),
    )
