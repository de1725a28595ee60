"""A trace read back: for each run and camera, its moments in order and its summaries."""

from __future__ import annotations

import gc
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from edge.errors import OptionError
from edge.trace.file import is_trace, old
from edge.trace.moment import Moment, Summary, Told, share


@dataclass(eq=False)
class Reel:
    """What a trace holds of one camera in one run."""

    camera: str
    run: str  # one a run of the alarm; "" where its first line is lost
    moments: list[Moment] = field(default_factory=list)  # by time
    summaries: list[Summary] = field(default_factory=list)  # by time

    @property
    def live(self) -> bool:
        """Whether it was a live camera, of which only some moments are kept."""
        return not any(moment.media_time_s is not None for moment in self.moments[:1])

    @property
    def span(self) -> tuple[datetime, datetime]:
        """From when to when it reaches, UTC."""
        starts = [moment.wall for moment in self.moments[:1]] + [summary.since for summary in self.summaries]
        ends = [moment.wall for moment in self.moments[-1:]] + [summary.until for summary in self.summaries]
        ends += [told.at for moment in self.moments[-1:] for told in moment.told if told.at]  # while no frame came
        return min(starts), max(ends)

    def between(self, since_s: float, until_s: float) -> list[Moment]:
        """The moments kept from one time to another, both included (frame's clock, seconds)."""
        first = bisect_left(self.moments, since_s, key=lambda moment: moment.time)
        return self.moments[first : bisect_right(self.moments, until_s, key=lambda moment: moment.time)]

    def told(self) -> Iterator[tuple[Moment, Told]]:
        """Every event that was told, with its moment, in order."""
        for moment in self.moments:
            for told in moment.told:
                yield moment, told


def notability(moment: Moment) -> tuple[bool, float, float]:
    """How much there is to explain, for comparing: an event first, then the evidence, then the bear probability."""
    strongest, top = moment.strongest, moment.top
    return bool(moment.told), share(strongest) if strongest else 0.0, top.bear if top else 0.0


def read_trace(path: Path) -> list[Reel]:
    """The reels of a trace and of the older file beside it, in the order they began. Raises OptionError."""
    path = path.expanduser()
    reels: dict[tuple[str, str], Reel] = {}
    problem = ""
    if path.is_dir():
        raise OptionError(f"{path}: is a folder, not a trace; name the file that `bear-alarm watch … --trace` wrote")
    if not path.exists() and not old(path).exists():
        raise OptionError(f"{path}: no such trace; `bear-alarm watch … --trace {path}` writes one")
    run = ""
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
                run = found
                continue
            reel = reels.setdefault((run, found.camera), Reel(found.camera, run))
            if isinstance(found, Moment):
                reel.moments.append(found)
            else:
                reel.summaries.append(found)
    finally:
        if collecting:
            gc.enable()
    if not reels and problem:
        raise OptionError(f"{path}: nothing in this trace can be read ({problem})")
    if not reels:
        raise OptionError(f"{path}: this trace holds no moment yet; ask again when the alarm has run for a while")
    for reel in reels.values():
        # What a summary names is written a second time, out of order; what was told after the last frame comes with it.
        once: dict[tuple[int, float], Moment] = {}
        for moment in reel.moments:
            key = moment.index, moment.time
            once[key] = _joined(once[key], moment) if key in once else moment
        reel.moments = sorted(once.values(), key=lambda moment: moment.time)
        reel.summaries.sort(key=lambda summary: summary.since_s)
    return list(reels.values())


def _joined(one: Moment, other: Moment) -> Moment:
    """Two records of one frame as one: the fuller, with all that was told."""
    fuller = max(one, other, key=lambda moment: len(moment.scored) + len(moment.standings))
    return replace(fuller, told=tuple(dict.fromkeys([*one.told, *other.told])))


def of_camera(reels: Sequence[Reel], camera: str | None) -> list[Reel]:
    """The reels of one camera, or all. Raises OptionError for a camera that is not there."""
    names = list(dict.fromkeys(reel.camera for reel in reels))
    if camera is not None and camera not in names:
        near = get_close_matches(camera, names, n=1)
        which = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
        raise OptionError(f"--camera {camera!r}: no such camera in this trace; {which}")
    return [reel for reel in reels if camera in (None, reel.camera)]


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of the older file, then of the file. Raises OptionError for what cannot be read or is no trace."""
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
    """A moment, a summary, or the name of the run that begins here. Raises ValueError for anything else."""
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
