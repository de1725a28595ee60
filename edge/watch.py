"""The loop: for each frame, find what moved, score it, decide, publish, look after the camera, keep the evidence."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.alert.events import ENDED_WORDS, UNSEEN_WORDS, EventPublisher
from edge.decide.alarms import Decider, Decision
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter, thumbnail
from edge.detect.camera_check import UNSEEING, CameraCheck, FaultDebouncer, Night
from edge.detect.card import logit
from edge.detect.frame_rate import CropBudget, FrameRateControl, LoopStats, ScanTimer
from edge.detect.frame_scan import Scorer, scan_of
from edge.detect.motion import Motion, MotionFinder
from edge.detect.tracker import Tracker
from edge.detect.zones import PrivacyMask
from edge.errors import SourceError
from edge.record.days import MinuteFigures
from edge.record.trace import Moment
from edge.schema import WHOLE, BoxXYWH, CameraFault, Event, Frame, Picture, Region, Score, TroubleKind
from edge.settings import CameraSettings

CHECK_S = 1.0  # how often to ask whether anything is wrong with the camera
NOISE_LOGITS = 3.0  # so far below the threshold a look has found nothing: a bear that fades in is found no later
SAME_S = 1.0  # the same picture for so long shows nothing new
FAILING_S = 60.0  # an internal error counts for so long: the next try may be half a minute away
FRESH_S = 15.0  # a camera whose last frame is older is not being watched
INTERNAL = "alarm"  # the part whose fault is an internal error
FAILED_WORDS = "the alarm itself failed, so nothing is known of the bear"


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One frame as the loop saw it."""

    frame: Frame
    regions: Sequence[Region]
    scores: Sequence[Score]  # of the regions; of the whole picture, what the frame scan found
    night: bool
    seeing: bool  # the camera shows what is there
    wrong: Mapping[str, tuple[BoxXYWH, float]]  # what people called wrong here (``RepeatAlarmFilter.wrong``)

    @property
    def active(self) -> bool:
        """Return True if something moved in it, or is followed."""
        return any(region.kind != "scan" for region in self.regions)


def choose(moving: Sequence[Region], tracker: Tracker, most: int, number: int) -> list[Region]:
    """Return ``most`` crops of a frame at most: of what moved, and of the tracks where nothing did.

    Others in the frame with the next ``number``, so that none is skipped for ever.
    """

    def turn(regions: Sequence[Region], most: int) -> list[Region]:
        if len(regions) <= most:
            return list(regions)
        start = number * most % len(regions)
        return [*regions[start:], *regions[:start]][:most]

    followed = min(1, len(tracker.tracks))  # one crop stays for a track: swaying leaves must not take it
    own = [region for region in moving if tracker.follows(region)]  # before what sways elsewhere
    crops = turn(own, most - followed)
    crops += turn([region for region in moving if region not in own], most - followed - len(crops))
    return crops + turn(tracker.regions(crops), most - len(crops))


class Watcher:
    """The state of one camera's alarm.

    A live camera has a ``pace``, a ``budget`` of crops that follows the speed of this machine, and a ``camera_check``.
    A file has none of them, and gives the same events on every machine. ``single_images`` come one by one: each is
    scanned as a whole, and the schedule goes by when they come, because their camera's own clock may be wrong.
    ``scan`` scores a picture as a whole, on the scale of the crops' scores; the default is the frame scan. ``trace``
    gets what was found, scored and decided in each frame.
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
        self._night_at: float | None = None
        self.camera_check = camera_check
        self.troubles = FaultDebouncer()
        self.budget = budget or CropBudget()
        self.single_images = single_images
        self.pace = pace
        self.stats = LoopStats()
        self.minutes: MinuteFigures | None = None  # set by who keeps daily figures (``edge.drift_watch``)
        self.seen: tuple[Frame, Sequence[Score]] | None = None  # the last frame and what was scored in it; for viewers
        self.trial: Callable[[Look], object] | None = None  # returns at once; set by who tries another model
        self._last: tuple[Frame, Motion] | None = None
        self._checked_at: float | None = None
        self._camera = ""
        self._source_faults: dict[str, CameraFault] = {}  # by the part of the source that reports them
        self._lens_faults: tuple[CameraFault, ...] = ()  # by the camera check
        self._failed_at: float | None = None  # the last internal error, time.monotonic()
        self._was_frozen = False  # in the last frame
        self._between: list[Event] = []  # published between two frames, not yet recorded
        self._changes: deque[Callable[[Frame], object]] = deque()

    def __call__(self, frames: Iterable[Frame]) -> None:
        """Watch until the frames end; then end what is still open.

        An internal error leaves all that open, for ``failed`` or ``close``.
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
                events = self.publish(frame, decisions, scores)
                events += self.look_after(frame, motion)
                self.keep(frame, motion, scores)
                if trial := self.trial:  # its owner may take it away at any time
                    repeat_alarms = self.decider.repeat_alarms
                    wrong = repeat_alarms.wrong if repeat_alarms else {}
                    trial(Look(frame, regions, scores, bool(self.night.night), self._sees(frame), wrong))
                if self.minutes:
                    self.minutes(frame, motion.grey, scores, night=self.night.night, well=not self.troubles.now)
                self.seen = frame, scores
                self._count(frame, regions, started)
                self._record(frame, motion, scores, events)
        except SourceError:
            self.close()
            raise
        self.close()

    def find(self, frame: Frame, motion: Motion) -> list[Region]:
        """Choose the regions to score: what moved, the animals followed so far, and at times the whole picture.

        Nothing in the old picture of a frozen camera: it must not keep a track alive.
        """
        thawed, self._was_frozen = self._was_frozen, self._is_frozen(frame)
        if self._was_frozen:
            return []
        fast = motion.moving or motion.large  # then motion regions are of little use
        quiet = not (motion.regions or self.tracker.tracks)
        whole = self.scan_timer.due(
            frame.time,
            at_once=motion.reset or self.single_images or thawed,
            moving=fast,
            still=motion.grey if quiet else None,
        )
        looks = [Region(WHOLE, "scan")] if whole else []
        if quiet:
            return looks
        most = self.budget.beside(self.scan_timer.took_s if whole else 0.0)
        return [*choose(motion.regions, self.tracker, most, self.stats.frames), *looks]

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
            found = self.scan(image)
            scores = [*scores, *found]
            if not any(self._may_be(score) for score in found):
                self.scan_timer.found_nothing()
            if self.budget.seconds is not None:  # a file gives the same events on every machine
                self.scan_timer.note(time.perf_counter() - cropped)
        if self._night_at is None or not 0.0 <= frame.time - self._night_at < CHECK_S:
            self.night(frame.image, frame.time)  # without the masks, whose grey would look like infrared
            self._night_at = frame.time
        return scores

    def _may_be(self, score: Score) -> bool:
        """Return True if what the frame scan found may pass the threshold at another look at the same picture."""
        return logit(score.bear) > logit(self.tracker.threshold) - NOISE_LOGITS

    def decide(self, frame: Frame, scores: Sequence[Score]) -> list[Decision]:
        """Add up this frame's scores and return the decisions to publish."""
        night = bool(self.night.night)
        self.tracker.threshold = self.rule.threshold_for(night=night)
        return self.decider(
            self.tracker(scores, frame.time),
            frame.time,
            wall=datetime.now(UTC) if self.single_images else frame.wall,
            night=night,
            thumbnail_of=lambda box: thumbnail(frame.image, box),
            seeing=self._sees(frame),
        )

    def publish(self, frame: Frame, decisions: Sequence[Decision], scores: Sequence[Score]) -> list[Event]:
        """Publish the decisions as events, before anything else is done with the frame."""
        return [self.publisher.bear(frame, decision, scores) for decision in decisions]

    def look_after(self, frame: Frame, motion: Motion) -> list[Event]:
        """Set the frame rate from now on; check the camera once a second."""
        if self.pace:
            self.pace(bool(motion.regions or motion.moving or self.tracker.tracks), frame.time)
        # A live source reports by the monotonic clock, also while no frame comes; a file has only its own.
        now = frame.handed_over if frame.media_time_s is None else frame.time
        if self._checked_at is not None and now - self._checked_at < CHECK_S:
            return []
        if self.camera_check and motion.grey is not None:
            self._lens_faults = self.camera_check(motion.grey, frame.time)
        return self._report_faults(frame.camera, now, frame.media_time_s)

    def keep(self, frame: Frame, motion: Motion, scores: Sequence[Score]) -> None:
        """Give the frame to the recorder, after its events: what was before an alarm becomes evidence only then."""
        if self.publisher.evidence:
            moving = bool(motion.regions or motion.moving or self.tracker.tracks)
            incidents = self.decider.open_incidents
            self.publisher.evidence.look(frame, moving=moving, scores=scores, incidents=incidents)

    def before_next(self, change: Callable[[Frame], object]) -> None:
        """Make a change in this watcher's own thread, before its next frame; from any thread."""
        self._changes.append(change)

    @property
    def frame_at(self) -> float | None:
        """Return when the last frame was handed over, time.monotonic(); None before the first."""
        return self._last[0].handed_over if self._last else None

    def failing(self, now: float) -> bool:
        """Return True if an internal error ended the loop lately; ``now``: time.monotonic()."""
        return self._failed_at is not None and now - self._failed_at <= FAILING_S

    def fresh(self, now: float, within_s: float = FRESH_S) -> bool:
        """Return True if a frame came within so many seconds of ``now``, time.monotonic()."""
        return self._last is not None and now - self._last[0].handed_over <= within_s

    def report(self, trouble: CameraFault | None, at: float, camera: str, part: str = "") -> None:
        """Note what the source, or a part of it, reports, also while no frame comes; None: it is well again.

        ``at`` is the monotonic clock, in seconds, as a frame's ``handed_over`` is. Only from the loop's own thread.
        """
        before = self._source_faults.pop(part, None)
        if trouble:
            self._source_faults[part] = trouble
        over = trouble is None and before is not None
        if over or self._checked_at is None or at - self._checked_at >= CHECK_S:
            self._record_now(self._report_faults(camera, at, None))

    def failed(self, camera: str, error: Exception) -> None:
        """Report that an internal error ended the loop; it lasts until frames are analysed again."""
        words = f"{camera}: the alarm itself failed ({type(error).__name__}) and is started again"
        self._source_faults[INTERNAL] = CameraFault("gone", words)
        self._failed_at = time.monotonic()
        self.tracker = Tracker(self.rule.threshold)
        events = self._report_faults(camera, time.monotonic(), None)
        self._record_now([*events, *self._publish_ends(self.decider.close(), FAILED_WORDS)])
        self._last = None

    def close(self) -> None:
        """End what is still going on: the source has ended."""
        events = self._publish_ends(self.decider.close(), ENDED_WORDS)
        at = self._checked_at or 0.0
        events += [self.publisher.trouble(self._camera, report, stopped=True) for report in self.troubles.close(at)]
        self._record_now(events)

    def _report_faults(self, camera: str, at: float, media_time_s: float | None) -> list[Event]:
        """Publish faults of the camera that are new or over; a bear that it cannot show any more is over."""
        self._checked_at, self._camera = at, camera
        faults = [*self._lens_faults, *self._source_faults.values()]
        events, internal = [], INTERNAL in self._source_faults
        sure: tuple[TroubleKind, ...] = ("gone",) if internal else ()
        for report in self.troubles(faults, at, at_once=sure):
            events.append(self.publisher.trouble(camera, report, media_time_s))
            kind = report.trouble.kind
            if report.type == "new" and kind in UNSEEING:
                why = FAILED_WORDS if internal and kind == "gone" else UNSEEN_WORDS[kind]
                ends = self.decider.close() if kind == "gone" else self.decider.interrupt()
                events += self._publish_ends(ends, why)
        return events

    def _is_frozen(self, frame: Frame) -> bool:
        """Return True if the camera is reported as frozen and still is."""
        return frame.frozen_s >= SAME_S and any(trouble.kind == "frozen" for trouble in self.troubles.now)

    def _sees(self, frame: Frame) -> bool:
        """Return True if the camera shows what is there: then a bear that is not found in this frame is not there."""
        clear = not any(fault.kind in UNSEEING for fault in self._lens_faults)
        return clear and frame.frozen_s < SAME_S and (self.single_images or not frame.discontinuity)

    def _publish_ends(self, ends: Sequence[Decision], why: str) -> list[Event]:
        """Publish the ends of bears that were not seen to leave, with the reason."""
        return [self.publisher.bear(self._last[0], end, why=why) for end in ends] if self._last else []

    def _record_now(self, events: Sequence[Event]) -> None:
        """Record what was published between two frames: the next may be hours away."""
        self._between += events if self.trace else []
        if self.trace and events and self._last:
            self.trace(Moment.of(*self._last, events=self._between))
            self._between = []

    def _record(self, frame: Frame, motion: Motion, scores: Sequence[Score], events: Sequence[Event]) -> None:
        if not self.trace:
            return
        published, self._between = [*self._between, *events], []
        faults = [fault.detail for fault in self.troubles.now]
        threshold, took_ms = self.rule.threshold_for(night=bool(self.night.night)), self.stats.frame_ms[-1]
        states = self.decider.evidence_states()
        self.trace(Moment.of(frame, motion, scores, states, published, faults, threshold=threshold, frame_ms=took_ms))

    def _count(self, frame: Frame, regions: Sequence[Region], started: float) -> None:
        self._source_faults.pop(INTERNAL, None)
        tally = self.stats
        tally.first_time = frame.time if tally.first_time is None else tally.first_time
        tally.footage_s = frame.time - tally.first_time
        tally.frames += 1
        tally.crops += len(regions)
        tally.frame_ms.append((time.perf_counter() - started) * 1000.0)
