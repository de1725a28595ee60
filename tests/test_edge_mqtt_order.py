"""What Home Assistant sees of a bear, and in which order it is published: never one that is not there."""

import json

import pytest

from edge.schema import Event
from edge.sinks.mqtt.alarms import NEWS_S, SURE_S, Alarms
from tests.home_world import Home, Process, Wire

pytest.importorskip("jinja2", reason="jinja2 is not installed")

HUB = "bear-alarm/available"
BEAR, SEES, ATTRIBUTES, ALARM, LAST = (
    f"bear-alarm/yard/{what}" for what in ("bear", "available", "attributes", "alarm", "last_alarm")
)
STATE = (HUB, SEES, ATTRIBUTES, BEAR)
SENSOR = "binary_sensor.bear_alarm_yard_bear"


def event(type_="new", id_="a", kind="bear", seq=1, **more):
    more = {"label": "brown_bear", "camera": "yard"} | more
    return Event(kind, type_, id_, seq, "run", captured_at=f"2026-01-01T00:00:{seq:02}.000Z", **more)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def home(wire):
    return Home(wire)


@pytest.fixture
def start(wire, monkeypatch):
    """Start the alarm; its camera gives pictures unless ``watched`` is False."""

    def start(watched=True, **more):
        process = Process(wire, monkeypatch, **more)
        process.watched = dict.fromkeys(process.watched, watched)
        process.connect()
        return process

    return start


def order(wire, since):
    """What became of the state: names of topics without attributes' words, and the words of all others."""
    named = {HUB: "hub", SEES: "yard", ATTRIBUTES: "attributes", BEAR: "bear"}
    found = [
        (named[topic], None if topic == ATTRIBUTES else payload) for topic, payload in wire.said(*STATE, since=since)
    ]
    return [" ".join(filter(None, each)) for each in found]


def test_at_the_start_a_camera_is_offline_before_the_device_is_online(wire, start):
    start(watched=False)
    assert order(wire, 0)[:2] == ["yard offline", "hub online"]
    assert not wire.said(BEAR)


def test_a_camera_is_available_with_its_first_frame_and_not_with_the_next_beat(wire, home, start):
    alarm = start(watched=False)
    alarm.look()
    assert home.history[SENSOR][-1] == "unavailable"
    since = len(wire.log)
    alarm.watched["yard"] = True
    alarm.look()
    assert order(wire, since) == ["attributes", "bear OFF", "yard online"]
    assert home.history[SENSOR][-1] == "off"


def test_through_a_gap_of_the_camera_its_old_bear_is_never_shown_again(wire, home, start):
    alarm = start()
    alarm.mqtt(event())
    assert home.history[SENSOR][-1] == "on"
    alarm.mqtt(event(id_="t", kind="camera", label="gone", seq=2))  # first the trouble, then the end of the bear
    since = len(wire.log)
    alarm.mqtt(event("end", seq=3))
    alarm.watched["yard"] = False
    alarm.look()
    assert order(wire, since) == ["yard offline", "attributes"]
    assert home.history[SENSOR][-1] == "unavailable"
    since, shown = len(wire.log), len(home.history[SENSOR])
    alarm.watched["yard"] = True
    alarm.mqtt(event("end", "t", kind="camera", label="gone", seq=4))
    assert order(wire, since) == ["attributes", "bear OFF", "yard online"]
    assert home.history[SENSOR][shown:] == ["off"]


def test_a_camera_that_goes_is_offline_before_anything_else_is_said(wire, start):
    alarm = start()
    since = len(wire.log)
    alarm.mqtt(event(id_="t", kind="camera", label="covered"))
    assert order(wire, since) == ["yard offline", "attributes"]
    alarm.mqtt(event("end", "t", kind="camera", label="covered", seq=2))
    since = len(wire.log)
    alarm.watched["yard"] = False  # its loop hangs
    alarm.look()
    assert order(wire, since) == ["yard offline"]


def test_a_killed_alarm_that_is_back_does_not_show_the_bear_of_before(wire, home, start):
    killed = start()
    killed.mqtt(event())
    killed.cut()
    assert wire.retained[SEES] == "online"
    assert home.history[SENSOR][-1] == "unavailable"
    since, shown = len(wire.log), len(home.history[SENSOR])
    alarm = start(watched=False)
    assert order(wire, since)[:2] == ["yard offline", "hub online"]
    alarm.watched["yard"] = True
    since = len(wire.log)
    alarm.look()
    assert order(wire, since) == ["attributes", "bear OFF", "yard online"]
    assert home.history[SENSOR][shown:] == ["off"]


def test_a_killed_alarm_that_is_back_at_once_shows_what_is_there_now(wire, home, start):
    start().cut()
    since, shown = len(wire.log), len(home.history[SENSOR])
    start(watched=True)
    assert order(wire, since)[:4] == ["attributes", "bear OFF", "yard online", "hub online"]
    assert home.history[SENSOR][shown:] == ["off"]


@pytest.mark.parametrize("lasting", [True, False], ids=["it kept what is retained", "it kept nothing"])
def test_a_broker_that_starts_again_is_told_of_a_bear_that_goes_on_and_of_one_that_left(wire, home, start, lasting):
    alarm = start()
    alarm.mqtt(event())
    for there, state in ((True, "on"), (False, "off")):
        alarm.cut()
        if not lasting:
            wire.retained.clear()
        if not there:
            alarm.mqtt(event("end", seq=2))
        since, shown = len(wire.log), len(home.history[SENSOR])
        alarm.connect()
        assert order(wire, since)[:4] == ["attributes", f"bear {state.upper()}", "yard online", "hub online"]
        home.reconnect()
        alarm.beat()
        assert set(home.history[SENSOR][shown:]) == {"unavailable", state}


def test_home_assistant_that_starts_again_shows_no_bear_that_left_meanwhile(wire, home, start):
    alarm = start()
    alarm.mqtt(event())
    assert home.history[SENSOR][-1] == "on"
    home.stop()
    alarm.mqtt(event("end", seq=2))
    shown, since = len(home.history[SENSOR]), len(wire.log)
    home.start()
    assert home.entities[SENSOR].value == "on"  # it brings back what it had
    assert set(home.history[SENSOR][shown:]) == {"unavailable"}
    alarm.beat()
    assert order(wire, since)[:4] == ["attributes", "bear OFF", "yard online", "hub online"]
    assert [each for each in home.history[SENSOR][shown:] if each != "unavailable"] == ["off"]


def test_home_assistant_that_starts_again_shows_a_bear_that_goes_on(home, start):
    alarm = start()
    alarm.mqtt(event())
    home.stop()
    shown = len(home.history[SENSOR])
    home.start()
    alarm.beat()
    assert [each for each in home.history[SENSOR][shown:] if each != "unavailable"] == ["on"]


def test_a_clean_stop_says_offline_first_and_never_that_the_bear_has_left(wire, home, start):
    alarm = start()
    alarm.mqtt(event())
    since, shown = len(wire.log), len(home.history[SENSOR])
    alarm.watched["yard"] = False  # let go of
    alarm.mqtt(event("end", seq=2))
    alarm.mqtt.close()
    assert order(wire, since)[0] == "yard offline"
    assert "hub offline" in order(wire, since)
    assert not wire.said(BEAR, since=since)
    assert home.history[SENSOR][shown:] == ["unavailable"]
    assert (wire.retained[HUB], wire.retained[SEES]) == ("offline", "offline")


def test_a_stop_makes_the_device_offline_before_its_cameras(wire, start):
    alarm = start()
    since = len(wire.log)
    alarm.mqtt.close()
    assert order(wire, since) == ["hub offline", "yard offline"]


def test_the_last_words_of_a_camera_that_was_removed_do_not_bring_it_back(wire, home, start):
    alarm = start(cameras=("bins",))
    alarm.mqtt(event("end", "t", kind="camera", label="gone"))
    alarm.mqtt(event("end"))
    alarm.beat()
    assert SENSOR not in home.entities
    assert not [topic for topic, _ in wire.log if "/yard" in topic]


def test_a_trouble_that_lasts_is_said_as_long_as_it_lasts(wire, start):
    alarm = start(watched=False)
    alarm.mqtt(event(id_="t", kind="camera", label="gone"))
    since = len(wire.log)
    alarm.beat()
    assert json.loads(dict(wire.log[since:])[ATTRIBUTES])["trouble"] == "gone"


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
    told = json.loads(next(payload for topic, payload in wire.log if topic == ALARM))
    assert told["event_type"] == "alarm"
    assert (told["label"], told["score"], told["zones"]) == ("brown_bear", 0.9, ["gate"])
    assert ALARM not in wire.retained
    assert json.loads(wire.retained[LAST])["id"] == "b"


def test_a_quiet_visit_is_an_event_once_it_alarms(wire, start):
    alarm = start()
    alarm.mqtt(event(quiet="outside the schedule"))
    assert alarms(wire) == []
    alarm.mqtt(event("update", seq=2, escalated="inside the schedule"))
    assert alarms(wire) == ["a"]


def test_a_visit_that_was_told_before_the_settings_changed_is_no_new_event(wire, start):
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


def test_alarms_that_may_be_lost_are_said_again_and_old_news_is_not():
    alarms = Alarms()
    alarms.ready = True
    alarms.add("a", "topic", b"a", 0.0)
    assert alarms.due(0.0, ()) == [("topic", b"a")]
    assert alarms.due(1.0, ()) == []
    alarms.doubt()
    assert alarms.due(SURE_S / 2, ()) == [("topic", b"a")]
    assert alarms.due(2 * SURE_S, ()) == []
    alarms.doubt()
    assert alarms.due(2 * SURE_S, ()) == []
    alarms.ready = False
    alarms.add("b", "topic", b"b", 1000.0)
    alarms.add("c", "topic", b"c", 1000.0)
    assert alarms.due(1000.0 + 2 * NEWS_S, ["c"]) == []
    alarms.ready = True
    assert alarms.due(1000.0 + 2 * NEWS_S, ["c"]) == [("topic", b"c")]  # whose bear is still there


def test_the_device_says_why_it_cannot_be_relied_on_when_that_changes(home, start):
    stats = {"well": True, "reason": None, "problems": {}}
    alarm = start(stats=lambda: stats)
    sensor = "binary_sensor.bear_alarm_problem"
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
    devices = {}
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
