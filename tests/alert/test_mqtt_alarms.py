"""Alarms as events of Home Assistant, each published while it is connected; and the entities that there are."""

import json
from typing import Any

import pytest

from edge.alert.mqtt import LOSS_S, NEWS_S, Alarms
from tests.alert.test_mqtt_order import SENSOR, event
from tests.helpers.home_world import Home, Process, Wire

pytest.importorskip("jinja2", reason="jinja2 is not installed")

ALARM, LAST = "bear-alarm/yard/alarm", "bear-alarm/yard/last_alarm"


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def home(wire):
    return Home(wire)


@pytest.fixture
def start(wire, monkeypatch):
    """Start the alarm, whose cameras give pictures."""

    def start(**more):
        process = Process(wire, monkeypatch, **more)
        process.watched = dict.fromkeys(process.watched, True)
        process.connect()
        return process

    return start


def alarms(wire, since=0):
    return [json.loads(payload)["id"] for topic, payload in wire.log[since:] if topic == ALARM]


def test_an_alarm_is_an_event_once_a_visit_with_what_is_known_of_it(wire, start):
    alarm = start()
    alarm.mqtt(event(score=0.9, zones=("gate",)))
    alarm.mqtt(event("update", seq=2, escalated="rising score"))
    alarm.mqtt(event("end", seq=3))
    alarm.mqtt(event("update", seq=4, escalated="back after 17 s"))
    alarm.mqtt(event(id_="q", seq=5, quiet="outside the schedule"))
    alarm.mqtt(event(id_="b", seq=6))
    alarm.beat()
    assert alarms(wire) == ["a", "b"]
    published = json.loads(next(payload for topic, payload in wire.log if topic == ALARM))
    assert published["event_type"] == "alarm"
    assert (published["label"], published["score"], published["zones"]) == ("brown_bear", 0.9, ["gate"])
    assert ALARM not in wire.retained
    assert json.loads(wire.retained[LAST])["id"] == "b"


def test_a_quiet_visit_is_an_event_once_it_alarms(wire, start):
    alarm = start()
    alarm.mqtt(event(quiet="outside the schedule"))
    assert alarms(wire) == []
    alarm.mqtt(event("update", seq=2, escalated="inside the schedule"))
    assert alarms(wire) == ["a"]


@pytest.mark.parametrize("type_", ["end", "update"])
def test_a_quiet_visit_that_goes_on_into_the_schedule_has_not_alarmed_yet(wire, start, type_):
    """Lost and found again, or seen on without an alarm of its own: the alarm that follows is its first."""
    alarm = start()
    alarm.mqtt(event(quiet="outside the schedule"))
    alarm.mqtt(event(type_, seq=2))
    alarm.mqtt(event("update", seq=3, escalated="inside the schedule"))
    assert alarms(wire) == ["a"]


def test_a_visit_that_was_published_before_the_settings_changed_is_no_new_event(wire, start):
    alarm = start()
    alarm.mqtt(event("update"))
    alarm.mqtt(event("update", seq=2, escalated="rising score"))
    assert alarms(wire) == []


def test_an_alarm_while_the_broker_is_away_is_an_event_when_it_is_back(wire, start):
    alarm = start()
    alarm.cut()
    alarm.mqtt(event())
    assert alarms(wire) == []
    alarm.line.up = True
    alarm.line.connects += 1
    alarm.look()
    assert alarms(wire) == []  # for Home Assistant takes a moment to hear
    alarm.mqtt._step(0.0)
    alarm.beat()
    assert alarms(wire) == ["a"]


def test_an_alarm_while_home_assistant_is_away_is_an_event_when_it_is_back(wire, home, start):
    alarm = start()
    alarm.mqtt(event(id_="before"))
    since = len(wire.log)
    home.stop()
    alarm.look()
    alarm.mqtt(event(id_="meanwhile", seq=2))
    assert alarms(wire, since) == []
    home.start()
    alarm.beat()
    alarm.beat()
    assert alarms(wire, since) == ["meanwhile"]


def test_alarms_that_may_be_lost_are_published_again_and_old_news_is_not():
    alarms = Alarms()
    alarms.ready = True
    alarms.add("a", "topic", b"a", 0.0)
    assert alarms.due(0.0, ()) == [("topic", b"a")]
    assert alarms.due(1.0, ()) == []
    alarms.republish()
    assert alarms.due(LOSS_S / 2, ()) == [("topic", b"a")]
    assert alarms.due(2 * LOSS_S, ()) == []
    alarms.republish()
    assert alarms.due(2 * LOSS_S, ()) == []
    alarms.ready = False
    alarms.add("b", "topic", b"b", 1000.0)
    alarms.add("c", "topic", b"c", 1000.0)
    assert alarms.due(1000.0 + 2 * NEWS_S, ["c"]) == []
    alarms.ready = True
    assert alarms.due(1000.0 + 2 * NEWS_S, ["c"]) == [("topic", b"c")]  # whose bear is still there


def test_the_device_publishes_why_it_cannot_be_relied_on_when_that_changes(home, start):
    stats: dict[str, object] = {}  # before the start nothing is known
    alarm = start(stats=lambda: stats)
    sensor = "binary_sensor.bear_alarm_problem"
    stats |= {"well": True, "reason": None, "problems": {}}
    alarm.look()
    assert home.entities[sensor].state == "off"
    stats |= {"well": False, "reason": "disk: no room", "problems": {"disk": "no room"}}
    alarm.mqtt(event(kind="health", camera="alarm", label="disk"))
    alarm.look()
    assert home.entities[sensor].state == "on"
    assert home.entities[sensor].attributes == {"reason": "disk: no room", "problems": {"disk": "no room"}}
    alarm.cut()
    assert home.entities[sensor].state == "unavailable"


def test_what_was_stays_to_be_seen_while_the_alarm_is_off_and_after_home_assistant_started_again(wire, home, start):
    alarm = start()
    alarm.mqtt(event())
    wire.publish("bear-alarm/yard/snapshot", "a picture", retain=True)
    alarm.mqtt.close()
    home.stop()
    home.start()
    states = {id_: entity.state for id_, entity in home.entities.items()}
    assert states[SENSOR] == "unavailable"
    assert states["sensor.bear_alarm_yard_last_alarm"] == "2026-01-01T00:00:01.000Z"
    assert states["image.bear_alarm_yard_last_bear"] not in {"unavailable", "unknown"}
    assert home.entities["event.bear_alarm_yard_alarm"].attributes["id"] == "a"


def test_cameras_are_devices_under_the_hub_and_entities_keep_their_ids(home, start):
    start(cameras=("yard", "Hütte 2"))
    devices: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for entity in home.entities.values():
        device = entity.config["device"]
        devices.setdefault(device["identifiers"][0], (device, []))[1].append(entity.config["unique_id"])
    (hub, of_hub), *cameras = devices.values()
    node = hub["identifiers"][0]
    assert of_hub == [f"{node}_connection", f"{node}_problem"]
    assert [device["via_device"] for device, _ in cameras] == [node, node]
    names = ("bear", "score", "alarm", "lastalarm", "problem", "snapshot")
    assert cameras[0][1] == [f"{node}_yard_{name}" for name in names]
    assert len({id_ for _, ids in devices.values() for id_ in ids}) == 14
