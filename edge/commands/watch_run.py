"""How ``bear-alarm watch`` runs: from the start of the alarm to the last word, and what signals and a service do."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.commands.stopping import Stop, stop_on_signal
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Order, Watchdog

if TYPE_CHECKING:
    from edge.alarm import Alarm
    from edge.commands.reload import Reload
    from edge.record.trace import Trace
    from edge.schema import Event
    from edge.settings import Settings

log = logging.getLogger(__name__)

TICK_S = 0.1
JUDGE_S = 1.0  # how often it is judged whether all goes on
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end
LAST_S = 30.0  # after an order to start again: whatever hangs then is why it was given

EXITS: dict[Order, int] = {"restart": RESTART, "reboot": REBOOT}


def run_alarm(
    settings: Callable[[], Settings], config: Path | None, *, quiet: bool = False, verbose: bool = False
) -> None:
    """Watch with what ``settings`` gives, which is asked again on SIGHUP where there is a ``config``.

    ``quiet``: of what is usual only alarms are said. ``verbose``: what it costs is said too.
    """
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    say = log.debug if quiet else log.info
    if config:
        say("Settings from %s.", config)
    alarm: Alarm | None = None
    order: Order | None = None
    with stop_on_signal(reloads=config is not None) as stop:  # first: a signal may come at any moment
        wanted = settings()
        from edge.alarm import Alarm, complaints
        from edge.commands.watch_words import alert, introduce, next_steps, sum_up

        pictures: list[str] = []  # of the alarms, the first few

        def show(event: Event) -> None:
            wrong = event.alarms or (event.kind != "bear" and event.type == "new")
            log.log(logging.WARNING if wrong else logging.INFO, "%s", alert(event))
            if event.alarms and event.evidence and len(pictures) < 2:
                pictures.append(event.evidence)

        try:
            alarm = Alarm(wanted, terminal=show)
            stop.silenced_by(alarm.silence)
            introduce(alarm, say, verbose=verbose)
            demo = _tell_the_demo(alarm, say)
            started = time.perf_counter()
            with dump_on_request(alarm.trace):
                order = _watch(alarm, settings, config, stop, notifier, show=not quiet)
            taken_s = time.perf_counter() - started
        finally:
            notifier.stopping()
            if order:
                _end_at_last(order)
            if alarm:
                alarm.close(DRAIN_STOPPED_S if stop.is_set() or order else DRAIN_S)
    for post in alarm.posts:
        for problem in post.source.problems:
            log.warning("%s", problem)
    sum_up(alarm, taken_s, say, pictures, verbose=verbose)
    for line in alarm.losses():
        say("%s", line)
    for line in next_steps() if demo else ():
        say("%s", line)
    if order:
        logging.shutdown()
        # At once: a driver that hangs may abort the interpreter's own end, and with it lose this code.
        os._exit(EXITS[order])
    if alarm.failed and not stop.is_set():
        for words in complaints(alarm.posts)[1:]:
            log.error("%s", words)
        raise alarm.failed[0]


def _tell_the_demo(alarm: Alarm, say: Callable[..., None]) -> bool:
    """Have the story of the bundled clip told while it plays; whether it is watched at all."""
    from edge.demo.story import Story

    posts = [post for post in alarm.posts if post.camera.source == "demo"]
    for post in posts:
        post.watcher.trace = Story(lambda line: say("%s", line), post.watcher.trace)
    return bool(posts)


def _watch(
    alarm: Alarm,
    settings: Callable[[], Settings],
    config: Path | None,
    stop: Stop,
    notifier: Notifier,
    *,
    show: bool,
) -> Order | None:
    """Until the sources end, somebody says stop, or it is better to start again: that order is returned."""
    from edge.commands.watch_progress import progress

    health = alarm.settings.health
    watchdog = Watchdog(notifier)
    escalation = Escalation(
        alarm.state or Path(), health.restart_after_s, health.reboot, present=notifier.present and bool(alarm.state)
    )
    alarm.ask("watchdog", watchdog.problem)
    reload = _reload(alarm, settings, config, notifier)
    alarm.start()
    notifier.ready(f"watching {', '.join(post.camera.name for post in alarm.posts)}")
    judged, said = 0.0, ""
    order: Order | None = None
    with progress(alarm, show):
        while alarm.alive and not (order or stop.wait(TICK_S)):
            now = time.monotonic()
            try:
                alarm.tick(now)
                if now - judged >= JUDGE_S:
                    judged = now
                    status = alarm.status(now)
                    watchdog(status, now)
                    escalation.restart_after_s = alarm.settings.health.restart_after_s
                    escalation.reboot = alarm.settings.health.reboot
                    order = escalation(status, now)
                if reload:
                    if stop.hung_up:
                        stop.hung_up = False  # before it is read: what comes meanwhile is another
                        if not reload.begin():
                            stop.hung_up = True
                    reload.tick()
            except Exception as error:
                # The cameras are watched on; where this lasts, the watchdog is not fed, and a service starts it again.
                words = f"internal error ({type(error).__name__}: {error})"
                log.log(logging.DEBUG if words == said else logging.ERROR, "%s; the cameras are still watched", words)
                log.debug("in the main loop", exc_info=error)
                said = words
    alarm.let_go()
    return order


def _end_at_last(order: Order, within_s: float = LAST_S) -> None:
    """End the process in so many seconds, whatever still waits for a driver or a disk."""
    timer = threading.Timer(within_s, os._exit, (EXITS[order],))
    timer.daemon = True
    timer.start()


def _reload(alarm: Alarm, settings: Callable[[], Settings], config: Path | None, notifier: Notifier) -> Reload | None:
    if config is None:
        return None
    from edge.commands.reload import Reload

    reload = Reload(alarm, settings, config, notifier)
    alarm.ask("config", reload.problem)
    return reload


@contextmanager
def dump_on_request(recorder: Trace | None) -> Iterator[None]:
    """SIGUSR1 has everything written that is in memory, so that `why` can look at the last minutes."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def flush(*_: object) -> None:
        if recorder:
            recorder.flush("SIGUSR1")

    # Handled without a trace too: what nobody handles ends the program.
    before = signal.signal(signal.SIGUSR1, flush)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
