"""A run trained on practice pictures and the model exported from it, through the commands as people type them.

In processes of their own: what a command imports, and when, shows there alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.helpers.command import in_a_process
from train.notebooks.practice import MISFILED, ROCK, paint, practice_pictures, practice_recipe

HIDDEN, NONE = MISFILED, "brown_bear/camera-2/rock.jpg"  # a bear inside no_bear, and a bear that is none
BROKEN = "no_bear/camera-3/rock-5.jpg"  # a card is seldom whole
SAID = "said.txt"  # what the command printed


def train_world(folder: Path) -> None:
    """``pictures`` of six cameras, two of them labelled wrongly and one truncated, and a ``run`` trained on them."""
    pictures = practice_pictures(folder / "pictures")
    cv2.imwrite(str(pictures / NONE), paint(np.random.default_rng(98), ROCK))
    broken = pictures / BROKEN
    broken.write_bytes(broken.read_bytes()[:-500])
    recipe = practice_recipe(folder / "recipe.json")
    done = in_a_process("train", pictures, "--recipe", recipe, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    (folder / SAID).write_text(done.stderr)


def export_world(folder: Path, run: Path) -> None:
    """``bear.onnx`` (int8) and ``bear.fp32.onnx`` of the run.

    So few pictures are too few for int8's gate to be decided by them; --force writes the verdict into the card.
    """
    done = in_a_process("export", run, "--out", folder / "bear.onnx", "--precision", "both", "--force")
    assert done.returncode == 0, done.stderr
    (folder / SAID).write_text(done.stdout)


def fresh_run(made: Path, folder: Path) -> Path:
    """A copy in ``folder`` of a folder with a run and its pictures, to be changed: trained again, it takes one step."""
    shutil.copytree(made, folder / "made")
    settings = folder / "made" / "run" / "settings.json"
    told = json.loads(settings.read_text())
    told["recipe"]["per_epoch"] = 32
    settings.write_text(json.dumps(told | {"catalog": str(folder / "made" / "pictures")}))
    return folder / "made" / "run"
