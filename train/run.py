"""One training run, from the table of pictures to a folder that ``export`` understands.

RUN/learner.pkl    the exported fastai Learner (a pickle: open only your own)
RUN/settings.json  recipe, versions, digests, counts, licences
RUN/split.csv      which picture was in which part
RUN/metrics.json   figures on the tuning part
RUN/*.png          confusion matrix, top losses, learning curve
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from fastai.callback.core import Callback
from fastai.learner import Learner, load_learner

from edge import __version__
from edge.errors import CatalogError
from edge.schema import Picture
from train.backbones import Backbone, build, find_backbone
from train.calibrate import bear_probability, fit_temperature, fit_threshold, probabilities
from train.catalog import BEAR_ANY, Catalog, check_trainable, is_bear
from train.catalog import Picture as Row
from train.dataloaders import PictureCache, make_dataloaders
from train.learner import Recipe, allowed_labels, seed_everything, train_learner
from train.network import BearNet
from train.probe import ask, crops_of
from train.report import confusion_picture, learning_curve_picture, top_losses_picture
from train.split import Split, read_split, write_split

log = logging.getLogger(__name__)
T = TypeVar("T")
CONTEXT = 1.1  # the crop's side over the region's longer side; looser crops lose far bears
Track = Callable[[Iterable[T], str], Iterator[T]]


@dataclass(frozen=True)
class Run:
    """A finished run, read back."""

    folder: Path
    learner: Learner
    recipe: Recipe
    settings: dict[str, Any]

    @property
    def net(self) -> BearNet:
        """The trained network."""
        net: BearNet = self.learner.model
        return net

    @property
    def backbone(self) -> Backbone:
        """The network's backbone."""
        return find_backbone(self.recipe.backbone)

    def split(self, catalog: Catalog) -> Split:
        """The run's three parts, as pictures of the catalogue."""
        return read_split(catalog, self.folder / "split.csv")


def train_run(
    catalog: Catalog,
    split: Split,
    out: Path,
    recipe: Recipe,
    *,
    weights: Path | None = None,
    progress: Callback | None = None,
    track: Track = lambda items, words: iter(items),
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train on ``split`` and write the run's folder; returns the metrics. Raises CatalogError, OptionError."""
    check_trainable(catalog)
    out.mkdir(parents=True, exist_ok=True)
    backbone = find_backbone(recipe.backbone)
    cv2.setNumThreads(1)
    seed_everything(recipe.seed)
    body, old_head = build(backbone, pretrained=recipe.pretrained, weights=weights)
    split_digest = write_split(split, catalog.root, out / "split.csv")
    _write(out / "settings.json", _settings(catalog, split, recipe, split_digest) | {"aliases": dict(aliases or {})})
    dls = make_dataloaders(
        split["train"], split["tune"], backbone, batch=recipe.batch, per_epoch=recipe.per_epoch, size=recipe.size
    )
    history: list[dict[str, float]] = []
    learn = train_learner(dls, body, old_head, recipe, progress, history)
    learn.path = out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn.export("learner.pkl")
    metrics = measure(learn.model, backbone, split["tune"], recipe, out, track) | {"history": history}
    learning_curve_picture(history, out / "learning-curve.png")
    _write(out / "metrics.json", metrics)
    return metrics


def measure(
    net: BearNet, backbone: Backbone, rows: Sequence[Row], recipe: Recipe, out: Path, track: Track
) -> dict[str, Any]:
    """Figures on the tuning part through the runtime's own crops; draws the confusion matrix and top losses."""
    rng, read = np.random.default_rng(recipe.seed), PictureCache()
    crops: list[Picture] = []
    labels: list[str] = []
    names: list[str] = []
    degraded: list[bool] = []
    for row in track(rows, "measuring"):
        cut = crops_of(row, read(row.file), recipe.size, CONTEXT, rng, degraded=2)
        crops += cut
        labels += [row.label] * len(cut)
        names += [row.file.name] * len(cut)
        degraded += [n >= len(cut) - 2 for n in range(len(cut))]
    logits, _ = ask(net, backbone, np.stack(crops))
    bears, far = np.array([is_bear(label) for label in labels]), np.array(degraded)
    temperature = fit_temperature(logits, labels)
    rows_p = probabilities(logits, temperature)
    bear = bear_probability(rows_p)
    sources = [row.source for row in rows]
    allowed = allowed_labels().numpy()
    known = [net.labels.index(label) if label != BEAR_ANY else len(net.labels) for label in labels]
    losses = -np.log(np.clip((rows_p * allowed[known]).sum(axis=1), 1e-9, 1))
    answers = [net.labels[column] for column in rows_p.argmax(axis=1)]
    clean = np.flatnonzero(~far)
    confusion = confusion_picture([labels[n] for n in clean], [answers[n] for n in clean], out / "confusion-matrix.png")
    titles = [f"{labels[n]}, p(bear) {bear[n]:.2f}\n{names[n][:28]}" for n in range(len(labels))]
    top_losses_picture(crops, losses, titles, out / "top-losses.png")
    parts = {"clean": ~far, "degraded": far, "all": np.ones(len(far), bool)}
    at = {
        name: asdict(fit_threshold(bear[part], bears[part], recipe.false_positive_rate, sources))
        for name, part in parts.items()
    }
    return {
        "part": "tune",
        "pictures": len(rows),
        "crops": len(crops),
        "temperature": temperature,
        "error_rate": float(
            np.mean([not allowed[k, net.labels.index(a)] for k, a in zip(known, answers, strict=True)])
        ),
        "bear_recall": at["all"]["recall"],
        "false_positive_rate": at["all"]["false_positive_rate"],
        "thresholds": at,
        "confusion": confusion,
    }


def read_run(folder: Path) -> Run:
    """A run's folder. Raises CatalogError when it is not one."""
    for name in ("learner.pkl", "settings.json", "split.csv"):
        if not (folder / name).is_file():
            raise CatalogError(
                f"{folder}: not a finished training run ({name} is missing); make one with `bear-alarm train`"
            )
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except ValueError:
        raise CatalogError(f"{folder / 'settings.json'}: damaged, not JSON; train the run again") from None
    known = {field.name for field in fields(Recipe)}
    recipe = Recipe(**{key: value for key, value in settings["recipe"].items() if key in known})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            learner = load_learner(folder / "learner.pkl")
        except (pickle.UnpicklingError, EOFError, RuntimeError, AttributeError) as error:
            raise CatalogError(
                f"{folder / 'learner.pkl'}: cannot be read ({str(error).splitlines()[0][:80]}); train the run again"
            ) from None
    learner.model.eval()
    return Run(folder, learner, recipe, settings)


def _settings(catalog: Catalog, split: Split, recipe: Recipe, split_digest: str) -> dict[str, Any]:
    trained = split["train"]
    return {
        "recipe": asdict(recipe),
        "catalog": str(catalog.root.resolve()),
        "catalog_sha256": catalog.digest,
        "split_sha256": split_digest,
        "parts": {
            name: {
                "pictures": len(part),
                "sources": sorted({row.source for row in part}),
                "labels": dict(Counter(row.label for row in part)),
            }
            for name, part in split.items()
        },
        "counts_by_source": dict(Counter(row.source for row in trained).most_common()),
        "counts_by_licence": dict(Counter(row.licence for row in trained).most_common()),
        "versions": {name: version(name) for name in ("torch", "fastai", "timm", "numpy", "opencv-python-headless")}
        | {"python": platform.python_version(), "bear-alarm": __version__},
        "cores": os.cpu_count(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
