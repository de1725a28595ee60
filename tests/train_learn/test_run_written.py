"""A run is written whole or not at all: full disks, trainings that are broken off, names that are not UTF-8."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")


from edge.errors import CatalogError, OptionError
from train.data.catalog import read_catalog
from train.data.pictures import LABELS
from train.data.split import Split, split_catalog
from train.learn import run as runs
from train.learn.recipe import Recipe
from train.learn.run import FILES, make_folder, read_run, train_run

NO_ROOM = 4096  # bytes a file may have: enough for the split and the settings, not for a network


class Untrained:
    """In place of a trained fastai Learner of 40 kB; its content names the training it is of."""

    def __init__(self, number: int = 0):
        self.number, self.path = number, Path()
        self.model: Any = SimpleNamespace(labels=LABELS, eval=lambda: None, learner=self, frame_temperature=1.0)

    def export(self, name: Any) -> None:
        """Write itself as fastai does."""
        torch.save([self.number, torch.zeros(10_000)], self.path / name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of a training but the training; its figures are a picture and a table."""
    trainings = iter(range(9))

    def measured(tuned: Any, recipe: Recipe, out: Path) -> dict[str, Any]:
        (out / "top-losses.png").write_bytes(b"a picture")
        return {"temperature": tuned.temperature}

    monkeypatch.setattr(runs, "build", lambda *_, **__: (None, None))
    monkeypatch.setattr(runs, "make_dataloaders", lambda *_, **__: None)
    monkeypatch.setattr(runs, "train_learner", lambda *_: Untrained(next(trainings)))
    monkeypatch.setattr(runs, "measure", measured)
    monkeypatch.setattr(runs, "ask_tune", lambda *_: SimpleNamespace(temperature=1.0, frame_temperature=1.0))
    monkeypatch.setattr(runs, "answering_learner", lambda model, *_: model.learner)
    monkeypatch.setattr(runs, "learning_curve_picture", lambda *_: None)
    monkeypatch.setattr(runs, "load_learner", lambda path: Untrained(torch.load(path)[0]))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Bears and others from five cameras, 20 pictures."""
    for label in ("brown_bear", "no_bear"):
        for camera in range(5):
            for n in range(2):
                file = tmp_path / f"pictures/{label}/camera{camera}/{n}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), np.full((24, 32, 3), 20 * camera + n, np.uint8))
    return tmp_path / "pictures"


def train(path: Path, out: Path, seed: int, **changes: Any) -> Split:
    """A run whose seed chose the parts."""
    catalog = read_catalog(path)
    split = split_catalog(catalog, seed)
    train_run(catalog, split, out, Recipe(**({"pretrained": False, "seed": seed} | changes)))
    return split


def held(folder: Path) -> dict[str, bytes]:
    """Return what a folder holds."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, as a full disk would not."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [NO_ROOM, 0])
def test_a_full_disk_is_a_sentence_and_the_older_run_stays(pictures: Path, tmp_path: Path, size: int) -> None:
    run = tmp_path / "run"
    train(pictures, run, 1)
    before = held(run)
    with no_room(size), pytest.raises(OptionError, match=r"learner\.pkl\.part: cannot be written \(File too large\)"):
        train(pictures, run, 2)
    assert held(run) == before
    assert read_run(run).recipe.seed == 1


@pytest.mark.parametrize(("file", "written"), [("learner.pkl", 0), ("split.csv", 1), ("settings.json", 2)])
def test_whichever_file_finds_no_room_the_older_run_stays(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, written: int
) -> None:
    run = tmp_path / "run"
    train(pictures, run, 1)
    before, sync, synced = held(run), os.fsync, list[int]()

    def full(number: int) -> None:
        if len(synced) == written:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced.append(number)
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OptionError, match=rf"{file}\.part: cannot be written \(No space left on device\); free some space"
    ):
        train(pictures, run, 2)
    assert held(run) == before


def test_a_new_run_that_finds_no_room_leaves_an_empty_folder(pictures: Path, tmp_path: Path) -> None:
    with no_room(NO_ROOM), pytest.raises(OptionError, match="free some space, and train again"):
        train(pictures, tmp_path / "run", 1)
    assert held(tmp_path / "run") == {}


@pytest.mark.parametrize("put", [1, 2])
def test_an_end_between_two_files_is_noticed(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: int
) -> None:
    run = tmp_path / "run"
    train(pictures, run, 1)
    plain, done = Path.replace, list[Path]()

    def ended(file: Path, target: Path) -> Path:
        if target.name in FILES:
            if len(done) == put:
                raise KeyboardInterrupt
            done.append(target)
        return plain(file, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", ended)
        with pytest.raises(KeyboardInterrupt):
            train(pictures, run, 2)
    with pytest.raises(CatalogError, match="two different runs, as after an interrupted training over an older run"):
        read_run(run)
    train(pictures, run, 2)
    assert read_run(run).recipe.seed == 2


def test_figures_that_find_no_room_are_a_sentence_and_the_network_stays(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "learning_curve_picture", full)
    with pytest.raises(OptionError, match=r"the figures cannot be written \(No space left on device\)"):
        train(pictures, tmp_path / "run", 1)
    assert read_run(tmp_path / "run").recipe.seed == 1


def test_names_that_are_not_utf_8_are_kept_and_found_again(pictures: Path, tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    for label in ("brown_bear", "no_bear"):
        try:
            (pictures / label / "camera0").rename(pictures / label / latin)
        except OSError:
            pytest.skip("this file system knows no such names")
    (pictures / "no_bear" / latin / "1.jpg").rename(pictures / "no_bear" / latin / f"{latin}.jpg")
    split = train(pictures, tmp_path / "run", 1)
    run = read_run(tmp_path / "run")
    again = run.split(read_catalog(pictures))
    assert {part: set(rows) for part, rows in again.items()} == {part: set(rows) for part, rows in split.items()}
    assert b"no_bear/caf\xe9/caf\xe9.jpg," in (tmp_path / "run/split.csv").read_bytes()


def test_settings_spell_a_name_that_is_not_utf_8_so_that_every_reader_reads_it(pictures: Path, tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    catalog = read_catalog(pictures)
    renamed = tuple(replace(picture, source=latin, group=f"{latin}é") for picture in catalog.pictures)
    other = replace(catalog, pictures=renamed, called=latin)
    train_run(other, {"train": list(renamed), "tune": [], "test": []}, tmp_path / "run", Recipe(pretrained=False))
    settings = json.loads((tmp_path / "run/settings.json").read_text(encoding="utf-8"))
    assert settings["called"] == latin
    assert settings["parts"]["train"]["sources"] == [latin]


def test_only_the_first_of_several_processes_makes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    make_folder(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("RANK", "0")
    make_folder(tmp_path / "run")
    assert held(tmp_path / "run") == {}
