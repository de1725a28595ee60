"""``bear-alarm feedback import``: what people said of the alarm's own pictures becomes pictures to train on."""

from __future__ import annotations

import json
import logging
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import OptionError

if TYPE_CHECKING:
    from train.data.feedback import Brought


log = logging.getLogger(__name__)
NAMED = 10  # what was left out, in words; the rest is counted

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
        str, typer.Option(help="What this place is called: the source of its pictures, kept together by a split.")
    ] = "own cameras",
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; may be given again.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="What a reviewer's word means, such as fox=no_bear; may be given again.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Pictures of one event; of those that look alike one is taken.")] = 5,
    unreviewed_negatives: Annotated[
        bool, typer.Option("--unreviewed-negatives", help="Take random negatives that nobody has looked at as empty.")
    ] = False,
    time_zone: Annotated[
        str | None, typer.Option(help="Where the cameras are, such as Europe/Rome; default: this machine's.")
    ] = None,
    split: Annotated[
        Part | None, typer.Option(help="The part they go to; default: train where the table names parts.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came as JSON.")] = False,
) -> None:
    """Bring reviewed events and negatives into a folder of pictures, grouped by camera and day.

    Confirmed bears, false alarms and what was labelled otherwise become rows of its table; what nobody has reviewed, or
    can tell, does not. It may be run again and again: what is there is passed over, what was reviewed otherwise since
    is replaced. Review with `bear-alarm events review`.
    """
    from edge.cli.progress import track
    from train.data.feedback import Wanted, bring, missing_cameras
    from train.data.feedback_evidence import open_shelf
    from train.data.table import parse_labels

    if not site.strip():
        raise OptionError("--site is empty; give the place a name, or leave it out")
    wanted = Wanted(
        site=" ".join(site.split()),
        cameras=frozenset(camera or ()),
        names=parse_labels(label or ()),
        most=most,
        unreviewed_negatives=unreviewed_negatives,
        zone=zone_of(time_zone),
        split=split.value if split else "",
    )
    with open_shelf(evidence) as shelf:
        missing, there = missing_cameras(shelf, wanted.cameras)
        if missing:
            names = ", ".join(there) or "none"
            raise OptionError(f"--camera {missing[0]!r}: no such camera in {evidence}; it has {names}")
        brought = bring(shelf, into, wanted, dry=dry_run, track=lambda units: track(units, "reading evidence"))
    if as_json:
        print(json.dumps({"dry_run": dry_run} | brought.as_json(), indent=2, ensure_ascii=False))
    say(brought, into, dry=dry_run)


def zone_of(name: str | None) -> tzinfo | None:
    """Return the time zone of that name; None: this machine's. Raises OptionError."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OptionError(f"--time-zone {name!r}: no such time zone; give one like Europe/Rome or UTC") from None


def say(brought: Brought, into: Path, *, dry: bool) -> None:
    """Print what came, what did not and why, a line each."""
    count = sum(brought.pictures.values())
    labels = ", ".join(f"{number} {label}" for label, number in sorted(brought.pictures.items()))
    groups = f" in {_count(len(brought.groups), 'group')} (camera and day)" if count else ""
    log.info(
        "%s%s of %s: %s%s.",
        "Would bring " if dry else "",
        _count(count, "new picture"),
        f"{_count(brought.events, 'event')} and {_count(brought.negatives, 'negative')}",
        labels or "nothing new",
        groups,
    )
    for number, words in (
        (brought.known, "{} there already, and passed over"),
        (brought.changed - brought.relabelled, "{} reviewed otherwise since, and replaced"),
        (
            brought.relabelled,
            "{} reviewed otherwise since, and the evidence has lost pictures: those in the table got the new label",
        ),
        (
            brought.taken_back,
            "{} reviewed otherwise since, so that nothing can be learned from it: taken out of the table",
        ),
        (brought.unsure, "{} such that nobody can tell, and left out"),
    ):
        if number:
            log.info("%s.", words.format(_are(f"{number} of them", number)))
    if brought.unreviewed_events:
        log.info(
            "%s left out, for nobody has reviewed %s: `bear-alarm events review ID --confirmed`, --wrong or --label "
            "(without its journal: the folder of the evidence in place of ID).",
            _are(_count(brought.unreviewed_events, "event"), brought.unreviewed_events),
            "it" if brought.unreviewed_events == 1 else "them",
        )
    if brought.unreviewed_negatives:
        log.info(
            "%s left out, for nobody has reviewed %s: `bear-alarm events review FILE --wrong` (no bear there), or take "
            "them all as empty with --unreviewed-negatives.",
            _are(_count(brought.unreviewed_negatives, "random negative"), brought.unreviewed_negatives),
            "it" if brought.unreviewed_negatives == 1 else "them",
        )
    if brought.taken_unreviewed:
        log.warning(
            "%s taken as empty unseen: a bear that was missed in one of them teaches the model to miss it.",
            _are(_count(brought.taken_unreviewed, "random negative"), brought.taken_unreviewed),
        )
    for what, sentences in (("left out", brought.left_out), ("kept", brought.kept)):
        for words in sentences[:NAMED]:
            log.warning("%s: %s", what, words)
        if len(sentences) > NAMED:
            log.warning("%s: %d more; --json names them all", what, len(sentences) - NAMED)
    if count and not dry:
        log.info("Next: bear-alarm train %s", into)


def _are(what: str, number: int) -> str:
    return f"{what} {'is' if number == 1 else 'are'}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
