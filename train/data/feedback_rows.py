"""What a review makes of evidence: its label, and rows of the table of pictures.

A group is one camera on one day, a source is one site.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from edge.schema import BoxXYWH, utc_text
from train.data.feedback_evidence import Case
from train.data.feedback_pictures import EvidencePicture
from train.data.licences import OWN
from train.data.pictures import BEAR_ANY, CAMERAS, TRAINING_LABELS

NO_BEAR = "no_bear"
RANDOM_NEGATIVE = "random negative"  # the name of a random frame without an animal
UNREVIEWED = "none"  # the review of a negative that is imported as empty without one


@dataclass(frozen=True)
class ReviewedLabel:
    """The label, the name that a person gave, and the review that it comes from."""

    label: str  # one of TRAINING_LABELS
    named: str  # fox, stump …; the label if nothing more is known
    review: str  # confirmed@2026-11-24T08:12:07.000Z, or none


@dataclass(frozen=True)
class NotUsable:
    """The reason why a case gives no pictures."""

    # Not reviewed; the reviewer cannot tell; the word is no label; a bear was missed, and its box is not known.
    kind: Literal["unreviewed", "unsure", "unknown", "nowhere"]
    review: str = ""  # as in ReviewedLabel
    words: str = ""  # a sentence


def reviewed_label(case: Case, names: Mapping[str, str], *, unreviewed_negatives: bool) -> ReviewedLabel | NotUsable:
    """Return the label of the case's pictures. ``names``: further names of labels, such as fox -> no_bear.

    A confirmed bear is a bear of unknown species: the model's species is a guess that no person has confirmed.
    """
    review, negative = case.review, case.unit.kind == "negative"
    if review is None:
        if negative and unreviewed_negatives:
            return ReviewedLabel(NO_BEAR, RANDOM_NEGATIVE, UNREVIEWED)
        return NotUsable("unreviewed")
    source = f"{review.verdict}@{review.at}"
    if review.verdict == "unsure":
        return NotUsable("unsure", source)
    if review.verdict == "wrong":
        return ReviewedLabel(NO_BEAR, RANDOM_NEGATIVE if negative else "false alarm", source)
    named = review.label or BEAR_ANY
    label = names.get(named, named)
    if label not in TRAINING_LABELS:
        what = f"was labelled {named!r}, which is no label; define it: --label {named}=no_bear"
        return NotUsable("unknown", source, f"{case.unit.name}: {what}")
    if negative and label != NO_BEAR and review.box_xywh is None:
        what = f"{named.replace('_', ' ')} was missed there, at an unknown place; review it again with --box"
        return NotUsable("nowhere", source, f"{case.unit.name}: {what}")
    return ReviewedLabel(label, "bear" if named == BEAR_ANY else named, source)


FOLDER = "feedback"  # the sub-folder of the pictures' folder
_KEY = re.compile(r"\b(event|negative)=[^;\s]+")
_PART = re.compile(r"\bpart=([^;\s]+)")
_SCORE = re.compile(r"\bscore=([^;\s]+)")
_REVIEW = re.compile(r"\breview=([^;\s]+)")

Row = dict[str, str]


def key_of(note: str) -> str | None:
    """Return the case's key in a row's note, such as ``event=3f9c…``; None for a row of another source."""
    found = _KEY.search(note)
    return found[0] if found else None


def review_of(note: str) -> str:
    """Return the review in a row's note, such as ``confirmed@2026-…``; "" if there is none."""
    found = _REVIEW.search(note)
    return found[1] if found else ""


def part_of(note: str) -> str | None:
    """Return the part in a row's note (``EvidencePicture.part``); None for a row of another source."""
    found = _PART.search(note) if key_of(note) else None
    return found[1] if found else None


def is_cut(part: str) -> bool:
    """Return True if a part (``EvidencePicture.part``) is a crop, not a whole frame."""
    return part == "crop" or part.endswith("-cut")


def day_of(case: Case, zone: tzinfo | None) -> str:
    """Return the local day of the alarm, such as 2026-11-28. ``zone`` None: this machine's time zone."""
    return f"{case.at.astimezone(zone):%Y-%m-%d}"


def row_of(
    case: Case, picture: EvidencePicture, reviewed: ReviewedLabel, *, site: str, zone: tzinfo | None, split: str
) -> Row:
    """Return one row. The file is named after case and part, so a picture has the same name each time."""
    day = day_of(case, zone)
    score = picture.score if picture.score is not None else case.score
    kind, _, key = case.key.partition("=")
    name = f"{case.at:%H%M%S}-{kind}-{_plain(key)[:16]}-{_plain(picture.part)}.jpg"
    return {
        "file": "/".join((FOLDER, _plain(site), _plain(case.camera), day, name)),
        "label": reviewed.label,
        "group": f"{case.camera}/{day}",
        "source": site,
        "licence": OWN,
        "time": utc_text(case.at),
        "note": _note(case, reviewed, _plain(picture.part), _score_text(score)),
        "split": split,
        "condition": "" if is_cut(picture.part) else CAMERAS[0],
    }


def boxes_of(picture: EvidencePicture) -> Sequence[tuple[str, BoxXYWH]]:
    """Return the bear's box, where the picture is a whole frame."""
    return [("bear", picture.box_xywh)] if picture.box_xywh is not None else []


def relabelled(row: Row, case: Case, reviewed: ReviewedLabel) -> Row:
    """Return an existing row of this case with the label of a newer review; file, group and source stay."""
    score = _SCORE.search(row["note"])
    note = _note(case, reviewed, part_of(row["note"]) or "", score[1] if score else _score_text(case.score))
    return row | {"label": reviewed.label, "note": note}


def _note(case: Case, reviewed: ReviewedLabel, part: str, score: str) -> str:
    facts = [
        reviewed.named.replace("_", " "),
        case.key,
        f"part={part}",
        f"review={reviewed.review}",
        f"told={_line(case.label) or 'nothing'}",
        f"score={score}",
        f"model={_line(case.model) or 'unknown'}",
    ]
    if case.clock_synced is False:
        facts.append("clock=not set")
    if case.review and case.review.by:
        facts.append(f"by={_line(case.review.by)}")
    if case.review and case.review.note:
        facts.append(f"said={_line(case.review.note)}")
    return "; ".join(facts)


def _score_text(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.3f}"


def _line(words: str) -> str:
    return " ".join(words.replace(";", ",").split())


def _plain(words: str) -> str:
    """Make words a part of a path, at most 60 bytes: file systems allow 255 for a name."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:60].decode(errors="ignore").strip(".") or "_"
