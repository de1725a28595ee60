"""Reading the pictures before training: what is broken is found, named and left out; what is kept is what is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import CatalogError
from edge.schema import WHOLE
from train.data.catalog import read_catalog
from train.data.pictures import Catalog
from train.data.split import LEFT_OUT, Split, complete, read_split, split_catalog, write_split
from train.learn.examples import MAX_SHORTER_PX, Example, PictureCache, cut_example, skip_broken


def put(path: Path, seed: int = 0) -> Path:
    """A small picture at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8))
    return path


def truncate(path: Path) -> None:
    """Cut a file off in the middle, as a card pulled out too early does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Bears and others from six cameras, 36 pictures."""
    for camera in range(6):
        for n in range(3):
            put(tmp_path / f"card/brown_bear/camera{camera}/{n}.jpg", n)
            put(tmp_path / f"card/no_bear/camera{camera}/{n}.jpg", 100 + n)
    return tmp_path / "card"


def bar(items: Any, words: str) -> Any:
    """A progress bar that shows nothing."""
    assert words == "reading the pictures"
    return iter(items)


def read(catalog: Catalog, split: Split) -> tuple[Catalog, Split]:
    """The catalogue and the parts that are left after reading."""
    return skip_broken(catalog, split, PictureCache(), bar)


@pytest.mark.parametrize("part", ["train", "tune", "test"])
def test_a_broken_picture_in_any_part_is_left_out_and_named(
    card: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = read_catalog(card)
    split = split_catalog(catalog, 1)
    broken = split[part][0]
    truncate(broken.file)
    caplog.clear()
    left, parts = read(catalog, split)
    assert {name: [row for row in rows if row != broken] for name, rows in split.items()} == parts
    assert set(catalog.pictures) - set(left.pictures) == {broken}
    assert left.left_out == (broken,)
    [line] = [record.getMessage() for record in caplog.records]
    name = broken.file.relative_to(card).as_posix()
    assert f"1 of 36 pictures are damaged or empty ({name})" in line
    assert "training skips them" in line


def test_many_broken_pictures_are_counted_and_refused(card: Path) -> None:
    catalog = read_catalog(card)
    split = split_catalog(catalog, 1)
    for picture in catalog.pictures[::3]:
        truncate(picture.file)
    with pytest.raises(CatalogError, match=r"12 of 36 pictures are damaged or empty \(.+, .+, .+ and 9 more\)"):
        read(catalog, split)


def test_whole_pictures_are_all_kept_without_a_word(card: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalog = read_catalog(card)
    split = split_catalog(catalog, 1)
    caplog.clear()
    assert read(catalog, split) == (catalog, split)
    assert not caplog.records


def test_what_was_skipped_is_in_the_split_and_may_be_mended_or_deleted(card: Path, tmp_path: Path) -> None:
    catalog = read_catalog(card)
    mended, deleted = card / "brown_bear/camera0/0.jpg", card / "no_bear/camera3/1.jpg"
    shutil.copy(mended, tmp_path / "copy.jpg")
    truncate(mended)
    deleted.write_bytes(b"")
    left, split = read(read_catalog(card), split_catalog(catalog, 1))
    write_split(split, left.root, tmp_path / "split.csv", left.left_out)
    assert (tmp_path / "split.csv").read_text().count(LEFT_OUT) == 2

    def known() -> set[Path]:
        again = read_split(read_catalog(card), tmp_path / "split.csv")
        return {picture.file for part in again.values() for picture in part}

    expected = {picture.file for picture in left.pictures}
    assert known() == expected
    shutil.copy(tmp_path / "copy.jpg", mended)
    deleted.unlink()
    assert known() == expected


def test_training_and_tuning_pictures_are_read_once(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = read_catalog(card)
    split, cache = split_catalog(catalog, 1), PictureCache()
    skip_broken(catalog, split, cache, bar)
    monkeypatch.setattr("train.learn.examples.read_picture", lambda file: pytest.fail(f"{file} was read again"))
    for row in (*split["train"], *split["tune"]):
        assert cache(Example(row.file, row.label, WHOLE)).shape == (24, 32, 3)


def test_the_cache_ends_at_its_limit(tmp_path: Path) -> None:
    first, second = (Example(put(tmp_path / f"{n}.png", n), "no_bear", WHOLE) for n in range(2))
    cache = PictureCache(limit=24 * 32 * 3)
    np.testing.assert_array_equal(cache(first), cache(first))
    assert cache(second).shape == (24, 32, 3)
    assert cache.held == 24 * 32 * 3


def test_large_pictures_are_kept_as_large_as_they_are_needed() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), np.uint8)
    assert cut_example(image, WHOLE).shape == (MAX_SHORTER_PX, round(MAX_SHORTER_PX * 4 / 3), 3)
    box = cut_example(image, (0.5, 0.5, 0.1, 0.1))
    assert box.shape == (240, 240, 3)  # 1.5 times the longer side of 160 pixels, pixel by pixel
    assert box.base is None  # the whole picture is freed
    small = image[:200, :300]
    assert cut_example(small, WHOLE) is small


def test_a_part_that_loses_its_only_bears_is_filled_again(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastai")
    from train.learn import command as commands
    from train.learn import session

    for n in range(20):
        put(card / f"no_bear/camera6/{n}.jpg", n)  # enough that three broken ones are few
    lost = [p.file for p in split_catalog(read_catalog(card), 7)["test"] if p.label == "brown_bear"]
    for file in lost:
        truncate(file)
    monkeypatch.setattr(session, "train_run", lambda catalog, split, *_, **__: pytest.fail(str(complete(split))))
    with pytest.raises(pytest.fail.Exception, match="True"):
        commands.train(card, tmp_path / "run", pretrained=False)


@pytest.mark.parametrize(("home", "command"), [("train.learn.command", "train"), ("export.commands", "export")])
def test_threads_sleep_while_they_wait_and_are_set_before_torch_is_there(
    home: str, command: str, tmp_path: Path
) -> None:
    pytest.importorskip("fastai")
    look = (
        "import importlib, importlib.abc, os, sys\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            print(os.environ.get('OMP_WAIT_POLICY')); sys.stdout.flush(); os._exit(0)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"from {home} import {command}\n"
        f"{command}(*map(__import__('pathlib').Path, sys.argv[1:]))\n"
    )
    for camera in range(3):
        for label in ("brown_bear", "no_bear"):
            put(tmp_path / f"pictures/{label}/camera{camera}/a.jpg", camera)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    words = [str(tmp_path / "pictures"), str(tmp_path / "run")]
    for given, seen in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", look, *words],
            capture_output=True, text=True, env=environment | given, timeout=100, check=False,
        )  # fmt: skip
        assert done.stdout.split() == [seen], done.stderr


def test_the_command_finds_a_broken_test_picture_before_it_trains(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("fastai")
    from train.learn import command as commands
    from train.learn import session

    catalog = read_catalog(card)
    broken = split_catalog(catalog, 7)["test"][0].file
    truncate(broken)
    given: list[tuple[Catalog, Split]] = []

    def stop(catalog: Catalog, split: Split, *_: object, **__: object) -> None:
        given.append((catalog, split))
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "train_run", stop)
    with pytest.raises(KeyboardInterrupt):
        commands.train(card, tmp_path / "run", pretrained=False)
    [(left, split)] = given
    assert broken.name in caplog.text
    assert [picture.file for picture in left.left_out] == [broken]
    assert broken not in {picture.file for part in split.values() for picture in part}
    assert sum(len(part) for part in split.values()) == 35
