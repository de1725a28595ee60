"""A file that is only there to be given up: on a full disk it makes room for the alarms that still come."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from edge.files import hand_over

log = logging.getLogger(__name__)

BALLAST_BYTES = 1 << 20  # some hundred alarms
ROOM_BYTES = 8 << 20  # so much must be free before it is made again, so that it does not itself fill the disk
FULL_BYTES = 256 << 10  # less than this free counts as full


class Ballast:
    """``folder/ballast``, with its blocks really taken; nothing here raises for a disk that is full or broken."""

    def __init__(self, folder: Path, size: int = BALLAST_BYTES, room: int = ROOM_BYTES) -> None:
        self.path = folder / "ballast"
        self.size = size  # bytes
        self.room = room  # bytes

    @property
    def free(self) -> int | None:
        """Return the bytes free on its disk; None when that cannot be asked."""
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return None

    @property
    def full(self) -> bool:
        """Return True when the disk is as good as full."""
        return (self.free or 0) < min(FULL_BYTES, self.room)

    @property
    def kept(self) -> bool:
        """Return True when it is there, whole."""
        try:
            return self.path.stat().st_size >= self.size
        except OSError:
            return False

    def release(self) -> bool:
        """Give it up; return whether that made room."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.warning(
            "%s: the disk is full; the last %d kB kept for this are used now", self.path.parent, self.size >> 10
        )
        return True

    def top_up(self) -> bool:
        """Make it where it is missing and there is room; return whether it is there now. Writes nothing if it was."""
        if self.kept:
            return True
        if (self.free or 0) < self.room + self.size:
            return False
        beside = self.path.with_suffix(".part")
        try:
            with beside.open("wb") as file:
                _take(file.fileno(), self.size)
                os.fsync(file.fileno())
            beside.replace(self.path)
            hand_over(self.path)
        except OSError as error:
            log.debug("%s: cannot be made (%s)", self.path, error.strerror)
            beside.unlink(missing_ok=True)
            return False
        return True


def _take(file: int, size: int) -> None:
    """Take the blocks, not only the length: a file with holes gives none back."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return
    block = os.urandom(1 << 16)  # some file systems do not store zeros
    for _ in range(0, size, len(block)):
        os.write(file, block)
