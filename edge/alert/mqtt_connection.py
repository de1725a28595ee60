"""Connection to one MQTT broker. paho reconnects, queues, pings and sets the last will, in its own thread.

Only ``deliver`` waits for the network. Problems are sentences for people, never with a user or password in them.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTMessage, MQTTMessageInfo, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.alert.mqtt_discovery import OFFLINE
from edge.alert.mqtt_settings import MqttSettings
from edge.background import DeadlineError, call_with_deadline, start_thread
from edge.record.outbox import Part, RefusedError

log = logging.getLogger(__name__)

KEEPALIVE_S = 30  # after 1.5 times as long without a packet the broker publishes the last will
RECONNECT_S = (1, 10)  # shortest and longest delay, as Home Assistant's
ANSWER_S = 20.0  # for the acknowledgement of a message
QUICK_S = 10.0  # a connection that ends so soon after a message ended because of it
MAX_BROKEN = 5  # connections in a row that one message may end
MAX_BYTES = 8000  # of a message that is received, such as that of a new model; of a longer one the beginning is kept
MAX_RECEIVED = 100  # that wait to be read; then the oldest go
HEADER_BYTES = 16  # of a PUBLISH beside topic, payload and properties, at most

# Of a lasting session.
SESSION_S = 30 * 86_400  # how long the broker keeps it for a client that is away
MAX_UNACKED = 100  # messages that the broker sends before it waits for acknowledgements
MAX_PACKET_BYTES = 12_000_000
TAKEN_OVER_S = 60.0  # to stay away: two clients with one id would else throw each other out every second

# Reason codes of MQTT 5.
BAD_LOGIN = {0x86, 0x87}  # bad user name or password, not authorised
TAKEN_OVER = 0x8E
OLD_PROTOCOL = 0x84  # the broker does not support this version of MQTT
# DISCONNECT: server busy, shutting down, keep alive timeout, session taken over. No message was the cause.
BY_BROKER = {0x89, 0x8B, 0x8D, TAKEN_OVER}
UNKNOWN = 0x80  # paho says so where the connection ended without a word
# PUBACK. All others may pass.
PERMANENT = {
    0x87: "does not let this user write {}: compare the user, the prefix and the broker's access rules",
    0x90: "does not take the topic {}: choose another prefix",
    0x95: "finds this message of {} too large",
    0x99: "does not take this kind of message for {}",
}


Slot = Part | Literal["replay"]  # one message of each may be in flight


class UndeliveredError(RuntimeError):
    """The broker has not acknowledged the message: try again later."""


@dataclass(eq=False)
class _InFlight:
    """A message without its acknowledgement: paho sends it again after a reconnect, so it is not published twice."""

    key: object
    client: Client
    info: MQTTMessageInfo
    sent_at: float  # the last time, time.monotonic()
    broken: int = 0  # how often a connection ended with it in a row


class BrokerConnection:
    """One client of one broker. ``will`` is the topic that becomes "offline" when this program is gone.

    ``call`` is called, from any thread, when ``tend`` has something to do: connected, a message received, a new
    client needed. It must return at once. ``subscriptions`` are the topics to receive, each with its QoS.
    ``quiet``: the caller says what the problem is.

    ``take`` is given each message that comes, in paho's thread, instead of ``received``; it must return at once and not
    raise. ``session``: the broker keeps the subscriptions for this client while it is away, and each message of QoS 1
    until ``ack`` is called with it. Retained messages then come only with a new subscription (MQTT 5).
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        call: Callable[[], None],
        *,
        will: str = "",
        subscriptions: tuple[tuple[str, int], ...] = (),
        quiet: bool = False,
        session: bool = False,
        take: Callable[[MQTTMessage], None] | None = None,
    ) -> None:
        self.settings = settings
        self.client_id = client_id
        self.problem: str | None = None  # one sentence: why there is no connection; None: there is, or not tried yet
        self.up = False
        self.connects = 0  # how often a connection was made
        self.received: deque[tuple[str, bytes]] = deque(maxlen=MAX_RECEIVED)  # topic and payload; the reader takes them
        self.session_present = False  # the broker still had the session at the last connect
        self._call = call
        self._will = will
        self._quiet = quiet
        self._subscriptions = subscriptions
        self._session = session
        self._take = take
        self._connected_at = self._away_until = -math.inf  # time.monotonic()
        self._client: Client | None = None
        self._protocol = MQTTv5
        self._renew = True
        self._closing = False
        self._changing = threading.Lock()  # of client: paho's loop cannot be stopped while it is being started
        self._largest: int | None = None  # bytes of a packet that the broker takes
        self._refusals: dict[int, int] = {}  # message id: reason code
        self._in_flight: dict[Slot, _InFlight] = {}
        self._delivering: dict[Slot, threading.Lock] = {
            "word": threading.Lock(), "picture": threading.Lock(), "replay": threading.Lock()
        }  # fmt: skip

    def tend(self) -> None:
        """Begin, or begin again if needed. For one thread only; never waits for the network."""
        with self._changing:
            if self._closing or time.monotonic() < self._away_until:
                return
            try:
                # paho starts no second thread; it starts one where an error has ended the first.
                if self._client and self._client.loop_start() == MQTT_ERR_SUCCESS:
                    log.error("MQTT: the network thread has ended; connecting again")
                    self._renew = True
                if not self._renew:
                    return
                self.up = False
                old, self._client = self._client, None
                if old:
                    old.disconnect()
                    start_thread(old.loop_stop, "mqtt ending")
                self._renew = False  # before it begins: an old broker may ask for a new client at once
                self._begin()
            except Exception as error:  # no file of a CA, no loopback device, no memory: the next call tries again
                self._client, self._renew = None, True
                self._set_problem(f"{self.settings.where}: cannot begin ({error})")

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish with QoS 0 if there is a connection; else nothing happens. Never waits."""
        client = self._client
        if client and self.up:
            client.publish(topic, payload, qos=0, retain=retain)

    def ack(self, message: MQTTMessage) -> None:
        """Acknowledge a message of a lasting session, from any thread; one of an earlier connection comes again."""
        client = self._client
        if message.qos and client and self.up and message.timestamp >= self._connected_at:
            client.ack(message.mid, message.qos)

    def deliver(
        self,
        topic: str,
        payload: bytes,
        key: object,
        part: Slot,
        *,
        retain: bool = False,
        user: Mapping[str, str] | None = None,
    ) -> None:
        """Publish with QoS 1 and wait until the broker has it; called again with the same key, wait on for that one.

        One message of each part may be in flight at a time. ``user``: its user properties, of MQTT 5. Raises
        RefusedError for what the broker will never take, or a picture that is too much for the connection;
        UndeliveredError when it is to be tried again.
        """
        where = self.settings.where
        with self._delivering[part]:
            message = self._in_flight.get(part)
            if message and message.key != key:
                message = None
            if message and message.broken >= MAX_BROKEN:
                del self._in_flight[part]
                raise RefusedError(f"{where}: the connection ends each time this message is sent")
            client = self._client
            if client is None or not self.up:
                raise UndeliveredError(self.problem or f"{where}: not connected yet")
            if message is None or message.client is not client:
                properties = None
                if user and client.protocol == MQTTv5:
                    properties = _properties(PacketTypes.PUBLISH, UserProperty=list(user.items()))
                size = len(payload) + len(topic.encode()) + HEADER_BYTES
                size += len(properties.pack()) if properties else 0  # type: ignore[no-untyped-call]
                if self._largest is not None and size > self._largest:
                    raise RefusedError(f"{where}: the broker takes {self._largest} bytes a packet, this is {size}")
                info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
                message = self._in_flight[part] = _InFlight(key, client, info, time.monotonic())
            self._wait(message, part, topic)

    def _wait(self, message: _InFlight, part: Slot, topic: str) -> None:
        where, until = self.settings.where, time.monotonic() + ANSWER_S
        try:
            while not message.info.is_published():
                if not self.up or message.client is not self._client:
                    raise UndeliveredError(self.problem or f"{where}: the connection was lost")
                if time.monotonic() > until:
                    raise UndeliveredError(f"{where}: no answer for {ANSWER_S:g} s")
                message.info.wait_for_publish(0.5)
        except UndeliveredError:
            raise
        except (RuntimeError, ValueError) as error:  # paho's queue is full, or the connection was lost in between
            del self._in_flight[part]
            raise UndeliveredError(f"{where}: not sent ({error})") from None
        del self._in_flight[part]
        code = self._refusals.pop(message.info.mid, None)
        if code in PERMANENT:
            raise RefusedError(f"{where}: the broker {PERMANENT[code].format(topic)}")
        if code is not None:
            raise UndeliveredError(f"{where}: the broker did not take it (reason 0x{code:02X})")

    def close(self, within_s: float) -> None:
        """Disconnect, so that the broker does not publish the last will; wait at most so many seconds for that."""
        self._closing, self.up = True, False
        with self._changing:
            client, self._client = self._client, None
        if client:
            client.disconnect()
            with suppress(DeadlineError, RuntimeError):  # paho's keepalive ends a connection that hangs
                call_with_deadline(client.loop_stop, within_s, "mqtt ending")

    def _begin(self) -> None:
        settings = self.settings
        lasting: dict[str, Any] = {}
        if self._session and self._protocol == MQTTv5:
            wishes = _properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=SESSION_S,
                ReceiveMaximum=MAX_UNACKED,
                MaximumPacketSize=MAX_PACKET_BYTES,
            )
            lasting = {"clean_start": False, "properties": wishes}
        client = Client(
            CallbackAPIVersion.VERSION2,
            self.client_id,
            clean_session=None if self._protocol == MQTTv5 else not self._session,
            protocol=self._protocol,
            manual_ack=self._session,
        )
        if settings.user is not None or settings.password is not None:
            client.username_pw_set(settings.user or "", settings.password)
        if context := settings.tls_context():  # the file of its CA may be on a disk that is mounted later
            client.tls_set_context(context)
            client.tls_insecure_set(settings.insecure)
        if self._will:
            client.will_set(self._will, OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(*RECONNECT_S)
        client.on_socket_open = self._on_socket_open
        client.on_connect_fail = self._on_connect_fail
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.connect_async(settings.host, settings.port, keepalive=KEEPALIVE_S, **lasting)
        self._client = client
        client.loop_start()

    def _options(self, qos: int) -> Any:
        if self._protocol != MQTTv5:
            return qos
        handling = (
            SubscribeOptions.RETAIN_SEND_IF_NEW_SUB if self._session else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
        )
        return SubscribeOptions(qos, retainHandling=handling)

    # In paho's thread, from here on: it may hold its own locks, so nothing here takes one or waits.

    def _on_socket_open(self, client: Client, _: Any, opened: Any) -> None:
        if isinstance(opened, socket.socket):  # small packets one behind another must not wait 40 ms for each other
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect_fail(self, client: Client, _: Any) -> None:
        self._set_problem(unreachable(self.settings.where, sys.exc_info()[1], tls=self.settings.tls))

    def _on_connect(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._closing or client is not self._client:
            client.disconnect()
            return
        if reason.is_failure:
            if reason.value == OLD_PROTOCOL and self._protocol == MQTTv5:
                self._protocol, self._renew = MQTTv311, True
                self._call()
            what = "user or the password" if reason.value in BAD_LOGIN else "connection"
            self._set_problem(f"{self.settings.where}: the broker refuses the {what} ({reason})")
            return
        self._largest = getattr(properties, "MaximumPacketSize", None)
        for message in list(self._in_flight.values()):
            message.sent_at = time.monotonic()
        self._connected_at, self.session_present = time.monotonic(), flags.session_present
        if self._subscriptions:
            client.subscribe([(topic, self._options(qos)) for topic, qos in self._subscriptions])
        if self.problem or not self.connects:
            log.info("MQTT: connected to %s", self.settings.where)
        self.problem = None
        self.connects += 1
        self.up = True
        self._call()

    def _on_disconnect(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._closing or client is not self._client:
            return
        was_up, self.up = self.up, False
        if was_up and reason.value not in BY_BROKER:
            self._count_broken()
        where = self.settings.where
        if was_up and reason.value == TAKEN_OVER and self._session:
            self._client, self._renew, self._away_until = None, True, time.monotonic() + TAKEN_OVER_S
            client.disconnect()  # paho would be back within a second
            self._set_problem(
                f"{where}: another client with the same client id took over; set another with client_id=, or end one of"
                f" the two (tried again after {TAKEN_OVER_S:.0f} s)"
            )
        elif was_up and reason.value == TAKEN_OVER:
            self._set_problem(f"{where}: another client with the same client id took over; set another with client_id=")
        elif was_up:
            why = "the broker or the network went away" if reason.value == UNKNOWN else reason
            self._set_problem(f"{where}: the connection was lost ({why})")
        elif self.problem is None:
            self._set_problem(f"{where}: the connection ended before the broker answered; does it want TLS (mqtts://)?")

    def _count_broken(self) -> None:
        """Count that a message may have ended the connection; a picture is likeliest to, and an event least."""
        parts: tuple[Slot, ...] = ("picture", "replay", "word")
        sent = (self._in_flight.get(part) for part in parts)
        message = next((each for each in sent if each and each.client is self._client), None)
        if message is None:
            return
        because = message is not self._in_flight.get("word") or time.monotonic() - message.sent_at < QUICK_S
        message.broken = message.broken + 1 if because else 0
        if message.broken >= MAX_BROKEN:
            self._renew = True  # paho would send it again for ever, and nothing else
            self._call()

    def _on_publish(self, client: Client, _: Any, message_id: int, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusals[message_id] = reason.value

    def _on_subscribe(self, client: Client, _: Any, message_id: int, reasons: Any, properties: Any) -> None:
        refused = [topic for (topic, _), reason in zip(self._subscriptions, reasons, strict=False) if reason.is_failure]
        if refused and self._session:
            self._set_problem(f"{self.settings.where}: the broker does not let this user read {', '.join(refused)}")

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        if self._take:
            self._take(message)
        else:
            self.keep(message)

    def keep(self, message: MQTTMessage) -> None:
        """Put a message into ``received``, and have it read."""
        self.received.append((message.topic, bytes(message.payload[: MAX_BYTES + 1])))
        self._call()

    def _set_problem(self, words: str) -> None:
        if words != self.problem and not self._quiet:
            log.warning("MQTT: %s", words)
        self.problem = words


def _properties(packet: int, **values: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def unreachable(where: str, error: BaseException | None, *, tls: bool) -> str:
    """Return why no connection could be made, over TLS or not."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{where}: its certificate is not trusted ({error.verify_message}); give its CA with ca=/path.pem"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return f"{where}: TLS failed ({why or 'no reason given'}); does it speak TLS on this port?"
    if isinstance(error, socket.gaierror):
        return f"{where}: no such host ({error.strerror}); check the name and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: nothing listens there; is the broker running?"
    if isinstance(error, TimeoutError):
        return f"{where}: no answer; check the address and the network"
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"{where}: no connection ({why}); check the network"
