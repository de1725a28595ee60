"""A run's labels in fastai's ImageClassifierCleaner, with its choices as decisions.

    labels = Labels("runs/bear")
    cleaner = ImageClassifierCleaner(labels.learner)
    labels.write(cleaner)

The fastai book deletes and moves files; ``write`` adds rows to DECISIONS.csv (``train.data.decisions``) instead. No
file is moved or deleted, and every decision can be taken back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from fastai.callback import progress as _progress  # noqa: F401  # shows a bar where a notebook shows one
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import IndexSplitter, IntToFloatTensor, Normalize
from fastai.learner import Learner
from fastai.vision.widgets import ImageClassifierCleaner

from train.clean.embeddings import largest_box
from train.clean.retrain import undo_decisions
from train.data.decisions import (
    COLUMNS,
    DELETE,
    KEEP,
    KINDS,
    RELABEL,
    TABLE,
    Decision,
    append_decisions,
    as_row,
    decide,
    live,
    match,
    read_decisions,
)
from train.data.pictures import TRAINING_LABELS, Picture
from train.data.split import read_split
from train.learn.examples import Example
from train.learn.predict import OpenAsAlarm
from train.learn.run import Run, read_run
from train.learn.run_folder import open_run_folder

BATCH = 32


class Labels:
    """The labels of a run's training and tuning pictures, and the decisions about them.

    ``run`` is a folder that `bear-alarm train` wrote, ``data`` the folder of its pictures, if they moved. Raises
    CatalogError if one is missing, or there are pictures that the run does not know.
    """

    def __init__(self, run: Path | str, data: Path | str | None = None) -> None:
        self.place = open_run_folder(Path(run), None if data is None else Path(data))
        split = read_split(self.place.catalog, self.place.run / "split.csv")
        pictures = [*split["train"], *split["tune"]]
        self._pictures = {picture.file: picture for picture in pictures}
        self._opened = {file: _state(file) for file in self._pictures}
        known, _ = match(pictures, self.place.root, live(read_decisions(self.place.root)))
        self._earlier = {picture.file: decision for picture, decision in known.items()}
        self.learner = ranking_learner(read_run(self.place.run), split["train"], split["tune"])

    def write(self, cleaner: ImageClassifierCleaner) -> str:
        """Make decisions of the cleaner's present choices; return what was done, in words.

        Pictures whose file is gone or was replaced since the run was opened are skipped. Raises OptionError if the
        table cannot be written.
        """
        choices = [(number, "") for number in cleaner.delete()] + list(cleaner.change())
        held = {row.key: row for row in live(read_decisions(self.place.root))}
        rows: list[Decision] = []
        skipped: list[str] = []
        for number, label in sorted(choices):
            file = cleaner.fns[number]
            if (state := _state(file)) is None or state != self._opened[file]:
                skipped.append(file.name)
                continue
            row = self._decision(file, label)
            same = held.get(row.key)
            if same is None or (same.decision, same.after) != (row.decision, row.after):
                rows.append(row)
        append_decisions(self.place.root, rows)
        kinds = Counter(row.decision for row in rows)
        counts = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind]) or "nothing new"
        over = f" Skipped, gone or changed since they were shown: {', '.join(skipped)}." if skipped else ""
        return f"Written: {counts}.{over} {self._held()}"

    def decisions(self) -> pd.DataFrame:
        """List the decisions in force, oldest first."""
        rows = [as_row(row) for row in live(read_decisions(self.place.root))]
        return pd.DataFrame(rows, columns=list(COLUMNS)).drop(columns=["sha256", "bytes"])

    def undo(self, what: str = "last") -> str:
        """Take back the ``last`` decision, the one about a file (its name in the list), or ``all``; return which.

        Raises OptionError if there is none.
        """
        about = undo_decisions(self.place, what)
        named = ", ".join(f"{row.file} ({row.decision})" for row in about[:5]) + (" …" if len(about) > 5 else "")
        return f"Taken back: {named}. {self._held()}"

    def _decision(self, file: Path, label: str) -> Decision:
        """Make the decision to delete a picture (""), or to label it ``label``."""
        picture, earlier = self._pictures[file], self._earlier.get(file)
        before = earlier.before if earlier else picture.label  # the table's label
        kind = DELETE if not label else KEEP if label == before and not earlier else RELABEL
        return decide(picture, self.place.root, kind, label, by=self.place.name, before=before)

    def _held(self) -> str:
        return f"{len(live(read_decisions(self.place.root)))} decisions in force in {self.place.root / TABLE}."


def ranking_learner(run: Run, train: Sequence[Picture], tune: Sequence[Picture]) -> Learner:
    """Give the run's Learner these pictures without augmentation: each at its largest box, else whole."""
    examples = {picture.file: example_of(picture) for picture in (*train, *tune)}
    block = DataBlock(
        blocks=(
            TransformBlock(type_tfms=[OpenAsAlarm(run.recipe.size)], batch_tfms=[IntToFloatTensor]),
            CategoryBlock(vocab=list(TRAINING_LABELS), sort=False),
        ),
        get_x=lambda file: examples[file],
        get_y=lambda file: examples[file].label,
        splitter=IndexSplitter(list(range(len(train), len(examples)))),
        batch_tfms=[Normalize.from_stats(list(run.backbone.mean), list(run.backbone.std), cuda=False)],
    )
    dls: DataLoaders = block.dataloaders(list(examples), bs=BATCH, num_workers=0, device=torch.device("cpu"))
    run.learner.dls = dls
    return run.learner


def example_of(picture: Picture) -> Example:
    """Return a picture's example: its largest box, else the whole."""
    return Example(picture.file, picture.label, largest_box(picture))


def _state(file: Path) -> tuple[int, int] | None:
    """Return size and time of change, to recognise a replaced file; None if it is gone."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
