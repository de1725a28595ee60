"""Train again on the decided labels, with the run's recipe and parts, and report the changes."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.errors import CatalogError
from edge.files import replace_whole
from train.clean.changes import check_retrain, words
from train.data.pictures import SPLITS, Catalog, Picture, table_digest
from train.data.split import Split, complete, read_split
from train.learn.callbacks import Progress
from train.learn.examples import PictureCache, Track, skip_broken
from train.learn.hard_negatives import FOLDER, from_notes, kept_crops
from train.learn.run import ask_tune, make_folder, measure, read_run, train_run
from train.learn.run_folder import RunFolder

log = logging.getLogger(__name__)
REPORT = "cleaned.json"  # in the new run's folder
PARTS = ("clean", "degraded", "all")


def retrain(
    place: RunFolder,
    out: Path,
    say: Callable[[str], None],
    track: Track,
    *,
    force: bool = False,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train into ``out``; return the changes, and both networks' figures on the same decided tuning pictures.

    Raises OptionError if there are no changes or ``out`` has a run, CatalogError if the remaining pictures cannot be
    trained on.
    """
    change = check_retrain(place, out, force=force)
    old = read_run(place.run)
    catalog, split = _parts(place)
    cache = PictureCache()
    make_folder(out)
    catalog, split = skip_broken(catalog, split, cache, track)
    more = _hard_negatives(place, out)
    say(f"{words(change)}; training {out} with the recipe of {place.run} on {len(split['train'])} pictures")
    after = train_run(
        catalog,
        split,
        out,
        old.recipe,
        weights=weights,
        progress=Progress(lambda: None, say),
        track=track,
        aliases=place.settings.get("aliases", {}),
        cache=cache,
        more=more,
    )
    with tempfile.TemporaryDirectory() as scratch:  # for its plots, which are not needed
        seen = ask_tune(old.net, old.backbone, split["tune"], old.recipe, track)
        before = measure(seen, old.recipe, Path(scratch))
    report = {
        "run": str(place.run),
        "relabelled": change.relabelled,
        "deleted": change.deleted,
        "of_them_in_tuning": change.tuning,
        "tuning_pictures": len(split["tune"]),
        "before": _figures(before),
        "after": _figures(after),
    }
    replace_whole(out / REPORT, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    return report


def table(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """List figure, before and after, in per cent."""
    before, after = (100 * report[when]["error_rate"] for when in ("before", "after"))
    rows = [("error rate", f"{before:.1f}", f"{after:.1f}")]
    for part in PARTS:
        for name in ("recall", "false_positive_rate"):
            before, after = (100 * report[when][part][name] for when in ("before", "after"))
            rows.append((f"{name.replace('_', ' ')}, {part} crops", f"{before:.1f}", f"{after:.1f}"))
    return rows


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    limits = metrics["thresholds"]
    names = ("value", "recall", "false_positive_rate", "n_bear", "n_no_bear")
    return {"error_rate": metrics["error_rate"]} | {
        part: {name: limits[part][name] for name in names} for part in PARTS
    }


def _parts(place: RunFolder) -> tuple[Catalog, Split]:
    """Split the decided pictures. Raises CatalogError if a part has no bears left, or no others."""
    split = read_split(place.catalog, place.run / "split.csv")
    if not complete(split):
        lacking = next(part for part in SPLITS if not complete({part: split[part]}))
        raise CatalogError(
            f"{place.root}: after these decisions the {lacking} part of {place.run} has bears only, or none; "
            "take some back with --undo, or train again with `bear-alarm train`"
        )
    kept = {picture for part in SPLITS for picture in split[part]}
    pictures = tuple(picture for picture in place.catalog.pictures if picture in kept)
    left_out = tuple(picture for picture in place.catalog.pictures if picture not in kept)
    digest = table_digest(pictures, place.root)
    return replace(place.catalog, pictures=pictures, digest=digest, left_out=left_out), split


def _hard_negatives(place: RunFolder, out: Path) -> list[Picture]:
    """Copy the run's hard negatives into the new run's folder, and return their rows."""
    found = place.settings.get("hard_negatives", [])
    notes, many = (found, len(found)) if isinstance(found, list) else ([], int(found))  # older runs have their number
    rows = from_notes(notes, place.run / FOLDER)
    if len(rows) < many:
        gone = many - len(rows)
        log.warning(
            "%s: %d of %d hard negatives are gone; training continues without them", place.run / FOLDER, gone, many
        )
    return kept_crops(rows, out)
