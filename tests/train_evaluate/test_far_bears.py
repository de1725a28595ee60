"""Benchmarks A and B: what is compared is made alike, drawn alike, and counted by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CatalogError
from edge.pictures import read_picture
from tests.helpers.benchmark_pool import make_pool, write_model
from train.data.catalog import read_catalog
from train.data.pictures import Picture
from train.data.pictures import Picture as Row
from train.evaluate.command import evaluate
from train.evaluate.far_bears import (
    BINS,
    Benchmark,
    Scores,
    benchmark_scores,
    bin_of,
    figures,
    real_views,
    render,
    take,
    views,
)
from train.evaluate.held_out import held_out, known_sources
from train.evaluate.subjects import is_scene, kind_of, sort_out
from train.evaluate.text import benchmark_text


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 30)
        yield


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return list(read_catalog(make_pool(tmp_path_factory.mktemp("pool"))).pictures)


def test_pictures_are_sorted_by_what_they_are_good_for(pool: list[Picture]) -> None:
    found = sort_out(pool)
    assert {p.file.name[:4] for p in found.bears} == {"bear"}
    assert Counter(kind_of(p) for p in found.others) == {"fox": 8, "toy": 1}
    assert [p.file.name for p in found.places] == ["street.jpg"]  # the meadow holds a cow
    assert [p.file.name for p in found.real] == ["far.png"]


@pytest.mark.parametrize(
    ("note", "named", "scene"),
    [
        ("COCO: car", "", True),
        ("camera-trap material", "", True),
        ("fox", "", False),
        ("", "empty", True),
        ("", "dog", False),
    ],
)
def test_scenes_are_no_subjects(note: str, named: str, scene: bool) -> None:
    assert is_scene(Picture(Path("x.jpg"), "no_bear", "s", "", note=note, named=named)) is scene


def test_each_bin_holds_enough_crops_of_its_size(pool: list[Picture]) -> None:
    found = list(views(sort_out(pool), 32, 1.2, seed=1))
    counts = Counter((view.bin, view.bear) for view in found)
    assert set(counts) == {(name, bear) for name in BINS for bear in (True, False)}
    assert min(counts.values()) >= 30
    for view in found:
        low, high = BINS[view.bin]
        assert low <= view.side_px <= high
        assert view.crop.shape == (32, 32, 3)
        assert "far.png" not in view.picture


def test_crops_are_the_same_each_time_and_whatever_else_is_there(pool: list[Picture]) -> None:
    def crops(pictures: list[Picture]) -> dict[tuple[str, str], list[bytes]]:
        found: dict[tuple[str, str], list[bytes]] = {}
        for view in views(sort_out(pictures), 32, 1.2, seed=1):
            found.setdefault((view.picture, view.bin), []).append(view.crop.tobytes())
        return found

    first, again = crops(pool), crops(pool)
    assert first == again
    fewer = crops([picture for picture in pool if picture.file.name not in ("fox0.jpg", "bear0.jpg")])
    for key, some in fewer.items():
        assert some[: len(first[key])] == first[key][: len(some)]


def test_bears_and_others_are_made_far_alike(pool: list[Picture]) -> None:
    bears = [picture for picture in pool if picture.file.name.startswith("bear")]
    foxes = [picture for picture in pool if picture.file.name.startswith("fox")][: len(bears)]
    rest = [picture for picture in pool if picture not in bears and not picture.file.name.startswith("fox")]
    right = list(views(sort_out([*bears, *foxes, *rest]), 32, 1.2, 1))
    swapped = [replace(p, label="no_bear", note="fox") for p in bears]
    swapped += [replace(p, label="brown_bear", note="") for p in foxes]
    wrong = list(views(sort_out([*swapped, *rest]), 32, 1.2, 1))

    def of(some: list, name: str) -> set[bytes]:  # as many subjects on each side, so as many copies
        return {view.crop.tobytes() for view in some if view.picture.endswith(name)}

    assert of(right, "bear1.jpg") & of(wrong, "bear1.jpg")


def test_nothing_is_enlarged(tmp_path: Path, pool: list[Picture]) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), np.full((40, 60, 3), 90, np.uint8))
    small = replace(pool[0], file=tmp_path / "small.png")
    found = list(views(sort_out([small, *pool[6:]]), 32, 1.2, 1))
    assert {view.bin for view in found if view.bear} == {"<27 px", "27-45 px", "45-90 px"}
    assert max(view.side_px for view in found if view.bear) <= 60


def test_the_subject_fills_the_crop_and_the_place_its_rim() -> None:
    red, green = np.full((100, 100, 3), (0, 0, 255), np.uint8), np.full((300, 300, 3), (0, 255, 0), np.uint8)
    crop = render(red, green, 40, 64, 1.5, np.random.default_rng(0)).astype(int)
    assert crop[32, 32, 2] > 200
    assert crop[32, 32, 1] < 60
    assert crop[2, 2, 1] > 200
    assert crop[2, 2, 2] < 60


def test_real_bears_come_from_their_boxes(pool: list[Picture]) -> None:
    found = list(real_views(sort_out(pool).real, 32, 1.0))
    assert [(view.bin, round(view.side_px)) for view in found] == [("27-45 px", 30), ("45-90 px", 60)]
    assert all(view.crop[..., 2].mean() > 180 for view in found)


@pytest.mark.parametrize(
    ("side", "name"), [(1, "<27 px"), (27, "27-45 px"), (45, "45-90 px"), (90, ">90 px"), (500, ">90 px")]
)
def test_bins(side: float, name: str) -> None:
    assert bin_of(side) == name


def test_figures_of_a_model_that_knows_and_one_that_does_not(pool: list[Picture]) -> None:
    def red(crops: np.ndarray) -> np.ndarray:
        return crops[..., 2].mean((1, 2)) / 255 - crops[..., 1].mean((1, 2)) / 510

    knows = figures(benchmark_scores(red, pool, size=32), 0.9)
    blind = figures(benchmark_scores(lambda crops: np.full(len(crops), 0.5), pool, size=32), 0.4)
    for one in knows.bins:
        assert one.own is not None
        assert one.auc is not None
        assert (one.own.recall.value, one.auc.value) == (1, 1)
        assert one.own.recall.low < 0.9  # six pictures, however many crops
        assert one.alarm_recall is not None
        assert one.alarm_recall.value < 1
    assert [(box.bin, box.boxes) for box in knows.real if box.boxes] == [("27-45 px", 1), ("45-90 px", 1)]
    for one in blind.bins:
        assert one.own is not None
        assert one.auc is not None
        assert (one.own.recall.value, one.auc.value) == (0, 0.5)
        assert one.alarm_false_positives is not None
        assert one.alarm_false_positives.value == 1
    assert set(knows.kinds) == {"fox", "toy"}
    words = benchmark_text(knows)
    assert "1 of 1" in words
    assert re.search(r"^  fox .* 8$", words, re.MULTILINE)  # pictures, not crops
    assert re.search(r"^  toy .* 1$", words, re.MULTILINE)
    assert "90 px: too few others for 1 % (9 pictures, 300 are needed)" in words
    assert "short of" not in words


def test_false_positives_by_animal_are_counted_where_one_percent_passes() -> None:
    score = np.array([0.99, 0.985, *np.linspace(0.2, 0.6, 198), 0.999, 0.7])
    bear = np.arange(202) >= 200
    kinds = tuple("chimpanzee" if number < 4 else "fox" for number in range(200)) + ("brown_bear",) * 2
    made = Scores(score, bear, np.arange(202), ("27-45 px",) * 202, kinds, np.full(202, 30.0))
    found = figures(Benchmark(made, made.where(np.zeros(202, bool))), card_threshold=0.5)
    assert 0.6 < found.threshold <= 0.985
    assert (found.kinds["chimpanzee"]["27-45 px"].k, found.kinds["chimpanzee"]["27-45 px"].n) == (2, 4)
    assert found.kinds["fox"]["27-45 px"].k == 0
    assert found.kind_pictures == {"chimpanzee": 4, "fox": 196}
    (one,) = (one for one in found.bins if one.bin == "27-45 px")
    assert one.alarm_false_positives is not None
    assert one.alarm_false_positives.k > 40


def test_bins_that_few_reach_are_filled_and_others_stay_as_they_are(tmp_path: Path, pool: list[Picture]) -> None:
    small = []
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"bear{number}.jpg"), read_picture(pool[number].file)[:40, :60])
        small.append(replace(pool[number], file=tmp_path / f"bear{number}.jpg"))
    mixed = [*small, *pool[4:]]  # two of six bears reach 90 px

    def crops(pictures: list[Picture]) -> dict[tuple[str, str], list[bytes]]:
        found: dict[tuple[str, str], list[bytes]] = {}
        for view in views(sort_out(pictures), 32, 1.2, seed=1):
            found.setdefault((Path(view.picture).name, view.bin), []).append(view.crop.tobytes())
        return found

    full, filled = crops(pool), crops(mixed)
    assert {name: len(filled.get((f"bear{number}.jpg", name), [])) for number in (0,) for name in BINS} == {
        "<27 px": 5,
        "27-45 px": 5,
        "45-90 px": 5,
        ">90 px": 0,
    }
    for bear in ("bear4.jpg", "bear5.jpg"):
        for name in BINS:
            assert filled[bear, name][:5] == full[bear, name]
        assert len(filled[bear, ">90 px"]) == 15
        assert len(set(filled[bear, ">90 px"])) == 15


def test_bins_that_none_reaches_fall_short_and_are_named(tmp_path: Path, pool: list[Picture]) -> None:
    small = []
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"bear{number}.jpg"), read_picture(pool[number].file)[:40, :60])
        small.append(replace(pool[number], file=tmp_path / f"bear{number}.jpg"))
    found = benchmark_scores(lambda crops: crops[..., 2].mean((1, 2)) / 255, [*small, *pool[6:]], size=32)
    reported = figures(found, 0.5)
    assert reported.doubts[0] == ">90 px: 0 crops of 0 pictures of bears, short of 30"
    assert "Note: >90 px: 0 crops of 0 pictures of bears, short of 30." in benchmark_text(reported)


@pytest.mark.slow
def test_evaluate_prints_it(tmp_path: Path, pool: list[Picture], capsys: pytest.CaptureFixture[str]) -> None:
    model, folder = str(write_model(tmp_path / "m.onnx")), pool[0].file.parent
    evaluate(folder, model=model, benchmark=True)
    assert "Benchmark B: real trail-camera bears" in capsys.readouterr().out
    evaluate(folder, model=model, benchmark=True, as_json=True)
    found = json.loads(capsys.readouterr().out)["benchmark"]
    assert [one["bin"] for one in found["bins"]] == list(BINS)
    assert found["bins"][2]["own"]["recall"]["value"] == 1


def test_evaluate_warns_where_the_model_knows_the_sources(
    tmp_path: Path, pool: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, reported = pool[0].file.parent, []
    for source in ("elsewhere", "web"):
        model = str(write_model(tmp_path / f"{source}.onnx", source=source))
        evaluate(folder, model=model, benchmark=True, as_json=True)
        reported.append(" ".join(json.loads(capsys.readouterr().out)["benchmark"]["doubts"]))
    assert "may flatter" not in reported[0]
    assert "was trained or tuned on pictures of web: these figures may flatter it" in reported[1]


def test_pictures_that_allow_no_benchmark_are_one_sentence(pool: list[Picture]) -> None:
    with pytest.raises(CatalogError, match="no other animals that fill the frame"):
        sort_out(pool[:6])
    with pytest.raises(CatalogError, match="no bears that fill the frame"):
        sort_out(pool[6:])


def test_sources_a_card_names_are_left_out(
    tmp_path: Path, pool: list[Picture], caplog: pytest.LogCaptureFixture
) -> None:
    from edge.detect.classifier import Classifier

    web = Classifier(write_model(tmp_path / "m.onnx", source="web")).card
    left: list[Row] = held_out(pool, [web])
    assert {picture.source for picture in left} == {"coco", "trail"}
    assert "skipped 15 pictures of 1 sources" in caplog.text
    assert known_sources(web) == {"web", "field"}  # its thresholds were fitted on the second
    assert held_out([replace(picture, source="field") for picture in pool[:1]] + pool[-1:], [web]) == pool[-1:]
    with pytest.raises(CatalogError, match="every source here was used"):
        held_out([picture for picture in pool if picture.source == "web"], [web])


def test_the_benchmark_does_not_use_the_training_augmentation() -> None:
    code = (
        "import sys, train.evaluate.far_bears; sys.exit(bool({'train.learn.augmentation', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("box", [(0.0, 0.9997, 0.1, 0.0003), (0.9999, 0.0, 0.0001, 0.5)])
def test_a_box_thinner_than_a_pixel_at_the_rim_has_a_pixel(box: tuple[float, float, float, float]) -> None:
    assert min(take(np.zeros((720, 1280, 3), np.uint8), box).shape[:2]) == 1
