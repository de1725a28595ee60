"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or somebody says stop."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.commands.watch_setup import evidence_writer, make_sinks, make_watchers, names, open_kept
from edge.commands.watch_words import introduce, progress, sum_up
from edge.errors import OptionError, SourceError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.evidence import EvidenceWriter
    from edge.schema import Event
    from edge.sinks.worker import Worker
    from edge.trace import Trace
    from edge.watch import Watcher

log = logging.getLogger(__name__)

LEAST_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide) for the two to alarm
RESTART_S = 1.0  # after a fault of ours a camera is watched again
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end

WHERE, HOW = "Where and when", "How it looks and decides"  # panels of the help page


def watch(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="0, /dev/video0, /dev/v4l/by-id/… (stays the same when plugged in again), picamera://0, rtsp://…, "
            "http://…, a clip, demo, or a folder or 'a*.jpg', which is played as a film (single stills are for "
            "`bear-alarm classify`)."
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
        str | None, typer.Option(help="Command to run at each alarm; the event's JSON is its standard input.")
    ] = None,
    on_trouble: Annotated[
        str | None, typer.Option(help="Command to run when a camera fails or is back; the event's JSON is its input.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch a folder for pictures that arrive (FTP, trail-camera stations).")
    ] = False,
    motion_from: Annotated[
        str | None, typer.Option(help="The camera's smaller stream, to look for motion in; one SOURCE only.")
    ] = None,
    zone: Annotated[
        list[str] | None,
        typer.Option(
            help="Only what stands in a zone alarms: 'NAME=x,y x,y x,y …', fractions of the frame. "
            "May be given again; `bear-alarm snapshot` draws it.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="Where nothing counts: 'x,y x,y x,y …'; may be given again.", rich_help_panel=WHERE),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="When it may make a noise, in local time: 'daily 20:00-06:00', 'mon-fri 22-5; sat,sun 20-7'.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(min=LEAST_FPS, max=60.0, help="Frames analysed a second.", rich_help_panel=HOW)
    ] = 10.0,
    idle_fps: Annotated[
        float | None,
        typer.Option(
            min=LEAST_FPS,
            max=60.0,
            help="And while nothing moves, on a live camera; left out, half.",
            rich_help_panel=HOW,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="Bear probability that counts; left out, the model's own.", rich_help_panel=HOW
        ),
    ] = None,
    night_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="And in the dark and in infrared; left out, the same.", rich_help_panel=HOW
        ),
    ] = None,
    alarm_at: Annotated[
        float | None,
        typer.Option(
            min=1.21,
            max=6.0,
            help="Evidence that raises the alarm, as `bear-alarm tune` advises; left out, 1.8.",
            rich_help_panel=HOW,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Keep what was seen and thought in this file, for `bear-alarm why`.", rich_help_panel=HOW),
    ] = None,
    bell: Annotated[bool, typer.Option(help="Ring the terminal's bell at each alarm.")] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but what goes wrong, and ring no bell.")
    ] = False,
) -> None:
    """Watch a camera, a stream, a clip or a folder, and raise the alarm. Several at once, if you like.

    A camera that fails is said to be gone, and opened anew until it is back. Ctrl-C stops it. Alerts and words go to
    standard error; only --events - writes to standard output.
    """
    if not source:
        raise OptionError("nothing to watch; try `bear-alarm watch demo`, or `bear-alarm watch 0` for the first camera")
    for option, line in (("--on-alarm", on_alarm), ("--on-trouble", on_trouble)):
        if line is not None and not line.strip():
            raise OptionError(f"{option} is empty; give a command, or leave the option out")
    if (zone or mask) and len(source) > 1:
        raise OptionError(f"a zone or mask belongs to one camera, and {len(source)} are named; watch each on its own")
    if motion_from and len(source) > 1:
        raise OptionError(f"--motion-from belongs to one camera, and {len(source)} are named; watch each on its own")
    from edge.decide import Rule
    from edge.decide.schedule import parse_schedule
    from edge.models import load
    from edge.settings import CameraSettings
    from edge.trace import Trace
    from edge.zones import parse_masks, parse_zone

    settings = CameraSettings(
        masks=parse_masks(mask or []),
        zones=tuple(parse_zone(words) for words in zone or []),
        schedule=parse_schedule(schedule) if schedule else None,
        fps=fps,
        idle_fps=idle_fps,
    )
    say = log.info if not quiet else log.debug
    sources: list[Source] = []
    sinks: list[Worker[Event]] = []
    writer: EvidenceWriter | None = None
    recorder: Trace | None = None
    with _stop_on_signal() as stop:
        try:
            for word, name in zip(source, names(source), strict=True):
                sources.append(open_kept(word, name, fps, follow=follow, motion_from=motion_from))
            classifier = load(model)
            rule = Rule.from_card(
                classifier.card, threshold=threshold, night_threshold=night_threshold, alarm_at=alarm_at
            )
            if rule.frames_needed(1.0 / fps) is None:
                raise OptionError(
                    f"--alarm-at {rule.alarm_at:g} at --fps {fps:g}: evidence is forgotten between frames, so a sure "
                    "bear would never alarm; raise --fps or lower --alarm-at"
                )
            writer = None if no_evidence else evidence_writer(evidence)
            recorder = Trace(trace) if trace else None
            sinks = make_sinks(bell and not quiet, on_alarm, on_trouble, events, None if quiet else say)
            introduce(classifier, rule, source, sources, say)
            watchers = make_watchers(sources, classifier, rule, settings, sinks, writer, recorder)
            started = time.perf_counter()
            with _dump_on_request(recorder):
                failed = _run(sources, watchers, stop, show=not quiet)
            taken_s = time.perf_counter() - started
        finally:
            for opened in sources:
                opened.close()
            until = time.monotonic() + (DRAIN_STOPPED_S if stop.is_set() else DRAIN_S)
            closing = [*sinks, *(each for each in (writer, recorder) if each)]
            for worker in closing:
                worker.close(until - time.monotonic())
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
        while True:
            try:
                watcher(opened)
                return
            except Exception as error:
                if not isinstance(error, SourceError):
                    log.error("%s: a fault of ours (%s: %s)", opened.name, type(error).__name__, error)
                    log.debug("%s", opened.name, exc_info=error)
                elif len(sources) > 1:
                    log.error("%s", error)
                if isinstance(error, SourceError) or not opened.live or stop.is_set():
                    failed.append(error)  # raised by the main thread once the others are done
                    return
                watcher.failed(opened.name, error)
            stop.wait(RESTART_S)

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


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; another of them, a second or more later, ends the program the hard way.

    Sooner it is the same one: ``timeout`` sends two, and an impatient finger as well.
    """
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}
    first = math.inf

    def handle(number: int, _: object) -> None:
        nonlocal first
        if time.monotonic() - first >= 1.0:
            os._exit(128 + number)  # no goodbyes: threads that hang in a driver would abort the interpreter's own
        first = min(first, time.monotonic())
        stop.set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _dump_on_request(recorder: Trace | None) -> Iterator[None]:
    """SIGUSR1 has everything written that is in memory, so that `why` can look at the last minutes."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def flush(*_: object) -> None:
        if recorder:
            recorder.flush("SIGUSR1")

    # Handled without a trace too: what nobody handles ends the program.
    before = signal.signal(signal.SIGUSR1, flush)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
