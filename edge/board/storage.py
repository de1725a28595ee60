"""What the events are kept on: room, file system, and what a card or disk says of its health. None: it does not say.

Sources: Documentation/filesystems/proc.rst (mountinfo), Documentation/ABI/testing/sysfs-fs-ext4 and procfs-diskstats,
Documentation/driver-api/mmc/mmc-dev-attrs.rst, JESD84-B51 (eMMC: life_time, pre_eol_info). An SD card says nothing of
its wear; what the file system counts is all there is.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.board.sensors import uptime_s
from edge.board.sysfs import number, text, there, whole

FLEETING = {"tmpfs", "ramfs"}  # in memory: gone with the power
OVERLAYS = {"overlay", "overlayfs", "aufs"}
SECTOR = 512  # bytes, as the kernel counts in stat, whatever the disk's own are
LIFE_OVER = 11  # eMMC: more than all of its estimated life
RESERVE_LOW = 2  # eMMC, pre_eol_info: 80 % of the reserve are used; 3: 90 %


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a path lies."""

    folder: Path  # where the file system is mounted
    kind: str  # ext4, vfat, tmpfs, …
    source: str  # /dev/mmcblk0p2, tmpfs, server:/export
    numbers: str  # of its device, "179:2"
    read_only: bool

    @property
    def overlaid(self) -> bool:
        """Whether it is laid over another: in memory, on a Raspberry Pi; in a container, and gone with that."""
        return self.kind in OVERLAYS

    @property
    def fleeting(self) -> bool:
        """Whether what is written there lies in memory and is gone with the power (an overlay mostly is)."""
        return self.kind in FLEETING or self.overlaid


@dataclass(frozen=True, slots=True)
class Disk:
    """The card or disk below a file system, and what is known of its health."""

    name: str  # mmcblk0, sda, nvme0n1
    part: str  # mmcblk0p2, sda2; the same as ``name`` where it has no parts
    kind: str | None  # SD, MMC (an eMMC) or None
    model: str | None
    made: str | None  # month and year, "03/2023"
    life_used_percent: int | None  # eMMC: at most so much of its life is used; above 100: all of it
    reserve: int | None  # eMMC: 1 as it should be, 2 nearly used up, 3 urgent
    fs_errors: int | None  # ext4: found since it was last repaired
    first_error: datetime | None  # ext4, UTC
    io_errors: int | None  # SCSI and USB disks: commands that failed since the start
    written_mb: float | None  # since the machine was started, 10^6 bytes
    written_mb_a_day: float | None

    @property
    def worn(self) -> bool:
        """Whether the eMMC itself says that its end is near."""
        return (self.reserve or 0) >= RESERVE_LOW or (self.life_used_percent or 0) > 100


def free_mb(path: Path) -> float | None:
    """Room that is left for this user where the path lies or would lie, MB (10^6 bytes)."""
    try:
        return shutil.disk_usage(existing(path)).free / 1e6
    except (OSError, ValueError):
        return None


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    full = Path(os.path.realpath(path))
    return next((each for each in (full, *full.parents) if each.exists()), full)


def mount_of(root: Path, path: Path) -> Mount | None:
    """The file system in which the path lies or would lie; ``path`` as the running system sees it."""
    try:
        full, best = Path(os.path.realpath(path)), None
    except (OSError, ValueError):  # the working folder is gone
        return None
    for line in (text(root / "proc/self/mountinfo") or "").splitlines():
        found = _mount(line)
        # Of two at the same place the later one hides the other.
        if found and full.is_relative_to(found.folder) and (best is None or _depth(found) >= _depth(best)):
            best = found
    return best


def disk_of(root: Path, mount: Mount) -> Disk | None:
    """The card or disk of a file system; None: it lies on none (memory, a network)."""
    node = _node(root, mount)
    if node is None:
        return None
    whole_disk = node.parent if there(node / "partition") else node
    device = whole_disk / "device"
    errors = root / "sys/fs/ext4" / node.name
    first_s = number(errors / "first_error_time")
    written_mb = _written_mb(whole_disk)
    up_s = uptime_s(root)
    return Disk(
        name=whole_disk.name,
        part=node.name,
        kind=text(device / "type") if text(device / "type") in ("SD", "MMC") else None,
        model=text(device / "name") or text(device / "model"),
        made=text(device / "date"),
        life_used_percent=_life_used(text(device / "life_time")),
        reserve=number(device / "pre_eol_info", 16),
        fs_errors=number(errors / "errors_count"),
        first_error=_moment(first_s),
        io_errors=number(device / "ioerr_cnt", 16),
        written_mb=written_mb,
        written_mb_a_day=written_mb * 86_400.0 / up_s if written_mb is not None and up_s else None,
    )


def _mount(line: str) -> Mount | None:
    """One line of mountinfo: id, parent, major:minor, root, mount point, options, optional fields, -, kind, source."""
    before, dash, after = line.partition(" - ")
    fields, more = before.split(), after.split()
    if not dash or len(fields) < 6 or len(more) < 2:
        return None
    # The whole file system may be read-only (after an error) where this mount of it is not.
    options = {*fields[5].split(","), *(more[2].split(",") if len(more) > 2 else ())}
    return Mount(Path(_plain(fields[4])), more[0], _plain(more[1]), fields[2], "ro" in options)


def _plain(word: str) -> str:
    r"""Blanks and their like stand as octal numbers: ``\040``."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, sign)
    return word


def _depth(mount: Mount) -> int:
    return len(mount.folder.parts)


def _node(root: Path, mount: Mount) -> Path | None:
    """The folder of the block device, by its numbers, or by its name where the file system has made numbers up."""
    for place in (root / "sys/dev/block" / mount.numbers, root / "sys/class/block" / Path(mount.source).name):
        if there(place):
            return Path(os.path.realpath(place))
    return None


def _written_mb(disk: Path) -> float | None:
    fields = (text(disk / "stat") or "").split()
    sectors = whole(fields[6]) if len(fields) > 6 else None
    return sectors * SECTOR / 1e6 if sectors is not None else None


def _life_used(words: str | None) -> int | None:
    """``0x02 0x01``, two kinds of memory in tenths begun, 0 for unknown: the worse of them in percent."""
    tenths = [whole(word, 16) for word in (words or "").split()]
    known = [each for each in tenths if each is not None and 0 < each <= LIFE_OVER]
    return max(known) * 10 if known else None


def _moment(seconds: int | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OSError, OverflowError, ValueError):
        return None
