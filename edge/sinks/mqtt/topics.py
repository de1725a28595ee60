"""The names of all topics; and this device's own name, which stays the same over restarts."""

from __future__ import annotations

import hashlib
import platform
import re
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path

LONGEST = 40  # characters of a camera's name in a topic
OURS = re.compile(r"-[0-9a-f]{8}$")  # what ``segment`` puts behind a name
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
SERIAL = Path("/sys/firmware/devicetree/base/serial-number")  # a Raspberry Pi's


def segment(camera: str) -> str:
    """A camera's name as one level of a topic, of ``A-Z a-z 0-9 _ -`` alone; no two cameras share one.

    A name that cannot be taken as it is gets eight figures of its SHA-256 behind it.
    """
    if PLAIN.fullmatch(camera) and len(camera) <= LONGEST and not OURS.search(camera):
        return camera
    ascii_ = unicodedata.normalize("NFKD", camera).encode("ascii", "ignore").decode()
    digest = hashlib.sha256(camera.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', ascii_)[:LONGEST].strip('_-') or 'camera'}-{digest}"


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
        """Each event's JSON."""
        return f"{self.prefix}/events"

    @property
    def stats(self) -> str:
        """JSON about the alarm itself."""
        return f"{self.prefix}/stats"

    @property
    def test_picture(self) -> str:
        """The picture of a test, JPEG; not retained, and no camera's, whatever one is called."""
        return f"{self.prefix}/test_picture"

    def seeing(self, camera: str) -> str:
        """online or offline: whether this camera sees anything; retained."""
        return f"{self.prefix}/{segment(camera)}/available"

    def bear(self, camera: str) -> str:
        """ON or OFF: whether a bear is there; not retained."""
        return f"{self.prefix}/{segment(camera)}/bear"

    def attributes(self, camera: str) -> str:
        """JSON about the bear and the camera's trouble; not retained."""
        return f"{self.prefix}/{segment(camera)}/attributes"

    def alarm(self, camera: str) -> str:
        """JSON of an alarm at the moment it begins; not retained."""
        return f"{self.prefix}/{segment(camera)}/alarm"

    def last_alarm(self, camera: str) -> str:
        """JSON about the last alarm; retained."""
        return f"{self.prefix}/{segment(camera)}/last_alarm"

    def snapshot(self, camera: str) -> str:
        """The last evidence picture, JPEG; retained."""
        return f"{self.prefix}/{segment(camera)}/snapshot"


def device_id(prefix: str, given: str | None = None) -> str:
    """Twelve figures that stay the same on this device for this prefix, and tell nothing of it.

    ``given`` is a client id the user chose; it stands for the device then.
    """
    return hashlib.sha256(f"{given or _machine()} {prefix}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _machine() -> str:
    """What tells this machine from others: a copied SD card shares its machine-id, but not the board's serial."""
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
