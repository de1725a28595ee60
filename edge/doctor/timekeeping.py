"""The clock: whether it is right, whether it outlives the power, and the time zone that schedules count in."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from edge.doctor.finding import Finding, broken, doubt, fine, unknown
from edge.doctor.patient import Patient

BEFORE_US = datetime(2025, 1, 1, tzinfo=UTC)  # a clock that says less was never set
SET = "join a network for a moment, or set it: sudo timedatectl set-time 'YYYY-MM-DD hh:mm:ss'"


def check_clock(patient: Patient, now: datetime | None = None, synced: bool | None = None) -> Iterator[Finding]:
    """``now`` (UTC) and ``synced`` are the machine's where they are left out."""
    from edge.record.journal import Clock

    clock = Clock()
    known = clock.synced() if synced is None else synced
    now = now or datetime.now(UTC)
    rtc = any((patient.root / "sys/class/rtc").glob("rtc*"))
    shown = f"{now.astimezone():%Y-%m-%d %H:%M}"
    if now < BEFORE_US:
        yield broken("clock", f"it says {shown}, so it was never set", SET)
    elif known:
        yield fine("clock", f"{shown}, {clock.how}")
    elif known is None:
        yield unknown("clock", f"{shown}; {clock.how}")
    elif rtc:
        yield fine("clock", f"{shown} by the clock on the board; nothing keeps it right now", "compare it with a watch")
    else:
        words = f"{shown}; nothing keeps it, and it stands still without power: events will have wrong times"
        yield doubt("clock", words, f"{SET}; a clock with a battery (RTC) helps where there is no network")
    if rtc:
        yield fine("board clock", "there is one that goes on without power (if its battery is in)")
    elif sys.platform == "linux":
        yield unknown("board clock", "there is none; without a network the time is wrong after a power cut")
    yield _zone(patient)


def _zone(patient: Patient) -> Finding:
    alerts = patient.settings.alerts
    hours = alerts.deterrent_hours or any(each.settings.schedule for each in patient.cameras)
    name, offset = datetime.now().astimezone().strftime("%Z %z").rsplit(" ", 1)
    if hours and not time.timezone and not time.daylight:  # London's winter is no UTC
        todo = "sudo timedatectl set-timezone Europe/Ljubljana, or whatever yours is; then restart the alarm"
        return doubt("time zone", f"{name}, and schedules count in it", todo)
    return fine("time zone", f"{name} ({offset})")
