"""A new model is tried as the memory allows: beside the model in use, or on kept pictures, one after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.background import start_thread
from edge.errors import ModelError, OptionError
from edge.update.memory import LEAST_MB, Way, check_fits, need_mb, room, way
from edge.update.trial import TrialCounts, beside

if TYPE_CHECKING:
    from edge.update.trial import Trial

How = Way | Literal["", "before"]  # "": not known yet; "before": kept pictures are compared before a trial beside

log = logging.getLogger(__name__)

WATCH_S = 5.0  # how often the free memory is looked at during a trial
NEW_PICTURES_S = 24 * 3600.0  # until kept pictures are compared again: there may be new ones
RETRY_S = 600.0  # until memory that was short is looked at again
END_S = 5.0  # what a trial may take to end


class Attempt:
    """Tries one new model in a thread of its own, until ``close``.

    ``beside`` begins a trial beside the model in use. ``kept`` compares the two on kept pictures until the event is
    set, also before that trial: what people confirmed must not be lost; None: no pictures are kept. Both may raise
    ModelError, and are tried again then. ``saved`` returns the counts of these two models before a restart, ``save``
    takes them, and may raise OptionError.
    """

    def __init__(
        self,
        name: str,
        model: Path,
        beside: Callable[[], Trial],
        kept: Callable[[threading.Event], TrialCounts] | None,
        saved: Callable[[], TrialCounts],
        save: Callable[[TrialCounts], None],
    ) -> None:
        self.how: How = ""
        self._name = name
        self._model = model
        self._beside = beside
        self._kept = kept
        self._saved = saved
        self._save = save
        self._short = False  # memory was, for both at once
        self._need_mb: float | None = None
        self._trial: Trial | None = None
        self._counts = TrialCounts()
        self._lost: int | None = None  # not known yet
        self._problem: str | None = None
        self._stop = threading.Event()
        self._thread = start_thread(self._run, "new model")

    @property
    def counts(self) -> TrialCounts:
        """Return what was counted so far."""
        trial = self._trial
        return replace(trial.counts, right_lost=self._lost or 0) if trial else self._counts

    def problem(self) -> str | None:
        """Return why it is not tried, in one sentence without a full stop."""
        trial = self._trial
        return self._problem or (trial.problem() if trial else None)

    def check(self) -> None:
        """Check that the alarm can load it, beside the model in use, once this is closed. Raises ModelError."""
        if self._need_mb is not None:
            check_fits(room(), self._need_mb)

    def close(self, within_s: float) -> None:
        """End it, within so many seconds."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._stop.wait(self._look())
            except Exception as error:  # whatever the new model does, the alarm goes on
                if self._stop.is_set():
                    return
                self._problem = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
                log.warning("the new model %s is not tried: %s", self._name, self._problem)
                log.debug("attempt", exc_info=error)
                self._stop.wait(RETRY_S)

    def _look(self) -> float:
        """Try it as the memory allows; return for how many seconds nothing else is to be done."""
        if self._need_mb is None:
            self._need_mb = need_mb(self._model, self._stop)
        how, why = way(room(), self._need_mb)
        if how == "beside" and not self._short and self._lost is None:
            self._lost = self._find_lost()
            return 0.0  # memory may be short by now
        log.info("New model %s: %s.", self._name, why)
        if how == "beside" and not self._short:
            self.how, self._problem = how, None
            self._short = self._ends_beside()
            return 0.0
        if how != "none" and self._kept:
            self.how = "kept"
            if (saved := self._saved()).kept:
                self._counts = saved
            self._counts = self._kept(self._stop)
            self._problem = None
            if not self._short:  # what was counted beside it stays
                self._keep(self._counts)
            return NEW_PICTURES_S
        self.how = "none"
        if how != "none":
            why = "memory is too short for both, and no pictures are kept; turn on record: in the config"
        self._problem = f"the new model is not tried: {why}, or choose on the page"
        return RETRY_S

    def _find_lost(self) -> int:
        """Return how many alarms that people confirmed it would miss; a trial beside sees only what comes."""
        saved = self._saved()
        found = beside(saved)
        if self._kept and not found.compared:
            self.how = "before"
            try:
                found = replace(found, right_lost=self._kept(self._stop).right_lost, compared=True)
            except ModelError as error:
                log.warning("kept pictures are not compared before the trial: %s", error)
        if found != saved:
            self._keep(found)
        return found.right_lost

    def _keep(self, counts: TrialCounts) -> None:
        try:
            self._save(counts)
        except OptionError as error:
            log.warning("what became of the kept pictures cannot be saved: %s", error)

    def _ends_beside(self) -> bool:
        """Try it beside the model in use; return True where memory became short, False where it is closed."""
        trial = self._trial = self._beside()
        while not self._stop.wait(WATCH_S):
            if room().available_mb < LEAST_MB:
                log.warning("memory is short, so the new model is not tried beside the one in use any more")
                self._trial = None
                break
        trial.close(END_S)
        return self._trial is None
