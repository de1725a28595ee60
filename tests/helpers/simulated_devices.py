"""Devices that only speak MQTT, each with a connection of its own: state, events, pictures, and answers to replay.

    python tests/helpers/simulated_devices.py PORT PREFIX FIRST COUNT EVERY_S

A line "COUNT PER_SECOND" on standard input: so many events more, over all devices; "done" on standard output when the
broker has acknowledged them. At the end of the input: one line of JSON, ``{"sent", "answers", "again", "pictures"}``.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import sys
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.schema import Event, utc_text
from tests.helpers.uploads import jpeg

CAMERAS = ("yard", "gate")
NEW_RUN_EVERY, NEW_RUN_AT = 10, 20  # each tenth device begins a new run after so many events
PICTURE_EVERY = 50  # events of a device
ANSWER_EVENTS, ANSWER_BYTES, ANSWER_EVERY_S = 50, 60_000, 1.0
RECONNECT_S = 1.0, 10.0


def name_of(number: int) -> str:
    """Return a device's name in the fleet."""
    return f"device-{number:05d}"


def key_of(number: int, event: int) -> tuple[str, int]:
    """Return (boot_id, seq) of a device's event, counted from 0 over all its runs."""
    run = int(number % NEW_RUN_EVERY == 0 and event >= NEW_RUN_AT)
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{number} {run}").hex, event - run * NEW_RUN_AT + 1


class Device:
    """One device. ``lines`` is its journal, and its outbox from ``sent`` on: one message is in flight at a time."""

    def __init__(self, devices: Devices, number: int, picture: bytes) -> None:
        self.number = number
        self.topic = f"{devices.prefix}/{name_of(number)}"
        self.lines: list[str] = []
        self.keys: dict[tuple[str, int], int] = {}
        self.sent = 0  # acknowledged
        self.pictures = self.answers = self.again = 0
        self.up = False
        self.retry_at, self.delay_s = 0.0, RECONNECT_S[0]
        self.stats_at = 0.0
        self.answered_at = 0.0
        self.asked: bytes | None = None
        self._picture = picture
        self._devices = devices
        self._in_flight: int | None = None  # the message id
        client = self.client = Client(CallbackAPIVersion.VERSION2, name_of(number), protocol=MQTTv5)
        client.will_set(f"{self.topic}/available", "offline", qos=1, retain=True)
        client.on_socket_open = self._opened
        client.on_socket_close = self._closing
        client.on_connect = self._connected
        client.on_disconnect = self._lost
        client.on_publish = self._published
        client.on_message = self._received

    def connect(self) -> None:
        """Connect, or try again later."""
        try:
            self.client.connect("127.0.0.1", self._devices.port)
        except OSError:
            self._later()

    def add(self) -> None:
        """Let one event happen."""
        count = len(self.lines)
        boot_id, seq = key_of(self.number, count)
        event = Event(
            kind="bear",
            type="end" if count % 2 else "new",
            id=uuid.uuid5(uuid.NAMESPACE_OID, f"{self.number} bear {count // 2}").hex,
            seq=seq,
            boot_id=boot_id,
            camera=CAMERAS[count // 2 % 2],
            captured_at=utc_text(datetime.now(UTC)),
            clock_synced=True,
            track=count // 2,
            label="bear",
            score=0.97,
            top_score=0.98,
            box_xywh=(0.1, 0.2, 0.3, 0.4),
            durable=True,
            model="bear@36d9726e37c1",
            evidence=f"evidence/{boot_id}/{seq}.jpg",
            zones=("hives",),
            species="brown bear",
            stage="autonomous",
        )
        self.keys[boot_id, seq] = count
        self.lines.append(event.to_json())
        self.go_on()

    def go_on(self) -> None:
        """Publish the next event, if none is in flight."""
        if self.up and self._in_flight is None and self.sent < len(self.lines):
            self._in_flight = self.client.publish(f"{self.topic}/events", self.lines[self.sent], qos=1).mid

    def tend(self, now: float) -> None:
        """Do what is due; ``now`` as time.monotonic()."""
        if not self.up:
            if now >= self.retry_at:
                self.retry_at = now + 20.0  # for the broker's answer
                self.connect()
            return
        if now >= self.stats_at:
            self.stats_at = now + self._devices.every_s
            self.client.publish(f"{self.topic}/stats", json.dumps(self._stats()))
        if self.asked is not None and now >= self.answered_at + ANSWER_EVERY_S:
            self.answered_at = now
            self._answer(self.asked)
            self.asked = None
        self.client.loop_misc()

    def _stats(self) -> dict[str, Any]:
        return {
            "well": True,
            "reason": None,
            "version": "0.22.0",
            "model": "bear@36d9726e37c1",
            "cameras": {name: {"fresh": True, "trouble": None, "stage": "autonomous"} for name in CAMERAS},
            "every_s": self._devices.every_s,
            "last": self._last(),
            "clock_synced": True,
            "site": {"name": name_of(self.number), "latitude": 46 + self.number / 1e4, "longitude": 14.5},
        }

    def _last(self) -> tuple[str, int]:
        return key_of(self.number, len(self.lines) - 1) if self.lines else (key_of(self.number, 0)[0], 0)

    def _answer(self, asked: bytes) -> None:
        after = json.loads(asked)["after"]
        begin, lost = max(len(self.lines) - ANSWER_EVENTS, 0), False
        if after is not None:
            boot_id, seq = after
            known = self.keys.get((boot_id, seq))
            lost = known is None and seq > 0
            first = self.keys.get((boot_id, 1), len(self.lines) if seq == 0 else 0)
            begin = first if known is None else known + 1
        end = size = 0
        for end in range(begin, min(begin + ANSWER_EVENTS, len(self.lines))):
            size += len(self.lines[end])
            if size > ANSWER_BYTES and end > begin:
                break
        else:
            end = min(begin + ANSWER_EVENTS, len(self.lines))
        upto = key_of(self.number, end - 1) if end else None
        rest = {"upto": upto, "more": end < len(self.lines), "last": self._last(), "lost": lost}
        head = json.dumps({"after": after} | rest)[:-1]
        self.answers += 1
        self.again += end - begin
        self.client.publish(f"{self.topic}/replayed", f'{head}, "events": [{",".join(self.lines[begin:end])}]}}', qos=1)

    def _opened(self, client: Client, _: Any, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._devices.selector.register(opened, selectors.EVENT_READ, self)

    def _closing(self, client: Client, _: Any, closing: Any) -> None:
        with suppress(KeyError, ValueError):
            self._devices.selector.unregister(closing)

    def _connected(self, client: Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._later()
            return
        self.up, self.delay_s = True, RECONNECT_S[0]
        client.subscribe(f"{self.topic}/replay", qos=1)
        client.publish(f"{self.topic}/available", "online", qos=1, retain=True)
        self.stats_at = 0.0
        self.go_on()

    def _lost(self, *_: Any) -> None:
        self.up = False
        self._later()

    def _later(self) -> None:
        self.retry_at = time.monotonic() + self.delay_s * random.uniform(0.5, 1.0)
        self.delay_s = min(self.delay_s * 2, RECONNECT_S[1])

    def _published(self, client: Client, _: Any, mid: int, *rest: Any) -> None:
        if mid != self._in_flight:
            return
        self._in_flight = None
        event = self.sent
        self.sent += 1
        self._devices.sent += 1
        if event % PICTURE_EVERY == 0:
            boot_id, seq = key_of(self.number, event)
            about = Properties(PacketTypes.PUBLISH)
            id_ = json.loads(self.lines[event])["id"]
            about.UserProperty = [("boot_id", boot_id), ("seq", str(seq)), ("id", id_)]
            snapshot = f"{self.topic}/{CAMERAS[event // 2 % 2]}/snapshot"
            client.publish(snapshot, self._picture, qos=1, retain=True, properties=about)
            self.pictures += 1
        self.go_on()

    def _received(self, client: Client, _: Any, message: MQTTMessage) -> None:
        if self.asked is None:
            self.asked = bytes(message.payload)


class Devices:
    """So many devices in one thread."""

    def __init__(self, port: int, prefix: str, first: int, count: int, every_s: float) -> None:
        self.port, self.prefix, self.every_s = port, prefix, every_s
        self.selector = selectors.DefaultSelector()
        self.sent = self.wanted = 0
        picture = jpeg()
        self.devices = [Device(self, number, picture) for number in range(first, first + count)]
        for device in self.devices:  # not all at the same moment
            device.stats_at = time.monotonic() + random.uniform(0, every_s)

    def run(self) -> None:
        """Do as standard input says, to its end."""
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        next_at, left, per_second, tended_at, said = 0.0, 0, 0.0, 0.0, True
        while True:
            for key, _ in self.selector.select(0.02 if left else 0.1):
                if key.data is None:
                    line = sys.stdin.readline()
                    if not line:
                        self._end()
                        return
                    count, rate = line.split()
                    left, per_second, next_at, said = int(count), float(rate), time.monotonic(), False
                    self.wanted += left
                else:
                    key.data.client.loop_read()
            now = time.monotonic()
            while left and now >= next_at:
                left -= 1
                next_at += 1 / per_second
                self.devices[left % len(self.devices)].add()
            if now >= tended_at + 0.2:
                tended_at = now
                for device in self.devices:
                    device.tend(now)
            for device in self.devices:
                if device.client.want_write():
                    device.client.loop_write()
            if not said and self.sent == self.wanted:
                said = True
                print("done", flush=True)

    def _end(self) -> None:
        total = {what: sum(getattr(each, what) for each in self.devices) for what in ("answers", "again", "pictures")}
        print(json.dumps({"sent": self.sent} | total), flush=True)
        for device in self.devices:
            device.client.disconnect()


if __name__ == "__main__":
    Devices(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])).run()
