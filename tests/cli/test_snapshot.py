"""What is drawn on a picture, and the `snapshot` command's own words."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.cli import snapshot as command
from edge.cli.watch.terminal import model_line
from edge.detect.classifier import BUNDLED, Classifier, file_digest
from edge.detect.frame_scan import FrameScanner
from edge.detect.zones import GREY, Zone, contains
from edge.drawing import (
    ALARM,
    FOUND,
    HATCH,
    MOVING,
    ZONE,
    Corners,
    Lettering,
    Mark,
    annotate,
    around,
    first_free,
    plain,
    within,
)
from edge.errors import OptionError
from edge.schema import Region, Score
from tests.helpers.command import bear_alarm
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.helpers.yard import yard_clip, yard_model

ROOT = Path(__file__).parents[2]


def apart(one, other):
    return one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


def test_words_find_a_place_beside_their_box_that_is_free_or_none():
    box, taken = (40, 50, 100, 120), list[Corners]()
    while place := first_free(around(box, (25, 12), (200, 200)), taken):
        assert 0 <= place[0] < place[2] < 200
        assert 0 <= place[1] < place[3] < 200
        taken.append(place)
    assert len(taken) == 4
    assert all(apart(one, other) for one, other in combinations(taken, 2))
    assert first_free(around((0, 0, 60, 60), (30, 12), (200, 200)), []) == (0, 0, 30, 12)  # no room above it
    assert first_free(around((180, 50, 199, 99), (30, 12), (200, 200)), []) == (169, 38, 199, 50)


def test_the_last_mark_keeps_its_words_where_two_would_be():
    image = np.zeros((240, 320, 3), np.uint8)
    box = (0.0, 0.0, 0.1, 0.04)  # too small and too far up for a second place that is clear of the first
    alone = annotate(image, [Mark(box, "", FOUND), Mark(box, "brown bear 0.99", ALARM)])
    both = annotate(image, [Mark(box, "0.55", FOUND), Mark(box, "brown bear 0.99", ALARM)])
    red = np.all(alone == ALARM, axis=2)
    assert red.sum() > 200
    assert np.array_equal(both[red], alone[red])


HIVES = Zone("hives", ((0.1, 0.5), (0.6, 0.5), (0.6, 1.0), (0.1, 1.0)))
GATE = Zone("gate", ((0.65, 0.3), (0.95, 0.3), (0.8, 0.7)))
SKY = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.0, 0.2))


def place_of(monkeypatch, image, *more, **options):
    """Return where words were written: (words, place) pairs."""
    placed: list[tuple[str, object]] = []

    class Noting(Lettering):
        def _put(self, words, colour, places):
            before = len(self._taken)
            super()._put(words, colour, places)
            placed.extend((words, place) for place in self._taken[before:])

    monkeypatch.setattr("edge.drawing.Lettering", Noting)
    return annotate(image, *more, **options), placed


@pytest.mark.parametrize("size_wh", [(1280, 720), (640, 360), (320, 240)])
def test_zones_are_drawn_with_their_names_and_no_words_lie_over_others(size_wh, monkeypatch):
    width, height = size_wh
    image = np.full((height, width, 3), 60, np.uint8)
    marks = [Mark((x / 5, y / 4, 0.2, 0.25), f"0.{x}{y}", FOUND) for x in range(5) for y in range(4)]
    marks.append(Mark((0.1, 0.5, 0.25, 0.4), "brown bear 0.99", ALARM, bold=True))
    drawn, placed = place_of(monkeypatch, image, marks, "demo at 16.0 s", [HIVES, GATE], [SKY], command.legend())
    names = dict(placed)
    assert {"brown bear 0.99", "hives", "gate"} <= names.keys()
    assert all(apart(one, other) for (_, one), (_, other) in combinations(placed, 2))
    for zone in (HIVES, GATE):
        left, top, right, bottom = names[zone.name]
        assert contains(zone.corners, ((left + right) / 2 / width, (top + bottom) / 2 / height))
        assert (drawn[top:bottom, left:right] == ZONE).all(2).mean() > 0.4
    across = annotate(image, [], zones=[HIVES])[round(0.75 * height)]
    assert (across == ZONE).all(1).sum() >= 4  # its two sides
    assert tuple(across[width // 3]) != tuple(across[-1]) == (60, 60, 60)  # tinted


def test_a_mask_is_darkened_and_hatched():
    image = np.full((360, 640, 3), 150, np.uint8)
    masked = annotate(image, [], masks=[SKY])[10:60, 10:600]
    assert 0.02 < (masked == HATCH).all(2).mean() < 0.3
    assert (masked == 50).all(2).mean() > 0.7
    black = annotate(np.zeros_like(image), [], masks=[SKY])[10:60, 10:600]
    assert black.any(2).mean() > 0.02  # at night too one sees where it lies


@pytest.mark.parametrize("size_wh", [(1280, 720), (640, 360), (320, 240)])
def test_the_legend_lies_beside_the_caption_or_above_it(size_wh, monkeypatch):
    image = np.full((size_wh[1], size_wh[0], 3), 255, np.uint8)
    caption = f"demo at 16.0 s  {size_wh[0]}x{size_wh[1]}  bear@{file_digest(BUNDLED)[:12]}"
    written = []
    write = Lettering.write

    def noting(self, words, at):
        written.append((words, at))
        write(self, words, at)

    monkeypatch.setattr(Lettering, "write", noting)
    annotate(image, [Mark((0.1, 0.1, 0.2, 0.2), "0.5", FOUND)], caption, [HIVES], [SKY], command.legend())
    assert [words for words, _ in written] == [
        caption,
        "most bear-like",
        "moves",
        "in the whole picture",
        "zone",
        "mask",
    ]
    measured = Lettering(image, max(0.35, min(size_wh) / 1100))
    rows = [(at[1], at[0], at[0] + measured.measure(words)[0]) for words, at in written]
    assert all(right <= size_wh[0] for _, _, right in rows)
    assert all(one[0] != two[0] or one[2] < two[1] or two[2] < one[1] for one, two in combinations(rows, 2))


def test_letters_that_opencv_does_not_have_are_near_ones():
    assert plain("Zäune–Süd 木") == "Zaune-Sud ?"


def test_a_name_that_has_no_room_at_the_corners_is_elsewhere_in_its_zone():
    corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    taken = [(0, 0, 100, 30), (0, 70, 100, 100)]
    place = first_free(within(corners, (30, 10), (100, 100)), taken)
    assert place
    assert all(apart(place, other) for other in taken)


def test_what_matters_is_marked_last_and_what_is_faint_without_words():
    def score(kind, x, bear):
        rest = (1 - bear) / 2
        return Score(Region((x, 0.1, 0.2, 0.2), kind), (bear, 0.0, 0.0, rest, rest), bear, "brown_bear", 0.0)

    scores = [
        score("motion", 0.1, 0.02),
        score("scan", 0.2, 0.05),
        score("scan", 0.3, 0.9),
        score("motion", 0.4, 0.95),
        score("scan", 0.5, 0.4),
    ]
    found = [(mark.words, mark.colour) for mark in command.marks(scores, tiny_card())]
    assert found == [("", FOUND), ("0.40", FOUND), ("0.90", FOUND), ("0.02", MOVING), ("brown bear 0.95", ALARM)]


def test_the_colours_are_what_the_command_calls_them():
    (blue, green, red), grey = MOVING, set(FOUND)
    assert (blue < 50, green > 180, red > 180, len(grey)) == (True, True, True, 1)  # yellow, grey
    assert (ALARM[2] > 200, max(ALARM[:2]) < 100) == (True, True)  # red


def test_a_snapshot_names_the_colours(tmp_path):
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    words = ["snapshot", "demo", "--model", str(model), "--out", "shot.jpg", "--zone", "a=0,0 1,0 1,1"]
    ran = bear_alarm(*words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "shot.jpg").is_file()
    assert (
        "yellow what moves, grey what a look at the whole finds, red the most bear-like, blue the zones." in ran.stderr
    )


def test_masks_that_leave_nothing_to_look_at_are_shown_and_drawn(tmp_path, caplog):
    model = str(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    out = tmp_path / "shot.png"
    command.snapshot("demo", out, at=1.0, model=model, zone=[], mask=["0,0 1,0 1,0.96 0,0.96"])
    assert "The masks leave nothing to look at" in caplog.text
    assert out.is_file()


def test_what_is_masked_is_hidden_from_the_scores_too(tmp_path, monkeypatch):
    model, clip = str(yard_model(tmp_path / "tiny.onnx")), str(yard_clip(tmp_path / "yard.avi"))
    seen = []
    classifier, score = Classifier(model), Classifier.score

    def noting(self, image, regions):
        seen.append(image)
        return score(self, image, regions)

    monkeypatch.setattr(Classifier, "score", noting)
    monkeypatch.setattr(FrameScanner, "beside_crops", lambda _, image: noting(classifier, image, []))
    command.snapshot(clip, tmp_path / "s.png", at=3.5, model=model, zone=[], mask=["0,0.5 0.5,0.5 0.5,1 0,1"])
    assert len(seen) == 2
    for image in seen:
        assert (image[190:350, 10:310] == GREY).all()
        assert not (image[:170] == GREY).all()


@pytest.mark.parametrize("out", ["mistyped/shot.jpg", "file/shot.jpg"])
def test_a_folder_that_is_missing_is_one_sentence_before_anything_is_opened(tmp_path, out):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="there is no folder"):
        command.snapshot("no such camera", tmp_path / out)
    assert not (tmp_path / "mistyped").exists()


def test_the_picture_that_is_looked_at_is_never_replaced(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a bear")
    with pytest.raises(OptionError, match="is the picture to look at"):
        command.snapshot(str(photo), tmp_path / "." / "photo.jpg")
    assert photo.read_bytes() == b"a bear"


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


def test_the_models_line_is_short_and_shows_evaluation_only(tmp_path):
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
