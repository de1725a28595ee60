"""The loop: for each frame, find what moved, score it, decide, and on a decision tell everyone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from edge.alert.events import ENDED_WORDS, UNSEEN_WORDS, EventPublisher
from edge.decide.alarms import SAME_S, UNSEEING, Decider, Decision, EndHold
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter, thumbnail
from edge.detect.camera_check import CameraCheck
from edge.detect.camera_faults import FaultDebouncer
from edge.detect.frame_rate import CropBudget, FrameRateControl, LoopStats, ScanTimer
from edge.detect.frame_scan import Scorer, scan_of
from edge.detect.motion import Motion, MotionFinder
from edge.detect.night import Night
from edge.detect.tracker import Tracker
from edge.detect.zones import PrivacyMask
from edge.errors import SourceError
from edge.record.trace import Moment
from edge.schema import WHOLE, CameraFault, Event, Frame, Picture, Region, Score, TroubleKind
from edge.settings import CameraSettings

CHECK_S = 1.0  # how often to ask whether anything is wrong with the camera
FRESH_S = 15.0  # a camera whose last frame is older is not being watched
OURS = "alarm"  # the part whose fault is an internal error
FAILED_WORDS = "the alarm itself failed, so nothing is known of the bear"


class Watcher:
    """Everything the alarm remembers of one camera.

    A live camera has a ``pace``, a ``budget`` of crops that follows what this machine can do, and a ``camera_check``;
    a file has none of them, and gives the same events on every machine. Pictures that are ``single_images`` one by one
    are each looked at whole, and the schedule goes by when they come, for their camera's own clock may be wrong.
    ``scan`` says what is in a picture as a whole, on the scale of the crops' scores; left out, it is the frame scan.
    ``trace`` is given what was seen and thought of each frame.
    """

    def __init__(
        self,
        scorer: Scorer,
        rule: Rule,
        publisher: EventPublisher,
        settings: CameraSettings | None = None,
        *,
        pace: FrameRateControl | None = None,
        budget: CropBudget | None = None,
        single_images: bool = False,
        camera_check: CameraCheck | None = None,
        trace: Callable[[Moment], object] | None = None,
        motion: Callable[[Frame], Motion] | None = None,
        decider: Decider | None = None,
        scan: Callable[[Picture], list[Score]] | None = None,
    ) -> None:
        settings = settings or CameraSettings()
        self.scorer = scorer
        self.rule = rule
        self.publisher = publisher
        self.trace = trace
        self.motion = motion or MotionFinder(masks=settings.masks)
        self.scan = scan or scan_of(scorer, settings.masks)
        self.scan_timer = ScanTimer()
        self.cover = PrivacyMask(settings.masks)
        self.tracker = Tracker(rule.threshold)
        self.decider = decider or Decider(
            rule, zones=settings.zones, schedule=settings.schedule, repeat_alarms=RepeatAlarmFilter()
        )
        self.night = Night()
        self.camera_check = camera_check
        self.troubles = FaultDebouncer()
        self.budget = budget or CropBudget()
        self.single_images = single_images
        self.pace = pace
        self.stats = LoopStats()
        self._last: tuple[Frame, Motion] | None = None
        self._checked_at: float | None = None
        self._camera = ""
        self._source_troubles: dict[str, CameraFault] = {}  # by the part of the source that reports them
        self._end_hold = EndHold()
        self._seen: tuple[CameraFault, ...] = ()  # by the lens check
        self._old = False  # the last frame showed only what was
        self._between: list[Event] = []  # told between two frames
        self._changes: deque[Callable[[Frame], object]] = deque()

    def __call__(self, frames: Iterable[Frame]) -> None:
        """Watch until the frames end; what is still going on then is ended and told.

        An internal error is raised with all that left open, for ``failed`` or ``close``.
        """
        try:
            for frame in frames:
                started = time.perf_counter()
                while self._changes:
                    self._changes.popleft()(frame)
                motion = self.motion(frame)
                self._last = frame, motion
                regions = self.find(frame, motion)
                scores = self.score(frame, regions)
                decisions = self.decide(frame, scores)
                events = [self.publisher.bear(frame, decision, scores) for decision in self._known(frame, decisions)]
                events += self.look_after(frame, motion)
                self._keep(frame, motion, scores)
                self._count(frame, regions, started)
                self._record(frame, motion, scores, events)
        except SourceError:
            self.close()
            raise
        self.close()

    def find(self, frame: Frame, motion: Motion) -> list[Region]:
        """Choose the regions to score: what moved, the animals followed so far, and at times the whole picture.

        Nothing in the old picture of a camera that is frozen: what was seen in it ages like what was seen long ago.
        """
        before, self._old = self._old, self._is_old(frame)
        if self._old:
            return []
        fast = motion.moving or motion.large  # regions mean little
        whole = self.scan_timer.due(frame.time, at_once=motion.reset or self.single_images or before, moving=fast)
        most = self.budget.beside(self.scan_timer.took_s if whole else 0.0)
        followed = min(1, len(self.tracker.tracks))  # what swaying leaves take must not cost the bear its look
        own = [region for region in motion.regions if self.tracker.follows(region)]  # before what sways elsewhere
        moving = self._turn(own, most - followed)
        others = [region for region in motion.regions if region not in own]
        moving += self._turn(others, most - followed - len(moving))
        tracks = self._turn(self.tracker.regions(moving), most - len(moving))
        return [*moving, *tracks, *([Region(WHOLE, "scan")] if whole else [])]

    def _turn(self, regions: Sequence[Region], most: int) -> list[Region]:
        """So many of the regions at most; others in the next frame, so that none is skipped for ever."""
        if len(regions) <= most:
            return list(regions)
        start = self.stats.frames * most % len(regions)
        return [*regions[start:], *regions[:start]][:most]

    def score(self, frame: Frame, regions: Sequence[Region]) -> list[Score]:
        """Score the regions; of the whole picture, the bears that the frame scan finds in it."""
        if not regions:
            return []
        image, crops = self.cover(frame.image), [region for region in regions if region.kind != "scan"]
        started = time.perf_counter()
        scores = self.scorer.score(image, crops) if crops else []
        cropped = time.perf_counter()
        self.budget.note(len(crops), cropped - started)
        if len(crops) < len(regions):
            scores = [*scores, *self.scan(image)]
            if self.budget.seconds is not None:  # a file gives the same events on every machine
                self.scan_timer.note(time.perf_counter() - cropped)
        self.night(frame.image, frame.time)  # without the masks, whose grey would look like infrared
        return scores

    def decide(self, frame: Frame, scores: Sequence[Score]) -> list[Decision]:
        """Add up this frame's scores and return the decisions."""
        night = bool(self.night.night)
        self.tracker.threshold = self.rule.threshold_for(night=night)
        return self.decider(
            self.tracker(scores, frame.time),
            frame.time,
            wall=datetime.now(UTC) if self.single_images else frame.wall,
            night=night,
            look=lambda box: thumbnail(frame.image, box),
            seeing=self._sees(frame),
        )

    def look_after(self, frame: Frame, motion: Motion) -> list[Event]:
        """Set how often to look from now on; check the camera once a second."""
        if self.pace:
            self.pace(bool(motion.regions or motion.moving or self.tracker.tracks), frame.time)
        # A live source reports by the monotonic clock, also while no frame comes; a file has only its own.
        now = frame.handed_over if frame.media_time_s is None else frame.time
        if self._checked_at is not None and now - self._checked_at < CHECK_S:
            return []
        if self.camera_check and motion.grey is not None:
            self._seen = self.camera_check(motion.grey, frame.time)
        return self._hear(frame.camera, now, frame.media_time_s)

    def before_next(self, change: Callable[[Frame], object]) -> None:
        """Have something changed in this watcher's own thread, before its next frame; from any thread."""
        self._changes.append(change)

    @property
    def frame_at(self) -> float | None:
        """Return when the last frame was handed over, time.monotonic(); None before the first."""
        return self._last[0].handed_over if self._last else None

    def fresh(self, now: float, within_s: float = FRESH_S) -> bool:
        """Return True if a frame was looked at within so many seconds of ``now``, time.monotonic()."""
        return self._last is not None and now - self._last[0].handed_over <= within_s

    def report(self, trouble: CameraFault | None, at: float, camera: str, part: str = "") -> None:
        """Note what the source, or a part of it, reports, also while no frame comes; None: it is well again.

        ``at`` is the monotonic clock, in seconds, as a frame's ``handed_over`` is. Only from the loop's own thread.
        """
        before = self._source_troubles.pop(part, None)
        if trouble:
            self._source_troubles[part] = trouble
        over = trouble is None and before is not None
        if over or self._checked_at is None or at - self._checked_at >= CHECK_S:
            self._record_now(self._hear(camera, at, None))

    def failed(self, camera: str, error: Exception) -> None:
        """Report that an internal error ended the loop; it lasts until frames are looked at again."""
        words = f"{camera}: the alarm itself failed ({type(error).__name__}) and is started again"
        self._source_troubles[OURS] = CameraFault("gone", words)
        self.tracker = Tracker(self.rule.threshold)
        events = self._hear(camera, time.monotonic(), None)
        self._record_now([*events, *self._end_bears(FAILED_WORDS, self.decider.close())])
        self._last = None

    def close(self) -> None:
        """End what is still going on: the source has ended."""
        events = self._end_bears(ENDED_WORDS, self.decider.close())
        self._end_hold.forget()
        at = self._checked_at or 0.0
        events += [self.publisher.trouble(self._camera, report, stopped=True) for report in self.troubles.close(at)]
        self._record_now(events)

    def _hear(self, camera: str, at: float, media_time_s: float | None) -> list[Event]:
        """Tell what has become of the camera's troubles; a bear that nobody can see any more is over."""
        self._checked_at, self._camera = at, camera
        found = [*self._seen, *self._source_troubles.values()]
        events, ours = [], OURS in self._source_troubles
        sure: tuple[TroubleKind, ...] = ("gone",) if ours else ()
        for report in self.troubles(found, at, at_once=sure):
            events.append(self.publisher.trouble(camera, report, media_time_s))
            kind = report.trouble.kind
            if report.type == "new" and kind in UNSEEING:
                why = FAILED_WORDS if ours and kind == "gone" else UNSEEN_WORDS[kind]
                events += self._end_bears(why, self.decider.close() if kind == "gone" else ())
        return events

    def _is_old(self, frame: Frame) -> bool:
        """Return True if a camera that was reported as frozen gave this: it is no sign of life."""
        return frame.frozen_s >= SAME_S and any(trouble.kind == "frozen" for trouble in self.troubles.now)

    def _known(self, frame: Frame, decisions: Sequence[Decision]) -> list[Decision]:
        """Return the decisions without ends that may only mean that the camera sees nothing."""
        return self._end_hold(decisions, frame, seeing=self._sees(frame))

    def _sees(self, frame: Frame) -> bool:
        """Return True if what is not found in this frame is not there, as far as is known of the camera."""
        seeing = not any(trouble.kind in UNSEEING for trouble in self._seen)
        return seeing and frame.frozen_s < SAME_S and (self.single_images or not frame.discontinuity)

    def _end_bears(self, why: str, ended: Sequence[Decision]) -> list[Event]:
        """End every open bear event, and say why."""
        ends = self._end_hold.shut(ended)
        return [self.publisher.bear(self._last[0], decision, why=why) for decision in ends] if self._last else []

    def _keep(self, frame: Frame, motion: Motion, scores: Sequence[Score]) -> None:
        """Keep the frame: what was before an alarm becomes evidence only after it."""
        if self.publisher.evidence:
            moving = bool(motion.regions or motion.moving or self.tracker.tracks)
            self.publisher.evidence.look(frame, moving=moving, scores=scores, tracks=self.tracker.tracks)

    def _record_now(self, events: Sequence[Event]) -> None:
        """Record what was published between two frames: the next may be hours away."""
        self._between += events if self.trace else []
        if self.trace and events and self._last:
            self.trace(Moment.of(*self._last, events=self._between))
            self._between = []

    def _record(self, frame: Frame, motion: Motion, scores: Sequence[Score], events: Sequence[Event]) -> None:
        if not self.trace:
            return
        told, self._between = [*self._between, *events], []
        self.trace(
            Moment.of(
                frame,
                motion,
                scores,
                self.decider.standings(),
                told,
                [trouble.detail for trouble in self.troubles.now],
                threshold=self.rule.threshold_for(night=bool(self.night.night)),
                frame_ms=self.stats.frame_ms[-1],
            )
        )

    def _count(self, frame: Frame, regions: Sequence[Region], started: float) -> None:
        tally = self.stats
        self._source_troubles.pop(OURS, None)
        tally.first_time = frame.time if tally.first_time is None else tally.first_time
        tally.footage_s = frame.time - tally.first_time
        tally.frames += 1
        tally.crops += len(regions)
        tally.frame_ms.append((time.perf_counter() - started) * 1000.0)
