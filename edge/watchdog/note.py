"""What was done about an outage, kept on the disk: the process that was started again must know why it was."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edge.errors import OptionError
from edge.files import replace_whole

VERSION = 1
MOUNTS = Path("/proc/self/mountinfo")
# In memory, or over a disk that is never written: a card that is to last is often set up so.
FORGETFUL = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "unionfs", "rootfs"})


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was ordered, and when; ``uptime_s`` of the machine, which may have no clock."""

    wall: str  # ISO 8601, UTC; for people
    boot: str | None  # the kernel's id of this start of the machine
    uptime_s: float
    by: str  # the process


@dataclass(frozen=True, slots=True)
class Note:
    """The restart of the outage that goes on, and the last reboot of all. None: there was none."""

    restart: Step | None = None
    reboot: Step | None = None


# A file that is damaged may have said anything: as if all had been done.
UNREADABLE = Note(Step("", None, 0.0, ""), Step("", None, 0.0, ""))


def read_note(path: Path) -> Note:
    """What the file says; an empty note where there is none. Raises OSError when the disk does not give it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Note()
    try:
        found = json.loads(data)
        if found["version"] != VERSION:
            return UNREADABLE
        return Note(_step(found["restart"]), _step(found["reboot"]))
    except (ValueError, TypeError, KeyError):
        return UNREADABLE


def write_note(path: Path, note: Note) -> Literal[True]:
    """Keep the note, whole or not at all; an empty one is no file. Raises OSError when the disk does not take it."""
    if note == Note():
        path.unlink(missing_ok=True)
        return True
    try:
        replace_whole(path, json.dumps({"version": VERSION} | asdict(note), indent=1).encode() + b"\n")
    except OptionError as error:
        raise OSError(str(error)) from None
    return True


def forgets(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether what is written there may be gone when the machine starts again; also where that is not known."""
    try:
        place, found = folder.resolve(), mounted(mounts)
    except OSError:
        return True
    kind, depth = "", -1
    for point, one in found:
        if place.is_relative_to(point) and len(point.parts) >= depth:  # the last one lies over those before
            kind, depth = one, len(point.parts)
    return not kind or kind in FORGETFUL


def mounted(mounts: Path = MOUNTS) -> list[tuple[Path, str]]:
    """Where file systems are mounted, and of what kind each is; in that order. Raises OSError."""
    found = []
    for line in mounts.read_text(errors="surrogateescape").splitlines():
        words, _, rest = line.partition(" - ")  # proc(5): id, parent, device, root, mount point, options … - kind, …
        point = words.split()[4].encode(errors="surrogateescape").decode("unicode_escape")
        found.append((Path(os.fsdecode(point)), rest.split()[0]))
    return found


def _step(found: Any) -> Step | None:
    """A step as JSON says it. Raises ValueError, TypeError or KeyError."""
    if found is None:
        return None
    step = Step(str(found["wall"]), found["boot"], float(found["uptime_s"]), str(found["by"]))
    if not (step.boot is None or isinstance(step.boot, str)) or not 0.0 <= step.uptime_s < float("inf"):
        raise ValueError("no step")
    return step
