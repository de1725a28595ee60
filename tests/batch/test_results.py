"""Results by any program, read image by image, and written as one MegaDetector file, CSV or COCO Camera Traps."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.batch import results
from edge.batch.results import Result, ResultFiles, bear_label, write_coco, write_megadetector
from edge.cli.classify_formats import Formats, check_formats, sources, write_formats
from edge.detect.stills import Row
from edge.errors import OptionError
from tests.helpers.card import CUT, card, classified, clip, picture
from tests.helpers.small_disk import there
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, tiny_card, write_tiny_model
from tests.helpers.uploads import dated, oriented

MAYBE_COLOUR = (20, 150, 153)  # between half the tiny model's threshold and the threshold
COLOURS = {"a/bear.jpg": BEAR_COLOUR, "a/maybe.jpg": MAYBE_COLOUR, "b/none.jpg": NO_BEAR_COLOUR, "b/cut.jpg": CUT}


def result(name: str, **said: Any) -> Result:
    """A bear that nobody has confirmed, but for what is ``said``."""
    row: dict[str, Any] = {
        "time": "",
        "camera": name.rpartition("/")[0] or "yard",
        "label": "brown_bear",
        "score": 0.9,
        "box": (0.1, 0.2, 0.5, 0.5),
    }
    row |= {"verdict": "bear", "second": None, "problem": ""}
    return Result(Row(file=name, **row | {key: said.pop(key) for key in list(said) if key in row}), **said)


def megadetector(file: Path, images: list[dict[str, Any]], **head: Any) -> Path:
    """A file as MegaDetector writes it: the images first."""
    kinds = {"1": "animal", "2": "person", "3": "vehicle"}
    whole = {"images": images, "detection_categories": kinds, "info": {"format_version": "1.5", "detector": "v5a"}}
    file.write_text(json.dumps(whole | head, indent=1))
    return file


def found(conf: float, category: str = "1", *species: Any, **more: Any) -> dict[str, Any]:
    """A detection."""
    classes = {"classifications": [list(each) for each in species]} if species else {}
    return {"category": category, "conf": conf, "bbox": [0.1, 0.2, 0.3, 0.4], **classes, **more}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "m.onnx", tiny_card())


@pytest.fixture
def looked_at(tmp_path: Path, model: Path) -> ResultFiles:
    """A card with a clip, and its results."""
    folder = card(tmp_path / "card", {**COLOURS, "b/toy.jpg": TEDDY_COLOUR})
    clip(folder / "a" / "yard.avi", [NO_BEAR_COLOUR] * 10 + [BEAR_COLOUR] * 10)
    classified("--model", model, folder, "--out", tmp_path / "results.json")
    return ResultFiles([tmp_path / "results.json"])


def written(files: ResultFiles, out: Path) -> dict[str, Any]:
    write_megadetector(out, files(), files.info, files.labels)
    held: dict[str, Any] = json.loads(out.read_bytes())
    return held


def test_results_come_back_as_they_were_written_and_a_run_goes_on_from_them(
    tmp_path: Path, model: Path, looked_at: ResultFiles
) -> None:
    again = tmp_path / "again.json"
    held, before = written(looked_at, again), json.loads((tmp_path / "results.json").read_bytes())
    assert held == before
    assert list(ResultFiles([again])()) == list(looked_at())
    bear = next(each for each in looked_at() if each.row.file == "a/bear.jpg")
    assert (bear.row.verdict, next(iter(bear.classes)), bear.human) == ("bear", "brown_bear", False)
    assert bear.by == before["info"]["detector"]
    assert bear.at.endswith("Z")
    _, _, err = classified("--model", model, tmp_path / "card", "--out", again)
    assert "5 of 6 files are in" in err  # the sixth could not be read and is tried again


def test_no_format_names_a_species_that_is_none(tmp_path: Path, model: Path, looked_at: ResultFiles) -> None:
    write_formats(looked_at, Formats(tmp_path / "o.json", tmp_path / "o.csv", tmp_path / "o.coco.json"))
    classified("--model", model, tmp_path / "card", "--csv", tmp_path / "plain.csv")
    for name in ("results.json", "o.json", "o.csv", "o.coco.json", "plain.csv"):
        assert b"no_bear" not in (tmp_path / name).read_bytes()
    rows = {row["file"]: row for row in csv.DictReader((tmp_path / "o.csv").read_text().splitlines())}
    assert (rows["b/none.jpg"]["label"], rows["b/none.jpg"]["verdict"]) == ("", "none")
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert {each.row.label for each in looked_at()} >= {"no_bear", "teddy_bear"}  # it is known all the same


@pytest.mark.parametrize(
    ("image", "verdict", "label", "score"),
    [
        ({"detections": [found(0.9, "1", ("4", 0.8), ("5", 0.1))]}, "bear", "brown_bear", 0.9),
        ({"detections": [found(0.15, "1", ("4", 0.8))]}, "maybe", "brown_bear", 0.15),
        ({"detections": [found(0.05, "1", ("4", 0.8))]}, "none", "empty", None),
        ({"detections": [found(0.9, "1", ("5", 0.8), ("4", 0.1))]}, "none", "red_fox", None),
        ({"detections": [found(0.9, "1", ("6", 0.8))]}, "bear", "bear", 0.9),
        ({"detections": [found(0.9)]}, "maybe", "animal", 0.9),
        ({"detections": [found(0.9, "2"), found(0.01)]}, "none", "person", None),
        ({"detections": [found(0.9, "2"), found(0.3, "1", ("4", 0.8))]}, "bear", "brown_bear", 0.3),
        ({"detections": [found(0.9, "8")]}, "maybe", "unknown", 0.9),
        ({"detections": [found(0.1)]}, "maybe", "animal", 0.1),
        ({"detections": [found(0.09)]}, "none", "empty", None),
        ({"detections": []}, "none", "empty", None),
        ({"detections": None, "failure": "Failure image access"}, None, "", None),
        ({"failure": "Failure image access"}, None, "", None),
    ],
)
def test_a_bear_in_another_program_s_results_is_what_is_classified_as_one(
    tmp_path: Path, image: dict[str, Any], verdict: str | None, label: str, score: float | None
) -> None:
    names = {"4": "Ursus arctos", "5": "red_fox", "6": "ursidae family"}
    file = megadetector(tmp_path / "md.json", [{"file": "A\\b.jpg"} | image], classification_categories=names)
    (one,) = ResultFiles([file])()
    assert (one.row.file, one.row.camera) == ("A/b.jpg", "A")
    assert (one.row.verdict, one.row.label, one.row.score) == (verdict, label, score)
    assert one.row.problem == ("" if verdict else "Failure image access")
    assert (one.by, one.at, one.human) == ("v5a", "", False)
    assert verdict == "none" or one.classes == ({"brown_bear": 0.8} if label == "brown_bear" else {})


@pytest.mark.parametrize("version", ["1.3", 1.4, "1.6"])
def test_results_of_every_version_are_written_as_the_newest(tmp_path: Path, version: object) -> None:
    """As Timelapse leaves them: fields of its own, any order of categories, a byte order mark."""
    images: list[dict[str, Any]] = [
        {"file": "a.jpg", "datetime": "2024:05:01 22:15:30", "detections": [found(1, "2", ("7", 1))], "note": "x"},
        {"file": "b.mp4", "frame_rate": 10.0, "frames_processed": [0, 10], "detections": [found(0.5, frame_number=10)]},
    ]
    kinds, names = {"0": "human", "1": "fox den", "2": "animal"}, {"7": "brown_bear"}
    megadetector(
        tmp_path / "md.json",
        images,
        detection_categories=kinds,
        classification_categories=names,
        info={"format_version": version, "detector_metadata": {"typical_detection_threshold": 0.6}},
    )
    (tmp_path / "md.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "md.json").read_bytes())
    files = ResultFiles([tmp_path / "md.json"])
    held = written(files, tmp_path / "out.json")
    (first, second) = held["images"]
    assert held["info"]["format_version"] == "1.6"
    assert (first["note"], first["datetime"]) == ("x", "2024:05:01 22:15:30")
    (detection,), (other,) = first["detections"], second["detections"]
    assert (held["detection_categories"][detection["category"]], detection["conf"]) == ("animal", 1.0)
    assert held["classification_categories"][detection["classifications"][0][0]] == "brown_bear"
    assert held["detection_categories"][other["category"]] == "fox den"
    rows = [each.row for each in files()]
    assert [(row.time, row.verdict, row.second) for row in rows] == [("2024-05-01T22:15:30", "bear", None),
                                                                     ("", "none", 1.0)]  # fmt: skip
    assert [each.row for each in ResultFiles([tmp_path / "out.json"])()] == rows


def test_what_a_person_said_comes_back(tmp_path: Path) -> None:
    told = {"human": True, "by": "Ana", "at": "2026-05-01T03:00:00+02:00"}
    said = [
        result("bear.jpg", time="2026-05-01T03:00:00+02:00", classes={"brown_bear": 0.9}, **told),
        result("fox.jpg", verdict="none", label="fox", score=0.0, box=None, **told),
        result("no.jpg", verdict="none", label="", score=0.0, box=None, **told),
        result("person.jpg", verdict="none", label="person", score=0.0, box=None, **told),
        result("clip.mp4", second=3.5, by="m", at="2026-05-01T00:00:00Z", classes={"black_bear": 0.7}),
        result("broken.jpg", verdict=None, label="", score=None, box=None, problem="truncated", by="m"),
    ]
    write_megadetector(tmp_path / "out.json", said, {"format_version": "1.6"})
    back = list(ResultFiles([tmp_path / "out.json"])())
    assert [(each.row, each.by, each.at, each.human) for each in back] == [
        (each.row, each.by, each.at, each.human) for each in said
    ]
    assert [next(iter(each.classes), "") for each in back] == ["brown_bear", "", "", "", "black_bear", ""]
    held = json.loads((tmp_path / "out.json").read_bytes())
    assert held["info"]["detector"] == "m"
    assert held["detection_categories"] == {"1": "animal", "2": "person", "3": "vehicle"}


NAMES = {
    "brown_bear": "brown_bear|Grizzly Bear|Ursus arctos horribilis|kodiak bear|brown bear without cubs",
    "black_bear": "5c7c;mammalia;carnivora;ursidae;ursus;americanus;american black bear|bear, black|Asian black bear|"
    "Bear - American Black|bear_black|moon bear|Helarctos|helarctos malayanus|Tremarctos sp.|Andean bear",
    "polar_bear": "ursus maritimus|polar bear",
    "bear": "5c7c;mammalia;carnivora;ursidae;;;bear family|Bear|bear sp.|bear cub|brown or black bear",
    "": "no_bear|no brown bear|not_a_polar_bear|teddy bear|polar bear plush|black bear tracks|bearded pig|animal|"
    "5c7d;mammalia;carnivora;ursidae;ailuropoda;melanoleuca;giant panda",
}


@pytest.mark.parametrize(("name", "label"), [(name, label) for label in NAMES for name in NAMES[label].split("|")])
def test_names_of_bears_in_other_programs(name: str, label: str) -> None:
    assert bear_label(name) == label


@pytest.mark.parametrize(
    "wrong", [{"conf": float("nan")}, {"bbox": [0.1, 0.2]}, {"bbox": [0, 0, 640, 480]}, {"conf": 93}]
)
def test_numbers_that_are_no_shares_are_a_picture_with_a_problem(tmp_path: Path, wrong: dict[str, Any]) -> None:
    images = [{"file": "A/1.jpg", "detections": [found(0.9) | wrong]}, {"file": "A/2.jpg", "detections": [found(0.9)]}]
    one, other = ResultFiles([megadetector(tmp_path / "md.json", images)])()
    assert (one.row.verdict, one.row.problem.partition("conf")[0], other.row.verdict) == (None, "its ", "maybe")


def test_pictures_say_when_they_were_taken_where_the_results_do_not(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "1.jpg").write_bytes(dated(picture(BEAR_COLOUR), "2024:05:01 22:15:30"))
    images = [{"file": f"A\\{n}.jpg", "detections": []} for n in (1, 2)]
    files = ResultFiles([megadetector(tmp_path / "md.json", images)])
    assert [each.row.time for each in files()] == ["2024-05-01T22:15:30", ""]
    assert written(files, tmp_path / "out.json")["images"][0]["datetime"] == "2024:05:01 22:15:30"


def test_a_file_is_never_in_memory_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PIECE", 1 << 16)
    images = [{"file": f"{n:07}.jpg", "detections": [found(0.9)], "note": "x" * 5000} for n in range(2000)]
    file = megadetector(tmp_path / "md.json", images)
    tracemalloc.start()
    write_megadetector(tmp_path / "out.json", ResultFiles([file])(), {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 3
    assert [each.row.file for each in ResultFiles([tmp_path / "out.json"])()] == [image["file"] for image in images]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "holds something else"),
        ('{"images": [], "info": {}}', "holds something else"),
        ('{"info": {}, "detection_categories": {}, "images": {}}', "holds something else"),
        ('{"info": {}, "detection_categories": {}, "images": [{"file": "a.jpg", "det', "is damaged"),
        ('{"info": {}, "detection_categories": {}, "images": [{"detections": []}]}', "is damaged"),
    ],
)
def test_what_is_no_file_of_results_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(OptionError, match=f"x.json: .*{words}"):
        list(ResultFiles([tmp_path / "x.json"])())
    with pytest.raises(OptionError, match=r"y.json: cannot be read \(No such file"):
        sources([tmp_path / "y.json"])


def test_two_cards_become_one_file_below_their_common_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        info = {"format_version": "1.6", "detector": f"of {name}", "base_folder": str(tmp_path / name), "same": 1}
        megadetector(tmp_path / f"{name}.json", [{"file": "DCIM/1.jpg", "detections": []}], info=info)
    files = ResultFiles([tmp_path / "one.json", tmp_path / "two.json"])
    assert [each.row.file for each in files()] == ["one/DCIM/1.jpg", "two/DCIM/1.jpg"]
    assert files.base == tmp_path
    assert (files.info["detector"], files.info["same"]) == ("of one, of two", 1)
    # Without those folders it is not known which picture is meant.
    for name in ("one", "two"):
        megadetector(tmp_path / f"{name}.json", [{"file": "DCIM/1.jpg", "detections": []}])
    with pytest.raises(OptionError, match=r"DCIM/1.jpg: is in .*one.json and in .*two.json; give each picture once"):
        list(ResultFiles([tmp_path / "one.json", tmp_path / "two.json"])())


def test_one_picture_twice_in_one_file_is_one_sentence(tmp_path: Path) -> None:
    file = megadetector(tmp_path / "md.json", [{"file": "1.jpg", "detections": []}] * 2)
    with pytest.raises(OptionError, match=r"1.jpg: is twice in .*md.json"):
        list(ResultFiles([file])())


def test_coco_camera_traps(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    (folder / "A").mkdir(parents=True)
    wide = cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
    (folder / "A" / "1.jpg").write_bytes(wide)
    (folder / "A" / "2.jpg").write_bytes(oriented(wide, 6))
    (folder / "A" / "clip.mp4").write_bytes(b"")
    given = [
        result("A/1.jpg", time="2026-05-01T03:00:00"),
        result("A/2.jpg", time="2026-05-01T03:00:09", human=True, by="Ana"),
        result("A/3.jpg", time="2026-05-01T03:00:11", verdict="maybe"),
        result("A/clip.mp4"),
        result("root.jpg", verdict="none", label="teddy_bear", image={"file": "root.jpg", "detections": []}),
        result("B/fox.jpg", verdict="none", label="red_fox", score=0.0),
        result("B/empty.jpg", verdict="none", label="empty", score=0.0, box=None),
        result("B/cut.jpg", verdict=None, label="", score=None, box=None, problem="truncated"),
    ]
    assert write_coco(tmp_path / "o.json", iter(given), folder) == 3
    held = json.loads((tmp_path / "o.json").read_bytes())
    images = {image["id"]: image for image in held["images"]}
    names = {each["id"]: each["name"] for each in held["categories"]}
    said = {each["image_id"]: each for each in held["annotations"]}
    assert names[0] == "empty"
    assert {name: names[each["category_id"]] for name, each in said.items()} == {
        "A/1.jpg": "brown_bear",
        "A/2.jpg": "brown_bear",
        "A/3.jpg": "unknown",
        "A/clip.mp4": "brown_bear",
        "B/fox.jpg": "red_fox",
        "B/empty.jpg": "empty",
    }
    assert (said["A/1.jpg"]["bbox"], images["A/1.jpg"]["width"]) == ([8, 12, 40, 30], 80)
    assert (said["A/2.jpg"]["bbox"], images["A/2.jpg"]["width"]) == ([6, 16, 30, 40], 60)  # turned, as it is shown
    assert said["A/clip.mp4"]["bbox_relative"] == [0.1, 0.2, 0.5, 0.5]
    assert [said[name].get("score") for name in ("A/1.jpg", "A/2.jpg")] == [0.9, None]
    assert images["B/cut.jpg"]["corrupt"] is True
    assert (images["A/1.jpg"]["location"], images["root.jpg"]["location"]) == ("A", "yard")
    assert images["A/1.jpg"]["datetime"] == "2026-05-01 03:00:00"
    assert [images[name].get("frame_num") for name in ("A/1.jpg", "A/2.jpg", "A/3.jpg", "A/clip.mp4")] == [
        0, 1, None, None,
    ]  # fmt: skip
    assert (images["A/2.jpg"]["seq_id"], images["A/2.jpg"]["seq_num_frames"]) == ("A/1.jpg", 2)


def test_a_clock_that_stands_still_makes_no_sequence(tmp_path: Path) -> None:
    write_coco(tmp_path / "o.json", (result(f"A/{n}.jpg", time="2020-01-01T00:00:00") for n in range(60)), None)
    assert not any("seq_id" in image for image in json.loads((tmp_path / "o.json").read_bytes())["images"])


def test_the_command_converts_results_and_looks_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.detect.classifier.load", pytest.fail)
    file = megadetector(tmp_path / "md.json", [{"file": "A\\1.jpg", "detections": [found(0.9)]}])
    code, printed, err = classified(file, "--csv", tmp_path / "o.csv", "--country", "SI")
    assert (code, printed) == (0, "")
    assert "maybe animal" in err
    (row,) = csv.DictReader((tmp_path / "o.csv").read_text().splitlines())
    assert (row["file"], row["verdict"], row["species"]) == ("A/1.jpg", "maybe", "")  # any animal is no bear yet


def test_every_format_of_one_file_of_results(
    tmp_path: Path, looked_at: ResultFiles, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "o.csv").write_text("old")
    formats = Formats(tmp_path / "o.json", tmp_path / "o.csv", tmp_path / "o.coco.json")
    with pytest.raises(OptionError, match=r"o.csv: is there already; .*--force"):
        check_formats(formats, [], force=False)
    check_formats(formats, [], force=True)
    caplog.set_level("INFO")
    write_formats(looked_at, formats)
    assert (tmp_path / "o.csv.old").read_text() == "old"
    assert "in 1 file the box is in shares of the picture" in caplog.text  # of the clip
    assert "highest score" in caplog.text
    assert len(json.loads((tmp_path / "o.coco.json").read_bytes())["images"]) == 6


def test_files_that_cannot_be_written_are_named_before_anything_is_read(tmp_path: Path) -> None:
    out, same = tmp_path / "o.json", tmp_path / "." / "o.json"
    out.write_text("{}")
    for formats, inputs, words in (
        (Formats(out, coco=same), [], "--coco .*o.json: is the --out file too; name another"),
        (Formats(out), [same], "--out .*o.json: is one of the files to look at; name another"),
        (Formats(csv=tmp_path / "no" / "o.csv"), [], "there is no folder"),
    ):
        with pytest.raises(OptionError, match=words):
            check_formats(formats, inputs, force=True)
    with pytest.raises(OptionError, match=r"a.json is results and card is not"):
        sources([Path("a.json"), Path("card")])
    assert sources([Path("card")]) is None


def test_a_run_that_ends_early_leaves_the_old_file(tmp_path: Path) -> None:
    def ended() -> Iterator[Result]:
        yield result("1.jpg")
        raise KeyboardInterrupt

    (tmp_path / "o.json").write_text("old")
    for write in (lambda: write_megadetector(tmp_path / "o.json", ended(), {}),
                  lambda: write_coco(tmp_path / "o.json", ended(), None)):  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            write()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"o.json": "old"}


def on_a_small_disk(disk: str) -> list[str]:
    """Return what is said and what is left of each format when the disk is full in the middle."""
    out, said = Path(disk) / "out", []
    out.write_text("old")
    for option in ("--out", "--csv", "--coco"):
        code, _, err = classified(Path(disk).with_name("md.json"), option, out, "--force")
        said.append(f"{code} {err.splitlines()[-1]} {[(file.name, file.read_text()) for file in Path(disk).iterdir()]}")
    return said


@pytest.mark.needs_tool("unshare")
def test_a_full_disk_in_the_middle_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    megadetector(tmp_path / "md.json", [{"file": f"{n:040}.jpg", "detections": [found(0.9)]} for n in range(5_000)])
    words = f"2 bear-alarm: {disk}/out: cannot be written (No space left on device) [('out', 'old')]"
    assert there(on_a_small_disk, disk, 300) == [words] * 3
