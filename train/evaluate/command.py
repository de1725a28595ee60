"""``bear-alarm evaluate``, ``compare`` and ``report``: measure models on pictures and clips they have not seen.

Needs no torch, apart from ``report`` without an exported model.
"""

from __future__ import annotations

import itertools
import json
import logging
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edge.cli.output import counted
from edge.errors import CatalogError, OptionError

if TYPE_CHECKING:
    from edge.detect.classifier import Classifier
    from train.data.pictures import Catalog, Picture
    from train.evaluate.clips import Clip, Clips
    from train.evaluate.far_bears import Figures
    from train.evaluate.held_out import Judge, Learned
    from train.evaluate.stills import Stills

log = logging.getLogger(__name__)


SourceOpt = Annotated[list[str] | None, typer.Option(help="Only pictures from this source; may be given again.")]

SplitOpt = Annotated[str | None, typer.Option(help="Only this part: train, tune or test.")]

SplitFileOpt = Annotated[Path | None, typer.Option(help="split.csv of the run that decided the parts.")]

LabelOpt = Annotated[list[str] | None, typer.Option(help="A folder name's label, such as dog=no_bear.")]


def evaluate(
    path: Annotated[
        Path, typer.Argument(help="A folder with one sub-folder a label, a manifest CSV, or a videos.csv.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Model file, or a folder of fold runs; default: the chosen or bundled model."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    source: SourceOpt = None,
    split: SplitOpt = None,
    split_file: SplitFileOpt = None,
    label: LabelOpt = None,
    clips: Annotated[bool, typer.Option(help="Run the alarm over the clips of a videos.csv beside them.")] = True,
    stills: Annotated[bool, typer.Option(help="Judge the still pictures.")] = True,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Also measure these animals made far: recall at 1 % false positives.")
    ] = False,
) -> None:
    """Measure a model: recall, false alarms and AUC with 95 % intervals, by class, source, size, and day or infrared.

    A videos.csv (file,bear_from_s,bear_to_s) beside clips has the time of a bear in view: then the whole alarm runs
    over them, and the time to the alarm is measured too. --benchmark is for pictures that the model has not seen: bears
    and other animals are shrunk to four sizes and put into other places. A folder with the runs fold-1, fold-2 … (train
    --fold) is judged on trail cameras: each model on the frames that it has not seen.
    """
    from edge.cli.output import track
    from edge.detect.classifier import load
    from train.evaluate.clips import evaluate_clips
    from train.evaluate.held_out import learned, split_digest
    from train.evaluate.stills import evaluate_stills
    from train.evaluate.text import benchmark_text, clips_text, learned_text, stills_text

    narrowed = bool(source or split or split_file)
    table = find_clips(path) if clips and not narrowed else None
    table_of = choose(path, source or [], split, split_file, label or []) if stills and has_stills(path) else None
    pictures = table_of.pictures if table_of else ()
    footage = read_footage(table)
    if model is not None and Path(model).is_dir() and table_of is not None:
        if benchmark:
            raise OptionError(f"--benchmark measures one model file, and {model} is a folder; omit it")
        from train.evaluate.held_out import judges_of

        print(evaluate_trail(judges_of(Path(model), table_of), footage, as_json=as_json))
        return
    if not pictures and not footage:
        raise CatalogError(
            f"{path}: nothing to measure here; give a folder with one sub-folder a label, or a videos.csv"
        )
    classifier = load(model)
    test_of = split_digest(split_file) if split_file is not None and split == "test" else None
    known = learned(classifier.card, table_of, test_of) if table_of else None
    if known is not None:
        log.warning("%s", learned_text(known, len(pictures)))
    found = evaluate_stills(classifier, track(pictures, "judging pictures")) if pictures else None
    far = measure_far(classifier, pictures, known) if benchmark and pictures else None
    seen = evaluate_clips(classifier, track(footage, "watching clips")) if footage else None
    if as_json:
        print(json.dumps(as_json_of(classifier, path, found, seen, far, known), indent=2, ensure_ascii=False))
        return
    print(f"{classifier.name} on {path}" + (f"\n{classifier.card.notice}" if classifier.card.notice else ""))
    if found is not None:
        print(stills_text(classifier.card, found))
    if far is not None:
        print("\n" + benchmark_text(far))
    if seen is not None:
        print(clips_text(seen))


T = TypeVar("T")

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
                score_model, after[0].classifier, after[0].pictures, after[1:], lambda items, *_: beside(items)
            )
            first = score_model(
                before[0].classifier,
                before[0].pictures,
                before[1:],
                lambda items, words, *many: track(items, f"both models: {words}", *many),
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


def report(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    model: Annotated[
        Path | None, typer.Option(help="The file exported from it; default: one in or beside the folder.")
    ] = None,
    last: Annotated[Path | None, typer.Option(help="The previous model, for a paired test.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page to write; default: report.html in the run's folder.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of the run's pictures, if they moved.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="The --label options the run was trained with.")] = None,
    clips: Annotated[
        bool, typer.Option(help="Run the alarm over the clips of a videos.csv beside the pictures.")
    ] = True,
) -> None:
    """Write one page on a run's model, measured on its test part: recall, false alarms, every missed bear.

    The page is one file and needs no network. It has pictures in it: mind their licences before you pass it on.
    """
    from edge.cli.output import track
    from edge.detect.classifier import Classifier
    from edge.errors import OptionError
    from edge.files import replace_whole
    from train.data.pictures import parse_labels
    from train.evaluate.command import find_clips, read_footage
    from train.evaluate.report import exported, find_out, read_files
    from train.evaluate.report_page import write_page

    target = out or run / "report.html"
    files = read_files(run, data, parse_labels(label or []))
    if target.is_dir() or not target.parent.is_dir():
        raise OptionError(f"{target}: cannot be written; name a file in a folder that is there with --out")
    path = model or exported(files)
    if path is not None:
        classifier = Classifier(path)
    else:
        log.warning(
            "no model file exported from %s is in it or beside it: the report uses the trained network, "
            "with the tuning part's threshold; name a file in another folder with --model",
            run,
        )
        from train.evaluate.report import TrainedNet

        classifier = TrainedNet(files)
    before = Classifier(last) if last is not None else None
    footage = read_footage(find_clips(files.root)) if clips else []
    found = find_out(files, classifier, footage, before, track)
    for words in found.doubts:
        log.warning("%s", words)
    replace_whole(target, write_page(found, shlex.join(["bear-alarm", *sys.argv[1:]])).encode())
    print(target)
    print(
        f"{files.folder}: {found.stills.pictures} test pictures, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr
    )


def evaluate_trail(judges: Sequence[Judge], clips: Sequence[Clip], *, as_json: bool) -> str:
    """Judge one model, or the folds of a recipe, on trail cameras; return the text to print.

    As JSON it has every frame's scores, from which the figures can be computed again. Each model watches all clips.
    Raises CatalogError if the pictures have no bear on a frame of a trail camera.
    """
    from edge.cli.output import track
    from train.evaluate.clips import evaluate_clips
    from train.evaluate.text import clips_line, trail_text
    from train.evaluate.trail_cameras import score_frames, trail_figures

    frames = score_frames(judges, track)
    if not any(one.part == "trail camera" and one.bear for one in frames):
        raise CatalogError(
            "no bear on a frame of a trail camera is among these pictures; the table's column condition marks "
            "such frames"
        )
    figures = trail_figures(frames)
    seen = {
        one.classifier.name: evaluate_clips(one.classifier, track(clips, f"{one.classifier.name}: watching clips"))
        for one in (judges if clips else ())
    }
    if as_json:
        found = {
            "figures": asdict(figures),
            "clips": {name: asdict(one) for name, one in seen.items()},
            "frames": [asdict(one) for one in frames],
        }
        return json.dumps(found, indent=1, ensure_ascii=False)
    return "\n".join([trail_text(figures), *(f"\n{clips_line(name, clips, one)}" for name, one in seen.items())])


def measure_far(classifier: Classifier, pictures: Sequence[Picture], known: Learned | None = None) -> Figures:
    """Measure benchmarks A and B of these pictures; ``known``: the model has seen their sources."""
    from edge.cli.output import track
    from train.evaluate.far_bears import benchmark_scores, figures

    scores = benchmark_scores(classifier, pictures, follow=lambda views: track(views, "far animals"))
    found = figures(scores, classifier.card.thresholds["crop"].value)
    if known is None:
        return found
    names = ", ".join(sorted([*known.trained, *known.tuned]))
    doubt = f"the model was trained or tuned on pictures of {names}: these figures may flatter it"
    return replace(found, doubts=(doubt, *found.doubts))


def has_stills(path: Path) -> bool:
    """Return True if there are pictures to read: not for a videos.csv, nor for a folder of clips only."""
    from train.evaluate.clips import TABLE

    if path.name == TABLE:
        return False
    if path.is_dir() and (path / TABLE).exists() and not (path / "MANIFEST.csv").exists():
        return any(entry.is_dir() for entry in path.iterdir())
    return True


def find_clips(path: Path) -> Path | None:
    """Find the videos.csv: ``path`` itself, or in it, beside it, or in a folder ``videos`` there."""
    from train.evaluate.clips import TABLE

    if path.name == TABLE:
        return path
    folder = path if path.is_dir() else path.parent
    return next((table for table in (folder / TABLE, folder / "videos" / TABLE) if table.exists()), None)


def read_footage(table: Path | None) -> list[Clip]:
    """Read the clips of a table; none without a table."""
    from train.evaluate.clips import read_clips

    return [] if table is None else read_clips(table)


def as_json_of(
    classifier: Classifier,
    path: Path,
    stills: Stills | None,
    clips: Clips | None,
    far: Figures | None = None,
    known: Learned | None = None,
) -> dict[str, Any]:
    """Collect all figures, ready for JSON."""
    found: dict[str, Any] = {
        "model": classifier.name,
        "model_file": str(classifier.path),
        "precision": classifier.card.precision,
        "float_fallback": classifier.fallback,
        "notice": classifier.card.notice,
        "path": str(path),
        "thresholds": {mode: limit.value for mode, limit in classifier.card.thresholds.items()},
    }
    if stills is not None:
        found["pictures"] = stills.pictures
        found["unreadable"] = list(stills.unreadable)
        for mode in ("still", "crop", "shrunk"):
            found[mode] = [asdict(one) for one in stills.slices(mode)]
    if known is not None:
        found["learned_from"] = asdict(known)
    if far is not None:
        found["benchmark"] = asdict(far)
    if clips is not None:
        found["clips"] = asdict(clips)
    return found


def choose(
    path: Path, sources: Sequence[str], split: str | None, split_file: Path | None, labels: Sequence[str]
) -> Catalog:
    """Read the table, with the pictures that match the options; its digest is the whole table's.

    Raises OptionError or CatalogError if the options match nothing.
    """
    from train.data.catalog import read_catalog
    from train.data.pictures import SPLITS, parse_labels
    from train.data.split import read_split

    if split is not None and split not in SPLITS:
        raise OptionError(f"--split is {split!r}; parts are {', '.join(SPLITS)}")
    if split_file is not None and split is None:
        raise OptionError(f"--split-file needs --split: which part of it, {', '.join(SPLITS)}?")
    catalog = read_catalog(path, parse_labels(labels))
    pictures: list[Picture] = list(catalog.pictures)
    if split_file is not None and split is not None:
        pictures = read_split(catalog, split_file)[split]
    elif split is not None:
        pictures = [picture for picture in pictures if picture.split == split]
    if sources:
        unknown = sorted(set(sources) - {picture.source for picture in catalog.pictures})
        if unknown:
            raise OptionError(f"no source is called {unknown[0]!r}; sources are {_names(catalog)}")
        pictures = [picture for picture in pictures if picture.source in sources]
    if not pictures:
        raise CatalogError(f"{path}: no picture is left in part {split!r} with these options")
    return replace(catalog, pictures=tuple(pictures))


def _names(catalog: Catalog) -> str:
    return ", ".join(sorted(catalog.count("source")))
