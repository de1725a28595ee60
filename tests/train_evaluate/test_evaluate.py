"""``evaluate``: figures over stills, crops and clips that can be worked out by hand."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.detect.classifier import Classifier
from edge.errors import CatalogError, OptionError
from edge.schema import Event
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, TEDDY_COLOUR, plain, tiny_card, write_tiny_model
from train.data.catalog import read_catalog
from train.evaluate import clips as watching
from train.evaluate.clips import Clip, Watched, evaluate_clips, judge_clip, read_clips
from train.evaluate.command import choose, evaluate
from train.evaluate.stills import evaluate_stills, size_class
from train.metrics.rates import Rate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def classifier(tmp_path):
    return Classifier(write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))


def counted(rate: Rate | None) -> Rate:
    """A rate that must be there."""
    assert rate is not None
    return rate


def write_table(path: Path, head: str, *rows: str) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.fixture
def pool(tmp_path):
    """Six pictures of two sources: three bears (one far away, one that looks like a teddy), three others."""
    folder = tmp_path / "pool"
    folder.mkdir()
    far = plain(NO_BEAR_COLOUR, 480, 640)
    far[200:230, 300:330] = BEAR_COLOUR
    pictures = {
        "close.png": plain(BEAR_COLOUR),
        "far.png": far,
        "odd.png": plain(TEDDY_COLOUR),
        "toy.png": plain(TEDDY_COLOUR),
        "fox.png": plain(BEAR_COLOUR),
        "wood.png": plain(NO_BEAR_COLOUR),
    }
    for name, image in pictures.items():
        cv2.imwrite(str(folder / name), image)
    write_table(
        folder / "MANIFEST.csv",
        "split,file,label,source_repo,group_id,grey_or_ir,note",
        "test,close.png,brown_bear,web,,0,",
        "test,far.png,bear_any,trail,cam1,0,full frame",
        "train,odd.png,black_bear,web,,1,",
        "test,toy.png,teddy_bear,web,,0,",
        "test,fox.png,no_bear,trail,cam1,1,fox",
        "train,wood.png,no_bear,trail,cam2,0,",
    )
    write_table(folder / "boxes.csv", "file,class,x1,y1,x2,y2", "far.png,bear,0.46875,0.416666667,0.515625,0.479166667")
    return folder


def test_figures_over_stills(classifier, pool):
    found = evaluate_stills(classifier, read_catalog(pool).pictures)
    slices = {(one.by, one.value): one for one in found.slices("still")}
    whole = slices["all", ""]
    assert (counted(whole.recall).k, counted(whole.recall).n) == (1, 3)  # the far bear is lost in the frame scan
    assert (counted(whole.false_positive_rate).k, counted(whole.false_positive_rate).n) == (1, 3)  # the fox
    assert whole.auc is not None
    assert counted(slices["class", "brown_bear"].recall).value == 1
    assert slices["class", "brown_bear"].auc is None
    assert counted(slices["source", "trail"].recall).k == 0
    assert counted(slices["condition", "grey or infrared"].false_positive_rate).k == 1
    assert counted(slices["note", "fox"].false_positive_rate).k == 1
    assert counted(slices["size", "27-45 px"].recall).n == 1
    assert counted(slices["size", "no box"].recall).n == 2


def test_crops_come_from_the_boxes(classifier, pool):
    found = evaluate_stills(classifier, read_catalog(pool).pictures)
    slices = {(one.by, one.value): one for one in found.slices("crop")}
    assert counted(slices["size", "27-45 px"].recall).k == 1  # the crop sees what the still does not
    assert counted(slices["all", ""].recall).k == 2
    shrunk = {(one.by, one.value): one for one in found.slices("shrunk")}
    # The boxed bear is 30 px: it can be shrunk to 20, not grown to 36 or 60; the two without a box to all three.
    assert counted(shrunk["size", "<27 px"].recall).n == 3
    assert counted(shrunk["size", ">=45 px"].recall).n == 2


@pytest.mark.parametrize(("side", "name"), [(26.9, "<27 px"), (27, "27-45 px"), (44.9, "27-45 px"), (45, ">=45 px")])
def test_size_classes(side, name):
    assert size_class(side) == name


def test_unreadable_pictures_are_named_and_left_out(classifier, pool):
    (pool / "wood.png").write_bytes(b"gone")
    found = evaluate_stills(classifier, read_catalog(pool).pictures)
    assert (found.pictures, [Path(name).name for name in found.unreadable]) == (5, ["wood.png"])


def test_options_choose_pictures(pool, tmp_path):
    def names(*arguments):
        return {picture.file.name for picture in choose(pool, *arguments).pictures}

    assert names([], None, None, []) >= {"close.png", "wood.png"}
    assert names(["web"], None, None, []) == {"close.png", "odd.png", "toy.png"}
    assert names([], "train", None, []) == {"odd.png", "wood.png"}
    with (pool / "MANIFEST.csv").open() as opened:
        rows = [(row["file"], row["label"], "", "", "tune") for row in csv.DictReader(opened)]
    split = write_table(tmp_path / "split.csv", "file,label,source,group,split", *(",".join(row) for row in rows))
    assert len(names([], "tune", split, [])) == 6
    for arguments, why in [
        ((["nobody"], None, None, []), "no source is called 'nobody'; sources are trail, web"),
        (([], "exam", None, []), "parts are train, tune, test"),
        (([], None, split, []), "needs --split"),
        (([], None, None, ["dog"]), "--label 'dog' is not NAME=LABEL with a label among"),
        (([], "test", split, []), "no picture is left"),
    ]:
        with pytest.raises((OptionError, CatalogError), match=why):
            choose(pool, *arguments)


def new_bear(at: float) -> Event:
    return Event("bear", "new", "x", 1, "boot", "clip", "2026-01-01T00:00:00Z", media_time_s=at)


def test_an_alarm_answers_for_the_bear_in_view():
    clip = Clip(Path("a.mp4"), 10.0, 20.0, 60.0)
    found = judge_clip(clip, [new_bear(2), new_bear(11.5), new_bear(24), new_bear(40)])
    assert (found.seconds_to_alarm, found.wrong_alarms) == (1.5, 2)
    assert judge_clip(clip, []).seconds_to_alarm is None
    assert judge_clip(Clip(Path("b.mp4"), None, None, 60.0), [new_bear(3)]).wrong_alarms == 1


def test_clips_together_give_seconds_and_a_bound(classifier, monkeypatch):
    clips = [
        Clip(Path("bear.mp4"), 1.0, 5.0, 6.0),
        Clip(Path("late.mp4"), 1.0, 9.0, 9.0),
        Clip(Path("no.mp4"), None, None, 3600),
    ]
    events = {"bear.mp4": [new_bear(1.5)], "late.mp4": [], "no.mp4": []}
    monkeypatch.setattr(watching, "watch_clip", lambda _, file: Watched(events[file.name], 3600.0))
    found = evaluate_clips(classifier, clips)
    assert (counted(found.alarmed).k, counted(found.alarmed).n) == (1, 2)
    assert found.median_seconds_to_alarm == 0.5
    assert (found.quiet.alarms, found.quiet.hours, found.quiet.per_day_upper95) == (0, 1.0, 72.0)


def test_hours_are_those_that_were_read_and_an_unreadable_bear_is_missed(classifier, tmp_path, monkeypatch):
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 50)
    (tmp_path / "wood.mp4").write_bytes(b"no video" * 50)
    table = write_table(tmp_path / "videos.csv", "\ufefffile,bear_from_s,bear_to_s", "bad.mp4,1,5", "wood.mp4")
    found = evaluate_clips(classifier, read_clips(table))
    assert [(one.file, one.seconds_to_alarm, one.unreadable) for one in found.results] == [("bad.mp4", None, True)]
    assert (counted(found.alarmed).k, counted(found.alarmed).n, found.quiet.hours) == (0, 1, 0)
    monkeypatch.setattr(watching, "watch_clip", lambda *_: Watched([], 900.0))
    short = evaluate_clips(classifier, [Clip(Path("no.mp4"), None, None, 3600)])
    assert short.quiet.hours == 0.25


def write_clip(path: Path, *, seconds: int = 6, from_s: float = 2.0) -> None:
    """A film of a wood with a bear-coloured square walking in at ``from_s``."""
    width, height, fps = 320, 240, 10
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (width, height))
    rng = np.random.default_rng(0)
    for index in range(seconds * fps):
        image = np.clip(plain(NO_BEAR_COLOUR, height, width) + rng.normal(0, 2, (height, width, 3)), 0, 255)
        at = index / fps
        if at >= from_s:
            x = int(20 + 40 * (at - from_s))
            image[100:160, x : x + 60] = BEAR_COLOUR
        film.write(image.astype(np.uint8))
    film.release()


@pytest.fixture
def footage(filmed, tmp_path):
    """A copy of it for one test."""
    return shutil.copytree(filmed, tmp_path / "footage")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A folder with a bear clip, a bear-free clip, and their table."""
    folder = tmp_path_factory.mktemp("footage")
    write_clip(folder / "bear.avi")
    write_clip(folder / "wood.avi", from_s=99)
    write_table(
        folder / "videos.csv",
        "file,bear_from_s,bear_to_s,note,duration_s",
        "bear.avi,2,6,a square,6.0",
        "wood.avi,none,none,,6.0",
    )
    return folder


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("gone.avi,none,none", "line 2: clip 'gone.avi' does not exist"),
        ("bear.avi,soon,6", "line 2: could not convert"),
        ("bear.avi,nan,5", "line 2: 'nan' is no time in a clip"),
        ("bear.avi,inf,none", "line 2: 'inf' is no time in a clip"),
        ("bear.avi,1,nan", "line 2: 'nan' is no time in a clip"),
        ("bear.avi,-3,5", "line 2: '-3' is no time in a clip"),
        ("bear.avi,12,5", "line 2: bear_from_s is 12 and bear_to_s 5; from must come before to"),
        ("bear.avi,5,5", "from must come before to"),
        ("bear.avi,none,5", "bear_to_s is 5 without a bear_from_s"),
        ("bear.avi,90,none", "bear_from_s is 90, and the clip ends at 6 seconds"),
        ("bear.avi,none,none\n./bear.avi,2,6", "line 3: clip './bear.avi' is in line 2 too"),
    ],
)
def test_a_table_of_clips_that_cannot_be(footage, row, why):
    table = write_table(footage / "videos.csv", "file,bear_from_s,bear_to_s", row)
    with pytest.raises(CatalogError, match=why):
        read_clips(table)


def test_a_table_of_clips_without_its_columns(footage):
    with pytest.raises(CatalogError, match="column 'bear_to_s' is missing"):
        read_clips(write_table(footage / "videos.csv", "file,bear_from_s", "bear.avi,1"))


def test_the_whole_alarm_over_real_clips(tmp_path, footage, capsys):
    model = str(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    evaluate(footage, model=model, as_json=True)
    clips = json.loads(capsys.readouterr().out)["clips"]
    bear, wood = clips["results"]
    assert 0 <= bear["seconds_to_alarm"] <= 1.5
    assert bear["wrong_alarms"] == wood["wrong_alarms"] == 0
    assert set(clips["without"]) == {"suppression", "halving of strange crops"}
    evaluate(footage, model=model)
    words = capsys.readouterr().out
    assert "3/T" in words
    assert "without the suppression" in words


def test_the_command_prints_figures_for_people_and_machines(tmp_path, pool, capsys):
    model = str(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    evaluate(pool, model=model)
    words = capsys.readouterr().out
    assert "For tests only." in words
    assert "0.333 (1/3)" in words
    evaluate(pool, model=model, as_json=True, source=["web"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["pictures"] == 3
    assert figures["thresholds"] == {"crop": 0.6, "frame": 0.7}
    assert figures["still"][0]["recall"]["n"] == 2


def test_nothing_to_measure_is_one_sentence(tmp_path):
    with pytest.raises(CatalogError, match="no pictures with a label"):
        evaluate(tmp_path)
    with pytest.raises(CatalogError, match="no such folder"):
        evaluate(tmp_path / "gone")


def test_evaluating_needs_no_torch(tmp_path, pool):
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    code = (
        "import sys\nfrom pathlib import Path\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'fastai', 'onnx', 'pandas', 'PIL'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from train.evaluate.command import evaluate\n"
        f"evaluate(Path({str(pool)!r}), model={str(model)!r}, as_json=True)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
