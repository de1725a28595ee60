"""Storage: the disk, the state folder with its journal, and the folder of evidence."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, split_todo, unknown
from edge.cli.doctor.target import Target
from edge.cli.output import counted
from edge.device import sensors
from edge.device.systemd import WRITE, denied
from edge.device.systemd_host import NAME, Host, ServiceError
from edge.errors import OptionError
from edge.files import JOURNAL

MAX_CHECKED_BYTES = 200 << 20  # a larger journal takes too long to look through
LONG_UP_S = 86_400.0  # a shorter time shows little of a day
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
        words = f"{state} is in memory ({mount.kind}): what is written there is lost without power"
        if mount.overlaid:
            words = (
                f"{state} is in an overlay: what is written there is mostly lost without power, or with the container"
            )
        yield doubt("disk", words, "name a state folder on a card or disk with --state")
    least, free = target.settings.health.low_disk_mb, sensors.free_mb(state)
    if free is None:
        yield unknown("room", f"{state}: the disk does not report how much is free")
    elif free < least:
        yield doubt("room", f"{free:.0f} MB are free at {state}, less than {least:g}", "delete what is not needed")
    else:
        yield fine("room", f"{free:.0f} MB are free at {state}")
    disk = sensors.disk_of(target.root, mount) if mount else None
    if disk:
        yield from _health(
            disk,
            up_s=time.monotonic(),  # which Linux counts from the start of the machine
        )


def _health(disk: sensors.Disk, *, up_s: float) -> Iterator[CheckResult]:
    sound = True
    if disk.fs_errors:
        sound, when = False, f", the first on {disk.first_error:%Y-%m-%d}" if disk.first_error else ""
        words = f"its file system has met {disk.fs_errors} errors{when}"
        yield doubt(f"disk {disk.part}", words, f"sudo fsck -f /dev/{disk.part} while it is not mounted; {NEW_CARD}")
    if disk.worn:
        sound = False
        yield doubt(f"disk {disk.name}", "it reports that it is nearly worn out", NEW_CARD)
    if sound:
        what = " ".join(each for each in (disk.kind, disk.model, disk.made) if each)
        day = ""
        if disk.written_mb and up_s > LONG_UP_S:
            day = f"; {disk.written_mb * 86_400.0 / up_s:.0f} MB are written a day"
        failed = f"; {disk.io_errors} commands were refused since the start, as a few are" if disk.io_errors else ""
        yield fine(f"disk {disk.name}", f"no errors are known{f' ({what})' if what else ''}{failed}{day}")


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
    """Check that the folder of evidence can be written, and that the disk has room for what it may take."""
    settings = target.settings.evidence
    if not settings.keep:
        yield fine("evidence", "off, as the config sets it")
        return
    try:
        folder = target.evidence
    except OptionError:
        return
    yield _writable(target, "evidence", folder)
    yield from of_service(target, "evidence", folder)
    free = sensors.free_mb(folder)
    if settings.quota_mb and free is not None and folder.is_dir():
        used_mb = _bytes_in(folder) / 1e6
        if used_mb + free < settings.quota_mb:
            words = f"it may take {settings.quota_mb:g} MB and there is room for {used_mb + free:.0f}"
            yield doubt(
                "quota",
                words,
                "set a smaller quota, or make room: the oldest evidence is deleted earlier than you expect",
            )


def _bytes_in(folder: Path) -> int:
    """Add up the sizes of the files there; a running alarm may delete one at this moment."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(place, name).stat().st_size
    return size


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
