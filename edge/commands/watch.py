"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or somebody says stop."""

from __future__ import annotations

import itertools
import logging
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.commands.watch_words import Say, alert, command_in_doubt, introduce, progress, sum_up
from edge.errors import OptionError, SourceError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.classifier import Classifier
    from edge.decide import Rule
    from edge.evidence import EvidenceWriter
    from edge.schema import Event
    from edge.sinks.worker import Worker
    from edge.watch import Watcher

log = logging.getLogger(__name__)

LEAST_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide) for the two to alarm
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end


def watch(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="0, /dev/video0, rtsp://…, http://…, a clip, demo, or a folder or 'a*.jpg', which is played as a film "
            "(single stills are for `bear-alarm classify`)."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model file; left out, the chosen or the bundled one.")] = None,
    events: Annotated[
        str | None, typer.Option(help="Append events to this file, one line of JSON each; - for standard output.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for the pictures of alarms; left out, ./evidence.")
    ] = None,
    no_evidence: Annotated[bool, typer.Option("--no-evidence", help="Keep no pictures.")] = False,
    on_alarm: Annotated[
        str | None, typer.Option(help="Command to run at each new bear; the event's JSON is its standard input.")
    ] = None,
    fps: Annotated[float, typer.Option(min=LEAST_FPS, max=60.0, help="Frames analysed a second.")] = 10.0,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.999, help="Bear probability that counts; left out, the model's own."),
    ] = None,
    bell: Annotated[bool, typer.Option(help="Ring the terminal's bell at each new bear.")] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but what goes wrong, and ring no bell.")
    ] = False,
) -> None:
    """Watch a camera, a stream, a clip or a folder, and raise the alarm. Several at once, if you like.

    Ctrl-C stops it. Alerts and words go to standard error; only --events - writes to standard output.
    """
    if not source:
        raise OptionError("nothing to watch; try `bear-alarm watch demo`, or `bear-alarm watch 0` for the first camera")
    from edge.camera import open_source
    from edge.decide import Rule
    from edge.models import load

    say = log.info if not quiet else log.debug
    sources: list[Source] = []
    sinks: list[Worker[Event]] = []
    writer: EvidenceWriter | None = None
    with _stop_on_signal() as stop:
        try:
            for word, name in zip(source, _names(source), strict=True):
                sources.append(open_source(word, fps=fps, name=name))
            classifier = load(model)
            rule = Rule.from_card(classifier.card, threshold=threshold)
            writer = None if no_evidence else _evidence(evidence)
            sinks = _sinks(bell and not quiet, on_alarm, events, None if quiet else say)
            if on_alarm and (doubt := command_in_doubt(on_alarm)):
                log.warning("%s", doubt)
            introduce(classifier, rule, source, sources, say)
            watchers = _watchers(len(sources), classifier, rule, sinks, writer)
            started = time.perf_counter()
            failed = _run(sources, watchers, stop, show=not quiet)
            taken_s = time.perf_counter() - started
        finally:
            for opened in sources:
                opened.close()
            until = time.monotonic() + (DRAIN_STOPPED_S if stop.is_set() else DRAIN_S)
            for worker in sinks:
                worker.close(until - time.monotonic())
            if writer:
                writer.close(until - time.monotonic())
    for opened in sources:
        for problem in opened.problems:
            log.warning("%s", problem)
    sum_up(sources, watchers, taken_s, writer, events, say)
    if failed and not stop.is_set():
        raise failed[0]


def _run(sources: list[Source], watchers: list[Watcher], stop: threading.Event, *, show: bool) -> list[BaseException]:
    """One thread for each camera; this one shows the progress and waits for a signal."""
    failed: list[BaseException] = []

    def look(opened: Source, watcher: Watcher) -> None:
        try:
            watcher(opened)
        except BaseException as error:  # told by the main thread once the others are done
            failed.append(error)
            if len(sources) > 1 and isinstance(error, SourceError):
                log.error("%s", error)

    threads = [
        threading.Thread(target=look, args=pair, name=f"watch {pair[0].name}", daemon=True)
        for pair in zip(sources, watchers, strict=True)
    ]
    for thread in threads:
        thread.start()
    with progress(sources, watchers, show) as update:
        while any(thread.is_alive() for thread in threads) and not stop.wait(0.1):
            update()
    for opened in sources:
        opened.close()
    until = time.monotonic() + DRAIN_STOPPED_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return failed


def _watchers(
    count: int, classifier: Classifier, rule: Rule, sinks: list[Worker[Event]], writer: EvidenceWriter | None
) -> list[Watcher]:
    """One for each camera; they share the model, the sinks, and the numbers of the events."""
    from edge.watch import Watcher

    run_id, numbers = uuid.uuid4().hex, itertools.count(1)
    context = classifier.card.crop.context
    return [
        Watcher(
            classifier,
            rule,
            sinks,
            model=classifier.name,
            context=context,
            evidence=writer,
            run_id=run_id,
            numbers=numbers,
        )
        for _ in range(count)
    ]


def _sinks(bell: bool, on_alarm: str | None, events: str | None, say: Say | None) -> list[Worker[Event]]:
    """Who is told, in this order: what makes a noise before what is written. What cannot work is refused first."""
    from edge.sinks.bell import Bell
    from edge.sinks.command import Command
    from edge.sinks.jsonl import JsonLines
    from edge.sinks.worker import in_background

    lines = JsonLines(events) if events else None
    sinks = []
    if bell:
        sinks.append(in_background(Bell(), "the bell"))
    if on_alarm:
        sinks.append(in_background(Command(on_alarm), "--on-alarm"))
    if lines:
        sinks.append(in_background(lines, f"--events {events}"))
    if say:
        words = say
        sinks.append(in_background(lambda event: words("%s", alert(event)), "the terminal"))
    return sinks


def _evidence(folder: Path | None) -> EvidenceWriter | None:
    """The writer; a default folder that cannot be made does not stop the alarm, one that was asked for does."""
    from edge.evidence import EvidenceWriter

    try:
        return EvidenceWriter(folder or Path("evidence"))
    except OptionError as error:
        if folder:
            raise
        log.warning("%s; going on without pictures", error)
        return None


def _names(source: list[str]) -> list[str]:
    """A name for each source; the second of the same name is name-2."""
    from edge.camera import source_name

    seen = Counter[str]()
    names = []
    for word in source:
        name = source_name(word)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the second of them ends the program the hard way."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
