"""How warm, how well fed and how busy the machine is, from a few small files of the kernel. None: it does not say.

``root`` is the folder in which ``sys`` and ``proc`` lie. Where which board says what, looked up in the kernels' own
sources and documentation:

- Temperature: Documentation/driver-api/thermal/sysfs-api.rst (``thermal_zone*/type`` and ``temp``, thousandths of a
  degree) and Documentation/hwmon/coretemp.rst, k10temp.rst. A Raspberry Pi has one zone, ``cpu-thermal``.
- Voltage: Documentation/hwmon/raspberrypi-hwmon.rst. Every Raspberry Pi since kernel 4.19 has a hwmon called
  ``rpi_volt``; its driver asks the firmware every 2 s, and its alarm is on where the voltage was low since then.
- Throttling: drivers/firmware/raspberrypi.c of the Raspberry Pi kernel. ``get_throttled`` holds hexadecimal digits
  without 0x. Since 4.19 it is deprecated: the first read after each start has the kernel write a warning with a call
  trace into its log and call itself tainted, so the alarm does not read it where there is ``rpi_volt``. What it holds
  is of that driver's last question, its upper bits too, so it knows nothing of the time since the start: only the
  program ``vcgencmd`` does (``edge.device.sensors``).
- Slowed down by the kernel itself (boards of others): cooling devices called ``cpufreq-…``, before 5.12
  ``thermal-cpufreq-…`` (drivers/thermal/cpufreq_cooling.c).
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import struct
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.background import DeadlineError, DeadlineExecutor

# Small files that a kernel makes up as they are read: what is missing, refused or garbled is None; nothing raises.


MOST_BYTES = 65_536  # /proc/cpuinfo of a big machine is cut; nothing here is meant to be longer
MOST_ENTRIES = 256


def text(path: Path) -> str | None:
    """What the file holds, without the blanks and NULs around it; None where it is missing, empty or unreadable."""
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES)
    except (OSError, ValueError):
        return None
    return found.decode("utf-8", "replace").strip(" \t\r\n\0") or None


def number(path: Path, base: int = 10) -> int | None:
    """The whole number that the file holds and nothing else; None where it holds no such thing."""
    return whole(text(path), base)


def whole(words: str | None, base: int = 10) -> int | None:
    """A whole number in words; None where they are none, or a longer one than any counter has."""
    if words is None or len(words) > 24:
        return None
    try:
        return int(words, base)
    except ValueError:
        return None


def there(path: Path) -> bool:
    """Whether there is such a file or folder, as far as this user may know."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in the folder, by name; nothing where there is no such folder."""
    try:
        return sorted(folder.glob(pattern))[:MOST_ENTRIES]
    except (OSError, ValueError):
        return []


def pairs(path: Path) -> dict[str, str]:
    """Lines such as ``MemTotal: 1234 kB`` or ``NAME="Debian"`` by what stands before the sign; the first of a name."""
    found: dict[str, str] = {}
    for line in (text(path) or "").splitlines():
        name, sign, value = line.partition(":" if ":" in line.partition("=")[0] else "=")
        if sign and name.strip():
            found.setdefault(name.strip(), value.strip().strip("\"'"))
    return found


# One processor has many names: cpu-thermal, cpu_thermal, cpu0-thermal, soc-thermal, bigcore1-thermal, x86_pkg_temp.
PROCESSOR_ZONE = re.compile(r"cpu|soc|core|pkg_temp|package", re.IGNORECASE)
PC_HWMON = {"coretemp", "k10temp", "zenpower"}
PROCESSOR_HWMON = PC_HWMON | {"cpu_thermal", "cpu-thermal", "soc_thermal"}
SLOWED = re.compile(r"(thermal-)?cpufreq-")
LEAST_C, MOST_C = -40.0, 130.0  # a sensor that is off or broken says -274 or 255
LEAST_CRITICAL_C = 80.0  # nobody filled in the true one where it is less
FIRMWARE = Path("sys/devices/platform/soc/soc:firmware/get_throttled")
PI_SUPPLY = Path("proc/device-tree/chosen/power/max_current")


@dataclass(frozen=True, slots=True)
class Throttling:
    """What a Raspberry Pi's firmware says of its power and heat. ``before``: since the machine started, if known."""

    undervolted: bool
    capped: bool  # the processor's frequency may not rise
    throttled: bool
    soft_limit: bool  # slowed a little, from 60 °C (3B+) or 80 °C on
    undervolted_before: bool | None = None
    capped_before: bool | None = None
    throttled_before: bool | None = None
    soft_limit_before: bool | None = None

    @classmethod
    def from_words(cls, words: str | None, *, history: bool) -> Throttling | None:
        """From hexadecimal digits, also ``throttled=0x50005``; ``history``: bits 16 to 19 tell of the whole time."""
        bits = whole((words or "").rpartition("=")[2].strip() or None, 16)
        if bits is None or not 0 <= bits < 1 << 32:
            return None
        now = (bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8))
        if not history:
            return cls(*now)
        return cls(*now, *(bool(bits >> 16 & 1 << bit) for bit in range(4)))


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory, MB (10^6 bytes)."""

    total_mb: float
    available_mb: float  # for programs without swapping


def temperature_c(root: Path) -> float | None:
    """The processor's temperature, °C: its hottest zone, or what hwmon says of it."""
    zones = [zone / "temp" for zone in entries(root / "sys/class/thermal", "thermal_zone*") if _of_processor(zone)]
    found = [degrees for path in zones if (degrees := _degrees(path)) is not None]
    if not found:
        chips = [chip for chip in hwmons(root) if text(chip / "name") in PROCESSOR_HWMON]
        inputs = [path for chip in chips for path in entries(chip, "temp*_input")]
        found = [degrees for path in inputs if (degrees := _degrees(path)) is not None]
    return max(found, default=None)


def critical_c(root: Path) -> float | None:
    """At what temperature a PC's processor slows itself down, °C, where its sensor says so.

    What a board such as the Raspberry Pi calls critical is where it switches itself off: it is slow long before.
    """
    found = [
        degrees
        for chip in hwmons(root)
        if text(chip / "name") in PC_HWMON
        for path in entries(chip, "temp*_crit")
        if (degrees := _degrees(path)) is not None and degrees >= LEAST_CRITICAL_C
    ]
    return min(found, default=None)


def undervolted(root: Path) -> bool | None:
    """Whether the supply voltage is too low now; None: not known on this board."""
    for chip in hwmons(root):
        if text(chip / "name") == "rpi_volt":
            alarm = number(chip / "in0_lcrit_alarm")
            if alarm is not None:
                return bool(alarm)
    found = firmware_throttling(root)
    return found.undervolted if found else None


def throttled(root: Path) -> bool | None:
    """Whether the processor is slowed down now because of heat or power; None: not known on this board."""
    slowed = [
        state > 0
        for each in entries(root / "sys/class/thermal", "cooling_device*")
        if SLOWED.match(text(each / "type") or "") and (state := number(each / "cur_state")) is not None
    ]
    if slowed:
        return any(slowed)
    if any(text(chip / "name") == "rpi_volt" for chip in hwmons(root)):
        return None  # the firmware's file would have to be read, see above
    found = firmware_throttling(root)
    return found.throttled if found else None


def firmware_throttling(root: Path) -> Throttling | None:
    """The Raspberry Pi firmware's word as of the kernel's last question; kernels since 4.19 complain of being asked."""
    return Throttling.from_words(text(root / FIRMWARE), history=False)


def memory(root: Path) -> Memory | None:
    """How much memory there is and how much is left, from /proc/meminfo."""
    found = pairs(root / "proc/meminfo")
    total, available = (
        whole(found.get(name, "").removesuffix("kB").strip() or None) for name in ("MemTotal", "MemAvailable")
    )
    if total is None or available is None or not 0 <= available <= total:
        return None
    return Memory(1024 * total / 1e6, 1024 * available / 1e6)


def supply_ma(root: Path) -> int | None:
    """What a Raspberry Pi 5's supply says it can give, mA; it asks for 5000 (Raspberry Pi documentation)."""
    try:
        cell = (root / PI_SUPPLY).read_bytes()
    except OSError:
        return None
    return int.from_bytes(cell, "big") if len(cell) == 4 else None


def uptime_s(root: Path) -> float | None:
    """Seconds since the machine was started."""
    return _first_float(root / "proc/uptime")


def hwmons(root: Path) -> list[Path]:
    """The folders of the machine's sensors."""
    return entries(root / "sys/class/hwmon", "hwmon*")


def _of_processor(zone: Path) -> bool:
    return bool(PROCESSOR_ZONE.search(text(zone / "type") or ""))


def _degrees(path: Path) -> float | None:
    found = number(path)
    return found / 1000.0 if found is not None and LEAST_C <= found / 1000.0 <= MOST_C else None


def _first_float(path: Path) -> float | None:
    words = (text(path) or "").split()
    try:
        found = float(words[0]) if words else -1.0
    except ValueError:
        return None
    return found if 0.0 <= found < float("inf") else None


# What the events are kept on: room, file system, and what a card or disk says of its health. None: it does not say.
#
# Sources: Documentation/filesystems/proc.rst (mountinfo), Documentation/ABI/testing/sysfs-fs-ext4 and procfs-diskstats,
# Documentation/driver-api/mmc/mmc-dev-attrs.rst, JESD84-B51 (eMMC: life_time, pre_eol_info). An SD card says nothing of
# its wear; what the file system counts is all there is.


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


# The machine itself: how warm, how well fed, how full. Everything is read from small files of the kernel, none of
# which every machine has: what is not known is None, and nothing here raises for what it finds.


log = logging.getLogger(__name__)

EVERY_S = 5.0  # as often as health asks
WITHIN_S = 0.3  # a disk that is gone may keep whoever asks for its free space for minutes
OLD_S = 60.0  # what was read longer ago says nothing of now


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment; None: not known on this board. MB are 10^6 bytes."""

    at: float = 0.0  # seconds of the clock that ``Board.read`` is given
    temperature_c: float | None = None  # of the processor
    critical_c: float | None = None  # at which it slows itself down, where its sensor says so (a PC's)
    undervolted: bool | None = None  # now, or within the last 2 s
    throttled: bool | None = None  # slowed down by the kernel or the firmware, now
    memory_mb: float | None = None  # all there is
    memory_free_mb: float | None = None  # for programs without swapping
    disk_free_mb: float | None = None  # where the state folder is, or the working folder
    read_only: bool | None = None  # the file system there
    fs_errors: int | None = None  # that ext4 has counted there since it was last repaired
    worn: bool | None = None  # the eMMC there says that its end is near


class Board:
    """Reads the machine, every 5 s at most and never for long. Safe to use from any thread.

    ``root``: where ``sys`` and ``proc`` lie; ``state``: the folder whose disk matters, None: the working folder.
    """

    def __init__(
        self, root: Path = Path("/"), state: Path | None = None, *, every_s: float = EVERY_S, within_s: float = WITHIN_S
    ) -> None:
        self.root = root
        self.state = state or Path()
        self.every_s = every_s
        self.within_s = within_s
        self._gate = DeadlineExecutor()
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._latest = Reading()
        self._failed = False

    def read(self, now: float) -> Reading:
        """How it is at ``now``, seconds of a clock that only goes forward; what was read within 5 s is not read again.

        Where the machine does not answer at once the last reading stands for a minute, then nothing is known.
        """
        with self._lock:
            if self._asked_at is None or now - self._asked_at >= self.every_s:
                self._asked_at = now
                self._latest = self._asked(now)
            return self._latest

    def _asked(self, now: float) -> Reading:
        try:
            return self._gate(lambda: self._look(now), self.within_s)
        except DeadlineError:
            return self._latest if now - self._latest.at <= OLD_S else Reading(now)
        except Exception as error:  # an alarm must not end because a board has odd files
            if not self._failed:
                self._failed = True
                log.warning("this machine cannot be read (%s: %s)", type(error).__name__, error)
            return Reading(now)

    def _look(self, now: float) -> Reading:
        room = memory(self.root)
        mount = mount_of(self.root, self.state)
        disk = disk_of(self.root, mount) if mount else None
        return Reading(
            at=now,
            temperature_c=temperature_c(self.root),
            critical_c=critical_c(self.root),
            undervolted=undervolted(self.root),
            throttled=throttled(self.root),
            memory_mb=room.total_mb if room else None,
            memory_free_mb=room.available_mb if room else None,
            disk_free_mb=free_mb(self.state),
            read_only=mount.read_only if mount else None,
            fs_errors=disk.fs_errors if disk else None,
            worn=disk.worn if disk else None,
        )


# What this machine is: board, system, processor, memory. Read once; None where it does not say.


# What makes int8 fast: dot products of bytes in one instruction. Names as /proc/cpuinfo has them (Linux:
# Documentation/arch/arm64/elf_hwcaps.rst, arch/x86/include/asm/cpufeatures.h).
DOT_PRODUCTS = ("asimddp", "i8mm", "avx_vnni", "avx512_vnni", "amx_int8")
FEATURES = ("asimd", "asimdhp", *DOT_PRODUCTS, "neon", "sse4_1", "avx", "avx2", "avx512f")
KERNELS_64 = {"aarch64", "arm64", "x86_64", "amd64", "riscv64"}
PI_5 = re.compile(r"Raspberry Pi (Compute Module )?5")  # older ones are content with less
NOT_FILLED_IN = re.compile(r"to be filled|default string|system product name|not applicable|^none$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class About:
    """One machine."""

    board: str | None  # "Raspberry Pi 5 Model B Rev 1.0"
    system: str | None  # "Debian GNU/Linux 12 (bookworm)"
    kernel: str | None  # its release
    machine: str  # the kernel's word for the processor: aarch64, x86_64
    bits: int  # of this Python: 32 or 64
    cores: int  # that this program may use
    features: tuple[str, ...]  # the processor's, of those that matter here: FEATURES
    memory_mb: float | None  # 10^6 bytes
    supply_ma: int | None  # what a Raspberry Pi 5's supply says it can give

    @property
    def dot_products(self) -> bool | None:
        """Whether the processor has what makes int8 fast; None: its features are not known."""
        return any(name in DOT_PRODUCTS for name in self.features) if self.features else None

    @property
    def half(self) -> bool:
        """Whether this is a 32-bit Python on a 64-bit kernel: for the two together there are hardly any wheels."""
        return self.bits == 32 and self.machine.lower() in KERNELS_64

    @property
    def pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return (self.board or "").startswith("Raspberry Pi")


def about(root: Path = Path("/"), *, machine: str | None = None, bits: int | None = None) -> About:
    """What is known of the machine whose ``sys``, ``proc`` and ``etc`` lie in ``root``."""
    found, name = memory(root), board(root)
    return About(
        board=name,
        system=system(root),
        kernel=text(root / "proc/sys/kernel/osrelease"),
        machine=machine or platform.machine(),
        bits=bits or struct.calcsize("P") * 8,
        cores=cores(),
        features=features(root),
        memory_mb=found.total_mb if found else None,
        supply_ma=supply_ma(root) if PI_5.match(name or "") else None,
    )


def board(root: Path) -> str | None:
    """The board's name: the device tree's model, or what the maker of a PC has filled in."""
    model = text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")
    if model:
        return model
    words = [text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    known = [each for each in words if each and not NOT_FILLED_IN.search(each)]
    return " ".join(known) or None


def system(root: Path) -> str | None:
    """The operating system's name for people, from os-release."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        if name := pairs(root / place).get("PRETTY_NAME"):
            return name
    return None


def features(root: Path) -> tuple[str, ...]:
    """The processor's features of those that matter here; nothing where /proc/cpuinfo does not list them."""
    found = pairs(root / "proc/cpuinfo")
    flags = set((found.get("Features") or found.get("flags") or "").split())  # Arm; x86
    return tuple(name for name in FEATURES if name in flags)


def cores() -> int:
    """Cores that this program may use: a container or a service may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# The machine's networks, from small files of the kernel. A device may well have none: nothing here is a fault.
#
# Sources: Documentation/ABI/testing/sysfs-class-net, /proc/net/route and ipv6_route, /proc/net/wireless. Names of WiFi
# networks are never read. Whether a radio sleeps (power save) only a program can say: ``edge.device.sensors``.


LOOPBACK = 772  # ARPHRD_LOOPBACK, linux/if_arp.h
UP = 0x1  # RTF_UP, linux/route.h
REJECT = 0x200  # RTF_REJECT


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface."""

    name: str
    wifi: bool
    linked: bool | None  # a cable that is in, a network that is joined; None: it does not say
    signal_dbm: float | None  # WiFi: how strongly the other side is heard; below -75 it breaks off now and then


def interfaces(root: Path = Path("/")) -> list[Interface]:
    """All interfaces but the loopback."""
    found = []
    for each in entries(root / "sys/class/net"):
        if number(each / "type") in (None, LOOPBACK):
            continue
        wifi = there(each / "phy80211") or there(each / "wireless")
        found.append(Interface(each.name, wifi, _linked(each), _signal_dbm(root, each.name) if wifi else None))
    return found


def default_route(root: Path = Path("/")) -> str | None:
    """The interface that leads out of this network; None: none does, so nothing beyond it can be reached."""
    for line in (text(root / "proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000" and _leads(fields[3]):
            return fields[0]
    for line in (text(root / "proc/net/ipv6_route") or "").splitlines():
        fields = line.split()
        if len(fields) > 9 and not fields[0].strip("0") and fields[1] == "00" and _leads(fields[8]):
            return fields[9] if fields[9] != "lo" else None
    return None


def _leads(flags: str) -> bool:
    bits = whole(flags, 16) or 0
    return bool(bits & UP) and not bits & REJECT


def _linked(interface: Path) -> bool | None:
    state = text(interface / "operstate")
    if state in ("up", "down", "dormant", "lowerlayerdown", "notpresent"):
        return state == "up"
    carrier = number(interface / "carrier")  # refused while the interface is switched off
    return None if carrier is None else carrier > 0


def _signal_dbm(root: Path, name: str) -> float | None:
    """The level that /proc/net/wireless gives, where it is one in dBm."""
    for line in (text(root / "proc/net/wireless") or "").splitlines():
        first, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and first.strip() == name and len(fields) > 2:
            try:
                level = float(fields[2])
            except ValueError:
                return None
            return level if -120.0 <= level < 0.0 else None
    return None


# What this process itself takes.


def peak_memory_mb(root: Path = Path("/")) -> float | None:
    """The most memory it has held, MB (10^6 bytes); None where the system does not say."""
    # Unlike getrusage's, this does not begin with what the parent had.
    peak = whole(pairs(root / "proc/self/status").get("VmHWM", "").removesuffix("kB").strip() or None)
    if peak is not None:
        return peak * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# What only programs can say. For the doctor alone: each may take seconds, and the alarm calls none of them.


PROGRAM_WITHIN_S = 3.0
PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/opt/vc/bin")  # iw lies where a plain user's PATH does not lead


def asked_throttling(within_s: float = PROGRAM_WITHIN_S) -> Throttling | None:
    """A Raspberry Pi's ``vcgencmd get_throttled``: power and heat now and since the start; None: no such program.

    The kernel's driver clears the history that it is given every 2 s; this program still tells of the whole time.
    """
    return Throttling.from_words(_answer(["vcgencmd", "get_throttled"], within_s), history=True)


def power_save(interface: str, within_s: float = PROGRAM_WITHIN_S) -> bool | None:
    """Whether a WiFi interface sleeps between packets (``iw dev NAME get power_save``); None: nobody says."""
    words = (_answer(["iw", "dev", interface, "get", "power_save"], within_s) or "").lower()
    state = words.rpartition("power save:")[2].strip() if "power save:" in words else ""
    return {"on": True, "off": False}.get(state)


def _answer(command: list[str], within_s: float) -> str | None:
    """What the program prints; None where it is missing, fails, or does not answer in time."""
    import subprocess

    program = shutil.which(command[0], path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
