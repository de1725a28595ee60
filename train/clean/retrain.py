"""Train again on the decided labels, with the run's own recipe and parts, and say what changed."""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from train.data.pictures import SPLITS, Catalog, Picture, table_digest
from train.data.split import Split, complete, name_of, read_split
from train.learn.dataloaders import PictureCache, Track, leave_out_broken
from train.learn.hard_negatives import FOLDER, kept_crops, remembered
from train.learn.learner import Progress
from train.learn.run import ask_tune, make_folder, measure, read_run, train_run
from train.learn.run_folder import Place

# What the decisions changed since a run was trained. Needs no torch.


@dataclass(frozen=True)
class Change:
    """What the decisions did to the pictures of a run."""

    relabelled: dict[str, int]  # "no_bear -> brown_bear": how many
    deleted: int
    tuning: int  # of both, how many in the tuning part

    @property
    def count(self) -> int:
        """Pictures that are not as the run knew them."""
        return sum(self.relabelled.values()) + self.deleted


def changes(place: Place) -> Change:
    """How the pictures' labels differ from those the run was trained with."""
    now = {name_of(picture, place.root): picture.label for picture in place.catalog.pictures}
    relabelled: Counter[str] = Counter()
    deleted = tuning = 0
    try:
        with (place.run / "split.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
            knew = [(row["file"], row["label"], row["split"]) for row in csv.DictReader(opened)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{place.run / 'split.csv'}: cannot be read ({error}); train the run again") from None
    for file, label, part in knew:
        if part not in SPLITS or now.get(file) == label:
            continue
        tuning += part == "tune"
        if file in now:
            relabelled[f"{label} -> {now[file]}"] += 1
        else:
            deleted += 1
    return Change(dict(relabelled.most_common()), deleted, tuning)


def check_retrain(place: Place, out: Path, *, force: bool = False) -> Change:
    """What would be trained on anew. Raises OptionError where nothing was decided or ``out`` holds a run."""
    if out.resolve() == place.run.resolve():
        raise OptionError(f"{out}: is the run that was cleaned; choose another --out, to compare the two")
    if (out / "learner.pkl").exists() and not force:
        raise OptionError(f"{out}: already holds a trained run; choose another --out, or replace it with --force")
    change = changes(place)
    if not change.count:
        raise OptionError(
            f"{place.run}: its pictures are labelled as it was trained with; decide something first "
            f"(bear-alarm clean {place.run})"
        )
    return change


def words(change: Change) -> str:
    """What was decided, in one line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in change.relabelled.items())
    relabelled = sum(change.relabelled.values())
    return (
        f"{relabelled} relabelled{f' ({kinds})' if kinds else ''}, {change.deleted} deleted; "
        f"{change.tuning} of them are tuning pictures"
    )


log = logging.getLogger(__name__)
REPORT = "cleaned.json"  # in the new run's folder
PARTS = ("clean", "degraded", "all")


def retrain(
    place: Place,
    out: Path,
    say: Callable[[str], None],
    track: Track,
    *,
    force: bool = False,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train into ``out`` and return what changed, with both networks' figures on the same decided tuning pictures.

    Raises OptionError where nothing was decided or ``out`` holds a run, CatalogError where the pictures left
    cannot be trained on.
    """
    change = check_retrain(place, out, force=force)
    old = read_run(place.run)
    catalog, split = _parts(place)
    cache = PictureCache()
    make_folder(out)
    catalog, split = leave_out_broken(catalog, split, cache, track)
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
    with tempfile.TemporaryDirectory() as scratch:  # its plots are not asked for
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
    """Rows of figure, before, after, in per cent."""
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


def _parts(place: Place) -> tuple[Catalog, Split]:
    """The run's own parts of the decided pictures. Raises CatalogError where one has no bears left, or no others."""
    split = read_split(place.catalog, place.run / "split.csv")
    if not complete(split):
        lacking = next(part for part in SPLITS if not complete({part: split[part]}))
        raise CatalogError(
            f"{place.root}: after these decisions the {lacking} part of {place.run} has bears only, or none; "
            "take some back with --undo, or train anew with `bear-alarm train`"
        )
    kept = {picture for part in SPLITS for picture in split[part]}
    pictures = tuple(picture for picture in place.catalog.pictures if picture in kept)
    left_out = tuple(picture for picture in place.catalog.pictures if picture not in kept)
    digest = table_digest(pictures, place.root)
    return replace(place.catalog, pictures=pictures, digest=digest, left_out=left_out), split


def _hard_negatives(place: Place, out: Path) -> list[Picture]:
    """The crops the run found hard, copied into the new run's folder, as pictures to train on."""
    told = place.settings.get("hard_negatives", [])
    notes, many = (told, len(told)) if isinstance(told, list) else ([], int(told))  # once it was how many there are
    rows = remembered(notes, place.run / FOLDER)
    if len(rows) < many:
        gone = many - len(rows)
        log.warning("%s: %d of %d hard negatives are gone; it goes without them", place.run / FOLDER, gone, many)
    return kept_crops(rows, out)
