"""Endpoint and guards of ``compare`` on frames of trail cameras.

The endpoint is recall averaged over the false-alarm rates up to 2 % (``train.metrics.mean_recall``) on frames
of trail cameras, each judged by a model that saw none of its camera. With 53 bears and some 650 others 1 % are six
frames: recall at one rate hangs on one of them, the average on the highest thirteen. Chosen, as the guards were, before
any model but the bundled one had been looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.benchmark.trail_cameras import Frame
from train.benchmark.trail_figures import supported
from train.metrics import REPLICATES, Difference, Pair, mean_recall_difference, rate_difference, recall_difference

PRIMARY_RATE = 0.02
PRIMARY = "trail cameras: mean recall up to 2 %"
AT_1 = "trail cameras: recall at 1 %"
AT_2 = "trail cameras: recall at 2 %"
OWN = "trail cameras: recall at its own threshold"
OWN_ALARMS = "trail cameras: false alarms at its own threshold"
NIGHT = "trail cameras, night: false alarms at its threshold"
DARK = "trail cameras, dark animals: false alarms at its threshold"
STILLS = "stills: recall at 1 %"
TOYS = "stills: toys taken for bears at its own threshold"
SMALL = "recall at 1 %, 45 px and less"


@dataclass(frozen=True)
class Limit:
    """Limit that the new model may not pass, unless the old one is as far."""

    figure: str
    most: float  # a share: of bears lost, or of others taken for one
    of_bears: bool = False  # the figure is a recall

    def beyond(self, one: Difference) -> float:
        """Return by how much the new model is beyond both the limit and the old model; 0 within either."""
        old, new = (1 - one.old, 1 - one.new) if self.of_bears else (one.old, one.new)
        return max(0.0, min(new - self.most, new - old))

    def worse(self, one: Difference) -> bool:
        """Return True if the new model is shown to be worse than the old one."""
        return one.loss if self.of_bears else one.gain


LIMITS = (
    Limit(STILLS, 0.025, of_bears=True),
    Limit(TOYS, 0.02),
    Limit(NIGHT, 0.01),
    Limit(DARK, 0.01),
)


def frame_differences(
    old: Sequence[Frame], new: Sequence[Frame], replicates: int = REPLICATES
) -> dict[str, Difference]:
    """Compare the frames that both models judged, the endpoint first; {} where they are too few for it."""
    both = shared(old, new)
    bears, others = ([pair for pair in both if pair[0].bear is bear] for bear in (True, False))
    if not bears or not supported(PRIMARY_RATE, len(others)):
        return {}
    pair = Pair(
        np.array([row[0].score for row in both]),
        np.array([row[1].score for row in both]),
        np.array([row[0].bear for row in both]),
        np.array([row[0].camera for row in both]),
    )

    def own(rows: Iterable[tuple[Frame, Frame]], keep: Callable[[Frame], bool] = lambda _: True) -> Difference | None:
        kept = [row for row in rows if keep(row[0])]
        before, after = (np.array([row[side].alarm for row in kept], bool) for side in (0, 1))
        return rate_difference(before, after, [row[0].camera for row in kept])

    found = {
        PRIMARY: mean_recall_difference(pair, PRIMARY_RATE, replicates),
        AT_1: recall_difference(pair, 0.01, replicates) if supported(0.01, len(others)) else None,
        AT_2: recall_difference(pair, 0.02, replicates),
        OWN: own(bears),
        "trail cameras, grey or infrared: recall at its own threshold": own(bears, lambda one: one.grey),
        OWN_ALARMS: own(others),
        NIGHT: own(others, lambda one: one.night),
        DARK: own(others, lambda one: one.dark_animal),
    }
    return {name: one for name, one in found.items() if one is not None}


def shared(old: Iterable[Frame], new: Iterable[Frame]) -> list[tuple[Frame, Frame]]:
    """Return the frames of trail cameras that both models judged, side by side."""
    others = {one.file: one for one in new}
    return [(one, others[one.file]) for one in old if one.part == "trail camera" and one.file in others]


def beyond_limits(figures: Mapping[str, Difference]) -> Iterable[tuple[str, float, bool]]:
    """Yield each guard the figures allow: its words, how far the new model is beyond it, and if it is shown worse.

    Small windows have no limit of their own: there the new model may not be shown to be worse.
    """
    for limit in LIMITS:
        if limit.figure in figures:
            one = figures[limit.figure]
            share = 1 - limit.most if limit.of_bears else limit.most
            words = f"{limit.figure} (limit {100 * share:g} %)"
            yield words, limit.beyond(one), limit.worse(one)
    if SMALL in figures:
        one = figures[SMALL]
        yield f"{SMALL} (not shown worse)", max(0.0, -one.high) if one.loss else 0.0, one.loss
