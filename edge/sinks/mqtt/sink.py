"""Both sides of MQTT: each event from the outbox, in order; and the state of now, said again and again."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping

from edge.outbox import Message, RefusedError
from edge.schema import Event
from edge.sinks.mqtt.address import Settings
from edge.sinks.mqtt.connection import Connection
from edge.sinks.mqtt.home_assistant import BIRTH, OFFLINE, ONLINE, Announcer
from edge.sinks.mqtt.standing import Standing
from edge.sinks.mqtt.topics import Topics, device_id

log = logging.getLogger(__name__)

SETTLE_S = 2.0  # Home Assistant takes a moment to listen to what was announced
CLOSE_S = 1.0


class Mqtt:
    """A channel of the outbox, and a sink that keeps the live state; neither waits for the network but ``send``.

    ``cameras`` are announced at once, others with their first event. ``watching`` is asked, in a thread of ours,
    whether a camera's frames are being looked at: the state of one that is not watched is not said again, and so
    reads "unavailable"; "no bear" is said only once it was. ``stats`` is asked there for what ``<prefix>/stats`` tells;
    neither may wait. A ``guest`` only delivers events, beside the client of the device: another client id, no state,
    no announcement, no last will.

    Raises OptionError when the CA file cannot be used.
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
        self._seen: set[str] = set()  # cameras that somebody has watched
        self._faults: dict[str, str] = {}  # what cannot be told, and why, as it was last said
        self._listeners: list[Callable[[], None]] = []
        self._saying = threading.Lock()  # what is published is the newest state; never held while waiting
        self._changed = threading.Condition()
        self._called = self._closed = False
        self._announced = self._called_back = 0  # with which connection
        self._unknown = False  # a camera that is not announced yet
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
        if self._guest or event.kind not in {"bear", "camera"}:
            return
        with self._saying:
            standing = self._standings.get(event.camera)
            if standing is None:
                standing = self._standings[event.camera] = Standing(event.camera)
                self._unknown = True
            before = standing.last_alarm
            standing(event)
            self._show(standing, watched=True, anew=standing.last_alarm != before)
        if self._unknown:
            self._call()

    def close(self) -> None:
        """Say "offline" and let go; within a second, also where the network hangs."""
        with self._changed:
            self._closed = self._called = True
            self._changed.notify_all()
        with self._saying:
            if not self._guest:
                self._connection.say(self._topics.available, OFFLINE, retain=True)
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
                self._changed.wait_for(lambda: self._called, max(due - time.monotonic(), 0.0))
                self._called = False

    def _step(self, due: float) -> float:
        """What is to be done now; when the state is due again, time.monotonic()."""
        self._connection.tend()
        if self._connection.up and self._called_back != self._connection.connects:
            self._called_back = self._connection.connects
            for call in self._listeners:
                call()
        announced, now, every_s = self._announce(), time.monotonic(), self.settings.every_s
        if not announced and now < due:
            return due
        self._say_all(anew=announced)
        return now + (min(SETTLE_S, every_s) if announced else every_s)

    def _announce(self) -> bool:
        """Tell Home Assistant what there is: after each connect, after its own start, and of a new camera."""
        heard, connects = self._connection.heard, self._connection.connects
        born = any(heard.pop(0) == ONLINE.encode() for _ in range(len(heard)))
        if self._guest or not self._connection.up or not (born or self._unknown or connects != self._announced):
            return False
        self._announced = connects
        with self._saying:
            self._unknown = False
            cameras = list(self._standings)
        if self.settings.discovery:
            for topic, payload in self._announcer(cameras):
                self._connection.say(topic, payload, retain=True)
        return True

    def _say_all(self, *, anew: bool) -> None:
        """The state of everything, as it is now; what is retained as well, where somebody listens ``anew``."""
        if self._guest or not self._connection.up:
            return
        watched = {camera: self._is_watched(camera) for camera in list(self._standings)}
        self._seen |= {camera for camera, is_so in watched.items() if is_so}
        told = self._tell_stats()
        with self._saying:
            if self._closed:
                return
            for standing in self._standings.values():
                self._show(standing, watched=watched.get(standing.camera, True), anew=anew)
            self._connection.say(self._topics.available, ONLINE, retain=True)
            if told is not None:
                self._connection.say(self._topics.stats, told)

    def _show(self, standing: Standing, *, watched: bool, anew: bool) -> None:
        say, topics, camera = self._connection.say, self._topics, standing.camera
        sees = watched and standing.sees and (standing.bear or camera in self._seen)
        say(topics.seeing(camera), ONLINE if sees else OFFLINE, retain=True)
        if watched:  # first, so that whoever acts on the bear finds what is known of it
            say(topics.attributes(camera), standing.attributes)
        if sees:
            say(topics.bear(camera), "ON" if standing.bear else "OFF")
        if anew and standing.last_alarm:
            say(topics.last_alarm(camera), standing.last_alarm, retain=True)

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
            told = json.dumps(dict(self._stats()), default=str).encode() if self._stats else None
        except Exception as error:
            self._say_fault("the stats", error)
            return None
        self._faults.pop("the stats", None)
        return told

    def _say_fault(self, what: str, error: Exception) -> None:
        """Once, for all this is asked again every few seconds."""
        why = f"{type(error).__name__}: {error}"
        if self._faults.get(what) != why:
            log.warning("MQTT: %s cannot be told (%s)", what, why)
            log.debug("MQTT: %s", what, exc_info=error)
        self._faults[what] = why
