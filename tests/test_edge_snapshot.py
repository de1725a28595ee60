"""What is drawn on a picture, and the `snapshot` command's own words."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.commands import snapshot as command
from edge.commands.watch_words import model_line
from edge.drawing import ALARM, MOVING, TILE, Corners, Mark, annotate, free_place
from edge.errors import OptionError
from edge.schema import Region, Score
from tests.tiny import tiny_card, write_tiny_model

ROOT = Path(__file__).parents[1]


def apart(one, other):
    return one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def test_words_find_a_place_beside_their_box_that_is_free_or_none():
    box, taken = (40, 50, 100, 120), list[Corners]()
    while place := free_place(box, (25, 12), (200, 200), taken):
        assert 0 <= place[0] < place[2] < 200
        assert 0 <= place[1] < place[3] < 200
        taken.append(place)
    assert len(taken) == 4
    assert all(apart(one, other) for one, other in combinations(taken, 2))
    assert free_place((0, 0, 60, 60), (30, 12), (200, 200), []) == (0, 0, 30, 12)  # no room above it
    assert free_place((180, 50, 199, 99), (30, 12), (200, 200), []) == (169, 38, 199, 50)


def test_the_last_mark_keeps_its_words_where_two_would_stand():
    image = np.zeros((240, 320, 3), np.uint8)
    box = (0.0, 0.0, 0.1, 0.04)  # too small and too far up for a second place that is clear of the first
    alone = annotate(image, [Mark(box, "", TILE), Mark(box, "brown bear 0.99", ALARM)])
    both = annotate(image, [Mark(box, "0.55", TILE), Mark(box, "brown bear 0.99", ALARM)])
    red = np.all(alone == ALARM, axis=2)
    assert red.sum() > 200
    assert np.array_equal(both[red], alone[red])


def test_what_matters_is_marked_last_and_faint_tiles_without_words():
    def score(kind, x, bear):
        rest = (1 - bear) / 2
        return Score(Region((x, 0.1, 0.2, 0.2), kind), (bear, 0.0, 0.0, rest, rest), bear, "brown_bear", 0.0)

    scores = [
        score("motion", 0.1, 0.02),
        score("sweep", 0.2, 0.05),
        score("sweep", 0.3, 0.9),
        score("motion", 0.4, 0.95),
        score("sweep", 0.5, 0.4),
    ]
    found = [(mark.words, mark.colour) for mark in command.marks(scores, tiny_card())]
    assert found == [("", TILE), ("0.40", TILE), ("0.90", TILE), ("0.02", MOVING), ("brown bear 0.95", ALARM)]


def test_the_colours_are_what_the_command_calls_them():
    (blue, green, red), grey = MOVING, set(TILE)
    assert (blue < 50, green > 180, red > 180, len(grey)) == (True, True, True, 1)  # yellow, grey
    assert (ALARM[2] > 200, max(ALARM[:2]) < 100) == (True, True)  # red


def test_a_snapshot_makes_its_folder_and_names_the_colours(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    words = ["snapshot", "demo", "--model", str(model), "--out", "new/folder/shot.jpg"]
    ran = subprocess.run(
        [sys.executable, "-m", "edge", *words], env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "new" / "folder" / "shot.jpg").is_file()
    assert "yellow what moves, grey the sweep's tiles, red the most bear-like" in ran.stderr


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="its folder cannot be made"):
        command._write(tmp_path / "file" / "shot.jpg", np.zeros((4, 4, 3), np.uint8))


def test_a_live_camera_has_no_time_to_look_at(tmp_path, monkeypatch):
    class Live(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("edge.camera.open_source", lambda _: Live(live=True, problems=[]))
    model = str(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    with pytest.raises(OptionError, match="is live"):
        command.snapshot("0", at=5.0, model=model)


def test_the_models_line_is_short_and_says_evaluation_only(tmp_path):
    def line(**fields):
        card = SimpleNamespace(**{"licence": "CC0.", "notice": None} | fields)
        classifier: Any = SimpleNamespace(name="bear@0123456789ab", card=card)
        return model_line(classifier)

    assert line() == "Model bear@0123456789ab, licence: CC0."
    assert line(notice="For tests only.") == "Model bear@0123456789ab, licence: CC0. For tests only."
    assert len(line(licence="not free to use: " + "many words " * 30)) < 120
    short = line(licence="long " * 40, notice="Evaluation only: train on your own pictures before relying on it.")
    assert "for evaluation only; train on your own pictures" in short
    assert len(short) < 130
