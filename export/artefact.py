"""Make ``bear.onnx`` of a trained run, with its card: calibrate, build, quantize, compare, describe."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import Card, Parity
from edge.detect.classifier import Classifier
from edge.errors import OptionError
from edge.files import need_folder, replace_whole
from export.describe import CardMaker, answers
from export.graph import export_graph
from export.quantize import quantize
from export.verify import (
    Answers,
    calibration_crops,
    calibration_frames,
    compare,
    compare_int8,
    few_frames,
    gate_thresholds,
    learned_places,
    parity_crops,
    picture_scores,
    refuse,
    scan_all,
    scan_of_file,
    scan_of_run,
)
from train.data.pictures import Catalog, is_bear
from train.data.split import Split
from train.learn.examples import Track
from train.learn.inference import EvalCrops, ask_crops
from train.learn.ood import fit_ood_score
from train.learn.run import Run
from train.metrics.calibration import bear_probability, probabilities

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
) -> dict[Path, Card]:
    """Write ``out``, and a second precision beside it; return the files with their cards.

    Raises ParityError if a gate fails and ``force`` is not set; nothing is written then.
    """
    targets = target_files(out, precisions)
    split, size, seed = run.split(catalog), run.recipe.size, run.recipe.seed
    tune = EvalCrops.of_tune(track(split["tune"], "crops of the tuning part"), size, seed)
    test = parity_crops(split["test"], size, seed, track)
    log.info("Running the trained network on %s crops; the export takes some minutes.", f"{len(test.crops):,}")
    torch_p = probabilities(ask_crops(run.net, run.backbone, test.crops), run.temperature)
    ood_score = fit_ood_score(run.net, run.backbone, split["train"], size, seed, track)
    cards = CardMaker(run, split, tune, licence)
    with tempfile.TemporaryDirectory() as scratch:
        fp32_path, int8_path = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        log.info("Writing the graph, and running it on the same crops.")
        export_graph(run.net, run.backbone, run.temperature, run.frame, fp32_path, ood_score)
        fp32_p, _ = answers(fp32_path, test.crops)
        tuned = {"fp32": answers(fp32_path, tune.crops)}
        parity = {"fp32": compare(torch_p, fp32_p, test.bears, test.pictures, test.sources)}
        if "int8" in targets:
            log.info("int8: measuring the range of each layer, and running it on the same crops.")
            frames = calibration_frames(split["tune"], seed)
            quantize(fp32_path, int8_path, calibration_crops(tune, seed), frames)
            int8_p, _ = answers(int8_path, test.crops)
            tuned["int8"] = answers(int8_path, tune.crops)
            at = gate_thresholds(
                bear_probability(tuned["fp32"][0]),
                bear_probability(tuned["int8"][0]),
                tune.bears,
                run.recipe.false_positive_rate,
            )
            gate = Answers(bear_probability(fp32_p), at[0]), Answers(bear_probability(int8_p), at[1])
            parity["int8"] = compare_int8(parity["fp32"], fp32_p, int8_p, *gate, test.bears, test.pictures)
        files = {"fp32": fp32_path, **({"int8": int8_path} if "int8" in targets else {})}
        tune_frames, frame_parity = compare_frames(run, split, files, track)
        finished: dict[Path, tuple[Path, Card]] = {}
        for precision, target in targets.items():
            frame = frame_parity[precision]
            figures = replace(parity[precision], frame=frame, passed=parity[precision].passed and frame.passed)
            if not figures.passed:
                if not force:
                    log.error("%s", parity_line(precision, figures))
                    refuse(figures)
                figures = replace(figures, forced=True)
            path = files[precision]
            card = cards.card(precision, path, figures, tuned[precision], tune_frames[precision])
            Classifier(path)  # the device's own check: card, golden vectors
            finished[target] = path, card
        for target, (path, _) in finished.items():
            replace_whole(target, path.read_bytes())
    return {target: card for target, (_, card) in finished.items()}


def compare_frames(
    run: Run, split: Split, files: Mapping[str, Path], track: Track
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Parity]]:
    """Scan whole pictures with each file: return the tuning part's bear probabilities (N,), and the test part's parity.

    ``learned_places`` follow the tuning pictures. The gates are those of crops (``export.verify``).
    """
    scans = {name: scan_of_file(path) for name, path in files.items()}
    tune, test = split["tune"], split["test"]
    found = scan_all(track([*tune, *learned_places(split)], "whole pictures of the tuning part"), scans)
    scores = {name: picture_scores(windows) for name, windows in found.items()}
    tuned = {name: score[: len(tune)] for name, score in scores.items()}
    judged = scan_all(track(test, "whole pictures of the test part"), scans | {"trained": scan_of_run(run)})
    whole = {name: np.concatenate(windows) for name, windows in judged.items()}
    bears, pictures = np.array([is_bear(row.label) for row in test]), np.arange(len(test))
    parity = {"fp32": compare(whole["trained"], whole["fp32"], bears, pictures, [row.source for row in test])}
    if "int8" in files:
        truth = np.array([is_bear(row.label) for row in tune])
        at = gate_thresholds(tuned["fp32"], tuned["int8"], truth, run.recipe.false_positive_rate)
        exact, coarse = (
            Answers(picture_scores(judged[name]), limit) for name, limit in zip(("fp32", "int8"), at, strict=True)
        )
        figures = compare_int8(parity["fp32"], whole["fp32"], whole["int8"], exact, coarse, bears, pictures)
        parity["int8"] = few_frames(figures, int(bears.sum()))
    return scores, parity


def target_files(out: Path, precisions: Iterable[str]) -> dict[str, Path]:
    """Return each precision's file: the first is ``out``, the others are beside it.

    Raises OptionError if nothing can be written there, before the work begins.
    """
    wanted = list(precisions)
    targets = {name: out if name == wanted[0] else out.with_suffix(f".{name}.onnx") for name in wanted}
    for target in targets.values():
        if target.is_dir():
            raise OptionError(f"{target}: is a folder; give --out the name of a file, such as {target / 'bear.onnx'}")
    need_folder(out)
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise OptionError(f"{out.parent}: cannot be written to ({error.strerror}); choose another --out") from None
    return targets


def parity_line(precision: str, parity: Parity) -> str:
    """Write the parity figures in one line."""
    words = f"{precision}: torch-fp32 max|dp| {parity.fp32_max_abs_dp:.1e}"
    if parity.int8_recall_loss is not None and parity.int8_recall_loss_upper95 is not None:
        words += (
            f", int8 recall loss at the same false positives {100 * parity.int8_recall_loss:+.2f} points "
            f"(upper 95 % {100 * parity.int8_recall_loss_upper95:.2f}), "
            f"decisions agree {100 * (parity.int8_decision_agreement or 0):.2f} %"
        )
    return words
