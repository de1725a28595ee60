"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or a signal stops it.

Read top-down: the command and its options, the settings made of them, the run (start, main loop, reload on SIGHUP),
what signals do, what is said to people, the progress bar.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.alert.events import UNKNOWN
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
)
from edge.cli.progress import counted
from edge.decide.schedule import parse_schedule
from edge.detect.zones import parse_masks, parse_zones
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Order, Watchdog
from edge.errors import BearAlarmError, OptionError
from edge.files import need_folder
from edge.local_time import clock, lasting
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.background import Sink
    from edge.camera import Source
    from edge.detect.classifier import Classifier
    from edge.detect.frame_rate import LoopStats
    from edge.record.trace import Trace
    from edge.schema import Event
    from edge.watch import Watcher

log = logging.getLogger(__name__)

MIN_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide.evidence) for the two to alarm

WHERE, HOW = "Where and when", "How it looks and decides"  # panels of the help page
RECORD = "What is kept"
Say = Callable[..., None]  # log.info, or what says nothing when it is to be quiet

NOTHING = (
    "nothing to watch; try `bear-alarm watch demo`, or `bear-alarm watch 0` for the first camera; "
    "`bear-alarm config init` writes a config that names cameras"
)


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
        float | None,
        typer.Option(min=MIN_FPS, max=60.0, help="Frames analysed a second. [default: 10]", rich_help_panel=HOW),
    ] = None,
    idle_fps: Annotated[
        float | None,
        typer.Option(
            min=MIN_FPS,
            max=60.0,
            help="Frames per second while nothing moves, on a live camera (default: half of --fps).",
            rich_help_panel=HOW,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.999, help="Bear probability that counts (default: the model's own).", rich_help_panel=HOW
        ),
    ] = None,
    night_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.999,
            help="The threshold in the dark and in infrared (default: --threshold).",
            rich_help_panel=HOW,
        ),
    ] = None,
    alarm_at: Annotated[
        float | None,
        typer.Option(
            min=1.21,
            max=6.0,
            help="Evidence that raises the alarm, as `bear-alarm tune` advises (default: 1.8).",
            rich_help_panel=HOW,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Keep what was seen and thought in this file, for `bear-alarm why`.", rich_help_panel=HOW),
    ] = None,
) -> Settings:
    """Return ``base`` with what these options say. Raises OptionError for what cannot be meant together."""
    cameras = _cameras(base, source, follow=follow, motion_from=motion_from)
    if not cameras:
        raise OptionError(NOTHING)
    if (zone or mask) and len(cameras) > 1:
        raise OptionError(
            f"a zone or mask belongs to one camera, and {len(cameras)} are watched; write them into a config "
            "(`bear-alarm config init`), or watch each on its own"
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
    return replace(
        base, cameras=watched, model=model or base.model, state=state or base.state, trace=trace or base.trace
    )


def evidence_settings(
    base: EvidenceSettings,
    *,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            "--record-path",
            help="Folder for the pictures of alarms (default: ./evidence).",
            rich_help_panel=RECORD,
        ),
    ] = None,
    no_evidence: Annotated[
        bool, typer.Option("--no-evidence", "--no-record", help="Keep no pictures and clips.", rich_help_panel=RECORD)
    ] = False,
    evidence_quota_mb: Annotated[
        float | None,
        typer.Option(
            "--evidence-quota-mb",
            "--record-quota-mb",
            min=1.0,
            help="Room for evidence, in MB; the oldest goes first, what is locked stays. [default: 2000]",
            rich_help_panel=RECORD,
        ),
    ] = None,
    evidence_full: Annotated[
        bool,
        typer.Option(
            "--evidence-full",
            "--record-full-frame",
            help="Keep the whole frame of each alarm too, nothing drawn on it.",
            rich_help_panel=RECORD,
        ),
    ] = False,
    evidence_negatives: Annotated[
        float | None,
        typer.Option(
            "--evidence-negatives",
            "--record-negatives-per-day",
            min=0.0,
            max=100.0,
            help="Frames without an alarm to keep a day, at random; 0: none. [default: 4]",
            rich_help_panel=RECORD,
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
        told = alerts(base.alerts, bell=False) if quiet else alerts(base.alerts)
        return options(replace(base, alerts=told, evidence=evidence(base.evidence)), sources)

    run_alarm(settings, path, quiet=quiet, verbose=verbose)


# The run: from the start to the last word. SIGHUP ends one alarm in good order and begins the next in this process.


TICK_S = 0.1
JUDGE_S = 1.0  # how often it is judged whether all goes on
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end
DRAIN_RELOAD_S = 2.0  # while no camera is watched; what waits then goes on in the journal, which stays open
MAX_UNSEEN_S = 3.0  # after a reload; a camera that takes longer is named
MAX_READ_S = 60.0  # a file that takes so long to be read lies on a disk that hangs

SAME_S = 1.0  # a second signal so soon is the same one: `timeout` sends two, and an impatient finger as well
SILENT_S = 0.5  # what silencing may take before the hard way
LAST_S = 30.0  # after the first signal: a terminal that takes no words must not keep a relay, or us

HANGUP = getattr(signal, "SIGHUP", None)
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

CONFIG = "config"  # the part of health that says so
EXITS: dict[Order, int] = {"restart": RESTART, "reboot": REBOOT}


@dataclass(frozen=True)
class Checked:
    """A config that was read again and is good, with its model loaded."""

    settings: Settings
    classifier: Classifier


def run_alarm(
    settings: Callable[[], Settings], config: Path | None, *, quiet: bool = False, verbose: bool = False
) -> None:
    """Watch with what ``settings`` gives; it is called again on SIGHUP where there is a ``config``.

    ``quiet``: print alarms only. ``verbose``: print what it costs too.
    """
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    say = log.debug if quiet else log.info
    if config:
        say("Settings from %s.", config)
    terminal = Terminal()
    with stop_on_signal(reloads=config is not None) as stop:  # first: a signal may come at any moment
        try:
            wanted = settings()
            from edge.alarm import Alarm, complaints

            alarm = Alarm(wanted, terminal=terminal)
        except BaseException:
            notifier.stopping()
            raise
        reload = Reload(settings, config, notifier) if config else None
        with dump_on_request(lambda: alarm.trace):
            while True:
                introduce(alarm, say, verbose=verbose)
                demo = _tell_the_demo(alarm, say)
                end, taken_s = _run(alarm, reload, stop, notifier, show=not quiet)
                if reload is None or not isinstance(end, Checked):
                    break
                _report(alarm, taken_s, say, terminal, verbose=verbose)
                alarm = reload.restarted(alarm, end, terminal)
    _report(alarm, taken_s, say, terminal, verbose=verbose)
    for line in next_steps() if demo else ():
        say("%s", line)
    if isinstance(end, str):
        logging.shutdown()
        # At once: a driver that hangs may abort the interpreter's own end, and with it lose this code.
        os._exit(EXITS[end])
    if alarm.failed and not stop.is_set():
        for line in complaints(alarm.threads)[1:]:
            log.error("%s", line)
        raise alarm.failed[0]


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
        if isinstance(end, Checked):
            alarm.close(DRAIN_RELOAD_S, keep=True)
        else:
            notifier.stopping()
            if end:
                _end_at_last(end)
            alarm.close(DRAIN_STOPPED_S if stop.is_set() or end else DRAIN_S)


def _watch(
    alarm: Alarm, reload: Reload | None, stop: Stop, notifier: Notifier, *, show: bool
) -> Order | Checked | None:
    """Watch until the sources end or a signal comes (None), or until it is better to start again: how, is returned."""
    health = alarm.settings.health
    watchdog = Watchdog(notifier)
    escalation = Escalation(
        alarm.state or Path(), health.restart_after_s, health.reboot, present=notifier.present and bool(alarm.state)
    )
    alarm.ask("watchdog", watchdog.problem)
    if reload:
        alarm.ask(CONFIG, reload.problem)
    alarm.start()
    notifier.ready(f"watching {', '.join(thread.camera.name for thread in alarm.threads)}")
    judged, said = 0.0, ""
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
                # The cameras are watched on; where this lasts, the watchdog is not fed, and a service starts it again.
                words = f"internal error ({type(error).__name__}: {error})"
                log.log(logging.DEBUG if words == said else logging.ERROR, "%s; the cameras are still watched", words)
                log.debug("in the main loop", exc_info=error)
                said = words
    alarm.let_go()
    return end


class Reload:
    """Reads and checks the config in a thread on SIGHUP, while the alarm watches on.

    What is no good is said, is the ``problem`` until something better is read, and changes nothing.
    """

    def __init__(self, settings: Callable[[], Settings], config: Path, notifier: Notifier) -> None:
        self.config = config
        self.notifier = notifier
        self._settings = settings
        self._problem: str | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0  # time.monotonic()
        self._read: Checked | Exception | None = None
        self._unseen_since: float | None = None  # time.monotonic(), until it is said
        self._holds = ""  # which config, in words

    def __call__(self, alarm: Alarm, stop: Stop) -> Checked | None:
        """Read the config when a signal says so; return it when it is good. Call it often, from the main loop."""
        self._say_unseen(alarm)
        if stop.hung_up and self._thread is None:
            stop.hung_up = False  # before it is read: what comes meanwhile is another
            self.begin(alarm)
        if self._thread is None or self._thread.is_alive():
            return self._good(alarm)
        self._thread = None
        self._problem = None
        if isinstance(self._read, Exception):
            self.refuse(self._read)
            self._read = None
            self.notifier.ready("going on with the config of before")
        return self._good(alarm)

    def problem(self) -> str | None:
        """Return why the config on the disk is not the one that holds."""
        if self._thread and time.monotonic() - self._began > MAX_READ_S:
            return (
                f"{self.config} has been read for more than {MAX_READ_S:g} s; its disk or the model's does not answer"
            )
        return self._problem

    def begin(self, alarm: Alarm) -> None:
        """Read the config and, where it is another one, its model."""
        self.notifier.reloading()
        self._read = None
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._check, args=(alarm.classifier,), name="reload", daemon=True)
        self._thread.start()

    def refuse(self, error: Exception) -> None:
        """Say why this config is not used."""
        words = str(error) if isinstance(error, BearAlarmError) else f"internal error ({type(error).__name__}: {error})"
        log.error("%s\nGoing on with the config of before.", words)
        log.debug("%s", self.config, exc_info=error)
        first, *more = words.splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        self._problem = f"the changed config is not used: {first}{rest}; mend it and reload"

    def restarted(self, before: Alarm, new: Checked, terminal: Sink) -> Alarm:
        """Return the next alarm: of the new settings, or where that cannot be made, of those before.

        Raises typer.Exit with the code that has a service start it again where neither can.
        """
        from edge.alarm import Alarm

        waits = new.settings.waits or before.condition is not None  # a camera that does not open at once is only down
        self._holds = f"{self.config} was read again, and holds from now on"
        try:
            after = Alarm(
                replace(new.settings, waits=waits), classifier=new.classifier, terminal=terminal, before=before
            )
        except Exception as error:
            self.refuse(error)
            self._holds = "The config of before holds again"
        else:
            if not (after.alerting and after.alerting.shared):
                before.drop()  # it has another state folder, or none
            return after
        try:
            settings = replace(before.settings, waits=waits)
            return Alarm(settings, classifier=before.classifier, terminal=terminal, before=before)
        except Exception as error:
            before.drop()
            log.error("%s\nThe alarm cannot go on in this process, and ends to be started again.", error)
            log.debug("%s", self.config, exc_info=error)
            raise typer.Exit(RESTART) from error

    def _good(self, alarm: Alarm) -> Checked | None:
        """Return what was read, once the alarm has told that the config is no problem any more."""
        if self._thread or not isinstance(self._read, Checked) or CONFIG in alarm.status().problems:
            return None
        found, self._read = self._read, None
        self._unseen_since = time.monotonic()
        return found

    def _check(self, loaded: Classifier) -> None:
        from edge.alarm import rule_for
        from edge.detect.classifier import file_digest, find, load

        try:
            settings = self._settings()
            same = file_digest(find(settings.model)) == loaded.digest
            classifier = loaded if same else load(settings.model)
            for camera in settings.cameras:
                rule_for(classifier, camera.settings)
            self._read = Checked(settings, classifier)
        except Exception as error:
            self._read = error

    def _say_unseen(self, alarm: Alarm) -> None:
        """Say once for how long no camera was watched; a camera that takes longer than 3 s is named."""
        if self._unseen_since is None:
            return
        lasted_s = time.monotonic() - self._unseen_since
        missing = [thread.camera.name for thread in alarm.threads if thread.awaits_frame]
        if missing and lasted_s < MAX_UNSEEN_S:
            return
        self._unseen_since = None
        still = f"; no picture yet of {', '.join(missing)}" if missing else ""
        log.info("%s; nothing was seen for %.1f s%s.", self._holds, lasted_s, still)


def _report(alarm: Alarm, taken_s: float, say: Say, terminal: Terminal, *, verbose: bool) -> None:
    """Say what one alarm saw and what went wrong, when it is closed."""
    for thread in alarm.threads:
        for problem in thread.source.problems:
            log.warning("%s", problem)
    sum_up(alarm, taken_s, say, terminal.pictures, verbose=verbose)
    terminal.pictures.clear()
    for line in alarm.losses():
        say("%s", line)


def _end_at_last(order: Order, within_s: float = LAST_S) -> None:
    """End the process in so many seconds, whatever still waits for a driver or a disk."""
    timer = threading.Timer(within_s, os._exit, (EXITS[order],))
    timer.daemon = True
    timer.start()


def _tell_the_demo(alarm: Alarm, say: Say) -> bool:
    """Tell the story of the bundled clip while it plays; return whether it is watched at all."""
    from edge.demo.story import Story

    threads = [thread for thread in alarm.threads if thread.camera.source == "demo"]
    for thread in threads:
        thread.watcher.trace = Story(lambda line: say("%s", line), thread.watcher.trace)
    return bool(threads)


# What signals do: the first one ends the alarm in good order, and whatever happens then, noises and relays go off.


class Stop(threading.Event):
    """Set by the first signal; what ``silenced_by`` was told is called then, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = False  # it was, once
        self.hung_up = False  # SIGHUP came, and means that the config is to be read again
        self._silence: Callable[[], object] = lambda: None

    def silenced_by(self, silence: Callable[[], object]) -> None:
        """``silence`` is what ends every noise; called at once where it is late already."""
        self._silence = silence
        if self.is_set():
            self.silence()

    def silence(self) -> None:
        """End every noise; whatever goes wrong with that, the rest of the ending goes on."""
        try:
            self._silence()
        except Exception as error:
            log.warning("noises could not be ended: %s", error or type(error).__name__)
        finally:
            self.silent = True


@contextmanager
def stop_on_signal(*, reloads: bool = False) -> Iterator[Stop]:
    """Set an event on SIGINT, SIGTERM and SIGHUP; another of them, a second later, ends the program the hard way.

    ``reloads``: SIGHUP only sets ``hung_up``, and is nothing once it ends, for as long as a terminal that was there is
    not closed.

    So does half a minute after the first, also behind this block, where last words may be said to a terminal that takes
    none. In any case what makes a noise is silenced first.
    """
    stop = Stop()
    numbers: SimpleQueue[int] = SimpleQueue()  # a handler may put here whatever it interrupts
    before: dict[signal.Signals, Any] = {}
    first = math.inf

    terminal = _terminals() if reloads else []

    def handle(number: int, _: object) -> None:
        nonlocal first
        if reloads and number == HANGUP and (not terminal or _terminals()):
            stop.hung_up = True
            return
        if first == math.inf:
            first = time.monotonic()
            numbers.put(number)
        elif time.monotonic() - first >= SAME_S:
            until = time.monotonic() + SILENT_S
            while not stop.silent and time.monotonic() < until:
                time.sleep(0.01)
            os._exit(128 + number)  # no goodbyes: threads that hang in a driver would abort the interpreter's own

    def the_end() -> None:
        number = numbers.get()
        if not number:
            return
        stop.set()
        stop.silence()
        time.sleep(max(0.0, first + LAST_S - time.monotonic()))
        stop.silence()
        os._exit(128 + number)

    if threading.current_thread() is threading.main_thread():
        threading.Thread(target=the_end, name="the end", daemon=True).start()
        for number in ENDING:
            # nohup: the end of the terminal is not ours. A shell has programs in the background ignore Ctrl-C; not us.
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        if first == math.inf:
            numbers.put(0)
        until = time.monotonic() + 2 * SILENT_S
        while first < math.inf and not stop.silent and time.monotonic() < until:
            time.sleep(0.01)
        for number, handler in before.items():
            # A second Ctrl-C on the way out, or the second signal of `timeout`, must not end it the hard way.
            signal.signal(number, signal.SIG_IGN if first < math.inf else handler)


def _terminals() -> list[int]:
    """Return which of the three streams is a terminal; one that was closed is none any more."""
    return [number for number in range(3) if os.isatty(number)]


@contextmanager
def dump_on_request(recorder: Callable[[], Trace | None]) -> Iterator[None]:
    """Let SIGUSR1 write everything that is in memory, so that `why` can look at the last minutes."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def flush(*_: object) -> None:
        if trace := recorder():
            trace.flush("SIGUSR1")

    # Handled without a trace too: what nobody handles ends the program.
    before = signal.signal(signal.SIGUSR1, flush)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


# What is said to people: each event, the start and the sum.


OVER = "over after"  # how the detail of a trouble that is over begins; one that ends with the watching has another

AN_AID = "An aid, not a life-safety device."
MIN_LOST_S = 1.0  # without a picture: less is not worth a line


class Terminal:
    """Says each event in a line; ``pictures`` are those of the first alarms."""

    def __init__(self) -> None:
        self.pictures: list[str] = []

    def __call__(self, event: Event) -> None:
        """Say it, as a warning where somebody is wanted."""
        wrong = event.alarms or (event.kind != "bear" and event.type == "new")
        log.log(logging.WARNING if wrong else logging.INFO, "%s", alert(event))
        if event.alarms and event.evidence and len(self.pictures) < 2:
            self.pictures.append(event.evidence)


def alert(event: Event) -> str:
    """Return one line for people: what, where, when by this place's clock, how sure, and where the picture lies."""
    when = f"{event.media_time_s or 0.0:.1f} s"
    if event.media_time_s is None:
        when = clock(datetime.fromisoformat(event.captured_at), date=False)
    detail = (event.detail or "").rstrip(".")
    if event.kind != "bear":
        # What is said of a camera begins with its name, as the line does.
        what = detail.removeprefix(f"{event.camera}: ")
        where = "" if event.kind == "test" else "the alarm itself " if event.kind == "health" else f"{event.camera} "
        what = what or ("this is only a test" if event.kind == "test" else "something is wrong")
        return f"{_head(event)}  {where}at {when}: {what}"
    if event.type == "end":
        unseen = detail and not detail.startswith(UNKNOWN)
        what = detail if unseen else f"{_animal(event)} no longer in view"
        return f"{event.camera} at {when}: {what} (highest score {event.top_score or 0.0:.2f})"
    alarm = event.type == "new" or event.escalated
    score = event.score or 0.0
    words = [f"{_animal(event)} {score:.2f}" if alarm else f"same bear, still there ({score:.2f})"]
    words += [f"first seen {event.onset_s:.1f} s before"] if event.type == "new" and event.onset_s is not None else []
    words += [event.file] if event.file else []
    words += [*(f"in {name}" for name in event.zones), *([f"no noise: {event.quiet}"] if event.quiet else [])]
    words += [detail] if detail else []
    words += [_from_here(Path(event.evidence))] if event.evidence else []
    return f"{f'{_head(event)}  ' if alarm else ''}{event.camera} at {when}: {', '.join(words)}"


def _animal(event: Event) -> str:
    return (event.label or "bear").replace("_", " ")


def _from_here(path: Path) -> str:
    """Return the path as it is typed here: short where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _head(event: Event) -> str:
    """Return the first words of an alert: capitals where somebody is wanted, red for an alarm."""
    over = (event.detail or "").startswith(OVER)
    ends = {"camera": "camera well again" if over else "camera", "health": "well again"}
    if event.kind == "bear":
        head = f"BEAR again ({event.escalated})" if event.escalated else "BEAR"
    elif event.type == "end":
        head = ends.get(event.kind, event.kind)
    elif event.type == "update":
        head = f"still {event.kind}"
    else:
        head = {"camera": "CAMERA", "health": "PROBLEM", "test": "TEST"}[event.kind]
    if event.alarms and sys.stderr is not None and sys.stderr.isatty():
        return f"\033[1;31m{head}\033[0m"
    return head


def introduce(alarm: Alarm, say: Say, *, verbose: bool = False) -> None:
    """Say what is watched with which model, its licence and limits, and how fast the alarm can be at best."""
    from edge.camera import shown

    classifier = alarm.classifier
    places = []
    for thread in alarm.threads:
        word, name = shown(thread.camera.source), thread.camera.name
        places.append(word if name in word else f"{name} ({word})")
    say("Watching %s for %s.", ", ".join(places), classifier.card.bear_means)
    if any(thread.source.slides for thread in alarm.threads):
        say("Pictures are played as a film, one a second; for single stills there is `bear-alarm classify`.")
    say("%s", model_line(classifier))
    rule, fps = alarm.threads[0].watcher.rule, alarm.threads[0].camera.settings.fps
    if any(thread.source.single_images for thread in alarm.threads):
        say("One picture with a score of %.2f or more raises the alarm. %s", rule.threshold, AN_AID)
        say("Pictures of one folder are compared: what differs from earlier visits is looked at closer.")
    else:
        frames = rule.frames_needed(1.0 / fps) or rule.frames_at_best
        at_best_s = max(rule.seconds_at_best, (frames - 1) / fps)
        about = "half a second" if at_best_s < 0.75 else f"{at_best_s:.1f} seconds"
        say("A clearly visible bear raises the alarm in about %s; one high score alone does not. %s", about, AN_AID)
        if verbose:
            say("At best: %d scored frames or %.1f s, the later of the two.", rule.frames_at_best, rule.seconds_at_best)
    if alarm.state and alarm.clock.synced() is False:
        say("The clock is not synchronised, so times may be wrong%s.", f" ({alarm.clock.how})" if verbose else "")


def model_line(classifier: Classifier) -> str:
    """Return the model's name and, shortly, what may be done with it; ``bear-alarm model show`` has all of it."""
    card = classifier.card
    if card.notice and "evaluation only" in card.notice.lower():
        return (
            f"Model {classifier.name}: for evaluation only; train on your own pictures before relying on it "
            "(bear-alarm model show)."
        )
    licence = textwrap.shorten(card.licence.rstrip("."), 60, placeholder=" …")
    return f"Model {classifier.name}, licence: {licence}. {card.notice or ''}".rstrip()


def sum_up(alarm: Alarm, taken_s: float, say: Say, pictures: Sequence[str] = (), *, verbose: bool = False) -> None:
    """Say the sum: footage, alarms and where things lie; ``verbose``: speed and memory too.

    ``pictures`` are those of the alarms; where there is one, it is named.
    """
    sources = [thread.source for thread in alarm.threads]
    watchers = [thread.watcher for thread in alarm.threads]
    writer, events = alarm.writer, alarm.settings.alerts.events
    tallies = [watcher.stats for watcher in watchers]
    for opened, tally in zip(sources, tallies, strict=True):
        if not tally.frames:
            say("%s: no frame came, so nothing can be said of bears there.", opened.name)
        elif tally.frames == 1 and not opened.live:
            say(
                "%s: one picture alone raises no alarm, whatever it shows; look at single ones with "
                "`bear-alarm classify`.", opened.name,
            )  # fmt: skip
    frames = sum(tally.frames for tally in tallies)
    if not frames:
        return
    told = sum((watcher.publisher.counts for watcher in watchers), Counter[str]())
    footage_s = sum(tally.footage_s for tally in tallies)
    shown = f" in {lasting(footage_s)} of footage" if footage_s > 0 else ""
    if all(watcher.single_images for watcher in watchers):
        # Pictures come when they come: the time between them is no footage.
        say("%s in %s, watched for %s.", _alarms(told), counted(frames, "picture"), lasting(taken_s))
    else:
        say("%s%s: %s.", _alarms(told), shown, counted(frames, "frame"))
    if len(sources) > 1:
        for opened, watcher in zip(sources, watchers, strict=True):
            if watcher.stats.frames:
                say("  %s", _of_one(opened, watcher))
    if told["trouble"]:
        say("%s.", counted(told["trouble"], "camera problem"))
    for opened in sources:
        if lost := _lost(opened):
            say("%s: %s", opened.name, lost)
    if verbose:
        _say_the_cost(tallies, taken_s, say)
    if len(pictures) == 1:
        say("Picture of the alarm: %s", _from_here(Path(pictures[0])))
    elif told["new"] and writer:
        say("Pictures: %s", _from_here(writer.folder))
    if told and events and events != "-":
        say("Events: %s", events)


def _say_the_cost(tallies: Sequence[LoopStats], taken_s: float, say: Say) -> None:
    """Print the figures for developers."""
    import numpy as np

    from edge.device.sensors import peak_memory_mb

    frames, crops = (sum(numbers) for numbers in zip(*((each.frames, each.crops) for each in tallies), strict=True))
    peak_mb = peak_memory_mb()
    times = np.array([ms for tally in tallies for ms in tally.frame_ms] or [0.0])
    say(
        "It took %s: %.0f frames a second, %s looked at. Without reading it, a frame took %.1f ms (median), %.1f ms "
        "(95 %%); peak memory %s.",
        lasting(taken_s), frames / max(taken_s, 1e-9), counted(crops, "place"), *np.percentile(times, [50, 95]),
        "unknown" if peak_mb is None else f"{peak_mb:.0f} MB",
    )  # fmt: skip


def next_steps() -> tuple[str, str]:
    """Return the commands to type after the demo, with the path of this program if it is not on PATH."""
    called = Path(sys.argv[0])
    program = "bear-alarm"
    if called.stem == program and shutil.which(program) is None:  # in an environment that is not on the PATH
        program = shlex.quote(_from_here(called.absolute()))
    return f"Next, aim your camera:  {program} snapshot 0", f"Then let it watch:      {program} watch 0"


def _lost(opened: Source) -> str | None:
    """Return how long a camera gave no picture, in words; None for one that always did, and for files."""
    kept = opened.primary
    if kept.lost_s < MIN_LOST_S:
        return None
    return f"{lasting(kept.lost_s)} without a picture, reopened {counted(kept.reopened, 'time')}"


def _alarms(told: Counter[str]) -> str:
    return counted(told["new"], "alarm") if told["new"] else "No alarm"


def _of_one(opened: Source, watcher: Watcher) -> str:
    """Return what one of several sources gave."""
    tally = watcher.stats
    # From the first frame to the last: of one there is no rate.
    rate = f" ({(tally.frames - 1) / tally.footage_s:.1f} a second)" if tally.footage_s > 0 else ""
    return f"{opened.name}: {_alarms(watcher.publisher.counts).lower()}, {counted(tally.frames, 'frame')}{rate}."


# How far it is in files, as a bar on a terminal.


PATIENCE_S = 2.0  # what takes less needs no bar
STEP_S = 0.2
GOODBYE_S = 0.5


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
    drawing = threading.Thread(target=_draw, args=(alarm, total, over), name="progress", daemon=True)
    drawing.start()
    try:
        yield
    finally:
        over.set()
        drawing.join(GOODBYE_S)


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
