"""What may be set of cameras: where their pictures come from, and what counts in them."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from edge.config.kinds import (
    WORD_OR_NUMBER,
    Corners,
    Evidence,
    Masks,
    Rate,
    Section,
    Share,
    Short,
    When,
    Words,
    text_of,
)
from edge.config.paths import placed

SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
CAMERA_NAME = re.compile(r"\w[\w -]*")
ZONE_NAME = re.compile(r"[A-Za-z][\w-]*")
LONGEST_NAME = 64
DEMO = "demo"


def is_camera(source: str) -> bool:
    """Whether a source is a device or a stream; else it is a file, a folder or a pattern."""
    return source.isdecimal() or source.startswith("/dev/") or SCHEME.match(source) is not None


def _source(value: Any, folder: Path) -> str:
    word = text_of(value)
    if is_camera(word) or word == DEMO:
        return word
    path = placed(word, folder)
    if path.is_absolute() and not word.startswith(("/", "~")) and glob.has_magic(word):
        return str(Path(glob.escape(str(folder))) / word)
    return str(path)


def _camera_name(name: str) -> str:
    if name in SETTINGS:
        raise ValueError(f"this is a setting of a camera, not its name; write cameras: {{NAME: {{{name}: …}}}}")
    if not CAMERA_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        better = re.sub(r"[^\w-]+", "-", name).strip("-_")[:20]
        such = f", such as {better}" if better and "://" not in name and "@" not in name else ""
        raise ValueError(f"this is no name for a camera; letters and digits, spaces, - and _ between them{such}")
    return name


def _zone_name(name: str) -> str:
    if not ZONE_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ValueError("this is no name for a zone; a letter first, then letters, digits, - and _")
    return name


Source = Annotated[str, Words(_source, WORD_OR_NUMBER)]
CameraName = Annotated[str, AfterValidator(_camera_name)]
ZoneName = Annotated[str, AfterValidator(_zone_name)]


class Motion(Section):
    """Where motion counts."""

    mask: Annotated[
        Masks,
        Field(description="Where nothing counts: the corners of an area, as for a zone, or a list of such areas."),
    ] = ()


class Looking(Section):
    """How cameras look and decide; each camera may say otherwise."""

    fps: Annotated[Rate, Field(description="Frames analysed a second.")] = 10.0
    idle_fps: Annotated[
        Rate | None,
        Field(
            description="Frames per second while nothing moves, on a live camera (default: half of fps); at most fps."
        ),
    ] = None
    threshold: Annotated[
        Share | None, Field(description="Bear probability that counts (default: the model's own).")
    ] = None
    night_threshold: Annotated[
        Share | None, Field(description="And in the dark and in infrared (default: the same).")
    ] = None
    alarm_at: Annotated[
        Evidence | None,
        Field(description="Evidence that raises the alarm, as `bear-alarm tune` advises (default: 1.8)."),
    ] = None
    schedule: Annotated[
        When | None,
        Field(
            description="When it may alarm, in local time, such as 'daily 20:00-06:00' (default: always). Outside it "
            "bears are recorded, and told to machines alone (MQTT, webhook, events)."
        ),
    ] = None


class CameraSection(Section):
    """One camera. A camera of which nothing but the source is set may be that alone: ``yard: 0``."""

    source: Annotated[
        Source,
        Field(
            description="Where its pictures come from: 0, /dev/video0, /dev/v4l/by-id/…, picamera://0, rtsp://…, "
            "http://…, a clip, a folder, demo."
        ),
    ]
    motion_source: Annotated[
        Source | None, Field(description="The camera's smaller stream, to look for motion in.")
    ] = None
    follow: Annotated[
        bool, Field(description="The source is a folder in which pictures arrive (FTP, trail-camera stations).")
    ] = False
    enabled: Annotated[bool, Field(description="Off: the camera is left aside, and its settings are kept.")] = True
    fps: Annotated[Rate | None, Field(description="As detect.fps, of this camera.")] = None
    idle_fps: Annotated[Rate | None, Field(description="As detect.idle_fps, of this camera.")] = None
    threshold: Annotated[Share | None, Field(description="As detect.threshold, of this camera.")] = None
    night_threshold: Annotated[Share | None, Field(description="As detect.night_threshold, of this camera.")] = None
    alarm_at: Annotated[Evidence | None, Field(description="As detect.alarm_at, of this camera.")] = None
    schedule: Annotated[When | None, Field(description="As detect.schedule, of this camera.")] = None
    motion: Annotated[Motion, Field(description="Where motion counts.")] = Motion()
    zones: Annotated[
        dict[ZoneName, Annotated[Corners, Field(description="Its corners, three or more.")]],
        Field(
            description="Where there are any, only what stands in one alarms. Each has a name and corners: "
            "x,y as fractions of the picture, from 0,0 at the left top to 1,1 at the right bottom."
        ),
    ] = {}  # noqa: RUF012 -- pydantic copies it


SETTINGS = frozenset(CameraSection.model_fields)
CameraValue = Annotated[CameraSection, Short("source", WORD_OR_NUMBER)]
