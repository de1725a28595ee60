"""Make a card: thresholds, out-of-domain reference, golden vectors, counts and licence.

Golden vectors are small inputs with known answers, with which a device checks its arithmetic. They are made from noise
by gradient ascent until the network is sure of a label (activation maximisation, Erhan et al. 2009): the model file has
no photograph in it.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edge.detect.card import (
    CARD_VERSION,
    EVALUATION_ONLY,
    Card,
    CropRule,
    DriftReference,
    GoldenFrame,
    GoldenVector,
    OutOfDomain,
    Parity,
    Threshold,
    golden_digest,
    input_format,
)
from edge.detect.crops import fit, fit_to
from edge.detect.drift import brightness, spread
from edge.schema import Picture
from edge.version import __version__
from export.graph import put_card
from export.quantize import RECIPE
from export.verify import learned_places, picture_scores, scan_of_file, session_of
from train.data.licences import OWN, may_ship
from train.data.pictures import ALARM_LABELS, LABELS, is_bear
from train.data.split import Split
from train.learn.inference import CONTEXT, EvalCrops
from train.learn.network import Backbone, BearNet
from train.learn.ood import METHOD, QUANTILE, in_domain, kind_of, ood_threshold
from train.learn.run import Run
from train.metrics.calibration import bear_probability, fit_threshold

TOLERANCE = {"fp32": 0.01, "int8": 0.12}  # int8 logits differ by up to 0.25 between Arm and x86
BATCH = 16


def answers(path: Path, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return probabilities (N, L) and ood (N,) of an ONNX file that has no card yet."""
    session = session_of(path)
    parts = [
        session.run(["probabilities", "ood"], {"crops": crops[start : start + BATCH]})
        for start in range(0, len(crops), BATCH)
    ]
    return np.concatenate([p for p, _ in parts]).astype(np.float64), np.concatenate([ood for _, ood in parts])


class CardMaker:
    """The common part of a run's cards, and the fit of each file's own figures."""

    def __init__(self, run: Run, split: Split, tune: EvalCrops, licence: str | None):
        self.run, self.split, self.tune, self.licence = run, split, tune, licence
        self.rate = run.recipe.false_positive_rate
        self.golden = golden_inputs(run.net, run.backbone, run.temperature, run.recipe.size, run.recipe.seed)

    def card(
        self,
        precision: str,
        path: Path,
        parity: Parity,
        tuned: tuple[NDArray[np.float64], NDArray[np.float32]],
        frames: NDArray[np.float64],
    ) -> Card:
        """Make the card of one file, and write it into the file.

        ``tuned``: its answers (probabilities, ood) to the tuning crops; ``frames`` (N,): bear probabilities of the
        tuning pictures and of ``learned_places`` by the frame scan.
        """
        tune_p, tune_ood = tuned
        golden_p, golden_ood = answers(path, enlarged(self.golden, self.run.recipe.size))
        frame = golden_frame(self.golden)
        golden_bear = picture_scores([scan_of_file(path)(fit_to(frame, FRAME_WH))])[0]
        vectors = tuple(
            GoldenVector(encode(picture), tuple(round(float(p), 6) for p in row), round(float(ood), 4))
            for picture, row, ood in zip(self.golden, golden_p, golden_ood, strict=True)
        )
        licences = self.run.settings["counts_by_licence"]
        card = Card(
            card_version=CARD_VERSION,
            name="bear",
            labels=LABELS,
            alarm_labels=ALARM_LABELS,
            input_sizes=(self.run.recipe.size,),
            crop=CropRule(CONTEXT, True, "INTER_AREA", "INTER_LINEAR"),
            temperature=self.run.temperature,
            thresholds={
                "crop": self.tune.threshold(bear_probability(tune_p), self.rate),
                "frame": self.frame_threshold(frames),
            },
            prior=round(float(self.tune.bears.mean()), 4),
            ood=self.out_of_domain(tune_ood),
            backbone=self.run.recipe.backbone,
            precision=precision,  # type: ignore[arg-type]
            quantization=RECIPE if precision == "int8" else None,
            parity=parity,
            digests={
                "catalog_sha256": self.run.settings["catalog_sha256"],
                "split_sha256": self.run.settings["split_sha256"],
                **{name: digest for name, digest in self.run.settings.items() if name == "learner_sha256"},
            },
            counts_by_source=self.run.settings["counts_by_source"],
            counts_by_licence=licences,
            licence=self.licence or licence_line(licences),
            notice=EVALUATION_ONLY if unclear(licences) else None,
            golden=vectors,
            golden_tolerance=TOLERANCE[precision],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
            input_format=input_format((self.run.recipe.size,)),
            drift=self.drift_reference(tune_p, tune_ood),
            golden_sha256=golden_digest(LABELS, ALARM_LABELS, vectors),
            frame=self.run.frame,
            golden_frames=(GoldenFrame(encode(frame), FRAME_WH, round(float(golden_bear), 6)),),
        )
        put_card(path, card)
        return card

    def out_of_domain(self, tune_ood: NDArray[np.float32]) -> OutOfDomain:
        """Fit the threshold that 95 % of the clean, and of the degraded, in-domain tuning crops pass."""
        tune, inside = self.tune, self.inside
        value = ood_threshold(tune_ood[inside].astype(np.float64), tune.degraded[inside])
        return OutOfDomain(
            METHOD,
            float(np.ceil(value * 1e4) / 1e4),
            QUANTILE,
            crops=int(inside.sum()),
            pictures=len(np.unique(tune.pictures[inside])),
            sources=tuple(sorted({row.source for row in in_domain(self.split["tune"])})),
        )

    def drift_reference(self, tune_p: NDArray[np.float64], tune_ood: NDArray[np.float32]) -> DriftReference:
        """Describe scores and brightness of the in-domain tuning crops; a device compares its weeks with them."""
        inside = self.inside
        return DriftReference(
            ood=spread(tune_ood[inside]),
            bear=spread(bear_probability(tune_p[inside])),
            brightness=spread([brightness(crop) for crop in self.tune.crops[inside]]),
            crops=int(inside.sum()),
            pictures=len(np.unique(self.tune.pictures[inside])),
        )

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Return which tuning crops are in-domain (N,); all if none is."""
        of_domain = np.array([kind_of(row) is None for row in self.split["tune"]])[self.tune.pictures]
        return of_domain if of_domain.any() else np.ones(len(of_domain), bool)

    def frame_threshold(self, bear: NDArray[np.float64]) -> Threshold:
        """Fit the threshold for whole pictures, from the frame scan's scores ``bear`` (N,) of the tuning part and more.

        If the part has bears of trail cameras, only those count as bears: bears of photographs fill the picture, and
        would raise the threshold above a camera's bears. At most the recipe's share of the others may pass: of all, of
        trail cameras' frames, and of these together with ``learned_places``, because the tuning part has few cameras.
        """
        rows = [*self.split["tune"], *learned_places(self.split)]
        tune = np.arange(len(rows)) < len(self.split["tune"])
        bears = np.array([is_bear(row.label) for row in rows])
        trail = np.array([bool(row.of_trail_camera) for row in rows])
        if not (bears & trail).any():
            return fit_threshold(bear[tune], bears[tune], self.rate, self.tune.sources)
        limits = [
            fit_threshold(bear[some], bears[some], self.rate, self.tune.sources, of_found=True)
            for some in (tune & (~bears | trail), tune & trail)
        ]
        limits += [fit_threshold(bear[trail], bears[trail], self.rate, sorted({row.source for row in rows}))]
        return max(limits, key=lambda limit: limit.value)


def unclear(licences: dict[str, int]) -> bool:
    """Return True if one of these licences keeps the model from being passed on, or may do so."""
    return not all(may_ship(licence) for licence in licences)


def licence_line(licences: dict[str, int]) -> str:
    """Write one line on what the model may be used for, from its pictures' licences."""
    total = sum(licences.values())
    vague = sum(count for licence, count in licences.items() if unclear({licence: 1}))
    if vague:
        what = "state no licence or one that keeps a model from being passed on"
        return f"not free to use: {vague} of the {total} training and tuning pictures {what}"
    stated = ", ".join(sorted(licence for licence in licences if licence not in ("", OWN)))
    if not stated:
        return "the pictures' owner decides (state it with --licence)"
    owned = sum(count for licence, count in licences.items() if licence in ("", OWN))
    rest = f"; of {owned} pictures of their owner the owner decides (state it with --licence)" if owned else ""
    return f"trained on pictures under {stated}{rest}"


SIDE = 40  # pixels; the usual preprocessing enlarges it
FRAME_WH = 448, 256  # pixels
STEPS = 160
SURE = 0.97


def golden_inputs(net: BearNet, backbone: Backbone, temperature: float, size: int, seed: int) -> list[Picture]:
    """Make one input (SIDE, SIDE, 3) uint8 BGR for each label, and one of plain noise."""
    generator = torch.Generator().manual_seed(seed)
    return [
        *(_grow(net, backbone, temperature, size, column, generator) for column in range(len(net.labels))),
        _picture(_noise(generator)),
    ]


def encode(picture: Picture) -> str:
    """Encode a picture as a base64 PNG."""
    _, png = cv2.imencode(".png", picture)
    return base64.b64encode(png.tobytes()).decode("ascii")


def enlarged(pictures: list[Picture], size: int) -> np.ndarray:
    """Enlarge the inputs to the network's size: uint8 (N, size, size, 3)."""
    return np.stack([fit(picture, size) for picture in pictures])


def golden_frame(inputs: list[Picture]) -> Picture:
    """Put the golden inputs side by side, (2 SIDE, n SIDE, 3): enlarged to ``FRAME_WH``, a frame to scan."""
    half = len(inputs) // 2
    return np.vstack([np.hstack(inputs[:half]), np.hstack(inputs[half : 2 * half])])


def _noise(generator: torch.Generator) -> Tensor:
    """Draw smooth coloured noise (1, 3, SIDE, SIDE), RGB in 0 to 1."""
    coarse = torch.rand((1, 3, 6, 6), generator=generator)
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0.05, 0.95)


def _grow(
    net: BearNet, backbone: Backbone, temperature: float, size: int, column: int, generator: torch.Generator
) -> Picture:
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    pixels = torch.logit(_noise(generator)).requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=0.08)
    for _ in range(STEPS):
        rgb = torch.sigmoid(pixels)
        # A little noise in each step, so that the answer does not depend on single grey values.
        seen = (rgb + 0.02 * torch.randn(rgb.shape, generator=generator)).clamp(0, 1)
        large = F.interpolate(seen, size=(size, size), mode="bilinear", align_corners=False)
        log_p = torch.log_softmax(net.label_logits(net((large - mean) / std)) / temperature, dim=1)[0, column]
        if log_p.exp() > SURE:
            break
        optimizer.zero_grad()
        (-log_p).backward()
        optimizer.step()
    return _picture(torch.sigmoid(pixels.detach()))


def _picture(rgb: Tensor) -> Picture:
    hwc = (rgb[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(hwc[..., ::-1])
