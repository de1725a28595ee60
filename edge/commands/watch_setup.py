"""From the words of ``bear-alarm watch`` to what watches: sources that are kept open, watchers, and who is told."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.watch_words import Say, alert, command_in_doubt
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.classifier import Classifier
    from edge.decide import Rule
    from edge.evidence import EvidenceWriter
    from edge.schema import Event, Trouble
    from edge.settings import CameraSettings
    from edge.sinks.worker import Worker
    from edge.trace import Trace
    from edge.watch import Watcher

log = logging.getLogger(__name__)

MOST_CROPS = 12  # a frame
MOST_CROPS_ARRIVED = 100  # more than a picture has tiles


def names(source: list[str]) -> list[str]:
    """A name for each source; the second of the same name is name-2."""
    from edge.camera import source_name

    found: list[str] = []
    for word in source:
        name = source_name(word)
        further = (f"{name}-{number}" for number in itertools.count(2))
        found.append(name if name not in found else next(each for each in further if each not in found))
    return found


def open_kept(word: str, name: str, fps: float, *, follow: bool = False, motion_from: str | None = None) -> Source:
    """A source by its word; a live one is opened anew for ever, once it has opened. Raises SourceError, OptionError."""
    from edge.camera import open_source, shown
    from edge.camera.follow import FollowSource
    from edge.camera.kept import KeptSource
    from edge.camera.paired import PairedSource

    if follow:
        if motion_from:
            raise OptionError("--motion-from belongs to a camera's stream, and --follow to a folder; give one of them")
        if not Path(word).expanduser().is_dir():
            raise OptionError(f"--follow: {shown(word)} is no folder; it takes a folder in which pictures arrive")
        return FollowSource(word, name=name)

    def kept(one: str) -> Source:
        def again() -> Source:
            return open_source(one, fps=fps, name=name)

        first = again()
        return KeptSource(first, again, name=name, fps=fps) if first.live else first

    main = kept(word)
    if motion_from is None:
        return main
    if not main.live:
        main.close()
        raise OptionError(f"--motion-from: {word} is no live stream; only a camera has a smaller stream beside it")
    try:
        sub = kept(motion_from)
    except BaseException:
        main.close()
        raise
    return PairedSource(main, sub, name=name)


def connect(source: Source, watcher: Watcher) -> None:
    """A kept source's troubles go to its watcher."""
    from edge.camera.follow import FollowSource
    from edge.camera.kept import KeptSource
    from edge.camera.paired import PairedSource

    def report(trouble: Trouble | None, at: float) -> None:
        watcher.report(trouble, at, source.name)

    heard = source.sub if isinstance(source, PairedSource) else source
    if isinstance(heard, KeptSource | FollowSource):
        heard.report = report


def make_watchers(
    sources: list[Source],
    classifier: Classifier,
    rule: Rule,
    settings: CameraSettings,
    sinks: list[Worker[Event]],
    writer: EvidenceWriter | None,
    trace: Trace | None,
) -> list[Watcher]:
    """One for each camera; they share the model, the sinks, the trace and the numbers of the events."""
    from edge.camera.follow import FollowSource
    from edge.decide.happening import Decider
    from edge.lens import LensCheck
    from edge.pace import CropBudget, Pace
    from edge.run import Run
    from edge.telling import Teller
    from edge.watch import Watcher

    run = Run()

    def pace(source: Source) -> Pace:
        return Pace(settings.quiet_fps, settings.fps, lambda fps: setattr(source, "fps", fps))

    watchers = []
    for source in sources:
        arriving = isinstance(source, FollowSource)
        camera = source.live and not arriving
        own = replace(rule, one_picture=True) if arriving else rule
        # Bursts are visits, an hour apart perhaps though they come in together: none is the one before, found again.
        decider = Decider(own, zones=settings.zones, schedule=settings.schedule, again_s=0.0) if arriving else None
        # Nothing hurries a picture that has arrived: the whole of each is looked at before the next.
        budget = CropBudget(settings.frame_s if camera else None, most=MOST_CROPS_ARRIVED if arriving else MOST_CROPS)
        watcher = Watcher(
            classifier,
            own,
            Teller(
                sinks,
                model=classifier.name,
                context=classifier.card.crop.context,
                evidence=writer,
                run=run,
            ),
            settings,
            pace=pace(source) if camera else None,
            budget=budget,
            lens=LensCheck() if camera else None,
            arriving=arriving,
            trace=trace,
            decider=decider,
        )
        connect(source, watcher)
        watchers.append(watcher)
    return watchers


def make_sinks(
    bell: bool, on_alarm: str | None, on_trouble: str | None, events: str | None, say: Say | None
) -> list[Worker[Event]]:
    """Who is told, in this order: what makes a noise before what is written. What cannot work is refused first."""
    from edge.sinks.bell import Bell
    from edge.sinks.command import Command
    from edge.sinks.jsonl import JsonLines
    from edge.sinks.worker import in_background

    lines = JsonLines(events) if events else None
    for option, line in (("--on-alarm", on_alarm), ("--on-trouble", on_trouble)):
        if line and (doubt := command_in_doubt(line, option)):
            log.warning("%s", doubt)
    sinks = []
    if bell:
        sinks.append(in_background(Bell(), "the bell"))
    if on_alarm:
        sinks.append(in_background(Command(on_alarm), "--on-alarm"))
    if on_trouble:
        sinks.append(in_background(Command(on_trouble, lambda event: event.kind == "camera"), "--on-trouble"))
    if lines:
        sinks.append(in_background(lines, f"--events {events}"))
    if say:
        words = say
        sinks.append(in_background(lambda event: words("%s", alert(event)), "the terminal"))
    return sinks


def evidence_writer(folder: Path | None) -> EvidenceWriter | None:
    """The writer; a default folder that cannot be made does not stop the alarm, one that was asked for does."""
    from edge.evidence import EvidenceWriter

    try:
        return EvidenceWriter(folder or Path("evidence"))
    except OptionError as error:
        if folder:
            raise
        log.warning("%s; going on without pictures", error)
        return None
