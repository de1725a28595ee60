"""Schedules in words: what they mean to the minute, in local time, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.decide.schedule import DAYS, parse_schedule
from edge.errors import OptionError

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)  # a Monday


def at(day, clock):
    """A moment of the week of MONDAY in local time."""
    hour, minute = (int(part) for part in clock.split(":"))
    return (MONDAY + timedelta(days=DAYS.index(day))).replace(tzinfo=None, hour=hour, minute=minute).astimezone(UTC)


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("mon-fri 20:00-06:00", ["mon 20:00", "tue 05:59", "sat 05:59"], ["mon 05:00", "sat 06:00", "sat 21:00"]),
        ("daily 22-5", ["sun 22:00", "mon 04:59", "wed 23:59", "thu 00:00"], ["mon 05:00", "mon 21:59"]),
        ("22:30-5", ["tue 22:30", "sun 00:00"], ["tue 22:29"]),
        ("sat-mon 8-12", ["sat 08:00", "sun 11:59", "mon 10:00"], ["tue 09:00", "sun 12:00", "fri 09:00"]),
        ("mon,Wednesday , fri 1:15-2", ["wed 01:15"], ["tue 01:30", "wed 01:14", "wed 02:00"]),
        ("mon-fri 20-6; sat,sun 0-24", ["sat 12:00", "sun 23:59", "mon 20:00"], ["mon 06:30", "mon 00:00"]),
        ("daily 0-24", ["mon 00:00", "sun 23:59"], []),
        ("daily 20-0", ["mon 20:00", "mon 23:59"], ["tue 00:00"]),
    ],
)  # fmt: skip
def test_what_words_mean(words, inside, outside):
    schedule = parse_schedule(words)
    assert [moment for moment in inside if not schedule.holds(at(*moment.split()))] == []
    assert [moment for moment in outside if schedule.holds(at(*moment.split()))] == []
    for moment in outside:
        begins = schedule.begins(at(*moment.split()))
        assert schedule.holds(begins)
        assert not schedule.holds(begins - timedelta(minutes=1))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "--schedule is empty; give times, such as"),
        (" ; ", "--schedule is empty"),
        ("daily 5", "'daily 5' is no time of the week"),
        ("mon-fri", "'mon-fri' is no time of the week"),
        ("mo 5-6", "'mo' is no day; days are mon, tue"),
        ("fri-sun-mon 5-6", "'sun-mon' is no day"),
        ("daily 22-25", "'25' is no time of day; write 20 or 20:30"),
        ("daily 20:60-22", "'20:60' is no time of day"),
        ("daily 2:5-3", "'2:5' is no time of day"),
        ("daily 24:30-3", "'24:30' is no time of day"),
        ("daily 24-3", "begins at 24, which is 0 of the next day"),
        ("daily 22-22:00", "begins and ends at the same time; for the whole day write 0-24"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(words, why):
    with pytest.raises(OptionError) as caught:
        parse_schedule(words)
    assert why in str(caught.value)
    with pytest.raises(OptionError, match=r"^notify\b"):
        parse_schedule(words, "notify")


def test_times_are_local(time_zone):
    night = parse_schedule("mon 22-5")
    time_zone("AKST9AKDT,M3.2.0,M11.1.0")  # Anchorage: nine hours behind in November
    assert night.holds(datetime(2026, 11, 24, 7, 0, tzinfo=UTC))
    assert not night.holds(datetime(2026, 11, 23, 22, 30, tzinfo=UTC))
    time_zone("JST-9")  # Tokyo
    assert night.holds(datetime(2026, 11, 23, 13, 0, tzinfo=UTC))
    # It does not matter in which zone the moment is told.
    assert night.holds(datetime(2026, 11, 23, 13, 0, tzinfo=UTC).astimezone(timezone(timedelta(hours=2))))


def test_the_change_of_the_clocks_moves_a_schedule_with_them(time_zone):
    time_zone("EET-2EEST,M3.5.0/3,M10.5.0/4")  # Bucharest
    morning = parse_schedule("daily 6-7")
    assert morning.holds(datetime(2026, 10, 24, 3, 30, tzinfo=UTC))  # summer time, UTC+3
    assert morning.holds(datetime(2026, 10, 26, 4, 30, tzinfo=UTC))  # winter time, UTC+2
    assert not morning.holds(datetime(2026, 10, 26, 3, 30, tzinfo=UTC))


windows = st.tuples(
    st.sets(st.sampled_from(DAYS), min_size=1), st.integers(0, 1439), st.integers(0, 1439)
).filter(lambda window: window[1] != window[2])  # fmt: skip


@given(st.lists(windows, min_size=1, max_size=3), st.integers(0, 7 * 1440 - 1))
def test_a_schedule_agrees_with_counting_minutes(found, minute):
    """Against a second implementation: every minute of the week that a window covers."""
    covered, parts = set(), []
    for days, start, end in found:
        parts.append(f"{','.join(sorted(days))} {start // 60}:{start % 60:02}-{end // 60}:{end % 60:02}")
        length = (end - start) % 1440
        for day in days:
            begin = DAYS.index(day) * 1440 + start
            covered |= {(begin + step) % (7 * 1440) for step in range(length)}
    schedule = parse_schedule(" ; ".join(parts))
    moment = at(DAYS[minute // 1440], f"{minute % 1440 // 60}:{minute % 60}")
    assert schedule.holds(moment) == (minute in covered)


@given(st.text(alphabet="adefhimnorstuw0123456789:-,; ", max_size=30))
def test_any_words_give_a_schedule_or_a_sentence(words):
    try:
        schedule = parse_schedule(words)
    except OptionError as error:
        sentence = str(error)
    else:
        assert parse_schedule(schedule.words) == schedule
        return
    assert sentence.startswith("--schedule")
    assert "\n" not in sentence
