"""Notify of what is wrong with the fleet: silent devices, the broker, the disk; by the channels of any alarm."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.alerting import Alerting
from edge.fleet.messages import shown
from edge.local_time import lasting
from edge.record.run import Clock, EventFactory

if TYPE_CHECKING:
    from edge.background import Sink
    from edge.fleet.devices import Device
    from edge.fleet.fleet import Fleet
    from edge.settings import AlertSettings
    from edge.status import Ask

DEVICE = "device "  # and its name: the label of its health events
NAMED = 5  # devices that are named; the others are counted, for a broken broker is one problem
CAMERAS = 5


class FleetAlarms:
    """Asks every few seconds how the fleet is, and notifies of what is wrong and of its end.

    Messages wait in a journal in ``folder`` until they are delivered, over restarts. ``parts`` are asked beside the
    devices, by name; more may be added. Raises OptionError for a channel that can never work, and where another program
    keeps its journal there.
    """

    def __init__(
        self,
        fleet: Fleet,
        settings: AlertSettings,
        folder: Path,
        *,
        terminal: Sink | None = None,
    ) -> None:
        clock = Clock()
        run = EventFactory(clock_synced=clock.synced)
        self._fleet = fleet
        self.parts: dict[str, Ask] = {"broker": fleet.problem, "disk": fleet.trouble, "devices": self._unnamed}
        self._left = 0  # silent devices that are not named
        self._alerting = Alerting(settings, run, state=folder, clock=clock, terminal=terminal)
        self._alerting.more = self._all

    def tick(self, now: float | None = None) -> None:
        """Call it often; ``now``: time.monotonic()."""
        self._alerting.tick(now)

    def close(self, within_s: float) -> None:
        """Deliver what waits, for at most so many seconds; the rest is kept for the next time."""
        self._alerting.close(within_s)

    def _all(self) -> dict[str, Ask]:
        """Return a part for each device that is named; one whose problem was published stays until it is over."""
        if not self._fleet.settled:  # nothing is known of the devices: what was published stays
            held = {part: said for part, said in self._alerting.problems.items() if part.startswith(DEVICE.strip())}
            return self.parts | {part: partial(held.get, part) for part in (*held, "devices")}
        silent = {each.name: each for each in self._fleet.silent()}
        parts = (part for part in self._alerting.problems if part.startswith(DEVICE))
        named = [name for part in parts if self._fleet.device(name := part.removeprefix(DEVICE))]
        free = max(0, NAMED - sum(name in silent for name in named))
        named += sorted(silent.keys() - named)[:free]
        self._left = len(silent.keys() - named)
        words = {name: silence_of(silent[name]) if name in silent else None for name in named}
        return self.parts | {DEVICE + name: partial(words.get, name) for name in named}

    def _unnamed(self) -> str | None:
        if not self._left:
            return None
        return "1 more device is silent" if self._left == 1 else f"{self._left} more devices are silent"


def silence_of(device: Device) -> str:
    """Return that a device is silent or offline, since when, and which cameras it has."""
    cameras = [each.name for each in device.cameras]
    names = ", ".join(cameras[:CAMERAS]) + (f" and {len(cameras) - CAMERAS} more" if cameras[CAMERAS:] else "")
    its = "" if not cameras else f" (its camera is {names})" if len(cameras) == 1 else f" (its cameras are {names})"
    heard = f"last heard {_moment(device.heard_at)}" if device.heard_at else "never heard"
    how = f" since {_moment(device.since)}" if device.state == "offline" else f", {heard}"
    return shown(f"Device {device.name} is {device.state}{how}{its}") or ""


def last_heard(device: Device) -> str:
    """Return when a device last said something."""
    return f"last heard {ago(device.heard_at)}" if device.heard_at else "never heard"


def ago(at: float) -> str:
    """Return a time.time() as people say it: ``02:14, 3.2 h ago``, with the day where that is not today's.

    It counts whole minutes, so that the page says the same for a while.
    """
    minutes = int(max(0.0, datetime.now().timestamp() - at) // 60)
    return f"{_moment(at)}, {lasting(60.0 * minutes) if minutes else 'less than a minute'} ago"


def _moment(at: float) -> str:
    when = datetime.fromtimestamp(at).astimezone()
    return f"{when:%H:%M}" if when.date() == datetime.now().astimezone().date() else day_and_time(at)


def day_and_time(at: float) -> str:
    """Return a time.time() as ``Thu 03 Dec, 02:14``, with the year where it is not this one."""
    when, now = datetime.fromtimestamp(at).astimezone(), datetime.now().astimezone()
    return f"{when:%a %d %b, %H:%M}" if when.year == now.year else f"{when:%a %d %b %Y, %H:%M}"
