"""Health: how each part is, in words; sinks and channels that can be tried; and what the doctor says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.background import first_to_go
from edge.errors import OptionError
from edge.local_time import clock, lasting
from edge.page.common import Page, back_to, page_of, render
from edge.page.guard import Refused
from edge.page.live import age_words, camera_now

if TYPE_CHECKING:
    from pathlib import Path

    from edge.alarm import Alarm

EXAMINE_S = 180.0  # what the doctor may take in all
BEAR_WORDS = "not tried: there is a bear now, and its alarm goes first; try it when the bear is gone"
BUSY_WORDS = "not tried: another one is being tried; wait for its answer"


@dataclass(frozen=True)
class Answer:
    """The answer of a sink or channel to a test."""

    problem: str | None  # None: it took it
    at: str


@dataclass
class Checkup:
    """Tests and examinations since the page began."""

    answers: dict[str, Answer] = field(default_factory=dict)  # by sink or channel
    trying: threading.Lock = field(default_factory=threading.Lock)  # one at a time: noises are heard apart
    examining: bool = False
    findings: list[dict[str, str]] = field(default_factory=list)
    verdict: str = ""  # of the doctor, or why there is none
    examined: str = ""  # when


def checkup(page: Page) -> Checkup:
    """Return what was tried and examined."""
    found: Checkup = page.shared.setdefault("health", Checkup())
    return found


def health(request: Request) -> Response:
    """Show how everything is."""
    page = page_of(request)
    alarm, kept = page.alarm(), checkup(page)
    try:
        status, problem = page.status(), None
    except (TimeoutError, RuntimeError) as error:
        status, problem = None, str(error)
    alerting = alarm.alerting
    assert alerting
    return render(
        request,
        "health.html",
        now=status,
        ill=[problem] if problem else status.ill if status else [],
        cameras={each.camera.name: camera_now(each, time.monotonic()) for each in alarm.threads},
        anyone=alarm.settings.alerts.anyone,
        sinks=sinks_of(alarm),
        machine=machine_rows(alarm),
        model=alarm.classifier,
        uptime=lasting(status.uptime_s) if status else "",
        since=clock(datetime.now(UTC) - timedelta(seconds=status.uptime_s)) if status else "",
        python=sys.version.partition(" ")[0],
        kept=kept,
        age=age_words,
        state=page.state,
    )


def sinks_of(alarm: Alarm) -> list[dict[str, Any]]:
    """List sinks and channels, each with how it is, and whether it can be tried."""
    alerting = alarm.alerting
    assert alerting
    rows: list[dict[str, Any]] = [
        {"name": name, "counts": "", "problem": why} for name, why in alerting.missing.items()
    ]
    for worker in alerting.workers:
        counts = ((worker.failures, "failed"), (worker.dropped, "dropped"), (worker.hung, "hung"))
        rows.append({"name": worker.name, "counts": _counted(counts), "problem": worker.problem()})
    for each in alerting.deliverers:
        stats = each.stats
        counts = ((stats.waiting, "waiting"), (stats.failed, "failed tries"), (stats.dead_letters, "refused for good"))
        rows.append({"name": each.key, "counts": _counted(counts), "problem": each.problem()})
    can = alerting.can_be_tried
    for row in rows:
        row["try"] = row["name"] in can
        row["problem"] = row["problem"] or alerting.problems.get(row["name"])
    return rows


def _counted(counts: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(f"{number} {what}" for number, what in counts if number)


def machine_rows(alarm: Alarm) -> list[tuple[str, str]]:
    """List what is known of the machine, in words; what this board does not report is not there."""
    rows = []
    if condition := alarm.condition:
        now, share = condition.reading, condition.share()
        if now.temperature_c is not None:
            rows.append(("Heat", f"{now.temperature_c:.0f} °C"))
        if now.undervolted is not None:
            rows.append(("Voltage", "too low" if now.undervolted else "enough"))
        if now.memory_free_mb is not None and now.memory_mb is not None:
            rows.append(("Memory", f"{now.memory_free_mb:.0f} of {now.memory_mb:.0f} MB are free"))
        if now.disk_free_mb is not None:
            rows.append(("Disk", f"{now.disk_free_mb / 1000:.1f} GB are free{', read-only' if now.read_only else ''}"))
        if share < 1.0:
            rows.append(("Frames", f"{share:.0%} of them are looked at, to stay cool"))
    synced = alarm.clock.synced()
    known = {True: "right", False: "perhaps wrong", None: "not known to be right"}[synced]
    return [*rows, ("Clock", f"{clock(datetime.now(UTC))}, {known} ({alarm.clock.how})")]


def try_out(request: Request) -> Response:
    """Send a test alarm to one sink or channel, and note its answer."""
    page, name = page_of(request), request.state.form.get("name", "")
    alarm, kept = page.alarm(), checkup(page)
    alerting = alarm.alerting
    assert alerting
    if name not in alerting.can_be_tried:
        raise Refused(HTTPStatus.NOT_FOUND, f"{name}: there is no such sink or channel in use; load the page again")
    problem: str | None
    if any(thread.watcher.decider.open_incidents for thread in alarm.threads):
        problem = BEAR_WORDS
    elif not kept.trying.acquire(blocking=False):
        problem = BUSY_WORDS
    else:
        try:
            problem = alerting.try_out(name)
        except OptionError as error:  # a reload has removed it meanwhile
            problem = str(error)
        finally:
            kept.trying.release()
    kept.answers[name] = Answer(problem, clock(datetime.now(UTC), date=False))
    return back_to("/health#alerts")


async def examine(request: Request) -> Response:
    """Run the doctor, and keep its findings."""
    page = page_of(request)
    kept = checkup(page)
    if kept.examining:
        raise Refused(HTTPStatus.CONFLICT, "this device is being examined; wait for the findings")
    kept.examining = True
    try:
        kept.findings, kept.verdict = await findings(page.state, page.config)
    finally:
        kept.examining = False
    kept.examined = clock(datetime.now(UTC))
    return back_to("/health#doctor")


async def findings(state: Path, config: Path | None) -> tuple[list[dict[str, str]], str]:
    """Return what the doctor finds, in a process that inherits this thread's low priority, and its verdict."""
    words = [sys.executable, "-m", "edge", "doctor", "--json", "--state", str(state)]
    words += ["--config", str(config)] if config else []
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, start_new_session=True)
    try:
        first_to_go(process.pid)
        out, err = await asyncio.wait_for(process.communicate(), EXAMINE_S)
    except TimeoutError:
        return [], f"The doctor did not end within {EXAMINE_S:g} s and was stopped. Try `bear-alarm doctor`."
    finally:
        if process.returncode is None:
            _kill(process)
    try:
        found = json.loads(out)
        return found["findings"], found["verdict"]
    except (ValueError, KeyError):
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        return [], f"The doctor failed: {last[0] if last else f'exit code {process.returncode}'}"


def _kill(process: asyncio.subprocess.Process) -> None:
    """End it, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


ROUTES = [
    Route("/health", health),
    Route("/health/try", try_out, methods=["POST"]),
    Route("/health/examine", examine, methods=["POST"]),
]
