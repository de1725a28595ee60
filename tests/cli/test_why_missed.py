"""`bear-alarm why` where there was no picture, where one picture alone counts, and where a bear came into a zone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from edge.alert.events import EventPublisher
from edge.decide.alarms import Decider
from edge.detect.zones import Zone
from edge.record.trace import Moment, Trace
from edge.record.trace_query import read_trace
from edge.schema import CameraFault, Event, EvidenceState
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.cli.test_why import ask, berlin
from tests.helpers.tiny import BEAR_COLOUR
from tests.record.test_trace import LEFT, WALL, look, moment, told

__all__ = ["berlin"]  # a fixture

DEAD = "yard: no frame for 8 s; check its plug and power, and the network."


def away(at_s, gone_s, seconds, *animals):
    """Frames of a live camera that gives none for ``gone_s`` after ``at_s``, and what it says of itself meanwhile."""

    def frames(watcher):
        for frame in walk(seconds, *animals):
            late = gone_s if frame.time >= at_s else 0.0
            if frame.time == at_s and gone_s:
                for after in range(6, int(gone_s), 2):
                    watcher.report(CameraFault("gone", DEAD), 1000.0 + at_s + after, "yard")
                watcher.report(None, 1000.0 + at_s + late, "yard")
            at = frame.time + late
            wall = WALL + timedelta(seconds=at)
            yield replace(
                frame, time=at, wall=wall, handed_over=1000.0 + at, media_time_s=None, discontinuity=bool(late)
            )

    return frames


def record(path, frames, rule=RULE, **options):
    """The loop over frames with its moments in a trace; the events that were told."""
    events: list[Event] = []
    trace = Trace(path)
    watcher = Watcher(Colours(), rule, EventPublisher([events.append]), trace=trace, scan=Colours().scan, **options)
    watcher(frames(watcher) if callable(frames) else frames)
    assert trace.close(5.0)
    return events


def test_a_time_when_the_camera_was_dead_is_shown_to_be_missed_before_anything_else(tmp_path, capsys):
    path = tmp_path / "t.jsonl"
    record(path, away(5.0, 1800.0, 10, (2.0, 5.0, BEAR_COLOUR, 100, 60)))
    printed = ask(capsys, "04:10", "--trace", path)
    assert printed.startswith(
        "yard: no picture came from 2026-11-24 04:00:04 (03:00:04Z) to 04:30:05 (03:30:05Z), 1,800 s; nothing is "
        "known of 2026-11-24 04:10:00 (03:10:00Z). "
    )
    assert f"camera trouble {DEAD} Nearest moment that was kept: yard at 2026-11-24 04:00:04 (03:00:04Z) " in printed
    assert printed.endswith("No alarm: no picture came.")
    # What came before the camera failed was kept: the bear may have done it.
    assert "scored 0." in ask(capsys, "04:00:03", "--trace", path)
    partly = ask(capsys, "04:00", "--trace", path)
    assert partly.startswith("yard at 2026-11-24 04:00:0")
    assert "yard: no picture came from 2026-11-24 04:00:04" in partly
    assert "no picture came." not in partly  # of the rest of that minute there are moments


def test_a_camera_that_was_gone_to_the_end_is_missed_until_then(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(20):
        trace(moment(index))
    last = moment(19)
    trace(
        replace(last, events=(replace(told(id_="cafe" * 8), kind="camera", detail=DEAD, at=WALL + timedelta(hours=1)),))
    )
    assert trace.close(5.0)
    printed = ask(capsys, "04:30", "--trace", trace.path)
    assert "no picture came from 2026-11-24 04:00:01 (03:00:01Z) to 05:00:00 (04:00:00Z)" in printed
    assert f"camera trouble {DEAD}" in printed
    assert printed.endswith("No alarm: no picture came.")
    assert len(read_trace(trace.path)[0].moments) == 20  # what is told after the last frame is told with it
    event = ask(capsys, "cafecafe", "--trace", trace.path)
    assert event.endswith(f"a camera event (event cafecafe, at 05:00:00 (04:00:00Z)): {DEAD}")
    assert event.count("no frame for 8 s") == 1


def test_a_gap_between_two_summaries_is_no_time_when_the_alarm_did_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edge.record.trace.HEARTBEAT_S", 60.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in [*range(1200), *range(30_000, 30_600)]:
        trace(replace(moment(index), index=index if index < 1200 else index - 28_800))
    assert trace.close(5.0)
    printed = ask(capsys, "04:20", "--trace", trace.path)
    assert "no picture came from 2026-11-24 04:01:59 (03:01:59Z) to 04:50:00 (03:50:00Z), 2,880 s; nothing" in printed
    assert printed.endswith("No alarm: no picture came.")


def test_a_clock_that_was_set_is_no_camera_that_was_gone(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(40):
        jump = timedelta(hours=1 if index >= 20 else 0)
        trace(replace(moment(index, events=(told(),) if index == 25 else ()), wall=moment(index).wall + jump))
    assert trace.close(5.0)
    printed = ask(capsys, "04:30", "--trace", trace.path)
    assert printed.startswith("yard: the clock was set from 2026-11-24 04:00:01 (03:00:01Z) to 05:00:02 (04:00:02Z)")
    assert "no picture came" not in printed


def test_of_two_cameras_the_dead_one_is_named(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(100):
        trace(moment(index, camera="yard", events=(told(),) if index == 90 else ()))
    for index in range(2):
        dead = (replace(told(id_="dead" * 8), kind="camera", detail=DEAD, at=WALL + timedelta(seconds=8)),)
        trace(replace(moment(90 * index, camera="bin", events=dead if index else ()), index=index))
    assert trace.close(5.0)
    printed = ask(capsys, "04:00:04", "--trace", trace.path)
    assert printed.startswith("yard at 2026-11-24 04:00:04")
    assert "Of bin no picture came then." in printed


@pytest.mark.parametrize("bear", [0.93, 0.7])
def test_one_picture_that_alarms_is_explained_by_its_own_rule(bear, tmp_path, capsys):
    rule = replace(RULE, still_threshold=0.8, one_picture=True)
    frame = next(iter(walk(1, background=None)))
    frame = replace(frame, media_time_s=None, wall=WALL)

    class Says(Colours):
        def score(self, image, regions):
            found = super().score(image, regions)
            return [replace(score, bear=bear, region=replace(score.region, kind="track")) for score in found]

    events: list[Event] = []
    trace = Trace(tmp_path / "t.jsonl")
    decider = Decider(rule, again_s=0.0)
    Watcher(Says(), rule, EventPublisher([events.append]), trace=trace, single_images=True, decider=decider)([frame])
    assert trace.close(5.0)
    printed = ask(capsys, "04:00:00.0", "--trace", trace.path)
    assert f"one picture {bear:.2f} 0.80 track 1" in printed
    if bear >= 0.8:
        assert len(events) == 2
        printed = ask(capsys, events[0].id, "--trace", trace.path)
        assert f"ALARM, event {events[0].id[:8]}: score {bear:.2f} ≥ 0.80 in one picture" in printed
        assert "evidence" not in printed
        assert "%" not in printed
    else:
        assert not events
        assert printed.endswith("No alarm: score 0.70 < 0.80, which one picture alone needs.")


def test_an_alarm_that_waited_for_a_zone_shows_since_when_the_bear_was_in_it(tmp_path, capsys):
    zone = Zone("hives", ((0.6, 0.0), (1.0, 0.0), (1.0, 1.0), (0.6, 1.0)))
    path = tmp_path / "t.jsonl"
    decider = Decider(RULE, zones=[zone])
    events = record(path, walk(12, (2.0, 9.0, BEAR_COLOUR, 100, 60)), decider=decider)
    alarm = events[0]
    assert alarm.zones == ("hives",)
    assert (alarm.media_time_s or 0.0) > 4.0
    printed = ask(capsys, "last", "--trace", path)
    assert "in zone hives, evidence S" in printed
    assert re.search(r" 6\.\d s 0\.99 0\.50 \+[\d.]+ [\d.]+ 1\.80 outside the zones", printed)  # in the run-up
    assert printed.endswith("until now held back by outside the zones.")
    before = ask(capsys, f"{alarm.media_time_s - 0.5:.1f}", "--trace", path)
    assert "held back by outside the zones" in before


def test_what_became_of_an_event_has_its_reason(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    happens = {5: told(), 9: told("update"), 15: replace(told("end"), detail="nothing is known of the bear.")}
    for index in range(30):
        trace(moment(index, events=(happens[index],) if index in happens else ()))
    assert trace.close(5.0)
    printed = ask(capsys, "last", "--trace", trace.path)
    assert "Afterwards: 1 update; ended at 04:00:01.5 (nothing is known of the bear)." in printed


def test_a_bear_that_was_lost_and_found_again_ended_when_it_ended_last(tmp_path, capsys):
    trace = Trace(tmp_path / "t.jsonl")
    happens = {5: told(), 9: told("end"), 12: told("update"), 20: told("end")}
    for index in range(30):
        trace(moment(index, events=(happens[index],) if index in happens else ()))
    assert trace.close(5.0)
    printed = ask(capsys, "last", "--trace", trace.path)
    assert "Afterwards: 1 update; lost and found again 1 time; ended at 04:00:02.0." in printed


def test_a_standing_that_one_picture_may_decide_comes_back_from_its_line():
    made = moment(
        1, scored=(look(0.9),), evidence_states=(EvidenceState(1, LEFT, 0.9, 0.8, 2.0, 0.6, 1.8, alone_at=0.8),)
    )
    assert Moment.from_json(made.to_json()) == made
