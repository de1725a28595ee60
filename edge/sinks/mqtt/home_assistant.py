"""MQTT discovery: the messages by which Home Assistant makes this device and its entities by itself.

One retained message for each entity (not one for the whole device, which only versions since late 2024 read).
The keys: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge import __version__
from edge.sinks.mqtt.topics import Topics, segment

NAME = "Bear Alarm"
ONLINE, OFFLINE = "online", "offline"
BIRTH = "status"  # below the discovery prefix: Home Assistant says "online" there when it starts


@dataclass(frozen=True, slots=True)
class Announcer:
    """Makes the discovery messages of one device.

    ``expire_s``: seconds after which a state that was not said again reads "unavailable".
    """

    discovery: str  # Home Assistant's discovery prefix
    topics: Topics
    device_id: str
    expire_s: int
    model: str | None = None  # the model file's name, shown as the device's model

    def __call__(self, cameras: Iterable[str]) -> list[tuple[str, bytes]]:
        """(topic, payload) of each entity, to be published retained."""
        connection = {
            "name": "Connection",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.topics.available,
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        }
        said = [self._entity("binary_sensor", "connection", connection)]
        for camera in cameras:
            said += self._camera(camera)
        return said

    def _camera(self, camera: str) -> list[tuple[str, bytes]]:
        topics, here = self.topics, [{"topic": self.topics.available}]
        seeing = {"availability": [*here, {"topic": topics.seeing(camera)}], "availability_mode": "all"}
        alive = {"availability": here}
        attributes = topics.attributes(camera)
        bear = {
            "name": f"{camera} bear",
            "device_class": "occupancy",
            "icon": "mdi:paw",
            "state_topic": topics.bear(camera),
            "payload_on": "ON",
            "payload_off": "OFF",
            "expire_after": self.expire_s,
            "json_attributes_topic": attributes,
            **seeing,
        }
        score = {
            "name": f"{camera} bear score",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "state_topic": attributes,
            # "None" is Home Assistant's word for a state that is not known.
            "value_template": "{{ (value_json.score * 100) | round(1) if value_json.score is not none else None }}",
            "expire_after": self.expire_s,
            **seeing,
        }
        last_alarm = {
            "name": f"{camera} last alarm",
            "device_class": "timestamp",
            "state_topic": topics.last_alarm(camera),
            "value_template": "{{ value_json.at }}",
            "json_attributes_topic": topics.last_alarm(camera),
            **alive,
        }
        problem = {
            "name": f"{camera} problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": attributes,
            "value_template": "{{ 'ON' if value_json.trouble else 'OFF' }}",
            "payload_on": "ON",
            "payload_off": "OFF",
            "expire_after": self.expire_s,
            "json_attributes_topic": attributes,
            **alive,
        }
        snapshot = {
            "name": f"{camera} last bear",
            "image_topic": topics.snapshot(camera),
            "content_type": "image/jpeg",
            **alive,
        }
        level = segment(camera)
        return [
            self._entity("binary_sensor", f"{level}_bear", bear),
            self._entity("sensor", f"{level}_score", score),
            self._entity("sensor", f"{level}_lastalarm", last_alarm),  # the last _ parts name and what: no two alike
            self._entity("binary_sensor", f"{level}_problem", problem),
            self._entity("image", f"{level}_snapshot", snapshot),
        ]

    def _entity(self, component: str, object_id: str, config: dict[str, Any]) -> tuple[str, bytes]:
        node = f"bear_alarm_{self.device_id}"
        prefix = self.topics.prefix
        device = {
            "identifiers": [node],
            "name": NAME if prefix == "bear-alarm" else f"{NAME} {prefix}",
            "manufacturer": NAME,
            "sw_version": __version__,
            **({"model": self.model} if self.model else {}),
        }
        told = config | {
            "unique_id": f"{node}_{object_id}",
            "device": device,
            "origin": {"name": "bear-alarm", "sw_version": __version__},
        }
        return f"{self.discovery}/{component}/{node}/{object_id}/config", json.dumps(told).encode("ascii")
