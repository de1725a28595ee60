"""The machine itself: how warm, how well fed, how full. Everything is read from small files of the kernel, none of
which every machine has: what is not known is None, and nothing here raises for what it finds.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from edge.background import Gate, HangingError
from edge.board.sensors import critical_c, memory, temperature_c, throttled, undervolted
from edge.board.storage import disk_of, free_mb, mount_of

log = logging.getLogger(__name__)

EVERY_S = 5.0  # as often as health asks
WITHIN_S = 0.3  # a disk that is gone may keep whoever asks for its free space for minutes
OLD_S = 60.0  # what was read longer ago says nothing of now


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment; None: not known on this board. MB are 10^6 bytes."""

    at: float = 0.0  # seconds of the clock that ``Board.read`` is given
    temperature_c: float | None = None  # of the processor
    critical_c: float | None = None  # at which it slows itself down, where its sensor says so (a PC's)
    undervolted: bool | None = None  # now, or within the last 2 s
    throttled: bool | None = None  # slowed down by the kernel or the firmware, now
    memory_mb: float | None = None  # all there is
    memory_free_mb: float | None = None  # for programs without swapping
    disk_free_mb: float | None = None  # where the state folder is, or the working folder
    read_only: bool | None = None  # the file system there
    fs_errors: int | None = None  # that ext4 has counted there since it was last repaired
    worn: bool | None = None  # the eMMC there says that its end is near


class Board:
    """Reads the machine, every 5 s at most and never for long. Safe to use from any thread.

    ``root``: where ``sys`` and ``proc`` lie; ``state``: the folder whose disk matters, None: the working folder.
    """

    def __init__(
        self, root: Path = Path("/"), state: Path | None = None, *, every_s: float = EVERY_S, within_s: float = WITHIN_S
    ) -> None:
        self.root = root
        self.state = state or Path()
        self.every_s = every_s
        self.within_s = within_s
        self._gate = Gate()
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._latest = Reading()
        self._failed = False

    def read(self, now: float) -> Reading:
        """How it is at ``now``, seconds of a clock that only goes forward; what was read within 5 s is not read again.

        Where the machine does not answer at once the last reading stands for a minute, then nothing is known.
        """
        with self._lock:
            if self._asked_at is None or now - self._asked_at >= self.every_s:
                self._asked_at = now
                self._latest = self._asked(now)
            return self._latest

    def _asked(self, now: float) -> Reading:
        try:
            return self._gate(lambda: self._look(now), self.within_s)
        except HangingError:
            return self._latest if now - self._latest.at <= OLD_S else Reading(now)
        except Exception as error:  # an alarm must not end because a board has odd files
            if not self._failed:
                self._failed = True
                log.warning("this machine cannot be read (%s: %s)", type(error).__name__, error)
            return Reading(now)

    def _look(self, now: float) -> Reading:
        room = memory(self.root)
        mount = mount_of(self.root, self.state)
        disk = disk_of(self.root, mount) if mount else None
        return Reading(
            at=now,
            temperature_c=temperature_c(self.root),
            critical_c=critical_c(self.root),
            undervolted=undervolted(self.root),
            throttled=throttled(self.root),
            memory_mb=room.total_mb if room else None,
            memory_free_mb=room.available_mb if room else None,
            disk_free_mb=free_mb(self.state),
            read_only=mount.read_only if mount else None,
            fs_errors=disk.fs_errors if disk else None,
            worn=disk.worn if disk else None,
        )
