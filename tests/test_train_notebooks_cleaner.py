"""fastai's cleaner over a run: choices outlive a switch, become decisions, and are taken back; nothing is moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("ipywidgets")
from fastai.vision.widgets import ImageClassifierCleaner

from edge.errors import CatalogError, OptionError
from tests.trained_world import fresh_run
from train.data.decisions import KEEP, append_decisions, decide, live, read_decisions
from train.data.table import read_catalog
from train.notebooks.cells import MISFILED
from train.notebooks.cleaner import DELETE_IT, KEEP_IT, Cleaner
from train.notebooks.ranking import view_of


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A fresh copy of the run and its pictures; nothing was decided."""
    return fresh_run(trained_run, tmp_path)


@pytest.fixture
def cleaner(run: Path) -> Cleaner:
    """The cleaner, opened on it."""
    return Cleaner(run, max_n=4)


def menus(cleaner: Cleaner) -> list[str]:
    """What the menus under the pictures say."""
    return list(cleaner.values())


def choose(cleaner: Cleaner, number: int, choice: str) -> str:
    """Choose in the menu under a picture, as the browser does; returns the picture's file as decisions name it."""
    cleaner.iw.widget.children[number].children[1].value = choice
    return cleaner.fns[number].relative_to(cleaner.root).as_posix()


def held(cleaner: Cleaner) -> dict[str, str]:
    """The decisions that hold, by file."""
    return {row.file: f"{row.decision} {row.after}".strip() for row in live(read_decisions(cleaner.root))}


def test_it_is_fastais_cleaner_with_the_most_doubtful_first(cleaner: Cleaner) -> None:
    assert isinstance(cleaner, ImageClassifierCleaner)
    cleaner.dd_cats.value = "no_bear"
    losses = [cleaner._losses[file] for file in cleaner.fns]
    assert losses == sorted(losses, reverse=True)
    shown = [loss for file, label, loss in cleaner.iwis[0] if label == "no_bear"]
    assert losses[0] == pytest.approx(max(map(float, shown)))
    assert len(menus(cleaner)) == 4
    assert "no_bear" in cleaner.iw.widget.children[0].children[2].value


def test_choices_stay_when_category_or_part_is_switched_and_come_back(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    choose(cleaner, 0, "brown_bear")
    choose(cleaner, 2, DELETE_IT)
    cleaner.dd_cats.value = "brown_bear"
    assert menus(cleaner) == [KEEP_IT] * 4
    choose(cleaner, 1, "no_bear")
    cleaner.dd_ds.value = "Valid"
    assert menus(cleaner) == [KEEP_IT] * 4
    choose(cleaner, 3, DELETE_IT)
    assert cleaner.told.value == "4 choices not written yet."
    cleaner.dd_ds.value = "Train"
    assert menus(cleaner) == [KEEP_IT, "no_bear", KEEP_IT, KEEP_IT]
    cleaner.dd_cats.value = "no_bear"
    assert menus(cleaner) == ["brown_bear", KEEP_IT, DELETE_IT, KEEP_IT]
    assert list(cleaner.delete()) == [2]
    assert list(cleaner.change()) == [(0, "brown_bear")]
    assert held(cleaner) == {}


def test_writing_makes_decisions_of_all_choices_and_moves_nothing(cleaner: Cleaner) -> None:
    before = {file: file.read_bytes() for file in cleaner.root.rglob("*.jpg")}
    cleaner.dd_cats.value = "no_bear"
    wrong, blurred, right = choose(cleaner, 0, "bear_any"), choose(cleaner, 1, DELETE_IT), choose(cleaner, 2, "no_bear")
    cleaner.dd_cats.value = "brown_bear"
    none = choose(cleaner, 0, "no_bear")
    assert cleaner.write().startswith("Written: 1 keep, 2 relabel, 1 delete. 4 decisions hold")
    expected = {wrong: "relabel bear_any", blurred: "delete", right: "keep no_bear", none: "relabel no_bear"}
    assert held(cleaner) == expected
    assert cleaner.write().startswith("Written: nothing new.")
    assert cleaner.told.value == ""
    assert {file: file.read_bytes() for file in cleaner.root.rglob("*.jpg")} == before
    labels = {
        picture.file.relative_to(cleaner.root).as_posix(): picture.label
        for picture in read_catalog(cleaner.root).pictures
    }
    assert blurred not in labels
    assert (labels[wrong], labels[none]) == ("bear_any", "no_bear")
    assert list(cleaner.decisions()["file"]) == [wrong, blurred, right, none]
    assert all(row.by == cleaner.place.name for row in read_decisions(cleaner.root))


def test_a_mind_that_was_changed_is_written_too(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    file, other = choose(cleaner, 0, DELETE_IT), choose(cleaner, 1, DELETE_IT)
    cleaner.write()
    choose(cleaner, 0, "brown_bear")
    choose(cleaner, 1, KEEP_IT)
    assert "1 relabel, 2 taken back" in cleaner.write()
    assert held(cleaner) == {file: "relabel brown_bear"}
    assert other not in held(cleaner)


def test_undo_takes_back_the_last_a_named_one_or_all_and_the_menus_follow(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    files = [choose(cleaner, number, DELETE_IT) for number in range(4)]
    cleaner.write()
    assert files[3] in cleaner.undo()
    assert files[0] in cleaner.undo(files[0])
    assert menus(cleaner) == [KEEP_IT, DELETE_IT, DELETE_IT, KEEP_IT]
    assert set(held(cleaner)) == set(files[1:3])
    cleaner.undo("all")
    assert menus(cleaner) == [KEEP_IT] * 4
    assert held(cleaner) == {}
    with pytest.raises(OptionError, match="no decision to take back"):
        cleaner.undo()
    choose(cleaner, 0, DELETE_IT)
    cleaner.write()
    assert held(cleaner) == {files[0]: "delete"}


def test_a_cleaner_opened_later_shows_the_labels_as_decided_and_can_take_back(cleaner: Cleaner, run: Path) -> None:
    cleaner.dd_cats.value = "no_bear"
    file, gone = choose(cleaner, 0, "brown_bear"), choose(cleaner, 1, DELETE_IT)
    cleaner.write()
    later = Cleaner(run)
    later.dd_cats.value = "brown_bear"
    names = [each.relative_to(later.root).as_posix() for each in later.fns]
    assert file in names
    choose(later, names.index(file), "polar_bear")
    later.write()
    assert held(later) == {file: "relabel polar_bear", gone: "delete"}
    assert live(read_decisions(later.root))[-1].before == "no_bear"
    later.undo(file)
    later.undo(file)
    assert held(later) == {gone: "delete"}


def test_what_somebody_else_decided_since_is_not_taken_back(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    file = choose(cleaner, 0, DELETE_IT)
    cleaner.write()
    picture = cleaner._pictures[cleaner.fns[0]]
    append_decisions(cleaner.root, [decide(picture, cleaner.root, KEEP, by="somebody else")])
    choose(cleaner, 0, KEEP_IT)
    cleaner.write()
    assert held(cleaner) == {file: "keep no_bear"}


def test_a_picture_that_was_replaced_or_went_since_is_passed_over(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    choose(cleaner, 0, DELETE_IT)
    choose(cleaner, 1, DELETE_IT)
    stays = choose(cleaner, 2, DELETE_IT)
    cv2.imwrite(str(cleaner.fns[0]), np.zeros((50, 50, 3), np.uint8))
    cleaner.fns[1].unlink()
    said = cleaner.write()
    assert cleaner.fns[0].name in said
    assert cleaner.fns[1].name in said
    assert "Passed over" in said
    assert held(cleaner) == {stays: "delete"}
    cleaner.on_change_ds()
    assert cleaner.iw.widget.children[1].children[1].disabled


def test_choices_still_wait_where_the_table_cannot_be_written(
    cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaner.dd_cats.value = "no_bear"
    file = choose(cleaner, 0, DELETE_IT)

    def full(*_: object) -> None:
        raise OptionError("the disk is full; nothing was decided")

    with monkeypatch.context() as broken:
        broken.setattr("train.notebooks.cleaner.append_decisions", full)
        with pytest.raises(OptionError, match="disk is full"):
            cleaner.write()
    assert len(cleaner.pending) == 1
    cleaner.write()
    assert held(cleaner) == {file: "delete"}


def test_an_empty_category_says_so(cleaner: Cleaner) -> None:
    cleaner.dd_cats.value = "polar_bear"
    assert menus(cleaner) == []
    assert "No picture of this label" in cleaner.told.value


def test_a_run_that_is_none_and_pictures_it_does_not_know_are_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="not a finished training run"):
        Cleaner(tmp_path / "nothing")
    new = run.parent / "pictures" / "no_bear" / "camera-1" / "new.jpg"
    shutil.copy(run.parent / "pictures" / MISFILED, new)
    with pytest.raises(CatalogError, match="not in this run's split"):
        Cleaner(run)


def test_the_network_looks_at_the_largest_box(run: Path) -> None:
    picture = read_catalog(run.parent / "pictures").pictures[0]
    boxes = ((0.1, 0.1, 0.1, 0.1), (0.2, 0.2, 0.5, 0.4))
    assert view_of(picture) == (0.0, 0.0, 1.0, 1.0)
    assert view_of(type(picture)(picture.file, "brown_bear", "s", "g", boxes=boxes)) == boxes[1]
