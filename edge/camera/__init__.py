"""Sources of frames: an iterable of ``Frame`` that can be closed.

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
from functools import partial
from pathlib import Path

# FFmpeg and OpenCV write to stderr what a user can do nothing about; our errors are sentences.
# All of these are read once, when the first camera or stream is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# RTSP over UDP smears the picture wherever a packet is lost.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
# A read of a USB camera that has gone silent would hang for ten seconds.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")

import cv2

from edge.camera.source import (
    DEFAULT_FPS,
    DEFAULT_SIZE_WH,
    DEMO,
    PI_CAMERA,
    Source,
    is_live,
    shown,
    source_name,
)
from edge.errors import SourceError
from edge.pictures import SUFFIXES

__all__ = ["Source", "is_live", "open_camera", "open_source", "shown", "source_name"]


def open_source(
    source: str,
    *,
    fps: float = DEFAULT_FPS,
    name: str | None = None,
    size_wh: tuple[int, int] | None = DEFAULT_SIZE_WH,
) -> Source:
    """Open the source that a word on the command line means, analysed at ``fps`` frames a second.

    A USB camera is asked for ``size_wh`` pixels; None leaves its size alone. Raises SourceError, in one sentence,
    for what cannot be opened.
    """
    _check_text(source)
    called = name or source_name(source)
    try:
        if not is_live(source):
            return _open_file(source, called, fps)
    except SourceError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a zero byte, the home of an unknown user
        why = error.strerror if isinstance(error, OSError) else error  # which would hold the word once more
        raise SourceError(f"{shown(source)!r}: no such camera, file or folder ({why})") from None
    from edge.camera.live import LiveSource

    open_ = partial(open_camera, source, name=called, fps=fps, size_wh=size_wh)
    return LiveSource(open_, source, name=called, fps=fps)


def open_camera(source: str, *, name: str, fps: float, size_wh: tuple[int, int] | None = DEFAULT_SIZE_WH) -> Source:
    """Open a camera or stream that is read by the thread that iterates it, and may hang there. Raises SourceError.

    It belongs into a reader thread: ``edge.camera.live``, ``edge.camera.reconnect``.
    """
    _check_text(source)
    cv2.setNumThreads(1)
    if PI_CAMERA.match(source):
        from edge.camera.picamera import PiSource

        return PiSource(source, name=name, fps=fps, size_wh=size_wh or DEFAULT_SIZE_WH)
    from edge.camera.capture import CaptureSource

    return CaptureSource(source, name=name, fps=fps, size_wh=size_wh)


def _check_text(source: str) -> None:
    try:
        source.encode()
    except UnicodeEncodeError:
        words = source.encode(errors="replace").decode()
        raise SourceError(f"{words}: this name has bytes that are no text (UTF-8); rename it") from None


def _open_file(source: str, name: str, fps: float) -> Source:
    """Return a clip, a picture, a folder or a pattern. Raises SourceError."""
    from edge.camera.files import PictureSource, VideoSource

    cv2.setNumThreads(1)
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
    """Return the pictures in a folder and below it, by path."""
    return sorted(path for path in folder.rglob("*") if _is_picture(path) and path.is_file())


def _is_picture(path: Path) -> bool:
    # A Mac leaves hidden ._IMG_0001.JPG files on cards.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
