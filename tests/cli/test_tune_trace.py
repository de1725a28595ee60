"""``tune --trace``: what the live alarm has traced says what the footage would, and counts what was seen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest

from edge.alert.events import EventPublisher
from edge.cli.tune import tune
from edge.decide.evidence import OUTSIDE_ZONES, Rule
from edge.errors import OptionError, SourceError
from edge.record.trace import Trace, old
from edge.record.trace_query import read_trace
from edge.tuning import levels_of, listen, min_level, replay, runs_of
from edge.watch import Watcher
from tests.alarm.test_watch import GREEN, RULE, Colours, walk
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model
from tests.record.test_trace import WALL, moment, standing

LEVELS = levels_of(RULE, 5.0)
VISITS = (3.0, 3.7, BEAR_COLOUR, 100, 60), (42.0, 43.2, BEAR_COLOUR, 300, 60)


def traced(path, frames, **limits):
    """The trace that the alarm writes of some frames."""
    with patch.multiple("edge.record.trace", RING_S=600.0, **limits):
        keep = Trace(path)
        Watcher(Colours(), RULE, EventPublisher(), trace=keep)(frames)
        assert keep.close(5.0)
    return path


def live(frames):
    """The frames as a live camera gives them."""
    return [replace(one, media_time_s=None, wall=WALL + timedelta(seconds=one.time)) for one in frames]


def heard(path, rule=RULE, levels=LEVELS):
    (run,) = read_trace(path)
    return replay(path, run, rule, levels)


def test_a_clip_and_its_trace_give_the_same_levels(tmp_path):
    frames = [*walk(50, *VISITS, fps=5, background=GREEN)]
    clip, trace = listen("yard.avi", frames, Colours(), RULE, LEVELS), heard(traced(tmp_path / "trace.jsonl", frames))
    assert set(clip.alarms) == {0, 1, 2}
    assert trace.alarms == clip.alarms
    assert trace.seconds == pytest.approx(clip.seconds)
    assert [one.sum for one in trace.peaks] == pytest.approx([one.sum for one in clip.peaks], abs=1e-2)
    assert [one.time_s for one in trace.peaks] == [one.time_s for one in clip.peaks]
    assert trace.peaks[0].why == f"{trace.peaks[0].time_s:.1f}"


def test_a_live_camera_keeps_a_part_and_tells_the_same(tmp_path):
    frames = live(walk(50, *VISITS, fps=5, background=GREEN))
    path = traced(tmp_path / "trace.jsonl", frames, BEFORE_S=5.0, AFTER_S=2.0, HEARTBEAT_S=20.0)
    (run,) = read_trace(path)
    assert len(run.moments) < len(frames) / 2
    trace = heard(path)
    assert trace.alarms == listen("yard.avi", frames, Colours(), RULE, LEVELS).alarms
    assert trace.seconds == pytest.approx(49.8)
    assert trace.peaks[0].why in {"2026-11-24T03:00:42Z", "2026-11-24T03:00:43Z"}


def test_a_bear_that_stays_alarms_once_though_little_of_it_is_kept(tmp_path):
    frames = live(walk(60, (3.0, 57.0, BEAR_COLOUR, 10, 8), fps=5, background=GREEN))
    path = traced(tmp_path / "trace.jsonl", frames, BEFORE_S=3.0, AFTER_S=2.0, HEARTBEAT_S=100.0)
    (run,) = read_trace(path)
    assert len(run.moments) < len(frames) / 2
    assert heard(path).alarms == (1,) * len(LEVELS)


def test_whiles_without_a_picture_and_with_trouble_are_no_hours(tmp_path):
    keep = Trace(tmp_path / "trace.jsonl")
    for index in range(300):
        troubles = ("yard: too dark",) if 100 <= index < 150 else ()
        late = 3600 if index >= 200 else 0
        one = moment(index, troubles=troubles)
        keep(replace(one, threshold=0.5, time=one.time + late, wall=one.wall + timedelta(seconds=late)))
    assert keep.close(5.0)
    assert heard(keep.path).seconds == pytest.approx(29.9 - 5.0 - 0.1)


def test_evidence_that_no_kept_moment_shows_counts_as_an_alarm(tmp_path):
    keep = Trace(tmp_path / "trace.jsonl")
    for index in range(300):
        standings = [standing(2.4 if index == 150 else 0.5), standing(5.0, held=(OUTSIDE_ZONES,))]
        keep(replace(moment(index), threshold=0.5, evidence_states=tuple(standings)))
    assert keep.close(5.0)
    found = dict(zip(LEVELS, heard(keep.path).alarms, strict=True))
    assert (found[1.8], found[2.4], found[2.5]) == (1, 1, 0)
    assert min_level(read_trace(keep.path)) == 1.8


def test_a_trace_of_other_thresholds_or_without_what_is_needed_is_refused(tmp_path):
    path = traced(tmp_path / "trace.jsonl", live(walk(10, background=GREEN)))
    with pytest.raises(OptionError, match=r"0\.5 on, and 0\.6 is asked for"):
        heard(path, rule=replace(RULE, threshold=0.6, still_threshold=0.6))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    older = [{name: value for name, value in line.items() if name != "most"} for line in lines]
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in older).replace('":', '": ', 1))
    with pytest.raises(OptionError, match="older bear-alarm"):
        heard(path)


def test_each_camera_is_tuned_for_itself_and_an_older_file_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.FILE_BYTES", 30_000)
    keep = Trace(tmp_path / "trace.jsonl")
    for index in range(1000):
        keep(replace(moment(index, camera="yard"), media_time_s=index / 10))
    keep(moment(1, camera="hives"))
    assert keep.close(5.0)
    assert old(keep.path).exists()
    with pytest.raises(OptionError, match="hives, yard"):
        runs_of([keep.path], None)
    ((path, run),) = runs_of([old(keep.path), keep.path], "yard")
    assert path == keep.path
    assert len(run.moments) == len(read_trace(keep.path)[0].moments)


def test_the_command_reads_the_trace_that_the_config_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = write_tiny_model(tmp_path / "tiny.onnx", tiny_card())
    rule = Rule.from_card(tiny_card())
    keep = Trace(tmp_path / "trace.jsonl")
    for index in range(3000):
        keep(replace(moment(index), threshold=rule.threshold))
    assert keep.close(5.0)
    with pytest.raises(OptionError, match="--trace FILE"):
        tune(model=str(model))
    (tmp_path / "bear-alarm.yml").write_text("trace: trace.jsonl\ncameras:\n  yard:\n    source: '0'\n")
    tune(model=str(model), as_json=True)
    by_config = json.loads(capsys.readouterr().out)
    assert by_config["hours"] == pytest.approx(299.9 / 3600, rel=1e-3)
    assert by_config["levels"][0]["alarms"] == 0
    tune(model=str(model), trace=[keep.path], budget="1000/hour")
    out = capsys.readouterr().out
    assert "1 trace" in out
    assert "Nothing came near an alarm" in out
    with pytest.raises(OptionError, match="--mask"):
        tune(model=str(model), trace=[keep.path], mask=["0,0 1,0 1,1"])
    with pytest.raises(SourceError, match="no footage"):
        tune(model=str(model), trace=[keep.path], threshold=0.9)
