"""A run's folder: what belongs together stays together, and it is only exported with the pictures it was trained on."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("onnxscript")


from edge.errors import CatalogError, OptionError
from export.artefact import export_run, target_files
from train.data.catalog import read_catalog
from train.data.pictures import LABELS, Catalog
from train.data.split import split_catalog
from train.learn import run as runs
from train.learn.examples import PictureCache, skip_broken
from train.learn.recipe import Recipe
from train.learn.run import Run, read_run, train_run
from train.learn.run_folder import run_catalog


class Untrained:
    """In place of a trained fastai Learner; its pickle names the training it is of."""

    def __init__(self, number: int = 0):
        self.number, self.path = number, Path()
        self.model: Any = SimpleNamespace(labels=LABELS, eval=lambda: None, learner=self, frame_temperature=1.0)

    def export(self, name: Any) -> None:
        """Write the pickle where fastai does."""
        (self.path / name).write(pickle.dumps(self.number))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of a training but the training."""
    trainings = iter(range(9))
    monkeypatch.setattr(runs, "build", lambda *_, **__: (None, None))
    monkeypatch.setattr(runs, "make_dataloaders", lambda *_, **__: None)
    monkeypatch.setattr(runs, "train_learner", lambda *_: Untrained(next(trainings)))
    monkeypatch.setattr(runs, "measure", lambda *_: {})
    monkeypatch.setattr(runs, "ask_tune", lambda *_: SimpleNamespace(temperature=1.0, frame_temperature=1.0))
    monkeypatch.setattr(runs, "answering_learner", lambda model, *_: model.learner)
    monkeypatch.setattr(runs, "learning_curve_picture", lambda *_: None)
    monkeypatch.setattr(runs, "load_learner", lambda path: Untrained(pickle.loads(path.read_bytes())))


def put(path: Path, seed: int = 0) -> Path:
    """A small picture at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Bears and others from five cameras, 20 pictures."""
    for camera in range(5):
        for n in range(2):
            put(tmp_path / f"pictures/brown_bear/camera{camera}/{n}.jpg", n)
            put(tmp_path / f"pictures/no_bear/camera{camera}/{n}.jpg", 100 + n)
    return tmp_path / "pictures"


def train(path: Path, out: Path, seed: int = 1) -> Catalog:
    """A run on the pictures in ``path``, as the command makes one; ``seed`` chooses the parts."""
    catalog = read_catalog(path)
    split = split_catalog(catalog, seed)
    catalog, split = skip_broken(catalog, split, PictureCache(), lambda items, words: iter(items))
    train_run(catalog, split, out, Recipe(pretrained=False))
    return catalog


def files(run: Run, given: Path | None = None) -> set[str]:
    """The pictures an export would use, without their folder."""
    catalog = run_catalog(run.settings, given, {})
    parts = run.split(catalog)
    assert all(parts.values())
    return {picture.file.relative_to(catalog.root).as_posix() for part in parts.values() for picture in part}


def names(catalog: Catalog) -> set[str]:
    """The same of a catalogue."""
    return {picture.file.relative_to(catalog.root).as_posix() for picture in catalog.pictures}


def test_changed_pictures_are_refused_until_the_run_is_trained_again(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = train(pictures, run)
    assert files(read_run(run)) == names(before)

    put(pictures / "no_bear/camera0/new.jpg")
    with pytest.raises(CatalogError, match=r"new\.jpg' is not in this run's split; the pictures changed"):
        files(read_run(run))
    after = train(pictures, run)  # --force
    assert files(read_run(run)) == names(after) == names(before) | {"no_bear/camera0/new.jpg"}

    (pictures / "no_bear/camera0/new.jpg").unlink()
    with pytest.raises(CatalogError, match=r"changed since .*run was trained \(it had 21 pictures, 20 of them are"):
        files(read_run(run))
    put(pictures / "no_bear/camera0/new.jpg", 5).write_bytes(b"another size")
    with pytest.raises(CatalogError, match=r"changed since .*run was trained"):
        files(read_run(run))


def test_a_training_that_is_broken_off_leaves_the_older_run_whole(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(pictures, run)
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    put(pictures / "no_bear/camera0/new.jpg")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train_learner", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, run)
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_files_of_two_runs_are_refused(pictures: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(pictures, one)
    train(pictures, two, seed=2)
    for name in ("learner.pkl", "split.csv"):
        whole = (two / name).read_bytes()
        shutil.copy(one / name, two / name)
        with pytest.raises(CatalogError, match=f"{name} and settings.json are of two different runs"):
            read_run(two)
        (two / name).write_bytes(whole)
    shutil.copy(one / "learner.pkl", two / "learner.pkl")
    shutil.copy(one / "split.csv", two / "split.csv")


def test_an_older_runs_reports_do_not_stay_beside_a_new_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(pictures, run)
    (run / "top-losses.png").write_bytes(b"of the older run")

    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runs, "measure", fails)
    with pytest.raises(MemoryError):
        train(pictures, run)
    assert {file.name for file in run.iterdir()} == {"learner.pkl", "settings.json", "split.csv"}
    read_run(run)


def test_moved_pictures_are_found_with_data_whatever_the_folder_is_called(pictures: Path, tmp_path: Path) -> None:
    before = train(pictures, tmp_path / "run")
    moved = pictures.rename(tmp_path / "backup")
    run = read_run(tmp_path / "run")
    with pytest.raises(CatalogError, match="give their folder with --data"):
        files(run)
    assert files(run, moved) == names(before)
    [source] = {picture.source for picture in run_catalog(run.settings, moved, {}).pictures}
    assert source == "pictures"


@pytest.mark.parametrize("give", ["folder", "table"])
def test_a_table_of_any_name_is_found_again(pictures: Path, tmp_path: Path, give: str) -> None:
    rows = []
    for folder, label in (("one", "brown_bear"), ("two", "no_bear")):  # names that only the table explains
        (pictures / label).rename(pictures / folder)
        files_there = sorted((pictures / folder).rglob("*.jpg"))
        rows += [f"{file.relative_to(pictures).as_posix()},{label},{file.parent.name}" for file in files_there]
    table = pictures / "mine.csv"
    table.write_text("\n".join(["file,label,group", *rows]) + "\n")
    before = train(table, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert files(run) == names(before)
    moved = pictures.rename(tmp_path / "backup")
    assert files(run, moved if give == "folder" else moved / "mine.csv") == names(before)


def test_a_broken_picture_may_be_deleted_or_mended_after_the_training(pictures: Path, tmp_path: Path) -> None:
    broken = pictures / "no_bear/camera2/1.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    left = train(pictures, tmp_path / "run")
    assert len(left.pictures) == 19
    run = read_run(tmp_path / "run")
    assert run.settings["left_out"] == ["no_bear/camera2/1.jpg"]
    assert files(run) == names(left)
    broken.write_bytes(whole)
    assert files(run) == names(left)
    broken.unlink()
    assert files(run) == names(left)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"recipe": 3}'])
def test_damaged_settings_are_a_sentence(pictures: Path, tmp_path: Path, text: str) -> None:
    train(pictures, tmp_path / "run")
    (tmp_path / "run/settings.json").write_text(text)
    with pytest.raises(CatalogError, match=r"damaged, (not a run's settings\.json|its recipe cannot be read)"):
        read_run(tmp_path / "run")


def test_a_learner_with_other_labels_is_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pictures, tmp_path / "run")
    other = Untrained()
    other.model = SimpleNamespace(labels=LABELS[::-1], frame_temperature=1.0)
    monkeypatch.setattr(runs, "load_learner", lambda _: other)
    with pytest.raises(CatalogError, match="an older version"):
        read_run(tmp_path / "run")


def test_a_place_for_the_model_that_cannot_be_is_refused_before_the_export(tmp_path: Path) -> None:
    never: Any = None  # nothing of the run is looked at
    for out, words in ((tmp_path, "is a folder; give --out"), (tmp_path / "no/bear.onnx", "there is no folder")):
        with pytest.raises(OptionError, match=words):
            export_run(never, never, out, ["int8", "fp32"], track=never)
    (tmp_path / "new").mkdir()
    assert target_files(tmp_path / "new/bear.onnx", ["int8", "fp32"]) == {
        "int8": tmp_path / "new/bear.onnx",
        "fp32": tmp_path / "new/bear.fp32.onnx",
    }


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_training(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OptionError, match="cannot be written to"):
        train(pictures, tmp_path / "taken")
