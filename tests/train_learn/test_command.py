"""``bear-alarm train`` as it is typed: mistakes are one sentence, and two processes make one run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")
pytest.importorskip("timm")

from tests.helpers.command import ROOT, bear_alarm
from train.data.catalog import read_catalog
from train.data.split import split_catalog
from train.learn.callbacks import Checkpoint
from train.learn.command import train
from train.learn.examples import PictureCache
from train.learn.hard_negatives import FOLDER, Mined
from train.learn.recipe import Recipe
from train.learn.run import read_run
from train.learn.run_folder import FILE, STATE, StartedTraining
from train.learn.session import Session, mined_words

SMALL = Recipe(backbone="mobilenetv2_035", pretrained=False, size=32, batch=8, per_epoch=32, epochs=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Brown, green and pink noise from five cameras, 45 pictures."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label, colour in {"brown_bear": (40, 70, 120), "no_bear": (60, 160, 60), "teddy_bear": (200, 180, 220)}.items():
        for camera in range(5):
            for n in range(3):
                file = root / label / f"camera{camera}" / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                image = np.clip(np.array(colour) + rng.normal(0, 25, (40, 52, 3)), 0, 255)
                cv2.imwrite(str(file), image.astype(np.uint8))
    return root


@pytest.fixture
def session(pictures: Path, tmp_path: Path) -> Session:
    """Return what the command makes of them."""
    catalog = read_catalog(pictures)
    started = StartedTraining(str(pictures), {}, [], [], None, [], None, False, catalog.digest)
    return Session(catalog, split_catalog(catalog, 7), tmp_path / "run", None, {}, PictureCache(), started)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--image-size", "100"], "--image-size: size is 100 pixels, and must be a multiple of 32; take 96"),
        (["--lr", "nan"], "--lr: lr_head is nan, and must be a number"),
        (["--recipe", "none.json"], "none.json: the recipe cannot be read"),
        (["--seeds", "many"], "Invalid value for '--seeds'"),
    ],
)
def test_a_wrong_switch_is_one_sentence(pictures: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    done = bear_alarm("train", pictures, "--out", tmp_path / "run", *words)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_half_precision_without_a_gpu_is_one_sentence(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = bear_alarm("train", pictures, "--out", tmp_path / "run", "--fp16")
    assert done.returncode == 2
    assert "--fp16 needs a GPU with CUDA" in done.stderr


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"backbone": "efficientnet_b1", "size": 224}, 224),
        ({"backbone": "efficientnet_b1"}, 256),
        ({"recipe": {"backbone": "efficientnet_b1", "size": 160}}, 160),
    ],
)
def test_a_size_that_a_recipe_names_is_taken_even_where_it_is_what_is_built_in(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], size: int
) -> None:
    recipes: list[Recipe] = []
    monkeypatch.setattr(Session, "train", lambda session, recipe, out: recipes.append(recipe))
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    train(pictures, tmp_path / "run", recipe_file=tmp_path / "recipe.json", pretrained=False)
    assert [recipe.size for recipe in recipes] == [size]


@pytest.mark.slow
def test_seeds_are_runs_of_their_own_and_hard_negatives_are_counted(
    session: Session, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [extra, *_] = [row for row in session.split["train"] if row.label == "no_bear"]
    session.more = (extra,)
    session.train_seeds(SMALL, 2)
    assert "2 seeds, on the tuning part:" in capsys.readouterr().err
    for seed in (7, 8):
        settings = json.loads((session.out / f"seed-{seed}" / "settings.json").read_text())
        assert settings["recipe"]["seed"] == seed
        assert [one["file"] for one in settings["hard_negatives"]] == [extra.file.name]
        assert (session.out / f"seed-{seed}" / FOLDER / extra.file.name).is_file()
        assert sum(settings["counts_by_source"].values()) == len(session.split["train"]) + 1
    assert len(json.loads((session.out / "seeds.json").read_text())) == 2


def test_hard_negatives_are_reported_in_words(session: Session) -> None:
    assert "none in 3 pictures and frames; bear takes none of them" in mined_words(Mined((), 3, 0), "bear", session.out)
    row = session.split["train"][0]
    assert mined_words(Mined((row,), 3, 0.95), "bear", session.out).endswith("make sure that none of them is one.")


@pytest.mark.slow
def test_a_training_goes_on_after_a_break_and_ends_the_same(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(asdict(SMALL)))
    words = ["--recipe", recipe, "--epochs", "3"]
    assert bear_alarm("train", pictures, "--out", whole, *words).returncode == 0

    class Break(Checkpoint):
        def after_epoch(self) -> None:
            super().after_epoch()
            if self.epoch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("train.learn.learner.Checkpoint", Break)
        assert bear_alarm("train", pictures, "--out", broken, *words).returncode != 0
    assert {FILE, STATE} <= {file.name for file in broken.iterdir()}
    assert not (broken / "learner.pkl").exists()
    again = bear_alarm("train", pictures, "--out", broken, *words)
    assert (again.returncode, "--resume" in again.stderr) == (2, True)  # it is not started again unasked
    done = bear_alarm("train", "--resume", broken)
    assert done.returncode == 0, done.stderr
    assert "epoch 3/3" in done.stderr
    assert "epoch 2/3" not in done.stderr
    one, other = (read_run(folder).net.state_dict() for folder in (whole, broken))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    losses = [
        [row["valid_loss"] for row in json.loads((folder / "metrics.json").read_text())["history"]]
        for folder in (whole, broken)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 3
    assert not {FILE, STATE} & {file.name for file in broken.iterdir()}


def test_what_cannot_be_gone_on_with_is_one_sentence(pictures: Path, tmp_path: Path) -> None:
    assert "no unfinished training there" in bear_alarm("train", "--resume", tmp_path).stderr
    assert "name a folder of pictures" in bear_alarm("train").stderr
    for more in (
        [str(pictures)],
        ["--epochs", "8"],
        ["--no-pretrained"],
        ["--quick"],
    ):  # none is passed over in silence
        refused = bear_alarm("train", "--resume", tmp_path, *more)
        assert (refused.returncode, "options of the interrupted training" in refused.stderr) == (2, True)
    StartedTraining(str(pictures), asdict(SMALL), [], [], None, [], None, False, "other pictures").write(tmp_path)
    changed = bear_alarm("train", "--resume", tmp_path)
    assert (changed.returncode, "changed since" in changed.stderr) == (2, True)


@pytest.mark.slow
def test_two_processes_make_one_run(pictures: Path, tmp_path: Path) -> None:
    """Through fastai's distributed trainer and gloo, started as torchrun starts them."""
    pytest.importorskip("accelerate")
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"batch": 8}')
    program = tmp_path / "both.py"  # no name of a package
    program.write_text("from edge.cli.main import main\nmain()\n")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    options = ["--backbone", "mobilenetv2_035", "--no-pretrained", "--image-size", "32", "--epochs", "1"]
    words = ["train", str(pictures), "--out", str(tmp_path / "run"), "--recipe", str(recipe), "--per-epoch", "32"]
    done = subprocess.run(
        [*launcher, *words, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Next: bear-alarm export") == 1
    assert done.stderr.count("epoch 1/1") == 1
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["recipe"]["per_epoch"] == 32
    assert {"learner.pkl", "metrics.json", "split.csv"} <= {file.name for file in (tmp_path / "run").iterdir()}
    shutil.rmtree(tmp_path / "run")
