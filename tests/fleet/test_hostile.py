"""Hostile devices: each is contained, shown, and costs the others nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.alert.mqtt_connection import MAX_UNACKED
from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.fleet import BURST, MAX_UNASSURED, RATE, Fleet
from edge.fleet.messages import MAX_BYTES, MAX_PICTURE_BYTES, MessageError, event_of, parse
from edge.fleet.store import FleetStore
from edge.record.run import EventFactory
from tests.fleet.test_fleet import cameras, fleet
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.journal_stage import event

FINE = json.loads(event(EventFactory()).to_json())
DEEP = "[" * 100_000


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    with Broker(folder, config="max_packet_size 20000000") as broker:
        yield broker


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff", b"[]", b"{", DEEP.encode(), f'{{"a":{DEEP}'.encode(), b'{"a":NaN}', b'{"a":-Infinity}',
        b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}", b'{"a":123456789012345678901234567890}',
        json.dumps({"a" * 2001: 1}).encode(), json.dumps({"a": [[[[[[[[[1]]]]]]]]]}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_sound_json_object_is_refused_in_words(payload):
    with pytest.raises(MessageError, match=r"^(it|a name in it|a number in it) "):
        parse(payload)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", True), ("seq", -1), ("seq", 1.5), ("boot_id", ""), ("boot_id", 7), ("id", "x" * 201),
        ("kind", ["bear"]), ("kind", "wolf"), ("type", None), ("camera", None), ("camera", "x" * 2001),
        ("captured_at", "yesterday"), ("captured_at", "2026-12-03\u202e01:00:00Z"),
        ("captured_at", "2026-12-03T01:00:00"), ("score", "1"), ("score", 7), ("top_score", True), ("durable", 1),
        ("zones", "gate"), ("zones", [1]), ("box_xywh", [0, 0, 1]), ("box_xywh", [0, 0, 1, None]), ("stage", {}),
        ("detail", 3),
    ],
)  # fmt: skip
def test_an_event_whose_fields_are_of_other_types_is_refused(field, value):
    assert event_of(dict(FINE)).seq == FINE["seq"]
    with pytest.raises(MessageError, match=field):
        event_of({**FINE, field: value})


def test_half_a_character_in_a_text_can_be_stored_and_shown():
    found = event_of(parse(json.dumps({**FINE, "file": "\ud800.jpg", "label": "\u202egnp"}).encode()))
    assert found.file == "\\ud800.jpg"
    found.to_json().encode()


def jpeg(width=64, height=48):
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()


@pytest.mark.needs_tool("mosquitto")
def test_bad_messages_and_pictures_are_counted_and_the_others_lose_nothing(broker, tmp_path):
    run = EventFactory()
    with fleet(broker, tmp_path) as found, Listener(broker, "none") as listener:
        store = FleetStore(found.folder)
        for payload in (b"[", DEEP.encode(), b'{"a":NaN}', json.dumps({**FINE, "seq": "1"}).encode()):
            listener.say("bears/bad/events", payload)
        listener.say("bears/bad/stats", json.dumps({"well": "yes"}))
        listener.say("bears/bad/replayed", json.dumps({"events": [FINE] * 51, "more": False, "lost": False}))
        listener.say("bears/bad/available", b"perhaps")
        for payload in (b"MZ", jpeg()[:-40], b"\xff\xd8\xff\xd9"):
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("id", "id1"), ("boot_id", run.id), ("seq", "1")]
            listener._client.publish("bears/bad/yard/snapshot", payload, qos=1, properties=properties)
        listener.say("bears/bad/events", b" " * (MAX_BYTES + 1))
        listener.say("bears/bad/yard/snapshot", b"\xff\xd8" + bytes(MAX_PICTURE_BYTES))
        listener.say("bears/bad/yard/snapshot", b"\xff\xd8" + bytes(10_000_000))
        listener.say("bears/many/stats", json.dumps({"well": True, "cameras": {str(n): {} for n in range(60)}}))
        listener.say("bears/\u202eevil/available", "online")
        listener.say(f"bears/{'x' * 65}/available", "online")
        listener.say("bears/stats", json.dumps({"well": True, "cameras": cameras()}))
        listener.say("bears/yard/available", "online")  # a camera of the device at the fleet's own prefix
        listener.say("bears/good/events", event(run, "good").to_json())
        assert until(lambda: len(store.happenings()) == 1)
        assert store.happenings()[0].device == "good"
        assert until(lambda: len(found.device("bad").doubts) == 3)
        words = " ".join(found.device("bad").doubts)
        for part in ("7 of its messages were refused", "3 of its messages were too large", "3 of its pictures"):
            assert part in words
        assert "60 cameras" in found.device("many").doubts[0]
        assert len(found.device("many").cameras) == 50
        assert {each.name for each in found.devices()} == {"bad", "good", "many"}
        notices = " ".join(found.notices())
        assert "2 messages were refused" in notices
        assert "give it bears/NAME" in notices
        assert found.device("good").doubts == ()
        assert found.trouble() is None


@pytest.mark.needs_tool("mosquitto")
def test_a_wrong_clock_is_shown_and_the_time_is_when_it_was_heard(broker, tmp_path):
    run = EventFactory()
    past, future = datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=2)
    with fleet(broker, tmp_path) as found, Listener(broker, "none") as listener:
        began = datetime.now(UTC).timestamp()
        for id_, wall in (("past", past), ("future", future), ("now", None)):
            listener.say("bears/north/events", run.event("bear", "new", id_, "yard", wall).to_json())
        store = FleetStore(found.folder)
        assert until(lambda: len(store.happenings()) == 3)
        doubtful = {each.event_id: each.clock_doubtful for each in store.happenings()}
        assert doubtful == {"past": True, "future": True, "now": False}
        assert all(began - 1 <= each.began_at <= datetime.now(UTC).timestamp() for each in store.happenings())
        assert until(lambda: "2 of its events are shown" in "".join(found.device("north").doubts))


def message(topic, payload=b"{}", qos=1):
    return SimpleNamespace(topic=topic, payload=payload, qos=qos, retain=False, properties=None)


def test_a_flood_is_dropped_unread_and_does_not_touch_another_device(tmp_path):
    now = [0.0]
    found = Fleet(settings_from_url("mqtt://127.0.0.1/bears"), tmp_path, monotonic=lambda: now[0])
    for _ in range(5000):
        found._take(message("bears/flood/events"))
    for _ in range(100):
        found._take(message("bears/good/events"))
    assert len(found._queue) == BURST + 100
    assert found._refused == {("flood", "flood"): 5000 - BURST}
    now[0] = 10.0
    for _ in range(5000):
        found._take(message("bears/flood/events"))
    assert len(found._queue) == BURST + 100 + 10 * RATE
    for number in range(MAX_UNASSURED + 50):  # what the broker sends without waiting for an acknowledgement
        found._take(message(f"bears/{number}/events", qos=0))
    assert len(found._queue) == BURST + 100 + 10 * RATE + MAX_UNASSURED
    for _ in range(30):
        found._take(message("bears/good/stats", qos=1))
    assert sum(key == ("good", "stats") for key in found._queue) == 1


@pytest.mark.needs_tool("mosquitto")
def test_a_known_picture_and_one_of_nobodys_event_change_nothing(broker, tmp_path):
    run = EventFactory()
    with Listener(broker, "none") as listener:

        def send(payload, place=None, *, retain=False):
            properties = Properties(PacketTypes.PUBLISH)
            if place:
                properties.UserProperty = [("id", "id1"), ("boot_id", run.id), ("seq", str(place))]
            sent = listener._client.publish("bears/north/yard/snapshot", payload, 1, retain, properties)
            sent.wait_for_publish(10.0)

        with fleet(broker, tmp_path) as found:
            store = FleetStore(found.folder)

            def shown():
                path = store.picture(next(each for each in store.happenings() if each.event_id == "id1"))
                return path and path.read_bytes()

            first = event(run, "id1")
            listener.say("bears/north/events", first.to_json())
            send(jpeg(), 2)
            send(jpeg(80), 1)  # an older one
            assert until(lambda: store.happenings() and shown() == jpeg())
            send(jpeg(96), 3, retain=True)
            assert until(lambda: shown() == jpeg(96))
            listener.say("bears/north/events", replace(event(run, "id2"), camera="gate").to_json())
            listener.say("bears/north/events", replace(event(run, "id3"), camera="yard").to_json())
            send(jpeg(120))  # of MQTT 3.1.1: nothing says which event
            assert until(lambda: {each.event_id for each in store.happenings() if each.picture} == {"id1", "id3"})
        with (
            patch.object(FleetStore, "has_picture", autospec=True, side_effect=FleetStore.has_picture) as asked,
            patch("edge.fleet.fleet.camera_jpeg") as decoded,
            fleet(broker, tmp_path, "?client_id=another"),  # whom the broker sends what it retained
        ):
            assert until(lambda: asked.call_count == 1)
        assert not decoded.called
        assert len(list((tmp_path / "fleet" / "pictures").iterdir())) == 2


@pytest.mark.needs_tool("mosquitto")
def test_two_fleets_with_one_client_id_do_not_throw_each_other_out_all_the_time(broker, tmp_path):
    with fleet(broker, tmp_path / "one", "?client_id=same") as one, fleet(broker, tmp_path / "two", "?client_id=same"):
        assert until(lambda: "another client with the same client id" in (one.problem() or ""))
        connection: Any = one._connection
        connects = connection.connects
        assert not until(lambda: connection.connects > connects, 2.5)


def test_a_connection_that_flaps_while_the_disk_is_full_fills_no_memory(tmp_path):
    found = Fleet(settings_from_url("mqtt://127.0.0.1/bears"), tmp_path)
    connection: Any = SimpleNamespace(connects=0, ack=lambda message: None)
    found._connection = connection
    for number in range(1, 20):
        connection.connects = number
        found._call()
        for device in range(MAX_UNACKED):  # all that the broker sends without an acknowledgement
            found._take(message(f"bears/{device}/events"))
        assert MAX_UNACKED <= len(found._queue) <= 2 * MAX_UNACKED
