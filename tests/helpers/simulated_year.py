"""A simulated year of cameras and the person who looks after them, through the real journal, reviews and stages.

Bears, false alarms, wind, dirt, weather and the person's habits come from a seed. Events go the alarm's way:
``Confirmations``, ``Journal``, ``Rollout``, ``DriftWatch``; a review is a file and a row, as the page writes them. Only
the clock is fast.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge import rollout
from edge.alert.confirmation import Confirmations
from edge.alert.events import EventPublisher
from edge.background import Worker
from edge.decide.evidence import Rule
from edge.decide.stages import Goal
from edge.detect.camera_check import CameraCheck
from edge.drift_watch import DriftWatch
from edge.record.days import Day, Key, add_days, day_of
from edge.record.journal import Journal
from edge.record.media_store import sample_path, visit_folder
from edge.record.misses import Miss, write_miss
from edge.record.review import Review, Verdict, pass_on, write_review
from edge.record.run import Clock, EventFactory
from edge.rollout import Rollout
from edge.schema import Event, EventKind, EventType, Picture, Region, Score, Stage, utc_text
from edge.settings import Camera
from edge.watch import Watcher
from tests.helpers.tiny import tiny_card

DAY_S = 86_400.0
LABELS = ("brown_bear", "black_bear", "polar_bear")
RESTART_DAYS = 30  # a power cut, an update of the system
FRAMES_PER_DAY = 4  # random frames that a camera keeps
DOGS = 3  # alarms a day while they come by
PERSON = "anna"
STAYS = 0.6  # correlation of a day's weather with the day before
# Of each daily figure: level by day and at night, standard deviation of a day, amplitude of the season.
USUAL = {
    "brightness": (4.6, 3.2, 0.10, 0.10),
    "sharpness": (2.0, 1.6, 0.06, 0.06),
    "busy": (1.6, 1.2, 0.30, 0.30),
    "size": (4.5, 4.4, 0.10, 0.05),
    "bear": (-3.0, -2.6, 0.25, 0.10),
    "ood": (0.30, 0.35, 0.03, 0.02),
}


@dataclass(frozen=True)
class Site:
    """One camera and what happens before it; rates are per day."""

    name: str
    bears: float  # visits at the height of the season
    wrong: float  # false alarms
    found: float = 0.92  # of the visits
    stage: Stage | str = "shadow"


@dataclass(frozen=True)
class Happening:
    """One thing that happens to a camera; ``camera`` "": to all."""

    what: str  # "model", "moved", "dogs", "dirt" or "snow"
    day: int
    camera: str = ""
    days: int = 0  # so long it lasts; dirt: until the lens is as dirty as it gets, and stays so until it is wiped


@dataclass(frozen=True)
class Habits:
    """The person: in shares of the evenings, of the questions, of the reviews."""

    evenings: float = 0.8
    answers: float = 0.5  # questions that are answered in time
    unsure: float = 0.04
    careless: float = 0.003  # reviews that say the opposite
    frames: int = 6  # random frames that are reviewed in one evening
    reports: float = 0.1  # of the missed bears
    comes_days: int = 3  # until somebody stands before a camera: a moved one is put back, a dirty lens is wiped
    patience_days: int = 120  # in shadow; then it is ended without being offered


@dataclass(frozen=True)
class Line:
    """One thing that somebody noticed or did."""

    at: datetime
    camera: str
    kind: str  # label of a notice: "stage", "drift"; or what the person did: "chosen", "looked"
    words: str


@dataclass
class Alarm:
    """One alarm, and what is known of it."""

    event: Event
    bear: bool
    folder: Path
    noisy: bool = False
    said: Verdict | None = None


@dataclass
class Year:
    """The result: what was noticed and done, in order, and counts."""

    lines: list[Line] = field(default_factory=list)
    alarms: dict[str, list[Alarm]] = field(default_factory=dict)
    stages: dict[str, list[tuple[datetime, Stage]]] = field(default_factory=dict)  # each change
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # of each camera, and of "person"


class Simulation:
    """One run from ``begins`` on; ``folder`` gets the state and the evidence."""

    def __init__(
        self,
        folder: Path,
        sites: Sequence[Site],
        happenings: Sequence[Happening],
        begins: datetime,
        *,
        habits: Habits = Habits(),
        seed: int = 1,
    ) -> None:
        self.state, self.evidence = folder / "state", folder / "evidence"
        self.sites = {site.name: site for site in sites}
        self.happenings = happenings
        self.habits = habits
        self.begins = self.now = begins
        self.year = Year(
            alarms={name: [] for name in self.sites},
            stages={name: [] for name in self.sites},
            counts={name: Counter() for name in (*self.sites, "person")},
        )
        self.rng = np.random.default_rng(seed)
        self.model = "bear@1"
        self.run = _Factory(lambda: self.now)
        self.journal = Journal(self.state, run=self.run)
        self.publishers = {name: EventPublisher([self.publish], run=self.run) for name in self.sites}
        self.confirmations = Confirmations(self._noise, clock=self._clock)
        self._weather = {name: Weather(np.random.default_rng([seed, n])) for n, name in enumerate(self.sites)}
        self._wiped: dict[str, int] = {}  # the day, by camera
        self._comes: dict[str, int] = {}  # the day on which somebody looks after a drift
        self._frames: list[tuple[Path, bool]] = []  # not reviewed yet, with whether a bear is on it
        self._start()

    def simulate(self, days: int) -> Year:
        """Live through so many days; return what was noticed and done."""
        for day in range(days):
            self._pass_day(day)
        self.rollout.close(5.0)
        self.drift.close(5.0)
        self.journal.close()
        return self.year

    def publish(self, event: Event) -> None:
        """Give an event to everybody, in the alarm's order."""
        self.confirmations(event)
        self.journal(event)
        self.rollout.take_event(event)
        self.drift.take_event(event)
        if event.kind == "notice":
            self.year.lines.append(Line(self.now, event.camera, event.label or "", event.detail or ""))
        self.year.counts.get(event.camera, Counter())["messages"] += event.alarms

    def _clock(self) -> float:
        return (self.now - self.begins).total_seconds()

    def _start(self) -> None:
        self.rollout = Rollout(
            [Camera(site.name, site.name, stage=site.stage) for site in self.sites.values()],
            self.publishers,
            model=self.model,
            folder=self.state,
            evidence=self.evidence,
            goal=Goal(),
            alarm_labels=LABELS,
            run=self.run,
            publish=self.publish,
            wall=lambda: self.now,
        )
        self.drift = DriftWatch(
            {name: _watcher(publisher) for name, publisher in self.publishers.items()},
            model=self.model,
            card=tiny_card(),
            folder=self.state,
            run=self.run,
            clock=Clock(lambda: (True, "simulated"), wall=lambda: self.now, monotonic=self._clock),
            publish=self.publish,
        )

    def _restart(self) -> None:
        self.rollout.close(5.0)
        self.drift.close(5.0)
        self._start()
        self._look()

    def _look(self) -> None:
        """Let the rollout look at the journal, and publish what it found."""
        for _ in range(2):  # the second publishes what the first found
            self.rollout.tick(self._clock())
            _settle(self.rollout._worker)
            self.now += timedelta(seconds=rollout.LOOK_S)
        for name, publisher in self.publishers.items():
            stage, known = publisher.stage, self.year.stages[name]
            if stage and (not known or known[-1][1] != stage):
                known.append((self.now, stage))

    def _pass_day(self, day: int) -> None:
        midnight = self.begins + timedelta(days=day)
        self.now = midnight
        if day % RESTART_DAYS == 0:
            self._restart()
        acts: list[tuple[float, Callable[[], None]]] = []  # seconds of the day
        for happening in self.happenings:
            acts += self._acts_of(happening, day)
        for site in self.sites.values():
            acts += [(s, partial(self._visit, site)) for s in self._times(site.bears * season(midnight))]
            acts += [(s, partial(self._alarm, site.name, bear=False)) for s in self._times(site.wrong)]
            acts += [(s, partial(self._keep_frame, site.name)) for s in self._times(FRAMES_PER_DAY)]
        if self.rng.random() < self.habits.evenings:
            acts.append((20 * 3600.0, self._evening))
        for second, act in sorted(acts, key=lambda each: each[0]):
            self.now = max(self.now, midnight + timedelta(seconds=second))
            act()
        self.now = max(self.now, midnight + timedelta(seconds=DAY_S - 60))
        self._look()
        self._end_day(day)

    def _end_day(self, day: int) -> None:
        """Write the day's figures, and let the drift watch look at them."""
        days: dict[Key, Day] = {}
        for name, weather in self._weather.items():
            happened = [each for each in self.happenings if each.camera in ("", name)]
            for night in (False, True):
                figures = weather.figures(self.now, night=night)
                change(figures, happened, day, self._wiped.get(name))
                days[name, day_of(self.now - timedelta(hours=12), night=night), night] = day_with(figures, self.model)
        add_days(self.state, days)
        for _ in range(2):  # the second publishes what the first found
            self.drift.tick(self._clock())
            _settle(self.drift._worker)
            self.now += timedelta(seconds=1)
        for each in self.drift.reports():
            self._comes.setdefault(each.camera, day + self.habits.comes_days)
        for name in [name for name, when in self._comes.items() if when <= day]:
            del self._comes[name]
            self._wiped[name] = day + 1
            self.year.lines.append(Line(self.now, name, "looked", ""))
            for each in [report for report in self.drift.reports() if report.camera == name]:
                self.drift.looked(name, each.figure, night=each.night)

    def _times(self, rate: float) -> list[float]:
        return [float(second) for second in self.rng.uniform(0, DAY_S - 600, self.rng.poisson(rate))]

    def _acts_of(self, happening: Happening, day: int) -> list[tuple[float, Callable[[], None]]]:
        noon, name = 12 * 3600.0, happening.camera
        if happening.what == "model" and day == happening.day:
            return [(noon, self._new_model)]
        if happening.what == "moved" and day == happening.day:
            return [(noon, partial(self._fault, name, "new"))]
        if happening.what == "moved" and day == happening.day + self.habits.comes_days:
            return [(noon, partial(self._fault, name, "end"))]
        if happening.what == "dogs" and happening.day <= day < happening.day + happening.days:
            first = self.rng.uniform(6, 18) * 3600.0
            return [(first + 900.0 * number, partial(self._alarm, name, bear=False)) for number in range(DOGS)]
        return []

    def _new_model(self) -> None:
        self.model = f"bear@{int(self.model[5:]) + 1}"
        self._restart()

    def _fault(self, name: str, type_: EventType) -> None:
        self.publish(self.run.event("camera", type_, f"{name}-moved", name, label="moved", detail="another view"))
        self._look()

    def _visit(self, site: Site) -> None:
        if self.rng.random() < site.found:
            self._alarm(site.name, bear=True)
            return
        self.year.counts[site.name]["missed"] += 1
        if self.rng.random() < self.habits.reports:
            at = utc_text(self.now)
            write_miss(self.evidence, Miss(site.name, at, at, PERSON))
            self.year.counts[site.name]["reported"] += 1
        if self.rng.random() < FRAMES_PER_DAY * 600 / DAY_S:  # a random frame in the ten minutes that it stays
            self._keep_frame(site.name, bear=True)

    def _alarm(self, name: str, *, bear: bool) -> None:
        id_ = self.rng.bytes(16).hex()
        stage = self.publishers[name].stage
        more: dict[str, Any] = {"label": LABELS[0], "score": 0.9, "model": self.model, "stage": stage}
        event = self.run.event("bear", "new", id_, name, **more)
        folder = visit_folder(self.evidence, name, self.now, id_)
        folder.mkdir(parents=True)
        (folder / "event.json").write_text(event.to_json())
        alarm = Alarm(event, bear, folder)
        self.year.alarms[name].append(alarm)
        self.publish(event)
        if question := self.confirmations.of_event(id_):
            self._answer(name, question.token, bear=bear)
        self.publish(self.run.event("bear", "end", id_, name, **more))

    def _answer(self, name: str, token: str, *, bear: bool) -> None:
        counts = self.year.counts[name]
        counts["asked"] += 1
        if self.rng.random() < self.habits.answers:
            self.now += timedelta(seconds=15)
            self.confirmations.answer(token, "yes" if bear else "no", PERSON)
            counts["answered"] += 1
        else:
            self.now += timedelta(seconds=self.confirmations.answer_s + 1)
            self.confirmations.tick()

    def _noise(self, event: Event) -> None:
        """Make a noise, where the event is an alarm: in place of siren and relay."""
        if event.alarms and event.kind == "bear":
            self.year.alarms[event.camera][-1].noisy = True

    def _keep_frame(self, name: str, *, bear: bool = False) -> None:
        path = sample_path(self.evidence, name, self.now, int(self.rng.integers(1 << 16)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._frames.append((path, bear))

    def _evening(self) -> None:
        """Review what waits; choose the stages that are offered."""
        person = self.year.counts["person"]
        person["evenings"] += 1
        for alarm in (each for alarms in self.year.alarms.values() for each in alarms if each.said is None):
            review = self._review(bear=alarm.bear)
            write_review(alarm.folder, review)
            pass_on(self.state, [alarm.event.id], review)
            alarm.said = review.verdict
            person["alarms reviewed"] += 1
        seen = self._frames[-self.habits.frames :]
        self._frames = self._frames[: -self.habits.frames]
        for path, bear in seen:
            write_review(path, self._review(bear=bear))
            person["frames reviewed"] += 1
        self.rollout._counted = None  # ten minutes have passed: random frames are counted too
        self._look()
        for name in self.sites:
            stands = self.rollout.standing(name)
            tired = stands.entry.stage == "shadow" and (self.now - stands.since).days > self.habits.patience_days
            if stands.progress.next and (stands.progress.ready or tired):
                self.rollout.choose(name, stands.progress.next, PERSON)
                self.year.lines.append(Line(self.now, name, "chosen", stands.progress.next))
                person["stages chosen"] += 1
        self._look()

    def _review(self, *, bear: bool) -> Review:
        dice = self.rng.random()
        if dice < self.habits.unsure:
            return Review("unsure", utc_text(self.now), by=PERSON)
        right = dice < 1 - self.habits.careless
        return Review("confirmed" if bear == right else "wrong", utc_text(self.now), by=PERSON)


class Weather:
    """The daily figures of one camera: a level, a season, and weather that stays for some days."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._now = dict.fromkeys(USUAL, 0.0)

    def figures(self, at: datetime, *, night: bool) -> dict[str, float]:
        """Return the figures of one day or night, by name."""
        summer = math.cos(2 * math.pi * (at.timetuple().tm_yday - 196) / 365)
        found = {}
        for name, (by_day, at_night, spread, seasonal) in USUAL.items():
            self._now[name] = STAYS * self._now[name] + math.sqrt(1 - STAYS**2) * self._rng.normal()
            found[name] = (at_night if night else by_day) + spread * self._now[name] + seasonal * summer
        return found


def change(figures: dict[str, float], happenings: Sequence[Happening], day: int, wiped: int | None) -> None:
    """Change the figures of a day by what has happened; ``wiped``: the day on which the lens was wiped last."""
    for each in happenings:
        lasts = each.day <= day < each.day + each.days
        if each.what == "dirt" and day >= each.day and not (wiped and each.day < wiped <= day):
            share = min((day - each.day + 1) / each.days, 1.0)
            figures["brightness"] += share * math.log(0.8)
            figures["sharpness"] += share * math.log(0.6)
        elif each.what == "snow" and lasts:
            figures["brightness"] += 0.4
        elif each.what == "dogs" and lasts:
            figures["busy"] += 0.5
        elif each.what == "model" and day >= each.day:
            figures["bear"] += 0.5


def day_with(figures: dict[str, float], model: str) -> Day:
    """Return a day of ten hours with these figures."""
    views, hours = 100, 10
    busy = max(round(hours * math.expm1(figures["busy"])), 0)
    sums: dict[str, Any] = {name: busy * figures[name] for name in ("bear", "ood", "size")}
    sums |= {name: views * figures[name] for name in ("brightness", "sharpness")}
    return Day(model, watched_s=hours * 3600.0, busy=busy, views=views, sharp_views=views, **sums)


def _watcher(publisher: EventPublisher) -> Watcher:
    rule = Rule(threshold=0.5, still_threshold=0.5)
    return Watcher(_Unused(), rule, publisher, camera_check=CameraCheck(), scan=lambda picture: [])


class _Unused:
    """A scorer that no frame reaches."""

    def score(self, image: Picture, regions: Sequence[Region]) -> list[Score]:
        return []


def _settle(worker: Worker[None]) -> None:
    """Wait until a worker has done what it was asked."""
    while worker._waiting or worker._busy:
        time.sleep(0.0002)


class _Factory(EventFactory):
    """The factory of events with the simulated clock."""

    def __init__(self, wall: Callable[[], datetime]) -> None:
        super().__init__(clock_synced=lambda: True)
        self._wall = wall

    def event(
        self, kind: EventKind, type_: EventType, id_: str, camera: str, wall: datetime | None = None, **more: Any
    ) -> Event:
        return super().event(kind, type_, id_, camera, wall or self._wall(), **more)


def season(at: datetime) -> float:
    """Return how many bears are about, 0 to 1: none from December to mid-March, most in late July."""
    return max(0.0, math.sin(math.pi * (at.timetuple().tm_yday - 74) / 260))
