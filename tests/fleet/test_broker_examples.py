"""The files and commands of docs/fleet.md with Debian's mosquitto: who may write and read what, and TLS."""

import getpass
import re
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from edge.alert.mqtt_connection import BrokerConnection
from edge.alert.mqtt_settings import settings_from_url
from tests.helpers.broker import PATIENCE_S, Broker, free_port, run, until
from tests.helpers.command import ROOT

DOCS = ROOT / "docs"
pytestmark = pytest.mark.needs_tool("mosquitto", "openssl")
USERS = ("north", "south", "ranger", "homeassistant")


class ExampleBroker(Broker):
    """mosquitto with the files of docs/fleet, and a certificate by the commands of docs/fleet.md."""

    def __init__(self, folder):
        self.folder, self.port, self.process = Path(folder), free_port(), None
        (commands,) = re.findall(r"```sh\n(.+?)```", (DOCS / "fleet.md").read_text("utf-8"), re.DOTALL)
        commands = commands.replace("192.168.1.10", "127.0.0.1")
        subprocess.run(["sh", "-ec", commands], cwd=self.folder, check=True, capture_output=True)
        self.ca = self.folder / "ca.pem"
        passwords = self.folder / "passwords"
        passwords.touch(0o600)
        for user in USERS:
            run("mosquitto_passwd", "-b", passwords, user, f"{user}-word")
        config = (DOCS / "fleet" / "mosquitto.conf").read_text("utf-8")
        for line, here in (
            ("listener 8883", f"listener {self.port} 127.0.0.1\nuser {getpass.getuser()}"),
            ("/etc/mosquitto/certs/", f"{self.folder}/"),
            ("/etc/mosquitto/acl", f"{DOCS}/fleet/acl"),
            ("/etc/mosquitto/", f"{self.folder}/"),
        ):
            assert line in config
            config = config.replace(line, here)
        self.config = self.folder / "mosquitto.conf"
        self.config.write_text(config)
        self.start()

    @contextmanager
    def user(self, name):
        """Connect as ``name``, subscribed to everything; yield (client, what it heard)."""
        heard, ready = [], threading.Event()
        client = Client(CallbackAPIVersion.VERSION2, f"test {name}", protocol=MQTTv5)
        client.username_pw_set(name, f"{name}-word")
        client.tls_set(str(self.ca))
        client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _, __, message: heard.append((message.topic, bytes(message.payload)))
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            assert ready.wait(PATIENCE_S)
            yield client, heard
        finally:
            client.disconnect()
            client.loop_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The broker as a ranger sets it up."""
    with ExampleBroker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def heard(broker, writer, *topics):
    """Have ``writer`` publish to each topic; return who heard which of them, though everyone subscribes to all."""
    with ExitStack() as stack:
        users = {name: stack.enter_context(broker.user(name)) for name in USERS}

        def say(name, topic, payload):
            users[name][0].publish(topic, payload, qos=1).wait_for_publish(PATIENCE_S)

        for topic in topics:
            say(writer, topic, b"{}")
        for name, teller, topic in (  # the broker keeps the order: who hears this has heard all the rest
            ("north", "ranger", "bears/north/replay"),
            ("south", "ranger", "bears/south/replay"),
            ("ranger", "north", "bears/north/stats"),
            ("homeassistant", "north", "bears/north/stats"),
        ):
            say(teller, topic, b"the end")
            assert until(lambda said=users[name][1], topic=topic: (topic, b"the end") in said)
        return {name: [topic for topic, payload in said if payload == b"{}"] for name, (_, said) in users.items()}


def test_a_device_writes_its_own_topics_only_and_reads_no_question_of_others(broker):
    own = ["bears/north/events", "bears/north/yard/snapshot", "bears/north/question"]
    others = [
        "bears/north/filler/1",
        "bears/north/x/y/snapshot",
        "bears/south/events",
        "bears/south/replay",
        "bears/south/answer",
        "bears/stats",
        "homeassistant/status",
    ]
    found = heard(broker, "north", *others, *own)
    assert found == {"north": [], "south": [], "ranger": own[:2], "homeassistant": own}


def test_the_fleet_asks_devices_for_events_and_writes_nothing_else(broker):
    found = heard(
        broker, "ranger", "bears/north/answer", "bears/north/events", "bears/north/model", "bears/north/replay"
    )
    assert found == {
        "north": ["bears/north/replay"], "south": [], "ranger": [], "homeassistant": ["bears/north/replay"]
    }  # fmt: skip


def test_an_answer_from_home_assistant_reaches_the_device_that_asked_alone(broker):
    found = heard(broker, "homeassistant", "bears/north/answer", "bears/north/events")
    assert found == {
        "north": ["bears/north/answer"],
        "south": [],
        "ranger": [],
        "homeassistant": ["bears/north/answer"],
    }


def connected(broker, options):
    """Connect as the fleet does; return whether it is up, and its problem."""
    url = f"mqtts://ranger:ranger-word@127.0.0.1:{broker.port}/bears{options}"
    connection = BrokerConnection(settings_from_url(url), "fleet", lambda: None)
    try:
        connection.tend()
        assert until(lambda: connection.up or connection.problem)
        return connection.up, connection.problem
    finally:
        connection.close(1.0)


def test_tls_needs_the_ca_of_the_guide(broker):
    assert connected(broker, f"?ca={broker.ca}") == (True, None)
    up, problem = connected(broker, "")
    assert not up
    assert "its certificate is not trusted" in problem
