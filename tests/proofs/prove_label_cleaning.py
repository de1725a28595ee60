"""How many wrong labels `clean` shows early: 5 % flipped across bear / no bear, out of fold by source, five seeds.

    BEAR_ALARM_PICTURES=DIR python tests/proofs/prove_label_cleaning.py [--cache FILE] [--seeds N] [--trained N]

A flipped bear becomes no_bear and loses its boxes; another picture becomes a bear of a species drawn at random. The
embeddings are the untouched ImageNet network's, which saw no label of these pictures, right or wrong. `--trained N`
does it for the first N seeds with the network that `train --quick` makes of the flipped labels, as in real life: it
has learned some of the wrong ones.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import PICTURES
from train.clean.embeddings import Embedded, embed
from train.clean.suspects import BEAR_INSIDE, find_suspects, judge
from train.data.catalog import read_catalog
from train.data.pictures import ALARM_LABELS, LABELS, Catalog, Picture, is_bear, table_digest
from train.data.split import split_catalog
from train.learn.network import BearNet, build, find_backbone
from train.learn.recipe import QUICK as QUICK_VALUES
from train.learn.recipe import Recipe
from train.learn.run import read_run, train_run

SHARE, SHOWN, SEEDS = 0.05, 0.10, 5
BACKBONE = find_backbone("efficientnet_lite0")
QUICK = Recipe(**QUICK_VALUES)


def untouched() -> BearNet:
    """The network with ImageNet's weights and nothing else."""
    body, head = build(BACKBONE, pretrained=True)
    return BearNet(body, head, LABELS, ALARM_LABELS).to(memory_format=torch.channels_last)


def flip(pictures: tuple[Picture, ...], seed: int) -> tuple[tuple[Picture, ...], set[Path]]:
    """The pictures with ``SHARE`` of the labels flipped, and the files of those."""
    rng = np.random.default_rng(seed)
    chosen = set(rng.choice(len(pictures), round(SHARE * len(pictures)), replace=False).tolist())
    rows = list(pictures)
    for number in sorted(chosen):
        row = pictures[number]
        wrong = "no_bear" if is_bear(row.label) else ALARM_LABELS[int(rng.integers(2))]
        rows[number] = replace(row, label=wrong, named=wrong, boxes=() if wrong == "no_bear" else row.boxes)
    return tuple(rows), {pictures[number].file for number in chosen}


def trained(catalog: Catalog, pictures: tuple[Picture, ...], seed: int, folder: Path) -> BearNet:
    """Return what ``train --quick`` makes of the flipped labels."""
    flipped = replace(catalog, pictures=pictures, digest=table_digest(pictures, catalog.root))
    train_run(flipped, split_catalog(flipped, seed), folder, replace(QUICK, seed=seed))
    return read_run(folder).net


def found(embedded: Embedded, flipped: set[Path], seed: int) -> tuple[float, float, float, str]:
    """Shares of the flips among the first tenth by cleanlab's order and on the page; of hidden bears; kept whole."""
    files = [picture.file for picture in embedded.pictures]
    first = round(SHOWN * len(files))
    judged = judge(embedded.features, embedded.pictures, seed)
    early = {files[n] for n in np.argsort(judged.quality)[:first]}
    shown = find_suspects(embedded, seed, first)
    page = {suspect.picture.file for suspect in shown}
    hidden = {row.file for row in embedded.pictures if row.file in flipped and not is_bear(row.label)}
    inside = {suspect.picture.file for suspect in shown if BEAR_INSIDE in suspect.why}
    return (
        len(flipped & early) / len(flipped),
        len(flipped & page) / len(flipped),
        len(hidden & inside) / len(hidden),
        judged.kept_whole,
    )


def quietly(items: Iterable[Picture], words: str) -> Iterator[Picture]:
    """No progress bar."""
    return iter(items)


def main() -> None:
    """Print a table, in Markdown."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cache", type=Path, help="where to keep the untouched network's embeddings")
    options.add_argument("--seeds", type=int, default=SEEDS, help="seeds with the untouched network")
    options.add_argument("--trained", type=int, default=0, metavar="SEEDS", help="seeds to train a network for, too")
    given = options.parse_args()
    if not (PICTURES / "MANIFEST.csv").is_file():
        print(f"no pictures in {PICTURES}: set BEAR_ALARM_PICTURES")
        return
    cv2.setNumThreads(1)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    catalog = read_catalog(PICTURES)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        cache = given.cache or Path(scratch) / "untouched.npz"
        print(f"{len(catalog.pictures)} pictures of {len(catalog.count('source'))} sources, {SHARE:.0%} flipped\n")
        print("| network | seed | flips | of them hidden bears | found in the first tenth, by cleanlab's order "
              "| on the page of as many | hidden bears, of their kind | folds keep whole | s |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for network, seeds in (("untouched ImageNet", given.seeds), ("trained on the flipped labels", given.trained)):
            rows = []
            for seed in range(seeds):
                pictures, flipped = flip(catalog.pictures, seed)
                if network.startswith("untouched"):
                    embedded = embed(
                        pictures, untouched(), BACKBONE, BACKBONE.size, quietly, cache=cache, network="untouched"
                    )
                else:
                    net = trained(catalog, pictures, seed, Path(scratch) / f"run{seed}")
                    embedded = embed(pictures, net, BACKBONE, BACKBONE.size, quietly)
                hidden = sum(row.file in flipped and row.label == "no_bear" for row in pictures)
                *shares, whole = found(embedded, flipped, seed)
                rows.append(shares)
                told = " | ".join(f"{100 * share:.1f} %" for share in shares)
                took = time.monotonic() - started
                print(f"| {network} | {seed} | {len(flipped)} | {hidden} | {told} | {whole} | {took:.0f} |", flush=True)
            if rows:
                told = " | ".join(f"**{100 * mean(column):.1f} %**" for column in zip(*rows, strict=True))
                print(f"| {network} | mean | | | {told} | | |", flush=True)


if __name__ == "__main__":
    main()
