"""One trained run -> ``bear.onnx`` with its card: calibrate, build, quantize, compare, describe."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge import __version__
from edge.card import (
    CARD_VERSION,
    EVALUATION_ONLY,
    Card,
    CropRule,
    GoldenVector,
    OutOfDomain,
    Parity,
    Threshold,
)
from edge.classifier import Classifier
from edge.errors import CatalogError, ModelError
from edge.pictures import read_picture
from edge.stills import look
from export.golden import encode, enlarged, golden_inputs
from export.graph import export_graph, put_card
from export.quantize import RECIPE, quantize
from export.verify import MIN_CROPS, Answers, compare, refuse
from train.calibrate import bear_probability, fit_temperature, fit_threshold, probabilities
from train.catalog import ALARM_LABELS, LABELS, Catalog, is_bear
from train.catalog import Picture as Row
from train.probe import ask, crops_of
from train.run import CONTEXT, Run

log = logging.getLogger(__name__)
T = TypeVar("T")
Track = Callable[[Iterable[T], str], Iterator[T]]

OOD_QUANTILE = 0.99
CALIBRATION_CROPS = 400
TOLERANCE = {"fp32": 0.01, "int8": 0.12}  # int8 logits differ by up to 0.25 between Arm and x86
BATCH = 16


@dataclass(frozen=True, eq=False)
class CropSet:
    """Crops of one part of the split with their truth."""

    crops: NDArray[np.uint8]  # (N, size, size, 3) BGR
    labels: tuple[str, ...]
    bears: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each came from
    degraded: NDArray[np.bool_]  # (N,)
    sources: tuple[str, ...]

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        """The crops where ``chosen``."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return CropSet(
            self.crops[chosen], labels, self.bears[chosen], self.pictures[chosen], self.degraded[chosen], self.sources
        )


def export_run(
    run: Run,
    catalog: Catalog,
    out: Path,
    precisions: Iterable[str],
    *,
    force: bool = False,
    licence: str | None = None,
    track: Track[Any],
) -> list[Card]:
    """Write ``out`` (with ``both``: the int8 file there and the fp32 one beside it) and return the cards.

    Raises ParityError when a gate does not hold and ``force`` is not set; nothing is written then.
    """
    wanted = list(precisions)
    split, size = run.split(catalog), run.recipe.size
    if catalog.digest != run.settings["catalog_sha256"]:
        raise CatalogError(f"{catalog.root}: the pictures changed since {run.folder} was trained; train it again")
    tune = collect(split["tune"], size, run.recipe.seed, 2, 2, lambda rows: track(rows, "crops of the tuning part"))
    test = collect_for_parity(split["test"], size, run.recipe.seed, track)
    logits, energies = ask(run.net, run.backbone, tune.crops)
    temperature = fit_temperature(logits, tune.labels)
    test_logits, _ = ask(run.net, run.backbone, test.crops)
    torch_p = probabilities(test_logits, temperature)
    described = Described(run, catalog, split, tune, temperature, licence)
    with tempfile.TemporaryDirectory() as scratch:
        fp32_path, int8_path = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        export_graph(run.net, run.backbone, temperature, size, fp32_path)
        fp32_p, _ = answers(fp32_path, test.crops)
        fp32 = Answers(bear_probability(fp32_p), described.crop_threshold(answers(fp32_path, tune.crops)[0]).value)
        parity = {"fp32": compare(torch_p, fp32_p, fp32, None, None, test.bears, test.pictures, test.sources)}
        if "int8" in wanted:
            quantize(fp32_path, int8_path, calibration_crops(tune, run.recipe.seed))
            int8_p, _ = answers(int8_path, test.crops)
            threshold = described.crop_threshold(answers(int8_path, tune.crops)[0]).value
            int8 = Answers(bear_probability(int8_p), threshold)
            parity["int8"] = compare(torch_p, fp32_p, fp32, int8_p, int8, test.bears, test.pictures, test.sources)
        cards, finished = [], []
        for precision in wanted:
            figures = parity[precision]
            if not figures.passed:
                if not force:
                    log.error("%s", parity_line(precision, figures))
                    refuse(figures)
                figures = replace(figures, forced=True)
            path = {"fp32": fp32_path, "int8": int8_path}[precision]
            card = described.card(precision, path, figures, lambda rows: track(rows, f"still threshold ({precision})"))
            put_card(path, card)
            Classifier(path)  # the device's own check: card, golden vectors
            cards.append(card)
            finished.append((path, out if precision == wanted[0] else out.with_suffix(f".{precision}.onnx")))
        for path, target in finished:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target.with_suffix(".part"))
            target.with_suffix(".part").replace(target)
    return cards


def collect(
    rows: Iterable[Row], size: int, seed: int, bear_copies: int, other_copies: int, follow: Callable[[Any], Iterator[Row]]
) -> CropSet:
    """Clean crops and degraded copies of every picture; seeded a picture, so that order does not matter."""
    crops, labels, pictures, degraded, sources = [], [], [], [], set()
    for number, row in enumerate(follow(list(rows))):
        copies = bear_copies if is_bear(row.label) else other_copies
        rng = np.random.default_rng([seed, number])
        cut = crops_of(row, read_picture(row.file), size, CONTEXT, rng, degraded=copies)
        crops += cut
        labels += [row.label] * len(cut)
        pictures += [number] * len(cut)
        degraded += [n >= len(cut) - copies for n in range(len(cut))]
        sources.add(row.source)
    return CropSet(
        np.stack(crops),
        tuple(labels),
        np.array([is_bear(label) for label in labels]),
        np.array(pictures, np.int64),
        np.array(degraded),
        tuple(sorted(sources)),
    )


def collect_for_parity(rows: list[Row], size: int, seed: int, track: Track[Any]) -> CropSet:
    """At least MIN_CROPS degraded crops of the test groups, half of them bears' where there are enough pictures."""
    bears = sum(is_bear(row.label) for row in rows)
    bear_copies = max(2, -(-MIN_CROPS // (2 * max(bears, 1))))
    other_copies = max(2, -(-MIN_CROPS // (2 * max(len(rows) - bears, 1))))
    found = collect(rows, size, seed, bear_copies, other_copies, lambda items: track(items, "crops of the test part"))
    return found.where(found.degraded)


def calibration_crops(tune: CropSet, seed: int) -> NDArray[np.uint8]:
    """A seeded draw of degraded and clean tuning crops for the int8 ranges."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tune.crops))
    degraded = [n for n in order if tune.degraded[n]][: CALIBRATION_CROPS * 3 // 4]
    clean = [n for n in order if not tune.degraded[n]][: CALIBRATION_CROPS - len(degraded)]
    return tune.crops[[*degraded, *clean]]


def answers(path: Path, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Probabilities (N, L) and ood (N,) of an ONNX file that has no card yet."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parts = [
        session.run(["probabilities", "ood"], {"crops": crops[start : start + BATCH]})
        for start in range(0, len(crops), BATCH)
    ]
    return np.concatenate([p for p, _ in parts]).astype(np.float64), np.concatenate([ood for _, ood in parts])


class Described:
    """What a run's cards have in common, and how each file's own figures are fitted."""

    def __init__(
        self,
        run: Run,
        catalog: Catalog,
        split: dict[str, list[Row]],
        tune: CropSet,
        temperature: float,
        licence: str | None,
    ):
        self.run, self.catalog, self.split, self.tune = run, catalog, split, tune
        self.temperature, self.licence = temperature, licence
        self.rate = run.recipe.false_positive_rate
        self.golden = golden_inputs(run.net, run.backbone, temperature, run.recipe.size, run.recipe.seed)

    def crop_threshold(self, tune_p: NDArray[np.float64]) -> Threshold:
        """The alarm's threshold from probabilities (N, L) of the tuning crops, clean and degraded."""
        return fit_threshold(bear_probability(tune_p), self.tune.bears, self.rate, self.tune.sources)

    def card(self, precision: str, path: Path, parity: Parity, follow: Callable[[Any], Iterator[Row]]) -> Card:
        """The finished card of one file: thresholds fitted through the runtime's own code."""
        tune_p, tune_ood = answers(path, self.tune.crops)
        golden_p, golden_ood = answers(path, enlarged(self.golden, self.run.recipe.size))
        crop = self.crop_threshold(tune_p)
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
            temperature=self.temperature,
            thresholds={"crop": crop, "still": crop},
            prior=round(float(self.tune.bears.mean()), 4),
            ood=OutOfDomain("energy", round(float(np.quantile(tune_ood, OOD_QUANTILE)), 4), OOD_QUANTILE),
            backbone=self.run.recipe.backbone,
            precision=precision,  # type: ignore[arg-type]
            quantization=RECIPE if precision == "int8" else None,
            parity=parity,
            digests={
                "catalog_sha256": self.run.settings["catalog_sha256"],
                "split_sha256": self.run.settings["split_sha256"],
            },
            counts_by_source=self.run.settings["counts_by_source"],
            counts_by_licence=licences,
            licence=self.licence or licence_line(licences),
            notice=EVALUATION_ONLY if unclear(licences) else None,
            golden=vectors,
            golden_tolerance=TOLERANCE[precision],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tool_version=__version__,
        )
        put_card(path, card)
        return replace(card, thresholds={"crop": crop, "still": self.still_threshold(path, follow)})

    def still_threshold(self, path: Path, follow: Callable[[Any], Iterator[Row]]) -> Threshold:
        """The threshold for whole pictures with tiles, fitted by looking at the tuning pictures as ``classify`` does."""
        classifier = Classifier(path, threads=2)
        rows = self.split["tune"]
        bear = np.array([look(classifier, read_picture(row.file)).bear for row in follow(rows)])
        bears = np.array([is_bear(row.label) for row in rows])
        return fit_threshold(bear, bears, self.rate, self.tune.sources)


def unclear(licences: dict[str, int]) -> bool:
    """Whether any training picture's licence is not stated or forbids more than research."""
    words = ("not stated", "non-commercial", "research")
    return any(any(word in licence.lower() for word in words) for licence in licences)


def licence_line(licences: dict[str, int]) -> str:
    """One line on what the model may be used for, from its pictures' licences."""
    total = sum(licences.values())
    vague = sum(count for licence, count in licences.items() if unclear({licence: 1}))
    if vague:
        return f"Evaluation only: the licence of {vague} of the {total} training pictures is not stated or is for research."
    stated = ", ".join(sorted(licence for licence in licences if licence))
    return f"Trained on pictures under: {stated}" if stated else "The pictures' owner's; state it with --licence."


def parity_line(precision: str, parity: Parity) -> str:
    """The parity figures in one line."""
    words = f"{precision}: torch-fp32 max|dp| {parity.fp32_max_abs_dp:.1e}"
    if parity.int8_recall_loss is not None and parity.int8_recall_loss_upper95 is not None:
        words += (
            f", int8 recall loss {100 * parity.int8_recall_loss:+.2f} points (upper 95 % "
            f"{100 * parity.int8_recall_loss_upper95:.2f}), decisions agree {100 * (parity.int8_decision_agreement or 0):.2f} %"
        )
    return words


def run_catalog(run: Run, given: Path | None) -> Path:
    """Where the run's pictures lie: ``given``, or the place they were trained from."""
    path = given or Path(run.settings["catalog"])
    if not path.exists():
        raise ModelError(f"{path}: the run's pictures are not there; say where they lie with --data")
    return path
