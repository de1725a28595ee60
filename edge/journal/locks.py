"""Several alarms on one folder: who lives, and who may open the journal; by locks that end with their process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.files import hand_over, try_lock

LONG_DEAD_S = 3600.0  # a file nobody holds may be of a process that is just about to take it
OPENING_S = 15.0  # how long another one may take to check or mend the journal


class Alive:
    """Says to other processes on this folder that this run lives, as long as it does, and tells which others do.

    Where nothing can be written it says nothing: then others take this run for dead, and may send its events again.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder / "alive"
        self._own = self._folder / run
        self._held: int | None = None

    def say(self) -> None:
        """Take the lock, if it is not held already."""
        if self._held is not None and self._own.exists():
            return
        self.close()
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            hand_over(self._folder)
            file = os.open(self._own, os.O_RDWR | os.O_CREAT, 0o644)
            hand_over(self._own)
            if _taken(file, 1.0):
                self._held = file
            else:
                os.close(file)

    def others(self) -> set[str]:
        """The ids of the other runs whose process lives."""
        found = set()
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path != self._own and self._lives(path):
                    found.add(path.name)
        return found

    def _lives(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:  # it has just ended
            return False
        try:
            if not _taken(file, 0.0, shared=True):
                return True
            long_dead = time.time() - os.fstat(file).st_mtime > LONG_DEAD_S
        finally:
            os.close(file)
        if long_dead:
            with suppress(OSError):
                path.unlink()
        return False

    def close(self) -> None:
        """This run is over."""
        if self._held is not None:
            with suppress(OSError):
                self._own.unlink()
            os.close(self._held)
            self._held = None
            with suppress(OSError):  # Windows removes no file that is open
                self._own.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time opens, checks or mends the journal; on a disk that takes no lock it goes on without.

    Raises TimeoutError when another one takes longer than a quarter of a minute.
    """
    file: int | None = None
    with suppress(OSError):
        file = os.open(folder / "opening", os.O_RDWR | os.O_CREAT, 0o644)
        hand_over(folder / "opening")
    try:
        if file is not None and not _taken(file, OPENING_S):
            raise TimeoutError(f"another process has been opening the journal in {folder} for {OPENING_S:.0f} s")
        yield
    finally:
        if file is not None:
            os.close(file)


def _taken(file: int, within_s: float, *, shared: bool = False) -> bool:
    """Whether the open file could be locked."""
    until = time.monotonic() + within_s
    while True:
        if try_lock(file, shared=shared):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
