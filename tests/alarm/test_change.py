"""Which cameras an alarm counts as watched, and what is open where a live state is shown."""

import socket
import time
from dataclasses import replace

import pytest

from edge.alarm import Alarm
from edge.alert.mqtt_settings import settings_from_url
from edge.detect.zones import parse_masks
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings
from tests.helpers.broker import Broker, Listener
from tests.helpers.fake_camera import LiveYard, soon
from tests.helpers.yard import yard_model

MASKS = tuple(parse_masks(["0,0 0.1,0 0.1,0.1"]))


@pytest.fixture
def make(tmp_path):
    """Makes an alarm with these cameras, at work."""
    made: list[Alarm] = []

    def start(*cameras, **more):
        settings = Settings(
            cameras=cameras,
            alerts=AlertSettings(bell=False),
            evidence=EvidenceSettings(folder=tmp_path / "before"),
            model=str(yard_model(tmp_path / "tiny.onnx")),
            state=tmp_path / "state",
            waits=True,
        )
        alarm = Alarm(replace(settings, **more))
        made.append(alarm)
        alarm.start()
        return alarm

    yield start
    for alarm in made:
        alarm.stop_cameras()
        alarm.close(5.0)


@pytest.fixture
def yard():
    with LiveYard() as server:
        yield server


def answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_folder_in_which_nothing_arrives_is_well_until_it_is_gone(make, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    alarm = make(Camera("inbox", str(inbox), follow=True))
    assert soon(lambda: alarm.status().ill == [])
    assert alarm.threads[0].fresh(time.monotonic())
    assert not alarm.threads[0].fresh(time.monotonic() + 60.0)
    inbox.rmdir()
    assert soon(lambda: alarm.status().ill)


def test_a_camera_that_is_being_opened_is_no_problem_yet(make, yard):
    alarm = make(Camera("yard", yard.url))
    assert soon(lambda: alarm.alerting and alarm.alerting.stats())
    assert "yard" not in str(alarm.alerting.stats()["reason"])


def test_a_camera_that_was_closed_is_not_watched_though_its_last_frame_is_new(make, yard):
    (thread,) = make(Camera("yard", yard.url)).threads
    assert soon(lambda: thread.fresh(time.monotonic()))
    thread.close()
    assert not thread.fresh(time.monotonic())


@pytest.mark.needs_tool("mosquitto")
def test_home_assistant_sees_a_camera_with_its_first_frame_and_no_empty_yard_when_it_is_closed(make, yard, tmp_path):
    bear, sees = "bear-alarm/yard/bear", "bear-alarm/yard/available"
    with Broker(tmp_path) as broker, Listener(broker) as home:
        settings = AlertSettings(bell=False, mqtt=settings_from_url(f"{broker.url}?every=3600"))  # no beat comes
        alarm = make(Camera("yard", yard.url), alerts=settings)
        assert home.hears(sees, "online")
        yard.bear = True
        assert home.hears(bear, "ON")
        assert soon(lambda: home.of("bear-alarm/yard/alarm"))
        offs = home.of(bear).count("OFF")
        alarm.stop_cameras()
        assert home.hears(sees, "offline")
        alarm.close(5.0)
        assert home.hears("bear-alarm/available", "offline")
        assert home.of(bear).count("OFF") == offs
        assert len(home.of("bear-alarm/yard/alarm")) == 1


def test_a_reload_keeps_the_uptime_and_the_count_of_alarms(make, yard):
    alarm = make(Camera("yard", yard.url))
    yard.bear = True
    assert soon(lambda: alarm.alarms)
    alarm.stop_cameras()
    alarm.close(5.0, keep=True)
    after = Alarm(alarm.settings, before=alarm)
    try:
        now = time.monotonic()
        assert after.alarms == alarm.alarms
        assert after.status(now).uptime_s == alarm.status(now).uptime_s
    finally:
        after.close(5.0)
