"""The machine: board, temperature, voltage, clock, network, and the disk with what is kept on it."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, split_todo, unknown
from edge.cli.output import counted
from edge.device import sensors
from edge.device.health import hot_from
from edge.device.sensors import Reading, about
from edge.device.systemd import WRITE, denied
from edge.device.systemd_host import NAME, Host, ServiceError
from edge.errors import OptionError
from edge.files import JOURNAL

MIN_MEMORY_MB = 150.0  # the alarm with a camera takes about as much
FIRST_RELEASE = datetime(2025, 1, 1, tzinfo=UTC)  # a clock that shows less was never set
COOL = "give it shade, air and a heat sink"
SUPPLY = "use the board's own power supply and a short, thick cable"
SET_CLOCK = "join a network for a moment, or set it: sudo timedatectl set-time 'YYYY-MM-DD hh:mm:ss'"


def check_board(target: Target) -> Iterator[CheckResult]:
    """Check its name, processor and memory."""
    it = about(target.root)
    parts = [it.board, it.system, counted(it.cores, "core"), f"{it.memory_mb:.0f} MB"]
    yield fine("board", ", ".join(each for each in parts if each))
    memory = sensors.memory()
    words = f"{memory.available_mb:.0f} MB are left of {memory.total_mb:.0f}"
    if not target.alarm_runs and memory.available_mb < MIN_MEMORY_MB:
        yield doubt("memory", words, "end what else runs here, and use a system without a desktop")
    else:
        yield fine("memory", words)


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
    if sensors.throttled(target.root) or (whole and whole.slowed):
        yield doubt("throttling", "the processor is slowed down now, by heat or for want of power", f"{COOL}; {SUPPLY}")
    elif whole and whole.slowed_before:
        words = "the processor was slowed down since the machine was started, by heat or for want of power"
        yield doubt("throttling", words, f"{COOL}; {SUPPLY}")


def check_clock(target: Target, now: datetime | None = None) -> Iterator[CheckResult]:
    """Check that the clock is right and outlives the power. ``now`` None: the machine's time."""
    from edge.record.run import Clock

    clock, now = Clock(), now or datetime.now(UTC)
    known = clock.synced()
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
    for radio, linked in sensors.radios(target.root).items():
        name = f"WiFi {radio}"
        if sensors.power_save(radio):
            todo = (
                f"sudo iw dev {radio} set power_save off, for good: a file in /etc/NetworkManager/conf.d with "
                "[connection] and wifi.powersave = 2"
            )
            yield doubt(name, "it sleeps between packets (power save), so streams break off and nobody gets in", todo)
        elif linked:
            yield fine(name, "joined to a network")
        else:
            yield unknown(name, "joined to no network")
    alerts = target.settings.alerts
    if (alerts.mqtt or alerts.webhook or alerts.notify) and not sensors.leads_out():
        yield doubt(
            "network",
            "this device has no way to a network, and somebody is notified over one",
            "join it to a network; until then events wait in the journal, and what makes a noise works",
        )


# The disk, the state folder with its journal, and the folder of evidence.


MAX_CHECKED_BYTES = 200 << 20  # a larger journal takes too long to look through
OTHER_FOLDER = "check the folder, and name another with --state"
NEW_CARD = "keep a copy of what matters, and put in a new card or disk"


def check_disk(target: Target) -> Iterator[CheckResult]:
    """Check the disk below the state folder."""
    try:
        state = target.state
    except OptionError as error:
        yield broken("state folder", *split_todo(str(error), OTHER_FOLDER))
        return
    mount = sensors.mount_of(state)
    if mount and mount.read_only:
        words = f"{mount.folder} is read-only, so no event outlives the power"
        yield broken("disk", words, f"see `dmesg` for why; then sudo mount -o remount,rw {mount.folder}")
    elif mount and mount.fleeting:
        words = f"{state} is in memory or an overlay ({mount.kind}): what is written there is lost without power"
        yield doubt("disk", words, "name a state folder on a card or disk with --state")
    least, free = target.settings.health.low_disk_mb, sensors.free_mb(state)
    if free is None:
        yield unknown("room", f"{state}: the disk does not report how much is free")
    elif free < least:
        yield doubt("room", f"{free:.0f} MB are free at {state}, less than {least:g}", "delete what is not needed")
    else:
        yield fine("room", f"{free:.0f} MB are free at {state}")
    disk = sensors.disk_of(target.root, mount) if mount else None
    if disk and disk.fs_errors:
        words = f"its file system has met {disk.fs_errors} errors"
        yield doubt(f"disk {disk.part}", words, f"sudo fsck -f /dev/{disk.part} while it is not mounted; {NEW_CARD}")
    if disk and disk.worn:
        yield doubt(f"disk {disk.name}", "it reports that it is nearly worn out", NEW_CARD)
    if disk and not disk.fs_errors and not disk.worn:
        yield fine(f"disk {disk.name}", "no errors are known")


def check_state(target: Target) -> Iterator[CheckResult]:
    """Check that the state folder can be written, and that the journal in it is whole."""
    try:
        state = target.state
    except OptionError:
        return  # check_disk has reported it
    yield _writable(target, "state folder", state)
    yield from of_service(target, "state folder", state)
    yield _journal(state / JOURNAL, target)


def check_evidence(target: Target) -> Iterator[CheckResult]:
    """Check that the folder of evidence can be written."""
    if not target.settings.evidence.keep:
        yield fine("evidence", "off, as the config sets it")
        return
    try:
        folder = target.evidence
    except OptionError:
        return
    yield _writable(target, "evidence", folder)
    yield from of_service(target, "evidence", folder)


def of_service(target: Target, name: str, folder: Path, host: Host | None = None) -> Iterator[CheckResult]:
    """Check that the service's user may write there too, which root does not see by itself."""
    host = host or Host(root=target.root)
    if not target.has_service or not host.is_root or host.find_account(NAME) is None:
        return
    try:
        closed = denied(host, [sensors.existing(folder)], WRITE)
    except ServiceError:
        return
    if closed:
        words = f"{folder}: the service's user, {NAME}, may not write there"
        yield broken(name, words, f"sudo chown -R {NAME}: {folder}, then sudo bear-alarm service install")


def _writable(target: Target, name: str, folder: Path) -> CheckResult:
    """Write something there; of a folder that is missing the nearest above is tried."""
    place = sensors.existing(folder)
    missing = "" if place == folder else f" (not there yet; {place} is)"
    try:
        # It has no name, so nobody finds it and a power cut leaves nothing behind.
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except PermissionError:
        if target.has_service and place.exists():
            todo = "ask again as root: sudo bear-alarm doctor"
            return unknown(name, f"{folder} belongs to another user, perhaps the service's", todo)
        return broken(name, f"{folder}: this user may not write there{missing}", "name another, or change its owner")
    except OSError as error:
        remedy = {
            errno.ENOSPC: "make room on that disk",
            errno.EROFS: "mount it for writing; see `dmesg` for why it is not",
        }.get(error.errno or 0, "check the disk")
        return broken(name, f"{folder}: nothing can be written there ({error.strerror}){missing}", remedy)
    return fine(name, f"{folder} can be written{missing}")


def _journal(path: Path, target: Target) -> CheckResult:
    """Read the journal while an alarm may be writing it."""
    from edge.record.history import JournalReadError, NoJournalError, ReadOnly
    from edge.record.outbox import WITHDRAWN

    try:
        with ReadOnly(path) as journal:
            count = int(journal.rows("SELECT count(*) FROM events")[0][0])
            waiting = int(journal.rows("SELECT count(*) FROM outbox WHERE state = 'waiting'")[0][0])
            refused = "SELECT count(*) FROM outbox WHERE state = 'parked' AND coalesce(error, '') <> ?"
            parked = int(journal.rows(refused, [WITHDRAWN])[0][0])
            whole = path.stat().st_size > MAX_CHECKED_BYTES or str(journal.rows("PRAGMA quick_check(1)")[0][0])
    except NoJournalError:
        return fine("journal", f"{path.name} is begun with the first event")
    except JournalReadError as error:
        if "may not read" in str(error):
            return unknown("journal", *split_todo(str(error), OTHER_FOLDER))
        return broken("journal", *split_todo(str(error), OTHER_FOLDER))
    if whole not in (True, "ok"):
        return broken(
            "journal",
            f"{path} is damaged ({whole})",
            "start the alarm: it renames the damaged journal, and begins a new one",
        )
    words = f"{counted(count, 'event')}, {waiting} waiting to be sent"
    if parked:
        words += f", {parked} refused for good"
    return fine("journal", words)
