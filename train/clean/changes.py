"""Changes by decisions since a run was trained, and their undo.

Apart from ``retrain`` because it needs no torch; the notebook uses it too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edge.errors import OptionError
from train.data.decisions import Decision, append_decisions, live, read_decisions, take_back
from train.data.pictures import SPLITS
from train.data.split import name_of, split_rows
from train.learn.run_folder import RunFolder


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
