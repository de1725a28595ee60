"""What `bear-alarm classify` finds on frames of trail cameras that the model never saw, and what it takes for a bear.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_trail_cameras.py [--model X.onnx or RUNS] [--clips] [--json]

The benchmark of `train/evaluate/trail_cameras.py`: a model file is judged on the sources that its card does not name,
a folder of runs `fold-1` … on what each fold was kept from. With --clips each model also watches the clips.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.detect.classifier import BUNDLED, Classifier
from tests.conftest import PICTURES
from train.data.catalog import read_catalog
from train.data.table import MANIFEST
from train.evaluate.clips import read_clips
from train.evaluate.command import evaluate_trail
from train.evaluate.held_out import Judge, held_out, judges_of
from train.evaluate.trail_cameras import part_of


def main() -> None:
    """Print tables in Markdown, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--clips", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not (PICTURES / MANIFEST).is_file():
        print(f"{PICTURES}: no table of pictures, nothing was measured; name a folder in BEAR_ALARM_PICTURES")
        return
    catalog = read_catalog(PICTURES)
    if options.model.is_dir():
        judges = judges_of(options.model, catalog)
    else:
        model = Classifier(options.model)
        judges = [Judge(model, tuple(held_out((one for one in catalog.pictures if part_of(one)), [model.card])))]
    clips = read_clips(PICTURES / "videos" / "videos.csv") if options.clips else []
    print(evaluate_trail(judges, clips, as_json=options.json))


if __name__ == "__main__":
    main()
