"""``tune``: h against a budget of false alarms, on figures that can be worked out by hand, and as a user runs it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli.tune import tuned_text
from edge.decide.evidence import Rule
from edge.errors import BearAlarmError, OptionError
from edge.tuning import Budget, Heard, Peak, choose, levels_of, listen, max_alarms, parse_budget
from tests.alarm.test_watch import GREEN, RULE, Colours, walk
from tests.cli.test_watch import run
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model

LEVELS = levels_of(RULE, 10.0)
WEEK = Budget(1.0, "week")


@pytest.mark.parametrize(
    ("words", "an_hour", "hours"),
    [
        ("1/week", 1 / 168, 504),
        ("2/month", 2 / 730, 1095),
        ("1 a day", 1 / 24, 72),
        ("0.5 per Year", 0.5 / 8760, 52560),
    ],
)
def test_budgets_in_words(words, an_hour, hours):
    budget = parse_budget(words)
    assert budget.an_hour == pytest.approx(an_hour)
    assert budget.quiet_hours == pytest.approx(hours)
    assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize("words", ["", "week", "1/fortnight", "-1/week", "0/week", "1", "1/week/day", "a/week"])
def test_what_is_no_budget_is_refused_in_one_sentence(words):
    with pytest.raises(OptionError, match=r"--budget .*: give false alarms in a time, such as 1/week"):
        parse_budget(words)


def test_the_levels_begin_at_the_usual_and_let_a_sure_bear_alarm():
    assert LEVELS[:3] == (1.8, 1.9, 2.0)
    assert LEVELS[-1] == 6.0
    assert len(LEVELS) == 43
    assert levels_of(replace(RULE, alarm_at=2.35), 10.0)[:2] == (2.35, 2.4)
    slow = levels_of(RULE, 0.25)
    assert slow[-1] == pytest.approx(3.6)
    assert replace(RULE, alarm_at=slow[-1] + 0.1).frames_needed(4.0) is None


def test_the_bound_of_a_poisson_rate():
    # 95 % one-sided, from tables; none is the rule of three.
    assert max_alarms(0) == 3.0
    assert [max_alarms(k) for k in (1, 2, 3, 10)] == pytest.approx([4.744, 6.296, 7.754, 16.962], abs=1e-3)


def heard(hours, alarms, clip="a.mp4"):
    return Heard(clip, hours * 3600.0, tuple(alarms), ())


def falling(*steps):
    """Alarms at each of LEVELS: (from level, count) pairs."""
    return [next((count for level, count in reversed(steps) if at >= level - 1e-9), 0) for at in LEVELS]


def chosen(clips):
    """The h that is chosen; None where none is supported."""
    level = choose(clips, RULE, LEVELS, WEEK).chosen
    return None if level is None else level.alarm_at


def test_the_least_level_within_the_budget_is_chosen():
    found = choose([heard(1000.0, falling((1.8, 5), (2.2, 2), (3.0, 0)))], RULE, LEVELS, WEEK)
    level = found.chosen
    assert level
    assert level == found.quiet
    # 2 alarms in 1000 h: at most 6.3, 1.06 a week; none: 0.5 a week.
    assert (level.alarm_at, level.frames) == (3.0, 3)
    assert (level.at_most, level.seconds) == pytest.approx((3 / 1000 * 168, 1.0))
    assert chosen([heard(1100.0, falling((1.8, 5), (2.2, 2)))]) == 2.2
    assert chosen([heard(2000.0, falling((1.8, 5)))]) == 1.8
    assert chosen([heard(500.0, falling((1.8, 5), (2.2, 1))), heard(600.0, falling((1.8, 1)), "b.mp4")]) == 2.2


def test_what_too_little_footage_cannot_support_is_shown():
    found = choose([heard(24.0, falling((1.8, 2), (2.5, 0)))], RULE, LEVELS, WEEK)
    assert found.chosen is None
    assert found.quiet is not None
    assert found.quiet.alarm_at == 2.5
    assert found.bound == pytest.approx(3 / 24 * 168)
    assert found.needed_hours == pytest.approx(504)
    assert choose([heard(24.0, falling((1.8, 2)))], RULE, LEVELS, WEEK).quiet is None


def test_a_level_that_is_quiet_by_luck_is_not_chosen():
    assert chosen([heard(1e4, falling((1.8, 400), (2.0, 0), (2.1, 300), (2.6, 0)))]) == 2.6


footage = st.tuples(st.floats(0.01, 5000.0), st.lists(st.integers(0, 9), min_size=43, max_size=43))


@given(st.lists(footage, min_size=1, max_size=4), st.sampled_from(["1/day", "1/week", "2/month"]))
def test_what_is_chosen_is_within_the_budget_and_nothing_less_would_be(clips, words):
    budget = parse_budget(words)
    found = choose([heard(hours, alarms) for hours, alarms in clips], RULE, LEVELS, budget)
    assert found.hours == pytest.approx(sum(hours for hours, _ in clips))
    if found.chosen is None:
        assert found.levels[-1].at_most > budget.alarms
        return
    number = found.levels.index(found.chosen)
    assert all(level.at_most <= budget.alarms * (1 + 1e-6) for level in found.levels[number:])
    assert number == 0 or found.levels[number - 1].at_most > budget.alarms
    assert found.hours >= found.needed_hours * (1 - 1e-6)
    assert found.chosen.seconds <= 2.0 + 1e-9


def test_the_loop_is_run_once_and_every_level_counts_for_itself():
    """A red box that comes for a moment, twice: the evidence peaks between two levels, whatever the alarm's own is."""
    frames = [*walk(60, (3.0, 3.7, BEAR_COLOUR, 100, 60), (50.0, 50.7, BEAR_COLOUR, 300, 60), background=GREEN)]
    scorer = Colours()
    found = listen("yard.avi", frames, scorer, RULE, LEVELS)
    assert len(scorer.calls) <= len(frames)
    assert found.seconds == pytest.approx(60.0)
    assert found.alarms[0] == 2
    assert found.alarms[-1] == 0
    assert list(found.alarms) == sorted(found.alarms, reverse=True)
    peaks = [peak for peak in found.peaks if peak.sum > 1.8]
    assert [sum(peak.sum >= level for peak in peaks) for level in LEVELS] == list(found.alarms)
    assert sorted(peak.time_s // 10 for peak in peaks) == [0, 5]
    again = listen(
        "yard.avi", frames, Colours(), replace(RULE, alarm_at=4.0), levels_of(replace(RULE, alarm_at=4.0), 10)
    )
    assert [peak.sum for peak in again.peaks if peak.sum > 1.8] == pytest.approx([peak.sum for peak in peaks])


def test_the_cooldown_counts_two_visits_within_it_once():
    frames = walk(20, (3.0, 4.0, BEAR_COLOUR, 100, 60), (14.0, 15.0, BEAR_COLOUR, 100, 60), background=GREEN)
    assert listen("yard.avi", frames, Colours(), RULE, LEVELS).alarms[0] == 1


def write(path, *animals, seconds=9):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    for frame in walk(seconds, *animals, background=GREEN):
        writer.write(frame.image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return write(folder / "quiet.avi", seconds=4), write(
        folder / "red.avi", (2.0, 2.9, BEAR_COLOUR, 100, 60), seconds=5
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", tiny_card())


def tune(*words, cwd):
    return run("tune", *words, cwd=cwd)


def test_the_command_shows_what_the_footage_supports_and_what_it_costs(clips, model, tmp_path):
    code, out, err = tune(*clips, "--model", model, "--budget", "1000/hour", cwd=tmp_path)
    assert code == 0, err
    for words in (
        "2 clips, 9 s of footage taken as free of bears",
        "1000 an hour is not supported by this footage",
        "(3/T, 95 %)",
        "This footage is quiet from --alarm-at",
        "It costs a sure bear",
        f"{clips[1]} at 2.",
        f"Look at it: bear-alarm snapshot {clips[1]} --at 2.",
    ):
        assert words in out
    code, out, err = tune(*clips, "--model", model, "--budget", "3000/hour", cwd=tmp_path)
    assert "At most 3000 an hour: as it is. No option is needed." in out, err
    code, out, err = tune(*clips, "--model", model, "--budget", "1500/hour", "--json", cwd=tmp_path)
    found = json.loads(out)
    assert found["levels"][0]["alarms"] == 1
    assert found["chosen"]["alarms"] == 0
    assert found["hours"] == pytest.approx(9 / 3600, rel=0.05)
    assert err == ""


def test_a_zone_leaves_out_what_lies_outside(clips, model, tmp_path):
    words = ("--model", model, "--zone", "tent=0.8,0 1,0 1,0.2", "--json")
    code, out, err = tune(*clips, *words, cwd=tmp_path)
    assert code == 0, err
    assert json.loads(out)["levels"][0]["alarms"] == 0


def test_what_shows_nothing_of_a_rate_is_refused(clips, tmp_path):
    from edge.camera import DEMO
    from edge.cli.tune import check_clips

    quiet, red = clips
    picture = tmp_path / "a.jpg"
    cv2.imwrite(str(picture), GREEN)
    for words, why in [
        (("demo",), "demo is rendered footage"),
        ((str(DEMO),), "is rendered footage"),
        (("0",), "0 is no recorded clip"),
        ((tmp_path,), "is a folder; give files"),
        ((picture,), "is a picture, which lasts no time"),
        ((quiet, red, quiet), "is given twice"),
    ]:
        with pytest.raises(BearAlarmError, match=why):
            check_clips([str(word) for word in words])


def test_a_clip_that_cannot_be_read_is_left_out_and_shown(clips, model, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(b"no video")
    code, out, err = tune(tmp_path / "cut.mp4", "--model", model, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "there is no footage to judge by" in err
    assert "Traceback" not in err
    code, out, err = tune(clips[0], tmp_path / "cut.mp4", "--model", model, cwd=tmp_path)
    assert code == 0
    assert "skipped: " in err
    assert "1 clip, " in out


def test_the_words_of_a_long_quiet_record():
    alarms = falling((1.8, 3), (2.4, 0))
    peaks = (Peak("a.mp4", 71.3, 2.36, 0.61, (0.1, 0.1, 0.2, 0.2)),)
    found = choose([Heard("a.mp4", 600 * 3600.0, tuple(alarms), peaks)], RULE, LEVELS, WEEK)
    text = tuned_text(found, 1)
    assert "1 clip, 25 days of footage" in text
    assert (
        "At most 1 a week: use --alarm-at 2.4. It costs a sure bear 0.2 s: it alarms within 0.8 s or 3 scored frames, "
        "whichever is later, not 0.6 s or 2." in text
    )
    assert "a.mp4 at 71.3 s: evidence 2.4 of 1.8, bear 0.61\nLook at it: bear-alarm snapshot a.mp4 --at 71.3" in text
    assert math.isfinite(found.bound)
    assert Rule(0.5, 0.5, alarm_at=2.4).seconds_at_best == pytest.approx(0.8)


def test_footage_that_is_never_quiet_is_shown_to_be_so_before_any_arithmetic():
    found = choose([heard(0.01, falling((1.8, 1)))], RULE, LEVELS, WEEK)
    printed = tuned_text(found, 1)
    after = printed.index(
        "It alarms here even at --alarm-at 6, so no level can be advised. Look at what raised it (below)"
    )
    assert after < printed.index(
        "1 a week is not supported by this footage: it is 36 s long, and so little, even without an alarm, only "
        "shows that there are at most 50,000 a week (3/T, 95 %). It takes 21 days without one."
    )
    assert "80,000  0.6 s or 2 frames" in printed  # two digits are enough
    long = tuned_text(choose([heard(1000.0, falling((1.8, 300)))], RULE, LEVELS, WEEK), 1)
    assert "1 a week is not supported by this footage.\n" in long


def test_masks_that_leave_nothing_to_look_at_are_refused(clips, tmp_path):
    code, _, err = tune(clips[0], "--mask", "0,0 1,0 1,1 0,1", cwd=tmp_path)
    assert code == 2
    assert "leave nothing to look at" in err
