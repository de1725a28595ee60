"""A run's folder as the report reads it: settings, figures, test pictures, and its model, exported or not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import CARD_VERSION, Card, CropRule, OutOfDomain, Parity, Threshold
from edge.detect.classifier import Classifier
from edge.errors import CatalogError, ModelError
from edge.version import __version__
from train.data.pictures import ALARM_LABELS, LABELS, Picture, table_digest
from train.data.split import name_of, split_rows
from train.evaluate.held_out import split_digest
from train.learn.run_folder import read_json, read_settings, run_catalog
from train.metrics.calibration import probabilities

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFiles:
    """A run without its Learner, so without torch."""

    folder: Path
    settings: dict[str, Any]
    metrics: dict[str, Any]  # empty if the run has none
    root: Path  # the folder of its pictures
    test: tuple[Picture, ...]


def read_files(folder: Path, data: Path | None, aliases: Mapping[str, str]) -> RunFiles:
    """Read the run in ``folder`` and its test pictures, as ``run_catalog`` finds them. Raises CatalogError.

    Changed pictures are reported, and later ones are skipped.
    """
    settings = read_settings(folder)
    catalog = run_catalog(settings, data, aliases)
    parts = {row["file"]: row["split"] for row in split_rows(folder / "split.csv")}
    digest = settings.get("split_sha256")
    if digest and split_digest(folder / "split.csv") != digest:
        raise CatalogError(
            f"{folder / 'split.csv'}: changed since the run was trained, so the test part is not known; restore it or "
            "train the run again"
        )
    known = [picture for picture in catalog.pictures if name_of(picture, catalog.root) in parts]
    if len(known) < len(catalog.pictures):
        log.warning(
            "%d pictures were added after the run was trained and are skipped", len(catalog.pictures) - len(known)
        )
    used = [picture for picture in known if parts[name_of(picture, catalog.root)] in ("train", "tune", "test")]
    if table_digest(used, catalog.root) != settings.get("catalog_sha256"):
        log.warning("pictures or labels changed since %s was trained; the report uses the present ones", folder)
    test = tuple(picture for picture in used if parts[name_of(picture, catalog.root)] == "test")
    if not test:
        raise CatalogError(f"{folder / 'split.csv'}: no picture of the test part is in {catalog.root}; check --data")
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    return RunFiles(folder, settings, metrics, catalog.root, test)


def exported(run: RunFiles) -> Path | None:
    """Find the model file exported from this run, in its folder or beside it, int8 before fp32; None if there is none.

    A damaged file is reported and skipped.
    """
    folder = run.folder.resolve()
    near = [*sorted(run.folder.glob("*.onnx")), folder.with_name(folder.name + ".onnx")]  # run.2 -> run.2.onnx
    found = []
    for path in near:
        try:
            card = Classifier(path).card if path.is_file() else None
        except ModelError as error:
            log.warning("%s", error)
            continue
        if card is not None and belongs(card.digests, run):
            found.append((card.precision != "int8", path))
    return min(found)[1] if found else None


def belongs(digests: Mapping[str, str], run: RunFiles) -> bool:
    """Return True if a card is of this run: the same split, and the same Learner if both name one."""
    split, learner = (run.settings.get(name) for name in ("split_sha256", "learner_sha256"))
    same = not learner or digests.get("learner_sha256", learner) == learner
    return bool(split) and digests.get("split_sha256") == split and same


class TrainedNet(Classifier):
    """A trained network before its export, in float32, with the tuning part's temperature and threshold. Needs torch.

    Its ``frame`` threshold is that of crops, because only an export fits one on whole pictures; it has no ood score.
    Raises CatalogError if the run has no figures of its tuning part.
    """

    def __init__(self, run: RunFiles) -> None:  # no ONNX file to open
        from train.learn.inference import CONTEXT
        from train.learn.run import read_run

        found = read_run(run.folder)
        self._temperature = found.temperature
        try:
            limit = Threshold(**{**run.metrics["thresholds"]["all"], "sources": ()})
        except (KeyError, TypeError, ValueError):
            raise CatalogError(
                f"{run.folder / 'metrics.json'}: missing or damaged; export the run and give --model"
            ) from None
        self._run = found
        self.path = Path(run.folder)
        self.digest = str(run.settings.get("learner_sha256") or "0" * 64)
        self.size = found.recipe.size
        self.fallback, self.golden_error = False, 0.0
        self.card = Card(
            card_version=CARD_VERSION,
            name=f"{run.folder.name}, not exported",
            labels=LABELS,
            alarm_labels=ALARM_LABELS,
            input_sizes=(self.size,),
            crop=CropRule(CONTEXT, True, "INTER_AREA", "INTER_LINEAR"),
            temperature=self._temperature,
            thresholds={"crop": limit, "frame": limit},
            prior=0.5,
            ood=OutOfDomain("none", float("inf"), 1.0),
            backbone=found.recipe.backbone,
            precision="fp32",
            quantization=None,
            parity=Parity(0, 0, (), 0.0),
            digests={
                name: str(run.settings[name]) for name in ("split_sha256", "learner_sha256") if run.settings.get(name)
            },
            counts_by_source=dict(run.settings.get("counts_by_source", {})),
            counts_by_licence=dict(run.settings.get("counts_by_licence", {})),
            licence="",
            notice=None,
            golden=(),
            golden_tolerance=0.01,
            created=str(run.settings.get("created", "")),
            tool_version=__version__,
            frame=found.frame,
        )

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (N, labels) of uint8 crops (N, size, size, 3) BGR, and zeros for ood (N,)."""
        from train.learn.inference import ask_crops

        logits = ask_crops(self._run.net, self._run.backbone, crops)
        return probabilities(logits, self._temperature).astype(np.float32), np.zeros(len(crops), np.float32)

    def windows(
        self, frames: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the windows of frames (N, H, W, 3) as an exported file does, and zeros for ood."""
        from train.learn.inference import ask_frame

        asked = [ask_frame(self._run.net, self._run.backbone, frame) for frame in frames]
        windows = [probabilities(logits, self._run.frame.temperature).astype(np.float32) for logits, _ in asked]
        return np.stack(windows), np.stack([heat for _, heat in asked]), np.zeros(len(frames), np.float32)
