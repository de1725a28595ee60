"""Stages while the alarm runs: ``Rollout`` keeps each camera's in the journal, and notifies of each move."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from edge.background import DeadlineError, Worker, call_with_deadline
from edge.camera import shown
from edge.decide.stages import (
    MEANS,
    REMIND_DAYS,
    Goal,
    Move,
    Place,
    Progress,
    StageEntry,
    Tally,
    begin,
    chosen,
    moved_camera,
    progress,
    reminds_at,
    since,
    stage_of,
    wrong_alarms,
)
from edge.errors import OptionError
from edge.record.database import DiskError
from edge.record.stage_log import count_reviews, newest_event, newest_review, read_stages, watched_before, write_stage

if TYPE_CHECKING:
    from edge.alert.events import EventPublisher
    from edge.record.run import EventFactory
    from edge.schema import Event
    from edge.settings import Camera

log = logging.getLogger(__name__)

LOOK_S = 2.0  # how often the journal is asked for what people chose elsewhere
COUNT_S = 600.0  # how often reviews of random frames are counted; those of alarms as soon as they come
START_S = 5.0  # what the journal may take at the start
NOT_YET = -1  # in place of the newest event's row, until the entry is written
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
            return f"{SHADOW}; you are reminded on {self.reminds_at.astimezone():%-d %B %Y}"
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


class Rollout:
    """The stages of the cameras that have any: those of a config. For any thread; ``start`` and ``tick`` never wait.

    ``publishers``: of each camera; its ``stage`` is set here. ``publish`` takes the notices. ``evidence``: the folder
    of random frames; None: none are kept. A journal that cannot be read or written is a ``problem``; then the stages
    of the config hold, or what people chose holds until the end of the process.
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
        self._history: dict[str, list[StageEntry]] = {}
        self._tallies: dict[str, Tally] = {}
        self._unwritten: list[StageEntry] = []
        self._notices: list[tuple[str, str]] = []  # camera and words, until they are published
        self._offered: set[str] = set()  # cameras whose next stage was offered
        self._reminded: dict[str, datetime | None] = {}  # for when people were reminded last
        self._counted: float | None = None  # time.monotonic()
        self._reviews = -1  # the row of the last that was counted
        self._problem: str | None = None
        self._looked: float | None = None
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "stages", depth=1, deadline_s=60.0)
        self._begin()

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
        self._worker(None)

    def take_event(self, event: Event) -> None:
        """Look at an event on its way: a camera that shows another view begins again. Returns at once."""
        if event.kind == "camera" and event.label == "moved" and event.type == "new" and event.camera in self._places:
            with self._lock:
                last, locked = self._history[event.camera][-1], self._places[event.camera].locked
                self._take(moved_camera(last, self._wall(), NOT_YET, locked=locked))
            self._worker(None)

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        with self._lock:
            notices, self._notices = self._notices, []
        for camera, words in notices:
            self._publish(self._run.event("notice", "new", uuid.uuid4().hex, camera, label="stage", detail=words))
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self._worker(None)

    def look(self) -> None:
        """Write what is not written yet, read what people chose elsewhere, count reviews, and remind."""
        try:
            self._write()
            self._read()
            self._count()
            self._problem = None
        except (DiskError, OptionError, OSError) as error:
            self._problem = f"the stages of the cameras cannot be kept: {error}"
        self._remind()

    def close(self, within_s: float) -> None:
        """Write what is not written yet, and end."""
        self._worker(None)
        self._worker.close(within_s)

    def _begin(self) -> None:
        """Find each camera's stage in the journal, else in the config."""
        found: dict[str, list[StageEntry]] = {}
        before: set[str] = set()
        newest = 0

        def read() -> None:
            nonlocal newest
            found.update(read_stages(self._folder))
            newest = newest_event(self._folder)
            before.update(name for name in self._places if name not in found and watched_before(self._folder, name))

        try:
            call_with_deadline(read, START_S, "stages")
        except (DiskError, DeadlineError, OSError) as error:
            self._problem = f"the stages of the cameras cannot be read, so those of the config hold: {error}"
        now = self._wall()
        for name, place in self._places.items():
            gone = [history[-1] for other, history in found.items() if other not in self._places]
            renamed = next((entry for entry in gone if place.source and entry.source == place.source), None)
            history = found.get(name, [])
            self._history[name] = list(history)
            move = begin(
                history, place, now, newest, renamed=None if history else renamed, watched_before=name in before
            )
            if move:
                self._take(move)
            self._apply(name)
            self._reminded[name] = self._due(name)  # a restart reminds nobody again

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
        self._offered.discard(name)
        self._reviews = -1
        self._apply(name)

    def _apply(self, name: str) -> None:
        if publisher := self._publishers.get(name):
            publisher.stage = self._history[name][-1].stage

    def _write(self) -> None:
        while self._unwritten:
            with self._lock:
                entry = self._unwritten[0]
            whole = replace(entry, after=newest_event(self._folder)) if entry.after == NOT_YET else entry
            write_stage(self._folder, whole)
            with self._lock:
                history = self._history[entry.camera]
                history[history.index(entry)] = whole
                del self._unwritten[0]

    def _read(self) -> None:
        """Take over what people chose elsewhere; write again what a journal that was replaced does not have."""
        found = read_stages(self._folder)
        with self._lock:
            if self._unwritten:
                return
            for name, history in self._history.items():
                there, last = found.get(name, []), history[-1]
                if last not in there:
                    self._unwritten.append(last)
                elif there[-1] != last:
                    history[:] = there
                    entry = there[-1]
                    words = f"camera {name} is {entry.stage} now, {entry.why}: {MEANS[entry.stage]}"
                    self._notices.append((name, words))
                    self._begin_again(name)

    def _count(self) -> None:
        """Count reviews where there are new ones; take a stage away, or offer the next, as they show."""
        now, newest = time.monotonic(), newest_review(self._folder)
        if newest == self._reviews and self._counted is not None and now - self._counted < COUNT_S:
            return
        with self._lock:
            entries = {name: history[-1] for name, history in self._history.items()}
        for name, entry in entries.items():
            if entry.after == NOT_YET:
                continue
            wall = self._wall()
            tally = count_reviews(self._folder, self._evidence, entry, wall, self._alarm_labels)
            with self._lock:
                if self._history[name][-1] != entry:
                    continue
                self._tallies[name] = tally
                locked = self._places[name].locked
                if move := wrong_alarms(entry, tally, self._goal, wall, NOT_YET, locked=locked):
                    self._take(move)
                    continue
                way = progress(entry.stage, tally, self._goal)
                if way.ready and name not in self._offered:
                    self._offered.add(name)
                    words = f"camera {name} has earned the stage {way.next}; choose it on the page, or leave it"
                    self._notices.append((name, words))
        self._reviews, self._counted = newest, now

    def _due(self, name: str) -> datetime | None:
        """Return when people were last to be reminded of a camera in shadow; None: never yet."""
        with self._lock:
            history = self._history[name]
            at = reminds_at(history, self._wall())
            due = at and at - timedelta(days=REMIND_DAYS)
            return due if due and due > since(history) else None

    def _remind(self) -> None:
        for name in self._places:
            due = self._due(name)
            if due and due != self._reminded.get(name):
                self._notices.append((name, f"camera {name} is still in {self.standing(name).words}"))
            self._reminded[name] = due
