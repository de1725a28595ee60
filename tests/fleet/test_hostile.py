"""Hostile devices: each is contained, shown, and costs the others nothing."""

import json
from contextlib import suppress
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
from edge.fleet.devices import Known
from edge.fleet.fleet import BURST, RATE, Fleet
from edge.fleet.messages import MAX_BYTES, MAX_PICTURE_BYTES, MessageError, event_of, good_name, parse
from edge.fleet.store import FleetStore, FleetWriter
from edge.pictures import camera_jpeg
from edge.record.database import DiskError
from edge.record.run import EventFactory
from tests.fleet.test_fleet import Stepped, cameras, fleet, message, say, state
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
        ("detail", 3), ("zones", ["x"] * 51),
    ],
)  # fmt: skip
def test_an_event_whose_fields_are_of_other_types_is_refused(field, value):
    assert event_of(dict(FINE)).seq == FINE["seq"]
    with pytest.raises(MessageError, match=field):
        event_of({**FINE, field: value})


def test_an_event_that_is_too_long_is_refused():
    with pytest.raises(MessageError, match="over 8,000 bytes"):
        event_of({**FINE, "zones": ["x" * 1000] * 8})


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "\u3164", "\u200b", "\u2800\u3164", "\u0301", "x" * 65, "a\nb"])
def test_a_name_that_cannot_be_seen_is_refused(name):
    assert good_name("Béla 2 \u0905")
    assert not good_name(name)


def test_half_a_character_in_a_text_can_be_stored_and_shown():
    found = event_of(parse(json.dumps({**FINE, "file": "\ud800.jpg", "label": "\u202egnp"}).encode()))
    assert found.file == "\\ud800.jpg"
    found.to_json().encode()


def jpeg(width=64, height=48, **more):
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(more.get("progressive", False))]
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8), options)[1].tobytes()


@pytest.mark.needs_tool("mosquitto")
def test_bad_messages_and_pictures_are_counted_and_the_others_lose_nothing(broker, tmp_path):
    run = EventFactory()
    with fleet(broker, tmp_path) as found, Listener(broker, "none") as listener:
        store = FleetStore(found.folder)
        say(listener, "bad")
        listener.say("bears/garbage/events", b"[")
        for _ in range(120):  # more than the broker sends ahead
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("seq", "abc")]
            listener._client.publish("bears/bad/yard/snapshot", jpeg(), qos=1, properties=properties)
        for payload in (b"[", DEEP.encode(), b'{"a":NaN}', json.dumps({**FINE, "seq": "1"}).encode()):
            listener.say("bears/bad/events", payload)
        listener.say("bears/bad/stats", json.dumps({"well": "yes"}))
        listener.say("bears/bad/replayed", json.dumps({"events": [FINE] * 51, "more": False, "lost": False}))
        listener.say("bears/bad/available", b"perhaps")
        for payload in (b"MZ", jpeg()[:-40], b"\xff\xd8\xff\xd9", jpeg(progressive=True)):
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
        assert until(lambda: len(store.incidents()) == 1)
        assert store.incidents()[0].device == "good"
        for part in ("7 of its messages were refused", "3 of its messages were too large", "4 of its pictures"):
            assert until(lambda part=part: part in " ".join(found.device("bad").doubts)), part
        assert len(found.device("bad").doubts) == 3
        assert "60 cameras" in found.device("many").doubts[0]
        assert len(found.device("many").cameras) == 50
        assert {each.name for each in found.devices()} == {"bad", "good", "many"}
        notices = " ".join(found.notices())
        assert "3 messages were refused" in notices
        assert "give it bears/NAME" in notices
        assert found.device("good").doubts == ()
        assert found.trouble() is None


@pytest.mark.needs_tool("mosquitto")
def test_a_wrong_clock_is_shown_and_the_time_is_when_it_was_heard(broker, tmp_path):
    run = EventFactory()
    past, future = datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)
    with fleet(broker, tmp_path) as found, Listener(broker, "none") as listener:
        began = datetime.now(UTC).timestamp()
        for id_, wall in (("past", past), ("future", future), ("now", None)):
            listener.say("bears/north/events", run.event("bear", "new", id_, "yard", wall).to_json())
        store = FleetStore(found.folder)
        assert until(lambda: len(store.incidents()) == 3)
        doubtful = {each.event_id: each.clock_doubtful for each in store.incidents()}
        assert doubtful == {"past": True, "future": True, "now": False}
        assert all(began - 1 <= each.began_at <= datetime.now(UTC).timestamp() for each in store.incidents())
        assert until(lambda: "2 of its events are shown" in "".join(found.device("north").doubts))


def test_a_flood_is_dropped_unread_and_does_not_touch_another_device(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(state("flood"))
        good = [event(EventFactory(), f"id{number}").to_json().encode() for number in range(100)]
        with patch("edge.fleet.fleet.parse", side_effect=parse) as parsed:
            for each in [message("flood/events")] * 5000 + [message("good/events", line) for line in good]:
                one.fleet._take(each)
            one.step(seconds=12)
        assert parsed.call_count == BURST - 1 + 100
        assert len(one.acked) == 5000 + 100
        assert len(FleetStore(tmp_path).incidents(device="good", limit=200)) == 100
        assert any("it floods: 3001 of" in each for each in one.fleet.device("flood").doubts)
        one.mono += 1.0
        for _ in range(5000):
            one.fleet._take(message("flood/events"))
        assert len(one.fleet._queue) <= 13 * RATE


def test_a_flood_that_the_broker_sends_but_once_makes_nobody_silent_while_the_disk_is_full(tmp_path):
    line = event(EventFactory()).to_json().encode()
    with Stepped(tmp_path) as one:
        one.step(state("good"), state("flood"))
        with patch.object(FleetWriter, "writing", side_effect=DiskError("full", "full")):
            one.step(*[message("busy/events", line)] * 100)
            for _ in range(25):
                flood = [message("flood/events", line, 0), message("flood/available", b"online", 0)]
                one.step(*flood * 300, state("good"), seconds=30)
                assert len(one.fleet._unwritten) + len(one.fleet._queue) <= 100
        assert one.fleet.device("good").state == "well"
        assert any("only its state may come" in each for each in one.fleet.device("flood").doubts)


def test_a_message_that_cannot_be_read_does_not_keep_the_others(tmp_path):
    pictures = [message("bad/yard/snapshot", jpeg(), seq="abc") for _ in range(120)]
    good = message("good/events", event(EventFactory()).to_json().encode())
    with Stepped(tmp_path) as one:
        one.step(state("bad"))
        with patch.object(Known, "take_stats", side_effect=ValueError):
            one.step(*pictures, state("bad"), good)
        assert one.acked == [*pictures, good]
        assert len(FleetStore(tmp_path).incidents(device="good")) == 1
        assert "1 of its messages was refused: it cannot be read" in one.fleet.device("bad").doubts[0]


@pytest.mark.parametrize(("size", "waiting"), [(MAX_PICTURE_BYTES, [3] * 6 + [2]), (100, [5] * 8)])
def test_pictures_that_wait_to_be_decoded_are_few(tmp_path, size, waiting):
    """Of bytes, and of the messages that the broker sends ahead."""
    with Stepped(tmp_path) as one:
        one.step(*[state(str(number)) for number in range(10)])
        for number in range(10):
            topic = f"{number}/yard/snapshot"
            one.step(*(message(topic, bytes(size), id="a", boot_id="b", seq=str(seq)) for seq in range(8)))
        assert [len(each) for each in one.fleet._pictures.values()] == waiting
        one.step()
        assert len(one.acked) == 80 - sum(waiting)
        assert f"it floods: {8 - waiting[0]} of" in one.fleet.device("0").doubts[0]


def scans(more):
    """Return a sound JPEG of 64 x 48 in three scans, the first of them so many times more."""
    head = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff\xc0\0\x11\x08\0\x30\0\x40\3\1\x11\0\2\x11\0\3\x11\0"
    codes = b"".join(b"\xff\xc4\0\x14" + kind + b"\1" + bytes(16) for kind in (b"\0", b"\x10"))
    first, *others = (b"\xff\xda\0\x08\1" + colour + b"\0\0\x3f\0" for colour in (b"\1", b"\2", b"\3"))
    return head + codes + first + b"".join(others) + first * more + b"\xff\xd9"


def test_a_picture_of_many_scans_is_refused(tmp_path):
    with Stepped(tmp_path) as one:
        for more, taken in ((5, True), (6, False)):
            assert camera_jpeg(scans(more))
            record = one.fleet._picture(message("north/yard/snapshot", scans(more)), "north", "id1", ("a", 1))
            assert (record.write is not None) == taken
        assert one.fleet._refused == {("north", "picture"): 1}


def test_a_message_that_cannot_be_written_does_not_keep_the_others(tmp_path):
    def put(writer, device, each, now):
        if device == "bad":
            raise OverflowError
        return written(writer, device, each, now)

    written, line = FleetWriter.put, event(EventFactory()).to_json().encode()
    with Stepped(tmp_path) as one, patch.object(FleetWriter, "put", put):
        one.step(message("bad/events", line), message("good/events", line))
        assert len(one.acked) == 2
        assert [each.device for each in FleetStore(tmp_path).incidents()] == ["good"]
        assert "it cannot be written" in one.fleet.device("bad").doubts[0]


def test_a_device_with_the_name_of_anothers_camera_stays_if_it_has_a_state(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(state("yard"), message("shed/available", b"online"))
        assert list(one.fleet.states()) == ["shed", "yard"]
        one.step(message("stats", b'{"cameras": {"shed": {}, "yard": {}}}', 0))
        assert list(one.fleet.states()) == ["yard"]


def test_an_answer_with_an_event_that_is_refused_gives_the_others(tmp_path):
    run, asked = EventFactory(), []
    lines = [json.loads(event(run, f"id{number}").to_json()) for number in range(3)]
    lines[0]["zones"] = ["x"] * 51
    with Stepped(tmp_path) as one:
        one.connection.publish = lambda _, question: asked.append(json.loads(question))
        one.step(state("north", last=[run.id, 0]))
        one.step(state("north", last=[run.id, 3]), seconds=31)
        answer = {"events": lines, "upto": [run.id, 3], "more": False, "lost": False}
        one.step(message("north/replayed", json.dumps(asked[0] | answer).encode()), seconds=60)
        assert len(asked) == 1
        assert [each.event_id for each in FleetStore(tmp_path).incidents()] == ["id2", "id1"]
        assert "1 of its messages was refused: its zones" in one.fleet.device("north").doubts[0]


def test_more_devices_than_can_be_shown_are_a_notice_and_garbage_makes_none(tmp_path):
    with patch("edge.fleet.fleet.MAX_DEVICES", 2):
        with Stepped(tmp_path) as one:
            one.step(message("x/events"), message("y/yard/snapshot", jpeg(), id="a", boot_id="b", seq="1"), state("a"))
            one.step(message("z/stats", b'{"well":1}', 0), state("b"))
            assert one.fleet.notices() == [
                "2 messages were refused: of no device that is known, or of a name that cannot be shown"
            ]
        with Stepped(tmp_path) as again:
            again.step(state("c"), state("b"))
            assert list(again.fleet.states()) == ["a", "b"]
            assert "there are more than 2 devices" in " ".join(again.fleet.notices())
            for number in range(20):
                again.step(message(f"made-up-{number}/events"))
            assert len(again.fleet._buckets) <= 4


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
                path = store.picture(next(each for each in store.incidents() if each.event_id == "id1"))
                with suppress(FileNotFoundError):  # a newer one has taken its place since
                    return path and path.read_bytes()
                return None

            first = event(run, "id1")
            listener.say("bears/north/events", first.to_json())
            send(jpeg(), 2)
            send(jpeg(80), 1)  # an older one
            assert until(lambda: store.incidents() and shown() == jpeg())
            send(jpeg(96), 3, retain=True)
            assert until(lambda: shown() == jpeg(96))
            send(jpeg(120))  # of MQTT 3.1.1: nothing says which event
            send(jpeg(130), 4)
            assert until(lambda: shown() == jpeg(130))
        with (
            patch.object(FleetStore, "has_picture", autospec=True, side_effect=FleetStore.has_picture) as asked,
            patch("edge.fleet.fleet.camera_jpeg") as decoded,
            fleet(broker, tmp_path, "?client_id=another"),  # whom the broker sends what it retained
        ):
            assert until(lambda: asked.call_count == 1)
        assert not decoded.called
        assert len(list((tmp_path / "fleet" / "pictures").iterdir())) == 1


@pytest.mark.needs_tool("mosquitto")
def test_two_fleets_with_one_client_id_do_not_throw_each_other_out_all_the_time(broker, tmp_path):
    with fleet(broker, tmp_path / "one", "?client_id=same") as one, fleet(broker, tmp_path / "two", "?client_id=same"):
        assert until(lambda: "another client with the same client id" in (one.problem() or ""))
        connection: Any = one._connection
        assert connection._away_until > connection._connected_at


def test_a_connection_that_flaps_while_the_disk_is_full_fills_no_memory(tmp_path):
    found = Fleet(settings_from_url("mqtt://127.0.0.1/bears"), tmp_path)
    connection: Any = SimpleNamespace(connects=0, ack=lambda message: None)
    found._connection = connection
    for number in range(1, 20):
        connection.connects = number
        found._call()
        for device in range(MAX_UNACKED):  # all that the broker sends without an acknowledgement
            found._take(message(f"{device}/events"))
        assert MAX_UNACKED <= len(found._queue) <= 2 * MAX_UNACKED
