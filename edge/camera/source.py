"""What a source of frames is, and the words that name one."""

from __future__ import annotations

import glob
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

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
