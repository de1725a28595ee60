"""The machine: its disk, board, power, network, permissions, service and clock."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge.alert.redact import scrub
from edge.cli.doctor.cameras import devices
from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, unknown
from edge.cli.doctor.target import UNIT, Target
from edge.config import SECRETS
from edge.device import sensors
from edge.device.health import hot_from
from edge.device.sensors import Reading, about
from edge.device.systemd import NAME, WRITE, Host, ServiceError, State, ask, denied
from edge.errors import OptionError
from edge.files import JOURNAL
from edge.settings import Settings

MAX_CHECKED_BYTES = 200 << 20  # a larger journal takes too long to look through
LONG_UP_S = 86_400.0  # a shorter time tells little of a day
MIN_MEMORY_MB = 150.0  # the alarm with a camera takes about as much
WEAK_DBM = -75.0  # WiFi: below, it breaks off now and then
MANY_RESTARTS = 3  # by itself
READABLE_BY_ALL = 0o004
FIRST_RELEASE = datetime(2025, 1, 1, tzinfo=UTC)  # a clock that says less was never set
NEW_CARD = "keep a copy of what matters, and put in a new card or disk"
COOL = "give it shade, air and a heat sink"
SUPPLY = "use the board's own power supply and a short, thick cable"
LOG = "see `journalctl -u bear-alarm -n 50`"
INSTALL = "sudo bear-alarm service install"
SET_CLOCK = "join a network for a moment, or set it: sudo timedatectl set-time 'YYYY-MM-DD hh:mm:ss'"


def check_disk(target: Target) -> Iterator[CheckResult]:
    """Check the disk below the state folder."""
    try:
        state = target.state
    except OptionError as error:
        yield broken("state folder", *_split(str(error)))
        return
    mount = sensors.mount_of(state)
    if mount and mount.read_only:
        words = f"{mount.folder} is read-only, so no event outlives the power"
        yield broken("disk", words, f"see `dmesg` for why; then sudo mount -o remount,rw {mount.folder}")
    elif mount and mount.fleeting:
        words = f"{state} lies in memory ({mount.kind}): what is written there is gone with the power"
        if mount.overlaid:
            words = f"{state} lies in an overlay: what is written there is mostly gone with the power, or the container"
        yield doubt("disk", words, "name a state folder on a card or disk with --state")
    least, free = target.settings.health.low_disk_mb, sensors.free_mb(state)
    if free is None:
        yield unknown("room", f"{state}: the disk does not say how much is free")
    elif free < least:
        yield doubt("room", f"{free:.0f} MB are free at {state}, less than {least:g}", "throw away what is not needed")
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
        yield doubt(f"disk {disk.name}", "it says itself that it is nearly worn out", NEW_CARD)
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
        return  # said of the disk
    yield _writable(target, "state folder", state)
    yield from of_service(target, "state folder", state)
    yield _journal(state / JOURNAL, target)


def check_evidence(target: Target) -> Iterator[CheckResult]:
    """Check that the folder of evidence can be written, and that the disk has room for what it may take."""
    kept = target.settings.evidence
    if not kept.keep:
        yield fine("evidence", "none is kept, as it is set")
        return
    try:
        folder = target.evidence
    except OptionError:
        return
    yield _writable(target, "evidence", folder)
    yield from of_service(target, "evidence", folder)
    free = sensors.free_mb(folder)
    if kept.quota_mb and free is not None and folder.is_dir():
        lies = _bytes_in(folder) / 1e6
        if lies + free < kept.quota_mb:
            words = f"it may take {kept.quota_mb:g} MB and there is room for {lies + free:.0f}"
            yield doubt("quota", words, "set a smaller one, or make room: the oldest goes earlier than you think")


def _bytes_in(folder: Path) -> int:
    """Add up what lies there; a running alarm may throw something away at this moment."""
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
    """Read the journal beside a running alarm."""
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
            return unknown("journal", *_split(str(error)))
        return broken("journal", *_split(str(error)))
    if whole not in (True, "ok"):
        return broken("journal", f"{path} is damaged ({whole})", "start the alarm: it puts it aside, and goes on")
    words = f"{count} event{'s' * (count != 1)}, {waiting} waiting to be sent"
    if parked:
        words += f", {parked} refused for good"
    return fine("journal", words)


def _split(sentence: str) -> tuple[str, str]:
    """Split what is wrong from what to do, which our errors have in one sentence."""
    what, _, todo = sentence.rpartition("; ")
    return (what, todo) if what else (sentence, "check the folder, and name another with --state")


def check_board(target: Target) -> Iterator[CheckResult]:
    """Check its name, processor and memory."""
    it = about(target.root)
    parts = [it.board, it.system, f"{it.cores} core{'s' * (it.cores != 1)}", f"{it.memory_mb:.0f} MB"]
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
        yield unknown("temperature", "this machine does not say")
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
        yield unknown("voltage", "this machine does not say")
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
            "nothing leads out of this device, and somebody is to be told over a network",
            "join it to a network; until then events wait in the journal, and what makes a noise works",
        )


def check_groups(target: Target) -> Iterator[CheckResult]:
    """Check the groups of this user and the service's, for devices that are here or configured."""
    if os.name != "posix":
        return
    if os.geteuid() == 0:
        yield fine("user", "root, who may have everything")
    else:
        have = _own_groups() | open_now(target.root)
        yield _groups("user", needed(target), have, "sudo usermod -aG {} $USER, then log out and in again")
    if target.has_service:
        todo = "install it again: sudo bear-alarm service install"
        yield _groups("service user", needed(target), _service_groups(target), todo)


def needed(target: Target) -> set[str]:
    """List the groups of the devices that the alarm uses here."""
    alerts = target.settings.alerts
    found = {each.group for each in devices(target.root)}
    if alerts.relays or alerts.deterrent_lamps:
        found.add("gpio")
    if alerts.sounds or alerts.deterrent:
        found.add("audio")
    return found - {"root"}


def open_now(root: Path) -> set[str]:
    """List the groups whose devices this user may open without them: a desktop lends them to who sits at it."""
    nodes: dict[str, list[Path]] = {}
    for pattern in ("video[0-9]*", "gpiochip*", "snd/controlC*"):
        for path in (root / "dev").glob(pattern):
            # Gone meanwhile, of a group without a name, Windows: then there is no group to be in.
            with contextlib.suppress(OSError, KeyError, NotImplementedError):
                nodes.setdefault(path.group(), []).append(path)
    return {group for group, paths in nodes.items() if all(os.access(path, os.R_OK | os.W_OK) for path in paths)}


def _groups(name: str, wanted: set[str], have: set[str], todo: str) -> CheckResult:
    missing = sorted(wanted - have)
    if missing:
        words = f"not in the group{'s' * (len(missing) > 1)} {', '.join(missing)}, whose devices the alarm uses"
        return doubt(name, words, todo.format(",".join(missing)))
    return fine(name, f"may use what belongs to {', '.join(sorted(wanted))}" if wanted else "needs no groups here")


def _own_groups() -> set[str]:
    import grp

    found = set()
    for number in {*os.getgroups(), os.getegid()}:
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            found.add(str(number))
    return found


def _service_groups(target: Target) -> set[str]:
    """Read what the unit gives its process beside its user's own group."""
    try:
        lines = (target.root / UNIT).read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("SupplementaryGroups=") for word in line[20:].split()}


def check_secrets(target: Target) -> Iterator[CheckResult]:
    """Check that the config can be read, and that no other user reads its secrets."""
    if target.config is None:
        return
    if not os.access(target.config, os.R_OK):
        words = f"{target.config} may not be read by this user"
        yield broken("config file", words, "ask as root, or change its owner")
        return
    secrets = target.config.with_name(SECRETS)
    if _holds_secrets(target.config, target.settings) and _open_to_all(target.config):
        words = f"{target.config} holds passwords or addresses that are secrets, and may be read by every user"
        yield doubt("secrets", words, f"chmod o-rwx {target.config}, or put them into {SECRETS} beside it")
    if secrets.exists():
        if _open_to_all(secrets):
            yield doubt("secrets", f"{secrets} may be read by every user", f"chmod o-rwx {secrets}")
        else:
            yield fine("secrets", f"{secrets} is closed to others")


def _open_to_all(path: Path) -> bool:
    try:
        return os.name == "posix" and bool(path.stat().st_mode & READABLE_BY_ALL)
    except OSError:
        return False


def _holds_secrets(config: Path, settings: Settings) -> bool:
    """Return whether a secret of the settings stands in the file itself, and not as ``${NAME}``."""
    alerts = settings.alerts
    found = [alerts.webhook, alerts.webhook_secret, alerts.mqtt and alerts.mqtt.password, *alerts.notify]
    found += [each.source for each in settings.cameras if "@" in each.source]
    try:
        text = config.read_text(errors="replace")
    except OSError:
        return False
    return any(each and each in text for each in found)


def check_service(target: Target, host: Host | None = None) -> Iterator[CheckResult]:
    """Check that it is installed, enabled, running and watched, and how often it was restarted."""
    if host is None:
        if shutil.which("systemctl") is None or not (target.root / "run/systemd/system").is_dir():
            yield unknown("service", "no systemd runs here")
            return
        host = Host(root=target.root)
    try:
        now = ask(host, lines=0)
    except ServiceError as error:
        said = scrub(str(error).partition("did not work: ")[2] or str(error))  # without our long question
        yield unknown("service", f"systemd does not answer ({said})", "see `systemctl status`")
        return
    if not now.installed:
        words = "not installed: the alarm runs only while somebody runs `watch`"
        yield fine("service", words, f"{INSTALL}, where it shall start by itself")
        return
    yield _state(now)
    if not now.enabled:
        yield doubt("after a power cut", "it is not started by itself", "sudo systemctl enable bear-alarm")
    if now.restarts >= MANY_RESTARTS:
        yield doubt("restarts", f"it was started again {now.restarts} times by itself", LOG)
    if now.watchdog_s is None:
        yield doubt("watchdog", "nobody notices when it hangs", f"install it again: {INSTALL}")
    if now.outdated:
        yield doubt("unit", "its file was changed and systemd has not read it again", "sudo systemctl daemon-reload")


def _state(now: State) -> CheckResult:
    said = f": {now.said}" if now.said else ""
    if now.up:
        return fine("service", f"it runs{said}")
    if now.active == "activating" and (now.sub == "auto-restart" or now.restarts >= MANY_RESTARTS):
        why = f"{now.result or 'no reason given'}, {now.restarts} times by now"
        return broken("service", f"it ends again and again and is started again ({why}){said}", LOG)
    if now.active == "activating":
        return doubt("service", f"it is starting ({now.sub}){said}", f"look again in a minute; {LOG}")
    if now.active == "failed":
        return broken("service", f"it failed ({now.result or 'no reason given'})", LOG)
    return broken("service", f"it does not run ({now.active})", "sudo systemctl start bear-alarm")


def check_clock(target: Target, now: datetime | None = None, synced: bool | None = None) -> Iterator[CheckResult]:
    """Check that the clock is right and outlives the power. ``now`` (UTC) and ``synced`` None: the machine's."""
    from edge.record.clock import Clock

    clock = Clock()
    known = clock.synced() if synced is None else synced
    now = now or datetime.now(UTC)
    rtc = any((target.root / "sys/class/rtc").glob("rtc*"))
    shown = f"{now.astimezone():%Y-%m-%d %H:%M}"
    if now < FIRST_RELEASE:
        yield broken("clock", f"it says {shown}, so it was never set", SET_CLOCK)
    elif known:
        yield fine("clock", f"{shown}, {clock.how}")
    elif known is None:
        yield unknown("clock", f"{shown}; {clock.how}")
    elif rtc:
        yield fine("clock", f"{shown} by the clock on the board; nothing keeps it right now", "compare it with a watch")
    else:
        words = f"{shown}; nothing keeps it, and it stands still without power: events will have wrong times"
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
    if hours and not time.timezone and not time.daylight:  # London's winter is no UTC
        todo = "sudo timedatectl set-timezone Europe/Ljubljana, or whatever yours is; then restart the alarm"
        return doubt("time zone", f"{name}, and schedules count in it", todo)
    return fine("time zone", f"{name} ({offset})")
