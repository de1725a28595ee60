"""What watches one camera: put together from its settings, and changed while it watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.background import Sink
    from edge.camera import Source
    from edge.decide.evidence import Rule
    from edge.detect.classifier import Classifier
    from edge.record.evidence import CameraEvidence, EvidenceWriter
    from edge.record.trace import Trace
    from edge.run import Run
    from edge.settings import Camera, CameraSettings
    from edge.watch import Watcher

MOST_CROPS = 12  # a frame
MOST_CROPS_ARRIVED = 100  # of a picture that nothing hurries


@dataclass(frozen=True)
class Shared:
    """What all cameras share."""

    classifier: Classifier
    run: Run  # the numbers of the events
    writer: EvidenceWriter | None = None
    trace: Trace | None = None
    share: Callable[[], float] = lambda: 1.0  # of the frame rates, kept up in heat and at low voltage


def rule_for(classifier: Classifier, settings: CameraSettings) -> Rule:
    """The rule of the model's card as this camera's settings have it. Raises OptionError for one that never alarms."""
    from edge.decide.evidence import Rule

    rule = Rule.from_card(
        classifier.card,
        threshold=settings.threshold,
        night_threshold=settings.night_threshold,
        alarm_at=settings.alarm_at,
    )
    if rule.frames_needed(1.0 / settings.fps) is None:
        raise OptionError(
            f"--alarm-at {rule.alarm_at:g} at --fps {settings.fps:g}: evidence is forgotten between frames, so a sure "
            "bear would never alarm; raise --fps or lower --alarm-at"
        )
    return rule


def make_watcher(source: Source, camera: Camera, shared: Shared, sinks: list[Sink]) -> Watcher:
    """The watcher of one camera. Raises OptionError."""
    from edge.alert.events import Teller
    from edge.camera.folder import FollowSource
    from edge.decide.alarms import Decider
    from edge.decide.repeat_alarms import Offenders
    from edge.detect.camera_check import LensCheck
    from edge.detect.frame_rate import CropBudget, Pace
    from edge.detect.sequences import ArrivingMotion
    from edge.device.health import slowest_fps
    from edge.watch import Watcher

    settings, classifier, writer = camera.settings, shared.classifier, shared.writer
    arriving = isinstance(source, FollowSource)
    live = source.live and not arriving
    rule = rule_for(classifier, settings)
    own = replace(rule, one_picture=True) if arriving else rule
    # Bursts are visits, an hour apart perhaps though they come in together: none is the one before, found again.
    decider = (
        Decider(own, zones=settings.zones, schedule=settings.schedule, offenders=Offenders(), again_s=0.0)
        if arriving
        else None
    )
    # Nothing hurries a picture that has arrived: the whole of each is looked at before the next.
    budget = CropBudget(settings.frame_s if live else None, most=MOST_CROPS_ARRIVED if arriving else MOST_CROPS)
    context = classifier.card.crop.context
    pace = Pace(
        settings.quiet_fps,
        settings.fps,
        lambda fps: setattr(source, "fps", fps),
        share=shared.share,
        least=slowest_fps(rule.frames_needed),
    )
    return Watcher(
        classifier,
        own,
        Teller(
            sinks,
            model=classifier.name,
            context=context,
            evidence=writer.camera(settings.masks, context=context, clips=not arriving) if writer else None,
            run=shared.run,
        ),
        settings,
        pace=pace if live else None,
        budget=budget,
        lens=LensCheck() if live else None,
        arriving=arriving,
        trace=shared.trace,
        motion=ArrivingMotion(settings.masks) if arriving else None,
        decider=decider,
    )


def change_watcher(watcher: Watcher, before: Camera, after: Camera, old: Shared, new: Shared) -> None:
    """Change how a camera is watched, from its next frame on; what is known of its place and its bears is kept.

    From any thread. What is followed now is judged by the rule under which it was first seen.
    """
    from edge.detect.frame_scan import scan_of
    from edge.detect.motion import MotionFinder
    from edge.detect.sequences import ArrivingMotion
    from edge.detect.zones import Cover
    from edge.device.health import slowest_fps

    was, settings = before.settings, after.settings
    rule = rule_for(new.classifier, settings)
    own = replace(rule, one_picture=True) if watcher.arriving else rule
    masks = settings.masks
    # Other masks need another background: what was hidden was never learnt.
    finder = ArrivingMotion if watcher.arriving else MotionFinder
    motion = finder(masks=masks) if masks != was.masks else None
    scan = scan_of(new.classifier, masks)
    context = new.classifier.card.crop.context
    # Never by what the watcher has now: the change before may wait for its next frame as well.
    other = new.writer is not old.writer or masks != was.masks or context != old.classifier.card.crop.context
    kept = new.writer.camera(masks, context=context, clips=not watcher.arriving) if new.writer and other else None

    def apply(_: object) -> None:
        watcher.scorer, watcher.rule, watcher.trace = new.classifier, own, new.trace
        watcher.decider.rule, watcher.decider.zones = own, settings.zones
        watcher.decider.schedule = settings.schedule
        watcher.cover = Cover(masks)
        watcher.motion, watcher.scan = motion or watcher.motion, scan
        watcher.teller.model, watcher.teller.context = new.classifier.name, context
        if other:
            let_go_of(watcher.teller.evidence)
            watcher.teller.evidence = kept
        if watcher.pace:
            watcher.pace.change(settings.quiet_fps, settings.fps, slowest_fps(rule.frames_needed))
            watcher.budget.seconds = settings.frame_s

    watcher.before_next(apply)


def let_go_of(evidence: CameraEvidence | None) -> None:
    """Have it finish its clips, and hold no pictures any more: its writer knows it for as long as it lives itself."""
    if evidence:
        evidence.finish()
        evidence.ring = None
