"""Evaluate the whole alarm on clips: the time to the alarm, and wrong alarms.

``videos.csv`` beside the clips has the time of a bear in view (``file,bear_from_s,bear_to_s``, or "none").
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.alarms import Decider
from edge.decide.evidence import Rule
from edge.decide.repeat_alarms import RepeatAlarmFilter
from edge.detect.classifier import Classifier
from edge.errors import BearAlarmError, CatalogError, SourceError
from edge.schema import Event
from edge.tuning import ShadowDecider
from edge.watch import Watcher
from train.data.table import read_csv
from train.metrics.rates import FalseAlarms, Rate, false_alarm_bound, wilson

log = logging.getLogger(__name__)

TABLE = "videos.csv"
TAIL_S = 5.0  # an alarm so soon after the bear has left still counts for it


@dataclass(frozen=True)
class Clip:
    """One clip, a row of the table."""

    file: Path
    bear_from_s: float | None  # None: no bear
    bear_to_s: float | None
    duration_s: float
    note: str = ""

    @property
    def has_bear(self) -> bool:
        """Return True if a bear comes into view."""
        return self.bear_from_s is not None


@dataclass(frozen=True)
class ClipResult:
    """Result of one clip."""

    file: str
    has_bear: bool
    duration_s: float  # of the readable footage
    alarms_s: tuple[float, ...]  # seconds into the clip of every new bear event
    seconds_to_alarm: float | None  # from appearance to first alarm; None: no bear, or no alarm
    wrong_alarms: int  # alarms while no bear was in view
    unreadable: bool = False  # a bear clip that could not be read: counted as missed


@dataclass(frozen=True)
class Outcome:
    """Result of several clips."""

    alarmed: Rate | None  # bear clips with an alarm
    median_seconds_to_alarm: float | None  # over the clips that alarmed
    quiet: FalseAlarms  # bear-free clips


@dataclass(frozen=True)
class Clips(Outcome):
    """Results of ``evaluate`` on clips."""

    results: tuple[ClipResult, ...]
    without: Mapping[str, Outcome] = field(
        default_factory=dict
    )  # name of a switched-off part of the rule -> outcome from the same scores


class Watched(NamedTuple):
    """The events of one clip."""

    events: list[Event]
    footage_s: float  # seconds that were read
    without: Mapping[str, list[float]] = {}  # name of a switched-off part of the rule -> seconds of each new alarm


def read_clips(table: Path) -> list[Clip]:
    """Read the clips of a ``videos.csv``. Raises CatalogError if it, or a clip, cannot be used."""
    clips: list[Clip] = []
    known: dict[Path, int] = {}
    for number, row in enumerate(_rows(table), start=2):
        file, where = table.parent / (row["file"] or ""), f"{table}, line {number}"
        if not file.is_file():
            raise CatalogError(f"{where}: clip {row['file']!r} does not exist; remove the row or restore it")
        if known.setdefault(file.resolve(), number) != number:
            raise CatalogError(
                f"{where}: clip {row['file']!r} is in line {known[file.resolve()]} too; give each clip one row"
            )
        try:
            begins, ends = (_seconds(row[name]) for name in ("bear_from_s", "bear_to_s"))
            duration = _seconds(row.get("duration_s") or "none")
        except ValueError as error:
            raise CatalogError(f"{where}: {error}; give seconds, or none") from None
        length = duration or _length_s(file)
        if begins is None and ends is not None:
            raise CatalogError(f"{where}: bear_to_s is {ends:g} without a bear_from_s; give both, or none for both")
        if begins is not None and ends is None:
            ends = duration
            if begins >= length > 0:
                raise CatalogError(f"{where}: bear_from_s is {begins:g}, and the clip ends at {length:g} seconds")
        if begins is not None and ends is not None and begins >= ends:
            raise CatalogError(f"{where}: bear_from_s is {begins:g} and bear_to_s {ends:g}; from must come before to")
        clips.append(Clip(file, begins, ends, length, row.get("note") or ""))
    if not clips:
        raise CatalogError(f"{table}: names no clip")
    return clips


def _seconds(text: str | None) -> float | None:
    text = text or ""  # in a short row
    if text.strip().lower() in ("", "none"):
        return None
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{text.strip()!r} is no time in a clip")
    return seconds


def _length_s(file: Path) -> float:
    """Read a clip's length; 0 if it is unknown, or the clip cannot be read (which ``evaluate_clips`` reports)."""
    try:
        with open_source(str(file)) as source:
            return source.length_s or 0.0
    except SourceError:
        return 0.0


def _rows(table: Path) -> list[dict[str, str]]:
    found, rows = read_csv(table)
    for column in ("file", "bear_from_s", "bear_to_s"):
        if column not in found:
            raise CatalogError(f"{table}: column {column!r} is missing (found: {', '.join(found) or 'none'})")
    return rows


def evaluate_clips(classifier: Classifier, clips: Iterable[Clip]) -> Clips:
    """Run the real loop over every clip.

    A bear clip that cannot be read counts as missed; a bear-free one is skipped.
    """
    results: list[ClipResult] = []
    without: dict[str, list[ClipResult]] = defaultdict(list)
    missed: list[ClipResult] = []
    for clip in clips:
        try:
            watched = watch_clip(classifier, clip.file)
        except BearAlarmError as error:
            log.warning("%s %s", "counted as missed:" if clip.has_bear else "skipped", error)
            if clip.has_bear:
                missed.append(replace(judge_clip(clip, [], 0.0), unreadable=True))
                results.append(missed[-1])
            continue
        results.append(judge_clip(clip, watched.events, watched.footage_s))
        for part, alarms_s in watched.without.items():
            without[part].append(judge_alarms(clip, alarms_s, watched.footage_s))
    found = together(results)
    return Clips(
        alarmed=found.alarmed,
        median_seconds_to_alarm=found.median_seconds_to_alarm,
        quiet=found.quiet,
        results=tuple(results),
        without={part: together([*judged, *missed]) for part, judged in without.items()},
    )


def together(results: Sequence[ClipResult]) -> Outcome:
    """Measure recall, speed and false alarms over clips."""
    bears = [result for result in results if result.has_bear]
    free = [result for result in results if not result.has_bear]
    times = [result.seconds_to_alarm for result in bears if result.seconds_to_alarm is not None]
    return Outcome(
        alarmed=wilson(len(times), len(bears)),
        median_seconds_to_alarm=median(times) if times else None,
        quiet=false_alarm_bound(
            sum(result.wrong_alarms for result in free), sum(result.duration_s for result in free) / 3600
        ),
    )


def watch_clip(classifier: Classifier, file: Path) -> Watched:
    """Run the alarm on one clip with its default settings, and from the same scores without parts of its rule."""
    rule = Rule.from_card(classifier.card)
    events: list[Event] = []
    decider = ShadowDecider(
        rule,
        {
            "suppression": Decider(rule),
            "halving of strange crops": Decider(
                replace(rule, ood_threshold=math.inf), repeat_alarms=RepeatAlarmFilter()
            ),
        },
        repeat_alarms=RepeatAlarmFilter(),
    )
    watcher = Watcher(classifier, rule, EventPublisher([events.append]), decider=decider)
    with open_source(str(file)) as source:
        watcher(source)
    frames = watcher.stats.frames
    # From the first frame to the last, plus the duration of one frame. A file's time is its media time.
    return Watched(events, watcher.stats.footage_s * frames / max(frames - 1, 1), decider.news)


def judge_clip(clip: Clip, events: Sequence[Event], footage_s: float | None = None) -> ClipResult:
    """Find the alarms for the bear, and the time to the first."""
    alarms = [event.media_time_s or 0.0 for event in events if (event.kind, event.type) == ("bear", "new")]
    return judge_alarms(clip, alarms, footage_s)


def judge_alarms(clip: Clip, alarms: Sequence[float], footage_s: float | None = None) -> ClipResult:
    """Judge new alarms by their seconds into the clip.

    ``footage_s``: the seconds that were read; they count if the table has more or none.
    """
    duration_s = clip.duration_s
    if footage_s is not None:
        duration_s = min(duration_s, footage_s) if duration_s > 0 else footage_s
    begins, ends = clip.bear_from_s, clip.bear_to_s
    if begins is None:
        right: list[float] = []
    else:
        right = [at for at in alarms if begins <= at and (ends is None or at <= ends + TAIL_S)]
    return ClipResult(
        file=clip.file.name,
        has_bear=clip.has_bear,
        duration_s=duration_s,
        alarms_s=tuple(round(at, 2) for at in alarms),
        seconds_to_alarm=None if begins is None or not right else round(min(right) - begins, 2),
        wrong_alarms=len(alarms) - len(right),
    )
