"""The run of ``watch``: from the start to the last word.

The main loop ticks until the sources end or a signal comes. A reload (``edge.cli.watch.reload``) ends one alarm in good
order and begins the next in this process.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.background import start_thread
from edge.cli.watch.progress_bar import progress
from edge.cli.watch.reload import CONFIG, Checked, Reload
from edge.cli.watch.signals import LAST_S, Stop, dump_on_request, stop_on_signal
from edge.cli.watch.summary import Say, introduce, next_steps, sum_up
from edge.cli.watch.terminal import Terminal
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Order, Watchdog
from edge.settings import Settings

if TYPE_CHECKING:
    from edge.alarm import Alarm

log = logging.getLogger(__name__)

TICK_S = 0.1
JUDGE_S = 1.0  # how often the watchdog and the escalation look at the status
DRAIN_S = 35.0  # an alarm's command may take 30
DRAIN_STOPPED_S = 5.0  # when somebody waits for the end
EXITS: dict[Order, int] = {"restart": RESTART, "reboot": REBOOT}


def run_alarm(
    settings: Callable[[], Settings], config: Path | None, *, quiet: bool = False, verbose: bool = False
) -> None:
    """Watch with what ``settings`` gives; it is called again on SIGHUP where there is a ``config``.

    ``quiet``: print alarms only. ``verbose``: print what it costs too.
    """
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    say = log.debug if quiet else log.info
    if config:
        say("Settings from %s.", config)
    terminal = Terminal()
    with stop_on_signal(reloads=config is not None) as stop:  # first: a signal may come at any moment
        try:
            wanted = settings()
            from edge.alarm import Alarm
            from edge.camera_thread import complaints

            alarm = Alarm(wanted, terminal=terminal)
        except BaseException:
            notifier.stopping()
            raise
        reload = Reload(settings, config, notifier) if config else None
        with dump_on_request(lambda: alarm.trace):
            while True:
                introduce(alarm, say, verbose=verbose)
                demo = _narrate_demo(alarm, say)
                end, taken_s = _run(alarm, reload, stop, notifier, show=not quiet)
                if reload is None or not isinstance(end, Checked):
                    break
                _report(alarm, taken_s, say, terminal, verbose=verbose)
                alarm = reload.restarted(alarm, end, terminal)
    _report(alarm, taken_s, say, terminal, verbose=verbose)
    for line in next_steps() if demo else ():
        say("%s", line)
    if isinstance(end, str):
        logging.shutdown()
        # At once: a driver that hangs may abort the interpreter's own end, and with it lose this code.
        os._exit(EXITS[end])
    if alarm.failed and not stop.is_set():
        for line in complaints(alarm.threads)[1:]:
            log.error("%s", line)
        raise alarm.failed[0]


def _run(
    alarm: Alarm, reload: Reload | None, stop: Stop, notifier: Notifier, *, show: bool
) -> tuple[Order | Checked | None, float]:
    """Watch with one alarm, and close it in good order; return why it ended, and after how many seconds."""
    stop.silenced_by(alarm.silence)
    end: Order | Checked | None = None
    started = time.perf_counter()
    try:
        end = _watch(alarm, reload, stop, notifier, show=show)
        return end, time.perf_counter() - started
    finally:
        if reload and isinstance(end, Checked):
            reload.close(alarm)
        else:
            notifier.stopping()
            if isinstance(end, str):
                _end_at_last(end)
            alarm.stop_cameras()
            alarm.close(DRAIN_STOPPED_S if stop.is_set() or end else DRAIN_S)


def _watch(
    alarm: Alarm, reload: Reload | None, stop: Stop, notifier: Notifier, *, show: bool
) -> Order | Checked | None:
    """Watch until the sources end or a signal comes (None), a restart is ordered, or a new config is good."""
    health = alarm.settings.health
    watchdog = Watchdog(notifier)
    escalation = Escalation(
        alarm.state or Path(), health.restart_after_s, health.reboot, present=notifier.present and bool(alarm.state)
    )
    alarm.ask("watchdog", watchdog.problem)
    if reload:
        alarm.ask(CONFIG, reload.problem)
    alarm.start()
    notifier.ready(f"watching {', '.join(thread.camera.name for thread in alarm.threads)}")
    judged, logged = 0.0, ""
    end: Order | Checked | None = None
    with progress(alarm, show):
        while alarm.alive and not (end or stop.wait(TICK_S)):
            now = time.monotonic()
            try:
                alarm.tick(now)
                if now - judged >= JUDGE_S:
                    judged = now
                    status = alarm.status(now)
                    watchdog(status, now)
                    end = escalation(status, now)
                if reload and not end:
                    end = reload(alarm, stop)
            except Exception as error:
                # The cameras are still watched. Where this lasts, the watchdog is not fed: a service starts it again.
                words = f"internal error ({type(error).__name__}: {error})"
                log.log(logging.DEBUG if words == logged else logging.ERROR, "%s; the cameras are still watched", words)
                log.debug("in the main loop", exc_info=error)
                logged = words
    return end


def _report(alarm: Alarm, taken_s: float, say: Say, terminal: Terminal, *, verbose: bool) -> None:
    """Print what one alarm saw and what went wrong, when it is closed."""
    for thread in alarm.threads:
        for problem in thread.source.problems:
            log.warning("%s", problem)
    sum_up(alarm, taken_s, say, terminal.pictures, verbose=verbose)
    terminal.pictures.clear()
    for line in alarm.losses():
        say("%s", line)


def _end_at_last(order: Order, within_s: float = LAST_S) -> None:
    """End the process in so many seconds, whatever still waits for a driver or a disk."""

    def end() -> None:
        time.sleep(within_s)
        os._exit(EXITS[order])

    start_thread(end, "the end")


def _narrate_demo(alarm: Alarm, say: Say) -> bool:
    """Print the story of the bundled clip while it plays; return whether it is watched at all."""
    from edge.demo.story import Story

    threads = [thread for thread in alarm.threads if thread.camera.source == "demo"]
    for thread in threads:
        thread.watcher.trace = Story(lambda line: say("%s", line), thread.watcher.trace)
    return bool(threads)
