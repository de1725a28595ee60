"""Names of all MQTT topics, this device's id, and the messages by which Home Assistant adds its entities by itself.

One retained message for each entity (not one for the whole device, which only versions since late 2024 read).
The keys: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.version import __version__

NAME = "Bear Alarm"
ALARM = "alarm"  # the event type of an alarm in Home Assistant
ONLINE, OFFLINE = "online", "offline"  # payloads of every topic called "available"

MAX_NAME = 40  # characters of a camera's name in a topic
HASHED = re.compile(r"-[0-9a-f]{8}$")  # what ``segment`` appends to a name
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
SERIAL = Path("/sys/firmware/devicetree/base/serial-number")  # a Raspberry Pi's


@dataclass(frozen=True, slots=True)
class Announcer:
    """Makes the discovery messages of one device.

    ``expire_s``: seconds after which a state that was not published again reads "unavailable".
    """

    discovery: str  # Home Assistant's discovery prefix
    topics: Topics
    device_id: str
    expire_s: int
    model: str | None = None  # the model file's name, shown as the device's model

    def __call__(self, cameras: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return (topic, payload) of each entity, to be published retained; the hub first, for the cameras name it."""
        topics = self.topics
        connection = {
            "name": "Connection",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.available,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        }
        problem = {
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topics.stats,
            "value_template": "{{ 'OFF' if value_json.well else 'ON' }}",
            **self._on_or_off,
            "json_attributes_topic": topics.stats,
            "json_attributes_template": "{{ {'reason': value_json.reason, 'problems': value_json.problems} | tojson }}",
            "availability": [{"topic": topics.available}],
        }
        entities = [
            self._entity("binary_sensor", "connection", connection, self._hub),
            self._entity("binary_sensor", "problem", problem, self._hub),
        ]
        for camera in cameras:
            entities += self._camera(camera)
        return entities

    def _camera(self, camera: str) -> list[tuple[str, bytes]]:
        topics, level = self.topics, segment(camera)
        # The third: after its own restart Home Assistant must not show the state it had before, until it is published.
        published = {"topic": topics.bear(camera), "value_template": f"{{{{ '{ONLINE}' }}}}"}
        seeing = {
            "availability": [{"topic": topics.available}, {"topic": topics.camera_available(camera)}, published],
            "availability_mode": "all",
        }
        attributes = topics.attributes(camera)
        bear = {
            "name": "Bear",
            "device_class": "occupancy",
            "icon": "mdi:paw",
            "state_topic": topics.bear(camera),
            **self._on_or_off,
            "json_attributes_topic": attributes,
            **seeing,
        }
        score = {
            "name": "Bear score",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "state_topic": attributes,
            # "None" is how Home Assistant writes a state that is not known.
            "value_template": "{{ (value_json.score * 100) | round(1) if value_json.score is not none else None }}",
            "expire_after": self.expire_s,
            **seeing,
        }
        # The past stays true while the alarm is off: these three are always available.
        alarm = {
            "name": "Alarm",
            "icon": "mdi:paw",
            "state_topic": topics.alarm(camera),
            "event_types": [ALARM],
        }
        last_alarm = {
            "name": "Last alarm",
            "device_class": "timestamp",
            "state_topic": topics.last_alarm(camera),
            "value_template": "{{ value_json.at }}",
            "json_attributes_topic": topics.last_alarm(camera),
        }
        snapshot = {
            "name": "Last bear",
            "image_topic": topics.snapshot(camera),
            "content_type": "image/jpeg",
        }
        problem = {
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": attributes,
            "value_template": "{{ 'ON' if value_json.trouble else 'OFF' }}",
            **self._on_or_off,
            "json_attributes_topic": attributes,
            "availability": [{"topic": topics.available}],
        }
        device = {
            "identifiers": [f"{self._node}_{level}"],
            "name": f"{self._name} {camera}",
            "manufacturer": NAME,
            "via_device": self._node,
        }
        return [
            self._entity("binary_sensor", f"{level}_bear", bear, device),
            self._entity("sensor", f"{level}_score", score, device),
            self._entity("event", f"{level}_alarm", alarm, device),
            self._entity("sensor", f"{level}_lastalarm", last_alarm, device),  # the last _ parts name and what
            self._entity("binary_sensor", f"{level}_problem", problem, device),
            self._entity("image", f"{level}_snapshot", snapshot, device),
        ]

    @property
    def _on_or_off(self) -> dict[str, Any]:
        return {"payload_on": "ON", "payload_off": "OFF", "expire_after": self.expire_s}

    @property
    def _node(self) -> str:
        return f"bear_alarm_{self.device_id}"

    @property
    def _name(self) -> str:
        prefix = self.topics.prefix
        return NAME if prefix == "bear-alarm" else f"{NAME} {prefix}"

    @property
    def _hub(self) -> dict[str, Any]:
        return {
            "identifiers": [self._node],
            "name": self._name,
            "manufacturer": NAME,
            "sw_version": __version__,
            **({"model": self.model} if self.model else {}),
        }

    def _entity(
        self, component: str, object_id: str, config: dict[str, Any], device: dict[str, Any]
    ) -> tuple[str, bytes]:
        config |= {
            "unique_id": f"{self._node}_{object_id}",
            "device": device,
            "origin": {"name": "bear-alarm", "sw_version": __version__},
        }
        return f"{self.discovery}/{component}/{self._node}/{object_id}/config", json.dumps(config).encode("ascii")


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

    @property
    def question(self) -> str:
        """JSON of an alarm that waits for an answer; not retained."""
        return f"{self.prefix}/question"

    @property
    def answer(self) -> str:
        """JSON of a person's answer; the alarm reads it."""
        return f"{self.prefix}/answer"

    @property
    def model(self) -> str:
        """JSON of a new model's URL and signature; retained by who offers it, and read by the alarm."""
        return f"{self.prefix}/model"

    @property
    def answered(self) -> str:
        """JSON about what became of a question; not retained."""
        return f"{self.prefix}/answered"

    @property
    def replay(self) -> str:
        """JSON: which events to publish again; the alarm reads it."""
        return f"{self.prefix}/replay"

    @property
    def replayed(self) -> str:
        """JSON of events of the journal, as they were asked for; not retained."""
        return f"{self.prefix}/replayed"

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
    return f"{platform.node()} {uuid.getnode()}{serial}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip("\0 \n")
    except OSError:
        return ""
