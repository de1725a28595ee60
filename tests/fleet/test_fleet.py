"""The fleet with a real broker: each event once, whatever is lost on the way; and who is well, and who is silent."""

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from edge.fleet.devices import Known
from edge.fleet.fleet import Fleet
from edge.fleet.messages import answer_of
from edge.fleet.store import NAME, FleetStore
from edge.record.journal import Journal
from edge.record.outbox import Message
from edge.record.run import EventFactory
from tests.helpers.broker import Broker, Listener, until
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
    found.start()
    try:
        assert until(lambda: found._connection and found._connection.resubscribed)
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
            assert until(lambda: any(each.stats for each in found.devices()))
            events = [kept(event(kept._run, f"id{number}", evidence=str(picture))) for number in range(1, 121)]
            for each in (events[2], events[2], events[119]):  # the rest is lost on its way; the broker repeats one
                device.send(Message((each,), "word"))
            device.send(Message((events[2],), "picture", picture))
            store = FleetStore(found.folder)
            assert until(lambda: len(seqs(tmp_path)) == 120)
            assert sorted(seqs(tmp_path)) == list(range(1, 121))
            assert until(lambda: not found.device("north").filling)
            assert until(lambda: any(each.picture for each in store.happenings(limit=200)))
            (shown,) = [each for each in store.happenings(limit=200) if each.picture]
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
        (tmp_path / "broker" / "mosquitto.db").unlink()
        broker.start()
        assert listener.hears("bears/north/replay", json.dumps({"after": [run.id, 1]}))
        assert "forgot" in found.notices()[0]
        assert found.problem() is None


@pytest.mark.alone
@pytest.mark.slow
def test_who_is_well_ill_offline_or_silent_and_since_when_survives_a_restart(broker, tmp_path):
    ahead = [0.0]
    late = {"monotonic": lambda: time.monotonic() + ahead[0]}
    with Listener(broker, "none") as listener:
        listener.say("bears/east/available", "offline", retain=True)
        with fleet(broker, tmp_path, **late) as found:

            def states():
                return {each.name: each.state for each in found.devices()}

            say(listener, "north", site={"name": "Ridge", "latitude": 46.1, "longitude": 14.5})
            say(listener, "south", well=False, reason="yard: covered", cameras=cameras(fresh=False, trouble="covered"))
            assert until(lambda: states() == {"north": "well", "south": "ill", "east": "offline"})
            assert found.device("north").site.name == "Ridge"
            south = found.device("south")
            assert (south.reason, south.cameras[0].trouble, south.version) == ("yard: covered", "covered", "1.2")
            ahead[0] = 700.0
            assert until(lambda: states() == {"north": "silent", "south": "silent", "east": "offline"})
            assert next(each.name for each in found.silent()) == "east"
            since = found.device("north").since
            assert found.forget("east")
        with fleet(broker, tmp_path, **late) as found:
            assert (found.device("north").state, found.device("north").since) == ("silent", since)
            assert {each.name for each in FleetStore(found.folder).devices()} == {"north", "south"}
            broker.stop()
            assert until(found.problem)
            broker.start()
            assert until(lambda: found.problem() is None)
            say(listener, "north")
            say(listener, "east")
            assert until(lambda: states() == {"north": "well", "south": "silent", "east": "well"})
            broker.stop()
            assert until(found.problem)
            ahead[0] += 700.0
            assert not until(lambda: states()["north"] == "silent", 2.5)


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
