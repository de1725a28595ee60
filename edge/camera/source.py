"""Base class of all sources of frames, and the words that name a source."""

from __future__ import annotations

import glob
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.schema import CameraFault, Frame

DEFAULT_FPS = 10.0  # frames analysed a second
LAST_FRAME_S = 5.0  # after closing, a frame that is still looked at is waited for so long
DEFAULT_SIZE_WH = (1280, 720)  # what a USB camera is asked for; it gives what it can
DEMO = Path(__file__).parent.parent / "demo" / "demo.mp4"
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
