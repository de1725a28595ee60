"""A run that was not exported yet, asked as if it were: the Learner behind the runtime's own crops and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.detect.card import CARD_VERSION, Card, CropRule, OutOfDomain, Parity, Threshold
from edge.detect.classifier import Classifier
from edge.errors import CatalogError
from train.data.pictures import ALARM_LABELS, LABELS
from train.metrics import probabilities
from train.report.run_files import RunFiles


class TrainedNet(Classifier):
    """The trained network in float32, with the temperature and threshold of its tuning part. Needs torch.

    Its ``frame`` threshold is the crops', for only an export fits one on whole pictures; it has no ood score.
    Raises CatalogError when the run has no figures of its tuning part.
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
        """Probabilities (N, labels) of uint8 crops (N, size, size, 3) BGR, and zeros in the place of ood (N,)."""
        from train.learn.inference import ask

        logits = ask(self._run.net, self._run.backbone, crops)[0]
        return probabilities(logits, self._temperature).astype(np.float32), np.zeros(len(crops), np.float32)

    def windows(
        self, frames: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the windows of frames (N, H, W, 3) as an exported file has them, and zeros in the place of ood."""
        from train.learn.inference import ask_frame

        asked = [ask_frame(self._run.net, self._run.backbone, frame) for frame in frames]
        windows = [probabilities(logits, self._run.frame.temperature).astype(np.float32) for logits, _ in asked]
        return np.stack(windows), np.stack([heat for _, heat in asked]), np.zeros(len(frames), np.float32)
