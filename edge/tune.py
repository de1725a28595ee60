"""How much evidence an alarm should need at one place: h against a budget of false alarms, from bear-free footage.

The alarm's own loop runs over the footage once; a decider for each h sees the same tracks, with its own cooldown.
A rate is only claimed where the footage supports it: the upper 95 % bound of the Poisson rate after k alarms in T
hours (Garwood 1936; 3/T without any, Hanley & Lippman-Hand 1983) must lie within the budget.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from edge.alert.events import Teller
from edge.decide.alarms import Decider, Verdict
from edge.decide.alongside import Alongside
from edge.decide.evidence import LONGEST_S, Rule
from edge.decide.repeat_alarms import Look
from edge.detect.frame_scan import Scorer
from edge.detect.tracker import Track
from edge.detect.zones import Zone
from edge.errors import OptionError
from edge.schema import BoxXYWH, Frame, Standing
from edge.settings import CameraSettings
from edge.watch import Watcher

STEP = 0.1  # logit-seconds between the levels tried
MOST_PEAKS = 10
PERIODS_H = {"hour": 1.0, "day": 24.0, "week": 168.0, "month": 730.0, "year": 8760.0}

_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:/|a |an |per )\s*(\w+?)\s*")


@dataclass(frozen=True)
class Budget:
    """How many false alarms are bearable, in words and as a rate."""

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
    """What the footage says of a budget."""

    budget: Budget
    hours: float
    levels: tuple[Level, ...]  # the first is the usual
    chosen: Level | None  # the least h from which on the budget is met; None: this footage does not support any
    quiet: Level | None  # the least h from which on there is no alarm here; None: there is none
    bound: float  # what so many hours without an alarm would bound the rate at, 3/T, in the budget's period
    needed_hours: float  # without an alarm, to support the budget
    peaks: tuple[Peak, ...]  # the highest, highest first


def parse_budget(words: str, option: str = "--budget") -> Budget:
    """The budget that words such as '1/week', '2/month' or '1/day' mean. Raises OptionError that names ``option``."""
    match = _BUDGET.fullmatch(words.lower())
    if not match or match[2] not in PERIODS_H or not float(match[1]) > 0:
        raise OptionError(
            f"{option} {words!r}: give false alarms in a time, such as 1/week or 2/month ({', '.join(PERIODS_H)})"
        )
    return Budget(float(match[1]), match[2])


def levels_of(rule: Rule, fps: float) -> tuple[float, ...]:
    """The h that are tried: the rule's own, then in steps of 0.1 while a sure bear still alarms, and in time.

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
    """The alarm's own loop over one clip, and what each level would have made of it."""
    settings = settings or CameraSettings()
    decider = Peaks(clip, rule, levels, settings.zones)
    watcher = Watcher(scorer, rule, Teller(), settings, decider=decider)
    watcher(frames)
    count = watcher.tally.frames
    # From the first frame to the last; each stands for a while, the last one too.
    seconds = watcher.tally.footage_s * count / max(count - 1, 1)
    return Heard(clip, seconds, tuple(len(decider.news[level]) for level in levels), decider.highest())


def choose(heard: Iterable[Heard], rule: Rule, levels: Sequence[float], budget: Budget) -> Tuned:
    """The least h whose rate of alarms is bounded by the budget, if the footage supports one."""
    clips = list(heard)
    hours = sum(clip.seconds for clip in clips) / 3600.0
    found = []
    for number, alarm_at in enumerate(levels):
        at, alarms = replace(rule, alarm_at=alarm_at), sum(clip.alarms[number] for clip in clips)
        at_most = most_alarms(alarms) / hours * PERIODS_H[budget.period] if hours > 0 else math.inf
        found.append(Level(alarm_at, alarms, at_most, at.seconds_at_best, at.frames_at_best))
    return Tuned(
        budget=budget,
        hours=hours,
        levels=tuple(found),
        chosen=_from(found, lambda level: level.at_most <= budget.alarms * (1 + 1e-9)),
        quiet=_from(found, lambda level: level.alarms == 0),
        bound=3.0 / hours * PERIODS_H[budget.period] if hours > 0 else math.inf,
        needed_hours=budget.quiet_hours,
        peaks=tuple(heapq.nlargest(MOST_PEAKS, (peak for clip in clips for peak in clip.peaks), _height)),
    )


def _from(levels: Sequence[Level], good: Callable[[Level], bool]) -> Level | None:
    """The least level from which on all are good: alarms that come later may no longer be one, so one may be luck."""
    bad = max((number for number, level in enumerate(levels) if not good(level)), default=-1)
    return levels[bad + 1] if bad + 1 < len(levels) else None


def most_alarms(count: int) -> float:
    """The mean at which ``count`` or fewer alarms come with a chance of 5 % (Garwood 1936), 3 for none."""
    if count == 0:
        return 3.0

    def chance(mean: float) -> float:
        return sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count + 1))

    low, high = float(count), 3.0 * count + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > 0.05 else (low, middle)
    return (low + high) / 2


class Peaks(Alongside[float]):
    """A decider for each level, and the peak of each excursion of the evidence above nothing."""

    def __init__(self, clip: str, rule: Rule, levels: Sequence[float], zones: Sequence[Zone]) -> None:
        others = {level: Decider(replace(rule, alarm_at=level), zones=zones) for level in levels}
        super().__init__(rule, others, zones=zones)
        self.clip = clip
        self._going: dict[int, Peak] = {}  # track -> the peak of its excursion so far
        self._over: list[Peak] = []

    def __call__(
        self,
        tracks: Sequence[Track],
        time: float,
        *,
        wall: datetime | None = None,
        night: bool = False,
        look: Look | None = None,
        seeing: bool = True,
    ) -> list[Verdict]:
        """As ever; the peaks are noted."""
        verdicts = super().__call__(tracks, time, wall=wall, night=night, look=look, seeing=seeing)
        standings = {standing.track: standing for standing in self.standings() if standing.sum > 0}
        for number in [number for number in self._going if number not in standings]:
            self._over.append(self._going.pop(number))
        for number, standing in standings.items():
            if number not in self._going or standing.sum > self._going[number].sum:
                self._going[number] = self._peak(standing, time)
        # Hours of footage must not fill the memory.
        if len(self._over) > 100 * MOST_PEAKS:
            self._over = heapq.nlargest(MOST_PEAKS, self._over, _height)
        return verdicts

    def highest(self) -> tuple[Peak, ...]:
        """The highest peaks, highest first."""
        return tuple(heapq.nlargest(MOST_PEAKS, [*self._over, *self._going.values()], _height))

    def _peak(self, standing: Standing, time: float) -> Peak:
        return Peak(self.clip, round(time, 2), standing.sum, standing.bear or 0.0, standing.box_xywh)


def _height(peak: Peak) -> float:
    return peak.sum
