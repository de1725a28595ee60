"""Stills: reading them safely and judging them."""

from __future__ import annotations

import csv
import io
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from edge.detect.classifier import BATCH, Classifier
from edge.detect.stills import Row, Survey, camera_folder, find_in, look, write_rows
from edge.errors import PictureError
from edge.pictures import decode_picture, find_pictures, jpeg_is_whole, read_picture
from edge.schema import Region
from tests.helpers.card import CUT, card, classified, clip, picture
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, plain, tiny_card, write_tiny_model
from tests.helpers.uploads import dated, taken_by

COLUMNS = ["file", "time", "camera", "label", "score", "box", "verdict", "second", "problem", "species"]


def scene(height: int = 120, width: int = 160) -> np.ndarray:
    """A picture with texture, so that its JPEG has some length."""
    return np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def with_exif(data: bytes, *, orientation: int, thumbnail: bytes = b"") -> bytes:
    """The JPEG with an EXIF segment: its orientation and, behind it, a thumbnail's bytes."""
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    body = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00" + thumbnail
    return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_noticed(part):
    data = jpeg(scene())
    with pytest.raises(PictureError, match=r"a\.jpg: truncated JPEG"):
        decode_picture(data[: int(len(data) * part)], "a.jpg")


def test_a_thumbnails_end_is_not_the_pictures_end():
    data = with_exif(jpeg(scene()), orientation=1, thumbnail=jpeg(plain(BEAR_COLOUR, 16, 16)))
    assert jpeg_is_whole(data)
    assert not jpeg_is_whole(data[:-200])


def test_progressive_jpegs_and_bytes_behind_the_end_are_fine():
    data = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[
        1
    ].tobytes()
    assert jpeg_is_whole(data)
    assert jpeg_is_whole(data + b"\x00" * 64)
    assert not jpeg_is_whole(data[:-2] + b"\x00" * 64)


def test_a_truncated_png_is_noticed():
    data = cv2.imencode(".png", scene())[1].tobytes()
    with pytest.raises(PictureError, match="truncated PNG"):
        decode_picture(data[:-20], "a.png")


@pytest.mark.parametrize(("data", "why"), [(b"", "empty"), (b"no picture at all", "not a picture")])
def test_what_is_no_picture_is_reported(tmp_path, data, why):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=why):
        read_picture(path)


def test_missing_files_and_folders_are_reported(tmp_path):
    with pytest.raises(PictureError, match="no such picture"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="no such picture or folder"):
        find_pictures([tmp_path / "gone"])
    with pytest.raises(PictureError, match="empty of pictures"):
        find_pictures([tmp_path])


def test_exif_orientation_turns_the_picture():
    wide = plain(NO_BEAR_COLOUR, 40, 80)
    assert decode_picture(with_exif(jpeg(wide), orientation=6), "a").shape == (80, 40, 3)


@pytest.mark.parametrize("kind", ["grey", "sixteen", "alpha"])
def test_every_kind_becomes_bgr_of_eight_bits(kind):
    kinds: dict[str, np.ndarray] = {
        "grey": np.full((20, 30), 100, np.uint8),
        "sixteen": np.full((20, 30, 3), 100 * 257, np.uint16),
        "alpha": np.full((20, 30, 4), (100, 100, 100, 255), np.uint8),
    }
    found = decode_picture(cv2.imencode(".png", kinds[kind])[1].tobytes(), "a.png")
    assert found.dtype == np.uint8
    assert found.shape == (20, 30, 3)
    assert int(found.max()) == int(found.min()) == 100


def test_folders_are_searched_through_without_hidden_files(tmp_path):
    for name in ("b/2.JPG", "a/1.png", "a/._1.png", "a/notes.txt", "clip.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in find_pictures([tmp_path, tmp_path / "a/1.png"])] == ["1.png", "2.JPG"]


@pytest.fixture
def classifier(tmp_path):
    return Classifier(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))


def test_a_bear_picture_alarms_and_a_teddy_does_not(classifier):
    bear = look(classifier, plain(BEAR_COLOUR))
    assert bear.alarm
    assert bear.label == "brown_bear"
    assert sum(bear.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert bear.verdict == "bear"
    teddy = look(classifier, plain(TEDDY_COLOUR))
    assert not teddy.alarm
    assert teddy.label == "teddy_bear"


def test_from_half_the_threshold_on_it_may_be_a_bear_and_which_one_is_reported(classifier):
    image = plain((20, 150, 128))  # a green one with some red in it
    score = look(classifier, image).bear
    assert 0.05 < score < 0.95

    def verdict(threshold):
        still = replace(classifier.card.thresholds["frame"], value=threshold)
        classifier.card = replace(classifier.card, thresholds=classifier.card.thresholds | {"frame": still})
        found = look(classifier, image)
        return found.verdict, found.alarm, found.label

    assert verdict(score) == ("bear", True, "brown_bear")
    assert verdict(score * 1.01) == ("maybe", False, "brown_bear")
    assert verdict(score * 2) == ("maybe", False, "brown_bear")
    assert verdict(score * 2.01) == ("none", False, "no_bear")


def test_scores_come_in_order_whatever_the_batch(classifier):
    image = plain(NO_BEAR_COLOUR, 240, 320)
    image[130:235, 205:315] = BEAR_COLOUR
    regions = [Region((x / 8, y / 8, 0.25, 0.25), "motion") for y in range(7) for x in range(7)]
    assert len(regions) > BATCH
    together = classifier.score(image, regions)
    assert [score.region for score in together] == regions
    alone = [classifier.score(image, [region])[0].bear for region in regions]
    assert [score.bear for score in together] == pytest.approx(alone, abs=1e-6)
    assert classifier.score(image, []) == []


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
    folder = card(
        tmp_path / "card", {"siteA/DCIM/100EK113/2.jpg": TEDDY_COLOUR, "3.jpg": NO_BEAR_COLOUR, "siteA/cut.jpg": CUT}
    )
    data = taken_by(picture(BEAR_COLOUR), "Reconyx", "HF2X", "H2X1", "2024:05:01 22:15:30")
    (folder / "siteA" / "DCIM" / "100EK113" / "1.jpg").write_bytes(data)
    (folder / "DCIM").mkdir()
    (folder / "DCIM" / "1.jpg").write_bytes(data)
    clip(folder / "walk.avi", [NO_BEAR_COLOUR] * 15 + [BEAR_COLOUR] * 10)
    return folder


def test_the_table_has_a_row_for_each_file(tmp_path, classify, field):
    file = tmp_path / "bears.csv"
    code, _, err = classify(field, "--csv", file)
    rows = table(file)
    assert code == 0, err
    assert list(rows) == [
        "3.jpg",
        "DCIM/1.jpg",
        *(f"siteA/DCIM/100EK113/{n}.jpg" for n in (1, 2)),
        "siteA/cut.jpg",
        "walk.avi",
    ]
    bear = rows["siteA/DCIM/100EK113/1.jpg"]
    assert list(bear) == COLUMNS
    assert (bear["time"], bear["camera"]) == ("2024-05-01T22:15:30", "siteA")
    assert rows["DCIM/1.jpg"]["camera"] == "Reconyx HF2X H2X1"  # all of the card is one camera
    assert (bear["label"], bear["verdict"], bear["second"]) == ("brown_bear", "bear", "")
    assert all(0 <= float(side) <= 1 for side in bear["box"].split())
    assert len(bear["box"].split()) == 4
    assert 0.7 <= float(bear["score"]) <= 1
    toy, top, cut, walk = (rows[name] for name in ("siteA/DCIM/100EK113/2.jpg", "3.jpg", "siteA/cut.jpg", "walk.avi"))
    assert (toy["time"], toy["camera"], toy["label"], toy["verdict"]) == ("", "siteA", "teddy_bear", "none")
    assert (top["camera"], walk["camera"]) == ("card", "card")
    assert (walk["verdict"], walk["second"]) == ("bear", "2.0")
    assert (cut["score"], cut["label"], "truncated" in cut["problem"]) == ("", "", True)


@pytest.mark.parametrize(
    ("folder", "camera"),
    [
        ("20417731", "20417731"),  # a serial number
        ("101North", "101North"),
        ("100EK113/A02", "100EK113/A02"),
        ("A02/DCIM/100EK113", "A02"),
        ("A02/100EK113", "A02"),
        ("A02/dcim/100ek113", "A02"),
        ("DCIM/101RECNX", ""),
        ("DCIM/10011223", ""),
    ],
)
def test_camera_is_its_folder_but_for_those_that_cameras_make(folder, camera):
    assert camera_folder(f"{folder}/1.jpg") == camera


def test_a_clip_that_ends_early_counts_and_reports_it(tmp_path, classify):
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
    assert "bear in 3 of 5 files (4 pictures, 1 clip); 1 could not be read" in err


def test_counts_are_kept_apart():
    def row(camera, time, label, score, verdict, problem=""):
        return Row("x", time, camera, label, score, None, verdict, None, problem)

    survey = Survey(
        [
            row("a", "2024-05-01T23:59:59", "brown_bear", 0.8, "bear"),
            row("a", "2024-05-01T00:00:00", "brown_bear", 0.9, "bear"),
            row("a", "2024-05-02T00:00:00", "brown_bear", 0.5, "maybe"),
            row("b", "2024-05-01T12:00:00", "no_bear", 0.1, "none"),
            row("b", "2024-05-01T12:00:00", "animal", None, "maybe"),
        ]
    )
    assert [line.split() for line in survey.lines()[1:]] == [
        ["a", "2024-05-01", "brown", "bear", "2", "0.900"],
        ["a", "2024-05-02", "maybe", "brown", "bear", "1", "0.500"],
        ["b", "2024-05-01", "maybe", "animal", "1"],
        ["b", "2024-05-01", "no", "bear", "1", "0.100"],
    ]
    assert survey.verdicts == {"bear": 2, "maybe": 2, "none": 1}


def test_a_table_that_is_there_is_refused_before_any_picture_is_looked_at(tmp_path, classify, field):
    file = tmp_path / "bears.csv"
    file.write_text("mine")
    code, printed, err = classify(field, "--csv", file)
    assert (code, printed, file.read_text()) == (2, "", "mine")
    assert "--force" in err
    assert classify(field, "--csv", file, "--force")[0] == 0
    assert len(table(file)) == 6
    assert file.with_name("bears.csv.old").read_text() == "mine"
    code, _, err = classify(field, "--csv", file, "--out", file, "--force")
    assert (code, "is the --out file too" in err) == (2, True)


@pytest.mark.parametrize("option", ["--csv", "--out"])
def test_no_input_is_ever_replaced(tmp_path, classify, field, option):
    target = field / "3.jpg"
    before = sorted(field.rglob("*"))
    os.link(target, linked := tmp_path / "linked.csv")
    for named in (target, field / "siteA" / ".." / "3.jpg", linked):
        code, printed, err = classify(field, option, named, "--force")
        assert (code, printed, "one of the files to look at" in err, err.count("\n")) == (2, "", True, 1)
    assert target.read_bytes() == picture(NO_BEAR_COLOUR)
    assert sorted(field.rglob("*")) == before


def test_the_table_of_a_run_that_went_on_is_whole(tmp_path, classify, field):
    once, twice, out = tmp_path / "once.csv", tmp_path / "twice.csv", tmp_path / "results.json"
    classify(field, "--csv", once)
    (field / "walk.avi").rename(tmp_path / "walk.avi")
    classify(field, "--out", out)
    (tmp_path / "walk.avi").rename(field / "walk.avi")
    _, printed, _ = classify(field, "--out", out, "--csv", twice, "--jsonl")
    assert [Path(line.split('"')[3]).name for line in printed.splitlines()] == ["walk.avi"]
    assert twice.read_bytes() == once.read_bytes()


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\u202e=", "\ufeff \u00a0-", "\x01@", "\u2028+"]
)
def test_no_cell_is_a_formula(tmp_path, sign):
    """A spreadsheet would run it (CSV injection)."""
    formula = f"{sign}1+cmd|' /C calc'!A0"
    row = Row(formula, "", formula, "brown_bear", 0.5, (0.0, 0.1, 0.2, 0.3), "maybe", 1.0, formula)
    file = tmp_path / "a.csv"
    with file.open("wb") as opened:
        write_rows(opened, [row])
    (found,) = table(file).values()
    assert (found["file"], found["camera"], found["problem"]) == (f"'{formula}",) * 3
    assert (found["score"], found["box"], found["second"]) == ("0.5", "0 0.1 0.2 0.3", "1.0")


@pytest.mark.parametrize("name", ["a=1.jpg", " a.jpg", "\u202eb.jpg", "1-2.jpg", "\udce4=.jpg"])
def test_what_is_no_formula_stays_as_it_is(name):
    row = Row(name, "", "", "", None, None, None, None, "")
    write_rows(file := io.BytesIO(), [row])
    assert file.getvalue().split(b"\r\n")[1].startswith(name.encode("utf-8", "backslashreplace") + b",")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_odd_names_come_through(tmp_path, classify):
    folder = card(tmp_path / "card", {'a, "b"\nc.jpg': BEAR_COLOUR, os.fsdecode(b"B\xe4r.jpg"): BEAR_COLOUR})
    assert classify(folder, "--csv", tmp_path / "a.csv")[0] == 0
    assert set(table(tmp_path / "a.csv")) == {'a, "b"\nc.jpg', r"B\udce4r.jpg"}


def test_a_run_that_ends_early_leaves_the_rows_so_far_beside_the_table(tmp_path, classify, monkeypatch):
    folder, file = card(tmp_path / "card", {f"{n}.jpg": BEAR_COLOUR for n in range(5)}), tmp_path / "bears.csv"

    def looked_at(classifier, path, fps, stop, regions):
        if path.name == "3.jpg":
            raise TypeError("a mistake in the program")
        return find_in(classifier, path, fps, stop, regions)

    file.write_text("mine")
    monkeypatch.setattr("edge.batch.look.find_in", looked_at)
    code, _, err = classify(folder, "--csv", file, "--force")
    part = file.with_name("bears.csv.part")
    assert (code, file.read_text(), str(part) in err, "a mistake in the program" in err) == (1, "mine", True, True)
    assert list(table(part)) == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "too little memory"),
        (cv2.error("OpenCV: resize\n failed"), "OpenCV: resize failed"),
        (RuntimeException("bad node"), "bad node"),
    ],
)
@pytest.mark.parametrize("name", ["b.jpg", "b.avi"])
def test_a_file_that_a_library_fails_on_is_a_row_of_its_own(tmp_path, classify, monkeypatch, error, words, name):
    folder, file = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "c.jpg": BEAR_COLOUR}), tmp_path / "bears.csv"
    if name == "b.jpg":
        (folder / name).write_bytes(dated(picture(NO_BEAR_COLOUR), "2024:05:01 22:15:30"))
    else:
        clip(folder / name, [NO_BEAR_COLOUR] * 10)

    def looked_at(classifier, image):
        if np.abs(image[0, 0] - np.array(NO_BEAR_COLOUR)).max() < 30:
            raise error
        return look(classifier, image)

    monkeypatch.setattr("edge.detect.stills.look", looked_at)
    code, _, err = classify(folder, "--csv", file)
    rows = table(file)
    assert (code, [row["verdict"] for row in rows.values()]) == (0, ["bear", "", "bear"]), err
    assert (words in rows[name]["problem"], name in rows[name]["problem"], words in err) == (True, True, True)
    assert rows[name]["time"] == ("2024-05-01T22:15:30" if name == "b.jpg" else "")


def test_a_picture_that_the_memory_does_not_hold_is_not_called_damaged(tmp_path, classify, monkeypatch):
    folder, file = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR}), tmp_path / "bears.csv"
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem

    def imdecode(data, flags):
        raise error

    loaded = Classifier(classify.args[1])  # before: it decodes pictures of its own
    monkeypatch.setattr("edge.detect.classifier.load", lambda _: loaded)
    monkeypatch.setattr("edge.pictures.cv2.imdecode", imdecode)
    assert classify(folder, "--csv", file)[0] == 2
    assert "too little memory" in table(file)["a.jpg"]["problem"]


def test_a_mistake_in_the_program_is_no_failure_of_a_file(tmp_path, monkeypatch):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR})

    def mistaken(classifier, image):
        raise TypeError

    monkeypatch.setattr("edge.detect.stills.look", mistaken)
    with pytest.raises(TypeError):
        find_in(Classifier(write_tiny_model(tmp_path / "m.onnx", tiny_card())), folder / "a.jpg", 1.0, Event())


def test_where_nothing_can_be_read_the_table_says_why(tmp_path, classify):
    folder = card(tmp_path / "card", {"a.jpg": CUT, "b.jpg": CUT})
    code, printed, err = classify(folder, "--csv", tmp_path / "a.csv")
    assert (code, printed) == (2, "")
    assert "none of the 2 files could be read" in err
    assert all("truncated" in row["problem"] for row in table(tmp_path / "a.csv").values())
