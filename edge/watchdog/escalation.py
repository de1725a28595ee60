"""When no camera gives anything for long, though each was opened anew again and again: restart, then reboot.

A driver that hangs hangs in this process, so another may be luckier; one that hangs in the kernel, or a USB hub, only
a reboot mends. A camera that is dead, broken or stolen is mended by neither, and must not make a loop of them.
"""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from edge.status import CameraStatus, Status
from edge.watchdog.note import Note, Step, forgets, read_note, write_note

log = logging.getLogger(__name__)

RESTART = 75  # exit code: EX_TEMPFAIL of sysexits.h; a service manager starts it again whatever the code
REBOOT = 86  # exit code: the unit reboots the machine on this one, where that was opted in

FILE = "escalation.json"
DAY_S = 86_400.0
RETRY_S = 60.0  # how soon a disk that did not take the note is tried again
DISK_S = 2.0  # how long it is waited for: the main loop feeds the watchdog
STEADY_S = 60.0  # for so long frames must have come before an outage is over
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")

Order = Literal["restart", "reboot"]
T = TypeVar("T")


def uptime_s() -> float:
    """Seconds since the machine was started, those asleep counted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def machine_boot() -> str | None:
    """What tells one start of the machine from the next; None where the system has no such thing."""
    with suppress(OSError):
        return MACHINE_BOOT.read_text().strip() or None
    return None


class Escalation:
    """Orders a restart once an outage, and where that was of no use a reboot, once a day. The caller carries it out.

    An outage: every live camera is in trouble and has had no frame for ``restart_after_s`` (0: never). It is over when
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
        from edge.background import Gate  # here: a service says that it starts before it imports what is heavy

        self.path = folder / FILE
        self.restart_after_s = restart_after_s
        self.reboot = reboot
        self.present = present
        self._boot = boot
        self._uptime = uptime
        self._wall = wall
        self._forgetful = forgetful
        self._own = uuid.uuid4().hex  # names this process in the note
        self._gate = Gate()
        self._frames: dict[str, int] = {}  # by camera, at the last look
        self._since: dict[str, float] = {}  # when a camera was first seen, or a frame of it was
        self._flows_since: float | None = None  # when frames came again; None: no camera gives any
        self._done: dict[Order, float] = {}  # ordered by this process in this outage
        self._flowed = False  # frames came for long, and no order since: what the disk says of a restart is of before
        self._settled = False  # and the disk knows it
        self._again_at = float("-inf")
        self._failing = False

    def __call__(self, status: Status, now: float) -> Order | None:
        """What is to be done now, said once; ``now``: time.monotonic(), seconds."""
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
        """Whether frames come, and have for a minute."""
        if not self._flows(live, now):
            if all(each.trouble and not each.fresh for each in live):
                self._flows_since = None
            return False
        self._flows_since = now if self._flows_since is None else self._flows_since
        return now - self._flows_since >= STEADY_S

    def _flows(self, live: Sequence[CameraStatus], now: float) -> bool:
        """Whether a frame was looked at since the last look."""
        before = self._frames
        self._frames = {each.name: each.frames for each in live}
        # Fewer than before: it was begun anew, by a reload.
        same = {each.name for each in live if each.frames == before.get(each.name, 0)}
        self._since = {each.name: self._since.get(each.name, now) if each.name in same else now for each in live}
        return any(each.frames > before.get(each.name, 0) for each in live)

    def _down_s(self, live: Sequence[CameraStatus], now: float) -> float:
        """For how long no camera has given anything, and since the last order; 0 while one of them is well."""
        if not all(each.trouble for each in live):
            return 0.0  # in a folder pictures may arrive once a day
        ages = [now - self._since[each.name] if each.frame_age_s is None else each.frame_age_s for each in live]
        return min([*ages, *(now - at for at in self._done.values())])

    def _next(self, now: float) -> Order | None:
        """The next thing that was not done yet, noted before it is given."""
        if {"restart", "reboot"} <= self._done.keys() or (not self.reboot and "restart" in self._done):
            return None
        self._again_at = now + RETRY_S
        note = self._asked(lambda: read_note(self.path))
        if note is None:
            return None
        step = Step(self._wall().isoformat(timespec="seconds"), self._boot(), round(self._uptime(), 1), self._own)
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
        log.error("no camera has given a frame for %.0f s, though each was opened anew; %s", self.restart_after_s, what)
        return order

    def _restarted(self, note: Note) -> bool:
        """Whether the alarm was started again in this outage."""
        if self._flowed or note.restart is None:
            return "restart" in self._done
        # One of our own that was not given: the disk took it later than it was waited for.
        return note.restart.by != self._own or "restart" in self._done

    def _may_reboot(self, note: Note, now: Step) -> bool:
        """Whether the machine was not started for a day, or only the restart was tried so far."""
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
        """Frames flow: nothing is left of the outage on the disk but when the machine was rebooted."""

        def clear() -> bool:
            note = read_note(self.path)
            return note.restart is None or write_note(self.path, replace(note, restart=None))

        done = self._asked(clear) is not None
        self._failing &= not done
        self._again_at = float("-inf") if done else now + RETRY_S
        return done

    def _asked(self, work: Callable[[], T]) -> T | None:
        """What the disk gives; None when it fails or hangs, which is said once until it has taken a note."""
        from edge.background import HangingError

        try:
            found = self._gate(work, DISK_S)
        except HangingError:
            why = f"{self.path}: the disk does not answer"
        except OSError as error:
            why = str(error) if error.errno is None else f"{self.path}: {error.strerror}"
        else:
            return found
        if not self._failing:
            log.warning("%s; without this note the alarm is not started again for a dead camera", why)
        self._failing = True
        return None
