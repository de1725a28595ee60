"""``bear-alarm watch``: cameras, streams, clips and folders, until they end or a signal stops it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

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
from edge.cli.watch.run import run_alarm
from edge.decide.schedule import parse_schedule
from edge.detect.zones import parse_masks, parse_zones
from edge.errors import OptionError
from edge.files import need_folder
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings

log = logging.getLogger(__name__)

MIN_FPS = 0.25  # slower, the first of two sure frames is forgotten too far (edge.decide.evidence) for the two to alarm

WHERE, HOW = "Where and when", "How it looks and decides"  # panels of the help page
RECORD = "What is kept"

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
    """Return ``base`` with these options. Raises OptionError for options that contradict each other."""
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
        alerting = alerts(base.alerts, bell=False) if quiet else alerts(base.alerts)
        return options(replace(base, alerts=alerting, evidence=evidence(base.evidence)), sources)

    run_alarm(settings, path, quiet=quiet, verbose=verbose)
