"""Whiles in which no picture came: nothing is known of them, and whoever asks must hear that first."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from edge.trace.moment import SILENT_S, THE_END, Moment, Summary
from edge.trace.reader import Reel


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


def gap_over(reel: Reel, since: datetime, until: datetime, now: datetime | None = None) -> Gap | None:
    """The longest gap of one camera that has a part in a while (UTC; an instant where both are the same).

    ``now``: where the camera was gone at the end of its reel, it still is, and was until then.
    """
    over = [
        gap
        for each in _gaps(reel, now)
        for gap in _pieces(each, sorted(moment.wall for moment in reel.moments))
        if gap.since < max(until, since + timedelta.resolution) and gap.until > since
    ]
    return max(over, key=lambda gap: gap.seconds, default=None)


def _gaps(reel: Reel, now: datetime | None) -> Iterator[Gap]:
    for earlier, later in pairwise(reel.moments):
        if later.index - earlier.index == 1 and later.wall > earlier.wall:
            if later.time - earlier.time > SILENT_S:
                yield Gap(earlier.wall, later.wall, _troubles(earlier, later))
            elif (later.wall - earlier.wall).total_seconds() > SILENT_S + later.time - earlier.time:
                yield Gap(earlier.wall, later.wall, clock_set=True)
    for moment in reel.moments[-1:]:
        ends = [told.at for told in moment.told if told.at and told.at > moment.wall]
        if ends:  # the camera was gone, and still was when the alarm was stopped, or still is
            stopped = any(summary.reason == THE_END for summary in reel.summaries)
            still = [now] if now and _is_gone(moment) and not stopped else []
            yield Gap(moment.wall, max([*ends, *still]), _troubles(moment, moment))
    yield from (gap for summary in reel.summaries if (gap := _summed(summary)))


def _is_gone(last: Moment) -> bool:
    """Whether something was told to be wrong with the camera while no frame came, and not told to be over."""
    told = [one for one in last.told if one.kind == "camera" and one.at and one.at > last.wall]
    over = {one.id for one in told if one.type == "end"}
    return any(one.id not in over for one in told)


def _pieces(gap: Gap, walls: Sequence[datetime]) -> Iterator[Gap]:
    """A gap without the pictures that were taken in it and came at another time; ``walls``: of all, in order."""
    inside = walls[bisect_right(walls, gap.since) : bisect_left(walls, gap.until)]
    for since, until in pairwise([gap.since, *inside, gap.until]):
        piece = replace(gap, since=since, until=until)
        if piece.seconds > SILENT_S or not inside:
            yield piece


def _summed(summary: Summary) -> Gap | None:
    """The longest gap of the while that a summary is of."""
    if summary.gap_at is None or summary.gap_s <= SILENT_S:
        return None
    return Gap(summary.gap_at, summary.gap_at + timedelta(seconds=summary.gap_s), summary.troubles)


def _troubles(before: Moment, after: Moment) -> tuple[str, ...]:
    """What was told of the camera while no frame came, and what was still wrong with it after that."""
    meanwhile = [told for told in before.told if told.at and told.at > before.wall]
    told = [one for one in (*meanwhile, *after.told) if one.kind == "camera" and one.type == "new"]
    return tuple(dict.fromkeys([*(one.detail for one in told if one.detail), *after.troubles]))
