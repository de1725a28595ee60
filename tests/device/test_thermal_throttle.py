"""The frame rate falls with heat and low voltage, shows why, and comes back slowly; a sure bear alarms all the same."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.evidence import Evidence, Rule
from edge.detect.frame_rate import FrameRateControl
from edge.device.health import CALM_S, SURE_S, ThermalThrottle, slowest_fps
from edge.device.sensors import Board, Reading
from edge.errors import OptionError
from tests.helpers.boards import CPU_C, boot, lay, pi

FINE = Reading(temperature_c=50.0, undervolted=False)


def shares(effort: ThermalThrottle, reading: Reading, *times: float) -> list[float]:
    return [effort(replace(reading, at=now), now) for now in times]


@pytest.mark.parametrize(
    ("reading", "share", "why"),
    [
        (FINE, 1.0, None),
        (Reading(), 1.0, None),  # a board that reports nothing
        (replace(FINE, temperature_c=79.9), 1.0, None),
        (
            replace(FINE, temperature_c=83.2),
            0.5,
            "the processor has 83 °C, so half of the frames are looked at; give it shade or a heat sink",
        ),
        (
            replace(FINE, temperature_c=85.0),
            0.25,
            "the processor has 85 °C, so a quarter of the frames are looked at; give it shade or a heat sink",
        ),
        (
            replace(FINE, undervolted=True),
            0.5,
            (
                "the supply voltage is too low, so half of the frames are looked at; "
                "use a stronger power supply and a short, thick cable"
            ),
        ),
        (
            replace(FINE, throttled=True),
            0.25,
            (
                "the processor is slowed down by its own system, so a quarter of the frames are looked at; "
                "give it shade or a heat sink"
            ),
        ),
    ],
)
def test_each_reading_has_its_share_at_once_and_shows_why(reading: Reading, share: float, why: str | None) -> None:
    effort = ThermalThrottle()
    assert effort(reading, 0.0) == effort.share == share
    assert effort.why == why


def test_it_comes_back_one_step_a_minute_once_it_is_5_degrees_cooler() -> None:
    effort = ThermalThrottle()
    assert shares(effort, replace(FINE, temperature_c=86.0), 0.0) == [0.25]
    assert shares(effort, replace(FINE, temperature_c=81.0), 10.0, 100.0) == [0.25, 0.25]  # not 5 below 85 yet
    assert shares(effort, replace(FINE, temperature_c=79.9), 110.0, 169.0, 170.0) == [0.25, 0.25, 0.5]
    assert shares(effort, replace(FINE, temperature_c=76.0), 200.0, 400.0) == [0.5, 0.5]
    assert shares(effort, replace(FINE, temperature_c=74.0), 410.0, 469.0) == [0.5, 0.5]
    assert effort.why == (
        "the processor was too hot a moment ago, so half of the frames are looked at; give it shade or a heat sink"
    )
    assert shares(effort, replace(FINE, temperature_c=74.0), 470.0) == [1.0]
    assert effort.why is None


def test_one_warm_reading_begins_the_minute_again() -> None:
    effort = ThermalThrottle()
    effort(replace(FINE, undervolted=True), 0.0)
    assert shares(effort, FINE, 5.0, 60.0) == [0.5, 0.5]
    assert effort(replace(FINE, undervolted=True), 62.0) == 0.5
    assert shares(effort, FINE, 65.0, 124.0, 125.0) == [0.5, 0.5, 1.0]


def test_words_name_the_voltage_that_was() -> None:
    effort = ThermalThrottle()
    effort(replace(FINE, undervolted=True), 0.0)
    effort(FINE, 5.0)
    assert effort.why == (
        "the supply voltage was too low a moment ago, so half of the frames are looked at; "
        "use a stronger power supply and a short, thick cable"
    )


DEGREES = st.integers(40, 100)


def test_each_step_up_that_was_too_much_doubles_the_patience_before_the_next() -> None:
    effort, now, waits = ThermalThrottle(), 0.0, []
    for _ in range(8):
        effort(replace(FINE, temperature_c=81.0), now)
        fell_at = now
        while effort(FINE, now) < 1.0:
            now += 5.0
        waits.append(now - fell_at)
        now += 5.0
    assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    now += 3600.0  # it has held for an hour: forgotten
    effort(replace(FINE, temperature_c=81.0), now)
    assert shares(effort, FINE, now + 1.0, now + 61.0) == [0.5, 1.0]


STEP = st.tuples(st.integers(1, 90), DEGREES, st.booleans(), st.booleans())


@given(st.lists(STEP, min_size=1, max_size=60))
def test_it_never_has_more_than_the_reading_of_the_moment_allows(steps: list[tuple[int, int, bool, bool]]) -> None:
    effort, now = ThermalThrottle(), 0.0
    for passed_s, degrees, low, slowed in steps:
        now += passed_s
        reading = Reading(now, float(degrees), undervolted=low, throttled=slowed)
        assert effort(reading, now) <= ThermalThrottle()(reading, now)


@given(st.lists(st.tuples(st.floats(0.1, 30.0), DEGREES, st.booleans()), max_size=200))
def test_it_rises_no_more_often_than_once_a_minute_and_by_one_step(steps: list[tuple[float, int, bool]]) -> None:
    effort, now, rises = ThermalThrottle(), 0.0, []
    for passed_s, degrees, low in steps:
        now += passed_s
        before, after = effort.share, effort(Reading(now, float(degrees), undervolted=low), now)
        assert after in (1.0, 0.5, 0.25)
        assert (effort.why is None) == (after == 1.0)
        if after > before:
            assert after == 2.0 * before
            rises.append(now)
    assert all(later - earlier >= CALM_S - 1e-6 for earlier, later in itertools.pairwise(rises))


def test_from_the_files_of_a_board_to_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = boot(pi(tmp_path, milli_c="82000\n"), monkeypatch)
    board, effort = Board(root, tmp_path), ThermalThrottle(hot_c=80.0)
    assert effort(board.read(0.0), 0.0) == 0.5
    lay(root, {CPU_C: "85500\n"})
    assert effort(board.read(5.0), 5.0) == 0.25
    lay(root, {CPU_C: "60000\n", "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"})
    assert [effort(board.read(now), now) for now in (10.0, 70.0, 200.0)] == [0.25, 0.5, 0.5]
    assert effort.why and effort.why.startswith("the supply voltage is too low")  # noqa: PT018


def kept_fps(fps: float, share: float, least: float) -> float:
    """Frames a second that a watcher is left."""
    rates: list[float] = []
    FrameRateControl(fps, fps, rates.append, share=lambda: share, least=least)(True, 0.0)
    return rates[0] if rates else fps


def rule(alarm_at: float) -> Rule | None:
    try:
        return Rule(0.5, 0.7, alarm_at=alarm_at)
    except OptionError:
        return None


@pytest.mark.parametrize("fps", [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize("alarm_at", [1.21, 1.8, 2.5, 4.0, 5.9, 6.0])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_a_sure_bear_alarms_at_every_share_of_every_rate(fps: float, alarm_at: float, share: float) -> None:
    found = rule(alarm_at)
    assert found
    kept = kept_fps(fps, share, slowest_fps(found.frames_needed))
    if found.frames_needed(1.0 / fps) is None:
        return  # refused at the start: this rate is too slow for this rule as it is
    evidence, frames = Evidence(found), 0
    while not evidence(found.cap, frames / kept):
        frames += 1
        assert frames < 500
    max_s = max(SURE_S, (found.frames_needed(1.0 / fps) or 0) / fps)  # a rate that was set slower stays as it is
    assert frames / kept <= max_s + 1e-9


def test_a_rule_that_wants_more_keeps_up_more() -> None:
    soon, late = rule(1.8), rule(6.0)
    assert soon and late  # noqa: PT018
    assert slowest_fps(soon.frames_needed) == 0.25
    assert slowest_fps(late.frames_needed) == 1.5
    assert slowest_fps(lambda spacing_s: None) == 2.5
