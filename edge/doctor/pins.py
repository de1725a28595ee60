"""Pins of a Raspberry Pi, asked of the kernel: whether one is there and who has it. Nothing is switched or claimed.

``linux/gpio.h``, version 2 of its interface; gpiozero would make the pin an output to find out.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GET_CHIP, CHIP_BYTES = 0x8044B401, 68  # GPIO_GET_CHIPINFO_IOCTL: name[32], label[32], lines
GET_LINE, LINE_BYTES = 0xC100B405, 256  # GPIO_V2_GET_LINEINFO_IOCTL: name[32], consumer[32], offset, attributes, flags
USED = 1
HEADER = "pinctrl-"  # how the chip with the header's pins is labelled: pinctrl-bcm2711, pinctrl-rp1

Ask = Callable[[int, int, bytearray], Any]  # fcntl.ioctl


@dataclass(frozen=True, slots=True)
class Line:
    """One pin."""

    used: bool
    by: str  # who has it, as that program calls itself; empty where nobody has


def header(root: Path, ask: Ask) -> Path | None:
    """The device of the chip that has the header's pins; None where there is none. Raises OSError."""
    for path in sorted((root / "dev").glob("gpiochip*")):
        answer = _asked(path, GET_CHIP, bytearray(CHIP_BYTES), ask)
        if _text(answer[32:64]).startswith(HEADER):
            return path
    return None


def line(chip: Path, number: int, ask: Ask) -> Line:
    """How it stands with one pin, as BCM numbers them. Raises OSError where there is no such pin."""
    question = bytearray(LINE_BYTES)
    struct.pack_into("=I", question, 64, number)
    answer = _asked(chip, GET_LINE, question, ask)
    (flags,) = struct.unpack_from("=Q", answer, 72)
    return Line(bool(flags & USED), _text(answer[32:64]))


def _asked(path: Path, what: int, question: bytearray, ask: Ask) -> bytearray:
    file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        ask(file, what, question)
    finally:
        os.close(file)
    return question


def _text(data: bytearray) -> str:
    return bytes(data).partition(b"\0")[0].decode(errors="replace")
