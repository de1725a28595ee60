"""A run compared: what is fitted, what wins, what export takes from it, and the command's words."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("fastai")

from torch import nn

from edge.errors import OptionError
from tests.command import bear_alarm
from train.data.outsiders import COVERED, of_folder
from train.data.pictures import ALARM_LABELS, LABELS, Picture
from train.learn.network import BearNet, CalibratedNet
from train.learn.recipe import Recipe
from train.learn.run import Run
from train.learn.strangeness import (
    METHODS,
    RESULT,
    USUAL,
    Comparison,
    compare_run,
    page,
    save,
    strangeness,
    text,
    winner_of,
)

SIZE = 32


def put(path: Path, seed: int, *, stripes: bool = False) -> Path:
    """A small picture: green and brown patches, or black and white stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    if stripes:
        image = np.repeat(((np.arange(48) + rng.integers(9)) // rng.integers(2, 5) % 2)[None, :, None] * 255, 48, 0)
        image = np.repeat(image, 3, 2).astype(np.uint8)
    else:
        coarse = rng.integers(0, 60, (6, 6, 3)) + np.array([30, 110, 60])
        image = cv2.resize(coarse.astype(np.uint8), (48, 48), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, list[Picture]], Path]:
    """A run nobody trained: its network, its three parts with thermal pictures in them, and a folder of outsiders."""
    folder = tmp_path_factory.mktemp("ood")
    split: dict[str, list[Picture]] = {}
    for number, part in enumerate(("train", "tune", "test")):
        rows = []
        for n in range(30):
            label, note = ("brown_bear", "") if n % 3 == 0 else ("no_bear", "thermal" if n % 10 == 1 else "deer")
            file = put(folder / f"pictures/{part}{n}.png", 100 * number + n, stripes=note == "thermal")
            rows.append(Picture(file, label, f"source {part}", "", note=note))
        split[part] = rows
    for n in range(12):
        put(folder / f"outsiders/drawings/{n}.png", 900 + n, stripes=True)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 24, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = BearNet(body, nn.Linear(24, 1000), LABELS, ALARM_LABELS)
    (folder / "run").mkdir()
    learner: Any = SimpleNamespace(model=CalibratedNet(net, 1.0, 1.0))
    return Run(folder / "run", learner, Recipe(size=SIZE), {"learner_sha256": "abc"}), split, folder / "outsiders"


def plain(items: Any, words: str) -> Any:
    """No progress bar."""
    return iter(items)


@pytest.fixture(scope="module")
def found(made: tuple[Run, dict[str, list[Picture]], Path]) -> Comparison:
    run, split, outsiders = made
    return compare_run(run, split, of_folder(outsiders), plain)


def test_all_methods_are_compared_and_the_best_against_the_tuning_part_wins(found: Comparison) -> None:
    assert {judged.method for judged in found.methods} == set(METHODS)
    assert found.winner == found.methods[0].method
    assert found.methods[0].tuning == max(judged.tuning for judged in found.methods)
    for judged in found.methods:
        assert {told.kind for told in judged.kinds} == {"drawings", COVERED}
        assert all(told.low <= told.auroc <= told.high for told in judged.kinds)
        assert judged.mean == pytest.approx(np.mean([told.auroc for told in judged.kinds]))
        assert set(judged.passes) == {"clean", "degraded", "bears, clean", "bears, degraded"}


def test_outsiders_are_kept_out_of_the_domain_and_few_ones_are_said(found: Comparison) -> None:
    assert found.pictures["fit"] == found.pictures["tune"] == found.pictures["test"] == 30 - 2  # thermal ones left out
    assert found.left_out == {"thermal": 6}
    assert "Left out, too few pictures: thermal (6)." in text(found)


def test_the_same_run_gives_the_same_figures(
    found: Comparison, made: tuple[Run, dict[str, list[Picture]], Path]
) -> None:
    run, split, outsiders = made
    assert compare_run(run, split, of_folder(outsiders), plain) == found


def test_the_page_and_the_table_name_every_method_and_kind(found: Comparison) -> None:
    for shown in (text(found), page(found)):
        for word in (*METHODS, "drawings", COVERED, "test part"):
            assert word in shown
    assert "http" not in page(found)
    assert "src=" not in page(found)


def test_export_takes_the_winner_of_this_very_network(
    found: Comparison, made: tuple[Run, dict[str, list[Picture]], Path]
) -> None:
    run, split, _ = made
    path = run.folder / RESULT
    path.unlink(missing_ok=True)
    assert winner_of(run) == USUAL
    other = next(name for name in METHODS if name != USUAL)
    for digest, winner in (("abc", other), ("of another training", USUAL)):
        path.write_text(json.dumps(json.loads(found.to_json()) | {"winner": other, "learner_sha256": digest}))
        assert winner_of(run) == winner
    path.unlink()
    name, method = strangeness(run, split, plain)
    assert name == USUAL
    assert method(torch.rand(3, 24), torch.zeros(3)).shape == (3,)
    assert strangeness(run, {"train": split["train"][:3]}, plain)[0] == "energy"  # nothing can be fitted to so few


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"winner": "magic", "learner_sha256": "abc"}'])
def test_a_damaged_result_is_a_sentence(content: str, made: tuple[Run, dict[str, list[Picture]], Path]) -> None:
    run = made[0]
    (run.folder / RESULT).write_text(content)
    with pytest.raises(OptionError, match=r"ood\.json: (damaged|names the method 'magic')"):
        winner_of(run)
    (run.folder / RESULT).unlink()


def test_a_result_is_read_back(found: Comparison, made: tuple[Run, dict[str, list[Picture]], Path]) -> None:
    run = made[0]
    save(found, run.folder / RESULT)
    assert winner_of(run) == found.winner
    (run.folder / RESULT).unlink()


def test_without_outsiders_it_says_what_to_give(made: tuple[Run, dict[str, list[Picture]], Path]) -> None:
    run, split, _ = made
    bears = [row for row in split["test"] if row.label != "no_bear"]  # nothing to cover a lens before
    with pytest.raises(OptionError, match="--outsiders DIR"):
        compare_run(run, {**split, "test": bears}, [], plain)
    with pytest.raises(OptionError, match="its tune part holds no picture of the domain"):
        compare_run(run, {**split, "tune": []}, [], plain)


def test_what_a_user_types_wrongly_is_one_sentence(tmp_path: Path) -> None:
    for words, said in (
        ((tmp_path / "nowhere",), "not a finished training run"),
        ((tmp_path, "--out", "page.pdf"), "must end in .json or .html"),
        ((tmp_path, "--outsiders", tmp_path / "nowhere"), "no such folder"),
    ):
        done = bear_alarm("ood", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not done.stdout
