"""`bear-alarm why` while the camera is away, of a trace that ends, and of pictures that came out of order."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from edge.alert.events import EventPublisher
from edge.errors import OptionError
from edge.record.trace import Trace
from edge.record.trace_query import read_trace
from edge.schema import CameraFault, Event
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.cli.test_why import ask, berlin
from tests.cli.test_why_missed import DEAD
from tests.helpers.tiny import BEAR_COLOUR
from tests.record.test_trace import WALL, moment, told

__all__ = ["berlin"]  # a fixture


@pytest.fixture
def clock(monkeypatch):
    """Sets what `why` takes for now, as minutes after WALL."""
    return lambda minutes: monkeypatch.setattr("edge.cli.why._now", lambda: WALL + timedelta(minutes=minutes))


def written(path, lines):
    """Wait until so many lines of moments are in the trace."""
    deadline = time.monotonic() + 20.0
    while not path.exists() or path.read_text().count('"kind":"moment"') < lines:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_while_the_camera_is_away_what_was_reported_of_it_can_be_asked_for(tmp_path, capsys, clock):
    began = datetime.now(UTC)
    events: list[Event] = []
    trace = Trace(tmp_path / "t.jsonl")
    watcher = Watcher(Colours(), RULE, EventPublisher([events.append]), trace=trace)

    def frames():
        for frame in walk(5, (2.0, 6.0, BEAR_COLOUR, 100, 60)):
            at = frame.time
            yield replace(frame, media_time_s=None, wall=began - timedelta(seconds=9 - at), handed_over=1000.0 + at)
        for after in range(5, 120):
            watcher.report(CameraFault("gone", DEAD), 1005.0 + after, "yard")
        written(trace.path, len(list(walk(5))) + 1)
        (gone,) = (event for event in events if event.kind == "camera")
        assert DEAD[:-1] in ask(capsys, gone.id, "--trace", trace.path)
        assert "nothing is known of the bear" in ask(
            capsys, "last", "--trace", trace.path
        )  # it ended, for nothing is known of it
        clock((began - WALL).total_seconds() / 60 + 20)
        printed = ask(capsys, (began + timedelta(minutes=10)).isoformat(), "--trace", trace.path)
        assert printed.startswith("yard: no picture came from")
        assert "1,204 s; nothing is known of" in printed  # until now
        assert f"camera trouble {DEAD}" in printed
        watcher.report(None, 1200.0, "yard")

    watcher(frames())
    assert trace.close(5.0)
    (run,) = read_trace(trace.path)
    ids = [one.id for _, one in run.events()]
    assert len(ids) == len(events) == len([*run.events()])  # nothing is published twice
    assert run.summaries[-1].frames == len(list(walk(5)))


def dead_since_four(path):
    """A trace with a bear yesterday at 05:00, whose camera gave its last frame today at 04:00."""
    trace = Trace(path)
    trace(replace(moment(0), wall=WALL - timedelta(hours=23), events=(told(id_="beef" * 8),)))
    trace(replace(moment(1), wall=WALL, time=82_800.0))
    trace.flush("SIGUSR1")
    assert trace.close(5.0)
    return path


def test_a_time_of_day_is_todays_and_not_yesterdays_where_today_it_has_been(tmp_path, capsys, clock):
    path = dead_since_four(tmp_path / "t.jsonl")
    clock(70.0)  # 05:10
    says = r"'05:00' \(2026-11-24 05:00:00 .* nothing is known since 2026-11-24 04:00:00 .* `kill -USR1`"
    with pytest.raises(OptionError, match=says):
        ask(capsys, "05:00", "--trace", path)
    clock(50.0)  # 04:50: today's 05:00 is still to come
    assert "beefbeef" in ask(capsys, "05:00", "--trace", path)


def test_of_an_old_trace_it_is_shown_where_it_ends(tmp_path, capsys):
    printed = ask(capsys, "05:00", "--trace", dead_since_four(tmp_path / "t.jsonl"))
    assert "beefbeef" in printed
    assert "The trace ends at 2026-11-24 04:00:00 (03:00:00Z); nothing is known after that." in printed
    assert "The trace ends" not in ask(capsys, "04:00", "--trace", tmp_path / "t.jsonl")


def test_an_alarm_that_was_stopped_is_no_camera_that_is_away(tmp_path, capsys, clock):
    trace = Trace(tmp_path / "t.jsonl")
    gone = replace(told(id_="cafe" * 8), kind="camera", detail=DEAD, at=WALL + timedelta(seconds=20))
    trace(replace(moment(1), events=(gone,)))
    assert trace.close(5.0)
    clock(70.0)
    with pytest.raises(OptionError, match="nothing is known since 2026-11-24 04:00:20"):
        ask(capsys, "05:00", "--trace", trace.path)


def test_pictures_that_came_out_of_order_are_no_gap(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index, hour in enumerate((0, 2, 1, 3)):  # one card after the other
        trace(replace(moment(index), wall=WALL + timedelta(hours=hour), time=1000.0 + 61 * index))
    trace.flush("SIGUSR1")
    assert trace.close(5.0)
    for asked, since, until in (("04:30", "04:00", "05:00"), ("05:30", "05:00", "06:00"), ("06:30", "06:00", "07:00")):
        printed = ask(capsys, asked, "--trace", trace.path)
        assert f"no picture came from 2026-11-24 {since}:00" in printed
        assert f"to {until}:00" in printed
        assert "3,600 s" in printed
    assert ask(capsys, "05:00", "--trace", trace.path).startswith("yard at 2026-11-24 05:00:00")
