"""The learning-rate finder: a few batches at ever higher rates, and the rate where the loss falls best."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from fastai.callback.schedule import SuggestionMethod
from matplotlib.figure import Figure

from train.catalog.split import Split
from train.learning.backbones import build, find_backbone
from train.learning.callbacks import FrozenStatistics
from train.learning.dataloaders import make_dataloaders
from train.learning.learner import Seen, knowing, make_learner, seed_everything
from train.learning.pictures import PictureCache, examples_of
from train.learning.recipe import Recipe
from train.learning.run import make_folder

BATCHES = 80
FROM, TO = 1e-6, 1.0
PLOT = "lr-find.png"


@dataclass(frozen=True)
class Rates:
    """What the finder saw: rates tried, the smoothed loss at each, and the two suggestions for the head's rate."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    valley: float
    steep: float


def find_rate(
    split: Split, out: Path, recipe: Recipe, *, weights: Path | None = None, cache: PictureCache | None = None
) -> Rates:
    """Try rates from 1e-6 to 1 on the head of a fresh network, and draw OUT/lr-find.png. Trains nothing else.

    Method: Smith 2017, "Cyclical learning rates"; the valley is fastai's. Raises OptionError.
    """
    make_folder(out)
    backbone = find_backbone(recipe.backbone)
    cv2.setNumThreads(1)
    seed_everything(recipe.seed)
    body, head = build(backbone, pretrained=recipe.pretrained, weights=weights, size=recipe.size)
    cache = cache or PictureCache()
    dls = make_dataloaders(split["train"], split["tune"], backbone, recipe, cache)
    learn = make_learner(dls, body, head, recipe)
    learn.add_cbs(knowing(recipe, None, Seen(examples_of(split["train"]), cache, backbone)))
    if recipe.pretrained:
        learn.add_cb(FrozenStatistics())
        learn.freeze()
    with tempfile.TemporaryDirectory() as folder, learn.no_bar(), learn.no_logging():
        learn.path = Path(folder)  # fastai puts the weights aside meanwhile
        methods = (SuggestionMethod.Valley, SuggestionMethod.Steep)
        found = learn.lr_find(FROM, TO, num_it=BATCHES, show_plot=False, suggest_funcs=methods)
    losses = [float(loss) for loss in learn.recorder.losses]
    rates = Rates(tuple(learn.recorder.lrs[: len(losses)]), tuple(losses), float(found.valley), float(found.steep))
    draw(rates.rates, rates.losses, rates.valley, out / PLOT)
    return rates


def draw(rates: Sequence[float], losses: Sequence[float], suggested: float, path: Path) -> None:
    """Loss over learning rate, logarithmic, with the suggestion marked."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, color="tab:blue")
    axes.axvline(suggested, color="tab:orange", linestyle="--", label=f"suggested: {suggested:.1e}")
    axes.set_xlabel("learning rate of the head")
    axes.set_ylabel("training loss, smoothed")
    axes.legend()
    figure.savefig(path, dpi=110)
