"""Which pictures the report shows, and the counts of the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import Card
from edge.detect.crops import cut
from edge.errors import PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE
from train.data.pictures import BEAR_ANY
from train.judging.evaluate import Judged
from train.report.aims import still_recall
from train.report.drawings import THUMB_PX, thumbnail
from train.report.findings import Findings

SHOWN = 24
Thumbs = list[tuple[str, Sequence[str]]]


def confusion_counts(found: Findings) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Rows (truth, as the table labels), columns (the card's labels) and counts of the crops."""
    columns = list(found.classifier.card.labels)
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    truth = labels(found)
    names = [*columns, *sorted({truth[row.file] for row in rows} - set(columns))]
    names = [name for name in names if any(truth[row.file] == name for row in rows)]
    counts = np.zeros((len(names), len(columns)), np.int64)
    for row in rows:
        counts[names.index(truth[row.file]), int(np.argmax(row.probabilities))] += 1
    return names, columns, counts


def labels(found: Findings) -> dict[str, str]:
    """File -> its label."""
    return {str(picture.file): picture.label for picture in found.run.test}


def loss(row: Judged, label: str, card: Card) -> float:
    """-log of the probability given to what the picture is; to any bear where the species is not known."""
    if label == BEAR_ANY:
        right = row.score
    else:
        right = row.probabilities[card.labels.index(label)] if label in card.labels else 1.0
    return -math.log(max(right, 1e-9))


def top_losses(found: Findings) -> Thumbs:
    """The crops with the largest loss, worst first."""
    truth, card = labels(found), found.classifier.card
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    rows.sort(key=lambda row: -loss(row, truth[row.file], card))
    return shown(found, rows[:SHOWN], whole=False)


def misses(found: Findings) -> Thumbs:
    """Every bear among stills that is missed at the model's own threshold or at that of 1 % false positives."""
    at = still_recall(found)
    seen = set(found.still_scores.files.tolist())
    rows = [row for row in found.stills.rows if row.mode == "still" and row.bear and row.file in seen]
    missed = [row for row in rows if not row.alarm or (at is not None and row.score < at.threshold)]
    return shown(found, sorted(missed, key=lambda row: row.score), whole=True)


def false_alarms(found: Findings) -> Thumbs:
    """The stills without a bear that were taken for one at the model's own threshold, surest first."""
    rows = [row for row in found.stills.rows if row.mode == "still" and not row.bear and row.alarm]
    return shown(found, sorted(rows, key=lambda row: -row.score)[:SHOWN], whole=True)


def shown(found: Findings, rows: Sequence[Judged], *, whole: bool) -> Thumbs:
    """Thumbnails of rows: the whole picture, or the crop that was scored."""
    card, truth = found.classifier.card, labels(found)
    thumbs: Thumbs = []
    for row in rows:
        try:
            image = read_picture(row.file)
        except PictureError:
            continue
        if not whole and row.box_xywh != WHOLE:
            image = cut(image, row.box_xywh, THUMB_PX, card.crop.context)
        answer = card.labels[int(np.argmax(row.probabilities))] if row.probabilities else ""
        name = row.file.rsplit("/", 1)[-1]
        lines = [truth[row.file].replace("_", " "), f"p(bear) {row.score:.3f}"]
        lines += [f"answer: {answer.replace('_', ' ')}"] if answer else []
        thumbs.append((thumbnail(image), [*lines, row.note[:40], name] if row.note else [*lines, name]))
    return thumbs
