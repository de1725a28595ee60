"""Whiles in which no picture came: nothing is known of them, and whoever asks must hear that first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from edge.trace.moment import Moment, Summary
from edge.trace.reader import Reel

GAP_S = 5.0  # no frame for so long is no matter of the frame rate any more; a camera is silent from then on


@dataclass(frozen=True)
class Gap:
    """A while without a frame, from the last one before it to the first one after it."""

    since: datetime  # UTC
    until: datetime  # UTC
    troubles: tuple[str, ...] = ()  # what was wrong with the camera, one sentence each, as far as it is known
    clock_set: bool = False  # only the clock jumped: one frame followed the other

    @property
    def seconds(self) -> float:
        """How long it was, by the clock."""
        return (self.until - self.since).total_seconds()


def gap_over(reel: Reel, since: datetime, until: datetime) -> Gap | None:
    """The longest gap of one camera that has a part in a while (UTC; an instant where both are the same)."""
    over = [gap for gap in _gaps(reel) if gap.since < max(until, since + timedelta.resolution) and gap.until > since]
    return max(over, key=lambda gap: gap.seconds, default=None)


def _gaps(reel: Reel) -> Iterator[Gap]:
    for earlier, later in pairwise(reel.moments):
        if later.index - earlier.index == 1 and later.wall > earlier.wall:
            if later.time - earlier.time > GAP_S:
                yield Gap(earlier.wall, later.wall, _troubles(later))
            elif (later.wall - earlier.wall).total_seconds() > GAP_S + later.time - earlier.time:
                yield Gap(earlier.wall, later.wall, clock_set=True)
    for moment in reel.moments[-1:]:
        ends = [told.at for told in moment.told if told.at and told.at > moment.wall]
        if ends:  # the camera was gone, and still was when the alarm was stopped
            yield Gap(moment.wall, max(ends), _troubles(moment))
    yield from (gap for summary in reel.summaries if (gap := _summed(summary)))


def _summed(summary: Summary) -> Gap | None:
    """The longest gap of the while that a summary is of."""
    if summary.gap_at is None or summary.gap_s <= GAP_S:
        return None
    return Gap(summary.gap_at, summary.gap_at + timedelta(seconds=summary.gap_s), summary.troubles)


def _troubles(after: Moment) -> tuple[str, ...]:
    """What was told of the camera while no frame came, and what was still wrong with it after that."""
    said = [told.detail for told in after.told if told.kind == "camera" and told.type == "new" and told.detail]
    return tuple(dict.fromkeys([*said, *after.troubles]))
