"""The machine's networks, from small files of the kernel. A device may well have none: nothing here is a fault.

Sources: Documentation/ABI/testing/sysfs-class-net, /proc/net/route and ipv6_route, /proc/net/wireless. Names of WiFi
networks are never read. Whether a radio sleeps (power save) only a program can say: ``edge.board.programs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.board.sysfs import entries, number, text, there, whole

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
