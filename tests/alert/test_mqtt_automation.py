"""The automations that docs/home-assistant.md offers, replayed: one message a visit, whatever starts again."""

import re
from pathlib import Path

import pytest

from tests.alert.test_mqtt_order import event
from tests.helpers import make_pictures
from tests.helpers.home_world import Home, Process, Wire, automations

pytest.importorskip("jinja2", reason="jinja2 is not installed")

GUIDE = Path(__file__).parents[2] / "docs" / "home-assistant.md"
ALARMED = ["Bear: brown_bear"]


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def home(wire):
    return Home(wire, automations(GUIDE))


@pytest.fixture
def start(wire, monkeypatch):
    def start():
        process = Process(wire, monkeypatch)
        process.watched["yard"] = True
        process.connect()
        return process

    return start


@pytest.fixture
def alarm(home, start):
    """One that watches, and has published a bear that is still there."""
    alarm = start()
    assert home.sent == []
    alarm.mqtt(event())
    assert home.sent == ALARMED
    return alarm


def test_the_very_first_alarm_and_each_further_visit_is_one_message(home, alarm):
    alarm.mqtt(event("update", seq=2, escalated="rising score"))
    alarm.mqtt(event("end", seq=3))
    alarm.mqtt(event(id_="b", seq=4, label="black_bear"))
    assert home.sent == [*ALARMED, "Bear: black_bear"]


def test_nothing_outside_the_schedule(home, start):
    start().mqtt(event(quiet="outside the schedule"))
    assert home.sent == []


def test_a_gap_of_the_camera_is_no_bear(home, alarm):
    alarm.mqtt(event(id_="t", kind="camera", label="gone", seq=2))
    alarm.mqtt(event("end", seq=3))
    alarm.mqtt(event("end", "t", kind="camera", label="gone", seq=4))
    assert home.sent == ALARMED


def test_an_alarm_that_is_killed_and_starts_again_is_no_bear(home, alarm, start):
    alarm.cut()
    start()
    assert home.sent == ALARMED


def test_home_assistant_that_starts_again_is_told_of_the_same_visit_once(home, alarm):
    for _ in range(2):
        home.stop()
        alarm.look()
        home.start()
        alarm.beat()
    assert home.sent == ALARMED
    alarm.mqtt(event("end", seq=2))
    alarm.mqtt(event(id_="b", seq=3))
    assert home.sent == ALARMED * 2


@pytest.mark.parametrize("lasting", [True, False], ids=["it kept what is retained", "it kept nothing"])
@pytest.mark.parametrize("first", ["the alarm", "Home Assistant"])
def test_a_broker_that_starts_again_is_no_other_visit(wire, home, alarm, lasting, first):
    alarm.cut()
    if not lasting:
        wire.retained.clear()
    for back in (alarm.connect, home.reconnect) if first == "the alarm" else (home.reconnect, alarm.connect):
        back()
    alarm.beat()
    assert home.sent == ALARMED


@pytest.mark.parametrize("first", ["the alarm", "Home Assistant"])
def test_a_bear_that_comes_while_the_broker_is_away_is_one_message(home, start, first):
    alarm = start()
    alarm.cut()
    home.on = False
    alarm.mqtt(event())
    for back in (alarm.connect, home.reconnect) if first == "the alarm" else (home.reconnect, alarm.connect):
        back()
    alarm.beat()
    assert home.sent == ALARMED


def test_a_bear_that_comes_while_a_dead_connection_is_not_noticed_yet_is_one_message(home, start):
    alarm = start()
    alarm.line.broken = True
    alarm.mqtt(event())
    assert home.sent == []
    alarm.cut()
    alarm.connect()
    assert home.sent == ALARMED


def test_a_bear_that_comes_while_home_assistant_starts_again_is_one_message(home, start):
    alarm = start()
    home.stop()
    alarm.look()
    alarm.mqtt(event())
    home.start()
    alarm.beat()
    alarm.beat()
    assert home.sent == ALARMED


def test_a_yard_that_nobody_watches_is_reported(home, alarm):
    home.wait()
    assert home.sent == ALARMED
    alarm.cut()
    home.wait()
    assert home.sent == [*ALARMED, "The bear alarm does not see the yard."]


def test_the_state_of_the_bear_alone_would_not_do(wire, monkeypatch):
    """As the guide had it: the replay must be able to show a second message for one visit."""
    naive = {
        "triggers": [{"trigger": "state", "entity_id": "binary_sensor.bear_alarm_yard_bear", "to": "on"}],
        "actions": [{"data": {"message": "bear"}}],
    }
    home, alarm = Home(wire, [naive]), Process(wire, monkeypatch)
    alarm.watched["yard"] = True
    alarm.connect()
    alarm.mqtt(event())
    home.stop()
    home.start()
    alarm.beat()
    assert home.sent == ["bear", "bear"]


def test_the_picture_of_the_guide_shows_the_entities_as_they_are():
    kept = (GUIDE.parent / "home-assistant.svg").read_text(encoding="utf-8")
    drawn = make_pictures.cards(make_pictures.home(), GUIDE.parent / "alert.jpg")
    words = [re.findall(r"<text[^>]*>([^<]*)</text>", picture) for picture in (drawn, kept)]
    assert words[0] == words[1], "run tests/helpers/make_pictures.py"
    assert {"Bear Alarm yard", "Bear score", "98.0 %"} <= set(words[0])
