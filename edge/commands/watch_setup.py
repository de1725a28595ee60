"""From the words of ``bear-alarm watch`` to what watches: sources that are kept open, watchers, and who is told."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.classifier import Classifier
    from edge.commands.alert_setup import Alerting
    from edge.decide import Rule
    from edge.evidence.writer import EvidenceWriter
    from edge.schema import Event, Trouble
    from edge.settings import CameraSettings
    from edge.trace import Trace
    from edge.watch import Watcher

log = logging.getLogger(__name__)

NAME = re.compile(r"\w[\w -]*")
MOST_CROPS = 12  # a frame
MOST_CROPS_ARRIVED = 100  # more than a picture has tiles


def named(word: str) -> tuple[str | None, str]:
    """``yard=rtsp://…`` as a name and a source; no name where there is none, or where a file is called so."""
    name, sign, source = word.partition("=")
    if not sign or not NAME.fullmatch(name) or Path(word).expanduser().exists():
        return None, word
    return name, source


def names(source: list[str]) -> list[str]:
    """A name for each source, its own where it was given one; the second of the same name is name-2.

    Raises OptionError when two were given the same name.
    """
    from edge.camera import source_name

    given = [name for name, _ in map(named, source) if name]
    for name in given:
        if given.count(name) > 1:
            raise OptionError(f"two sources are called {name}; give each a name of its own")
    found: list[str] = []
    for own, word in map(named, source):
        name = own or source_name(word)
        further = (f"{name}-{number}" for number in itertools.count(2))
        taken = found if own else [*found, *given]
        found.append(name if name not in taken else next(each for each in further if each not in taken))
    return found


def open_kept(
    word: str,
    name: str,
    fps: float,
    *,
    follow: bool = False,
    motion_from: str | None = None,
    state: Path | None = None,
) -> Source:
    """A source by its word; a live one is opened anew for ever, once it has opened. Raises SourceError, OptionError.

    ``state``: the folder in which a folder that is followed is remembered, so that the next run goes on there.
    """
    from edge.camera import open_source, shown
    from edge.camera.follow import FollowSource
    from edge.camera.kept import KeptSource
    from edge.camera.paired import PairedSource
    from edge.camera.seen import seen_file

    if follow:
        if motion_from:
            raise OptionError("--motion-from belongs to a camera's stream, and --follow to a folder; give one of them")
        if not Path(word).expanduser().is_dir():
            raise OptionError(f"--follow: {shown(word)} is no folder; it takes a folder in which pictures arrive")
        return FollowSource(word, name=name, remember=seen_file(state, Path(word)) if state else None)

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
    """A kept source's troubles go to its watcher; of two streams each has its own."""
    from edge.camera.follow import FollowSource
    from edge.camera.kept import KeptSource
    from edge.camera.paired import PairedSource

    def report(trouble: Trouble | None, at: float) -> None:
        watcher.report(trouble, at, source.name)

    def report_main(trouble: Trouble | None, at: float) -> None:
        watcher.report(trouble, at, source.name, "main")

    if isinstance(source, PairedSource):
        source.report = report_main
    heard = source.sub if isinstance(source, PairedSource) else source
    if isinstance(heard, KeptSource | FollowSource):
        heard.report = report


def make_watchers(
    sources: list[Source],
    classifier: Classifier,
    rule: Rule,
    settings: CameraSettings,
    alerting: Alerting,
    writer: EvidenceWriter | None,
    trace: Trace | None,
) -> list[Watcher]:
    """One for each camera; they share the model, the sinks, the trace and the numbers of the events."""
    from edge.camera.follow import FollowSource
    from edge.decide.happening import Decider
    from edge.lens import LensCheck
    from edge.pace import CropBudget, Pace
    from edge.telling import Teller
    from edge.watch import Watcher

    context = classifier.card.crop.context

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
                alerting.sinks,
                model=classifier.name,
                context=context,
                evidence=writer.camera(settings.masks, context=context, clips=not arriving) if writer else None,
                run=alerting.run,
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
    fresh = {source.name: watcher for source, watcher in zip(sources, watchers, strict=True)}
    alerting.watching = lambda camera: camera in fresh and fresh[camera].fresh(time.monotonic())
    return watchers


def evidence_writer(
    folder: Path | None,
    *,
    default: Path = Path("evidence"),
    quota_mb: float | None = None,
    reserve_mb: float | None = None,
    negatives_per_day: float | None = None,
    full: bool = False,
    written: Callable[[Event, Path], object] | None = None,
) -> EvidenceWriter | None:
    """The writer. A disk that takes nothing now is tried again; where no folder can be, one asked for is an error.

    A default folder that cannot be, or may not be made here, is gone without.
    """
    from edge.evidence.writer import NEGATIVES_PER_DAY, QUOTA_MB, RESERVE_MB, EvidenceWriter

    place = (folder or default).expanduser().absolute()  # events name it, and are read from elsewhere
    try:
        if folder is None and not _may_be_made(place):
            raise OptionError(f"{place}: cannot keep evidence there (Permission denied)")
        return EvidenceWriter(
            place,
            quota_mb=QUOTA_MB if quota_mb is None else quota_mb,
            reserve_mb=RESERVE_MB if reserve_mb is None else reserve_mb,
            negatives_per_day=NEGATIVES_PER_DAY if negatives_per_day is None else negatives_per_day,
            full=full,
            written=written,
        )
    except OptionError as error:
        if folder:
            raise
        log.warning("%s; going on without pictures", error)
        return None


def _may_be_made(place: Path) -> bool:
    """Whether this user may have a folder there; whatever else the disk says, it may be well again tomorrow."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return not isinstance(error, PermissionError)
    return True
