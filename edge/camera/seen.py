"""Which files of a folder have been dealt with, also after a power cut.

On the disk that is a text file: a head of JSON, then a line of 16 hexadecimal digits for each file. Lines are added, at
most once in ten seconds, and brought to the disk together; a torn one is passed over, and the picture it stood for is
looked at again. When most lines are of files that are gone, all of it is written anew, whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from edge.atomic import replace_whole
from edge.errors import OptionError

log = logging.getLogger(__name__)

WRITE_S = 10.0
VERSION = 1
SPARE = 1000  # lines of files that are gone: fewer are not worth writing anew

_LINE = re.compile(rb"[0-9a-f]{16}")


def mark_of(path: str, size: int, written_ns: int) -> int:
    """64 bits for a file as it is: its path within the folder, its bytes, its time (nanoseconds)."""
    words = f"{path}\0{size}\0{written_ns}".encode(errors="surrogateescape")
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "big")


def seen_file(state: Path, folder: Path) -> Path:
    """Where in the state folder it is remembered what was seen of a folder; each has a file of its own."""
    number = mark_of(str(folder.expanduser().absolute()), 0, 0)
    name = re.sub(r"[^\w.-]+", "_", folder.name)
    return state / f"seen-{name}-{number:016x}.txt"


class Seen:
    """Marks of the files that have been dealt with and are still there; with a ``path`` also on the disk.

    What was ``given`` is not given again; on the disk it is only once it was ``looked_at``. Any thread may call;
    nothing here raises, for pictures are looked at also where that cannot be remembered.
    """

    def __init__(self, folder: Path, path: Path | None = None) -> None:
        self.path = path
        self.marks: set[int] = set()
        self.begun = False  # what lay there at first has been passed over
        self.mount = ""  # where the folder's disk hangs
        self.recalled = False  # all of this is of an earlier run
        self._folder = str(folder.absolute())
        self._given: set[int] = set()  # and not looked at yet
        self._new: list[int] = []  # not on the disk yet
        self._lines = 0  # on the disk
        self._anew = True  # all of it is to be written
        self._wrote_at = -WRITE_S
        self._failing = False
        self._lock = threading.Lock()
        if path:
            self._read(path)

    def begin(self, mount: str, passed_over: Iterable[int]) -> None:
        """What lies there at first is passed over."""
        with self._lock:
            self.begun, self.mount, self._anew = True, mount, True
            self.marks.update(passed_over)

    def keep(self, present: set[int]) -> None:
        """Forget what is no longer there."""
        with self._lock:
            self.marks &= present

    def given(self, mark: int) -> None:
        """A picture is handed over."""
        with self._lock:
            self.marks.add(mark)
            self._given.add(mark)

    def looked_at(self, mark: int) -> None:
        """A picture was looked at, or never will be: dealt with for good."""
        with self._lock:
            self.marks.add(mark)
            self._given.discard(mark)
            if self.path:
                self._new.append(mark)

    def write(self, *, at_once: bool = False) -> None:
        """Bring what is new to the disk, where that is due."""
        with self._lock:
            now = time.monotonic()
            due = at_once or now - self._wrote_at >= WRITE_S
            if not (self.path and self.begun and due and (self._new or self._anew)):
                return
            new, self._new, self._wrote_at = self._new, [], now
            try:
                self._add(self.path, new)
                self._failing = False
            except (OSError, OptionError) as error:
                self._anew = True  # in memory nothing is lost
                if not self._failing:
                    log.warning("%s: which pictures were looked at cannot be remembered (%s)", self.path, error)
                self._failing = True

    def _add(self, path: Path, new: list[int]) -> None:
        if self._anew or self._lines > 2 * len(self.marks) + SPARE:
            head = {"bear_alarm_seen": VERSION, "folder": self._folder, "mount": self.mount}
            known = self.marks - self._given
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_whole(path, json.dumps(head).encode() + b"\n" + _lines(known))
            self._lines, self._anew = len(known), False
            return
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(_lines(new))
            file.flush()
            os.fsync(file.fileno())
        self._lines += len(new)

    def _read(self, path: Path) -> None:
        try:
            first, *lines = path.read_bytes().split(b"\n")
            head: Any = json.loads(first)
            if head["bear_alarm_seen"] != VERSION:
                raise ValueError("of another version")
            folder, mount = str(head["folder"]), str(head["mount"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s: cannot be read (%s); what lies in the folder now is passed over", path, error)
            return
        if folder != self._folder:
            log.warning("%s: remembers %s; what lies in %s now is passed over", path, folder, self._folder)
            return
        whole = [line for line in lines if _LINE.fullmatch(line)]
        self.begun, self.recalled, self.mount = True, True, mount
        self.marks = {int(line, 16) for line in whole}
        # A torn line at the end would spoil the next.
        self._lines, self._anew = len(whole), [*whole, b""] != lines


def _lines(marks: Iterable[int]) -> bytes:
    return "".join(f"{mark:016x}\n" for mark in marks).encode()
