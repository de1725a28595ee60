"""A real MQTT broker for tests: mosquitto on a free port of 127.0.0.1, and somebody who listens to it."""

import getpass
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.alert.mqtt_connection import BrokerConnection

PATIENCE_S = 30.0  # a busy machine is slow, never wrong


def free_port():
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def refusing_port():
    """A port that refuses every connection: it is taken, so that nobody else gets it, and nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def until(condition, patience_s=PATIENCE_S):
    """Wait until it is true; False when it never became so."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def subscribed():
    """Wait at the end until a connection that was begun meanwhile has its subscriptions."""
    real = BrokerConnection._on_subscribe
    with patch.object(BrokerConnection, "_on_subscribe", autospec=True, side_effect=real) as taken:
        yield
        assert until(lambda: taken.called)


class Broker:
    """mosquitto with its files in ``folder``; started at once, and as often as is liked on the same port.

    ``user`` and ``password``: nobody else is let in. ``tls``: its CA is ``ca``, its certificate is for 127.0.0.1.
    ``config``: further lines of mosquitto.conf.
    """

    def __init__(self, folder, *, user=None, password=None, tls=False, config=""):
        self.folder = Path(folder)
        self.port = free_port()
        self.user, self.password, self.tls = user, password, tls
        self.ca = self.folder / "ca.pem"
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",  # else root becomes one that cannot write here
            f"allow_anonymous {'false' if user else 'true'}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "max_queued_messages 100000",
            "queue_qos0_messages true",  # either side may be back first: a listener misses nothing
            "log_type all",
            f"log_dest file {self.folder / 'mosquitto.log'}",
            config,
        ]
        if user:
            passwords = self.folder / "passwords"
            run("mosquitto_passwd", "-b", "-c", passwords, user, password)
            lines.append(f"password_file {passwords}")
        if tls:
            key, certificate = self._certificate()
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        self.config = self.folder / "mosquitto.conf"
        self.config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self):
        """As ``--mqtt`` takes it."""
        login = f"{self.user}:{self.password}@" if self.user else ""
        return f"mqtt{'s' if self.tls else ''}://{login}127.0.0.1:{self.port}"

    def start(self):
        """Start it and wait until it listens."""
        self.process = subprocess.Popen(["mosquitto", "-c", self.config], stderr=subprocess.DEVNULL)
        assert until(self._listens), f"mosquitto does not start: {self.folder / 'mosquitto.log'}"

    def stop(self, how=signal.SIGTERM):
        """End it; it keeps what it owes to those who will be back."""
        if self.process:
            end = time.monotonic() + PATIENCE_S
            while self.process.poll() is None and time.monotonic() < end:
                self.process.send_signal(how)  # again: one that comes while it starts is forgotten
                self.process.send_signal(signal.SIGCONT)
                until(lambda: self.process and self.process.poll() is not None, 2.0)
            self.process.wait(1.0)
            self.process = None

    def hang(self):
        """It stays connected, and does nothing any more."""
        self._signal(signal.SIGSTOP)

    def run_for(self):
        """It works again."""
        self._signal(signal.SIGCONT)

    def _signal(self, which):
        assert self.process
        self.process.send_signal(which)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def _listens(self):
        with socket.socket() as probe:
            return self.process and self.process.poll() is None and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _certificate(self):
        """A CA of its own, and a key with a certificate for 127.0.0.1."""
        ca_key, key, request, certificate = (
            self.folder / name for name in ("ca.key", "broker.key", "broker.csr", "broker.pem")
        )
        names = self.folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run("openssl", "req", "-x509", *new, "-keyout", ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=test CA")
        run("openssl", "req", *new, "-keyout", key, "-out", request, "-subj", "/CN=broker")
        signed = ("-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", names)
        run("openssl", "x509", "-req", "-in", request, "-out", certificate, *signed)
        return key, certificate


def run(*command):
    """Run a program that must not fail."""
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Listener:
    """A subscriber with QoS 1 and a session that outlives its connections; keeps (topic, payload, retained)."""

    def __init__(self, broker, topic="#", name="listener"):
        self.got: list[tuple[str, bytes, bool]] = []
        self.connected = threading.Event()
        self._topic = topic
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv5)
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set(str(broker.ca))
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self.connected.set()
        self._client.on_message = lambda _, __, m: self.got.append((m.topic, bytes(m.payload), m.retain))
        self._client.reconnect_delay_set(1, 1)
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", broker.port, clean_start=False, properties=lasting)
        self._client.loop_start()
        assert self.connected.wait(PATIENCE_S)

    def _on_connect(self, client, _, flags, reason, properties):
        if not reason.is_failure:
            client.subscribe(self._topic, qos=1)

    def say(self, topic, payload, *, retain=False):
        """Publish something."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def of(self, topic):
        """The payloads of one topic, in order, as text."""
        return [payload.decode() for where, payload, _ in list(self.got) if where == topic]

    def hears(self, topic, payload, patience_s=PATIENCE_S):
        """Return whether this is, or soon will be, the last word of the topic."""
        return until(lambda: self.of(topic)[-1:] == [payload], patience_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()
