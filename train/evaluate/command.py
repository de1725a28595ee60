"""``bear-alarm evaluate``: measure a model on pictures and clips it has not seen. Needs no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import CatalogError, OptionError
from train.evaluate.choice import LabelOpt, SourceOpt, SplitFileOpt, SplitOpt, choose

if TYPE_CHECKING:
    from edge.detect.classifier import Classifier
    from train.data.pictures import Picture
    from train.evaluate.clips import Clip, Clips
    from train.evaluate.far_figures import Figures
    from train.evaluate.held_out import Judge, Learned
    from train.evaluate.stills import Stills

log = logging.getLogger(__name__)


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
        print(json.dumps(report(classifier, path, found, seen, far, known), indent=2, ensure_ascii=False))
        return
    print(f"{classifier.name} on {path}" + (f"\n{classifier.card.notice}" if classifier.card.notice else ""))
    if found is not None:
        print(stills_text(classifier.card, found))
    if far is not None:
        print("\n" + benchmark_text(far))
    if seen is not None:
        print(clips_text(seen))


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
    from train.evaluate.far_bears import benchmark_scores
    from train.evaluate.far_figures import figures

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


def report(
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
