"""Stages while the alarm runs: ``Rollout`` keeps each camera's in the journal, and notifies of each move."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.background import DeadlineError, DeadlineExecutor, Worker, call_with_deadline
from edge.camera import shown
from edge.decide.stages import (
    MEANS,
    NOT_YET,
    REMIND_DAYS,
    Goal,
    Move,
    Place,
    Progress,
    StageEntry,
    Tally,
    begin,
    chosen,
    clock_ahead,
    history_of,
    moved_camera,
    present,
    progress,
    reminds_at,
    since,
    stage_of,
    wrong_alarms,
)
from edge.errors import OptionError
from edge.record.database import DiskError
from edge.record.stage_log import (
    count_reviews,
    newest_review,
    read_notices,
    read_stages,
    watched_before,
    write_stage,
)

if TYPE_CHECKING:
    from edge.alert.events import EventPublisher
    from edge.record.run import EventFactory
    from edge.schema import Event
    from edge.settings import Camera

log = logging.getLogger(__name__)

LOOK_S = 2.0  # how often the journal is asked for what people chose elsewhere
COUNT_S = 600.0  # how often reviews of random frames are counted; those of alarms as soon as they come
COUNT_WITHIN_S = 30.0  # evidence may lie on a disk that hangs, which must not hold up the stages
START_S = 5.0  # what the journal may take at the start
SHADOW = "SHADOW: no bear alarm will reach anyone"


@dataclass(frozen=True, slots=True)
class Standing:
    """One camera's stage now, and its way to the next."""

    entry: StageEntry
    since: datetime  # UTC
    locked: bool
    tally: Tally
    progress: Progress
    reminds_at: datetime | None  # in shadow

    @property
    def words(self) -> str:
        """Return what the stage means, in one sentence without a full stop."""
        if self.reminds_at:
            at = self.reminds_at.astimezone()
            return f"{SHADOW}; you are reminded on {at.day} {at:%B %Y}"
        return f"{self.entry.stage}: {MEANS[self.entry.stage]}"


def place_of(camera: Camera, model: str) -> Place:
    """Return how a camera of a config is watched now."""
    return Place(camera.name, shown(camera.source), camera.stage or "", camera.stage_lock, model)


def standing_of(history: Sequence[StageEntry], place: Place, tally: Tally, goal: Goal, now: datetime) -> Standing:
    """Return the standing of a camera by its entries, the oldest first, and its reviews."""
    entry = history[-1]
    return Standing(
        entry, since(history), place.locked, tally, progress(entry.stage, tally, goal), reminds_at(history, now)
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What the journal has of the cameras at the start."""

    stages: dict[str, list[StageEntry]]
    watched: set[str]  # cameras that have events and no stages
    said: dict[str, set[str]]  # notices of the present stage


class Rollout:
    """The stages of the cameras that have any: those of a config. For any thread; only ``look`` waits for the disk.

    ``publishers``: of each camera; its ``stage`` is set here. ``publish`` takes the notices. ``evidence``: the folder
    of random frames; None: none are kept. A journal that cannot be read or written is a ``problem``: until it can be
    read, the stages of the config hold; until it can be written, entries wait in memory. ``before``: that of the alarm
    that a reload has ended in this process; its stages go on.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        publishers: Mapping[str, EventPublisher],
        *,
        model: str,
        folder: Path,
        evidence: Path | None,
        goal: Goal,
        alarm_labels: Collection[str],
        run: EventFactory,
        publish: Callable[[Event], None],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        before: Rollout | None = None,
    ) -> None:
        self._places = {each.name: place_of(each, model) for each in cameras if each.stage is not None}
        self._publishers = publishers
        self._folder = folder
        self._evidence = evidence
        self._goal = goal
        self._alarm_labels = alarm_labels
        self._run = run
        self._publish = publish
        self._wall = wall
        self._lock = threading.RLock()
        self._looking = threading.Lock()
        self._unread = set(self._places)  # cameras whose entries in the journal are not known yet
        self._history: dict[str, list[StageEntry]] = {}
        self._last: dict[str, StageEntry | None] = {}  # the newest in the journal
        self._unwritten: list[StageEntry] = []
        self._tallies: dict[str, Tally] = {}
        self._notices: list[tuple[str, str]] = []  # camera and words, until they are published
        self._said: dict[str, set[str]] = {name: set() for name in self._places}  # in the present stage
        self._counted: float | None = None  # time.monotonic()
        self._reviews = -1  # the row of the last that was counted
        self._problem: str | None = None
        self._looked: float | None = None
        self._begin(before)
        self._counting = DeadlineExecutor("the evidence")
        self._asked = False  # to look; the worker has not begun yet
        # No deadline: a call that hangs in the disk must not be overtaken by the next one.
        self._worker: Worker[None] = Worker(lambda _, __: self._look_as_asked(), "stages")

    @property
    def cameras(self) -> list[str]:
        """Return the names of the cameras that have stages."""
        return list(self._places)

    def problem(self) -> str | None:
        """Return why stages cannot be read or kept; None: all is well."""
        return self._problem

    def standing(self, camera: str) -> Standing:
        """Return how a camera stands. Raises OptionError for one that has no stages."""
        with self._lock:
            if camera not in self._places:
                raise OptionError(f"camera {camera!r} has no stages; those that have: {', '.join(self._places) or '-'}")
            tally = self._tallies.get(camera, Tally())
            return standing_of(self._history[camera], self._places[camera], tally, self._goal, self._wall())

    def history(self, camera: str) -> list[StageEntry]:
        """Return the beginnings of a camera's stages, the oldest first; none for one that has no stages."""
        with self._lock:
            return list(self._history.get(camera, ()))

    def choose(self, camera: str, stage: str, by: str) -> None:
        """Move a camera to a stage, as a person wants it; it holds at once. Raises OptionError."""
        found = stage_of(stage)
        if found is None:
            raise OptionError(f"stage {stage!r} is none of shadow, supervised, autonomous; give one of them")
        with self._lock:
            last = self.standing(camera).entry
            if last.stage != found:
                self._take(chosen(last, found, by, self._wall(), NOT_YET))
        self._ask_to_look()

    def take_event(self, event: Event) -> None:
        """Look at an event on its way: a camera that shows another view begins again. Returns at once."""
        if event.kind == "camera" and event.label == "moved" and event.type == "new" and event.camera in self._places:
            with self._lock:
                last, locked = self._history[event.camera][-1], self._places[event.camera].locked
                self._take(moved_camera(last, self._wall(), NOT_YET, locked=locked))
            self._ask_to_look()

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        self._notify()
        if self._places and (self._looked is None or now - self._looked >= LOOK_S):
            self._looked = now
            self._ask_to_look()

    def look(self) -> None:
        """Read what people chose elsewhere, write what is not written yet, count reviews, and remind."""
        with self._looking:
            try:
                if self._unread:
                    self._start(self._ask(), {})
                self._adopt(read_stages(self._folder))
                self._write()
                self._count()
                self._problem = None
            except (DiskError, DeadlineError, OptionError, OSError) as error:
                self._reviews = -1
                self._problem = f"the stages of the cameras cannot be kept: {error}"
            self._remind()
            self._notify()

    def close(self, within_s: float) -> None:
        """Publish and write what waits, for at most so many seconds, and end."""
        self._notify()
        if self._places:
            self._ask_to_look()
        self._worker.close(within_s)
        self._counting.close()

    def _ask_to_look(self) -> None:
        with self._lock:
            asked, self._asked = self._asked, True
        if not asked:
            self._worker(None)

    def _look_as_asked(self) -> None:
        self._asked = False
        self.look()

    def _begin(self, before: Rollout | None) -> None:
        """Find each camera's stage in the alarm before, else in the journal, else in the config."""
        known: dict[str, list[StageEntry]] = {}
        if before:
            with before._lock:
                known = {name: list(found) for name, found in before._history.items() if name not in before._unread}
                self._last = {name: before._last.get(name) for name in known}
                self._said |= {name: set(words) for name, words in before._said.items()}
                self._unwritten = list(before._unwritten)
                self._notices = list(before._notices)
        found: _Found | None = None
        if self._places:
            try:
                found = call_with_deadline(self._ask, START_S, "stages")
            except (DiskError, DeadlineError, OSError) as error:
                self._problem = f"the stages of the cameras cannot be read, so those of the config hold: {error}"
        self._start(found, known)

    def _ask(self) -> _Found:
        stages = read_stages(self._folder)
        watched = {name for name in self._places if name not in stages and watched_before(self._folder, name)}
        said = {
            name: read_notices(self._folder, name, present(stages[name])[-1].after)
            for name in self._places
            if name in stages
        }
        return _Found(stages, watched, said)

    def _start(self, found: _Found | None, known: Mapping[str, list[StageEntry]]) -> None:
        """Begin with the cameras whose entries are not known yet; ``known``: those of the alarm before."""
        with self._lock:
            now = self._wall()
            stages = {**(found.stages if found else {}), **known}
            for name in sorted(self._unread):
                place = self._places[name]
                history = list(history_of(place, stages, self._places))
                move = begin(history, place, now, NOT_YET, watched_before=bool(found and name in found.watched))
                meanwhile: list[StageEntry] = []
                if name not in known:
                    # What the alarm itself took meanwhile began in a stage that was not the camera's.
                    meanwhile = [each for each in self._unwritten if each.camera == name and each.by]
                    self._unwritten = [each for each in self._unwritten if each.camera != name]
                self._history[name] = history
                if not (history or found) and move:  # it may have entries
                    history.append(move.entry)
                else:
                    self._unread.discard(name)
                    if found and name not in known:
                        self._last[name] = found.stages.get(name, [None])[-1]
                        self._said[name] = found.said.get(name, set())
                    if move:
                        self._take(move)
                for each in meanwhile:
                    self._take(Move(each))
                self._apply(name)

    def _take(self, move: Move) -> None:
        """Let a move hold, and have it written and published."""
        entry = replace(move.entry, at=move.entry.at.replace(microsecond=move.entry.at.microsecond // 1000 * 1000))
        self._history[entry.camera].append(entry)
        self._unwritten.append(entry)
        if move.notice:
            self._notices.append((entry.camera, move.notice))
        self._begin_again(entry.camera)

    def _begin_again(self, name: str) -> None:
        self._tallies.pop(name, None)
        self._reviews = -1
        if len(present(self._history[name])) == 1:
            self._said[name].clear()
        self._apply(name)

    def _apply(self, name: str) -> None:
        if publisher := self._publishers.get(name):
            publisher.stage = self._history[name][-1].stage

    def _notify(self) -> None:
        with self._lock:
            notices, self._notices = self._notices, []
        for camera, words in notices:
            self._publish(self._run.event("notice", "new", uuid.uuid4().hex, camera, label="stage", detail=words))

    def _write(self) -> None:
        """Write what is not written yet; its notices first, for a kill between the two must not hide a move."""
        self._notify()
        while True:
            with self._lock:
                if not self._unwritten:
                    return
                entry = self._unwritten[0]
            kept = write_stage(self._folder, entry)
            with self._lock:
                self._unwritten.remove(entry)
                self._last[entry.camera] = kept
                history = self._history.get(entry.camera, [])
                history[:] = [kept if each == entry else each for each in history]

    def _adopt(self, found: Mapping[str, Sequence[StageEntry]]) -> None:
        """Take over what people chose elsewhere; have written again what a journal that was replaced does not have."""
        with self._lock:
            for name, history in self._history.items():
                there, last = found.get(name, ()), self._last.get(name)
                waiting = [each for each in self._unwritten if each.camera == name]
                if not there or (last and last not in there):
                    if not waiting:
                        self._unwritten.append(history[-1])
                elif there[-1] != last and not any(replace(there[-1], after=each.after) == each for each in waiting):
                    stage = history[-1].stage
                    # The alarm's own moves began in a stage that is over; what people chose here comes later.
                    self._unwritten = [each for each in self._unwritten if each not in waiting or each.by]
                    history[:] = [*there, *(each for each in waiting if each.by)]
                    self._last[name] = there[-1]
                    entry = history[-1]
                    if entry.stage != stage:
                        words = f"camera {name} is {entry.stage} now, {entry.why}: {MEANS[entry.stage]}"
                        self._notices.append((name, words))
                    self._begin_again(name)

    def _count(self) -> None:
        """Count reviews where there are new ones; take a stage away, or offer the next, as they show."""
        now, newest = time.monotonic(), newest_review(self._folder)
        if newest == self._reviews and self._counted is not None and now - self._counted < COUNT_S:
            return
        self._reviews, self._counted = newest, now  # first: what is taken meanwhile has them counted again
        with self._lock:
            entries = {name: history[-1] for name, history in self._history.items()}
        for name, entry in entries.items():
            if entry.after == NOT_YET:
                continue
            wall = self._wall()
            count = partial(count_reviews, self._folder, self._evidence, entry, wall, self._alarm_labels)
            tally = self._counting(count, COUNT_WITHIN_S)
            with self._lock:
                if self._history[name][-1] != entry:
                    continue
                self._tallies[name] = tally
                locked = self._places[name].locked
                if move := wrong_alarms(entry, tally, self._goal, wall, NOT_YET, locked=locked):
                    self._take(move)
                    continue
                way = progress(entry.stage, tally, self._goal)
                if way.ready:
                    words = f"camera {name} has earned the stage {way.next}; choose it on the page, or leave it"
                    self._tell_once(name, words)
        self._write()

    def _remind(self) -> None:
        with self._lock:
            for name, history in self._history.items():
                now = self._wall()
                if self._run.clock_synced() and (move := clock_ahead(history[-1], now)):
                    self._take(move)
                if history[-1].stage == "shadow" and now - since(history) >= timedelta(days=REMIND_DAYS):
                    self._tell_once(name, f"camera {name} is still in {self.standing(name).words}")

    def _tell_once(self, name: str, words: str) -> None:
        """Notify once in a stage, also over restarts."""
        if words not in self._said[name]:
            self._said[name].add(words)
            self._notices.append((name, words))
