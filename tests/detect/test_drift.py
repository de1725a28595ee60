"""Drift of a daily figure: nothing in quiet years, a change soon and with its first day, and the end of it."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.detect.drift import (
    BACK_DAYS,
    BINS,
    CLIP,
    GAP_DAYS,
    LEAST_LIMIT,
    REFERENCE,
    SLACK,
    UNLIKE,
    Chart,
    Course,
    brightness,
    course,
    limit_of,
    spread,
    unlike,
)

BEGIN = date(2026, 3, 1)
LEAST = 1e-3


def days_of(values, begin=BEGIN):
    """Values, one a day."""
    return [(begin + timedelta(days=n), float(value)) for n, value in enumerate(values)]


def quiet(days, seed=0):
    """Days of weather alone, scale 1, with what lasts from day to day."""
    rng = np.random.default_rng(seed)
    found = [rng.normal()]
    for _ in range(days - 1):
        found.append(0.4 * found[-1] + math.sqrt(1 - 0.4**2) * rng.normal())
    return np.array(found)


def ten_lines(values, limit):
    """Page's CUSUM as a textbook has it; return the number of the day that passed the limit, or None."""
    mean, scale = np.mean(values[:REFERENCE]), max(np.std(values[:REFERENCE], ddof=1), LEAST)
    up = down = 0.0
    for n in range(REFERENCE, len(values)):
        z = min(max((values[n] - mean) / scale, -CLIP), CLIP)
        up = max(0.0, up + z - SLACK)
        down = max(0.0, down - z - SLACK)
        if max(up, down) > limit:
            return n
    return None


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, -2.0, 4.0])
def test_it_finds_what_a_textbook_finds_on_the_same_day(shift):
    def drift(values):
        return course(days_of(values), LEAST, limit=lambda *_: 8.0, follow_days=math.inf).drift

    found = set()
    for seed in range(40):
        values = quiet(200, seed)
        values[100:] += shift
        day = ten_lines(values, 8.0)
        found.add(day)
        if day is None:
            assert drift(values) is None
        else:
            assert drift(values[:day]) is None
            assert drift(values[: day + 1]).found == BEGIN + timedelta(days=day)
    assert len(found) > 1


@given(st.lists(st.floats(-1e6, 1e6), max_size=80), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_any_days_have_a_course(values, least):
    found = course(days_of(values), least, limit=lambda *_: LEAST_LIMIT)
    assert found.missing == max(REFERENCE - len(values), 0)
    assert (found.usual is None) == (found.missing > 0)
    if drift := found.drift:
        assert BEGIN + timedelta(days=REFERENCE) <= drift.since <= drift.found
        assert (drift.found - drift.since).days >= LEAST_LIMIT / (CLIP - SLACK) - 1


@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 30), st.floats(-6, 6))
@settings(deadline=None, max_examples=50)
def test_neither_the_unit_nor_the_zero_of_a_figure_matters(zero, unit, seed, shift):
    values = quiet(90, seed)
    values[60:] += shift

    def drift(values):
        return course(days_of(values), 1e-6, limit=lambda *_: LEAST_LIMIT).drift

    one, other, turned = drift(values), drift(zero + unit * values), drift(-values)
    assert (one and (one.since, one.found)) == (other and (other.since, other.found))
    assert (one and (one.since, one.found, one.up)) == (turned and (turned.since, turned.found, not turned.up))


def test_no_drift_in_quiet_years_with_a_season():
    season = 1.5 * np.sin(2 * np.pi * np.arange(365 + REFERENCE) / 365)
    found = [course(days_of(quiet(365 + REFERENCE, seed) + np.roll(season, 9 * seed)), LEAST) for seed in range(40)]
    assert sum(each.drift is not None for each in found) <= 1  # 40 years of 13: 1.5 is the budget


@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_a_step_is_found_within_weeks_with_the_day_it_began(shift):
    values = quiet(160)
    values[120:] += shift
    drift = course(days_of(values), LEAST).drift
    assert drift
    assert abs((drift.since - BEGIN).days - 120) <= 7
    assert (drift.found - BEGIN).days <= 134
    assert drift.up is (shift > 0)


@pytest.mark.parametrize("size", [5.0, -1000.0])
def test_one_day_is_no_drift_whatever_it_was(size):
    values = quiet(120)
    values[80] = size
    assert course(days_of(values), LEAST).drift is None
    assert course(days_of(values[:81]), LEAST).drift is None


def test_a_drift_ends_when_the_figure_is_back_and_another_is_found_again():
    values = 0.3 * quiet(200)
    values[60:90] -= 2.0
    values[150:] -= 2.0
    assert course(days_of(values[:90]), LEAST).drift
    assert course(days_of(values[: 90 + BACK_DAYS]), LEAST).drift is None
    again = course(days_of(values), LEAST).drift
    assert again
    assert abs((again.since - BEGIN).days - 150) <= 2


def drifts(values):
    """Return each drift of a series, as it was found day by day."""
    found = [course(days_of(values[:n]), LEAST).drift for n in range(REFERENCE, len(values) + 1)]
    return [*dict.fromkeys(each for each in found if each)]


def test_a_figure_that_stays_elsewhere_stays_one_drift():
    values = quiet(250)
    values[60:] += 4.0
    (drift,) = drifts(values)
    assert (drift.since - BEGIN).days in range(58, 63)


@pytest.mark.parametrize(("then", "new"), [(6.0, True), (4.0, False), (-3.0, True), (-1.5, False)])
def test_a_drift_that_doubles_or_crosses_to_the_other_side_is_a_new_one(then, new):
    values = 0.3 * quiet(120)
    values[60:] += 3.0
    values[90:] += then - 3.0
    found = drifts(values)
    assert len(found) == 1 + new
    if new:
        assert (found[1].up, found[1].usual) == (then > 0, found[0].usual)
        assert (found[1].since - BEGIN).days in range(86, 94)
        back = [*values, *0.3 * quiet(BACK_DAYS, 1)]
        assert course(days_of(back), LEAST).drift is None  # where it was before the first


def test_a_drift_of_years_has_few_notices_however_far_it_goes():
    values = 0.3 * quiet(400)
    values[100:] += np.linspace(0.0, 12.0, 300)
    assert len(drifts(values)) in range(2, 6)


def test_after_a_long_gap_what_is_usual_begins_again():
    values = np.concatenate([quiet(60), 9.0 + quiet(30, 1)])
    days = days_of(values)
    late = [(day + timedelta(days=GAP_DAYS), value) for day, value in days[60:]]
    assert course([*days[:60], *late], LEAST) == course(late, LEAST)
    assert course([*days[:60], *late], LEAST).drift is None
    soon = [(day + timedelta(days=GAP_DAYS - 1), value) for day, value in days[60:]]
    assert course([*days[:60], *soon], LEAST).drift


def test_a_figure_that_never_changed_may_move_a_little():
    values = np.full(80, 0.5)
    values[50:] += 0.004
    assert course(days_of(values), 0.01).drift is None
    assert course(days_of(values), 0.001).drift


def test_a_reference_is_what_it_needs():
    assert course([], LEAST) == Course(0, None, None, None)
    assert course(days_of(quiet(REFERENCE - 1)), LEAST).missing == 1
    assert course(days_of(quiet(REFERENCE)), LEAST).missing == 0


def test_weather_that_lasts_for_weeks_has_a_higher_limit():
    lasting = tuple(np.repeat([0.0, 1.0, 0.0], REFERENCE // 3))
    changing = tuple(np.tile([0.0, 1.0, 0.0], REFERENCE // 3))
    assert limit_of(lasting, LEAST) > limit_of(changing, LEAST) == LEAST_LIMIT


def test_a_season_to_come_raises_the_limit(monkeypatch):
    lasting = tuple(np.repeat([0.0, 1.0, 0.0], REFERENCE // 3))
    with_season = limit_of(lasting, LEAST)
    monkeypatch.setattr("edge.detect.drift.SEASON", 0.0)
    assert limit_of.__wrapped__(lasting, LEAST) < with_season


def test_the_scale_follows_three_times_as_slowly_as_the_level():
    chart = Chart(np.array([0.0]), np.array([1.0]), LEAST, follow_days=28.0)
    for _ in range(3 * 28):
        chart.take(chart.level)  # nothing scatters any more
    assert chart.scale[0] ** 2 == pytest.approx(math.exp(-1))


def test_a_place_is_unlike_only_where_the_days_agree():
    promised = 0.05
    clear, mixed = [UNLIKE * promised + 0.05] * REFERENCE, [0.0] * (REFERENCE - 4) + [1.0] * 4
    assert unlike(clear, promised)
    assert not unlike(clear[1:], promised)
    assert np.mean(mixed) > UNLIKE * promised
    assert not unlike(mixed, promised)


def test_a_spread_has_bins_of_equal_share():
    found = spread(np.random.default_rng(0).normal(0, 1, 1000))
    assert len(found.edges) == BINS - 1
    assert found.shares == pytest.approx([0.1] * BINS, abs=0.002)


def test_equal_values_are_never_parted():
    found = spread([0.0] * 70 + list(np.linspace(0.1, 1, 30)))
    assert found.edges[0] == 0.0
    assert found.shares[0] == pytest.approx(0.7)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60))
def test_any_values_have_a_spread(values):
    found = spread(values)
    assert sum(found.shares) == pytest.approx(1)
    assert list(found.edges) == sorted(set(found.edges))


@given(st.floats(-1e6, 1e6))
def test_one_value_has_a_narrow_bin_of_its_own(value):
    found = spread([value] * 9)
    assert found.shares == (0.0, 1.0, 0.0)
    assert found.edges[0] < value <= found.edges[1]


@pytest.mark.parametrize("values", [[], [0.0, math.nan], [math.inf]])
def test_a_spread_of_no_number_is_refused(values):
    with pytest.raises(ValueError, match="finite number"):
        spread(values)


def test_small_probabilities_are_not_all_the_same():
    low = np.random.default_rng(4).uniform(1e-8, 4e-7, 960)
    assert len(spread([*low, *np.linspace(0.1, 0.9, 40)]).edges) == BINS - 1


def test_brightness_is_the_mean_pixel():
    assert brightness(np.full((4, 4, 3), 51, np.uint8)) == pytest.approx(0.2)
