"""Home Assistant in small, with a broker in memory: enough to replay what an alarm publishes, and docs' own automation.

States, availability, ``expire_after``, what is restored after a restart, events that ignore what is retained, and state
triggers are as in Home Assistant 2026.2 (components/mqtt, components/event, homeassistant/triggers/state.py).
"""

import json
import math
import re
from collections import deque
from typing import cast

import yaml

from edge.alert import mqtt as mqtt_sink
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url

BIRTH = "homeassistant/status"
GONE = ("unavailable", "unknown")


class Wire:
    """A broker: what is retained, what was published, and who listens."""

    def __init__(self):
        self.retained, self.log, self.listeners = {}, [], []

    def publish(self, topic, payload, *, retain=False):
        """Pass a message on to everyone."""
        payload = payload if isinstance(payload, str) else payload.decode()
        self.log.append((topic, payload))
        if retain:
            self.retained[topic] = payload
        for listener in tuple(self.listeners):
            listener(topic, payload, retained=False)

    def published(self, *topics, since=0):
        """Return the messages of these topics in order, without repeats."""
        found = [(topic, payload) for topic, payload in self.log[since:] if topic in topics]
        return [each for before, each in zip([None, *found], found, strict=False) if each != before]


class Line:
    """Replaces ``BrokerConnection``; a test changes ``up``, and ``broken``, when all is lost and nobody knows."""

    def __init__(self, wire, settings, client_id, call, *, will="", subscriptions=(), take=None):
        self.wire, self.will, self.topics = wire, will, {topic for topic, _ in subscriptions}
        self.up, self.connects, self.problem, self.broken = False, 0, None, False
        self.received: deque[tuple[str, bytes]] = deque()
        wire.listeners.append(self.hear)

    def hear(self, topic, payload, *, retained):
        if self.up and topic in self.topics:
            self.received.append((topic, payload.encode()))

    def tend(self):
        """Nothing to do."""

    def publish(self, topic, payload, *, retain=False):
        if self.up and not self.broken:
            self.wire.publish(topic, payload, retain=retain)

    def close(self, within_s):
        self.up = False


class Entity:
    """One entity of Home Assistant, as its discovery message has it."""

    def __init__(self, component, config, restored=()):
        self.component = component
        self.value: str | None
        self.attributes: dict[str, object]
        self.value, self.attributes = restored or (None, {})
        self.expired = "expire_after" in config and not restored
        self.available: dict[str, bool] = {}
        self.configure(config)

    def configure(self, config):
        """Take over a discovery message, the first or another."""
        self.config = config
        self.templates = {each["topic"]: each.get("value_template") for each in config.get("availability", ())}
        self.available = {topic: self.available.get(topic, False) for topic in self.templates}

    @property
    def topics(self):
        """Return the topics it subscribes to."""
        config = self.config
        return {*self.templates, *(config[key] for key in config if key.endswith("_topic"))}

    @property
    def state(self):
        """The states that Home Assistant shows."""
        if not all(self.available.values()) or self.expired:
            return "unavailable"
        return "unknown" if self.value is None else self.value

    @property
    def kept(self):
        """Restore the states after a restart of Home Assistant."""
        lasting = self.component == "event" or "expire_after" in self.config
        return (self.value, self.attributes) if lasting and self.state not in GONE else ()

    def hear(self, topic, payload, *, retained, now):
        """Take one message."""
        config = self.config
        if topic in self.templates:
            word = render(self.templates[topic], payload)
            self.available[topic] = {"online": True, "offline": False}.get(word, self.available[topic])
        if topic == config.get("json_attributes_topic"):
            self.attributes = json.loads(render(config.get("json_attributes_template"), payload))
        if topic == config.get("image_topic"):
            self.value = now
        if topic != config.get("state_topic"):
            return
        if self.component == "event":
            news = json.loads(payload)
            if not retained and news["event_type"] in config["event_types"]:
                self.value, self.attributes = now, news
            return
        word = render(config.get("value_template"), payload)
        self.expired = False
        self.value = {config.get("payload_on"): "on", config.get("payload_off"): "off", "None": None}.get(word, word)


class Home:
    """Home Assistant: ``history`` of each entity's states, and ``sent``, what its automations asked to notify."""

    def __init__(self, wire, automations=()):
        self.wire, self.automations = wire, automations
        self.entities: dict[str, Entity] = {}
        self.history: dict[str, list[str]] = {}
        self.sent: list[str] = []
        self.clock, self.on, self._shown = 0, False, {}
        wire.listeners.append(self.hear)
        self.start()

    def stop(self):
        """Shut down: it publishes that, and keeps what it restores."""
        self.on = False
        self.wire.publish(BIRTH, "offline")

    def start(self):
        """Start: entities are unavailable until set up; then comes what is retained, then the birth message."""
        restored = {id_: entity.kept for id_, entity in self.entities.items()}
        self.entities, self._restored = {}, restored
        for id_ in restored:
            self._show(id_, "unavailable", {})
        self._subscribe()

    def reconnect(self):
        """The broker was away."""
        self.on = False
        for id_ in self.entities:
            self._show(id_, "unavailable", {})
        self.on = True
        for id_, entity in self.entities.items():
            self._show(id_, entity.state, entity.attributes)
        self._subscribe()

    def expire(self):
        """Nothing was heard for longer than ``expire_after``."""
        for id_, entity in self.entities.items():
            entity.expired = "expire_after" in entity.config
            self._show(id_, entity.state, entity.attributes)

    def hear(self, topic, payload, *, retained):
        if not self.on:
            return
        self.clock += 1
        if match := re.fullmatch(r"homeassistant/(\w+)/\w+/[\w-]+/config", topic):
            self._discover(match[1], json.loads(payload), retained)
        for id_, entity in self.entities.items():
            if topic in entity.topics:
                entity.hear(topic, payload, retained=retained, now=f"event {self.clock}")
                self._show(id_, entity.state, entity.attributes)

    def _subscribe(self):
        self.on = True
        for topic, payload in sorted(self.wire.retained.items(), key=lambda each: not each[0].endswith("/config")):
            self.hear(topic, payload, retained=True)
        self.wire.publish(BIRTH, "online")

    def _discover(self, component, config, retained):
        id_ = f"{component}.{re.sub(r'[^a-z0-9]+', '_', (config['device']['name'] + ' ' + config['name']).lower())}"
        if id_ in self.entities:
            self.entities[id_].configure(config)
            return
        entity = self.entities[id_] = Entity(component, config, self._restored.get(id_, ()))
        self._show(id_, entity.state, entity.attributes)
        for topic in entity.topics & self.wire.retained.keys():
            if not retained:  # else it comes with all that is retained
                self.hear(topic, self.wire.retained[topic], retained=True)

    def _show(self, id_, state, attributes):
        before, now = self._shown.get(id_), (state, {} if state == "unavailable" else dict(attributes))
        self._shown[id_] = now
        if before and before[0] == state:
            return
        self.history.setdefault(id_, []).append(state)
        for automation in self.automations:
            for trigger in automation["triggers"]:
                if id_ == trigger.get("entity_id") and "for" not in trigger and matches(trigger, before, state):
                    self._act(automation, before, now)

    def wait(self):
        """So much time passes that states have lasted as long as any trigger asks for."""
        for automation in self.automations:
            for trigger in automation["triggers"]:
                shown = self._shown.get(trigger.get("entity_id"))
                if "for" in trigger and shown and matches(trigger, None, shown[0]):
                    self._act(automation, None, shown)

    def _act(self, automation, before, now):
        known = {"trigger": {"from_state": as_state(before), "to_state": as_state(now)}, "state_attr": self._attribute}
        if all(render(condition, **known) == "True" for condition in automation.get("conditions", ())):
            self.sent += [render(each["data"]["message"], **known) for each in automation["actions"]]

    def _attribute(self, id_, name):
        return self._shown.get(id_, ("", {}))[1].get(name)


def matches(trigger, before, state):
    """Return True if a state trigger fires; ``from``, ``to`` and their opposites are one state or several."""

    def among(key, value):
        return value in (trigger[key] if isinstance(trigger[key], list) else [trigger[key]])

    was = before and before[0]
    return (
        ("from" not in trigger or among("from", was))
        and ("not_from" not in trigger or not among("not_from", was))
        and ("to" not in trigger or among("to", state))
        and ("not_to" not in trigger or not among("not_to", state))
    )


def as_state(shown):
    """A state as a template sees it."""
    return shown and {"state": shown[0], "attributes": shown[1]}


def render(template, payload="", **known):
    """Render a payload with a template; without one, return the payload."""
    if template is None:
        return payload
    import jinja2

    value_json = json.loads(payload) if payload.startswith("{") else None
    return jinja2.Environment().from_string(template).render(value_json=value_json, value=payload, **known)


def automations(guide):
    """The automations in a guide's YAML."""
    blocks = re.findall(r"```yaml\n(automation:.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    return [each for block in blocks for each in yaml.safe_load(block)["automation"]]


class Process:
    """One run of the alarm that watches "yard"; what its thread does, the test does: ``beat`` and ``look``."""

    def __init__(self, wire, monkeypatch, cameras=("yard",), **more):
        self.watched = dict.fromkeys(cameras, False)
        monkeypatch.setattr(mqtt_sink, "BrokerConnection", lambda *given, **named: Line(wire, *given, **named))
        monkeypatch.setattr(Mqtt, "_run", lambda mqtt: None)
        url = settings_from_url("mqtt://127.0.0.1?every=3600")
        self.mqtt = Mqtt(url, cameras, watching=lambda camera: self.watched[camera], **more)
        self.wire, self.line = wire, cast(Line, self.mqtt._connection)

    def connect(self):
        """The broker accepts the connection; what is published at once, and what after a moment."""
        self.line.up, self.line.broken = True, False
        self.line.connects += 1
        self.beat()

    def beat(self):
        """All that is due now, and all of it once more, as after ``SETTLE_S``."""
        self.look()
        self.mqtt._step(0.0)

    def look(self):
        """A second passes."""
        self.mqtt._step(math.inf)

    def cut(self):
        """The connection is lost: killed, or no network."""
        self.line.up = False
        self.wire.publish(self.line.will, "offline", retain=True)
