"""Which moment a word means, where more than one could be meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import OptionError
from edge.record.trace import Trace
from edge.record.trace_query import _span, find, read_trace
from tests.record.test_trace import WALL, look, moment, told


def test_a_time_of_day_is_the_last_one_there_was(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    since = WALL - timedelta(hours=4, minutes=1)
    for index in (0, 72_000):  # 22:59Z and 00:59Z
        made = moment(index, events=(told(id_=f"{index:06d}"),))
        trace(replace(made, wall=since + timedelta(seconds=index / 10)))
    assert trace.close(5.0)
    runs = read_trace(trace.path)
    assert find(runs, "22:59Z").asked == since
    assert find(runs, "00:59Z").asked == since + timedelta(hours=2)


def test_the_last_of_two_runs_over_a_clip_is_meant(tmp_path):
    for bear in (0.3, 0.1):
        trace = Trace(tmp_path / "t.jsonl")
        for index in range(20):
            trace(moment(index, live=False, scored=(look(bear),)))
        assert trace.close(5.0)
    runs = read_trace(tmp_path / "t.jsonl")
    assert len(runs) == 2
    found = find(runs, "1.0").moment
    assert found
    assert (found.media_time_s, found.scored[0].bear) == (1.0, 0.1)
    alone = find(runs, None).moment
    assert alone
    assert alone.scored[0].bear == 0.3  # no event: the most notable moment of all


def test_a_clock_that_was_set_while_it_ran_is_found_by_its_own_time(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(100):
        jump = timedelta(days=300) if index >= 50 else timedelta()
        made = moment(index, events=(told(id_=f"aaaaaa{index:02d}"),) if index in (20, 80) else ())
        trace(replace(made, wall=made.wall + jump))
    assert trace.close(5.0)
    runs = read_trace(trace.path)
    for wall, index in ((WALL + timedelta(days=300, seconds=8), 80), (WALL + timedelta(seconds=2), 20)):
        found = find(runs, wall.isoformat()).moment
        assert found
        assert found.index == index


def test_digits_are_an_event_first_then_seconds(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(50):
        trace(moment(index, live=False, events=(told(id_="0000025f"),) if index == 7 else ()))
    assert trace.close(5.0)
    runs = read_trace(trace.path)
    for word, index in (
        ("0000025", 7),
        ("000002.5", 25),
        ("3", 30),
        ("3s", 30),
        ("0:03", 30),
        ("last", 7),
        ("end", 49),
    ):
        found = find(runs, word).moment
        assert found
        assert found.index == index


def test_digits_that_are_nearly_an_event_are_taken_for_one(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(50):
        trace(moment(index, live=False, events=(told(id_="88833715"),) if index == 7 else ()))
    assert trace.close(5.0)
    with pytest.raises(OptionError, match=r"no such event in this trace; did you mean 88833715 \(yard at 0.7 s\)"):
        find(read_trace(trace.path), "8883370")


def over_a_night(tmp_path, since, hours):
    """A trace with a moment every ten minutes, that ends now."""
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(6 * hours + 1):
        trace(replace(moment(index, events=(told(id_=f"{index:06d}"),)), wall=since + timedelta(minutes=10 * index)))
    assert trace.close(5.0)
    return read_trace(trace.path)


def test_of_an_hour_that_comes_twice_the_last_one_is_meant(tmp_path, time_zone):
    time_zone("Europe/Ljubljana")
    since = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)  # at 03:00 summer time, 01:00Z, it is 02:00 again
    runs = over_a_night(tmp_path, since, 3)
    assert find(runs, "02:10").asked == datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert find(over_a_night(tmp_path / "earlier", since, 2), "02:10").asked == datetime(
        2026, 10, 25, 0, 10, tzinfo=UTC
    )


@pytest.mark.parametrize(("day", "hours"), [("2026-10-25", 25), ("2026-03-29", 23), ("2026-06-01", 24)])
def test_a_day_is_as_long_as_it_is(tmp_path, time_zone, day, hours):
    time_zone("Europe/Ljubljana")
    since, until = _span(day, datetime(2027, 1, 1, tzinfo=UTC))
    assert until - since == timedelta(hours=hours)
