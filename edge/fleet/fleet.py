"""The view over many devices: one MQTT subscriber that keeps what all of them say.

devices    what is known of each device
messages   reading what devices send, which may be hostile
store      what is on the disk

paho's thread only queues; one thread reads, writes and asks; another one decodes pictures. A message is acknowledged to
the broker when it is on the disk: what this program or the disk loses, the broker sends again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.alert.mqtt_connection import MAX_UNACKED, BrokerConnection
from edge.alert.mqtt_discovery import OFFLINE, ONLINE, Topics, segment
from edge.alert.mqtt_settings import MqttSettings
from edge.background import start_thread
from edge.errors import OptionError
from edge.fleet.devices import SKIPPED_S, Device, Known, State
from edge.fleet.messages import (
    CLOCK_SET,
    MAX_BYTES,
    MAX_ID,
    MAX_PICTURE_BYTES,
    Answer,
    MessageError,
    Place,
    answer_of,
    event_of,
    good_name,
    parse,
    taken_at,
)
from edge.fleet.store import NO_BROKER, SESSION, FleetStore, FleetWriter
from edge.pictures import SOF, camera_jpeg, segments
from edge.record.database import DiskError
from edge.schema import Event

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

log = logging.getLogger(__name__)

MAX_DEVICES = 100_000
BURST, RATE = 2_000.0, 20.0  # messages of a device at once, and a second after that; so many questions to all
UNIT_BYTES = 4_096  # of JSON; a longer message counts as several
PICTURE_COST, UNASKED_COST = 4.0, 50.0  # messages that a picture counts as, and an answer to no question of this fleet
MAX_DEVICE_WAITING = 3 * MAX_PICTURE_BYTES  # bytes of its pictures that wait to be decoded
MAX_WAITING = 20 * MAX_PICTURE_BYTES
MAX_DEVICE_PICTURES, MAX_PICTURES = 5, 40  # that wait: they hold the broker's window, ``MAX_UNACKED``
SEQUENTIAL = {0xC0, 0xC1}  # the starts of frame (ITU-T T.81) of a JPEG that is no progressive one
SCAN, MAX_SCANS = b"\xff\xda", 8  # each scan is a walk over the whole picture; a thumbnail has some, too
AT_ONCE = 200  # messages in one transaction
SAVE_S = 60.0  # how often what is heard of a device is written while nothing changes
TRIM_S = 300.0
LOOK_S = 1.0
AGAIN_S = 1.0  # after a failure of the disk
NOTICE_S = 3_600.0
FORGOT_S = 86_400.0
SETTLE_S = 60.0  # after the broker is back, until each device has spoken again
CLOSE_S = 1.0
FRESH_S = 120.0  # an event no older than this was sent just now

After = Callable[[float, float], None]  # what to do once it is on the disk, with now and mono


@dataclass(slots=True)
class _Bucket:
    """The messages that a device may still send now."""

    left: float
    at: float  # mono
    most: float = BURST

    def take(self, cost: float, mono: float) -> bool:
        self.left, self.at = min(self.most, self.left + (mono - self.at) * RATE), mono
        if self.left < cost:
            return False
        self.left -= cost
        return True


@dataclass(slots=True)
class _Record:
    """A message that was read: what is to be written before the broker may forget it."""

    message: MQTTMessage
    device: str
    write: Callable[[FleetWriter, dict[str, Place]], After | None] | None = None


class Fleet:
    """Listens to all devices below ``settings.prefix`` and keeps what they say in ``folder``. For any thread.

    A device that says nothing for ``silent_after_s``, or for four times as long as it sends its state, is silent.
    """

    def __init__(
        self,
        settings: MqttSettings,
        folder: Path,
        *,
        silent_after_s: float = 600.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.changes = 0  # another number: a device's state or an event may be new; for those who would ask often
        self._silent_after_s = silent_after_s
        self._clock, self._monotonic = clock, monotonic
        self._store = FleetStore(folder)
        self._connection: BrokerConnection | None = None
        self._thread: threading.Thread | None = None
        self._trouble: str | None = None
        self._closed = False
        # What came and was not read yet; paho's thread adds to it.
        self._changed = threading.Condition()
        self._woken = False
        self._queue: OrderedDict[object, MQTTMessage] = OrderedDict()
        self._pictures: OrderedDict[str, deque[tuple[MQTTMessage, str, Place]]] = OrderedDict()  # by device, in turns
        self._decoded: list[_Record] = []
        self._buckets: dict[str, _Bucket] = {}
        self._refused: Counter[tuple[str, str]] = Counter()  # by device and what it is
        self._called = 0  # with which connection
        # What is known; held for a moment only, and never while on the disk.
        self._knowing = threading.RLock()
        self._known: dict[str, Known] = {}
        self._notices: dict[str, tuple[str, float]] = {}  # by what it is: a sentence, until when; time.time()
        self._not_devices: set[str] = set()  # cameras of a device that publishes to the fleet's own prefix
        self._unnamed = 0  # messages of no device
        self._forgot_at = -math.inf  # when the broker's forgetting was logged; time.time()
        # Of the thread that reads and writes.
        self._unwritten: list[_Record] = []
        self._again_at = self._looked_at = -math.inf
        self._trimmed_at: float | None = None
        self._connects = 0
        self._connected_at: float | None = None
        self._had_session = False
        self._begun = 0  # database files in place of damaged ones
        self._lost_at = 0.0  # since when there is no broker, time.time(); 0: there is one
        self._metas: dict[str, str] = {}  # to be written
        self._questions = _Bucket(RATE, 0.0, RATE)

    def start(self) -> None:
        """Begin to listen. Raises OptionError where another fleet uses the folder, or it cannot be written."""
        writer = FleetWriter(self.folder)
        try:
            session = writer.session()
            client_id = self.settings.client_id or session or f"bear-alarm-fleet-{uuid.uuid4().hex[:12]}"
            writer.sweep()
            self._known = {known.name: known for known in writer.load()}
            self._had_session = session == client_id
            self._lost_at = float(writer.meta(NO_BROKER) or 0.0)
        except DiskError as error:
            writer.close()
            raise OptionError(f"{error}; the fleet cannot be kept there: name another --state") from None
        prefix = self.settings.prefix
        own = Topics(prefix)
        self._connection = BrokerConnection(
            self.settings,
            client_id,
            self._call,
            subscriptions=(
                (f"{prefix}/+/events", 1),
                (f"{prefix}/+/available", 1),
                (f"{prefix}/+/replayed", 1),
                (f"{prefix}/+/+/snapshot", 1),
                (f"{prefix}/+/stats", 0),  # else they would fill the broker's queue while this program is away
                (own.stats, 0),
            ),
            session=True,
            take=self._take,
        )
        self._connection.tend()
        self._thread = start_thread(lambda: self._run(writer), "fleet")
        start_thread(self._decode, "fleet pictures")

    def close(self) -> None:
        """End, within about a second; what was not written is sent again by the broker."""
        with self._changed:
            self._closed = self._woken = True
            self._changed.notify_all()
        if self._connection:
            self._connection.close(CLOSE_S / 2)
        if self._thread:
            self._thread.join(CLOSE_S)

    def devices(self) -> list[Device]:
        """Return all devices that are in the view, by name."""
        now = self._clock()
        with self._knowing:
            return [each.device(now) for _, each in sorted(self._known.items()) if not each.hidden]

    def states(self) -> dict[str, State]:
        """Return the state of each device in the view, by name."""
        with self._knowing:
            return {name: each.state for name, each in sorted(self._known.items()) if not each.hidden}

    @property
    def mapped(self) -> bool:
        """True if the place of any device in the view is known."""
        with self._knowing:
            return any(each.site and not each.hidden for each in self._known.values())

    def device(self, name: str) -> Device | None:
        """Return one device; None: none of this name is in the view."""
        with self._knowing:
            known = self._known.get(name)
            return None if known is None or known.hidden else known.device(self._clock())

    def forget(self, name: str) -> bool:
        """Remove a device until it speaks again, as a new one; False: it is not there. Its events stay."""
        with self._knowing:
            known = self._known.get(name)
            if known is None or known.hidden:
                return False
            known.hidden = known.urgent = True
            self.changes += 1
        self._wake()
        return True

    def silent(self) -> list[Device]:
        """Return the devices in the view that are silent or offline, those that have been so for longest first.

        One that was silent before this fleet began is in it once nothing was heard for that time again; none is while
        the fleet is not ``settled``.
        """
        if not self.settled:
            return []
        now = self._clock()
        with self._knowing:
            found = [
                each
                for each in self._known.values()
                if not each.hidden
                and (each.state == "offline" or (each.state == "silent" and each.quiet(self._silent_after_s)))
            ]
            return [each.device(now) for each in sorted(found, key=lambda each: (each.since, each.name))]

    @property
    def settled(self) -> bool:
        """True if the broker has been there for a minute: before that, what is known of the devices may be old."""
        at = self._connected_at
        return at is not None and self._monotonic() - at >= SETTLE_S

    def notices(self) -> list[str]:
        """Return what people should know though no device is ill, a sentence each."""
        now = self._clock()
        with self._knowing:
            found = [words for words, until in self._notices.values() if now < until]
            if self.settled and not self._known:
                prefix = self.settings.prefix
                found.append(
                    f"no device was heard yet: each device's prefix, and the broker's acl, must say {prefix}/NAME"
                )
        return found if now >= CLOCK_SET else [f"this machine's clock is wrong ({_day(now)}): set it", *found]

    def problem(self) -> str | None:
        """Return why there is no connection to the broker, without secrets; None: there is one, or none was tried."""
        connection = self._connection
        why = connection.problem if connection else None
        if connection is None or why is None or connection.up:
            return why
        where = self.settings.where
        why = why.removeprefix(f"{where}: ")
        return f"the fleet does not reach the broker {where}; nothing is known of the devices ({why})"

    def trouble(self) -> str | None:
        """Return why nothing can be written to the disk; None: all is well."""
        return self._trouble

    # In paho's thread: nothing is read but the topic and the length.

    def _call(self) -> None:
        with self._changed:
            if self._connection and self._connection.connects != self._called:
                self._called = self._connection.connects
                waiting = [key for key, message in self._queue.items() if message.qos]
                if len(waiting) + sum(map(len, self._pictures.values())) > MAX_UNACKED:
                    for key in waiting:  # of several connections: the broker sends them again
                        del self._queue[key]
                    self._pictures.clear()
        self._wake()

    def _take(self, message: MQTTMessage) -> None:
        mono = self._monotonic()
        with self._changed:
            done = self._queued(message, mono)
            if done is not message:
                self._woken = True
                self._changed.notify_all()
        if done and self._connection:
            self._connection.ack(done)

    def _queued(self, message: MQTTMessage, mono: float) -> MQTTMessage | None:
        """Queue a message, with the lock held; return the one that is done with: it is refused, or replaced by it."""
        try:
            levels = message.topic[len(self.settings.prefix) + 1 :].split("/")
        except UnicodeDecodeError:
            levels = [""]
        name, kind = levels[0], levels[-1]
        if len(levels) == 1:
            name = ""
        elif not good_name(name):
            self._refused["", "name"] += 1
            return message
        state = kind in ("stats", "available")
        if not (message.qos or state):
            self._refused[name, "unassured"] += 1
            return message
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= 2 * MAX_DEVICES:  # most of them for names that are no device
                self._buckets = {each: kept for each, kept in self._buckets.items() if each in self._known}
            bucket = self._buckets[name] = _Bucket(BURST, mono)
        size = len(message.payload)
        if size > (MAX_PICTURE_BYTES if kind == "snapshot" else MAX_BYTES):
            self._refused[name, "large"] += 1
            return message
        known = self._known.get(name)
        unasked = kind == "replayed" and not (known and known.asking)
        cost = PICTURE_COST if kind == "snapshot" else UNASKED_COST if unasked else 1.0 + size // UNIT_BYTES
        if not bucket.take(cost, mono):
            self._refused[name, "flood"] += 1
            return message
        key: object = (name, kind) if state else object()  # of its states the newest is enough
        older = self._queue.pop(key, None)
        self._queue[key] = message
        return older

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    # In the thread that decodes pictures: a hostile one holds up pictures, and nothing else.

    def _decode(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pictures or self._closed)
                if self._closed:
                    return
                device, waiting = self._pictures.popitem(last=False)
                message, event_id, place = waiting.popleft()
                if waiting:
                    self._pictures[device] = waiting
            try:
                record = self._picture(message, device, event_id, place)
            except Exception as error:  # a thread that dies would leave all pictures unseen
                log.error("fleet: internal error (%s: %s)", type(error).__name__, error, exc_info=error)
                record = _Record(message, device)
            with self._changed:
                self._decoded.append(record)
                self._woken = True
                self._changed.notify_all()

    def _picture(self, message: MQTTMessage, device: str, event_id: str, place: Place) -> _Record:
        """Return what to write of a picture: nothing where it is none, or is there already."""
        record = _Record(message, device)
        with suppress(DiskError):  # then it is written once more, which changes nothing
            if self._store.has_picture(device, event_id, place):
                return record
        jpeg = bytes(message.payload)
        frame = next((each.kind for each in segments(jpeg) if each.kind in SOF), None)
        if frame not in SEQUENTIAL or jpeg.count(SCAN) > MAX_SCANS or camera_jpeg(jpeg) is None:
            with self._changed:
                self._refused[device, "picture"] += 1
            return record

        def write(writer: FleetWriter, cursors: dict[str, Place]) -> After | None:
            writer.put_picture(device, event_id, place, jpeg)
            return None

        record.write = write
        return record

    # In the fleet's own thread, from here on.

    def _run(self, writer: FleetWriter) -> None:
        assert self._connection
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._woken, min(LOOK_S, self._silent_after_s / 4))
                self._woken = False
            try:
                self._step(writer, self._connection)
            except Exception as error:  # a thread that dies would leave all devices as they are for ever
                log.error("fleet: internal error (%s: %s)", type(error).__name__, error, exc_info=error)
                self._again_at = self._monotonic() + AGAIN_S
        try:
            self._write(writer, everything=True)
        except DiskError as error:
            log.warning("fleet: not all could be written at the end: %s", error)
        writer.close()

    def _step(self, writer: FleetWriter, connection: BrokerConnection) -> None:
        connection.tend()
        self._note_connection(connection)
        now, mono = self._clock(), self._monotonic()
        if self._begun != writer.begun:
            self._begun = writer.begun
            self._ask_all(mono)
        with self._changed:
            room = AT_ONCE - len(self._unwritten)
            keys = [key for key, each in self._queue.items() if not each.qos] if room <= 0 else list(self._queue)[:room]
            messages = [self._queue.pop(key) for key in keys]  # states are read also while the disk takes nothing
            self._unwritten += self._decoded
            self._decoded = []
            refused, self._refused = self._refused, Counter()
            self._woken |= bool(self._queue) and room > 0
        with self._knowing:
            for message in messages:
                record = self._read(message, now, mono)
                if record and message.qos:
                    self._unwritten.append(record)
            for (name, kind), count in refused.items():
                self._count(name, kind, count, now)
            if mono - self._looked_at >= min(LOOK_S, self._silent_after_s / 4):
                since = math.inf if self._connected_at is None else max(self._connected_at, self._looked_at)
                self._looked_at, listened_s = mono, max(0.0, mono - since)
                looks = [each.look(now, listened_s, self._silent_after_s) for each in self._known.values()]
                self.changes += any(looks)
        if mono >= self._again_at:
            self._try_to_write(writer, connection, mono)
        self._ask(connection, mono)

    def _note_connection(self, connection: BrokerConnection) -> None:
        now, mono = self._clock(), self._monotonic()
        if self._connected_at is not None and not (connection.up and connection.connects == self._connects):
            with self._knowing:
                self.changes += sum(each.take_back(mono) for each in self._known.values())
        if not connection.up:
            self._connected_at = None
            if not self._lost_at:
                self._lost_at = now
                self._metas[NO_BROKER] = str(now)
        elif connection.connects != self._connects:
            self._connects, self._connected_at = connection.connects, mono
            if self._lost_at:
                self._lost_at = 0.0
                self._metas[NO_BROKER] = "0"
            if self._had_session and not connection.session_present:
                words = (
                    f"the broker forgot at {_day(now)} what it kept for the fleet:"
                    " every device is asked for what is missing"
                )
                if now - self._forgot_at >= NOTICE_S:
                    self._forgot_at = now
                    log.warning("fleet: %s", words)
                self._ask_all(mono)
                with self._knowing:
                    self._notices["forgot"] = words, now + FORGOT_S
            if not self._had_session:
                self._had_session, self._metas[SESSION] = True, connection.client_id

    def _ask_all(self, mono: float) -> None:
        """Ask every device for what is missing, and write what is known of it."""
        with self._knowing:
            for known in self._known.values():
                known.forced = known.urgent = True
                known.see(mono, SKIPPED_S)

    def _read(self, message: MQTTMessage, now: float, mono: float) -> _Record | None:
        """Read one message, with what is known held; return what to write before it is acknowledged."""
        levels = message.topic[len(self.settings.prefix) + 1 :].split("/")
        name, kind = levels[0], levels[-1]
        try:
            if len(levels) == 1:
                self._note_own(message.payload, now)
                return None
            return self._record(message, name, kind, now, mono)
        except MessageError as error:
            self._count(name, "bad", 1, now, str(error))
        except Exception as error:  # one message that cannot be read must not keep the others from it
            log.error("fleet: internal error (%s: %s)", type(error).__name__, error, exc_info=error)
            self._count(name, "bad", 1, now, "it cannot be read")
        return _Record(message, name)

    def _record(self, message: MQTTMessage, name: str, kind: str, now: float, mono: float) -> _Record | None:
        """Read it. None: it goes to be decoded first, or there is nothing to write. Raises MessageError."""
        payload, record = bytes(message.payload), _Record(message, name)
        if kind == "snapshot":
            return None if self._to_decode(message, name) else record
        if kind == "available":
            # One that a broker sent while it stopped comes again, unacknowledged, when it is back.
            if not (payload == OFFLINE.encode() and (self._lost_at or message.dup)):
                self._take_available(payload, name, now, mono, retained=message.retain)
            return record
        found = parse(payload)
        if kind == "stats":
            if not message.retain:
                known = self._known.get(name) or Known(name, now)  # none of garbage alone
                known.take_stats(found, now, mono)
                self.changes += self._device(name, now, known).urgent
            return None
        if kind == "events":
            event = event_of(found)
            known = self._device(name, now)
            if abs(taken_at(event, now)[0] - now) < FRESH_S:
                known.hear(now, mono)
            record.write = lambda writer, cursors: self._put(writer, cursors, known, (event,), now)
        else:
            answer = answer_of(found)
            known = self._device(name, now)
            known.hear(now, mono)
            if answer.refused:
                self._count(name, "bad", len(answer.refused), now, answer.refused[-1])
            record.write = lambda writer, cursors: self._put_answer(writer, cursors, known, answer, now)
        return record

    def _take_available(self, payload: bytes, name: str, now: float, mono: float, *, retained: bool) -> None:
        if payload not in (ONLINE.encode(), OFFLINE.encode()):
            raise MessageError("its availability is neither online nor offline")
        if name not in self._known and (retained or name in self._not_devices):
            return  # what the broker retained may be of a device that is gone
        known = self._device(name, now)
        if payload == OFFLINE.encode():
            known.leave(mono)
            return
        known.available = True
        if not retained:
            known.hear(now, mono)
        known.see(mono, SKIPPED_S)

    def _to_decode(self, message: MQTTMessage, name: str) -> bool:
        """Queue a picture to be decoded; False: it is not kept."""
        pairs = dict(getattr(message.properties, "UserProperty", None) or ())
        if not message.payload or name not in self._known or not pairs.keys() >= {"id", "boot_id", "seq"}:
            return False
        event_id, boot_id, seq = (pairs[key] for key in ("id", "boot_id", "seq"))
        if not (0 < len(event_id) <= MAX_ID and len(boot_id) <= MAX_ID and seq.isascii() and seq.isdigit()):
            raise MessageError("its picture names no event")
        with self._changed:
            sizes = {device: [len(each[0].payload) for each in queue] for device, queue in self._pictures.items()}
            own, every = sizes.get(name, []), [size for each in sizes.values() for size in each]
            if (
                len(own) >= MAX_DEVICE_PICTURES
                or len(every) >= MAX_PICTURES
                or sum(own) >= MAX_DEVICE_WAITING
                or sum(every) >= MAX_WAITING
            ):
                self._refused[name, "flood"] += 1
                return False
            self._pictures.setdefault(name, deque()).append((message, event_id, (boot_id, int(seq[:15]))))
            self._changed.notify_all()
        return True

    def _put(
        self,
        writer: FleetWriter,
        cursors: dict[str, Place],
        known: Known,
        events: tuple[Event, ...],
        now: float,
        *,
        news: bool = True,
    ) -> After:
        """Write events, and how far they are complete; return what to note once that is on the disk.

        ``news``: they came as they happened, so the device may have more before them.
        """
        new = [event for event in events if writer.put(known.name, event, now)]
        cursor = cursors.get(known.name, known.cursor)
        for event in new:
            if cursor is None and event.kind != "test":
                cursor = event.boot_id, event.seq
        if cursor is not None and new:
            cursors[known.name] = writer.complete(known.name, cursor)
        doubtful = [event for event in new if taken_at(event, now)[1]]

        def after(now: float, mono: float) -> None:
            self.changes += bool(new)
            if doubtful:
                known.doubt("clock", now, doubtful[-1].captured_at[:10], len(doubtful))
            for event in new:
                same_run = known.cursor is not None and event.boot_id == known.cursor[0]
                if news and (same_run or event.kind != "test"):
                    known.aim((event.boot_id, event.seq), mono, SKIPPED_S)

        return after

    def _put_answer(
        self, writer: FleetWriter, cursors: dict[str, Place], known: Known, answer: Answer, now: float
    ) -> After:
        asked = known.asking and answer.after == known.asked
        events_written = self._put(writer, cursors, known, answer.events, now, news=False)
        cursor = cursors.get(known.name, known.cursor)
        if asked and answer.upto is not None:
            same_run = cursor is not None and cursor[0] == answer.upto[0]
            if not same_run or cursor is None or cursor[1] < answer.upto[1]:
                cursors[known.name] = writer.complete(known.name, answer.upto)

        def after(now: float, mono: float) -> None:
            events_written(now, mono)
            if asked:
                known.answered(answer, now, mono)

        return after

    def _try_to_write(self, writer: FleetWriter, connection: BrokerConnection, mono: float) -> None:
        """Write what is due and acknowledge it; what fails stays, and is tried again in a second."""
        try:
            for record in self._write(writer):
                connection.ack(record.message)
            if self._trimmed_at is None or mono - self._trimmed_at >= TRIM_S:
                self._trimmed_at = mono
                with writer.writing():
                    writer.trim()
        except DiskError as error:
            if self._trouble is None:
                log.warning("fleet: nothing can be written, and the broker keeps what comes: %s", error)
            self._trouble, self._again_at = str(error), mono + AGAIN_S
            return
        if self._trouble is not None:
            log.info("fleet: the disk takes what comes again")
        self._trouble = None

    def _write(self, writer: FleetWriter, *, everything: bool = False) -> list[_Record]:
        """Write all that was read, and devices that changed, in one transaction. Raises DiskError."""
        mono = self._monotonic()
        records = self._unwritten
        with self._knowing:
            due = [
                each
                for each in self._known.values()
                if each.urgent
                or everything
                or (each.heard is not None and each.saved_at < each.heard and mono - each.saved_at >= SAVE_S)
            ]
        if not (records or due or self._metas):
            return []
        cursors: dict[str, Place] = {}
        notes: list[After] = []
        try:
            with writer.writing():
                with self._knowing:
                    for known in due:
                        known.urgent = False  # unless it changes meanwhile
                        if known.hidden:
                            writer.delete(known.name)
                            continue
                        writer.save(known)
                        if known.cursor:
                            cursors[known.name] = known.cursor
                for record in records:
                    if after := self._write_record(writer, record, cursors):
                        notes.append(after)
                for name, cursor in cursors.items():
                    writer.move(name, cursor)
                for key, value in self._metas.items():
                    if key == SESSION:
                        writer.keep_session(value)
                    else:
                        writer.keep(key, value)
        except DiskError:
            for known in due:
                known.urgent = True
            raise
        self._unwritten, self._metas = [], {}
        now = self._clock()
        with self._knowing:
            for known in due:
                known.saved_at = mono
            for name, cursor in cursors.items():
                self._known[name].cursor = cursor
            for note in notes:
                note(now, mono)
            for name in cursors:
                self._known[name].see(mono, SKIPPED_S)
            gone = [known.name for known in due if known.hidden and not known.urgent]
            for name in gone:
                del self._known[name]
        with self._changed:
            for name in gone:
                self._buckets.pop(name, None)
        return records

    def _write_record(self, writer: FleetWriter, record: _Record, cursors: dict[str, Place]) -> After | None:
        try:
            return record.write(writer, cursors) if record.write else None
        except (ValueError, OverflowError) as error:  # what reading it let pass: the others are written all the same
            log.error("fleet: internal error (%s: %s)", type(error).__name__, error, exc_info=error)
            record.write, now = None, self._clock()
            with self._knowing:
                self._count(record.device, "bad", 1, now, "it cannot be written")
            return None

    def _ask(self, connection: BrokerConnection, mono: float) -> None:
        """Ask devices for what is missing, those that wait for longest first."""
        if not connection.up:
            return
        with self._knowing:
            due = [
                (each.ask_at, each.name)
                for each in self._known.values()
                if each.ask_at is not None and each.ask_at <= mono and each.state in ("well", "ill")
            ]
            for _, name in sorted(due):
                if not self._questions.take(1.0, mono):
                    return
                topic = Topics(f"{self.settings.prefix}/{name}").replay
                connection.publish(topic, self._known[name].question(mono))

    def _device(self, name: str, now: float, new: Known | None = None) -> Known:
        """Return what is known of a device. Raises MessageError for a new one where there are too many."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= MAX_DEVICES:
                words = f"there are more than {MAX_DEVICES:,} devices: the others are not shown; use several prefixes"
                self._notices["many"] = words, now + NOTICE_S
                raise MessageError("there are too many devices")
            known = self._known[name] = new or Known(name, now)
            self.changes += 1
        return known

    def _count(self, name: str, kind: str, count: int, now: float, why: str = "") -> None:
        """Note what was refused."""
        if known := self._known.get(name):
            known.doubt(kind, now, why, count)
            return
        self._unnamed += count
        words = "1 message was" if self._unnamed == 1 else f"{self._unnamed} messages were"
        self._notices["name"] = (
            f"{words} refused: of no device that is known, or of a name that cannot be shown",
            now + NOTICE_S,
        )

    def _note_own(self, payload: Any, now: float) -> None:
        """Note that a device publishes to the fleet's own prefix: its cameras look like devices."""
        prefix = self.settings.prefix
        words = f"a device publishes to {prefix} itself: give it {prefix}/NAME"
        self._notices["own"] = words, now + NOTICE_S
        with suppress(MessageError):  # then its cameras are not known
            cameras = parse(bytes(payload)).get("cameras")
            self._not_devices = {segment(name) for name in cameras} if isinstance(cameras, dict) else set()
            for name in self._not_devices:
                known = self._known.get(name)
                if known and known.well is None and not known.hidden:
                    known.hidden = known.urgent = True


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%d %b %H:%M}"
