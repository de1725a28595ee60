"""The plot of `bear-alarm why`, an SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from edge.record.explanation import explain
from edge.record.plot import SvgCanvas, draw, plot
from edge.record.trace import Trace
from edge.record.trace_query import find, read_trace
from tests.alarm.test_watch import walk
from tests.cli.test_why import ask, record
from tests.helpers.tiny import BEAR_COLOUR
from tests.record.test_trace import moment, told


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A trace of a clip in which a bear walks in at 3 s, and its events."""
    path = tmp_path_factory.mktemp("clip") / "t.jsonl"
    return path, record(path, walk(12, (3.0, 6.0, BEAR_COLOUR, 100, 60)))


def test_the_plot_is_valid_and_self_contained_svg(clip, tmp_path, capsys):
    path, events = clip
    out = tmp_path / "why.svg"
    ask(capsys, "--plot", out, "--trace", path)
    root = ET.fromstring(out.read_bytes())
    text = " ".join(root.itertext())
    for words in (
        f"ALARM {events[0].id[:8]}",
        f"end {events[0].id[:8]}",
        "track 1",
        "what moved",
        "whole picture",
        "10 s",
    ):
        assert words in text
    raw = out.read_text()
    assert raw.count("http") == 1  # the name of the format, and nothing to fetch
    assert "<script" not in raw
    (run,) = read_trace(path)
    dots = sum(look.kind == "motion" for made in run.moments for look in made.scored)
    assert raw.count("<circle") == dots + 1  # and one in the legend


def test_a_hostile_name_stays_words():
    canvas = SvgCanvas(100, 100, "<b>")
    canvas.words((0, 0), '<script>&\x00\ud800"')
    assert "<script>&?" in "".join(ET.fromstring(canvas.finished()).itertext())


def test_a_live_plot_shows_what_was_not_kept_and_what_the_time_was_like(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.trace.BEFORE_S", 1.0)
    monkeypatch.setattr("edge.record.trace.AFTER_S", 1.0)
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(300):
        flags = {"moving": 50 <= index < 52, "reset": index == 55, "troubles": ("dark",) if 57 <= index < 59 else ()}
        trace(moment(index, events=(told(id_=f"event{index}"),) if index in (55, 200) else (), **flags))
    assert trace.close(5.0)
    found = find(read_trace(trace.path), None)
    assert found.moment
    canvas = SvgCanvas(960, 560, "")
    plot(canvas, found.run, found.moment, "")
    text = " ".join(ET.fromstring(canvas.finished()).itertext())
    for words in ("picture moves", "new background", "camera trouble", "not kept", "0:10", "ALARM event55"):
        assert words in text


def test_where_no_picture_came_nothing_was_left_out(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    for index in range(40):
        late = 100 if index >= 20 else 0
        trace(replace(moment(index + late, events=(told(),) if index == 30 else ()), index=index))
    assert trace.close(5.0)
    found = find(read_trace(trace.path), None)
    assert found.moment
    canvas = SvgCanvas(960, 560, "")
    plot(canvas, found.run, found.moment, "")
    text = " ".join(ET.fromstring(canvas.finished()).itertext())
    assert "no picture" in text
    assert "not kept" not in text


def test_one_moment_alone_is_explained_and_drawn(tmp_path):
    trace = Trace(tmp_path / "t.jsonl")
    trace(replace(moment(0, live=False), threshold=None))
    assert trace.close(5.0)
    found = find(read_trace(trace.path), None)
    assert found.moment
    assert explain(found)[-1].startswith("No alarm: nothing was scored")
    draw(found, tmp_path / "alone.svg")
    assert ET.fromstring((tmp_path / "alone.svg").read_bytes())
