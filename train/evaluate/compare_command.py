"""``bear-alarm compare``: is a new model better than the one in use? Needs no torch."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Annotated, TypeVar

import typer

from edge.cli.output import counted
from train.evaluate.choice import LabelOpt, SourceOpt, SplitFileOpt, SplitOpt, choose

T = TypeVar("T")
log = logging.getLogger(__name__)

NOT_BETTER = 1


def compare(
    old: Annotated[Path, typer.Argument(help="The model in use: an .onnx file, or a folder of fold runs.")],
    new: Annotated[Path, typer.Argument(help="The new model: a file or a folder, too.")],
    data: Annotated[Path, typer.Argument(help="Pictures: a folder with one sub-folder a label, or a manifest CSV.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    require_better: Annotated[
        bool, typer.Option("--require-better", help="Exit with 1 unless the new one is shown to be better.")
    ] = False,
    source: SourceOpt = None,
    split: SplitOpt = None,
    split_file: SplitFileOpt = None,
    label: LabelOpt = None,
) -> None:
    """Test whether NEW is better than OLD, on pictures that neither was trained or tuned on.

    The result depends on recall up to 2 % false alarms on frames of trail cameras, and a better model may lose next to
    nothing elsewhere. Without such frames, held-out animals made far decide. Pictures of sources on a model's card are
    skipped, except for a model of the run whose --split-file is given with --split test. Of a folder of runs fold-1,
    fold-2 … (train --fold) each model judges the frames that it has not seen.
    """
    from edge.cli.output import track
    from edge.detect.classifier import Classifier
    from edge.errors import ModelError, OptionError
    from train.evaluate.compare import compare as compare_models
    from train.evaluate.compare import score_model
    from train.evaluate.far_bears import MIN_CROPS
    from train.evaluate.held_out import Judge, in_common, judges_of, split_digest, unseen
    from train.evaluate.text import comparison_text

    for name in (old, new):
        if not name.exists():
            raise ModelError(f"{name}: no such model file; name an .onnx file made by `bear-alarm export`")
    files = [Classifier(name) if name.is_file() else None for name in (old, new)]
    known = [file.digest if file else name.resolve() for file, name in zip(files, (old, new), strict=True)]
    if known[0] == known[1]:
        same = files[0].name if files[0] else "folder"
        raise OptionError(f"{old} and {new} are the same model, {same}: there is nothing to compare")
    catalog = choose(data, source or [], split, split_file, label or [])
    sides = [
        [Judge(file, catalog.pictures)] if file else judges_of(name, catalog)
        for file, name in zip(files, (old, new), strict=True)
    ]
    seen = unseen(
        in_common(catalog.pictures, sides),
        [file for file in files if file],
        split_digest(split_file) if split_file is not None and split == "test" else None,
        [side for file, side in zip(files, sides, strict=True) if not file],
    )
    before, after = ([judge.on(seen.pictures) for judge in side] for side in sides)
    stop = Event()

    def beside(items: Iterable[T]) -> Iterator[T]:
        """Yield the items until Ctrl-C, which only the main thread receives."""
        return itertools.takewhile(lambda _: not stop.is_set(), items)

    # One thread for each model: onnxruntime releases the lock, and each model uses one core.
    with ThreadPoolExecutor(1) as pool:
        try:
            other = pool.submit(
                score_model,
                after[0].classifier,
                after[0].pictures,
                beside,
                beside,
                MIN_CROPS,
                after[1:],
                lambda some, *_: beside(some),
            )
            first = score_model(
                before[0].classifier,
                before[0].pictures,
                lambda views: track(views, "both models: far animals"),
                lambda rows: track(rows, "both models: stills"),
                MIN_CROPS,
                before[1:],
                lambda some, words, many: track(some, f"both models: {words}", many),
            )
            second = other.result()
        finally:
            stop.set()
    first, second = (
        one if file else replace(one, name=f"{name} ({counted(len(side), 'fold')})")
        for one, file, name, side in zip((first, second), files, (old, new), sides, strict=True)
    )
    found = compare_models(first, second, seen)
    print(json.dumps(asdict(found), indent=2, ensure_ascii=False) if as_json else comparison_text(found))
    if require_better and found.verdict != "shown to be better":
        raise typer.Exit(NOT_BETTER)
