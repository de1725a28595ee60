"""A trial: a new model looks at the same frames as the one in use, and its alarms are counted, not published.

Each camera has two trackers and two deciders with the camera's settings. One pair gets the scores that the alarm itself
computed, the other the new model's, of the same frames. A frame that the new model has no time for reaches neither,
and is counted.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Literal

from edge.background import start_thread, step_back
from edge.camera_thread import CameraThread, make_decider
from edge.decide.alarms import AGAIN_S, Decision, near
from edge.decide.repeat_alarms import thumbnail
from edge.detect.classifier import Classifier
from edge.detect.frame_scan import scan_of
from edge.detect.tracker import Tracker
from edge.errors import BearAlarmError, ModelError, OptionError
from edge.files import hand_over, replace_whole
from edge.model_store import Entry, ModelStore
from edge.schema import BoxXYWH, Score
from edge.watch import Look, choose

log = logging.getLogger(__name__)

COUNTS = "trial.json"  # in the folder of the models
SAVE_S = 60.0  # a power cut loses no more of the counts, and other programs see them so late
WAITING = 2  # frames of each camera
MATCH_S = 5.0  # between two alarms of the same bear; a model that raises its own later than that is too late
APART_S = 10.0  # frames with something to see that are counted, of one camera: those between look alike
PAUSED_S = 1.0  # in heat, until the next look
HANGS_S = 120.0  # a slow board loads a model within a minute

Verdict = Literal["pass", "differs", "nothing", "wait"]


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Alarms of two models on the same frames of all cameras, since the trial of the new one began."""

    frames: int = 0  # with something to see: what moved or is followed, or an alarm; of one camera, 10 s apart
    hours: float = 0.0  # watched meanwhile, of the monotonic clock
    paused_h: float = 0.0  # and watched by the old one alone: in heat or at low voltage
    looked: int = 0  # frames in which something moved or was followed
    missed: int = 0  # such frames for which the new model had no time
    both: int = 0  # alarms that both would have raised
    only_old: int = 0
    only_new: int = 0
    kept: bool = False  # on kept pictures, one model after the other: ``frames`` pictures, "alarms" are bears in them
    right_lost: int = 0  # of what the old one alone found, on kept pictures: people had said that a bear was there
    wrong_gone: int = 0  # of ``only_old``: people had said that none was
    compared: bool = False  # on kept pictures before this trial, so that ``right_lost`` is known

    @property
    def different(self) -> int:
        """Return how many alarms were raised by one of them alone, but for those that people called wrong."""
        return self.only_old + self.only_new - self.wrong_gone

    @property
    def slow(self) -> bool:
        """Return True if the new model had time for less than half of the frames in which something was."""
        return self.missed > self.looked

    @property
    def words(self) -> str:
        """Return it as a clause for people."""
        words = self._kept_words if self.kept else self._words
        if self.right_lost or self.wrong_gone:
            words += (
                f"; of the alarms that people reviewed, {self.right_lost} with a bear would be missed, and "
                f"{self.wrong_gone} without one would be gone"
            )
        if self.slow:
            frames = self.looked + self.missed
            words += f"; it is too slow for this device: it could look at {self.looked} of {_count(frames, 'frame')}"
        if self.paused_h > self.hours:
            words += f"; for {_hours(self.paused_h)} the trial paused, for heat or low voltage"
        return words

    @property
    def _words(self) -> str:
        where = f"in {_hours(self.hours)} ({_count(self.frames, 'frame')} with something to see)"
        if self.only_old or self.only_new:
            return (
                f"{where} it would have alarmed {_count(self.only_new, 'time')} more, and "
                f"{_count(self.only_old, 'time')} less, than the old one; the same: {_count(self.both, 'alarm')}"
            )
        if self.both:
            return f"{where} it would have alarmed as the old one did, {_count(self.both, 'time')}"
        return f"{where} neither would have alarmed"

    @property
    def _kept_words(self) -> str:
        where = f"of {_count(self.frames, 'kept picture')}"
        if self.only_old or self.only_new:
            return (
                f"{where} it would call {self.only_new} more and {self.only_old} fewer a bear than the old one; "
                f"the same: {self.both}"
            )
        if self.both:
            return f"{where} it would call the same {self.both} a bear"
        return f"{where} neither would call one a bear"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _hours(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 1.0 else "less than 1 h"


def verdict(counts: TrialCounts, frames: int, hours: float, max_differences: int, ask_h: float) -> Verdict:
    """Return what the counts say: more than ``max_differences``, enough of it, or too little in ``ask_h`` hours.

    Enough are so many ``frames`` in so many ``hours``. Then a model that is too slow for most frames, or that missed
    more alarms than it shared, differs too. A bear that a person confirmed must not be lost. Kept pictures take no
    hours, and are all there is: there too few are so at once.
    """
    if counts.different > max_differences or counts.right_lost:
        return "differs"
    if counts.frames >= frames and (counts.kept or counts.hours >= hours):
        return "differs" if counts.slow or counts.only_old - counts.wrong_gone > counts.both else "pass"
    return "nothing" if counts.kept or counts.hours + counts.paused_h >= ask_h else "wait"


def read_counts(store: ModelStore, new: str, old: str, settings: str | None = None) -> TrialCounts:
    """Return the saved counts of two models, by their SHA-256; none where others were tried, or nothing was.

    ``settings``: a digest of the cameras' settings, by which it must have been; None: by any.
    """
    try:
        held = json.loads((store.folder / COUNTS).read_text(encoding="utf-8"))
        if (held["new"], held["old"]) == (new, old) and settings in (None, held.get("settings")):
            return TrialCounts(**held["counts"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s cannot be read, so the trial begins again (%s)", store.folder / COUNTS, error)
    return TrialCounts()


def beside(counts: TrialCounts) -> TrialCounts:
    """Return saved counts as a trial beside the model in use goes on with them: of kept pictures what was lost."""
    return TrialCounts(right_lost=counts.right_lost, compared=True) if counts.kept else counts


def write_counts(store: ModelStore, new: str, old: str, settings: str, counts: TrialCounts) -> None:
    """Save the counts of two models, in place of all others. Raises OptionError."""
    path = store.folder / COUNTS
    replace_whole(path, json.dumps({"new": new, "old": old, "settings": settings, "counts": asdict(counts)}).encode())
    hand_over(path)


def settings_of(threads: Iterable[CameraThread]) -> str:
    """Return a digest of what the trial of these cameras goes by."""
    held = repr([(each.camera.name, each.camera.settings) for each in threads if each.source.live])
    return sha256(held.encode()).hexdigest()


class Trial:
    """Tries the waiting model of a store on what the live cameras see, in a thread of low priority, until ``close``.

    ``threads``: the alarm's cameras; a clip among them is not looked at, for it goes faster than two models. ``old``:
    the model in use. ``share``: what is asked of the cameras' frame rates, 0 to 1; in heat (below 1) the trial pauses.
    Nothing that the new model does reaches the alarm: one that fails is a ``problem`` and ends the trial.
    """

    def __init__(
        self,
        threads: Iterable[CameraThread],
        store: ModelStore,
        entry: Entry,
        old: Classifier,
        *,
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._threads = [thread for thread in threads if thread.source.live]
        self._settings = settings_of(self._threads)
        self.counts = beside(read_counts(store, entry.sha256, old.digest, self._settings))
        self._missed = 0  # since the last look
        self._paused = False  # in heat
        self._store = store
        self._entry = entry
        self._old = old
        self._share = share
        self._waiting: list[deque[Look]] = [deque() for _ in self._threads]
        self._changed = threading.Condition()
        self._closed = False
        self._problem: str | None = None
        self._saved, self._saved_at = self.counts, time.monotonic()
        self._busy_since: float | None = time.monotonic()
        self._hooks = [partial(self._put, waiting) for waiting in self._waiting]
        for thread, hook in zip(self._threads, self._hooks, strict=True):
            thread.watcher.trial = hook
        self._thread = start_thread(self._run, "trial")

    def problem(self) -> str | None:
        """Return why the trial cannot go on, without a full stop; None: it does."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > HANGS_S:
            return f"the new model {self._entry.name} has not answered for {HANGS_S:.0f} s"
        return self._problem

    def close(self, within_s: float) -> None:
        """End it and save the counts, within so many seconds; a model that hangs is left behind."""
        self._let_go()
        self._thread.join(within_s)

    def _put(self, waiting: deque[Look], look: Look) -> None:
        """Take a camera's frame, in its own thread; of what waits the newest is kept, and what has something to see."""
        with self._changed:
            if self._closed:
                return
            if waiting and not look.regions:
                return
            if len(waiting) >= WAITING:
                self._missed += waiting.popleft().active
            waiting.append(look)
            self._changed.notify()

    def _let_go(self) -> None:
        for thread, hook in zip(self._threads, self._hooks, strict=True):
            if thread.watcher.trial is hook:
                thread.watcher.trial = None
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._drop_waiting()

    def _run(self) -> None:
        step_back()
        try:
            self._go_on()
        except Exception as error:  # whatever the new model does, the alarm goes on
            why = str(error) if isinstance(error, BearAlarmError) else f"{type(error).__name__}: {error}"
            self._problem = f"the new model {self._entry.name} cannot be tried: {why}"
            log.warning("%s", self._problem)
            log.debug("trial", exc_info=error)
        self._busy_since = None
        self._let_go()
        self._save()

    def _go_on(self) -> None:
        new = Classifier(self._store.slot(self._entry), cached=True)
        if new.digest != self._entry.sha256:
            raise ModelError(f"{new.path}: the file has changed since it was installed; update again")
        self._drop_waiting()  # of the time in which it was loaded
        pairs = self._pairs(new)
        before = time.monotonic()
        while not self._closed:
            self._paused = self._share() < 1.0
            if self._paused:  # what each has seen so far may be over when it is cooler
                self._drop_waiting()
                self._settle(pairs)
                pairs = self._pairs(new)
            else:
                for pair, waiting in zip(pairs, self._waiting, strict=True):
                    self._look(pair, waiting)
            self._busy_since = None
            now = time.monotonic()
            if any(thread.fresh(now) for thread in self._threads):
                counts, more_h = self.counts, (now - before) / 3600.0
                if self._paused:
                    self.counts = replace(counts, paused_h=counts.paused_h + more_h)
                else:
                    self.counts = replace(counts, hours=counts.hours + more_h)
            before = now
            if now - self._saved_at >= SAVE_S:
                self._save()
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (any(self._waiting) and not self._paused), PAUSED_S)
        self._settle(pairs)

    def _settle(self, pairs: Iterable[_Pair]) -> None:
        """Count the alarms that wait for their match: the other model has not raised them."""
        for pair in pairs:
            self.counts = pair.settle(math.inf, self.counts)

    def _look(self, pair: _Pair, waiting: deque[Look]) -> None:
        with self._changed:
            if not waiting:
                return
            self._busy_since = time.monotonic()
            look = waiting.popleft()
            missed, self._missed = self._missed, 0
        self.counts = pair(look, replace(self.counts, missed=self.counts.missed + missed))

    def _drop_waiting(self) -> None:
        with self._changed:
            for waiting in self._waiting:
                waiting.clear()
            self._missed = 0

    def _pairs(self, new: Classifier) -> list[_Pair]:
        return [_Pair(thread, self._old, new) for thread in self._threads]

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.counts != self._saved:
            try:
                write_counts(self._store, self._entry.sha256, self._old.digest, self._settings, self.counts)
                self._saved = self.counts
            except OptionError as error:
                log.warning("the trial goes on, but its counts cannot be saved: %s", error)


@dataclass
class _Alarm:
    """An alarm that the other model has not raised, or not yet."""

    id: str  # of its incident
    box_xywh: BoxXYWH
    began_at: float  # seconds, the frames' clock
    seen_at: float
    counted: bool = False  # as an alarm of this model alone


class _Model:
    """One camera as one of the models sees it."""

    def __init__(self, thread: CameraThread, classifier: Classifier) -> None:
        single_images = thread.watcher.single_images
        self.decider = make_decider(classifier, thread.camera.settings, single_images=single_images)
        self.tracker = Tracker(self.decider.rule.threshold)
        self.alone: list[_Alarm] = []
        self._raised: deque[str] = deque(maxlen=64)  # incidents that have alarmed

    def __call__(self, look: Look, scores: Sequence[Score]) -> list[Decision]:
        """Take the scores of one frame; return the decisions by which incidents alarm for the first time."""
        frame, rule = look.frame, self.decider.rule
        self.tracker.threshold = rule.threshold_for(night=look.night)
        if self.decider.repeat_alarms:
            self.decider.repeat_alarms.adopt(look.wrong, frame.time)
        decisions = self.decider(
            self.tracker(scores, frame.time),
            frame.time,
            wall=datetime.now(UTC) if rule.one_picture else frame.wall,
            night=look.night,
            thumbnail_of=lambda box: thumbnail(frame.image, box),
            seeing=look.seeing,
        )
        first = [each for each in decisions if each.alarms and each.id not in self._raised]
        self._raised += [each.id for each in first]
        return first

    def take(self, alarm: Decision) -> _Alarm | None:
        """Return the alarm of this model that another one's is like, and forget it: each is like one only."""
        for each in self.alone:
            if near(each.box_xywh, alarm.box_xywh):
                self.alone.remove(each)
                return each
        return None

    def settle(self, time: float) -> int:
        """Follow the alarms that are alone; count those that have become this model's own by now (seconds)."""
        seen = {each.id: each.box_xywh for each in self.decider.open_incidents}
        for each in self.alone:
            if each.id in seen:
                each.box_xywh, each.seen_at = seen[each.id], time
        ripe = [each for each in self.alone if not each.counted and time - each.began_at > MATCH_S]
        for each in ripe:
            each.counted = True
        self.alone = [each for each in self.alone if not each.counted or time - each.seen_at <= AGAIN_S]
        return len(ripe)


class _Pair:
    """One camera: both models, and the alarms that each has raised without the other.

    Two alarms are alike where the second is raised near the first one's incident, within ``MATCH_S``. Later than that
    their difference is counted, and the second is still the same bear, while that incident is seen and ``AGAIN_S``
    longer.
    """

    def __init__(self, thread: CameraThread, old: Classifier, new: Classifier) -> None:
        watcher = thread.watcher
        self._cover = watcher.cover
        self._most = watcher.budget.most
        self._new = new
        self._scan = scan_of(new, watcher.cover.masks)
        self._models = _Model(thread, old), _Model(thread, new)
        self._counted_at = -math.inf  # seconds, the frames' clock

    def __call__(self, look: Look, counts: TrialCounts) -> TrialCounts:
        """Take a frame; return the counts with what came of it."""
        time, (old, new) = look.frame.time, self._models
        alarms, both = (old(look, look.scores), new(look, self._score(look))), 0
        counts = self.settle(time, counts)
        for model, other, raised in ((old, new, alarms[0]), (new, old, alarms[1])):
            for alarm in raised:
                like = other.take(alarm)
                if like is None:
                    model.alone.append(_Alarm(alarm.id, alarm.box_xywh, time, time))
                else:
                    both += not like.counted
        counted = (look.active or any(alarms)) and time - self._counted_at >= APART_S
        self._counted_at = time if counted else self._counted_at
        return replace(
            counts,
            frames=counts.frames + counted,
            looked=counts.looked + look.active,
            both=counts.both + both,
        )

    def settle(self, time: float, counts: TrialCounts) -> TrialCounts:
        """Return the counts with the alarms that one model alone has raised, by now (seconds)."""
        only_old, only_new = (model.settle(time) for model in self._models)
        return replace(counts, only_old=counts.only_old + only_old, only_new=counts.only_new + only_new)

    def _score(self, look: Look) -> list[Score]:
        """Return the new model's scores: of what moved, of what it follows itself, and its own scan beside the alarm's.

        Raises ModelError for what are no probabilities.
        """
        crops = [region for region in look.regions if region.kind == "motion"]
        if look.regions or look.seeing:  # not of a camera that is frozen: no track must live of the same picture
            crops = choose(crops, self._models[1].tracker, self._most, look.frame.index)
        scans = any(region.kind == "scan" for region in look.regions)
        if not (crops or scans):
            return []
        image = self._cover(look.frame.image)
        scores = self._new.score(image, crops) if crops else []
        scores += self._scan(image) if scans else []
        for score in scores:
            if not all(0.0 <= each <= 1.0 for each in (*score.probabilities, score.bear)):
                raise ModelError(f"it answers {score.probabilities}, which are no probabilities")
        return scores
