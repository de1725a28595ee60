"""Review of events and random negatives: what a person saw in them, for the next model to learn from."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.events.show import named
from edge.cli.options import user_name
from edge.errors import OptionError
from edge.record.event_folders import folders_there
from edge.record.event_words import review_text
from edge.record.media_store import SAMPLE
from edge.record.review import Review, Verdict, write_review
from edge.schema import utc_text

if TYPE_CHECKING:
    from edge.record.history import PastEvent

log = logging.getLogger(__name__)


def make_review(
    label: str | None, box: str | None, by: str | None, note: str | None, *, confirmed: bool, wrong: bool, unsure: bool
) -> Review:
    """Return the review, as of now. Raises OptionError where a part of it cannot be used."""
    chosen: dict[Verdict, bool] = {
        "confirmed": confirmed, "wrong": wrong, "unsure": unsure, "relabelled": label is not None
    }  # fmt: skip
    verdicts = [name for name, given in chosen.items() if given]
    if len(verdicts) != 1:
        raise OptionError("what was it? give one of --confirmed, --wrong, --label NAME, --unsure")
    label = None if label is None else re.sub(r"[\s-]+", "_", label.strip().lower())
    try:
        review = Review(verdicts[0], utc_text(datetime.now(UTC)), label, by or user_name(), note or "")
    except ValueError as error:
        raise OptionError(f"this review cannot be used: {error}") from None
    if box is None:
        return review
    try:
        x, y, w, h = map(float, box.split(","))
        return replace(review, box_xywh=(x, y, w, h))
    except ValueError:
        raise OptionError(f"--box {box!r}: give x,y,width,height as fractions of the frame: 0.4,0.5,0.1,0.2") from None


def split_units(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Split the words into paths of evidence (an event's folder, a file in it, a random negative) and ids.

    Raises OptionError for a path at which there is no evidence.
    """
    units: dict[Path, None] = {}
    ids: list[str] = []
    for word in words:
        path = Path(word)
        if not (os.sep in word or path.suffix or path.is_dir()):
            ids.append(word)
            continue
        folder = path if path.is_dir() else path.parent
        if SAMPLE.fullmatch(path.name) and path.is_file():
            units[path] = None
        elif (folder / "event.json").is_file() and path.exists():
            units[folder] = None
        else:
            raise OptionError(f"{word}: no evidence there; give an event's id, its folder, or a random negative's file")
    return list(units), ids


def review_all(units: Sequence[Path], incidents: Sequence[PastEvent], state: Path, review: Review) -> None:
    """Write the review for each path and event. Raises OptionError where one has no evidence (any more).

    A running alarm gets it through the journal in ``state``.
    """
    from edge.record.review import pass_on

    found: list[tuple[str, list[Path]]] = [(str(unit), [unit]) for unit in units]
    for incident in incidents:
        found.append((named(incident), folders_there(incident, state, "review")))
    for name, units_of in found:
        for unit in units_of:
            write_review(unit, review)
        print(f"{name}: {review_text(review)}")
    ids = [each.id for each in incidents] + [id_ for unit in units if (id_ := _event_of(unit))]
    if ids and (why := pass_on(state, ids, review)):
        log.warning("The review is saved, but the running alarm does not get it: %s.", why)


def _event_of(unit: Path) -> str | None:
    """Return the id of the event whose folder this is; None for a random negative, or where it cannot be read."""
    try:
        return str(json.loads((unit / "event.json").read_bytes())["id"])
    except (OSError, ValueError, KeyError):
        return None
