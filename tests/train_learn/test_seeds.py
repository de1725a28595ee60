"""Several seeds: each a run of its own, and their spread in words and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from train.learn.recipe import Recipe
from train.learn.session import spread_text, train_seeds


def figures(recall: float) -> dict[str, Any]:
    """Return what a training returns."""
    return {"error_rate": 0.1, "bear_recall": recall, "false_positive_rate": 0.01, "temperature": 1.0, "crops": 9}


def test_each_seed_has_its_folder_and_the_spread_is_printed(tmp_path: Path) -> None:
    recall = {3: 0.8, 4: 0.9, 5: 0.7}
    folders = []

    def train(recipe: Recipe, folder: Path) -> dict[str, Any]:
        folders.append(folder.name)
        return figures(recall[recipe.seed])

    found = train_seeds(Recipe(seed=3), 3, tmp_path, train)
    assert folders == ["seed-3", "seed-4", "seed-5"]
    assert found["bear_recall"] == [0.8, 0.9, 0.7]
    assert [run["seed"] for run in json.loads((tmp_path / "seeds.json").read_text())] == [3, 4, 5]
    assert "bear recall          0.8000   0.1000    0.7000   0.9000" in spread_text(found)


def test_a_training_that_breaks_off_leaves_the_figures_of_those_before(tmp_path: Path) -> None:
    def train(recipe: Recipe, folder: Path) -> dict[str, Any]:
        if recipe.seed == 8:
            raise KeyboardInterrupt
        return figures(0.5)

    with pytest.raises(KeyboardInterrupt):
        train_seeds(Recipe(seed=7), 2, tmp_path, train)
    assert [run["seed"] for run in json.loads((tmp_path / "seeds.json").read_text())] == [7]


def test_one_seed_and_none_have_no_deviation(tmp_path: Path) -> None:
    assert "bear recall          0.4000   0.0000" in spread_text({"bear_recall": [0.4]})
    assert train_seeds(Recipe(), 2, tmp_path, lambda *_: {}) == {}  # a process that is not the first
