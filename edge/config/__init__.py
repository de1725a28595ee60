"""Turn one YAML file, in which everything may be set and nothing must be, into ``edge.settings.Settings``.

    load       the whole way from a file to settings, with all mistakes at once
    yaml_tree  every value as text, every key with its line
    secrets    ${NAME} from the environment, systemd's credentials or secrets.yml
    schema     what may be set (pydantic), and the JSON Schema of it
    check      settings that contradict each other, and what this machine lacks
    template   the file that ``config init`` writes
    edit       one setting of a file changed, as the page does

It is found as --config, else $BEAR_ALARM_CONFIG, else ./bear-alarm.yml, else /etc/bear-alarm/config.yml.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import ConfigError, ConfigProblem, OptionError

if TYPE_CHECKING:
    from edge.settings import Settings

__all__ = ["BESIDE", "ENVIRONMENT", "SECRETS", "SYSTEM", "ConfigError", "ConfigProblem", "find_config", "load_config"]

log = logging.getLogger(__name__)

ENVIRONMENT = "BEAR_ALARM_CONFIG"
BESIDE = Path("bear-alarm.yml")  # in the working folder
SECRETS = "secrets.yml"  # beside the config
SYSTEM = Path("/etc/bear-alarm/config.yml")  # the service's


def load_config(path: Path) -> Settings:
    """Load the settings in a config and log its warnings. Raises ConfigError, which names all that is wrong."""
    from edge.config.load import load

    loaded = load(path)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings


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
