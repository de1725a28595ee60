"""What is left of ImageNet's knowledge after fine-tuning, by source: the bears of each tuning source, whole and shrunk.

    BEAR_ALARM_PICTURES=PICTURES python tests/prove_kept.py [RUN]

The untouched network by itself (ImageNet's summed bear classes), the fine-tuned one by itself, and what stands between:
weights moved back, ImageNet's head beside the new one, both. Recall at 1 % false positives, the threshold that of all
tuning sources' others of that size together. A run that chose its shares chose them on these very pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from export.artefact import run_catalog
from tests.conftest import PICTURES
from tests.quick_run import run_folder
from train.catalog.picture import is_bear
from train.figures.calibrate import bear_probability, probabilities
from train.figures.recall import threshold_at
from train.learning.backbones import build
from train.learning.far_figure import SIDES_PX, Looks, looks_of, some_of
from train.learning.kept import MOST, interpolate
from train.learning.network import BearNet, bear_logit
from train.learning.probe import answers
from train.learning.run import Run, read_run

RATE = 0.01
FEWEST = 5  # bears of a source, for a row


def bear_scores(run: Run, looks: Looks) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """What each variant is called, and its score (N,) of each look; the network is changed on the way."""
    net: BearNet = run.net
    untouched, _ = build(run.backbone, pretrained=True, size=run.recipe.size)
    body, head = moved(run)
    interpolate(net.body, untouched, -body / (1 - body))  # back to where the training left it

    def asked() -> torch.Tensor:
        return torch.cat([raw for _, raw in answers(net, run.backbone, looks.crops)])

    def with_head(raw: torch.Tensor, share: float) -> NDArray[np.floating]:
        net.keep = share
        return bear_probability(probabilities(net.label_logits(raw).numpy(), 1.0))

    raw = asked()
    yield "fine-tuned alone", with_head(raw, 0.0)
    yield f"and {100 * head:.0f} % ImageNet's head", with_head(raw, head)
    interpolate(net.body, untouched, body)
    raw = asked()
    yield f"and {100 * body:.0f} % of the body", with_head(raw, 0.0)
    yield "both, as the run is", with_head(raw, head)
    interpolate(net.body, untouched, 1.0)
    yield "untouched, ImageNet's bears", bear_logit(asked()[:, len(net.labels) :], net.old_bears).numpy()


def moved(run: Run) -> tuple[float, float]:
    """The shares of the untouched body and head that a run kept."""
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    kept = metrics.get("kept", {"body": run.recipe.body_kept, "head": run.recipe.old_head_kept})
    return kept["body"], kept["head"]


def recalls(scores: NDArray[np.floating], looks: Looks, sources: NDArray) -> dict[str, tuple[float, float]]:
    """Source -> recall of its bears whole, and the mean over the shrunk sides."""
    found: dict[str, dict[int, float]] = {}
    for side in SIDES_PX:
        here = looks.sides == side
        limit = threshold_at(scores[here & ~looks.bears].astype(np.float64), RATE)
        for source in np.unique(sources[looks.bears]):
            found.setdefault(source, {})[side] = float(
                (scores[here & looks.bears & (sources == source)] >= limit).mean()
            )
    return {name: (by[0], float(np.mean([by[side] for side in SIDES_PX if side]))) for name, by in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="a finished training run; left out, a quick one is made")
    options = parser.parse_args()
    if not PICTURES.is_dir():
        print(f"{PICTURES}: no folder of pictures, nothing was measured; name one in BEAR_ALARM_PICTURES")
        return
    with run_folder(options.run, PICTURES) as folder:
        show(read_run(folder))


def show(run: Run) -> None:
    """Print the table of one run."""
    if moved(run)[0] == 1:
        print(
            f"{run.folder}: all of the untouched body was kept, so that nothing is left of the trained one to look at"
        )
        return
    rows = some_of(run.split(run_catalog(run, PICTURES, run.settings.get("aliases", {})))["tune"], *MOST)
    looks = looks_of(rows, run.recipe.size)
    sources = np.repeat([row.source for row in rows], len(SIDES_PX))
    bears = {source: sum(is_bear(row.label) and row.source == source for row in rows) for source in set(sources)}
    names = sorted(name for name, count in bears.items() if count >= FEWEST)
    print("| network | " + " | ".join(f"{name} ({bears[name]} bears)" for name in names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for what, scores in bear_scores(run, looks):
        found = recalls(scores, looks, sources)
        print(
            f"| {what} | " + " | ".join(f"{found[name][0]:.3f} / {found[name][1]:.3f}" for name in names) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
