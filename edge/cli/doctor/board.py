"""The board: its processor and memory, temperature, voltage, clock and network."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, unknown
from edge.cli.doctor.target import Target
from edge.cli.progress import counted
from edge.device import sensors
from edge.device.health import hot_from
from edge.device.sensors import Reading, about

MIN_MEMORY_MB = 150.0  # the alarm with a camera takes about as much
WEAK_DBM = -75.0  # WiFi: below, it breaks off now and then
FIRST_RELEASE = datetime(2025, 1, 1, tzinfo=UTC)  # a clock that shows less was never set
COOL = "give it shade, air and a heat sink"
SUPPLY = "use the board's own power supply and a short, thick cable"
SET_CLOCK = "join a network for a moment, or set it: sudo timedatectl set-time 'YYYY-MM-DD hh:mm:ss'"


def check_board(target: Target) -> Iterator[CheckResult]:
    """Check its name, processor and memory."""
    it = about(target.root)
    parts = [it.board, it.system, counted(it.cores, "core"), f"{it.memory_mb:.0f} MB"]
    words = ", ".join(each for each in parts if each)
    if it.half:
        todo = "put a 64-bit system on the card: Raspberry Pi OS Lite (64-bit)"
        yield broken("board", f"{words}: a 32-bit system on a 64-bit kernel", todo)
    else:
        yield fine("board", words)
    memory = sensors.memory()
    if not target.alarm_runs and memory.available_mb < MIN_MEMORY_MB:
        words = f"{memory.available_mb:.0f} MB are left of {memory.total_mb:.0f}"
        yield doubt("memory", words, "end what else runs here, and use a system without a desktop")
    else:
        yield fine("memory", f"{memory.available_mb:.0f} MB are left of {memory.total_mb:.0f}")


def check_power(target: Target) -> Iterator[CheckResult]:
    """Check temperature and voltage, now and since the machine was started."""
    warm = sensors.temperature_c()
    hot = hot_from(target.settings.health.hot_c, Reading(critical_c=sensors.critical_c()))
    if warm is None:
        yield unknown("temperature", "this machine does not report it")
    elif warm >= hot:
        yield doubt("temperature", f"{warm:.0f} °C; from {hot:g} on the alarm looks at fewer frames", COOL)
    else:
        yield fine("temperature", f"{warm:.0f} °C; from {hot:g} on the alarm would look at fewer frames")
    whole = sensors.asked_throttling()
    low = sensors.undervolted(target.root)
    low = whole.undervolted if whole and low is None else low
    if low:
        yield doubt("voltage", "too low now: the board may stop or spoil its card at any moment", SUPPLY)
    elif whole and whole.undervolted_before:
        yield doubt("voltage", "it was too low since the machine was started", SUPPLY)
    elif low is None:
        yield unknown("voltage", "this machine does not report it")
    else:
        yield fine("voltage", "as it should be")
    slowed = sensors.throttled(target.root) or (whole is not None and (whole.throttled or whole.capped))
    if slowed:
        yield doubt("throttling", "the processor is slowed down now, by heat or for want of power", f"{COOL}; {SUPPLY}")
    elif whole and (whole.throttled_before or whole.capped_before):
        words = "the processor was slowed down since the machine was started, by heat or for want of power"
        yield doubt("throttling", words, f"{COOL}; {SUPPLY}")
    supply = about(target.root).supply_ma
    if supply is not None and supply < 5000:
        yield doubt("supply", f"it can give {supply} mA and the board asks for 5000", SUPPLY)


def check_clock(target: Target, now: datetime | None = None, synced: bool | None = None) -> Iterator[CheckResult]:
    """Check that the clock is right and outlives the power. ``now`` (UTC) and ``synced`` None: the machine's."""
    from edge.record.run import Clock

    clock = Clock()
    known = clock.synced() if synced is None else synced
    now = now or datetime.now(UTC)
    rtc = any((target.root / "sys/class/rtc").glob("rtc*"))
    shown = f"{now.astimezone():%Y-%m-%d %H:%M}"
    if now < FIRST_RELEASE:
        yield broken("clock", f"it shows {shown}, so it was never set", SET_CLOCK)
    elif known:
        yield fine("clock", f"{shown}, {clock.how}")
    elif known is None:
        yield unknown("clock", f"{shown}; {clock.how}")
    elif rtc:
        yield fine(
            "clock", f"{shown} by the clock on the board; nothing synchronises it now", "compare it with a watch"
        )
    else:
        words = f"{shown}; nothing synchronises it, and it stops without power: events will have wrong times"
        yield doubt("clock", words, f"{SET_CLOCK}; a clock with a battery (RTC) helps where there is no network")
    if rtc:
        yield fine("board clock", "there is one that goes on without power (if its battery is in)")
    elif sys.platform == "linux":
        yield unknown("board clock", "there is none; without a network the time is wrong after a power cut")
    yield _zone(target)


def _zone(target: Target) -> CheckResult:
    alerts = target.settings.alerts
    hours = alerts.deterrent_hours or any(each.settings.schedule for each in target.cameras)
    name, offset = datetime.now().astimezone().strftime("%Z %z").rsplit(" ", 1)
    if hours and not time.timezone and not time.daylight:  # London's winter is not UTC
        todo = "sudo timedatectl set-timezone Europe/Ljubljana, or your own; then restart the alarm"
        return doubt("time zone", f"{name}, and schedules count in it", todo)
    return fine("time zone", f"{name} ({offset})")


def check_network(target: Target) -> Iterator[CheckResult]:
    """Check for radios that sleep, and for a way out where somebody is notified over a network."""
    for each in sensors.radios(target.root):
        name = f"WiFi {each.name}"
        if sensors.power_save(each.name):
            todo = (
                f"sudo iw dev {each.name} set power_save off, for good: a file in /etc/NetworkManager/conf.d with "
                "[connection] and wifi.powersave = 2"
            )
            yield doubt(name, "it sleeps between packets (power save), so streams break off and nobody gets in", todo)
        elif each.linked and each.signal_dbm is not None and each.signal_dbm < WEAK_DBM:
            words = f"the signal is weak ({each.signal_dbm:.0f} dBm)"
            yield doubt(name, words, "bring it nearer to the access point, or use a better aerial")
        elif each.linked:
            yield fine(name, "joined to a network")
        else:
            yield unknown(name, "joined to no network")
    alerts = target.settings.alerts
    if alerts.remote and not sensors.leads_out():
        yield doubt(
            "network",
            "this device has no way to a network, and somebody is notified over one",
            "join it to a network; until then events wait in the journal, and what makes a noise works",
        )
