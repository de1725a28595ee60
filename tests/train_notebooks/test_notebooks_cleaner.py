"""fastai's cleaner over a run: what is chosen in it becomes decisions, which are taken back; nothing is moved."""

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
from tests.helpers.trained_world import fresh_run
from train.data.catalog import read_catalog
from train.data.decisions import KEEP, append_decisions, decide, live, read_decisions
from train.notebooks.cleaner import Labels, example_of
from train.notebooks.practice import MISFILED

KEEP_IT, DELETE_IT = "<Keep>", "<Delete>"  # as fastai calls them


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A fresh copy of the run and its pictures; nothing was decided."""
    return fresh_run(trained_run, tmp_path)


@pytest.fixture
def labels(run: Path) -> Labels:
    """The run's labels."""
    return Labels(run)


@pytest.fixture(autouse=True)
def in_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """fastai shows thumbnails with IPython's display, which it has in a notebook alone."""
    monkeypatch.setattr("fastai.vision.widgets.display", lambda _: None, raising=False)


@pytest.fixture
def cleaner(labels: Labels) -> ImageClassifierCleaner:
    """fastai's cleaner over them."""
    return ImageClassifierCleaner(labels.learner, max_n=4)


def choose(labels: Labels, cleaner: ImageClassifierCleaner, number: int, choice: str) -> str:
    """Choose in the menu under a picture, as the browser does; returns the picture's file as decisions name it."""
    cleaner.iw.widget.children[number].children[1].value = choice
    return str(cleaner.fns[number].relative_to(labels.place.root).as_posix())


def held(labels: Labels) -> dict[str, str]:
    """The decisions that hold, by file."""
    return {row.file: f"{row.decision} {row.after}".strip() for row in live(read_decisions(labels.place.root))}


def test_the_most_doubtful_come_first(labels: Labels, cleaner: ImageClassifierCleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    shown = sorted((float(loss) for _, label, loss in cleaner.iwis[0] if label == "no_bear"), reverse=True)
    losses = {file: float(loss) for file, _, loss in cleaner.iwis[0]}
    assert [losses[file] for file in cleaner.fns] == shown[:4]
    assert len(cleaner.values()) == 4
    cleaner.dd_cats.value = "polar_bear"
    assert list(cleaner.values()) == []
    assert labels.write(cleaner).startswith("Written: nothing new.")


def test_writing_makes_decisions_of_what_is_chosen_and_moves_nothing(
    labels: Labels, cleaner: ImageClassifierCleaner
) -> None:
    root = labels.place.root
    before = {file: file.read_bytes() for file in root.rglob("*.jpg")}
    cleaner.dd_cats.value = "no_bear"
    wrong, blurred, right = (
        choose(labels, cleaner, number, choice) for number, choice in enumerate(("bear_any", DELETE_IT, "no_bear"))
    )
    assert labels.write(cleaner).startswith("Written: 1 keep, 1 relabel, 1 delete. 3 decisions in force")
    cleaner.dd_ds.value = "Valid"
    cleaner.dd_cats.value = "brown_bear"
    none = choose(labels, cleaner, 0, "no_bear")
    assert labels.write(cleaner).startswith("Written: 1 relabel. 4 decisions in force")
    assert labels.write(cleaner).startswith("Written: nothing new. 4 decisions in force")
    expected = {wrong: "relabel bear_any", blurred: "delete", right: "keep no_bear", none: "relabel no_bear"}
    assert held(labels) == expected
    assert {file: file.read_bytes() for file in root.rglob("*.jpg")} == before
    decided = {picture.file.relative_to(root).as_posix(): picture.label for picture in read_catalog(root).pictures}
    assert blurred not in decided
    assert (decided[wrong], decided[none]) == ("bear_any", "no_bear")
    assert set(labels.decisions()["file"]) == {wrong, blurred, right, none}
    assert all(row.by == labels.place.name for row in read_decisions(root))


def test_a_mind_that_was_changed_is_written_too(labels: Labels, cleaner: ImageClassifierCleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    file = choose(labels, cleaner, 0, DELETE_IT)
    labels.write(cleaner)
    choose(labels, cleaner, 0, "brown_bear")
    assert "1 relabel" in labels.write(cleaner)
    assert held(labels) == {file: "relabel brown_bear"}


def test_undo_takes_back_the_last_a_named_one_or_all(labels: Labels, cleaner: ImageClassifierCleaner) -> None:
    cleaner.dd_cats.value = "no_bear"
    files = [choose(labels, cleaner, number, DELETE_IT) for number in range(4)]
    labels.write(cleaner)
    assert files[3] in labels.undo()
    assert files[0] in labels.undo(files[0])
    assert set(held(labels)) == set(files[1:3])
    with pytest.raises(OptionError, match="no decision is about this file"):
        labels.undo("gone.jpg")
    labels.undo("all")
    assert held(labels) == {}
    with pytest.raises(OptionError, match="nothing to take back"):
        labels.undo()
    labels.write(cleaner)
    assert set(held(labels)) == set(files)


def test_labels_opened_later_are_as_decided_and_can_be_taken_back(
    labels: Labels, cleaner: ImageClassifierCleaner, run: Path
) -> None:
    cleaner.dd_cats.value = "no_bear"
    file, gone = choose(labels, cleaner, 0, "brown_bear"), choose(labels, cleaner, 1, DELETE_IT)
    labels.write(cleaner)
    later = Labels(run)
    again = ImageClassifierCleaner(later.learner)
    again.dd_cats.value = "brown_bear"
    names = [each.relative_to(later.place.root).as_posix() for each in again.fns]
    assert file in names
    choose(later, again, names.index(file), "polar_bear")
    later.write(again)
    assert held(later) == {file: "relabel polar_bear", gone: "delete"}
    assert live(read_decisions(later.place.root))[-1].before == "no_bear"
    later.undo(file)
    later.undo(file)
    assert held(later) == {gone: "delete"}


def test_what_somebody_else_decided_since_stays_where_nothing_is_chosen(
    labels: Labels, cleaner: ImageClassifierCleaner
) -> None:
    cleaner.dd_cats.value = "no_bear"
    file = choose(labels, cleaner, 0, DELETE_IT)
    labels.write(cleaner)
    picture = labels._pictures[cleaner.fns[0]]
    append_decisions(labels.place.root, [decide(picture, labels.place.root, KEEP, by="somebody else")])
    choose(labels, cleaner, 0, KEEP_IT)
    labels.write(cleaner)
    assert held(labels) == {file: "keep no_bear"}


def test_a_picture_that_was_replaced_or_went_since_is_passed_over(
    labels: Labels, cleaner: ImageClassifierCleaner
) -> None:
    cleaner.dd_cats.value = "no_bear"
    choose(labels, cleaner, 0, DELETE_IT)
    choose(labels, cleaner, 1, DELETE_IT)
    stays = choose(labels, cleaner, 2, DELETE_IT)
    cv2.imwrite(str(cleaner.fns[0]), np.zeros((50, 50, 3), np.uint8))
    cleaner.fns[1].unlink()
    printed = labels.write(cleaner)
    assert cleaner.fns[0].name in printed
    assert cleaner.fns[1].name in printed
    assert "Skipped" in printed
    assert held(labels) == {stays: "delete"}


def test_choices_stay_where_the_table_cannot_be_written(
    labels: Labels, cleaner: ImageClassifierCleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaner.dd_cats.value = "no_bear"
    file = choose(labels, cleaner, 0, DELETE_IT)

    def full(*_: object) -> None:
        raise OptionError("the disk is full; nothing was decided")

    with monkeypatch.context() as broken:
        broken.setattr("train.notebooks.cleaner.append_decisions", full)
        with pytest.raises(OptionError, match="disk is full"):
            labels.write(cleaner)
    labels.write(cleaner)
    assert held(labels) == {file: "delete"}


def test_a_run_that_is_none_and_pictures_it_does_not_know_are_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="not a finished training run"):
        Labels(tmp_path / "nothing")
    new = run.parent / "pictures" / "no_bear" / "camera-1" / "new.jpg"
    shutil.copy(run.parent / "pictures" / MISFILED, new)
    with pytest.raises(CatalogError, match="not in this run's split"):
        Labels(run)


def test_the_network_looks_at_the_largest_box(run: Path) -> None:
    picture = read_catalog(run.parent / "pictures").pictures[0]
    boxes = ((0.1, 0.1, 0.1, 0.1), (0.2, 0.2, 0.5, 0.4))
    assert example_of(picture).box_xywh == (0.0, 0.0, 1.0, 1.0)
    assert example_of(type(picture)(picture.file, "brown_bear", "s", "g", boxes=boxes)).box_xywh == boxes[1]
