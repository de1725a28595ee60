"""Benchmarks A (held-out animals made far) and B (real trail-camera bears), on pictures the model never saw.

    BEAR_ALARM_PICTURES=PICTURES python tests/proofs/prove_benchmarks.py [--model X.onnx] [--json] [--stills]

Without --source the pictures are those of the bundled model's test sources. The crops are the same for every model with
the same input size and crop rule. --stills also looks at whole pictures, as `classify` does (minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.cli.output import track
from edge.detect.classifier import BUNDLED, Classifier
from tests.conftest import PICTURES
from train.data.catalog import read_catalog
from train.data.pictures import Picture
from train.evaluate.far_bears import SEED, benchmark_scores, figures
from train.evaluate.held_out import known_sources
from train.evaluate.stills import still_scores
from train.evaluate.text import benchmark_text, share
from train.metrics.rates import clustered_rate, recall_at

TEST_SOURCES = (
    "ktosiu/Bear-Detection",
    "y-arjun-y/bears",
    "kovacspeter/Animal-classification",
    "datitran/raccoon_dataset",
    "lizhogn/tiny_coco_dataset",
)


def still_figures(classifier: Classifier, pictures: list[Picture]) -> dict[str, object]:
    """Subject-filling stills: recall at 1 % false positives over all negatives, toys at that threshold, misses."""
    stills = still_scores(classifier, pictures, lambda rows: track(rows, "looking at stills"))
    scores, bears, toys, names = stills.score, stills.bear, stills.toy, stills.files
    found = recall_at(scores[bears], scores[~bears], names[bears], names[~bears])
    assert found is not None
    limit = classifier.card.thresholds["frame"].value
    return {
        "at_1_percent": asdict(found),
        "toys": asdict(wide) if (wide := clustered_rate(scores[toys] >= found.threshold, names[toys])) else None,
        "missed": [Path(name).name for name in names[bears & (scores < found.threshold)]],
        "card": {
            "threshold": limit,
            "recall": float((scores[bears] >= limit).mean()),
            "false_positive_rate": float((scores[~bears] >= limit).mean()),
            "toys": float((scores[toys] >= limit).mean()) if toys.any() else None,
        },
        "text": f"stills: recall {share(found.recall)} at 1 % false positives (threshold {found.threshold:.3f})",
    }


def main() -> None:
    """Print the tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--source", action="append")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stills", action="store_true")
    options = parser.parse_args()
    folder = PICTURES
    if not folder.is_dir():
        print(f"{folder}: no folder of pictures, nothing was measured; name one in BEAR_ALARM_PICTURES")
        return
    wanted = options.source or TEST_SOURCES
    pictures = [picture for picture in read_catalog(folder).pictures if picture.source in wanted]
    classifier = Classifier(options.model)
    trained = sorted(set(wanted) & known_sources(classifier.card))
    if trained:
        print(f"WARNING: {classifier.name} was trained or tuned on {', '.join(trained)}", file=sys.stderr)
    started = time.monotonic()
    scores = benchmark_scores(classifier, pictures, seed=options.seed, follow=lambda v: track(v, "scoring"))
    found = figures(scores, classifier.card.thresholds["crop"].value)
    stills = still_figures(classifier, pictures) if options.stills else None
    if options.json:
        about = {"model": classifier.name, "seed": options.seed, "benchmark": asdict(found), "stills": stills}
        print(json.dumps(about, indent=1))
        return
    print(f"{classifier.name} on {len(pictures)} pictures of {len(wanted)} sources, seed {options.seed}")
    print(benchmark_text(found))
    if stills is not None:
        print(f"\n{stills['text']}\n  toys: {stills['toys']}\n  missed: {stills['missed']}\n  card: {stills['card']}")
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
