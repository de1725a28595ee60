"""Both sides of MQTT: each event from the outbox, in order; and the state of now, said again and again."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from edge.record.outbox import Message, RefusedError
from edge.schema import Event
from edge.sinks.mqtt.address import Settings
from edge.sinks.mqtt.alarms import Alarms
from edge.sinks.mqtt.connection import Connection
from edge.sinks.mqtt.home_assistant import BIRTH, OFFLINE, ONLINE, Announcer
from edge.sinks.mqtt.standing import Standing
from edge.sinks.mqtt.topics import Topics, device_id

log = logging.getLogger(__name__)

SETTLE_S = 2.0  # Home Assistant takes a moment to listen to what was announced
LOOK_S = 1.0  # how often to ask whether cameras are watched
CLOSE_S = 1.0


class Mqtt:
    """A channel of the outbox, and a sink that keeps the live state; neither waits for the network but ``send``.

    ``cameras`` are announced at once, others with their first event. ``watching`` is asked, in a thread of ours,
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
        settings: Settings,
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
        self._standings = {camera: Standing(camera) for camera in cameras}
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
        self._connection = Connection(
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
        """Why there is no connection, in one sentence without secrets; None when there is, or none was tried yet."""
        return self._connection.problem

    @property
    def connected(self) -> bool:
        """Whether the broker has let us in."""
        return self._connection.up

    def wants(self, event: Event) -> bool:
        """Every event."""
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
        """``call`` is called, in a thread of ours, after each connect; it must return at once."""
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
                standing = self._standings[camera] = Standing(camera)
                self._unknown = True
            before = standing.last_alarm
            if alarm := standing(event):
                self._alarms.add(event.id, self._topics.alarm(camera), alarm, now)
            self._show(standing, watched=watched, anew=standing.last_alarm != before)
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
        self._say(all_of_it=True, anew=announced)
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

    def _say(self, *, all_of_it: bool, anew: bool = False) -> None:
        """The state as it is now, or what has changed in it; what is retained as well, where somebody listens ``anew``.

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
                    self._show(standing, watched=here, anew=anew)
            if all_of_it:
                self._connection.say(self._topics.available, ONLINE, retain=True)
            if told is not None:
                self._connection.say(self._topics.stats, told)
            self._say_alarms()

    def _show(self, standing: Standing, *, watched: bool, anew: bool) -> None:
        say, topics, camera = self._connection.say, self._topics, standing.camera
        sees = self._available[camera] = watched and standing.sees
        if not sees:  # first: nothing that follows may be taken for what is there now
            say(topics.seeing(camera), OFFLINE, retain=True)
        if watched or standing.troubled:  # first, so that an automation on the bear finds its attributes
            say(topics.attributes(camera), standing.attributes)
        if sees:  # the state before the word that it counts: that of before would be shown for an instant
            say(topics.bear(camera), "ON" if standing.bear else "OFF")
            say(topics.seeing(camera), ONLINE, retain=True)
        if anew and standing.last_alarm:
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
