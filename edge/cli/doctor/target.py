"""Target of the doctor: this device, its config and what was named on the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from edge.cli.doctor.child import run
from edge.config import SYSTEM
from edge.device.systemd_host import NAME
from edge.errors import BearAlarmError, OptionError
from edge.files import ENVIRONMENT, JOURNAL, SERVICE, state_folder
from edge.settings import Camera, Settings

ASK_S = 5.0  # for systemctl
UNIT = Path("etc/systemd/system/bear-alarm.service")  # below the root


@dataclass(frozen=True)
class Target:
    """One device. ``root`` is where its /sys, /proc, /etc and /dev are looked for, which tests have of their own."""

    settings: Settings = field(default_factory=Settings)
    config: Path | None = None  # the file the settings are from
    mistakes: tuple[str, ...] = ()  # what is wrong in that file, a sentence each; the settings are the defaults then
    sources: tuple[Camera, ...] = ()  # named on the command line: tried instead of the configured cameras
    try_cameras: bool = True
    given_state: Path | None = None
    root: Path = Path("/")

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Return those to try."""
        return self.sources or self.settings.cameras

    @property
    def has_service(self) -> bool:
        """Return whether the systemd unit is installed here."""
        return (self.root / UNIT).is_file()

    @property
    def state(self) -> Path:
        """Find the state folder of the alarm: the one named, the config's, the service's, or this user's own.

        Raises OptionError where there is none.
        """
        if self.given_state or self.settings.state:
            return state_folder(self.given_state or self.settings.state)
        asked = any(os.environ.get(name) for name in (ENVIRONMENT, "STATE_DIRECTORY"))
        service = self.root / SERVICE.relative_to("/")
        try:
            own = state_folder()
        except OptionError:
            if not self.has_service:
                raise
            return service
        return service if self.has_service and not asked and not (own / JOURNAL).exists() else own

    @property
    def evidence(self) -> Path:
        """Return the folder of evidence, there or not. Raises OptionError where there is no state folder."""
        named = self.settings.evidence.folder
        if named:
            return named.expanduser().absolute()
        return self.state / "evidence" if self.has_service else Path("evidence").absolute()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable of the service's environment that names the folder of its chosen model."""
        served = self.has_service and self.config in (None, SYSTEM)
        return {"XDG_CONFIG_HOME": str(self.root / "etc")} if served else {}

    @property
    def alarm_runs(self) -> bool:
        """Return whether an alarm runs here now: on that state folder, as its lock shows, or as the service."""
        from edge.record.run import watching_run

        try:
            if watching_run(self.state):
                return True
        except BearAlarmError:
            pass
        # Its folder, and so its lock, is closed to other users.
        try:
            return self.has_service and run(["systemctl", "is-active", "--quiet", NAME], ASK_S).code == 0
        except OSError:
            return False
