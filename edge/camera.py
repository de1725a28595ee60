"""Where frames come from: a source is an iterable of ``Frame`` that can be closed.

0, /dev/video0, rtsp://…, http://…     live: the newest frame, what is stale is dropped
clip.mp4                               a file: read in full on its own clock, as fast as it goes
folder/, 'cards/*.jpg'                 pictures: one a second
demo                                   the bundled clip
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

# FFmpeg and OpenCV write to stderr what a user can do nothing about; we say in a sentence what is wrong.
# Both read these once, when the first stream is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# RTSP over UDP smears the picture wherever a packet is lost.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")

import cv2

from edge.errors import SourceError
from edge.pictures import SUFFIXES
from edge.schema import Frame

DEFAULT_FPS = 10.0  # frames analysed a second
DEMO = Path(__file__).parent / "demo" / "demo.mp4"
STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)


class Source(Protocol):
    """An iterable of frames with a name; a list of frames does as well where none of the rest is needed."""

    name: str
    live: bool
    length_s: float | None  # of a file, where it is known
    problems: list[str]  # what was wrong but did not stop it, one sentence each

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order. Raises SourceError when there are none or they stop coming."""

    def close(self) -> None:
        """Let go of the camera or file; an iteration under way ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(source: str, *, fps: float = DEFAULT_FPS, name: str | None = None) -> Source:
    """The source a word on the command line means, analysed at ``fps`` frames a second.

    Raises SourceError, in one sentence, for what cannot be opened.
    """
    from edge.camera_file import PictureSource, VideoSource
    from edge.camera_live import LiveSource

    cv2.setNumThreads(1)
    called = name or source_name(source)
    if source == "demo":
        if not DEMO.is_file():
            raise SourceError(f"{DEMO}: the bundled demo clip is missing; install bear-alarm again")
        return VideoSource(DEMO, name=called, fps=fps)
    if source.isdecimal() or STREAM.match(source) or (source.startswith("/dev/") and Path(source).exists()):
        return LiveSource(source, name=called, fps=fps)
    path = Path(source).expanduser()
    if path.is_dir():
        return PictureSource(_pictures(path), source, name=called)
    if path.is_file():
        return (
            PictureSource([path], source, name=called) if _is_picture(path) else VideoSource(path, name=called, fps=fps)
        )
    if glob.has_magic(source):
        # Path.glob takes no absolute patterns.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = [Path(match) for match in matches if Path(match).is_file()]
        if not found:
            raise SourceError(f"{source}: no file matches this pattern; check it, and put it in quotes")
        return PictureSource([match for match in found if _is_picture(match)], source, name=called)
    raise SourceError(f"{source}: no such camera, file or folder; try 0 for the first camera, or demo")


def source_name(source: str) -> str:
    """A short name for a source, without a stream's user and password."""
    if source.isdecimal():
        return f"camera{source}"
    if STREAM.match(source):
        return urlsplit(source).hostname or "stream"
    if glob.has_magic(source):
        source = source[: min(source.find(sign) for sign in "*?[" if sign in source)]
    return Path(source).stem or "pictures"


def shown(source: str) -> str:
    """The source as it may be printed: a stream's user and password are hidden."""
    return re.sub(r"//[^/@]*@", "//***@", source) if STREAM.match(source) else source


def device_number(source: str) -> int | str:
    """What OpenCV calls a camera: 0 for "0" and, on Linux, for /dev/video0."""
    if source.isdecimal():
        return int(source)
    match = re.fullmatch(r"/dev/video(\d+)", source)
    return int(match[1]) if match and sys.platform == "linux" else source


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, by path."""
    return sorted(path for path in folder.rglob("*") if _is_picture(path) and path.is_file())


def _is_picture(path: Path) -> bool:
    # A Mac leaves hidden ._IMG_0001.JPG files on cards.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
