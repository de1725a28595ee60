"""New models while the alarm runs: taken from their sources, tried beside the model in use, and switched to."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from edge.background import DeadlineError, Worker, call_with_deadline
from edge.detect.classifier import file_digest, find
from edge.errors import ModelError, OptionError
from edge.model_store import MAX_STARTS, Entry, Installed, ModelStore
from edge.record.database import DiskError
from edge.record.stage_log import read_notices
from edge.update.memory import Way
from edge.update.sources import Sources
from edge.update.trial import TrialCounts, verdict

if TYPE_CHECKING:
    from edge.record.run import EventFactory
    from edge.schema import Event
    from edge.settings import UpdateSettings

ALARM = "alarm"  # in place of a camera: notices about the whole
LABEL = "model"
LOOK_S = 5.0  # how often the list of installed models is read
LOOK_WITHIN_S = 60.0
PROVEN_S = 600.0  # a model that ran well for so long is proven
BUSY_S = 3600.0  # a bear in view holds a switch up for so long at most: it may be a stump
TESTED_H = 7 * 24.0  # a trial that lasted so long counts as shadow does (edge.decide.stages.TESTED_DAYS)
ENDED = f"the alarm ended {MAX_STARTS} times within {PROVEN_S / 60.0:.0f} minutes"
SHIPS = "the model that comes with Bear Alarm"

log = logging.getLogger(__name__)


class Trying(Protocol):
    """A new model that is tried: ``edge.update.attempt.Attempt``."""

    how: Way | Literal[""]

    @property
    def counts(self) -> TrialCounts:
        """Return what was counted so far."""

    def problem(self) -> str | None:
        """Return why it does not go on."""

    def check(self) -> None:
        """Check that there is room for it in memory. Raises ModelError."""

    def close(self, within_s: float) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class UpdateStanding:
    """What is installed and tried now, for people."""

    installed: Installed
    counts: TrialCounts | None  # of the new model; None: none is tried
    frames: int  # so many are wanted
    how: Way | Literal[""]  # it is tried; "none": it cannot be; "": there is no new model, or it is not known yet
    asks: str  # what a person is asked, one sentence without a full stop; "": nothing
    problem: str | None


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an alarm, before a model is loaded."""

    current: Entry | None = None  # of the list
    counted: bool = False
    news: str | None = None  # one sentence for people, without a full stop


def begin(store: ModelStore, *, counts: bool) -> Start:
    """Count a start with a model that is not proven yet; where there were too many, go back to the one before.

    To be called before a model is loaded, for one that ends the process is not known otherwise. ``counts``: False only
    reads the list. A store that cannot be read or written is logged: the alarm starts all the same.
    """
    try:
        before = store.read()
        if before.proven or not counts:
            return Start(before.current)
        after = store.change(_started)
    except (ModelError, OptionError) as error:
        log.warning("%s", error)
        return Start()
    if after.current == before.current:
        return Start(after.current, counted=True)
    words = f"{_name(before.current)} is not used any more, for {ENDED} with it: {_name(after.current)} is used again"
    return Start(after.current, news=words)


def _started(installed: Installed) -> Installed:
    """Return the list with one more start; after too many without what is new."""
    if installed.starts < MAX_STARTS:
        return replace(installed, starts=installed.starts + 1)
    if installed.proven:
        return replace(installed, waiting=None, starts=0)
    return replace(installed, waiting=None).rolled_back()


def _name(entry: Entry | None) -> str:
    return entry.name if entry else SHIPS


class Updates:
    """The new models of an alarm. For any thread; only ``look`` and what people choose wait for the disk.

    ``start``: what ``begin`` returned before the model was loaded; ``digest``: the loaded file's SHA-256. ``tries``
    begins to try a new model; it may raise OptionError. ``well``: whether the model in use works; ``busy``: whether a
    bear is in view, whose alarm a reload would end. ``publish`` takes the notices. ``reload``, set later, has the alarm
    begin again with the current model; None: it cannot, so that model is used from the next start on. ``before``: that
    of the alarm that a reload has ended in this process.
    """

    def __init__(
        self,
        settings: UpdateSettings,
        store: ModelStore,
        sources: Sources,
        *,
        start: Start,
        digest: str,
        tries: Callable[[Entry], Trying],
        well: Callable[[], bool],
        busy: Callable[[], bool],
        run: EventFactory,
        publish: Callable[[Event], None],
        before: Updates | None = None,
    ) -> None:
        self.reload: Callable[[], object] | None = None
        self.sources = sources
        self._settings = settings
        self._store = store
        self._digest = digest
        self._tries = tries
        self._well = well
        self._busy = busy
        self._run = run
        self._publish = publish
        self._start = start
        self._news = start.news
        self._counted: bool = before._counted if before else start.counted  # a start of this process
        self._current: Entry | None = before._current if before else start.current
        self._said: set[str] | None = before._said if before else None  # None: the journal is not read yet
        same = before is not None and before._digest == digest
        self._began: float | None = before._began if before and same else None  # time.monotonic()
        self._now = 0.0
        self._looked: float | None = None
        self._in_use: bool | None = None  # whether the current model is the one in use; None: not known yet
        self._wanted: float | None = None  # since when another model is, time.monotonic()
        self._installed: Installed = before._installed if before else Installed(start.current)  # until the first look
        self._trying: tuple[Entry, Trying] | None = None
        self._asks = ""
        self._problem: str | None = None
        self._refused: str | None = None
        self._looking = threading.Lock()
        self._closed = False
        self._worker: Worker[None] = Worker(lambda _, __: self.look(), "updates", depth=1, deadline_s=LOOK_WITHIN_S)

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        self._now = now
        self._began = now if self._began is None else self._began
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self._worker(None)

    def look(self) -> None:
        """Read the list of installed models, and do what is due: reload, prove, try, switch, ask the sources."""
        with self._looking:
            if self._closed:
                return
            try:
                self._read_said()
                self._installed = self._store.read()
                self._follow()
                self._prove()
                self._try()
                self._problem = self._unused()
            except (DiskError, ModelError, OptionError, OSError) as error:
                self._problem = str(error)
            self._ask_sources()

    def problem(self) -> str | None:
        """Return what keeps new models from coming, in one sentence."""
        trying = self._trying
        return self._problem or (trying and trying[1].problem()) or self.sources.problem() or self._worker.problem()

    @property
    def tested(self) -> bool:
        """Return True if the model in use was tried here for long before it was used."""
        current = self._start.current
        return current is not None and current.tested and current.sha256 == self._digest

    @property
    def standing(self) -> UpdateStanding:
        """Return what is installed and tried now."""
        installed, trying = self._installed, self._trying
        mine = trying[1] if trying and trying[0] == installed.waiting else None
        return UpdateStanding(
            installed,
            mine.counts if mine else None,
            self._settings.frames,
            mine.how if mine else "",
            self._asks if mine else "",
            self.problem() or self._refused,
        )

    def use_now(self, by: str) -> None:
        """Switch to the new model, as a person wants it. Raises OptionError."""
        trying = self._trying[1] if self._trying else None
        tested = trying is not None and trying.counts.frames > 0

        def change(installed: Installed) -> Installed:
            if installed.waiting is None:
                raise OptionError("there is no new model any more; load the page again")
            if trying:
                trying.check()
            return installed.switched(tested=tested)

        installed = self._choose(change)
        self._tell(f"the new model {_name(installed.current)} is in use from now on, chosen by {by}")

    def remove(self, by: str) -> None:
        """Remove the new model, as a person wants it. Raises OptionError."""
        waiting = self._installed.waiting
        self._choose(lambda installed: replace(installed, waiting=None))
        if waiting:
            self._tell(f"the new model {waiting.name} is removed, chosen by {by}")

    def roll_back(self, by: str) -> None:
        """Go back to the model before, as a person wants it. Raises OptionError."""
        installed = self._choose(lambda installed: replace(installed, waiting=None).rolled_back())
        self._tell(f"the model before, {_name(installed.current)}, is in use again from now on, chosen by {by}")

    def close(self, within_s: float, *, keep: bool = False) -> None:
        """End what is tried, within so many seconds. ``keep``: for the next alarm in this process."""
        self._closed = True
        self._worker.close(within_s)
        if self._trying:
            self._trying[1].close(within_s)
        if keep:
            return
        self.sources.close()
        if self._counted:
            try:
                call_with_deadline(self._uncount, within_s, "the models")
            except (DeadlineError, ModelError, OptionError) as error:
                log.warning("this end in good order counts as a crash of the new model: %s", error)

    def _uncount(self) -> None:
        """Note an end in good order: nothing was wrong with the model."""
        self._store.change(lambda held: replace(held, starts=max(held.starts - 1, 0)))

    def _choose(self, change: Callable[[Installed], Installed]) -> Installed:
        try:
            self._installed = self._store.change(change)
        except ModelError as error:
            raise OptionError(str(error)) from None
        self._worker(None)
        return self._installed

    def _read_said(self) -> None:
        """Find what people were notified of before, also before a restart; then publish what is new."""
        if self._said is None:
            self._said = read_notices(self._store.folder.parent, ALARM, 0)
        if self._news:
            self._tell(self._news)
            self._news = None

    def _follow(self) -> None:
        """Have the current model used where the list has another one than before."""
        current = self._installed.current
        if self._in_use is None or current != self._current:
            self._in_use = self._digest == (
                current.sha256 if current else file_digest(find(None, self._store.folder.parent))
            )
        if current == self._current:
            return
        self._wanted = self._now if self._wanted is None else self._wanted
        if not self._in_use and self._busy() and self._now - self._wanted < BUSY_S:
            return
        self._current, self._wanted = current, None
        if self._in_use:
            return
        if self.reload:
            self.reload()
        else:
            self._tell_once(f"{_name(current)} is used from the next start of the alarm on")

    def _unused(self) -> str | None:
        if self._in_use or not self.reload or self._installed.current != self._current:
            return None
        return f"{_name(self._current)} is installed and not in use; the log says why"

    def _prove(self) -> None:
        """Note that the model in use ran well for long."""
        long = self._began is not None and self._now - self._began >= PROVEN_S
        if long and self._in_use and (not self._installed.proven or self._installed.starts) and self._well():
            current = self._installed.current
            self._installed = self._store.change(
                lambda held: replace(held, proven=True, starts=0) if held.current == current else held
            )

    def _try(self) -> None:
        """Try the new model, if there is one, and switch to it or ask about it, as its counts say."""
        waiting = self._installed.waiting
        if self._trying and self._trying[0] != waiting:
            self._trying[1].close(0.5)
            self._trying = None
            self._asks = ""
        if waiting is None or not (self._in_use and self._installed.proven):
            return
        if self._trying is None:
            self._count_trial(waiting)
            if self._installed.waiting != waiting:
                return
            self._trying = waiting, self._tries(waiting)
        trying, settings = self._trying[1], self._settings
        if trying.problem():
            return
        counts = trying.counts
        found = verdict(counts, settings.frames, settings.max_differences, settings.ask_h)
        if found == "pass":
            self._switch(waiting, counts)
        elif found != "wait":
            few = f"; fewer than {settings.frames} frames are not enough" if found == "nothing" else ""
            self._asks = f"{counts.words}{few}"
            self._tell_once(
                f"the new model {waiting.name} waits for a person",
                f": {self._asks}. Use it or remove it, on the page under Health, New models",
            )

    def _count_trial(self, waiting: Entry) -> None:
        """Count a start with a model that is tried, once in this process; after too many it is removed."""
        if self._counted:
            return
        self._counted = True
        self._installed = self._store.change(lambda held: _started(held) if held.waiting == waiting else held)
        if self._installed.waiting is None:
            self._tell(f"the new model {waiting.name} is removed, for {ENDED} while it was tried")

    def _switch(self, waiting: Entry, counts: TrialCounts) -> None:
        if self._trying:
            self._trying[1].check()
        tested = counts.hours >= TESTED_H
        before = self._installed.current
        self._installed = self._store.change(
            lambda held: held.switched(tested=tested) if held.waiting == waiting and held.current == before else held
        )
        if self._installed.current and self._installed.current.sha256 == waiting.sha256:
            self._tell(f"the new model {waiting.name} is in use from now on: {counts.words}")
        self._follow()

    def _ask_sources(self) -> None:
        answer = self.sources.look(self._now)
        if answer is None:
            return
        self._refused = answer.words if answer.kind == "refused" else None
        if answer.kind == "refused":
            self._tell_once(f"no new model was taken: {answer.words}")
        elif answer.kind != "nothing":
            self._tell(answer.words)

    def _tell(self, words: str) -> None:
        self._publish(self._run.event("notice", "new", uuid.uuid4().hex, ALARM, label=LABEL, detail=words))

    def _tell_once(self, words: str, more: str = "") -> None:
        """Notify once, also over restarts; ``more`` may be other words each time."""
        said = self._said if self._said is not None else set()
        if not any(each.startswith(words) for each in said):
            said.add(words)
            self._tell(f"{words}{more}")
