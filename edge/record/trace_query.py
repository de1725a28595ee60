"""Find the moment of a trace that is meant: an event's id, a time, or nothing but "why"."""

from __future__ import annotations

import gc
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from edge.errors import OptionError
from edge.local_time import clock
from edge.record.trace import SILENT_S, THE_END, Moment, Summary, TracedEvent, is_trace, old, share

# A trace read back: for each run and camera, its moments in order and its summaries.


@dataclass(eq=False)
class TraceRun:
    """Trace of one camera in one run."""

    camera: str
    run_id: str  # one a run of the alarm; "" where its first line is lost
    moments: list[Moment] = field(default_factory=list)  # by time
    summaries: list[Summary] = field(default_factory=list)  # by time

    @property
    def live(self) -> bool:
        """Return whether it was a live camera, of which only some moments are kept."""
        return not any(moment.media_time_s is not None for moment in self.moments[:1])

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Return from when to when it reaches, UTC."""
        starts = [moment.wall for moment in self.moments[:1]] + [summary.since for summary in self.summaries]
        ends = [moment.wall for moment in self.moments[-1:]] + [summary.until for summary in self.summaries]
        ends += [event.at for moment in self.moments[-1:] for event in moment.events if event.at]  # while no frame came
        return min(starts), max(ends)

    def between(self, since_s: float, until_s: float) -> list[Moment]:
        """Return the moments kept from one time to another, both included (frame's clock, seconds)."""
        first = bisect_left(self.moments, since_s, key=lambda moment: moment.time)
        return self.moments[first : bisect_right(self.moments, until_s, key=lambda moment: moment.time)]

    def events(self) -> Iterator[tuple[Moment, TracedEvent]]:
        """Yield every event with its moment, in order."""
        for moment in self.moments:
            for event in moment.events:
                yield moment, event


def notability(moment: Moment) -> tuple[bool, float, float]:
    """Return how much there is to explain, to compare: an event, then evidence, then bear probability."""
    strongest, top = moment.strongest, moment.top
    return bool(moment.events), share(strongest) if strongest else 0.0, top.bear if top else 0.0


def read_trace(path: Path) -> list[TraceRun]:
    """Return the runs of a trace and of the older file beside it, in the order they began. Raises OptionError."""
    path = path.expanduser()
    runs: dict[tuple[str, str], TraceRun] = {}
    problem = ""
    if path.is_dir():
        raise OptionError(f"{path}: is a folder, not a trace; name the file that `bear-alarm watch … --trace` wrote")
    if not path.exists() and not old(path).exists():
        raise OptionError(f"{path}: no such trace; `bear-alarm watch … --trace {path}` writes one")
    run_id = ""
    collecting = gc.isenabled()
    gc.disable()  # looking for garbage among ever more records would take half the time
    try:
        for line in _lines(path):
            try:
                found = _record(line)
            except ValueError as error:  # half a line after a power cut; the rest is good
                problem = problem or str(error)
                continue
            if isinstance(found, str):
                run_id = found
                continue
            run = runs.setdefault((run_id, found.camera), TraceRun(found.camera, run_id))
            if isinstance(found, Moment):
                run.moments.append(found)
            else:
                run.summaries.append(found)
    finally:
        if collecting:
            gc.enable()
    if not runs and problem:
        raise OptionError(f"{path}: nothing in this trace can be read ({problem})")
    if not runs:
        raise OptionError(f"{path}: this trace holds no moment yet; ask again when the alarm has run for a while")
    for run in runs.values():
        # What a summary names is written a second time, out of order; events after the last frame come with it.
        once: dict[tuple[int, float], Moment] = {}
        for moment in run.moments:
            key = moment.index, moment.time
            once[key] = _joined(once[key], moment) if key in once else moment
        run.moments = sorted(once.values(), key=lambda moment: moment.time)
        run.summaries.sort(key=lambda summary: summary.since_s)
    return list(runs.values())


def _joined(one: Moment, other: Moment) -> Moment:
    """Return two records of one frame as one: the fuller, with the events of both."""
    fuller = max(one, other, key=lambda moment: len(moment.scored) + len(moment.evidence_states))
    return replace(fuller, events=tuple(dict.fromkeys([*one.events, *other.events])))


def of_camera(runs: Sequence[TraceRun], camera: str | None) -> list[TraceRun]:
    """Return the runs of one camera, or all. Raises OptionError for a camera that is not there."""
    names = list(dict.fromkeys(run.camera for run in runs))
    if camera is not None and camera not in names:
        near = get_close_matches(camera, names, n=1)
        which = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        raise OptionError(f"--camera {camera!r}: no such camera in this trace; {which}")
    return [run for run in runs if camera in (None, run.camera)]


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines of the older file, then of the file. Raises OptionError for what cannot be read or is no trace."""
    for part in (old(path), path):
        if not part.exists():
            continue
        try:
            with part.open("rb") as file:
                if not is_trace(file.peek(40)):
                    raise OptionError(f"{part}: is no trace; name the file that `bear-alarm watch --trace FILE` wrote")
                yield from (line for line in file if line.strip(b"\0\r\n "))
        except OSError as error:
            raise OptionError(f"{part}: cannot be read ({error.strerror})") from None


def _record(line: bytes) -> Moment | Summary | str:
    """Return a moment, a summary, or the name of the run that begins here. Raises ValueError for anything else."""
    line = line.strip(b"\0\r\n ")
    if b'"kind":"moment"' in line[:40]:  # nearly all are, and are parsed once
        return Moment.from_json(line)
    found = json.loads(line)
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == "start":
        return str(found.get("run", ""))
    if kind == "summary":
        return Summary.from_json(line)
    if kind == "moment":
        return Moment.from_json(line)
    raise ValueError(f"not a line of a trace: {line[:80]!r}")


# Gaps in which no picture came: nothing is known of them, and the answer must begin with that.


@dataclass(frozen=True)
class Gap:
    """A time without a frame, from the last one before it to the first one after it."""

    since: datetime  # UTC
    until: datetime  # UTC
    troubles: tuple[str, ...] = ()  # what was wrong with the camera, one sentence each, as far as it is known
    clock_set: bool = False  # only the clock jumped: one frame followed the other

    @property
    def seconds(self) -> float:
        """Return how long it was, by the clock."""
        return (self.until - self.since).total_seconds()


def gap_over(run: TraceRun, since: datetime, until: datetime, now: datetime | None = None) -> Gap | None:
    """Return the longest gap of one camera that overlaps a time span (UTC; an instant if both ends are the same).

    ``now``: where the camera was gone at the end of its run, it still is, and was until then.
    """
    over = [
        gap
        for each in _gaps(run, now)
        for gap in _pieces(each, sorted(moment.wall for moment in run.moments))
        if gap.since < max(until, since + timedelta.resolution) and gap.until > since
    ]
    return max(over, key=lambda gap: gap.seconds, default=None)


def _gaps(run: TraceRun, now: datetime | None) -> Iterator[Gap]:
    for earlier, later in pairwise(run.moments):
        if later.index - earlier.index == 1 and later.wall > earlier.wall:
            if later.time - earlier.time > SILENT_S:
                yield Gap(earlier.wall, later.wall, _troubles(earlier, later))
            elif (later.wall - earlier.wall).total_seconds() > SILENT_S + later.time - earlier.time:
                yield Gap(earlier.wall, later.wall, clock_set=True)
    for moment in run.moments[-1:]:
        ends = [event.at for event in moment.events if event.at and event.at > moment.wall]
        if ends:  # the camera was gone, and still was when the alarm was stopped, or still is
            stopped = any(summary.reason == THE_END for summary in run.summaries)
            still = [now] if now and _is_gone(moment) and not stopped else []
            yield Gap(moment.wall, max([*ends, *still]), _troubles(moment, moment))
    yield from (gap for summary in run.summaries if (gap := _summed(summary)))


def _is_gone(last: Moment) -> bool:
    """Return whether a fault of the camera was published while no frame came, and not its end."""
    faults = [event for event in last.events if event.kind == "camera" and event.at and event.at > last.wall]
    over = {event.id for event in faults if event.type == "end"}
    return any(event.id not in over for event in faults)


def _pieces(gap: Gap, walls: Sequence[datetime]) -> Iterator[Gap]:
    """Yield a gap without the pictures that were taken in it and came at another time; ``walls``: of all, in order."""
    inside = walls[bisect_right(walls, gap.since) : bisect_left(walls, gap.until)]
    for since, until in pairwise([gap.since, *inside, gap.until]):
        piece = replace(gap, since=since, until=until)
        if piece.seconds > SILENT_S or not inside:
            yield piece


def _summed(summary: Summary) -> Gap | None:
    """Return the longest gap in the time of a summary."""
    if summary.gap_at is None or summary.gap_s <= SILENT_S:
        return None
    return Gap(summary.gap_at, summary.gap_at + timedelta(seconds=summary.gap_s), summary.troubles)


def _troubles(before: Moment, after: Moment) -> tuple[str, ...]:
    """Return the camera's faults that were published while no frame came, and those that lasted after that."""
    meanwhile = [event for event in before.events if event.at and event.at > before.wall]
    faults = [event for event in (*meanwhile, *after.events) if event.kind == "camera" and event.type == "new"]
    return tuple(dict.fromkeys([*(fault.detail for fault in faults if fault.detail), *after.troubles]))


MIN_ID = 6  # characters of an event's id
NEAR_S = 1.0  # a moment this near is the one that was meant
CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*(Z|[+-]\d{2}:\d{2})?", re.IGNORECASE)
FORMS = (
    "an event's id, seconds into a clip (12.5 or 0:12.5), a time of day (03:12 or 2026-11-24T03:12:07Z), last or end"
)


@dataclass(frozen=True)
class Match:
    """A moment, or where none was kept the summary of the time around it.

    Where no frame came at the time that was asked for, ``missed`` is that gap and ``moment`` only the nearest one.
    """

    run: TraceRun
    moment: Moment | None
    summary: Summary | None = None
    asked: datetime | None = None  # UTC, where a time was asked for
    event: str | None = None
    also: tuple[str, ...] = ()  # other cameras with moments then
    missed: Gap | None = None
    beside: Gap | None = None  # a gap in the time that was asked for, of which there are moments too
    away: tuple[str, ...] = ()  # other cameras of which no frame came then
    ends: datetime | None = None  # UTC, of an old trace: a time of day after it was taken for one of the day before


def find(
    runs: Sequence[TraceRun], word: str | None, camera: str | None = None, *, now: datetime | None = None
) -> Match:
    """Return what ``word`` means; None: the last event, else the moment of highest evidence. Raises OptionError.

    ``now`` (UTC): a time of day is the last one there was, by now where the trace is younger than a day, else by its
    own end.
    """
    runs = of_camera(runs, camera)
    word = (word or "").strip()
    last = _last_event(runs) if word.lower() in ("", "last") else None
    if last or not word:
        return last or _most_notable(runs)
    if word.lower() == "last":
        raise OptionError(
            "last: this trace has no event; leave `last` out for the moment of most evidence, or give `end` for the "
            "newest moment"
        )
    if word.lower() == "end":
        return _newest(runs)
    event = _event(runs, word)
    if event:
        return event
    seconds = _seconds(word)
    if not runs[-1].live and seconds is not None:
        return _at_seconds(runs[-1], runs, seconds)
    if seconds is not None and ":" not in word:
        raise OptionError(f"{word!r}: this trace is of a live camera; give a time of day instead, {_range(runs)}")
    end = max(run.span[1] for run in runs)
    young = now is not None and end <= now < end + timedelta(days=1)
    asked_at = now if now and young else end
    since, until = _span(word, asked_at)
    found = _at_wall(runs, word, since, until, asked_at)
    other_day = CLOCK.fullmatch(word) and not young and since.astimezone().date() != end.astimezone().date()
    return replace(found, ends=end) if other_day else found


def events(runs: Sequence[TraceRun]) -> dict[str, tuple[TraceRun, Moment, TracedEvent]]:
    """Return every event of these runs, where it was first published."""
    known: dict[str, tuple[TraceRun, Moment, TracedEvent]] = {}
    for run in runs:
        for moment, event in run.events():
            if event.id not in known or (event.type == "new" and known[event.id][2].type != "new"):
                known[event.id] = run, moment, event
    return known


def _last_event(runs: Sequence[TraceRun]) -> Match | None:
    known = events(runs).values()
    alarms = [one for one in known if one[2].kind == "bear"] or list(known)
    if not alarms:
        return None
    run, moment, event = max(alarms, key=lambda one: one[1].wall)
    return Match(run, moment, event=event.id)


def _most_notable(runs: Sequence[TraceRun]) -> Match:
    kept = [(run, moment) for run in runs for moment in run.moments]
    if not kept:
        run, summary = max(((r, s) for r in runs for s in r.summaries), key=lambda one: one[1].until)
        return Match(run, None, summary)
    run, moment = max(kept, key=lambda one: notability(one[1]))
    return Match(run, moment)


def _newest(runs: Sequence[TraceRun]) -> Match:
    run = max(runs, key=lambda run: run.span[1])
    if run.moments:
        return Match(run, run.moments[-1])
    return Match(run, None, run.summaries[-1])


def _event(runs: Sequence[TraceRun], word: str) -> Match | None:
    """Return the event whose id begins with the word; None where the word is no id. Raises OptionError."""
    if not re.fullmatch(r"[0-9a-fA-F-]+", word) or re.fullmatch(r"\d{4}-\d\d-\d\d", word):
        return None
    known = events(runs)
    found = [id_ for id_ in known if id_.lower().startswith(word.lower())] if len(word) >= MIN_ID else []
    if len(found) == 1:
        run, moment, _ = known[found[0]]
        return Match(run, moment, event=found[0])
    if len(found) > 1:
        raise OptionError(f"{word!r} begins {len(found)} events ({_listed(found, known)}); give more of the id")
    near = get_close_matches(word[:8], [id_[:8] for id_ in known], n=3, cutoff=0.5) if len(word) >= MIN_ID else []
    if word.isdecimal() and not near:  # seconds
        return None
    if len(word) < MIN_ID:
        raise OptionError(f"{word!r}: give {MIN_ID} characters or more of an event's id; {_some(known)}")
    close = [id_ for id_ in known if id_[:8] in near]
    hint = f"did you mean {_listed(close, known)}?" if close else _some(known)
    raise OptionError(f"{word!r}: no such event in this trace; {hint}")


def _at_seconds(last: TraceRun, runs: Sequence[TraceRun], seconds: float) -> Match:
    """Return the moment of a clip, in the last run; of several clips the ones that are so long."""
    clips = [run for run in runs if run.run_id == last.run_id and not run.live]
    found = []
    for run in clips:
        nearest = min(run.moments, key=lambda moment: abs(_media(moment) - seconds))
        if abs(_media(nearest) - seconds) <= NEAR_S or _media(run.moments[0]) <= seconds <= _media(run.moments[-1]):
            found.append((run, nearest))
    if not found:
        raise OptionError(f"{seconds:g} s lies outside the trace, which has {_range(clips)}")
    run, moment = max(found, key=lambda one: notability(one[1]))
    return Match(run, moment, also=_others(run, [one[0] for one in found]))


def _at_wall(runs: Sequence[TraceRun], word: str, since: datetime, until: datetime, now: datetime) -> Match:
    """Return the most notable moment of a time span, else the nearest one, else the summary of it."""
    found = [(run, m) for run in runs for m in run.moments if since <= m.wall < until]
    found = found or [(run, moment) for run in runs if (moment := _nearest(run, since))]
    known = [(run, gap_over(run, since, until, now if run.run_id == runs[-1].run_id else None)) for run in runs]
    gaps = [(run, gap) for run, gap in known if gap]
    seen = [run for run, _ in found]
    away = tuple(dict.fromkeys(run.camera for run, _ in gaps if run.camera not in {each.camera for each in seen}))
    if found:
        run, moment = max(found, key=lambda one: notability(one[1]))
        beside = next((gap for each, gap in gaps if each is run), None)
        return Match(run, moment, asked=since, also=_others(run, seen), beside=beside, away=away)
    if gaps:
        run, gap = max(gaps, key=lambda one: one[1].seconds)
        rest = tuple(name for name in away if name != run.camera)
        return Match(run, nearest_kept(run, since), asked=since, missed=gap, away=rest)
    summed = [(run, s) for run in runs for s in run.summaries if s.since < until and s.until >= since]
    if summed:
        run, summary = max(summed, key=lambda one: one[1].share.value if one[1].share else 0.0)
        return Match(run, None, summary, asked=since, also=_others(run, [one[0] for one in summed]))
    before = max((run.span[1] for run in runs if run.span[1] <= since), default=None)
    after = min((run.span[0] for run in runs if run.span[0] >= since), default=None)
    if before and after:
        raise OptionError(
            f"{word!r}: nothing is known of that time, for the alarm did not run or could not write from "
            f"{clock(before)} to {clock(after)}; this trace has {_range(runs)}"
        )
    if before and now > before:
        raise OptionError(
            f"{word!r} ({clock(since)}): nothing is known since {clock(before)}, for this trace has {_range(runs)}; "
            "an alarm that runs writes its last minutes on `kill -USR1`"
        )
    raise OptionError(f"{word!r} ({clock(since)}) lies outside the trace, which has {_range(runs)}")


def nearest_kept(run: TraceRun, wall: datetime) -> Moment | None:
    """Return the moment of a run that is nearest to a time, however far; None where none was kept."""
    return min(run.moments, key=lambda moment: abs(moment.wall - wall), default=None)


def _nearest(run: TraceRun, wall: datetime) -> Moment | None:
    """Return the moment at a time: the nearest within a second, or the earlier of two frames that follow each other."""
    earlier = max((m for m in run.moments if m.wall <= wall), key=lambda m: m.wall, default=None)
    later = min((m for m in run.moments if m.wall > wall), key=lambda m: m.wall, default=None)
    near = [m for m in (earlier, later) if m and abs((m.wall - wall).total_seconds()) <= NEAR_S]
    if near:
        return min(near, key=lambda m: abs(m.wall - wall))
    follow = earlier and later and later.index - earlier.index == 1 and (later.wall - earlier.wall).total_seconds()
    return earlier if follow and follow <= SILENT_S else None


def _seconds(word: str) -> float | None:
    """12.5, 0:12.5 or 1:02:03 in seconds; None where the word is none of these."""
    parts = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)\s*s?", word)
    if parts is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def _span(word: str, end: datetime) -> tuple[datetime, datetime]:
    """Return the time span that a time means: a minute, a second, with a fraction an instant. Raises OptionError."""
    of_day = CLOCK.fullmatch(word)
    try:
        if of_day:
            zone = of_day[4] or ""
            day = end.astimezone(datetime.fromisoformat(f"2000-01-01T00:00{zone.upper()}").tzinfo).date()
            text = f"{int(of_day[1]):02d}:{of_day[2]}:{of_day[3] or '00'}{zone.upper()}"
            days = [datetime.fromisoformat(f"{each}T{text}") for each in (day, day - timedelta(days=1))]
            # An hour that comes twice, as summer time ends: the last one there was.
            times = [each.replace(fold=fold).astimezone(UTC) for each in days for fold in (1, 0)]
            at = next((each for each in times if each <= end), times[-1])
        else:
            at = datetime.fromisoformat(word.replace("z", "Z")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise OptionError(f"{word!r} is no moment; give {FORMS}") from None
    colons = re.sub(r"(Z|[+-]\d{2}:?\d{2})$", "", word, flags=re.IGNORECASE).count(":")
    if re.fullmatch(r"\d{4}-\d\d-\d\d", word):
        return at, (datetime.fromisoformat(word) + timedelta(days=1)).astimezone(UTC)  # 23 or 25 hours twice a year
    if "." in word:
        return at, at
    return at, at + (timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[min(colons, 2)]


def _range(runs: Sequence[TraceRun]) -> str:
    """Return from when to when each camera's trace reaches."""
    words = []
    for name in dict.fromkeys(run.camera for run in runs):
        own = [run for run in runs if run.camera == name]
        if own[-1].live:
            since, until = min(run.span[0] for run in own), max(run.span[1] for run in own)
            words.append(f"{name} from {clock(since)} to {clock(until)}")
        else:
            ends = [_media(moment) for moment in own[-1].moments]
            words.append(f"{name} from {ends[0]:g} s to {ends[-1]:g} s")
    return ", ".join(words)


def _others(run: TraceRun, found: Sequence[TraceRun]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(other.camera for other in found if other.camera != run.camera))


def _listed(ids: Sequence[str], known: dict[str, tuple[TraceRun, Moment, TracedEvent]], most: int = 5) -> str:
    return ", ".join(f"{id_[:8]} ({_when(known[id_][1])})" for id_ in list(ids)[-most:])


def _some(known: dict[str, tuple[TraceRun, Moment, TracedEvent]]) -> str:
    return f"the last ones are {_listed(list(known), known)}" if known else "it has no event at all"


def _media(moment: Moment) -> float:
    return moment.media_time_s or 0.0


def _when(moment: Moment) -> str:
    at = clock(moment.wall) if moment.media_time_s is None else f"at {moment.media_time_s:.1f} s"
    return f"{moment.camera} {at}"
