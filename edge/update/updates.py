"""New models while the alarm runs: taken from their sources, tried beside the model in use, and switched to."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from edge.background import DeadlineError, Worker, call_with_deadline
from edge.detect.classifier import file_digest, ships
from edge.errors import ModelError, OptionError
from edge.model_store import MAX_STARTS, Entry, Installed, ModelStore
from edge.record.database import DiskError
from edge.record.stage_log import read_notices
from edge.update.sources import Sources
from edge.update.trial import TrialCounts, verdict

if TYPE_CHECKING:
    from edge.record.run import EventFactory
    from edge.schema import Event
    from edge.settings import UpdateSettings
    from edge.update.attempt import Attempt, How
    from edge.update.sources import Looked

ALARM = "alarm"  # in place of a camera: notices about the whole
LABEL = "model"
LOOK_S = 5.0  # how often the list of installed models is read
LOOK_WITHIN_S = 60.0
PROVEN_S = 600.0  # a model that ran well for so long is proven
TRIED_S = 3600.0  # one that is tried for so long ends no alarm: some boards have power for some hours a day
CLOSE_S = 6.0  # a trial may take 5 to end
BUSY_S = 3600.0  # a bear in view holds a switch up for so long at most: it may be a stump
TESTED_H = 7 * 24.0  # a trial that lasted so long counts as shadow does (edge.decide.stages.TESTED_DAYS)
ENDED = f"because {MAX_STARTS} starts of the alarm"
CHANGED = "another model is here than the one that was shown; load the page again"
NEXT_START = "is used from the next start of the alarm on"
SHIPS = "the model that comes with Bear Alarm"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateStanding:
    """Installed models, and the one that is tried, for people."""

    installed: Installed
    counts: TrialCounts | None  # of the new model; None: none is tried
    settings: UpdateSettings
    needed: str  # what it has to see, a clause; "": none is tried
    how: How  # it is tried; "none": it cannot be; "": there is no new model, or it is not known yet
    sources: Sequence[Looked]
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
    before = Installed()
    try:
        before = store.read()
        if before.proven or not counts:
            return Start(before.current)
        after = store.change(_started)
    except (ModelError, OptionError) as error:
        log.warning("%s", error)
        return Start(before.current)
    if after.current == before.current:
        return Start(after.current, counted=True)
    why = f"{ENDED} with it ended within {PROVEN_S / 60.0:.0f} minutes"
    return Start(after.current, news=_not_used(before, after, why))


def uncount(store: ModelStore, within_s: float) -> None:
    """Note the end of a start that was counted: nothing was wrong with the model."""

    def change() -> None:
        store.change(lambda held: replace(held, starts=max(held.starts - 1, 0)))

    try:
        call_with_deadline(change, within_s, "the models")
    except (DeadlineError, ModelError, OptionError) as error:
        log.warning("this end in good order counts as a crash of the new model: %s", error)


def _started(installed: Installed) -> Installed:
    """Return the list with one more start; after too many without what is new."""
    if installed.starts < MAX_STARTS:
        return replace(installed, starts=installed.starts + 1)
    if installed.proven:
        return replace(installed, waiting=None, starts=0)
    return _taken_back(installed)


def _taken_back(installed: Installed) -> Installed:
    """Return the list without its current model, which does not work: with the one before, at last the one that ships.

    A person can still go back to the last of them; nothing goes to and fro by itself.
    """
    before = installed.previous
    rest = None if before else installed.current
    return replace(installed, current=before, previous=rest, proven=before is None, starts=0)


def _not_used(before: Installed, after: Installed, why: str) -> str:
    return f"{_name(before.current)} is not used any more, {why}: {_name(after.current)} is used again"


def _name(entry: Entry | None) -> str:
    return entry.name if entry else SHIPS


def needed(counts: TrialCounts, settings: UpdateSettings) -> str:
    """Return how much a new model has to see before it is used by itself, a clause."""
    if counts.kept:
        return f"{settings.frames} pictures are needed"
    return f"{settings.frames} frames in {settings.hours:g} h are needed"


class Updates:
    """The new models of an alarm. For any thread; only ``look`` and what people choose wait for the disk.

    ``start``: what ``begin`` returned before the model was loaded; ``digest``: the loaded file's SHA-256. ``tries``
    begins to try a new model; it may raise OptionError. ``well``: whether the model in use works; ``ill``: whether it
    fails, which is more than a camera that gives no picture; ``busy``: whether a bear is in view or its clip is made,
    which a reload would end. ``publish`` takes the notices. ``reload``, set later, has the alarm begin again with the
    current model, and sets ``not_loaded`` where that was refused; None: it cannot, so that model is used from the next
    start on. ``before``: that of the alarm that a reload has ended in this process.
    """

    def __init__(
        self,
        settings: UpdateSettings,
        store: ModelStore,
        sources: Sources,
        *,
        start: Start,
        digest: str,
        tries: Callable[[Entry], Attempt],
        well: Callable[[], bool],
        ill: Callable[[], bool],
        busy: Callable[[], bool],
        run: EventFactory,
        publish: Callable[[Event], None],
        before: Updates | None = None,
    ) -> None:
        self.reload: Callable[[], object] | None = None
        self.not_loaded = False
        self.sources = sources
        self._settings = settings
        self._store = store
        self._digest = digest
        self._tries = tries
        self._well = well
        self._ill = ill
        self._busy = busy
        self._run = run
        self._publish = publish
        self._start = start
        self._news = start.news
        self._counted: bool = before._counted if before else start.counted  # a start of this process
        self._current: Entry | None = before._current if before else start.current
        self._said: set[str] | None = before._said if before else None  # None: the journal is not read yet
        same = before is not None and before._digest == digest
        self._another = before is not None and not same  # another model was loaded in this process
        self._began: float | None = before._began if before and same else None  # time.monotonic()
        self._now = 0.0
        self._looked: float | None = None
        self._in_use: bool | None = None  # whether the current model is the one in use; None: not known yet
        self._wanted: float | None = None  # since when another model is, time.monotonic()
        self._chosen: Installed | None = None  # as a person chose last: that is waited for by nobody
        self._reloaded: Entry | None = before._reloaded if before else None  # it was whole, and yet not loaded
        self._again = False  # the new model is to be tried again
        self._installed: Installed = before._installed if before else Installed(start.current)  # until the first look
        self._trying: tuple[Entry, Attempt] | None = None
        self._stuck: float | None = None  # since when it cannot be tried, time.monotonic()
        self._asks = ""
        self._problem: str | None = None
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
            self._settings,
            needed(mine.counts, self._settings) if mine else "",
            mine.how if mine else "",
            self.sources.standing,
            self._asks if mine else "",
            self.problem() or self.sources.refusal(),
        )

    def use_now(self, by: str, shown: str) -> None:
        """Switch to the new model, as a person wants it. Raises OptionError.

        ``shown``, here and below: the SHA-256 of the model that the person means, empty for the one that ships.
        """
        entry, trying = self._trying or (None, None)
        tested = False
        if entry and trying and entry.sha256 == shown:
            tested = trying.counts.frames > 0
            trying.close(CLOSE_S)  # its memory is for the alarm
            try:
                trying.check()
            except ModelError as error:
                self._again = True
                raise OptionError(str(error)) from None
        try:
            used, _ = self._choose(shown, "waiting", lambda held: held.switched(tested=tested))
        except OptionError:
            self._again = True  # it was closed
            raise
        self._tell_chosen(used, f" by {by}")

    def remove(self, by: str, shown: str) -> None:
        """Remove the new model, as a person wants it. Raises OptionError."""
        removed, _ = self._choose(shown, "waiting", lambda held: replace(held, waiting=None))
        self._tell(f"the new model {_name(removed)} is removed, chosen by {by}")

    def roll_back(self, by: str, shown: str) -> None:
        """Go back from the model that is shown as the one in use, as a person wants it. Raises OptionError."""
        _, installed = self._choose(shown, "current", lambda held: replace(held, waiting=None).rolled_back())
        self._tell_chosen(installed.current, f" by {by}")

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
            uncount(self._store, within_s)

    def _choose(
        self, shown: str, which: Literal["current", "waiting"], change: Callable[[Installed], Installed]
    ) -> tuple[Entry | None, Installed]:
        """Change the list where the model that was shown is still there; return that model and the list."""
        entry: Entry | None = None

        def change_shown(held: Installed) -> Installed:
            nonlocal entry
            entry = held.waiting if which == "waiting" else held.current
            if (entry.sha256 if entry else "") != shown or (which == "waiting" and not entry):
                raise OptionError(CHANGED)
            return change(held)

        try:
            self._installed = self._chosen = self._store.change(change_shown)
        except ModelError as error:
            raise OptionError(str(error)) from None
        self._worker(None)
        return entry, self._installed

    def _read_said(self) -> None:
        """Find what people were notified of before, also before a restart; then publish what is new."""
        if self._said is None:
            self._said = read_notices(self._store.folder.parent, ALARM, 0)
        if self._news:
            self._tell(self._news)
            self._news = None

    def _follow(self) -> None:
        """Have the current model used where the list has another one than before."""
        current, first = self._installed.current, self._in_use is None
        if first or current != self._current:
            self._in_use = self._loaded(current)
        if first and self._in_use and self._another:
            self._tell(f"{_name(current)} is in use now")
        if current == self._current:
            self._wanted = None
            if not self._in_use and (first or self.not_loaded):
                self._fall_back()
            return
        self._wanted = self._now if self._wanted is None else self._wanted
        asked_for = self._chosen is not None and self._chosen.current == current
        if not (self._in_use or asked_for) and self._busy() and self._now - self._wanted < BUSY_S:
            return
        self._current, self._wanted = current, None
        if self._in_use:
            return
        if self.reload:
            self.reload()
        else:
            self._tell_once(f"{_name(current)} {NEXT_START}")

    def _fall_back(self) -> None:
        """Have the list say what is used: the current model could not be loaded, and the alarm took another one.

        That one stays as the one before. A file that is whole, though, is loaded again first: the disk may have failed.
        """
        current, before = self._installed.current, self._installed.previous
        if (
            current
            and self.reload
            and not self.not_loaded
            and self._reloaded != current
            and self._store.is_whole(current)
        ):
            self._reloaded = current
            self.reload()
            return
        self.not_loaded = False
        used = before if before and before.sha256 == self._digest else None
        if current is None or not self._loaded(used):
            return
        self._installed = self._store.change(
            lambda held: (
                replace(held, current=used, previous=current, proven=used is None, starts=0)
                if held.current == current
                else held
            )
        )
        self._current, self._in_use = used, True
        self._tell(f"{current.name} cannot be used here, as the log says: {_name(used)} is used in its place")

    def _loaded(self, entry: Entry | None) -> bool:
        """Return True if the alarm has loaded this model; None: one of those that ship."""
        if entry:
            return self._digest == entry.sha256
        return any(file_digest(path) == self._digest for path in ships() if path.is_file())

    def _unused(self) -> str | None:
        if self._in_use or not self.reload or self._installed.current != self._current:
            return None
        return f"{_name(self._current)} is installed and not in use; the log says why"

    def _prove(self) -> None:
        """Note that the model in use ran well for long, and so did one that is tried beside it, for longer.

        A new one that fails all the time is taken back.
        """
        installed, lasted_s = self._installed, -1.0 if self._began is None else self._now - self._began
        tried = installed.proven and installed.waiting is not None
        due = not installed.proven or installed.starts
        if due and lasted_s >= (TRIED_S if tried else PROVEN_S) and self._in_use and self._well():
            self._installed = self._store.change(
                lambda held: replace(held, proven=True, starts=0) if held.current == installed.current else held
            )
            self._counted = False  # the next trial counts for itself
        elif not installed.proven and lasted_s >= PROVEN_S and self._in_use and self._ill():
            self._installed = self._store.change(
                lambda held: _taken_back(held) if held.current == installed.current else held
            )
            self._chosen = self._installed  # no bear is found with it that would have to be waited for
            self._tell(_not_used(installed, self._installed, "because the alarm fails with it"))

    def _try(self) -> None:
        """Try the new model, if there is one, and switch to it or ask about it, as its counts say."""
        waiting = self._installed.waiting
        if self._trying and (self._trying[0] != waiting or self._again):
            self._trying[1].close(0.5)
            self._trying, self._again = None, False
            self._stuck, self._asks = None, ""
        if waiting is None or not (self._in_use and self._installed.proven) or self._closed:
            return
        if self._trying is None:
            self._count_trial(waiting)
            if self._installed.waiting != waiting:
                return
            self._trying = waiting, self._tries(waiting)
            if self._closed:  # meanwhile: `close` has not seen it
                self._trying[1].close(0.5)
                return
        trying, settings = self._trying[1], self._settings
        if problem := trying.problem():
            self._stuck = self._now if self._stuck is None else self._stuck
            if self._now - self._stuck >= settings.ask_h * 3600.0:
                self._ask(waiting, problem)
            return
        self._stuck = None
        limits = settings.frames, settings.hours, settings.max_differences, settings.ask_h
        if verdict(trying.counts, *limits) == "pass":
            trying.close(CLOSE_S)  # alarms that wait for their match are counted then, and the memory is for the alarm
        counts = trying.counts
        found = verdict(counts, *limits)
        if found == "pass":
            try:
                trying.check()
            except ModelError as error:
                self._ask(waiting, str(error))
                raise
            self._switch(waiting, counts)
        elif found != "wait":
            if found == "differs":
                trying.close(0.5)  # it has shown what it does
            few = f"; {needed(counts, settings)}" if found == "nothing" else ""
            self._ask(waiting, f"{counts.words}{few}")
        else:
            self._asks = ""

    def _ask(self, waiting: Entry, why: str) -> None:
        """Ask a person about the new model, once."""
        self._asks = why
        self._tell_once(
            f"the new model {waiting.name} waits for a person",
            f": {why}. Use it or remove it, on the page under Health, New models",
        )

    def _count_trial(self, waiting: Entry) -> None:
        """Count a start with a model that is tried, once in this process; after too many it is removed."""
        if self._counted:
            return
        self._counted, self._began = True, self._now
        self._installed = self._store.change(lambda held: _started(held) if held.waiting == waiting else held)
        if self._installed.waiting is None:
            self._tell(f"the new model {waiting.name} is removed, {ENDED} ended while it was tried")

    def _switch(self, waiting: Entry, counts: TrialCounts) -> None:
        tested, before = counts.hours >= TESTED_H, self._installed.current
        self._installed = self._store.change(
            lambda held: held.switched(tested=tested) if held.waiting == waiting and held.current == before else held
        )
        if self._installed.current and self._installed.current.sha256 == waiting.sha256:
            self._tell_chosen(waiting, f": {counts.words}")
        self._follow()

    def _ask_sources(self) -> None:
        answer = self.sources.look(self._now, self._installed.keys)
        if answer is None:
            return
        if answer.kind == "refused":
            words = f"no new model was taken: {answer.words}"
            if answer.changed:
                self._forget(words)
            self._tell_once(words, f". {answer.then}")
        elif answer.kind != "nothing":
            self._tell(answer.words)

    def _tell(self, words: str) -> None:
        self._publish(self._run.event("notice", "new", uuid.uuid4().hex, ALARM, label=LABEL, detail=words))

    def _tell_chosen(self, entry: Entry | None, how: str) -> None:
        """Notify of a choice; that it is in use, the alarm that has loaded it says."""
        if self.reload:
            self._tell(f"{_name(entry)} is chosen{how}")
            return
        words = f"{_name(entry)} {NEXT_START}"
        self._forget(words)
        self._tell_once(words, f", chosen{how}")

    def _forget(self, words: str) -> None:
        """Have what begins so said again, though it was said before."""
        self._said = {each for each in self._said or () if not each.startswith(words)}

    def _tell_once(self, words: str, more: str = "") -> None:
        """Notify once, also over restarts; ``more`` may be other words each time."""
        said = self._said if self._said is not None else set()
        if not any(each.startswith(words) for each in said):
            said.add(words)
            self._tell(f"{words}{more}")
