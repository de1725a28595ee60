"""Folds of trail cameras: no camera on two sides, every frame tested once, and what the other options still decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import CatalogError, OptionError
from tests.train_data.test_table_read import manifest, put, sources
from train.data.catalog import read_catalog
from train.data.pictures import SPLITS, Catalog, Picture, is_bear
from train.data.split import Fold, Split, camera, in_fold, split_catalog, stratum


def frame(name: str, label: str, group: str = "", source: str = "cards", *, grey: bool = False) -> Picture:
    return Picture(Path(f"/none/{name}.jpg"), label, source, group, grey_or_ir=grey, condition="camera trap")


@pytest.fixture
def table() -> Catalog:
    """Nine sources of other pictures, and trail cameras: 12 bears of their own groups, 12 places, one of them large."""
    bears = [frame(f"b{n}", "black_bear", f"bear {n}", "bears", grey=n % 3 == 0) for n in range(12)]
    others = [
        frame(f"n{n}-{k}", "no_bear", f"place {n}", grey=n % 2 == 0)
        for n in range(12)
        for k in range(40 if n == 5 else 5)
    ]
    return replace(sources(9), pictures=(*sources(9).pictures, *bears, *others))


def frames_of(split: Split) -> dict[str, list[Picture]]:
    return {name: [one for one in part if one.of_trail_camera] for name, part in split.items()}


def test_each_frame_is_tested_in_one_fold_by_a_model_that_saw_none_of_its_camera(table: Catalog) -> None:
    tested: Counter[Picture] = Counter()
    for number in (1, 2, 3):
        split = split_catalog(table, 7, fold=Fold(number, 3))
        assert sum(map(len, split.values())) == len(table.pictures)
        parts = frames_of(split)
        tested.update(parts["test"])
        places = {name: {camera(one) for one in part} for name, part in parts.items()}
        assert not places["test"] & (places["train"] | places["tune"])
        for part in SPLITS:
            assert {is_bear(one.label) for one in parts[part]} == {True, False}
            assert len({stratum(one) for one in parts[part]}) == 4 or part == "tune"
        assert 3 <= sum(is_bear(one.label) for one in parts["test"]) <= 5
    assert set(tested.values()) == {1}
    assert len(tested) == sum(one.of_trail_camera for one in table.pictures)


def test_bursts_and_days_of_one_camera_are_one_camera(table: Catalog) -> None:
    groups = ("2026-11-10T03:00:00", "2026-11-11T04:10:00-2", "no time/DCIM", "yard/2026-11-24", "yard/2026-11-25")
    named = [camera(replace(table.pictures[0], source="hive", group=group)) for group in groups]
    assert len(set(named[:3])) == len(set(named[3:])) == 1
    assert named[0] != named[3]


def test_folds_hang_on_the_table_alone(table: Catalog) -> None:
    first, second = (frames_of(split_catalog(table, seed, fold=Fold(2, 3))) for seed in (7, 8))
    assert first == second
    turned = replace(table, pictures=table.pictures[::-1])
    assert {name: set(part) for name, part in frames_of(split_catalog(turned, 7, fold=Fold(2, 3))).items()} == {
        name: set(part) for name, part in first.items()
    }


def test_without_a_fold_one_in_five_groups_tunes_and_none_is_tested(table: Catalog) -> None:
    parts = frames_of(split_catalog(table, 7))
    assert not parts["test"]
    for bears in (True, False):
        share = [sum(is_bear(one.label) == bears for one in parts[name]) for name in ("tune", "train")]
        assert 0.05 < share[0] / sum(share) < 0.35
    assert not {one.unit for one in parts["tune"]} & {one.unit for one in parts["train"]}


def test_named_sources_keep_their_frames_together(table: Catalog) -> None:
    held = frames_of(split_catalog(table, 7, tune=["s1"], test=["bears", "s2"]))
    assert {one.source for one in held["test"]} == {"bears"}
    assert not any(is_bear(one.label) for part in ("train", "tune") for one in held[part])
    both = split_catalog(table, 7, tune=["cards", "s1"], test=["bears", "s2"], fold=Fold(1, 3))
    out = set(in_fold([one for one in table.pictures if one.of_trail_camera], Fold(1, 3)))
    assert set(frames_of(both)["test"]) == out | {one for one in table.pictures if one.source == "bears"}
    assert all(one.source != "cards" or one in out for one in (*both["train"], *both["test"]))
    assert "s2" in {one.source for one in both["test"]}


def test_a_table_of_trail_cameras_alone_is_split_as_any_other(table: Catalog) -> None:
    alone = replace(table, pictures=tuple(one for one in table.pictures if one.of_trail_camera))
    assert all({is_bear(one.label) for one in part} == {True, False} for part in split_catalog(alone, 7).values())


def test_what_a_group_has_after_its_camera_is_of_that_camera() -> None:
    groups = ("own cam hogs", "own cam deer", "own cam", "CA-01 burst 7491", "CA-01", "backyard-cam", "campsite fox")
    assert [camera(frame("x", "no_bear", group)) for group in groups] == [
        "cards/own cam", "cards/own cam", "cards/own cam", "cards/CA-01", "cards/CA-01", "cards/backyard-cam",
        "cards/campsite fox",
    ]  # fmt: skip
    assert camera(frame("x", "no_bear")) == "cards"


def test_the_column_is_read_and_empty_where_the_table_has_none(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "b.jpg", 1)
    manifest(tmp_path, ["a.jpg,no_bear,surveillance", "b.jpg,no_bear,web"], "file,label,condition")
    assert [(one.condition, one.of_trail_camera) for one in read_catalog(tmp_path).pictures] == [
        ("surveillance", True), ("web", False),
    ]  # fmt: skip
    manifest(tmp_path, ["a.jpg,no_bear"], "file,label")
    assert read_catalog(tmp_path).pictures[0].condition == ""


@pytest.mark.parametrize("words", ["0/3", "4/3", "1/1", "1", "1/x", "-1/3", ""])
def test_what_is_no_fold_is_one_sentence(words: str) -> None:
    with pytest.raises(OptionError, match="such as 1/3"):
        Fold.parse(words)
    assert str(Fold.parse(" 2/3 ")) == "2/3"


def test_a_fold_of_a_table_without_trail_cameras_is_refused() -> None:
    with pytest.raises(CatalogError, match="column condition"):
        split_catalog(sources(9), 7, fold=Fold(1, 3))


def test_folds_of_the_standard_pictures(pictures: Path) -> None:
    frames = [one for one in read_catalog(pictures).pictures if one.of_trail_camera]
    strata = [Counter(map(stratum, in_fold(frames, Fold(number, 3)))) for number in (1, 2, 3)]
    assert [(one["bear, colour"], one["bear, grey"]) for one in strata] == [(13, 5), (13, 5), (12, 5)]
    assert all(one["no bear, colour"] + one["no bear, grey"] > 150 for one in strata)
