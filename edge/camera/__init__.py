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
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

# OpenCV writes to stderr what a user can do nothing about; our errors are sentences.
# Both are read once, when the first camera is opened.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# A read of a USB camera that has gone silent would hang for ten seconds.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")

import cv2

from edge.errors import SourceError
from edge.pictures import SUFFIXES
from edge.schema import CameraFault, Frame

DEFAULT_FPS = 10.0  # frames analysed a second
LAST_FRAME_S = 5.0  # after closing, a frame that is still looked at is waited for so long
DEFAULT_SIZE_WH = (1280, 720)  # what a USB camera is asked for; it gives what it can
DEMO = Path(__file__).parent.parent / "demo" / "demo.mp4"
CLIPS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mpg", ".mpeg", ".3gp", ".wmv", ".asf", ".mts"})
STREAM = re.compile(r"^(rtsps?|https?|rtmp|udp|tcp)://", re.IGNORECASE)
PI_CAMERA = re.compile(r"^picamera://", re.IGNORECASE)
SCHEME = re.compile(r"[\w+.-]+://")
SECRET = re.compile(r"(?i)(user(name)?|usr|login\w*|pass\w*|pwd|token|auth\w*|(api)?_?key|secret|sig\w*)=[^&\s]*")


# What is wrong with a camera (None: nothing), and when, in seconds of the monotonic clock.
Reporter = Callable[[CameraFault | None, float], None]


class Source(ABC):
    """An iterable of frames that can be closed; a list of frames does as well where none of the rest is needed.

    What follows are the answers of a plain file; a source of another kind overrides them.
    """

    name: str
    fps: float  # frames handed over a second; may be changed at any time, also while iterating
    problems: list[str]  # what was wrong but did not stop it, one sentence each
    length_s: float | None = None  # of a file, where it is known
    live = False  # frames come when they come, and those that are not taken are lost
    single_images = False  # each frame is a picture of its own, that may come hours after the one before
    slides = False  # pictures played as a film
    reopened = 0  # how often it was opened again after the first time
    lost_s = 0.0  # seconds in which it gave no picture
    alive_at: float | None = None  # when its own loop last went on, time.monotonic(); None: it has none

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, in order. Raises SourceError when there are none or they stop coming."""

    @abstractmethod
    def close(self) -> None:
        """Close the camera or file; an iteration under way ends. May be called twice, and from any thread."""

    @property
    def primary(self) -> Source:
        """Return the source without which nothing is seen: of two streams the smaller one, else this."""
        return self

    def report_to(self, report: Reporter, report_main: Reporter) -> None:  # noqa: B027
        """Report what is wrong from now on; ``report_main`` takes what is wrong with the larger of two streams."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame_patience_s(silent_s: float, fps: float) -> float:
    """Return how long a frame is awaited: at a slow rate there are pauses between the frames that are asked for."""
    return max(silent_s, 2.0 / fps)


def is_live(source: str) -> bool:
    """Return True if the word means a camera or a stream, else it is a file. Raises OSError, ValueError."""
    return bool(PI_CAMERA.match(source) or STREAM.match(source)) or source.isdecimal() or _is_device(source)


def source_name(source: str) -> str:
    """Return a short name for a source, without a stream's user and password."""
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
    """Return the source as it may be printed: users, passwords and tokens are hidden."""
    before, sign, after = source.rpartition("@")
    if sign and ":" in before:
        scheme = SCHEME.match(before)
        source = f"{scheme[0] if scheme else ''}***@{after}"
    return SECRET.sub(r"\1=***", source) if "://" in source else source


def _is_device(source: str) -> bool:
    # /dev/shm holds ordinary files, and a camera that is unplugged has no path at all.
    path = Path(source)
    return source.startswith("/dev/") and not (path.is_file() or path.is_dir() or glob.has_magic(source))


def open_source(
    source: str,
    *,
    fps: float = DEFAULT_FPS,
    name: str | None = None,
) -> Source:
    """Open the source that a word on the command line means, analysed at ``fps`` frames a second.

    Raises SourceError, in one sentence, for what cannot be opened.
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

    open_ = partial(open_camera, source, name=called, fps=fps)
    return LiveSource(open_, source, name=called, fps=fps)


def open_camera(source: str, *, name: str, fps: float) -> Source:
    """Open a camera or stream that is read by the thread that iterates it, and may hang there. Raises SourceError.

    It belongs into a reader thread: ``edge.camera.live``, ``edge.camera.reconnect``.
    """
    _check_text(source)
    cv2.setNumThreads(1)
    if PI_CAMERA.match(source):
        from edge.camera.picamera import PiSource

        return PiSource(source, name=name, fps=fps)
    if STREAM.match(source):
        from edge.camera.video import StreamSource

        return StreamSource(source, name=name, fps=fps)
    from edge.camera.opencv import CaptureSource

    return CaptureSource(source, name=name, fps=fps)


def _check_text(source: str) -> None:
    try:
        source.encode()
    except UnicodeEncodeError:
        words = source.encode(errors="replace").decode()
        raise SourceError(f"{words}: this name has bytes that are no text (UTF-8); rename it") from None


def _open_file(source: str, name: str, fps: float) -> Source:
    """Return a clip, a picture, a folder or a pattern. Raises SourceError."""
    from edge.camera.opencv import PictureSource
    from edge.camera.video import VideoSource

    cv2.setNumThreads(1)
    if source == "demo":
        if not DEMO.is_file():
            raise SourceError(f"{DEMO}: the bundled demo clip is missing; install bear-alarm again")
        return VideoSource(DEMO, name=name, fps=fps)
    path = Path(source).expanduser()
    if source and path.is_dir():
        found = sorted(each for each in path.rglob("*") if _is_picture(each) and each.is_file())
        return PictureSource(found, source, name=name)
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


def _is_picture(path: Path) -> bool:
    # A Mac leaves hidden ._IMG_0001.JPG files on cards.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
