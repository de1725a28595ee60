"""A trace decided again: how many alarms each level of evidence would have raised, for ``bear-alarm tune``.

Of a file a trace holds every moment, and the tracker and the deciders see the same scores once more. Of a live camera
it holds the moments around events and a summary each ten minutes. What lies between is known by its most evidence:
below a level there was no alarm; where it reached a level that the moments kept do not show, one alarm is counted.
"""

from __future__ import annotations

import heapq
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

from edge.alert.events import EventPublisher
from edge.decide.alarms import Decider, Decision
from edge.decide.evidence import LONGEST_S, OUTSIDE_ZONES, Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter
from edge.detect.frame_scan import Scorer
from edge.detect.tracker import Track, Tracker
from edge.detect.zones import Zone
from edge.errors import OptionError
from edge.record.trace import Moment, old
from edge.record.trace_query import TraceRun, of_camera, read_trace
from edge.schema import BoxXYWH, Frame, Region, Score
from edge.settings import CameraSettings
from edge.watch import Watcher

K = TypeVar("K")

STEP = 0.1  # logit-seconds between the levels tried
MAX_PEAKS = 10
PERIODS_H = {"hour": 1.0, "day": 24.0, "week": 168.0, "month": 730.0, "year": 8760.0}

_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/|a |an |per )\s*(\w+?)\s*")

SAME = 1e-3  # logit-seconds: traces round
AWAY_S = 1.0  # for so long a bear is missed where moments of its event were not kept: found again, it is the same


class ShadowDecider(Decider, Generic[K]):
    """A decider with others beside it: they get the same tracks, and their alarms are counted, not published."""

    def __init__(
        self,
        rule: Rule,
        others: Mapping[K, Decider],
        *,
        zones: Sequence[Zone] = (),
        repeat_alarms: RepeatAlarmFilter | None = None,
    ) -> None:
        super().__init__(rule, zones=zones, repeat_alarms=repeat_alarms)
        self.others = others
        self.news: dict[K, list[float]] = {name: [] for name in others}  # when each would have raised an alarm

    def __call__(self, tracks: Sequence[Track], time: float, **frame: Any) -> list[Decision]:
        """Return this decider's decisions after a frame, after the others have decided."""
        for name, other in self.others.items():
            decisions = other(tracks, time, **frame)
            self.news[name] += [time for decision in decisions if decision.alarms]
        return super().__call__(tracks, time, **frame)


# How much evidence an alarm should need at one place: h against a budget of false alarms, from bear-free footage.
#
# The alarm's own loop runs over the footage once; a decider for each h sees the same tracks, with its own cooldown.
# A rate is only claimed where the footage supports it: the upper 95 % bound of the Poisson rate after k alarms in T
# hours (Garwood 1936; 3/T without any, Hanley & Lippman-Hand 1983) must lie within the budget.


@dataclass(frozen=True)
class Budget:
    """Budget of false alarms, in words and as a rate."""

    alarms: float
    period: str  # hour, day, week, month or year

    @property
    def an_hour(self) -> float:
        """Alarms an hour."""
        return self.alarms / PERIODS_H[self.period]

    @property
    def quiet_hours(self) -> float:
        """Hours without one alarm that it takes to support this (95 %): 3 / rate."""
        return 3.0 / self.an_hour

    @property
    def each(self) -> str:
        """``a week``, ``an hour``."""
        return f"{'an' if self.period == 'hour' else 'a'} {self.period}"

    def __str__(self) -> str:
        return f"{self.alarms:g} {self.each}"


@dataclass(frozen=True)
class Peak:
    """The most evidence that one excursion of a track reached, whatever h was."""

    clip: str
    time_s: float  # into the clip
    sum: float  # S, logit-seconds
    bear: float  # the bear probability of that frame, 0 to 1
    box_xywh: BoxXYWH
    why: str | None = None  # of a trace: when it was, as `bear-alarm why` takes it


@dataclass(frozen=True)
class Heard:
    """The result of one clip or trace."""

    clip: str
    seconds: float
    alarms: tuple[int, ...]  # one a level
    peaks: tuple[Peak, ...]


@dataclass(frozen=True)
class Level:
    """One h and what it would have meant on this footage."""

    alarm_at: float  # h, logit-seconds
    alarms: int
    at_most: float  # upper 95 % bound of the rate, alarms in the budget's period
    seconds: float  # within which a sure bear alarms
    frames: int  # scored frames it needs at least


@dataclass(frozen=True)
class Tuned:
    """Result of footage for a budget."""

    budget: Budget
    hours: float
    levels: tuple[Level, ...]  # the first is the usual
    chosen: Level | None  # the least h from which on the budget is met; None: this footage does not support any
    quiet: Level | None  # the least h from which on there is no alarm here; None: there is none
    bound: float  # what so many hours without an alarm would bound the rate at, 3/T, in the budget's period
    needed_hours: float  # without an alarm, to support the budget
    peaks: tuple[Peak, ...]  # the highest, highest first


def parse_budget(words: str, option: str = "--budget") -> Budget:
    """Return the budget that words such as '1/week', '2/month' or '1/day' mean.

    Raises OptionError that names ``option``.
    """
    match = _BUDGET.fullmatch(words.lower())
    if not match or match[2] not in PERIODS_H or not float(match[1]) > 0:
        raise OptionError(
            f"{option} {words!r}: give false alarms in a time, such as 1/week or 2/month ({', '.join(PERIODS_H)})"
        )
    return Budget(float(match[1]), match[2])


def levels_of(rule: Rule, fps: float) -> tuple[float, ...]:
    """Return the h that are tried: the rule's own, then in steps of 0.1 while a sure bear still alarms, and in time.

    ``fps``: frames analysed a second; where they are few, evidence is forgotten between them.
    """
    found = [rule.alarm_at]
    first = math.floor(rule.alarm_at / STEP + 1e-9) + 1
    for number in range(first, math.floor(rule.cap * LONGEST_S / STEP + 1e-9) + 1):
        try:
            further = replace(rule, alarm_at=round(number * STEP, 6))
        except OptionError:
            break
        if further.frames_needed(1.0 / fps) is None:
            break
        found.append(further.alarm_at)
    return tuple(found)


def listen(
    clip: str,
    frames: Iterable[Frame],
    scorer: Scorer,
    rule: Rule,
    levels: Sequence[float],
    settings: CameraSettings | None = None,
) -> Heard:
    """Return the alarm's own loop over one clip, and what each level would have made of it."""
    settings = settings or CameraSettings()
    decider = Peaks(clip, rule, levels, settings.zones)
    watcher = Watcher(scorer, rule, EventPublisher(), settings, decider=decider)
    watcher(frames)
    count = watcher.stats.frames
    # From the first frame to the last; each stands for a while, the last one too.
    seconds = watcher.stats.footage_s * count / max(count - 1, 1)
    return Heard(clip, seconds, tuple(len(decider.news[level]) for level in levels), decider.highest())


def choose(heard: Iterable[Heard], rule: Rule, levels: Sequence[float], budget: Budget) -> Tuned:
    """Return the least h whose rate of alarms is bounded by the budget, if the footage supports one."""
    clips = list(heard)
    hours = sum(clip.seconds for clip in clips) / 3600.0
    found = []
    for number, alarm_at in enumerate(levels):
        at, alarms = replace(rule, alarm_at=alarm_at), sum(clip.alarms[number] for clip in clips)
        at_most = max_alarms(alarms) / hours * PERIODS_H[budget.period] if hours > 0 else math.inf
        found.append(Level(alarm_at, alarms, at_most, at.seconds_at_best, at.frames_at_best))
    return Tuned(
        budget=budget,
        hours=hours,
        levels=tuple(found),
        chosen=_from(found, lambda level: level.at_most <= budget.alarms * (1 + 1e-9)),
        quiet=_from(found, lambda level: level.alarms == 0),
        bound=3.0 / hours * PERIODS_H[budget.period] if hours > 0 else math.inf,
        needed_hours=budget.quiet_hours,
        peaks=tuple(heapq.nlargest(MAX_PEAKS, (peak for clip in clips for peak in clip.peaks), _height)),
    )


def _from(levels: Sequence[Level], good: Callable[[Level], bool]) -> Level | None:
    """Return the lowest level from which on all are good: a single good level may be luck."""
    bad = max((number for number, level in enumerate(levels) if not good(level)), default=-1)
    return levels[bad + 1] if bad + 1 < len(levels) else None


def max_alarms(count: int) -> float:
    """Return the mean at which ``count`` or fewer alarms come with a chance of 5 % (Garwood 1936), 3 for none."""
    if count == 0:
        return 3.0

    def chance(mean: float) -> float:
        return sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count + 1))

    low, high = float(count), 3.0 * count + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > 0.05 else (low, middle)
    return (low + high) / 2


class Peaks(ShadowDecider[float]):
    """A decider for each level, and the peak of each excursion of the evidence above nothing."""

    def __init__(self, clip: str, rule: Rule, levels: Sequence[float], zones: Sequence[Zone]) -> None:
        others = {level: Decider(replace(rule, alarm_at=level), zones=zones) for level in levels}
        super().__init__(rule, others, zones=zones)
        self.clip = clip
        self._going: dict[int, Peak] = {}  # track -> the peak of its excursion so far
        self._over: list[Peak] = []

    def __call__(self, tracks: Sequence[Track], time: float, **frame: Any) -> list[Decision]:
        """Return the decisions after a frame, and note the peaks."""
        decisions = super().__call__(tracks, time, **frame)
        states = {state.track: state for state in self.evidence_states() if state.sum > 0}
        for number in [number for number in self._going if number not in states]:
            self._over.append(self._going.pop(number))
        for number, state in states.items():
            if number not in self._going or state.sum > self._going[number].sum:
                self._going[number] = Peak(self.clip, round(time, 2), state.sum, state.bear or 0.0, state.box_xywh)
        # Hours of footage must not fill the memory.
        if len(self._over) > 100 * MAX_PEAKS:
            self._over = heapq.nlargest(MAX_PEAKS, self._over, _height)
        return decisions

    def highest(self) -> tuple[Peak, ...]:
        """Return the highest peaks, highest first."""
        return tuple(heapq.nlargest(MAX_PEAKS, [*self._over, *self._going.values()], _height))


def _height(peak: Peak) -> float:
    return peak.sum


def runs_of(paths: Sequence[Path], camera: str | None) -> list[tuple[Path, TraceRun]]:
    """Return the runs of one camera, from traces and the older files beside them. Raises OptionError.

    An older file that is named beside its newer one is read once.
    """
    wanted = dict.fromkeys(path.expanduser() for path in paths)
    older = {old(path) for path in wanted}
    found = [(path, run) for path in wanted if path not in older for run in read_trace(path)]
    runs = of_camera([run for _, run in found], camera)
    names = sorted({run.camera for run in runs})
    if len(names) > 1:
        raise OptionError(f"the trace holds {', '.join(names)}; each has a level of its own: name one with --camera")
    return [(path, run) for path, run in found if run in runs]


def min_level(runs: Sequence[TraceRun]) -> float:
    """Return the level that live cameras alarmed at: below it their traces say nothing; 0 if nothing limits it."""
    live = (moment for run in runs if run.live for moment in run.moments)
    return min((state.alarm_at for moment in live for state in moment.evidence_states), default=0.0)


def replay(path: Path, run: TraceRun, rule: Rule, levels: Sequence[float], zones: Sequence[Zone] = ()) -> Heard:
    """Count the alarms of each level in one trace. Raises OptionError if the trace lacks what is needed."""
    _check(path, run, rule)
    peaks, tracker = Peaks(str(path), rule, levels, zones), Tracker(rule.threshold)
    open_ = set[str]()  # bear events
    times, shown = list[float](), list[float]()  # of each moment as it is replayed, and the most evidence then
    passed = 0.0  # how much of the time before is left out
    for last, moment in pairwise([None, *run.moments]):
        assert moment is not None
        if run.live and last and moment.index != last.index + 1:
            # No track outlives what was not kept. An event that goes on does: the bear was there all the while.
            tracker = Tracker(rule.threshold)
            peaks((), times[-1] + rule.step_max_s, wall=last.wall)
            passed += max(0.0, moment.time - last.time - AWAY_S) if open_ else 0.0
        night = rule.night_threshold is not None and _same(moment.threshold, rule.night_threshold)
        tracker.threshold = rule.threshold_for(night=night)
        times.append(moment.time - passed)
        peaks(tracker(_scores(moment), times[-1]), times[-1], wall=moment.wall, night=night)
        inside = (state.sum for state in peaks.evidence_states() if OUTSIDE_ZONES not in state.held)
        shown.append(max(inside, default=0.0))
        for event in moment.events:
            if event.kind == "bear":
                open_ = open_ - {event.id} if event.type == "end" else open_ | {event.id}
    alarms = [len(peaks.news[level]) for level in levels]
    seconds = _length_s(run)
    for summary in run.summaries if run.live else ():
        seconds += summary.seen_s or 0.0
        first, after = (bisect_left(run.moments, at, key=lambda m: m.time) for at in (summary.since_s, summary.until_s))
        seen = max(shown[first : after + 1], default=0.0) + SAME
        alarms = [count + (seen < level <= (summary.most or 0.0)) for count, level in zip(alarms, levels, strict=True)]
    highest = tuple(
        _explained(peak, run.moments[min(bisect_left(times, peak.time_s - 0.01), len(times) - 1)])
        for peak in peaks.highest()
    )
    return Heard(str(path), seconds, tuple(alarms), highest)


def _check(path: Path, run: TraceRun, rule: Rule) -> None:
    """Check a recording. Raises OptionError if it was decided by other thresholds or does not say enough."""
    if run.live and any(summary.most is None for summary in run.summaries):
        raise OptionError(
            f"{path}: was begun by an older bear-alarm that did not note how much evidence there was; "
            "move it away, let the alarm write a new one, or give clips"
        )
    for found in {one.threshold for one in run.moments} | {one.threshold for one in run.summaries}:
        if found is not None and not any(_same(found, own) for own in (rule.threshold, rule.night_threshold)):
            raise OptionError(
                f"{path}: counted from a bear probability of {found:g} on, and {rule.threshold:.4g} is asked for; "
                "give the model and thresholds it was watched with"
            )


def _same(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) < 1e-4


def _scores(moment: Moment) -> list[Score]:
    return [
        Score(Region(one.box_xywh, one.kind), (), one.bear, one.label, one.ood)  # type: ignore[arg-type]
        for one in moment.scored
    ]


def _length_s(run: TraceRun) -> float:
    count = len(run.moments)
    if run.live or count < 2:
        return 0.0
    return (run.moments[-1].time - run.moments[0].time) * count / (count - 1)


def _explained(peak: Peak, moment: Moment) -> Peak:
    """Return the peak with the time of its moment, and how ``bear-alarm why`` is asked for it."""
    if moment.media_time_s is not None:
        return replace(peak, time_s=round(moment.media_time_s, 2), why=f"{moment.media_time_s:.1f}")
    return replace(peak, time_s=round(moment.time, 2), why=f"{moment.wall:%Y-%m-%dT%H:%M:%SZ}")
