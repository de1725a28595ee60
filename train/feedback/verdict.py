"""What a review makes of a case: the label its pictures get, or why they get none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from train.catalog.picture import BEAR_ANY, TRAINING_LABELS
from train.feedback.case import Case

NO_BEAR = "no_bear"
RANDOM_NEGATIVE = "random negative"  # what a random frame is called in which nobody saw anything
UNREVIEWED = "none"  # the verdict of a negative that is taken as empty unseen


@dataclass(frozen=True)
class Verdict:
    """The label, what a person called it, and which review says so."""

    label: str  # one of TRAINING_LABELS
    named: str  # fox, stump …; the label where nothing more is known
    review: str  # confirmed@2026-11-24T08:12:07.000Z, or none


@dataclass(frozen=True)
class Refused:
    """Why a case brings no pictures."""

    # Nobody has looked; nobody can tell; a word that is no label; a bear was missed, and nobody said where.
    kind: Literal["unreviewed", "unsure", "unknown", "nowhere"]
    review: str = ""  # as of a verdict
    words: str = ""  # a sentence


def verdict_of(case: Case, names: Mapping[str, str], *, unreviewed_negatives: bool) -> Verdict | Refused:
    """What the case's pictures are. ``names``: further names of labels, such as fox -> no_bear.

    A confirmed bear is a bear of unknown kind: the kind that the model told is its own guess, and nobody's word.
    """
    review, negative = case.review, case.unit.kind == "negative"
    if review is None:
        if negative and unreviewed_negatives:
            return Verdict(NO_BEAR, RANDOM_NEGATIVE, UNREVIEWED)
        return Refused("unreviewed")
    said = f"{review.verdict}@{review.at}"
    if review.verdict == "unsure":
        return Refused("unsure", said)
    if review.verdict == "wrong":
        return Verdict(NO_BEAR, RANDOM_NEGATIVE if negative else "false alarm", said)
    named = review.label or BEAR_ANY
    label = names.get(named, named)
    if label not in TRAINING_LABELS:
        what = f"was labelled {named!r}, which is no label; say what it is: --label {named}=no_bear"
        return Refused("unknown", said, f"{case.unit.name}: {what}")
    if negative and label != NO_BEAR and review.box_xywh is None:
        what = f"{named.replace('_', ' ')} was missed there, and nobody said where; review it again with --box"
        return Refused("nowhere", said, f"{case.unit.name}: {what}")
    return Verdict(label, "bear" if named == BEAR_ANY else named, said)
