"""The loop: for each frame, find what moved, score it, decide, and on a decision tell everyone."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from edge.crops import square
from edge.decide import Rule
from edge.drawing import ALARM, MOVING, Mark
from edge.evidence import EvidenceWriter, Exhibit
from edge.happening import Decider, Verdict
from edge.motion import Motion, MotionFinder
from edge.schema import Event, Frame, Picture, Region, Score, utc_text
from edge.sinks.worker import Sink
from edge.sweep import Sweep
from edge.track import Tracker

MOST_CROPS = 12  # a frame, but for a whole sweep


class Scorer(Protocol):
    """What the loop needs of a classifier."""

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        """What it says of each region of one picture, in the same order."""


@dataclass
class Tally:
    """What one camera's loop has done so far."""

    frames: int = 0
    crops: int = 0
    told: Counter[str] = field(default_factory=Counter)  # new, update, end
    footage_s: float = 0.0
    first_time: float | None = None
    # A running device must not grow: the last hour at 10 frames a second.
    frame_ms: deque[float] = field(default_factory=lambda: deque(maxlen=36_000))


class Watcher:
    """Everything the alarm remembers of one camera.

    ``tell`` holds the sinks in the order they are called. Nothing here waits: a sink that is slow is
    wrapped in a worker (``edge.sinks.worker``) by whoever passes it.
    """

    def __init__(
        self,
        scorer: Scorer,
        rule: Rule,
        tell: Sequence[Sink] = (),
        *,
        model: str | None = None,
        context: float = 1.0,
        evidence: EvidenceWriter | None = None,
        most_crops: int = MOST_CROPS,
        motion: Callable[[Frame], Motion] | None = None,
        run_id: str | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.scorer = scorer
        self.tell = list(tell)
        self.model = model
        self.context = context  # of the crops, to draw what the classifier saw
        self.evidence = evidence
        self.most_crops = most_crops
        self.motion = motion or MotionFinder()
        self.sweep = Sweep()
        self.tracker = Tracker(rule.threshold)
        self.decider = Decider(rule)
        self.tally = Tally()
        self.run_id = run_id or uuid.uuid4().hex
        self._numbers = numbers or itertools.count(1)  # shared between cameras, so that seq is one order
        self._ids: dict[int, str] = {}  # happening -> event id
        self._evidence_paths: dict[int, str] = {}
        self._last: Frame | None = None

    def __call__(self, frames: Iterable[Frame]) -> None:
        """Watch until the frames end; what is still going on then is ended and told."""
        try:
            for frame in frames:
                started = time.perf_counter()
                regions = self.find(frame)
                scores = self.scorer.score(frame.image, regions) if regions else []
                for verdict in self.decide(frame, scores):
                    self.tell_everyone(frame, verdict, scores)
                self._count(frame, regions, started)
        finally:
            self.close()

    def find(self, frame: Frame) -> list[Region]:
        """What is worth a look: what moved, the animals followed so far, and a part of the sweep."""
        motion = self.motion(frame)
        tracks = self.tracker.regions(motion.regions)[: self.most_crops - len(motion.regions)]
        left = self.most_crops - len(motion.regions) - len(tracks)
        sweep = self.sweep(frame.size_wh, frame.time, most=left, at_once=motion.reset, moving=motion.moving)
        return [*motion.regions, *tracks, *sweep]

    def decide(self, frame: Frame, scores: Sequence[Score]) -> list[Verdict]:
        """What this frame's scores add up to."""
        return self.decider(self.tracker(scores, frame.time), frame.time)

    def tell_everyone(self, frame: Frame, verdict: Verdict, scores: Sequence[Score] = ()) -> Event:
        """The verdict as an event to every sink, then its evidence to the writer."""
        event = self._event(frame, verdict)
        self.tally.told[event.type] += 1
        path = None
        if self.evidence and verdict.type != "end":
            path = self.evidence.place(frame, event.id, event.seq)
            self._evidence_paths[verdict.happening] = str(path)
        event = replace(event, evidence=self._evidence_paths.get(verdict.happening))
        for sink in self.tell:
            sink(replace(event, latency_ms=round((time.monotonic() - frame.handed_over) * 1000.0, 2)))
        if self.evidence and path:
            self.evidence(Exhibit(path, frame, self._marks(frame, verdict, scores), event))
        return event

    def close(self) -> None:
        """The source has ended: end what is still going on."""
        if self._last is not None:
            for verdict in self.decider.close():
                self.tell_everyone(self._last, verdict)

    def _event(self, frame: Frame, verdict: Verdict) -> Event:
        return Event(
            kind="bear",
            type=verdict.type,
            id=self._ids.setdefault(verdict.happening, uuid.uuid4().hex),
            seq=next(self._numbers),
            boot_id=self.run_id,
            camera=frame.camera,
            captured_at=utc_text(frame.wall),
            track=verdict.track,
            label=verdict.label,
            score=round(verdict.score, 4),
            top_score=round(verdict.top_score, 4),
            box_xywh=tuple(round(side, 5) for side in verdict.box_xywh),  # type: ignore[arg-type]
            media_time_s=None if frame.media_time_s is None else round(frame.media_time_s, 3),
            onset_s=None if verdict.onset_s is None else round(verdict.onset_s, 3),
            model=self.model,
            detail="unknown: unlike the pictures the model was trained on" if verdict.unknown else None,
        )

    def _marks(self, frame: Frame, verdict: Verdict, scores: Sequence[Score]) -> tuple[Mark, ...]:
        """What moved, and the bear's box with what the classifier was given."""
        marks = [Mark(s.region.box_xywh, "", MOVING) for s in scores if s.region.kind == "motion"]
        width, height = frame.size_wh
        x, y, w, h = square(verdict.box_xywh, (width, height), self.context)
        seen = (x / width, y / height, w / width, h / height)
        words = f"{verdict.label} {verdict.score:.2f}".replace("_", " ")
        return (*marks, Mark(seen, words, ALARM), Mark(verdict.box_xywh, "", ALARM, bold=True))

    def _count(self, frame: Frame, regions: Sequence[Region], started: float) -> None:
        tally = self.tally
        self._last = frame
        tally.first_time = frame.time if tally.first_time is None else tally.first_time
        tally.footage_s = frame.time - tally.first_time
        tally.frames += 1
        tally.crops += len(regions)
        tally.frame_ms.append((time.perf_counter() - started) * 1000.0)
