"""Drift while the alarm runs: ``DriftWatch`` keeps the daily figures of each camera, and notifies of a drift once."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from edge.background import Worker
from edge.detect.card import sigmoid
from edge.detect.drift import REFERENCE, Course, Drift, course, unlike
from edge.errors import OptionError
from edge.record.database import DiskError
from edge.record.days import (
    FIRST_DAY,
    Day,
    Key,
    Minute,
    MinuteFigures,
    add_days,
    add_up,
    day_of,
    read_days,
)
from edge.record.stage_log import read_stages

if TYPE_CHECKING:
    from edge.detect.card import Card
    from edge.record.run import Clock, EventFactory
    from edge.schema import Event
    from edge.watch import Watcher

WRITE_S = 600.0  # a power cut loses no more
MOST_MINUTES = 10_000  # that wait for a disk
FEEDBACK = "Its pictures help the next model: bear-alarm events export"


@dataclass(frozen=True, slots=True)
class Figure:
    """A daily figure: its name for people, the least scale of its days, and its drifts in words."""

    name: str
    least: float
    more: str
    less: str
    show: Callable[[float], str]


FIGURES = {
    "brightness": Figure(
        "Brightness",
        0.03,
        "brighter than before: is there a new lamp, or snow?",
        "darker than before: is the lens dirty?",
        lambda value: f"{math.exp(value):.0f} of 255",
    ),
    "sharpness": Figure(
        "Sharpness",
        0.02,
        "sharper than before: was the lens cleaned, or the camera changed?",
        "less sharp than before: is the lens dirty or out of focus?",
        lambda value: f"{math.exp(value):.2f}",
    ),
    "busy": Figure(
        "Minutes an hour with something moving",
        0.1,
        "more is moving here than before: new animals, people, or leaves in the wind?",
        "less is moving here than before: does something hide the view?",
        lambda value: f"{math.expm1(value):.1f}",
    ),
    "size": Figure(
        "Size of what moves",
        0.03,
        "what moves is larger than before: do animals come nearer, or was the camera turned?",
        "what moves is smaller than before: was the camera turned?",
        lambda value: f"{math.exp(value):.0f} px",
    ),
    "bear": Figure(
        "Bear score",
        0.05,
        "what moves looks more like a bear to the model than before: are there new animals?",
        "what moves looks less like a bear to the model than before: review its random frames",
        lambda value: f"{sigmoid(value):.3f}",
    ),
    "ood": Figure(
        "Unlike the training",
        0.01,
        "what moves is less like the training pictures than before: new animals, or other light?",
        "what moves is more like the training pictures than before",
        lambda value: f"{value:.2f}",
    ),
    "place": Figure(
        "Unknown crops",
        0.0,
        "much of what moves is unlike the training pictures: train with pictures of this place",
        "",
        lambda value: f"{value:.0%}",
    ),
}


@dataclass(frozen=True, slots=True)
class Monitor:
    """One figure of one camera, by day or at night, up to now."""

    camera: str
    figure: str
    night: bool
    course: Course
    noticed: bool = False  # people were notified of this drift

    @property
    def part(self) -> str:
        """Return "by day" or "at night"."""
        return "at night" if self.night else "by day"

    def shown(self, value: float | None) -> str:
        """Return a value of the figure for people; "" for None."""
        return "" if value is None else FIGURES[self.figure].show(value)


def drifts_in_words(monitors: Sequence[Monitor], today: date) -> list[str]:
    """Return the drifts of one camera in words, without full stops; by day and at night together where they agree."""
    alike = dict[tuple[str, bool], list[tuple[Drift, str]]]()
    for each in monitors:
        if drift := each.course.drift:
            alike.setdefault((each.figure, drift.up), []).append((drift, each.part))
    found = []
    for (name, up), drifts in alike.items():
        since, figure = min(drift.since for drift, _ in drifts), FIGURES[name]
        year = "" if since.year == today.year else f" {since.year}"
        parts = " and ".join(part for _, part in drifts)
        found.append(f"{parts} since {since.day} {since:%B}{year} {figure.more if up else figure.less}")
    return found


def names_of(folder: Path, camera: str, watched: Collection[str]) -> list[str]:
    """Return the names under which the journal has a camera: its own, and those before. Raises DiskError.

    ``watched``: the names of all cameras that are watched now.
    """
    stages = read_stages(folder)
    source = stages[camera][0].source if camera in stages else ""
    gone = (name for name, entries in stages.items() if name not in watched and source and entries[-1].source == source)
    return [camera, *gone]


def monitors_of(
    folder: Path, camera: str, watched: Collection[str], now: datetime, promised: float | None = None
) -> list[Monitor]:
    """Return a camera's figures by the journal in ``folder``, of days that are over at ``now``. Raises DiskError.

    They begin after the camera was moved last, or got another model or source. ``promised``: the share of unknown crops
    by the model's card; None: the place is not compared with it.
    """
    names = names_of(folder, camera, watched)
    days = _since_last_change(read_days(folder, names, day_of(now, night=False)))
    found: list[Monitor] = []
    for night in (False, True):
        over = day_of(now, night=night)
        rows = {day: each for (day, at_night), each in days.items() if at_night == night}
        figures = {day: each.figures for day, each in rows.items() if day < over}
        for name in ("brightness", "sharpness", "busy", "size", "bear", "ood") if days else ():
            values = [(day, each[name]) for day, each in figures.items() if name in each]
            found.append(_monitor(camera, name, night, values, rows))
        if promised is not None and not any("place" in each.looked for each in rows.values()):
            shares = [(day, each["unknown"]) for day, each in figures.items() if "unknown" in each]
            found += _place(camera, night, shares, promised, rows)
    return found


def _since_last_change(days: Mapping[tuple[date, bool], Day]) -> dict[tuple[date, bool], Day]:
    """Return the days from the last on which what is usual began again."""
    known, first = Day(), next(iter(days), None)
    for key, day in days.items():
        if day.begins_after(known):
            first = key
        known = Day(day.model or known.model, day.source or known.source)
    return {key: day for key, day in days.items() if first is not None and key >= first}


def _monitor(
    camera: str, figure: str, night: bool, values: list[tuple[date, float]], rows: Mapping[date, Day]
) -> Monitor:
    looked = max((day for day, each in rows.items() if figure in each.looked), default=date.min)
    found = course([(day, value) for day, value in values if day > looked], FIGURES[figure].least)
    return Monitor(camera, figure, night, found, _noticed(figure, found.drift, rows))


def _place(
    camera: str, night: bool, shares: list[tuple[date, float]], promised: float, rows: Mapping[date, Day]
) -> Iterator[Monitor]:
    if unlike([share for _, share in shares], promised):
        share = sum(each for _, each in shares[:REFERENCE]) / REFERENCE
        drift = Drift(shares[0][0], shares[REFERENCE - 1][0], True, promised, 0.0, 0.0)
        yield Monitor(
            camera, "place", night, Course(len(shares), promised, share, drift), _noticed("place", drift, rows)
        )


def _noticed(figure: str, drift: Drift | None, rows: Mapping[date, Day]) -> bool:
    return drift is not None and any(figure in each.noticed for day, each in rows.items() if day >= drift.since)


class DriftWatch:
    """Daily figures of the live cameras: written every ten minutes, looked at when a day or a night is over.

    For any thread; ``tick`` and ``take_event`` never wait. ``publish`` takes the notices. What the journal cannot take
    waits, and is a ``problem``.
    """

    def __init__(
        self,
        watchers: Mapping[str, Watcher],
        *,
        model: str,
        card: Card,
        folder: Path,
        run: EventFactory,
        clock: Clock,
        publish: Callable[[Event], None],
    ) -> None:
        self._watchers = {name: watcher for name, watcher in watchers.items() if watcher.camera_check}
        self._watched = list(watchers)
        self._model = model
        self._promised = 1.0 - card.ood.quantile
        self._folder = folder
        self._run = run
        self._clock = clock
        self._publish = publish
        self._minutes = {name: deque[Minute](maxlen=MOST_MINUTES) for name in self._watchers}
        for name, watcher in self._watchers.items():
            watcher.minutes = MinuteFigures(self._minutes[name].append, card.ood.threshold)
        self._reading = threading.Lock()  # while the journal is read: what was read later is assigned later
        self._lock = threading.RLock()  # of all that follows
        self._unwritten: dict[Key, Day] = {}
        self._monitors: list[Monitor] = []
        self._read_on: tuple[date, date] | None = None  # the day and the night that were not over then
        self._notices: list[Monitor] = []  # until they are published
        self._noticed: set[tuple[str, str, bool, date]] = set()
        self._problem: str | None = None
        self._wrote: float | None = None
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "drift", depth=1, deadline_s=60.0)

    def monitors(self) -> list[Monitor]:
        """Return each figure of each camera, as it was when the last day or night ended."""
        return list(self._monitors)

    def reports(self) -> list[Monitor]:
        """Return the figures that drifted and are not back."""
        return [each for each in self.monitors() if each.course.drift]

    @property
    def today(self) -> date:
        """Return the local date by the alarm's clock."""
        return day_of(self._clock.wall(), night=False)

    def problem(self) -> str | None:
        """Return why the figures cannot be kept or read; None: all is well."""
        return self._problem or self._worker.problem()

    def looked(self, camera: str, figure: str, *, night: bool) -> None:
        """Note that a person looked after a drift: what is usual begins again. Raises DiskError, OptionError."""
        known = ((each.camera, each.figure, each.night) for each in self.reports())
        if (camera, figure, night) not in known:
            raise OptionError(f"camera {camera!r} has no drift of this kind any more; load the page again")
        day = day_of(self._clock.wall(), night=night)
        if day < FIRST_DAY:
            raise OptionError(f"this device's clock says {day}, so it was never set; set it, and try again")
        add_days(self._folder, {(camera, day, night): Day(looked=[figure])})
        self._read(self._clock.wall())

    def take_event(self, event: Event) -> None:
        """Look at an event on its way: what is usual of a camera that was moved begins again. Returns at once."""
        moved = event.kind == "camera" and event.label == "moved" and event.type == "new"
        if moved and event.camera in self._minutes:
            night = bool(self._watchers[event.camera].night.night)
            self._minutes[event.camera].append(Minute(self._clock.wall(), night, 0.0, True, moved=True))

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        with self._lock:
            notices, self._notices = self._notices, []
        for camera in dict.fromkeys(each.camera for each in notices):
            self._notify(camera, [each for each in notices if each.camera == camera])
        if notices or self._wrote is None or now - self._wrote >= WRITE_S:
            self._wrote = now
            self._worker(None)

    def look(self) -> None:
        """Write the minutes since the last time; when a day or a night is over, look for drifts."""
        try:
            self._write()
            now = self._clock.wall()
            parts = day_of(now, night=False), day_of(now, night=True)
            if parts != self._read_on:
                self._read(now)
                self._read_on = parts
            self._problem = None
        except (DiskError, OptionError) as error:
            self._problem = f"the daily figures of the cameras cannot be kept: {error}"

    def close(self, within_s: float) -> None:
        """Write what is not written yet, and end."""
        self._worker(None)
        self._worker.close(within_s)

    def _notify(self, camera: str, drifts: list[Monitor]) -> None:
        autonomous = self._watchers[camera].publisher.stage == "autonomous"
        said = drifts_in_words(drifts, self.today)
        said += [*(["Consider the stage supervised"] if autonomous else []), FEEDBACK]
        words = f"camera {camera}: {'. '.join(said).replace('?.', '?')}"
        self._publish(self._run.event("notice", "new", uuid4().hex, camera, label="drift", detail=words))
        for each in drifts:
            key = camera, day_of(self._clock.wall(), night=each.night), each.night
            self._keep({key: Day(noticed=[each.figure])})

    def _write(self) -> None:
        stages = read_stages(self._folder)
        for camera, minutes in self._minutes.items():
            source = stages[camera][-1].source if camera in stages else ""
            self._keep(add_up(camera, (minutes.popleft() for _ in range(len(minutes))), self._model, source))
        with self._lock:
            days, self._unwritten = self._unwritten, {}
        try:
            if days:
                add_days(self._folder, days)
        except (DiskError, OptionError):
            with self._lock:
                later, self._unwritten = self._unwritten, days
            self._keep(later)
            raise

    def _keep(self, days: Mapping[Key, Day]) -> None:
        with self._lock:
            for key, day in days.items():
                self._unwritten[key] = self._unwritten[key].then(day) if key in self._unwritten else day

    def _read(self, now: datetime) -> None:
        found: list[Monitor] = []
        with self._reading:
            for camera in self._watchers:
                found += monitors_of(self._folder, camera, self._watched, now, self._promised)
            with self._lock:
                self._monitors = found
                for each in self.reports():
                    assert each.course.drift
                    key = each.camera, each.figure, each.night, each.course.drift.since
                    if not each.noticed and key not in self._noticed:
                        self._noticed.add(key)
                        self._notices.append(each)
