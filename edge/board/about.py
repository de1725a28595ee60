"""What this machine is: board, system, processor, memory. Read once; None where it does not say."""

from __future__ import annotations

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from edge.board.sensors import memory, supply_ma
from edge.board.sysfs import pairs, text

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
