"""A new model is tried as the memory allows: beside the model in use, or on kept pictures, one after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from edge.background import start_thread
from edge.errors import ModelError
from edge.update.memory import LEAST_MB, Way, check_fits, need_mb, room, way
from edge.update.trial import TrialCounts

log = logging.getLogger(__name__)

WATCH_S = 5.0  # how often the free memory is looked at during a trial
AGAIN_S = 24 * 3600.0  # until kept pictures are compared again: there may be new ones
RETRY_S = 600.0  # until memory that was short is looked at again
END_S = 5.0  # what a trial may take to end


class Beside(Protocol):
    """A trial beside the model in use: ``edge.update.trial.Trial``."""

    counts: TrialCounts

    def problem(self) -> str | None:
        """Return why it cannot go on."""

    def close(self, within_s: float) -> None:
        """End it."""


class Attempt:
    """Tries one new model in a thread of its own, until ``close``.

    ``beside`` begins a trial beside the model in use. ``kept`` compares the two on kept pictures until the event is
    set; None: no pictures are kept. Both may raise ModelError.
    """

    def __init__(
        self,
        model: Path,
        beside: Callable[[], Beside],
        kept: Callable[[threading.Event], TrialCounts] | None,
    ) -> None:
        self.how: Way | Literal[""] = ""  # not known yet
        self._model = model
        self._beside = beside
        self._kept = kept
        self._need_mb: float | None = None
        self._trial: Beside | None = None
        self._counts = TrialCounts()
        self._problem: str | None = None
        self._stop = threading.Event()
        self._thread = start_thread(self._run, "new model")

    @property
    def counts(self) -> TrialCounts:
        """Return what was counted so far."""
        trial = self._trial
        return trial.counts if trial else self._counts

    def problem(self) -> str | None:
        """Return why it is not tried, in one sentence without a full stop."""
        trial = self._trial
        return self._problem or (trial.problem() if trial else None)

    def check(self) -> None:
        """Check that the alarm can load it, beside the model in use. Raises ModelError."""
        if self._need_mb is not None and self.how != "beside":
            check_fits(room(), self._need_mb)

    def close(self, within_s: float) -> None:
        """End it, within so many seconds."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        try:
            self._need_mb = need_mb(self._model, self._stop)
            short = False
            while not self._stop.is_set():
                how, why = way(room(), self._need_mb)
                log.info("New model: %s.", why)
                if how == "beside" and not short:
                    self.how, self._problem = how, None
                    short = self._ends_beside()
                elif how != "none" and self._kept:
                    self.how, self._problem = "kept", None
                    self._counts = self._kept(self._stop)
                    self._stop.wait(AGAIN_S)
                else:
                    self.how = "none"
                    self._problem = f"the new model is not tried: {why}" + (
                        "" if self._kept else "; no pictures are kept"
                    )
                    self._stop.wait(RETRY_S)
        except Exception as error:  # whatever the new model does, the alarm goes on
            if not self._stop.is_set():
                self._problem = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
                log.warning("the new model is not tried: %s", self._problem)
                log.debug("attempt", exc_info=error)

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
