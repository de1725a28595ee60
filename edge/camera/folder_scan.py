"""Which pictures in a folder have arrived whole."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from edge.camera.processed_files import MISSING_S, ProcessedFiles, mark_of
from edge.errors import PictureError
from edge.pictures import SUFFIXES, capture_time, decode_picture, jpeg_or_none
from edge.schema import Picture

log = logging.getLogger(__name__)

BROKEN_S = 30.0  # what has not been whole for so long, and has not grown, stays broken
RETRY_S = (1.0, 300.0)  # what could not be read is tried again after the first, then ever later up to the last
MAX_TIME_S = 253e9  # the year 9987
MAX_CLOCK_ERROR = timedelta(days=31)  # a camera's clock further from the file's time is wrong
UNFINISHED = frozenset({"part", "partial", "filepart", "tmp", "temp", "crdownload", "upload"})
CLIPS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mpg", ".mpeg", ".3gp", ".wmv", ".asf", ".mts"})
SUFFIXES_WITH_END = (".jpg", ".jpeg", ".png")  # formats whose end can be seen


@dataclass(frozen=True, slots=True)
class Arrived:
    """A picture that has arrived whole."""

    picture: Picture
    path: Path
    written: datetime  # UTC, the file's time
    taken: datetime | None  # UTC, by the camera's own clock (Exif)
    mark: int  # of the file
    jpeg: bytes | None = None  # the file, where it is a JPEG

    @property
    def wall(self) -> datetime:
        """Return when it was taken, by the camera's clock where that can be right, else when the file was written.

        UTC.
        """
        near = self.taken and abs(self.taken - self.written) <= MAX_CLOCK_ERROR
        return self.taken if self.taken and near else self.written

    def apart_s(self, other: Arrived) -> float:
        """Seconds between two pictures; a camera's clock that is wrong still runs at the right speed."""
        if self.taken and other.taken:
            return abs((self.taken - other.taken).total_seconds())
        return abs((self.written - other.written).total_seconds())


@dataclass(slots=True)
class File:
    """A file as it looks now."""

    path: str
    size: int
    written_ns: int  # its content
    renamed: bool  # its inode was changed after its content
    mark: int  # one number for path, size and time
    folder: str  # the path it lies in


class Listing(NamedTuple):
    """Files in a folder and below it."""

    files: list[File]  # finished pictures
    whole: frozenset[str]  # the folders that could be listed to their end
    clip: str | None  # the path of a video clip, where there is one
    unlisted: str | None = None  # what could not be asked for and why, the first of it


@dataclass(slots=True)
class _Waiting:
    mark: int
    folder: str
    since: float  # seconds
    next_at: float  # seconds; what stands still is tried
    pause_s: float = RETRY_S[0]
    logged: bool = False


class FolderScanner:
    """``look`` through the folder from time to time, then ``read`` each file it gives.

    A file has arrived when its size and time stand still from one look to the next and it can be decoded to its end;
    one that was renamed into place (its inode changed after its content) at once, where its format shows its end.

    Times are seconds of one clock that only goes forward. What lies there at the first look is passed over; where
    ``seen`` knows of an earlier run, only what that has looked at. A file that stays broken for 30 s is logged
    and passed over; one that cannot be read for so long is logged, and tried again ever more seldom. That there are
    video clips is logged once.
    """

    def __init__(self, folder: Path, *, seen: ProcessedFiles | None = None) -> None:
        self.folder = folder
        self.seen = seen or ProcessedFiles(folder)
        self._clips_logged = False
        self._unlisted_logged: str | None = None
        self._waiting: dict[str, _Waiting] = {}

    def look(self, now: float, alive: Callable[[], object] = lambda: None) -> list[File]:
        """List files that may be whole, oldest first. Raises OSError when the folder, or its disk, is gone."""
        mount = self._check_mount()
        files, whole, clip, unlisted = scan(self.folder, alive)
        self._log_clip(clip)
        self._log_unlisted(unlisted)
        marks = {file.mark: file.folder for file in files}
        # All gone at once is rather a stick pulled out than the folder emptied: nothing is forgotten. So for each.
        whole &= set(marks.values())
        self._forget({file.path for file in files}, whole, now)
        self.seen.keep(marks, whole, now)
        if not self.seen.begun:
            self.seen.begin(mount, marks)
        new = [file for file in files if file.mark not in self.seen.marks and self._stands(file, now)]
        return sorted(new, key=lambda file: (file.written_ns, file.path))

    def read(self, file: File, now: float) -> Arrived | None:
        """Read the picture in a file that ``look`` gave; None when it is not whole, or not yet."""
        path = Path(file.path)
        try:
            data = path.read_bytes()
            picture, taken = decode_picture(data, path), capture_time(data)
        except PictureError as error:
            self._not_whole(file, str(error), now)
            return None
        except Exception as error:  # of the disk, the memory or the program: the picture may be good
            self._not_read(file, error, now)
            return None
        self._waiting.pop(file.path, None)
        self.seen.given(file.mark)
        # A disk may hold any number as a time; there are years that no clock shows.
        written = datetime.fromtimestamp(min(max(file.written_ns / 1e9, 0.0), MAX_TIME_S), UTC)
        return Arrived(picture, path, written, taken, file.mark, jpeg_or_none(data))

    def _stands(self, file: File, now: float) -> bool:
        """Return True if a file is worth reading now: it stands still, and has not just been tried in vain as it is."""
        waiting = self._waiting.get(file.path)
        if waiting is None or waiting.mark != file.mark:
            self._waiting[file.path] = _Waiting(file.mark, file.folder, now, now)
            return file.renamed and file.path.lower().endswith(SUFFIXES_WITH_END)
        return now >= waiting.next_at

    def _not_whole(self, file: File, why: str, now: float) -> None:
        waiting = self._waiting.get(file.path)
        if waiting is None or not os.path.lexists(file.path):
            return
        waiting.next_at = waiting.since + BROKEN_S
        if now >= waiting.next_at:
            self._waiting.pop(file.path, None)
            self.seen.looked_at(file.mark)
            log.warning("%s; skipped", why)

    def _not_read(self, file: File, error: Exception, now: float) -> None:
        waiting = self._waiting.get(file.path)
        if waiting is None or isinstance(error, FileNotFoundError):
            return
        waiting.next_at = now + waiting.pause_s
        waiting.pause_s = min(2.0 * waiting.pause_s, RETRY_S[1])
        if not waiting.logged and now - waiting.since >= BROKEN_S:
            waiting.logged = True
            log.warning(
                "%s: cannot be read (%s), so it is not looked at; it is tried again, ever more seldom",
                file.path,
                error or type(error).__name__,
            )

    def _forget(self, present: set[str], whole: frozenset[str], now: float) -> None:
        """Wait no longer for files that are gone."""
        self._waiting = {
            path: waiting
            for path, waiting in self._waiting.items()
            if path in present or (waiting.folder not in whole and now - waiting.since < MISSING_S)
        }

    def _log_clip(self, clip: str | None) -> None:
        if clip and not self._clips_logged:
            self._clips_logged = True
            log.warning(
                "%s: clips that arrive are not looked at, only pictures; set the camera to take pictures, or look at "
                "a clip with `bear-alarm watch CLIP`",
                clip,
            )

    def _log_unlisted(self, unlisted: str | None) -> None:
        if unlisted and unlisted != self._unlisted_logged:
            log.warning("%s; it is not looked at until it can be", unlisted)
        self._unlisted_logged = unlisted

    def _check_mount(self) -> str:
        """Notice a disk that was unmounted, whose empty mount point can still be listed, and one mounted later."""
        mount, known = mount_point(self.folder), self.seen.mount
        if len(mount) < len(known):
            moved = f"; if the folder has moved for good, remove {self.seen.path}" if self.seen.recalled else ""
            raise OSError(errno.ENODEV, f"the disk at {known} is gone{moved}")
        if mount != known:
            self.seen.begun = False
        return mount


def scan(folder: Path, alive: Callable[[], object] = lambda: None) -> Listing:
    """List every finished picture in a folder and below it.

    Hidden files and folders, those of network drives (``@eaDir``, ``#recycle``), unfinished downloads and links to
    folders are left out. Raises OSError when the folder itself cannot be listed. ``alive`` is called for each folder.
    """
    files: list[File] = []
    whole, clip, unlisted, folders = set[str](), None, None, [str(folder)]
    within = len(os.path.join(folder, ""))  # noqa: PTH118
    while folders:
        alive()
        here = folders.pop()
        failed: str | None = None
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            folders += [] if entry.name.startswith((".", "@", "#", "~")) else [entry.path]
                        elif is_finished(entry.name):
                            files.append(_file(entry, here, within))
                        elif clip is None and is_finished(entry.name, CLIPS):
                            clip = entry.path
                    except FileNotFoundError:  # gone since it was listed, or a link to nowhere
                        continue
                    except OSError as error:  # of this one alone: the others beside it are looked at
                        failed = failed or _cannot(entry.path, error)
        except OSError as error:
            if here == str(folder):
                raise
            failed = failed or _cannot(here, error)
            # Gone since it was listed; and only root may read lost+found.
            if isinstance(error, FileNotFoundError) or os.path.basename(here) == "lost+found":  # noqa: PTH119
                continue
        if failed is None:
            whole.add(here)
        unlisted = unlisted or failed
    return Listing(files, frozenset(whole), clip, unlisted)


def _cannot(path: str, error: OSError) -> str:
    return f"{path}: cannot be asked for ({error.strerror or error})"


def _file(entry: os.DirEntry[str], folder: str, within: int) -> File:
    found = entry.stat()
    size, written = found.st_size, found.st_mtime_ns
    mark = mark_of(entry.path[within:], size, written)
    return File(entry.path, size, written, found.st_ctime_ns > written, mark, folder)


def is_finished(name: str, kinds: Collection[str] = SUFFIXES) -> bool:
    """Return True if a file's name is a picture's (or of these kinds), and not one used while it is written."""
    stem, *between, kind = name.lower().split(".") if "." in name else ("", "")
    return f".{kind}" in kinds and not UNFINISHED.intersection(between) and bool(stem) and not stem.startswith("~")


def mount_point(folder: Path) -> str:
    """Return the path at which the disk that holds a folder hangs. Raises OSError when the folder is gone."""
    path = folder.resolve()
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return str(path)
