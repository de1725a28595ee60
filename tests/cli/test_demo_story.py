"""What `watch demo` says of the toy, the fox and the boar while the bundled clip plays, and after it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from edge.cli.app import as_command
from edge.cli.watch.command import watch
from edge.demo.story import TRUTH, Story
from edge.record.trace import Moment, ScoredRegion, TracedEvent
from edge.schema import EvidenceState
from tests.helpers.yard import yard_model

FPS, FRAMES = 10, 320
WALL = datetime(2026, 1, 1, tzinfo=UTC)
BOXES = json.loads(TRUTH.read_text(encoding="utf-8"))["boxes"]


def told(scores, *, alarm_at=None, then=None):
    """The story of ``(seconds, animal, score)`` looks, each at the animal's own box."""
    printed: list[str] = []
    story = Story(printed.append, then)
    for index in range(FRAMES):
        here = [(name, score) for time_s, name, score in scores if round(time_s * FPS) == index]
        looks = tuple(ScoredRegion("motion", BOXES[index][name], score, "bear", 0.0) for name, score in here)
        new: tuple[TracedEvent, ...] = ()
        states: tuple[EvidenceState, ...] = ()
        if alarm_at and round(alarm_at[0] * FPS) == index:
            new = (TracedEvent("new", "id", track=4),)
            states = (EvidenceState(4, BOXES[index][alarm_at[1]], 0.9, 0.3, 1.0, 2.0, 1.8),)
        story(
            Moment(
                "demo",
                index,
                index / FPS,
                WALL,
                (1280, 720),
                index / FPS,
                scored=looks,
                evidence_states=states,
                events=new,
            )
        )
    return printed


def test_each_animal_has_its_line_with_its_highest_score_and_when():
    printed = told(
        [(4.1, "fox", 0.02), (5.0, "fox", 0.01), (9.0, "boar", 0.3), (2.0, "toy", 0.1), (14.0, "bear", 0.99)]
    )
    assert printed == [
        "fox: highest score 0.02 at 4 s, no alarm",
        "boar: highest score 0.30 at 9 s, no alarm",
        "toy: highest score 0.10 at 2 s, no alarm",
    ]


def test_what_is_scored_once_the_bear_is_there_is_not_the_toys():
    assert "toy: highest score 0.10 at" in told([(2.0, "toy", 0.1), (20.0, "toy", 0.99)])[-1]


def test_an_alarm_at_the_fox_is_the_foxs_alone():
    printed = told([(4.0, "fox", 0.9), (9.0, "boar", 0.1), (2.0, "toy", 0.1)], alarm_at=(4.0, "fox"))
    assert printed[0] == "fox: highest score 0.90 at 4 s, ALARM"
    assert all(line.endswith("no alarm") for line in printed[1:])


def test_what_was_never_looked_at_has_no_score_and_another_trace_goes_on():
    moments: list[Moment] = []
    assert told([], then=moments.append) == [f"{name}: not looked at, no alarm" for name in ("fox", "boar", "toy")]
    assert len(moments) == FRAMES


@pytest.mark.slow
def test_the_command_prints_the_story_and_what_to_type_next(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "edge")
    model = yard_model(tmp_path / "tiny.onnx")
    as_command("watch", watch).main(args=["demo", "--model", str(model), "--no-evidence"], standalone_mode=False)
    printed = [record.message for record in caplog.records]
    story = [line for line in printed if "highest score" in line]
    animals = ("fox", "boar", "toy")
    assert tuple(name for line in story if (name := line.partition(":")[0]) in animals) == animals
    assert [line.split()[-3:] for line in printed[-2:]] == [
        ["bear-alarm", "snapshot", "0"],
        ["bear-alarm", "watch", "0"],
    ]
    assert not any("peak memory" in line for line in printed)
