"""The recipe: the numbers of a training. Needs no torch: mistakes are found before torch loads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.errors import OptionError

STEP_PX = 32  # a network's input is halved five times
MAX_PX = 640


@dataclass(frozen=True)
class Recipe:
    """Recipe of a training, kept in ``settings.json``. The worth of each number: docs/training.md."""

    backbone: str = "efficientnet_lite0"
    pretrained: bool = True
    seed: int = 7
    epochs: int = 4
    per_epoch: int = 4800  # crops in an epoch
    batch: int = 32
    size: int = 224  # the crops' side, pixels
    degraded: float = 0.5  # share of the training crops that are degraded
    zoom_out: float = 0.5  # share of the training crops that are shown smaller, in another place
    frozen: float = 0.3  # share of the convolutions, from the input on, that are not trained
    lr_head: float = 4e-4
    lr_body: float = 2e-4
    distill: float = 0.3  # weight of the distillation loss; 0 without pretrained weights
    untouched: float = 0.5  # share of the untouched network's weights after training
    fp16: bool = False  # half precision, on a GPU
    false_positive_rate: float = 0.01  # the thresholds' target on the tuning negatives


# The smallest and the largest value of each number.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1000),
    "epochs": (1, 1000),
    "per_epoch": (1, 10_000_000),
    "batch": (2, 4096),
    "size": (STEP_PX, MAX_PX),
    "degraded": (0, 1),
    "zoom_out": (0, 1),
    "frozen": (0, 1),
    "lr_head": (1e-7, 1),
    "lr_body": (0, 1),
    "distill": (0, 100),
    "untouched": (0, 1),
    "false_positive_rate": (1e-5, 0.5),
}
QUICK: Mapping[str, Any] = {"epochs": 2, "per_epoch": 800, "batch": 16}  # what --quick sets
BODY_SHARE = 1 / 2  # the body's learning rate over the head's, with --lr
OPTIONS = {"size": "image-size", "per_epoch": "per-epoch"}  # options with another name than the recipe's value


def recipe_of(
    values: Mapping[str, Any], where: str, *, quick: bool, given: Mapping[str, Any], lr: float | None
) -> Recipe:
    """Make the recipe: the defaults, then a file's values, then --quick, then the given options.

    ``values`` are the file's, ``where`` is its name; ``given``: values by the recipe's names, None for an option that
    was not given. Raises OptionError.
    """
    recipe = changed(Recipe(), values, where)
    if quick:
        recipe = changed(recipe, QUICK, "--quick")
    if lr is not None:
        recipe = changed(recipe, {"lr_head": lr, "lr_body": lr * BODY_SHARE}, "--lr")
    for name, value in given.items():
        if value is not None:
            recipe = changed(recipe, {name: value}, f"--{OPTIONS.get(name, name)}")
    return recipe


def changed(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """Replace some values of a recipe. Raises OptionError, beginning with ``where``, for an invalid value."""
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(Recipe)}
    for name, value in changes.items():
        if name not in kinds:
            raise OptionError(f"{where}: unknown entry {name!r}; a recipe has {', '.join(kinds)}")
        _check(name, value, kinds[name], where)
    whole = {name: kinds[name](value) for name, value in changes.items()}
    return replace(recipe, **whole)


def recipe_values(path: Path) -> dict[str, Any]:
    """Read the values of a JSON file, or the ``recipe`` of a run's settings.json; ``changed`` checks them.

    Raises OptionError if it cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path}: the recipe cannot be read ({error.strerror}); check the name") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f'{path}: not JSON ({error}); write for example {{"epochs": 8}}') from None
    if isinstance(content, dict) and isinstance(content.get("recipe"), dict):  # settings.json as it is
        content = content["recipe"]
    if not isinstance(content, dict):
        raise OptionError(f'{path}: a recipe is a JSON object such as {{"epochs": 8}}, not {type(content).__name__}')
    return content


def _check(name: str, value: Any, kind: type, where: str) -> None:
    """Raise OptionError unless ``value`` is of the kind and within the bounds of that entry."""
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}[kind]
    if kind in (int, float):
        # An int may be too large for a float, and a JSON number may be 8.0.
        whole = type(value) is int
        if not whole and not (type(value) is float and math.isfinite(value) and (kind is float or value.is_integer())):
            raise OptionError(f"{where}: {name} is {value!r}, and must be {wanted}")
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise OptionError(f"{where}: {name} is {value}, and must be from {low:g} to {high:g}")
        if name == "size" and value % STEP_PX:
            near = max(STEP_PX, round(value / STEP_PX) * STEP_PX)
            raise OptionError(f"{where}: size is {value} pixels, and must be a multiple of {STEP_PX}; take {near}")
    elif type(value) is not kind:
        raise OptionError(f"{where}: {name} is {value!r}, and must be {wanted}")


def fitted(recipe: Recipe, made_for: int, *, named: bool) -> Recipe:
    """Give the recipe the backbone's input size, unless a size was ``named``.

    ``made_for`` pixels are rounded up to a multiple of 32, and are 640 at most.
    """
    if named:
        return recipe
    return changed(recipe, {"size": min(MAX_PX, -(-made_for // STEP_PX) * STEP_PX)}, "--backbone")


def check_gpu(recipe: Recipe) -> None:
    """Raise OptionError for half precision without a GPU."""
    if not recipe.fp16:
        return
    import torch

    if not torch.cuda.is_available():
        raise OptionError("--fp16 needs a GPU with CUDA, and torch finds none on this machine; omit --fp16")


def steps_of(recipe: Recipe, processes: int = 1) -> int:
    """Count the training batches of a whole training in each of ``processes``."""
    return recipe.epochs * -(-(recipe.per_epoch // recipe.batch) // processes)
