"""Stages while the alarm runs: ``Rollout`` keeps each camera's in the journal, and notifies of each move."""

from __future__ import annotations

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
from edge.record.days import FIRST_DAY
from edge.record.stage_log import (
    count_frames,
    count_reviews,
    newest_rows,
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

LOOK_S = 2.0  # how often the journal is asked for what people chose elsewhere
COUNT_S = 600.0  # how often reviews of random frames are counted; those of alarms as soon as they come
COUNT_WITHIN_S = 30.0  # evidence may lie on a disk that hangs, which must not hold up the stages
START_S = 5.0  # what the journal may take at the start
WRITE_S = 10.0  # an entry that is not in the journal after so long is a problem
NO_CLOCK_DAYS = 400  # in shadow for longer by a clock that is not synchronised: it is wrong
EARNED = "has earned the stage"
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


def place_of(camera: Camera, model: str, *, tested: bool = False) -> Place:
    """Return how a camera of a config is watched now."""
    return Place(camera.name, shown(camera.source), camera.stage or "", camera.stage_lock, model, tested)


def standing_of(history: Sequence[StageEntry], place: Place, tally: Tally, goal: Goal, now: datetime) -> Standing:
    """Return the standing of a camera by its entries, the oldest first, and its reviews."""
    entry = history[-1]
    return Standing(
        entry, since(history), place.locked, tally, progress(entry.stage, tally, goal), reminds_at(history, now)
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The journal's entries of the cameras at the start."""

    stages: dict[str, list[StageEntry]]
    watched: set[str]  # cameras that have events and no stages
    said: dict[str, set[str]]  # notices of the present stage


class Rollout:
    """The stages of the cameras that have any: those of a config. For any thread; only ``look`` waits for the disk.

    ``publishers``: of each camera; its ``stage`` is set here. ``tested``: the model was tried here for long before it
    was used. ``publish`` takes the notices. ``evidence``: the folder of random frames; None: none are kept. A journal
    that cannot be read or written is a ``problem``: until it can be read, the stages of the config hold; until it can
    be written, entries wait in memory. ``before``: that of the alarm that a reload has ended in this process; its
    stages go on.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        publishers: Mapping[str, EventPublisher],
        *,
        model: str,
        tested: bool = False,
        folder: Path,
        evidence: Path | None,
        goal: Goal,
        alarm_labels: Collection[str],
        run: EventFactory,
        publish: Callable[[Event], None],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        before: Rollout | None = None,
    ) -> None:
        self._places = {each.name: place_of(each, model, tested=tested) for each in cameras if each.stage is not None}
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
        self._notifying = threading.Lock()
        self._unread = set(self._places)  # cameras whose entries in the journal are not known yet
        self._history: dict[str, list[StageEntry]] = {}
        self._last: dict[str, StageEntry | None] = {}  # the newest in the journal
        self._unwritten: dict[StageEntry, float] = {}  # since when, time.monotonic()
        self._tallies: dict[str, Tally] = {}
        self._notices: list[tuple[str, str]] = []  # camera and words, until they are published
        self._said: dict[str, set[str]] = {name: set() for name in self._places}  # in the present stage
        self._counted: float | None = None  # time.monotonic()
        self._read: tuple[int, int] | None = None  # the journal's file, and its newest stage that was read
        self._reviews = -1  # the row of the last that was counted
        self._problem: str | None = None
        self._looked: float | None = None
        self._closed = False
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
        with self._lock:
            newest = (self._history[name][-1] for name in sorted(self._unread))
            silent = [each.camera for each in newest if each.stage == "shadow" and not each.by]
            if silent:
                return f"{SHADOW} from {', '.join(silent)} until the journal can be read; {self._problem}"
            for entry, at in self._unwritten.items():
                if not self._problem and time.monotonic() - at > WRITE_S:
                    return f"the disk does not take the stage of camera {entry.camera} ({entry.stage}) into the journal"
            return self._problem or self._worker.problem()

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
            if self._closed:
                raise OptionError("the alarm starts again; try once more")
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
                file, stage, review = newest_rows(self._folder)
                if (file, stage) != self._read:
                    self._adopt(read_stages(self._folder))
                    self._read = file, stage
                self._write()
                self._problem = self._count(review)
            except (DiskError, OptionError, OSError) as error:
                self._read, self._reviews = None, -1
                self._problem = f"the stages of the cameras cannot be kept: {error}"
            self._remind()
            self._notify()

    def close(self, within_s: float) -> None:
        """Publish and write what waits, for at most so many seconds, and end."""
        with self._lock:
            self._closed = True
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
        found: _Found | None = None
        if self._places:
            try:
                found = call_with_deadline(self._ask, START_S, "stages")
            except (DiskError, DeadlineError, OSError) as error:
                self._problem = f"the stages of the cameras cannot be read, so those of the config hold: {error}"
        if before:  # after the disk's answer: whatever changed meanwhile is known there
            with before._lock:
                before._closed = True
                known = {name: list(found) for name, found in before._history.items() if name not in before._unread}
                self._last = {name: before._last.get(name) for name in known}
                self._said |= {name: set(words) for name, words in before._said.items()}
                self._unwritten = dict(before._unwritten)
                self._notices = list(before._notices)
        self._start(found, known)

    def _ask(self) -> _Found:
        stages = read_stages(self._folder)
        watched = {name for name in self._places if name not in stages and watched_before(self._folder, name)}
        said = {name: self._read_said(stages[name]) for name in self._places if name in stages}
        return _Found(stages, watched, said)

    def _read_said(self, history: Sequence[StageEntry]) -> set[str]:
        """Return the notices since a camera's stage began; those that offer the next one since its count began."""
        last = history[-1]
        said = read_notices(self._folder, last.camera, present(history)[-1].after)
        return {words for words in said if EARNED not in words} | read_notices(self._folder, last.camera, last.after)

    def _start(self, found: _Found | None, known: Mapping[str, list[StageEntry]]) -> None:
        """Begin with the cameras whose entries are not known yet; ``known``: those of the alarm before."""
        with self._lock:
            now = self._wall()
            stages = {**(found.stages if found else {}), **known}
            for name in sorted(self._unread):
                place = self._places[name]
                history = list(history_of(place, stages, self._places))
                first = not history
                move = begin(history, place, now, NOT_YET, watched_before=bool(found and name in found.watched))
                meanwhile: list[StageEntry] = []
                if name not in known:
                    # What the alarm itself took meanwhile began in a stage that was not the camera's.
                    meanwhile = [each for each in self._unwritten if each.camera == name and each.by]
                    self._unwritten = {each: at for each, at in self._unwritten.items() if each.camera != name}
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
                    if first and not meanwhile and history[-1].stage == "shadow":
                        self._tell_once(name, f"camera {name} begins in {self.standing(name).words}")
                for each in meanwhile:
                    self._take(Move(each))
                self._apply(name)

    def _take(self, move: Move) -> None:
        """Let a move hold, and have it written and published."""
        entry = replace(move.entry, at=move.entry.at.replace(microsecond=move.entry.at.microsecond // 1000 * 1000))
        self._history[entry.camera].append(entry)
        self._unwritten[entry] = time.monotonic()
        if move.notice:
            self._notices.append((entry.camera, move.notice))
        self._begin_again(entry.camera)

    def _begin_again(self, name: str) -> None:
        self._tallies.pop(name, None)
        self._reviews = -1
        history = self._history[name]
        if len(present(history)) == 1:
            self._said[name].clear()
        elif history[-2].after != history[-1].after:
            self._said[name] = {words for words in self._said[name] if EARNED not in words}
        self._apply(name)

    def _apply(self, name: str) -> None:
        if publisher := self._publishers.get(name):
            publisher.stage = self._history[name][-1].stage

    def _notify(self) -> None:
        with self._notifying:  # until they are published: nobody else goes on as if they were
            with self._lock:
                notices, self._notices = self._notices, []
            for camera, words in notices:
                self._publish(self._run.event("notice", "new", uuid.uuid4().hex, camera, label="stage", detail=words))

    def _write(self) -> None:
        """Write what is not written yet; its notices first, for a kill between the two must not hide a move."""
        while True:
            with self._lock:
                if not self._unwritten:
                    return
                entry = next(iter(self._unwritten))
            self._notify()
            kept = write_stage(self._folder, entry)
            self._read = None  # a new journal may have the number of the file before
            with self._lock:
                self._reviews = -1  # from now on they can be counted
                self._unwritten.pop(entry, None)
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
                        self._unwritten[history[-1]] = time.monotonic()
                elif there[-1] != last and not any(replace(there[-1], after=each.after) == each for each in waiting):
                    stage = history[-1].stage
                    # The alarm's own moves began in a stage that is over; what people chose here comes later.
                    for each in waiting:
                        if not each.by:
                            del self._unwritten[each]
                    history[:] = [*there, *(each for each in waiting if each.by)]
                    self._last[name] = there[-1]
                    entry = history[-1]
                    if entry.stage != stage:
                        words = f"camera {name} is {entry.stage} now, {entry.why}: {MEANS[entry.stage]}"
                        self._notices.append((name, words))
                    self._begin_again(name)

    def _count(self, newest: int) -> str | None:
        """Count reviews where there are new ones; take a stage away, or offer the next, as they show.

        ``newest``: the row of the newest review. Alarms go first, for evidence may hang: return why it cannot be read.
        """
        now = time.monotonic()
        if newest == self._reviews and self._counted is not None and now - self._counted < COUNT_S:
            return self._problem  # of the frames
        self._reviews, self._counted = newest, now  # first: what is taken meanwhile has them counted again
        with self._lock:
            entries = {name: history[-1] for name, history in self._history.items()}
        wall, problem = self._wall(), None
        counted = [(each, self._count_alarms(each, wall)) for each in entries.values() if each.after != NOT_YET]
        self._write()
        for entry, tally in counted:
            if self._evidence:
                count = partial(count_frames, self._evidence, tally, entry, wall, self._alarm_labels)
                try:
                    tally = self._counting(count, COUNT_WITHIN_S)
                except (DeadlineError, OSError) as error:
                    problem = f"random frames cannot be counted: {error}"
                    self._counted = now - COUNT_S + COUNT_WITHIN_S  # then again
                    continue
            with self._lock:
                if self._history[entry.camera][-1] != entry:
                    continue
                self._tallies[entry.camera] = tally
                way = progress(entry.stage, tally, self._goal)
                if way.ready:
                    words = f"camera {entry.camera} {EARNED} {way.next}; choose it on the page, or leave it"
                    self._tell_once(entry.camera, words)
        return problem

    def _count_alarms(self, entry: StageEntry, wall: datetime) -> Tally:
        """Count the reviews of one camera's alarms, and take its stage away as they show."""
        tally = count_reviews(self._folder, None, entry, wall, self._alarm_labels)
        with self._lock:
            if self._history[entry.camera][-1] == entry:
                frames = self._tallies.get(entry.camera, Tally())
                self._tallies[entry.camera] = replace(
                    tally, frames=frames.frames, missed=frames.missed, reported=frames.reported
                )
                locked = self._places[entry.camera].locked
                if move := wrong_alarms(entry, tally, self._goal, wall, NOT_YET, locked=locked):
                    self._take(move)
        return tally

    def _remind(self) -> None:
        synced = self._run.clock_synced()
        with self._lock:
            for name, history in self._history.items():
                now = self._wall()
                if synced and (move := clock_ahead(history[-1], now)):
                    self._take(move)
                lasted = now - since(history)
                wrong = synced is False and (now.date() < FIRST_DAY or lasted > timedelta(days=NO_CLOCK_DAYS))
                if history[-1].stage == "shadow" and lasted >= timedelta(days=REMIND_DAYS) and not wrong:
                    self._tell_once(name, f"camera {name} is still in {self.standing(name).words}")

    def _tell_once(self, name: str, words: str) -> None:
        """Notify once in a stage, also over restarts."""
        if words not in self._said[name]:
            self._said[name].add(words)
            self._notices.append((name, words))
