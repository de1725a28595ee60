"""Remember the pictures of a folder that are processed, and those over which the program has died."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from edge.background import AT_END_S, SINK_DEADLINE_S, DeadlineError, DeadlineExecutor, Worker
from edge.errors import OptionError
from edge.files import replace_whole

log = logging.getLogger(__name__)

WRITE_S = 10.0
MISSING_S = 24 * 3600.0  # a sub-folder's disk may be away for so long
VERSION = 1
MAX_SPARE_LINES = 1000  # lines of files that are gone: fewer are not worth rewriting the file

MAX_CRASHES = 3  # times that a picture is begun with
DISK_S = 2.0  # a disk that takes longer is not waited for

_LINE = re.compile(rb"[0-9a-f]{16}")


class ProcessedFiles:
    """Marks of the files that have been dealt with and are still there; with a ``path`` also on the disk.

    On the disk that is a text file: a head of JSON, then a line of 16 hexadecimal digits for each file. Lines are
    added, at most once in ten seconds, and brought to the disk together; a torn one is passed over, and the picture it
    stood for is looked at again. When most lines are of files that are gone, the file is rewritten, whole or not at
    all. A thread of its own writes, so that no disk holds up the looking.

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
        self._where: Mapping[int, str] = {}  # the folders of marks, where they are known
        self._missing: dict[int, float] = {}  # marks whose files were not found, and since when
        self._new: list[int] = []  # not on the disk yet
        self._lines = 0  # on the disk
        self._rewrite = True  # all of it is to be written
        self._wrote_at = -WRITE_S
        self._asked = self._writing = self._failing = False
        self._worker: Worker[None] | None = None
        self._lock = threading.Lock()  # held for moments: never while the disk is asked
        if path:
            self._read(path)

    def begin(self, mount: str, passed_over: Iterable[int]) -> None:
        """Pass over what lies there at first."""
        with self._lock:
            self.begun, self.mount, self._rewrite = True, mount, True
            self.marks.update(passed_over)

    def keep(self, present: Mapping[int, str], whole: Collection[str], now: float) -> None:
        """Forget what is gone from a folder that was listed ``whole``, or has been missing for a day.

        ``present``: marks and the folders they lie in; ``now``: seconds that only go forward. One thread calls.
        """
        with self._lock:
            missing = self.marks - present.keys()
        self._missing = {mark: self._missing.get(mark, now) for mark in missing}
        gone = {
            mark for mark, since in self._missing.items() if self._where.get(mark) in whole or now - since >= MISSING_S
        }
        self._where = {mark: self._where[mark] for mark in missing - gone if mark in self._where} | dict(present)
        with self._lock:
            self.marks -= gone

    def given(self, mark: int) -> None:
        """Note that a picture is handed over."""
        with self._lock:
            self.marks.add(mark)
            self._given.add(mark)

    def looked_at(self, mark: int) -> None:
        """Note that a picture was looked at, or never will be: dealt with for good."""
        with self._lock:
            if mark in self._given:
                self._given.discard(mark)
            else:  # what was given is known, or its file is gone meanwhile
                self.marks.add(mark)
            if self.path:
                self._new.append(mark)

    def write(self, *, at_once: bool = False) -> None:
        """Have what is new brought to the disk, where that is due; returns at once."""
        with self._lock:
            now = time.monotonic()
            due = at_once or (now - self._wrote_at >= WRITE_S and not self._writing)
            if self._asked or not (self.path and self.begun and due and (self._new or self._rewrite)):
                return
            self._asked, self._wrote_at = True, now
            if self._worker is None:
                self._worker = Worker(self._bring, f"writing to {self.path}", depth=1, deadline_s=SINK_DEADLINE_S)
            worker = self._worker
        worker(None)

    def close(self, within_s: float = AT_END_S) -> None:
        """Bring all of it to the disk, for at most so many seconds."""
        self.write(at_once=True)
        with self._lock:
            worker, self._worker = self._worker, None
        if worker:
            worker.close(within_s)

    def _bring(self, _: None, __: float) -> None:
        """In the worker's thread: one writes, and in a disk that hangs no second one."""
        with self._lock:
            self._asked = False
            if self._writing or self.path is None:
                return
            self._writing = True
            new, self._new = self._new, []
            rewrite = self._rewrite or self._lines > 2 * len(self.marks) + MAX_SPARE_LINES
            known = self.marks - self._given if rewrite else set()
            head = {"bear_alarm_seen": VERSION, "folder": self._folder, "mount": self.mount}
            self._rewrite = False
        lines = None
        try:
            if rewrite:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                replace_whole(self.path, json.dumps(head).encode() + b"\n" + _lines(known))
                lines = len(known)
            else:
                _append(self.path, _lines(new))
                lines = self._lines + len(new)
        except (OSError, OptionError) as error:
            if not self._failing:
                log.warning("%s: which pictures were looked at cannot be remembered (%s)", self.path, error)
        finally:
            with self._lock:
                self._writing, self._failing = False, lines is None
                self._lines = self._lines if lines is None else lines
                self._rewrite = self._rewrite or lines is None  # in memory nothing is lost

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
        self._lines, self._rewrite = len(whole), [*whole, b""] != lines


def mark_of(path: str, size: int, written_ns: int) -> int:
    """64 bits for a file as it is: its path within the folder, its bytes, its time (nanoseconds)."""
    words = f"{path}\0{size}\0{written_ns}".encode(errors="surrogateescape")
    return int.from_bytes(blake2b(words, digest_size=8).digest(), "big")


def seen_file(state: Path, folder: Path) -> Path:
    """Return where in the state folder it is remembered what was seen of a folder; each has a file of its own."""
    number = mark_of(str(folder.expanduser().absolute()), 0, 0)
    name = re.sub(r"[^\w.-]+", "_", folder.name)
    return state / f"seen-{name}-{number:016x}.txt"


def _append(path: Path, lines: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _lines(marks: Iterable[int]) -> bytes:
    return "".join(f"{mark:016x}\n" for mark in marks).encode()


class CrashGuard:
    """Counts how often a picture was begun with, by its mark; with a ``path`` also after the process has died.

    A decoder or the memory may end the process in the middle of a picture, and a service starts it again with the same
    one first. So it is written down before, and a picture that was begun with three times is given up.

    One picture is in hand at a time. Any thread may call; nothing here raises. Not for power cuts: nothing is waited
    for until it is on the disk, and what is torn is forgotten.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.in_hand: int | None = None
        self._executor = DeadlineExecutor()
        self._counts = self._read() if path else {}
        self._failing = False

    def begin(self, mark: int) -> bool:
        """Take a picture in hand; False where that was done often enough, and it is forgotten."""
        count = self._counts.pop(mark, 0)
        begun = count < MAX_CRASHES
        if begun:
            self._counts[mark], self.in_hand = count + 1, mark
        self._write()
        return begun

    def done(self) -> None:
        """Finish with the picture in hand, whatever came of it; also where the process ends, and means to."""
        mark, self.in_hand = self.in_hand, None
        if mark is not None and self._counts.pop(mark, None) is not None:
            self._write()

    def _write(self) -> None:
        path = self.path
        if path is None:
            return
        text = json.dumps({f"{mark:016x}": count for mark, count in self._counts.copy().items()})
        try:
            self._executor(lambda: _replace(path, text), DISK_S)
        except (OSError, DeadlineError) as error:
            if not self._failing:
                log.warning("%s: which pictures are in hand cannot be written down (%s)", path, error or "it hangs")
            self._failing = True
        else:
            self._failing = False

    def _read(self) -> dict[int, int]:
        assert self.path
        try:
            found = json.loads(self._executor(self.path.read_text, DISK_S))
            return {int(mark, 16): int(count) for mark, count in found.items()}
        except (OSError, DeadlineError, ValueError, AttributeError, TypeError):
            return {}  # there was none, or a power cut tore it


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: the process may be ended in the middle of this too, and is not waited for."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
