"""MQTT: every event to a broker through the outbox, and a live state for Home Assistant beside it.

``Mqtt`` is both: a channel of the outbox (``send``) and a sink (called with each event as it happens). Below it come
what it says (``CameraState``, ``Alarms``, ``Topics``, ``Announcer``) and what carries that (``BrokerConnection``): paho
reconnects, queues and leaves the last will.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import re
import socket
import ssl
import sys
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.alert.mqtt_settings import MqttSettings
from edge.record.outbox import Message, Part, RefusedError
from edge.schema import Event
from edge.version import __version__

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger(__name__)

ONLINE, OFFLINE = "online", "offline"
BIRTH = "status"  # below the discovery prefix: Home Assistant says "online" there when it starts
SETTLE_S = 2.0  # Home Assistant takes a moment to listen to what was announced
LOOK_S = 1.0  # how often to ask whether cameras are watched
CLOSE_S = 1.0


class UndeliveredError(RuntimeError):
    """The broker has not said that it has the message: try again later."""


class Mqtt:
    """A channel of the outbox, and a sink that keeps the live state; neither waits for the network but ``send``.

    ``cameras`` are announced at once, others with their first event. ``watching`` is asked, in a thread of this class,
    whether a camera's frames are being looked at: one that is not watched reads "unavailable", and "no bear" is said
    only once it was. ``stats`` is asked there for what ``<prefix>/stats`` tells, if anything; neither may wait. A
    ``guest`` only delivers events, beside the client of the device: another client id, no state, no announcement, no
    last will.

    What makes something unavailable is published before all else; what makes it available, after its state.

    Raises OptionError when the CA file cannot be used, UnavailableError when it is not there.
    """

    people = False

    def __init__(
        self,
        settings: MqttSettings,
        cameras: Iterable[str] = (),
        *,
        model: str | None = None,
        watching: Callable[[str], bool] = lambda camera: True,
        stats: Callable[[], Mapping[str, object]] | None = None,
        guest: bool = False,
    ) -> None:
        self.settings = settings
        self.key = f"mqtt {settings.where}/{settings.prefix}"
        self.pictures = settings.pictures
        self._topics = Topics(settings.prefix)
        self._guest = guest
        self._watching = watching
        self._stats = stats
        id_ = device_id(settings.prefix, settings.client_id)
        # One for each process: two alarms with one broker and prefix must not throw each other out, once a second.
        own = uuid.uuid4().hex[:6]
        client_id = settings.client_id or f"bear-alarm-{id_}-{own}"
        self._announcer = Announcer(settings.discovery, self._topics, id_, settings.expire_s, model)
        self._birth = (f"{settings.discovery}/{BIRTH}",) if settings.discovery and not guest else ()
        self._standings = {camera: CameraState(camera) for camera in cameras}
        self._available: dict[str, bool] = {}  # cameras, as it was last published
        self._alarms = Alarms()
        self._faults: dict[str, str] = {}  # what cannot be told, and why, as it was last said
        self._listeners: list[Callable[[], None]] = []
        self._saying = threading.Lock()  # what is published is the newest state; never held while waiting
        self._changed = threading.Condition()
        self._called = self._closed = False
        self._announced = self._called_back = 0  # with which connection
        self._unknown = False  # a camera that is not announced yet
        self._stats_due = False
        self._connection = BrokerConnection(
            settings,
            f"{client_id}-{own}" if guest else client_id,
            self._call,
            will="" if guest else self._topics.available,
            hear=self._birth,
        )
        self._keeper = threading.Thread(target=self._keep, name="mqtt", daemon=True)
        self._keeper.start()

    @property
    def problem(self) -> str | None:
        """Return why there is no connection, without secrets; None when there is, or none was tried."""
        return self._connection.problem

    @property
    def connected(self) -> bool:
        """Return whether the broker has let us in."""
        return self._connection.up

    def wants(self, event: Event) -> bool:
        """Return every event."""
        return True

    def send(self, message: Message) -> None:
        """Publish it with QoS 1 and wait for the broker's word that it has it, 20 s at most.

        Raises RefusedError for what the broker will never take; UndeliveredError to try again later.
        """
        for event in message.events:
            key = event.boot_id, event.seq, event.id, message.part
            if message.part == "word":
                line = event.to_json().encode()
                self._connection.deliver(self._topics.events, line, key, "word")
                continue
            if message.picture is None:
                raise RefusedError("there is no picture to send")
            try:
                picture = message.picture.read_bytes()
            except OSError as error:
                raise RefusedError(f"the picture cannot be read any more ({error.strerror})") from None
            real = event.kind != "test"
            topic = self._topics.snapshot(event.camera) if real else self._topics.test_picture
            self._connection.deliver(topic, picture, key, "picture", retain=real)

    def listen(self, call: Callable[[], None]) -> None:
        """``call`` is called, in a thread of this class, after each connect; it must return at once."""
        self._listeners.append(call)

    def __call__(self, event: Event) -> None:
        """Show what this event changes; returns at once."""
        if self._guest or event.kind == "test":
            return
        if event.kind != "bear":
            self._stats_due = True  # they say what is wrong
        if event.kind != "health":
            self._follow(event)
        if self._unknown or self._stats_due:
            self._call()

    def _follow(self, event: Event) -> None:
        camera, now = event.camera, time.monotonic()
        watched = self._is_watched(camera) or (event.kind == "bear" and event.type != "end")
        with self._saying:
            if self._closed:
                return
            standing = self._standings.get(camera)
            if standing is None:
                if event.type == "end":
                    return  # the last of a camera that is not watched any more
                standing = self._standings[camera] = CameraState(camera)
                self._unknown = True
            before = standing.last_alarm
            if alarm := standing(event):
                self._alarms.add(event.id, self._topics.alarm(camera), alarm, now)
            self._show(standing, watched=watched, with_last_alarm=standing.last_alarm != before)
            self._say_alarms()

    def close(self) -> None:
        """Say "offline" and let go; within a second, also where the network hangs."""
        with self._changed:
            self._closed = self._called = True
            self._changed.notify_all()
        with self._saying:
            if not self._guest:
                self._connection.say(self._topics.available, OFFLINE, retain=True)
                for camera in self._standings:  # the next run may not know it
                    self._connection.say(self._topics.seeing(camera), OFFLINE, retain=True)
        self._connection.close(CLOSE_S)

    def _call(self) -> None:
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def _keep(self) -> None:
        """In its own thread: the connection, the announcements, and the state every so often."""
        due = 0.0
        while not self._closed:
            try:
                due = self._step(due)
                self._faults.pop("the state", None)
            except Exception as error:  # a state that is said no more would read "unavailable" until the next start
                self._say_fault("the state", error)
                due = time.monotonic() + self.settings.every_s
            with self._changed:
                self._changed.wait_for(lambda: self._called, min(max(due - time.monotonic(), 0.0), LOOK_S))
                self._called = False

    def _step(self, due: float) -> float:
        """Do what is due, and return when the whole state is due again, time.monotonic()."""
        self._connection.tend()
        if self._connection.up and self._called_back != self._connection.connects:
            self._called_back = self._connection.connects
            for call in self._listeners:
                call()
        announced, now, every_s = self._announce(), time.monotonic(), self.settings.every_s
        if not announced and now < due:
            self._say(all_of_it=False)
            return due
        self._alarms.ready = not announced
        self._say(all_of_it=True, with_last_alarm=announced)
        return now + (min(SETTLE_S, every_s) if announced else every_s)

    def _announce(self) -> bool:
        """Tell Home Assistant what there is: after each connect, after its own start, and of a new camera."""
        heard, connects = self._connection.heard, self._connection.connects
        news = [heard.pop(0) for _ in range(len(heard))]
        if self._guest or not self._connection.up:
            return False
        with self._saying:
            if connects != self._announced:
                self._alarms.doubt()
            for word in news:
                self._alarms.heard(online=word == ONLINE.encode())
            if not (ONLINE.encode() in news or self._unknown or connects != self._announced):
                return False
            self._announced = connects
            self._unknown = False
            cameras = list(self._standings)
        if self.settings.discovery:
            for topic, payload in self._announcer(cameras):
                self._connection.say(topic, payload, retain=True)
        return True

    def _say(self, *, all_of_it: bool, with_last_alarm: bool = False) -> None:
        """Publish the state as it is now, or what has changed; ``with_last_alarm``: each camera's last alarm too.

        The device becomes available last: until then nobody believes what the broker kept of the run before.
        """
        if self._guest or not self._connection.up:
            return
        watched = {camera: self._is_watched(camera) for camera in list(self._standings)}
        stats_due, self._stats_due = all_of_it or self._stats_due, False
        told = self._tell_stats() if stats_due else None
        self._stats_due = stats_due and told is None  # asked again until there is something to tell
        with self._saying:
            if self._closed:
                return
            for standing in self._standings.values():
                here = watched.get(standing.camera, True)
                changed = (here and standing.sees) != self._available.get(standing.camera)
                self._stats_due |= changed
                if all_of_it or changed:
                    self._show(standing, watched=here, with_last_alarm=with_last_alarm)
            if all_of_it:
                self._connection.say(self._topics.available, ONLINE, retain=True)
            if told is not None:
                self._connection.say(self._topics.stats, told)
            self._say_alarms()

    def _show(self, standing: CameraState, *, watched: bool, with_last_alarm: bool) -> None:
        say, topics, camera = self._connection.say, self._topics, standing.camera
        sees = self._available[camera] = watched and standing.sees
        if not sees:  # first: nothing that follows may be taken for what is there now
            say(topics.seeing(camera), OFFLINE, retain=True)
        if watched or standing.troubled:  # first, so that an automation on the bear finds its attributes
            say(topics.attributes(camera), standing.attributes)
        if sees:  # the state before the word that it counts: that of before would be shown for an instant
            say(topics.bear(camera), "ON" if standing.bear else "OFF")
            say(topics.seeing(camera), ONLINE, retain=True)
        if with_last_alarm and standing.last_alarm:
            say(topics.last_alarm(camera), standing.last_alarm, retain=True)

    def _say_alarms(self) -> None:
        if self._connection.up:
            there = {id_ for standing in self._standings.values() for id_ in standing.visits}
            for topic, payload in self._alarms.due(time.monotonic(), there):
                self._connection.say(topic, payload)

    def _is_watched(self, camera: str) -> bool:
        what = f"whether {camera} is watched"
        try:
            found = self._watching(camera)
        except Exception as error:
            self._say_fault(what, error)
            return False
        self._faults.pop(what, None)
        return found

    def _tell_stats(self) -> bytes | None:
        try:
            told = dict(self._stats()) if self._stats else {}
            line = json.dumps(told, default=str).encode() if told else None  # before the start nothing is known
        except Exception as error:
            self._say_fault("the stats", error)
            return None
        self._faults.pop("the stats", None)
        return line

    def _say_fault(self, what: str, error: Exception) -> None:
        """Once, for all this is asked again every few seconds."""
        why = f"{type(error).__name__}: {error}"
        if self._faults.get(what) != why:
            log.warning("MQTT: %s cannot be told (%s)", what, why)
            log.debug("MQTT: %s", what, exc_info=error)
        self._faults[what] = why


# What is known of one camera now: is a bear there, can it see, and when did it last alarm.

ALARM = "alarm"  # the type of an alarm's event in Home Assistant
STILL_SEES = frozenset({"moved"})  # troubles with which bears are found all the same
MAX_REMEMBERED = 100  # visits whose alarm is known: a bear may be found again after its visit was over


class CameraState:
    """Events of one camera in, its state out. Not for use from two threads."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.last_alarm: bytes | None = None  # JSON
        self._bears: dict[str, tuple[Event, str]] = {}  # by id: the newest event, and when it began
        self._troubles: dict[str, Event] = {}  # by id
        self._alarmed: dict[str, None] = {}  # ids of visits that have alarmed, the newest last

    def __call__(self, event: Event) -> bytes | None:
        """Take one event of kind bear or camera; the JSON of an alarm that is the first of its visit."""
        if event.kind == "camera":
            _follow(self._troubles, event, event)
            return None
        known = event.id in self._bears
        began = self._bears[event.id][1] if known else event.captured_at
        _follow(self._bears, event, (event, began))
        first = event.alarms and event.id not in self._alarmed
        before = not known and event.type == "update" and event.quiet is None  # it alarmed before this began to listen
        if event.alarms or before:
            self._alarmed.pop(event.id, None)
            self._alarmed[event.id] = None
            if len(self._alarmed) > MAX_REMEMBERED:
                del self._alarmed[next(iter(self._alarmed))]
        if not event.alarms:
            return None
        told = {"at": event.captured_at, "label": event.label, "score": event.score, "zones": event.zones}
        told |= {"id": event.id}
        self.last_alarm = _json(told | {"again": event.escalated})
        return _json({"event_type": ALARM} | told) if first else None

    @property
    def bear(self) -> bool:
        """Return whether a bear is there, also one outside the schedule."""
        return bool(self._bears)

    @property
    def visits(self) -> Collection[str]:
        """Ids of the visits that go on."""
        return self._bears.keys()

    @property
    def troubled(self) -> bool:
        """Return True while the camera has a known fault."""
        return bool(self._troubles)

    @property
    def sees(self) -> bool:
        """Return whether the camera can tell: nothing blinds it, or it shows a bear all the same."""
        return self.bear or all(event.label in STILL_SEES for event in self._troubles.values())

    @property
    def attributes(self) -> bytes:
        """JSON of the surest bear that is there, and of what is wrong with the camera."""
        surest, since = max(
            self._bears.values(), key=lambda bear: bear[0].top_score or 0.0, default=(None, None)
        )  # fmt: skip
        trouble = next(reversed(self._troubles.values()), None)
        told: dict[str, Any] = {
            "camera": self.camera,
            "bears": len(self._bears),
            "label": surest and surest.label,
            "score": surest and surest.score,
            "top_score": surest and surest.top_score,
            "zones": surest.zones if surest else (),
            "since": since,
            "quiet": surest and surest.quiet,
            "id": surest and surest.id,
            "trouble": trouble and trouble.label,
            "trouble_detail": trouble and trouble.detail,
        }
        return _json(told)


def _follow(going_on: dict[str, Any], event: Event, known: Any) -> None:
    going_on.pop(event.id, None)
    if event.type != "end":
        going_on[event.id] = known


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode("ascii")


# Alarms for event entities: the broker keeps none of them, so each must be said while somebody hears it.

SURE_S = 60.0  # a broken connection is noticed within 45 s: what was said before that may be lost
NEWS_S = 60.0  # an alarm that could not be heard is still news for so long, and while its bear is there


@dataclass(eq=False)
class _Alarm:
    id: str  # of the visit
    topic: str
    payload: bytes
    made_at: float
    said_at: float | None = None


class Alarms:
    """Alarms in, what to publish now out; each once, unless it may have been lost. Not for use from two threads.

    Times: time.monotonic(). ``ready`` is set when what was announced has had the time to be subscribed to.
    """

    def __init__(self) -> None:
        self.ready = False
        self._away = False  # Home Assistant said that it goes
        self._alarms: list[_Alarm] = []

    def add(self, id_: str, topic: str, payload: bytes, now: float) -> None:
        """Take the alarm of one visit."""
        self._alarms.append(_Alarm(id_, topic, payload, now))

    def doubt(self) -> None:
        """Say those of the last minute again: the connection was lost and is back."""
        for alarm in self._alarms:
            alarm.said_at = None

    def heard(self, *, online: bool) -> None:
        """Home Assistant says that it is there, or goes."""
        if online and not self._away:  # it was away before we were here, so it heard nothing
            self.doubt()
        self._away = not online

    def due(self, now: float, there: Collection[str]) -> list[tuple[str, bytes]]:
        """Topic and payload of each alarm to publish now; ``there``: ids of the visits that go on."""
        self._alarms = [alarm for alarm in self._alarms if _counts(alarm, now, there)]
        if self._away or not self.ready:
            return []
        unsaid = [alarm for alarm in self._alarms if alarm.said_at is None]
        for alarm in unsaid:
            alarm.said_at = now
        return [(alarm.topic, alarm.payload) for alarm in unsaid]


def _counts(alarm: _Alarm, now: float, there: Collection[str]) -> bool:
    if alarm.said_at is not None:
        return now - alarm.said_at <= SURE_S
    return alarm.id in there or now - alarm.made_at <= NEWS_S


# The names of all topics; and this device's own name, which stays the same over restarts.

MAX_NAME = 40  # characters of a camera's name in a topic
OURS = re.compile(r"-[0-9a-f]{8}$")  # what ``segment`` puts behind a name
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
SERIAL = Path("/sys/firmware/devicetree/base/serial-number")  # a Raspberry Pi's


def segment(camera: str) -> str:
    """Return a camera's name as one level of a topic, of ``A-Z a-z 0-9 _ -`` alone; no two cameras share one.

    A name that cannot be taken as it is gets eight figures of its SHA-256 behind it.
    """
    if PLAIN.fullmatch(camera) and len(camera) <= MAX_NAME and not OURS.search(camera):
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
        """Return each event's JSON."""
        return f"{self.prefix}/events"

    @property
    def stats(self) -> str:
        """JSON about the alarm itself."""
        return f"{self.prefix}/stats"

    @property
    def test_picture(self) -> str:
        """Return the picture of a test, JPEG; not retained, and no camera's, whatever one is called."""
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
        """Return the last evidence picture, JPEG; retained."""
        return f"{self.prefix}/{segment(camera)}/snapshot"


def device_id(prefix: str, given: str | None = None) -> str:
    """Twelve figures that stay the same on this device for this prefix, and tell nothing of it.

    ``given`` is a client id the user chose; it stands for the device then.
    """
    return hashlib.sha256(f"{given or _machine()} {prefix}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _machine() -> str:
    """Tell this machine from others: a copied SD card shares its machine-id, but not the board's serial."""
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


# MQTT discovery: the messages by which Home Assistant makes this device and its entities by itself.
#
# One retained message for each entity (not one for the whole device, which only versions since late 2024 read).
# The keys: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery

NAME = "Bear Alarm"


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
        """(topic, payload) of each entity, to be published retained; the hub first, which the cameras name."""
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
        said = [
            self._entity("binary_sensor", "connection", connection, self._hub),
            self._entity("binary_sensor", "problem", problem, self._hub),
        ]
        for camera in cameras:
            said += self._camera(camera)
        return said

    def _camera(self, camera: str) -> list[tuple[str, bytes]]:
        topics, level = self.topics, segment(camera)
        alive = {"availability": [{"topic": topics.available}]}
        # The third: after its own restart Home Assistant must not show the state it had before, until it is said.
        said = {"topic": topics.bear(camera), "value_template": f"{{{{ '{ONLINE}' }}}}"}
        seeing = {
            "availability": [{"topic": topics.available}, {"topic": topics.seeing(camera)}, said],
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
            # "None" is Home Assistant's word for a state that is not known.
            "value_template": "{{ (value_json.score * 100) | round(1) if value_json.score is not none else None }}",
            "expire_after": self.expire_s,
            **seeing,
        }
        # What was stays true while the alarm is off: these three are always available.
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
        told = config | {
            "unique_id": f"{self._node}_{object_id}",
            "device": device,
            "origin": {"name": "bear-alarm", "sw_version": __version__},
        }
        return f"{self.discovery}/{component}/{self._node}/{object_id}/config", json.dumps(told).encode("ascii")


# The connection to one broker: paho's, in its own thread; nothing but ``deliver`` waits.

KEEPALIVE_S = 30  # after 1.5 times as long without a word the broker says the last will
BACK_OFF_S = (1, 10)  # as Home Assistant: who is back later leaves it with what it knew before
STUCK_S = 300.0  # no attempt to connect for so long: paho's thread hangs, or never began
QUICK_S = 10.0  # a connection that ends so soon after a message ended because of it
MAX_BROKEN = 5  # connections in a row that one message may end
HEADER_BYTES = 16  # of a PUBLISH beside topic and payload, at most

# Reason codes of MQTT 5.
BAD_LOGIN = {0x86, 0x87}  # bad user name or password, not authorised
TAKEN_OVER = 0x8E
OLD_PROTOCOL = 0x84  # the broker does not speak this version of MQTT
# DISCONNECT: server busy, shutting down, keep alive timeout, session taken over. No message was the cause.
OF_THE_BROKER = {0x89, 0x8B, 0x8D, TAKEN_OVER}
# PUBACK: not authorised, topic name invalid, packet too large, payload format invalid. All else may pass.
FOR_GOOD = {0x87, 0x90, 0x95, 0x99}


@dataclass(eq=False)
class _Flight:
    """A message on its way: paho sends it again by itself after a reconnect, so it is not published twice."""

    key: object
    client: Client
    info: MQTTMessageInfo
    at: float  # when it was last sent, time.monotonic()
    broken: int = 0  # how often a connection ended with it in a row


class BrokerConnection:
    """One client of one broker. ``will`` is the topic that says "offline" when we are gone.

    ``call`` is called, from any thread, when there is something to ``tend`` to: connected, a message heard, a new
    client needed. It must return at once. ``hear`` are the topics subscribed to.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        call: Callable[[], None],
        *,
        will: str = "",
        hear: tuple[str, ...] = (),
    ) -> None:
        self.settings = settings
        self.client_id = client_id
        self.problem: str | None = None  # one sentence: why there is no connection; None: there is, or not tried yet
        self.up = False
        self.connects = 0  # how often a connection was made
        self.heard: list[bytes] = []  # payloads that came; the reader takes them out
        self._context: ssl.SSLContext | None = settings.tls_context()
        self._call = call
        self._will = will
        self._hear = hear
        self._client: Client | None = None
        self._old_protocol = False  # MQTT 3.1.1, for brokers that know no 5
        self._renew = True
        self._closing = False
        self._changing = threading.Lock()  # of client: paho's loop cannot be stopped while it is being started
        self._tried_at = time.monotonic()
        self._thread: threading.Thread | None = None  # paho's; None: it has not tried to connect yet
        self._largest: int | None = None  # bytes of a packet the broker takes
        self._refusals: dict[int, int] = {}  # message id: reason code
        self._flights: dict[Part, _Flight] = {}
        self._delivering: dict[Part, threading.Lock] = {"word": threading.Lock(), "picture": threading.Lock()}

    def tend(self) -> None:
        """Begin, or begin again if needed. For one thread only; never waits for the network."""
        with self._changing:
            if self._closing:
                return
            stuck = not self.up and time.monotonic() - self._tried_at > STUCK_S
            if stuck or (self._thread and not self._thread.is_alive()):
                log.error("MQTT: the network thread has ended; connecting again")
            elif not self._renew:
                return
            self._renew, self.up, self._thread = False, False, None
            self._tried_at = time.monotonic()
            before, self._client = self._client, None
            if before:
                _let_go(before)
            try:
                self._begin()
            except Exception as error:  # no loopback device, no memory: none of it may end the thread that calls
                self._client = None
                self.problem = f"{self.settings.where}: cannot begin ({error})"
                log.warning("MQTT: %s", self.problem)

    def say(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish with QoS 0 if there is a connection; else nothing happens. Never waits."""
        client = self._client
        if client and self.up:
            client.publish(topic, payload, qos=0, retain=retain)

    def deliver(
        self,
        topic: str,
        payload: bytes,
        key: object,
        part: Part,
        *,
        retain: bool = False,
        within_s: float = 20.0,
    ) -> None:
        """Publish with QoS 1 and wait until the broker has it; called again with the same key, wait on for that one.

        One word and one picture may be on their way at a time. Raises RefusedError for what the broker will never
        take, or a picture that is too much for the connection; UndeliveredError when it is to be tried again.
        """
        with self._delivering[part]:
            flight = self._flights.get(part)
            if flight and flight.key != key:
                flight = None
            if flight and flight.broken >= MAX_BROKEN:
                del self._flights[part]
                raise RefusedError(f"{self.settings.where}: the connection ends each time this message is sent")
            client = self._client
            if client is None or not self.up:
                raise UndeliveredError(self.problem or f"{self.settings.where}: not connected yet")
            if flight is None or flight.client is not client:
                size = len(payload) + len(topic.encode()) + HEADER_BYTES
                if self._largest is not None and size > self._largest:
                    raise RefusedError(f"{self.settings.where}: the broker takes {self._largest} bytes, this is {size}")
                info = client.publish(topic, payload, qos=1, retain=retain)
                flight = self._flights[part] = _Flight(key, client, info, time.monotonic())
            self._wait(flight, part, within_s)

    def _wait(self, flight: _Flight, part: Part, within_s: float) -> None:
        until = time.monotonic() + within_s
        try:
            while not flight.info.is_published():
                if not self.up or flight.client is not self._client:
                    raise UndeliveredError(self.problem or f"{self.settings.where}: the connection was lost")
                if time.monotonic() > until:
                    raise UndeliveredError(f"{self.settings.where}: no answer for {within_s:g} s")
                flight.info.wait_for_publish(0.5)
        except UndeliveredError:
            raise
        except (RuntimeError, ValueError) as error:  # paho's queue is full, or the connection went in between
            del self._flights[part]
            raise UndeliveredError(f"{self.settings.where}: not sent ({error})") from None
        del self._flights[part]
        code = self._refusals.pop(flight.info.mid, None)
        if code in FOR_GOOD:
            raise RefusedError(f"{self.settings.where}: the broker refuses this message (reason 0x{code:02X})")
        if code is not None:
            raise UndeliveredError(f"{self.settings.where}: the broker did not take it (reason 0x{code:02X})")

    def close(self, within_s: float) -> None:
        """Say goodbye, so that the last will is not said; paho's keep-alive ends what hangs after so many seconds."""
        self._closing, self.up = True, False
        with self._changing:
            client, self._client = self._client, None
        if client:
            _let_go(client).join(within_s)

    def _begin(self) -> None:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        settings = self.settings
        version = MQTTv311 if self._old_protocol else MQTTv5
        client = Client(CallbackAPIVersion.VERSION2, self.client_id, protocol=version)
        if settings.user is not None or settings.password is not None:
            client.username_pw_set(settings.user or "", settings.password)
        if self._context:
            client.tls_set_context(self._context)
            client.tls_insecure_set(settings.insecure)
        if self._will:
            client.will_set(self._will, b"offline", qos=1, retain=True)
        client.reconnect_delay_set(*BACK_OFF_S)
        client.on_pre_connect = self._on_try
        client.on_socket_open = self._on_socket
        client.on_connect_fail = self._on_no_connection
        client.on_connect = self._on_answer
        client.on_disconnect = self._on_end
        client.on_publish = self._on_published
        client.on_message = self._on_message
        client.connect_async(settings.host, settings.port, keepalive=KEEPALIVE_S)
        self._client = client
        client.loop_start()

    # In paho's thread, from here on: it may hold its own locks, so nothing here takes one or waits.

    def _on_try(self, client: Client, _: Any) -> None:
        if client is self._client:
            self._tried_at, self._thread = time.monotonic(), threading.current_thread()

    def _on_socket(self, client: Client, _: Any, opened: Any) -> None:
        if isinstance(opened, socket.socket):  # small packets one behind another must not wait 40 ms for each other
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_no_connection(self, client: Client, _: Any) -> None:
        self._say_problem(unreachable(self.settings.where, sys.exc_info()[1], tls=self.settings.tls))

    def _on_answer(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._closing or client is not self._client:
            client.disconnect()
            return
        if reason.is_failure:
            if reason.value == OLD_PROTOCOL and not self._old_protocol:
                self._old_protocol = self._renew = True
                self._call()
            self._say_problem(refused(self.settings.where, reason.value, str(reason)))
            return
        self._largest = (properties.json() if properties else {}).get("MaximumPacketSize")
        for flight in list(self._flights.values()):
            flight.at = time.monotonic()
        for topic in self._hear:
            client.subscribe(topic)
        if self.problem or not self.connects:
            log.info("MQTT: connected to %s", self.settings.where)
        self.problem = None
        self.connects += 1
        self.up = True
        self._call()

    def _on_end(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._closing or client is not self._client:
            return
        was_up, self.up = self.up, False
        if was_up and reason.value not in OF_THE_BROKER:
            self._suspect()
        if was_up or self.problem is None:
            self._say_problem(lost(self.settings.where, reason.value, str(reason), was_up=was_up))

    def _suspect(self) -> None:
        """Note that a message may have ended the connection; a picture sooner than an event."""
        picture, word = self._flights.get("picture"), self._flights.get("word")
        flight = picture or word
        if flight is None:
            return
        because = flight is picture or time.monotonic() - flight.at < QUICK_S
        flight.broken = flight.broken + 1 if because else 0
        if flight.broken >= MAX_BROKEN:
            self._renew = True  # paho would send it again for ever, and nothing else
            self._call()

    def _on_published(self, client: Client, _: Any, message_id: int, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusals[message_id] = reason.value

    def _on_message(self, client: Client, _: Any, message: Any) -> None:
        self.heard.append(bytes(message.payload))
        self._call()

    def _say_problem(self, words: str) -> None:
        if words != self.problem:
            log.warning("MQTT: %s", words)
        self.problem = words


def _let_go(client: Client) -> threading.Thread:
    """End a client; the thread that waits for paho's to end."""
    client.disconnect()
    ending = threading.Thread(target=client.loop_stop, name="mqtt ending", daemon=True)
    ending.start()
    return ending


# Why there is no connection, in one sentence for people; never with a user or password in it.


def unreachable(where: str, error: BaseException | None, *, tls: bool) -> str:
    """Return what kept us from connecting, over TLS or not."""
    host = where.rpartition(":")[0]
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{where}: its certificate is not trusted ({error.verify_message}); give its CA with ca=/path.pem"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return f"{where}: TLS failed ({why or 'no reason given'}); does it speak TLS on this port?"
    if isinstance(error, socket.gaierror):
        return f"{host}: no such host ({error.strerror}); check the name and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: nothing listens there; is the broker running?"
    if isinstance(error, TimeoutError):
        return f"{where}: no answer; check the address and the network"
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"{where}: no connection ({why}); check the network"


def refused(where: str, code: int, name: str) -> str:
    """Return what the broker answered instead of letting us in; ``code`` and ``name`` as MQTT 5 has them."""
    if code in BAD_LOGIN:
        return f"{where}: the broker refuses the user or the password ({name})"
    return f"{where}: the broker refuses the connection ({name})"


def lost(where: str, code: int, name: str, *, was_up: bool) -> str:
    """Return why a connection ended that we did not end."""
    if code == TAKEN_OVER:
        return f"{where}: another client with the same client id took over; give one of them another with client_id="
    if not was_up:
        return f"{where}: the connection ended before the broker answered ({name}); does it want TLS (mqtts://)?"
    return f"{where}: the connection was lost ({name})"
