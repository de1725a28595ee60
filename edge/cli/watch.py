"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or somebody says stop."""

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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.alert.events import UNKNOWN
from edge.cli.options import (
    BellOpt,
    ConfigOpt,
    DeterrentHoursOpt,
    DeterrentLampOpt,
    DeterrentOpt,
    EventsOpt,
    MqttOpt,
    NotifyOpt,
    OnAlarmOpt,
    OnTroubleOpt,
    RelayOpt,
    SoundDeviceOpt,
    SoundOpt,
    SoundSecondsOpt,
    StateOpt,
    WebhookOpt,
    WebhookSecretOpt,
    alert_settings,
    config_for,
    configured,
    named,
    names,
    settings_of,
)
from edge.cli.progress import counted
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Order, Watchdog
from edge.errors import BearAlarmError, OptionError
from edge.files import need_folder

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.camera import Source
    from edge.detect.classifier import Classifier
    from edge.detect.frame_rate import LoopStats
    from edge.record.trace import Trace
    from edge.schema import Event
    from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings
    from edge.watch import Watcher


# SIGHUP: the config is read again beside the running alarm, and taken over only where all of it can be meant.


log = logging.getLogger(__name__)

HANGS_S = 60.0  # a file that takes so long to be read lies on a disk that hangs


class Reload:
    """Reads and checks in a thread of its own what ``settings`` gives; ``tick`` takes it over, in the main thread.

    What cannot be used is said, is the ``problem`` until something better is read, and changes nothing.
    """

    def __init__(self, alarm: Alarm, settings: Callable[[], Settings], config: Path, notifier: Notifier) -> None:
        self.alarm = alarm
        self.config = config
        self.notifier = notifier
        self._settings = settings
        self._problem: str | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0  # time.monotonic()
        self._read: tuple[Settings, Classifier | None] | BaseException | None = None

    def problem(self) -> str | None:
        """Why the config on the disk is not the one that holds, in one sentence."""
        if self._thread and time.monotonic() - self._began > HANGS_S:
            return f"{self.config} has been read for more than {HANGS_S:g} s; its disk or the model's does not answer"
        return self._problem

    def begin(self) -> bool:
        """Read it again; False while that is under way already."""
        if self._thread:
            return False
        self.notifier.reloading()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._prepare, name="reload", daemon=True)
        self._thread.start()
        return True

    def tick(self) -> None:
        """Take over what has been read, if anything has."""
        if self._thread is None or self._thread.is_alive():
            return
        self._thread = None
        read, self._read = self._read, None
        if isinstance(read, tuple):
            try:
                self.alarm.change(*read)
            except Exception as error:  # whatever it is, the alarm goes on
                self._refuse(error)
            else:
                self._problem = None
                log.info("%s was read again, and holds from now on.", self.config)
                self._say_later(read[0])
        elif read is not None:
            self._refuse(read)
        self.notifier.ready("read again" if self._problem is None else "going on with the config of before")

    def _say_later(self, wanted: Settings) -> None:
        """What is taken over only by another start."""
        holds = self.alarm.settings
        pairs = (("state", wanted.state, holds.state), ("trace", wanted.trace, holds.trace))
        if later := [name for name, new, old in pairs if new != old]:
            log.warning("%s: %s: this holds from the next start on; start it again", self.config, ", ".join(later))

    def _prepare(self) -> None:
        """What takes long: the file, and the model where it is another."""
        try:
            settings = self._settings()
            self._read = settings, self._other_model(settings)
        except Exception as error:
            self._read = error

    def _other_model(self, settings: Settings) -> Classifier | None:
        from edge.detect.classifier import file_digest, find, load

        path = find(settings.model)
        if file_digest(path) == self.alarm.classifier.digest:
            return None
        classifier = load(settings.model)
        return None if classifier.digest == self.alarm.classifier.digest else classifier

    def _refuse(self, error: BaseException) -> None:
        words = str(error) if isinstance(error, BearAlarmError) else f"internal error ({type(error).__name__}: {error})"
        log.error("%s\nGoing on with the config of before.", words)
        log.debug("%s", self.config, exc_info=error)
        first, *more = words.splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        self._problem = f"the changed config is not used: {first}{rest}; mend it and reload"


# What signals do: the first one ends the alarm in good order, and whatever happens then, noises and relays go off.


SAME_S = 1.0  # a second signal so soon is the same one: `timeout` sends two, and an impatient finger as well
SILENT_S = 0.5  # what silencing may take before the hard way
LAST_S = 30.0  # after the first signal: a terminal that takes no words must not keep a relay, or us

HANGUP = getattr(signal, "SIGHUP", None)
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


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
    """Set by SIGINT, SIGTERM and SIGHUP; another of them, a second or more later, ends the program the hard way.

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
    """Which of what is read and written is a terminal; one that was closed is none any more."""
    return [number for number in range(3) if os.isatty(number)]


# What the options of ``bear-alarm watch`` say, laid over what the config says; contradictions are said.


NOTHING = (
    "nothing to watch; try `bear-alarm watch demo`, or `bear-alarm watch 0` for the first camera; "
    "`bear-alarm config init` writes a config that names cameras"
)


def with_options(
    base: Settings,
    alerts: AlertSettings,
    *,
    source: Sequence[str],
    follow: bool,
    motion_from: str | None,
    zone: Sequence[str] | None,
    mask: Sequence[str] | None,
    schedule: str | None,
    numbers: dict[str, float | None],
    evidence: EvidenceSettings,
    model: str | None,
    state: Path | None,
    trace: Path | None,
) -> Settings:
    """The settings to watch with. ``numbers`` are fields of CameraSettings; None: as the config has it.

    Raises OptionError for what cannot be meant together.
    """
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
    change = {name: value for name, value in numbers.items() if value is not None}
    given: dict[str, Any] = dict(change) | _where(zone, mask, schedule)
    watched = tuple(replace(camera, settings=replace(camera.settings, **given)) for camera in cameras)
    idle_fps = numbers["idle_fps"]  # the config's own gives way to a --fps that is less
    for camera in watched:
        fps = camera.settings.fps
        if idle_fps is not None and idle_fps > fps:
            raise OptionError(
                f"--idle-fps {idle_fps:g} is more than --fps {fps:g}, though it is for when nothing moves; give it "
                "less, or raise --fps"
            )
    return replace(
        base,
        cameras=watched,
        alerts=alerts,
        evidence=evidence,
        model=model or base.model,
        state=state or base.state,
        trace=trace or base.trace,
    )


def evidence_with(
    base: EvidenceSettings,
    *,
    folder: Path | None,
    none: bool,
    quota_mb: float | None,
    full: bool,
    negatives_per_day: float | None,
) -> EvidenceSettings:
    """What is kept of an alarm. Raises OptionError."""
    if none and folder is not None:
        raise OptionError(
            f"--no-evidence keeps no pictures, and --evidence {folder} wants them there; give one of them"
        )
    return replace(
        base,
        keep=not none and (base.keep or folder is not None),
        folder=folder or base.folder,
        quota_mb=base.quota_mb if quota_mb is None else quota_mb,
        full=full or base.full,
        negatives_per_day=base.negatives_per_day if negatives_per_day is None else negatives_per_day,
    )


def _cameras(base: Settings, source: Sequence[str], *, follow: bool, motion_from: str | None) -> list[Camera]:
    """The cameras that are named, else those of the config."""
    from edge.settings import Camera

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


def _where(zone: Sequence[str] | None, mask: Sequence[str] | None, schedule: str | None) -> dict[str, Any]:
    from edge.decide.schedule import parse_schedule
    from edge.detect.zones import parse_masks, parse_zones

    given: dict[str, Any] = {}
    if zone:
        given["zones"] = parse_zones(zone)
    if mask:
        given["masks"] = parse_masks(mask)
    if schedule:
        given["schedule"] = parse_schedule(schedule)
    return given


# How ``bear-alarm watch`` runs: from the start of the alarm to the last word, and what signals and a service do.


TICK_S = 0.1
JUDGE_S = 1.0  # how often it is judged whether all goes on
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end

EXITS: dict[Order, int] = {"restart": RESTART, "reboot": REBOOT}


def run_alarm(
    settings: Callable[[], Settings], config: Path | None, *, quiet: bool = False, verbose: bool = False
) -> None:
    """Watch with what ``settings`` gives, which is asked again on SIGHUP where there is a ``config``.

    ``quiet``: of what is usual only alarms are said. ``verbose``: what it costs is said too.
    """
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    say = log.debug if quiet else log.info
    if config:
        say("Settings from %s.", config)
    alarm: Alarm | None = None
    order: Order | None = None
    with stop_on_signal(reloads=config is not None) as stop:  # first: a signal may come at any moment
        wanted = settings()
        from edge.alarm import Alarm, complaints

        pictures: list[str] = []  # of the alarms, the first few

        def show(event: Event) -> None:
            wrong = event.alarms or (event.kind != "bear" and event.type == "new")
            log.log(logging.WARNING if wrong else logging.INFO, "%s", alert(event))
            if event.alarms and event.evidence and len(pictures) < 2:
                pictures.append(event.evidence)

        try:
            alarm = Alarm(wanted, terminal=show)
            stop.silenced_by(alarm.silence)
            introduce(alarm, say, verbose=verbose)
            demo = _tell_the_demo(alarm, say)
            started = time.perf_counter()
            with dump_on_request(alarm.trace):
                order = _watch(alarm, settings, config, stop, notifier, show=not quiet)
            taken_s = time.perf_counter() - started
        finally:
            notifier.stopping()
            if order:
                _end_at_last(order)
            if alarm:
                alarm.close(DRAIN_STOPPED_S if stop.is_set() or order else DRAIN_S)
    for post in alarm.posts:
        for problem in post.source.problems:
            log.warning("%s", problem)
    sum_up(alarm, taken_s, say, pictures, verbose=verbose)
    for line in alarm.losses():
        say("%s", line)
    for line in next_steps() if demo else ():
        say("%s", line)
    if order:
        logging.shutdown()
        # At once: a driver that hangs may abort the interpreter's own end, and with it lose this code.
        os._exit(EXITS[order])
    if alarm.failed and not stop.is_set():
        for words in complaints(alarm.posts)[1:]:
            log.error("%s", words)
        raise alarm.failed[0]


def _tell_the_demo(alarm: Alarm, say: Callable[..., None]) -> bool:
    """Have the story of the bundled clip told while it plays; whether it is watched at all."""
    from edge.demo.story import Story

    posts = [post for post in alarm.posts if post.camera.source == "demo"]
    for post in posts:
        post.watcher.trace = Story(lambda line: say("%s", line), post.watcher.trace)
    return bool(posts)


def _watch(
    alarm: Alarm,
    settings: Callable[[], Settings],
    config: Path | None,
    stop: Stop,
    notifier: Notifier,
    *,
    show: bool,
) -> Order | None:
    """Until the sources end, somebody says stop, or it is better to start again: that order is returned."""

    health = alarm.settings.health
    watchdog = Watchdog(notifier)
    escalation = Escalation(
        alarm.state or Path(), health.restart_after_s, health.reboot, present=notifier.present and bool(alarm.state)
    )
    alarm.ask("watchdog", watchdog.problem)
    reload = _reload(alarm, settings, config, notifier)
    alarm.start()
    notifier.ready(f"watching {', '.join(post.camera.name for post in alarm.posts)}")
    judged, said = 0.0, ""
    order: Order | None = None
    with progress(alarm, show):
        while alarm.alive and not (order or stop.wait(TICK_S)):
            now = time.monotonic()
            try:
                alarm.tick(now)
                if now - judged >= JUDGE_S:
                    judged = now
                    status = alarm.status(now)
                    watchdog(status, now)
                    escalation.restart_after_s = alarm.settings.health.restart_after_s
                    escalation.reboot = alarm.settings.health.reboot
                    order = escalation(status, now)
                if reload:
                    if stop.hung_up:
                        stop.hung_up = False  # before it is read: what comes meanwhile is another
                        if not reload.begin():
                            stop.hung_up = True
                    reload.tick()
            except Exception as error:
                # The cameras are watched on; where this lasts, the watchdog is not fed, and a service starts it again.
                words = f"internal error ({type(error).__name__}: {error})"
                log.log(logging.DEBUG if words == said else logging.ERROR, "%s; the cameras are still watched", words)
                log.debug("in the main loop", exc_info=error)
                said = words
    alarm.let_go()
    return order


def _end_at_last(order: Order, within_s: float = LAST_S) -> None:
    """End the process in so many seconds, whatever still waits for a driver or a disk."""
    timer = threading.Timer(within_s, os._exit, (EXITS[order],))
    timer.daemon = True
    timer.start()


def _reload(alarm: Alarm, settings: Callable[[], Settings], config: Path | None, notifier: Notifier) -> Reload | None:
    if config is None:
        return None

    reload = Reload(alarm, settings, config, notifier)
    alarm.ask("config", reload.problem)
    return reload


@contextmanager
def dump_on_request(recorder: Trace | None) -> Iterator[None]:
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


LEAST_FPS = (
    0.25  # slower, the first of two sure frames is forgotten too far (edge.decide.evidence) for the two to alarm
)

WHERE, HOW = "Where and when", "How it looks and decides"  # panels of the help page


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
    model: Annotated[str | None, typer.Option(help="Model file (default: the chosen or the bundled one).")] = None,
    events: EventsOpt = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for the pictures of alarms (default: ./evidence).")
    ] = None,
    no_evidence: Annotated[bool, typer.Option("--no-evidence", help="Keep no pictures and clips.")] = False,
    evidence_quota_mb: Annotated[
        float | None,
        typer.Option(
            min=1.0, help="Room for evidence, in MB; the oldest goes first, what is locked stays. [default: 2000]"
        ),
    ] = None,
    evidence_full: Annotated[
        bool, typer.Option("--evidence-full", help="Keep the whole frame of each alarm too, nothing drawn on it.")
    ] = False,
    evidence_negatives: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=100.0, help="Frames without an alarm to keep a day, at random; 0: none. [default: 4]"
        ),
    ] = None,
    state: StateOpt = None,
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
        float | None,
        typer.Option(min=LEAST_FPS, max=60.0, help="Frames analysed a second. [default: 10]", rich_help_panel=HOW),
    ] = None,
    idle_fps: Annotated[
        float | None,
        typer.Option(
            min=LEAST_FPS,
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
    on_alarm: OnAlarmOpt = None,
    on_trouble: OnTroubleOpt = None,
    sound: SoundOpt = None,
    sound_seconds: SoundSecondsOpt = None,
    sound_device: SoundDeviceOpt = None,
    relay: RelayOpt = None,
    deterrent: DeterrentOpt = None,
    deterrent_lamp: DeterrentLampOpt = None,
    deterrent_hours: DeterrentHoursOpt = None,
    bell: BellOpt = None,
    mqtt: MqttOpt = None,
    notify: NotifyOpt = None,
    webhook: WebhookOpt = None,
    webhook_secret: WebhookSecretOpt = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print alarms and errors only, and do not ring the bell.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what it costs too: time per frame, places, memory.")
    ] = False,
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
        """Asked again each time the config is read again."""
        base = settings_of(path)
        return with_options(
            base,
            alert_settings(
                base.alerts,
                bell=False if quiet else bell,
                on_alarm=on_alarm,
                on_trouble=on_trouble,
                sound=sound,
                sound_seconds=sound_seconds,
                sound_device=sound_device,
                relay=relay,
                deterrent=deterrent,
                deterrent_lamp=deterrent_lamp,
                deterrent_hours=deterrent_hours,
                mqtt=mqtt,
                notify=notify,
                webhook=webhook,
                webhook_secret=webhook_secret,
                events=events,
            ),
            source=sources,
            follow=follow,
            motion_from=motion_from,
            zone=zone,
            mask=mask,
            schedule=schedule,
            numbers={
                "fps": fps,
                "idle_fps": idle_fps,
                "threshold": threshold,
                "night_threshold": night_threshold,
                "alarm_at": alarm_at,
            },
            evidence=evidence_with(
                base.evidence,
                folder=evidence,
                none=no_evidence,
                quota_mb=evidence_quota_mb,
                full=evidence_full,
                negatives_per_day=evidence_negatives,
            ),
            model=model,
            state=state,
            trace=trace,
        )

    run_alarm(settings, path, quiet=quiet, verbose=verbose)


# How far ``watch`` is in files, as a bar on a terminal.


PATIENCE_S = 2.0  # what takes less needs no bar
STEP_S = 0.2
GOODBYE_S = 0.5


@contextmanager
def progress(alarm: Alarm, show: bool) -> Iterator[None]:
    """A bar over the seconds of footage, on a terminal, for files that take over two seconds.

    It is drawn in a thread of its own: a terminal that is paused holds up nobody.
    """
    lengths = [post.source.length_s for post in alarm.posts]
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
            bar.update(task, completed=sum(post.watcher.tally.footage_s for post in alarm.posts))


# What ``bear-alarm watch`` says to people: the start, each alert, the progress and the sum of it all.


OVER = "over after"  # how the detail of a trouble that is over begins; one that ends with the watching has another

AN_AID = "An aid, not a life-safety device."
LEAST_LOST_S = 1.0  # without a picture: less is not worth a line
Say = Callable[..., None]  # log.info, or what says nothing when it is to be quiet


def alert(event: Event) -> str:
    """One line for people: what, where, when by this place's clock, how sure, and where the picture lies."""
    from edge.local_time import clock

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
    """The path as it is typed here: short where it lies below the working folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _head(event: Event) -> str:
    """The first words of an alert: capitals for what wants somebody, red for what alarms."""
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
    """What is watched with which model, its licence and limits, and how fast the alarm can be at best."""
    from edge.camera import shown

    classifier = alarm.classifier
    places = []
    for post in alarm.posts:
        word, name = shown(post.camera.source), post.camera.name
        places.append(word if name in word else f"{name} ({word})")
    say("Watching %s for %s.", ", ".join(places), classifier.card.bear_means)
    if any(post.source.slides for post in alarm.posts):
        say("Pictures are played as a film, one a second; for single stills there is `bear-alarm classify`.")
    say("%s", model_line(classifier))
    rule, fps = alarm.posts[0].watcher.rule, alarm.posts[0].camera.settings.fps
    if any(post.source.single_images for post in alarm.posts):
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
    """The model's name and, shortly, what may be done with it; ``bear-alarm model show`` has all of it."""
    card = classifier.card
    if card.notice and "evaluation only" in card.notice.lower():
        return (
            f"Model {classifier.name}: for evaluation only; train on your own pictures before relying on it "
            "(bear-alarm model show)."
        )
    licence = textwrap.shorten(card.licence.rstrip("."), 60, placeholder=" …")
    return f"Model {classifier.name}, licence: {licence}. {card.notice or ''}".rstrip()


def sum_up(alarm: Alarm, taken_s: float, say: Say, pictures: Sequence[str] = (), *, verbose: bool = False) -> None:
    """The end: footage, alarms and where things lie; ``verbose``: speed and memory too.

    ``pictures`` are those of the alarms; where there is one, it is named.
    """
    from edge.local_time import lasting

    sources = [post.source for post in alarm.posts]
    watchers = [post.watcher for post in alarm.posts]
    writer, events = alarm.writer, alarm.settings.alerts.events
    tallies = [watcher.tally for watcher in watchers]
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
    told = sum((watcher.publisher.told for watcher in watchers), Counter[str]())
    footage_s = sum(tally.footage_s for tally in tallies)
    shown = f" in {lasting(footage_s)} of footage" if footage_s > 0 else ""
    if all(watcher.single_images for watcher in watchers):
        # Pictures come when they come: the time between them is no footage.
        say("%s in %s, watched for %s.", _alarms(told), counted(frames, "picture"), lasting(taken_s))
    else:
        say("%s%s: %s.", _alarms(told), shown, counted(frames, "frame"))
    if len(sources) > 1:
        for opened, watcher in zip(sources, watchers, strict=True):
            if watcher.tally.frames:
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
    from edge.local_time import lasting

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
    """How long a camera gave no picture, in words; None for one that always did, and for files."""
    from edge.local_time import lasting

    kept = opened.primary
    if kept.lost_s < LEAST_LOST_S:
        return None
    return f"{lasting(kept.lost_s)} without a picture, reopened {counted(kept.reopened, 'time')}"


def _alarms(told: Counter[str]) -> str:
    return counted(told["new"], "alarm") if told["new"] else "No alarm"


def _of_one(opened: Source, watcher: Watcher) -> str:
    """What one of several sources gave."""
    tally = watcher.tally
    # From the first frame to the last: of one there is no rate.
    rate = f" ({(tally.frames - 1) / tally.footage_s:.1f} a second)" if tally.footage_s > 0 else ""
    return f"{opened.name}: {_alarms(watcher.publisher.told).lower()}, {counted(tally.frames, 'frame')}{rate}."
