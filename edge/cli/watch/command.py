"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or a signal stops it.

The options come first, then the run from the start to the last word. Its main loop ticks until the sources end or a
signal comes. A reload (``edge.cli.watch.reload``) ends one alarm in good order and begins the next in this process.
"""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.background import call_in_thread, start_thread
from edge.cli.help_page import HelpAllOpt, common_options
from edge.cli.options import (
    ConfigOpt,
    StateOpt,
    alert_settings,
    config_for,
    configured,
    named,
    names,
    options_of,
    settings_of,
    stages_of,
)
from edge.cli.watch.reload import CONFIG, Checked, Reload
from edge.cli.watch.signals import LAST_S, Stop, dump_on_request, stop_on_signal
from edge.cli.watch.terminal import Terminal, Write, introduce, next_steps, sum_up, waiting
from edge.decide.schedule import parse_schedule
from edge.detect.zones import parse_masks, parse_zones
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Order, Watchdog
from edge.errors import OptionError
from edge.files import need_folder
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings, parse_listen

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.page.serving import Serving

log = logging.getLogger(__name__)

MIN_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide.evidence) for the two to alarm

# Options on the panels of the help page.
where_option = partial(typer.Option, rich_help_panel="Where and when")
how_option = partial(typer.Option, rich_help_panel="How it looks and decides")
record_option = partial(typer.Option, rich_help_panel="What is kept")

NOTHING = (
    "nothing to watch; try `bear-alarm watch demo`, or `bear-alarm watch 0` for the first camera; "
    "`bear-alarm config init` writes a config that names cameras"
)

TICK_S = 0.1
JUDGE_S = 1.0  # how often the watchdog and the escalation look at the status
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end
EXITS: dict[Order, int] = {"restart": RESTART, "reboot": REBOOT}

PATIENCE_S = 2.0  # what takes less needs no bar
STEP_S = 0.2
GOODBYE_S = 0.5


def watch_settings(
    base: Settings,
    source: Sequence[str],
    *,
    model: Annotated[str | None, typer.Option(help="Model file (default: the chosen or the bundled one).")] = None,
    state: StateOpt = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch a folder for pictures that arrive (FTP, trail-camera stations).")
    ] = False,
    motion_from: Annotated[
        str | None,
        typer.Option(
            "--motion-from",
            "--motion-source",
            help="The camera's smaller stream, to look for motion in; one SOURCE only.",
        ),
    ] = None,
    zone: Annotated[
        list[str] | None,
        where_option(
            help="Only what stands in a zone alarms: 'NAME=x,y x,y x,y …', fractions of the frame. "
            "May be given again; `bear-alarm snapshot` draws it.",
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        where_option(help="Where nothing counts: 'x,y x,y x,y …'; may be given again."),
    ] = None,
    schedule: Annotated[
        str | None,
        where_option(
            help="When it may make a noise, in local time: 'daily 20:00-06:00', 'mon-fri 22-5; sat,sun 20-7'.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        how_option(min=MIN_FPS, max=60.0, help="Frames analysed a second. [default: 10]"),
    ] = None,
    idle_fps: Annotated[
        float | None,
        how_option(
            min=MIN_FPS,
            max=60.0,
            help="Frames per second while nothing moves, on a live camera (default: half of --fps).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        how_option(min=0.001, max=0.999, help="Bear probability that counts (default: the model's own)."),
    ] = None,
    night_threshold: Annotated[
        float | None,
        how_option(
            min=0.001,
            max=0.999,
            help="The threshold in the dark and in infrared (default: --threshold).",
        ),
    ] = None,
    alarm_at: Annotated[
        float | None,
        how_option(
            min=1.21,
            max=6.0,
            help="Evidence that raises the alarm, as `bear-alarm tune` advises (default: 1.8).",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        how_option(help="Keep what was seen and thought in this file, for `bear-alarm why`."),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(
            "--page",
            metavar="[ADDRESS:]PORT",
            help="Show the alarm in a browser; a port alone is for this machine only (docs/page.md).",
        ),
    ] = None,
) -> Settings:
    """Return ``base`` with these options. Raises OptionError for options that contradict each other."""
    cameras = _cameras(base, source, follow=follow, motion_from=motion_from)
    if not cameras:
        raise OptionError(NOTHING)
    if (zone or mask) and len(cameras) > 1:
        raise OptionError(
            f"a zone or mask belongs to one camera, and {len(cameras)} are watched; write them into a config "
            "(`bear-alarm config init`), or watch each on its own"
        )
    if model and base.updates.sources:
        raise OptionError(
            f"--model {model} names the one file to use, and the config takes new ones (updates.sources); leave out "
            "one of the two"
        )
    if trace:
        need_folder(trace.expanduser())
    given: dict[str, Any] = {
        "fps": fps,
        "idle_fps": idle_fps,
        "threshold": threshold,
        "night_threshold": night_threshold,
        "alarm_at": alarm_at,
        "zones": parse_zones(zone) if zone else None,
        "masks": parse_masks(mask) if mask else None,
        "schedule": parse_schedule(schedule) if schedule else None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    watched = tuple(replace(camera, settings=replace(camera.settings, **given)) for camera in cameras)
    for camera in watched:
        if (
            idle_fps is not None and idle_fps > camera.settings.fps
        ):  # the config's own gives way to a --fps that is less
            raise OptionError(
                f"--idle-fps {idle_fps:g} is more than --fps {camera.settings.fps:g}, though it is for when nothing "
                "moves; give it less, or raise --fps"
            )
    if page:
        parse_listen(page)
        base = replace(base, page=replace(base.page, listen=page))
    return replace(
        base, cameras=watched, model=model or base.model, state=state or base.state, trace=trace or base.trace
    )


def evidence_settings(
    base: EvidenceSettings,
    *,
    evidence: Annotated[
        Path | None,
        record_option(
            "--evidence",
            "--record-path",
            help="Folder for the pictures of alarms (default: ./evidence).",
        ),
    ] = None,
    no_evidence: Annotated[
        bool, record_option("--no-evidence", "--no-record", help="Keep no pictures and clips.")
    ] = False,
    evidence_quota_mb: Annotated[
        float | None,
        record_option(
            "--evidence-quota-mb",
            "--record-quota-mb",
            min=1.0,
            help="Room for evidence, in MB; the oldest goes first, what is locked stays. [default: 2000]",
        ),
    ] = None,
    evidence_full: Annotated[
        bool,
        record_option(
            "--evidence-full",
            "--record-full-frame",
            help="Keep the whole frame of each alarm too, nothing drawn on it.",
        ),
    ] = False,
    evidence_negatives: Annotated[
        float | None,
        record_option(
            "--evidence-negatives",
            "--record-negatives-per-day",
            min=0.0,
            max=100.0,
            help="Frames without an alarm to keep a day, at random; 0: none. [default: 4]",
        ),
    ] = None,
) -> EvidenceSettings:
    """Return what is kept of an alarm. Raises OptionError."""
    if no_evidence and evidence is not None:
        raise OptionError(
            f"--no-evidence keeps no pictures, and --evidence {evidence} wants them there; give one of them"
        )
    return replace(
        base,
        keep=not no_evidence and (base.keep or evidence is not None),
        folder=evidence or base.folder,
        quota_mb=base.quota_mb if evidence_quota_mb is None else evidence_quota_mb,
        full=evidence_full or base.full,
        negatives_per_day=base.negatives_per_day if evidence_negatives is None else evidence_negatives,
    )


def _cameras(base: Settings, source: Sequence[str], *, follow: bool, motion_from: str | None) -> list[Camera]:
    """Return the cameras that are named, else those of the config."""
    if not source:
        if (follow or motion_from) and len(base.cameras) != 1:
            option = "--follow" if follow else "--motion-from"
            raise OptionError(f"{option} says how one SOURCE is read, and there is none; name it")
        return [
            replace(camera, follow=follow or camera.follow, motion_source=motion_from or camera.motion_source)
            for camera in base.cameras
        ]
    if motion_from and len(source) > 1:
        raise OptionError(f"--motion-from belongs to one camera, and {len(source)} are named; watch each on its own")
    found = []
    for (_, word), name in zip(map(named, source), names(list(source)), strict=True):
        camera = configured(base, word) or Camera(name, word)
        found.append(replace(camera, follow=follow or camera.follow, motion_source=motion_from or camera.motion_source))
    return found


def _warn_of_no_stage(watched: Settings, base: Settings, path: Path | None) -> None:
    """Warn of a camera of the config that is named on the command line by its source, and so has no stage."""
    if not base.cameras:
        return
    from edge.config.check import device_of

    named = {each.name for each in watched.cameras if each.stage is None}
    devices = {device_of(each.source) for each in watched.cameras if each.stage is None}
    again = [each.name for each in base.cameras if each.name in named or device_of(each.source) in devices]
    stages = stages_of(replace(base, state=watched.state), path) if again else {}
    for name in again:
        if (stage := stages[name][-1].stage) != "autonomous":
            log.warning(
                "%s is named on the command line, so it has no stage: its alarms reach everyone; with the config it is "
                "%s. `bear-alarm watch` alone uses the config.",
                name, "in shadow" if stage == "shadow" else stage,
            )  # fmt: skip


@common_options(
    "--config", "--model", "--evidence", "--events", "--sound", "--on-alarm", "--follow", "--zone", "--mask", "--fps"
)
@options_of(options=watch_settings, evidence=evidence_settings, alerts=alert_settings)
def watch(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="0, /dev/video0, /dev/v4l/by-id/… (stays the same when plugged in again), picamera://0, rtsp://…, "
            "http://…, a clip, demo, or a folder or 'a*.jpg', which is played as a film (single stills are for "
            "`bear-alarm classify`). A name may stand before it: yard=rtsp://…"
        ),
    ] = None,
    config: ConfigOpt = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print alarms and errors only, and do not ring the bell.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what it costs too: time per frame, places, memory.")
    ] = False,
    help_all: HelpAllOpt = False,
    *,
    options: Callable[..., Settings],
    evidence: Callable[..., EvidenceSettings],
    alerts: Callable[..., AlertSettings],
) -> None:
    """Watch a camera, a stream, a clip or a folder, and raise the alarm. Several at once, if you like.

    Without a SOURCE, it watches the cameras of the config. When a camera fails, the alarm says so and reopens it
    until it is back. Ctrl-C stops the alarm; SIGHUP makes it read the config again. Alerts and messages go to
    standard error; only --events - writes to standard output.
    """
    if quiet and verbose:
        raise OptionError("--quiet and --verbose contradict each other; give one of them")
    if quiet and not log.isEnabledFor(logging.DEBUG):
        logging.getLogger("edge").setLevel(logging.WARNING)
    sources = source or []
    path = config_for(config, sources)

    def settings() -> Settings:
        """Read the config, the options laid over it; called again on SIGHUP."""
        base = settings_of(path)
        alerting = alerts(base.alerts, bell=False) if quiet else alerts(base.alerts)
        found = options(replace(base, alerts=alerting, evidence=evidence(base.evidence)), sources)
        _warn_of_no_stage(found, base, path)
        return found

    run_alarm(settings, path, quiet=quiet, verbose=verbose)


def run_alarm(
    settings: Callable[[], Settings], config: Path | None, *, quiet: bool = False, verbose: bool = False
) -> None:
    """Watch with what ``settings`` gives; it is called again on SIGHUP where there is a ``config``.

    ``quiet``: print alarms only. ``verbose``: print what it costs too.
    """
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    write = log.debug if quiet else log.info
    if config:
        write("Settings from %s.", config)
    terminal = Terminal()
    with stop_on_signal(reloads=config is not None) as stop:  # first: a signal may come at any moment
        try:
            wanted = settings()
            from edge.alarm import Alarm
            from edge.camera_thread import complaints

            gc.freeze()  # modules stay: to look through them again and again would hold up the loop
            alarm = Alarm(wanted, terminal=terminal)
            gc.enable()
            terminal.waits = lambda event: waiting(alarm, event)
        except BaseException:
            notifier.stopping()
            raise
        reload = Reload(settings, config, notifier) if config else None
        with dump_on_request(lambda: alarm.trace), serving(lambda: alarm, reload, stop) as follow:
            while True:
                follow()
                introduce(alarm, write, verbose=verbose)
                demo = _narrate_demo(alarm, write)
                end, taken_s = _run(alarm, reload, stop, notifier, show=not quiet)
                if reload is None or not isinstance(end, Checked):
                    break
                _report(alarm, taken_s, write, terminal, verbose=verbose)
                alarm = reload.restarted(alarm, end, terminal)
    _report(alarm, taken_s, write, terminal, verbose=verbose)
    for line in next_steps() if demo else ():
        write("%s", line)
    if isinstance(end, str):
        logging.shutdown()
        # At once: a driver that hangs may abort the interpreter's own end, and with it lose this code.
        os._exit(EXITS[end])
    if alarm.failed and not stop.is_set():
        for line in complaints(alarm.threads)[1:]:
            log.error("%s", line)
        raise alarm.failed[0]


@contextmanager
def serving(alarm: Callable[[], Alarm], reload: Reload | None, stop: Stop) -> Iterator[Callable[[], None]]:
    """Serve the page and the telemetry of the running alarm; yield what is to be called for each alarm."""
    servers: Serving | None = None

    def follow() -> None:
        nonlocal servers
        settings = alarm().settings
        if servers is None and (settings.page.listen or settings.health.listen):
            from edge.cli.page import claim_command
            from edge.page.serving import Serving  # imports a web server, which most runs do without

            config, ask = (reload.config, partial(reload.ask, stop)) if reload else (None, None)

            def claim() -> str:
                state = alarm().state
                assert state  # there is one where there is a page
                return claim_command(alarm().settings, state, config)

            servers = Serving(alarm, config, ask, claim)
        if servers:
            try:
                servers.follow()
            except Exception as error:  # the alarm does without
                words = f"the page cannot be served: internal error ({type(error).__name__}: {error})"
                log.error("%s", words, exc_info=error)
                alarm().ask("page", lambda: words)

    try:
        yield follow
    finally:
        if servers:
            servers.close()


def _run(
    alarm: Alarm, reload: Reload | None, stop: Stop, notifier: Notifier, *, show: bool
) -> tuple[Order | Checked | None, float]:
    """Watch with one alarm, and close it in good order; return why it ended, and after how many seconds."""
    stop.silenced_by(alarm.silence)
    end: Order | Checked | None = None
    started = time.perf_counter()
    try:
        end = _watch(alarm, reload, stop, notifier, show=show)
        return end, time.perf_counter() - started
    finally:
        if reload and isinstance(end, Checked):
            reload.close(alarm)
        else:
            notifier.stopping()
            if isinstance(end, str):
                _end_at_last(end)
            alarm.stop_cameras()
            alarm.close(DRAIN_STOPPED_S if stop.is_set() or end else DRAIN_S)


def _watch(
    alarm: Alarm, reload: Reload | None, stop: Stop, notifier: Notifier, *, show: bool
) -> Order | Checked | None:
    """Watch until the sources end or a signal comes (None), a restart is ordered, or a new config is good."""
    health = alarm.settings.health
    watchdog = Watchdog(notifier)
    escalation = Escalation(
        alarm.state or Path(), health.restart_after_s, health.reboot, present=notifier.present and bool(alarm.state)
    )
    alarm.ask("watchdog", watchdog.problem)
    if reload:
        alarm.ask(CONFIG, reload.problem)
        if alarm.updates:
            alarm.updates.reload = reload.ask_model
    alarm.start()
    notifier.ready(f"watching {', '.join(thread.camera.name for thread in alarm.threads)}")
    judged, logged = 0.0, ""
    end: Order | Checked | None = None
    with progress(alarm, show):
        while alarm.alive and not (end or stop.wait(TICK_S)):
            now = time.monotonic()
            try:
                alarm.tick(now)
                if now - judged >= JUDGE_S:
                    judged = now
                    status = alarm.status(now)
                    watchdog(status, now)
                    end = escalation(status, now)
                if reload and not end:
                    end = reload(alarm, stop)
            except Exception as error:
                # The cameras are still watched. Where this lasts, the watchdog is not fed: a service starts it again.
                words = f"internal error ({type(error).__name__}: {error})"
                log.log(logging.DEBUG if words == logged else logging.ERROR, "%s; the cameras are still watched", words)
                log.debug("in the main loop", exc_info=error)
                logged = words
    return end


def _report(alarm: Alarm, taken_s: float, write: Write, terminal: Terminal, *, verbose: bool) -> None:
    """Print what one alarm saw and what went wrong, when it is closed."""
    for thread in alarm.threads:
        for problem in thread.source.problems:
            log.warning("%s", problem)
    sum_up(alarm, taken_s, write, terminal.pictures, verbose=verbose)
    terminal.pictures.clear()
    for line in alarm.losses():
        write("%s", line)


def _end_at_last(order: Order, within_s: float = LAST_S) -> None:
    """End the process in so many seconds, whatever still waits for a driver or a disk."""

    def end() -> None:
        time.sleep(within_s)
        os._exit(EXITS[order])

    start_thread(end, "the end")


def _narrate_demo(alarm: Alarm, write: Write) -> bool:
    """Print the story of the bundled clip while it plays; return whether it is watched at all."""
    from edge.demo.story import Story

    threads = [thread for thread in alarm.threads if thread.camera.source == "demo"]
    for thread in threads:
        thread.watcher.trace = Story(lambda line: write("%s", line), thread.watcher.trace)
    return bool(threads)


@contextmanager
def progress(alarm: Alarm, show: bool) -> Iterator[None]:
    """Show a bar over the seconds of footage, on a terminal, for files that take over two seconds.

    It is drawn in a thread of its own: a terminal that is paused holds up nobody.
    """
    lengths = [thread.source.length_s for thread in alarm.threads]
    if not show or sys.stderr is None or not sys.stderr.isatty() or any(length is None for length in lengths):
        yield
        return
    over = threading.Event()
    total = sum(length or 0.0 for length in lengths)
    drawing = call_in_thread(partial(_draw, alarm, total, over), "progress")
    try:
        yield
    finally:
        over.set()
        concurrent.futures.wait([drawing], GOODBYE_S)


def _draw(alarm: Alarm, total: float, over: threading.Event) -> None:
    if over.wait(PATIENCE_S):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.completed:.0f} of {task.total:.0f} s"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("watching", total=total)
        while not over.wait(STEP_S):
            bar.update(task, completed=sum(thread.watcher.stats.footage_s for thread in alarm.threads))
