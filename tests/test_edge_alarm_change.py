"""An alarm that is changed while it watches: nothing half, nothing lost, nothing kept that nobody needs."""

import socket
import threading
import time
from dataclasses import replace

import pytest

from edge.alarm import Alarm
from edge.alert import dispatch
from edge.alert.dispatch import Alerting, OpenEvents, _Held
from edge.alert.mqtt_settings import settings_from_url
from edge.camera.folder import FolderSource
from edge.detect.zones import parse_masks
from edge.errors import OptionError
from edge.run import EventFactory
from edge.schema import Event
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, HealthSettings, Settings
from tests.broker import Broker, Listener, free_port
from tests.live_yard import LiveYard, soon
from tests.sink_world import event
from tests.uploads import put
from tests.yard import yard_model

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
        alarm.let_go()
        alarm.close(5.0)


@pytest.fixture
def yard():
    with LiveYard() as server:
        yield server


def answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_of_what_is_refused_nothing_is_left(make, yard, tmp_path):
    lines, port = tmp_path / "e.jsonl", free_port()
    alarm = make(Camera("yard", yard.url), alerts=AlertSettings(bell=False, events=str(lines)))
    before = alarm.settings
    for alerts in (
        AlertSettings(bell=False, events=str(tmp_path)),
        AlertSettings(bell=False, events=str(tmp_path / "other.jsonl"), sounds=("trumpet",)),
    ):
        with pytest.raises(OptionError):
            alarm.change(replace(before, alerts=alerts, health=HealthSettings(listen=f"127.0.0.1:{port}")))
    assert not answers(port)
    alarm.alerting.tell(event(id_="still"))
    assert soon(lambda: '"still"' in lines.read_text())
    alarm.change(replace(before, health=HealthSettings(listen=f"127.0.0.1:{port}")))
    assert answers(port)
    alarm.change(replace(before, health=HealthSettings(listen=f"0.0.0.0:{port}")))  # the same port, at once
    assert answers(port)
    assert alarm.condition.parts()["page"]() is None


def test_what_waits_for_a_first_frame_is_not_undone_by_the_next_change(make, tmp_path):
    port = free_port()
    alarm = make(Camera("yard", f"http://127.0.0.1:{port}/live.mjpg"))
    alarm.change(replace(alarm.settings, evidence=EvidenceSettings(folder=tmp_path / "after")))
    alarm.change(replace(alarm.settings, health=HealthSettings(hot_c=70.0)))
    with LiveYard(port):
        assert soon(lambda: alarm.status().cameras[0].frames > 2)
        assert alarm.posts[0].watcher.publisher.evidence.root == tmp_path / "after"


def test_pictures_held_for_a_clip_go_with_who_held_them(make, yard):
    alarm = make(Camera("yard", yard.url))
    for masks in (MASKS, ()):
        evidence = alarm.posts[0].watcher.publisher.evidence
        assert soon(lambda held=evidence: held.ring and held.ring.shots())
        alarm.change(replace(alarm.settings, cameras=(Camera("yard", yard.url, settings=CameraSettings(masks=masks)),)))
        assert soon(lambda held=evidence: held.ring is None)
    evidence = alarm.posts[0].watcher.publisher.evidence
    alarm.change(replace(alarm.settings, cameras=(Camera("garden", yard.url),)))
    assert evidence.ring is None


def test_bears_told_are_counted_on_when_a_camera_is_renamed(make, yard):
    alarm = make(Camera("yard", yard.url))
    yard.bear = True
    assert soon(lambda: alarm.status().alarms == 1)
    yard.bear = False
    alarm.change(replace(alarm.settings, cameras=(Camera("garden", yard.url),)))
    assert alarm.status().alarms == 1


@pytest.mark.slow
def test_a_clip_that_was_played_is_not_played_again(make, yard):
    alarm = make(Camera("yard", yard.url), Camera("clip", "demo"), model=None)
    clip = alarm.posts[1]
    assert soon(lambda: clip.played, within_s=120.0)
    alarm.change(replace(alarm.settings, health=HealthSettings(hot_c=70.0)))
    assert alarm.posts[1] is clip
    assert soon(lambda: alarm.status().ill == [])  # nothing is missed of what is over


@pytest.mark.slow
def test_a_folder_in_which_nothing_arrives_is_well_until_it_is_gone(make, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    alarm = make(Camera("inbox", str(inbox), follow=True))
    assert soon(lambda: alarm.status().ill == [])
    assert alarm.posts[0].fresh(time.monotonic())
    assert not alarm.posts[0].fresh(time.monotonic() + 60.0)
    inbox.rmdir()
    assert soon(lambda: alarm.status().ill)


def test_a_camera_that_is_being_opened_is_no_problem_yet(make, yard):
    alarm = make(Camera("yard", yard.url))
    assert soon(lambda: alarm.alerting and alarm.alerting.stats())
    assert "yard" not in str(alarm.alerting.stats()["reason"])


def test_a_camera_that_is_let_go_of_is_not_watched_though_its_last_frame_is_new(make, yard):
    (post,) = make(Camera("yard", yard.url)).posts
    assert soon(lambda: post.fresh(time.monotonic()))
    post.let_go()
    assert not post.fresh(time.monotonic())


def test_an_event_that_comes_a_moment_too_late_to_be_held_is_told_all_the_same():
    told: list[Event] = []
    held = _Held(told.append)
    held(event(id_="in time"))
    assert told == []
    held.release()
    held(event(id_="late"))
    assert [each.id for each in told] == ["in time", "late"]


def test_nobody_is_let_go_of_while_events_still_go_to_him(monkeypatch, tmp_path):
    everyone = Alerting(AlertSettings(bell=False, on_alarm=f"echo >> {tmp_path / 'before'}"), EventFactory())
    before = everyone.workers[0]
    found: list[bool] = []
    over = threading.Event()

    def close(told, within_s):
        found.extend(each.worker in everyone.sinks for each in told)
        over.set()

    class Soon(threading.Thread):
        """The new thread runs first, as it may."""

        def start(self):
            super().start()
            if self.name == "told no more":
                assert over.wait(10.0)

    monkeypatch.setattr(dispatch, "_close", close)
    monkeypatch.setattr(f"{dispatch.__name__}.threading.Thread", Soon)
    everyone.change(AlertSettings(bell=False, on_alarm=f"echo >> {tmp_path / 'after'}"), [], None)
    assert found == [False]
    before.close(1.0)
    everyone.close(1.0)


def test_who_is_told_no_more_is_silenced_too(monkeypatch, tmp_path):
    everyone = Alerting(AlertSettings(bell=False, on_alarm="true"), EventFactory())
    silenced: list[str] = []
    monkeypatch.setattr(dispatch, "_close", lambda told, within_s: time.sleep(5.0))
    local = next(iter(everyone._at_once._told.values())).local
    object.__setattr__(local, "silence", lambda: silenced.append("it"))
    everyone.change(AlertSettings(bell=False), [], None)
    everyone.silence()
    assert silenced == ["it"]
    everyone.close(0.0)


def test_who_comes_in_the_middle_is_shown_what_goes_on_and_nothing_that_is_over():
    going_on, first, second, at_once_told = OpenEvents(), list[Event](), list[Event](), list[Event]()
    going_on.show_to({first.append: first.append}, ["yard", "bins"])
    for each in (
        event("new", id_="a"),
        event("update", id_="a"),
        event("new", id_="b"),
        event("end", id_="b"),
        replace(event("new", id_="c"), camera="bins"),
    ):
        going_on(each)
    going_on.show_to({first.append: first.append, second.append: at_once_told.append}, ["yard"])
    assert len(first) == 5
    assert [(each.id, each.type) for each in at_once_told] == [("a", "update")]
    assert second == []


@pytest.mark.needs_tool("mosquitto")
def test_a_bear_is_still_there_for_home_assistant_when_a_camera_comes_or_goes(tmp_path):
    with Broker(tmp_path) as broker, Listener(broker) as home:
        settings = AlertSettings(bell=False, mqtt=settings_from_url(f"{broker.url}?every=1"))
        everyone = Alerting(settings, EventFactory(), state=tmp_path / "state", cameras=["yard"])
        everyone.watching = lambda camera: True
        assert home.hears("bear-alarm/yard/bear", "OFF")
        everyone.tell(event(id_="a"))
        assert home.hears("bear-alarm/yard/bear", "ON")
        offs = [payload for payload in home.of("bear-alarm/yard/bear") if payload == "OFF"]
        everyone.change(settings, ["yard", "bins"], None)
        assert home.hears("bear-alarm/bins/bear", "OFF")
        assert [payload for payload in home.of("bear-alarm/yard/bear") if payload == "OFF"] == offs
        everyone.close(2.0)


def test_a_folder_whose_camera_is_renamed_is_gone_on_with_where_it_was(make, monkeypatch, tmp_path):
    looked: list[str] = []
    done = FolderSource._done

    def note(source, arrived):
        looked.append(arrived.path.name)
        done(source, arrived)

    monkeypatch.setattr(FolderSource, "_done", note)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    alarm = make(Camera("inbox", str(inbox), follow=True))
    for number in range(6):
        put(inbox / f"{number}.jpg", at=1000 + 100 * number)
    assert soon(lambda: len(looked) >= 2)
    alarm.change(replace(alarm.settings, cameras=(Camera("trail", str(inbox), follow=True),)))
    assert soon(lambda: len(looked) >= 6)
    time.sleep(1.5)  # for what would be looked at a second time
    assert looked == [f"{number}.jpg" for number in range(6)]


@pytest.mark.needs_tool("mosquitto")
def test_home_assistant_sees_a_camera_with_its_first_frame_and_no_empty_yard_when_it_is_let_go(make, yard, tmp_path):
    bear, sees = "bear-alarm/yard/bear", "bear-alarm/yard/available"
    with Broker(tmp_path) as broker, Listener(broker) as home:
        settings = AlertSettings(bell=False, mqtt=settings_from_url(f"{broker.url}?every=3600"))  # no beat comes
        alarm = make(Camera("yard", yard.url), alerts=settings)
        assert home.hears(sees, "online")
        yard.bear = True
        assert home.hears(bear, "ON")
        assert soon(lambda: home.of("bear-alarm/yard/alarm"))
        offs = home.of(bear).count("OFF")
        alarm.let_go()
        assert home.hears(sees, "offline")
        alarm.close(5.0)
        assert home.hears("bear-alarm/available", "offline")
        assert home.of(bear).count("OFF") == offs
        assert len(home.of("bear-alarm/yard/alarm")) == 1
