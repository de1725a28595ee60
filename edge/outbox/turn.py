"""Whose turn it is: of several processes with one journal, one at a time delivers what runs that are over left."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from pathlib import Path

from edge.ownership import hand_over

log = logging.getLogger(__name__)


class Turn:
    """An advisory lock file for one channel; the system lets go of it when the process ends, however it ends.

    ``key`` is the channel's; ``folder`` is made where it is missing. Where nothing can be locked (a read-only disk, a
    network drive without locks) everybody has the turn: told twice is better than not at all.
    """

    def __init__(self, folder: Path, key: str) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        self.path = folder / f"{re.sub(r'[^a-z0-9]+', '-', key.lower()).strip('-')[:40]}-{digest}.lock"
        self.held = False
        self._file: int | None = None
        self._free = False  # nothing can be locked here

    def take(self) -> bool:
        """Whether this process has the turn now; returns at once."""
        if self.held or self._free:
            return True
        try:
            if self._file is None:
                self._file = _open(self.path)
            self.held = _lock(self._file)
        except OSError as error:
            self._free = True
            log.warning("%s cannot be locked (%s): a second process would tell everything twice", self.path, error)
        return self.held or self._free

    def release(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            os.close(self._file)
        self._file, self.held = None, False


def _open(path: Path) -> int:
    """The lock file's descriptor; one that cannot be written can be locked all the same. Raises OSError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        hand_over(path)
        return file
    except OSError:
        return os.open(path, os.O_RDONLY)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        """Whether the lock was free. Raises OSError where there are no locks."""
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Whether the lock was free. Raises OSError where there are no locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
