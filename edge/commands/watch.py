"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or somebody says stop."""

from __future__ import annotations

import logging
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
from edge.commands.config_options import ConfigOpt, config_for, settings_of
from edge.commands.watch_options import evidence_with, with_options
from edge.commands.watch_run import run_alarm
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.settings import Settings

log = logging.getLogger(__name__)

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
