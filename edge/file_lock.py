"""A lock on an open file, between processes: whoever holds it and ends, in whatever way, lets go of it."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _PLACE = 1 << 40  # a byte that no file of ours reaches: what is locked cannot be read on Windows

    def try_lock(file: int, *, shared: bool = False) -> bool:
        """Whether the descriptor's file is locked now; False where another holds it. Raises OSError without locks."""
        os.lseek(file, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(file: int) -> None:
        """Let go of the lock; closing the file does so as well."""
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def try_lock(file: int, *, shared: bool = False) -> bool:
        """Whether the descriptor's file is locked now; False where another holds it. Raises OSError without locks."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: int) -> None:
        """Let go of the lock; closing the file does so as well."""
        fcntl.flock(file, fcntl.LOCK_UN)
