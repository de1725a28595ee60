"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or somebody says stop."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.commands.alert_options import (
    BellOpt,
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
)
from edge.commands.stopping import stop_on_signal
from edge.commands.watch_checks import check_together
from edge.commands.watch_run import DRAIN_STOPPED_S, dump_on_request, run
from edge.commands.watch_setup import evidence_writer, make_watchers, named, names, open_kept
from edge.commands.watch_words import introduce, sum_up
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.camera import Source
    from edge.commands.alert_setup import Alerting
    from edge.evidence.writer import EvidenceWriter
    from edge.trace import Trace

log = logging.getLogger(__name__)

LEAST_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide) for the two to alarm
DRAIN_S = 35.0  # an alarm's command may take 30

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
    model: Annotated[str | None, typer.Option(help="Model file; left out, the chosen or the bundled one.")] = None,
    events: EventsOpt = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder for the pictures of alarms; left out, ./evidence.")
    ] = None,
    no_evidence: Annotated[bool, typer.Option("--no-evidence", help="Keep no pictures and clips.")] = False,
    evidence_quota_mb: Annotated[
        float | None,
        typer.Option(min=1.0, help="Room for evidence, in MB; the oldest goes first, what is locked stays.  [2000]"),
    ] = None,
    evidence_full: Annotated[
        bool, typer.Option("--evidence-full", help="Keep the whole frame of each alarm too, nothing drawn on it.")
    ] = False,
    evidence_negatives: Annotated[
        float | None,
        typer.Option(min=0.0, max=100.0, help="Frames without an alarm to keep a day, at random; 0: none.  [4]"),
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
    on_alarm: OnAlarmOpt = None,
    on_trouble: OnTroubleOpt = None,
    sound: SoundOpt = None,
    sound_seconds: SoundSecondsOpt = 20.0,
    sound_device: SoundDeviceOpt = None,
    relay: RelayOpt = None,
    deterrent: DeterrentOpt = None,
    deterrent_lamp: DeterrentLampOpt = None,
    deterrent_hours: DeterrentHoursOpt = None,
    bell: BellOpt = True,
    mqtt: MqttOpt = None,
    notify: NotifyOpt = None,
    webhook: WebhookOpt = None,
    webhook_secret: WebhookSecretOpt = None,
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
    alerts = alert_settings(
        bell=bell and not quiet,
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
    )
    check_together(fps=fps, idle_fps=idle_fps, evidence=evidence, no_evidence=no_evidence)
    if (zone or mask) and len(source) > 1:
        raise OptionError(f"a zone or mask belongs to one camera, and {len(source)} are named; watch each on its own")
    if motion_from and len(source) > 1:
        raise OptionError(f"--motion-from belongs to one camera, and {len(source)} are named; watch each on its own")
    from edge.commands.alert_setup import Alerting
    from edge.decide import Rule
    from edge.decide.schedule import parse_schedule
    from edge.journal.clock import Clock
    from edge.models import load
    from edge.run import Run
    from edge.settings import CameraSettings
    from edge.state import made_state_folder
    from edge.trace import Trace
    from edge.zones import parse_masks, parse_zones

    settings = CameraSettings(
        masks=parse_masks(mask or []),
        zones=parse_zones(zone or []),
        schedule=parse_schedule(schedule) if schedule else None,
        fps=fps,
        idle_fps=idle_fps,
    )
    say = log.info if not quiet else log.debug
    sources: list[Source] = []
    alerting: Alerting | None = None
    writer: EvidenceWriter | None = None
    recorder: Trace | None = None
    with stop_on_signal() as stop:
        try:
            folder = made_state_folder(state) if follow else None
            for (_, word), name in zip(map(named, source), names(source), strict=True):
                sources.append(open_kept(word, name, fps, follow=follow, motion_from=motion_from, state=folder))
            classifier = load(model)
            rule = Rule.from_card(
                classifier.card, threshold=threshold, night_threshold=night_threshold, alarm_at=alarm_at
            )
            if rule.frames_needed(1.0 / fps) is None:
                raise OptionError(
                    f"--alarm-at {rule.alarm_at:g} at --fps {fps:g}: evidence is forgotten between frames, so a sure "
                    "bear would never alarm; raise --fps or lower --alarm-at"
                )
            recorder = Trace(trace) if trace else None
            # A clip that is tried out is nothing that happened here, unless somebody wants it told.
            kept = state is not None or alerts.remote or any(opened.live for opened in sources)
            clock = Clock()
            own = Run(clock_synced=clock.synced)
            alerting = Alerting(
                alerts,
                own,
                state=made_state_folder(state) if kept else None,
                clock=clock,
                cameras=[opened.name for opened in sources],
                model=classifier.name,
                say=None if quiet else say,
            )
            stop.silenced_by(alerting.silence)
            if not no_evidence:
                writer = alerting.evidence = evidence_writer(
                    evidence,
                    quota_mb=evidence_quota_mb,
                    negatives_per_day=evidence_negatives,
                    full=evidence_full,
                    written=alerting.attach,
                )
            introduce(classifier, rule, [word for _, word in map(named, source)], sources, say)
            if kept and clock.synced() is False:
                say("Nothing keeps this device's clock right at the moment, so times may be wrong (%s).", clock.how)
            watchers = make_watchers(sources, classifier, rule, settings, alerting, writer, recorder)
            started = time.perf_counter()
            with dump_on_request(recorder):
                failed = run(sources, watchers, stop, alerting.tick, show=not quiet)
            taken_s = time.perf_counter() - started
        finally:
            for opened in sources:
                opened.close()
            until = time.monotonic() + (DRAIN_STOPPED_S if stop.is_set() else DRAIN_S)
            for worker in (each for each in (writer, recorder) if each):  # the journal is told of the last pictures
                worker.close(until - time.monotonic())
            if alerting:
                alerting.close(until - time.monotonic())
    for opened in sources:
        for problem in opened.problems:
            log.warning("%s", problem)
    sum_up(sources, watchers, taken_s, writer, events, say)
    for line in alerting.losses():
        say("%s", line)
    if failed and not stop.is_set():
        raise failed[0]
