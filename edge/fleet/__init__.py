"""Many devices in one view: a subscriber of their MQTT broker, its database and its page."""
