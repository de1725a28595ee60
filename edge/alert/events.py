"""From decisions and troubles to events: numbered, timed, and given to every sink in order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from edge.background import Sink
from edge.decide.alarms import Decision
from edge.detect.camera_check import FaultReport
from edge.detect.crops import square
from edge.drawing import ALARM, MOVING, Mark
from edge.record.recorder import CameraRecorder
from edge.record.run import EventFactory
from edge.schema import Event, Frame, Score, Stage
from edge.species import LABELS, likely, live_in

TROUBLE_WORDS = {
    "gone": "no picture",
    "frozen": "the same picture again and again",
    "black": "a black picture",
    "white": "a white picture",
    "covered": "something before the lens",
    "blurred": "a blurred picture",
    "moved": "another view",
    "unsteady": "a picture that comes and goes",
    "main_gone": "only the small stream",
}
UNSEEN_WORDS = {
    "gone": "the camera gives no picture any more, so nothing is known of the bear",
    "frozen": "the camera gives the same picture again and again, so nothing is known of the bear",
    "black": "the camera gives a black picture, so nothing is known of the bear",
    "white": "the camera gives a white picture, so nothing is known of the bear",
    "covered": "something is before the lens, so nothing is known of the bear",
}
ENDED_WORDS = "stopped while the bear was still in view"
UNKNOWN = "unknown: unlike the pictures the model was trained on"


class EventPublisher:
    """Makes the events of one camera and gives them to the sinks, in order; nothing here waits.

    The owner of a slow sink wraps it in a worker (``edge.background``). The cameras share ``run``, so that seq is one
    order. A bear is named by the species that live in the ``country``, where that is known.
    """

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        *,
        model: str | None = None,
        context: float = 1.0,
        evidence: CameraRecorder | None = None,
        run: EventFactory | None = None,
        country: str = "",
    ) -> None:
        if country:
            live_in(country)  # reads the table before there is an alarm
        self.country = country
        self.sinks = sinks  # its owner may change them at any time
        self.model = model
        self.context = context  # of the crops, to draw what the classifier saw
        self.evidence = evidence
        self.run = run or EventFactory()
        self.stage: Stage | None = None  # of the camera; its owner may change it at any time
        self._began: dict[str, Stage | None] = {}  # stages of the incidents that are open
        self.counts: Counter[str] = Counter()  # bears: new, update, end; and "trouble"

    def bear(self, frame: Frame, decision: Decision, scores: Sequence[Score] = (), *, why: str | None = None) -> Event:
        """Publish a decision as an event to every sink; ``why``: the reason why an end was not seen."""
        event = self.run.event(
            "bear",
            decision.type,
            decision.id,
            frame.camera,
            frame.wall,
            track=decision.track,
            label=decision.label,
            species=self._species(decision),
            score=round(decision.score, 4),
            top_score=round(decision.top_score, 4),
            box_xywh=tuple(round(side, 5) for side in decision.box_xywh),
            media_time_s=None if frame.media_time_s is None else round(frame.media_time_s, 3),
            onset_s=None if decision.onset_s is None else round(decision.onset_s, 3),
            model=self.model,
            detail=UNKNOWN if decision.unknown else None,
            zones=decision.zones,
            escalated=decision.escalated,
            quiet=decision.quiet,
            stage=self._stage_of(decision),
            file=frame.file,
        )
        where = self.evidence.place(event, frame) if self.evidence else None
        event = replace(event, evidence=where, detail=why or event.detail)
        self.counts[event.type] += 1
        self._to_sinks(event, frame.handed_over)
        if self.evidence:
            self.evidence.add(event, frame, self._marks(frame, event, decision, scores), scores)
        return event

    def trouble(
        self, camera: str, report: FaultReport, media_time_s: float | None = None, *, stopped: bool = False
    ) -> Event:
        """Publish a fault of the camera, or its end, as an event to every sink.

        ``stopped``: the end only because nobody watches any more.
        """
        if report.type == "end":
            what = TROUBLE_WORDS[report.trouble.kind]
            end = "it lasted until watching was stopped" if stopped else f"over after {report.lasted_s:.0f} s"
            detail = f"{end} ({what})"
        else:
            detail = report.trouble.detail
        kind = report.trouble.kind
        event = self.run.event(
            "camera", report.type, report.id, camera, label=kind, media_time_s=media_time_s, detail=detail
        )
        self.counts["trouble"] += event.type == "new"
        self._to_sinks(event, time.monotonic())
        return event

    def _species(self, decision: Decision) -> str | None:
        species = likely(decision.label, self.country, share=decision.share)
        known = decision.label in LABELS and (self.country or species.name == "bear")
        return species.words if known else None

    def _stage_of(self, decision: Decision) -> Stage | None:
        """Return the stage of an incident: the one it began in, so that all who heard of a bear hear of its end.

        Shadow holds at once for what would be an alarm, and so does its end.
        """
        began = self._began.setdefault(decision.id, self.stage)
        if decision.type == "end":
            del self._began[decision.id]
        elif decision.escalated and "shadow" in (began, self.stage):
            if began == "shadow":
                self._began[decision.id] = self.stage
            return self.stage
        return began

    def _to_sinks(self, event: Event, since: float) -> None:
        for sink in tuple(self.sinks):
            sink(replace(event, latency_ms=round((time.monotonic() - since) * 1000.0, 2)))

    def _marks(self, frame: Frame, event: Event, decision: Decision, scores: Sequence[Score]) -> tuple[Mark, ...]:
        """Return what moved, and the bear's box with what the classifier was given."""
        marks = [Mark(s.region.box_xywh, "", MOVING) for s in scores if s.region.kind == "motion"]
        width, height = frame.size_wh
        x, y, w, h = square(decision.box_xywh, (width, height), self.context)
        seen = (x / width, y / height, w / width, h / height)
        words = f"{event.name_and_note[0]} {decision.score:.2f}"
        return (*marks, Mark(seen, words, ALARM), Mark(decision.box_xywh, "", ALARM, bold=True))
