"""TLS, users and brokers of another kind: who is let in, and the problem when nobody is."""

import json
import logging
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paho.mqtt.client import MQTT_ERR_SUCCESS, Client

from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_connection import UndeliveredError
from edge.alert.mqtt_settings import settings_from_url
from edge.record.outbox import Message
from edge.schema import Event
from tests.helpers.broker import PATIENCE_S, Broker, Listener, free_port, until

SECRET = "s3cr3t-pa55"
EVENTS, AVAILABLE = "bear-alarm/events", "bear-alarm/available"


def word(seq=1):
    return Message((Event("bear", "new", f"id{seq}", seq, "run", "yard", "2026-01-01T00:00:00.000Z"),), "word")


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    """A broker with TLS that knows one user."""
    with Broker(tmp_path_factory.mktemp("safe"), user="bee", password=SECRET, tls=True) as broker:
        yield broker


def problem(url):
    """Return the problem with a broker that does not let us in."""
    mqtt = Mqtt(settings_from_url(url), ["yard"])
    try:
        assert until(lambda: mqtt.problem)
        assert not mqtt._connection.up
        with pytest.raises(UndeliveredError) as raised:
            mqtt.send(word())
        assert SECRET not in f"{mqtt.problem} {raised.value} {mqtt.key} {mqtt.settings!r}"
        words = mqtt.problem or ""
        assert "\n" not in words
        return words
    finally:
        mqtt.close()


@pytest.mark.needs_tool("mosquitto", "openssl")
def test_over_tls_with_a_user(safe, caplog):
    caplog.set_level(logging.DEBUG)
    with Listener(safe) as listener:
        mqtt = Mqtt(settings_from_url(f"{safe.url}?ca={safe.ca}"), ["yard"])
        assert listener.hears(AVAILABLE, "online")
        mqtt.send(word())
        assert until(lambda: [json.loads(line)["id"] for line in listener.of(EVENTS)] == ["id1"])
        mqtt.close()
        assert listener.hears(AVAILABLE, "offline")
        assert not any(SECRET.encode() in payload for _, payload, _ in listener.got)
    assert SECRET not in caplog.text


@pytest.mark.needs_tool("mosquitto", "openssl")
def test_a_ca_on_a_disk_that_is_mounted_later_shows_the_bear_that_is_there(safe, tmp_path):
    with Listener(safe) as listener:
        mqtt = Mqtt(settings_from_url(f"{safe.url}?ca={tmp_path / 'ca.pem'}"), ["yard"])
        assert until(lambda: "is not there; mount its disk" in (mqtt.problem or ""))
        mqtt(word().events[0])
        shutil.copy(safe.ca, tmp_path / "ca.pem")
        assert listener.hears("bear-alarm/yard/bear", "ON")
        assert "OFF" not in listener.of("bear-alarm/yard/bear")
        mqtt.close()


@pytest.mark.needs_tool("mosquitto", "openssl")
def test_a_certificate_is_looked_at_unless_set_otherwise(safe):
    assert "not trusted" in problem(safe.url)
    assert "not trusted" in problem(f"{safe.url.replace('127.0.0.1', 'localhost')}?ca={safe.ca}")  # another name
    with Listener(safe) as listener:
        mqtt = Mqtt(settings_from_url(f"{safe.url.replace('127.0.0.1', 'localhost')}?insecure=1"))
        assert listener.hears(AVAILABLE, "online")
        mqtt.close()


@pytest.mark.needs_tool("mosquitto", "openssl")
def test_what_keeps_us_out_is_reported_in_one_sentence(safe, caplog):
    assert "refuses the user or the password" in problem(f"{safe.url}?ca={safe.ca}".replace(SECRET, f"{SECRET}x"))
    assert "refuses the user or the password" in problem(f"mqtts://127.0.0.1:{safe.port}?ca={safe.ca}")
    assert "TLS" in problem(safe.url.replace("mqtts", "mqtt"))
    assert SECRET not in caplog.text


@pytest.mark.needs_tool("mosquitto")
def test_tls_to_a_broker_that_speaks_none(tmp_path):
    with Broker(tmp_path) as broker:
        assert "TLS" in problem(broker.url.replace("mqtt:", "mqtts:"))


def test_an_unknown_host_is_a_problem():
    assert "no such host" in problem(f"mqtt://bee:{SECRET}@no-such-host.invalid")


class OldBroker:
    """Knows MQTT 3.1.1 and no 5, as brokers did for long: takes messages and acknowledges them."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.versions, self.events = [], []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._talk(stream)

    def _talk(self, stream):
        while head := stream.read(1):
            length, shift = 0, 0
            while (byte := stream.read(1)[0]) & 128:
                length, shift = length | (byte & 127) << shift, shift + 7
            body = stream.read(length | byte << shift)
            kind, qos = head[0] >> 4, head[0] >> 1 & 3
            if kind == 1:
                self.versions.append(body[6])
                known = body[6] == 4
                stream.write(b"\x20\x02\x00" + (b"\x00" if known else b"\x01"))
                stream.flush()
                if not known:
                    return
            elif kind == 3 and qos:
                after = 2 + struct.unpack("!H", body[:2])[0]
                self.events.append(body[after + 2 :])
                stream.write(b"\x40\x02" + body[after : after + 2])
                stream.flush()


def test_a_broker_without_mqtt_5_is_spoken_to_as_it_can(caplog):
    broker = OldBroker()
    mqtt = Mqtt(settings_from_url(f"mqtt://127.0.0.1:{broker.server.getsockname()[1]}"), ["yard"])
    assert until(lambda: mqtt._connection.up)
    mqtt.send(word())
    assert [json.loads(line)["id"] for line in broker.events] == ["id1"]
    assert broker.versions[0] == 5
    assert broker.versions[-1] == 4
    assert mqtt.problem is None
    mqtt.close()
    broker.server.close()


@pytest.mark.needs_tool("mosquitto")
def test_a_network_thread_that_died_is_replaced(tmp_path, monkeypatch, caplog):
    starts = []
    start = Client.loop_start

    def dies_once(client):
        starts.append(client)
        return MQTT_ERR_SUCCESS if len(starts) == 1 else start(client)

    monkeypatch.setattr(Client, "loop_start", dies_once)
    with Broker(tmp_path) as broker:
        mqtt = Mqtt(settings_from_url(f"{broker.url}?every=0.1"))
        assert until(lambda: mqtt._connection.up, 10.0)
        mqtt.close()
    assert "connecting again" in caplog.text


@pytest.mark.needs_tool("mosquitto")
def test_a_network_thread_that_dies_while_connected_is_replaced(tmp_path):
    with Broker(tmp_path) as broker:
        mqtt = Mqtt(settings_from_url(f"{broker.url}?every=0.1"))
        assert until(lambda: mqtt._connection.up)
        client = mqtt._connection._client
        assert client
        client._thread_terminate = True  # as after an error in it: the connection stays, and nothing is read
        assert until(lambda: mqtt._connection.connects == 2 and mqtt._connection.up)
        mqtt.send(word())
        mqtt.close()


def test_closing_while_the_network_thread_starts_waits_for_its_start(monkeypatch):
    starting, start, threads = threading.Event(), threading.Thread.start, []

    def slowly(thread):
        if thread.name.startswith("paho-mqtt-client"):
            threads.append(thread)
            starting.set()
            time.sleep(0.3)  # paho knows the thread by now, and joining it would be an error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slowly)
    mqtt = Mqtt(settings_from_url(f"mqtt://127.0.0.1:{free_port()}"))
    assert starting.wait(PATIENCE_S)
    mqtt.close()
    assert until(lambda: not threads[0].is_alive())
    assert threads[0].ident is not None


def test_a_network_thread_that_cannot_start_is_a_problem_that_is_reported(monkeypatch):
    start = threading.Thread.start

    def refused(thread):
        if thread.name.startswith("paho-mqtt-client"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    mqtt = Mqtt(settings_from_url("mqtt://127.0.0.1:9"))
    assert until(lambda: "can't start new thread" in (mqtt.problem or ""))
    mqtt.close()


def test_importing_and_reading_an_address_opens_no_socket_and_brings_no_paho():
    code = """
import socket, ssl, sys
socket.socket = None
from edge.alert.mqtt_settings import settings_from_url
settings_from_url("mqtts://user:pw@host")
assert not [name for name in sys.modules if name.startswith("paho")]
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
