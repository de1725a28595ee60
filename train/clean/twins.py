"""Nearly the same picture under two labels: one of them is wrong, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.clean.embeddings import TINY, Embedded
from train.data.pictures import BEAR_ANY, is_bear

LIKE = 0.90  # cosine of two embeddings above which two pictures are compared further
SAME = 0.90  # correlation of their grey miniatures above which they are nearly the same
CHUNK = 1024


@dataclass(frozen=True)
class Twin:
    """Two pictures, by number, and how alike they are."""

    first: int
    second: int
    cosine: float  # of the embeddings
    correlation: float  # of the grey miniatures, mirrored where that is more alike


def contradict(one: str, other: str) -> bool:
    """Whether two labels cannot both be right: "bear" agrees with every bear."""
    return one != other and not (is_bear(one) and is_bear(other) and BEAR_ANY in (one, other))


def twins(embedded: Embedded) -> list[Twin]:
    """Pairs of near-duplicates whose labels contradict, the most alike first."""
    features = embedded.features[:, :-1]  # without the log-odds of a bear
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    plain, mirrored = _normalised(embedded.tiny), _normalised(embedded.tiny[:, :, ::-1])
    labels = [picture.label for picture in embedded.pictures]
    found = []
    for start in range(0, len(unit), CHUNK):
        likeness = unit[start : start + CHUNK] @ unit.T
        for row, second in zip(*np.nonzero(likeness >= LIKE), strict=True):
            first = start + int(row)
            if first >= second or not contradict(labels[first], labels[second]):
                continue
            correlation = float(max(plain[first] @ plain[second], plain[first] @ mirrored[second]))
            if correlation >= SAME:
                found.append(Twin(first, int(second), float(likeness[row, second]), correlation))
    return sorted(found, key=lambda twin: -twin.correlation)


def _normalised(tiny: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, TINY * TINY) rows of mean 0 and length 1; a picture of one grey has none and is like no other."""
    rows = tiny.reshape(-1, TINY * TINY).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    result: NDArray[np.float64] = np.where(length > TINY, rows / np.maximum(length, 1e-9), 0)
    return result
