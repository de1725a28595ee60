"""Machines as their kernels show them: small trees of files, as a Raspberry Pi, a PC or a virtual machine has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

MEMINFO = "MemTotal: {total} kB\nMemFree: 1000 kB\nMemAvailable: {left} kB\n" + "".join(
    f"{name}: 0 kB\n" for name in ("Buffers", "Cached", "SReclaimable", "Shmem", "Slab", "Active", "Inactive")
)
ARM_OLD = "fp asimd evtstrm crc32 cpuid"
ARM_NEW = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PI_MOUNTS = """proc /proc proc rw,relatime 0 0
/dev/mmcblk0p2 / ext4 rw,noatime 0 0
tmpfs /tmp tmpfs rw,nosuid,size=400000k 0 0
/dev/mmcblk0p1 /boot/firmware vfat rw,relatime,errors=remount-ro 0 0
/dev/sda1 /mnt/my\\040stick ext4 ro,relatime 0 0
"""

CPU_C = "sys/class/hwmon/hwmon0/temp1_input"  # of a Raspberry Pi


def lay(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files under ``root`` by their paths."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pi(
    root: Path,
    *,
    model: str = "Raspberry Pi 5 Model B Rev 1.0",
    milli_c: str = "54350\n",
    low: str = "0\n",
    features: str = ARM_NEW,
    total_kb: int = 8_245_000,
) -> Path:
    """A Raspberry Pi with Raspberry Pi OS 64-bit on an SD card."""
    card = "sys/devices/platform/axi/mmc_host/mmc0/mmc0:aaaa"
    lay(
        root,
        {
            "proc/device-tree/model": model.encode() + b"\0",
            "proc/cpuinfo": "".join(f"processor\t: {n}\nFeatures\t: {features}\n\n" for n in range(4)),
            "proc/meminfo": MEMINFO.format(total=total_kb, left=total_kb // 2),
            "proc/self/mounts": PI_MOUNTS,
            "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nHOME_URL="https://www.debian.org/"\n',
            "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
            "sys/class/thermal/cooling_device0/cur_state": "2\n",
            "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
            "sys/class/hwmon/hwmon0/temp1_input": milli_c,
            "sys/class/hwmon/hwmon0/temp1_crit": "110000\n",
            "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
            "sys/class/hwmon/hwmon1/in0_lcrit_alarm": low,
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            f"{card}/type": "SD\n",
            f"{card}/block/mmcblk0/stat": "100 0 2000 10 50 0 2000000 20 0 30 40\n",
            f"{card}/block/mmcblk0/mmcblk0p2/partition": "2\n",
            "sys/fs/ext4/mmcblk0p2/errors_count": "0\n",
        },
    )
    link(root, f"{card}/block/mmcblk0/device", "../..")
    link(root, "sys/class/block/mmcblk0p2", f"../../../{card}/block/mmcblk0/mmcblk0p2")
    return root


def zero(root: Path) -> Path:
    """A Raspberry Pi Zero 2 W: little memory, no dot products."""
    return pi(root, model="Raspberry Pi Zero 2 W Rev 1.0", features=ARM_OLD, total_kb=426_000)


def pi4(root: Path) -> Path:
    """A Raspberry Pi 4: no dot products, and no sensor of power."""
    return pi(root, model="Raspberry Pi 4 Model B Rev 1.5", features=ARM_OLD, total_kb=3_885_000)


# In the form in which ``vcgencmd pmic_read_adc`` prints it on a Raspberry Pi 5: currents first, then voltages.
PMIC_ADC = """     3V7_WL_SW_A current(0)=0.09759640A
       3V3_SYS_A current(1)=0.05953380A
       1V8_SYS_A current(2)=0.15615420A
      DDR_VDD2_A current(3)=0.02342314A
      DDR_VDDQ_A current(4)=0.00000000A
       1V1_SYS_A current(5)=0.17957740A
       0V8_SYS_A current(6)=0.34355110A
      VDD_CORE_A current(7)=0.85232000A
     3V7_WL_SW_V volt(8)=3.69921400V
       3V3_SYS_V volt(9)=3.31087900V
       1V8_SYS_V volt(10)=1.79706600V
      DDR_VDD2_V volt(11)=1.10329500V
      DDR_VDDQ_V volt(12)=0.60353100V
       1V1_SYS_V volt(13)=1.10439400V
       0V8_SYS_V volt(14)=0.80231080V
      VDD_CORE_V volt(15)=0.72046880V
         EXT5V_V volt(24)=5.15028000V
          BATT_V volt(25)=0.00000000V
"""


def pc(root: Path) -> Path:
    """A laptop with two kinds of thermometers."""
    disk = "sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0"
    lay(
        root,
        {
            "sys/class/dmi/id/sys_vendor": "LENOVO\n",
            "sys/class/dmi/id/product_name": "20XW00\n",
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: a CPU @ 2.60GHz\nflags\t\t: fpu sse4_1 avx avx2 avx_vnni\n",
            "proc/meminfo": MEMINFO.format(total=16_000_000, left=9_000_000),
            "proc/self/mounts": "/dev/sda2 / btrfs rw,subvol=/root 0 0\n",
            "sys/class/hwmon/hwmon1/name": "nvme\n",
            "sys/class/hwmon/hwmon1/temp1_input": "110000\n",
            "sys/class/hwmon/hwmon2/name": "iwlwifi_1\n",
            "sys/class/hwmon/hwmon2/temp1_input": "120000\n",
            "sys/class/hwmon/hwmon3/name": "coretemp\n",
            "sys/class/hwmon/hwmon3/temp1_input": "99000\n",
            "sys/class/hwmon/hwmon3/temp1_crit": "100000\n",
            f"{disk}/block/sda/stat": "1 1 1 1 1 1 1 1\n",
            f"{disk}/block/sda/sda2/partition": "2\n",
        },
    )
    link(root, f"{disk}/block/sda/device", "../..")
    link(root, "sys/class/block/sda2", f"../../../{disk}/block/sda/sda2")
    return root


def link(root: Path, name: str, to: str) -> None:
    """A link as the kernel makes them: from where it lies."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def boot(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let psutil look at the machine in ``root``, as ``edge.device.sensors`` asks it."""
    if not (root / "proc/meminfo").exists():
        lay(root, {"proc/meminfo": MEMINFO.format(total=1_000_000, left=500_000)})
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: temperatures(root), raising=False)
    return root


def temperatures(root: Path) -> dict[str, list[SimpleNamespace]]:
    """Return what psutil makes of the files of hwmon; its own code is bound to /sys."""
    found: dict[str, list[SimpleNamespace]] = {}
    for path in sorted(root.glob("sys/class/hwmon/hwmon*/temp*_input")):
        critical = path.with_name(path.name.replace("_input", "_crit"))
        try:
            degrees = float(path.read_bytes()) / 1000
            limit = float(critical.read_bytes()) / 1000 if critical.exists() else None
            name = path.with_name("name").read_text().strip()
        except (OSError, ValueError):
            continue
        found.setdefault(name, []).append(SimpleNamespace(current=degrees, critical=limit))
    return found
