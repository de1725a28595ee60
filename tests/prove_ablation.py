"""What each ingredient of the training recipe is worth: short trainings with and without it, scored on the tuning part.

    BEAR_ALARM_PICTURES=… python tests/prove_ablation.py --out runs/ablation [--seeds 2] [--rows whole,no-look]

Trains on the training sources, scores on the tuning sources (whole, and shrunk to 20, 36, 60 and 120 pixels, plain
shrinking and JPEG); the test sources are not touched. Each row's figures are kept in OUT/rows.json as they come, and
a second call goes on where the first stopped. Short trainings of a small input: differences are told, not levels, and
no difference below the spread of the seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from train.learning.threads import wait_asleep

wait_asleep()

import torch  # noqa: E402

from tests.conftest import PICTURES  # noqa: E402
from train.catalog.picture import Picture, is_bear  # noqa: E402
from train.catalog.read import read_catalog  # noqa: E402
from train.catalog.split import split_catalog  # noqa: E402
from train.figures.calibrate import bear_probability, probabilities  # noqa: E402
from train.learning import field  # noqa: E402
from train.learning.backbones import build, find_backbone  # noqa: E402
from train.learning.dataloaders import make_dataloaders  # noqa: E402
from train.learning.far_figure import FarFigure, Looks, far_figure, looks_of  # noqa: E402
from train.learning.kept import interpolate  # noqa: E402
from train.learning.learner import Seen, seed_everything, train_learner  # noqa: E402
from train.learning.pictures import PictureCache, examples_of  # noqa: E402
from train.learning.probe import ask  # noqa: E402
from train.learning.recipe import Recipe, changed  # noqa: E402

TUNE = (
    "poziki/fastailearning",
    "Intraraksa/Computer_vision",
    "Makori81/Real-time-wildlife-detection-system",
    "BIDS/BSDS500",
)
TEST = (
    "ktosiu/Bear-Detection",
    "y-arjun-y/bears",
    "kovacspeter/Animal-classification",
    "datitran/raccoon_dataset",
    "lizhogn/tiny_coco_dataset",
)
SHORT = Recipe(size=128, epochs=2, per_epoch=960)
MOST_OTHERS = 320  # pictures without a bear that are scored
# Name -> what differs from the whole recipe.
ROWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "no field look": {"augment": "light"},
    "no infrared look": {},
    "no distillation": {"distill": 0.0},
    "clear teacher": {"clear_teacher": True},
    "hard negatives": {"hard": 6.0},
    "even kinds": {"even_kinds": 0.5},
    "70 % degraded": {"degraded": 0.7},
    "zoom out": {"zoom_out": 0.5},
    "all three": {"clear_teacher": True, "hard": 6.0, "even_kinds": 0.5},
    "no augmentation": {"augment": "none", "resize": "crop"},
    "half of the pictures": {},
    "a quarter": {},
    "an eighth": {},
}
# The curve over data size: what part of each label's training pictures is learned from, as often as all would be.
SHARES = {"half of the pictures": 1 / 2, "a quarter": 1 / 4, "an eighth": 1 / 8}


def share_of(rows: list[Picture], share: float, seed: int) -> list[Picture]:
    """A part of each label's pictures, at least two, in the table's order; a smaller part lies in a larger one."""
    chosen: set[Picture] = set()
    for label in sorted({row.label for row in rows}):
        some = [row for row in rows if row.label == label]
        order = np.random.default_rng((seed, len(label))).permutation(len(some))
        chosen.update(some[n] for n in order[: max(2, round(share * len(some)))])
    return [row for row in rows if row in chosen]


def train_one(name: str, seed: int, base: Recipe, parts: Any, cache: PictureCache, looks: Looks) -> dict[str, Any]:
    """One row's figures: the whole of it, without ImageNet's head, and without moving the body back."""
    recipe = changed(base, {**ROWS[name], "seed": seed}, name)
    backbone = find_backbone(recipe.backbone)
    began, spent = time.time(), time.process_time()
    seed_everything(seed)
    body, head = build(backbone, pretrained=True)
    untouched, _ = build(backbone, pretrained=True)
    learn_from = share_of(parts["train"], SHARES.get(name, 1.0), seed)
    dls = make_dataloaders(learn_from, parts["tune"][:32], backbone, recipe, cache)
    seen = Seen(examples_of(learn_from), cache, backbone)
    night = field.infrared if name != "no infrared look" else lambda image, _rng: field.grey(image)
    with mock.patch.object(field, "infrared", night):
        net = train_learner(dls, body, head, recipe, None, [], seen).model
    found = {}
    for what in ("body not moved back", "", "no ImageNet head"):
        if not what:
            interpolate(net.body, untouched, recipe.body_kept)
        net.keep = 0.0 if what == "no ImageNet head" else recipe.old_head_kept
        logits, _ = ask(net, backbone, looks.crops)
        figure = far_figure(bear_probability(probabilities(logits, 1.0)), looks)
        found[what] = {"recall": figure.recall, "auc": figure.auc}
    return {"figures": found, "wall_s": round(time.time() - began), "cpu_s": round(time.process_time() - spent)}


def by_side(values: dict[str, float]) -> dict[int, float]:
    """Figures by side in pixels, as a file of JSON keeps them."""
    return {int(side): value for side, value in values.items()}


def table(kept: dict[str, Any]) -> str:
    """The rows as Markdown, means over the seeds with the smallest and the largest of the far recall."""
    lines = [
        "| recipe | seeds | whole | 120 px | 60 px | 36 px | 20 px | mean, shrunk | mean AUC, shrunk |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        runs = [kept[key]["figures"] for key in sorted(kept) if key.rpartition("/")[0] == name]
        for what in ("", "body not moved back", "no ImageNet head") if name == "whole" else ("",):
            got = [FarFigure(by_side(run[what]["recall"]), by_side(run[what]["auc"]), {}) for run in runs]
            if not got:
                continue
            far = [figure.far for figure in got]
            cells = [f"{np.mean([figure.recall[side] for figure in got]):.3f}" for side in (0, 120, 60, 36, 20)]
            spread = f" ({min(far):.3f}–{max(far):.3f})" if len(far) > 1 else ""
            auc = f"{np.mean([figure.far_auc for figure in got]):.4f}"
            row = [what or name, str(len(got)), *cells, f"{np.mean(far):.3f}{spread}", auc]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, and print the table."""
    ask_for = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask_for.add_argument("--out", type=Path, default=Path("runs/ablation"))
    ask_for.add_argument("--seeds", type=int, default=1)
    ask_for.add_argument("--rows", default=",".join(ROWS), help="names, comma-separated")
    ask_for.add_argument("--epochs", type=int, default=SHORT.epochs)
    ask_for.add_argument("--per-epoch", type=int, default=SHORT.per_epoch)
    ask_for.add_argument("--size", type=int, default=SHORT.size)
    ask_for.add_argument("--threads", type=int, default=1)
    given = ask_for.parse_args()
    folder = PICTURES
    if not folder.is_dir():
        print(f"{folder}: no folder of pictures, nothing was measured; name one in BEAR_ALARM_PICTURES")
        return
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)
    base = changed(SHORT, {"epochs": given.epochs, "per_epoch": given.per_epoch, "size": given.size}, "options")
    catalog = read_catalog(folder)
    parts = split_catalog(catalog, 7, tune=TUNE, test=TEST)
    bears = [row for row in parts["tune"] if is_bear(row.label)]
    others = [row for row in parts["tune"] if not is_bear(row.label)]
    chosen = np.random.default_rng(0).permutation(len(others))[:MOST_OTHERS]
    looks = looks_of([*bears, *(others[n] for n in chosen)], given.size)
    given.out.mkdir(parents=True, exist_ok=True)
    rows = given.out / "rows.json"
    kept: dict[str, Any] = json.loads(rows.read_text(encoding="utf-8")) if rows.is_file() else {}
    cache = PictureCache()
    for seed in range(7, 7 + given.seeds):
        for name in given.rows.split(","):
            key = f"{name}/{seed}"
            if key in kept:
                continue
            kept[key] = train_one(name, seed, base, parts, cache, looks)
            part = rows.with_suffix(".part")
            part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            part.replace(rows)
            print(f"{key}: {kept[key]['wall_s']} s, {kept[key]['cpu_s']} s of processor", file=sys.stderr, flush=True)
    print(table(kept))


if __name__ == "__main__":
    main()
