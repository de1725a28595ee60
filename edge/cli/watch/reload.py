"""Reload: on SIGHUP ``watch`` reads its config again and continues with a new alarm in the same process.

For a new model it does the same with the settings in use: what somebody edits meanwhile is not read.

``Reload`` checks the config while the alarm watches, closes the alarm, and makes the next one. The open journal, its
lock, the run, the clock, the problems and the limits of messages and noise go from one alarm to the next.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edge.background import DeadlineError, call_in_thread
from edge.device.watchdog import RESTART, Notifier
from edge.errors import BearAlarmError
from edge.settings import Settings

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.background import Sink
    from edge.cli.watch.signals import Stop
    from edge.detect.classifier import Classifier
    from edge.status import Ask

log = logging.getLogger(__name__)

DRAIN_S = 2.0  # what is not sent by then waits in the journal, which stays open
MAX_CLOSE_S = 10.0  # a picture of a folder that is still looked at may take 5
MAX_MAKE_S = 30.0  # of the next alarm: its model is loaded before, and its cameras open later
MAX_UNSEEN_S = 3.0  # after a reload; a camera that takes longer is named
MAX_READ_S = 60.0  # a file that takes so long to be read lies on a disk that hangs
FEED_S = 1.0

CONFIG = "config"  # the part of health that reports it


@dataclass(frozen=True)
class Checked:
    """A config that was read again and is good, with its model loaded."""

    settings: Settings
    classifier: Classifier


class Reload:
    """Reads and checks the config in a thread on SIGHUP, while the alarm watches; then exchanges the alarm.

    What cannot be used is logged, is the ``problem`` until something better is read, and changes nothing.
    """

    def __init__(self, settings: Callable[[], Settings], config: Path, notifier: Notifier) -> None:
        self.config = config
        self.notifier = notifier
        self._settings = settings
        self._problem: str | None = None
        self._reading: Future[Checked] | None = None
        self._began = 0.0  # time.monotonic()
        self._reads = self._ended = 0  # how often a config was begun to be read, and was read
        self._new_model = False  # another model is to be used, the settings stay
        self._model_only = False  # of what is being read
        self._good: Checked | None = None  # waits until the problem before it has ended
        self._unseen_since: float | None = None  # time.monotonic(), until it is logged
        self._in_use = ""  # which config, in words

    def __call__(self, alarm: Alarm, stop: Stop) -> Checked | None:
        """Read the config when a signal came; return it when it is good. Call it often, from the main loop."""
        self._log_unseen(alarm)
        if self._reading is None and (stop.hung_up or (self._new_model and self._good is None)):
            self._model_only = not stop.hung_up
            if self._model_only:  # before it is read: what comes meanwhile is another
                self._new_model = False
            else:
                stop.hung_up = False
            self.begin(alarm)
        if self._reading and self._reading.done():
            reading, self._reading = self._reading, None
            if not self._model_only:
                self._problem = None
            if error := reading.exception():
                self.refuse(error)
                if self._model_only and alarm.updates:
                    alarm.updates.not_loaded = True
                self.notifier.ready(f"watching with the previous {self._what}")
            else:
                self._good = reading.result()
            self._ended = self._reads
        # Health must report first that the config is no problem any more.
        if self._reading or self._good is None or (not self._model_only and CONFIG in alarm.status().problems):
            return None
        found, self._good = self._good, None
        self._new_model &= self._model_only  # a config comes with its model; the next alarm asks for a newer one
        self._unseen_since = time.monotonic()
        return found

    def ask(self, stop: Stop) -> Ask:
        """Have the config read again; return what says how it went: None until it was read, then its problem or ""."""
        number = self._reads + 1  # one that is being read now may have been read before this
        stop.ask_reload()
        return lambda: (self._problem or "") if self._ended >= number else None

    def ask_model(self) -> None:
        """Have the model loaded that is the current one now, with the settings in use; from any thread."""
        self._new_model = True

    def problem(self) -> str | None:
        """Return why the config on the disk is not the one in use."""
        if self._reading and time.monotonic() - self._began > MAX_READ_S:
            return (
                f"{self.config} has been read for more than {MAX_READ_S:g} s; its disk or the model's does not answer"
            )
        return self._problem

    def begin(self, alarm: Alarm) -> None:
        """Read the config and, where it is another one, its model; or the model alone."""
        self.notifier.reloading()
        self._good = None
        self._reads += not self._model_only
        self._began = time.monotonic()
        settings = (lambda: alarm.settings) if self._model_only else self._settings
        self._reading = call_in_thread(partial(_checked, settings, alarm.classifier), "reload")

    def refuse(self, error: BaseException) -> None:
        """Log why this config or model is not used."""
        words = str(error) if isinstance(error, BearAlarmError) else f"internal error ({type(error).__name__}: {error})"
        log.error("%s\nThe previous %s stays in use.", words, self._what)
        log.debug("%s", self.config, exc_info=error)
        if self._model_only:
            return
        first, *more = words.splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        self._problem = f"the changed config is not used: {first}{rest}; correct it and reload"

    @property
    def _what(self) -> str:
        return "model" if self._model_only else "config"

    def close(self, alarm: Alarm) -> None:
        """Close the alarm, and keep its journal open for the next one. What hangs is silenced and left behind."""

        def close() -> None:
            try:
                alarm.stop_cameras()
            finally:
                alarm.close(DRAIN_S, keep=True)

        closing = call_in_thread(close, "closing the alarm")
        if not self._await(closing, MAX_CLOSE_S):
            alarm.silence()
            log.warning(
                "A disk or a camera does not answer. The previous alarm is left behind, and the next one starts."
            )
        elif error := closing.exception():
            alarm.silence()
            log.error("internal error (%s: %s). The next alarm starts all the same.", type(error).__name__, error)

    def restarted(self, before: Alarm, new: Checked, terminal: Sink) -> Alarm:
        """Return the next alarm: of the new settings, or where that cannot be made, of those before.

        Raises typer.Exit with the code that has a service start it again where neither can.
        """
        waits = new.settings.waits or before.condition is not None  # a camera that does not open at once is only down
        more: dict[str, Any] = {"terminal": terminal, "before": before}
        what = f"the model {new.classifier.name}" if self._model_only else f"{self.config} was read again and"
        self._in_use = f"{what} is in use now"
        try:
            after = self._make(replace(new.settings, waits=waits), classifier=new.classifier, **more)
        except DeadlineError as error:
            raise self._given_up(before, error) from error
        except Exception as error:
            self.refuse(error)
            self._in_use = f"The previous {self._what} is in use again"
        else:
            if not (after.alerting and after.alerting.shared):
                before.drop()  # it has another state folder, or none
            return after
        try:
            return self._make(replace(before.settings, waits=waits), classifier=before.classifier, **more)
        except Exception as error:
            raise self._given_up(before, error) from error

    def _make(self, settings: Settings, **more: Any) -> Alarm:
        """Return an alarm. Raises DeadlineError where a disk hangs, and what ``Alarm`` raises."""
        from edge.alarm import Alarm

        making = call_in_thread(partial(Alarm, settings, **more), "the next alarm")
        if not self._await(making, MAX_MAKE_S):
            raise DeadlineError(f"the alarm did not start within {MAX_MAKE_S:g} s; a disk does not answer")
        return making.result()

    def _given_up(self, before: Alarm, error: Exception) -> typer.Exit:
        before.drop()
        log.error("%s\nThe alarm cannot continue in this process. It ends, and a service starts it again.", error)
        log.debug("%s", self.config, exc_info=error)
        return typer.Exit(RESTART)

    def _await(self, work: Future[Any], within_s: float) -> bool:
        """Wait for the work and feed the watchdog meanwhile; False when it takes longer."""
        until = time.monotonic() + within_s
        while not work.done() and (left_s := until - time.monotonic()) > 0.0:
            concurrent.futures.wait([work], min(left_s, FEED_S))
            self.notifier.feed()
        return work.done()

    def _log_unseen(self, alarm: Alarm) -> None:
        """Log once for how long no camera was watched; a camera that takes longer than 3 s is named."""
        if self._unseen_since is None:
            return
        lasted_s = time.monotonic() - self._unseen_since
        missing = [thread.camera.name for thread in alarm.threads if thread.awaits_frame]
        if missing and lasted_s < MAX_UNSEEN_S:
            return
        self._unseen_since = None
        still = f"; no picture yet of {', '.join(missing)}" if missing else ""
        log.info("%s; nothing was seen for %.1f s%s.", self._in_use, lasted_s, still)


def _checked(settings: Callable[[], Settings], loaded: Classifier) -> Checked:
    """Return what an alarm can be made of. Raises what is wrong with it."""
    from edge.camera_thread import rule_for
    from edge.detect.classifier import load

    found = settings()
    classifier = load(found.model, found.state, loaded=loaded)
    for camera in found.cameras:
        rule_for(classifier, camera.settings)
    return Checked(found, classifier)
