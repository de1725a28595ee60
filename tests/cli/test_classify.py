"""``classify``: what it prints, the results it writes and resumes from, and how it is stopped."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from edge.batch.camtrap_dp import About
from edge.cli import classify as command
from edge.cli.camtrap_options import Camtrap
from edge.cli.classify_formats import Formats, check_names
from edge.detect.stills import FileResult, Results, row_of
from edge.errors import OptionError
from tests.helpers.card import CUT, card, classified, clip, picture, results_of
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, tiny_card, write_tiny_model
from tests.helpers.uploads import dated

PICTURES = 120  # to be looked at when Ctrl-C comes
MAYBE_COLOUR = (20, 150, 153)  # between half the tiny model's threshold and the threshold
DOUBTFUL_COLOUR = (20, 152, 150)  # there too, but "no bear" is the likeliest label


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / "m.onnx", tiny_card())


@pytest.fixture
def classify(model):
    """``bear-alarm classify WORDS``: exit code, standard output, standard error."""
    return partial(classified, "--model", model)


def test_rows_read_forward_under_a_heading(tmp_path, classify):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": MAYBE_COLOUR, "c.jpg": TEDDY_COLOUR})
    code, out, err = classify(folder)
    heading, *rows = (line.split() for line in out.splitlines())
    assert (code, heading[0], heading[-2:]) == (0, "file", ["score", "result"])
    assert [(Path(row[0]).name, " ".join(row[1:-2]), row[-1]) for row in rows] == [
        ("a.jpg", "brown bear", "BEAR"),
        ("b.jpg", "brown bear", "maybe"),
        ("c.jpg", "teddy bear", "-"),
    ]
    assert 0.35 <= float(rows[1][-2]) < 0.7 <= float(rows[0][-2])
    assert "0.700" in err
    assert "0.350" in err
    assert "bear in 1 of 3 pictures; maybe in 1" in err


def test_what_was_not_found_may_still_be_there(tmp_path, classify):
    _, _, err = classify(card(tmp_path / "card", {"a.jpg": NO_BEAR_COLOUR, "b.jpg": TEDDY_COLOUR}))
    last = err.splitlines()[-1]
    assert "no bear found in 2 pictures" in last
    assert "shorter than a tenth of the picture" in last
    assert "0 of 2" not in err


def test_json_lines_and_megadetector_results(tmp_path, classify, model):
    folder = card(tmp_path / "card", {"100EK113/bear.jpg": BEAR_COLOUR, "none.jpg": NO_BEAR_COLOUR, "cut.jpg": CUT})
    out = tmp_path / "results.json"
    code, printed, err = classify(folder, "--out", out, "--jsonl")
    lines = {Path(line["file"]).name: line for line in map(json.loads, printed.splitlines())}
    assert (code, set(lines)) == (0, {"bear.jpg", "none.jpg"})
    keys = {"file", "label", "bear", "alarm", "ood", "box_xywh", "probabilities", "ms"}
    assert set(lines["none.jpg"]) == keys | {"verdict", "time", "camera", "second"}
    assert (lines["bear.jpg"]["label"], lines["bear.jpg"]["verdict"]) == ("brown_bear", "bear")
    assert (lines["none.jpg"]["label"], lines["none.jpg"]["alarm"]) == ("no_bear", False)
    assert "cut.jpg: truncated JPEG" in err
    held = json.loads(out.read_text())
    assert held["info"]["format_version"] == "1.6"
    images = results_of(out)
    assert images["cut.jpg"]["detections"] is None
    assert "truncated" in images["cut.jpg"]["failure"]
    (detection,) = images["100EK113/bear.jpg"]["detections"]
    assert isinstance(detection["conf"], float)
    left, top, width, height = detection["bbox"]
    assert 0 <= left < left + width <= 1
    assert 0 <= top < top + height <= 1
    assert held["classification_categories"][detection["classifications"][0][0]] == "brown_bear"
    assert images["none.jpg"]["detections"] == []


def test_a_detection_is_an_animal_and_a_species_of_bear(tmp_path, classify):
    colours = {
        "bear.jpg": BEAR_COLOUR,
        "doubt.jpg": DOUBTFUL_COLOUR,
        "none.jpg": NO_BEAR_COLOUR,
        "toy.jpg": TEDDY_COLOUR,
    }
    out = tmp_path / "results.json"
    classify(card(tmp_path / "card", colours), "--out", out)
    held, images = json.loads(out.read_text()), results_of(out)
    assert held["detection_categories"] == {"1": "animal", "2": "person", "3": "vehicle"}
    assert set(held["classification_categories"].values()) == {"brown_bear", "black_bear", "polar_bear"}
    (bear,), (doubt,) = images["bear.jpg"]["detections"], images["doubt.jpg"]["detections"]
    assert (bear["category"], doubt["category"]) == ("1", "1")
    limits = held["info"]["detector_metadata"]
    assert limits["conservative_detection_threshold"] <= doubt["conf"] < limits["typical_detection_threshold"]
    assert doubt["classifications"] == [["0", doubt["conf"]]]  # though "no bear" is more likely than any one bear
    assert [images[name]["detections"] for name in ("none.jpg", "toy.jpg")] == [[], []]


def test_the_time_of_the_exif_is_in_the_results(tmp_path, classify):
    folder, out = card(tmp_path / "card", {"plain.jpg": BEAR_COLOUR}), tmp_path / "results.json"
    (folder / "dated.jpg").write_bytes(dated(picture(BEAR_COLOUR), "2024:05:01 22:15:30", zone="+02:00"))
    (folder / "cut.jpg").write_bytes(dated(picture(BEAR_COLOUR), "2024:05:02 03:00:00")[:-200])
    _, printed, _ = classify(folder, "--out", out, "--jsonl")
    assert {name: image.get("datetime") for name, image in results_of(out).items()} == {
        "plain.jpg": None,
        "dated.jpg": "2024:05:01 22:15:30",
        "cut.jpg": "2024:05:02 03:00:00",
    }
    assert {line["time"] for line in map(json.loads, printed.splitlines())} == {None, "2024-05-01T22:15:30"}


def test_the_species_is_the_same_on_the_screen_from_the_results_and_in_a_package(tmp_path, classify):
    """Of a burst of bears, each by itself more likely none, and more likely brown than black by a little."""
    folder, out = tmp_path / "card", tmp_path / "results.json"
    (folder / "A").mkdir(parents=True)
    for second in range(5):
        taken = dated(picture((0, 9, 8)), f"2024:05:01 22:15:3{second}")
        (folder / "A" / f"{second}.jpg").write_bytes(taken)
    about = (*package_words(tmp_path), "--country", "SI")
    again = ("--csv", tmp_path / "o.csv", "--country", "SI", "--force")
    for words in ((folder, "--out", out, *again, *about), (folder, "--out", out, *again), (out, *again),
                  (tmp_path / "dp" / "datapackage.json", *again)):  # fmt: skip
        code, _, err = classified(*words) if words[0] != folder else classify(*words)
        assert code == 0, err
        with (tmp_path / "o.csv").open(newline="") as file:
            assert {(row["verdict"], row["species"]) for row in csv.DictReader(file)} == {("bear", "bear")}, words
    assert b"Ursus" not in (tmp_path / "dp" / "observations.csv").read_bytes()


def package_words(place, deployment="A"):
    (place / "d.csv").write_text(f"deploymentID,latitude,longitude\n{deployment},46.1,14.2\n")
    return ("--camtrap-dp", place / "dp", "--deployments", place / "d.csv", "--timezone", "+01:00",
            "--contributor", "Ana <ana@example.org>")  # fmt: skip


def test_without_out_the_results_are_kept_until_the_formats_are_written(tmp_path, classify):
    folder, kept = card(tmp_path / "card", {"A/1.jpg": BEAR_COLOUR}), tmp_path / ".dp.classify-results.json"
    mine = tmp_path / "dp.results.json"
    mine.write_text("mine")
    words = (folder / "A", *package_words(tmp_path))  # the card of one camera
    code, _, err = classify(*words)
    assert (code, "the results are kept: the same command goes on" in err) == (2, True)  # no picture has a time
    (folder / "A" / "2.jpg").write_bytes(dated(picture(BEAR_COLOUR), "2024:05:01 22:15:30"))
    code, printed, err = classify(*words, "--jsonl")
    assert (code, [Path(json.loads(line)["file"]).name for line in printed.splitlines()]) == (0, ["2.jpg"]), err
    assert (kept.exists(), mine.read_text(), (tmp_path / "dp" / "datapackage.json").is_file()) == (False, "mine", True)


def test_what_cannot_work_or_does_nothing_is_refused_before_a_picture_is_looked_at(tmp_path, classify, monkeypatch):
    monkeypatch.setattr("edge.detect.classifier.load", pytest.fail)
    folder = card(tmp_path / "card", {"A/1.jpg": BEAR_COLOUR})
    (folder / "datapackage.json").write_text("{}")
    card(tmp_path / "north", {"A/1.jpg": BEAR_COLOUR})
    results = tmp_path / "r.json"
    results.write_text('{"info": {}, "detection_categories": {}, "images": []}')
    nowhere = "deployment B has no files, and the folder A is in no deployment"
    for words, said in (
        (
            (tmp_path / "north", *package_words(tmp_path, "B")),
            nowhere,
        ),
        ((folder, "--csv", tmp_path / "o.csv"), f"did you mean {folder / 'datapackage.json'}?"),
        ((folder / "A", "--retry-failed"), "--retry-failed is for --shards"),
        ((folder / "A", "--engine", "none"), "--engine runs --shards"),
    ):
        code, printed, err = classify(*words)
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert said in err
    monkeypatch.undo()
    code, _, err = classify(tmp_path / "north", "--shards", tmp_path / "w", *package_words(tmp_path, "B"))
    assert (code, nowhere in err, (tmp_path / "w" / "00001.json").exists()) == (2, True, False)
    site = Camtrap(tmp_path / "dp", [], About([{"title": "Ana"}]), one_place=True)
    with pytest.raises(OptionError, match=r"several folders \(A, B\), .* give --deployments"):
        check_names(Formats(camtrap_dp=site), ["A/DCIM/1.jpg", "B/DCIM/1.jpg"])
    code, _, err = classified(results, "--csv", tmp_path / "o.csv", "--fps", "2")
    assert (code, "--fps: " in err) == (2, True)


def test_clips_are_looked_into_at_one_frame_a_second(tmp_path, classify):
    folder, out = card(tmp_path / "card", {"a.jpg": NO_BEAR_COLOUR}), tmp_path / "results.json"
    clip(folder / "yard.avi", [NO_BEAR_COLOUR] * 25 + [BEAR_COLOUR] * 10 + [NO_BEAR_COLOUR] * 55)
    (folder / "broken.mp4").write_bytes(b"no clip")
    code, printed, err = classify(folder, "--out", out)
    images = results_of(out)
    yard = images["yard.avi"]
    assert (code, yard["frame_rate"]) == (0, 10.0)
    assert yard["frames_processed"] == list(range(0, 90, 10))
    (detection,) = yard["detections"]
    assert detection["frame_number"] == 30
    assert (images["broken.mp4"]["detections"], images["broken.mp4"]["frame_rate"]) == (None, -1)
    assert "broken.mp4" in err
    assert "bear in 1 of 2 files (1 picture, 1 clip)" in err
    assert re.search(r"yard\.avi .* BEAR at 3 s", printed)
    classify(folder / "yard.avi", "--out", tmp_path / "fine.json", "--fps", "5")
    (finer,) = results_of(tmp_path / "fine.json").values()
    assert len(finer["frames_processed"]) == 45
    assert classify(folder, "--fps", "0")[0] == 2


def test_it_goes_on_where_it_stopped(tmp_path, classify):
    folder = card(tmp_path / "card", {"bear.jpg": BEAR_COLOUR, "none.jpg": NO_BEAR_COLOUR, "cut.jpg": CUT})
    out = tmp_path / "results.json"
    classify(folder, "--out", out)
    first = results_of(out)
    code, printed, err = classify(folder, "--out", out)
    assert (code, printed) == (0, "")
    assert "cut.jpg: truncated JPEG" in err
    assert "bear in 1 of 2 pictures; 1 could not be read" in err
    assert results_of(out) == first
    (folder / "cut.jpg").write_bytes(picture(BEAR_COLOUR))
    _, printed, _ = classify(folder, "--out", out, "--jsonl", "--force")
    assert [Path(json.loads(line)["file"]).name for line in printed.splitlines()] == ["cut.jpg"]
    assert len(results_of(out)) == 3
    _, printed, _ = classify(folder, "--out", out, "--jsonl", "--no-resume")
    assert len(printed.splitlines()) == 3
    assert out.with_name("results.json.old").exists()


def test_clips_are_looked_at_again_with_another_fps(tmp_path, classify):
    folder, out = card(tmp_path / "card", {"a.jpg": NO_BEAR_COLOUR}), tmp_path / "results.json"
    clip(folder / "yard.avi", [NO_BEAR_COLOUR] * 20)
    looked_at = {"1": 2, "5": 10}
    for fps, again in (("5", ["a.jpg", "yard.avi"]), ("5", []), ("1", ["yard.avi"]), ("1", []), ("5", ["yard.avi"])):
        _, printed, _ = classify(folder, "--out", out, "--jsonl", "--fps", fps)
        assert [Path(json.loads(line)["file"]).name for line in printed.splitlines()] == again
        assert len(results_of(out)["yard.avi"]["frames_processed"]) == looked_at[fps]
        assert set(results_of(out)) == {"a.jpg", "yard.avi"}
    kept = results_of(out.with_name("results.json.old"))
    assert len(kept["yard.avi"]["frames_processed"]) == looked_at["1"]


def test_results_of_an_older_version_are_looked_at_again(tmp_path, classify):
    folder, out = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": BEAR_COLOUR}), tmp_path / "results.json"
    classify(folder, "--out", out)
    held = json.loads(out.read_text())
    del held["images"][0]["bear_alarm"]
    out.write_text(json.dumps(held))
    assert [
        Path(json.loads(line)["file"]).name for line in classify(folder, "--out", out, "--jsonl")[1].splitlines()
    ] == [held["images"][0]["file"]]
    assert all("bear_alarm" in image for image in results_of(out).values())


@pytest.mark.parametrize("text", ["my diary", "[]", '{"images": [1], "info": {}}', '{"images": ["file"], "info": {}}'])
def test_results_never_replace_something_else_but_by_force(tmp_path, classify, text):
    folder, out = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR}), tmp_path / "diary.txt"
    out.write_text(text)
    for more in ([], ["--no-resume"]):
        code, _, err = classify(folder, "--out", out, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert "something else" in err
        assert "--force" in err
        assert out.read_text() == text
    assert classify(folder, "--out", out, "--force")[0] == 0
    assert set(results_of(out)) == {"a.jpg"}
    assert out.with_name("diary.txt.old").read_text() == text


def test_results_of_another_model_or_folder_are_refused(tmp_path):
    out = tmp_path / "results.json"
    Results(out, tiny_card(), "tiny@1", tmp_path, 1.0).save()
    for model, base, why in (("tiny@2", tmp_path, "model tiny@1"), ("tiny@1", tmp_path / "b", "holds results of")):
        with pytest.raises(OptionError, match=why):
            Results(out, tiny_card(), model, base, 1.0).resume()


def test_a_name_that_is_not_utf_8_does_not_lose_the_results(tmp_path):
    out, name = tmp_path / "results.json", "caf\udce9.jpg"
    results = Results(out, tiny_card(), "tiny@1", None, 1.0)
    for file in (name, "grün.jpg"):
        finding = FileResult(Path(file), failure=f"{file}: damaged")
        results.add(finding, row_of(finding, file))
    results.save()
    assert [image["file"] for image in json.loads(out.read_text("utf-8"))["images"]] == [name, "grün.jpg"]


def test_a_model_and_its_use_are_named_and_no_folder_is_made(tmp_path, classify, model):
    folder, out = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR}), tmp_path / "results.json"
    code, _, err = classify(folder, "--out", out)
    assert (code, out.is_file()) == (0, True)
    assert "licence: CC0. For tests only." in err
    for option in ("--out", "--csv"):
        for place, why in (
            (tmp_path / "new" / "results", "there is no folder"),
            (tmp_path, "is a folder; name a file"),
        ):
            code, _, err = classify(folder, option, place)
            assert (code, why in err, err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("cores", "mb", "threads"), [(4, 425, 1), (4, 950, 2), (4, 4000, 4), (1, 64_000, 1)])
def test_threads_go_by_cores_and_memory(monkeypatch, cores, mb, threads):
    from edge.device.sensors import Memory

    monkeypatch.setattr("edge.background.cores", lambda: cores)
    monkeypatch.setattr("edge.device.sensors.memory", lambda: Memory(mb, mb / 2))
    assert command.threads() == threads


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_shows_how_far_it_got_and_the_same_command_goes_on(tmp_path, model):
    out, table = tmp_path / "results.json", tmp_path / "bears.csv"
    folder = card(tmp_path / "card", {f"{number}.jpg": NO_BEAR_COLOUR for number in range(PICTURES)}, 480, 640)
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs do not
    heeding += "from edge.cli.main import main; main()"
    words = ["classify", folder, "--model", model, "--out", out, "--csv", table, "--jsonl"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", heeding, *words], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.count("\n") == 1
    assert "the same command goes on there" in said
    far = re.match(r"stopped after (\d+) of " + str(PICTURES) + r" ", said)
    assert far, said
    entered = len(results_of(out))
    assert 0 < entered < PICTURES
    assert entered - int(far[1]) in (0, 1)
    assert not table.exists()
    with table.with_name("bears.csv.part").open(newline="") as file:
        assert len(list(csv.DictReader(file))) - int(far[1]) in (0, 1)
    ended = subprocess.run([sys.executable, "-m", "edge", *map(str, words)], env=env, capture_output=True, check=False)
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == PICTURES - entered
    with table.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == PICTURES
    assert "goes on where it was" in command.stopped(1, 2, None, resume=True)
    assert "without --no-resume" in command.stopped(1, 2, out, resume=False)
