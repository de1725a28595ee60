"""Pictures that arrive in a folder: uploads by FTP, base stations of trail cameras, folders that are synchronised.

``FolderSource`` gives them as frames, one at a time. A thread of its own looks through the folder again and again,
since network shares report no change, and a share whose server is away blocks for minutes. It asks

``FolderScanner``   which pictures have arrived whole
``ProcessedFiles``  which of them have been dealt with, also after a power cut (``edge.camera.processed_files``)
``CrashGuard``      over which of them the whole program has died
"""

from __future__ import annotations

import concurrent.futures
import errno
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge.background import call_in_thread
from edge.camera import CLIPS, LAST_FRAME_S, Reporter, Source
from edge.camera.processed_files import MAX_CRASHES, MISSING_S, CrashGuard, ProcessedFiles, mark_of
from edge.camera.reconnect import REPORT_S, ReportThrottle, ignore
from edge.errors import PictureError, SourceError
from edge.pictures import SUFFIXES, capture_time, decode_picture
from edge.schema import CameraFault, Frame, Picture

log = logging.getLogger(__name__)

FOLLOW_FPS = 2.0  # pictures of one burst: two sure ones half a second apart raise the alarm (edge.decide.evidence)
POLL_S = 1.0
GONE_S = 10.0
APART_S = 60.0  # pictures further apart have no background in common
MAX_TRIES = 2  # of a picture over which the loop fails
LOOK_SHARE = 0.1  # of the time for looking: a folder of 100,000 pictures is looked through less often
NO_PICTURE: Picture = np.empty((0, 0, 3), np.uint8)

log = logging.getLogger(__name__)

BROKEN_S = 30.0  # what has not been whole for so long, and has not grown, stays broken
RETRY_S = (1.0, 300.0)  # what could not be read is tried again after the first, then ever later up to the last
MAX_TIME_S = 253e9  # the year 9987
MAX_CLOCK_ERROR = timedelta(days=31)  # a camera's clock further from the file's time is wrong
UNFINISHED = frozenset({"part", "partial", "filepart", "tmp", "temp", "crdownload", "upload"})
SUFFIXES_WITH_END = (".jpg", ".jpeg", ".png")  # formats whose end can be seen


class FolderSource(Source):
    """The pictures that arrive in ``folder`` and below it, each once, in the order they were written; for ever.

    ``Frame.time`` is the monotonic clock when it is handed over, further on by ``APART_S`` at each ``again``; ``wall``
    the camera's own time (Exif) where that is within a month of the file's time, else the file's. ``again`` is set
    where a picture has nothing to do with the one before: ``APART_S`` or more between them (by any of the three
    clocks), or another sub-folder. Others are handed over at no more than ``fps`` a second. None is dropped: it waits
    until it is taken.

    What lies there at the start is passed over. With ``remember``, a file of its own, it goes on where the last run
    stopped: what arrived meanwhile is looked at, and what was looked at is not (but perhaps the pictures of the last
    ten seconds before a power cut). A picture over which the loop failed is handed over once more to the next one, and
    then counts as looked at; so does one over which the whole process died three times.

    A folder that is gone or does not answer for ``GONE_S`` is reported, as ``ReconnectingSource`` does, and awaited
    for ever. At the start it raises SourceError, unless it ``waits``.
    """

    live = True
    single_images = True

    def __init__(
        self,
        folder: Path | str,
        *,
        name: str,
        fps: float = FOLLOW_FPS,
        remember: Path | None = None,
        waits: bool = False,
        report: Reporter = ignore,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.name = name
        self.fps = fps
        self.report = report
        self.problems: list[str] = []  # what is skipped is logged at once: this may run for months
        self._seen = ProcessedFiles(self.folder, remember)
        self._guard = CrashGuard(remember.with_suffix(".in-hand") if remember else None)
        self._scanner = FolderScanner(self.folder, seen=self._seen)
        self._ready = threading.Condition()
        self._slot: Arrived | None = None
        self._closed, self._closed_at = False, math.inf
        self._looked = False
        self._gone: str | None = None  # why there is nothing to look through
        self._alive = time.monotonic()  # when the looking last got on
        self.alive_at: float = self._alive  # when a picture was last asked for
        self._due = ReportThrottle()
        # What was handed over; the clock and the count continue where a loop that failed begins again.
        self._index, self._at, self._apart_s = 0, 0.0, 0.0
        self._last: Arrived | None = None  # without its pixels
        self._shape: tuple[int, ...] = ()
        self._in_hand: Arrived | None = None  # not looked at yet
        self._tries = 0  # of the one in hand
        self._watching = call_in_thread(self._watch, f"camera {name}")
        with self._ready:
            # A first look at many files may take long; what counts is that it gets on. Who waits is not held up by it.
            began = self._alive
            while not (self._looked or self._gone or time.monotonic() - (began if waits else self._alive) > GONE_S):
                self._ready.wait(REPORT_S)
        if not (self._looked or waits):
            self.close()
            raise SourceError(self._gone or self._hanging())

    def report_to(self, report: Reporter, report_main: Reporter) -> None:
        """Report what is wrong with the folder from now on."""
        self.report = report

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures as they arrive, until it is closed."""
        try:
            yield from self._frames()
        finally:
            if self._closed:
                self._guard.done()
                self._seen.close()
            else:
                self._seen.write(at_once=True)

    def _frames(self) -> Iterator[Frame]:
        failed = self._once_more()
        while not self._closed:
            arrived, failed, once_more = failed or self._next(), None, failed is not None
            if self._closed:
                return
            if arrived is None:
                self._report_folder()
                continue
            # Far from the last one, a picture has no background in common with it.
            last, passed_s = self._last, time.monotonic() - self._at
            far = last is not None and (
                max(passed_s, last.apart_s(arrived)) >= APART_S or last.path.parent != arrived.path.parent
            )
            again = far or once_more or bool(self._shape and self._shape != arrived.picture.shape)
            if last is not None and not again:
                with self._ready:
                    self._ready.wait_for(lambda: self._closed, max(0.0, 1.0 / self.fps - passed_s))
                if self._closed:
                    return
            self._in_hand, self._tries = arrived, self._tries + 1
            # Without its pixels: a trail camera's picture may take 60 MB, and the next may come tomorrow.
            self._last, self._shape = replace(arrived, picture=NO_PICTURE), arrived.picture.shape
            self._at = at = time.monotonic()
            # Pictures of other moments may come in one upload: for the tracker they lie apart.
            self._apart_s += APART_S if again else 0.0
            self._index += 1
            yield Frame(
                arrived.picture,
                at + self._apart_s,
                arrived.wall,
                self.name,
                self._index - 1,
                at,
                discontinuity=again,
                file=str(arrived.path.relative_to(self.folder)),
            )
            self._done(arrived)
            arrived = None

    def _next(self) -> Arrived | None:
        """Take the next picture; None when none has come for a while, or it has been closed."""
        self.alive_at = time.monotonic()
        with self._ready:
            self._ready.wait_for(lambda: self._slot or self._closed, REPORT_S)
            arrived, self._slot = self._slot, None
            self._ready.notify_all()
        return arrived

    def _once_more(self) -> Arrived | None:
        """Return the picture over which the loop before this one failed, if it did, and only once."""
        failed = self._in_hand
        if failed is None or self._tries < MAX_TRIES:
            return failed
        log.error("%s: the alarm failed over this picture twice; it counts as looked at", failed.path)
        self._done(failed)
        return None

    def _done(self, arrived: Arrived) -> None:
        self._in_hand, self._tries = None, 0
        if time.monotonic() - self._closed_at > LAST_FRAME_S:
            return  # its alarm, if there was one, went nowhere: it is looked at again
        self._seen.looked_at(arrived.mark)
        self._guard.done()
        with self._ready:
            self._ready.notify_all()

    def close(self) -> None:
        """Stop looking; an iteration under way ends. A look that hangs in a dead share is left behind."""
        with self._ready:
            if self._closed:
                return
            self._closed, self._closed_at = True, time.monotonic()
            self._ready.notify_all()
        concurrent.futures.wait([self._watching], 1.0)
        self._guard.done()
        self._seen.close()

    def _report_folder(self) -> None:
        now = time.monotonic()
        why = self._gone or (self._hanging() if now - self._alive > GONE_S else None)
        trouble = CameraFault("gone", why) if why else None
        if self._due(trouble, now):
            self.report(trouble, now)

    def _hanging(self) -> str:
        return f"{self.folder}: the folder has not answered for {GONE_S:g} s; check the network share or the disk"

    def _watch(self) -> None:
        gone_since: float | None = None
        while not self._closed:
            began, took_s = self._beat(), 0.0
            try:
                files = self._scanner.look(began, self._beat)
            except Exception as error:  # whatever one look meets, the next begins: more pictures arrive
                if not isinstance(error, OSError):
                    log.error("%s: looking through the folder failed (%s)", self.folder, error or type(error).__name__)
                    error = OSError(f"{type(error).__name__}")
                gone_since = began if gone_since is None else gone_since
                # What was never there is the user's mistake, and reported at once.
                if not self._looked or began - gone_since >= GONE_S:
                    self._note_gone(error)
            else:
                gone_since, self._gone, took_s = None, None, self._beat() - began
                with self._ready:
                    self._looked = True
                    self._ready.notify_all()
                for file in files:
                    if self._wait_done():
                        arrived = self._read(file)
                        with self._ready:
                            self._slot = arrived
                            self._ready.notify_all()
                        del arrived
                        self._seen.write()
            self._seen.write()
            self._rest(max(POLL_S, took_s * (1.0 / LOOK_SHARE - 1.0)))
        self._guard.done()  # where closing did not wait for this

    def _note_gone(self, error: OSError) -> None:
        why = (
            f"is gone ({error.strerror or error}); check the disk or the share"
            if self._looked
            else f"is no folder to follow ({error.strerror or error})"
        )
        with self._ready:
            self._gone = f"{self.folder}: {why}"
            self._ready.notify_all()

    def _read(self, file: File) -> Arrived | None:
        """Return the picture, if it is whole and the alarm has not died over it before."""
        if not self._guard.begin(file.mark):
            log.error(
                "%s: the alarm has died over this picture %d times; it counts as looked at", file.path, MAX_CRASHES
            )
            self._seen.looked_at(file.mark)
            return None
        arrived = self._scanner.read(file, self._beat())
        if arrived is None:
            self._guard.done()
        return arrived

    def _wait_done(self) -> bool:
        """Wait until the last picture has been looked at: what is read ahead would be suspected of a crash as well."""
        with self._ready:
            while self._guard.in_hand is not None and not self._closed:
                self._ready.wait(REPORT_S)
                self._beat()
        return not self._closed

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closed and (left := until - self._beat()) > 0.0:
            with self._ready:
                self._ready.wait_for(lambda: self._closed, min(left, REPORT_S))

    def _beat(self) -> float:
        self._alive = time.monotonic()
        return self._alive


@dataclass(frozen=True, slots=True)
class Arrived:
    """A picture that has arrived whole."""

    picture: Picture
    path: Path
    written: datetime  # UTC, the file's time
    taken: datetime | None  # UTC, by the camera's own clock (Exif)
    mark: int  # of the file

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
        return Arrived(picture, path, written, taken, file.mark)

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
