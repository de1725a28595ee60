"""One training run, from the table of pictures to a folder that ``export`` understands.

RUN/learner.pkl    the exported fastai Learner, which answers as an export does (a pickle: open only your own)
RUN/settings.json  recipe, versions, digests, counts, licences
RUN/split.csv      which picture was in which part, and which could not be read
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
from fastai.callback.core import Callback
from fastai.learner import Learner, load_learner

from edge import __version__
from edge.detect.card import FrameRule
from edge.detect.classifier import file_digest
from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from train.data.decisions import TABLE as DECISIONS
from train.data.pictures import LABELS, Catalog, check_trainable, table_digest
from train.data.pictures import Picture as Row
from train.data.split import Split, name_of, read_split, write_split
from train.learning.answering import answering_learner
from train.learning.backbones import Backbone, build, find_backbone
from train.learning.begun import forget
from train.learning.dataloaders import make_dataloaders
from train.learning.hard_negatives import kept_crops, noted
from train.learning.learner import seed_everything, train_learner
from train.learning.measure import ask_tune, measure
from train.learning.network import BearNet
from train.learning.pictures import PictureCache, Track
from train.learning.recipe import Recipe
from train.learning.run_plots import learning_curve_picture
from train.learning.scanning import SIDES, WINDOWS
from train.learning.together import first, of_first, rank

log = logging.getLogger(__name__)
FILES = ("split.csv", "settings.json", "learner.pkl")  # what makes a run, in the order they are put in place
# What a run says of itself beside them; of an older run it would mislead.
REPORTS = ("metrics.json", "confusion-matrix.png", "top-losses.png", "learning-curve.png")


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
        net: BearNet = self.learner.model.net
        return net

    @property
    def temperature(self) -> float:
        """Return the temperature: logits are divided by it; fitted on the tuning part."""
        return float(self.learner.model.temperature)

    @property
    def frame(self) -> FrameRule:
        """Return the rule of the frame scan, with its temperature."""
        return FrameRule(SIDES, WINDOWS, float(self.learner.model.frame_temperature))

    @property
    def backbone(self) -> Backbone:
        """The network's backbone."""
        return find_backbone(self.recipe.backbone)

    def split(self, catalog: Catalog) -> Split:
        """The run's three parts, as pictures of the catalogue.

        Raises CatalogError unless they are the pictures it was trained on; those it left out may be gone or mended.
        """
        split = read_split(catalog, self.folder / "split.csv")
        pictures = [picture for part in split.values() for picture in part]
        if table_digest(pictures, catalog.root) != self.settings.get("catalog_sha256"):
            cure = "put them back as they were, or train again"
            if (catalog.root / DECISIONS).exists():
                cure = f"decisions about labels count too: `bear-alarm clean {self.folder} --retrain`, or --undo"
            known = sum(part["pictures"] for part in self.settings.get("parts", {}).values())
            raise CatalogError(
                f"{catalog.root}: pictures, labels or boxes changed since {self.folder} was trained (it knew {known} "
                f"pictures, {len(pictures)} of them are there); {cure}"
            )
        return split


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
    """Train on ``split`` and write the run's folder; returns the metrics. Raises CatalogError, OptionError.

    A run that is in the folder already stays whole until the new one is trained. ``more``: pictures without a bear to
    train on that are not of the catalogue (``train.learning.hard_negatives``). ``checkpoint`` as in ``train_learner``.
    Of several processes (``train.learning.together``) the first writes, and the others return nothing.
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
        _keep(answering, catalog, split, out, recipe, aliases or {}, more)
        forget(out)
        try:
            metrics = measure(tuned, recipe, out) | {"history": history}
            learning_curve_picture(history, out / "learning-curve.png")
            _write(out / "metrics.json", metrics)
        except OSError as error:
            raise OptionError(
                f"{out}: the figures cannot be written ({error.strerror or error}); the network is there without them: "
                "make room, and train again"
            ) from None
        return metrics

    metrics = of_first(finish, cpu=not recipe.fp16)
    return metrics if first() else {}


def make_folder(out: Path) -> None:
    """Make the run's folder; of several processes the first does. Raises OptionError where nothing can be written."""
    if not first():
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OptionError(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None


class InMemory(io.BytesIO):
    """Where ``Learner.export`` writes in place of a file: torch's own writer says of a full disk a RuntimeError."""

    def __rtruediv__(self, folder: Path) -> InMemory:
        return self  # fastai joins its folder and the name it is given


def _keep(
    learn: Learner,
    catalog: Catalog,
    split: Split,
    out: Path,
    recipe: Recipe,
    aliases: Mapping[str, str],
    more: Sequence[Row],
) -> None:
    """Write split, settings and learner beside an older run's, then put all three in its place.

    The settings name the digests of the other two, so that no two runs get mixed. Raises OptionError, the older run
    still whole, where they cannot be written.
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
        raise OptionError(f"{error}; make room, and train again: {out} is as it was before") from None
    finally:
        for file in staged.values():
            file.unlink(missing_ok=True)


def read_run(folder: Path) -> Run:
    """A run's folder. Raises CatalogError when it is not one, or its files are not of one run."""
    for name in ("learner.pkl", "settings.json", "split.csv"):
        if not (folder / name).is_file():
            raise CatalogError(
                f"{folder}: not a finished training run ({name} is missing); make one with `bear-alarm train`"
            )
    known = {field.name for field in fields(Recipe)}
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        recipe = Recipe(**{key: value for key, value in settings["recipe"].items() if key in known})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CatalogError(
            f"{folder / 'settings.json'}: damaged, not the settings of a run; train the run again"
        ) from None
    for entry, name in (("learner_sha256", "learner.pkl"), ("split_sha256", "split.csv")):
        digest = settings.get(entry)  # runs of 0.1.0 have none
        if digest and digest != file_digest(folder / name):
            raise CatalogError(
                f"{folder}: {name} and settings.json are of two different runs, "
                "as when a training over an older run was broken off; train the run again"
            )
    older = CatalogError(
        f"{folder / 'learner.pkl'}: an older version of Bear Alarm made it, and this one cannot use it; "
        "train the run again"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            learner = load_learner(folder / "learner.pkl")
        except (AttributeError, ImportError):  # it names classes and modules of its time
            raise older from None
        except Exception as error:  # whatever a damaged pickle leads to
            first = (str(error).splitlines() or [""])[0][:80]
            raise CatalogError(
                f"{folder / 'learner.pkl'}: cannot be read ({type(error).__name__}: {first}); train the run again"
            ) from None
    if not hasattr(learner.model, "frame_temperature"):  # it knew no frame scan
        raise older
    labels = getattr(learner.model, "labels", ())
    if tuple(labels) != LABELS:
        raise CatalogError(
            f"{folder / 'learner.pkl'}: it answers the labels {', '.join(labels) or 'of another network'}, "
            f"and this version knows {', '.join(LABELS)}; train the run again"
        )
    learner.model.eval()
    return Run(folder, learner, recipe, settings)


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
        "hard_negatives": noted(more),
        "counts_by_source": dict(Counter(row.source for row in trained).most_common()),
        # The tuning part makes the thresholds, the temperature and the int8 ranges: its licences count too.
        "counts_by_licence": dict(Counter(row.licence for row in (*trained, *split["tune"])).most_common()),
        "versions": {name: version(name) for name in ("torch", "fastai", "timm", "numpy", "opencv-python-headless")}
        | {"python": platform.python_version(), "bear-alarm": __version__},
        "cores": os.cpu_count(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    # A name that is not UTF-8 has lone surrogates: their backslashes are JSON's own spelling of them.
    replace_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
