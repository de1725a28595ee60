"""Restart an alarm that hangs, and not one whose camera is dead.

Watchdog      feeds the service manager while loops go on and the model answers
Notifier      the line to the service manager: systemd's protocol
Escalation    no camera gives a frame for long: restart, then reboot
RecoveryLog   what was done about it, kept on the disk
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from edge.errors import OptionError
from edge.files import replace_whole
from edge.status import CameraStatus, Status

log = logging.getLogger(__name__)

# A loop goes on at least once a second while its camera is away: nothing there waits for a driver
# (edge.camera.reconnect). After an internal error it rests for up to 30 s.
ALIVE_S = 60.0
# And so much longer as scoring one picture may take: one that arrived in a folder gets up to 100 crops at once, on a
# slow board with four cameras 1 to 2 s each. An alarm that is ended over it begins with it again.
CROPS = 100
SLOWEST_CROP_S = 2.0  # what is slower hangs; also taken while none was scored yet
# A heartbeat inference comes every 20 s and takes 1 to 2 s on such a board; more than two of them missed.
INFERENCE_S = 60.0
# For one time within which it must be fed: the main loop may be away for most of it, as in a reload whose old cameras
# and new folders all hang.
FEEDS = 12
STATUS_EVERY_S = 10.0  # a problem that counts seconds need not be reported each second

SLOW_START_S = 300.0  # a worn card gives 1 MB/s, and onnxruntime, OpenCV and the model are 150 MB
STATUS_MAX_CHARS = 400  # systemd throws away a message of more than 4096 bytes

RESTART = 75  # exit code: EX_TEMPFAIL of sysexits.h; a service manager starts it again whatever the code
REBOOT = 86  # exit code: the unit reboots the machine on this one, where that was opted in
FILE = "escalation.json"
VERSION = 1  # of that file
DAY_S = 86_400.0
RETRY_S = 60.0  # how soon a disk that did not take the note is tried again
DISK_S = 2.0  # how long it is waited for: the main loop feeds the watchdog
STEADY_S = 60.0  # for so long frames must have come before an outage is over
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")

Order = Literal["restart", "reboot"]
T = TypeVar("T")


# Feeding.


class Watchdog:
    """Feeds the service manager's watchdog while the alarm can be relied on to see a bear, or to report that it cannot.

    Called from the main loop, once a second or more often: that it is called at all is the first proof. The others:
    each live camera's loop went on lately, with frames or with reconnecting, and a heartbeat inference finished
    lately. A dead camera is no reason: it is reported, and starting again would not help.

    Without a service manager nothing is fed, and ``problem`` judges all the same.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self._problems: list[str] = []
        self._began: float | None = None
        self._fed_at: float | None = None
        self._reported_at = 0.0

    def __call__(self, status: Status, now: float) -> bool:
        """Judge, and feed it when that is due; return whether it was fed. ``now``: time.monotonic(), seconds."""
        if self._began is None:
            self._began = self._reported_at = now  # the status at the start is kept for a while
        before, self._problems = self._problems, self._judge(status, now)
        self._log_changes(before)
        if self._problems != before or now - self._reported_at >= STATUS_EVERY_S:
            self._reported_at = now
            self.notifier.status("; ".join(self._problems) or summary(status))
        due_s = self.notifier.watchdog_s
        if self._problems or due_s is None:
            return False
        if self._fed_at is not None and now - self._fed_at < due_s / FEEDS:
            return False
        if not self.notifier.feed():
            return False  # with the next call
        self._fed_at = now
        return True

    def problem(self) -> str | None:
        """Return why it is not fed, as of the last call; None: all goes on."""
        return "; ".join(self._problems) or None

    def _judge(self, status: Status, now: float) -> list[str]:
        assert self._began is not None
        live = [each for each in status.cameras if each.live]
        crop_s = SLOWEST_CROP_S if status.crop_ms is None else min(status.crop_ms / 1000.0, SLOWEST_CROP_S)
        found = [
            f"{each.name}: its loop has not gone on for {ALIVE_S:g} s, so a bear there is not seen; it hangs"
            for each in live
            if each.alive_age_s > ALIVE_S + CROPS * crop_s
        ]
        age_s = now - self._began if status.inference_age_s is None else status.inference_age_s
        if live and age_s > INFERENCE_S:
            found.append(f"the model has not answered for {INFERENCE_S:g} s, so no bear is known; it hangs")
        return found

    def _log_changes(self, before: list[str]) -> None:
        """Log it once: nothing can be logged any more when the service manager acts."""
        fed = self.notifier.watchdog_s is not None
        for words in self._problems:
            if words not in before:
                log.error("%s%s", words, "; the watchdog is not fed, and the alarm is started again" if fed else "")
        for words in before:
            if words not in self._problems:
                log.warning("no longer: %s", words)


def summary(status: Status) -> str:
    """Write one line for people: what is wrong, else what is watched."""
    if ill := status.ill:
        return ill[0] if len(ill) == 1 else f"{ill[0]} (and {len(ill) - 1} more)"
    bears = f"; bears reported since the start: {status.alarms}" if status.alarms else ""
    return f"watching {', '.join(each.name for each in status.cameras) or 'nothing'}{bears}"


class Notifier:
    """Notifies the service manager: ready, status, alive. Never raises and never waits.

    sd_notify(3): a datagram of ``NAME=value`` lines to the socket that $NOTIFY_SOCKET names; without one nothing
    happens. The libraries for it (sdnotify, cysystemd) send with a socket that blocks, raise or swallow every error, or
    need a compiler on the board; none sends again what did not arrive.

    What must arrive (ready, reloading, stopping, the status) is sent again with the next message when the socket was
    full or gone. Only from one thread.
    """

    def __init__(self, address: str | None = None, *, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s  # to be fed within so many seconds; None: there is no watchdog
        self._address = _address(address) if address else None
        self._owed: dict[str, str] = {}  # what has not arrived yet: "state" and "status" -> lines
        self._status: str | None = None  # the last one that was asked for
        self._failing: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """Read now, once, what systemd has set for this process."""
        address = environment.get("NOTIFY_SOCKET")
        return cls(address, watchdog_s=_watchdog_s(environment) if address else None)

    @property
    def present(self) -> bool:
        """Return whether a service manager listens, which restarts what ends."""
        return self._address is not None

    def ready(self, text: str) -> bool:
        """Notify that it watches, at the start or after a reload; ``text`` for people. Return whether that arrived."""
        self._owed["state"] = "READY=1"
        self._set_status(text)
        return self._send()

    def status(self, text: str) -> bool:
        """Send one line for people when it has changed. Return whether all that was asked for has arrived."""
        if text != self._status:
            self._set_status(text)
        return self._send() if self._owed else True

    def feed(self) -> bool:
        """Feed the watchdog. Return whether that arrived."""
        return self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Ask for so many seconds from now to start, reload or stop, if that is later than the unit allows."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def reloading(self) -> bool:
        """Notify that the configuration is being read again; ``ready`` follows when that is done."""
        self._owed["state"] = f"RELOADING=1\nMONOTONIC_USEC={round(time.monotonic() * 1e6)}"
        return self._send()

    def stopping(self) -> bool:
        """Notify that it ends on purpose."""
        self._owed["state"] = "STOPPING=1"
        return self._send()

    def _set_status(self, text: str) -> None:
        # A line break would begin another assignment.
        self._owed["status"] = f"STATUS={' '.join(text.split())[:STATUS_MAX_CHARS]}"
        self._status = text

    def _send(self, line: str | None = None) -> bool:
        """Send the line, and what is owed; return whether it arrived."""
        if self._address is None:
            self._owed.clear()
            return False
        message = "\n".join([*self._owed.values(), *([line] if line else [])])
        try:
            # One for each message: a restarted manager listens under the same name, on another socket.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line_out:
                line_out.setblocking(False)
                line_out.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._failing:
                log.warning("the service manager cannot be notified (%s); it is tried again", why)
            self._failing = why
            return False
        self._failing = None
        self._owed.clear()
        return True


def _address(named: str) -> str | None:
    """Return the socket's address as the kernel takes it; None, and logged, for one that is none."""
    if named.startswith("@"):
        return "\0" + named[1:]
    if named.startswith("/") and hasattr(socket, "AF_UNIX"):
        return named
    log.warning("$NOTIFY_SOCKET is %r, which is no socket on this machine; the service manager gets no messages", named)
    return None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Read within how many seconds this very process is to be fed, by $WATCHDOG_USEC and $WATCHDOG_PID."""
    given, pid = environment.get("WATCHDOG_USEC"), environment.get("WATCHDOG_PID")
    if not given or pid not in {None, "", str(os.getpid())}:
        return None  # it is another's: a child inherits the environment
    if not given.isdecimal() or int(given) == 0:
        log.warning("$WATCHDOG_USEC is %r and no time in microseconds; the watchdog is not fed", given)
        return None
    return int(given) / 1e6


# Escalating: what was done is kept on the disk, for the process that was restarted must know why.


@dataclass(frozen=True, slots=True)
class RecoveryAction:
    """Something that was ordered, and when; ``uptime_s`` of the machine, which may have no clock."""

    wall: str  # ISO 8601, UTC; for people
    boot: str | None  # the kernel's id of this start of the machine
    uptime_s: float
    by: str  # the process


@dataclass(frozen=True, slots=True)
class RecoveryLog:
    """The restart of the outage that goes on, and the last reboot of all. None: there was none."""

    restart: RecoveryAction | None = None
    reboot: RecoveryAction | None = None


# A damaged file: as if all had been done.
UNREADABLE = RecoveryLog(RecoveryAction("", None, 0.0, ""), RecoveryAction("", None, 0.0, ""))


def read_note(path: Path) -> RecoveryLog:
    """Read the file; an empty note where there is none. Raises OSError when the disk does not give it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return RecoveryLog()
    try:
        found = json.loads(data)
        if found["version"] != VERSION:
            return UNREADABLE
        return RecoveryLog(_step(found["restart"]), _step(found["reboot"]))
    except (ValueError, TypeError, KeyError):
        return UNREADABLE


def write_note(path: Path, note: RecoveryLog) -> Literal[True]:
    """Keep the note, whole or not at all; an empty one is no file. Raises OSError when the disk does not take it."""
    if note == RecoveryLog():
        path.unlink(missing_ok=True)
        return True
    try:
        replace_whole(path, json.dumps({"version": VERSION} | asdict(note), indent=1).encode() + b"\n")
    except OptionError as error:
        raise OSError(str(error)) from None
    return True


def forgets(folder: Path) -> bool:
    """Return whether what is written there may be gone when the machine starts again; also where that is not known."""
    from edge.device.sensors import mount_of

    try:
        mount = mount_of(folder)
    except Exception:  # psutil is broken, or /proc is not there
        return True
    return mount is None or mount.fleeting


def _step(found: Any) -> RecoveryAction | None:
    """Read a step from JSON. Raises ValueError, TypeError or KeyError."""
    if found is None:
        return None
    step = RecoveryAction(str(found["wall"]), found["boot"], float(found["uptime_s"]), str(found["by"]))
    if not (step.boot is None or isinstance(step.boot, str)) or not 0.0 <= step.uptime_s < float("inf"):
        raise ValueError("no step")
    return step


def uptime_s() -> float:
    """Return the seconds since the machine was started, those asleep counted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def machine_boot() -> str | None:
    """Read the kernel's id of this start of the machine; None where the system has none."""
    with suppress(OSError):
        return MACHINE_BOOT.read_text().strip() or None
    return None


class Escalation:
    """Orders a restart once an outage, and where that was of no use a reboot, once a day. The caller carries it out.

    A driver that hangs hangs in this process, so another may be luckier; one that hangs in the kernel, or a USB hub,
    only a reboot mends. A camera that is dead or stolen is mended by neither, and must not make a loop of them.

    An outage: every live camera has a fault and has had no frame for ``restart_after_s`` (0: never). It is over when
    frames have come for a minute, for some cameras give one after each start and no more; it goes on over restarts and
    reboots until then: what was done is kept in ``folder``. An order whose note the disk did not take is not given: a
    loop would be worse. ``present``: a service manager starts again what ends.

    No clock that can be set is asked. A reboot needs a machine that has been up for a day; or one that never was
    rebooted by this, on which the restart was tried since it is up, and whose disk would remember the reboot.
    """

    def __init__(
        self,
        folder: Path,
        restart_after_s: float,
        reboot: bool,
        *,
        present: bool,
        boot: Callable[[], str | None] = machine_boot,
        uptime: Callable[[], float] = uptime_s,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        forgetful: Callable[[Path], bool] = forgets,
    ) -> None:
        # Here: a service notifies that it starts before it imports what is heavy.
        from edge.background import DeadlineExecutor

        self.path = folder / FILE
        self.restart_after_s = restart_after_s
        self.reboot = reboot
        self.present = present
        self._boot = boot
        self._uptime = uptime
        self._wall = wall
        self._forgetful = forgetful
        self._own = uuid.uuid4().hex  # names this process in the note
        self._executor = DeadlineExecutor()
        self._frames: dict[str, int] = {}  # by camera, at the last look
        self._since: dict[str, float] = {}  # when a camera was first seen, or a frame of it was
        self._flows_since: float | None = None  # when frames came again; None: no camera gives any
        self._done: dict[Order, float] = {}  # ordered by this process in this outage
        self._flowed = False  # frames came for long, and no order since: a restart noted on the disk is of before
        self._settled = False  # and the disk knows it
        self._again_at = float("-inf")
        self._failing = False

    def __call__(self, status: Status, now: float) -> Order | None:
        """Return what is to be done now, once; ``now``: time.monotonic(), seconds."""
        live = [each for each in status.cameras if each.live]
        if not self.present or self.restart_after_s <= 0.0 or not live:
            return None
        if self._flows_long(live, now):
            self._again_at = self._again_at if self._flowed else float("-inf")  # to be noted before anything ends us
            self._flowed = True
            self._done.clear()
        if self._flowed and not self._settled and now >= self._again_at:
            self._settled = self._settle(now)
        if now < self._again_at or self._down_s(live, now) < self.restart_after_s:
            return None
        return self._next(now)

    def _flows_long(self, live: Sequence[CameraStatus], now: float) -> bool:
        if not self._flows(live, now):
            if all(each.trouble and not each.fresh for each in live):
                self._flows_since = None
            return False
        self._flows_since = now if self._flows_since is None else self._flows_since
        return now - self._flows_since >= STEADY_S

    def _flows(self, live: Sequence[CameraStatus], now: float) -> bool:
        before = self._frames
        self._frames = {each.name: each.frames for each in live}
        # Fewer than before: a reload has restarted it.
        same = {each.name for each in live if each.frames == before.get(each.name, 0)}
        self._since = {each.name: self._since.get(each.name, now) if each.name in same else now for each in live}
        return any(each.frames > before.get(each.name, 0) for each in live)

    def _down_s(self, live: Sequence[CameraStatus], now: float) -> float:
        """Return for how long no camera has given anything, and since the last order; 0 while one of them is well."""
        if not all(each.trouble for each in live):
            return 0.0  # in a folder pictures may arrive once a day
        ages = [now - self._since[each.name] if each.frame_age_s is None else each.frame_age_s for each in live]
        return min([*ages, *(now - at for at in self._done.values())])

    def _next(self, now: float) -> Order | None:
        """Give the next order that was not given yet, noted on the disk before."""
        if {"restart", "reboot"} <= self._done.keys() or (not self.reboot and "restart" in self._done):
            return None
        self._again_at = now + RETRY_S
        note = self._asked(lambda: read_note(self.path))
        if note is None:
            return None
        step = RecoveryAction(
            self._wall().isoformat(timespec="seconds"), self._boot(), round(self._uptime(), 1), self._own
        )
        order: Order
        if not self._restarted(note):
            order, note = "restart", replace(note, restart=step)
        elif self.reboot and self._may_reboot(note, step):
            order, note = "reboot", replace(note, reboot=step)
        else:
            return None
        self._settled = False  # a disk that hangs may take it later
        if self._asked(lambda: write_note(self.path, note)) is None:
            return None
        self._failing = False
        self._done[order], self._flowed = now, False
        what = "the alarm is started again" if order == "restart" else "the machine is started again"
        log.error("no camera has given a frame for %.0f s, though each was reopened; %s", self.restart_after_s, what)
        return order

    def _restarted(self, note: RecoveryLog) -> bool:
        if self._flowed or note.restart is None:
            return "restart" in self._done
        # One of this process that was not given: the disk took it later than it was waited for.
        return note.restart.by != self._own or "restart" in self._done

    def _may_reboot(self, note: RecoveryLog, now: RecoveryAction) -> bool:
        """Return whether the machine has been up for a day, or only the restart was tried so far."""
        last = note.reboot
        if now.boot is None:
            return False
        if last and last.boot == now.boot:  # it was not carried out
            return now.uptime_s - last.uptime_s >= DAY_S
        if now.uptime_s >= DAY_S:  # and so long at least since the last one
            return True
        tried = note.restart is not None and note.restart.boot == now.boot
        return last is None and tried and not self._forgetful(self.path.parent)

    def _settle(self, now: float) -> bool:
        """Forget the outage on the disk, but for when the machine was rebooted."""

        def clear() -> bool:
            note = read_note(self.path)
            return note.restart is None or write_note(self.path, replace(note, restart=None))

        done = self._asked(clear) is not None
        self._failing &= not done
        self._again_at = float("-inf") if done else now + RETRY_S
        return done

    def _asked(self, work: Callable[[], T]) -> T | None:
        """Ask the disk; None when it fails or hangs, which is logged once until it has taken a note."""
        from edge.background import DeadlineError

        try:
            found = self._executor(work, DISK_S)
        except DeadlineError:
            why = f"{self.path}: the disk does not answer"
        except OSError as error:
            why = str(error) if error.errno is None else f"{self.path}: {error.strerror}"
        else:
            return found
        if not self._failing:
            log.warning("%s; without this note the alarm is not started again for a dead camera", why)
        self._failing = True
        return None
