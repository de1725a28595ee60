"""Where frames come from: a source is an iterable of ``Frame`` that can be closed.

0, /dev/video0, /dev/v4l/by-id/…       a USB camera, live: the newest frame, what is stale is dropped
rtsp://…, http://…                     a stream, live
picamera://0[?rotation=180&width=1920&height=1080]  a Raspberry Pi's ribbon-cable camera, live
clip.mp4                               a file: read in full on its own clock, as fast as it goes
folder/, 'cards/*.jpg'                 pictures: one a second
demo                                   the bundled clip
"""

from __future__ import annotations

import glob
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

# FFmpeg and OpenCV write to stderr what a user can do nothing about; we say in a sentence what is wrong.
# All of these are read once, when the first camera or stream is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# RTSP over UDP smears the picture wherever a packet is lost.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
# A read of a USB camera that has gone silent would hang for ten seconds.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")

import cv2

from edge.errors import SourceError
from edge.pictures import SUFFIXES
from edge.schema import Frame

DEFAULT_FPS = 10.0  # frames analysed a second
DEFAULT_SIZE_WH = (1280, 720)  # what a USB camera is asked for; it gives what it can
DEMO = Path(__file__).parent.parent / "demo" / "demo.mp4"
STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)
PI_CAMERA = re.compile(r"^picamera://", re.IGNORECASE)
SCHEME = re.compile(r"[\w+.-]+://")
SECRET = re.compile(r"(?i)(user(name)?|usr|login\w*|pass\w*|pwd|token|auth\w*|(api)?_?key|secret|sig\w*)=[^&\s]*")


class Source(Protocol):
    """An iterable of frames with a name; a list of frames does as well where none of the rest is needed."""

    name: str
    live: bool
    fps: float  # frames handed over a second; may be changed at any time, also while iterating
    length_s: float | None  # of a file, where it is known
    problems: list[str]  # what was wrong but did not stop it, one sentence each

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order. Raises SourceError when there are none or they stop coming."""

    def close(self) -> None:
        """Let go of the camera or file; an iteration under way ends. May be called twice, and from any thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing(ABC):
    """What every source shares: leaving its ``with`` block closes it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(
    source: str,
    *,
    fps: float = DEFAULT_FPS,
    name: str | None = None,
    size_wh: tuple[int, int] | None = DEFAULT_SIZE_WH,
) -> Source:
    """The source a word on the command line means, analysed at ``fps`` frames a second.

    A USB camera is asked for ``size_wh`` pixels; None leaves its size alone. Raises SourceError, in one sentence,
    for what cannot be opened.
    """
    cv2.setNumThreads(1)
    try:
        source.encode()
    except UnicodeEncodeError:
        words = source.encode(errors="replace").decode()
        raise SourceError(f"{words}: this name has bytes that are no text (UTF-8); rename it") from None
    called = name or source_name(source)
    if PI_CAMERA.match(source):
        from edge.camera.picamera import PiSource

        return PiSource(source, name=called, fps=fps, size_wh=size_wh or DEFAULT_SIZE_WH)
    try:
        if not is_live(source):
            return _open_file(source, called, fps)
    except SourceError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a zero byte, the home of nobody
        why = error.strerror if isinstance(error, OSError) else error  # which would hold the word once more
        raise SourceError(f"{shown(source)!r}: no such camera, file or folder ({why})") from None
    from edge.camera.live import LiveSource

    return LiveSource(source, name=called, fps=fps, size_wh=size_wh)


def is_live(source: str) -> bool:
    """Whether the word means a camera or a stream, there or not; else it is a file. Raises OSError, ValueError."""
    return bool(PI_CAMERA.match(source) or STREAM.match(source)) or source.isdecimal() or _is_device(source)


def source_name(source: str) -> str:
    """A short name for a source, without a stream's user and password."""
    if source.isdecimal():
        return f"camera{source}"
    if match := PI_CAMERA.match(source):
        return "picamera" + re.sub(r"\W.*", "", source[match.end() :])
    if match := SCHEME.match(source):
        # What stands before the last @ is a user and password, also where signs in them should have been escaped.
        address = re.match(r"\[[^\]/]*|[^:/?#]*", source[match.end() :].rpartition("@")[2])
        return re.sub(r"[^\w.:-]", "", address[0].lower() if address else "") or "stream"
    source = shown(source).removeprefix("***@")
    if glob.has_magic(source):
        source = source[: min(source.find(sign) for sign in "*?[" if sign in source)]
    return Path(source).stem or "pictures"


def shown(source: str) -> str:
    """The source as it may be printed: users, passwords and tokens are hidden."""
    before, sign, after = source.rpartition("@")
    if sign and ":" in before:
        scheme = SCHEME.match(before)
        source = f"{scheme[0] if scheme else ''}***@{after}"
    return SECRET.sub(r"\1=***", source) if "://" in source else source


def _is_device(source: str) -> bool:
    # /dev/shm holds ordinary files, and a camera that is unplugged has no path at all.
    path = Path(source)
    return source.startswith("/dev/") and not (path.is_file() or path.is_dir() or glob.has_magic(source))


def _open_file(source: str, name: str, fps: float) -> Source:
    """A clip, a picture, a folder or a pattern. Raises SourceError."""
    from edge.camera.files import PictureSource, VideoSource

    if source == "demo":
        if not DEMO.is_file():
            raise SourceError(f"{DEMO}: the bundled demo clip is missing; install bear-alarm again")
        return VideoSource(DEMO, name=name, fps=fps)
    path = Path(source).expanduser()
    if source and path.is_dir():
        return PictureSource(_pictures(path), source, name=name)
    if path.is_file():
        return PictureSource([path], source, name=name) if _is_picture(path) else VideoSource(path, name=name, fps=fps)
    if glob.has_magic(source):
        # Path.glob takes no absolute patterns.
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = [Path(match) for match in matches if Path(match).is_file()]
        if not found:
            raise SourceError(f"{shown(source)}: no file matches this pattern; check it, and put it in quotes")
        return PictureSource([match for match in found if _is_picture(match)], source, name=name)
    raise SourceError(
        f"{shown(source) or repr(source)}: no such camera, file or folder; try 0 for the first camera, or demo"
    )


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, by path."""
    return sorted(path for path in folder.rglob("*") if _is_picture(path) and path.is_file())


def _is_picture(path: Path) -> bool:
    # A Mac leaves hidden ._IMG_0001.JPG files on cards.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
