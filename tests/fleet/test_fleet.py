"""The fleet with a real broker: each event once, whatever is lost on the way; and who is well, and who is silent."""

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.devices import Known
from edge.fleet.fleet import Fleet
from edge.fleet.messages import answer_of
from edge.fleet.store import NAME, FleetStore, FleetWriter
from edge.record.database import DiskError
from edge.record.journal import Journal
from edge.record.outbox import Message
from edge.record.run import EventFactory
from tests.helpers.broker import Broker, Listener, subscribed, until
from tests.helpers.journal_stage import event, journal

pytestmark = pytest.mark.needs_tool("mosquitto")


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    with Broker(folder) as broker:
        yield broker


@contextmanager
def fleet(broker, tmp_path, url="", **more):
    """A fleet that listens; ``url``: what follows the prefix in its address."""
    found = Fleet(settings_from_url(f"{broker.url}/bears{url}"), tmp_path / "fleet", **more)
    with subscribed():
        found.start()
    try:
        yield found
    finally:
        found.close()


def seqs(tmp_path):
    """The numbers of all events, as they came."""
    with closing(sqlite3.connect(tmp_path / "fleet" / NAME)) as db:
        return [seq for (seq,) in db.execute("SELECT seq FROM events ORDER BY id")]


def cameras(**more):
    return {"yard": {"fresh": True, "fps": 5.0, "trouble": None} | more}


def say(listener, name, **more):
    """A device's state."""
    stats = {"well": True, "reason": None, "version": "1.2", "model": "bear 12ab", "cameras": cameras()} | more
    listener.say(f"bears/{name}/stats", json.dumps(stats))


@pytest.mark.alone
@pytest.mark.slow
def test_what_never_came_is_asked_for_and_each_event_is_there_once(broker, tmp_path):
    opened: list[Journal] = []
    device = Mqtt(
        settings_from_url(f"{broker.url}/bears/north?every=1"),
        journal=lambda: opened[0],
        stats=lambda: {"well": True, "cameras": cameras(), "last": opened[0].last} if opened else {},
    )
    kept = journal(tmp_path / "device", device)
    opened.append(kept)
    picture = tmp_path / "bear.jpg"
    picture.write_bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes())
    try:
        with fleet(broker, tmp_path) as found:
            assert until(lambda: any(each.cameras for each in found.devices()))
            events = [kept(event(kept._run, f"id{number}", evidence=str(picture))) for number in range(1, 121)]
            for each in (events[2], events[2], events[119]):  # the rest is lost on its way; the broker repeats one
                device.send(Message((each,), "word"))
            device.send(Message((events[2],), "picture", picture))
            store = FleetStore(found.folder)
            assert until(lambda: len(seqs(tmp_path)) == 120)
            assert sorted(seqs(tmp_path)) == list(range(1, 121))
            assert until(lambda: not found.device("north").filling)
            assert until(lambda: any(each.picture for each in store.incidents(limit=200)))
            (shown,) = [each for each in store.incidents(limit=200) if each.picture]
            file = store.picture(shown)
            assert file is not None
            assert (shown.event_id, file.read_bytes()) == ("id3", picture.read_bytes())
            assert found.device("north").doubts == ()
    finally:
        device.close()
        kept.close()


def test_nothing_is_acknowledged_before_it_is_on_the_disk(broker, tmp_path):
    run = EventFactory()
    with Listener(broker, "none") as listener, patch("edge.record.database.BUSY_S", 0.1):
        with fleet(broker, tmp_path) as found:
            with closing(sqlite3.connect(tmp_path / "fleet" / NAME, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                for number in range(150):  # more than the broker sends ahead
                    listener.say("bears/north/events", event(run, f"id{number}").to_json())
                assert until(lambda: "locked" in (found.trouble() or ""))
                for well in [True] * 250 + [False]:
                    say(listener, "south", well=well)
                assert until(lambda: (device := found.device("south")) and device.state == "ill")
                found.close()
                other.execute("COMMIT")
            assert seqs(tmp_path) == []
        with fleet(broker, tmp_path) as found:
            assert until(lambda: len(seqs(tmp_path)) == 150)
            assert found.trouble() is None
            assert sorted(seqs(tmp_path)) == list(range(1, 151))


def test_a_broker_that_forgot_is_a_notice_and_every_device_is_asked(broker, tmp_path):
    run = EventFactory()
    with Listener(broker, "bears/north/replay") as listener, fleet(broker, tmp_path) as found:
        listener.say("bears/north/events", event(run).to_json())
        assert until(lambda: seqs(tmp_path) == [1])
        assert found.notices() == []
        broker.stop()
        assert until(found.problem)
        where = broker.url.removeprefix("mqtt://")
        assert found.problem().startswith(f"the fleet does not reach the broker {where}; nothing is known of the ")
        (tmp_path / "broker" / "mosquitto.db").unlink()
        broker.start()
        assert listener.hears("bears/north/replay", json.dumps({"after": [run.id, 1]}))
        assert "forgot" in found.notices()[0]
        assert found.problem() is None


def test_what_the_broker_kept_comes_also_where_the_file_is_damaged(broker, tmp_path):
    run = EventFactory()
    with Listener(broker, "none") as listener:
        with fleet(broker, tmp_path) as found:
            say(listener, "north", last=[run.id, 0])
            assert until(found.devices)
        for number in range(5):
            listener.say("bears/north/events", event(run, f"id{number}").to_json())
        (tmp_path / "fleet" / NAME).write_bytes(b"no database" * 1000)
        with fleet(broker, tmp_path) as found:
            assert until(lambda: seqs(tmp_path) == [1, 2, 3, 4, 5])
            assert found.notices() == []


def test_damage_while_it_runs_loses_no_device_and_each_is_asked(tmp_path):
    run, asked = EventFactory(), []
    lines = [event(run, f"id{number}").to_json().encode() for number in range(2)]
    with Stepped(tmp_path) as one:
        one.connection.publish = lambda _, question: asked.append(json.loads(question))
        one.step(state("north", last=[run.id, 0]), state("south", last=[run.id, 7]), message("north/events", lines[0]))
        with patch.object(FleetWriter, "put", side_effect=DiskError("damaged", "damaged")):
            one.step(message("north/events", lines[1]))
        one.step(seconds=5)
        assert {each.name: each.cursor for each in one.writer.load()} == {"north": (run.id, 2), "south": (run.id, 7)}
        assert asked == [{"after": [run.id, 2]}, {"after": [run.id, 7]}]
        assert [each.event_id for each in FleetStore(tmp_path).incidents()] == ["id1"]


@pytest.mark.alone
@pytest.mark.slow
def test_who_is_well_ill_offline_or_silent_and_since_when_survives_a_restart(broker, tmp_path):
    ahead = [0.0]
    late = {"monotonic": lambda: time.monotonic() + ahead[0]}
    with Listener(broker, "none") as listener:
        with fleet(broker, tmp_path, **late) as found:

            def states():
                return {each.name: each.state for each in found.devices()}

            say(listener, "north", site={"name": "Ridge", "latitude": 46.1, "longitude": 14.5})
            listener.say("bears/east/available", "offline")
            say(listener, "south", well=False, reason="yard: covered", cameras=cameras(fresh=False, trouble="covered"))
            assert until(lambda: states() == {"north": "well", "south": "ill", "east": "offline"})
            assert (found.states(), found.mapped) == (states(), True)
            assert found.device("north").site.name == "Ridge"
            south = found.device("south")
            assert (south.reason, south.cameras[0].trouble, south.version) == ("yard: covered", "covered", "1.2")
            ahead[0] = 700.0
            assert until(lambda: states() == {"north": "silent", "south": "silent", "east": "offline"})
            assert next(each.name for each in found.silent()) == "east"
            since = found.device("north").since
            assert found.forget("east")
            assert until(lambda: len(FleetStore(found.folder).devices()) == 2)
        with fleet(broker, tmp_path, **late) as found:
            assert (found.device("north").state, found.device("north").since) == ("silent", since)
            assert {each.name for each in FleetStore(found.folder).devices()} == {"north", "south"}
            broker.stop()
            assert until(found.problem)
            broker.start()
            assert until(lambda: found.problem() is None and listener._client.is_connected())
            say(listener, "north")
            say(listener, "east")
            assert until(lambda: states() == {"north": "well", "south": "silent", "east": "well"})


def message(topic, payload=b"{}", qos=1, **user):
    """A message as paho gives it; ``user``: its user properties."""
    properties = SimpleNamespace(UserProperty=list(user.items()))
    return SimpleNamespace(
        topic=f"bears/{topic}", payload=payload, qos=qos, retain=False, dup=False, properties=properties
    )


def state(name, **more):
    """A device's state, as it comes from the broker."""
    return message(f"{name}/stats", json.dumps({"well": True, "cameras": cameras()} | more).encode(), 0)


class Stepped:
    """A fleet whose thread is the test's: nothing happens but by ``step``. It has a broker that sends what is given."""

    def __init__(self, folder):
        self.mono = 0.0
        self.wall = 1.8e9
        self.acked: list[Any] = []
        self.fleet: Any = Fleet(
            settings_from_url("mqtt://127.0.0.1/bears"),
            folder,
            clock=lambda: self.wall + self.mono,
            monotonic=lambda: self.mono,
        )
        connection: Any = SimpleNamespace(
            connects=1, up=True, session_present=True, client_id="x", problem=None,
            tend=lambda: None, ack=self.acked.append, publish=lambda *_: None,
        )  # fmt: skip
        self.connection = self.fleet._connection = connection
        self.writer = FleetWriter(folder)
        self.fleet._known = {each.name: each for each in self.writer.load()}

    def step(self, *messages, seconds=0):
        """Take messages, and let so many seconds pass."""
        for each in messages:
            self.fleet._take(each)
        self.fleet._step(self.writer, self.connection)
        for _ in range(seconds):
            self.mono += 1.0
            self.fleet._step(self.writer, self.connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writer.close()


def test_silence_is_counted_while_the_fleet_listens_over_reconnections(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(state("north"), state("seldom", every_s=3600), message("new/available", b"online", 0))
        assert one.fleet.states() == {"new": "ill", "north": "well", "seldom": "well"}
        assert one.fleet.device("new").reason == "it has sent no state yet"
        one.connection.up = False
        one.step(seconds=2000)
        one.connection.up = True
        assert one.fleet.silent() == []
        for _ in range(2):
            one.connection.connects += 1
            one.step(seconds=400)
        assert one.fleet.states() == {"new": "silent", "north": "silent", "seldom": "well"}
        one.step(seconds=1100)
        assert {each.name for each in one.fleet.silent()} == {"new", "north", "seldom"}
    with Stepped(tmp_path) as again:
        again.step(seconds=500)
        assert set(again.fleet.states().values()) == {"silent"}
        assert again.fleet.silent() == []
        again.step(seconds=200)
        assert [each.name for each in again.fleet.silent()] == ["new", "north"]


def test_what_a_broker_that_stops_says_of_all_is_taken_back_and_no_device_is_alarmed(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(state("north"), state("south"), state("east"), seconds=70)
        one.step(message("east/available", b"offline"), seconds=11)
        since = one.fleet.device("north").since
        one.step(message("north/available", b"offline"), seconds=2)
        assert [each.name for each in one.fleet.silent()] == ["east", "north"]
        one.connection.up = False
        one.step(message("south/available", b"offline"), seconds=2)
        assert one.fleet.states() == {"north": "well", "south": "well", "east": "offline"}
        assert (one.fleet.device("north").since, one.fleet.silent()) == (since, [])
        assert FleetStore(tmp_path).no_broker_since() == one.wall + 83.0
        one.connection.up, one.connection.connects = True, 2
        again = message("south/available", b"offline")
        again.dup = True
        one.step(again, seconds=59)
        assert one.fleet.silent() == []
        assert FleetStore(tmp_path).no_broker_since() is None
        one.step(seconds=1)
        assert [each.name for each in one.fleet.silent()] == ["east"]


def test_the_view_parses_no_state_again(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(state("north", site={"latitude": 46.1, "longitude": 14.5}))
        with patch("json.loads") as parsed:
            assert (one.fleet.mapped, one.fleet.devices()[0].cameras[0].name) == (True, "yard")
        assert not parsed.called


def test_a_device_that_was_removed_begins_as_a_new_one(tmp_path):
    run = EventFactory()
    lines = [event(run, f"id{number}").to_json().encode() for number in range(3)]
    with Stepped(tmp_path) as one:
        one.step(state("north", last=[run.id, 0]), message("north/events", lines[0]))
        assert one.fleet.forget("north")
        one.step()
        assert (one.writer.load(), one.fleet._known, one.fleet._buckets) == ([], {}, {})
        retained = message("north/available", b"offline")
        retained.retain = True
        one.step(retained)
        assert (one.fleet.devices(), one.acked[-1]) == ([], retained)
        one.step(message("north/events", lines[2]), seconds=5)
        assert [(each.name, each.filling) for each in one.fleet.devices()] == [("north", False)]
        assert len(FleetStore(tmp_path).incidents(device="north")) == 2


def test_a_fleet_that_hears_nobody_names_its_prefix_after_a_minute(tmp_path):
    with Stepped(tmp_path) as one:
        one.step(seconds=59)
        assert one.fleet.notices() == []
        one.step(seconds=1)
        assert "must say bears/NAME" in one.fleet.notices()[0]
        one.step(state("north"))
        assert one.fleet.notices() == []


def test_where_this_machine_has_no_clock_the_devices_are_believed(tmp_path):
    with Stepped(tmp_path) as one:
        assert one.fleet.notices() == []
        one.wall = 0.0
        one.step(message("north/events", event(EventFactory()).to_json().encode()))
        assert not FleetStore(tmp_path).incidents()[0].clock_doubtful
        assert "this machine's clock is wrong" in one.fleet.notices()[0]


def test_a_broker_that_forgets_all_the_time_is_logged_once_an_hour(tmp_path, caplog):
    with Stepped(tmp_path) as one:
        one.step()
        one.connection.session_present = False
        for _ in range(5):
            one.connection.connects += 1
            one.step(seconds=10)
        assert caplog.text.count("the broker forgot") == 1
        one.connection.connects += 1
        one.step(seconds=3600)
        one.connection.connects += 1
        one.step()
        assert caplog.text.count("the broker forgot") == 2


def test_the_connection_is_begun_by_start(tmp_path):
    found = Fleet(settings_from_url("mqtt://127.0.0.1:1/bears"), tmp_path)
    with patch("edge.fleet.fleet.start_thread"):
        found.start()
    connection: Any = found._connection
    assert connection._client is not None
    found.close()


def test_a_device_without_an_answer_is_asked_ever_more_seldom():
    known = Known("north", 0.0)
    asked_at: list[float] = []
    known.take_stats({"well": True, "cameras": {}, "last": ["a", 5]}, 0.0, 0.0)
    known.take_stats({"well": True, "cameras": {}, "last": ["a", 7]}, 0.0, 0.0)
    while len(asked_at) < 9:
        mono = known.ask_at or 0.0
        asked_at.append(mono)
        assert json.loads(known.question(mono)) == {"after": ["a", 5]}
    gaps = np.diff(asked_at).tolist()
    assert (asked_at[0], gaps) == (30.0, [15, 30, 60, 120, 240, 480, 600, 600])
    nothing = {"after": ["a", 5], "events": [], "upto": ["a", 5], "more": False, "lost": False}
    known.answered(answer_of(nothing), 0.0, mono)
    assert (known.missing, known.ask_at) == (False, None)


def test_two_devices_under_one_name_are_noticed_by_their_runs():
    known = Known("north", 0.0)
    for number, boot_id in enumerate(["a", "b", "b"]):
        known.take_stats({"well": True, "cameras": {}, "last": [boot_id, 1]}, 0.0, 30.0 * number)
    assert known.device(0.0).doubts == ()
    known.take_stats({"well": True, "cameras": {}, "last": ["a", 2]}, 0.0, 100.0)
    assert "two devices use this name" in known.device(0.0).doubts[0]


def test_one_is_not_said_as_many():
    known = Known("north", 0.0)
    known.doubt("clock", 0.0)
    assert "1 of its events is shown" in known.device(0.0).doubts[0]
    known.doubt("clock", 0.0)
    assert "2 of its events are shown" in known.device(0.0).doubts[0]
