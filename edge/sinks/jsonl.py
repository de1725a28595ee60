"""Events as lines of JSON, in a file or on standard output."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from io import FileIO
from pathlib import Path

from edge.errors import OptionError
from edge.schema import Event


class JsonLines:
    """Appends each event to a file and brings it to the disk before it returns.

    ``durable`` is true in such a line, for whoever reads it reads it from the disk. ``-`` is standard
    output, where it stays false. Raises OptionError when the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = None if path == "-" else _open(Path(path).expanduser())
        self._torn = False  # the last line is not whole

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if self._file is None:
            sys.stdout.write(event.to_json() + "\n")
            sys.stdout.flush()
            return
        line = b"\n" * self._torn + replace(event, durable=True).to_json().encode() + b"\n"
        # One call a line and no buffer: what failed is not written again later, and no lock is held while a disk hangs.
        self._torn = True
        if self._file.write(line) != len(line):
            raise OSError(f"{self.path}: the disk is full")
        self._torn = False
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        else:
            sys.stdout.flush()


def _open(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            # A power cut can leave half a line; the next event must not grow onto it.
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError as error:
        raise OptionError(f"{path}: cannot write events there ({error.strerror})") from None
    return file
