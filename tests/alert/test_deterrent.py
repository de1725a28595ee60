"""Driving bears off: in random order, within its budget, hours and rest; and it ends when the bear is gone."""

import itertools
import random
import shutil
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from edge.alert import deterrent as module
from edge.alert.deterrent import (
    BUILT_IN,
    HOUR_S,
    Budget,
    Deterrent,
    DeterrentError,
    open_deterrent,
)
from edge.alert.gpio import Gpio
from edge.alert.sound import SOUNDS, SoundError
from edge.background import in_background
from edge.decide.schedule import parse_schedule
from edge.errors import OptionError, UnavailableError
from tests.helpers.sink_world import event, lines, script, soon

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def limits(monkeypatch):
    """Set limits of the deterrent, by default brief ones."""

    def limit(*, longest_s=0.6, sound_s=(0.05, 0.1), pause_s=(0.01, 0.05), rest_s=0.0, hourly_s=60.0):
        monkeypatch.setattr(module, "LONGEST_S", longest_s)
        monkeypatch.setattr(module, "SOUND_S", sound_s)
        monkeypatch.setattr(module, "PAUSE_S", pause_s)
        monkeypatch.setattr(module, "REST_S", rest_s)
        monkeypatch.setattr(module, "HOURLY_S", hourly_s)

    limit()
    return limit


LONG: dict[str, Any] = {"longest_s": 40.0, "sound_s": (9.0, 10.0), "pause_s": (1.0, 2.0), "hourly_s": 300.0}


def loud(budget, alarms):
    """Every time it was loud in a life of alarms, (begin, seconds that it could have been, end), and why it was not."""
    now, played = 0.0, []
    refused: Counter[str] = Counter()
    for gap_s, share in alarms:
        now += gap_s
        room_s = budget(now, NOON)
        if isinstance(room_s, str):
            refused[room_s.split(" ")[0]] += 1
            continue
        begin, now = now, now + room_s * share
        budget.ended(now)
        played.append((begin, room_s, now))
    return played, refused


def check(played):
    """What holds whatever happened."""
    for begin, room_s, _ in played:
        assert module.SOUND_S[1] <= room_s <= module.LONGEST_S
        spent_s = sum(max(0.0, min(end, begin) - max(start, begin - HOUR_S)) for start, _, end in played)
        assert spent_s + room_s <= module.HOURLY_S + 1e-6
    for (_, _, end), (begin, _, _) in itertools.pairwise(played):
        assert begin - end >= module.REST_S - 1e-6


def test_whatever_the_alarms_it_keeps_to_its_limits(limits):
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    alarm = st.tuples(st.floats(0.0, 4000.0), st.floats(0.0, 1.0))

    @hypothesis.given(st.lists(alarm, max_size=60), st.floats(0.0, 5000.0), st.floats(4.0, 600.0), st.floats(8.0, 60.0))
    def holds(alarms, rest_s, hourly_s, longest_s):
        limits(rest_s=rest_s, hourly_s=hourly_s, longest_s=longest_s, sound_s=(2.0, 8.0))
        check(loud(Budget(), alarms)[0])

    holds()


def test_a_night_of_alarms_rests_and_stops_at_its_budget():
    played, refused = loud(Budget(), [(20.0, 1.0)] * 1000)
    check(played)
    assert {"resting", "the"} == set(refused)  # for a while, and for this hour
    assert len(played) > 40


def test_outside_its_hours_it_is_silent_and_says_why():
    budget = Budget(parse_schedule("daily 20:00-06:00"))
    local = datetime(2024, 5, 1, 12, 0).astimezone()
    assert budget(0.0, local) == "outside the deterrent's hours (daily 20:00-06:00)"
    assert budget(0.0, local.replace(hour=23)) == 45.0


@pytest.mark.parametrize("sounds", ["a", "ab", "abcde"])
def test_sounds_come_in_random_order_each_as_often_and_none_twice_running(sounds):
    def order(seed):
        random.seed(seed)
        noises: dict[str, Any] = {name: Diary(name, []) for name in sounds}
        out = Deterrent(noises, Budget())
        return [out.next_sound() for _ in range(100 * len(sounds))]

    heard = order(1)
    assert heard == order(1)
    assert Counter(heard) == dict.fromkeys(sounds, 100)
    assert len(sounds) == 1 or all(one != other for one, other in itertools.pairwise(heard))
    assert len(sounds) < 3 or heard != order(2)


class Diary:
    """A noise, or a lamp, that only notes when it begins and ends."""

    def __init__(self, name, diary, fails=False):
        self.name, self.diary, self.fails = name, diary, fails

    def start(self, seconds, pulse=None):
        if self.fails:
            raise SoundError(f"{self.name} cannot sound")
        self.diary.append((self.name, "on"))

    def stop(self):
        self.diary.append((self.name, "off"))

    def close(self):
        self.diary.append((self.name, "closed"))


def deterrent(diary, budget=None, *, fails=()):
    random.seed(1)
    noises: dict[str, Any] = {name: Diary(name, diary, name in fails) for name in ("a", "b", "c")}
    lamp: Any = Diary("lamp", diary, "lamp" in fails)
    out = Deterrent(noises, budget or Budget())
    out.lamps.append(lamp)
    return out


def test_an_alarm_plays_noises_with_the_lamps_in_step(limits):
    diary: list[tuple] = []
    out = deterrent(diary)
    out(event("update"))
    out(event("end"))
    assert not diary
    out(event())
    assert diary[0] == ("lamp", "on")
    assert diary[1][1] == "on"
    assert soon(lambda: not out._thread.going)
    heard = [name for name, what in diary if what == "on" and name != "lamp"]
    assert len(heard) > 2
    assert all(one != other for one, other in itertools.pairwise(heard))
    expected = []
    for name in heard:
        expected += [("lamp", "on"), (name, "on"), (name, "off"), ("lamp", "off")]
    assert diary == expected
    out.close()
    assert diary[-4:] == [(name, "closed") for name in ("a", "b", "c", "lamp")]


def test_it_ends_when_the_last_bear_it_began_for_is_gone(limits):
    limits(**LONG)
    diary: list[tuple] = []
    out = deterrent(diary)
    out(event(seq=1, id_="one"))
    first = diary[1][0]
    out(event(seq=2, id_="two"))  # another camera sees another bear
    out(event("end", seq=3, id_="strange"))
    out(event("end", seq=4, id_="one"))
    assert out._thread.going
    out(event("end", seq=5, id_="two"))
    assert soon(lambda: not out._thread.going)
    assert diary == [("lamp", "on"), (first, "on"), (first, "off"), ("lamp", "off")]
    out(event(seq=6, id_="one"))
    assert diary[-1][0] != first
    out.close()


def test_refused_it_is_silent_and_a_test_hears_why(limits):
    now = [0.0]
    diary: list[tuple] = []

    class Simulated(Budget):
        def __call__(self, _, wall):
            return super().__call__(now[0], wall)

        def ended(self, _, *, test=False):
            super().ended(now[0], test=test)

    limits(longest_s=0.2, hourly_s=10.0, rest_s=60.0, pause_s=(0.01, 0.02))
    out = deterrent(diary, Simulated())
    out(event())
    assert soon(lambda: not out._thread.going)
    many = len(diary)
    now[0] = 30.0
    out(event())
    assert len(diary) == many
    with pytest.raises(DeterrentError, match="no deterrent: resting for another 30 s"):
        out(event(kind="test"))
    now[0] = 61.0
    out(event(kind="test"))
    assert len(diary) > many
    out.close()


def test_a_bear_after_a_test_is_driven_off_and_one_that_joins_a_test_is_rested_for(limits):
    limits(**LONG, rest_s=60.0)
    diary: list[tuple] = []
    out = deterrent(diary)

    def begin_and_end(*ids):
        before = len(diary)
        for id_ in ids:
            out(event(kind="test" if id_ == "test" else "bear", id_=id_))
        for id_ in ids:
            assert out._thread.going
            out(event("end", id_=id_))
        assert not out._thread.going
        return len(diary) > before

    begin_and_end("test")
    begin_and_end("test", "bear")
    out(event(id_="next"))
    assert not out._thread.going
    out.close()


def test_what_fails_is_reported_and_the_rest_goes_on(limits, caplog):
    diary: list[tuple] = []
    out = deterrent(diary, fails=("a", "b", "c"))
    with pytest.raises(DeterrentError, match="cannot sound"):
        out(event())
    assert soon(lambda: not out._thread.going)
    assert diary.count(("lamp", "on")) > 1
    assert "the deterrent: " in caplog.text
    out.close()
    diary.clear()
    out = deterrent(diary, fails=("lamp",))
    with pytest.raises(DeterrentError, match="lamp cannot"):
        out(event())
    assert soon(lambda: not out._thread.going)
    assert sum(what == "on" for _, what in diary) > 1
    out.close()


def test_it_does_not_hold_up_its_worker(limits):
    limits(**LONG)
    diary: list[tuple] = []
    out = deterrent(diary)
    worker = in_background(out, "--deterrent", deadline_s=15.0, at_end=out.close)
    for seq in range(5):
        worker(event(seq=seq))
    assert soon(lambda: worker.done == 5)
    assert worker.close(20.0)
    assert soon(lambda: ("lamp", "closed") in diary)
    assert (worker.failures, worker.hung) == (0, 0)


def test_with_real_parts_a_folder_of_sounds_is_played_and_the_lamp_is_off_after(tmp_path, monkeypatch, limits):
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory

    pins = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", pins)
    diary = tmp_path / "diary"
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("dog.wav", "Gun.WAV"):
        shutil.copy(SOUNDS / "barks.wav", folder / name)
    (folder / "README.txt").write_text("not a sound")
    (folder / "._dog.wav").write_text("of a Mac")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "aplay", f"echo on >> {diary}; exec sleep 5")
    lamp = Gpio(27)
    limits(longest_s=3.0, sound_s=(0.3, 0.6), pause_s=(0.05, 0.1))
    random.seed(4)
    out = open_deterrent(str(folder), device="any")
    out.lamps.append(lamp)
    assert set(out.noises) == {"dog.wav", "Gun.WAV"}
    out(event())
    assert soon(lambda: not out._thread.going)
    assert len(lines(diary)) > 2
    states = [bool(state.state) for state in pins.pin(27).states]
    assert states.count(True) >= len(lines(diary))
    assert not lamp.on
    out.close()
    assert lamp._device.closed


def test_on_means_the_sounds_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "aplay", "exec sleep 5")
    out = open_deterrent("on", device="any")
    assert tuple(out.noises) == BUILT_IN
    out.close()


def test_a_word_and_a_file_are_no_folder_and_one_without_sounds_may_get_some(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()  # as the place of a disk that is not mounted
    for wrong in ("loud", str(tmp_path / "file")):
        with pytest.raises(OptionError, match=r"--deterrent: .*no folder; write on"):
            open_deterrent(wrong)
    for absent, words in (("none", "is not there; mount its disk"), ("empty", "has no WAV files")):
        with pytest.raises(UnavailableError, match=words):
            open_deterrent(str(tmp_path / absent))
