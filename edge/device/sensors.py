"""Sensors of this machine: heat, voltage, free disk space and wear. None: not known.

psutil reads memory, temperatures and mounts; ``root`` is the folder of the ``sys``, ``proc`` and ``etc`` that are read
here. Where each board reports what, from the kernels' own sources and documentation:

- Voltage: Documentation/hwmon/raspberrypi-hwmon.rst. Every Raspberry Pi since kernel 4.19 has a hwmon called
  ``rpi_volt``; its driver asks the firmware every 2 s, and its alarm is on where the voltage was low since then. The
  firmware's own file, ``get_throttled``, is not read: then the kernel writes a warning and calls itself tainted. Only
  the program ``vcgencmd`` knows of the time since the start.
- Slowed down by the kernel itself (boards of others): cooling devices called ``cpufreq-…``
  (drivers/thermal/cpufreq_cooling.c).
- Wear: Documentation/ABI/testing/sysfs-fs-ext4, Documentation/driver-api/mmc/mmc-dev-attrs.rst, JESD84-B51 (eMMC:
  life_time, pre_eol_info). An SD card does not report its wear; what the file system counts is all there is.
- Clock: Documentation/admin-guide/pm/cpufreq.rst.
- Power: Documentation/hwmon/ina2xx.rst and acpi_power_meter.rst; on a Raspberry Pi 5 ``vcgencmd pmic_read_adc``, which
  lists volts and amperes of each rail of its power chip. Boards before it have no sensor.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.background import DeadlineError, DeadlineExecutor, cores

log = logging.getLogger(__name__)

READ_EVERY_S = 5.0  # as often as health asks
READ_WITHIN_S = 0.3  # a disk that is gone may hold a question for its free space for minutes
READING_MAX_AGE_S = 60.0  # an older reading is out of date

MAX_FILE_BYTES = 65_536  # /proc/cpuinfo of a big machine is cut; nothing here is meant to be longer
MIN_C, MAX_C = -40.0, 130.0  # a sensor that is off or broken reads -274 or 255
MIN_CRITICAL_C = 80.0  # a smaller one is not the true one
PC_CHIPS = ("coretemp", "k10temp", "zenpower")
# One processor has many names: cpu_thermal, cpu0-thermal, soc_thermal, bigcore1_thermal, x86_pkg_temp.
PROCESSOR_CHIP = re.compile(rf"{'|'.join(PC_CHIPS)}|cpu|soc|core|pkg_temp|package", re.IGNORECASE)

# Gone with the power; an overlay mostly lies in memory, in a container it is gone with that.
FLEETING = {"tmpfs", "ramfs", "rootfs", "overlay", "overlayfs", "aufs", "unionfs"}
LIFE_OVER = 11  # eMMC: more than all of its estimated life
RESERVE_LOW = 2  # eMMC, pre_eol_info: 80 % of the reserve are used; 3: 90 %

# What makes int8 fast: dot products of bytes in one instruction. Names as /proc/cpuinfo has them (Linux:
# Documentation/arch/arm64/elf_hwcaps.rst, arch/x86/include/asm/cpufeatures.h).
DOT_PRODUCTS = ("asimddp", "i8mm", "avx_vnni", "avx512_vnni", "amx_int8")

PROGRAM_WITHIN_S = 3.0
PMIC = ["vcgencmd", "pmic_read_adc"]
PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/opt/vc/bin")  # iw lies where a plain user's PATH does not lead
FAR_AWAY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation, RFC 5737 and 3849


# The machine at one moment.


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment; None: not known on this board. MB are 10^6 bytes."""

    at: float = 0.0  # seconds of the clock that ``Board.read`` is given
    temperature_c: float | None = None  # of the processor
    critical_c: float | None = None  # at which it slows itself down, where its sensor has it (a PC's)
    undervolted: bool | None = None  # now, or within the last 2 s
    throttled: bool | None = None  # slowed down by the kernel or the firmware, now
    memory_mb: float | None = None  # all there is
    memory_free_mb: float | None = None  # for programs without swapping
    disk_free_mb: float | None = None  # where the state folder is, or the working folder
    read_only: bool | None = None  # the file system there
    fs_errors: int | None = None  # that ext4 has counted there since it was last repaired
    worn: bool | None = None  # the eMMC there reports that its end is near


class Board:
    """Reads the machine, every 5 s at most and never for long. Safe to use from any thread.

    ``state``: the folder whose disk matters, None: the working folder.
    """

    def __init__(self, root: Path = Path("/"), state: Path | None = None) -> None:
        self.root = root
        self.state = state or Path()
        self._executor = DeadlineExecutor()
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._latest = Reading()

    def read(self, now: float) -> Reading:
        """Read how it is at ``now``, seconds of a monotonic clock; what was read within 5 s is not read again.

        Where the machine does not answer at once, the last reading counts for a minute; then nothing is known.
        """
        with self._lock:
            if self._asked_at is None or now - self._asked_at >= READ_EVERY_S:
                self._asked_at = now
                self._latest = self._asked(now)
            return self._latest

    def _asked(self, now: float) -> Reading:
        try:
            return self._executor(lambda: self._look(now), READ_WITHIN_S)
        except DeadlineError:
            return self._latest if now - self._latest.at <= READING_MAX_AGE_S else Reading(now)
        except Exception:  # an alarm must not end because a board has odd files
            log.debug("this machine cannot be read", exc_info=True)
            return Reading(now)

    def _look(self, now: float) -> Reading:
        room = memory()
        mount = mount_of(self.state)
        disk = disk_of(self.root, mount) if mount else None
        return Reading(
            at=now,
            temperature_c=temperature_c(),
            critical_c=critical_c(),
            undervolted=undervolted(self.root),
            throttled=throttled(self.root),
            memory_mb=room.total_mb,
            memory_free_mb=room.available_mb,
            disk_free_mb=free_mb(self.state),
            read_only=mount.read_only if mount else None,
            fs_errors=disk.fs_errors if disk else None,
            worn=disk.worn if disk else None,
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory, MB (10^6 bytes)."""

    total_mb: float
    available_mb: float  # for programs without swapping


def memory() -> Memory:
    """Ask how much memory there is and how much is left."""
    import psutil

    found = psutil.virtual_memory()
    return Memory(found.total / 1e6, found.available / 1e6)


def peak_memory_mb() -> float | None:
    """Return the most memory this process has held, MB (10^6 bytes); None where the system does not report it."""
    # Unlike getrusage's, this does not begin with what the parent had.
    peak = whole(pairs(Path("/proc/self/status")).get("VmHWM", "").removesuffix("kB").strip() or None)
    if peak is not None:
        return peak * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# Heat and power.


def temperature_c() -> float | None:
    """Ask for the processor's temperature, °C: its hottest sensor."""
    chips = [sensors for name, sensors in _temperatures().items() if PROCESSOR_CHIP.search(name)]
    return max((degrees for sensors in chips for degrees, _ in sensors if MIN_C <= degrees <= MAX_C), default=None)


def critical_c() -> float | None:
    """Ask at what temperature a PC's processor slows itself down, °C, where its sensor has it.

    What a board such as the Raspberry Pi calls critical is where it switches itself off: it is slow long before.
    """
    chips = [sensors for name, sensors in _temperatures().items() if name in PC_CHIPS]
    return min(
        (degrees for sensors in chips for _, degrees in sensors if degrees and MIN_CRITICAL_C <= degrees <= MAX_C),
        default=None,
    )


def _temperatures() -> dict[str, list[tuple[float, float | None]]]:
    """Ask for what each chip measures and calls critical, °C; nothing where the system has no such question."""
    import psutil

    if not hasattr(psutil, "sensors_temperatures"):
        return {}
    return {
        name: [(each.current, each.critical) for each in all_] for name, all_ in psutil.sensors_temperatures().items()
    }


def undervolted(root: Path) -> bool | None:
    """Return whether the supply voltage is too low now; None: not known on this board."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text(chip / "name") == "rpi_volt" and (alarm := number(chip / "in0_lcrit_alarm")) is not None:
            return bool(alarm)
    return None


def throttled(root: Path) -> bool | None:
    """Return whether the processor is slowed down now because of heat or power; None: not known on this board."""
    slowed = [
        state > 0
        for each in sorted((root / "sys/class/thermal").glob("cooling_device*"))
        if (text(each / "type") or "").startswith("cpufreq-") and (state := number(each / "cur_state")) is not None
    ]
    return any(slowed) if slowed else None


def clock_mhz(root: Path) -> float | None:
    """Return the clock of the slowest core now, MHz."""
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return min((khz / 1000 for file in files if (khz := number(file))), default=None)


@dataclass(frozen=True, slots=True)
class Throttling:
    """Power and heat by a Raspberry Pi's firmware, now and since the machine started (``before``)."""

    undervolted: bool
    slowed: bool  # or its frequency may not rise
    undervolted_before: bool
    slowed_before: bool


def asked_throttling() -> Throttling | None:
    """Ask ``vcgencmd get_throttled``, for `doctor` and `bench`: ``throttled=0x50005``."""
    bits = whole((_answer(["vcgencmd", "get_throttled"]) or "").rpartition("=")[2].strip() or None, 16)
    if bits is None or not 0 <= bits < 1 << 32:
        return None
    return Throttling(bool(bits & 1), bool(bits & 0b110), bool(bits >> 16 & 1), bool(bits >> 16 & 0b110))


@dataclass(frozen=True, slots=True)
class Power:
    """Electric power."""

    watts: float
    of: str  # what the sensor measures


def power(root: Path) -> Power | None:
    """Ask for the power that this machine draws now, from the sensor that measures most of it; None: not known.

    Nothing draws 0 W: a sensor that reads it measures something else.
    """
    for name, watts in (("the supply", _supply(root)), ("the board without USB", _rails())):
        if watts:
            return Power(round(watts, 2), name)
    return None


def _supply(root: Path) -> float:
    """Return what passes a shunt (INA219, INA226 and the like) or a server's power meter."""
    chips = root.glob("sys/class/hwmon/hwmon*")
    meters = [chip for chip in chips if (text(chip / "name") or "").startswith(("ina2", "power_meter"))]
    files = [chip / name for chip in meters for name in ("power1_input", "power1_average")]
    return max((number(file) or 0 for file in files), default=0) / 1e6


def _rails() -> float:
    """Return what a Raspberry Pi 5's power chip gives: lines such as ``VDD_CORE_A current(7)=0.85232000A``."""
    found: dict[str, float] = {}
    for rail, value in re.findall(r"(\w+_[AV]) (?:current|volt)\(\d+\)=([0-9.]+)[AV]", _answer(PMIC) or ""):
        with suppress(ValueError):
            found[rail] = float(value)
    return sum(amperes * found.get(f"{rail[:-1]}V", 0.0) for rail, amperes in found.items() if rail.endswith("A"))


# What the events are kept on.


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount of a path."""

    folder: Path  # where the file system is mounted
    kind: str  # ext4, vfat, tmpfs, …
    source: str  # /dev/mmcblk0p2, tmpfs, server:/export
    read_only: bool

    @property
    def fleeting(self) -> bool:
        """Return whether what is written there is gone with the power."""
        return self.kind in FLEETING


@dataclass(frozen=True, slots=True)
class Disk:
    """The card or disk below a file system, and what is known of its health."""

    name: str  # mmcblk0, sda, nvme0n1
    part: str  # mmcblk0p2, sda2; the same as ``name`` where it has no parts
    fs_errors: int | None  # ext4: found since it was last repaired
    worn: bool  # the eMMC itself reports that its end is near


def free_mb(path: Path) -> float | None:
    """Ask for the room that is left for this user where the path lies or would lie, MB (10^6 bytes)."""
    try:
        return shutil.disk_usage(existing(path)).free / 1e6
    except (OSError, ValueError):
        return None


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    full = Path(os.path.realpath(path))
    return next((each for each in (full, *full.parents) if each.exists()), full)


def mount_of(path: Path) -> Mount | None:
    """Find the file system in which the path lies or would lie."""
    try:
        full = Path(os.path.realpath(path))
    except (OSError, ValueError):  # the working folder is gone
        return None
    best: Mount | None = None
    for each in mounts():
        # Of two at the same place the later one hides the other.
        if full.is_relative_to(each.folder) and (best is None or len(each.folder.parts) >= len(best.folder.parts)):
            best = each
    return best


def mounts() -> list[Mount]:
    """List the file systems that are mounted, the oldest first."""
    import psutil

    found = psutil.disk_partitions(all=True)
    return [Mount(Path(each.mountpoint), each.fstype, each.device, "ro" in each.opts.split(",")) for each in found]


def disk_of(root: Path, mount: Mount) -> Disk | None:
    """Find the card or disk of a file system; None: it lies on none (memory, a network)."""
    node = root / "sys/class/block" / Path(os.path.realpath(mount.source)).name  # /dev/disk/by-uuid/… is a link
    if not node.exists():
        return None
    node = Path(os.path.realpath(node))
    whole_disk = node.parent if (node / "partition").exists() else node
    device = whole_disk / "device"
    # Two kinds of memory, in tenths begun of their life: ``0x02 0x01``.
    life = [whole(word, 16) for word in (text(device / "life_time") or "").split()]
    return Disk(
        name=whole_disk.name,
        part=node.name,
        fs_errors=number(root / "sys/fs/ext4" / node.name / "errors_count"),
        worn=LIFE_OVER in life or (number(device / "pre_eol_info", 16) or 0) >= RESERVE_LOW,
    )


# What this machine is. Read once.


@dataclass(frozen=True, slots=True)
class About:
    """One machine."""

    board: str | None  # "Raspberry Pi 5 Model B Rev 1.0"
    system: str | None  # "Debian GNU/Linux 12 (bookworm)"
    machine: str  # the kernel's word for the processor: aarch64, x86_64
    cores: int  # that this program may use
    dot_products: bool | None  # whether the processor has what makes int8 fast
    memory_mb: float  # 10^6 bytes


def about(root: Path = Path("/")) -> About:
    """Describe the machine whose ``sys``, ``proc`` and ``etc`` lie in ``root``."""
    return About(
        board=board(root),
        system=system(root),
        machine=platform.machine(),
        cores=cores(),
        dot_products=dot_products(root),
        memory_mb=memory().total_mb,
    )


def board(root: Path) -> str | None:
    """Read the board's name: the device tree's model, or what the maker of a PC has filled in."""
    model = text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")
    if model:
        return model
    words = [text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return " ".join(each for each in words if each) or None


def system(root: Path) -> str | None:
    """Read the operating system's name for people, from os-release."""
    return pairs(root / "etc/os-release").get("PRETTY_NAME")


def dot_products(root: Path) -> bool | None:
    """Return whether the processor has what makes int8 fast; None where /proc/cpuinfo does not list its features."""
    found = pairs(root / "proc/cpuinfo")
    flags = (found.get("Features") or found.get("flags") or "").split()  # Arm; x86
    return any(name in flags for name in DOT_PRODUCTS) if flags else None


# Its networks. A device may well have none: nothing here is a fault.


def radios(root: Path = Path("/")) -> dict[str, bool]:
    """List the WiFi interfaces, each with whether it is linked; names of networks are never read."""
    found = sorted((root / "sys/class/net").glob("*"))
    return {
        each.name: text(each / "operstate") == "up"
        for each in found
        if (each / "phy80211").exists() or (each / "wireless").exists()
    }


def power_save(interface: str) -> bool | None:
    """Ask, for the doctor alone, whether a WiFi interface sleeps between packets; None: ``iw`` does not report it."""
    words = (_answer(["iw", "dev", interface, "get", "power_save"]) or "").lower()
    state = words.rpartition("power save:")[2].strip() if "power save:" in words else ""
    return {"on": True, "off": False}.get(state)


def leads_out() -> bool:
    """Return whether this device has a way out of its own network. Nothing is sent: the kernel alone is asked."""
    for family, address in FAR_AWAY:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return True
    return False


# Small files that a kernel makes up as they are read, and programs: nothing here raises.


def text(path: Path) -> str | None:
    """Read a file without the blanks and NULs around; None where it is missing, empty or unreadable."""
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE_BYTES)
    except (OSError, ValueError):
        return None
    return found.decode("utf-8", "replace").strip(" \t\r\n\0") or None


def number(path: Path, base: int = 10) -> int | None:
    """Read the whole number that the file holds and nothing else; None where it holds no such thing."""
    return whole(text(path), base)


def whole(words: str | None, base: int = 10) -> int | None:
    """Read a whole number in words; None where they are none, or a longer one than any counter has."""
    if words is None or len(words) > 24:
        return None
    try:
        return int(words, base)
    except ValueError:
        return None


def pairs(path: Path) -> dict[str, str]:
    """Read lines such as ``VmHWM: 1234 kB`` or ``NAME="Debian"`` by name, the first of each."""
    found: dict[str, str] = {}
    for line in (text(path) or "").splitlines():
        name, sign, value = line.partition(":" if ":" in line.partition("=")[0] else "=")
        if sign and name.strip():
            found.setdefault(name.strip(), value.strip().strip("\"'"))
    return found


def _answer(command: list[str]) -> str | None:
    """Run a program and return what it prints; None where it is missing, fails, or does not answer in time."""
    program = shutil.which(command[0], path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_WITHIN_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
