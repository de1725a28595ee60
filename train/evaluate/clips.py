"""Evaluate the whole alarm on clips: the time to the alarm, and wrong alarms.

``videos.csv`` beside the clips has the time of a bear in view (``file,bear_from_s,bear_to_s``, or "none"); an optional
``video_boxes.csv`` has its place (``file,time_s,x1,y1,x2,y2``, corners as fractions).
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from edge.detect.motion import MotionFinder
from edge.detect.tracker import iou
from edge.errors import BearAlarmError, CatalogError, SourceError
from edge.schema import BoxXYWH, Event, Frame, Region
from edge.tuning import ShadowDecider
from edge.watch import Watcher
from train.data.table import read_csv
from train.metrics.rates import FalseAlarms, Rate, false_alarm_bound, wilson

log = logging.getLogger(__name__)

TABLE, BOXES = "videos.csv", "video_boxes.csv"
TAIL_S = 5.0  # an alarm so soon after the bear has left still counts for it


@dataclass(frozen=True)
class Clip:
    """One clip, a row of the table."""

    file: Path
    bear_from_s: float | None  # None: no bear
    bear_to_s: float | None
    duration_s: float
    note: str = ""
    boxes: tuple[tuple[float, BoxXYWH], ...] = ()  # (seconds into the clip, where the bear is)

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
    gate: Gate | None
    without: Mapping[str, Outcome] = field(
        default_factory=dict
    )  # name of a switched-off part of the rule -> outcome from the same scores


class Watched(NamedTuple):
    """The events of one clip."""

    events: list[Event]
    footage_s: float  # seconds that were read
    without: Mapping[str, list[float]] = {}  # name of a switched-off part of the rule -> seconds of each new alarm


Watch = Callable[[Classifier, Path], tuple[list[Event], float] | Watched]


def read_clips(table: Path) -> list[Clip]:
    """Read the clips of a ``videos.csv``. Raises CatalogError if it, or a clip, cannot be used."""
    boxes = _read_boxes(table.with_name(BOXES))
    clips: list[Clip] = []
    known: dict[Path, int] = {}
    for number, row in enumerate(_rows(table, ("file", "bear_from_s", "bear_to_s")), start=2):
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
        clips.append(Clip(file, begins, ends, length, row.get("note") or "", tuple(boxes.get(row["file"], ()))))
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


def _rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    found, rows = read_csv(table)
    missing = [column for column in columns if column not in found]
    if missing:
        raise CatalogError(f"{table}: column {missing[0]!r} is missing (found: {', '.join(found) or 'none'})")
    return rows


def _read_boxes(table: Path) -> dict[str, list[tuple[float, BoxXYWH]]]:
    boxes: dict[str, list[tuple[float, BoxXYWH]]] = defaultdict(list)
    if not table.exists():
        return boxes
    for number, row in enumerate(_rows(table, ("file", "time_s", "x1", "y1", "x2", "y2")), start=2):
        try:
            time_s, x1, y1, x2, y2 = (float(row[name]) for name in ("time_s", "x1", "y1", "x2", "y2"))
        except (TypeError, ValueError):
            raise CatalogError(f"{table}, line {number}: expected numbers in time_s, x1, y1, x2, y2") from None
        boxes[row["file"]].append((time_s, (x1, y1, x2 - x1, y2 - y1)))
    return boxes


def evaluate_clips(classifier: Classifier, clips: Iterable[Clip], watch: Watch | None = None) -> Clips:
    """Run the real loop over every clip. ``watch`` returns the events of one clip.

    A bear clip that cannot be read counts as missed; a bear-free one is skipped.
    """
    results, boxed = [], []
    without: dict[str, list[ClipResult]] = defaultdict(list)
    missed: list[ClipResult] = []
    for clip in clips:
        try:
            watched = Watched(*(watch or watch_clip)(classifier, clip.file))
            boxed += through_gate(classifier, clip.file, clip.boxes) if clip.boxes else []
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
        gate=gate(boxed) if boxed else None,
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


CLOSE_IOU = 0.3  # a region this close to the box is a hit


@dataclass(frozen=True)
class Gate:
    """The motion stage on boxed bears: how close its regions are, and the recall it costs."""

    boxes: int
    median_iou: float | None  # of the best region and the box
    close: Rate | None  # boxes with a region of IoU >= 0.3
    reached: Rate | None  # boxes whose centre is in some region
    recall: Rate | None  # boxes reached by a region that scores at the crop threshold or above
    recall_on_boxes: Rate | None  # the same for the true boxes; the difference is the motion stage's cost


@dataclass(frozen=True)
class Boxed:
    """One boxed bear and its motion regions."""

    iou: float
    reached: bool
    alarm: bool  # such a region scores at the crop threshold or above
    alarm_on_box: bool


def through_gate(classifier: Classifier, file: Path, boxes: Iterable[tuple[float, BoxXYWH]]) -> list[Boxed]:
    """Run motion stage and classifier on the frames of a clip nearest to ``boxes`` (seconds, box)."""
    find, waiting, found = MotionFinder(), sorted(boxes), []
    last: tuple[Frame, tuple[Region, ...]] | None = None
    with open_source(str(file)) as source:
        for frame in source:
            now = (frame, find(frame).regions)
            while waiting and waiting[0][0] <= frame.time:
                time_s, box = waiting.pop(0)
                # The previous frame may be nearer.
                before = last is not None and time_s - last[0].time < frame.time - time_s
                found.append(compare_box(classifier, *(last if before and last else now), box))
            last = now
    if last is not None:
        found += [compare_box(classifier, *last, box) for time_s, box in waiting if time_s - last[0].time < 1.0]
    return found


def compare_box(classifier: Classifier, frame: Frame, regions: Sequence[Region], box: BoxXYWH) -> Boxed:
    """Compare one true box with the motion regions of its frame."""
    limit = classifier.card.thresholds["crop"].value
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    reach = [
        region
        for region in regions
        if region.box_xywh[0] <= x <= region.box_xywh[0] + region.box_xywh[2]
        and region.box_xywh[1] <= y <= region.box_xywh[1] + region.box_xywh[3]
    ]
    scores = classifier.score(frame.image, [*reach, Region(box, "motion")])
    return Boxed(
        iou=max((iou(region.box_xywh, box) for region in regions), default=0.0),
        reached=bool(reach),
        alarm=any(score.bear >= limit for score in scores[:-1]),
        alarm_on_box=scores[-1].bear >= limit,
    )


def gate(boxed: Sequence[Boxed]) -> Gate:
    """Return the figures of the motion stage."""
    n = len(boxed)
    return Gate(
        boxes=n,
        median_iou=median(one.iou for one in boxed) if boxed else None,
        close=wilson(sum(one.iou >= CLOSE_IOU for one in boxed), n),
        reached=wilson(sum(one.reached for one in boxed), n),
        recall=wilson(sum(one.alarm for one in boxed), n),
        recall_on_boxes=wilson(sum(one.alarm_on_box for one in boxed), n),
    )
