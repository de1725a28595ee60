"""The queue of what waits for a review: alarms and random frames, mixed so that nobody can see which is which.

It is held in memory. A refresh lists names in the evidence folder and opens only what is new. Alarms come newest first,
and those of one spot that look alike come together. Random frames never do: a bear in one of them may be small.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from edge.decide.repeat_alarms import SAME_SPOT_IOU, Thumbnail, alike, thumbnail
from edge.detect.tracker import iou
from edge.errors import OptionError
from edge.record.clip import note_in
from edge.record.event_words import REVIEWED, review_text
from edge.record.media_store import PLAIN, SAMPLE, units
from edge.record.review import Review, pass_on, read_review, review_path, take_back, write_review
from edge.schema import BoxXYWH, Event

log = logging.getLogger(__name__)

CROP = "crop.jpg"
PICTURES = (PLAIN, "full.jpg", CROP, "alarm.jpg")  # the first that is there is shown; only the last has boxes on it
REFRESH_S = 5.0
FRAMES = 0.25  # the share of random frames while both kinds wait
MAX_ALIKE = 100  # are compared with one alarm: each costs some 5 ms once
MAX_UNDO = 100  # decisions of one session
MAX_SESSIONS = 50  # the oldest go
BEARS = ("brown_bear", "black_bear", "polar_bear")
WHOLE: BoxXYWH = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Unit:
    """One alarm, or one random frame, that waits for a review."""

    path: Path  # the event's folder, or the frame's file
    picture: Path
    camera: str
    box_xywh: BoxXYWH | None  # of the alarm, or of what looked most like a bear; fractions of the frame
    event: str | None  # its id; None for a random frame
    said: str  # what the alarm took it for: "brown bear 0.93"

    @cached_property
    def key(self) -> str:
        """Return its name on the page, which does not give away what it is."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]

    @property
    def at(self) -> datetime:
        """Return when it was, UTC, by its name."""
        return datetime.strptime(self.path.parent.name + self.path.name[:6], "%Y-%m-%d%H%M%S").replace(tzinfo=UTC)

    @property
    def region(self) -> BoxXYWH | None:
        """Return the part of the picture to look at closely; None for all of it."""
        return None if self.picture.name == CROP else self.box_xywh


@dataclass
class Session:
    """Decisions of one person since the alarm was started."""

    done: list[tuple[Review, list[Unit]]] = field(default_factory=list)  # to be taken back, the last first
    skipped: set[str] = field(default_factory=set)  # keys of what could not be saved: they come last
    words: str = ""  # about the last of it
    failed: bool = False


class ReviewQueue:
    """The queue of one evidence folder, for any thread. ``state``: the folder of the journal.

    ``clock``: time.monotonic(). A folder that cannot be listed raises OSError.
    """

    def __init__(
        self,
        root: Path,
        state: Path,
        dice: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self._state = state
        self._dice = dice
        self._clock = clock
        self._lock = threading.RLock()
        self._refreshed: float | None = None
        self._waiting: dict[str, Unit] = {}  # by path, the newest first
        self._by_key: dict[str, Unit] = {}
        self._reviewed: dict[str, tuple[int, date]] = {}  # by path: the file's time in ns, the local day of the review
        self._thumbnails: dict[str, Thumbnail] = {}  # by path
        self._apart: set[str] = set()  # keys that are decided one by one
        self.open: Collection[str] = ()  # ids of events that still go on: decided one by one too
        self._sessions: dict[str, Session] = {}
        self._damaged: set[str] = set()  # that were logged

    def session(self, who: str) -> Session:
        """Return the session of that name, or a new one."""
        with self._lock:
            found = self._sessions.setdefault(who, Session())
            while len(self._sessions) > MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            return found

    def counts(self) -> tuple[int, int]:
        """Return how many wait, and how many were reviewed today."""
        with self._lock:
            self._refresh()
            today = datetime.now().astimezone().date()
            return len(self._waiting), sum(day == today for _, day in self._reviewed.values())

    def next(self, who: str, have: Collection[str] = ()) -> tuple[Unit, list[Unit]] | None:
        """Return what to review next, with the alarms that look the same; None where nothing waits.

        ``have``: keys of those on the way already.
        """
        with self._lock:
            self._refresh()
            session = self.session(who)
            taken = {each.key for key in have for each in self._with_alike(key)} | session.skipped
            rest = [unit for unit in self._waiting.values() if unit.key not in taken]
            if not rest and session.skipped and not have:
                session.skipped.clear()
                rest = list(self._waiting.values())
            alarm = next((unit for unit in rest if unit.event), None)
            frame = next((unit for unit in rest if not unit.event), None)
            first = frame if frame and (alarm is None or self._dice() < FRAMES) else alarm
            return (first, [each for each in self._alike(first) if each.key not in taken]) if first else None

    def of_event(self, id_: str) -> tuple[Unit, list[Unit]] | None:
        """Return an event as ``next`` does, if it waits; from now on it is decided alone."""
        with self._lock:
            self._refresh()
            unit = next((each for each in self._waiting.values() if each.event == id_), None)
            self._apart.update([unit.key] if unit else [])
            return (unit, []) if unit else None

    def find(self, key: str) -> Unit | None:
        """Return what waits under this key; None where its picture is gone, or it does not wait."""
        with self._lock:
            self._refresh()
            unit = self._by_key.get(key)
            if unit and not unit.picture.exists():
                self._forget(unit)
                return None
            return unit

    def apart(self, keys: Collection[str]) -> None:
        """Have these decided one by one."""
        with self._lock:
            self._apart.update(key for key in keys if key in self._by_key)

    def decide(self, who: str, keys: Sequence[str], review: Review) -> None:
        """Write the review of the first and of those that look the same; the session says in words how that went."""
        with self._lock:
            self._refresh()
            session, done, problem = self.session(who), list[Unit](), ""
            try:
                for key in keys:
                    unit = self._by_key.get(key)
                    if unit:
                        self._write(unit, review)
                        done.append(unit)
                    elif key == keys[0]:
                        raise OptionError("somebody else reviewed it meanwhile, or its pictures were deleted")
            except OptionError as error:
                session.skipped.update(keys[len(done) :])
                problem = str(error)
            said = _said(done, review)
            if done:
                session.done = [*session.done, (review, done)][-MAX_UNDO:]
                why = pass_on(self._state, [unit.event for unit in done if unit.event], review)
                problem = problem or (f"the running alarm does not get it: {why}" if why else "")
            left = f"{len(done)} of {len(keys)} are saved" if done and len(done) < len(keys) else ""
            _note(session, [said, left], problem if done else f"Not saved: {problem}" if problem else "")

    def undo(self, who: str) -> tuple[Unit, list[Unit]] | None:
        """Take back the session's last decision; return what it was about, as ``next`` does, if it waits again."""
        with self._lock:
            session, back, problem = self.session(who), list[Unit](), ""
            if not session.done:
                _note(session, ["There is nothing to take back"])
                return None
            review, decided = session.done.pop()
            for unit in decided:
                try:
                    now = take_back(unit.path, review) if unit.path.exists() else None
                except OptionError as error:
                    problem = str(error)
                    continue
                why = pass_on(self._state, [unit.event], now) if unit.event else None
                problem = problem or (f"the running alarm does not get it: {why}" if why else "")
                self._reviewed.pop(str(unit.path), None)
                back.append(unit)
            self._refreshed = None
            self._refresh()
            _note(session, [f"Taken back: {_verdict(review)}"] if back else ["Nothing was taken back"], problem)
            found = next((self._by_key[each.key] for each in back if each.key in self._by_key), None)
            return (found, self._alike(found)) if found else None

    def _write(self, unit: Unit, review: Review) -> None:
        if not unit.path.exists():
            self._forget(unit)
            raise OptionError("its pictures were deleted meanwhile to make room")
        before = read_review(unit.path)
        if before:
            self._forget(unit)
            raise OptionError(f"somebody else reviewed it meanwhile: {_verdict(before)}")
        path = write_review(unit.path, review)
        self._forget(unit)
        self._reviewed[str(unit.path)] = path.stat().st_mtime_ns, datetime.now().astimezone().date()

    def _with_alike(self, key: str) -> list[Unit]:
        unit = self._by_key.get(key)
        return [unit, *self._alike(unit)] if unit else []

    def _alike(self, unit: Unit) -> list[Unit]:
        """Return the other alarms that wait and look the same, of the same spot; the newest first."""
        if unit.event is None or unit.box_xywh is None or self._alone(unit):
            return []
        near = [
            other
            for other in self._waiting.values()
            if other is not unit
            and other.event
            and other.camera == unit.camera
            and other.box_xywh
            and iou(other.box_xywh, unit.box_xywh) >= SAME_SPOT_IOU
            and not self._alone(other)
        ][:MAX_ALIKE]
        return [other for other in near if alike(self._thumbnail(other), self._thumbnail(unit))]

    def _alone(self, unit: Unit) -> bool:
        return unit.key in self._apart or unit.event in self.open

    def _thumbnail(self, unit: Unit) -> Thumbnail:
        found = self._thumbnails.get(str(unit.path))
        if found is None:
            image = cv2.imread(str(unit.picture), cv2.IMREAD_REDUCED_COLOR_2)
            found = np.zeros((16, 16), np.float32)  # of a damaged picture: like no other
            if image is not None:
                found = thumbnail(np.asarray(image, np.uint8), unit.region or WHOLE)
            self._thumbnails[str(unit.path)] = found
        return found

    def _forget(self, unit: Unit) -> None:
        self._waiting.pop(str(unit.path), None)
        self._by_key.pop(unit.key, None)
        self._thumbnails.pop(str(unit.path), None)

    def _refresh(self) -> None:
        """Bring the queue up to date; do nothing if that was done a moment ago."""
        now = self._clock()
        if self._refreshed is not None and now - self._refreshed < REFRESH_S:
            return
        waiting: dict[str, Unit] = {}
        reviewed: dict[str, tuple[int, date]] = {}
        for path in units(self.root):
            if (day := self._day_of_review(path)) is not None:
                reviewed[path] = day
            elif unit := self._waiting.get(path) or self._read(Path(path)):
                waiting[path] = unit
        newest = sorted(waiting.values(), key=lambda unit: (unit.path.parent.name, unit.path.name), reverse=True)
        self._waiting = {str(unit.path): unit for unit in newest}
        self._by_key = {unit.key: unit for unit in newest}
        self._reviewed = reviewed
        self._thumbnails = {path: each for path, each in self._thumbnails.items() if path in waiting}
        self._refreshed = now

    def _day_of_review(self, path: str) -> tuple[int, date] | None:
        """Return the time of its review's file and the local day of the review; None without one that can be read."""
        try:
            changed = review_path(Path(path)).stat().st_mtime_ns
        except OSError:
            return None
        known = self._reviewed.get(path)
        if known and known[0] == changed:
            return known
        try:
            review = read_review(Path(path))
            at = datetime.fromisoformat(review.at) if review else None
            return (changed, at.astimezone().date()) if at else None
        except (OptionError, ValueError, OverflowError) as error:
            self._warn(path, error)
            return None

    def _read(self, path: Path) -> Unit | None:
        """Return the unit there; None for one that cannot be shown (yet)."""
        try:
            return read_unit(path)
        except ValueError as error:
            self._warn(str(path), error)
            return None

    def _warn(self, path: str, error: Exception) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            log.warning("%s: cannot be reviewed on the page (%s)", path, error)


def read_unit(path: Path) -> Unit | None:
    """Return the alarm or random frame there; None for one that cannot be shown (yet). Raises ValueError if damaged."""
    try:
        return _frame(path) if SAMPLE.fullmatch(path.name) else _alarm(path)
    except FileNotFoundError:  # it is being written, or was deleted this moment
        return None
    except (OSError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _alarm(folder: Path) -> Unit | None:
    """Return an event's folder as a unit; None where it is no bear, or has no picture."""
    text = (folder / "event.json").read_text(encoding="utf-8")
    event = Event.from_json(text)
    picture = next((folder / name for name in PICTURES if (folder / name).exists()), None)
    if event.kind != "bear" or picture is None:
        return None
    path = json.loads(text).get("path")
    place = path[0][1:5] if path else event.box_xywh
    box = _box(place) if place else None
    score = event.score if event.top_score is None else event.top_score
    return Unit(
        folder,
        picture,
        event.camera,
        box,
        event.id,
        event.name_and_note[0] + ("" if score is None else f" {score:.2f}"),
    )


def _frame(file: Path) -> Unit:
    with file.open("rb") as opened:
        note = note_in(opened.read(1 << 16))
    box = note.get("box_xywh")
    return Unit(file, file, str(note.get("camera", "")), _box(box) if box else None, None, "")


def _box(found: Sequence[float]) -> BoxXYWH:
    x, y, w, h = (float(side) for side in found)
    return x, y, w, h


def _verdict(review: Review) -> str:
    return review_text(review).removeprefix(REVIEWED)


def _said(done: Sequence[Unit], review: Review) -> str:
    """Return what was decided, and what the alarm had said; empty where nothing was."""
    if not done:
        return ""
    first = done[0]
    at = first.at.astimezone()
    place = f"{first.camera}, {at.day} {at:%b %Y, %H:%M}"
    if first.event:
        alarm = f"The alarm said: {first.said}"
    else:
        missed = review.verdict == "confirmed" or review.label in BEARS
        alarm = "There was no alarm: it was missed" if missed else "There was no alarm"
    more = f" ({len(done)} pictures)" if len(done) > 1 else ""
    return f"You said: {_verdict(review)}{more}. {alarm} ({place})"


def _note(session: Session, sentences: Sequence[str], problem: str = "") -> None:
    session.failed = bool(problem)
    parts = [each for each in (*sentences, problem and problem[0].upper() + problem[1:]) if each]
    session.words = " ".join(f"{part}." for part in parts)
