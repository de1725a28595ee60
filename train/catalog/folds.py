"""Cross-validation over the frames of trail cameras: each is tested once, by a model that saw none of its camera.

A fold's frames are the test part of one training. They hang on the table alone, not on the training's seed, so that
the folds of two recipes or seeds can be compared frame by frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge.errors import OptionError
from train.catalog.deal import deal
from train.catalog.picture import Picture, is_bear

if TYPE_CHECKING:
    from train.catalog.split import Split

SEED = 14
TUNE_SHARE = 0.2  # of what is not tested on: thresholds and temperature are fitted on frames of trail cameras too
_WEB = re.compile(r"\bweb\b")
_CAMERA = re.compile(r".+?(?:\bcam(?:era)?(?= )|(?= burst\b))", re.IGNORECASE)
_TIME = re.compile(r"^(?:(.*?)/)?(?:\d{4}-\d\d-\d\d(?:T|$)|no time(?:/|$))")  # groups of `gather card` and `feedback`


@dataclass(frozen=True)
class Fold:
    """One fold of so many."""

    number: int  # 1 to ``of``
    of: int

    @classmethod
    def parse(cls, words: str) -> Self:
        """Read a fold such as ``1/3``. Raises OptionError where it is none."""
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", words.strip())
        fold = cls(int(found[1]), int(found[2])) if found else None
        if fold is None or not 1 <= fold.number <= fold.of or fold.of < 2:
            raise OptionError(f"--fold is {words!r}; give the fold and how many there are, such as 1/3")
        return fold

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def split_frames(pictures: Iterable[Picture], fold: Fold | None, tune: set[str], test: set[str]) -> Split:
    """Return the parts of the frames of trail cameras; the other pictures are in none.

    Test gets those of ``fold`` and of the sources named for it, tune those of its own named sources and a fifth of
    the others' groups, bears and others, grey and colour alike; train the rest.
    """
    frames = [picture for picture in pictures if picture.of_trail_camera]
    out = set(in_fold(frames, fold)) if fold else set()
    tested = [frame for frame in frames if frame in out or frame.source in test]
    tuned = [frame for frame in frames if frame.source in tune and frame not in out]
    rest = [frame for frame in frames if frame not in out and frame.source not in test | tune]
    split = deal(rest, lambda one: one.unit, SEED, {"train": 1 - TUNE_SHARE, "tune": TUNE_SHARE}, stratum)
    return {"train": split["train"], "tune": [*tuned, *split["tune"]], "test": tested}


def in_fold(frames: Sequence[Picture], fold: Fold) -> list[Picture]:
    """Return the frames of trail cameras that are in this fold."""
    shares = {str(number): 1 / fold.of for number in range(1, fold.of + 1)}
    return deal(frames, camera, SEED, shares, stratum)[str(fold.number)]


def camera(frame: Picture) -> str:
    """Return the camera or site of a frame: its unit, less what its group says after the camera's name.

    The groups ``yard cam deer`` and ``yard cam`` are of one camera, ``CA-01 burst 7`` is of ``CA-01``,
    ``yard/2026-11-24`` of ``yard``; bursts that are named by their time alone are of one camera, the source.
    """
    if timed := _TIME.match(frame.group):
        return f"{frame.source}/{timed[1] or ''}"
    found = _CAMERA.match(frame.group)
    return f"{frame.source}/{found[0]}" if found else frame.unit


def stratum(picture: Picture) -> str:
    """Return the stratum spread evenly over the folds: bear or not, grey or colour; what no fold judges apart."""
    if not is_judged(picture):
        return "not judged"
    return f"{'bear' if is_bear(picture.label) else 'no bear'}, {'grey' if picture.grey_or_ir else 'colour'}"


def is_judged(picture: Picture) -> bool:
    """Return True if a trail camera's frame counts: one without a bear from the web is no camera's own."""
    return is_bear(picture.label) or not _WEB.search(picture.group)
