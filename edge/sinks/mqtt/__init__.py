"""MQTT: every event to a broker through the outbox, and a live state for Home Assistant beside it.

``Mqtt`` is both: a channel of the outbox (``send``) and a sink (called with each event as it happens).
"""

from edge.sinks.mqtt.address import Settings, settings_from_url
from edge.sinks.mqtt.sink import Mqtt

__all__ = ["Mqtt", "Settings", "settings_from_url"]
