"""The recipe and the switches that make one: every number within its bounds, and each mistake one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import OptionError
from train.learn.recipe import BOUNDS, QUICK, Recipe, changed, fitted, recipe_of, recipe_values, steps_of

NOTHING: dict[str, Any] = {"epochs": None, "size": None}


def test_every_number_has_bounds_and_the_built_in_recipe_keeps_them() -> None:
    built_in = asdict(Recipe())
    numbers = {name for name, value in built_in.items() if type(value) in (int, float)}
    assert numbers == set(BOUNDS)
    assert changed(Recipe(), built_in, "itself") == Recipe()


def test_the_page_on_training_names_every_value_its_default_and_its_bounds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (?:(\S+)–(\S+))? ?\| ", page, re.MULTILINE)
    reported = {name: (value, (float(low), float(high)) if low else None) for name, value, low, high in rows}
    built_in = {
        name: (json.dumps(value) if type(value) is not str else value, BOUNDS.get(name))
        for name, value in asdict(Recipe()).items()
    }
    assert reported == built_in


@given(st.sampled_from(sorted(BOUNDS)), st.floats(0, 1))
def test_what_lies_between_the_bounds_is_taken_and_what_lies_outside_is_refused(name: str, share: float) -> None:
    low, high = BOUNDS[name]
    value: float = low + share * (high - low)
    if type(getattr(Recipe(), name)) is int:
        value = int(value) // 32 * 32 if name == "size" else int(value)
    assert getattr(changed(Recipe(), {name: value}, "here"), name) == value
    for outside in (low - 1, high + 1):
        with pytest.raises(OptionError, match=f"here: {name} is .* must be from"):
            changed(Recipe(), {name: outside}, "here")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 3}, "here: unknown entry 'epoch'; a recipe has backbone, "),
        ({"epochs": "3"}, "here: epochs is '3', and must be a whole number"),
        ({"epochs": 2.5}, "here: epochs is 2.5, and must be a whole number"),
        ({"epochs": True}, "here: epochs is True, and must be a whole number"),
        ({"lr_head": float("nan")}, "here: lr_head is nan, and must be a number"),
        ({"fp16": 1}, "here: fp16 is 1, and must be true or false"),
        ({"resize": "random"}, "here: unknown entry 'resize'; a recipe has backbone, "),  # of an older run
        ({"epochs": 10**400}, f"here: epochs is 1{'0' * 400}, and must be from 1 to 1000"),
        ({"lr_head": 10**400}, f"here: lr_head is 1{'0' * 400}, and must be from 1e-07 to 1"),
        ({"degraded": float("-inf")}, "here: degraded is -inf, and must be a number"),
        ({"size": 100}, "here: size is 100 pixels, and must be a multiple of 32; take 96"),
        ({"backbone": None}, "here: backbone is None, and must be a name"),
    ],
)
def test_a_wrong_value_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        changed(Recipe(), changes, "here")
    assert str(caught.value).startswith(words)


def read(file: Path) -> Recipe:
    """Return what is built in, with a file's values."""
    return changed(Recipe(), recipe_values(file), str(file))


def test_a_recipe_is_read_from_a_file_of_its_own_or_from_a_runs_settings(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"epochs": 8, "lr_head": 1}')
    assert read(file) == Recipe(epochs=8, lr_head=1.0)
    file.write_text(json.dumps({"recipe": asdict(Recipe(seed=3, degraded=0.7)), "cores": 2}))
    assert read(file) == Recipe(seed=3, degraded=0.7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not list"),
        ('{"a": 1}', "unknown entry 'a'"),
        ('{"epochs": 1' + 400 * "0" + "}", "must be from 1 to 1000"),
        ('{"epochs": 1' + 9000 * "0" + "}", "not JSON"),
        (100_000 * "[", "not JSON"),
        (100_000 * '{"recipe": ', "not JSON"),
    ],
    ids=range(7),
)
def test_a_bad_recipe_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(text)
    with pytest.raises(OptionError, match=words):
        read(file)
    with pytest.raises(OptionError, match="cannot be read"):
        read(tmp_path / "none.json")


def test_the_file_comes_first_then_quick_then_the_switches(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"epochs": 8, "per_epoch": 64, "seed": 2, "degraded": 0.1}')
    given = {"epochs": None, "seed": 5, "size": 96}
    got = recipe_of(recipe_values(file), str(file), quick=True, given=given, lr=0.03)
    assert (got.epochs, got.per_epoch, got.degraded) == (QUICK["epochs"], QUICK["per_epoch"], 0.1)
    assert (got.seed, got.size, got.lr_head) == (5, 96, 0.03)
    assert got.lr_body == pytest.approx(0.015)
    assert recipe_of({}, "", quick=False, given=NOTHING, lr=None) == Recipe()
    with pytest.raises(OptionError, match="--image-size: size is 100 pixels"):
        recipe_of({}, "", quick=False, given={"size": 100}, lr=None)


def test_what_a_file_names_is_known_even_where_it_is_what_is_built_in(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"size": 224}')
    assert recipe_values(file) == {"size": Recipe().size}
    file.write_text('{"recipe": {"epochs": 3}, "cores": 2}')
    assert recipe_values(file) == {"epochs": 3}


@pytest.mark.parametrize(("made_for", "size"), [(224, 224), (300, 320), (384, 384), (1024, 640), (32, 32)])
def test_a_backbone_brings_its_own_size_unless_one_is_named(made_for: int, size: int) -> None:
    assert fitted(Recipe(), made_for, named=False).size == size
    assert fitted(Recipe(size=160), made_for, named=True).size == 160


def test_steps_are_shared_by_the_processes() -> None:
    recipe = Recipe(epochs=3, per_epoch=100, batch=10)
    assert steps_of(recipe) == 30
    assert steps_of(recipe, 2) == 15
