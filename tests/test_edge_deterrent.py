"""Driving bears off: never the same twice, within its budget, hours and rest; and it ends when the bear is gone."""

import itertools
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from edge.alert.deterrent import (
    BUILT_IN,
    FLASHES,
    HOUR_S,
    Deterrent,
    DeterrentError,
    Limits,
    Planner,
    Programme,
    open_deterrent,
)
from edge.alert.gpio import Gpio
from edge.alert.sound import SoundError, make, wav_of
from edge.background import in_background
from edge.decide.schedule import parse_schedule
from edge.errors import OptionError, UnavailableError
from tests.sink_world import event, lines, script, soon

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
BRIEF = Limits(longest_s=0.6, sound_s=(0.05, 0.1), pause_s=(0.01, 0.05), rest_s=0.0, hourly_s=60.0)


def test_the_same_seed_makes_the_same_choices_and_another_others():
    def programmes(seed):
        planner = Planner(BUILT_IN, Limits(), seed=seed)
        return [planner(1000.0 * number, NOON) for number in range(5)]

    assert programmes(1) == programmes(1)
    assert programmes(1) != programmes(2)


def play(planner, alarms):
    """Every programme of a life of alarms, (when it began, programme, when it ended), and why there was none else."""
    now, played = 0.0, []
    refused: Counter[str] = Counter()
    for gap_s, share in alarms:
        now += gap_s
        programme = planner(now, NOON)
        if isinstance(programme, str):
            refused[programme.split(" ")[0]] += 1
            continue
        begin, now = now, now + programme.seconds * share
        planner.ended(now)
        played.append((begin, programme, now))
    return played, refused


def check(played, limits, sounds):
    """What holds whatever happened."""
    for begin, programme, _ in played:
        assert limits.least_s - 1e-9 <= programme.seconds <= limits.longest_s + 1e-9
        for step in programme.steps:
            assert 0.0 < step.seconds <= limits.sound_s[1]
            assert limits.pause_s[0] - 1e-9 <= step.pause_s <= limits.pause_s[1] + 1e-9
            assert step.flash in FLASHES
            assert step.sound in sounds
        spent_s = sum(max(0.0, min(end, begin) - max(start, begin - HOUR_S)) for start, _, end in played)
        assert spent_s + programme.seconds <= limits.hourly_s + 1e-6
    for (_, before, end), (begin, after, _) in itertools.pairwise(played):
        assert begin - end >= limits.rest_s - 1e-6
        assert before != after
    if len(set(sounds)) > 1:
        heard = [step.sound for _, programme, _ in played for step in programme.steps]
        assert all(one != other for one, other in itertools.pairwise(heard))


def test_whatever_the_alarms_it_keeps_to_its_limits():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    alarm = st.tuples(st.floats(0.0, 4000.0), st.floats(0.0, 1.0))

    @hypothesis.given(
        st.lists(alarm, max_size=60),
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=6),
        st.integers(0, 1000),
        st.floats(0.0, 5000.0),
        st.floats(4.0, 600.0),
        st.floats(4.0, 60.0),
    )
    def holds(alarms, sounds, seed, rest_s, hourly_s, longest_s):
        limits = Limits(rest_s=rest_s, hourly_s=hourly_s, longest_s=longest_s, sound_s=(1.0, 8.0), pause_s=(0.5, 4.0))
        played, _ = play(Planner(sounds, limits, seed=seed), alarms)
        check(played, limits, sounds)

    holds()


def test_a_night_of_alarms_uses_all_sounds_in_many_ways_and_stops_at_its_budget():
    limits = Limits()
    played, refused = play(Planner(BUILT_IN, limits, seed=3), [(20.0, 1.0)] * 1000)
    check(played, limits, BUILT_IN)
    assert {"resting", "the"} == set(refused)  # for a while, and for this hour
    programmes = [programme for _, programme, _ in played]
    assert len(programmes) > 40
    assert len(set(programmes)) == len(programmes)
    assert len({tuple(step.sound for step in programme.steps) for programme in programmes}) > len(programmes) * 0.7
    used = Counter(step.sound for programme in programmes for step in programme.steps)
    assert min(used[name] for name in BUILT_IN) > 0.5 * max(used.values())
    assert len(Counter(step.flash for programme in programmes for step in programme.steps)) == len(FLASHES)
    assert len({len(programme.steps) for programme in programmes}) >= 4


def test_outside_its_hours_it_is_silent_and_says_why():
    hours = parse_schedule("daily 20:00-06:00")
    planner = Planner(BUILT_IN, Limits(hours=hours))
    local = datetime(2024, 5, 1, 12, 0).astimezone()
    assert planner(0.0, local) == "outside the deterrent's hours (daily 20:00-06:00)"
    assert isinstance(planner(0.0, local.replace(hour=23)), Programme)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"hourly_s": 1.0}, "1 s an hour leave no room for one noise of 2.3 s; allow more"),
        ({"longest_s": 1.0}, "leave no room"),
        ({"rest_s": -1.0}, "must be seconds, not below 0"),
        ({"rest_s": float("nan")}, "must be seconds"),
        ({"sound_s": (5.0, 2.0)}, "go from short to long"),
        ({"sound_s": (0.0, 2.0)}, "go from short to long"),
    ],
)
def test_limits_that_make_no_sense_are_one_sentence(given, says):
    with pytest.raises(OptionError, match=says):
        Limits(**given)


class Diary:
    """A noise, or a lamp, that only says when it begins and ends."""

    def __init__(self, name, told, fails=False):
        self.name, self.told, self.fails = name, told, fails

    def start(self, seconds, pulse=None):
        if self.fails:
            raise SoundError(f"{self.name} cannot sound")
        self.told.append((self.name, "on"))

    def stop(self):
        self.told.append((self.name, "off"))

    def close(self):
        self.told.append((self.name, "closed"))


def deterrent(told, limits=BRIEF, *, fails=(), lamps=("lamp",), **more):
    noises = {name: Diary(name, told, name in fails) for name in ("a", "b", "c")}
    lamp = [Diary(name, told, name in fails) for name in lamps]
    return Deterrent(noises, lamp, limits, seed=1, wall=lambda: NOON, **more)


def test_an_alarm_plays_its_programme_with_the_lamps_in_step():
    told: list[tuple] = []
    out = deterrent(told)
    out(event("update"))
    out(event("end"))
    assert not told
    out(event())
    assert told[:2] == [("lamp", "on"), (out.played.steps[0].sound, "on")]
    assert soon(lambda: not out._stint.going)
    expected = []
    for step in out.played.steps:
        expected += [("lamp", "on"), (step.sound, "on"), (step.sound, "off"), ("lamp", "off")]
    assert told == expected
    out.close()
    assert told[-4:] == [(name, "closed") for name in ("a", "b", "c", "lamp")]


LONG = Limits(longest_s=40.0, sound_s=(9.0, 10.0), pause_s=(1.0, 2.0), rest_s=0.0)


def test_it_ends_when_the_last_bear_it_began_for_is_gone():
    told: list[tuple] = []
    out = deterrent(told, LONG)
    out(event(seq=1, id_="one"))
    first = out.played
    out(event(seq=2, id_="two"))  # another camera sees another bear
    out(event("end", seq=3, id_="strange"))
    out(event("end", seq=4, id_="one"))
    assert out._stint.going
    assert out.played is first
    out(event("end", seq=5, id_="two"))
    assert soon(lambda: not out._stint.going)
    assert told == [("lamp", "on"), (first.steps[0].sound, "on"), (first.steps[0].sound, "off"), ("lamp", "off")]
    out(event(seq=6, id_="one"))
    assert out.played is not first
    out.close()


def test_refused_it_is_silent_and_a_test_hears_why():
    now = [0.0]
    told: list[tuple] = []
    limits = Limits(longest_s=0.2, hourly_s=10.0, rest_s=60.0, sound_s=(0.05, 0.1), pause_s=(0.01, 0.02))
    out = deterrent(told, limits, clock=lambda: now[0])
    out(event(kind="test"))
    assert soon(lambda: not out._stint.going)
    many = len(told)
    now[0] = 30.0
    out(event())
    assert len(told) == many
    with pytest.raises(DeterrentError, match="no deterrent: resting for another 30 s"):
        out(event(kind="test"))
    now[0] = 61.0
    out(event(kind="test"))
    assert len(told) > many
    out.close()


def test_what_fails_is_said_and_the_rest_goes_on(caplog):
    told: list[tuple] = []
    out = deterrent(told, fails=("a", "b", "c"))
    with pytest.raises(DeterrentError, match="cannot sound"):
        out(event())
    assert soon(lambda: not out._stint.going)
    assert told.count(("lamp", "on")) == len(out.played.steps)
    assert "the deterrent: " in caplog.text or len(out.played.steps) == 1
    out.close()
    told.clear()
    out = deterrent(told, fails=("lamp",))
    with pytest.raises(DeterrentError, match="lamp cannot"):
        out(event())
    assert soon(lambda: not out._stint.going)
    assert sum(what == "on" for _, what in told) == len(out.played.steps)
    out.close()


def test_it_does_not_hold_up_its_worker():
    told: list[tuple] = []
    out = deterrent(told, LONG)
    worker = in_background(out, "--deterrent", deadline_s=15.0, at_end=out.close)
    for seq in range(5):
        worker(event(seq=seq))
    assert soon(lambda: worker.done == 5)
    assert worker.close(20.0)
    assert soon(lambda: ("lamp", "closed") in told)
    assert (worker.failures, worker.hung) == (0, 0)


def test_with_real_parts_a_folder_of_sounds_is_played_and_the_lamp_is_off_after(tmp_path, monkeypatch):
    gpiozero = pytest.importorskip("gpiozero")
    from gpiozero.pins.mock import MockFactory

    pins = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", pins)
    diary = tmp_path / "diary"
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("dog.wav", "Gun.WAV"):
        (folder / name).write_bytes(wav_of(make("barks")).lasting(0.5))
    (folder / "README.txt").write_text("not a sound")
    (folder / "._dog.wav").write_text("of a Mac")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "aplay", f"echo on >> {diary}; exec sleep 5")
    lamp = Gpio(27)
    limits = Limits(longest_s=3.0, sound_s=(0.3, 0.6), pause_s=(0.05, 0.1), rest_s=0.0)
    out = open_deterrent(str(folder), [lamp], limits, device="any", seed=4)
    assert set(out.noises) == {"dog.wav", "Gun.WAV"}
    out(event())
    assert soon(lambda: not out._stint.going)
    assert out.played
    assert len(lines(diary)) == len(out.played.steps)
    states = [bool(state.state) for state in pins.pin(27).states]
    assert states.count(True) >= len(out.played.steps)
    assert not lamp.on
    out.close()
    assert lamp._device.closed


def test_its_own_sounds_differ_from_start_to_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "aplay", "exec sleep 5")
    made = []

    def noted(name, seed):
        made.append((name, seed))
        return make(name, seed)

    monkeypatch.setattr("edge.alert.sound.make", noted)
    for now in (1_800_000_027.9, 1_800_000_031.2):
        monkeypatch.setattr("edge.alert.deterrent.time", SimpleNamespace(time=lambda now=now: now))
        out = open_deterrent("on", device="any")
        assert tuple(out.noises) == BUILT_IN
        out.close()
    assert made == [(name, seed) for seed in (1_800_000_027, 1_800_000_031) for name in BUILT_IN]


def test_a_word_and_a_file_are_no_folder_and_one_without_sounds_may_get_some(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()  # as the place of a disk that is not mounted
    for wrong in ("loud", str(tmp_path / "file")):
        with pytest.raises(OptionError, match=r"--deterrent: .*no folder; write on"):
            open_deterrent(wrong)
    for absent, words in (("none", "is not there; mount its disk"), ("empty", "has no WAV files")):
        with pytest.raises(UnavailableError, match=words):
            open_deterrent(str(tmp_path / absent))
