"""Check cameras: sources that none can have, rates and masks that contradict each other, one device for two."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from edge.config.schema import DEMO, SETTINGS, CameraSection, Config, is_camera
from edge.config.sentences import ESCAPED
from edge.config.yaml_tree import Key, key_text
from edge.decide.evidence import Rule
from edge.detect.zones import covered, drawn
from edge.errors import SourceError

STREAMS = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "picamera")
WHOLE = (0.0, 0.0, 1.0, 1.0)
MASK_GRID = (128, 128)  # points on which it is judged what of a zone masks leave

Add = Callable[..., None]  # the setting, the sentence, and further settings: a mistake in one of them is enough


def check_cameras(config: Config, add: Add) -> None:
    """Give each contradiction of cameras to ``add``, and each source that no camera, file or folder can be."""
    watched = {name: camera for name, camera in config.cameras.items() if camera.enabled}
    for name, camera in config.cameras.items():
        _check_camera(("cameras", name), camera, config, add)
    if config.cameras and not watched:
        add(("cameras",), "every camera is off (enabled: no), so nothing would be watched; turn one on")
    _check_rates(("detect",), config.detect.fps, config.detect.idle_fps, add)
    _check_evidence(("detect", "alarm_at"), config.detect.alarm_at, config.detect.fps, add)
    _check_devices(watched, add)


def _check_camera(key: Key, camera: CameraSection, config: Config, add: Add) -> None:
    fps = config.detect.fps if camera.fps is None else camera.fps
    if camera.idle_fps is not None:
        _check_rates(key, fps, camera.idle_fps, add)
    elif camera.fps is not None and config.detect.idle_fps is not None and camera.fps < config.detect.idle_fps:
        add(
            (*key, "fps"),
            f"{fps:g} is less than detect.idle_fps {config.detect.idle_fps:g}, which is for when nothing moves; "
            "give this camera an idle_fps too",
            (*key, "idle_fps"),
        )
    if camera.alarm_at is not None:
        _check_evidence((*key, "alarm_at"), camera.alarm_at, fps, add)
    elif camera.fps is not None:
        _check_evidence((*key, "fps"), config.detect.alarm_at, fps, add)
    if camera.enabled:
        _check_sources(key, camera, add)
    masks = camera.motion.mask
    if masks and covered(masks, WHOLE) == 1.0:
        add((*key, "motion", "mask"), "the masks cover the whole picture together and leave nothing to look at")
    elif masks and camera.zones:
        open_ = ~drawn(masks, MASK_GRID)
        if not any((drawn([zone], MASK_GRID) & open_).any() for zone in camera.zones.values()):
            add((*key, "zones"), "the masks cover all of the zones, so nothing could ever alarm")


def _check_sources(key: Key, camera: CameraSection, add: Add) -> None:
    source, smaller = camera.source, camera.motion_source
    if wrong := _wrong_stream(source) if is_camera(source) else None:
        add((*key, "source"), wrong)
    elif camera.follow and (is_camera(source) or source == DEMO or _is_file(source)):
        add((*key, "follow"), "the source is no folder; follow is for a folder in which pictures arrive")
    elif not (camera.follow or is_camera(source) or source == DEMO or _is_there(source)):
        name = Path(source).name.partition(":")[0]
        space = f"; a space is missing behind {name}:" if name in SETTINGS else ""
        add(
            (*key, "source"),
            "no such file or folder; a camera is 0, /dev/video0, picamera://0 or a whole address such as rtsp://…"
            + space,
        )
    elif not (camera.follow or is_camera(source) or "**" in source or _matches(source)):
        add((*key, "source"), "no file matches this pattern; check it")
    if smaller is None:
        return
    if camera.follow:
        add((*key, "motion_source"), "it belongs to a camera's stream, and follow to a folder; keep one of them")
    elif not is_camera(source):
        add((*key, "motion_source"), "the source is no live stream; only a camera has a smaller stream beside it")
    elif not is_camera(smaller):
        add((*key, "motion_source"), "it is a file or folder; give the camera's smaller stream, such as rtsp://…")
    elif wrong := _wrong_stream(smaller):
        add((*key, "motion_source"), wrong)


def _wrong_stream(word: str) -> str | None:
    """Return why no camera can have this address, in words without it; None where one may."""
    if any(sign.isspace() or not sign.isprintable() for sign in word):
        return "a space or an unprintable sign is in it; a # begins a comment only behind a space"
    scheme, sign, _ = word.partition("://")
    if not sign:
        return None
    if scheme.lower() not in STREAMS:
        near = get_close_matches(scheme.lower(), STREAMS, n=1)
        better = f"did you mean {near[0]}://?" if near else f"there are {'://, '.join(STREAMS)}://"
        return f"no such kind of stream; {better}"
    if scheme.lower() == "picamera":
        return _wrong_pi(word)
    try:
        parts = urlsplit(word)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if whole:
        return None
    return f"no address: a port is a number, and {ESCAPED}"


def _wrong_pi(word: str) -> str | None:
    from edge.camera.picamera import parse_pi

    try:
        parse_pi(word)
    except SourceError as error:
        return str(error).removeprefix(f"{word}: ")
    return None


def _is_there(source: str) -> bool:
    """Return whether a file or folder is there; of a pattern its folder, because looking through it may take long."""
    whole = re.split(r"[*?[]", source)[0].rpartition("/")[0] or "/" if glob.has_magic(source) else source
    try:
        return Path(whole).exists() or Path(source).exists()
    except PermissionError:
        return True  # for all this user may know
    except OSError:  # a name that is too long
        return False


def _matches(source: str) -> bool:
    path = Path(source).expanduser()
    return not glob.has_magic(source) or path.exists() or next(glob.iglob(str(path)), None) is not None  # noqa: PTH207


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except OSError:
        return False


def _check_devices(watched: dict[str, CameraSection], add: Add) -> None:
    """Refuse a device, or a folder that is followed, that two cameras have; a stream may be had twice."""
    seen: dict[str, Key] = {}
    for name, camera in watched.items():
        if camera.follow:
            key: Key = ("cameras", name, "source")
            folder = str(Path(camera.source).resolve())
            if folder in seen:
                add(key, f"it is the folder of {key_text(seen[folder])}, which only one can follow", seen[folder])
            seen.setdefault(folder, key)
            continue
        for field, word in (("source", camera.source), ("motion_source", camera.motion_source)):
            key = ("cameras", name, field)
            device = f"/dev/video{word}" if word and word.isdecimal() else word
            if not device or not re.match(r"/dev/|picamera://", device):
                continue
            device = str(Path(device).resolve()) if device.startswith("/") else device.partition("?")[0]
            if device in seen:
                add(key, f"it is the device of {key_text(seen[device])}, which only one can have", seen[device])
            seen.setdefault(device, key)


def _check_rates(key: Key, fps: float, idle_fps: float | None, add: Add) -> None:
    if idle_fps is not None and idle_fps > fps:
        add(
            (*key, "idle_fps"),
            f"{idle_fps:g} is more than fps {fps:g}, though it is for when nothing moves; give it less, or raise fps",
            (*key, "fps"),
            ("detect", "fps"),
        )


def _check_evidence(key: Key, alarm_at: float | None, fps: float, add: Add) -> None:
    if alarm_at is not None and Rule(0.5, 0.5, alarm_at=alarm_at).frames_needed(1.0 / fps) is None:
        add(
            key,
            f"alarm_at {alarm_at:g} at fps {fps:g}: evidence is forgotten between frames, so a sure bear would never "
            "alarm; raise fps or lower alarm_at",
        )
