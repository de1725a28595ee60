"""``classify --csv``: one table of a whole card, and what is counted of it."""

from __future__ import annotations

import csv
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from edge.survey import Row, Survey, csv_bytes
from tests.card import CUT, card, classified, clip, picture
from tests.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, tiny_card, write_tiny_model
from tests.uploads import taken_by

COLUMNS = ["file", "time", "camera", "label", "score", "box", "verdict", "second", "problem"]


@pytest.fixture
def classify(tmp_path):
    """``bear-alarm classify WORDS``: exit code, standard output, standard error."""
    return partial(classified, "--model", write_tiny_model(tmp_path / "m.onnx", tiny_card()))


def table(file: Path) -> dict[str, dict[str, str]]:
    """The rows of a CSV file by their first column."""
    with file.open(newline="", encoding="utf-8") as text:
        return {row["file"]: row for row in csv.DictReader(text)}


@pytest.fixture
def field(tmp_path):
    """Two cameras, one that writes its name; a clip; a picture that is cut off."""
    folder = card(tmp_path / "card", {"siteA/100EK/2.jpg": TEDDY_COLOUR, "3.jpg": NO_BEAR_COLOUR, "siteA/cut.jpg": CUT})
    data = taken_by(picture(BEAR_COLOUR), "Reconyx", "HF2X", "H2X1", "2024:05:01 22:15:30")
    (folder / "siteA" / "100EK" / "1.jpg").write_bytes(data)
    clip(folder / "walk.avi", [NO_BEAR_COLOUR] * 15 + [BEAR_COLOUR] * 10)
    return folder


def test_the_table_has_a_row_for_each_file(tmp_path, classify, field):
    file = tmp_path / "bears.csv"
    code, _, err = classify(field, "--csv", file)
    rows = table(file)
    assert code == 0, err
    assert list(rows) == ["3.jpg", "siteA/100EK/1.jpg", "siteA/100EK/2.jpg", "siteA/cut.jpg", "walk.avi"]
    bear = rows["siteA/100EK/1.jpg"]
    assert list(bear) == COLUMNS
    assert (bear["time"], bear["camera"]) == ("2024-05-01T22:15:30", "Reconyx HF2X H2X1")
    assert (bear["label"], bear["verdict"], bear["box"], bear["second"]) == ("brown_bear", "bear", "0 0 1 1", "")
    assert 0.7 <= float(bear["score"]) <= 1
    toy, top, cut, walk = (rows[name] for name in ("siteA/100EK/2.jpg", "3.jpg", "siteA/cut.jpg", "walk.avi"))
    assert (toy["time"], toy["camera"], toy["label"], toy["verdict"]) == ("", "siteA/100EK", "teddy_bear", "none")
    assert (top["camera"], walk["camera"]) == ("card", "card")
    assert (walk["verdict"], walk["second"]) == ("bear", "2.0")
    assert (cut["score"], cut["label"], "truncated" in cut["problem"]) == ("", "", True)


def test_a_clip_that_ends_early_counts_and_says_so(tmp_path, classify):
    folder, file, out = tmp_path / "card", tmp_path / "bears.csv", tmp_path / "results.json"
    folder.mkdir()
    whole = clip(folder / "walk.avi", [BEAR_COLOUR] * 60).read_bytes()
    (folder / "walk.avi").write_bytes(whole[: len(whole) // 2])
    _, _, err = classify(folder, "--csv", file, "--out", out)
    (row,) = table(file).values()
    assert (row["verdict"], "ends early" in row["problem"], "ends early" in err) == ("bear", True, True)
    classify(folder, "--csv", file, "--out", out, "--force")
    assert table(file) == {"walk.avi": row}


def test_counts_go_by_camera_day_and_label(tmp_path, classify, field):
    _, _, err = classify(field, "--csv", tmp_path / "bears.csv")
    counts = [line.split("  ") for line in err.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in counts]
    assert ["camera", "day", "label", "files", "highest score"] in cells
    assert [row[:4] for row in cells if row[0] == "Reconyx HF2X H2X1"] == [
        ["Reconyx HF2X H2X1", "2024-05-01", "brown bear", "1"]
    ]
    assert ["siteA", "no time", "could not be read", "1"] in cells
    assert "bear in 2 of 3 pictures and 1 clip; 1 could not be read" in err


def test_counts_are_kept_apart():
    def row(camera, time, label, score, verdict, problem=""):
        return Row("x", time, camera, label, score, None, verdict, None, problem)

    survey = Survey(
        [
            row("a", "2024-05-01T23:59:59", "brown_bear", 0.8, "bear"),
            row("a", "2024-05-01T00:00:00", "brown_bear", 0.9, "bear"),
            row("a", "2024-05-02T00:00:00", "brown_bear", 0.5, "maybe"),
            row("b", "2024-05-01T12:00:00", "no_bear", 0.1, "none"),
        ]
    )
    assert [line.split() for line in survey.lines()[1:]] == [
        ["a", "2024-05-01", "brown", "bear", "2", "0.900"],
        ["a", "2024-05-02", "maybe", "brown", "bear", "1", "0.500"],
        ["b", "2024-05-01", "no", "bear", "1", "0.100"],
    ]
    assert survey.verdicts == {"bear": 2, "maybe": 1, "none": 1}


def test_a_table_that_is_there_is_refused_before_any_picture_is_looked_at(tmp_path, classify, field):
    file = tmp_path / "bears.csv"
    file.write_text("mine")
    code, printed, err = classify(field, "--csv", file)
    assert (code, printed, file.read_text()) == (2, "", "mine")
    assert "--force" in err
    assert classify(field, "--csv", file, "--force")[0] == 0
    assert len(table(file)) == 5
    code, _, err = classify(field, "--csv", file, "--out", file, "--force")
    assert (code, "same file" in err) == (2, True)


def test_the_table_of_a_run_that_went_on_is_whole(tmp_path, classify, field):
    once, twice, out = tmp_path / "once.csv", tmp_path / "twice.csv", tmp_path / "results.json"
    classify(field, "--csv", once)
    (field / "walk.avi").rename(tmp_path / "walk.avi")
    classify(field, "--out", out)
    (tmp_path / "walk.avi").rename(field / "walk.avi")
    _, printed, _ = classify(field, "--out", out, "--csv", twice, "--jsonl")
    assert [Path(line.split('"')[3]).name for line in printed.splitlines()] == ["walk.avi"]
    assert twice.read_bytes() == once.read_bytes()


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(tmp_path, sign):
    """A spreadsheet would run it (CSV injection)."""
    formula = f"{sign}1+cmd|' /C calc'!A0"
    row = Row(formula, "", formula, "brown_bear", 0.5, (0.0, 0.1, 0.2, 0.3), "maybe", 1.0, formula)
    file = tmp_path / "a.csv"
    file.write_bytes(csv_bytes([row]))
    (found,) = table(file).values()
    assert (found["file"], found["camera"], found["problem"]) == (f"'{formula}",) * 3
    assert (found["score"], found["box"], found["second"]) == ("0.5", "0 0.1 0.2 0.3", "1.0")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_odd_names_come_through(tmp_path, classify):
    folder = card(tmp_path / "card", {'a, "b"\nc.jpg': BEAR_COLOUR, os.fsdecode(b"B\xe4r.jpg"): BEAR_COLOUR})
    assert classify(folder, "--csv", tmp_path / "a.csv")[0] == 0
    assert set(table(tmp_path / "a.csv")) == {'a, "b"\nc.jpg', r"B\udce4r.jpg"}


def test_where_nothing_can_be_read_the_table_says_why(tmp_path, classify):
    folder = card(tmp_path / "card", {"a.jpg": CUT, "b.jpg": CUT})
    code, printed, err = classify(folder, "--csv", tmp_path / "a.csv")
    assert (code, printed) == (2, "")
    assert "none of the 2 files could be read" in err
    assert all("truncated" in row["problem"] for row in table(tmp_path / "a.csv").values())
