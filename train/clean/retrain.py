"""Changes by decisions since a run was trained, their undo, and the training on the decided labels."""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
from train.data.decisions import Decision, append_decisions, live, read_decisions, take_back
from train.data.pictures import SPLITS, Catalog, Picture, table_digest
from train.data.split import Split, complete, name_of, read_split, split_rows
from train.learn.hard_negatives import FOLDER, from_notes, kept_crops
from train.learn.run_folder import RunFolder

if TYPE_CHECKING:
    from train.learn.examples import Track

log = logging.getLogger(__name__)

REPORT = "cleaned.json"  # in the new run's folder
PARTS = ("clean", "degraded", "all")


def retrain(
    place: RunFolder,
    out: Path,
    write: Callable[[str], None],
    track: Track,
    *,
    force: bool = False,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train into ``out``; return the changes, and both networks' figures on the same decided tuning pictures.

    Raises OptionError if there are no changes or ``out`` has a run, CatalogError if the remaining pictures cannot be
    trained on.
    """
    change = check_retrain(place, out, force=force)  # before torch loads
    from train.learn.callbacks import Progress
    from train.learn.examples import PictureCache, skip_broken
    from train.learn.run import ask_tune, make_folder, measure, read_run, train_run

    old = read_run(place.run)
    catalog, split = _parts(place)
    cache = PictureCache()
    make_folder(out)
    catalog, split = skip_broken(catalog, split, cache, track)
    more = _hard_negatives(place, out)
    write(f"{words(change)}; training {out} with the recipe of {place.run} on {len(split['train'])} pictures")
    after = train_run(
        catalog,
        split,
        out,
        old.recipe,
        weights=weights,
        progress=Progress(lambda: None, write),
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
    notes = place.settings.get("hard_negatives", [])
    rows = from_notes(notes, place.run / FOLDER)
    if gone := len(notes) - len(rows):
        log.warning("%s: %d hard negatives are gone; training continues without them", place.run / FOLDER, gone)
    return kept_crops(rows, out)


@dataclass(frozen=True)
class Change:
    """Changes of a run's pictures by decisions."""

    relabelled: dict[str, int]  # "no_bear -> brown_bear": how many
    deleted: int
    tuning: int  # of both, those in the tuning part

    @property
    def count(self) -> int:
        """Return the number of changed pictures."""
        return sum(self.relabelled.values()) + self.deleted


def changes(place: RunFolder) -> Change:
    """Compare the pictures' labels with those of the training."""
    now = {name_of(picture, place.root): picture.label for picture in place.catalog.pictures}
    relabelled: Counter[str] = Counter()
    deleted = tuning = 0
    for row in split_rows(place.run / "split.csv"):
        file, label, part = row["file"], row.get("label"), row["split"]
        if part not in SPLITS or now.get(file) == label:
            continue
        tuning += part == "tune"
        if file in now:
            relabelled[f"{label} -> {now[file]}"] += 1
        else:
            deleted += 1
    return Change(dict(relabelled.most_common()), deleted, tuning)


def check_retrain(place: RunFolder, out: Path, *, force: bool = False) -> Change:
    """Return the changes to train on. Raises OptionError if there are none or ``out`` has a run."""
    if out.resolve() == place.run.resolve():
        raise OptionError(f"{out}: is the run that was cleaned; choose another --out, to compare the two")
    if (out / "learner.pkl").exists() and not force:
        raise OptionError(f"{out}: already has a trained run; choose another --out, or replace it with --force")
    change = changes(place)
    if not change.count:
        raise OptionError(
            f"{place.run}: its pictures have the labels of its training; decide something first "
            f"(bear-alarm clean {place.run})"
        )
    return change


def words(change: Change) -> str:
    """Return the changes in one line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in change.relabelled.items())
    relabelled = sum(change.relabelled.values())
    return (
        f"{relabelled} relabelled{f' ({kinds})' if kinds else ''}, {change.deleted} deleted; "
        f"{change.tuning} of them are tuning pictures"
    )


def undo_decisions(place: RunFolder, what: str) -> list[Decision]:
    """Take back the ``last`` decision, the one about a file, or ``all``; return them. Raises OptionError if none."""
    held = live(read_decisions(place.root))
    if not held:
        raise OptionError(f"{place.root}: no decision is in force, there is nothing to take back")
    about = held if what == "all" else held[-1:] if what == "last" else [row for row in held if row.file == what]
    if not about:
        raise OptionError(f"{what!r}: no decision is about this file; see `bear-alarm clean {place.run} --list`")
    append_decisions(place.root, [take_back(row, by=place.name) for row in about])
    return about
