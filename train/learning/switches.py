"""The switches of ``bear-alarm train`` as a recipe, and what they ask of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.errors import OptionError
from train.learning.recipe import LARGEST_PX, STEP_PX, Recipe, changed

QUICK: Mapping[str, Any] = {"epochs": 2, "per_epoch": 800, "batch": 16}
BODY_SHARE = 1 / 2  # of the head's rate that the body gets when --lr names one


def recipe_of(
    values: Mapping[str, Any], where: str, *, quick: bool, given: Mapping[str, Any], lr: float | None
) -> Recipe:
    """The recipe: what is built in, then a file's values, then --quick, then the switches that were given.

    ``values`` are the file's, and ``where`` its name; ``given``: values by the recipe's names, None where a switch was
    left out. Raises OptionError.
    """
    recipe = changed(Recipe(), values, where)
    if quick:
        recipe = changed(recipe, QUICK, "--quick")
    if lr is not None:
        recipe = changed(recipe, {"lr_head": lr, "lr_body": lr * BODY_SHARE}, "--lr")
    for name, value in given.items():
        if value is not None:
            recipe = changed(recipe, {name: value}, f"--{SPELLED.get(name, name).replace('_', '-')}")
    return recipe


# Where a switch is called otherwise than the recipe's entry.
SPELLED = {"size": "image_size"}


def fitted(recipe: Recipe, made_for: int, *, named: bool) -> Recipe:
    """The recipe with the input size the backbone was made for, unless a size was named.

    ``made_for`` pixels are rounded up to a multiple of 32, and are 640 at most.
    """
    if named:
        return recipe
    return changed(recipe, {"size": min(LARGEST_PX, -(-made_for // STEP_PX) * STEP_PX)}, "--backbone")


def check_gpu(recipe: Recipe) -> None:
    """Raise OptionError where half precision is asked for and there is no GPU for it."""
    if not recipe.fp16:
        return
    import torch

    if not torch.cuda.is_available():
        raise OptionError("--fp16 needs a GPU with CUDA, and torch sees none on this machine; leave --fp16 away")


def steps_of(recipe: Recipe, processes: int = 1) -> int:
    """Training batches of a whole training in each of ``processes``."""
    return recipe.epochs * -(-(recipe.per_epoch // recipe.batch) // processes)
