"""Whose turn it is: of several processes with one journal, one at a time delivers what runs that are over left."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from pathlib import Path

from edge.files import hand_over, try_lock

log = logging.getLogger(__name__)

PATIENCE_S = 3.0  # so long the disk may take to lock; then it is gone on without it
LET_GO_S = 0.5  # and to let go


class Turn:
    """An advisory lock file for one channel; the system lets go of it when the process ends, however it ends.

    ``key`` is the channel's; ``folder`` is made where it is missing. Where nothing can be locked (a read-only disk, a
    network drive without locks), and while the disk hangs, everybody has the turn: better told twice than not at all.
    """

    def __init__(self, folder: Path, key: str) -> None:
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        self.path = folder / f"{re.sub(r'[^a-z0-9]+', '-', key.lower()).strip('-')[:40]}-{digest}.lock"
        self.held = False
        self._try: _Try | None = None  # the last one, under way or over
        self._free = False  # nothing can be locked here
        self._late = False  # a try was not waited for, and that is said

    def take(self) -> bool:
        """Whether this process has the turn now; returns at once, and after three seconds where the disk hangs."""
        if self.held or self._free:
            return True
        last = self._try
        if last is None or last.heard:
            last = self._try = _Try(self.path, last.file if last else None)
        if not last.wait():
            if not self._late:
                self._late = True
                log.warning("%s: the disk does not answer; a second process would tell everything twice", self.path)
            return True
        if self._try is not last:  # released meanwhile
            return False
        last.heard, self._late = True, False
        if last.error:
            self._free = True
            log.warning("%s cannot be locked (%s): a second process would tell everything twice", self.path, last.error)
        self.held = last.locked
        return self.held or self._free

    def release(self) -> None:
        """Let another process have it; a disk that hangs does so when it can."""
        last, self._try, self.held = self._try, None, False
        if last:
            last.drop()


class _Try:
    """One try to lock the file, in a thread of its own; ``file`` is its descriptor, where it is open already."""

    def __init__(self, path: Path, file: int | None) -> None:
        self.file = file
        self.locked = False
        self.error: OSError | None = None
        self.heard = False  # somebody knows what came of it
        self._over = threading.Event()
        self._path = path
        self._until = time.monotonic() + PATIENCE_S
        threading.Thread(target=self._run, name=f"lock {path.name}", daemon=True).start()

    def wait(self) -> bool:
        """Whether it is over, within three seconds from its beginning."""
        return self._over.wait(max(0.0, self._until - time.monotonic()))

    def drop(self) -> None:
        """Close the file as soon as the try is over; waits for that only a moment."""
        closing = threading.Thread(target=self._close, name=f"unlock {self._path.name}", daemon=True)
        closing.start()
        closing.join(LET_GO_S)

    def _run(self) -> None:
        try:
            if self.file is None:
                self.file = _open(self._path)
            self.locked = try_lock(self.file)
        except OSError as error:
            self.error = error
        finally:
            self._over.set()

    def _close(self) -> None:
        self._over.wait()
        if self.file is not None:
            os.close(self.file)
            self.file = None


def _open(path: Path) -> int:
    """The lock file's descriptor; one that cannot be written can be locked all the same. Raises OSError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        hand_over(path)
        return file
    except OSError:
        return os.open(path, os.O_RDONLY)
