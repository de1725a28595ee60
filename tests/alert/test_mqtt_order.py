"""What Home Assistant sees of a bear, and in which order it is published: never one that is not there."""

import json
import subprocess
import sys

import pytest

from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from edge.schema import Event
from tests.helpers.broker import Broker, Listener
from tests.helpers.home_world import Home, Process, Wire

pytest.importorskip("jinja2", reason="jinja2 is not installed")

HUB = "bear-alarm/available"
BEAR, SEES, ATTRIBUTES = (f"bear-alarm/yard/{what}" for what in ("bear", "available", "attributes"))
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
    """Return what became of the state: names of topics without attributes' words, and the words of all others."""
    named = {HUB: "hub", SEES: "yard", ATTRIBUTES: "attributes", BEAR: "bear"}
    found = [
        (named[topic], None if topic == ATTRIBUTES else payload)
        for topic, payload in wire.published(*STATE, since=since)
    ]
    return [" ".join(filter(None, each)) for each in found]


def test_at_the_start_a_camera_is_offline_before_the_device_is_online(wire, start):
    start(watched=False)
    assert order(wire, 0)[:2] == ["yard offline", "hub online"]
    assert not wire.published(BEAR)


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


def test_a_camera_that_goes_is_offline_before_anything_else_is_published(wire, start):
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
def test_a_broker_that_starts_again_gets_a_bear_that_goes_on_and_of_one_that_left(wire, home, start, lasting):
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
    alarm.watched["yard"] = False
    alarm.mqtt(event("end", seq=2))
    alarm.mqtt.close()
    assert order(wire, since)[0] == "yard offline"
    assert "hub offline" in order(wire, since)
    assert not wire.published(BEAR, since=since)
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


def test_a_fault_that_lasts_is_published_as_long_as_it_lasts(wire, start):
    alarm = start(watched=False)
    alarm.mqtt(event(id_="t", kind="camera", label="gone"))
    since = len(wire.log)
    alarm.beat()
    assert json.loads(dict(wire.log[since:])[ATTRIBUTES])["trouble"] == "gone"


@pytest.mark.needs_tool("mosquitto")
def test_over_a_real_broker_home_assistant_hears_the_same_after_a_kill(tmp_path, wire, home):
    watched = {"yard": False}
    with Broker(tmp_path) as broker, Listener(broker) as listener:
        code = (
            "import sys; from edge.schema import Event; from edge.alert.mqtt import *;"
            "from edge.alert.mqtt_settings import *;"
            "mqtt = Mqtt(settings_from_url(sys.argv[1]), ['yard']);"
            "[mqtt(Event.from_json(line)) for line in sys.stdin]"
        )
        with subprocess.Popen([sys.executable, "-c", code, broker.url], stdin=subprocess.PIPE, text=True) as child:
            assert listener.hears(BEAR, "OFF")
            assert child.stdin
            print(event().to_json(), file=child.stdin, flush=True)
            assert listener.hears(BEAR, "ON")
            child.kill()
        assert listener.hears(HUB, "offline")
        before = len(listener.got)
        mqtt = Mqtt(settings_from_url(broker.url), ["yard"], watching=watched.__getitem__)
        assert listener.hears(HUB, "online")
        watched["yard"] = True
        assert listener.hears(SEES, "online")
        mqtt.close()
        assert listener.hears(SEES, "offline")
    since = len(wire.log) + before
    for topic, payload, _ in listener.got:
        wire.publish(topic, payload, retain=topic in {HUB, SEES})
    assert home.history[SENSOR] == ["unavailable", "off", "on", "unavailable", "off", "unavailable"]
    assert order(wire, since)[:2] == ["yard offline", "hub online"]
