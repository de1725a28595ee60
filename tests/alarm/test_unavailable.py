"""What cannot work here and now never stops the watching: it is a problem at the start, and tried again."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import Any

import certifi
import pytest

from edge.alert import local_sinks, notify, sound
from edge.alert.alerting import START_S, Alerting
from edge.alert.local_sinks import AGAIN_S, local_plans
from edge.alert.mqtt_settings import settings_from_url
from edge.alert.sound import SOUNDS, Player
from edge.errors import OptionError, UnavailableError
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from edge.status import CLEAR_S
from tests.helpers.broker import refusing_port
from tests.helpers.command import bear_alarm
from tests.helpers.sink_world import event, script, soon
from tests.helpers.webhook_server import PostBox
from tests.helpers.yard import yard_clip, yard_model


class World:
    """Everyone who is told by some settings, and a clock to look at them with."""

    def __init__(self, folder, cameras=(), **settings):
        self.lines = folder / "events.jsonl"
        self.everyone = Alerting(
            AlertSettings(bell=False, events=str(self.lines), **settings),
            EventFactory("run"),  # as ``event`` has it
            state=folder / "state",
            cameras=cameras,
        )
        self.now = time.monotonic()

    def look(self, after_s: float = 0.0) -> None:
        """So much later everyone is asked how they are."""
        self.now += after_s
        self.everyone.tick(self.now)

    def told(self) -> list[dict[str, Any]]:
        """Return what was told of the alarm's own health, once all of it is written."""
        self.everyone.close(20.0)
        found = [json.loads(line) for line in self.lines.read_text().splitlines()]
        return [each for each in found if each["kind"] == "health"]

    def place(self) -> Any:
        """The only channel."""
        (deliverer,) = self.everyone.deliverers
        return deliverer.channel

    def names(self) -> list[str]:
        return [each.name for each in self.everyone.workers]


@pytest.fixture
def no_player(monkeypatch):
    """A machine on which nothing plays sounds, until something is put into the list that is given."""
    found: list[Player] = []
    monkeypatch.setattr(sound, "_installed", lambda name, *options: found if name == "aplay" else [])
    monkeypatch.setattr("sys.platform", "linux")
    return found


def test_without_a_player_the_others_are_reported_and_hear_of_it_at_the_first_look(tmp_path, no_player):
    got = tmp_path / "got"
    world = World(tmp_path, sounds=("siren",), on_alarm=f"cat > {got}")
    world.everyone.publish(event())
    assert soon(got.exists)
    world.look()
    (problem,) = world.told()
    assert (problem["type"], problem["label"]) == ("new", "sound siren")
    assert "aplay" in problem["detail"]


def test_a_player_that_comes_later_plays_and_the_problem_is_over(tmp_path, no_player):
    world = World(tmp_path, sounds=("siren",))
    world.look()
    assert "sound siren" not in world.names()
    no_player.append(script(tmp_path, "player", f"echo played >> {tmp_path / 'played'}; exec sleep 0.3"))
    world.look(AGAIN_S - 1.0)
    assert "sound siren" not in world.names()
    world.look(6.0)
    assert world.names()[0] == "sound siren"
    world.everyone.publish(event())
    assert soon(lambda: world.everyone.workers[0].done == 1)
    world.look(CLEAR_S + 1.0)
    assert [(each["type"], each["label"]) for each in world.told()] == [("new", "sound siren"), ("end", "sound siren")]


def test_a_pin_is_tried_again_and_reported_by_name(tmp_path, monkeypatch, pins):
    def busy(words, option):
        raise UnavailableError("pin 17 cannot be used (busy)")

    with monkeypatch.context() as patched:
        patched.setattr("edge.alert.local_sinks._pin", busy)
        world = World(tmp_path, relays=("17:1",))
        world.look()
    world.look(AGAIN_S + 1.0)
    assert world.names()[0] == "relay 17:1"
    problem, over = world.told()
    assert (problem["label"], problem["detail"]) == ("relay 17:1", "relay 17:1: pin 17 cannot be used (busy)")
    assert (over["type"], over["id"]) == ("end", problem["id"])


def test_a_lamp_that_cannot_be_had_leaves_the_noises_and_comes_later(tmp_path, no_player, monkeypatch):
    no_player.append(script(tmp_path, "player", "exec sleep 0.1"))
    lit: list[str] = []

    class Lamp:
        def close(self):
            lit.append("dark")

    def pin(words, option):
        if not lit:
            raise UnavailableError("no pins here")
        return Lamp()

    monkeypatch.setattr("edge.alert.local_sinks._pin", pin)
    world = World(tmp_path, deterrent="on", deterrent_lamps=("22",))
    world.look()
    assert world.names()[0] == "deterrent"
    lit.append("may be lit")
    world.look(AGAIN_S + 1.0)
    assert soon(lambda: not world.everyone._local.problems)
    problem = world.told()[0]
    assert (problem["type"], problem["label"]) == ("new", "deterrent")
    assert "lamp 22" in problem["detail"]
    assert lit[-1] == "dark"


def test_a_command_whose_program_is_missing_is_known_before_a_bear_comes(tmp_path):
    world = World(tmp_path, on_alarm="no-such-program-here --loud")
    world.look()
    (problem,) = world.told()
    assert problem["label"] == "--on-alarm"
    assert "no-such-program-here" in problem["detail"]


def test_a_service_that_lacks_its_library_is_tried_again_and_the_others_are_reported(tmp_path, monkeypatch):
    load, lacking = notify._load, [True]

    def lacks(url):
        return (None, None, None, None) if lacking and "lacking" in url else load(url)

    monkeypatch.setattr(notify, "_load", lacks)
    monkeypatch.setattr(notify, "_refusal", lambda scheme: UnavailableError("libx is missing"))
    with PostBox() as box, PostBox() as other:
        urls = (f"json://127.0.0.1:{box.port}/lacking", f"json://127.0.0.1:{other.port}/x")
        world = World(tmp_path, notify=urls)
        world.look()
        assert soon(lambda: other.posted)  # that the first of them does not work
        assert world.everyone.missing == {"notify 1": "libx is missing"}
        lacking.clear()
        world.look(AGAIN_S + 1.0)
        assert world.everyone.missing == {}
        world.everyone.publish(event())
        assert soon(lambda: box.posted)
        (problem,) = [each for each in world.told() if each["type"] == "new"]
    assert problem["detail"] == "notify 1: libx is missing"


def test_a_broker_that_is_away_at_the_start_is_reported_at_once_and_later_has_its_minute(tmp_path):
    with refusing_port() as port:
        broker = settings_from_url(f"mqtt://127.0.0.1:{port}/hives")
        world, later = World(tmp_path, mqtt=broker), World(tmp_path / "later", mqtt=broker)
        for each in (world, later):
            assert soon(lambda each=each: each.everyone.deliverers[0].channel.problem)
        world.look()
        later.look(START_S + 1.0)
        assert [each["label"] for each in world.told()] == [world.everyone.deliverers[0].key]
        assert later.told() == []


class Place:
    """A channel that keeps what it is given; ``wrong`` keeps it from being made."""

    wrong: Exception | None = None
    pictures, people, problem = False, True, None

    def __init__(self, url, **_):
        if self.wrong:
            raise self.wrong
        self.key, self.sent = "place of its own key", []

    def wants(self, event):
        return True

    def send(self, message):
        self.sent += [each.id for each in message.events]

    def listen(self, call):
        pass

    def close(self):
        pass


@pytest.mark.parametrize("worse", [OptionError("no such service"), RuntimeError("https://secret/")])
def test_a_channel_that_is_a_mistake_by_now_is_tried_again_and_over_under_its_own_name(tmp_path, monkeypatch, worse):
    class Phone(Place):
        wrong: Exception | None = UnavailableError("libx is missing")

    monkeypatch.setattr(notify, "Notify", Phone)
    world = World(tmp_path, notify=("ntfy://bees",))
    world.look()
    Phone.wrong = worse
    world.look(AGAIN_S + 1.0)
    ((name, why),) = world.everyone.missing.items()
    assert name == "notify"
    assert "no such service" in why or "RuntimeError" in why
    assert "secret" not in why
    Phone.wrong = None
    world.look(AGAIN_S + 1.0)
    world.everyone.publish(event())
    assert soon(lambda: world.place().sent)
    world.look(CLEAR_S + 1.0)
    assert world.everyone.missing == world.everyone.problems == {}
    problem, over = world.told()
    assert (problem["type"], problem["label"], problem["detail"]) == ("new", "notify", "notify: libx is missing")
    assert (over["type"], over["label"], over["id"]) == ("end", "notify", problem["id"])
    assert "well again" in over["detail"]


def test_files_of_a_disk_that_is_mounted_later(tmp_path, no_player):
    no_player.append(script(tmp_path, "player", "exec sleep 0.1"))
    usb = tmp_path / "usb"
    usb.mkdir()
    broker = settings_from_url(f"mqtts://127.0.0.1:1/?ca={usb / 'ca.pem'}")
    horn, got = str(usb / "horn.wav"), tmp_path / "got"
    world = World(tmp_path, sounds=(horn,), deterrent=str(usb), mqtt=broker, on_alarm=f"cat > {got}")
    assert {f"sound {horn}", "deterrent"} == world.everyone.missing.keys()
    assert soon(lambda: "ca.pem is not there; mount its disk" in (world.place().problem or ""))
    world.everyone.publish(event())
    assert soon(got.exists)
    shutil.copy(SOUNDS / "horn.wav", usb)
    shutil.copy(certifi.where(), usb / "ca.pem")
    world.look(AGAIN_S + 1.0)
    assert world.everyone.missing == {}
    assert world.names()[:2] == [f"sound {horn}", "deterrent"]
    assert soon(lambda: "nothing listens there" in (world.place().problem or ""))
    world.told()


def test_a_lamp_is_opened_once_and_never_left_on_after_the_end(tmp_path, no_player, monkeypatch):
    no_player.append(script(tmp_path, "player", "exec sleep 0.1"))
    opened, may = [], threading.Event()

    class Lamp:
        closed = False

        def close(self):
            self.closed = True

    def slow(words, option):
        opened.append(Lamp())
        may.wait(10.0)
        return opened[-1]

    def light_twice(local):
        threads = [threading.Thread(target=local.try_again) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert soon(lambda: opened)
        return threads

    def made():
        (plan,) = local_plans(AlertSettings(bell=False, deterrent="on", deterrent_lamps=("22",)))
        with monkeypatch.context() as patched:
            patched.setattr(local_sinks, "_pin", busy)
            return plan.make()

    def busy(words, option):
        raise UnavailableError("busy")

    monkeypatch.setattr(local_sinks, "_pin", slow)
    for ended in (False, True):
        opened.clear()
        may.clear()
        deterrent = made()
        threads = light_twice(deterrent)
        if ended:
            deterrent.silence()
        may.set()
        for thread in threads:
            thread.join()
        assert [each.closed for each in opened] == [ended]
        deterrent.silence()
        assert opened[0].closed


def test_what_can_never_work_is_still_a_mistake_with_a_player_or_without(tmp_path, no_player):
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    for settings in ({"sounds": ("trumpet",)}, {"sounds": (str(tmp_path / "noise.wav"),)}, {"notify": ("nosuch://x",)}):
        with pytest.raises(OptionError):
            World(tmp_path, **settings)


def test_beside_a_sink_that_does_not_work_the_others_do(tmp_path, no_player):
    got = tmp_path / "got"
    world = World(tmp_path, sounds=("siren",), on_alarm=f"cat > {got}")
    world.look()
    world.everyone.publish(event())
    assert soon(got.exists)
    assert [each["label"] for each in world.told()] == ["sound siren"]


def test_watch_says_it_at_the_start_also_when_it_is_to_be_quiet(tmp_path):
    done = bear_alarm(
        "watch", yard_clip(tmp_path / "yard.avi"), "--model", yard_model(tmp_path / "bear.onnx"), "--quiet",
        "--no-evidence", "--on-alarm", "no-such-program-here",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("PROBLEM")
    assert "no-such-program-here" in done.stderr.splitlines()[0]
