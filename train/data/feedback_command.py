"""``bear-alarm feedback import``: make training pictures of the alarm's own, reviewed pictures."""

from __future__ import annotations

import json
import logging
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.output import counted
from edge.errors import OptionError

if TYPE_CHECKING:
    from train.data.feedback import ImportResult


log = logging.getLogger(__name__)
MAX_NAMED = 10  # skipped files that are named; the rest is counted

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


class Part(StrEnum):
    """The parts of a split."""

    train = "train"
    tune = "tune"
    test = "test"


@app.callback(invoke_without_command=True)
def feedback(ctx: typer.Context) -> None:
    """Learn from the alarm's own pictures that people have reviewed."""
    if ctx.invoked_subcommand is None:
        raise OptionError("feedback what? `bear-alarm feedback import DIR --into DATA`")


@app.command("import")
def import_(
    evidence: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of evidence, a copied card, or a zip or tar of events.")
    ],
    into: Annotated[Path, typer.Option(help="The folder of pictures with its MANIFEST.csv, or a new one.")],
    site: Annotated[
        str, typer.Option(help="Name of this place: the source of its pictures, which a split keeps together.")
    ] = "own cameras",
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given again.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What a reviewer's word means, such as fox=no_bear; may be given again.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Pictures of one event at most; near duplicates count once.")] = 5,
    unreviewed_negatives: Annotated[
        bool, typer.Option("--unreviewed-negatives", help="Import random negatives without a review as empty.")
    ] = False,
    time_zone: Annotated[
        str | None, typer.Option(help="Where the cameras are, such as Europe/Rome; default: this machine's.")
    ] = None,
    split: Annotated[
        Part | None, typer.Option(help="The part for them; default: train where the table names parts.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be imported.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Import reviewed events and negatives into a folder of pictures, grouped by camera and day.

    Confirmed bears, false alarms and other labels become rows of its table. Events without a review, or of which the
    reviewer was unsure, do not. You can run it again: what is in the table is skipped, what has a newer review is
    replaced. Review with `bear-alarm events review`.
    """
    from edge.cli.output import track
    from train.data.feedback import ImportOptions, import_evidence, missing_cameras
    from train.data.feedback_evidence import open_evidence
    from train.data.pictures import parse_labels

    if not site.strip():
        raise OptionError("--site is empty; give the place a name, or omit the option")
    options = ImportOptions(
        site=" ".join(site.split()),
        cameras=frozenset(camera or ()),
        names=parse_labels(label or ()),
        most=most,
        unreviewed_negatives=unreviewed_negatives,
        zone=zone_of(time_zone),
        split=split.value if split else "",
    )
    with open_evidence(evidence) as found:
        missing, there = missing_cameras(found, options.cameras)
        if missing:
            names = ", ".join(there) or "none"
            raise OptionError(f"--camera {missing[0]!r}: no such camera in {evidence}; it has {names}")
        result = import_evidence(
            found, into, options, dry=dry_run, track=lambda units: track(units, "reading evidence")
        )
    if as_json:
        print(json.dumps({"dry_run": dry_run} | result.as_json(), indent=2, ensure_ascii=False))
    print_result(result, into, dry=dry_run)


def zone_of(name: str | None) -> tzinfo | None:
    """Return the time zone of that name; None: this machine's. Raises OptionError."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OptionError(f"--time-zone {name!r}: no such time zone; give one like Europe/Rome or UTC") from None


def print_result(result: ImportResult, into: Path, *, dry: bool) -> None:
    """Print what was imported and what was not, with the reason, a line each."""
    count = sum(result.pictures.values())
    labels = ", ".join(f"{number} {label}" for label, number in sorted(result.pictures.items()))
    groups = f" in {counted(len(result.groups), 'group')} (camera and day)" if count else ""
    log.info(
        "%s%s of %s: %s%s.",
        "Would import " if dry else "",
        counted(count, "new picture"),
        f"{counted(result.events, 'event')} and {counted(result.negatives, 'negative')}",
        labels or "nothing new",
        groups,
    )
    lost = "reviewed again since, and the evidence has lost pictures: those in the table got the new label"
    for number, words in (
        (result.known, "in the table already, and skipped"),
        (result.changed - result.relabelled, "reviewed again since, and replaced"),
        (result.relabelled, lost),
        (result.taken_back, "reviewed again since, and can no longer be used: removed from the table"),
        (result.unsure, "unsure by their review, and skipped"),
    ):
        if number:
            log.info("%d of them %s %s.", number, "is" if number == 1 else "are", words)
    if result.unreviewed_events:
        log.info(
            "No review yet, and skipped: %s; `bear-alarm events review ID --confirmed`, --wrong or --label "
            "(without its journal: the folder of the evidence in place of ID).",
            counted(result.unreviewed_events, "event"),
        )
    if result.unreviewed_negatives:
        log.info(
            "No review yet, and skipped: %s; `bear-alarm events review FILE --wrong` (no bear there), or import them "
            "all as empty with --unreviewed-negatives.",
            counted(result.unreviewed_negatives, "random negative"),
        )
    if result.misses:
        log.info("Reported without a picture, so only counted: %s.", counted(result.misses, "missed bear"))
    if result.taken_unreviewed:
        log.warning(
            "Imported as empty without a review: %s; a bear that was missed in one of them teaches the model to "
            "miss it.",
            counted(result.taken_unreviewed, "random negative"),
        )
    for what, sentences in (("skipped", result.left_out), ("unchanged", result.kept)):
        for words in sentences[:MAX_NAMED]:
            log.warning("%s: %s", what, words)
        if len(sentences) > MAX_NAMED:
            log.warning("%s: %d more; --json names them all", what, len(sentences) - MAX_NAMED)
    if count and not dry:
        log.info("Next: bear-alarm train %s", into)
