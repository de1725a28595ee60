"""Stills: reading them safely, judging them, and the ``classify`` command's results."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.classifier import BATCH, Classifier
from edge.commands.classify import stopped
from edge.crops import MOST_TILES, SMALLEST_TILE_PX, tiles
from edge.errors import OptionError, PictureError
from edge.jpeg import jpeg_is_whole
from edge.megadetector import Results
from edge.pictures import decode_picture, find_pictures, read_picture
from edge.schema import WHOLE, Region
from edge.stills import look
from tests.command import bear_alarm as run
from tests.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, plain, tiny_card, write_tiny_model


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
def test_what_is_no_picture_is_said(tmp_path, data, why):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=why):
        read_picture(path)


def test_missing_files_and_folders_are_said(tmp_path):
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
    assert (bear.label, bear.box_xywh) == ("brown_bear", WHOLE)
    assert sum(bear.probabilities.values()) == pytest.approx(1, abs=1e-4)
    teddy = look(classifier, plain(TEDDY_COLOUR))
    assert not teddy.alarm
    assert teddy.label == "teddy_bear"


def test_a_small_bear_is_found_by_a_tile(classifier):
    image = plain(NO_BEAR_COLOUR, 240, 320)
    image[130:235, 205:315] = BEAR_COLOUR
    found = look(classifier, image)
    assert found.alarm
    left, top, width, height = found.box_xywh
    assert width < 1
    assert left + width > 0.64
    assert top + height > 0.54


@pytest.mark.parametrize("size_wh", [(6, 6000), (6000, 6), (40, 6000), (4000, 3000), (640, 360), (1, 1)])
def test_tiles_are_few_and_not_tiny(size_wh):
    boxes = tiles(size_wh)
    assert len(boxes) <= 2 * MOST_TILES
    assert all(box[2] * size_wh[0] >= SMALLEST_TILE_PX - 1e-6 for box in boxes)
    assert bool(boxes) == (min(size_wh) > 40)


def test_scores_come_in_order_whatever_the_batch(classifier):
    image = plain(NO_BEAR_COLOUR, 240, 320)
    image[130:235, 205:315] = BEAR_COLOUR
    regions = [Region(box, "sweep") for box in tiles((320, 240))]
    assert len(regions) > BATCH
    together = classifier.score(image, regions)
    assert [score.region for score in together] == regions
    alone = [classifier.score(image, [region])[0].bear for region in regions]
    assert [score.bear for score in together] == pytest.approx(alone, abs=1e-6)
    assert classifier.score(image, []) == []


@pytest.fixture
def card_folder(tmp_path):
    """A card as it comes back from the field: two pictures, one of them cut off, in a folder."""
    folder = tmp_path / "card"
    (folder / "100EK113").mkdir(parents=True)
    (folder / "100EK113" / "bear.jpg").write_bytes(jpeg(plain(BEAR_COLOUR)))
    (folder / "none.jpg").write_bytes(jpeg(plain(NO_BEAR_COLOUR)))
    (folder / "cut.jpg").write_bytes(jpeg(scene())[:-300])
    return folder


def test_classify_prints_json_lines_and_writes_megadetector_results(tmp_path, card_folder):
    model, out = write_tiny_model(tmp_path / "m.onnx", tiny_card()), tmp_path / "results.json"
    ran = run("classify", card_folder, "--model", model, "--out", out, "--jsonl")
    assert ran.returncode == 0, ran.stderr
    lines = {
        Path(line["file"]).relative_to(card_folder).as_posix(): line
        for line in map(json.loads, ran.stdout.splitlines())
    }
    assert set(lines) == {"100EK113/bear.jpg", "none.jpg"}
    assert set(lines["none.jpg"]) == {"file", "label", "bear", "alarm", "ood", "box_xywh", "probabilities", "ms"}
    assert (lines["100EK113/bear.jpg"]["label"], lines["100EK113/bear.jpg"]["alarm"]) == ("brown_bear", True)
    assert (lines["none.jpg"]["label"], lines["none.jpg"]["alarm"]) == ("no_bear", False)
    assert "cut.jpg: truncated JPEG" in ran.stderr
    held = json.loads(out.read_text())
    assert held["info"]["format_version"] == "1.6"
    images = {image["file"]: image for image in held["images"]}
    assert images["cut.jpg"]["detections"] is None
    assert "truncated" in images["cut.jpg"]["failure"]
    (detection,) = images["100EK113/bear.jpg"]["detections"]
    assert held["detection_categories"][detection["category"]] == "bear"
    assert isinstance(detection["conf"], float)
    assert detection["bbox"] == [0, 0, 1, 1]
    assert held["classification_categories"][detection["classifications"][0][0]] == "brown_bear"
    assert images["none.jpg"]["detections"] == []


def test_classify_goes_on_where_it_stopped(tmp_path, card_folder):
    model, out = write_tiny_model(tmp_path / "m.onnx", tiny_card()), tmp_path / "results.json"
    run("classify", card_folder, "--model", model, "--out", out)
    same = run("classify", card_folder, "--model", model, "--out", out)
    assert same.returncode == 0, same.stderr
    assert "cut.jpg: truncated JPEG" in same.stderr
    (card_folder / "cut.jpg").write_bytes(jpeg(plain(BEAR_COLOUR)))
    again = run("classify", card_folder, "--model", model, "--out", out, "--jsonl")
    assert [json.loads(line)["file"] for line in again.stdout.splitlines()] == [(card_folder / "cut.jpg").as_posix()]
    assert len(json.loads(out.read_text())["images"]) == 3
    anew = run("classify", card_folder, "--model", model, "--out", out, "--jsonl", "--no-resume")
    assert len(anew.stdout.splitlines()) == 3
    assert out.with_name("results.json.old").exists()


def test_classify_says_which_model_and_from_where_a_bear_counts(tmp_path, card_folder):
    model, out = write_tiny_model(tmp_path / "m.onnx", tiny_card()), tmp_path / "new" / "results.json"
    ran = run("classify", card_folder, "--model", model, "--out", out)
    assert ran.returncode == 0, ran.stderr
    assert "licence: CC0. For tests only." in ran.stderr
    assert "A bear counts from 0.700 on." in ran.stderr
    assert out.is_file()
    ran = run("classify", card_folder, "--model", model, "--out", model / "results.json")
    assert (ran.returncode, "cannot be made" in ran.stderr) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_says_how_far_it_got_and_the_same_command_goes_on(tmp_path):
    model, out, folder = (
        write_tiny_model(tmp_path / "m.onnx", tiny_card()),
        tmp_path / "results.json",
        tmp_path / "card",
    )
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.jpg").write_bytes(jpeg(plain(NO_BEAR_COLOUR, 480, 640)))
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs do not
    heeding += "from edge.commands.main import main; main()"
    command = [sys.executable, "-c", heeding, "classify", folder, "--model", model, "--out", out, "--jsonl"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        words = process.communicate(timeout=60)[1]
    assert process.returncode == 130, words
    said = re.fullmatch(
        r"stopped after (\d+) of 400 pictures, in .*results\.json; the same command goes on there\n", words
    )
    assert said, words
    entered = len(json.loads(out.read_text())["images"])
    assert 0 < entered < 400
    assert entered - int(said[1]) in (0, 1)
    assert "goes on where it was" in stopped(1, 2, None, resume=True)
    assert "without --no-resume" in stopped(1, 2, out, resume=False)


@pytest.mark.parametrize("text", ["my diary", "[]", '{"images": [1], "info": {}}'])
def test_results_never_replace_something_else(tmp_path, card_folder, text):
    model, out = write_tiny_model(tmp_path / "m.onnx", tiny_card()), tmp_path / "diary.txt"
    out.write_text(text)
    for more in ([], ["--no-resume"]):
        ran = run("classify", card_folder, "--model", model, "--out", out, *more)
        assert ran.returncode == 2
        assert ran.stderr.count("\n") == 1
        assert "something else" in ran.stderr
        assert out.read_text() == text


def test_results_of_another_model_or_folder_are_refused(tmp_path):
    out = tmp_path / "results.json"
    Results(out, tiny_card(), "tiny@1", tmp_path).save()
    for model, base, why in (("tiny@2", tmp_path, "model tiny@1"), ("tiny@1", tmp_path / "b", "holds results of")):
        with pytest.raises(OptionError, match=why):
            Results(out, tiny_card(), model, base).resume()


def test_a_name_that_is_not_utf_8_does_not_lose_the_results(tmp_path):
    out, name = tmp_path / "results.json", "caf\udce9.jpg"
    results = Results(out, tiny_card(), "tiny@1", None)
    results.add_failure(name, f"{name}: damaged")
    results.add_failure("grün.jpg", "damaged")
    results.save()
    assert [image["file"] for image in json.loads(out.read_text("utf-8"))["images"]] == [name, "grün.jpg"]
