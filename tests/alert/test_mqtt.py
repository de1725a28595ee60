"""MQTT against a real broker: what is sent arrives in order, whatever becomes of the broker or of us."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.alert import mqtt_connection
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_connection import UndeliveredError
from edge.alert.mqtt_settings import settings_from_url
from edge.background import Sink, in_background
from edge.record.outbox import Message, RefusedError
from edge.schema import Event
from tests.helpers.broker import PATIENCE_S, Broker, Listener, refusing_port, until

pytestmark = pytest.mark.needs_tool("mosquitto")
ROOT = Path(__file__).parents[2]
EVENTS = "bear-alarm/events"
AVAILABLE = "bear-alarm/available"
SNAPSHOT = "bear-alarm/yard/snapshot"


def event(seq=1, type_="new", kind="bear", **more):
    return Event(kind, type_, f"id{seq}", seq, "run", more.pop("camera", "yard"), "2026-01-01T00:00:00.000Z", **more)


def word(*seqs):
    return Message(tuple(event(seq) for seq in seqs), "word")


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def listener(broker):
    with Listener(broker) as listener:
        yield listener


def client(broker, options="", cameras=("yard",), **more):
    """A client that is connected."""
    mqtt = Mqtt(settings_from_url(f"{broker.url}{options}"), cameras, **more)
    assert until(lambda: mqtt._connection.up), mqtt.problem
    return mqtt


def insist(mqtt, message):
    """Send it as the outbox does: again and again, until it is delivered."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            mqtt.send(message)
            return
        except UndeliveredError:
            assert time.monotonic() < end
            time.sleep(0.05)


def seqs(listener):
    """The numbers of the events that came, each once."""
    return list(dict.fromkeys(json.loads(line)["seq"] for line in listener.of(EVENTS)))


def test_every_event_arrives_as_its_json(broker, listener):
    mqtt = client(broker)
    sent = [
        event(1, score=0.9, zones=("gate",)),
        event(2, "end", camera="Bienenstöcke \udcff"),
        event(3, "new", "camera", label="gone"),
        event(4, "new", "health", camera=""),
        event(5, "new", "test"),
    ]
    for each in sent:
        assert mqtt.wants(each)
        mqtt.send(Message((each,), "word"))
    mqtt.close()
    assert until(lambda: len(listener.of(EVENTS)) == 5)
    assert [Event.from_json(line) for line in listener.of(EVENTS)] == sent


def test_a_picture_is_kept_by_the_broker_for_who_comes_later(broker, listener, tmp_path):
    picture = tmp_path / "bear.jpg"
    picture.write_bytes(b"\xff\xd8 a bear")
    mqtt = client(broker)
    mqtt.send(Message((event(),), "picture", picture))
    with Listener(broker, SNAPSHOT, "later") as later:
        assert until(lambda: later.got == [(SNAPSHOT, b"\xff\xd8 a bear", True)])
    picture.unlink()
    with pytest.raises(RefusedError, match="cannot be read"):
        mqtt.send(Message((event(2),), "picture", picture))
    mqtt.close()


def test_a_picture_of_a_test_is_kept_by_nobody_and_replaces_none_of_a_camera(broker, listener, tmp_path):
    picture = tmp_path / "test.jpg"
    picture.write_bytes(b"\xff\xd8 a test")
    mqtt = client(broker, guest=True)
    mqtt.send(Message((event(kind="test", camera="yard"),), "picture", picture))
    assert until(lambda: listener.got == [("bear-alarm/test_picture", b"\xff\xd8 a test", False)])
    with Listener(broker, "#", "later") as later:
        mqtt.send(word(1))
        assert until(lambda: later.got)
        assert [topic for topic, *_ in later.got] == [EVENTS]
    mqtt.close()


def test_a_subscriber_gets_all_in_order_through_restarts_of_the_broker(broker, listener):
    mqtt = client(broker)
    parts = threading.Semaphore(1)

    def send():
        for first in (1, 21, 41):
            parts.acquire()
            for seq in range(first, first + 20):
                insist(mqtt, word(seq))

    sender = threading.Thread(target=send)
    sender.start()
    for so_far in (0, 20):
        assert until(lambda so_far=so_far: len(seqs(listener)) > so_far)
        broker.stop(signal.SIGTERM)
        parts.release()
        broker.start()
    sender.join(PATIENCE_S)
    assert until(lambda: len(seqs(listener)) == 60)
    assert seqs(listener) == list(range(1, 61))
    assert listener.hears(AVAILABLE, "online")
    mqtt.close()


def test_without_a_broker_a_message_stays_with_the_outbox():
    with refusing_port() as port:
        mqtt = Mqtt(settings_from_url(f"mqtt://127.0.0.1:{port}"))
        assert until(lambda: mqtt.problem)
        with pytest.raises(UndeliveredError, match="nothing listens there"):
            mqtt.send(word(1))
        mqtt.close()


def test_a_broker_that_comes_later_is_found(tmp_path):
    with Broker(tmp_path) as broker:
        broker.stop()
        mqtt = Mqtt(settings_from_url(broker.url), ["yard"])
        assert until(lambda: mqtt.problem)
        broker.start()
        with Listener(broker) as listener:
            assert listener.hears(AVAILABLE, "online")
            assert mqtt.problem is None
            insist(mqtt, word(1))
            assert until(lambda: seqs(listener) == [1])
        mqtt.close()


def test_a_message_on_its_way_is_not_sent_twice_when_it_is_asked_for_again(broker, listener, monkeypatch):
    mqtt = client(broker)
    broker.hang()
    monkeypatch.setattr(mqtt_connection, "ANSWER_S", 0.05)
    connection = mqtt._connection
    for _ in range(3):
        with pytest.raises(UndeliveredError, match="no answer"):
            connection.deliver(EVENTS, event(7).to_json().encode(), 7, "word")
    broker.run_for()
    monkeypatch.undo()
    connection.deliver(EVENTS, event(7).to_json().encode(), 7, "word")
    connection.deliver(EVENTS, event(8).to_json().encode(), 8, "word")
    assert until(lambda: len(listener.of(EVENTS)) == 2)
    assert seqs(listener) == [7, 8]
    mqtt.close()


def test_a_word_does_not_wait_for_a_picture_on_its_way(broker, listener, tmp_path):
    mqtt = client(broker)
    picture = tmp_path / "bear.jpg"
    picture.write_bytes(bytes(100))
    broker.hang()
    sends = [Message((event(),), "picture", picture), word(1)]
    threads = [threading.Thread(target=mqtt.send, args=(message,)) for message in sends]
    for thread in threads:
        thread.start()
        assert until(lambda thread=thread: len(mqtt._connection._in_flight) > threads.index(thread))
    broker.run_for()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert until(lambda: seqs(listener) == [1])
    mqtt.close()


def test_the_last_will_says_offline_when_the_process_is_killed(broker, listener):
    imports = "from edge.alert.mqtt import Mqtt; from edge.alert.mqtt_settings import settings_from_url"
    code = f"{imports}; m = Mqtt(settings_from_url({broker.url!r}), ['yard']); input()"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE) as child:
        assert listener.hears(AVAILABLE, "online")
        child.kill()
    assert listener.hears(AVAILABLE, "offline")
    with Listener(broker, AVAILABLE, "later") as later:
        assert until(lambda: later.got == [(AVAILABLE, b"offline", True)])
    assert all(not kept for topic, _, kept in listener.got if topic.endswith("/bear"))


def test_closing_says_offline_and_ends_the_thread_at_once(broker, listener):
    before = set(threading.enumerate())  # one of another test may end meanwhile
    mqtt = client(broker)
    assert listener.hears(AVAILABLE, "online")
    started = time.monotonic()
    mqtt.close()
    took = time.monotonic() - started
    assert listener.hears(AVAILABLE, "offline")
    assert took < 5.0
    assert until(lambda: set(threading.enumerate()) <= before, 5.0)
    with pytest.raises(UndeliveredError):
        mqtt.send(word(1))
    mqtt.close()


def test_what_the_broker_refuses_for_good_is_not_tried_for_ever(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite bear-alarm/available\n")
    with Broker(tmp_path, config=f"acl_file {acl}\nmax_packet_size 5000") as broker:
        mqtt = client(broker)
        with pytest.raises(RefusedError, match="does not let this user write bear-alarm/events: compare the user"):
            mqtt.send(word(1))
        (tmp_path / "big.jpg").write_bytes(bytes(6000))
        with pytest.raises(RefusedError, match="takes 5000 bytes"):
            mqtt.send(Message((event(),), "picture", tmp_path / "big.jpg"))
        mqtt.close()


def test_a_message_that_ends_the_connection_each_time_is_given_up_and_the_next_goes(broker, listener, monkeypatch):
    # Brokers without MQTT 5 do not publish their limit: they disconnect.
    monkeypatch.setattr("edge.alert.mqtt_connection.RECONNECT_S", (0, 1))
    broker.stop()
    with broker.config.open("a") as config:
        config.write("max_packet_size 5000\n")
    broker.start()
    (picture := broker.folder / "big.jpg").write_bytes(bytes(6000))
    mqtt = client(broker)
    mqtt._connection._largest = None
    with pytest.raises(RefusedError, match="ends each time"):
        insist(mqtt, Message((event(),), "picture", picture))
    insist(mqtt, word(2))
    assert until(lambda: seqs(listener) == [2])
    mqtt.close()


def test_a_guest_disturbs_nobody(broker, listener):
    mqtt = client(broker)
    assert listener.hears(AVAILABLE, "online")
    guest = client(broker, guest=True)
    guest.send(word(1))
    guest(event(2))
    guest.close()
    assert until(lambda: seqs(listener) == [1])
    mqtt.send(word(3))
    assert listener.of(AVAILABLE)[-1] == "online"
    assert listener.of("bear-alarm/yard/bear")[-1] == "OFF"
    assert mqtt._connection.connects == 1
    mqtt.close()


@pytest.mark.parametrize("answer", [b"", b"\x20\x02\x00\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 40])
def test_a_broker_that_hangs_or_talks_nonsense_delays_nobody(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept_all, args=(server, answer), daemon=True).start()
        mqtt = Mqtt(settings_from_url(f"mqtt://127.0.0.1:{server.getsockname()[1]}"), ["yard"])
        received: list[Event] = []
        sinks: list[Sink] = [in_background(mqtt, "mqtt"), mqtt, in_background(received.append, "siren")]
        started = time.monotonic()
        for seq in range(50):
            for sink in sinks:
                sink(event(seq))
        assert time.monotonic() - started < 2.0
        assert until(lambda: len(received) == 50, 5.0)
        with pytest.raises(UndeliveredError):
            mqtt.send(word(1))
        started = time.monotonic()
        mqtt.close()
        assert time.monotonic() - started < 5.0


def accept_all(server, answer):
    """Take every connection, send this, and nothing more."""
    held = []
    while True:
        try:
            connection, _ = server.accept()
            connection.sendall(answer)
        except OSError:
            return
        held.append(connection)


def test_an_offer_of_a_new_model_is_handed_over_whole_and_only_where_it_is_asked_for(broker, listener):
    offers: list[bytes] = []
    offer = json.dumps({"url": "https://example.org/bear.onnx", "signature": "x" * 3000}).encode()
    listener.say("bear-alarm/model", offer, retain=True)
    mqtt = client(broker, offered=offers.append)
    assert until(lambda: offers == [offer])
    mqtt.close()
    other = client(broker)
    log = (broker.folder / "mosquitto.log").read_text()
    other.close()
    assert log.count("bear-alarm/model (QoS 1)") == 1


def test_two_alarms_with_one_address_do_not_throw_each_other_out(broker, listener):
    one, two = client(broker), client(broker, cameras=("bins",))
    time.sleep(1.5)  # a fight takes a second a round
    assert one._connection.up
    assert two._connection.up
    for mqtt, number in ((one, 1), (two, 2)):
        mqtt.send(word(number))
        mqtt.close()
    assert until(lambda: seqs(listener) == [1, 2])
    log = (broker.folder / "mosquitto.log").read_text()
    assert "taken over" not in log
    assert "already connected" not in log
