"""One training run, from the table of pictures to a folder that ``export`` reads.

RUN/learner.pkl    the exported fastai Learner, which gives an export's answers (a pickle: open only your own)
RUN/settings.json  recipe, versions, digests, counts, licences
RUN/split.csv      the part of each picture, and pictures that could not be read
RUN/metrics.json   figures on the tuning part
RUN/*.png          confusion matrix, top losses, learning curve
"""

from __future__ import annotations

import io
import json
import logging
import os
import platform
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fastai.callback.core import Callback
from fastai.learner import Learner, load_learner
from numpy.typing import NDArray

from edge.detect.card import FrameRule
from edge.detect.classifier import file_digest
from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from edge.version import __version__
from train import first_line
from train.data.decisions import TABLE as DECISIONS
from train.data.pictures import LABELS, TRAINING_LABELS, Catalog, check_trainable, is_bear, table_digest
from train.data.pictures import Picture as Row
from train.data.split import Split, name_of, read_split, write_split
from train.learn.dataloaders import make_dataloaders
from train.learn.distributed import first, rank, run_on_first
from train.learn.examples import PictureCache, Track
from train.learn.hard_negatives import as_notes, kept_crops
from train.learn.inference import SIDES, WINDOWS, EvalCrops, ask_crops, surest_window
from train.learn.learner import allowed_labels, seed_everything, train_learner
from train.learn.network import Backbone, BearNet, build, find_backbone
from train.learn.plots import confusion_picture, learning_curve_picture, top_losses_picture
from train.learn.predict import answering_learner
from train.learn.recipe import Recipe
from train.learn.run_folder import forget, read_settings
from train.metrics.calibration import bear_probability, fit_frame_temperature, fit_temperature, probabilities

log = logging.getLogger(__name__)
FILES = ("split.csv", "settings.json", "learner.pkl")  # a run's files, in the order of their replacement
# Reports beside them; those of an older run would mislead.
REPORTS = ("metrics.json", "confusion-matrix.png", "top-losses.png", "learning-curve.png")


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
    cache: PictureCache | None = None,
    more: Sequence[Row] = (),
    checkpoint: Path | None = None,
) -> dict[str, Any]:
    """Train on ``split`` and write the run's folder; return the metrics. Raises CatalogError, OptionError.

    An older run in the folder stays usable until the new one is trained. ``more``: training pictures without a bear
    outside the catalogue (``train.learn.hard_negatives``). ``checkpoint`` as in ``train_learner``. Of several processes
    (``train.learn.distributed``) the first writes, and the others return nothing.
    """
    check_trainable(catalog)
    make_folder(out)
    backbone = find_backbone(recipe.backbone)
    cv2.setNumThreads(1)
    seed_everything(recipe.seed + rank())
    body, head = build(backbone, pretrained=recipe.pretrained, weights=weights, size=recipe.size)
    learn_from = [*split["train"], *more]
    dls = make_dataloaders(learn_from, split["tune"], backbone, recipe, cache or PictureCache())
    history: list[dict[str, float]] = []
    learn = train_learner(dls, body, head, recipe, backbone, progress, history, checkpoint)

    def finish() -> dict[str, Any]:
        tuned = ask_tune(learn.model, backbone, split["tune"], recipe, track)
        answering = answering_learner(
            learn.model, tuned.temperature, tuned.frame_temperature, learn_from, split["tune"], recipe, aliases or {}
        )
        _write_run(answering, catalog, split, out, recipe, aliases or {}, more)
        forget(out)
        try:
            metrics = measure(tuned, recipe, out) | {"history": history}
            learning_curve_picture(history, out / "learning-curve.png")
            _write(out / "metrics.json", metrics)
        except OSError as error:
            raise OptionError(
                f"{out}: the figures cannot be written ({error.strerror or error}); the network is there without them: "
                "free some space, and train again"
            ) from None
        return metrics

    metrics = run_on_first(finish, cpu=not recipe.fp16)
    return metrics if first() else {}


def make_folder(out: Path) -> None:
    """Make the run's folder, in the first process. Raises OptionError if it cannot be written."""
    if not first():
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OptionError(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None


@dataclass(frozen=True, eq=False)
class Tuned:
    """A network's answers on the tuning part: pictures, crops, logits (N, L), and the fitted temperatures."""

    rows: Sequence[Row]
    crops: EvalCrops
    logits: NDArray[np.float32]
    temperature: float
    frame_temperature: float


def ask_tune(net: BearNet, backbone: Backbone, rows: Sequence[Row], recipe: Recipe, track: Track[Row]) -> Tuned:
    """Run a trained network on the tuning part, and fit its two temperatures, which ``export`` uses too."""
    surest = list[NDArray[np.float32]]()
    crops = EvalCrops.of_tune(
        track(rows, "measuring"),
        recipe.size,
        recipe.seed,
        lambda image: surest.append(surest_window(net, backbone, image)),
    )
    logits = ask_crops(net, backbone, crops.crops)
    bears = np.array([is_bear(row.label) for row in rows])
    return Tuned(
        rows, crops, logits, fit_temperature(logits, crops.labels), fit_frame_temperature(np.stack(surest), bears)
    )


def measure(tuned: Tuned, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Measure the figures of the tuning part; draw confusion matrix and top losses into ``out``."""
    crops, labels = tuned.crops, tuned.crops.labels
    rows_p = probabilities(tuned.logits, tuned.temperature)
    bear = bear_probability(rows_p)
    allowed = allowed_labels().numpy()
    known = [TRAINING_LABELS.index(label) for label in labels]
    losses = -np.log(np.clip((rows_p * allowed[known]).sum(axis=1), 1e-9, 1))
    answers = [LABELS[column] for column in rows_p.argmax(axis=1)]
    far, clean = crops.degraded, np.flatnonzero(~crops.degraded)
    confusion = confusion_picture([labels[n] for n in clean], [answers[n] for n in clean], out / "confusion-matrix.png")
    # For drawing: a name may not be UTF-8.
    names = [tuned.rows[number].file.name.encode(errors="replace").decode() for number in crops.pictures]
    titles = [f"{label}, p(bear) {p:.2f}\n{name[:28]}" for label, p, name in zip(labels, bear, names, strict=True)]
    top_losses_picture(crops.crops, losses, titles, out / "top-losses.png")
    parts = {"clean": ~far, "degraded": far, "all": np.ones(len(far), bool)}
    at = {name: asdict(crops.threshold(bear, recipe.false_positive_rate, part)) for name, part in parts.items()}
    return {
        "part": "tune",
        "pictures": len(tuned.rows),
        "crops": len(labels),
        "temperature": tuned.temperature,
        "frame_temperature": tuned.frame_temperature,
        "error_rate": float(np.mean(~allowed[known, rows_p.argmax(axis=1)])),
        "bear_recall": at["all"]["recall"],
        "false_positive_rate": at["all"]["false_positive_rate"],
        "thresholds": at,
        "confusion": confusion,
    }


class InMemory(io.BytesIO):
    """Buffer for ``Learner.export``: torch's own writer raises a RuntimeError on a full disk."""

    def __rtruediv__(self, folder: Path) -> InMemory:
        return self  # fastai joins its folder and the name


def _write_run(
    learn: Learner,
    catalog: Catalog,
    split: Split,
    out: Path,
    recipe: Recipe,
    aliases: Mapping[str, str],
    more: Sequence[Row],
) -> None:
    """Write split, settings and learner beside an older run's files, then replace those.

    The settings have the digests of the other two, so that two runs cannot be mixed. Raises OptionError if they cannot
    be written; the older run is then unchanged.
    """
    learn.path, learner = out, InMemory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn.export(learner)
    staged = {name: out / f"{name}.part" for name in FILES}
    try:
        replace_whole(staged["learner.pkl"], learner.getvalue())
        split_digest = write_split(split, catalog.root, staged["split.csv"], catalog.left_out)
        settings = _settings(catalog, split, recipe, split_digest, kept_crops(more, out)) | {"aliases": dict(aliases)}
        _write(staged["settings.json"], settings | {"learner_sha256": file_digest(staged["learner.pkl"])})
        for name in REPORTS:
            (out / name).unlink(missing_ok=True)
        for name, file in staged.items():
            file.replace(out / name)
    except OSError as error:
        raise OptionError(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None
    except OptionError as error:
        raise OptionError(f"{error}; free some space, and train again: {out} is unchanged") from None
    finally:
        for file in staged.values():
            file.unlink(missing_ok=True)


def _settings(catalog: Catalog, split: Split, recipe: Recipe, split_digest: str, more: Sequence[Row]) -> dict[str, Any]:
    trained = [*split["train"], *more]
    return {
        "recipe": asdict(recipe),
        "catalog": str(catalog.root.resolve()),
        "manifest": catalog.manifest,
        "called": catalog.called,
        "catalog_sha256": catalog.digest,
        "left_out": sorted(name_of(row, catalog.root) for row in catalog.left_out),
        "split_sha256": split_digest,
        "parts": {
            name: {
                "pictures": len(part),
                "sources": sorted({row.source for row in part}),
                "labels": dict(Counter(row.label for row in part)),
            }
            for name, part in split.items()
        },
        "hard_negatives": as_notes(more),
        "counts_by_source": dict(Counter(row.source for row in trained).most_common()),
        # The tuning part gives thresholds, temperature and int8 ranges: its licences count too.
        "counts_by_licence": dict(Counter(row.licence for row in (*trained, *split["tune"])).most_common()),
        "versions": {name: version(name) for name in ("torch", "fastai", "timm", "numpy", "opencv-python-headless")}
        | {"python": platform.python_version(), "bear-alarm": __version__},
        "cores": os.cpu_count(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    # A name that is not UTF-8 has lone surrogates: JSON writes them with backslashes.
    replace_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder."""

    folder: Path
    learner: Learner
    recipe: Recipe
    settings: dict[str, Any]

    @property
    def net(self) -> BearNet:
        """Return the trained network."""
        net: BearNet = self.learner.model.net
        return net

    @property
    def temperature(self) -> float:
        """Return the temperature, the divisor of logits, fitted on the tuning part."""
        return float(self.learner.model.temperature)

    @property
    def frame(self) -> FrameRule:
        """Return the rule of the frame scan, with its temperature."""
        return FrameRule(SIDES, WINDOWS, float(self.learner.model.frame_temperature))

    @property
    def backbone(self) -> Backbone:
        """Return the network's backbone."""
        return find_backbone(self.recipe.backbone)

    def split(self, catalog: Catalog) -> Split:
        """Return the run's three parts, as pictures of the catalogue.

        Raises CatalogError unless they are the pictures it was trained on; skipped ones may be gone or repaired.
        """
        split = read_split(catalog, self.folder / "split.csv")
        pictures = [picture for part in split.values() for picture in part]
        if table_digest(pictures, catalog.root) != self.settings.get("catalog_sha256"):
            cure = "restore them, or train again"
            if (catalog.root / DECISIONS).exists():
                cure = f"decisions about labels count too: `bear-alarm clean {self.folder} --retrain`, or --undo"
            known = sum(part["pictures"] for part in self.settings.get("parts", {}).values())
            raise CatalogError(
                f"{catalog.root}: pictures, labels or boxes changed since {self.folder} was trained (it had {known} "
                f"pictures, {len(pictures)} of them are there); {cure}"
            )
        return split


def read_run(folder: Path) -> Run:
    """Read a run's folder. Raises CatalogError if it is none, or its files are of different runs."""
    for name in ("learner.pkl", "settings.json", "split.csv"):
        if not (folder / name).is_file():
            raise CatalogError(
                f"{folder}: not a finished training run ({name} is missing); make one with `bear-alarm train`"
            )
    settings, known = read_settings(folder), {field.name for field in fields(Recipe)}
    try:
        recipe = Recipe(**{key: value for key, value in settings["recipe"].items() if key in known})
    except (KeyError, TypeError):
        raise CatalogError(
            f"{folder / 'settings.json'}: damaged, its recipe cannot be read; train the run again"
        ) from None
    for entry, name in (("learner_sha256", "learner.pkl"), ("split_sha256", "split.csv")):
        if settings.get(entry) != file_digest(folder / name):
            raise CatalogError(
                f"{folder}: {name} and settings.json are of two different runs, "
                "as after an interrupted training over an older run; train the run again"
            )
    older = CatalogError(
        f"{folder / 'learner.pkl'}: an older version of Bear Alarm made it, and this one cannot use it; "
        "train the run again"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            learner = load_learner(folder / "learner.pkl")
        except (AttributeError, ImportError, UnboundLocalError):
            # It names older classes and modules; fastai ignores the ImportError and fails a line later.
            raise older from None
        except Exception as error:  # a damaged pickle may raise anything
            why = f"{type(error).__name__}: {first_line(error)}"
            raise CatalogError(f"{folder / 'learner.pkl'}: cannot be read ({why}); train the run again") from None
    if tuple(getattr(learner.model, "labels", ())) != LABELS or not hasattr(learner.model, "frame_temperature"):
        raise older
    learner.model.eval()
    return Run(folder, learner, recipe, settings)
