"""One trained run -> ``bear.onnx`` with its card: calibrate, build, quantize, compare, describe."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from edge.card import Card, Parity
from edge.classifier import Classifier
from edge.errors import CatalogError
from export.crop_sets import Track, calibration_crops, collect, collect_for_parity
from export.describe import Described, answers
from export.graph import export_graph, put_card
from export.quantize import quantize
from export.verify import Answers, compare, refuse
from train.calibrate import bear_probability, fit_temperature, probabilities
from train.catalog import Catalog
from train.probe import ask
from train.run import Run

log = logging.getLogger(__name__)


def export_run(
    run: Run,
    catalog: Catalog,
    out: Path,
    precisions: Iterable[str],
    *,
    force: bool = False,
    licence: str | None = None,
    track: Track,
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
    logits, _ = ask(run.net, run.backbone, tune.crops)
    temperature = fit_temperature(logits, tune.labels)
    test_logits, _ = ask(run.net, run.backbone, test.crops)
    torch_p = probabilities(test_logits, temperature)
    described = Described(run, split, tune, temperature, licence)
    with tempfile.TemporaryDirectory() as scratch:
        fp32_path, int8_path = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        export_graph(run.net, run.backbone, temperature, size, fp32_path)
        fp32_p, _ = answers(fp32_path, test.crops)
        tuned = {"fp32": answers(fp32_path, tune.crops)}
        fp32 = Answers(bear_probability(fp32_p), described.crop_threshold(tuned["fp32"][0]).value)
        parity = {"fp32": compare(torch_p, fp32_p, fp32, None, None, test.bears, test.pictures, test.sources)}
        if "int8" in wanted:
            quantize(fp32_path, int8_path, calibration_crops(tune, run.recipe.seed))
            int8_p, _ = answers(int8_path, test.crops)
            tuned["int8"] = answers(int8_path, tune.crops)
            int8 = Answers(bear_probability(int8_p), described.crop_threshold(tuned["int8"][0]).value)
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
            card = described.card(precision, path, figures, tuned[precision], track)
            put_card(path, card)
            Classifier(path)  # the device's own check: card, golden vectors
            cards.append(card)
            finished.append((path, out if precision == wanted[0] else out.with_suffix(f".{precision}.onnx")))
        for path, target in finished:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target.with_suffix(".part"))
            target.with_suffix(".part").replace(target)
    return cards


def parity_line(precision: str, parity: Parity) -> str:
    """The parity figures in one line."""
    words = f"{precision}: torch-fp32 max|dp| {parity.fp32_max_abs_dp:.1e}"
    if parity.int8_recall_loss is not None and parity.int8_recall_loss_upper95 is not None:
        words += (
            f", int8 recall loss {100 * parity.int8_recall_loss:+.2f} points "
            f"(upper 95 % {100 * parity.int8_recall_loss_upper95:.2f}), "
            f"decisions agree {100 * (parity.int8_decision_agreement or 0):.2f} %"
        )
    return words


def run_catalog(run: Run, given: Path | None) -> Path:
    """Where the run's pictures lie: ``given``, or the place they were trained from."""
    path = given or Path(run.settings["catalog"])
    if not path.exists():
        raise CatalogError(f"{path}: the run's pictures are not there; say where they lie with --data")
    return path
