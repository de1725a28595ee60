"""``bear-alarm alert test``: send a marked event down the real path, and print what each channel answers."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ConfigOpt, StateOpt, alert_settings, config_for, options_of, settings_of
from edge.cli.watch.signals import stop_on_signal
from edge.settings import AlertSettings

if TYPE_CHECKING:
    from edge.alert.dispatch import Alerting
    from edge.schema import Event


log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Send a test alarm through every channel.")

WITHDRAWN = "a test that was over before it could be delivered"
HEARD_S = 3.0  # how long what makes a noise is listened to
PICTURE = ", picture"  # behind the name of who gets it
STEP_S = 0.1  # how often to look whether somebody says stop
CLOSE_S = 5.0


@app.callback()
def alert() -> None:
    """Send a test alarm through every channel."""


@app.command("test")
@options_of(alerts=alert_settings)
def try_everyone(
    config: ConfigOpt = None,
    wait: Annotated[float, typer.Option(min=1.0, max=300.0, help="Seconds to wait for answers over a network.")] = 20.0,
    state: StateOpt = None,
    *,
    alerts: Callable[..., AlertSettings],
) -> None:
    """Tell everyone as of a bear, marked as a test, and show what each of them answers.

    It goes by the config, as `watch` does, and takes the same options. What makes a noise makes it, for three seconds.
    Exit code 0: all of them were told; 1: at least one was not.
    """
    from edge.alert.dispatch import Alerting
    from edge.files import made_state_folder
    from edge.record.journal import Clock
    from edge.run import EventFactory

    path = config_for(config)
    base = settings_of(path)
    if path:
        log.info("Settings from %s.", path)
    settings = alerts(base.alerts)
    clock = Clock()
    run = EventFactory(clock_synced=clock.synced)
    answers = Answers()
    folder = made_state_folder(state or base.state)
    alerting = Alerting(settings, run, state=folder, clock=clock, answered=answers, guest=True)
    try:
        with stop_on_signal() as stop, tempfile.TemporaryDirectory(prefix="bear-alarm-") as scratch:
            stop.silenced_by(alerting.silence)
            words = "a test of the alarm: there is no bear"
            event = run.event("test", "new", uuid.uuid4().hex, "test", label="test", detail=words, latency_ms=0.0)
            answers.about = event.id
            expected = alerting.expected(event)
            for who, problem in alerting.missing.items():
                answers(who, event, problem, 0.0)
            heard = threading.Timer(HEARD_S, alerting.silence)
            heard.daemon = True
            heard.start()
            alerting.tell(event)
            if any(each.channel.pictures for each in alerting.deliverers):
                alerting.attach(event, _picture(Path(scratch) / "test.jpg"))
            if alerting.deliverers:
                log.info("Waiting for answers, %g s at most …", wait)
            waited_s = answers.wait(expected, wait, stop, alerting.hopeless)
            if not settings.silent:
                stop.wait(max(0.0, heard.interval - waited_s))
            heard.cancel()
            ailing = alerting.ailing
            alerting.silence()
            _withdraw(alerting, event)
    finally:
        alerting.close(CLOSE_S)
    told = answers.show(expected, ailing)
    if not told:
        log.info("What FAILED is not sent later: mend it, and run the test again.")
    if alerting.journal and alerting.journal.problem:
        log.warning("%s", alerting.journal.problem)
    if not settings.anyone:
        log.info("Nobody but this terminal would be told; `bear-alarm watch --help-all` lists who can be.")
    raise typer.Exit(0 if told else 1)


class Answers:
    """Collects each channel's answer to one event, by name; for any thread."""

    def __init__(self) -> None:
        self.about = ""  # the event's id
        self._heard: dict[str, tuple[str | None, float]] = {}
        self._changed = threading.Condition()

    def __call__(self, who: str, event: Event, problem: str | None, took_ms: float) -> None:
        """Note one answer; the last of several tries counts."""
        if event.id == self.about:
            with self._changed:
                self._heard[who] = problem, took_ms
                self._changed.notify_all()

    def wait(
        self,
        expected: dict[str, bool],
        within_s: float,
        stop: threading.Event,
        hopeless: Callable[[], set[str]] = set,
    ) -> float:
        """Wait until everyone has answered, and what is tried again has succeeded; the seconds that took.

        It ends after ``within_s``, and when ``stop`` is set. ``expected``: who, and whether one that failed is tried
        again. ``hopeless``: who has refused it for good.
        """
        began = time.monotonic()
        with self._changed:
            while not (self._over(expected, hopeless()) or stop.is_set() or time.monotonic() - began >= within_s):
                self._changed.wait(STEP_S)
        return time.monotonic() - began

    def _over(self, expected: dict[str, bool], hopeless: set[str]) -> bool:
        def answered(who: str, again: bool) -> bool:
            if who.removesuffix(PICTURE) in hopeless:
                return True
            return who in self._heard and not (again and self._heard[who][0])

        return all(answered(who, again) for who, again in expected.items())

    def _of(self, who: str) -> tuple[str | None, float]:
        """Collect the answers; the picture of a failed message is not sent."""
        word = self._heard.get(who.removesuffix(PICTURE))
        if who.endswith(PICTURE) and who not in self._heard and (word is None or word[0]):
            return "the picture was not sent, because the message before it failed", 0.0
        return self._heard.get(who, ("no answer", 0.0))

    def show(self, expected: dict[str, bool], ailing: dict[str, str]) -> bool:
        """Print a line for each; return True if all were reached. ``ailing``: those known not to work."""
        width = max((len(who) for who in expected), default=0)
        told = True
        for who in expected:
            problem, took_ms = self._of(who)
            problem = problem or ailing.get(who)
            told = told and problem is None
            log.info(
                "%s  %s", who.ljust(width), f"OK, after {took_ms:.0f} ms" if problem is None else f"FAILED: {problem}"
            )
        return told


def _withdraw(alerting: Alerting, event: Event) -> None:
    """Withdraw what could not be delivered now: it must not come as news in three days."""
    if alerting.journal is None:
        return
    for deliverer in alerting.deliverers:
        for waiting in alerting.journal.waiting(deliverer.key, newest_first=True):
            if waiting.event.id == event.id:
                alerting.journal.park(waiting.row, WITHDRAWN)


def _picture(path: Path) -> Path:
    """Return a picture that says what it is."""
    import cv2
    import numpy as np

    picture = np.full((360, 640, 3), 60, np.uint8)
    for row, words in enumerate(("TEST", "of the bear alarm", "there is no bear")):
        cv2.putText(picture, words, (40, 110 + 80 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 3)
    cv2.imwrite(str(path), picture)
    return path
