"""What the options of ``bear-alarm watch`` say, laid over what the config says; contradictions are said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.commands.config_options import configured
from edge.commands.watch_names import named, names
from edge.errors import OptionError
from edge.files import need_folder

if TYPE_CHECKING:
    from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings

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
