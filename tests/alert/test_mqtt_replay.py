"""Events that a subscriber missed come again: a real broker, the real journal, and a session that lasts."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import closing, contextmanager, suppress
from unittest.mock import patch

import pytest
from paho.mqtt.client import MQTTv5, MQTTv311

from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_connection import MAX_BROKEN, BrokerConnection, UndeliveredError
from edge.alert.mqtt_settings import settings_from_url
from edge.alert.replay import BYTES, EVENTS, ROWS, Replay, events_after
from edge.record.database import NAME
from edge.record.history import ReadOnly
from edge.record.journal import Journal
from edge.record.outbox import Message, RefusedError
from edge.record.run import EventFactory
from edge.settings import AlertSettings, Camera, Site
from tests.helpers.broker import Broker, Listener, subscribed, until
from tests.helpers.journal_stage import Wants, event, journal
from tests.helpers.page_world import page_world

REPLAY, REPLAYED, PREFIX = "bears/north/replay", "bears/north/replayed", "bears/north"
pytestmark = pytest.mark.needs_tool("mosquitto")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@contextmanager
def device(broker, folder, **more):
    """A device and its journal."""
    opened: list[Journal] = []
    with subscribed():
        mqtt = Mqtt(settings_from_url(f"{broker.url}/{PREFIX}"), journal=lambda: opened[0], **more)
    opened.append(journal(folder, mqtt))
    try:
        yield mqtt, opened[0]
    finally:
        mqtt.close()
        opened[0].close()


def answers(listener):
    return [json.loads(each) for each in listener.of(REPLAYED)]


def ask(listener, after):
    """Ask, and return the answer."""
    before = len(answers(listener))
    listener.say(REPLAY, json.dumps({"after": after}))
    assert until(lambda: len(answers(listener)) > before)
    return answers(listener)[-1]


def wanted(found):
    return [each["seq"] for each in found["events"]]


def test_a_subscriber_gets_all_it_missed_and_nothing_that_goes_over_no_network(broker, tmp_path):
    with device(broker, tmp_path) as (mqtt, kept), Listener(broker, "bears/#", "gap") as listener:
        nothing = ask(listener, None)
        assert (nothing["events"], nothing["upto"], nothing["more"], nothing["lost"]) == ([], None, False, False)
        run = kept._run
        assert nothing["last"] == [run.id, 0]
        for number in range(1, 121):
            kept(event(run, f"id{number}", stage="shadow" if number % 3 == 0 else None))
        kept(event(run, "away", "health", camera="alarm", label=mqtt.key, detail="the broker is away"))
        got, after = [], [run.id, 5]
        while True:
            found = ask(listener, after)
            assert found["after"] == after
            assert found["last"] == [run.id, 121]
            assert not found["lost"]
            assert len(found["events"]) <= EVENTS
            got += wanted(found)
            after = found["upto"]
            if not found["more"]:
                break
        assert got == [number for number in range(6, 121) if number % 3]
        assert after == [run.id, 121]
        assert ask(listener, after)["upto"] == after
        assert wanted(ask(listener, None)) == [number for number in range(72, 121) if number % 3]


def test_a_flood_and_what_is_no_request_cost_a_line_and_push_nothing_out(broker, tmp_path, caplog):
    offers: list[bytes] = []
    with (
        device(broker, tmp_path, offered=offers.append) as (mqtt, kept),
        Listener(broker, "bears/#", "flood") as listener,
    ):
        kept(event(kept._run))
        bad = ["", "[", "3", "[" * 900, '{"after": 3}', '{"after": ["a", -1]}', '{"after": ["\\ud800", 1]}', "x" * 2000]
        bad += ['{"after": ["a", 1e400]}', '{"after": [null, 1]}', json.dumps({"after": ["a", 1 << 70]})]
        began, connection = time.monotonic(), mqtt._connection
        counted = patch.object(connection, "_take", wraps=connection._take)
        with mqtt._publishing, counted as took:  # the thread that reads what came is busy
            for number, words in enumerate([*bad, *300 * ['{"after": null}']]):
                listener._client.publish(REPLAY, words, qos=1)
                if number == 150:
                    listener._client.publish("bears/north/model", "an offer", qos=1)
            assert until(lambda: took.call_count == len(bad) + 301)
        assert until(lambda: offers == [b"an offer"])
        assert until(lambda: len(answers(listener)) >= 2)
        assert len(answers(listener)) <= time.monotonic() - began + 1
        assert caplog.text.count("is ignored") == 1


def test_an_answer_that_was_not_acknowledged_stands_for_no_other(broker, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.alert.mqtt_connection.ANSWER_S", 0.2)
    with device(broker, tmp_path) as (mqtt, kept), Listener(broker, REPLAYED, "stale") as listener:
        for number in range(1, 5):
            kept(event(kept._run, f"id{number}"))
        with patch.object(mqtt._connection, "deliver", wraps=mqtt._connection.deliver) as tried:
            broker.hang()
            for number in (1, 3):
                mqtt._replay(json.dumps({"after": [kept._run.id, number]}).encode())
                assert until(lambda number=number: tried.call_count == (number + 1) / 2)
            broker.run_for()
        assert until(lambda: {each["after"][1] for each in answers(listener)} == {1, 3}, 5.0)


def test_an_answer_that_the_broker_does_not_take_is_halved_and_costs_no_event(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("edge.alert.mqtt_connection.RECONNECT_S", (0, 1))
    monkeypatch.setattr("edge.alert.replay.PAUSE_S", 0.05)
    with Broker(tmp_path, config="max_packet_size 5000") as broker, device(broker, tmp_path / "device") as (mqtt, kept):
        for number in range(1, 31):
            kept(event(kept._run, f"id{number}"))
        connection = mqtt._connection
        connection._largest = None  # brokers without MQTT 5 do not publish their limit: they disconnect

        def given_up():
            with suppress(UndeliveredError):
                mqtt.send(Message((event(kept._run, "new"),), "word"))  # is not what ended the connection
            return connection._in_flight["replay"].broken >= MAX_BROKEN

        with subscribed():
            mqtt._replay(b'{"after": null}')
            assert until(lambda: "replay" in connection._in_flight)
            assert until(given_up, 10.0)
        with Listener(broker, REPLAYED, "small") as listener:
            assert until(lambda: connection.up)
            found = ask(listener, [kept._run.id, 0])
            assert 1 < len(found["events"]) < 20
            assert found["more"]
            assert "is ignored" not in caplog.text
            kept(event(kept._run, "large", detail="x" * 6000))
            mqtt._replay(json.dumps({"after": [kept._run.id, 31]}).encode())
            assert until(lambda: "the broker takes 5000 bytes a packet" in caplog.text)


def test_answers_that_were_halved_grow_again_with_each_that_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.alert.replay.PAUSE_S", 0.0)
    sizes: list[int] = []

    def deliver(words, _):
        sizes.append(len(json.loads(words)["events"]))
        if len(sizes) <= 2:
            raise RefusedError("the link was lost")

    with closing(journal(tmp_path)) as kept:
        for number in range(1, 61):
            kept(event(kept._run, f"id{number}"))
        replay = Replay(Wants(), lambda: kept, deliver)
        for answered in range(3, 7):
            replay(b'{"after": null}')
            assert until(lambda answered=answered: len(sizes) == answered)
        replay.close()
    assert sizes == [50, 25, 12, 24, 48, 50]


def rows(folder, count, *, lose=0, **more):
    """A journal's rows of one run, of which the oldest are trimmed; return its run."""
    run = EventFactory()
    with closing(journal(folder, run=run)) as kept:
        for number in range(1, count + 1):
            kept(event(run, f"id{number}", **more))
        with kept._disk._ready().writing():
            kept._disk._ready().trim(count - lose, lose)
    return run.id


def test_an_answer_is_bounded_in_rows_and_bytes_and_says_what_is_lost(tmp_path):
    class Route:
        key, pictures = "mqtt", True

        def wants(self, event):
            return True

    shadow, large = rows(tmp_path, ROWS + 20, stage="shadow"), rows(tmp_path, 60, detail="å" * 2000)
    with ReadOnly(tmp_path / NAME) as db:
        found = events_after(db, (shadow, 1), Route())
        assert (found["events"], found["upto"], found["more"]) == ([], (shadow, ROWS + 1), True)
        found = events_after(db, (large, 0), Route())
        size = len(json.dumps(found["events"], ensure_ascii=False, separators=(",", ":")).encode())
        assert BYTES - 3000 < size <= BYTES + EVENTS
        assert (found["events"][0]["seq"], found["lost"], found["more"]) == (1, False, True)
        other = events_after(db, (uuid.uuid4().hex, 7), Route())
        assert (other["lost"], other["more"], other["events"][0]["boot_id"]) == (True, True, large)
    trimmed = tmp_path / "trimmed"
    run = rows(trimmed, 30, lose=10)
    with ReadOnly(trimmed / NAME) as db:
        found = events_after(db, (run, 3), Route())
        assert (found["lost"], [each["seq"] for each in found["events"]]) == (True, list(range(11, 31)))


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv311])
def test_a_lasting_session_brings_what_was_not_acknowledged_and_pictures_name_their_event(broker, tmp_path, protocol):
    name, got = f"fleet{protocol}", []
    topics = (("bears/+/events", 1), ("bears/+/+/snapshot", 1))

    def take(message):
        if not message.retain:  # MQTT 3.1.1 sends what is retained with each connect
            got.append(message)

    def subscribe():
        found = BrokerConnection(
            settings_from_url(broker.url), name, lambda: None, subscriptions=topics, session=True, take=take
        )
        found._protocol = protocol
        with subscribed():
            found.tend()
        return found

    fleet = subscribe()
    assert not fleet.session_present
    picture = tmp_path / "bear.jpg"
    picture.write_bytes(b"a bear")
    with device(broker, tmp_path) as (mqtt, kept):
        one, two = (event(kept._run, name, evidence=str(picture)) for name in ("one", "two"))
        mqtt.send(Message((one,), "word"))
        mqtt.send(Message((two,), "word"))
        assert until(lambda: len(got) == 2)
        fleet.ack(got[0])
        early = got.pop()
        fleet.close(2.0)
        log = broker.folder / "mosquitto.log"
        assert until(lambda: f"Received DISCONNECT from {name}" in log.read_text())
        mqtt.send(Message((one,), "picture", picture))
        got.clear()
        fleet = subscribe()
        assert fleet.session_present
        assert until(lambda: len(got) == 2)
        assert [(each.topic, each.dup) for each in got] == [
            ("bears/north/events", True),
            ("bears/north/yard/snapshot", False),
        ]
        assert json.loads(got[0].payload)["id"] == "two"
        if protocol == MQTTv5:
            properties = dict(got[1].properties.UserProperty)
            assert properties == {"boot_id": one.boot_id, "seq": str(one.seq), "id": "one"}
        fleet.ack(early)  # of the connection before: its number may be another message's now
        fleet.close(2.0)
        got.clear()
        fleet = subscribe()
        assert until(lambda: len(got) == 2)
        fleet.close(2.0)


def test_of_two_clients_with_one_id_the_first_stays_away(broker):
    def client():
        return BrokerConnection(settings_from_url(broker.url), "twice", lambda: None, session=True)

    first, second = client(), client()
    first.tend()
    assert until(lambda: first.up)
    thrown_out = first._client
    assert thrown_out
    second.tend()
    assert until(lambda: first.problem)
    assert "another client with the same client id took over" in (first.problem or "")
    first.tend()
    assert until(lambda: thrown_out._thread is None)  # so that paho does not connect again
    assert first._client is None
    with patch("edge.alert.mqtt_connection.TAKEN_OVER_S", 0.0):
        first._away_until = time.monotonic()
        first.tend()
        assert until(lambda: first.up)
    second.close(1.0)
    first.close(1.0)


@pytest.mark.parametrize("private", [True, False])
def test_the_state_says_how_far_the_device_is_and_where_it_stands_only_to_those_with_a_password(tmp_path, private):
    login = {"user": "north", "password": "hunter22"} if private else {}
    with Broker(tmp_path, **login) as broker, Listener(broker, "#", "ranger") as listener:
        alerts = AlertSettings(bell=False, mqtt=settings_from_url(f"{broker.url}/{PREFIX}?every=0.2"))
        site, cameras = Site("Meadow", 45.6, 0.0), (Camera("yard", "", stage="supervised"),)
        with page_world(tmp_path, claimed=False, alerts=alerts, site=site, cameras=cameras) as world:
            assert world.alarm.alerting
            world.alarm.alerting.publish(world.alarm.run.event("notice", "new", "id", "yard", label="stage"))
            last = [world.alarm.run.id, 0]

            def stats():
                return [json.loads(each) for each in listener.of(f"{PREFIX}/stats")]

            assert until(lambda: stats() and stats()[-1]["last"][1] > 0)
            found = stats()[-1]
            assert found["last"][0] == last[0]
            assert (found["every_s"], found["cameras"]["yard"]["stage"]) == (0.2, "supervised")
            assert found["clock_synced"] in (True, False, None)
            place = {"name": "Meadow", "latitude": 45.6, "longitude": 0.0}
            assert found.get("site") == (place if private else None)
            listener.say(REPLAY, json.dumps({"after": last}))
            assert until(lambda: answers(listener))
            assert answers(listener)[0]["events"]
