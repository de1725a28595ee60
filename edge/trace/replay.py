"""A trace decided again: how many alarms each level of evidence would have raised, for ``bear-alarm tune``.

Of a file a trace holds every moment, and the tracker and the deciders see the same scores once more. Of a live camera
it holds the moments around events and a summary each ten minutes. What lies between is known by its most evidence:
below a level there was no alarm; where it reached a level that the moments kept do not show, one alarm is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from edge.decide.alarms import OUTSIDE_ZONES
from edge.decide.evidence import Rule
from edge.detect.tracker import Tracker
from edge.detect.zones import Zone
from edge.errors import OptionError
from edge.record.trace import Moment, old
from edge.record.trace_query import Reel, of_camera, read_trace
from edge.schema import Region, Score
from edge.tune import Heard, Peak, Peaks

SAME = 1e-3  # logit-seconds: traces round
AWAY_S = 1.0  # for so long a bear is missed where moments of its event were not kept: found again, it is the same


def reels_of(paths: Sequence[Path], camera: str | None) -> list[tuple[Path, Reel]]:
    """The reels of one camera, from traces and the older files beside them. Raises OptionError.

    An older file that is named beside its newer one is read once.
    """
    wanted = dict.fromkeys(path.expanduser() for path in paths)
    older = {old(path) for path in wanted}
    found = [(path, reel) for path in wanted if path not in older for reel in read_trace(path)]
    reels = of_camera([reel for _, reel in found], camera)
    names = sorted({reel.camera for reel in reels})
    if len(names) > 1:
        raise OptionError(f"the trace holds {', '.join(names)}; each has a level of its own: name one with --camera")
    return [(path, reel) for path, reel in found if reel in reels]


def least_level(reels: Sequence[Reel]) -> float:
    """The level that live cameras alarmed at, below which their traces say nothing; 0 where nothing limits it."""
    live = (moment for reel in reels if reel.live for moment in reel.moments)
    return min((standing.alarm_at for moment in live for standing in moment.standings), default=0.0)


def replay(path: Path, reel: Reel, rule: Rule, levels: Sequence[float], zones: Sequence[Zone] = ()) -> Heard:
    """Count the alarms of each level in one trace. Raises OptionError if the trace lacks what is needed."""
    _check(path, reel, rule)
    peaks, tracker = Peaks(str(path), rule, levels, zones), Tracker(rule.threshold)
    open_ = set[str]()  # events that were told and have not ended
    times, shown = list[float](), list[float]()  # of each moment as it is replayed, and the most evidence then
    passed = 0.0  # how much of the time before is left out
    for last, moment in pairwise([None, *reel.moments]):
        assert moment is not None
        if reel.live and last and moment.index != last.index + 1:
            # No track outlives what was not kept. An event that goes on does: the bear was there all the while.
            tracker = Tracker(rule.threshold)
            peaks((), times[-1] + rule.step_max_s, wall=last.wall)
            passed += max(0.0, moment.time - last.time - AWAY_S) if open_ else 0.0
        night = rule.night_threshold is not None and _same(moment.threshold, rule.night_threshold)
        tracker.threshold = rule.threshold_for(night=night)
        times.append(moment.time - passed)
        peaks(tracker(_scores(moment), times[-1]), times[-1], wall=moment.wall, night=night)
        inside = (standing.sum for standing in peaks.standings() if OUTSIDE_ZONES not in standing.held)
        shown.append(max(inside, default=0.0))
        for told in moment.told:
            if told.kind == "bear":
                open_ = open_ - {told.id} if told.type == "end" else open_ | {told.id}
    alarms = [len(peaks.news[level]) for level in levels]
    seconds = _seconds(reel)
    for summary in reel.summaries if reel.live else ():
        seconds += summary.seen_s or 0.0
        first, after = (
            bisect_left(reel.moments, at, key=lambda m: m.time) for at in (summary.since_s, summary.until_s)
        )
        seen = max(shown[first : after + 1], default=0.0) + SAME
        alarms = [count + (seen < level <= (summary.most or 0.0)) for count, level in zip(alarms, levels, strict=True)]
    highest = tuple(
        _explained(peak, reel.moments[min(bisect_left(times, peak.time_s - 0.01), len(times) - 1)])
        for peak in peaks.highest()
    )
    return Heard(str(path), seconds, tuple(alarms), highest)


def _check(path: Path, reel: Reel, rule: Rule) -> None:
    """Raises OptionError where the reel was decided by other thresholds, or does not say enough."""
    if reel.live and any(summary.most is None for summary in reel.summaries):
        raise OptionError(
            f"{path}: was begun by an older bear-alarm that did not note how much evidence there was; "
            "move it away, let the alarm write a new one, or give clips"
        )
    for found in {one.threshold for one in reel.moments} | {one.threshold for one in reel.summaries}:
        if found is not None and not any(_same(found, own) for own in (rule.threshold, rule.night_threshold)):
            raise OptionError(
                f"{path}: counted from a bear probability of {found:g} on, and {rule.threshold:.4g} is asked for; "
                "give the model and thresholds it was watched with"
            )


def _same(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) < 1e-4


def _scores(moment: Moment) -> list[Score]:
    return [
        Score(Region(look.box_xywh, look.kind), (), look.bear, look.label, look.ood)  # type: ignore[arg-type]
        for look in moment.scored
    ]


def _seconds(reel: Reel) -> float:
    """Return the duration of a file's frames, the last one included; 0 for a live camera."""
    count = len(reel.moments)
    if reel.live or count < 2:
        return 0.0
    return (reel.moments[-1].time - reel.moments[0].time) * count / (count - 1)


def _explained(peak: Peak, moment: Moment) -> Peak:
    """The peak with the time of its moment, and how ``bear-alarm why`` is asked for it."""
    if moment.media_time_s is not None:
        return replace(peak, time_s=round(moment.media_time_s, 2), why=f"{moment.media_time_s:.1f}")
    return replace(peak, time_s=round(moment.time, 2), why=f"{moment.wall:%Y-%m-%dT%H:%M:%SZ}")
