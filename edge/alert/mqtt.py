"""MQTT: every event to a broker through the outbox, and a live state for Home Assistant.

``Mqtt`` is both: a channel of the outbox (``send``) and a sink (called with each event as it happens). It publishes the
questions of supervised cameras, and takes their answers.

mqtt_connection   the connection to the broker, by paho
mqtt_discovery    the names of all topics, and the messages by which Home Assistant adds the entities
mqtt_settings     the broker's address, from a URL or the config
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edge.alert.confirmation import Confirmations, Question
from edge.alert.mqtt_connection import BrokerConnection
from edge.alert.mqtt_discovery import ALARM, MAX_NAME, OFFLINE, ONLINE, Announcer, Topics, device_id
from edge.alert.mqtt_settings import MqttSettings
from edge.alert.replay import Replay
from edge.background import start_thread
from edge.errors import OptionError
from edge.record.outbox import Message, RefusedError
from edge.schema import Event

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

    from edge.record.journal import Journal

log = logging.getLogger(__name__)

BIRTH = "status"  # below the discovery prefix: Home Assistant publishes "online" there when it starts
SETTLE_S = 2.0  # Home Assistant takes a moment to subscribe to what was announced
LOOK_S = 1.0  # how often to ask whether cameras are watched
CLOSE_S = 1.0

STILL_SEES = frozenset({"moved"})  # faults with which bears are found all the same
MAX_REMEMBERED = 100  # visits whose alarm is known: a bear may be found again after its visit was over

LOSS_S = 60.0  # a broken connection is noticed within 45 s: what was published before that may be lost
NEWS_S = 60.0  # an alarm that could not be published is news for so long, and while its bear is there

MAX_ANSWER = 1000  # bytes
IGNORED_S = 60.0  # after a line about an answer that is ignored, further ones are not logged

T = TypeVar("T")


class Mqtt:
    """A channel of the outbox, and a sink that publishes the live state; only ``send`` waits for the network.

    ``cameras`` are announced at once, others with their first event. ``watching`` is asked, in a thread of this class,
    whether a camera's frames are being looked at: one that is not watched reads "unavailable", and "no bear" is
    published only once it was. ``stats`` is asked there for the content of ``<prefix>/stats``, if there is any;
    neither may wait. ``confirmations``: the questions that are asked and answered here, where not everyone in the
    network reads along (``MqttSettings.answers``). ``offered``: takes each message that offers a new model; None: they
    are not subscribed to. ``journal``: gives the one from which events are published again, once it is open; None:
    there will be none. A ``guest`` only delivers events, beside the client of the device:
    another client id, no state, no announcement, no last will.

    What makes something unavailable is published before all else; what makes it available, after its state.
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
        confirmations: Confirmations | None = None,
        offered: Callable[[bytes], object] | None = None,
        journal: Callable[[], Journal | None] | None = None,
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
        # One for each process: two alarms with one broker and prefix must not disconnect each other every second.
        own = uuid.uuid4().hex[:6]
        client_id = settings.client_id or f"bear-alarm-{id_}-{own}"
        self._announcer = Announcer(settings.discovery, self._topics, id_, settings.expire_s, model)
        self._cameras = {camera: CameraState(camera) for camera in cameras}
        self._available: dict[str, bool] = {}  # cameras, as it was last published
        self._alarms = Alarms()
        self._faults: set[str] = set()  # what cannot be published, and was logged
        self._listeners: list[Callable[[], None]] = []
        self._publishing = threading.Lock()  # what is published is the newest state; never held while waiting
        self._changed = threading.Condition()
        self._woken = self._closed = False
        self._announced = self._listeners_called = 0  # with which connection
        self._unknown = False  # a camera that is not announced yet
        self._stats_due = False
        self._confirmations = confirmations if settings.answers and not guest else None
        self._questions: deque[tuple[Question, bool]] = deque(maxlen=MAX_REMEMBERED)  # to publish; True: what became
        self._ignored_at = -math.inf  # when an answer was last logged as ignored, time.monotonic()
        self._offered = None if guest else offered
        topics = [f"{settings.discovery}/{BIRTH}"] if settings.discovery and not guest else []
        topics += [self._topics.answer] if self._confirmations else []
        topics += [self._topics.model] if self._offered else []
        self._replay: Replay | None = None
        if journal and not guest:
            self._replay = Replay(self, journal, self._deliver_replay)
            topics.append(self._topics.replay)
        self._connection = BrokerConnection(
            settings,
            f"{client_id}-{own}" if guest else client_id,
            self._wake,
            will="" if guest else self._topics.available,
            subscriptions=tuple((topic, 1) for topic in topics),
            take=self._take,
        )
        start_thread(self._run, "mqtt")

    @property
    def problem(self) -> str | None:
        """Return why there is no connection, without secrets; None when there is, or none was tried."""
        return self._connection.problem

    def wants(self, event: Event) -> bool:
        """Return True for every event."""
        return True

    def send(self, message: Message) -> None:
        """Publish it with QoS 1 and wait for the broker's acknowledgement, 20 s at most.

        Raises RefusedError for what the broker will never take; UndeliveredError to try again later.
        """
        for event in message.events:
            key = event.boot_id, event.seq, event.id, message.part
            if message.part == "word":
                line = event.to_json().encode()
                self._connection.deliver(self._topics.events, line, key, "word")
                continue
            assert message.picture
            try:
                picture = message.picture.read_bytes()
            except OSError as error:
                raise RefusedError(f"the picture cannot be read any more ({error.strerror})") from None
            real = event.kind != "test"
            topic = self._topics.snapshot(event.camera) if real else self._topics.test_picture
            of = {"boot_id": event.boot_id, "seq": str(event.seq), "id": event.id} if real else None
            self._connection.deliver(topic, picture, key, "picture", retain=real, user=of)

    def listen(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, in a thread of this class, after each connect; it must return at once."""
        self._listeners.append(call)

    def __call__(self, event: Event) -> None:
        """Publish what this event changes; returns at once."""
        if self._guest or event.kind == "test":
            return
        if event.kind != "bear":
            self._stats_due = True  # they list what is wrong
        if event.kind in {"bear", "camera"}:
            self._follow(event)
        if self._unknown or self._stats_due:
            self._wake()

    def ask(self, question: Question) -> None:
        """Publish a question, or what became of it; returns at once."""
        if self._confirmations:
            self._questions.append((question, not question.waits))
            self._wake()

    def _follow(self, event: Event) -> None:
        name, now = event.camera, time.monotonic()
        watched = self._is_watched(name) or (event.kind == "bear" and event.type != "end")
        with self._publishing:
            if self._closed:
                return
            camera = self._cameras.get(name)
            if camera is None:
                if event.type == "end":
                    return  # the last event of a camera that is not watched any more
                camera = self._cameras[name] = CameraState(name)
                self._unknown = True
            before = camera.last_alarm
            if alarm := camera(event):
                self._alarms.add(event.id, self._topics.alarm(name), alarm, now)
            self._publish_camera(camera, watched=watched, with_last_alarm=camera.last_alarm != before)
            self._publish_alarms()

    def close(self) -> None:
        """Publish "offline" and disconnect; within a second, also where the network hangs."""
        with self._changed:
            self._closed = self._woken = True
            self._changed.notify_all()
        if self._replay:
            self._replay.close()
        with self._publishing:
            if not self._guest:
                self._connection.publish(self._topics.available, OFFLINE, retain=True)
                for camera in self._cameras:  # the next run may not know it
                    self._connection.publish(self._topics.camera_available(camera), OFFLINE, retain=True)
        self._connection.close(CLOSE_S)

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _run(self) -> None:
        """In its own thread: the connection, the announcements, and the state every so often."""
        due = 0.0
        while not self._closed:
            # A state that is no longer published would read "unavailable" until the next start.
            due = self._ask("the state", partial(self._step, due), time.monotonic() + self.settings.every_s)
            with self._changed:
                self._changed.wait_for(lambda: self._woken, min(max(due - time.monotonic(), 0.0), LOOK_S))
                self._woken = False

    def _step(self, due: float) -> float:
        """Do what is due, and return when the whole state is due again, time.monotonic()."""
        self._connection.tend()
        connected = self._connection.up and self._listeners_called != self._connection.connects
        if connected:
            self._listeners_called = self._connection.connects
            for call in self._listeners:
                call()
        births = self._receive()
        self._publish_questions(again=connected or any(births))
        announced, now, every_s = self._announce(births), time.monotonic(), self.settings.every_s
        if not announced and now < due:
            self._publish_state(everything=False)
            return due
        self._alarms.ready = not announced
        self._publish_state(everything=True, with_last_alarm=announced)
        return now + (min(SETTLE_S, every_s) if announced else every_s)

    def _publish_questions(self, *, again: bool) -> None:
        """Publish what is new; ``again``: all that waits, for those who were not there when it was asked."""
        if again and self._confirmations:
            queued = [question for question, _ in tuple(self._questions)]
            waiting = (each for each in self._confirmations.open if each.waits and each not in queued)
            self._questions.extend((each, False) for each in waiting)
        while self._questions and self._connection.up:
            question, over = self._questions.popleft()
            event, now = question.event, time.monotonic()
            about: dict[str, Any] = {"id": event.id, "camera": event.camera}
            if over:
                about |= {"answer": question.answer, "by": question.by, "words": question.words(now)}
                self._connection.publish(self._topics.answered, _json(about))
            elif question.waits and now < question.until:  # and not answered meanwhile
                left_s = question.left_s(now)
                about |= {"label": event.label, "score": event.score, "token": question.token}
                about |= {"seconds": None if left_s is None else round(left_s)}
                self._connection.publish(self._topics.question, _json(about))

    def _take(self, message: MQTTMessage) -> None:
        """Hand on a request for a replay, of which a flood must not push out an answer; keep all else."""
        if self._replay and message.topic == self._topics.replay:
            self._replay(bytes(message.payload))
        else:
            self._connection.keep(message)

    def _deliver_replay(self, answer: bytes, asked: object) -> None:
        self._connection.deliver(self._topics.replayed, answer, asked, "replay")

    def _receive(self) -> list[bool]:
        """Take what came: offers, answers, and the births of Home Assistant, which are returned (True: online)."""
        births = []
        for _ in range(len(self._connection.received)):  # of a flood no more than this
            topic, payload = self._connection.received.popleft()
            if self._offered and topic == self._topics.model:
                self._offered(payload)
                continue
            if topic != self._topics.answer:
                births.append(payload == ONLINE.encode())
                continue
            try:
                self._answer(payload)
            except (ValueError, TypeError, KeyError, RecursionError) as error:  # an OptionError is a ValueError
                now = time.monotonic()
                if now - self._ignored_at >= IGNORED_S:
                    self._ignored_at = now
                    why = error if isinstance(error, OptionError) else "it is no answer of this form"
                    log.warning("MQTT: a message on %s is ignored: %s", self._topics.answer, why)
        return births

    def _answer(self, payload: bytes) -> None:
        """Take an answer. Raises ValueError, TypeError, KeyError or RecursionError for what is none."""
        found = json.loads(payload)
        token, answer, by = found["token"], found["answer"], found.get("by", "")
        if len(payload) > MAX_ANSWER or answer not in ("yes", "no") or not (isinstance(token, str) and _is_name(by)):
            raise ValueError
        if self._confirmations:
            self._confirmations.answer(token, answer, f"{by} (MQTT)" if by else "MQTT")

    def _announce(self, births: list[bool]) -> bool:
        """Announce the entities after each connect, after Home Assistant's start, and with a new camera.

        ``births`` of Home Assistant that were received: True where it is online.
        """
        connects = self._connection.connects
        if self._guest or not self._connection.up:
            return False
        with self._publishing:
            if connects != self._announced:
                self._alarms.republish()
            for online in births:
                self._alarms.home_assistant(online=online)
            if not (any(births) or self._unknown or connects != self._announced):
                return False
            self._announced = connects
            self._unknown = False
            cameras = list(self._cameras)
        if self.settings.discovery:
            for topic, payload in self._announcer(cameras):
                self._connection.publish(topic, payload, retain=True)
        return True

    def _publish_state(self, *, everything: bool, with_last_alarm: bool = False) -> None:
        """Publish the state as it is now, or what has changed; ``with_last_alarm``: each camera's last alarm too.

        The device becomes available last: until then the state that the broker retained of the run before is ignored.
        """
        if self._guest or not self._connection.up:
            return
        watched = {name: self._is_watched(name) for name in list(self._cameras)}
        stats_due, self._stats_due = everything or self._stats_due, False
        stats = self._ask("the stats", self._stats_json, None) if stats_due else None
        self._stats_due = stats_due and stats is None  # asked again until there are any
        with self._publishing:
            if self._closed:
                return
            for name, camera in self._cameras.items():
                here = watched.get(name, True)
                changed = (here and camera.sees) != self._available.get(name)
                self._stats_due |= changed
                if everything or changed:
                    self._publish_camera(camera, watched=here, with_last_alarm=with_last_alarm)
            if everything:
                self._connection.publish(self._topics.available, ONLINE, retain=True)
            if stats is not None:
                self._connection.publish(self._topics.stats, stats)
            self._publish_alarms()

    def _publish_camera(self, camera: CameraState, *, watched: bool, with_last_alarm: bool) -> None:
        publish, topics, name = self._connection.publish, self._topics, camera.camera
        sees = self._available[name] = watched and camera.sees
        if not sees:  # first: nothing that follows may be taken for the present
            publish(topics.camera_available(name), OFFLINE, retain=True)
        if watched or camera.faulty:  # first, so that an automation on the bear finds its attributes
            publish(topics.attributes(name), camera.attributes)
        if sees:  # the state before it becomes available: the previous one would be shown for an instant
            publish(topics.bear(name), "ON" if camera.bear else "OFF")
            publish(topics.camera_available(name), ONLINE, retain=True)
        if with_last_alarm and camera.last_alarm:
            publish(topics.last_alarm(name), camera.last_alarm, retain=True)

    def _publish_alarms(self) -> None:
        if self._connection.up:
            visits = {id_ for camera in self._cameras.values() for id_ in camera.visits}
            for topic, payload in self._alarms.due(time.monotonic(), visits):
                self._connection.publish(topic, payload)

    def _is_watched(self, camera: str) -> bool:
        return self._ask(f"the state of {camera}", lambda: self._watching(camera), False)

    def _stats_json(self) -> bytes | None:
        stats = dict(self._stats()) if self._stats else {}
        return json.dumps(stats, default=str).encode() if stats else None  # before the start nothing is known

    def _ask(self, what: str, call: Callable[[], T], otherwise: T) -> T:
        """Return what ``call()`` returns, else ``otherwise``, logged once: all this is asked every few seconds."""
        try:
            found = call()
        except Exception as error:
            if what not in self._faults:
                log.warning("MQTT: %s cannot be published (%s: %s)", what, type(error).__name__, error)
            self._faults.add(what)
            return otherwise
        self._faults.discard(what)
        return found


# The state of each camera, and its alarms, as they are published.


class CameraState:
    """Takes the events of one camera and gives its state. Not for use from two threads."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self.last_alarm: bytes | None = None  # JSON
        self._bears: dict[str, tuple[Event, str]] = {}  # by id: the newest event, and when it began
        self._faults: dict[str, Event] = {}  # by id
        self._alarmed: dict[str, None] = {}  # ids of visits that have alarmed, the newest last

    def __call__(self, event: Event) -> bytes | None:
        """Take one event of kind bear or camera; return the JSON of an alarm that is the first of its visit."""
        if event.kind == "camera":
            _follow(self._faults, event, event)
            return None
        known = event.id in self._bears
        began = self._bears[event.id][1] if known else event.captured_at
        _follow(self._bears, event, (event, began))
        first = event.alarms and event.id not in self._alarmed
        before = not known and event.type == "update" and event.quiet is None  # it alarmed before this run began
        if event.alarms or before:
            self._alarmed.pop(event.id, None)
            self._alarmed[event.id] = None
            if len(self._alarmed) > MAX_REMEMBERED:
                del self._alarmed[next(iter(self._alarmed))]
        if not event.alarms:
            return None
        alarm = {"at": event.captured_at, "label": event.label, "score": event.score, "zones": event.zones}
        alarm |= {"species": event.species, "id": event.id}
        self.last_alarm = _json(alarm | {"again": event.escalated})
        return _json({"event_type": ALARM} | alarm) if first else None

    @property
    def bear(self) -> bool:
        """Return whether a bear is there, also one outside the schedule."""
        return bool(self._bears)

    @property
    def visits(self) -> Collection[str]:
        """Return the ids of the visits that go on."""
        return self._bears.keys()

    @property
    def faulty(self) -> bool:
        """Return True while the camera has a known fault."""
        return bool(self._faults)

    @property
    def sees(self) -> bool:
        """Return whether the camera can see bears: nothing blinds it, or it shows a bear all the same."""
        return self.bear or all(event.label in STILL_SEES for event in self._faults.values())

    @property
    def attributes(self) -> bytes:
        """Return the JSON of the surest bear that is there, and of what is wrong with the camera."""
        surest, since = max(
            self._bears.values(), key=lambda bear: bear[0].top_score or 0.0, default=(None, None)
        )  # fmt: skip
        fault = next(reversed(self._faults.values()), None)
        attributes: dict[str, Any] = {
            "camera": self.camera,
            "bears": len(self._bears),
            "label": surest and surest.label,
            "species": surest and surest.species,
            "score": surest and surest.score,
            "top_score": surest and surest.top_score,
            "zones": surest.zones if surest else (),
            "since": since,
            "quiet": surest and surest.quiet,
            "id": surest and surest.id,
            "trouble": fault and fault.label,
            "trouble_detail": fault and fault.detail,
        }
        return _json(attributes)


def _is_name(words: object) -> bool:
    """Return True for a short name of a person, or none."""
    return isinstance(words, str) and len(words) <= MAX_NAME and words.isprintable()


def _follow(going_on: dict[str, Any], event: Event, known: Any) -> None:
    going_on.pop(event.id, None)
    if event.type != "end":
        going_on[event.id] = known


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


@dataclass(eq=False)
class _Alarm:
    id: str  # of the visit
    topic: str
    payload: bytes
    made_at: float
    published_at: float | None = None

    def counts(self, now: float, visits: Collection[str]) -> bool:
        if self.published_at is not None:
            return now - self.published_at <= LOSS_S
        return self.id in visits or now - self.made_at <= NEWS_S


class Alarms:
    """Takes alarms and gives what to publish now; each once, unless it may have been lost. Not for two threads.

    The broker retains no alarm, so each is published while Home Assistant is connected. Times: time.monotonic().
    ``ready`` is set when Home Assistant has had the time to subscribe to what was announced.
    """

    def __init__(self) -> None:
        self.ready = False
        self._away = False  # Home Assistant has published "offline"
        self._alarms: list[_Alarm] = []

    def add(self, id_: str, topic: str, payload: bytes, now: float) -> None:
        """Take the alarm of one visit."""
        self._alarms.append(_Alarm(id_, topic, payload, now))

    def republish(self) -> None:
        """Publish those of the last minute again: the connection was lost and is back."""
        for alarm in self._alarms:
            alarm.published_at = None

    def home_assistant(self, *, online: bool) -> None:
        """Note that Home Assistant has published "online" or "offline"."""
        if online and not self._away:  # it was away before we connected, so it received nothing
            self.republish()
        self._away = not online

    def due(self, now: float, visits: Collection[str]) -> list[tuple[str, bytes]]:
        """Return topic and payload of each alarm to publish now; ``visits``: ids of those that go on."""
        self._alarms = [alarm for alarm in self._alarms if alarm.counts(now, visits)]
        if self._away or not self.ready:
            return []
        due = [alarm for alarm in self._alarms if alarm.published_at is None]
        for alarm in due:
            alarm.published_at = now
        return [(alarm.topic, alarm.payload) for alarm in due]
