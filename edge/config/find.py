"""Find the config: its usual places, and the names of the files beside it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from edge.errors import OptionError

log = logging.getLogger(__name__)

ENVIRONMENT = "BEAR_ALARM_CONFIG"
BESIDE = Path("bear-alarm.yml")  # in the working folder
SECRETS = "secrets.yml"  # beside the config
SYSTEM = Path("/etc/bear-alarm/config.yml")  # the service's


def find_config(given: Path | None = None) -> Path | None:
    """Find the config: ``given``, else what the environment names, else one of the two usual places; else None.

    Raises OptionError where one is named that is not there.
    """
    for named, whence in ((given, "--config"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if named:
            if not _there(Path(named)):
                raise OptionError(
                    f"{named}: no such config ({whence}); `bear-alarm config init {named}` writes one to begin with"
                )
            return Path(named)
    for usual in (BESIDE, SYSTEM):
        other = usual.with_suffix(".yaml")
        if not _there(usual):
            if _there(other):
                log.warning("%s is not read: call it %s, or name it with --config", other, usual)
        elif usual == BESIDE or os.access(usual, os.R_OK) or _leads_nowhere(usual):
            return usual
        else:
            log.warning("%s is not used: this user may not read it", usual)
    return None


def _there(path: Path) -> bool:
    """Return whether something is or may be there: reading it shows what is wrong with a link or a folder."""
    try:
        return path.expanduser().exists() or _leads_nowhere(path.expanduser())
    except (OSError, RuntimeError, ValueError):
        return True


def _leads_nowhere(path: Path) -> bool:
    """Return whether it is a link to something that is not there, such as a drive that is not mounted."""
    try:
        return path.is_symlink() and not path.exists()
    except OSError:
        return False
