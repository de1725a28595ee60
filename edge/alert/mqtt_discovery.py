"""MQTT discovery: the messages by which Home Assistant adds this device and its entities by itself.

One retained message for each entity (not one for the whole device, which only versions since late 2024 read).
The keys: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.alert.mqtt_state import ALARM
from edge.alert.mqtt_topics import OFFLINE, ONLINE, Topics, segment
from edge.version import __version__

NAME = "Bear Alarm"


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
            "payload_on": "ON",
            "payload_off": "OFF",
            "expire_after": self.expire_s,
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
        alive = {"availability": [{"topic": topics.available}]}
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
            "payload_on": "ON",
            "payload_off": "OFF",
            "expire_after": self.expire_s,
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
            "payload_on": "ON",
            "payload_off": "OFF",
            "expire_after": self.expire_s,
            "json_attributes_topic": attributes,
            **alive,
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
