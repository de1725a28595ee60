"""The connection to one broker: paho's, in its own thread, begun again for ever; nothing but ``deliver`` waits."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.record.outbox import Part, RefusedError
from edge.sinks.mqtt import problems
from edge.sinks.mqtt.address import Settings

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger(__name__)

KEEPALIVE_S = 30  # after 1.5 times as long without a word the broker says the last will
BACK_OFF_S = (1, 10)  # as Home Assistant: who is back later leaves it with what it knew before
STUCK_S = 300.0  # no attempt to connect for so long: paho's thread is not there any more
QUICK_S = 10.0  # a connection that ends so soon after a message ended because of it
MOST_BROKEN = 5  # so many times in a row
HEADER = 16  # bytes of a PUBLISH beside topic and payload, at most


class UndeliveredError(RuntimeError):
    """The broker has not said that it has the message: try again later."""


@dataclass(eq=False)
class _Flight:
    """A message on its way: paho sends it again by itself after a reconnect, so it is not published twice."""

    key: object
    client: Client
    info: MQTTMessageInfo
    at: float  # when it was last sent, time.monotonic()
    broken: int = 0  # how often a connection ended with it in a row


class Connection:
    """One client of one broker. ``will`` is the topic that says "offline" when we are gone.

    ``call`` is called, from any thread, when there is something to ``tend`` to: connected, a message heard, a new
    client needed. It must return at once. ``hear`` are the topics subscribed to.
    """

    def __init__(
        self,
        settings: Settings,
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
        self.heard: list[bytes] = []  # payloads that came; whoever reads takes them out
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
        self._largest: int | None = None  # bytes of a packet the broker takes
        self._refusals: dict[int, int] = {}  # message id: reason code
        self._flights: dict[Part, _Flight] = {}
        self._delivering: dict[Part, threading.Lock] = {"word": threading.Lock(), "picture": threading.Lock()}

    def tend(self) -> None:
        """Begin, or begin anew where that is needed. For one thread only; never waits for the network."""
        if not self.up and time.monotonic() - self._tried_at > STUCK_S:
            log.error("MQTT: no attempt to connect for %.0f s; beginning anew", STUCK_S)
            self._renew = True
        with self._changing:
            if self._renew and not self._closing:
                self._renew, self.up = False, False
                self._tried_at = time.monotonic()
                before, self._client = self._client, None
                if before:
                    _let_go(before)
                try:
                    self._begin()
                except Exception as error:  # no loopback device, no memory: none of it may end whoever calls
                    self._client = None
                    self.problem = f"{self.settings.where}: cannot begin ({error})"
                    log.warning("MQTT: %s", self.problem)
                if self._closing and self._client:  # ``close`` did not wait for the end of this
                    begun, self._client = self._client, None
                    _let_go(begun)

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
            if flight and flight.broken >= MOST_BROKEN:
                del self._flights[part]
                raise RefusedError(f"{self.settings.where}: the connection ends each time this message is sent")
            client = self._client
            if client is None or not self.up:
                raise UndeliveredError(self.problem or f"{self.settings.where}: not connected yet")
            if flight is None or flight.client is not client:
                size = len(payload) + len(topic.encode()) + HEADER
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
        if code in problems.FOR_GOOD:
            raise RefusedError(f"{self.settings.where}: the broker refuses this message (reason 0x{code:02X})")
        if code is not None:
            raise UndeliveredError(f"{self.settings.where}: the broker did not take it (reason 0x{code:02X})")

    def close(self, within_s: float) -> None:
        """Say goodbye, so that the last will is not said; what hangs is left behind after so many seconds."""
        self._closing = True
        self.up = False
        until = time.monotonic() + within_s
        if not self._changing.acquire(timeout=within_s):
            return  # it is being begun, and ``tend`` lets go of it then
        try:
            client, self._client = self._client, None
        finally:
            self._changing.release()
        if client is None:
            return
        ending = _let_go(client)
        ending.join(max(until - time.monotonic(), 0.0))
        found = client.socket()
        if ending.is_alive() and isinstance(found, socket.socket):
            try:
                found.shutdown(socket.SHUT_RDWR)  # wakes paho where the broker takes no more
            except OSError:
                log.debug("MQTT: %s had ended by itself", self.settings.where)
            ending.join(0.2)

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
        self._tried_at = time.monotonic()

    def _on_socket(self, client: Client, _: Any, opened: Any) -> None:
        if isinstance(opened, socket.socket):  # small packets one behind another must not wait 40 ms for each other
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_no_connection(self, client: Client, _: Any) -> None:
        self._say_problem(problems.unreachable(self.settings.where, sys.exc_info()[1], tls=self.settings.tls))

    def _on_answer(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._closing or client is not self._client:
            client.disconnect()
            return
        if reason.is_failure:
            if reason.value == problems.OLD_PROTOCOL and not self._old_protocol:
                self._old_protocol = self._renew = True
                self._call()
            self._say_problem(problems.refused(self.settings.where, reason.value, str(reason)))
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
        if was_up and reason.value not in problems.OF_THE_BROKER:
            self._suspect()
        if was_up or self.problem is None:
            self._say_problem(problems.lost(self.settings.where, reason.value, str(reason), was_up=was_up))

    def _suspect(self) -> None:
        """A message may have ended the connection; a picture sooner than a word, also where it only takes too long."""
        picture, word = self._flights.get("picture"), self._flights.get("word")
        flight = picture or word
        if flight is None:
            return
        because = flight is picture or time.monotonic() - flight.at < QUICK_S
        flight.broken = flight.broken + 1 if because else 0
        if flight.broken >= MOST_BROKEN:
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
