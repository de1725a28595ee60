"""Silence at once and for good: what makes a noise is off before the thread that looks after it has a say."""

import sys
import threading
import time

import pytest

from edge.alert import deterrent as module
from edge.alert.deterrent import Budget, Deterrent, DeterrentError
from edge.alert.gpio import Gpio
from edge.alert.sound import Playing, Sound, SoundError
from edge.background import StoppableThread
from tests.helpers.sink_world import alive, event, lines, script, soon

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for players are shell scripts")


@pytest.fixture(autouse=True)
def long(monkeypatch):
    """Make the deterrent's noises long, without a rest between two alarms."""
    monkeypatch.setattr(module, "SOUND_S", (9.0, 10.0))
    monkeypatch.setattr(module, "PAUSE_S", (1.0, 2.0))
    monkeypatch.setattr(module, "LONGEST_S", 40.0)
    monkeypatch.setattr(module, "REST_S", 0.0)


def programme(noises, *lamps):
    """Return a deterrent with these sounds and lamps."""
    deterrent = Deterrent(noises, Budget())
    deterrent.lamps.extend(lamps)
    return deterrent


@pytest.fixture
def player(tmp_path):
    """A stand-in that plays for a minute and is deaf to polite requests; its process ids are in ``pids``."""
    return script(tmp_path, "play", f"trap '' TERM; echo $$ >> {tmp_path}/pids; exec sleep 60")


def silent(tmp_path, count=1):
    """Return whether so many players were started, and none of them is alive."""
    pids = [int(line) for line in lines(tmp_path / "pids")]
    return len(pids) == count and not any(alive(pid) for pid in pids)


@pytest.fixture
def held_up(monkeypatch):
    """Called, the thread that looks after a player hangs until the event it gives is set."""
    door, hanging = threading.Event(), threading.Event()
    ended = Playing.ended

    def hangs(self):
        hanging.set()
        door.wait(60)
        return ended(self)

    def hold():
        monkeypatch.setattr(Playing, "ended", hangs)
        assert hanging.wait(20.0)
        return door

    yield hold
    door.set()


@pytest.mark.alone
@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_sound_is_silent_though_its_thread_hangs(tmp_path, player, held_up, how):
    sound = Sound("siren", players=[player])
    sound(event())
    assert soon(lambda: lines(tmp_path / "pids"))
    held_up()
    began = time.monotonic()
    getattr(sound, how)()
    took_s = time.monotonic() - began
    assert soon(lambda: silent(tmp_path))
    assert took_s < 0.9  # 0.3 s, and a busy machine


def test_a_player_that_was_silenced_gives_way_to_no_other(tmp_path, player, held_up):
    other = script(tmp_path, "other", f"echo on >> {tmp_path}/other.diary; exec sleep 60")
    sound = Sound("siren", players=[player, other])
    sound(event())
    assert soon(lambda: lines(tmp_path / "pids"))
    door = held_up()
    sound.stop()
    door.set()
    assert soon(lambda: not sound._thread.going)
    assert silent(tmp_path)
    assert sound.player == "play"
    assert not lines(tmp_path / "other.diary")
    sound(event(seq=2))  # stopped is not closed
    assert soon(lambda: len(lines(tmp_path / "pids")) == 2)
    sound.close()
    assert silent(tmp_path, 2)


def test_an_alarm_that_comes_after_the_end_stays_silent(tmp_path, player, pins):
    sound, relay = Sound("siren", players=[player]), Gpio(17)
    deterrent = programme({"siren": sound}, relay)
    for each in (sound, relay):
        each.close()
    with pytest.raises(SoundError, match="siren stays silent, for the alarm ends"):
        sound(event())
    with pytest.raises(Exception, match="closed"):
        relay(event())
    deterrent.close()
    with pytest.raises(RuntimeError, match="the deterrent is over, for the alarm ends"):
        deterrent(event())
    assert not lines(tmp_path / "pids")
    assert pins.pin(17).function == "input"


def test_closed_from_many_threads_at_once_each_is_off_once(tmp_path, player, pins):
    sound, relay, lamp = Sound("siren", players=[player]), Gpio(17, seconds=60.0), Gpio(27)
    deterrent = programme({"horn": Sound("horn", players=[player])}, lamp)
    for each in (sound, relay, deterrent):
        each(event())
    assert soon(lambda: len(lines(tmp_path / "pids")) == 2)
    assert relay.on
    assert soon(lambda: lamp.on)  # it flashes
    failed: list[Exception] = []
    closed: list[int] = []
    close_device = relay._device.close

    def slowly():
        closed.append(17)
        time.sleep(0.1)
        close_device()

    relay._device.close = slowly

    def close(part):
        try:
            part.close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=close, args=(each,)) for each in (sound, relay, deterrent) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert not failed
    assert closed == [17]
    assert silent(tmp_path, 2)
    for number in (17, 27):
        assert not pins.pin(number).states[-1].state
        assert pins.pin(number).function == "input"


@pytest.mark.alone
def test_a_relay_is_off_though_its_thread_hangs(pins, monkeypatch):
    door = threading.Event()
    relay = Gpio(17, seconds=60.0)
    monkeypatch.setattr(StoppableThread, "wait_for_more", lambda self, asked: not door.wait(60))
    relay(event())
    assert relay.on
    began = time.monotonic()
    relay.close()
    took_s = time.monotonic() - began
    assert not pins.pin(17).states[-1].state
    assert took_s < 0.9
    door.set()


def test_a_deterrent_silences_the_others_when_one_fails(tmp_path, player, caplog):
    class Broken:
        def start(self, seconds, pulse=None):
            raise OSError("no lamp")

        stop = close = lambda self: self.start(0.0)

    noises = {name: Sound(name, players=[player]) for name in ("siren", "horn")}
    deterrent = programme(noises, Broken())
    with pytest.raises(DeterrentError):
        deterrent(event())
    assert soon(lambda: lines(tmp_path / "pids"))
    deterrent.close()
    assert soon(lambda: silent(tmp_path))
    assert "the deterrent: no lamp" in caplog.text


def test_what_failed_in_a_programme_is_known_until_one_goes_well(tmp_path, player):
    class Lamp:
        broken = True

        def start(self, seconds, pulse=None):
            if self.broken:
                raise OSError("no lamp")

        stop = close = lambda self: None

    lamp = Lamp()
    deterrent = programme({"siren": Sound("siren", players=[player])}, lamp)
    assert [deterrent.wanted(event(type_)) for type_ in ("new", "update", "end")] == [True, False, True]
    assert not deterrent.wanted(event(kind="health"))
    with pytest.raises(DeterrentError):
        deterrent(event())
    deterrent(event("end"))
    assert deterrent.problem == "no lamp"  # the end of a bear makes nothing well
    lamp.broken = False
    deterrent(event(seq=2))
    assert deterrent.problem is None
    deterrent.close()
