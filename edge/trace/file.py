"""The file of a trace: lines appended in batches, rotated at a size, one old file kept.

It is opened for each batch and closed again, so that a file that was moved away, a disk that was full and a card that
came back need no care.
"""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from edge import __version__
from edge.errors import OptionError
from edge.schema import SCHEMA_VERSION, utc_text

BEGINNING = b'{"schema_version"'
NOT_THE_USERS = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EIO,
}  # the disk's trouble: the alarm starts all the same


class TraceFile:
    """Appends lines to ``path``; at ``limit_bytes`` the file becomes ``path`` with ``.1`` and a new one begins.

    Each run, and each file, begins with a line of kind "start". Raises OptionError where the path can never be
    written or holds something else; a disk that is full or read-only now may be better later.
    """

    def __init__(self, path: Path, *, limit_bytes: int, run: str) -> None:
        self.path = path.expanduser()
        self.limit_bytes = limit_bytes
        start = {"schema_version": SCHEMA_VERSION, "kind": "start", "run": run, "version": __version__}
        self._start = start | {"wall": utc_text(datetime.now(UTC))}
        self._begun = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as file:
                file.seek(0)
                head = file.read(40)
        except OSError as error:
            if error.errno in NOT_THE_USERS:
                return
            raise OptionError(f"{self.path}: cannot write a trace there ({error.strerror})") from None
        if not is_trace(head):
            raise OptionError(f"{self.path}: is no trace, and nothing is appended to it; name another file")

    def append(self, lines: deque[bytes]) -> None:
        """Write the lines (each with its newline), taking from the deque what is written. Raises OSError."""
        while lines:
            with self._open() as file:
                size = file.seek(0, os.SEEK_END)
                batch = [] if size and self._begun else [json.dumps(self._start).encode() + b"\n"]
                if size and not _ends_a_line(file, size):
                    batch.insert(0, b"\n")  # a power cut can leave half a line
                room = self.limit_bytes - size - sum(map(len, batch))
                taken = 0
                while taken < len(lines) and (room >= len(lines[taken]) or not size + taken):
                    batch.append(lines[taken])
                    room -= len(lines[taken])
                    taken += 1
                if taken:
                    _write(file, b"".join(batch), size)
                    self._begun = True
            for _ in range(taken):
                lines.popleft()
            if lines:
                self.path.replace(old(self.path))

    def _open(self) -> BinaryIO:
        # Not buffered: a full disk shows where it happens, and closing cannot fail.
        return self.path.open("a+b", buffering=0)


def old(path: Path) -> Path:
    """Where the file before this one lies."""
    return path.with_name(f"{path.name}.1")


def is_trace(head: bytes) -> bool:
    """Whether a file that begins so (40 bytes are enough) may be a trace, or what a power cut left of one."""
    begun = head.lstrip(b"\0\r\n")[: len(BEGINNING)]
    return begun == BEGINNING[: len(begun)]


def _ends_a_line(file: BinaryIO, size: int) -> bool:
    file.seek(size - 1)
    return file.read(1) == b"\n"


def _write(file: BinaryIO, data: bytes, size: int) -> None:
    """All of the data, or nothing of it. Raises OSError."""
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError:
        if len(left) < len(data):
            os.truncate(file.fileno(), size)
        raise
