"""The out-of-domain score of a run: the methods compared, then what the exported graphs make of the winner.

    BEAR_ALARM_PICTURES=PICTURES python tests/prove_ood.py [RUN] [--outsiders DIR]

Without RUN a rough model is trained first, about four minutes on two quiet cores. The graphs are written with energy
and with the winner, fp32 and int8, and timed interleaved on one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from edge.detect.crops import cut
from edge.pictures import read_picture
from edge.schema import WHOLE
from export.crop_sets import calibration_crops
from export.describe import answers
from export.graph import export_graph
from export.quantize import quantize
from tests.conftest import PICTURES
from tests.quick_run import run_folder
from train.data.outsiders import COVERED, Outsider, cover_lens, in_domain, of_catalog, of_folder
from train.data.split import Split
from train.learn.inference import CONTEXT, CropSet, collect
from train.learn.run import Run, read_run
from train.learn.run_folder import find_place
from train.learn.strangeness import (
    COVERED_LENSES,
    MOST_OF_A_KIND,
    RESULT,
    area,
    compare_run,
    passing,
    save,
    strangeness,
    text,
    threshold,
    unlike_bears,
)

CALLS = 200  # of one crop, to time a graph

cv2.setNumThreads(1)


def outsider_crops(outsiders: list[Outsider], size: int) -> dict[str, NDArray[np.uint8]]:
    """Whole crops (N, size, size, 3) by kind; lenses are covered here."""
    found: dict[str, list[NDArray[np.uint8]]] = {}
    for number, one in enumerate(outsiders):
        crops = found.setdefault(one.kind, [])
        if len(crops) < MOST_OF_A_KIND:
            crop = cut(read_picture(one.file), WHOLE, size, CONTEXT)
            covered = one.kind == COVERED
            crops.append(cover_lens(crop, np.random.default_rng([7, number])) if covered else crop)
    return {kind: np.stack(crops) for kind, crops in found.items()}


def row(name: str, path: Path, tune: CropSet, test: CropSet, strange: dict[str, NDArray[np.uint8]]) -> str:
    """One exported graph: AUROC by kind, the threshold, and who passes it."""
    tuned, tested = (answers(path, part.crops)[1].astype(np.float64) for part in (tune, test))
    limit = threshold(tuned, tune.degraded)
    cells = []
    for crops in strange.values():
        odd = answers(path, crops)[1].astype(np.float64)
        cells.append(area(odd, tested, np.arange(len(odd)), test.pictures).value)
    groups = (~test.degraded, test.degraded, test.bears & ~test.degraded, test.bears & test.degraded)
    shares = [f"{100 * passing(tested[at], limit):.1f}" for at in groups]
    areas = " | ".join(f"{cell:.3f}" for cell in cells)
    return f"| {name} | {path.stat().st_size / 1e6:.1f} | {areas} | {np.mean(cells):.3f} | {' / '.join(shares)} |"


def milliseconds(paths: dict[str, Path], crop: NDArray[np.uint8]) -> dict[str, float]:
    """The median time of one crop on one thread, the graphs taking turns."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = {name: ort.InferenceSession(str(path), options) for name, path in paths.items()}
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(CALLS):
        for name, session in sessions.items():
            started = time.thread_time_ns()
            session.run(["probabilities", "ood"], {"crops": crop})
            taken[name].append((time.thread_time_ns() - started) / 1e6)
    return {name: median(times) for name, times in taken.items()}


def graphs(run: Run, split: Split, outsiders: list[Outsider], folder: Path) -> None:
    """Write the graphs with energy and with the winner, and print what they do."""
    size, seed = run.recipe.size, run.recipe.seed
    method, strange = strangeness(run, split, lambda items, words: iter(items))
    # The ranges of int8 come from the whole tuning part, as in an export; the rest is of the domain.
    everything = collect(split["tune"], size, seed, 1, 1, iter)
    tune, test = (collect(in_domain(split[part]), size, seed, 1, 1, iter) for part in ("tune", "test"))
    paths = {}
    for name, module in (("energy", None), (method, strange)):
        paths[f"{name}, fp32"] = folder / f"{name}.fp32.onnx"
        paths[f"{name}, int8"] = folder / f"{name}.int8.onnx"
        export_graph(run.net, run.backbone, 1.0, run.frame, paths[f"{name}, fp32"], module)
        quantize(paths[f"{name}, fp32"], paths[f"{name}, int8"], calibration_crops(everything, seed))
    crops = outsider_crops(outsiders, size)
    print(f"| graph | MB | {' | '.join(crops)} | mean | test crops that pass, %: clean / degraded / bears: both |")
    print("|---" * (len(crops) + 4) + "|")
    for name, path in paths.items():
        print(row(name, path, tune, test, crops), flush=True)
    took = milliseconds(paths, test.crops[:1])
    for precision in ("fp32", "int8"):
        usual, other = took[f"energy, {precision}"], took[f"{method}, {precision}"]
        print(f"{precision}: {usual:.2f} ms with energy, {other:.2f} ms with {method}: {other / usual:.3f} times")


def main() -> None:
    """Print the comparison and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a finished training run")
    parser.add_argument("--outsiders", type=Path, help="a folder with one sub-folder a kind")
    parser.add_argument("--graphs-only", action="store_true", help="leave out the comparison of the methods")
    given = parser.parse_args()
    pictures = PICTURES
    if given.run is None and not pictures.is_dir():
        print(f"{pictures}: no folder of pictures, nothing was measured; name one in BEAR_ALARM_PICTURES")
        return
    with run_folder(given.run, pictures) as folder, tempfile.TemporaryDirectory() as scratch:
        run, place = read_run(folder), find_place(folder)
        split, own = run.split(place.catalog), of_folder(given.outsiders) if given.outsiders else []
        if not given.graphs_only:
            found = compare_run(run, split, own, lambda items, words: iter(items))
            save(found, folder / RESULT)
            print(text(found), flush=True)
        covered = [Outsider(COVERED, each.file, False) for each in unlike_bears(split["test"])[::5][:COVERED_LENSES]]
        unseen = [*of_catalog([], [*split["tune"], *split["test"]]), *own]
        order = np.random.default_rng(7).permutation(len(unseen))
        graphs(run, split, [*(unseen[n] for n in order), *covered], Path(scratch))


if __name__ == "__main__":
    main()
