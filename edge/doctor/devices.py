"""Video devices of Linux: which there are, whether this user may open them, and who is using one."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# Nodes of a Raspberry Pi that are no USB camera; edge.camera.live knows them too, and needs OpenCV.
NO_CAMERA = re.compile(r"unicam|rp1[-_]cfe|bcm2835|pispbe|rpi-?(vid|hevc)|hevc-dec|codec", re.IGNORECASE)
PI_PROGRAMS = ("rpicam-vid", "libcamera-vid")
OURS = re.compile(r"bear-alarm|-m\0edge\b")


@dataclass(frozen=True, slots=True)
class Device:
    """One /dev/videoN."""

    path: Path
    group: str
    allowed: bool  # whether this user may open it
    present: bool
    camera: bool  # whether it may be a camera; a board's video decoder is none

    @classmethod
    def of(cls, source: str, root: Path = Path("/")) -> Device | None:
        """The device a source names: 0, /dev/video0, a link to it; None for a stream, a file or another system."""
        word = f"/dev/video{source}" if source.isdecimal() else source
        if not word.startswith("/dev/") or os.name != "posix":
            return None
        path = root / word.removeprefix("/")
        return cls.at(path.resolve() if path.exists() else path, root)

    @classmethod
    def at(cls, path: Path, root: Path) -> Device:
        """The device at a path."""
        try:
            group = path.group()
        except (OSError, KeyError, NotImplementedError):  # not there, a number without a name, Windows
            group = "video"
        present = path.exists()
        try:
            words = (root / "sys/class/video4linux" / path.name / "name").read_text(errors="replace")
        except OSError:
            words = ""
        allowed = not present or os.access(path, os.R_OK | os.W_OK)
        return cls(path, group, allowed, present, not NO_CAMERA.search(words))


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a device open."""

    pid: int
    name: str
    ours: bool  # an alarm


def devices(root: Path = Path("/")) -> list[Device]:
    """All of them, by number."""
    found = [path for path in (root / "dev").glob("video*") if re.fullmatch(r"video\d+", path.name)]
    return [Device.at(path, root) for path in sorted(found, key=lambda path: int(path.name[5:]))]


def holder(device: Device, root: Path = Path("/")) -> Holder | None:
    """Who has it open; None: nobody, or a process of another user, which only root can see."""
    for process in (root / "proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            held = any(each.readlink() == device.path for each in (process / "fd").iterdir())
            if not held:
                continue
            line = (process / "cmdline").read_text(errors="replace")
            name = (process / "comm").read_text(errors="replace").strip()
        except OSError:  # it has ended, or is another user's
            continue
        return Holder(int(process.name), name, bool(OURS.search(line)) and "doctor" not in line)
    return None


def pi_program() -> str | None:
    """The program that gives the pictures of a Raspberry Pi's own camera, where it is installed."""
    return next((name for name in PI_PROGRAMS if shutil.which(name)), None)
