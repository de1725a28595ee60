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
  program ``vcgencmd`` does (``edge.board.programs``).
- Slowed down by the kernel itself (boards of others): cooling devices called ``cpufreq-…``, before 5.12
  ``thermal-cpufreq-…`` (drivers/thermal/cpufreq_cooling.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge.board.sysfs import entries, number, pairs, text, whole

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
