"""The alarm as a service of this machine: it starts by itself after a power cut and is started again when it ends.

systemd runs it on Linux; for macOS (launchd) and Windows (Task Scheduler) the file they want is written.
"""

from __future__ import annotations

from pathlib import Path

from edge.config import SYSTEM
from edge.errors import BearAlarmError
from edge.files import SERVICE

NAME = "bear-alarm"  # of the service, its user and its folders
UNIT = f"{NAME}.service"
CONFIG = SYSTEM  # /etc/bear-alarm/config.yml
STATE = SERVICE  # /var/lib/bear-alarm
ENVIRONMENT = Path("/opt/bear-alarm")  # where an environment can be read by every user
GROUPS = ("video", "gpio", "audio")  # cameras, relays, loudspeaker: those this machine has


class ServiceError(BearAlarmError, RuntimeError):
    """The service cannot be installed, looked at or removed as things are."""
