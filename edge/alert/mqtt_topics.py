"""Names of all MQTT topics, and this device's id, which stays the same over restarts."""

from __future__ import annotations

import hashlib
import platform
import re
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path

ONLINE, OFFLINE = "online", "offline"  # payloads of every topic called "available"

MAX_NAME = 40  # characters of a camera's name in a topic
HASHED = re.compile(r"-[0-9a-f]{8}$")  # what ``segment`` appends to a name
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
SERIAL = Path("/sys/firmware/devicetree/base/serial-number")  # a Raspberry Pi's


def segment(camera: str) -> str:
    """Return a camera's name as one level of a topic, of ``A-Z a-z 0-9 _ -`` alone; no two cameras share one.

    A name with other characters, or a long one, ends with eight hexadecimal digits of its SHA-256.
    """
    if PLAIN.fullmatch(camera) and len(camera) <= MAX_NAME and not HASHED.search(camera):
        return camera
    ascii_ = unicodedata.normalize("NFKD", camera).encode("ascii", "ignore").decode()
    digest = hashlib.sha256(camera.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', ascii_)[:MAX_NAME].strip('_-') or 'camera'}-{digest}"


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics below one prefix."""

    prefix: str

    @property
    def available(self) -> str:
        """online or offline: the device as a whole; retained, and the last will."""
        return f"{self.prefix}/available"

    @property
    def events(self) -> str:
        """JSON of each event; not retained."""
        return f"{self.prefix}/events"

    @property
    def stats(self) -> str:
        """JSON about the alarm itself; not retained."""
        return f"{self.prefix}/stats"

    @property
    def test_picture(self) -> str:
        """JPEG of a test; not retained. It belongs to no camera, also where one is called "test"."""
        return f"{self.prefix}/test_picture"

    def camera_available(self, camera: str) -> str:
        """online or offline: whether this camera sees anything; retained."""
        return f"{self.prefix}/{segment(camera)}/available"

    def bear(self, camera: str) -> str:
        """ON or OFF: whether a bear is there; not retained."""
        return f"{self.prefix}/{segment(camera)}/bear"

    def attributes(self, camera: str) -> str:
        """JSON about the bear and the camera's fault; not retained."""
        return f"{self.prefix}/{segment(camera)}/attributes"

    def alarm(self, camera: str) -> str:
        """JSON of an alarm at the moment it begins; not retained."""
        return f"{self.prefix}/{segment(camera)}/alarm"

    def last_alarm(self, camera: str) -> str:
        """JSON about the last alarm; retained."""
        return f"{self.prefix}/{segment(camera)}/last_alarm"

    def snapshot(self, camera: str) -> str:
        """JPEG of the last evidence picture; retained."""
        return f"{self.prefix}/{segment(camera)}/snapshot"


def device_id(prefix: str, given: str | None = None) -> str:
    """Return twelve hexadecimal digits that stay the same on this device for this prefix, and reveal nothing of it.

    ``given``: a client id that the user chose; it replaces the device's own serial numbers.
    """
    return hashlib.sha256(f"{given or _machine()} {prefix}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _machine() -> str:
    """Return what differs from machine to machine: a copied SD card has the same machine-id, not the same serial."""
    serial = _read(SERIAL)
    for path in MACHINE:
        known = _read(path)
        if re.fullmatch(r"[0-9a-f]{32}", known):
            return known + serial
    address = uuid.getnode()
    made_up = address >> 40 & 1  # no network card was found: another number each time
    return f"{platform.node()} {'' if made_up else address}{serial}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip("\0 \n")
    except OSError:
        return ""
