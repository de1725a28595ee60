"""The cameras: each is opened in a child process, for a driver may hang, and what it gives is looked at for 2 s."""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.alert.redact import scrub, secrets_of
from edge.cli.doctor.child import call
from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, unknown
from edge.errors import OptionError
from edge.settings import Camera

# Nodes of a Raspberry Pi that are no USB camera; edge.camera.live knows them too, and needs OpenCV.
NO_CAMERA = re.compile(r"unicam|rp1[-_]cfe|bcm2835|pispbe|rpi-?(vid|hevc)|hevc-dec|codec", re.IGNORECASE)
PI_PROGRAMS = ("rpicam-vid", "libcamera-vid")
WITHIN_S = 30.0  # to open takes 10 s at most, the first frame 8, and it is looked at for 2
LATE_S = 10.0  # a first frame later than this
MIN_FPS_SHARE = 0.6  # of the frames that were asked for
# Of 145 sharp pictures of bears and places none lay below; blurred by 1 % of their width the median was 0.10.
BLURRED_SHARPNESS = 0.11
STOP = "stop the alarm to try the camera here: sudo systemctl stop bear-alarm"
LOOK_S = 2.0  # from the first frame on
MIN_EDGED_SHARE = 0.1  # of blocks, to judge sharpness by


@dataclass(frozen=True, slots=True)
class Device:
    """One /dev/videoN."""

    path: Path
    group: str
    allowed: bool  # whether this user may open it
    present: bool
    camera: bool  # whether it may be a camera; a board's video decoder is none

    @classmethod
    def of(cls, source: str, root: Path = Path("/")) -> Device | None:
        """Find the device a source names: 0, /dev/video0, a link to it; None for a stream, a file or another system."""
        word = f"/dev/video{source}" if source.isdecimal() else source
        if not word.startswith("/dev/") or os.name != "posix":
            return None
        path = root / word.removeprefix("/")
        return cls.at(path.resolve() if path.exists() else path, root)

    @classmethod
    def at(cls, path: Path, root: Path) -> Device:
        """Describe the device at a path."""
        try:
            group = path.group()
        except (OSError, KeyError, NotImplementedError):  # not there, a number without a name, Windows
            group = "video"
        present = path.exists()
        try:
            words = (root / "sys/class/video4linux" / path.name / "name").read_text(errors="replace")
        except OSError:
            words = ""
        allowed = not present or os.access(path, os.R_OK | os.W_OK)
        return cls(path, group, allowed, present, not NO_CAMERA.search(words))


def devices(root: Path = Path("/")) -> list[Device]:
    """List all video devices of Linux, by number."""
    found = [path for path in (root / "dev").glob("video*") if re.fullmatch(r"video\d+", path.name)]
    return [Device.at(path, root) for path in sorted(found, key=lambda path: int(path.name[5:]))]


def pi_program() -> str | None:
    """Find the program that gives the pictures of a Raspberry Pi's own camera, where it is installed."""
    return next((name for name in PI_PROGRAMS if shutil.which(name)), None)


def check_cameras(target: Target) -> Iterator[CheckResult]:
    """Try each camera that is configured or named; where there is none, list what could be one."""
    if not target.cameras and target.mistakes:
        yield unknown("cameras", "not known, for the config has mistakes", "correct it, and ask again")
        return
    if not target.cameras:
        yield from _offered(target)
        return
    for camera in target.cameras:
        if not target.try_cameras:
            yield unknown(f"camera {camera.name}", "not tried (--no-camera)")
        elif camera.follow:
            yield _followed(camera)
        else:
            yield from _tried(target, camera, camera.source, f"camera {camera.name}")
            if camera.motion_source:
                yield from _tried(target, camera, camera.motion_source, f"camera {camera.name}, smaller stream")


def _tried(target: Target, camera: Camera, source: str, name: str) -> Iterator[CheckResult]:
    device = Device.of(source, target.root)
    if device and not device.allowed:
        todo = f"sudo usermod -aG {device.group} $USER, then log out and in again"
        yield broken(name, f"{device.path} may not be read by this user: it is the group {device.group}'s", todo)
        return
    asks = {"source": source, "name": camera.name, "fps": camera.settings.fps}
    ended = call("edge.cli.doctor.cameras:try_camera", asks, WITHIN_S)
    found = ended.answer
    if isinstance(found, dict) and "://" in source:  # what its address ends with may be a key of any name
        hidden = secrets_of(source)
        found["problem"] = found["problem"] and scrub(found["problem"], hidden)
        found["problems"] = [scrub(each, hidden) for each in found.get("problems", ())]
    if not isinstance(found, dict):
        todo = "unplug it and plug it in again; then try another cable, socket or driver"
        yield broken(name, f"trying it {ended.why}", todo)
    elif found["problem"] or not found["frames"]:
        yield _failed(target, device, name, found)
    else:
        yield from _seen(camera, name, found)


def _failed(target: Target, device: Device | None, name: str, found: dict[str, Any]) -> CheckResult:
    """Report why a camera gives nothing; one that is in use is not broken."""
    words = found["problem"] or "gave no frame"
    busy = "is busy" in words or "another program is using it" in words
    if busy and (device is None or device.present) and target.alarm_runs:
        return unknown(name, "in use by the running alarm", STOP)
    what, _, todo = words.partition("; ")
    return broken(name, what, todo or "check its plug, its power and the address")


def _seen(camera: Camera, name: str, found: dict[str, Any]) -> Iterator[CheckResult]:
    """Judge a camera that gives frames."""
    width, height = found["size_wh"]
    words = f"gives {width}x{height}"
    fps, wanted = found["fps"], camera.settings.fps
    if fps is not None:
        words += f" at {fps:.1f} frames a second, {wanted:g} asked for; the first after {found['first_s']:.1f} s"
    if fps is not None and fps < MIN_FPS_SHARE * wanted:
        yield doubt(name, words, "give it more light, a better cable or network, or set fps lower")
    elif found["live"] and found["first_s"] > LATE_S:
        yield doubt(name, words, "let the camera send key frames more often (once a second)")
    else:
        yield fine(name, words)
    for problem in found["problems"]:
        yield doubt(name, problem, "see whether that is what you want")
    if found["live"] and found["same_s"]:
        words = f"gave the same picture for {found['same_s']:.1f} s, to the last bit"
        yield doubt(name, words, "wave at it and try again; if it stays so, switch it off and on")
    for trouble in found["troubles"]:
        what, _, todo = trouble.partition(": ")
        yield doubt(name, what, todo)
    sharpness = found["sharpness"]
    if not found["troubles"] and sharpness is not None and sharpness < BLURRED_SHARPNESS:
        words = f"the picture looks out of focus (sharpness {sharpness:.2f}, most have 0.2 and more)"
        yield doubt(name, words, "turn its focus, wipe its lens, and look: bear-alarm snapshot")


def _followed(camera: Camera) -> CheckResult:
    name, folder = f"camera {camera.name}", Path(camera.source).expanduser()
    try:
        count = sum(1 for _ in folder.iterdir())
    except OSError as error:
        return broken(name, f"{folder} cannot be looked into ({error.strerror})", "make the folder, or let it be read")
    return fine(name, f"{folder} is followed for new pictures; {count} entries in it now")


def _offered(target: Target) -> Iterator[CheckResult]:
    """List what could be watched, where nothing is configured."""
    found = devices(target.root)
    for each in found:
        if not each.allowed:
            todo = f"sudo usermod -aG {each.group} $USER, then log out and in again"
            yield broken("cameras", f"{each.path} may not be read by this user: it is the group {each.group}'s", todo)
    usable = [str(each.path) for each in found if each.allowed and each.camera]
    if usable:
        todo = f"try one: bear-alarm doctor {usable[0]}"
        yield unknown("cameras", f"none is configured; there is {', '.join(usable)}", todo)
    if pi_program():
        todo = "try it: bear-alarm doctor picamera://0"
        yield unknown("ribbon camera", f"{pi_program()} is installed, for a Raspberry Pi's own camera", todo)
    if not found and not pi_program():
        yield unknown("cameras", "none is configured and none is plugged in", "name one: bear-alarm doctor rtsp://…")


def try_camera(asks: dict[str, Any]) -> dict[str, Any]:
    """Open the camera ``asks["source"]``, at ``asks["fps"]`` frames a second, and look for 2 s. Runs in the child."""
    from edge.camera import open_source
    from edge.errors import SourceError

    began = time.monotonic()
    found: dict[str, Any] = {"problem": None, "frames": 0}
    try:
        with open_source(asks["source"], fps=asks["fps"], name=asks["name"]) as source:
            found |= {"live": source.live, "open_s": time.monotonic() - began}
            _watch(source, found, began)
            found["problems"] = list(source.problems)
    except SourceError as error:
        found["problem"] = str(error)
    return found


def _watch(source: Any, found: dict[str, Any], began: float) -> None:
    """Count frames, and judge the last."""
    from edge.camera.reconnect import Stillness
    from edge.detect.motion import small_grey

    stillness = Stillness()
    first_at: float | None = None
    frame, frozen_s = None, 0.0
    for frame in source:
        now = time.monotonic()
        if first_at is None:
            first_at = now
            found["first_s"] = now - began
        found["frames"] += 1
        frozen_s = stillness(frame, frame.time)
        if now - first_at >= LOOK_S or (not source.live and frame.time >= LOOK_S):
            break
    if frame is None or first_at is None:
        return
    grey = small_grey(frame.image if frame.luma is None else frame.luma)
    width, height = frame.size_wh
    looked_s = time.monotonic() - first_at
    found |= {
        "size_wh": [width, height],
        "fps": (found["frames"] - 1) / looked_s if source.live and looked_s > 0 else None,
        "same_s": frozen_s if stillness.frames >= found["frames"] > 2 else 0.0,
        "troubles": _lens_troubles(grey),
        "sharpness": _sharpness(grey),
    }


def _lens_troubles(grey: Any) -> list[str]:
    """Find black, white or covered at one glance: what the alarm would report after some seconds."""
    from edge.detect.camera_check import CameraCheck, CameraCheckSettings

    at_once = CameraCheckSettings(lasts_s=dict.fromkeys(CameraCheckSettings().lasts_s, 0.0))
    return [trouble.detail for trouble in CameraCheck(at_once)(grey, 0.0)]


def _sharpness(grey: Any) -> float | None:
    """Measure the sharpness of the blocks that have edges; None if hardly any has."""
    import numpy as np

    from edge.detect.camera_check import BRIGHT, DARK, View

    view = View.at(grey)
    edged = (view.mean > DARK) & (view.mean < BRIGHT) & (view.structure >= 2.0)
    if np.mean(edged) < MIN_EDGED_SHARE:
        return None
    value = float(np.median(view.sharpness[edged]))
    return value if math.isfinite(value) else None


# Drift: from the journal, so no camera is opened.


def check_drift(target: Target) -> Iterator[CheckResult]:
    """Check whether the daily figures of a camera have left what was usual at its place."""
    from edge.drift_watch import drifts_in_words, monitors_of
    from edge.record.database import DiskError

    now = datetime.now(UTC)
    names = [each.name for each in target.settings.cameras]
    for camera in names:
        try:
            found = drifts_in_words(monitors_of(target.state, camera, names, now), now.astimezone().date())
        except (DiskError, OSError, OptionError):
            return  # the check of the disk has reported it
        for words in found:
            todo = "look at the camera; then, on the page: Health, Has anything changed at a camera?"
            yield doubt(f"drift {camera}", words, todo)
