"""The benchmark of trail cameras: who judges which frame, how frames are levelled, and what is counted as what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.detect.classifier import Classifier
from edge.detect.stills import look
from edge.errors import CatalogError, ModelError
from edge.pictures import read_picture
from edge.schema import Region, Score
from tests.helpers.benchmark_pool import painted
from tests.helpers.command import bear_alarm
from tests.helpers.trail_world import BEARS, OTHERS, fold_runs, trail_pool
from train.data.catalog import read_catalog
from train.data.pictures import is_bear
from train.data.split import camera
from train.evaluate.clips import Clip, ClipResult, Clips
from train.evaluate.held_out import judges_of
from train.evaluate.text import clips_line, trail_text
from train.evaluate.trail_cameras import (
    Frame,
    beside,
    from_27_px_s,
    level,
    part_of,
    score_frame,
    score_frames,
    supported,
    tags,
    trail_figures,
)
from train.metrics.rates import FalseAlarms


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ``pool`` of pictures and the ``runs`` of three folds."""
    folder = tmp_path_factory.mktemp("trail")
    fold_runs(folder / "runs", trail_pool(folder / "pool"))
    return folder


@pytest.fixture(scope="module")
def frames(world: Path) -> list[Frame]:
    return score_frames(judges_of(world / "runs", read_catalog(world / "pool")))


def test_each_frame_is_judged_once_by_a_model_that_saw_none_of_its_camera(world: Path) -> None:
    catalog = read_catalog(world / "pool")
    judges = judges_of(world / "runs", catalog)
    judged = [one.file for judge in judges for one in judge.pictures]
    assert len(judged) == len(set(judged))
    assert {one.file for one in catalog.pictures if one.of_trail_camera} <= set(judged)
    for number, judge in enumerate(judges, start=1):
        parts = dict(
            line.split(",")[::4] for line in (world / f"runs/fold-{number}/split.csv").read_text().splitlines()[1:]
        )
        trained = {camera(one) for one in catalog.pictures if parts[one.file.name] != "test" and one.of_trail_camera}
        assert not trained & {camera(one) for one in judge.pictures if one.of_trail_camera}


def test_what_is_judged_and_how_it_is_tagged(world: Path, frames: list[Frame]) -> None:
    trail = [one for one in frames if one.part == "trail camera"]
    assert (sum(one.bear for one in trail), sum(not one.bear for one in trail)) == (BEARS, OTHERS)
    assert {Path(one.file).name for one in frames if one.part != "trail camera"} == set()  # the far camera trained
    bears = [one for one in trail if one.bear]
    assert {one.side_px for one in bears} == {140.0}
    assert {one.light for one in trail} == {"colour", "grey"}
    assert {one.night for one in trail if Path(one.file).name in ("trail0.jpg", "trail2.jpg")} == {False, True}
    assert sum(one.dark_animal for one in trail) == len(range(1, OTHERS, 3))
    assert all(len(one.boxes) == 1 for one in bears)
    assert all(min(one.boxes) > max(one.beside, default=0.0) for one in bears)  # red inside the box, green beside it
    assert {one.model.split("@")[0] for one in trail} == {"fold1", "fold2", "fold3"}


def test_a_frame_is_scored_as_classify_does_once_it_is_level(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    classifier = Classifier(world / "runs/fold-1/bear.onnx")
    picture = next(one for one in read_catalog(world / "pool").pictures if one.file.name == "trail-bear0.jpg")
    image = read_picture(picture.file)
    seen = score_frame(classifier, picture)
    assert seen is not None
    assert seen.score == look(classifier, level(image)).bear
    assert seen.alarm is look(classifier, level(image)).alarm
    assert score_frame(classifier, replace(picture, file=world / "gone.jpg")) is None
    assert "gone.jpg" in caplog.text
    assert "skipped " in caplog.text


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(480, 640, (375, 500)), (500, 300, (500, 300)), (90, 60, (90, 60))]
)
def test_frames_are_brought_to_the_same_side_and_never_enlarged(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    noise = painted((90, 120, 60), 3, height, width)
    found = level(noise)
    assert found.shape[:2] == expected
    assert not np.array_equal(found, noise)  # JPEG
    assert np.array_equal(found, level(noise))


def test_windows_that_touch_a_box_are_no_background() -> None:
    def score(box: tuple[float, float, float, float], bear: float) -> Score:
        return Score(Region(box, "scan"), (bear,), bear, "brown_bear", 0.0)

    scores = [score((0, 0, 0.5, 0.5), 0.1), score((0.5, 0, 0.5, 0.5), 0.2), score((0, 0, 1, 1), 0.3)]
    assert list(beside(scores, [(0.1, 0.1, 0.4, 0.4)])) == [0.2]
    assert list(beside(scores, [])) == [0.1, 0.2, 0.3]


def one(score: float, *, bear: bool = False, number: int = 0, **known: object) -> Frame:
    about = {"part": "trail camera", "camera": f"c{number}", "light": "colour", "grey": False, "hidden": ()}
    about |= {"squashed": False, "night": False, "dark_animal": False, "side_px": 100.0 if bear else 0.0}
    about |= {"file": f"{bear}{number}.jpg", "model": "m", "score": score, "threshold": 0.5, "bear": bear}
    return Frame(**about | known)  # type: ignore[arg-type]


def test_figures_against_what_can_be_counted() -> None:
    others = [one(number / 1000, number=number) for number in range(400)]  # up to .399
    bears = [
        one(0.9, bear=True, number=1, light="infrared", grey=True, hidden=("rim",), boxes=(0.7,), box_threshold=0.6),
        one(
            0.397, bear=True, number=2, light="flash", side_px=30.0, boxes=(0.5,), box_threshold=0.6, beside=(0.6, 0.1)
        ),
        one(0.393, bear=True, number=3, squashed=True),
        one(0.1, bear=True, number=4, hidden=("rim", "dark")),
    ]
    found = trail_figures([*others, *bears, one(0.8, bear=True, part="far window", number=9, side_px=50.0)])
    assert list(found.rates) == ["1 %", "2 %"]  # half a percent of 400 are two false alarms
    assert [(at.recall.k, at.false_positives.k) for at in found.rates.values()] == [(2, 4), (3, 8)]
    rows = {row.what: (row.own.k, row.at_rate.k if row.at_rate else None, row.own.n) for row in found.bears}
    assert rows == {
        "all": (1, 2, 4), "colour": (0, 0, 2), "flash at night": (0, 1, 1), "infrared": (1, 1, 1),
        "grey or infrared by the table": (1, 1, 1), "27 to 44 px": (0, 1, 1), "90 to 179 px": (1, 1, 3),
        "hidden by: rim": (1, 1, 2), "hidden by: dark": (0, 0, 1), "hidden by nothing": (0, 1, 2),
        "squashed to 256 × 256": (0, 0, 1), "not squashed": (1, 2, 3),
    }  # fmt: skip
    assert next((row.what, row.own.k, row.own.n) for row in found.at_boxes) == ("all", 1, 2)
    assert found.beside is not None
    assert (found.beside.k, found.beside.n) == (1, 2)
    assert [(row.what, row.own.k) for row in found.far] == [("far camera, windows, 45 px and more", 1)]
    assert found.missed == (("True3.jpg", "colour"), ("True4.jpg", "colour rim dark"))
    assert found.decide[0] == "False399.jpg"
    words = trail_text(found)
    assert "Not given: 0.5 %" in words
    assert "| all | 1 of 4, 25.0 %" in words


def test_no_rate_hangs_on_fewer_than_three_false_alarms() -> None:
    assert supported(0.01, 300)
    assert not supported(0.01, 299)
    few = trail_figures([one(0.1, number=1), one(0.9, bear=True, number=2)])
    assert not few.rates
    assert {row.at_rate for row in few.bears} == {None}


def test_the_frames_that_were_looked_at_have_a_known_light() -> None:
    assert len(tags()) == 53
    assert {light for light, _ in tags().values()} == {"colour", "flash", "grey", "infrared"}
    assert {what for _, hidden in tags().values() for what in hidden} == {
        "rim", "grass", "blur", "haze", "dark", "overexposed", "small",
    }  # fmt: skip
    assert from_27_px_s() == {"railway_far_bear_A.mp4": 2.0}


def test_a_clip_is_timed_from_when_its_bear_is_27_pixels_long() -> None:
    clips = [Clip(Path(name), begins, 20.0, 20.0) for name, begins in (("railway_far_bear_A.mp4", 0.0), ("b.mp4", 4.0))]
    results = (
        ClipResult("railway_far_bear_A.mp4", True, 20.0, (2.5,), 2.5, 0),
        ClipResult("b.mp4", True, 20.0, (5.5,), 1.5, 0),
        ClipResult("c.mp4", True, 20.0, (), None, 0),
        ClipResult("d.mp4", False, 20.0, (1.0,), None, 1),
        ClipResult("e.mp4", False, 20.0, (), None, 0),
    )
    words = clips_line("m", clips, Clips(None, None, FalseAlarms(1, 0.1, None), results))
    assert "2 of 3 clips" in words
    assert "(railway_far_bear_A.mp4 0.5 s, b.mp4 1.5 s, c.mp4 missed)" in words
    assert "1 of 2 (not d.mp4)" in words


def test_evaluate_prints_the_folds_together_and_keeps_every_score(world: Path) -> None:
    ran = bear_alarm("evaluate", "pool", "--model", "runs", "--json", cwd=world)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    again = trail_figures(
        Frame(**row | {name: tuple(row[name]) for name in ("hidden", "boxes", "beside")}) for row in found["frames"]
    )
    assert found["figures"]["rates"]["2 %"]["recall"]["k"] == again.rates["2 %"].recall.k
    assert again.bears[0].own.n == BEARS
    assert f"of {BEARS}," in bear_alarm("evaluate", "pool", "--model", "runs", cwd=world).stdout


def test_a_folder_that_holds_no_folds_is_one_sentence(world: Path, tmp_path: Path) -> None:
    catalog = read_catalog(world / "pool")
    with pytest.raises(ModelError, match="no folder fold-1"):
        judges_of(tmp_path, catalog)
    refused = bear_alarm("evaluate", "pool", "--model", "runs", "--benchmark", cwd=world)
    assert refused.returncode == 2
    assert "--benchmark measures one model file, and runs is a folder" in refused.stderr
    runs = fold_runs(tmp_path / "runs", world / "pool", 2)
    model = (runs / "fold-2/bear.onnx").read_bytes()
    (runs / "fold-2/bear.onnx").unlink()
    with pytest.raises(ModelError, match=r"fold-2/bear\.onnx: no such file"):
        judges_of(runs, catalog)
    (runs / "fold-2/bear.onnx").write_bytes(model)
    (runs / "fold-1/bear.onnx").write_bytes(model)
    with pytest.raises(CatalogError, match="was not exported from the run"):
        judges_of(runs, catalog)


def test_folds_of_two_recipes_are_not_pooled(world: Path, tmp_path: Path) -> None:
    catalog, runs = read_catalog(world / "pool"), fold_runs(tmp_path / "runs", world / "pool", 2)
    for number in (1, 2):
        recipe = {"epochs": 4, "seed": number}
        (runs / f"fold-{number}/settings.json").write_text(json.dumps({"recipe": recipe}))
    assert len(judges_of(runs, catalog)) == 2
    (runs / "fold-2/settings.json").write_text(json.dumps({"recipe": {"epochs": 1, "seed": 2}}))
    wrong = r"fold-2: trained with epochs 1, .*fold-1 with 4; folds must have one recipe"
    with pytest.raises(CatalogError, match=wrong):
        judges_of(runs, catalog)


def test_only_the_standard_pictures_of_trail_cameras_are_judged(pictures: Path) -> None:
    parts = [(part_of(each), is_bear(each.label)) for each in read_catalog(pictures).pictures]
    assert {key: parts.count(key) for key in set(parts) if key[0]} == {
        ("trail camera", True): 53, ("trail camera", False): 717, ("far frame", True): 34, ("far window", True): 34,
    }  # fmt: skip
