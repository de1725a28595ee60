"""The lock of the one alarm that watches with a state folder; a command beside it needs none."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from edge.background import DeadlineError, DeadlineExecutor
from edge.errors import OptionError
from edge.files import hand_over, try_lock
from edge.record.database import make_folders

log = logging.getLogger(__name__)

LOCK = "watch.lock"
LOCK_S = 2.0  # an alarm that is just ending lets go within this time
LOCK_DISK_S = 5.0  # how long the disk may take


class RunLock:
    """Keeps a second alarm off the state folder, and shows other commands which run watches.

    The system lets go of it when the process ends, however it ends.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path = folder / LOCK
        self._run = run
        self._file: int | None = None
        self._closed = False
        self._holding = threading.Lock()  # a disk that hung may answer when the lock is closed

    def take(self, within_s: float = LOCK_S) -> bool:
        """Return False when another alarm has it all this time. Raises OSError where nothing can be locked."""
        make_folders(self.path.parent)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            hand_over(self.path)
            until = time.monotonic() + within_s
            while not (taken := try_lock(file)) and time.monotonic() < until:
                time.sleep(0.05)
            if taken:
                os.ftruncate(file, 0)
                os.write(file, self._run.encode())
            with self._holding:
                if taken and not self._closed:
                    self._file, file = file, -1
            return taken
        finally:
            if file >= 0:
                os.close(file)

    def close(self) -> None:
        """Let another alarm have it; a call that still hangs in the disk will not hold it either."""
        with self._holding:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None


def keep_alone(folder: Path, run: str) -> RunLock:
    """Take the lock of a state folder for an alarm. Raises OptionError while another alarm has it.

    On a disk that takes no lock, or hangs, the alarm goes on without.
    """
    lock, disk = RunLock(folder, run), DeadlineExecutor()
    try:
        if not disk(lock.take, LOCK_DISK_S):
            raise OptionError(f"{folder}: another alarm uses this state folder; stop it, or name another --state")
    except (DeadlineError, OSError) as error:
        why = getattr(error, "strerror", None) or "the disk does not answer"
        log.warning("%s cannot be locked (%s): a second alarm there would send everything twice", lock.path, why)
    finally:
        disk.close()
    return lock


def watching_run(folder: Path) -> str | None:
    """Return the id of the run that watches with this state folder; None: there is none, or it cannot be asked."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if try_lock(file, shared=True) else os.read(file, 100).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(file)
