"""``bear-alarm alert test``: send a test alarm through every channel, and print what each channel answers."""

from __future__ import annotations

import concurrent.futures
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.background import NO_ANSWER, call_in_thread
from edge.cli.options import ConfigOpt, alert_settings, config_for, options_of, settings_of, stages_of
from edge.cli.watch.signals import Stop, stop_on_signal
from edge.errors import OptionError
from edge.schema import TEST_S
from edge.settings import AlertSettings

if TYPE_CHECKING:
    from edge.record.outbox import Channel
    from edge.schema import Event


log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Send a test alarm through every channel.")

PICTURE = ", picture"  # behind the name of a channel
STEP_S = 0.1  # between two looks at the answers
LATE_S = 1.0  # a channel that is not reached reports its problem at the end of the wait
CLOSE_S = 5.0
NOT_SENT = "the picture was not sent, because the message before it failed"


@app.callback()
def alert() -> None:
    """Send a test alarm through every channel."""


@app.command("test")
@options_of(alerts=alert_settings)
def send_test(
    config: ConfigOpt = None,
    wait: Annotated[float, typer.Option(min=1.0, max=300.0, help="Seconds to wait for answers over a network.")] = 20.0,
    *,
    alerts: Callable[..., AlertSettings],
) -> None:
    """Send an alarm that is marked as a test through every channel, and show what each of them answers.

    It uses the config, as `watch` does, and takes the same options. Sounds, relays and lamps are on for three seconds.
    The test is in no journal: what fails now is not sent later. Exit code 0: all of them took it; 1: at least one did
    not.
    """
    from edge.record.run import EventFactory

    path = config_for(config)
    if path:
        log.info("Settings from %s.", path)
    base = settings_of(path)
    settings = alerts(base.alerts)
    words = "a test of the alarm: there is no bear"
    event = EventFactory().event("test", "new", uuid.uuid4().hex, "test", label="test", detail=words, latency_ms=0.0)
    with stop_on_signal() as stop:
        answers = Answers()
        problems = _sent(event, settings, answers, stop, wait)
    reached = answers.show(problems)
    if not reached:
        log.info("What FAILED is not sent later: mend it, and run the test again.")
    if not settings.anyone:
        log.info("Only this terminal is alerted; `bear-alarm watch --help-all` lists the other ways.")
    for name, history in stages_of(base, path).items():
        if history[-1].stage == "shadow":
            log.warning("%s is in shadow: a real bear would reach nobody.", name)
        elif history[-1].stage == "supervised":
            log.warning("%s is supervised: people would be notified, and noises would wait for a yes.", name)
    raise typer.Exit(0 if reached else 1)


def _sent(event: Event, settings: AlertSettings, answers: Answers, stop: Stop, wait_s: float) -> dict[str, str]:
    """Send the event everywhere, and wait for the answers; return the local sinks that do not work, with the reason."""
    from edge.alert.alerting import JsonLines, line_worker
    from edge.alert.local_sinks import LocalSinks, Unavailable
    from edge.alert.remote_channels import channel_plans, made

    missing, local = Unavailable(), LocalSinks(answers)
    lines = line_worker(JsonLines(settings.events), answers) if settings.events else None
    channels = list(made(channel_plans(settings, guest=True), missing).values())
    with _picture() if any(each.pictures for each in channels) else nullcontext() as picture:
        try:
            stop.silenced_by(local.silence)
            local.make(settings)
            workers = [each for each in (*local.workers, lines) if each and each.wants(event)]
            answers.expect(each.name for each in workers)
            for channel in channels:
                answers.expect([channel.key, *([channel.key + PICTURE] if channel.pictures else [])])
            for who, problem in (local.missing.why | missing.why).items():
                answers(who, event, problem, 0.0)
            silent_at = time.monotonic() + (0.0 if settings.silent else TEST_S)
            for worker in workers:
                worker(event)
            if channels:
                log.info("Waiting for answers, %g s at most …", wait_s)
            until = time.monotonic() + wait_s
            for channel in channels:
                call_in_thread(partial(_send, channel, event, picture, answers, until), f"send {channel.key}")
            while not stop.is_set() and not answers.complete and time.monotonic() < until + LATE_S:
                stop.wait(STEP_S)
                if time.monotonic() >= silent_at:
                    local.silence()
            stop.wait(max(0.0, silent_at - time.monotonic()))
            problems = local.problems
            for worker in workers:
                worker.close(CLOSE_S)
        finally:
            local.silence()
            closing = [call_in_thread(each.close, f"close {each.key}") for each in channels]
            concurrent.futures.wait(closing, CLOSE_S)
    return problems


def _send(channel: Channel, event: Event, picture: Path | None, answers: Answers, until: float) -> None:
    """Send the message, then its picture, and note what came of each; ``until``: time.monotonic()."""
    from edge.alert.remote_channels import send_once
    from edge.record.outbox import Message

    connected = threading.Event()
    channel.listen(connected.set)
    messages = [(channel.key, Message((event,), "word"))]
    if channel.pictures:
        messages.append((channel.key + PICTURE, Message((event,), "picture", picture)))
    for who, message in messages:
        began = time.monotonic()
        problem = send_once(channel, message, until, connected)
        answers(who, event, problem, (time.monotonic() - began) * 1000.0)
        if problem:
            if who == channel.key and channel.pictures:
                answers(who + PICTURE, event, NOT_SENT, 0.0)
            return


class Answers:
    """Collects the answer of each sink and channel, by name; for any thread."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[str | None, float] | None] = {}  # the problem, and milliseconds

    def expect(self, names: Iterable[str]) -> None:
        """Wait for these too."""
        self._heard |= dict.fromkeys(names)

    def __call__(self, who: str, event: Event, problem: str | None, took_ms: float) -> None:
        """Note one answer."""
        self._heard[who] = problem, took_ms

    @property
    def complete(self) -> bool:
        """Return True once all have answered."""
        return all(self._heard.values())

    def show(self, problems: Mapping[str, str]) -> bool:
        """Print a line for each; return True if all were reached. ``problems``: of those known not to work."""
        width = max((len(who) for who in self._heard), default=0)
        reached = True
        for who, answer in self._heard.items():
            problem, took_ms = answer or (NO_ANSWER, 0.0)
            problem = problem or problems.get(who)
            reached = reached and problem is None
            log.info("%s  %s", who.ljust(width), f"FAILED: {problem}" if problem else f"OK, after {took_ms:.0f} ms")
        return reached


@contextmanager
def _picture() -> Iterator[Path]:
    """Write a picture that is marked as a test, and delete it. Raises OptionError where no file can be written."""
    import cv2
    import numpy as np

    picture = np.full((360, 640, 3), 60, np.uint8)
    for row, words in enumerate(("TEST", "of the bear alarm", "there is no bear")):
        cv2.putText(picture, words, (40, 110 + 80 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 3)
    try:
        folder = tempfile.TemporaryDirectory(prefix="bear-alarm-")
    except OSError as error:
        raise OptionError(f"no temporary file can be written ({error}); free some space, and run it again") from None
    with folder:
        path = Path(folder.name) / "test.jpg"
        cv2.imwrite(str(path), picture)
        yield path
