"""The pins of relays and lamps: whether the kernel has them, and free. None is switched."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, split_todo
from edge.cli.doctor.target import Target
from edge.errors import OptionError

FACTORY_VARIABLE = "GPIOZERO_PIN_FACTORY"
# Pins are asked of the kernel (linux/gpio.h, version 2), which switches and claims nothing; gpiozero would make the pin
# an output to find out.
GET_CHIP, CHIP_BYTES = 0x8044B401, 68  # GPIO_GET_CHIPINFO_IOCTL: name[32], label[32], lines
GET_LINE, LINE_BYTES = 0xC100B405, 256  # GPIO_V2_GET_LINEINFO_IOCTL: name[32], consumer[32], offset, attributes, flags
USED = 1
HEADER = "pinctrl-"  # how the chip with the header's pins is labelled: pinctrl-bcm2711, pinctrl-rp1

Ask = Callable[[int, int, bytearray], Any]  # fcntl.ioctl


def check_pins(target: Target, ask: Ask | None = None) -> Iterator[CheckResult]:
    """Check that the pin of every relay and lamp is there and free."""
    alerts = target.settings.alerts
    wanted = [("relay", words) for words in alerts.relays] + [("lamp", words) for words in alerts.deterrent_lamps]
    if not wanted:
        return
    from edge.alert.gpio import parse_pin

    factory = os.environ.get(FACTORY_VARIABLE)
    if factory:
        yield doubt("pins", f"{FACTORY_VARIABLE} is {factory!r}, so perhaps no real pin is switched", "unset it")
    if ask is None:
        import fcntl  # there is none on Windows, which has no pins

        ask = fcntl.ioctl
    try:
        chip = header(target.root, ask)
    except PermissionError:
        yield broken("pins", "this user may not use them", "sudo usermod -aG gpio $USER, then log out and in again")
        return
    if chip is None:
        yield broken("pins", "this machine has none that could be switched", "take the relays out of the config")
        return
    for kind, words in wanted:
        name = f"{kind} {words}"
        try:
            number = parse_pin(words, kind).number
            found = line(chip, number, ask)
        except OptionError as error:
            yield broken(name, *split_todo(str(error), "correct it in the config"))
        except OSError as error:
            yield broken(name, f"there is no such pin on {chip.name} ({error.strerror})", "correct it in the config")
        else:
            yield _pin(target, name, number, found.used, found.by)


def _pin(target: Target, name: str, number: int, used: bool, by: str) -> CheckResult:
    if not used:
        return fine(name, f"pin {number} is there and free; it was not switched")
    if target.alarm_runs:
        return fine(name, f"pin {number} is in use, by the running alarm as it seems ({by or 'no name'})")
    todo = "end the other program, or take another pin (see `pinout` and `gpioinfo`)"
    return broken(name, f"pin {number} is in use by another program ({by or 'no name'})", todo)


@dataclass(frozen=True, slots=True)
class Line:
    """One pin."""

    used: bool
    by: str  # who has it, as that program calls itself; empty where none has


def header(root: Path, ask: Ask) -> Path | None:
    """Find the device of the chip that has the header's pins; None where there is none. Raises OSError."""
    for path in sorted((root / "dev").glob("gpiochip*")):
        answer = _asked(path, GET_CHIP, bytearray(CHIP_BYTES), ask)
        if _text(answer[32:64]).startswith(HEADER):
            return path
    return None


def line(chip: Path, number: int, ask: Ask) -> Line:
    """Ask whether one pin is used, by its BCM number. Raises OSError where there is no such pin."""
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
