"""The folder of evidence within two bounds: its own quota, and a reserve that stays free on the disk."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import OptionError
from edge.files import replace_whole

if TYPE_CHECKING:
    from edge.schema import Event

log = logging.getLogger(__name__)

MB = 1_000_000
RESCAN_S = 86_400.0  # other programs may have deleted or written something
STALE_S = 3600.0  # a half-written file so old is of a program that has ended

# Names of this program's files: nothing of another name is ever counted or deleted.
NEGATIVES = "negatives"
PLAIN = "plain.jpg"  # in an event's folder: the alarm's picture with nothing drawn on it, for a blind review
KEEP = "keep"  # in an event's folder: never delete it
GONE = ".gone-"  # before the name of what is being deleted

DAY = re.compile(r"\d{4}-\d\d-\d\d")
VISIT = re.compile(r"\d{6}-[\w.-]+-[0-9a-f]{8}")  # an event's folder
SAMPLE = re.compile(r"\d{6}-[\w.-]+-[0-9a-f]{4}\.jpg")  # a random negative
MAX_NAME = 60  # of a camera; file systems end at 255 bytes


def visit_folder(root: Path, camera: str, wall: datetime, event_id: str) -> Path:
    """Return the folder of one event: DAY/TIME-CAMERA-ID8, in UTC. ``event_id`` is hexadecimal, 8 digits or more."""
    at = wall.astimezone(UTC)
    return root / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}-{plain_name(camera)}-{event_id[:8]}"


def still_path(folder: Path, event: Event) -> Path:
    """Return the path of an event's own picture in its folder: ``alarm.jpg``, or ``alarm-SEQ.jpg`` of an update."""
    return folder / ("alarm.jpg" if event.type == "new" else f"alarm-{event.seq}.jpg")


def own_still(event: Event) -> Path | None:
    """Return the path of the picture that came with this event; None if it only names an earlier one, or none."""
    named = Path(event.evidence) if event.evidence else None
    return named if named and named == still_path(named.parent, event) else None


def sample_path(root: Path, camera: str, wall: datetime, number: int) -> Path:
    """Return where a random negative lies; ``number`` (0 to 65535) makes those of one second differ."""
    at = wall.astimezone(UTC)
    return root / NEGATIVES / f"{at:%Y-%m-%d}" / f"{at:%H%M%S}-{plain_name(camera)}-{number:04x}.jpg"


def plain_name(camera: str) -> str:
    """Return a camera's name as names of files have it."""
    return re.sub(r"[^\w.-]+", "_", camera)[:MAX_NAME] or "camera"


def lock(folder: Path) -> None:
    """Keep this event's folder until it is unlocked. Raises OptionError when that cannot be noted there."""
    with _noting(folder):
        (folder / KEEP).touch()


def unlock(folder: Path) -> None:
    """Allow this event's folder to be deleted when room is needed. Raises OptionError if that cannot be noted."""
    with _noting(folder):
        (folder / KEEP).unlink(missing_ok=True)


@contextmanager
def _noting(folder: Path) -> Iterator[None]:
    if not folder.is_dir():
        raise OptionError(f"{folder}: no such folder; its evidence is gone, or was never written")
    try:
        yield
    except OSError as error:
        raise OptionError(f"{folder}: its lock cannot be changed ({error.strerror})") from None


def locked(folder: Path) -> bool:
    """Return whether this event's folder is kept whatever happens; False where there is none."""
    return (folder / KEEP).exists()


class NoRoomError(RuntimeError):
    """Nothing may be written: only locked evidence is left, the disk is full of other things, or it is not there."""


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk on which a folder lies. Raises OSError."""
    return shutil.disk_usage(folder).free


class MediaStore:
    """Writes into the folder and deletes the oldest, event by event, so that both bounds hold.

    ``busy`` returns the events' folders that are in use now: they stay. What is locked counts and stays; other
    programs' files neither count nor go. Used from two threads. The folder is scanned once, before the first write, and
    then once a day; between, a sum is kept. While its disk is not mounted nothing is written, because the path is on
    another disk then. What cannot be read in it is logged once and left alone.
    """

    def __init__(
        self,
        root: Path,
        *,
        quota_bytes: int,
        reserve_bytes: int,
        busy: Callable[[], Collection[Path]] = tuple,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.quota_bytes = quota_bytes
        self.reserve_bytes = reserve_bytes
        self.bytes = 0  # of events and negatives, as of the last scan and since
        self._busy = busy
        self._free = free
        self._clock = clock
        self._scanned_at: float | None = None
        self._units: dict[Path, int] = {}  # an event's folder or a negative -> bytes, the oldest first
        self._locked: dict[Path, int] = {}  # found locked when they were the oldest
        self._lock = threading.RLock()
        self._mount: Path | None = None  # where the disk is mounted; None: not known yet
        self._device: int | None = None
        self._damaged: set[str] = set()  # that were logged

    def write(self, unit: Path, path: Path, data: bytes) -> None:
        """Write one file of an event's folder (the unit), or a file that is a unit, whole or not at all.

        Raises NoRoomError, OptionError or OSError.
        """
        try:
            self.make_room(len(data))
            self._replace(unit, path, data)
        except (OSError, OptionError):
            # Another program took the room, or an event could not be deleted; a disk that takes nothing fails again.
            self.make_room(len(data))
            self._replace(unit, path, data)

    def grown(self, unit: Path, by: int) -> None:
        """Note that so many bytes were written into this unit."""
        with self._lock:
            self.bytes += by
            home = self._locked if unit in self._locked else self._units
            home[unit] = home.get(unit, 0) + by

    def make_room(self, need: int) -> None:
        """Delete the oldest until ``need`` bytes more keep both bounds. Raises NoRoomError or OSError."""
        with self._lock:
            self._find_home()
            if self._scanned_at is None or self._clock() - self._scanned_at > RESCAN_S:
                self.scan()
            held = frozenset(self._busy())
            while (short := self.short(need)) > 0:
                oldest = next((unit for unit in self._units if unit not in held), None)
                # Where even all of them would not be enough, none is deleted.
                if oldest is None or short > sum(size for unit, size in self._units.items() if unit not in held):
                    if self._unlocked():
                        continue
                    raise NoRoomError(self._why(need))
                self._delete(oldest)

    def try_out(self, need: int) -> None:
        """Test whether so many bytes could be written. Raises NoRoomError or OSError."""
        self.make_room(need)
        probe = self.root / ".try.part"
        probe.write_bytes(b".")
        probe.unlink()

    def scan(self) -> None:
        """Scan the folder for units, their sizes and locks; finish deletions that were cut off."""
        with self._lock:
            found = sorted(self._found(), key=lambda unit: (unit[0].parent.name, unit[0].name))
            self._units = {path: size for path, size, kept in found if not kept}
            self._locked = {path: size for path, size, kept in found if kept}
            self.bytes = sum(size for _, size, _ in found)
            self._scanned_at = self._clock()

    def short(self, need: int) -> int:
        """Return how many bytes too many there would be, by the worse of both bounds."""
        return max(self.bytes + need - self.quota_bytes, self.reserve_bytes + need - self._free(self.root))

    def _find_home(self) -> None:
        """Make sure that the folder is there, on its disk. Raises NoRoomError or OSError."""
        if self._mount and not os.path.ismount(self._mount):
            self._device = None  # the one that comes back is scanned: another disk may have the same number
            raise NoRoomError(f"{self.root}: the disk that was mounted at {self._mount} is gone; mount it there again")
        self.root.mkdir(parents=True, exist_ok=True)
        device = self.root.stat().st_dev
        if device != self._device:  # the first time, or another disk in its place
            self._device, self._scanned_at = device, None
            whole = self.root.resolve()
            self._mount = next((path for path in (whole, *whole.parents) if os.path.ismount(path)), None)

    def _unlocked(self) -> bool:
        """Put back, as the oldest, what is no longer locked; return whether there is any."""
        back = {unit: size for unit, size in self._locked.items() if not locked(unit)}
        self._units = back | self._units
        self._locked = {unit: size for unit, size in self._locked.items() if unit not in back}
        return bool(back)

    def _why(self, need: int) -> str:
        if self.bytes + need > self.quota_bytes:
            return (
                f"{self.root}: {self.bytes / MB:.1f} of {self.quota_bytes / MB:g} MB of evidence are used and what is "
                "left of it is locked; unlock events or raise the quota"
            )
        return (
            f"{self.root}: {self._free(self.root) / MB:.1f} MB are free on this disk, of which "
            f"{self.reserve_bytes / MB:g} MB stay free; make room there"
        )

    def _replace(self, unit: Path, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_size if path.exists() else 0
        replace_whole(path, data)
        self.grown(unit, len(data) - before)

    def _delete(self, unit: Path) -> None:
        """Delete one event's folder or negative in one step, unless it was locked meanwhile. Raises OSError."""
        gone = unit.with_name(GONE + unit.name)
        try:
            unit.rename(gone)
        except FileNotFoundError:  # another program has deleted it
            self.bytes -= self._units.pop(unit)
            return
        except OSError:
            del self._units[unit]  # it cannot be deleted; the next time another one is tried
            raise
        if locked(gone):
            gone.rename(unit)
            self._locked[unit] = self._units.pop(unit)
            return
        self.bytes -= self._units.pop(unit)
        with self._sparing(str(gone)):
            _remove(gone)
        with suppress(OSError):  # it is not empty
            unit.parent.rmdir()

    def _found(self) -> Iterator[tuple[Path, int, bool]]:
        """Yield each event's folder and each negative: its path, its bytes, whether it is locked. Raises OSError."""
        for unit in self._entries(_days(self.root)):
            with self._sparing(unit.path):
                if _half_gone(unit, VISIT):
                    _remove(Path(unit.path))
                elif VISIT.fullmatch(unit.name) and unit.is_dir(follow_symlinks=False):
                    yield Path(unit.path), *_inside(unit.path)
        negatives = self.root / NEGATIVES
        with self._sparing(str(negatives)):
            for unit in self._entries(_days(negatives)):
                with self._sparing(unit.path):
                    if _half_gone(unit, SAMPLE):
                        _remove(Path(unit.path))
                    elif SAMPLE.fullmatch(unit.name) and unit.is_file(follow_symlinks=False):
                        yield Path(unit.path), unit.stat(follow_symlinks=False).st_size, False

    def _entries(self, days: list[str]) -> Iterator[os.DirEntry[str]]:
        for day in days:
            with self._sparing(day):
                yield from _entries(day)

    @contextmanager
    def _sparing(self, path: str) -> Iterator[None]:
        """Leave a damaged folder as it is and log it once; the others are handled all the same."""
        try:
            yield
        except OSError as error:
            if path not in self._damaged:
                self._damaged.add(path)
                log.warning("%s: is damaged, and left alone (%s); check this disk", path, error.strerror or error)


def units(root: Path) -> list[str]:
    """Return the paths of all events' folders and negatives, the oldest of each kind first. Raises OSError."""
    found: list[str] = []
    for folder, ours in ((root, VISIT), (root / NEGATIVES, SAMPLE)):
        for day in sorted(_days(folder)):
            found += sorted(entry.path for entry in _entries(day) if ours.fullmatch(entry.name))
    return found


def _days(folder: Path) -> list[str]:
    return [day.path for day in _entries(folder) if DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False)]


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _half_gone(entry: os.DirEntry[str], ours: re.Pattern[str]) -> bool:
    return entry.name.startswith(GONE) and bool(ours.fullmatch(entry.name.removeprefix(GONE)))


def _inside(folder: str) -> tuple[int, bool]:
    """Return the bytes in an event's folder and whether it is locked; delete old half-written files."""
    total, kept = 0, False
    for entry in _entries(folder):
        stat = entry.stat(follow_symlinks=False)
        if not entry.name.endswith(".part"):
            total += stat.st_size
        elif time.time() - stat.st_mtime > STALE_S:
            Path(entry.path).unlink(missing_ok=True)
        kept = kept or entry.name == KEEP
    return total, kept


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
