"""Events as lines of JSON, in a file or on standard output."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from dataclasses import replace
from io import FileIO
from pathlib import Path

from edge.errors import OptionError
from edge.files import mistaken
from edge.schema import Event

log = logging.getLogger(__name__)


class JsonLines:
    """Appends each event to a file and brings it to the disk before it returns.

    ``durable`` is true in such a line, because a reader reads it from the disk. ``-`` is standard
    output, where it stays false. A disk that takes nothing at the start is tried again at each event; a file that was
    moved or deleted is begun again. A call raises OSError. Raises OptionError for a path that can never be a file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None  # why nothing could be written last; None: it was, or was not tried yet
        self._place = None if path == "-" else Path(path).expanduser()
        self._file: FileIO | None = None
        self._closed = False
        if self._place:
            try:
                self._file = _open(self._place)
            except OSError as error:
                words = f"{self._place}: cannot write events there ({error.strerror})"
                if mistaken(error):
                    raise OptionError(words) from None
                self.problem = words
                log.warning("%s; it is tried again at each event", words)

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if self._place is None:
            sys.stdout.write(event.to_json() + "\n")
            sys.stdout.flush()
            return
        try:
            self._write(self._place, event)
            self.problem = None
            if self._closed:
                self._let_go()
        except OSError as error:
            self._let_go()  # half a line may be left, or the disk is another by then: opening it sees to both
            self.problem = f"{self._place}: cannot write events there ({error.strerror or error})"
            raise OSError(self.problem) from None

    def close(self) -> None:
        """Close the file; a later line opens it for itself."""
        self._closed = True
        self._let_go()
        if self._place is None:
            sys.stdout.flush()

    def _write(self, place: Path, event: Event) -> None:
        if self._file is not None and _moved(place, self._file):
            self._let_go()
        if (file := self._file) is None:
            file = self._file = _open(place)
        line = replace(event, durable=True).to_json().encode() + b"\n"
        # One call a line and no buffer: what failed is not written again later, and no lock is held while a disk hangs.
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the disk is full")
        os.fsync(file.fileno())

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what it could say was said
                file.close()


def _open(path: Path) -> FileIO:
    """Return the file, at its end. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    file = path.open("a+b", buffering=0)
    try:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            # A power cut can leave half a line; the next event must not grow onto it.
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError:
        file.close()
        raise
    return file


def _moved(path: Path, file: FileIO) -> bool:
    """Return whether the file no longer lies there: rotated away, deleted, or another disk is mounted in its place."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return True
    except OSError:
        return False  # the disk says nothing now; what is open may still take it
