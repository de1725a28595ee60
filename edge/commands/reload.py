"""SIGHUP: the config is read again beside the running alarm, and taken over only where all of it can be meant."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BearAlarmError

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.detect.classifier import Classifier
    from edge.device.watchdog import Notifier
    from edge.settings import Settings

log = logging.getLogger(__name__)

HANGS_S = 60.0  # a file that takes so long to be read lies on a disk that hangs


class Reload:
    """Reads and checks in a thread of its own what ``settings`` gives; ``tick`` takes it over, in the main thread.

    What cannot be used is said, is the ``problem`` until something better is read, and changes nothing.
    """

    def __init__(self, alarm: Alarm, settings: Callable[[], Settings], config: Path, notifier: Notifier) -> None:
        self.alarm = alarm
        self.config = config
        self.notifier = notifier
        self._settings = settings
        self._problem: str | None = None
        self._thread: threading.Thread | None = None
        self._began = 0.0  # time.monotonic()
        self._read: tuple[Settings, Classifier | None] | BaseException | None = None

    def problem(self) -> str | None:
        """Why the config on the disk is not the one that holds, in one sentence."""
        if self._thread and time.monotonic() - self._began > HANGS_S:
            return f"{self.config} has been read for more than {HANGS_S:g} s; its disk or the model's does not answer"
        return self._problem

    def begin(self) -> bool:
        """Read it again; False while that is under way already."""
        if self._thread:
            return False
        self.notifier.reloading()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._prepare, name="reload", daemon=True)
        self._thread.start()
        return True

    def tick(self) -> None:
        """Take over what has been read, if anything has."""
        if self._thread is None or self._thread.is_alive():
            return
        self._thread = None
        read, self._read = self._read, None
        if isinstance(read, tuple):
            try:
                self.alarm.change(*read)
            except Exception as error:  # whatever it is, the alarm goes on
                self._refuse(error)
            else:
                self._problem = None
                log.info("%s was read again, and holds from now on.", self.config)
                self._say_later(read[0])
        elif read is not None:
            self._refuse(read)
        self.notifier.ready("read again" if self._problem is None else "going on with the config of before")

    def _say_later(self, wanted: Settings) -> None:
        """What is taken over only by another start."""
        holds = self.alarm.settings
        pairs = (("state", wanted.state, holds.state), ("trace", wanted.trace, holds.trace))
        if later := [name for name, new, old in pairs if new != old]:
            log.warning("%s: %s: this holds from the next start on; start it again", self.config, ", ".join(later))

    def _prepare(self) -> None:
        """What takes long: the file, and the model where it is another."""
        try:
            settings = self._settings()
            self._read = settings, self._other_model(settings)
        except Exception as error:
            self._read = error

    def _other_model(self, settings: Settings) -> Classifier | None:
        from edge.detect.classifier import file_digest, find, load

        path = find(settings.model)
        if file_digest(path) == self.alarm.classifier.digest:
            return None
        classifier = load(settings.model)
        return None if classifier.digest == self.alarm.classifier.digest else classifier

    def _refuse(self, error: BaseException) -> None:
        words = str(error) if isinstance(error, BearAlarmError) else f"internal error ({type(error).__name__}: {error})"
        log.error("%s\nGoing on with the config of before.", words)
        log.debug("%s", self.config, exc_info=error)
        first, *more = words.splitlines()
        rest = f" (and {len(more)} more)" if more else ""
        self._problem = f"the changed config is not used: {first}{rest}; mend it and reload"
